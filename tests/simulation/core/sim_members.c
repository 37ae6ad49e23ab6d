/* SPDX-License-Identifier: Apache-2.0
 *
 * Members that come and go: the cluster record is part of the simulated state, and the links
 * follow it as the node's do. A member that is gone from the record keeps its links while the
 * configuration of the other side still has it; after that it is refused, and stops.
 */
#include <string.h>

#include "base/alloc.h"
#include "node/consensus/internal.h"
#include "sim.h"

static unsigned bit(size_t node)
{
    return 1u << node;
}

struct sim_record sim_record(const struct sim *sim)
{
    struct sim_record record = {.voters = bit(sim->initial == 0 ? sim->count : sim->initial) - 1};
    for (size_t i = 0; i < sim->count; i++) {
        if (sim->nodes[i].record.epoch > record.epoch) {
            record = sim->nodes[i].record;
        }
    }
    return record;
}

bool sim_members_out(const struct sim *sim, size_t node)
{
    struct sim_record record = sim_record(sim);
    return ((record.voters | record.learners) & bit(node)) == 0;
}

bool sim_members_may_start(const struct sim *sim, size_t node)
{
    return !sim->nodes[node].gone &&
           (!sim_members_out(sim, node) || sim->nodes[node].disk.term != 0);
}

size_t sim_propose_record(struct sim *sim, size_t at, struct sim_record record)
{
    record.epoch = sim_record(sim).epoch + 1;
    size_t number = sim_propose(sim, at);
    sim->commands[number].record = record;
    return number;
}

void sim_members_tell(struct sim_node *node)
{
    const struct sim_record *record = &node->record;
    struct sr_core_member members[SIM_NODES_MAX];
    size_t count = 0;
    if (record->epoch == node->told) {
        return;
    }
    node->told = record->epoch;
    node->heard = (struct sim_record){0};
    for (size_t i = 0; i < SIM_NODES_MAX; i++) {
        if (((record->voters | record->learners) & bit(i)) != 0) {
            members[count++] =
                (struct sr_core_member){.id = i + 1, .voter = (record->voters & bit(i)) != 0};
        }
    }
    sr_core_set_members(node->core, members, count);
}

/* ---- links ---- */

static void hear(struct sim_node *to, const struct sim_record *record)
{
    uint64_t ids[SIM_NODES_MAX];
    size_t count = 0;
    if (record->epoch <= to->record.epoch || record->epoch <= to->heard.epoch) {
        return;
    }
    to->heard = *record;
    for (size_t i = 0; i < SIM_NODES_MAX; i++) {
        if (((to->heard.voters | to->heard.learners) & bit(i)) != 0) {
            ids[count++] = i + 1;
        }
    }
    sr_core_set_heard(to->core, ids, count);
}

void sim_members_help_stranded(struct sim *sim)
{
    struct sim_record record = sim_record(sim);
    for (size_t i = 0; i < sim->count; i++) {
        bool stranded = sim->nodes[i].alive && !sim_members_out(sim, i);
        for (size_t j = 0; j < sim->count; j++) {
            stranded =
                stranded && (i == j || !sim->nodes[j].alive || !sim_members_may_link(sim, i, j));
        }
        if (stranded) {
            hear(&sim->nodes[i], &record);
        }
    }
}

static bool accepts(const struct sim_node *node, size_t other)
{
    unsigned members = node->record.voters | node->record.learners;
    members |= node->heard.voters | node->heard.learners;
    return node->record.epoch == 0 || (members & bit(other)) != 0 ||
           sr_core_server(node->core, other + 1) != NULL;
}

bool sim_members_may_link(const struct sim *sim, size_t a, size_t b)
{
    return accepts(&sim->nodes[a], b) && accepts(&sim->nodes[b], a);
}

static bool is_refused(const struct sim *sim, size_t node)
{
    for (size_t i = 0; i < sim->count; i++) {
        const struct sim_node *other = &sim->nodes[i];
        if (i != node && other->alive && (other->record.removed & bit(node)) != 0 &&
            !accepts(other, node) && !sim->links[i][node].cut && !sim->links[node][i].cut) {
            return true;
        }
    }
    return false;
}

void sim_members_step(struct sim *sim)
{
    if (sim_record(sim).epoch == 0) {
        return;
    }
    for (size_t i = 0; i < sim->count; i++) {
        if (sim->nodes[i].alive && is_refused(sim, i)) {
            sim_crash(sim, i);
            sim->nodes[i].gone = true;
        }
    }
    for (size_t a = 0; a < sim->count; a++) {
        for (size_t b = 0; b < sim->count; b++) {
            if (sim->links[a][b].up && !sim_members_may_link(sim, a, b)) {
                sim_net_drop(sim, a, b);
            } else if (sim->links[a][b].up) {
                hear(&sim->nodes[b],
                     &sim->nodes[a].record); /* they tell each other, on every link */
            }
        }
    }
}

/* ---- rules ---- */

void sim_members_note_change(struct sim *sim, uint64_t index)
{
    if (sim->change_count > 0 && sim->changes[sim->change_count - 1] >= index) {
        return; /* another node was faster */
    }
    sim->changes = sr_realloc(sim->changes, (sim->change_count + 1) * sizeof(*sim->changes));
    sim->changes[sim->change_count++] = index;
}

void sim_members_check_manifest(struct sim_node *node, const struct sr_buf *data)
{
    struct sr_core_manifest manifest;
    struct sr_err err;
    uint64_t index = 0;
    if (sr_core_manifest_unpack((struct sr_bytes){data->data, data->size}, &manifest, &err) !=
        SR_OK) {
        sim_violate(node->sim, "manifest: %s", err.text);
        return;
    }
    for (size_t i = 0; i < node->sim->change_count; i++) {
        index = node->sim->changes[i] <= manifest.index ? node->sim->changes[i] : index;
    }
    if (manifest.configuration_index != index) {
        sim_violate(node->sim,
                    "node %llu has the configuration of %llu in its manifest at %llu, not of %llu",
                    (unsigned long long)node->id, (unsigned long long)manifest.configuration_index,
                    (unsigned long long)manifest.index, (unsigned long long)index);
    }
}

void sim_members_check_leader(struct sim_node *node)
{
    struct sim *sim = node->sim;
    const struct raft *raft = sr_core_raft(node->core);
    uint64_t term = raft->current_term;
    if (raft->state != RAFT_LEADER) {
        return;
    }
    if (term >= sim->leader_count) {
        size_t count = (size_t)term + 64;
        sim->leaders = sr_realloc(sim->leaders, count);
        memset(sim->leaders + sim->leader_count, 0, count - sim->leader_count);
        sim->leader_count = count;
    }
    if (sim->leaders[term] != 0 && sim->leaders[term] != node->id) {
        sim_violate(sim, "term %llu has two leaders: %u and %llu", (unsigned long long)term,
                    sim->leaders[term], (unsigned long long)node->id);
    }
    sim->leaders[term] = (uint8_t)node->id;
}

static bool configuration_is(const struct raft *raft, const struct sim_record *record)
{
    unsigned voters = 0;
    unsigned learners = 0;
    for (unsigned i = 0; i < raft->configuration.n; i++) {
        const struct raft_server *server = &raft->configuration.servers[i];
        voters |= server->role == RAFT_VOTER ? bit(server->id - 1) : 0;
        learners |= server->role == RAFT_STANDBY ? bit(server->id - 1) : 0;
    }
    return raft->configuration_uncommitted_index == 0 && voters == record->voters &&
           learners == record->learners;
}

bool sim_members_settled(struct sim *sim)
{
    struct sim_record record = sim_record(sim);
    for (size_t i = 0; i < sim->count; i++) {
        const struct sim_node *node = &sim->nodes[i];
        if (record.epoch == 0 || sim_members_out(sim, i)) {
            continue;
        }
        if (!node->alive || node->record.epoch != record.epoch ||
            !configuration_is(sr_core_raft(node->core), &record)) {
            return false;
        }
    }
    return sim_has_leader(sim);
}

/* ---- churn ---- */

static unsigned pick(struct sim *sim, unsigned set)
{
    unsigned chosen = 0;
    unsigned seen = 0;
    for (size_t i = 0; i < SIM_NODES_MAX; i++) {
        if ((set & bit(i)) != 0 && sim_random(sim, ++seen) == 0) {
            chosen = bit(i);
        }
    }
    return chosen;
}

static unsigned newcomer(const struct sim *sim, const struct sim_record *record)
{
    unsigned known = record->voters | record->learners | record->removed;
    for (size_t i = 0; i < sim->count; i++) {
        if ((known & bit(i)) == 0) {
            return bit(i);
        }
    }
    return 0;
}

/* Those whose votes count now, as whoever answers the operator knows. */
static unsigned actual_voters(struct sim *sim)
{
    unsigned voters = 0;
    size_t leader = sim_leader(sim);
    if (leader == SIM_NODES_MAX) {
        return 0;
    }
    const struct raft *raft = sr_core_raft(sim->nodes[leader].core);
    for (unsigned i = 0; i < raft->configuration.n; i++) {
        const struct raft_server *server = &raft->configuration.servers[i];
        voters |= server->role == RAFT_VOTER ? bit(server->id - 1) : 0;
    }
    return voters;
}

/* Never the last voter, even if another is about to become one: that is refused. */
static void remove_one(struct sim *sim, struct sim_record *record)
{
    unsigned victim = pick(sim, record->voters | record->learners);
    if ((record->voters & actual_voters(sim) & ~victim) != 0) {
        record->voters &= ~victim;
        record->learners &= ~victim;
        record->removed |= victim;
    }
}

void sim_members_churn(struct sim *sim, size_t at)
{
    struct sim_record record = sim_record(sim);
    unsigned one = 0;
    switch (sim_random(sim, 6)) {
    case 0:
        record.learners |= newcomer(sim, &record);
        break;
    case 1:
        record.voters |= newcomer(sim, &record);
        break;
    case 2:
        one = pick(sim, record.learners);
        record.learners &= ~one;
        record.voters |= one;
        break;
    case 3:
        one = pick(sim, record.voters);
        if ((record.voters & actual_voters(sim) & ~one) != 0) {
            record.voters &= ~one;
            record.learners |= one;
        }
        break;
    case 4:
        remove_one(sim, &record);
        break;
    default: /* replace */
        one = newcomer(sim, &record);
        record.voters |= one;
        if (one != 0) {
            remove_one(sim, &record);
        }
        break;
    }
    sim_propose_record(sim, at, record);
}
