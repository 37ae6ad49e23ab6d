/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/simulation/network.h"

#include <string.h>

#include "base/alloc.h"
#include "base/check.h"
#include "tests/simulation/world.h"

#define RECONNECT_NS (20 * WORLD_MS)

struct network_frame {
    struct network_frame *next;
    uint64_t at_ns;
    size_t size;
    uint8_t data[];
};

void network_init(struct world *world)
{
    struct network *network = &world->network;
    *network = (struct network){0};
    network->delay_min_ns = world_skewed(world, 50000, 5 * WORLD_MS);
    network->delay_max_ns = network->delay_min_ns + world_skewed(world, 100000, 60 * WORLD_MS);
    network->bytes_max = world_chance(world, 4) ? 4096 : (size_t)32 * 1024 * 1024;
    for (size_t from = 0; from < world->count; from++) {
        for (size_t to = 0; to < world->count; to++) {
            network->links[from][to].up_at_ns = world->now_ns + world_random(world, RECONNECT_NS);
        }
    }
}

static void empty(struct network_link *link)
{
    while (link->head != NULL) {
        struct network_frame *frame = link->head;
        link->head = frame->next;
        sr_free(frame);
    }
    link->tail = NULL;
    link->bytes = 0;
}

void network_close(struct world *world)
{
    for (size_t from = 0; from < world->count; from++) {
        for (size_t to = 0; to < world->count; to++) {
            empty(&world->network.links[from][to]);
        }
    }
}

bool network_send(void *arg, uint64_t member, const Strongroom__Envelope *envelope,
                  const struct sr_bytes *payload, size_t payload_count)
{
    struct member *sender = arg;
    struct world *world = sender->world;
    struct network *network = &world->network;
    sr_check(member >= 1 && member <= world->count && member != sender->id && sender->alive);
    struct network_link *link = &network->links[sender->at][member - 1];
    if (!link->up || link->bytes >= network->bytes_max) {
        return false;
    }
    struct sr_buf packed = {0};
    sr_frame_append(&packed, envelope, payload, payload_count);
    struct network_frame *frame = sr_alloc(sizeof(*frame) + packed.size);
    frame->next = NULL;
    frame->size = packed.size;
    memcpy(frame->data, packed.data, packed.size);
    sr_buf_close(&packed);
    frame->at_ns = world->now_ns + network->delay_min_ns +
                   world_random(world, network->delay_max_ns - network->delay_min_ns);
    if (link->tail == NULL) {
        link->head = frame;
    } else {
        link->tail->next = frame;
        frame->at_ns = frame->at_ns > link->tail->at_ns ? frame->at_ns : link->tail->at_ns;
    }
    link->tail = frame;
    link->bytes += frame->size;
    world_trace(world, "send %zu>%zu message %d of %zu bytes", sender->at + 1, (size_t)member,
                (int)envelope->message_case, frame->size);
    return true;
}

bool network_is_up(void *arg, uint64_t member)
{
    const struct member *asks = arg;
    return asks->world->network.links[asks->at][member - 1].told;
}

void network_reset(struct world *world, size_t from, size_t to)
{
    struct network_link *link = &world->network.links[from][to];
    if (from == to) {
        return;
    }
    empty(link);
    link->broke = link->broke || link->up;
    link->up = false;
    link->stalled_till = 0;
    link->up_at_ns = world->now_ns + RECONNECT_NS + world_random(world, 4 * RECONNECT_NS);
}

void network_cut(struct world *world, size_t from, size_t to)
{
    network_reset(world, from, to);
    world->network.links[from][to].cut = true;
}

void network_stall(struct world *world, size_t from, size_t to, uint64_t ns)
{
    if (from != to) {
        world->network.links[from][to].stalled_till = world->now_ns + ns;
    }
}

void network_leave(struct world *world, size_t member)
{
    for (size_t other = 0; other < world->count; other++) {
        network_reset(world, member, other);
        network_reset(world, other, member);
        world->network.links[member][other].broke = false;
        world->network.links[member][other].told = false;
    }
}

void network_heal(struct world *world)
{
    for (size_t from = 0; from < world->count; from++) {
        for (size_t to = 0; to < world->count; to++) {
            struct network_link *link = &world->network.links[from][to];
            link->cut = false;
            if (link->stalled_till != 0) {
                link->stalled_till = world->now_ns;
            }
        }
    }
}

/* ---- time ---- */

static bool runs(const struct member *member)
{
    return member->alive && !member->paused;
}

static bool wants_up(const struct world *world, size_t from, size_t to)
{
    const struct network_link *link = &world->network.links[from][to];
    return from != to && !link->up && !link->cut && runs(&world->members[from]) &&
           runs(&world->members[to]) && roster_may_link(world, from, to);
}

static bool has_news(const struct world *world, size_t from, const struct network_link *link)
{
    return runs(&world->members[from]) && (link->broke || link->told != link->up);
}

static uint64_t link_next(const struct world *world, size_t from, size_t to)
{
    const struct network_link *link = &world->network.links[from][to];
    uint64_t next = WORLD_NEVER;
    if (link->stalled_till != 0) {
        return link->stalled_till;
    }
    if (has_news(world, from, link)) {
        return world->now_ns;
    }
    if (link->head != NULL && runs(&world->members[to])) {
        world_earlier(&next, link->head->at_ns);
    }
    if (wants_up(world, from, to)) {
        world_earlier(&next, link->up_at_ns);
    }
    return next;
}

uint64_t network_next(const struct world *world)
{
    uint64_t next = WORLD_NEVER;
    for (size_t from = 0; from < world->count; from++) {
        for (size_t to = 0; to < world->count; to++) {
            world_earlier(&next, link_next(world, from, to));
        }
    }
    return next;
}

static void deliver(struct world *world, size_t from, size_t to)
{
    struct network_link *link = &world->network.links[from][to];
    struct network_frame *frame = link->head;
    link->head = frame->next;
    link->bytes -= frame->size;
    if (link->head == NULL) {
        link->tail = NULL;
    }
    struct sr_arena arena;
    struct sr_frame taken;
    size_t used = 0;
    struct sr_err err;
    sr_arena_init(&arena, (size_t)16 * 1024 * 1024);
    sr_check(sr_frame_take(frame->data, frame->size, &arena, &taken, &used, &err) == SR_OK);
    sr_check(used == frame->size);
    world_trace(world, "take %zu>%zu message %d of %zu bytes", from + 1, to + 1,
                (int)taken.envelope->message_case, frame->size);
    member_receive(&world->members[to], from + 1, &taken);
    sr_arena_close(&arena);
    sr_free(frame);
}

static void end_stall(struct world *world, size_t from, size_t to)
{
    world->network.links[from][to].stalled_till = 0;
    if (world_chance(world, 2)) {
        network_reset(world, from, to);
    }
}

static void tell(struct world *world, size_t from, size_t to)
{
    struct network_link *link = &world->network.links[from][to];
    if (link->broke && link->told) {
        member_link(&world->members[from], to + 1, false);
    }
    link->broke = false;
    link->told = link->up;
    if (link->up) {
        member_link(&world->members[from], to + 1, true);
    }
}

static void link_step(struct world *world, size_t from, size_t to)
{
    struct network_link *link = &world->network.links[from][to];
    if (link->stalled_till != 0 && link->stalled_till <= world->now_ns) {
        end_stall(world, from, to);
    }
    if (link->up && !roster_may_link(world, from, to)) {
        network_reset(world, from, to);
    }
    if (wants_up(world, from, to) && link->up_at_ns <= world->now_ns) {
        link->up = true;
        roster_met(world, from, to);
        world_trace(world, "link %zu>%zu is up", from + 1, to + 1);
    }
    if (has_news(world, from, link)) {
        tell(world, from, to);
    }
    if (link->stalled_till == 0 && link->head != NULL && link->head->at_ns <= world->now_ns &&
        runs(&world->members[to])) {
        deliver(world, from, to);
    }
}

void network_step(struct world *world)
{
    for (size_t from = 0; from < world->count; from++) {
        for (size_t to = 0; to < world->count; to++) {
            if (from != to) {
                link_step(world, from, to);
            }
        }
    }
}
