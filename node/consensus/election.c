/* SPDX-License-Identifier: Apache-2.0
 *
 * What libraft's elections lack once members come and go.
 *
 * 1. A sole voter elects itself without an election, and without a new term. What it had sent to
 *    a learner, but not yet written when it crashed, would be followed by other entries with the
 *    same index and term: two logs that differ, and nobody notices. And as a follower it could
 *    come to lead a term in which it has voted for somebody else. So it takes a new term, and its
 *    own vote, before libraft makes it the leader.
 * 2. A learner that its leader has just given a vote, and who does not know it yet, refuses to
 *    use it: with that leader gone, the others may lack just this vote. Whoever is asked is a
 *    voter to the candidate, and what makes a vote safe (one a term, to a log that is not behind)
 *    does not depend on the configuration. So a learner answers as a voter would.
 * 3. A learner keeps its leader until it hears of another, and refuses every vote meanwhile. So it
 *    forgets its leader when a voter would.
 */
#include "base/alloc.h"
#include "node/consensus/internal.h"

bool sr_core_sole_voter(const struct sr_core *core)
{
    return sr_core_is_voter(core, core->options.self) &&
           sr_core_voters(&core->raft.configuration) == 1;
}

static bool timer_expires(const struct sr_core *core)
{
    const struct raft *raft = &core->raft;
    uint64_t at = raft->election_timer_start + raft->follower_state.randomized_election_timeout;
    return core->now_ms + 1 >= at;
}

static void take_term(struct sr_core *core)
{
    core->raft.current_term++;
    core->raft.voted_for = core->options.self;
    core->raft.follower_state.match = 0;
    sr_core_write_vote(core);
}

static void forget_leader(struct sr_core *core)
{
    struct raft *raft = &core->raft;
    raft->follower_state.current_leader.id = 0;
    raft_free(raft->follower_state.current_leader.address);
    raft->follower_state.current_leader.address = NULL;
}

void sr_core_election_tick(struct sr_core *core)
{
    if (core->raft.state != RAFT_FOLLOWER) {
        return;
    }
    bool silent = core->now_ms - core->leader_heard_ms >= core->options.election_timeout_ms;
    if (sr_core_sole_voter(core)) {
        if (timer_expires(core) && sr_core_guarded(core, SR_GUARD_SOLE_TERM)) {
            take_term(core);
        }
    } else if (silent && core->raft.follower_state.current_leader.id != 0 &&
               !sr_core_is_voter(core, core->options.self)) {
        forget_leader(core);
    }
}

/* libraft looks at our role only to see whether we vote. */
int sr_core_election_vote_as_voter(struct sr_core *core)
{
    struct raft_configuration *conf = &core->raft.configuration;
    for (unsigned i = 0; i < conf->n; i++) {
        if (conf->servers[i].id == core->options.self &&
            sr_core_guarded(core, SR_GUARD_LEARNER_VOTES)) {
            int role = conf->servers[i].role;
            conf->servers[i].role = RAFT_VOTER;
            return role;
        }
    }
    return -1;
}

void sr_core_election_voted(struct sr_core *core, int role)
{
    struct raft_configuration *conf = &core->raft.configuration;
    for (unsigned i = 0; i < conf->n; i++) {
        if (conf->servers[i].id == core->options.self && role >= 0) {
            conf->servers[i].role = role;
        }
    }
}
