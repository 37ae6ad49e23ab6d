/* SPDX-License-Identifier: Apache-2.0
 *
 * strongroom drill: on a machine of its own, with nothing but a recovery key, shows that what was
 * shipped can be restored, and puts the signed result beside it, where the cluster finds it.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "client/commands.h"
#include "client/source.h"
#include "node/restore/prove.h"

#define TERMINAL_MS UINT64_C(200)
#define LOG_MS      UINT64_C(30000)

enum drill_option {
    OPTION_RECOVERY_KEY = SOURCE_OPTION_END,
    OPTION_CONFIG,
    OPTION_WORK,
    OPTION_NO_PROOF
};

struct drill {
    struct source source;
    const char *recovery_key;
    const char *config_path;
    const char *work; /* below which the scratch directory is made */
    bool no_proof;
    struct sr_config *config;
    struct sr_recovery_private *key;
    struct sr_target *target;
    /* Progress. */
    const char *doing;
    uint64_t told_ms;
    struct sr_err err;
};

static atomic_bool interrupted;

static void print_help(void)
{
    printf("usage: strongroom drill --from URL --recovery-key FILE [OPTION]...\n"
           "\n"
           "Fetches the newest snapshot and the changes behind it, restores them into a scratch\n"
           "directory, reads all of it back, compares content, revision and state hash with what\n"
           "the cluster signed, and puts the result, signed with the recovery key, beside the\n"
           "snapshot. The cluster takes it over. Exits with 0 when the snapshot can be restored,\n"
           "with 1 when it cannot, or could not be looked at; it says which.\n"
           "\n"
           "  --recovery-key FILE      the private half of a recovery key\n"
           "  --work DIR               where there is room for three times the snapshot: a\n"
           "                           directory is made in it, and removed again (default: the\n"
           "                           current one)\n"
           "  --no-proof               put no result beside the snapshot: reading is enough then\n"
           "  --config FILE            a node's configuration, for what it says of the target\n"
           "%s"
           "  -h, --help\n",
           source_help);
}

/* ---- Options ---- */

static int take_option(struct drill *drill, int option, const char *value)
{
    switch (option) {
    case OPTION_RECOVERY_KEY:
        drill->recovery_key = value;
        return EXIT_DONE;
    case OPTION_CONFIG:
        drill->config_path = value;
        return EXIT_DONE;
    case OPTION_WORK:
        drill->work = value;
        return EXIT_DONE;
    case OPTION_NO_PROOF:
        drill->no_proof = true;
        return EXIT_DONE;
    default:
        return source_take(&drill->source, option, value) == 1 ? EXIT_DONE : EXIT_USAGE;
    }
}

/* EXIT_DONE to go on; -1 when help was printed. */
static int parse(int argc, char **argv, struct drill *drill)
{
    static const struct option options[] = {
        SOURCE_OPTIONS,
        {"recovery-key", required_argument, NULL, OPTION_RECOVERY_KEY},
        {"config", required_argument, NULL, OPTION_CONFIG},
        {"work", required_argument, NULL, OPTION_WORK},
        {"no-proof", no_argument, NULL, OPTION_NO_PROOF},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0}};
    int option = 0;
    while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (option == 'h') {
            print_help();
            return -1;
        }
        if (option == '?' || take_option(drill, option, optarg) != EXIT_DONE) {
            return EXIT_USAGE;
        }
    }
    if (drill->recovery_key == NULL || optind < argc) {
        fprintf(stderr, "strongroom drill: --recovery-key FILE is needed, and options only; --help "
                        "has more\n");
        return EXIT_USAGE;
    }
    return EXIT_DONE;
}

/* ---- Progress ---- */

static uint64_t wall_ms(void *arg)
{
    (void)arg;
    return sr_clock_wall_ms();
}

static void on_progress(void *arg, const char *doing, uint64_t done, uint64_t size)
{
    struct drill *drill = arg;
    bool terminal = isatty(STDERR_FILENO) == 1;
    uint64_t now_ms = sr_clock_monotonic_ns() / 1000000;
    bool is_new = drill->doing == NULL || strcmp(drill->doing, doing) != 0;
    if (!is_new && now_ms - drill->told_ms < (terminal ? TERMINAL_MS : LOG_MS)) {
        return;
    }
    drill->doing = doing;
    drill->told_ms = now_ms;
    fprintf(stderr, "%s%s", terminal ? "\r\033[K" : "", doing);
    if (size > 0) {
        fprintf(stderr, ": %.1f of %.1f MiB", (double)done / (1 << 20), (double)size / (1 << 20));
    }
    fputs(terminal ? "" : "\n", stderr);
}

static void end_progress(const struct drill *drill)
{
    if (drill->doing != NULL && isatty(STDERR_FILENO) == 1) {
        fputs("\r\033[K", stderr);
    }
}

static void on_signal(int number)
{
    (void)number;
    atomic_store(&interrupted, true);
}

static void catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};
    sigaction(SIGINT, &action, NULL); /* a second one ends it at once */
    sigaction(SIGTERM, &action, NULL);
}

/* ---- The drill ---- */

static void print_result(const struct sr_proved *proved)
{
    const Strongroom__Proof *said = &proved->said;
    printf("snapshot       %" PRIu64 " of cluster %016" PRIx64 ", target %s\n", said->sequence,
           said->cluster_id, said->target);
    if (proved->fingerprint[0] != 0) {
        printf("signed by      %s\n", proved->fingerprint);
    }
    if (!said->good) {
        return;
    }
    printf("restored       %" PRIu64 " versions, up to revision %" PRId64 "\n", proved->versions,
           said->revision);
    printf("state hash     ");
    for (size_t i = 0; i < said->state_hash.len; i++) {
        printf("%02x", said->state_hash.data[i]);
    }
    printf(", as was signed\nfetched        %" PRIu64 " bytes; all of it took %.1f s\n",
           said->bytes, (double)(said->ended_ms - said->begun_ms) / 1000);
}

static int put_proof(struct drill *drill, const struct sr_proved *proved)
{
    char name[SR_OBJECT_NAME_BYTES_MAX];
    if (drill->no_proof) {
        return SR_OK;
    }
    int status = sr_proved_put(proved, drill->target, &drill->err);
    if (status == SR_OK) {
        sr_proof_name(proved->said.cluster_id, proved->said.sequence, name);
        printf("result         %s\n", name);
    } else {
        sr_err_prefix(&drill->err, "the result could not be put");
    }
    return status;
}

static int conclude(struct drill *drill, const struct sr_proved *proved)
{
    print_result(proved);
    int status = put_proof(drill, proved);
    (void)fflush(stdout);
    if (!proved->said.good) {
        fprintf(stderr, "strongroom drill: IT CANNOT BE RESTORED: %s\n", proved->reason);
    }
    if (status != SR_OK) {
        fprintf(stderr, "strongroom drill: %s\n", drill->err.text);
    }
    return proved->said.good && status == SR_OK ? EXIT_DONE : EXIT_FAILED;
}

static int prove(struct drill *drill, struct sr_proved **ret)
{
    char host[64] = "";
    char prover[sizeof(host) + 32];
    char work[PATH_MAX];
    (void)gethostname(host, sizeof(host) - 1);
    (void)snprintf(prover, sizeof(prover), "strongroom drill on %s", host);
    if (snprintf(work, sizeof(work), "%s/strongroom-drill-XXXXXX", drill->work) >=
            (int)sizeof(work) ||
        mkdtemp(work) == NULL) {
        return sr_err_errno(&drill->err, SR_IO, errno, "cannot make a directory in %s",
                            drill->work);
    }
    struct sr_prove_options options = {
        .target = drill->target,
        .cluster_id = drill->source.cluster_id,
        .fingerprint = drill->source.signed_by,
        .keys = {.recovery_private = drill->key},
        .work = work,
        .signing_seed = drill->key->proof_seed,
        .prover = prover,
        .wall_ms = wall_ms,
        .arg = drill,
        .stop = &interrupted,
        .progress = on_progress,
    };
    int status = sr_prove(&options, ret, &drill->err);
    end_progress(drill);
    return status;
}

static int prepare(struct drill *drill)
{
    int status = SR_OK;
    if (drill->config_path != NULL) {
        status = sr_config_load(drill->config_path, &drill->config, &drill->err);
    }
    if (status == SR_OK) {
        status = sr_recovery_private_read(drill->recovery_key, &drill->key, &drill->err);
    }
    return status == SR_OK ? source_open(&drill->source, drill->config, &drill->target, &drill->err)
                           : status;
}

static int run(struct drill *drill)
{
    struct sr_proved *proved = NULL;
    int status = prepare(drill);
    int code = status == SR_INVALID ? EXIT_USAGE : EXIT_FAILED;
    if (status == SR_OK) {
        catch_signals();
        status = prove(drill, &proved);
    }
    if (status == SR_OK) {
        code = conclude(drill, proved);
    } else {
        fprintf(stderr, "strongroom drill: %s%s\n",
                atomic_load(&interrupted) ? "interrupted: " : "", drill->err.text);
    }
    sr_proved_close(proved);
    sr_target_close(drill->target);
    sr_recovery_private_free(drill->key);
    sr_config_free(drill->config);
    return code;
}

int command_drill(int argc, char **argv)
{
    struct drill drill = {.source = {.command = "drill"}, .work = "."};
    int code = parse(argc, argv, &drill);
    if (code != EXIT_DONE) {
        return code < 0 ? EXIT_DONE : code;
    }
    return run(&drill);
}
