/* SPDX-License-Identifier: Apache-2.0
 *
 * A leader whose disk is full passes leadership on: it can take no more commands, and the others
 * may have room.
 *
 * With a full log, only to a voter whose log has what ours could not take, so to one that has more
 * room. If all are full, leadership stays with whoever came furthest. With a full state, to a voter
 * whose log has everything; as nobody can tell whether its state is full too, not before this node
 * has led for a while.
 */
#include <inttypes.h>

#include "base/log.h"
#include "node/consensus/internal.h"
#include "proto/limits.h"

#define PATIENCE_MS 2000
#define RETRY_MS    1000

/* Nothing is proposed any more because the state cannot take it. */
static bool state_blocks(const struct sr_core *core)
{
    size_t entries = 0;
    size_t bytes = 0;
    if (!core->state_full) {
        return false;
    }
    sr_core_backlog(core, &entries, &bytes);
    return entries >= SR_APPLY_ENTRIES_MAX || bytes >= SR_APPLY_BYTES_MAX;
}

/* The voter that has most, if that is at least @least; 0: there is none. */
static uint64_t best_voter(struct sr_core *core, raft_index least)
{
    uint64_t best = 0;
    for (size_t i = 0; i < core->peer_count; i++) {
        raft_index match = 0;
        if (core->peers[i].up && sr_core_is_voter(core, core->peers[i].id) &&
            raft_match_index(&core->raft, core->peers[i].id, &match) == 0 && match >= least) {
            best = core->peers[i].id;
            least = match + 1;
        }
    }
    return best;
}

void sr_core_space_turn(struct sr_core *core)
{
    struct sr_core_space *space = &core->space;
    bool blocked = core->log_full || state_blocks(core);
    if (!blocked || !sr_core_leads(core)) {
        space->blocked = false;
        return;
    }
    if (!space->blocked) {
        space->blocked = true;
        space->not_before_ms = core->log_full ? core->now_ms : core->now_ms + PATIENCE_MS;
    }
    if (core->now_ms < space->not_before_ms || raft_transferee(&core->raft) != 0 ||
        core->raft.transfer != NULL) {
        return;
    }
    uint64_t best =
        best_voter(core, core->log_full ? core->persisted + 1 : raft_last_index(&core->raft));
    if (best != 0 && raft_transfer(&core->raft, &core->transfer, best, NULL) == 0) {
        sr_log(SR_LOG_WARN, "consensus", "hands leadership over: its disk is full",
               "member=%" PRIu64, best);
        space->not_before_ms = core->now_ms + RETRY_MS;
    }
}
