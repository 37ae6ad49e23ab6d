/* SPDX-License-Identifier: Apache-2.0
 *
 * lose_entry CONFIG TERM: let the state of a node that is not running skip the next entry of its
 * log, as a defect would. What it skipped is printed: a number that the log goes on after.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "node/config/config.h"
#include "node/datadir.h"
#include "storage/store.h"

static void must(int status, const struct sr_err *err)
{
    if (status != SR_OK) {
        (void)fprintf(stderr, "%s\n", err->text);
        exit(1);
    }
}

int main(int argc, char **argv)
{
    struct sr_config *config = NULL;
    struct sr_datadir dir;
    struct sr_store *store = NULL;
    struct sr_err err = {0};
    if (argc != 3) {
        return 2;
    }
    must(sr_config_load(argv[1], &config, &err), &err);
    must(sr_datadir_open(config, &dir, &err), &err);
    struct sr_store_options options = {.dir = dir.state_path,
                                       .keyring = dir.keyring,
                                       .cluster_id = dir.cluster_id,
                                       .member_id = dir.member_id};
    must(sr_store_open(&options, &store, &err), &err);
    uint64_t index = sr_store_applied_index(store) + 1;
    must(sr_store_apply_empty(store, index, strtoull(argv[2], NULL, 10), &err), &err);
    (void)sr_store_freeze(store, true);
    must(sr_store_flush(store, &err), &err);
    printf("%" PRIu64 "\n", index);
    sr_store_close(store);
    sr_datadir_close(&dir);
    sr_config_free(config);
    return 0;
}
