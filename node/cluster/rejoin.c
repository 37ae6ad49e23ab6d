/* SPDX-License-Identifier: Apache-2.0 */
#include "node/cluster/rejoin.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "proto/member.h"

static void path_of(const struct sr_config *config, const char *name, char *out)
{
    (void)snprintf(out, PATH_MAX, "%s/%s", config->data_dir, name);
}

/* One address a line. */
static int read_peers(FILE *file, const char *path, struct sr_config_join *join, struct sr_err *err)
{
    char line[SR_ADDRESS_BYTES_MAX + 2];
    while (fgets(line, sizeof(line), file) != NULL) {
        line[strcspn(line, "\n")] = 0;
        if (!sr_is_address(line) || join->peers_count == SR_MEMBERS_MAX) {
            return sr_err_set(err, SR_CORRUPT, "%s: not what strongroom rebuild leaves", path);
        }
        join->peers[join->peers_count++] = sr_strdup(line);
    }
    if (ferror(file) != 0) {
        return sr_err_errno(err, SR_IO, errno, "read %s", path);
    }
    return join->peers_count > 0 ? SR_OK : sr_err_set(err, SR_CORRUPT, "%s is empty", path);
}

static void free_join(struct sr_config_join *join)
{
    if (join == NULL) {
        return;
    }
    for (unsigned i = 0; i < join->peers_count; i++) {
        sr_free(join->peers[i]);
    }
    sr_free(join->peers);
    sr_free(join->token_file);
    sr_free(join);
}

int sr_rejoin_take(struct sr_config *config, struct sr_err *err)
{
    char path[PATH_MAX];
    path_of(config, "join-peers", path);
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return errno == ENOENT ? SR_OK : sr_err_errno(err, SR_IO, errno, "open %s", path);
    }
    struct sr_config_join *join = sr_zalloc(sizeof(*join));
    join->peers = sr_calloc(SR_MEMBERS_MAX, sizeof(*join->peers));
    int status = read_peers(file, path, join, err);
    (void)fclose(file);
    if (status != SR_OK) {
        free_join(join);
        return status;
    }
    path_of(config, "join-token", path);
    join->token_file = sr_strdup(path);
    free_join(config->cluster.join);
    config->cluster.join = join;
    return SR_OK;
}

void sr_rejoin_forget(const struct sr_config *config)
{
    char path[PATH_MAX];
    path_of(config, "join-peers", path);
    (void)unlink(path);
    path_of(config, "join-token", path);
    (void)unlink(path);
}
