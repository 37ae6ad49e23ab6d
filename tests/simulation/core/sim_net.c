/* SPDX-License-Identifier: Apache-2.0
 *
 * The simulated network: each direction of a pair is one strict order. A link that is cut loses
 * what is on it; it comes up again by itself a while after it is healed.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/check.h"
#include "sim.h"

#define RECONNECT_NS 20000000u

static uint64_t max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static void note(struct sim_node *node, const Strongroom__Envelope *envelope,
                 const struct sr_bytes *payload, size_t payload_count)
{
    node->frames_out++;
    if (envelope->message_case == STRONGROOM__ENVELOPE__MESSAGE_APPEND_ENTRIES) {
        node->appends_out += envelope->append_entries->n_entries > 0;
        for (size_t i = 0; i < payload_count; i++) {
            node->entry_bytes_out += payload[i].size;
        }
    }
}

bool sim_net_send(void *arg, uint64_t member, const Strongroom__Envelope *envelope,
                  const struct sr_bytes *payload, size_t payload_count)
{
    struct sim_node *node = arg;
    struct sim *sim = node->sim;
    struct sim_link *link = &sim->links[node->id - 1][member - 1];
    if (!link->up) {
        return false;
    }
    note(node, envelope, payload, payload_count);
    struct sr_buf packed = {0};
    sr_frame_append(&packed, envelope, payload, payload_count);
    struct sim_frame *frame = sr_alloc(sizeof(*frame) + packed.size);
    frame->next = NULL;
    frame->size = packed.size;
    memcpy(frame->data, packed.data, packed.size);
    sr_buf_close(&packed);
    uint64_t delay = sim->delay_min_ns + sim_random(sim, sim->delay_max_ns - sim->delay_min_ns + 1);
    frame->at_ns = max_u64(sim->now_ns + delay, link->tail == NULL ? 0 : link->tail->at_ns);
    if (link->tail == NULL) {
        link->head = frame;
    } else {
        link->tail->next = frame;
    }
    link->tail = frame;
    return true;
}

bool sim_net_is_up(void *arg, uint64_t member)
{
    const struct sim_node *node = arg;
    return node->sim->links[node->id - 1][member - 1].up;
}

void sim_net_drop(struct sim *sim, size_t from, size_t to)
{
    struct sim_link *link = &sim->links[from][to];
    while (link->head != NULL) {
        struct sim_frame *frame = link->head;
        link->head = frame->next;
        sr_free(frame);
    }
    link->tail = NULL;
    if (link->up && sim->nodes[from].alive) {
        sr_core_link(sim->nodes[from].core, to + 1, false);
    }
    link->up = false;
    link->up_at_ns = sim->now_ns + RECONNECT_NS + sim_random(sim, RECONNECT_NS);
}

static bool wants_up(const struct sim *sim, size_t from, size_t to)
{
    return from != to && !sim->links[from][to].up && !sim->links[from][to].cut &&
           sim->nodes[from].alive && sim->nodes[to].alive && sim_members_may_link(sim, from, to);
}

uint64_t sim_net_next(const struct sim *sim)
{
    uint64_t next = UINT64_MAX;
    for (size_t from = 0; from < sim->count; from++) {
        for (size_t to = 0; to < sim->count; to++) {
            const struct sim_link *link = &sim->links[from][to];
            if (link->head != NULL && link->head->at_ns < next && !sim->nodes[to].paused) {
                next = link->head->at_ns;
            }
            if (wants_up(sim, from, to) && link->up_at_ns < next) {
                next = link->up_at_ns;
            }
        }
    }
    return next;
}

static void deliver(struct sim *sim, size_t from, size_t to)
{
    struct sim_link *link = &sim->links[from][to];
    struct sim_frame *frame = link->head;
    link->head = frame->next;
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
    if (sim->filter == NULL || sim->filter(sim, from, to, &taken)) {
        sr_core_receive(sim->nodes[to].core, from + 1, &taken);
        sr_core_turn_end(sim->nodes[to].core);
        sim_members_check_leader(&sim->nodes[to]);
    }
    sr_arena_close(&arena);
    sr_free(frame);
}

void sim_net_step(struct sim *sim)
{
    for (size_t from = 0; from < sim->count; from++) {
        for (size_t to = 0; to < sim->count; to++) {
            struct sim_link *link = &sim->links[from][to];
            if (link->head != NULL && link->head->at_ns <= sim->now_ns && !sim->nodes[to].paused) {
                deliver(sim, from, to);
            }
            if (wants_up(sim, from, to) && link->up_at_ns <= sim->now_ns) {
                link->up = true;
                sr_core_link(sim->nodes[from].core, to + 1, true);
            }
        }
    }
}
