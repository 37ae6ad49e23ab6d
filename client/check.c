/* SPDX-License-Identifier: Apache-2.0
 *
 * strongroom check: opens the data directory of a stopped node as a start would, which checks the
 * pages of the database, its index and the whole log, and then reads every record.
 */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>

#include "client/commands.h"
#include "node/config/config.h"
#include "node/recover/survivor.h"
#include "storage/image.h"

static void print_help(void)
{
    puts(
        "usage: strongroom check --config FILE\n"
        "\n"
        "Reads and authenticates everything that a stopped node holds: log, database, index and\n"
        "every record. Says what is damaged, and exits with 1 if anything is. Nothing is changed,\n"
        "but for the end of a log that was being written at a crash, as at a start.\n"
        "\n"
        "  --config FILE  the node's configuration\n"
        "  -h, --help");
}

static int check(const struct sr_config *config, struct sr_err *err)
{
    static struct sr_survivor node; /* large */
    uint64_t bytes = 0;
    int status = sr_survivor_open_in_place(config->data_dir, config->kek_file, &node, err);
    if (status == SR_OK) {
        printf("log      entries %" PRIu64 " to %" PRIu64 ", term %" PRIu64 "\n",
               node.log_state.first_index, node.log_state.last_index, node.last_term);
        printf("state    entry %" PRIu64 ", revision %" PRId64 "\n", node.stored_index,
               sr_store_revision(node.store));
        status = node.stored_index == 0 ? SR_OK : sr_image_scrub(node.store, &bytes, err);
    }
    if (status == SR_OK) {
        printf("records  %" PRIu64 " bytes read, all authentic\n", bytes);
    }
    sr_survivor_close(&node);
    return status;
}

/* -1: help was printed. */
static int parse(int argc, char **argv, const char **ret_path)
{
    static const struct option options[] = {{"config", required_argument, NULL, 'c'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    int option = 0;
    *ret_path = NULL;
    while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (option == 'h') {
            print_help();
            return -1;
        }
        if (option == '?') {
            return EXIT_USAGE;
        }
        *ret_path = optarg;
    }
    if (optind < argc || *ret_path == NULL) {
        fprintf(stderr, "strongroom check: --config FILE, and nothing else; --help has more\n");
        return EXIT_USAGE;
    }
    return EXIT_DONE;
}

int command_check(int argc, char **argv)
{
    const char *path = NULL;
    struct sr_config *config = NULL;
    struct sr_err err = {0};
    int code = parse(argc, argv, &path);
    if (code != EXIT_DONE) {
        return code < 0 ? EXIT_DONE : code;
    }
    if (sr_config_load(path, &config, &err) != SR_OK) {
        fprintf(stderr, "strongroom check: %s\n", err.text);
        return EXIT_USAGE;
    }
    if (check(config, &err) != SR_OK) {
        fprintf(stderr, "strongroom check: %s\n", err.text);
        code = EXIT_FAILED;
    }
    sr_config_free(config);
    return code;
}
