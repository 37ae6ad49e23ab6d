/* SPDX-License-Identifier: Apache-2.0
 *
 * raft_fsm: committed entries on their way from libraft to the state.
 *
 *   libraft ─apply─► held until our own log has the entry durably ─► env.apply
 *
 * A follower may learn that an entry is committed before its own log has it on disk. Would the
 * state become durable first, a crash would leave a state ahead of the log, which at the next
 * start looks like a log that lost entries. So what is applied is always in the log.
 *
 * Entries that are not commands (barriers, configurations) never reach libraft's apply; they show
 * as gaps. Each goes to the state too: readers wait for its index, and the state knows the
 * configuration at every point of its own.
 */
#include <string.h>

#include "base/alloc.h"
#include "node/consensus/internal.h"
#include "proto/batch.h"

static bool may_apply(const struct sr_core *core, uint64_t index)
{
    return index <= core->persisted || !sr_core_guarded(core, SR_GUARD_APPLY_PERSISTED);
}

static void hand_over(struct sr_core *core, uint64_t index, uint32_t type, const uint8_t *data,
                      size_t size)
{
    struct sr_core_applies *applies = &core->applies;
    uint64_t term = sr_core_term_of(core, index);
    sr_check(term != 0); /* what is behind a manifest was handed over before */
    if (applies->head == NULL && may_apply(core, index)) {
        core->env.apply(core->env.arg, index, term, type, data, size);
        return;
    }
    struct sr_core_held *held = sr_alloc(sizeof(*held) + size);
    held->next = NULL;
    held->index = index;
    held->term = term;
    held->type = type;
    held->size = size;
    if (size > 0) {
        memcpy(held->data, data, size);
    }
    if (applies->tail == NULL) {
        applies->head = held;
    } else {
        applies->tail->next = held;
    }
    applies->tail = held;
    applies->entries++;
    applies->bytes += size;
}

static void pass(struct sr_core *core, uint64_t index, const uint8_t *data, size_t size)
{
    sr_check(index == core->applies.seen + 1);
    core->applies.seen = index;
    uint64_t term = 0;
    if (size >= SR_BATCH_HEADER_BYTES) {
        term = sr_batch_term(data);
    }
    hand_over(core, index, RAFT_COMMAND, data, size);
    sr_core_batches_applied(core, index, term);
    sr_core_lost_applied(core, term, data, size);
}

static void pass_gap(struct sr_core *core, uint64_t up_to)
{
    while (core->applies.seen < up_to) {
        uint64_t index = ++core->applies.seen;
        struct sr_buf change = {0};
        if (sr_core_changes_take(core, index, &change)) {
            hand_over(core, index, RAFT_CHANGE, change.data, change.size);
            sr_buf_close(&change);
        } else {
            hand_over(core, index, RAFT_BARRIER, NULL, 0);
        }
        sr_core_batches_applied(core, index, 0);
    }
}

static int fsm_apply(struct raft_fsm *fsm, const struct raft_buffer *buf, void **result)
{
    struct sr_core *core = fsm->data;
    uint64_t index = raft_last_applied(&core->raft) + 1;
    *result = NULL;
    pass_gap(core, index - 1);
    pass(core, index, buf->base, buf->len);
    return 0;
}

void sr_core_applies_drain(struct sr_core *core)
{
    struct sr_core_applies *applies = &core->applies;
    pass_gap(core, raft_last_applied(&core->raft));
    while (applies->head != NULL && may_apply(core, applies->head->index)) {
        struct sr_core_held *held = applies->head;
        applies->head = held->next;
        if (applies->head == NULL) {
            applies->tail = NULL;
        }
        applies->entries--;
        applies->bytes -= held->size;
        core->env.apply(core->env.arg, held->index, held->term, held->type,
                        held->type == RAFT_BARRIER ? NULL : held->data, held->size);
        sr_free(held);
    }
}

void sr_core_applies_close(struct sr_core *core)
{
    while (core->applies.head != NULL) {
        struct sr_core_held *held = core->applies.head;
        core->applies.head = held->next;
        sr_free(held);
    }
    core->applies.tail = NULL;
}

void sr_core_backlog(const struct sr_core *core, size_t *ret_entries, size_t *ret_bytes)
{
    core->env.apply_backlog(core->env.arg, ret_entries, ret_bytes);
    *ret_entries += core->applies.entries;
    *ret_bytes += core->applies.bytes;
}

/* libraft's snapshot is a reference to our state, not the state: an index. It may be refused here
 * without harm, the only callback of which that is true. */
static int fsm_snapshot(struct raft_fsm *fsm, struct raft_buffer *bufs[], unsigned *n_bufs)
{
    struct sr_core *core = fsm->data;
    if (!sr_core_snapshots_wanted(core)) {
        return RAFT_BUSY;
    }
    struct raft_buffer *buf = sr_zalloc(sizeof(*buf));
    buf->len = 8;
    buf->base = sr_alloc(buf->len);
    sr_put_u64(buf->base, core->raft.commit_index);
    *bufs = buf;
    *n_bufs = 1;
    return 0;
}

/* Only from raft_start, with the manifest that boot.c found and held against the state. */
static int fsm_restore(struct raft_fsm *fsm, struct raft_buffer *buf)
{
    struct sr_core *core = fsm->data;
    core->applies.seen = core->snapshots.index;
    sr_free(buf->base);
    return 0;
}

void sr_core_fsm_init(struct sr_core *core)
{
    core->fsm = (struct raft_fsm){
        .version = 1,
        .data = core,
        .apply = fsm_apply,
        .snapshot = fsm_snapshot,
        .restore = fsm_restore,
    };
}
