/* SPDX-License-Identifier: Apache-2.0
 *
 * strongroom verify: reads all that a cluster has shipped to a place, where it lies, and says what
 * of it is not as it was signed. Stores nothing.
 */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "client/commands.h"
#include "client/restore_print.h"
#include "client/source.h"
#include "node/restore/verify.h"
#include "node/restore/when.h"

#define MIB          (1024.0 * 1024.0)
#define PARALLEL     4
#define PARALLEL_MAX 32

enum { OPTION_RECOVERY_KEY = SOURCE_OPTION_END, OPTION_CONFIG, OPTION_KNOWN, OPTION_PARALLEL };

struct arguments {
    struct source source;
    const char *key_path;
    const char *config_path;
    int64_t known;
    int64_t parallel;
    struct sr_config *config;
    struct sr_recovery_private *key;
    struct sr_target *targets[PARALLEL_MAX]; /* all the same */
    /* Progress. */
    bool terminal;
    size_t archives;
    uint64_t bytes;
};

static void print_help(void)
{
    puts("usage: strongroom verify --from URL [--recovery-key FILE] [OPTION]...\n"
         "\n"
         "Reads all snapshots and changes that a cluster has shipped to one place, and compares\n"
         "them with what the cluster signed; with a recovery key also unseals them, and checks "
         "each\n"
         "record. Stores nothing, and needs no room. Exits with 0 when all is as it should be, "
         "with\n"
         "1 when something is not, or could not be looked at; it says which.\n"
         "\n"
         "`strongroom drill` restores the newest snapshot; this one looks at all of them.\n"
         "\n"
         "  --recovery-key FILE      the private half of a recovery key. Without it bytes are\n"
         "                           compared with the manifests, and not looked into\n"
         "  --known REVISION         what ends earlier is stale: this one is known to be shipped\n"
         "  --config FILE            a node's configuration, for what it says of the target\n"
         "  --parallel N             N archives at a time, 1 to 32, default 4; each takes 24 MiB");
    fputs(source_help, stdout);
    puts("  -h, --help");
}

/* ---- The command line ---- */

static bool take_number(const char *name, const char *value, int64_t max, int64_t *ret)
{
    char *end = NULL;
    long long number = strtoll(value, &end, 10); /* one that is too large is LLONG_MAX */
    if (*value < '0' || *value > '9' || *end != '\0' || number < 1 || number > max) {
        fprintf(stderr, "strongroom verify: --%s %s: a number from 1 to %" PRId64 " is wanted\n",
                name, value, max);
        return false;
    }
    *ret = number;
    return true;
}

static int take_option(struct arguments *arguments, int option, const char *value)
{
    switch (option) {
    case OPTION_RECOVERY_KEY:
        arguments->key_path = value;
        return EXIT_DONE;
    case OPTION_CONFIG:
        arguments->config_path = value;
        return EXIT_DONE;
    case OPTION_KNOWN:
        return take_number("known", value, INT64_MAX - 1, &arguments->known) ? EXIT_DONE
                                                                             : EXIT_USAGE;
    case OPTION_PARALLEL:
        return take_number("parallel", value, PARALLEL_MAX, &arguments->parallel) ? EXIT_DONE
                                                                                  : EXIT_USAGE;
    default:
        return source_take(&arguments->source, option, value) == 1 ? EXIT_DONE : EXIT_USAGE;
    }
}

/* EXIT_DONE to go on; -1 when help was printed. */
static int parse(int argc, char **argv, struct arguments *arguments)
{
    static const struct option options[] = {
        SOURCE_OPTIONS,
        {"recovery-key", required_argument, NULL, OPTION_RECOVERY_KEY},
        {"config", required_argument, NULL, OPTION_CONFIG},
        {"known", required_argument, NULL, OPTION_KNOWN},
        {"parallel", required_argument, NULL, OPTION_PARALLEL},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0}};
    int option = 0;
    while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (option == 'h') {
            print_help();
            return -1;
        }
        if (option == '?' || take_option(arguments, option, optarg) != EXIT_DONE) {
            return EXIT_USAGE;
        }
    }
    if (optind < argc) {
        fprintf(stderr, "strongroom verify: takes options only; --help has them\n");
        return EXIT_USAGE;
    }
    return EXIT_DONE;
}

/* ---- What is told ---- */

static void clear_line(const struct arguments *arguments)
{
    fputs(arguments->terminal ? "\r\033[K" : "", stderr);
}

static void on_each(void *arg, const struct sr_manifest *manifest, const char *fault)
{
    struct arguments *arguments = arg;
    const Strongroom__Manifest *said = manifest->said;
    char when[SR_WHEN_CHARS];
    clear_line(arguments);
    if (fault != NULL) {
        printf("BAD  %s: %s\n", said->object, fault);
    } else if (said->kind == SR_ARCHIVE_FULL) {
        printf("good snapshot %" PRIu64 ": revision %" PRId64 " of %s, %.1f MiB\n", said->sequence,
               said->until_revision, sr_when_text(sr_plan_time(manifest), when),
               (double)said->size / MIB);
    }
    fflush(stdout);
    arguments->archives++;
    arguments->bytes += said->size;
    if (arguments->terminal) {
        fprintf(stderr, "%zu archives, %.1f MiB", arguments->archives,
                (double)arguments->bytes / MIB);
    }
}

static void print_result(const struct arguments *arguments, const struct sr_verified *verified)
{
    restore_print_plan(verified->plan);
    if (verified->plan->fingerprint[0] != 0) {
        printf("signed by    %s\n", verified->plan->fingerprint);
    }
    printf("good         %" PRIu64 " snapshots, changes in %" PRIu64 " pieces: %.1f MiB",
           verified->snapshots, verified->changes, (double)verified->bytes / MIB);
    if (arguments->key != NULL) {
        printf(", %" PRIu64 " versions", verified->versions);
    }
    puts("");
    if (arguments->key == NULL) {
        puts("             by their bytes; without a recovery key nothing was looked into");
    } else if (verified->closed > 0) {
        printf("             %" PRIu64 " of them by their bytes alone: this key does not open "
               "them\n",
               verified->closed);
    }
}

/* ---- The work ---- */

static int open_inputs(struct arguments *arguments, struct sr_err *err)
{
    int status = SR_OK;
    if (arguments->config_path != NULL) {
        status = sr_config_load(arguments->config_path, &arguments->config, err);
    }
    if (status == SR_OK && arguments->key_path != NULL) {
        status = sr_recovery_private_read(arguments->key_path, &arguments->key, err);
    }
    return status == SR_OK ? source_open_all(&arguments->source, arguments->config,
                                             arguments->targets, (size_t)arguments->parallel, err)
                           : status;
}

static int verify(struct arguments *arguments, struct sr_err *err)
{
    struct sr_verify options = {.targets = {arguments->targets, (size_t)arguments->parallel},
                                .wish = {.revision_min = arguments->known},
                                .key = arguments->key,
                                .each = on_each,
                                .arg = arguments};
    struct sr_verified verified;
    source_wish(&arguments->source, &options.wish);
    int status = sr_verify_all(&options, &verified, err);
    clear_line(arguments);
    print_result(arguments, &verified);
    if (status == SR_INVALID && verified.plan->cluster_count > 1) {
        sr_err_prefix(err, "--cluster ID is needed");
    } else if (status == SR_OK && verified.faults > 0) {
        status = sr_err_set(err, SR_CORRUPT, "NOT ALL IS AS IT SHOULD BE: %" PRIu64 " %s",
                            verified.faults, verified.faults == 1 ? "fault" : "faults");
    }
    sr_plan_free(verified.plan);
    return status;
}

int command_verify(int argc, char **argv)
{
    struct arguments arguments = {.source = {.command = "verify"},
                                  .parallel = PARALLEL,
                                  .terminal = isatty(STDERR_FILENO) == 1};
    struct sr_err err = {0};
    int code = parse(argc, argv, &arguments);
    if (code != EXIT_DONE) {
        return code < 0 ? EXIT_DONE : code;
    }
    int status = open_inputs(&arguments, &err);
    code = status == SR_INVALID ? EXIT_USAGE : EXIT_FAILED;
    if (status == SR_OK && verify(&arguments, &err) == SR_OK) {
        code = EXIT_DONE;
    } else {
        (void)fflush(stdout);
        fprintf(stderr, "strongroom verify: %s\n", err.text);
    }
    for (int64_t i = 0; i < arguments.parallel; i++) {
        sr_target_close(arguments.targets[i]);
    }
    sr_recovery_private_free(arguments.key);
    sr_config_free(arguments.config);
    return code;
}
