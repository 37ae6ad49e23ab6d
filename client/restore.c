/* SPDX-License-Identifier: Apache-2.0
 *
 * strongroom restore: when nothing is left of a cluster but what it has shipped, makes the first
 * member of a new one of that and a recovery key. docs/operations/disaster.md.
 *
 *   manifests ──► a plan, told ──► fetch, as far as it is not there ──► DATA_DIR.restoring/new
 *     ──► one rename
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/commands.h"
#include "client/restore_print.h"
#include "client/source.h"
#include "node/recover/birth.h"
#include "node/recover/copy.h"
#include "node/restore/make.h"
#include "node/restore/when.h"

enum { OPTION_AT = SOURCE_OPTION_END, OPTION_BUMP, OPTION_KNOWN, OPTION_SALVAGE, OPTION_PARALLEL };

/* More archives than that are not damaged by chance. */
#define WITHOUT_MAX 64
/* Objects on their way at a time: most are small, and what takes time is to wait for each. */
#define PARALLEL     8
#define PARALLEL_MAX 32

struct restore {
    struct source source;
    struct sr_plan_wish wish;
    const char *config_path;
    const char *key_path;
    const char *to;
    const char *fetch_dir; /* --work */
    bool dry_run;
    int64_t bump;
    struct sr_config *config;
    struct sr_recovery_private *key;
    struct sr_target *targets[PARALLEL_MAX]; /* all the same */
    int64_t parallel;                        /* that are open */
    struct sr_plan *plan;
    char place[PATH_MAX]; /* data_dir, without a slash at its end */
    char *data_dir;       /* that of the configuration, to be freed with it */
    char work[PATH_MAX];  /* DATA_DIR.restoring */
    int lock_fd;
    struct sr_plan_without without[WITHOUT_MAX]; /* found to be damaged, with --salvage */
    bool again;                                  /* one more was found */
    struct sr_err err;
};

static void print_help(void)
{
    puts("usage: strongroom restore --from URL --recovery-key FILE --config FILE [OPTION]...\n"
         "\n"
         "Makes the first member of a new cluster out of what another one has shipped. The new\n"
         "cluster has another id, so that no old member can come back to it; further members join\n"
         "it. When it is interrupted, the same command goes on with what is fetched.\n");
    fputs(source_help, stdout);
    puts("  --recovery-key FILE      the private half of a recovery key of the old cluster\n"
         "  --config FILE            the configuration of the new node, whose data_dir is made\n"
         "  --to DIR                 instead of its data_dir\n"
         "  --at REVISION|TIME       no further than that; a time is such as 2026-11-23T04:05:06Z\n"
         "  --known REVISION         refuse what ends earlier: this one is known to be shipped\n"
         "  --dry-run                only look, and say what would be restored\n"
         "  --bump N                 revisions go on so much later, default 1000000000, so that\n"
         "                           nobody takes a new one for a lost one; watchers and caches "
         "are\n"
         "                           told that all before is compacted. 0: neither\n"
         "  --salvage                leave out what is damaged, and restore what is left\n"
         "  --work DIR               where to keep what is fetched; default DATA_DIR.restoring\n"
         "  --parallel N             N objects are fetched at a time, 1 to 32, default 8. Each\n"
         "                           connection asks for credentials: 1, when a person types them\n"
         "  -h, --help");
}

static void say(const char *text)
{
    fprintf(stderr, "strongroom restore: %s\n", text);
}

/* ---- The command line ---- */

static int wrong(const char *option, const char *value, const char *what)
{
    fprintf(stderr, "strongroom restore: --%s %s: %s\n", option, value, what);
    return EXIT_USAGE;
}

/* A whole number from 0 to @max, and nothing else. */
static bool take_number(const char *value, int64_t max, int64_t *ret)
{
    char *end = NULL;
    errno = 0;
    long long number = strtoll(value, &end, 10);
    if (errno != 0 || *value < '0' || *value > '9' || *end != '\0' || number > max) {
        return false;
    }
    *ret = number;
    return true;
}

static int take_at(struct restore *restore, const char *value)
{
    int64_t revision = 0;
    restore->wish.revision = 0;
    restore->wish.time_ms = 0;
    if (take_number(value, INT64_MAX, &revision) && revision > 0) {
        restore->wish.revision = revision;
        return EXIT_DONE;
    }
    return sr_when_parse(value, &restore->wish.time_ms) && restore->wish.time_ms > 0
               ? EXIT_DONE
               : wrong("at", value,
                       "a revision, or a time such as 2026-11-23T04:05:06Z, is wanted");
}

static int take_own(struct restore *restore, int option, const char *value)
{
    switch (option) {
    case OPTION_AT:
        return take_at(restore, value);
    case OPTION_BUMP:
        return take_number(value, INT64_MAX / 4, &restore->bump)
                   ? EXIT_DONE
                   : wrong("bump", value, "a whole number is wanted");
    case OPTION_KNOWN:
        return take_number(value, INT64_MAX, &restore->wish.revision_min)
                   ? EXIT_DONE
                   : wrong("known", value, "a revision is wanted");
    case OPTION_PARALLEL:
        return take_number(value, PARALLEL_MAX, &restore->parallel) && restore->parallel > 0
                   ? EXIT_DONE
                   : wrong("parallel", value, "a number from 1 to 32 is wanted");
    case OPTION_SALVAGE:
        restore->wish.salvage = true;
        return EXIT_DONE;
    case 'c':
        restore->config_path = value;
        return EXIT_DONE;
    case 'k':
        restore->key_path = value;
        return EXIT_DONE;
    case 't':
        restore->to = value;
        return EXIT_DONE;
    case 'w':
        restore->fetch_dir = value;
        return EXIT_DONE;
    case 'n':
        restore->dry_run = true;
        return EXIT_DONE;
    default:
        return EXIT_USAGE;
    }
}

static int check_usage(const struct restore *restore, bool more)
{
    if (more || (restore->source.flags.url == NULL && restore->source.target == NULL) ||
        (!restore->dry_run && (restore->config_path == NULL || restore->key_path == NULL))) {
        say("--from URL, --recovery-key FILE and --config FILE are needed; --help has more");
        return EXIT_USAGE;
    }
    return EXIT_DONE;
}

/* -1: help was printed. */
static int parse(int argc, char **argv, struct restore *restore)
{
    static const struct option options[] = {SOURCE_OPTIONS,
                                            {"recovery-key", required_argument, NULL, 'k'},
                                            {"config", required_argument, NULL, 'c'},
                                            {"to", required_argument, NULL, 't'},
                                            {"at", required_argument, NULL, OPTION_AT},
                                            {"known", required_argument, NULL, OPTION_KNOWN},
                                            {"dry-run", no_argument, NULL, 'n'},
                                            {"bump", required_argument, NULL, OPTION_BUMP},
                                            {"salvage", no_argument, NULL, OPTION_SALVAGE},
                                            {"work", required_argument, NULL, 'w'},
                                            {"parallel", required_argument, NULL, OPTION_PARALLEL},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    int option = 0;
    while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (option == 'h') {
            print_help();
            return -1;
        }
        int taken = source_take(&restore->source, option, optarg);
        if (taken < 0 || (taken == 0 && take_own(restore, option, optarg) != EXIT_DONE)) {
            return EXIT_USAGE;
        }
    }
    return check_usage(restore, optind < argc);
}

/* ---- Before anything is made ---- */

static int take_place(struct restore *restore)
{
    const char *path = restore->to != NULL ? restore->to : restore->config->data_dir;
    size_t size = strlen(path);
    while (size > 1 && path[size - 1] == '/') {
        size--;
    }
    if (size + sizeof(".restoring") > sizeof(restore->work)) {
        return sr_err_set(&restore->err, SR_INVALID, "data_dir: path is too long");
    }
    memcpy(restore->place, path, size);
    snprintf(restore->work, sizeof(restore->work), "%.*s.restoring", (int)size, path);
    restore->data_dir = restore->config->data_dir;
    restore->config->data_dir = restore->place;
    return SR_OK;
}

static int open_inputs(struct restore *restore)
{
    struct sr_err *err = &restore->err;
    int status = SR_OK;
    if (restore->config_path != NULL) {
        status = sr_config_load(restore->config_path, &restore->config, err);
    }
    if (status == SR_OK && restore->key_path != NULL) {
        status = sr_recovery_private_read(restore->key_path, &restore->key, err);
    }
    if (status == SR_OK && restore->config != NULL) {
        status = take_place(restore);
    }
    return status == SR_OK ? source_open_all(&restore->source, restore->config, restore->targets,
                                             (size_t)restore->parallel, err)
                           : status;
}

static struct sr_targets targets_of(struct restore *restore)
{
    return (struct sr_targets){restore->targets, (size_t)restore->parallel};
}

static void suggest_salvage(const struct restore *restore)
{
    if (!restore->wish.salvage) {
        say("if nothing better is to be had, --salvage restores what is not damaged");
    }
}

static int look(struct restore *restore)
{
    struct sr_err *err = &restore->err;
    source_wish(&restore->source, &restore->wish);
    fprintf(stderr, "strongroom restore: reading the manifests at %s\n",
            sr_target_title(restore->targets[0]));
    struct sr_plan *plan = NULL;
    int status = sr_plan_make_with(targets_of(restore), &restore->wish, &plan, err);
    restore->plan = plan;
    restore_print_plan(plan);
    if (status == SR_OK && restore->key != NULL) {
        status = sr_plan_check_key(plan, &restore->key->public_half, err);
    }
    if (status == SR_INVALID && plan->cluster_count > 1) {
        sr_err_prefix(err, "--cluster ID is needed");
    }
    if (status == SR_CORRUPT) {
        suggest_salvage(restore);
    }
    return status;
}

/* ---- The work ---- */

static int make_directory(const char *path, struct sr_err *err)
{
    return mkdir(path, 0700) == 0 || errno == EEXIST
               ? SR_OK
               : sr_err_errno(err, SR_IO, errno, "create %s", path);
}

static void lock_path(const struct restore *restore, char ret_path[PATH_MAX + 8])
{
    snprintf(ret_path, PATH_MAX + 8, "%s/lock", restore->work);
}

/* A directory for what is unfinished, which nobody else works in. */
static int take_work(struct restore *restore)
{
    struct sr_err *err = &restore->err;
    char path[PATH_MAX + 8];
    int status = sr_birth_check_place(restore->config->data_dir, err);
    if (status == SR_OK) {
        status = make_directory(restore->work, err);
    }
    if (status == SR_OK && restore->fetch_dir != NULL) {
        status = make_directory(restore->fetch_dir, err);
    }
    if (status != SR_OK) {
        return status;
    }
    lock_path(restore, path);
    restore->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (restore->lock_fd < 0) {
        return sr_err_errno(err, SR_IO, errno, "open %s", path);
    }
    if (flock(restore->lock_fd, LOCK_EX | LOCK_NB) == 0) {
        return SR_OK;
    }
    close(restore->lock_fd);
    restore->lock_fd = -1; /* it is not ours to remove */
    return sr_err_set(err, SR_REFUSED, "another restore works in %s", restore->work);
}

/* What was fetched stays, for the next attempt; a directory with nothing in it does not. */
static void leave_work(const struct restore *restore)
{
    char path[PATH_MAX + 8];
    lock_path(restore, path);
    (void)unlink(path);
    (void)rmdir(restore->work);
}

/* What was fetched, and nothing else: a directory that was named may have more in it. */
static void clear_fetched(const struct restore *restore, const struct sr_fetch *fetch)
{
    for (size_t i = 0; i < restore->plan->step_count; i++) {
        char path[PATH_MAX];
        if (sr_fetch_path(fetch, restore->plan->steps[i], path, NULL) == SR_OK) {
            (void)unlink(path);
        }
    }
    (void)rmdir(fetch->dir);
}

static void print_made(const struct restore *restore, const struct sr_restored *made)
{
    const struct sr_staged_result *staged = &made->result.staged;
    char when[SR_WHEN_CHARS];
    printf("\nmade %s: member %016" PRIx64 " of the new cluster %016" PRIx64 "\n",
           restore->config->data_dir, made->member_id, made->cluster_id);
    printf("  of           cluster %016" PRIx64 ", revision %" PRId64 ", written at %s or before\n",
           restore->plan->cluster_id, staged->revision,
           sr_when_text(staged->time_ms != 0 ? staged->time_ms
                                             : sr_plan_time(sr_plan_base(restore->plan)),
                        when));
    printf("  state hash   ");
    for (size_t i = 0; i < sizeof(staged->state_hash); i++) {
        printf("%02x", staged->state_hash[i]);
    }
    puts(made->result.state_hash_is_proven ? ", as the manifest says"
         : staged->state_hash_is_original  ? ", as it was there"
                                           : ", of this restore alone");
    printf("  holds        %" PRIu64 " versions, and %" PRIu64 " requests that were answered\n",
           staged->versions, staged->requests);
    printf("  goes on      at revision %" PRId64 "%s\n", staged->final_revision,
           restore->bump > 0 ? ", all before it compacted" : "");
    printf("start strongroomd with %s%s%s, look at the records, then let the others join:\n"
           "docs/operations/disaster.md\n",
           restore->config_path, restore->to != NULL ? " and data_dir: " : "",
           restore->to != NULL ? restore->place : "");
}

/* An archive that is not what its manifest says can be done without: another plan is to be made. */
static void take_failure(struct restore *restore, const struct sr_manifest *failed, int status)
{
    if (failed == NULL || (status != SR_CORRUPT && status != SR_NOT_FOUND)) {
        return;
    }
    suggest_salvage(restore);
    if (!restore->wish.salvage || restore->wish.without_count == WITHOUT_MAX) {
        return;
    }
    say(restore->err.text);
    restore->without[restore->wish.without_count++] = (struct sr_plan_without){
        .kind = (enum sr_archive_kind)failed->said->kind, .sequence = failed->said->sequence};
    restore->wish.without = restore->without;
    restore->again = true;
}

static int work(struct restore *restore)
{
    struct sr_err *err = &restore->err;
    struct restore_progress progress;
    struct sr_archive_keyring keys = {.recovery_private = restore->key};
    struct sr_fetch fetch = {.dir = restore->work};
    struct sr_restore make = {.config = restore->config,
                              .plan = restore->plan,
                              .targets = targets_of(restore),
                              .fetch = &fetch,
                              .keys = &keys,
                              .work = restore->work,
                              .bump = restore->bump,
                              .fetched = restore_progress_fetch,
                              .staged = restore_progress_stage,
                              .arg = &progress};
    struct sr_restored made;
    fetch.dir = restore->fetch_dir != NULL ? restore->fetch_dir : fetch.dir;
    restore_progress_begin(&progress, "restore", restore->plan);
    int status = sr_restore_fetch(&make, err);
    if (status == SR_OK) {
        fprintf(stderr, "strongroom restore: fetched %.1f MiB, %.1f MiB were there already\n",
                (double)fetch.fetched_bytes / 1048576, (double)fetch.kept_bytes / 1048576);
        status = sr_restore_make(&make, &made, err);
    } else {
        take_failure(restore, make.failed, status);
    }
    restore_progress_end(&progress);
    if (status == SR_OK) {
        clear_fetched(restore, &fetch);
        (void)sr_copy_remove(restore->work, NULL);
        print_made(restore, &made);
    }
    return status;
}

static int run(struct restore *restore)
{
    int status = open_inputs(restore);
    if (status == SR_OK) {
        status = look(restore);
    }
    if (status != SR_OK || restore->dry_run) {
        return status;
    }
    status = take_work(restore);
    if (status == SR_OK) {
        status = work(restore);
    }
    while (restore->again) {
        restore->again = false;
        sr_plan_free(restore->plan);
        restore->plan = NULL;
        status = look(restore);
        if (status == SR_OK) {
            status = work(restore);
        }
    }
    if (status != SR_OK && restore->lock_fd >= 0) {
        leave_work(restore);
    }
    return status;
}

int command_restore(int argc, char **argv)
{
    static struct restore restore; /* large */
    restore = (struct restore){.source = {.command = "restore", .at_full_speed = true},
                               .bump = SR_RESTORE_BUMP,
                               .parallel = PARALLEL,
                               .lock_fd = -1};
    int code = parse(argc, argv, &restore);
    if (code != EXIT_DONE) {
        return code < 0 ? EXIT_DONE : code;
    }
    if (run(&restore) != SR_OK) {
        say(restore.err.text);
        code = EXIT_FAILED;
    }
    if (restore.lock_fd >= 0) {
        close(restore.lock_fd);
    }
    sr_plan_free(restore.plan);
    for (int64_t i = 0; i < restore.parallel; i++) {
        sr_target_close(restore.targets[i]);
    }
    sr_recovery_private_free(restore.key);
    if (restore.data_dir != NULL) {
        restore.config->data_dir = restore.data_dir;
    }
    sr_config_free(restore.config);
    return code;
}
