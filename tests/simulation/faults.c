/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/simulation/faults.h"

#include "tests/simulation/world.h"

static const unsigned usual[FAULT_COUNT] = {
    [FAULT_KILL] = 6,      [FAULT_POWER] = 5,     [FAULT_POWER_MID] = 8,  [FAULT_BLACKOUT] = 1,
    [FAULT_STOP] = 3,      [FAULT_PAUSE] = 6,     [FAULT_ISOLATE] = 6,    [FAULT_ONE_WAY] = 6,
    [FAULT_SPLIT] = 4,     [FAULT_STALL] = 6,     [FAULT_RESET] = 6,      [FAULT_HEAL] = 20,
    [FAULT_SLOW_DISK] = 4, [FAULT_FULL_DISK] = 4, [FAULT_DISK_ERROR] = 2, [FAULT_MOVE_LEADER] = 5,
};

void faults_init(struct world *world)
{
    struct faults *faults = &world->faults;
    *faults = (struct faults){.on = true};
    for (size_t i = 0; i < FAULT_COUNT; i++) {
        unsigned factor = (unsigned)world_random(world, 4);
        faults->weights[i] = usual[i] * (i == FAULT_HEAL ? 2 : factor);
    }
    faults->every_ns = world_skewed(world, 100 * WORLD_MS, 2000 * WORLD_MS);
    faults->at_ns = world->now_ns + 1000 * WORLD_MS + world_random(world, 2000 * WORLD_MS);
    for (size_t i = 0; i < world->count; i++) {
        faults->resume_at_ns[i] = WORLD_NEVER;
    }
}

/* ---- members ---- */

static bool runs(const struct member *member)
{
    return member->alive && !member->paused;
}

static void pause_member(struct world *world, struct member *member)
{
    if (runs(member)) {
        world_trace(world, "member %zu is paused", member->at + 1);
        member->paused = true;
        world->faults.resume_at_ns[member->at] =
            world->now_ns + world_skewed(world, 20 * WORLD_MS, 8000 * WORLD_MS);
    }
}

static void resume(struct world *world, size_t at)
{
    struct member *member = &world->members[at];
    world->faults.resume_at_ns[at] = WORLD_NEVER;
    if (member->alive && member->paused) {
        world_trace(world, "member %zu goes on", at + 1);
        member->paused = false;
        clients_member_resumed(world, member);
    }
}

static void crash(struct world *world, struct member *member, bool power)
{
    if (member->alive) {
        world->faults.resume_at_ns[member->at] = WORLD_NEVER;
        member_crash(member, power);
    }
}

void faults_blackout(struct world *world)
{
    world_trace(world, "blackout");
    for (size_t i = 0; i < world->count; i++) {
        crash(world, &world->members[i], true);
    }
}

static void slow_disk(struct world *world, struct member *member)
{
    bool slow = world_chance(world, 2);
    member->pace.write_max_ns = slow ? world_skewed(world, 50 * WORLD_MS, 3000 * WORLD_MS)
                                     : world_skewed(world, 100000, 8 * WORLD_MS);
    world_trace(world, "member %zu: disk slow: %d", member->at + 1, slow);
}

static void move_leader(struct world *world, struct member *to)
{
    size_t leader = world_leader(world);
    if (leader != WORLD_MEMBERS_MAX && runs(&world->members[leader]) && leader != to->at) {
        world_trace(world, "leadership shall go to member %zu", to->at + 1);
        member_move_leader(&world->members[leader], to->id);
    }
}

/* ---- links ---- */

static void isolate(struct world *world, size_t at)
{
    for (size_t other = 0; other < world->count; other++) {
        network_cut(world, at, other);
        network_cut(world, other, at);
    }
}

static void split(struct world *world)
{
    uint64_t sides = world_random(world, (uint64_t)1 << world->count);
    bool one_way = world_chance(world, 3);
    for (size_t from = 0; from < world->count; from++) {
        for (size_t to = 0; to < world->count; to++) {
            bool here = (sides >> from & 1) != 0;
            bool there = (sides >> to & 1) != 0;
            if (here != there && (here || !one_way)) {
                network_cut(world, from, to);
            }
        }
    }
}

static void do_link(struct world *world, enum fault fault, size_t a, size_t b)
{
    switch (fault) {
    case FAULT_ISOLATE:
        isolate(world, a);
        break;
    case FAULT_ONE_WAY:
        network_cut(world, a, b);
        break;
    case FAULT_SPLIT:
        split(world);
        break;
    case FAULT_STALL:
        network_stall(world, a, b, world_skewed(world, 20 * WORLD_MS, 5000 * WORLD_MS));
        break;
    case FAULT_RESET:
        network_reset(world, a, b);
        break;
    default:
        network_heal(world);
        break;
    }
}

static void do_fault(struct world *world, enum fault fault, struct member *member)
{
    switch (fault) {
    case FAULT_KILL:
    case FAULT_POWER:
        crash(world, member, fault == FAULT_POWER);
        break;
    case FAULT_POWER_MID:
        member->disk.cut_after = 1 + (unsigned)world_random(world, 40);
        break;
    case FAULT_BLACKOUT:
        faults_blackout(world);
        break;
    case FAULT_STOP:
        if (runs(member) && !member->stopping) {
            member_stop(member);
        }
        break;
    case FAULT_PAUSE:
        pause_member(world, member);
        break;
    case FAULT_SLOW_DISK:
        slow_disk(world, member);
        break;
    case FAULT_FULL_DISK:
        member->disk.full = !member->disk.full;
        break;
    case FAULT_DISK_ERROR:
        member->disk.fails = true;
        break;
    case FAULT_MOVE_LEADER:
        move_leader(world, member);
        break;
    default:
        do_link(world, fault, member->at, world_random(world, world->count));
        break;
    }
}

static enum fault draw(struct world *world)
{
    unsigned total = 0;
    for (size_t i = 0; i < FAULT_COUNT; i++) {
        total += world->faults.weights[i];
    }
    uint64_t at = world_random(world, total);
    size_t fault = 0;
    while (at >= world->faults.weights[fault]) {
        at -= world->faults.weights[fault++];
    }
    return (enum fault)fault;
}

/* Whoever leads has the most to lose. */
static size_t draw_member(struct world *world)
{
    size_t leader = world_leader(world);
    size_t any = world_random(world, world->count);
    return leader != WORLD_MEMBERS_MAX && world_chance(world, 3) ? leader : any;
}

/* ---- time ---- */

uint64_t faults_next(const struct world *world)
{
    uint64_t next = world->faults.on ? world->faults.at_ns : WORLD_NEVER;
    for (size_t i = 0; i < world->count; i++) {
        world_earlier(&next, world->faults.resume_at_ns[i]);
    }
    return next;
}

void faults_step(struct world *world)
{
    struct faults *faults = &world->faults;
    for (size_t i = 0; i < world->count; i++) {
        if (faults->resume_at_ns[i] <= world->now_ns) {
            resume(world, i);
        }
    }
    if (faults->on && faults->at_ns <= world->now_ns) {
        enum fault fault = draw(world);
        size_t at = draw_member(world);
        world_trace(world, "fault %d at member %zu", (int)fault, at + 1);
        faults->count++;
        do_fault(world, fault, &world->members[at]);
        faults->at_ns = world->now_ns + world_random(world, 2 * faults->every_ns);
    }
}

void faults_end(struct world *world)
{
    world->faults.on = false;
    network_heal(world);
    for (size_t i = 0; i < world->count; i++) {
        struct member *member = &world->members[i];
        member->disk.full = false;
        member->disk.fails = false;
        member->disk.cut_after = 0;
        member->pace.write_max_ns = 2 * WORLD_MS;
        resume(world, i);
    }
}
