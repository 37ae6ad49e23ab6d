/* SPDX-License-Identifier: Apache-2.0
 *
 * A follower that lags behind what libraft has in memory is fed from the log on disk.
 *
 *   libraft wants to install a snapshot ─► wanted ─► fetching (a slice, on another thread)
 *        ▲                                              │
 *        └── answered, or nothing for a while ◄─ sent ◄─┘
 *
 * What it is sent are AppendEntries like libraft's own, one slice after the other. libraft counts
 * their results without knowing where they came from: once the follower has everything up to
 * libraft's snapshot, libraft goes on by itself from memory, and that ends the feeding.
 *
 * Where to begin is what the follower last said of its log. If terms differ there, it refuses and
 * names an earlier index, as it would to libraft. If the log here begins after that, the follower
 * must take an image first (hold.c).
 */
#include "base/alloc.h"
#include "node/consensus/internal.h"

void sr_core_feed_stop(struct sr_core_peer *peer)
{
    peer->feed.state = SR_FEED_IDLE;
    peer->feed.ticket = 0;
}

/* libraft would send a snapshot now; it says so again and again while it lasts. */
void sr_core_feed_wanted(struct sr_core *core, struct sr_core_peer *peer)
{
    (void)core;
    struct sr_core_feed *feed = &peer->feed;
    if (feed->state != SR_FEED_IDLE || !peer->hinted) {
        return;
    }
    feed->state = SR_FEED_WANTED;
    feed->next = peer->hint + 1;
}

void sr_core_feed_result(struct sr_core *core, struct sr_core_peer *peer, uint64_t rejected,
                         uint64_t last_index)
{
    struct sr_core_feed *feed = &peer->feed;
    peer->hint = last_index;
    peer->hinted = true;
    if (feed->state == SR_FEED_IMAGE && last_index > feed->image_hint) {
        feed->state = SR_FEED_WANTED; /* it has started from an image */
        feed->next = last_index + 1;
    } else if (feed->state != SR_FEED_SENT) {
        return;
    }
    if (rejected == 0 && last_index >= core->raft.trail.snapshot.index) {
        sr_core_feed_stop(peer); /* libraft has the rest */
    } else if (feed->state == SR_FEED_SENT && ((rejected == 0 && last_index >= feed->last) ||
                                               (rejected != 0 && rejected == feed->prev))) {
        feed->state = SR_FEED_WANTED;
        feed->next = last_index + 1;
    }
}

static void fetch(struct sr_core *core, struct sr_core_peer *peer)
{
    struct sr_core_task *task = sr_zalloc(sizeof(*task));
    task->kind = SR_CORE_FETCH;
    task->index = peer->feed.next;
    task->bytes_max = SR_CORE_FEED_BYTES;
    task->member = peer->id;
    task->ticket = ++core->next_ticket;
    peer->feed.state = SR_FEED_FETCHING;
    peer->feed.ticket = task->ticket;
    core->env.task_submit(core->env.arg, task);
}

void sr_core_feed_turn(struct sr_core *core)
{
    for (size_t i = 0; i < core->peer_count; i++) {
        struct sr_core_peer *peer = &core->peers[i];
        struct sr_core_feed *feed = &peer->feed;
        if (feed->state == SR_FEED_IDLE) {
            continue;
        }
        if (!sr_core_leads(core) || !peer->up) {
            sr_core_feed_stop(peer);
        } else if (feed->state == SR_FEED_WANTED) {
            fetch(core, peer);
        } else if (feed->state == SR_FEED_SENT &&
                   core->now_ms - feed->sent_ms > 2 * core->options.election_timeout_ms) {
            feed->state = SR_FEED_WANTED; /* lost on the way */
            feed->next = peer->hint + 1;
        }
    }
}

static void need_image(struct sr_core *core, struct sr_core_peer *peer, uint64_t index)
{
    peer->feed.state = SR_FEED_IMAGE;
    peer->feed.image_hint = peer->hint;
    sr_core_hold_begin(core, peer, index);
}

static void send_slice(struct sr_core *core, struct sr_core_peer *peer, struct sr_core_task *task)
{
    struct raft_entry *entries = sr_calloc(task->count, sizeof(*entries));
    struct sr_reader reader = sr_reader_of(task->data.data, task->data.size);
    for (size_t i = 0; i < task->count; i++) {
        struct sr_bytes data = sr_read_bytes(&reader, task->entries[i].size);
        entries[i].term = task->entries[i].term;
        entries[i].type = (enum raft_entry_type)task->entries[i].type;
        entries[i].buf.base = task->data.data + (data.data - task->data.data);
        entries[i].buf.len = data.size;
    }
    struct raft_append_entries append = {
        .term = raft_current_term(&core->raft),
        .prev_log_index = task->index - 1,
        .prev_log_term = task->prev_term,
        .leader_commit = raft_commit_index(&core->raft),
        .entries = entries,
        .n_entries = (unsigned)task->count,
    };
    peer->feed.prev = task->index - 1;
    peer->feed.last = task->index - 1 + task->count;
    peer->feed.sent_ms = core->now_ms;
    peer->feed.state = SR_FEED_SENT;
    sr_core_encode_append(core, peer, &append);
    sr_free(entries);
}

void sr_core_feed_task_done(struct sr_core *core, struct sr_core_task *task)
{
    struct sr_core_peer *peer = sr_core_peer(core, task->member);
    bool awaited =
        peer != NULL && peer->feed.state == SR_FEED_FETCHING && peer->feed.ticket == task->ticket;
    if (!awaited || !sr_core_leads(core) || core->failed) {
        goto out;
    }
    if (task->status == SR_NOT_FOUND && task->index > core->persisted) {
        sr_core_feed_stop(peer); /* it lacks nothing that is written */
    } else if (task->status == SR_NOT_FOUND && task->index <= peer->hint) {
        peer->feed.state = SR_FEED_WANTED; /* what was on its way has come: it needs a later one */
        peer->feed.next = peer->hint + 1;
    } else if (task->status == SR_NOT_FOUND) {
        need_image(core, peer, task->index);
    } else if (task->status != SR_OK) {
        sr_err_prefix(&task->err, "read log for a follower");
        sr_core_fail(core, &task->err);
    } else {
        send_slice(core, peer, task);
    }
out:
    sr_core_task_free(task);
}
