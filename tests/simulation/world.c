/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/simulation/world.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/check.h"

/* How long a cluster that is whole again may take to serve, and to agree. Virtual, so generous. */
#define SETTLE_MS 120000

/* ---- random numbers, trace, verdict ---- */

uint64_t world_random(struct world *world, uint64_t below)
{
    /* splitmix64 */
    world->random += 0x9e3779b97f4a7c15u;
    uint64_t z = world->random;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return below == 0 ? 0 : (z ^ (z >> 31)) % below;
}

bool world_chance(struct world *world, uint64_t times)
{
    return world_random(world, times) == 0;
}

uint64_t world_skewed(struct world *world, uint64_t least, uint64_t most)
{
    uint64_t range = most - least;
    for (uint64_t halvings = world_random(world, 6); halvings > 0; halvings--) {
        range /= 2;
    }
    return least + world_random(world, range + 1);
}

void world_trace(struct world *world, const char *format, ...)
{
    char line[256];
    int head =
        snprintf(line, sizeof(line), "%llu.%06llu ", (unsigned long long)(world->now_ns / WORLD_MS),
                 (unsigned long long)(world->now_ns % WORLD_MS));
    va_list args;
    va_start(args, format);
    /* NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized): it is, one line above */
    vsnprintf(line + head, sizeof(line) - (size_t)head, format, args);
    va_end(args);
    world->trace_hash = check_hash(world->trace_hash, line, strlen(line));
    world->trace_lines++;
    if (world->options.trace) {
        puts(line);
    }
}

void world_violate(struct world *world, const char *format, ...)
{
    if (world_is_broken(world)) {
        return;
    }
    va_list args;
    va_start(args, format);
    /* NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized): it is, one line above */
    vsnprintf(world->violation, sizeof(world->violation), format, args);
    va_end(args);
}

/* ---- time ---- */

static void step(struct world *world, uint64_t end_ns)
{
    uint64_t next = network_next(world);
    for (size_t i = 0; i < world->count; i++) {
        world_earlier(&next, member_next(&world->members[i]));
    }
    world_earlier(&next, clients_next(world));
    world_earlier(&next, faults_next(world));
    world_earlier(&next, roster_next(world));
    if (next > end_ns) {
        world->now_ns = end_ns;
        return;
    }
    world->now_ns = next > world->now_ns ? next : world->now_ns;
    network_step(world);
    for (size_t i = 0; i < world->count; i++) {
        member_step(&world->members[i]);
    }
    clients_step(world);
    faults_step(world);
    roster_step(world);
}

bool world_run_until(struct world *world, unsigned ms, bool (*done)(struct world *world))
{
    uint64_t end_ns = world->now_ns + ms * WORLD_MS;
    while (world->now_ns < end_ns && !world_is_broken(world)) {
        if (done != NULL && done(world)) {
            return true;
        }
        step(world, end_ns);
    }
    return !world_is_broken(world) && (done == NULL || done(world));
}

size_t world_leader(struct world *world)
{
    size_t leader = WORLD_MEMBERS_MAX;
    uint64_t term = 0;
    for (size_t i = 0; i < world->count; i++) {
        struct sr_consensus_info info;
        if (member_info(&world->members[i], &info) && info.is_leader && info.term > term) {
            leader = i;
            term = info.term;
        }
    }
    return leader;
}

/* ---- a life ---- */

static void open_world(struct world *world, const struct world_options *options)
{
    sr_check(options->members >= 1 && options->members <= WORLD_MEMBERS_MAX);
    *world = (struct world){
        .options = *options,
        .random = options->seed * 0x2545f4914f6cdd1du + options->members,
        .now_ns = 1000 * WORLD_MS,
        .count = options->members,
    };
    network_init(world);
    clients_init(world);
    faults_init(world);
    roster_init(world);
    world->images_wanted = world_chance(world, 2);
    for (size_t i = 0; i < world->count; i++) {
        member_init(&world->members[i], world, i);
        world->members[i].start_at_ns = roster_has(world, i)
                                            ? world->now_ns + world_random(world, 500 * WORLD_MS)
                                            : WORLD_NEVER;
    }
}

static void close_world(struct world *world)
{
    clients_close(world);
    for (size_t i = 0; i < world->count; i++) {
        member_close(&world->members[i]);
    }
    network_close(world);
    history_close(&world->history);
    check_close(&world->check);
}

static bool at_rest(struct world *world)
{
    return clients_rest(world);
}

/* Whether a member that belongs to the cluster runs and has applied all of a log up to *last, which
 * the first one sets. */
static bool agrees(const struct member *member, uint64_t *last)
{
    struct sr_consensus_info info;
    if (!member_info(member, &info)) {
        return false;
    }
    *last = *last == 0 ? info.last_index : *last;
    return info.last_index == *last && sr_store_applied_index(member->store) == *last;
}

/* All members run, hold the same log, and have applied all of it; they are those of the record. */
static bool agreed(struct world *world)
{
    uint64_t last = 0;
    for (size_t i = 0; i < world->count; i++) {
        if (roster_has(world, i) && !agrees(&world->members[i], &last)) {
            return false;
        }
    }
    return world_leader(world) != WORLD_MEMBERS_MAX && last >= world->check.last &&
           roster_is_done(world);
}

/* Whole again, the cluster must answer everybody and agree; and so once more after all of it has
 * lost power. */
static void settle(struct world *world)
{
    faults_end(world);
    world->roster.leaving = true;
    world->clients.leaving = true;
    if (!world_run_until(world, SETTLE_MS, at_rest)) {
        world_violate(world, "clients get no answers from a cluster that is whole");
    }
    if (!world_run_until(world, SETTLE_MS, agreed)) {
        world_violate(world, "the members do not come to agree");
    }
    if (!world_is_broken(world)) {
        faults_blackout(world);
    }
    if (!world_run_until(world, SETTLE_MS, agreed)) {
        world_violate(world, "the members do not come to agree after a blackout");
    }
}

static void check_all(struct world *world)
{
    void (*const checks[])(struct world * world) = {check_durable, check_order, check_once};
    for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]) && !world_is_broken(world); i++) {
        checks[i](world);
    }
}

static void summarise(const struct world *world, struct world_summary *ret)
{
    *ret = (struct world_summary){
        .trace_hash = world->trace_hash,
        .trace_lines = world->trace_lines,
        .virtual_ms = world->now_ns / WORLD_MS,
        .acknowledged = world->clients.done,
        .reads = world->clients.reads,
        .unknown = world->clients.unknown,
        .leaders = world->check.reigns,
        .faults = world->faults.count,
        .images = world->images,
        .changes = world->roster.asked,
    };
    memcpy(ret->violation, world->violation, sizeof(ret->violation));
    for (size_t i = 0; i < world->count; i++) {
        ret->entries += world->members[i].entries_applied;
        ret->starts += world->members[i].runs;
    }
}

bool world_run(const struct world_options *options, struct world_summary *ret)
{
    struct world *world = sr_zalloc(sizeof(*world));
    open_world(world, options);
    world_run_until(world, options->ms, NULL);
    if (!world_is_broken(world)) {
        settle(world);
    }
    if (!world_is_broken(world)) {
        check_all(world);
    }
    world_trace(world, "ends: %s", world_is_broken(world) ? "a rule was broken" : "well");
    summarise(world, ret);
    bool good = !world_is_broken(world);
    close_world(world);
    sr_free(world);
    return good;
}
