/* SPDX-License-Identifier: Apache-2.0
 *
 * strongroom drain and strongroom move-leader: what comes before work on a machine. Both are for
 * one certain node, which is asked at its own client URLs.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>

#include "client/commands.h"
#include "client/members.h"

struct arguments {
    struct sr_remote remote;
    const char *member; /* name or id */
    bool force;
};

static const struct option options[] = {{"force", no_argument, NULL, 'f'},
                                        {"help", no_argument, NULL, 'h'},
                                        REMOTE_OPTIONS,
                                        {NULL, 0, NULL, 0}};

/* EXIT_DONE to go on; -1 when help was printed. */
static int parse(int argc, char **argv, const char *help, bool may_force,
                 struct arguments *arguments)
{
    int option = 0;
    while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        int code = sr_remote_option(&arguments->remote, option, optarg);
        if (option == 'h') {
            puts(help);
            return -1;
        }
        if (option == 'f' && !may_force) {
            fprintf(stderr, "strongroom %s: there is no --force\n", argv[0]);
            return EXIT_USAGE;
        }
        arguments->force = arguments->force || option == 'f';
        if (option == '?' || code > EXIT_DONE) {
            return EXIT_USAGE;
        }
    }
    if (argc - optind != 1) {
        fprintf(stderr, "strongroom %s: name one member; --help has more\n", argv[0]);
        return EXIT_USAGE;
    }
    arguments->member = argv[optind];
    return EXIT_DONE;
}

/* ---- drain ---- */

static const char drain_help[] =
    "usage: strongroom drain NAME|ID [--force] [OPTION]...\n"
    "\n"
    "Makes a member hand leadership over, finish the calls that are open, say goodbye to its\n"
    "clients, and exit with 0; returns once it has begun. It stays a member: start it again, or\n"
    "remove it. Refused when the rest could not lose a zone any more that it can lose now.\n"
    "\n"
    "  --force              do it all the same; it is logged\n" REMOTE_HELP;

static int drain(struct arguments *arguments, struct sr_err *err)
{
    const Members *members = members_fetch(&arguments->remote, err);
    const Member *member = members == NULL ? NULL : members_need(members, arguments->member, err);
    if (member == NULL) {
        return EXIT_FAILED;
    }
    Strongroom__V1__DrainRequest request = STRONGROOM__V1__DRAIN_REQUEST__INIT;
    request.member_id = member->id;
    request.force = arguments->force;
    if (member->n_client_urls > 0) {
        sr_remote_redirect(&arguments->remote, member->client_urls, member->n_client_urls);
    }
    if (sr_remote_call(&arguments->remote, "Drain", REMOTE_CHANGE, &request.base,
                       &strongroom__v1__drain_response__descriptor, NULL, err) == NULL) {
        return EXIT_FAILED;
    }
    printf("%s is draining\n", member_name(member));
    return EXIT_DONE;
}

/* ---- move-leader ---- */

static const char move_help[] =
    "usage: strongroom move-leader NAME|ID [OPTION]...\n"
    "\n"
    "Hands leadership to a voter that is up; returns once it leads. Writes wait for a moment, and\n"
    "none fails.\n"
    "\n" REMOTE_HELP;

static int move_leader(struct arguments *arguments, struct sr_err *err)
{
    const Members *members = members_fetch(&arguments->remote, err);
    const Member *member = members == NULL ? NULL : members_need(members, arguments->member, err);
    if (member == NULL) {
        return EXIT_FAILED;
    }
    const Member *leader = members_by_id(members, members->leader);
    if (leader == NULL) {
        sr_err_set(err, SR_AGAIN, "%s: it knows of no leader", arguments->remote.answered);
        return EXIT_FAILED;
    }
    if (leader == member) {
        printf("%s leads already\n", member_name(member));
        return EXIT_DONE;
    }
    Etcdserverpb__MoveLeaderRequest request = ETCDSERVERPB__MOVE_LEADER_REQUEST__INIT;
    request.targetid = member->id;
    if (leader->n_client_urls > 0) {
        sr_remote_redirect(&arguments->remote, leader->client_urls, leader->n_client_urls);
    }
    if (sr_remote_call(&arguments->remote, "/etcdserverpb.Maintenance/MoveLeader", REMOTE_CHANGE,
                       &request.base, &etcdserverpb__move_leader_response__descriptor, NULL,
                       err) == NULL) {
        return EXIT_FAILED;
    }
    printf("%s leads\n", member_name(member));
    return EXIT_DONE;
}

/* ---- Both ---- */

static int run(const char *command, struct arguments *arguments,
               int (*body)(struct arguments *arguments, struct sr_err *err))
{
    struct sr_err err = {0};
    int code = sr_remote_open(&arguments->remote, command);
    if (code == EXIT_DONE) {
        code = body(arguments, &err);
        if (code != EXIT_DONE) {
            fprintf(stderr, "%s: %s\n", command, err.text);
        }
    }
    sr_remote_close(&arguments->remote);
    return code;
}

int command_drain(int argc, char **argv)
{
    struct arguments arguments = {0};
    int code = parse(argc, argv, drain_help, true, &arguments);
    return code == EXIT_DONE ? run("strongroom drain", &arguments, drain)
           : code < 0        ? EXIT_DONE
                             : code;
}

int command_move_leader(int argc, char **argv)
{
    struct arguments arguments = {0};
    int code = parse(argc, argv, move_help, false, &arguments);
    return code == EXIT_DONE ? run("strongroom move-leader", &arguments, move_leader)
           : code < 0        ? EXIT_DONE
                             : code;
}
