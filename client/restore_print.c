/* SPDX-License-Identifier: Apache-2.0 */
#include "client/restore_print.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "node/restore/when.h"

#define SECOND_NS UINT64_C(1000000000)
#define MIB       (1024.0 * 1024.0)

/* ---- The plan ---- */

static void print_clusters(const struct sr_plan *plan)
{
    for (size_t i = 0; i < plan->cluster_count; i++) {
        const struct sr_plan_cluster *cluster = &plan->clusters[i];
        printf("cluster %016" PRIx64 ": %zu snapshots, changes in %zu pieces, up to revision "
               "%" PRId64 "\n",
               cluster->id, cluster->snapshots, cluster->changes, cluster->newest_revision);
    }
}

static void print_snapshots(const struct sr_plan *plan)
{
    char when[SR_WHEN_CHARS];
    for (size_t i = 0; i < plan->full_count; i++) {
        const Strongroom__Manifest *said = plan->full[i]->said;
        printf("  %c snapshot %" PRIu64 ": revision %" PRId64 " of %s, %.1f MiB\n",
               plan->full[i] == sr_plan_base(plan) ? '*' : ' ', said->sequence,
               said->until_revision, sr_when_text(sr_plan_time(plan->full[i]), when),
               (double)said->size / MIB);
    }
}

static void print_way(const struct sr_plan *plan)
{
    char when[SR_WHEN_CHARS];
    const Strongroom__Manifest *base = sr_plan_base(plan)->said;
    printf("reaches      revision %" PRId64 " of %s\n", plan->reach_revision,
           sr_when_text(plan->reach_ms, when));
    printf("restored     snapshot %" PRIu64 ", then changes in %zu pieces: %.1f MiB\n",
           base->sequence, plan->step_count - 1, (double)plan->bytes / MIB);
    if (plan->until_ms != 0) {
        printf("up to        what was there at %s, revision %" PRId64 " at most\n",
               sr_when_text(plan->until_ms, when), plan->revision);
    } else {
        printf("up to        revision %" PRId64 "\n", plan->revision);
    }
}

void restore_print_plan(const struct sr_plan *plan)
{
    print_clusters(plan);
    if (plan->full_count > 0) {
        printf("name         %s\n", plan->full[plan->full_count - 1]->said->cluster_name);
        printf("signed by    %s\n", plan->fingerprint);
        print_snapshots(plan);
    }
    if (plan->step_count > 0) {
        print_way(plan);
    }
    for (size_t i = 0; i < plan->note_count; i++) {
        printf("note: %s\n", plan->notes[i]);
    }
    if (plan->notes_lost > 0) {
        printf("note: and %zu more\n", plan->notes_lost);
    }
    fflush(stdout);
}

/* ---- Progress ---- */

void restore_progress_begin(struct restore_progress *progress, const char *command,
                            const struct sr_plan *plan)
{
    *progress = (struct restore_progress){.plan = plan,
                                          .command = command,
                                          .terminal = isatty(STDERR_FILENO) == 1,
                                          .said_ns = sr_clock_monotonic_ns()};
}

static void say(struct restore_progress *progress, const char *doing, size_t number, uint64_t bytes)
{
    uint64_t now_ns = sr_clock_monotonic_ns();
    if (now_ns - progress->said_ns < (progress->terminal ? 1 : 30) * SECOND_NS) {
        return;
    }
    progress->said_ns = now_ns;
    fprintf(stderr, "%sstrongroom %s: %s %zu of %zu, %.1f of %.1f MiB%s",
            progress->terminal ? "\r" : "", progress->command, doing, number,
            progress->plan->step_count, (double)bytes / MIB, (double)progress->plan->bytes / MIB,
            progress->terminal ? "   " : "\n");
    fflush(stderr);
}

void restore_progress_fetch(void *arg, size_t whole, uint64_t bytes)
{
    say(arg, "fetched archives:", whole, bytes);
}

void restore_progress_stage(void *arg, size_t number, uint64_t bytes)
{
    struct restore_progress *progress = arg;
    for (; progress->step < number; progress->step++) {
        progress->before += progress->plan->steps[progress->step]->said->size;
    }
    say(progress, "restoring archive", number + 1, progress->before + bytes);
}

void restore_progress_end(struct restore_progress *progress)
{
    if (progress->terminal) {
        fputc('\n', stderr);
    }
}
