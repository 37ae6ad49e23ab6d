/* SPDX-License-Identifier: Apache-2.0 */
#include "chaos.h"

#include <stdio.h>

static size_t alive_count(const struct sim *sim)
{
    size_t count = 0;
    for (size_t i = 0; i < sim->count; i++) {
        count += sim->nodes[i].alive;
    }
    return count;
}

static void crash_or_restart(struct sim *sim, size_t node)
{
    struct sr_err err;
    if (sim->nodes[node].alive && alive_count(sim) > 1) {
        sim_crash(sim, node);
    } else if (!sim->nodes[node].alive && sim_members_may_start(sim, node) &&
               sim_restart(sim, node, &err) != SR_OK) {
        sim_violate(sim, "restart of node %zu: %s", node + 1, err.text);
    }
}

/* Not a node that has nothing to do with the cluster yet. */
static size_t somebody(struct sim *sim)
{
    size_t node = sim_random(sim, sim->count);
    while (sim->churn && !sim->nodes[node].alive && !sim_members_may_start(sim, node)) {
        node = sim_random(sim, sim->count);
    }
    return node;
}

static void act(struct sim *sim)
{
    size_t a = somebody(sim);
    size_t b = somebody(sim);
    bool alive = sim->nodes[a].alive;
    if (sim->churn && alive && sim_random(sim, 25) == 0) {
        sim_members_churn(sim, a);
        return;
    }
    switch (sim_random(sim, 40)) {
    case 0:
    case 1:
    case 2:
        crash_or_restart(sim, a);
        break;
    case 3:
        sim_isolate(sim, a, true);
        break;
    case 4:
        if (a != b) {
            sim_cut(sim, a, b, true);
        }
        break;
    case 5:
    case 6:
    case 7:
        sim_heal(sim);
        break;
    case 8:
        if (a != b) {
            sim_reset_link(sim, a, b);
        }
        break;
    default:
        if (alive && sim_random(sim, 3) == 0) {
            sim_read(sim, a);
        } else if (alive) {
            sim_propose(sim, a);
        }
        break;
    }
}

static void check_failures(struct sim *sim)
{
    for (size_t i = 0; i < sim->count; i++) {
        if (sim->nodes[i].failed) {
            sim_violate(sim, "node %zu stopped: %.150s", i + 1, sim->nodes[i].failure.text);
        }
    }
}

void chaos_run(struct sim *sim, unsigned ms)
{
    uint64_t end_ns = sim->now_ns + (uint64_t)ms * 1000000;
    sim_start(sim);
    while (sim->now_ns < end_ns && sim->violation[0] == 0) {
        act(sim);
        sim_run(sim, (unsigned)sim_random(sim, 50), NULL);
        check_failures(sim);
    }
    if (sim->violation[0] == 0) {
        sim_finish(sim);
    }
    check_failures(sim);
    if (sim->violation[0] != 0) {
        fprintf(stderr, "seed %llu: %s\n", (unsigned long long)sim->seed, sim->violation);
    }
}
