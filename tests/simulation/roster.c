/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/simulation/roster.h"

#include <stdio.h>

#include "base/alloc.h"
#include "base/check.h"
#include "proto/command.pb-c.h"
#include "proto/level.h"
#include "storage/cluster.h"
#include "tests/simulation/world.h"

static uint32_t bit(size_t at)
{
    return (uint32_t)1 << at;
}

void roster_init(struct world *world)
{
    struct roster *roster = &world->roster;
    *roster = (struct roster){.founders = world->count};
    if (world->count == WORLD_MEMBERS_MAX && !world_chance(world, 4)) {
        roster->changes = true;
        roster->founders = 3;
        roster->every_ns = world_skewed(world, 500 * WORLD_MS, 4000 * WORLD_MS);
    }
    roster->at_ns = world->now_ns + 1000 * WORLD_MS;
}

bool roster_has(const struct world *world, size_t at)
{
    const struct roster *roster = &world->roster;
    return roster->latest.epoch == 0 ? at < roster->founders
                                     : (roster->latest.members & bit(at)) != 0;
}

size_t roster_known(const struct world *world, size_t at, uint64_t *ids)
{
    size_t count = 0;
    bool founder = at < world->roster.founders;
    for (size_t i = 0; i < world->count; i++) {
        if (founder ? i < world->roster.founders : i == at || roster_has(world, i)) {
            ids[count++] = i + 1;
        }
    }
    return count;
}

/* ---- the operator's commands ---- */

struct place {
    char name[8];
    char address[24];
    char url[32];
    char *urls[1];
    Strongroom__MemberRecord record;
};

static void place_init(struct place *place, size_t at, bool taken, bool voter)
{
    static char zone[] = "z";
    snprintf(place->name, sizeof(place->name), "n%u", (unsigned)at + 1);
    snprintf(place->address, sizeof(place->address), "10.0.0.%u:7000", (unsigned)at + 1);
    snprintf(place->url, sizeof(place->url), "https://10.0.0.%u:2379", (unsigned)at + 1);
    place->urls[0] = place->url;
    strongroom__member_record__init(&place->record);
    place->record.id = at + 1;
    place->record.name = place->name;
    place->record.zone = zone;
    place->record.peer_address = place->address;
    place->record.voter = voter;
    if (taken) {
        place->record.n_client_urls = 1;
        place->record.client_urls = place->urls;
        place->record.feature_level = SR_FEATURE_LEVEL;
    }
}

static void propose(struct world *world, struct member *member, Strongroom__ClusterChange *change)
{
    char actor[] = "operator";
    uint64_t op = history_add(&world->history, OP_CLUSTER)->number;
    Strongroom__Command command = STRONGROOM__COMMAND__INIT;
    command.origin = member->origin;
    command.sequence = history_attempt(&world->history, op, member->origin);
    command.actor = actor;
    command.operation_case = STRONGROOM__COMMAND__OPERATION_CLUSTER;
    command.cluster = change;
    struct sr_proposal *proposal = sr_zalloc(sizeof(*proposal));
    proposal->origin = member->origin;
    proposal->sequence = command.sequence;
    strongroom__command__pack(
        &command,
        sr_buf_extend(&proposal->command, strongroom__command__get_packed_size(&command)));
    world->roster.asked++;
    member_propose(member, proposal);
}

static void ask_init(struct world *world, struct member *member)
{
    struct place places[WORLD_MEMBERS_MAX];
    Strongroom__MemberRecord *members[WORLD_MEMBERS_MAX];
    Strongroom__ClusterRecord init = STRONGROOM__CLUSTER_RECORD__INIT;
    Strongroom__ClusterChange change = STRONGROOM__CLUSTER_CHANGE__INIT;
    for (size_t i = 0; i < world->roster.founders; i++) {
        place_init(&places[i], i, true, true);
        members[i] = &places[i].record;
    }
    init.members = members;
    init.n_members = world->roster.founders;
    change.change_case = STRONGROOM__CLUSTER_CHANGE__CHANGE_INIT;
    change.init = &init;
    propose(world, member, &change);
}

static void ask_add(struct world *world, struct member *member, size_t at)
{
    struct place place;
    Strongroom__ClusterChange change = STRONGROOM__CLUSTER_CHANGE__INIT;
    place_init(&place, at, false, !world_chance(world, 4));
    world_trace(world, "operator adds member %zu, voter %d", at + 1, place.record.voter);
    change.change_case = STRONGROOM__CLUSTER_CHANGE__CHANGE_ADD;
    change.add = &place.record;
    propose(world, member, &change);
}

static void ask_of_one(struct world *world, struct member *member, size_t at, bool promote)
{
    Strongroom__ClusterChange change = STRONGROOM__CLUSTER_CHANGE__INIT;
    world_trace(world, "operator %s member %zu", promote ? "promotes" : "removes", at + 1);
    change.change_case = promote ? STRONGROOM__CLUSTER_CHANGE__CHANGE_PROMOTE
                                 : STRONGROOM__CLUSTER_CHANGE__CHANGE_REMOVE;
    if (promote) {
        change.promote = at + 1;
    } else {
        change.remove = at + 1;
    }
    change.expected_epoch = world_chance(world, 2) ? world->roster.latest.epoch : 0;
    propose(world, member, &change);
}

/* Three voters at least are left, as far as the operator can see. */
static void ask_once(struct world *world, struct member *member)
{
    const struct roster_record *record = &world->roster.latest;
    size_t at = world_random(world, world->count);
    if (record->epoch == 0) {
        ask_init(world, member);
    } else if ((record->removed & bit(at)) != 0) {
        return;
    } else if ((record->members & bit(at)) == 0) {
        ask_add(world, member, at);
    } else if ((record->voters & bit(at)) == 0) {
        ask_of_one(world, member, at, world_chance(world, 2));
    } else if (__builtin_popcount(record->voters) > 3) {
        ask_of_one(world, member, at, false);
    }
}

static void ask_something(struct world *world, struct member *member)
{
    uint64_t before = world->roster.asked;
    for (int i = 0; i < 4 && world->roster.asked == before; i++) {
        ask_once(world, member);
    }
}

/* ---- the record, and what follows from it ---- */

static struct roster_record record_of(struct member *member)
{
    Strongroom__ClusterRecord *from = NULL;
    struct sr_err err;
    struct roster_record record = {0};
    sr_check(sr_store_cluster(member->store, &from, &err) == SR_OK);
    record.epoch = from->epoch;
    for (size_t i = 0; i < from->n_members; i++) {
        record.members |= bit((size_t)from->members[i]->id - 1);
        record.voters |= from->members[i]->voter ? bit((size_t)from->members[i]->id - 1) : 0;
    }
    for (size_t i = 0; i < from->n_removed; i++) {
        record.removed |= bit((size_t)from->removed[i] - 1);
    }
    strongroom__cluster_record__free_unpacked(from, NULL);
    return record;
}

static void hear(const struct member *from, struct member *to)
{
    uint64_t ids[WORLD_MEMBERS_MAX];
    size_t count = 0;
    if (from->record.epoch <= to->record.epoch || from->record.epoch <= to->heard.epoch) {
        return;
    }
    to->heard = from->record;
    for (size_t i = 0; i < to->world->count; i++) {
        if ((to->heard.members & bit(i)) != 0) {
            ids[count++] = i + 1;
        }
    }
    sr_core_set_heard(to->core, ids, count);
}

/* To all that it has links to. */
static void tell_all(const struct member *member)
{
    struct world *world = member->world;
    for (size_t i = 0; i < world->count; i++) {
        if (i != member->at && world->members[i].alive && world->network.links[member->at][i].up) {
            hear(member, &world->members[i]);
        }
    }
}

void roster_applied(struct member *member)
{
    struct sr_core_member members[WORLD_MEMBERS_MAX];
    struct roster *roster = &member->world->roster;
    size_t count = 0;
    if (sr_store_cluster_epoch(member->store) == member->record.epoch) {
        return;
    }
    member->record = record_of(member);
    member->heard = (struct roster_record){0};
    for (size_t i = 0; i < member->world->count; i++) {
        if ((member->record.members & bit(i)) != 0) {
            members[count++] = (struct sr_core_member){
                .id = i + 1, .voter = (member->record.voters & bit(i)) != 0};
        }
    }
    world_trace(member->world, "member %zu has record %llu: %x, voters %x", member->at + 1,
                (unsigned long long)member->record.epoch, member->record.members,
                member->record.voters);
    if (member->record.epoch > roster->latest.epoch) {
        roster->latest = member->record;
    }
    sr_core_set_members(member->core, members, count);
    tell_all(member);
}

static bool is_configured(const struct member *member, size_t at)
{
    const struct raft *raft = sr_core_raft(member->core);
    bool found = raft->configuration_uncommitted_index != 0;
    for (unsigned i = 0; i < raft->configuration.n; i++) {
        found = found || raft->configuration.servers[i].id == at + 1;
    }
    return found;
}

static bool accepts(const struct member *member, size_t other)
{
    uint32_t members = member->record.members | member->heard.members;
    return member->record.epoch == 0 || (members & bit(other)) != 0 || is_configured(member, other);
}

bool roster_may_link(const struct world *world, size_t from, size_t to)
{
    const struct member *a = &world->members[from];
    const struct member *b = &world->members[to];
    return !world->roster.changes || !a->alive || !b->alive || (accepts(a, to) && accepts(b, from));
}

void roster_met(struct world *world, size_t from, size_t to)
{
    if (world->roster.changes) {
        hear(&world->members[from], &world->members[to]);
        hear(&world->members[to], &world->members[from]);
    }
}

/* ---- who ends, who begins ---- */

static bool is_refused(const struct world *world, const struct member *member)
{
    for (size_t i = 0; i < world->count; i++) {
        const struct member *other = &world->members[i];
        const struct network_link *out = &world->network.links[member->at][i];
        const struct network_link *back = &world->network.links[i][member->at];
        if (i != member->at && other->alive && !other->paused &&
            (other->record.removed & bit(member->at)) != 0 && !accepts(other, member->at) &&
            !out->cut && !back->cut) {
            return true;
        }
    }
    return false;
}

static bool must_end(const struct world *world, const struct member *member)
{
    bool knows = (member->record.removed & bit(member->at)) != 0;
    return (knows && !is_configured(member, member->at)) || is_refused(world, member);
}

static void walk_members(struct world *world)
{
    for (size_t i = 0; i < world->count; i++) {
        struct member *member = &world->members[i];
        if (member->alive && !member->paused && must_end(world, member)) {
            world_trace(world, "member %zu was removed", i + 1);
            member_crash(member, false);
            member->start_at_ns = WORLD_NEVER;
        } else if (!member->alive && member->runs == 0 && member->start_at_ns == WORLD_NEVER &&
                   (world->roster.latest.members & bit(i)) != 0) {
            member->start_at_ns = world->now_ns + world_random(world, 1000 * WORLD_MS);
        }
    }
}

/* Everybody whom it knows was replaced while it was away: it cannot tell a member from a stranger,
 * and nobody can tell it. */
static bool is_stranded(const struct world *world, size_t at)
{
    const struct member *member = &world->members[at];
    bool stranded = member->alive && world->roster.latest.epoch > 0 && roster_has(world, at);
    for (size_t i = 0; i < world->count; i++) {
        stranded = stranded && (i == at || !roster_has(world, i) || !accepts(member, i));
    }
    return stranded;
}

/* It takes a person, who removes it (and would add it again, as somebody else: strongroom rebuild).
 */
static void remove_stranded(struct world *world)
{
    struct roster *roster = &world->roster;
    size_t leader = world_leader(world);
    if (roster->at_ns > world->now_ns || leader == WORLD_MEMBERS_MAX) {
        return;
    }
    roster->at_ns = world->now_ns + 2000 * WORLD_MS;
    for (size_t i = 0; i < world->count; i++) {
        if (is_stranded(world, i)) {
            ask_of_one(world, &world->members[leader], i, false);
            return;
        }
    }
}

uint64_t roster_next(const struct world *world)
{
    const struct roster *roster = &world->roster;
    return roster->changes && !roster->leaving ? roster->at_ns : WORLD_NEVER;
}

void roster_step(struct world *world)
{
    struct roster *roster = &world->roster;
    if (!roster->changes) {
        return;
    }
    walk_members(world);
    if (roster->leaving) {
        remove_stranded(world);
    } else if (roster->at_ns <= world->now_ns) {
        struct member *member = &world->members[world_random(world, world->count)];
        roster->at_ns = world->now_ns + world_random(world, 2 * roster->every_ns);
        if (member->alive && !member->paused && !member->failed) {
            ask_something(world, member);
        }
    }
}

bool roster_is_done(struct world *world)
{
    size_t leader = world_leader(world);
    const struct roster_record *record = &world->roster.latest;
    uint32_t members = 0;
    uint32_t voters = 0;
    if (record->epoch == 0 || leader == WORLD_MEMBERS_MAX) {
        return record->epoch == 0;
    }
    const struct raft *raft = sr_core_raft(world->members[leader].core);
    for (unsigned i = 0; i < raft->configuration.n; i++) {
        const struct raft_server *server = &raft->configuration.servers[i];
        members |= bit((size_t)server->id - 1);
        voters |= server->role == RAFT_VOTER ? bit((size_t)server->id - 1) : 0;
    }
    return members == record->members && voters == record->voters;
}
