/* SPDX-License-Identifier: Apache-2.0
 *
 * The leader brings libraft's configuration to what the cluster record wants, one change at a
 * time. Nothing is remembered between changes: what comes next follows from the two lists, so a
 * leader that dies leaves nothing that the next one would not find.
 *
 *   not there ─add─► spare ─assign─► stand-by ─caught up, assign─► voter
 *       ▲                               │ ▲                          │
 *       └───────────── remove ──────────┘ └─────── assign ───────────┘
 *
 * Rules:
 *   1. Before a change, an entry of this term is committed. Otherwise two leaders in a row may
 *      each change the configuration of their own predecessor, and the two majorities need not
 *      meet (libraft asks only that no change of its own log is open).
 *   2. The state of this node has applied everything from before its election, so that the wish
 *      is not that of an earlier time: what was removed is not added again.
 *   3. After a change of voters, a majority of them answers us now; else the change could not be
 *      committed, and the cluster would stand still.
 *   4. A leader never takes its own vote: it hands over, and the next leader does it.
 *
 * A stand-by becomes a voter by itself when it has caught up, so that to add a member never
 * makes the majority harder to reach.
 */
#include <inttypes.h>

#include "base/log.h"
#include "node/consensus/internal.h"

/* After libraft has refused a change. */
#define RETRY_MS 250
/* How often to look whether there is something to do. */
#define LOOK_MS 20
/* How far behind the end of our log a member has caught up. */
#define CAUGHT_UP_ENTRIES 256
#define CAUGHT_UP_BYTES   ((uint64_t)4 * 1024 * 1024)

enum kind { NOTHING, ADD, ASSIGN, REMOVE, HAND_OVER };
struct step {
    enum kind kind;
    uint64_t member;
    int role;
};

/* ---- what we know of a member ---- */

bool sr_core_responds(struct sr_core *core, uint64_t member)
{
    if (member == core->options.self) {
        return true;
    }
    const struct sr_core_peer *peer = sr_core_peer(core, member);
    return peer != NULL && peer->up && peer->answered_ms != 0 &&
           core->now_ms - peer->answered_ms < core->options.election_timeout_ms;
}

bool sr_core_caught_up(struct sr_core *core, uint64_t member)
{
    raft_index match = 0;
    if (!sr_core_responds(core, member) || raft_match_index(&core->raft, member, &match) != 0 ||
        match == 0) {
        return false;
    }
    return raft_last_index(&core->raft) - match <= CAUGHT_UP_ENTRIES &&
           sr_marks_bytes_after(&core->marks, match) <= CAUGHT_UP_BYTES;
}

/* Rule 3, if @member were to vote or not. */
static bool majority_would_answer(struct sr_core *core, uint64_t member, bool votes)
{
    const struct raft_configuration *conf = &core->raft.configuration;
    unsigned voters = 0;
    unsigned answering = 0;
    for (unsigned i = 0; i < conf->n; i++) {
        const struct raft_server *server = &conf->servers[i];
        if (server->id == member ? votes : server->role == RAFT_VOTER) {
            voters++;
            answering += sr_core_responds(core, server->id);
        }
    }
    return answering > voters / 2;
}

/* ---- what comes next ---- */

static bool may_vote(const struct sr_core_member *wished)
{
    return wished != NULL && wished->voter;
}

/* A voter that should not be one: gone from the record, or a learner there. */
static struct step retire(struct sr_core *core, bool responding)
{
    const struct raft_configuration *conf = &core->raft.configuration;
    for (unsigned i = 0; i < conf->n; i++) {
        const struct raft_server *server = &conf->servers[i];
        const struct sr_core_member *wished = sr_core_wished(core, server->id);
        if (server->role == RAFT_VOTER && !may_vote(wished) && server->id != core->options.self &&
            sr_core_responds(core, server->id) == responding &&
            majority_would_answer(core, server->id, false)) {
            return (struct step){.kind = wished == NULL ? REMOVE : ASSIGN,
                                 .member = server->id,
                                 .role = RAFT_STANDBY};
        }
    }
    return (struct step){0};
}

static struct step promote(struct sr_core *core)
{
    const struct raft_configuration *conf = &core->raft.configuration;
    for (unsigned i = 0; i < conf->n; i++) {
        const struct raft_server *server = &conf->servers[i];
        if (server->role == RAFT_STANDBY && may_vote(sr_core_wished(core, server->id)) &&
            sr_core_caught_up(core, server->id) && majority_would_answer(core, server->id, true)) {
            return (struct step){.kind = ASSIGN, .member = server->id, .role = RAFT_VOTER};
        }
    }
    return (struct step){0};
}

/* What does not touch the voters. */
static struct step tend_others(const struct sr_core *core)
{
    const struct raft_configuration *conf = &core->raft.configuration;
    for (unsigned i = 0; i < conf->n; i++) {
        const struct raft_server *server = &conf->servers[i];
        const struct sr_core_member *wished = sr_core_wished(core, server->id);
        if (server->role != RAFT_VOTER && wished == NULL) {
            return (struct step){.kind = REMOVE, .member = server->id};
        }
        if (server->role == RAFT_SPARE) {
            return (struct step){.kind = ASSIGN, .member = server->id, .role = RAFT_STANDBY};
        }
    }
    for (size_t i = 0; i < core->members.wish_count && conf->n < SR_MEMBERS_MAX; i++) {
        if (sr_core_server(core, core->members.wish[i].id) == NULL) {
            return (struct step){.kind = ADD, .member = core->members.wish[i].id};
        }
    }
    return (struct step){0};
}

/* Voters that are down first: without them less is needed for a majority. Voters that answer go
 * last, after those who replace them have come. */
static struct step next_step(struct sr_core *core)
{
    struct step step = retire(core, false);
    if (step.kind == NOTHING) {
        step = tend_others(core);
    }
    if (step.kind == NOTHING) {
        step = promote(core);
    }
    if (step.kind == NOTHING) {
        step = retire(core, true);
    }
    if (step.kind == NOTHING && !may_vote(sr_core_wished(core, core->options.self))) {
        step.kind = HAND_OVER;
    }
    return step;
}

/* ---- doing it ---- */

static void do_step(struct sr_core *core, const struct step *step)
{
    struct raft *raft = &core->raft;
    struct raft_change *request = &core->members.request;
    const char *what = "removes a member";
    char address[sizeof(((struct sr_core_peer *)0)->address)];
    int failed = 0;
    switch (step->kind) {
    case ADD:
        what = "adds a member";
        sr_core_address(step->member, address);
        failed = raft_add(raft, request, step->member, address, NULL);
        break;
    case ASSIGN:
        what = step->role == RAFT_VOTER ? "gives a member its vote" : "makes a member a learner";
        failed = raft_assign(raft, request, step->member, step->role, NULL);
        break;
    default:
        failed = raft_remove(raft, request, step->member, NULL);
        break;
    }
    if (failed == 0) {
        sr_count(&core->metrics->membership_changes, 1);
        sr_log(SR_LOG_INFO, "consensus", what, "member=%016" PRIx64 " after_index=%" PRIu64,
               step->member, (uint64_t)raft_last_index(raft));
        return;
    }
    core->members.retry_ms = core->now_ms + RETRY_MS;
    sr_log(SR_LOG_WARN, "consensus", "a change of members is put off",
           "member=%016" PRIx64 " reason=\"%s\"", step->member, raft_strerror(failed));
}

/* A change is under way, or a leader is being changed. */
static bool busy(const struct sr_core *core)
{
    const struct raft *raft = &core->raft;
    return raft->configuration_uncommitted_index != 0 || raft->legacy.change != NULL ||
           raft->leader_state.promotee_id != 0 || raft_transferee(raft) != 0 ||
           raft->transfer != NULL;
}

/* Rules 1 and 2. Every reign begins with an entry of its own (batch.c), so this comes true. */
static bool settled(const struct sr_core *core)
{
    uint64_t committed_term = sr_core_term_of(core, raft_commit_index(&core->raft));
    return core->applies.applied >= core->floor &&
           (committed_term == raft_current_term(&core->raft) ||
            !sr_core_guarded(core, SR_GUARD_CHANGE_TERM));
}

void sr_core_membership_turn(struct sr_core *core)
{
    if (!sr_core_leads(core)) {
        core->retiring = false;
        return;
    }
    if (core->state != RAFT_LEADER || !core->members.recorded || core->stepping_down ||
        core->now_ms < core->members.retry_ms || busy(core) || !settled(core)) {
        return;
    }
    struct step step = next_step(core);
    core->retiring = step.kind == HAND_OVER;
    if (core->hand.waits) {
        return;
    }
    if (step.kind != NOTHING && !core->retiring) {
        do_step(core, &step);
    } else {
        core->members.retry_ms = core->now_ms + LOOK_MS;
    }
}
