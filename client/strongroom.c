/* SPDX-License-Identifier: Apache-2.0
 *
 * strongroom: what an operator needs beside the daemon.
 */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/secret.h"
#include "client/commands.h"

static void print_help(FILE *out)
{
    fputs(
        "usage: strongroom COMMAND [...]\n"
        "\n"
        "  keygen       make a master key for a node\n"
        "  pki          make a certificate authority, and certificates for nodes and clients\n"
        "  status       who leads, how far each member is, what the cluster survives\n"
        "  member       list, add, remove, update or promote members\n"
        "  move-leader  hand leadership to a member\n"
        "  drain        make a member hand over, finish, and exit\n"
        "  rebuild      make a node anew from its peers, when its disk is lost or damaged\n"
        "  recover      make a new cluster of what one has left that lost its majority\n"
        "  restore      make a new cluster of what one has shipped off-site\n"
        "  snapshot     what has been shipped off-site; ship a snapshot now\n"
        "  drill        show, with a recovery key, that what has been shipped can be restored\n"
        "  verify       read all that has been shipped, and say what of it is not as it was "
        "signed\n"
        "  check        read and authenticate everything that a stopped node holds\n"
        "  version      print the version\n"
        "\n"
        "`strongroom COMMAND --help` has more. Records are read and written with etcdctl, or any\n"
        "other client of etcd's v3 API.\n",
        out);
}

static int command_version(int argc, char **argv)
{
    (void)argv;
    if (argc > 1) {
        fprintf(stderr, "strongroom version: takes no arguments\n");
        return EXIT_USAGE;
    }
    puts("strongroom " STRONGROOM_VERSION);
    return EXIT_DONE;
}

static int command_help(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    print_help(stdout);
    return EXIT_DONE;
}

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
} commands[] = {
    {"keygen", command_keygen},     {"pki", command_pki},
    {"version", command_version},   {"member", command_member},
    {"status", command_status},     {"drain", command_drain},
    {"rebuild", command_rebuild},   {"recover", command_recover},
    {"check", command_check},       {"move-leader", command_move_leader},
    {"snapshot", command_snapshot}, {"drill", command_drill},
    {"restore", command_restore},   {"verify", command_verify},
    {"--version", command_version}, {"--help", command_help},
    {"-h", command_help},           {"help", command_help},
};

int main(int argc, char **argv)
{
    umask(077);
    sr_secret_protect_process();
    if (argc < 2) {
        print_help(stderr);
        return EXIT_USAGE;
    }
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (strcmp(argv[1], commands[i].name) == 0) {
            return commands[i].run(argc - 1, argv + 1);
        }
    }
    fprintf(stderr, "strongroom: unknown command: %s; --help has a list\n", argv[1]);
    return EXIT_USAGE;
}
