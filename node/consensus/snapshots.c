/* SPDX-License-Identifier: Apache-2.0
 *
 * Manifests: what lets libraft forget entries, and then the disk.
 *
 *   enough bytes ─► libraft's snapshot ─► held until the state is durable up to its index
 *     ─► written to the log ─► libraft drops its memory up to it, less a trailing stretch
 *     ─► segments beyond log_keep_bytes or log_keep_entries are released
 *
 * Driven by bytes: libraft counts entries, and ours differ by a factor of 100,000. The trailing
 * stretch is never empty: a follower that is one entry behind would need a snapshot at once.
 */
#include <string.h>

#include "base/alloc.h"
#include "node/consensus/internal.h"

/* A manifest that found no space waits this long for some: it is what frees some in the end. */
#define RETRY_MS 1000

static bool enough(const struct sr_core *core)
{
    return sr_marks_bytes_after(&core->marks, core->snapshots.index) >=
           core->options.snapshot_bytes;
}

/* The commit index may step back on a follower, even behind the last manifest; libraft's own
 * threshold then wraps around and asks for a snapshot at the older index.
 *
 * And libraft takes note of an applied configuration one step after it has applied it: a snapshot
 * in between, or while it applies several at once after a start, would carry an older one. Once
 * the log is released up to such a manifest, a restart would begin with the wrong members. */
bool sr_core_snapshots_wanted(const struct sr_core *core)
{
    const struct raft *raft = &core->raft;
    if (core->snapshots.request != NULL || core->failed) {
        return false;
    }
    if (raft->configuration_committed_index != sr_core_changes_last(core, raft->commit_index) &&
        sr_core_guarded(core, SR_GUARD_CONFIGURATION)) {
        return false;
    }
    return !sr_core_guarded(core, SR_GUARD_SNAPSHOT_BACK) ||
           (raft->commit_index > core->snapshots.index && raft->last_applied == raft->commit_index);
}

int sr_core_snapshots_put(struct sr_core *core, const struct raft_snapshot *snapshot,
                          struct raft_io_snapshot_put *request, raft_io_snapshot_put_cb cb)
{
    struct raft_buffer encoded;
    sr_check(raft_configuration_encode(&snapshot->configuration, &encoded) == 0);
    sr_check(snapshot->n_bufs == 1);
    struct sr_core_manifest manifest = {
        .index = snapshot->index,
        .term = snapshot->term,
        .configuration_index = snapshot->configuration_index,
        .configuration = {encoded.base, encoded.len},
        .data = {snapshot->bufs[0].base, snapshot->bufs[0].len},
    };
    struct sr_core_task *task = sr_zalloc(sizeof(*task));
    task->kind = SR_CORE_MANIFEST;
    sr_core_manifest_pack(&manifest, &task->data);
    sr_free(encoded.base);
    core->snapshots.task = task;
    core->snapshots.want_index = snapshot->index;
    core->snapshots.request = request;
    core->snapshots.cb = cb;
    core->snapshots.submitted = false;
    core->snapshots.not_before_ms = 0;
    raft_set_snapshot_threshold(&core->raft, UINT_MAX);
    return 0;
}

/* The last entry that need not be kept behind the manifest, by either bound. */
static uint64_t releasable(const struct sr_core *core)
{
    uint64_t last = core->snapshots.index;
    uint64_t entries = core->options.log_keep_entries;
    uint64_t index = sr_marks_index_before(&core->marks, last, core->options.log_keep_bytes);
    if (entries > 0 && last > entries && last - entries > index) {
        index = last - entries;
    }
    return index;
}

static void release(struct sr_core *core)
{
    struct sr_core_snapshots *snapshots = &core->snapshots;
    uint64_t index = releasable(core);
    index = sr_core_hold_limit(core, index);
    if (snapshots->releasing || index <= snapshots->released || core->failed) {
        return;
    }
    struct sr_core_task *task = sr_zalloc(sizeof(*task));
    task->kind = SR_CORE_RELEASE;
    task->index = index;
    snapshots->releasing = true;
    core->env.task_submit(core->env.arg, task);
}

void sr_core_snapshots_turn(struct sr_core *core)
{
    struct sr_core_snapshots *snapshots = &core->snapshots;
    if (snapshots->request == NULL) {
        raft_set_snapshot_threshold(&core->raft, enough(core) ? 1 : UINT_MAX);
        return;
    }
    bool durable = core->env.durable_index(core->env.arg) >= snapshots->want_index ||
                   !sr_core_guarded(core, SR_GUARD_MANIFEST_HOLD);
    if (!snapshots->submitted && durable && core->now_ms >= snapshots->not_before_ms) {
        struct sr_core_task *task = snapshots->task;
        snapshots->submitted = true;
        snapshots->task = NULL; /* the env's until done */
        core->env.task_submit(core->env.arg, task);
    }
}

static unsigned trailing(const struct sr_core *core, uint64_t index)
{
    if (!sr_core_guarded(core, SR_GUARD_TRAILING)) {
        return 0;
    }
    uint64_t from = sr_marks_index_before(&core->marks, index, core->options.trailing_bytes);
    uint64_t count = index - from;
    return count == 0 ? 1 : count > UINT_MAX ? UINT_MAX : (unsigned)count;
}

static void manifest_done(struct sr_core *core)
{
    struct sr_core_snapshots *snapshots = &core->snapshots;
    struct raft_io_snapshot_put *request = snapshots->request;
    snapshots->index = snapshots->want_index;
    snapshots->request = NULL;
    /* Read by libraft in the callback. */
    raft_set_snapshot_trailing(&core->raft, trailing(core, snapshots->index));
    snapshots->cb(request, 0);
    release(core);
}

static void try_later(struct sr_core *core, struct sr_core_task *task)
{
    struct sr_core_snapshots *snapshots = &core->snapshots;
    task->status = SR_OK;
    snapshots->task = task;
    snapshots->submitted = false;
    snapshots->not_before_ms = core->now_ms + RETRY_MS;
}

void sr_core_snapshots_task_done(struct sr_core *core, struct sr_core_task *task)
{
    if (task->kind == SR_CORE_MANIFEST && task->status == SR_NO_SPACE) {
        try_later(core, task);
        return;
    }
    if (task->status != SR_OK) {
        sr_err_prefix(&task->err,
                      task->kind == SR_CORE_MANIFEST ? "write log manifest" : "release log");
        sr_core_fail(core, &task->err);
    } else if (task->kind == SR_CORE_MANIFEST) {
        manifest_done(core);
    } else {
        core->snapshots.released = task->index;
        core->snapshots.releasing = false;
        sr_marks_release(&core->marks, task->index);
    }
    sr_core_task_free(task);
}

void sr_core_snapshots_close(struct sr_core *core)
{
    struct sr_core_snapshots *snapshots = &core->snapshots;
    sr_core_task_free(snapshots->task);
    snapshots->task = NULL;
    if (snapshots->request != NULL) {
        struct raft_io_snapshot_put *request = snapshots->request;
        snapshots->request = NULL;
        snapshots->cb(request, RAFT_CANCELED);
    }
}
