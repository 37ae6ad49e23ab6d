/* SPDX-License-Identifier: Apache-2.0
 *
 * Who leads, noticed once a turn by comparing libraft's state and term with what they were.
 *
 * Invariant: while this node leads, floor is at least the last index of its log at the moment of
 * its election. Whatever was acknowledged before is at or below it, though the commit index may
 * not say so yet. libraft itself adds a barrier at the election if anything is uncommitted, so
 * that the commit index gets there.
 */
#include <inttypes.h>

#include "base/log.h"
#include "node/consensus/internal.h"

static uint64_t leader_of(struct sr_core *core)
{
    raft_id id = 0;
    const char *address = NULL;
    raft_leader(&core->raft, &id, &address);
    return id;
}

/* libraft drops the requests of a leader that steps down from its queue. */
static void check_queue_empty(const struct sr_core *core)
{
    const void *queue = &core->raft.legacy.pending;
    sr_check(core->raft.legacy.pending[0] == queue);
}

static void step_into(struct sr_core *core, uint64_t term)
{
    core->floor = raft_last_index(&core->raft);
    core->batches.mark_due = true;
    for (size_t i = 0; i < core->peer_count; i++) {
        core->peers[i].sent_last = 0;
        core->peers[i].hinted = false;
        core->peers[i].answered_ms = 0;
    }
    sr_log(SR_LOG_INFO, "consensus", "this node leads", "term=%" PRIu64 " last_index=%" PRIu64,
           term, core->floor);
}

static void step_out_of(struct sr_core *core)
{
    check_queue_empty(core);
    sr_core_batches_lost_leadership(core);
    for (size_t i = 0; i < core->peer_count; i++) {
        sr_core_feed_stop(&core->peers[i]);
    }
    sr_log(SR_LOG_INFO, "consensus", "this node leads no more", "term=%" PRIu64,
           core->noticed_term);
}

void sr_core_leadership_notice(struct sr_core *core)
{
    enum raft_state state = raft_state(&core->raft);
    uint64_t term = raft_current_term(&core->raft);
    uint64_t leader = leader_of(core);
    if (state == core->state && term == core->noticed_term && leader == core->leader) {
        return;
    }
    bool led = core->state == RAFT_LEADER;
    bool leads = state == RAFT_LEADER;
    bool other_reign = term != core->noticed_term;
    if (led && (!leads || other_reign)) {
        step_out_of(core);
    }
    if (leads && (!led || other_reign)) {
        step_into(core, term);
    }
    if (leader != core->leader || (leads && other_reign)) {
        sr_core_reads_leader_changed(core);
        if (leader != 0) {
            sr_count(&core->metrics->leader_changes, 1);
            if (!leads) {
                sr_log(SR_LOG_INFO, "consensus", "follows", "leader=%" PRIu64 " term=%" PRIu64,
                       leader, term);
            }
        } else {
            sr_log(SR_LOG_WARN, "consensus", "no leader", "term=%" PRIu64, term);
        }
    }
    core->state = state;
    core->noticed_term = term;
    core->leader = leader;
}

/* libraft tells a voter to stand for election at the first answer that it gives, whether that has
 * everything by then or not; who has not ignores it, and libraft does not say it again. So libraft
 * is asked when the other has everything. Once that is near, nothing more is proposed. */
static void hand_to(struct sr_core *core, uint64_t member, const char *how)
{
    struct sr_core_hand *hand = &core->hand;
    raft_index match = 0;
    if (raft_transferee(&core->raft) != 0 || core->raft.transfer != NULL ||
        core->now_ms < hand->not_before_ms || !sr_core_caught_up(core, member) ||
        raft_match_index(&core->raft, member, &match) != 0) {
        return;
    }
    if (match == raft_last_index(&core->raft)) {
        if (raft_transfer(&core->raft, &core->transfer, member, NULL) == 0) {
            sr_log(SR_LOG_INFO, "consensus", how, "member=%" PRIu64, member);
        }
        return;
    }
    hand->since_ms = hand->since_ms == 0 ? core->now_ms : hand->since_ms;
    if (core->now_ms - hand->since_ms <= core->options.election_timeout_ms) {
        hand->waits = true;
    } else {
        hand->not_before_ms = core->now_ms + core->options.election_timeout_ms;
    }
}

/* libraft would also take a voter that is down; the one that lacks least takes over soonest. */
static void hand_over(struct sr_core *core)
{
    if (!sr_core_leads(core) || raft_transferee(&core->raft) != 0 || core->raft.transfer != NULL) {
        return;
    }
    uint64_t best = 0;
    raft_index best_match = 0;
    for (size_t i = 0; i < core->peer_count; i++) {
        raft_index match = 0;
        const struct sr_core_member *wished = sr_core_wished(core, core->peers[i].id);
        if (core->peers[i].up && sr_core_is_voter(core, core->peers[i].id) && wished != NULL &&
            wished->voter && raft_match_index(&core->raft, core->peers[i].id, &match) == 0 &&
            (best == 0 || match > best_match)) {
            best = core->peers[i].id;
            best_match = match;
        }
    }
    if (best != 0) {
        hand_to(core, best, "hands leadership over");
    }
}

void sr_core_move_leader(struct sr_core *core, uint64_t member)
{
    core->move_to = member;
    core->move_until_ms = core->env.now_ns(core->env.arg) / 1000000u + SR_REQUEST_TIMEOUT_MS;
}

/* Not to a voter that is down: libraft would hold proposals back for an election timeout. */
static void move(struct sr_core *core)
{
    if (core->move_to == 0) {
        return;
    }
    const struct sr_core_peer *peer = sr_core_peer(core, core->move_to);
    if (peer == NULL || !sr_core_leads(core) || core->now_ms >= core->move_until_ms) {
        core->move_to = 0;
        return;
    }
    if (peer->up && sr_core_is_voter(core, peer->id)) {
        hand_to(core, peer->id, "hands leadership over as asked");
    }
}

void sr_core_leadership_turn(struct sr_core *core)
{
    core->hand.waits = false;
    if (core->stepping_down || core->yielding || core->retiring) {
        hand_over(core);
    } else {
        move(core);
        sr_core_space_turn(core);
    }
    if (!core->hand.waits) {
        core->hand.since_ms = 0;
    }
}
