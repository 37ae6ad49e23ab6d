/* SPDX-License-Identifier: Apache-2.0
 *
 * strongroom snapshot: what has been shipped off-site, and shipping a snapshot now.
 */
#include "client/snapshot_print.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "client/commands.h"
#include "client/remote.h"
#include "proto/limits.h"

#define DEFAULT_PATIENCE_S 3600
#define PATIENCE_MAX_S     (7 * 24 * 3600)
#define PAUSE_NS           (200 * 1000 * 1000L)

struct arguments {
    struct sr_remote remote;
    bool json;
    bool no_wait;
    unsigned long patience_s;
    const char *target;
};

static void print_help(void)
{
    puts("usage: strongroom snapshot now [--no-wait] [--for SECONDS] [OPTION]...\n"
         "       strongroom snapshot list [TARGET] [--json] [OPTION]...\n"
         "       strongroom snapshot status [--json] [OPTION]...\n"
         "       strongroom snapshot forget TARGET [OPTION]...\n"
         "\n"
         "now     makes the node that answers ship a snapshot to each of its targets, whatever\n"
         "        the schedule says; returns once all are there\n"
         "list    the snapshots that are there, and which of them a drill has restored\n"
         "status  each target: when something was last shipped, how far it is behind, and why\n"
         "forget  a target that no configuration has any more, for the catalogue has room for the\n"
         "        names of 8; what lies there stays\n"
         "\n"
         "  --no-wait            now: return once it has been asked for\n"
         "  --for SECONDS        now: give up, and exit with 1, after so long (default 3600)\n"
         "  --json               the same for programs\n" REMOTE_HELP);
}

static int read_patience(const char *text, unsigned long *ret)
{
    char *end = NULL;
    errno = 0;
    *ret = strtoul(text, &end, 10);
    if (errno != 0 || *text < '0' || *text > '9' || *end != 0 || *ret == 0 ||
        *ret > PATIENCE_MAX_S) {
        fprintf(stderr, "strongroom snapshot: --for is a number of seconds, 1 to %d\n",
                PATIENCE_MAX_S);
        return EXIT_USAGE;
    }
    return EXIT_DONE;
}

/* EXIT_DONE to go on; -1 when help was printed. */
static int parse(int argc, char **argv, struct arguments *arguments)
{
    static const struct option options[] = {{"json", no_argument, NULL, 'j'},
                                            {"no-wait", no_argument, NULL, 'n'},
                                            {"for", required_argument, NULL, 't'},
                                            {"help", no_argument, NULL, 'h'},
                                            REMOTE_OPTIONS,
                                            {NULL, 0, NULL, 0}};
    int option = 0;
    arguments->patience_s = DEFAULT_PATIENCE_S;
    while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        int code = sr_remote_option(&arguments->remote, option, optarg);
        if (option == 'h') {
            print_help();
            return -1;
        }
        arguments->json = arguments->json || option == 'j';
        arguments->no_wait = arguments->no_wait || option == 'n';
        if (option == '?' || code > EXIT_DONE ||
            (option == 't' && read_patience(optarg, &arguments->patience_s) != EXIT_DONE)) {
            return EXIT_USAGE;
        }
    }
    return EXIT_DONE;
}

/* Lives in the remote's arena. */
static const Offsite *fetch(struct sr_remote *remote, struct sr_err *err)
{
    Strongroom__V1__OffsiteStatusRequest request = STRONGROOM__V1__OFFSITE_STATUS_REQUEST__INIT;
    const Offsite *offsite = (const Offsite *)sr_remote_call(
        remote, "OffsiteStatus", REMOTE_READ, &request.base,
        &strongroom__v1__offsite_status_response__descriptor, NULL, err);
    if (offsite != NULL && offsite->record == NULL) {
        (void)sr_err_set(err, SR_FORMAT, "%s: it told no record", remote->answered);
        return NULL;
    }
    return offsite;
}

/* ---- now ---- */

/* What was asked for: of each target, how many had been shipped before. */
struct wanted {
    size_t count;
    char names[SR_OFFSITE_TARGETS_MAX][SR_OFFSITE_NAME_BYTES_MAX + 1];
    uint64_t completed[SR_OFFSITE_TARGETS_MAX];
    int64_t revision; /* that has to be in it: one that was on its way may be older */
};

static uint64_t completed(const Strongroom__OffsiteRecord *record, const char *target)
{
    const Strongroom__OffsiteChain *chain = snapshot_chain(record, target, 'F');
    return chain == NULL ? 0 : chain->completed;
}

static void remember(const Strongroom__V1__SnapshotNowResponse *asked, struct wanted *wanted)
{
    for (size_t i = 0; i < asked->n_targets && i < SR_OFFSITE_TARGETS_MAX; i++) {
        (void)snprintf(wanted->names[i], sizeof(wanted->names[i]), "%s", asked->targets[i]);
        wanted->completed[i] = completed(asked->record, asked->targets[i]);
        wanted->count++;
    }
    wanted->revision = asked->header == NULL ? 0 : asked->header->revision;
}

/* Whether all are there; @err says of one that is not why. */
static bool is_done(const struct wanted *wanted, const Strongroom__OffsiteRecord *record,
                    struct sr_err *err)
{
    for (size_t i = 0; i < wanted->count; i++) {
        const char *target = wanted->names[i];
        const Strongroom__OffsiteChain *chain = snapshot_chain(record, target, 'F');
        if (completed(record, target) <= wanted->completed[i] ||
            chain->until_revision < wanted->revision) {
            const char *failure = chain == NULL ? "" : chain->failure;
            (void)sr_err_set(err, SR_AGAIN, "%s: not there yet%s%s", target,
                             *failure == 0 ? "" : ": ", failure);
            return false;
        }
    }
    return true;
}

static int await(struct arguments *arguments, const struct wanted *wanted, struct sr_err *err)
{
    uint64_t give_up_ns = sr_clock_monotonic_ns() + arguments->patience_s * UINT64_C(1000000000);
    struct timespec pause = {.tv_nsec = PAUSE_NS};
    while (sr_clock_monotonic_ns() < give_up_ns) {
        sr_arena_reset(&arguments->remote.arena);
        const Offsite *offsite = fetch(&arguments->remote, err);
        if (offsite != NULL && is_done(wanted, offsite->record, err)) {
            for (size_t i = 0; i < wanted->count; i++) {
                const Strongroom__OffsiteChain *chain =
                    snapshot_chain(offsite->record, wanted->names[i], 'F');
                printf("%s: snapshot %" PRIu64 ", revision %" PRId64 "\n", wanted->names[i],
                       chain->last_sequence, chain->until_revision);
            }
            return EXIT_DONE;
        }
        (void)nanosleep(&pause, NULL);
    }
    return EXIT_FAILED;
}

static int now(struct arguments *arguments, struct sr_err *err)
{
    struct wanted wanted = {0};
    Strongroom__V1__SnapshotNowRequest request = STRONGROOM__V1__SNAPSHOT_NOW_REQUEST__INIT;
    const Strongroom__V1__SnapshotNowResponse *asked =
        (const Strongroom__V1__SnapshotNowResponse *)sr_remote_call(
            &arguments->remote, "SnapshotNow", REMOTE_CHANGE, &request.base,
            &strongroom__v1__snapshot_now_response__descriptor, NULL, err);
    if (asked == NULL) {
        return EXIT_FAILED;
    }
    remember(asked, &wanted);
    return arguments->no_wait ? EXIT_DONE : await(arguments, &wanted, err);
}

/* ---- list, status ---- */

static int list(struct arguments *arguments, struct sr_err *err)
{
    const Offsite *offsite = fetch(&arguments->remote, err);
    if (offsite == NULL) {
        return EXIT_FAILED;
    }
    if (arguments->json) {
        snapshot_print_list_json(offsite, arguments->target);
    } else {
        snapshot_print_list(offsite, arguments->target);
    }
    return EXIT_DONE;
}

static int status(struct arguments *arguments, struct sr_err *err)
{
    const Offsite *offsite = fetch(&arguments->remote, err);
    if (offsite == NULL) {
        return EXIT_FAILED;
    }
    if (arguments->json) {
        snapshot_print_status_json(offsite);
    } else {
        snapshot_print_status(offsite);
    }
    return EXIT_DONE;
}

/* ---- forget ---- */

static int forget(struct arguments *arguments, struct sr_err *err)
{
    Strongroom__V1__SnapshotForgetRequest request = STRONGROOM__V1__SNAPSHOT_FORGET_REQUEST__INIT;
    request.target = (char *)(uintptr_t)arguments->target;
    bool done =
        sr_remote_call(&arguments->remote, "SnapshotForget", REMOTE_CHANGE, &request.base,
                       &strongroom__v1__snapshot_forget_response__descriptor, NULL, err) != NULL;
    if (done) {
        printf("%s: forgotten\n", arguments->target);
    }
    return done ? EXIT_DONE : EXIT_FAILED;
}

/* ---- All ---- */

static const struct {
    const char *name;
    int (*run)(struct arguments *arguments, struct sr_err *err);
    int least; /* words behind the name */
    int most;
} parts[] = {
    {"now", now, 0, 0}, {"list", list, 0, 1}, {"status", status, 0, 0}, {"forget", forget, 1, 1}};

static int run(struct arguments *arguments, size_t part)
{
    char command[64];
    struct sr_err err = {0};
    (void)snprintf(command, sizeof(command), "strongroom snapshot %s", parts[part].name);
    int code = sr_remote_open(&arguments->remote, command);
    if (code == EXIT_DONE) {
        code = parts[part].run(arguments, &err);
        if (code != EXIT_DONE) {
            fprintf(stderr, "%s: %s\n", command, err.text);
        }
    }
    sr_remote_close(&arguments->remote);
    return code;
}

int command_snapshot(int argc, char **argv)
{
    struct arguments arguments = {0};
    int code = parse(argc, argv, &arguments);
    if (code != EXIT_DONE) {
        return code < 0 ? EXIT_DONE : code;
    }
    for (size_t i = 0; optind < argc && i < sizeof(parts) / sizeof(parts[0]); i++) {
        if (strcmp(argv[optind], parts[i].name) == 0) {
            int words = argc - optind - 1;
            arguments.target = words > 0 ? argv[optind + 1] : NULL;
            if (words >= parts[i].least && words <= parts[i].most) {
                return run(&arguments, i);
            }
        }
    }
    fprintf(stderr,
            "strongroom snapshot: one of now, list, status, forget TARGET; --help has more\n");
    return EXIT_USAGE;
}
