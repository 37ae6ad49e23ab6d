/* SPDX-License-Identifier: Apache-2.0
 *
 * strongroom status: the members, how far each is, and what the cluster survives.
 */
#include <stdbool.h>
#include <stdio.h>

#include "client/commands.h"
#include "client/members.h"

static void print_help(void)
{
    puts("usage: strongroom status [--json] [OPTION]...\n"
         "\n"
         "Prints who leads, how many zones may be lost, the cluster's feature level, its alarms,\n"
         "and each member with its zone, role and state, as the first node that answers knows "
         "them.\n"
         "\n"
         "  --json               the same for programs\n" REMOTE_HELP);
}

int command_status(int argc, char **argv)
{
    static const struct option options[] = {{"json", no_argument, NULL, 'j'},
                                            {"help", no_argument, NULL, 'h'},
                                            REMOTE_OPTIONS,
                                            {NULL, 0, NULL, 0}};
    struct sr_remote remote = {0};
    bool json = false;
    int option = 0;
    while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        int code = sr_remote_option(&remote, option, optarg);
        if (option == 'h') {
            print_help();
            return EXIT_DONE;
        }
        json = json || option == 'j';
        if (option == '?' || code > EXIT_DONE) {
            return EXIT_USAGE;
        }
    }
    if (optind < argc) {
        fprintf(stderr, "strongroom status: unexpected argument: %s\n", argv[optind]);
        return EXIT_USAGE;
    }
    int code = sr_remote_open(&remote, "strongroom status");
    if (code == EXIT_DONE) {
        struct sr_err err = {0};
        const Members *members = members_fetch(&remote, &err);
        if (members == NULL) {
            fprintf(stderr, "strongroom status: %s\n", err.text);
            code = EXIT_FAILED;
        } else if (json) {
            members_print_json(members);
        } else {
            members_print_summary(members);
            puts("");
            members_print_table(members);
        }
    }
    sr_remote_close(&remote);
    return code;
}
