/* SPDX-License-Identifier: Apache-2.0
 *
 * strongroom member wait: between two steps of planned work. What counts is what the member itself
 * says: only a node that runs can say it, and what it knows of its own progress it has from a
 * leader, since its last start.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "client/commands.h"
#include "client/members.h"

#define DEFAULT_PATIENCE_S 600
#define PATIENCE_MAX_S     (7 * 24 * 3600)
#define PAUSE_NS           (200 * 1000 * 1000L)
/* The leader tells each second. */
#define FRESH_MS 5000

struct wait {
    struct sr_remote remote;
    struct sr_remote own; /* the member's own client URLs */
    const char *member;
    unsigned long patience_s;
    struct sr_err reason; /* why it is not there yet */
};

static void print_help(void)
{
    puts("usage: strongroom member wait NAME|ID [--for SECONDS] [OPTION]...\n"
         "\n"
         "Returns once the member runs, votes (or learns, if that is all it is to do), and has\n"
         "caught up. Asks the endpoints for its client URLs, and then itself.\n"
         "\n"
         "  --for SECONDS        give up, and exit with 1, after so long (default "
         "600)\n" REMOTE_HELP);
}

static int not_yet(struct wait *wait, const Member *member, const char *why)
{
    return sr_err_set(&wait->reason, SR_AGAIN, "%s: %s", member_name(member), why);
}

static int judge(struct wait *wait, const Members *members, const Member *member)
{
    if (!members->has_progress || members->progress_age_ms > FRESH_MS) {
        return not_yet(wait, member, "it runs, and has not heard from a leader yet");
    }
    if (member->role != member->wanted) {
        return not_yet(wait, member, "it is not a voter yet");
    }
    if (!member->caught_up) {
        return not_yet(wait, member, "it has not caught up yet");
    }
    return SR_OK;
}

static int ask_itself(struct wait *wait, const Member *known)
{
    sr_arena_reset(&wait->own.arena);
    sr_remote_redirect(&wait->own, known->client_urls, known->n_client_urls);
    const Members *members = members_fetch(&wait->own, &wait->reason);
    if (members == NULL) {
        return SR_AGAIN;
    }
    const Member *member = members_by_id(members, known->id);
    if (member == NULL || members->header == NULL || members->header->member_id != known->id) {
        return sr_err_set(&wait->reason, SR_AGAIN, "%s: another node answers", wait->own.answered);
    }
    return judge(wait, members, member);
}

static int ask(struct wait *wait)
{
    sr_arena_reset(&wait->remote.arena);
    const Members *members = members_fetch(&wait->remote, &wait->reason);
    const Member *member =
        members == NULL ? NULL : members_need(members, wait->member, &wait->reason);
    if (member == NULL) {
        return SR_AGAIN;
    }
    if (member->n_client_urls == 0) {
        return not_yet(wait, member, "no node has taken the place yet");
    }
    return ask_itself(wait, member);
}

static int run(struct wait *wait)
{
    uint64_t end_ns = sr_clock_monotonic_ns() + wait->patience_s * UINT64_C(1000000000);
    while (ask(wait) != SR_OK) {
        if (sr_clock_monotonic_ns() > end_ns) {
            fprintf(stderr, "strongroom member wait: gave up: %s\n", wait->reason.text);
            return EXIT_FAILED;
        }
        nanosleep(&(struct timespec){.tv_nsec = PAUSE_NS}, NULL);
    }
    return EXIT_DONE;
}

/* -1: help was printed. */
static int parse(int argc, char **argv, struct wait *wait)
{
    static const struct option options[] = {{"for", required_argument, NULL, 'f'},
                                            {"help", no_argument, NULL, 'h'},
                                            REMOTE_OPTIONS,
                                            {NULL, 0, NULL, 0}};
    int option = 0;
    char *end = NULL;
    while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        int code = sr_remote_option(&wait->remote, option, optarg);
        if (option == 'h') {
            print_help();
            return -1;
        }
        if (option == 'f') {
            wait->patience_s = strtoul(optarg, &end, 10);
            if (end == optarg || *end != 0 || wait->patience_s > PATIENCE_MAX_S) {
                fprintf(stderr, "strongroom member wait: --for: %s: not a number of seconds\n",
                        optarg);
                return EXIT_USAGE;
            }
        }
        if (option == '?' || code > EXIT_DONE) {
            return EXIT_USAGE;
        }
    }
    if (argc - optind != 1) {
        fprintf(stderr, "strongroom member wait: name one member; --help has more\n");
        return EXIT_USAGE;
    }
    wait->member = argv[optind];
    return EXIT_DONE;
}

int command_member_wait(int argc, char **argv)
{
    struct wait wait = {.patience_s = DEFAULT_PATIENCE_S};
    int code = parse(argc, argv, &wait);
    if (code != EXIT_DONE) {
        return code < 0 ? EXIT_DONE : code;
    }
    wait.own = wait.remote;
    code = sr_remote_open(&wait.remote, "strongroom member wait");
    if (code == EXIT_DONE) {
        code = sr_remote_open(&wait.own, "strongroom member wait");
    }
    if (code == EXIT_DONE) {
        code = run(&wait);
        if (code == EXIT_DONE) {
            printf("%s is ready\n", wait.member);
        }
    }
    sr_remote_close(&wait.own);
    sr_remote_close(&wait.remote);
    return code;
}
