/* SPDX-License-Identifier: Apache-2.0
 *
 * strongroom recover: when a majority of the members is lost for good, makes the first member of a
 * new cluster out of what the others have left. docs/operations/lost-majority.md.
 *
 *   lock and copy each survivor ──► say what it holds ──► signs of life? refuse
 *     ──► the best one: apply its log ──► new data directory
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "client/commands.h"
#include "node/recover/copy.h"
#include "node/recover/recover.h"

struct recover {
    const char *config_path;
    struct sr_config *config;
    char *dirs[SR_MEMBERS_MAX];
    char *kek_files[SR_MEMBERS_MAX];
    struct sr_survivor survivors[SR_MEMBERS_MAX];
    size_t named;  /* on the command line */
    size_t opened; /* of survivors */
    bool report_only;
    bool gone;
    char work[PATH_MAX];
    struct sr_err err;
};

static void print_help(void)
{
    puts(
        "usage: strongroom recover --config FILE --survivor DIR=KEK_FILE [...] [OPTION]...\n"
        "\n"
        "Makes the first member of a new cluster out of data directories that a cluster has left\n"
        "which lost its majority for good. Of several survivors the one with the most is taken.\n"
        "Their directories are locked and only read. The new cluster has another id, so that none\n"
        "of the old members can come back to it; they join it as new members.\n"
        "\n"
        "  --config FILE            the configuration of the new node. Its data_dir must be new; "
        "room\n"
        "                           for a copy of each survivor is needed beside it\n"
        "  --survivor DIR=KEK_FILE  the data directory of a member of the old cluster, and its "
        "master\n"
        "                           key. Name all that are left\n"
        "  --report                 only say what they hold\n"
        "  --i-know-they-are-gone   although it looks as if a member of the old cluster were "
        "alive.\n"
        "                           If one is, two clusters go on, and their writes part for ever\n"
        "  -h, --help");
}

/* ---- What the survivors hold ---- */

static const char *date_text(uint64_t ms, char out[64])
{
    time_t seconds = (time_t)(ms / 1000);
    struct tm utc;
    if (ms == 0 || gmtime_r(&seconds, &utc) == NULL) {
        return "unknown";
    }
    strftime(out, 64, "%Y-%m-%d %H:%M:%S UTC", &utc);
    return out;
}

static void print_survivor(const struct sr_survivor *survivor)
{
    char date[64];
    printf("%s\n", survivor->dir);
    printf("  member        %016" PRIx64 " of cluster %016" PRIx64 "\n", survivor->member_id,
           survivor->cluster_id);
    printf("  log           up to entry %" PRIu64 " of term %" PRIu64 "\n",
           survivor->log_state.last_index, survivor->last_term);
    printf("  state         up to entry %" PRIu64 ", revision %" PRId64 "\n",
           survivor->stored_index, sr_store_revision(survivor->store));
    printf("  last write    %s\n", date_text(survivor->written_ms, date));
    printf("  last change   %s\n", date_text(survivor->changed_ms, date));
    if (survivor->log_state.dropped_bytes > 0) {
        printf("  torn tail     %" PRIu64 " bytes that were never synced\n",
               survivor->log_state.dropped_bytes);
    }
}

static void print_verdict(const struct recover *recover, const struct sr_survivor *best)
{
    char date[64];
    printf("\nmost is in %s: entry %" PRIu64 " of term %" PRIu64 "\n", best->dir,
           best->log_state.last_index, best->last_term);
    printf("may be lost: what the cluster acknowledged after that entry%s%s%s, in as far as only\n"
           "members that are not named here had it. A member that was cut off before the end may\n"
           "lack more than one that was not.\n",
           best->written_ms == 0 ? "" : " (",
           best->written_ms == 0 ? "" : date_text(best->written_ms, date),
           best->written_ms == 0 ? "" : ")");
    if (recover->opened == 1) {
        puts("Only one survivor is named: name every directory that is left.");
    }
}

static int open_survivors(struct recover *recover)
{
    for (size_t i = 0; i < recover->named; i++) {
        char copy[PATH_MAX + 32];
        snprintf(copy, sizeof(copy), "%s/copy-%zu", recover->work, i);
        recover->opened = i + 1; /* to be closed in any case */
        int status = sr_survivor_open(recover->dirs[i], recover->kek_files[i], copy,
                                      &recover->survivors[i], &recover->err);
        if (status != SR_OK) {
            return status;
        }
        print_survivor(&recover->survivors[i]);
        if (recover->survivors[i].cluster_id != recover->survivors[0].cluster_id) {
            return sr_err_set(&recover->err, SR_INVALID, "%s: it is of another cluster",
                              recover->dirs[i]);
        }
    }
    return SR_OK;
}

/* ---- The work ---- */

static void say(const char *text)
{
    fprintf(stderr, "strongroom recover: %s\n", text);
}

static int check_dead(struct recover *recover)
{
    if (sr_recover_signs_of_life(recover->config, recover->survivors, recover->opened, say) == 0) {
        return SR_OK;
    }
    if (recover->gone) {
        say("going on, as --i-know-they-are-gone was given");
        return SR_OK;
    }
    return sr_err_set(&recover->err, SR_REFUSED,
                      "the old cluster may be alive: start its nodes, or make sure that none of "
                      "them can ever run again and say --i-know-they-are-gone");
}

static int make(struct recover *recover)
{
    struct sr_recovered made;
    struct sr_survivor *best =
        &recover->survivors[sr_survivor_best(recover->survivors, recover->opened) -
                            recover->survivors];
    print_verdict(recover, best);
    if (recover->report_only) {
        return SR_OK;
    }
    int status = check_dead(recover);
    if (status == SR_OK) {
        status = sr_survivor_apply_rest(best, &recover->err);
    }
    if (status == SR_OK) {
        status = sr_recover_make(recover->config, best, recover->work, &made, &recover->err);
    }
    if (status == SR_OK) {
        printf("\nmade %s: member %016" PRIx64 " of the new cluster %016" PRIx64 ", entry %" PRIu64
               ", revision %" PRId64 "\n"
               "start strongroomd with %s, look at the records, then add members\n",
               recover->config->data_dir, made.member_id, made.cluster_id, made.index,
               made.revision, recover->config_path);
    }
    return status;
}

static int run(struct recover *recover)
{
    int status = snprintf(recover->work, sizeof(recover->work), "%s.recovering",
                          recover->config->data_dir) < (int)sizeof(recover->work)
                     ? sr_copy_remove(recover->work, &recover->err)
                     : sr_err_set(&recover->err, SR_INVALID, "data_dir: path is too long");
    if (status != SR_OK) {
        return status;
    }
    if (mkdir(recover->work, 0700) != 0) {
        return sr_err_errno(&recover->err, SR_IO, errno, "create %s", recover->work);
    }
    status = open_survivors(recover);
    if (status == SR_OK) {
        status = make(recover);
    }
    for (size_t i = 0; i < recover->opened; i++) {
        sr_survivor_close(&recover->survivors[i]);
    }
    (void)sr_copy_remove(recover->work, NULL);
    return status;
}

/* ---- The command ---- */

static int add_survivor(struct recover *recover, char *text)
{
    char *equals = strrchr(text, '=');
    if (equals == NULL || equals == text || equals[1] == '\0') {
        fprintf(stderr, "strongroom recover: --survivor %s: DIR=KEK_FILE is wanted\n", text);
        return EXIT_USAGE;
    }
    if (recover->named == SR_MEMBERS_MAX) {
        fprintf(stderr, "strongroom recover: more than %d survivors\n", SR_MEMBERS_MAX);
        return EXIT_USAGE;
    }
    *equals = '\0';
    recover->dirs[recover->named] = text;
    recover->kek_files[recover->named++] = equals + 1;
    return EXIT_DONE;
}

/* -1: help was printed. */
static int parse(int argc, char **argv, struct recover *recover)
{
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'}, {"survivor", required_argument, NULL, 's'},
        {"report", no_argument, NULL, 'r'},       {"i-know-they-are-gone", no_argument, NULL, 'g'},
        {"help", no_argument, NULL, 'h'},         {NULL, 0, NULL, 0}};
    int option = 0;
    while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (option == 'h') {
            print_help();
            return -1;
        }
        if (option == '?' || (option == 's' && add_survivor(recover, optarg) != EXIT_DONE)) {
            return EXIT_USAGE;
        }
        recover->config_path = option == 'c' ? optarg : recover->config_path;
        recover->report_only = recover->report_only || option == 'r';
        recover->gone = recover->gone || option == 'g';
    }
    if (optind < argc || recover->config_path == NULL || recover->named == 0) {
        fprintf(stderr, "strongroom recover: --config FILE and --survivor DIR=KEK_FILE are needed; "
                        "--help has more\n");
        return EXIT_USAGE;
    }
    return EXIT_DONE;
}

int command_recover(int argc, char **argv)
{
    static struct recover recover; /* large */
    int code = parse(argc, argv, &recover);
    if (code != EXIT_DONE) {
        return code < 0 ? EXIT_DONE : code;
    }
    if (sr_config_load(recover.config_path, &recover.config, &recover.err) != SR_OK) {
        fprintf(stderr, "strongroom recover: %s\n", recover.err.text);
        return EXIT_USAGE;
    }
    if (run(&recover) != SR_OK) {
        fprintf(stderr, "strongroom recover: %s\n", recover.err.text);
        code = EXIT_FAILED;
    }
    sr_config_free(recover.config);
    return code;
}
