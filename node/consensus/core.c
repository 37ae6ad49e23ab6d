/* SPDX-License-Identifier: Apache-2.0
 *
 * Start, stop and the turn: which part does what, and in which order.
 */
#include "node/consensus/core.h"

#include "base/alloc.h"
#include "base/log.h"
#include "node/consensus/internal.h"

#define SNAPSHOT_BYTES ((size_t)16 * 1024 * 1024)
/* What libraft takes for the installation of a snapshot is a feed: it may ask for it again. */
#define WANTED_AGAIN_MS 2000
#define TRAILING_BYTES  ((size_t)4 * 1024 * 1024)

static void refresh(struct sr_core *core)
{
    core->now_ms = core->env.now_ns(core->env.arg) / 1000000u;
}

void sr_core_fail(struct sr_core *core, const struct sr_err *err)
{
    if (!core->failed) {
        core->failed = true;
        core->env.fail(core->env.arg, err);
    }
}

bool sr_core_send(struct sr_core *core, struct sr_core_peer *peer,
                  const Strongroom__Envelope *envelope, const struct sr_bytes *payload,
                  size_t payload_count)
{
    if (core->failed || !peer->up) {
        return false;
    }
    return core->env.send(core->env.arg, peer->id, envelope, payload, payload_count);
}

/* libraft has this function, but hides it. Its records each hold the last index of a term. */
uint64_t sr_core_term_of(const struct sr_core *core, uint64_t index)
{
    const struct raft_trail *trail = &core->raft.trail;
    uint64_t term = 0;
    if (index > trail->offset) {
        for (unsigned i = trail->front; i != trail->back && term == 0; i = (i + 1) % trail->size) {
            if (index <= trail->records[i].index) {
                term = trail->records[i].term;
            }
        }
    }
    return term == 0 && index == trail->snapshot.index ? trail->snapshot.term : term;
}

uint64_t sr_core_first_in_memory(const struct sr_core *core)
{
    return core->raft.trail.offset + 1;
}

struct raft *sr_core_raft(struct sr_core *core)
{
    return &core->raft;
}

static void take_options(struct sr_core *core, const struct sr_core_options *options)
{
    core->options = *options;
    core->options.members = NULL;
    core->metrics = options->metrics;
    core->env = options->env;
    if (core->options.snapshot_bytes == 0) {
        core->options.snapshot_bytes = SNAPSHOT_BYTES;
    }
    if (core->options.trailing_bytes == 0) {
        core->options.trailing_bytes = TRAILING_BYTES;
    }
    if (core->options.entries_in_flight == 0) {
        core->options.entries_in_flight = SR_CORE_ENTRIES_IN_FLIGHT;
    }
    core->entries = sr_calloc(SR_INFLIGHT_ENTRIES_MAX, sizeof(*core->entries));
    core->entry_pointers = sr_calloc(SR_INFLIGHT_ENTRIES_MAX, sizeof(void *));
    core->pieces = sr_calloc(SR_BATCH_COMMANDS_MAX, sizeof(*core->pieces));
    core->lengths = sr_calloc(SR_BATCH_COMMANDS_MAX, sizeof(*core->lengths));
    sr_core_members_init(core, options->members, options->member_count);
}

/* Where the numbers of questions to others begin: at random, so that what is said to an earlier
 * run of this node is not taken for an answer to this one. */
static uint64_t draw_number(struct sr_core *core)
{
    uint64_t high = core->env.random(core->env.arg);
    if (!sr_core_guarded(core, SR_GUARD_NUMBERS)) {
        return 0;
    }
    return high << 31 | core->env.random(core->env.arg);
}

static void free_core(struct sr_core *core)
{
    sr_core_boot_close(core);
    sr_core_applies_close(core);
    sr_core_changes_close(core);
    sr_marks_close(&core->marks);
    sr_free(core->entries);
    sr_free(core->entry_pointers);
    sr_free(core->pieces);
    sr_free(core->lengths);
    sr_free(core);
}

static void set_up_raft(struct sr_core *core)
{
    char address[24];
    struct raft *raft = &core->raft;
    sr_core_address(core->options.self, address);
    sr_check(raft_init(raft, &core->io, &core->fsm, core->options.self, address) == 0);
    raft->tracer = NULL; /* the default one formats every message, though it prints none */
    /* Heartbeats go out with every tick of ours: a follower in PROBE gets new entries only after
     * this much silence, which a longer value adds to sporadic writes. */
    raft_set_heartbeat_timeout(raft, 1);
    raft_set_election_timeout(raft, core->options.election_timeout_ms);
    raft_set_pre_vote(raft, true);
    raft_set_max_inflight_entries(raft, SR_INFLIGHT_ENTRIES_MAX);
    raft_set_capacity_threshold(raft, 0);
    raft_set_snapshot_threshold(raft, UINT_MAX);
    raft_set_snapshot_trailing(raft, 1);
    raft_set_install_snapshot_timeout(raft, WANTED_AGAIN_MS);
}

static void raft_closed(struct raft *raft)
{
    (void)raft;
}

int sr_core_start(const struct sr_core_options *options, struct sr_core **ret, struct sr_err *err)
{
    sr_core_heap_init();
    struct sr_core *core = sr_zalloc(sizeof(*core));
    take_options(core, options);
    refresh(core);
    core->reads.round = draw_number(core);
    core->batches.next_id = draw_number(core);
    sr_core_io_init(core);
    sr_core_fsm_init(core);
    int status = sr_core_boot_load(core, options, err);
    if (status != SR_OK) {
        free_core(core);
        return status;
    }
    set_up_raft(core);
    sr_check(raft_start(&core->raft) == 0);
    sr_core_members_update(core);
    core->state = RAFT_FOLLOWER;
    *ret = core;
    return SR_OK;
}

void sr_core_stop(struct sr_core *core)
{
    sr_core_reads_close(core);
    sr_core_batches_close(core);
    raft_close(&core->raft, raft_closed);
    sr_core_batches_reap(core);
    free_core(core);
}

void sr_core_tick(struct sr_core *core)
{
    if (core->failed) {
        return;
    }
    refresh(core);
    sr_core_election_tick(core);
    core->tick_cb(&core->io);
    sr_core_io_check_stall(core);
    sr_core_batches_expire(core);
    sr_core_reads_tick(core);
}

static void receive(struct sr_core *core, struct sr_core_peer *peer, const struct sr_frame *frame)
{
    const Strongroom__Envelope *envelope = frame->envelope;
    switch (envelope->message_case) {
    case STRONGROOM__ENVELOPE__MESSAGE_FORWARD:
        sr_core_forward_received(core, peer, frame);
        break;
    case STRONGROOM__ENVELOPE__MESSAGE_FORWARD_REPLY:
        sr_core_forward_replied(core, peer, envelope->forward_reply);
        break;
    case STRONGROOM__ENVELOPE__MESSAGE_READ_INDEX:
        sr_core_reads_ask(core, peer, envelope->read_index->round);
        break;
    case STRONGROOM__ENVELOPE__MESSAGE_READ_INDEX_REPLY:
        sr_core_reads_told(core, peer, envelope->read_index_reply);
        break;
    case STRONGROOM__ENVELOPE__MESSAGE_TERM_PROBE:
        sr_core_reads_probed(core, peer, envelope->term_probe);
        break;
    case STRONGROOM__ENVELOPE__MESSAGE_TERM_PROBE_REPLY:
        sr_core_reads_confirmed(core, peer, envelope->term_probe_reply);
        break;
    case STRONGROOM__ENVELOPE__MESSAGE_PROGRESS:
        sr_core_progress_told(core, peer, envelope->progress);
        break;
    case STRONGROOM__ENVELOPE__MESSAGE_IMAGE_NEEDED:
        sr_core_image_needed(core, peer, envelope->image_needed);
        break;
    default:
        sr_core_decode(core, peer, frame);
        break;
    }
}

void sr_core_receive(struct sr_core *core, uint64_t member, const struct sr_frame *frame)
{
    struct sr_core_peer *peer = sr_core_peer(core, member);
    if (core->failed || peer == NULL) {
        return;
    }
    refresh(core);
    receive(core, peer, frame);
}

void sr_core_task_done(struct sr_core *core, struct sr_core_task *task)
{
    refresh(core);
    if (task->kind == SR_CORE_FETCH) {
        sr_core_feed_task_done(core, task);
    } else {
        sr_core_snapshots_task_done(core, task);
    }
}

void sr_core_log_full(struct sr_core *core, bool full)
{
    if (core->log_full && !full && core->ops != NULL) {
        core->ops->queued_ms = core->now_ms; /* waiting for space is not a stall */
    }
    core->log_full = full;
}

void sr_core_state_full(struct sr_core *core, bool full)
{
    core->state_full = full;
}

void sr_core_applied(struct sr_core *core, uint64_t index)
{
    if (index > core->applies.applied) {
        core->applies.applied = index;
        sr_core_reads_applied(core);
    }
}

void sr_core_step_down(struct sr_core *core)
{
    core->stepping_down = true;
}

void sr_core_yield(struct sr_core *core)
{
    core->yielding = true;
}

void sr_core_turn_end(struct sr_core *core)
{
    if (core->failed) {
        return;
    }
    refresh(core);
    sr_core_members_turn(core);
    sr_core_leadership_notice(core);
    sr_core_applies_drain(core);
    sr_core_batches_propose(core);
    sr_core_forward(core);
    sr_core_reads_turn(core);
    sr_core_snapshots_turn(core);
    sr_core_feed_turn(core);
    sr_core_hold_turn(core);
    sr_core_membership_turn(core);
    sr_core_progress_turn(core);
    sr_core_leadership_turn(core);
    sr_core_batches_reap(core);
}

void sr_core_info(const struct sr_core *core, struct sr_consensus_info *ret_info)
{
    *ret_info = (struct sr_consensus_info){
        .term = core->noticed_term,
        .leader = core->leader,
        .is_leader = core->state == RAFT_LEADER,
        .role = sr_core_role(core, core->options.self),
        .voters = sr_core_voters(&core->raft.configuration),
        .last_index = core->log_last,
        .commit_index = core->applies.seen,
        .applied_index = core->applies.applied,
        .log_full = core->log_full,
    };
}
