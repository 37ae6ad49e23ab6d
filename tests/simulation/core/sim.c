/* SPDX-License-Identifier: Apache-2.0 */
#include "sim.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/check.h"

uint64_t sim_random(struct sim *sim, uint64_t below)
{
    /* splitmix64 */
    sim->random += 0x9e3779b97f4a7c15u;
    uint64_t z = sim->random;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return below == 0 ? 0 : (z ^ (z >> 31)) % below;
}

void sim_violate(struct sim *sim, const char *format, ...)
{
    if (sim->violation[0] != 0) {
        return;
    }
    va_list args;
    va_start(args, format);
    /* NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized): it is, one line above */
    vsnprintf(sim->violation, sizeof(sim->violation), format, args);
    va_end(args);
}

/* ---- a node's life ---- */

static uint64_t env_now(void *arg)
{
    const struct sim_node *node = arg;
    return node->sim->now_ns;
}

static uint32_t env_random(void *arg)
{
    struct sim_node *node = arg;
    return (uint32_t)sim_random(node->sim, (uint64_t)1 << 32);
}

static void env_fail(void *arg, const struct sr_err *err)
{
    struct sim_node *node = arg;
    node->failed = true;
    node->failure = *err;
}

int sim_restart(struct sim *sim, size_t at, struct sr_err *err)
{
    struct sim_node *node = &sim->nodes[at];
    uint64_t ids[SIM_NODES_MAX];
    size_t initial = sim->initial == 0 ? sim->count : sim->initial;
    size_t known = 0;
    for (size_t i = 0; i < sim->count; i++) {
        if (at < initial ? i < initial : !sim_members_out(sim, i)) {
            ids[known++] = i + 1; /* who joins asks the cluster who it is, at each start */
        }
    }
    sim_state_restart(node);
    node->failed = false;
    struct sr_core_options options = {
        .self = node->id,
        .members = ids,
        .member_count = known,
        .joins = at >= initial,
        .election_timeout_ms = sim->election_timeout_ms,
        .log_state = sim_disk_state(&node->disk),
        .log_keep_bytes = sim->log_keep_bytes,
        .log_keep_entries = sim->log_keep_entries,
        .hold_bytes = sim->hold_bytes,
        .snapshot_bytes = sim->snapshot_bytes,
        .trailing_bytes = sim->trailing_bytes,
        .metrics = &node->metrics,
        .env = {.now_ns = env_now,
                .random = env_random,
                .send = sim_net_send,
                .is_up = sim_net_is_up,
                .fail = env_fail,
                .arg = node},
        .guards_off = sim->guards_off,
    };
    sim_disk_env(&options.env);
    sim_state_env(&options.env);
    int status = sr_core_start(&options, &node->core, err);
    if (status == SR_OK) {
        node->alive = true;
        sim_members_tell(node);
        node->tick_at_ns = sim->now_ns + sim_random(sim, SIM_TICK_MS * 1000000);
        sr_core_turn_end(node->core);
    }
    return status;
}

static void drop_links(struct sim *sim, size_t at)
{
    for (size_t other = 0; other < sim->count; other++) {
        if (other != at) {
            sim_net_drop(sim, at, other);
            sim_net_drop(sim, other, at);
        }
    }
}

/* The answers that a stopping core gives reach nobody. */
void sim_crash(struct sim *sim, size_t at)
{
    struct sim_node *node = &sim->nodes[at];
    sr_check(node->alive);
    for (size_t i = 0; i < sim->command_count; i++) {
        /* Whose node died does not know. */
        if (sim->commands[i].state == SIM_WAITS && sim->commands[i].owner == node->id) {
            sim->commands[i].state = SIM_UNKNOWN;
        }
    }
    sim_disk_crash(node);
    drop_links(sim, at);
    node->alive = false;
    sr_core_stop(node->core);
    node->core = NULL;
}

void sim_cut(struct sim *sim, size_t from, size_t to, bool cut)
{
    sim->links[from][to].cut = cut;
    if (cut) {
        sim_net_drop(sim, from, to);
    }
}

void sim_isolate(struct sim *sim, size_t node, bool isolated)
{
    for (size_t other = 0; other < sim->count; other++) {
        if (other != node) {
            sim_cut(sim, node, other, isolated);
            sim_cut(sim, other, node, isolated);
        }
    }
}

void sim_heal(struct sim *sim)
{
    for (size_t from = 0; from < sim->count; from++) {
        for (size_t to = 0; to < sim->count; to++) {
            sim->links[from][to].cut = false;
        }
    }
}

void sim_reset_link(struct sim *sim, size_t from, size_t to)
{
    sim_net_drop(sim, from, to);
}

void sim_init(struct sim *sim, uint64_t seed, size_t count)
{
    *sim = (struct sim){
        .seed = seed,
        .random = seed * 0x2545f4914f6cdd1du + 1,
        .now_ns = 1000000000,
        .count = count,
        .delay_min_ns = 100000,
        .delay_max_ns = 2000000,
        .election_timeout_ms = 300,
        .command_bytes = 16,
    };
    for (size_t i = 0; i < count; i++) {
        struct sim_node *node = &sim->nodes[i];
        node->sim = sim;
        node->id = i + 1;
        node->disk.first = 1;
        node->ops_end = &node->ops;
        node->tasks_end = &node->tasks;
    }
}

void sim_start(struct sim *sim)
{
    for (size_t i = 0; i < (sim->initial == 0 ? sim->count : sim->initial); i++) {
        struct sr_err err;
        if (sim_restart(sim, i, &err) != SR_OK) {
            sim_violate(sim, "start: %s", err.text);
        }
    }
}

void sim_close(struct sim *sim)
{
    for (size_t i = 0; i < sim->count; i++) {
        if (sim->nodes[i].alive) {
            sim_crash(sim, i);
        }
        sim_disk_close(&sim->nodes[i].disk);
        sim_state_close(&sim->nodes[i].state);
    }
    sr_free(sim->history);
    sr_free(sim->commands);
    sr_free(sim->reads);
    sr_free(sim->leaders);
    sr_free(sim->changes);
}

/* ---- time ---- */

static void earlier(uint64_t *next, uint64_t at)
{
    *next = at < *next ? at : *next;
}

static uint64_t node_next(const struct sim_node *node)
{
    uint64_t next = node->tick_at_ns;
    if (node->ops != NULL && !node->disk_stuck) {
        earlier(&next, node->disk_ready_ns);
    }
    if (node->tasks != NULL) {
        earlier(&next, node->task_at_ns);
    }
    earlier(&next, node->apply_at_ns);
    earlier(&next, node->flush_at_ns);
    earlier(&next, node->image_at_ns);
    return next;
}

static void node_step(struct sim_node *node)
{
    uint64_t now_ns = node->sim->now_ns;
    bool turned = false;
    if (node->tick_at_ns <= now_ns) {
        node->tick_at_ns += SIM_TICK_MS * 1000000;
        sr_core_tick(node->core);
        turned = true;
    }
    if (node->ops != NULL && !node->disk_stuck && node->disk_ready_ns <= now_ns) {
        sim_disk_run_ops(node);
        turned = true;
    }
    if (node->tasks != NULL && node->task_at_ns <= now_ns) {
        sim_disk_run_tasks(node);
        turned = true;
    }
    if (node->apply_at_ns <= now_ns) {
        sim_state_apply(node);
        turned = true;
    }
    if (node->flush_at_ns <= now_ns) {
        sim_state_flush(node);
        turned = true;
    }
    if (turned) {
        sr_core_turn_end(node->core);
        sim_members_check_leader(node);
    }
}

static void step(struct sim *sim, uint64_t end_ns)
{
    uint64_t next = sim_net_next(sim);
    for (size_t i = 0; i < sim->count; i++) {
        if (sim->nodes[i].alive && !sim->nodes[i].paused) {
            earlier(&next, node_next(&sim->nodes[i]));
        }
    }
    sim->now_ns = next < sim->now_ns ? sim->now_ns : next;
    if (sim->now_ns > end_ns) {
        sim->now_ns = end_ns;
        return;
    }
    sim_members_step(sim);
    sim_image_step(sim);
    sim_net_step(sim);
    for (size_t i = 0; i < sim->count; i++) {
        if (sim->nodes[i].alive && !sim->nodes[i].paused) {
            node_step(&sim->nodes[i]);
        }
    }
}

bool sim_run(struct sim *sim, unsigned ms, bool (*done)(struct sim *sim))
{
    uint64_t end_ns = sim->now_ns + (uint64_t)ms * 1000000;
    while (sim->now_ns < end_ns) {
        if (done != NULL && done(sim)) {
            return true;
        }
        if (sim->violation[0] != 0) {
            return false;
        }
        step(sim, end_ns);
    }
    return done == NULL || done(sim);
}

/* ---- clients ---- */

size_t sim_propose(struct sim *sim, size_t at)
{
    if (sim->command_count == sim->command_capacity) {
        sim->command_capacity = sim->command_capacity == 0 ? 256 : 2 * sim->command_capacity;
        sim->commands = sr_realloc(sim->commands, sim->command_capacity * sizeof(*sim->commands));
    }
    size_t number = sim->command_count++;
    struct sim_node *node = &sim->nodes[at];
    sim->commands[number] =
        (struct sim_command){.state = SIM_WAITS, .owner = node->id, .proposed_ns = sim->now_ns};
    struct sr_proposal *proposal = sr_zalloc(sizeof(*proposal));
    proposal->origin = node->id;
    proposal->sequence = number;
    sr_buf_append_u64(&proposal->command, node->id);
    sr_buf_append_u64(&proposal->command, number);
    if (sim->command_bytes > 16) {
        memset(sr_buf_extend(&proposal->command, sim->command_bytes - 16), 'x',
               sim->command_bytes - 16);
    }
    sr_core_propose(node->core, proposal);
    sr_core_turn_end(node->core);
    return number;
}

size_t sim_read(struct sim *sim, size_t at)
{
    if (sim->read_count == sim->read_capacity) {
        sim->read_capacity = sim->read_capacity == 0 ? 256 : 2 * sim->read_capacity;
        sim->reads = sr_realloc(sim->reads, sim->read_capacity * sizeof(*sim->reads));
    }
    size_t number = sim->read_count++;
    sim->reads[number] = (struct sim_read){.waits = true, .must_see = sim->acked_index};
    struct sr_read *read = sr_zalloc(sizeof(*read));
    read->origin = (uint64_t)1 << 32;
    read->sequence = number;
    sr_core_read(sim->nodes[at].core, read);
    sr_core_turn_end(sim->nodes[at].core);
    return number;
}

size_t sim_leader(struct sim *sim)
{
    size_t leader = SIM_NODES_MAX;
    uint64_t term = 0;
    for (size_t i = 0; i < sim->count; i++) {
        struct sr_consensus_info info;
        if (!sim->nodes[i].alive) {
            continue;
        }
        sr_core_info(sim->nodes[i].core, &info);
        if (info.is_leader && info.term > term) {
            leader = i;
            term = info.term;
        }
    }
    return leader;
}

bool sim_has_leader(struct sim *sim)
{
    return sim_leader(sim) != SIM_NODES_MAX;
}

bool sim_all_answered(struct sim *sim)
{
    for (size_t i = 0; i < sim->command_count; i++) {
        if (sim->commands[i].state == SIM_WAITS) {
            return false;
        }
    }
    for (size_t i = 0; i < sim->read_count; i++) {
        if (sim->reads[i].waits) {
            return false;
        }
    }
    return true;
}

bool sim_converged(struct sim *sim)
{
    uint64_t last = 0;
    for (size_t i = 0; i < sim->count; i++) {
        const struct sim_node *node = &sim->nodes[i];
        last = node->applied > last ? node->applied : last;
    }
    for (size_t i = 0; i < sim->count; i++) {
        const struct sim_node *node = &sim->nodes[i];
        if (node->alive &&
            (node->applied != last || node->disk.first + node->disk.count - 1 != last)) {
            return false;
        }
    }
    return true;
}

static void start_members(struct sim *sim)
{
    struct sr_err err;
    for (size_t i = 0; i < sim->count; i++) {
        if (!sim->nodes[i].alive && sim_members_may_start(sim, i) &&
            sim_restart(sim, i, &err) != SR_OK) {
            sim_violate(sim, "restart of node %zu: %s", i + 1, err.text);
        }
    }
}

static bool members_settled(struct sim *sim)
{
    start_members(sim); /* those too that became members just now */
    sim_members_help_stranded(sim);
    return sim_members_settled(sim);
}

void sim_finish(struct sim *sim)
{
    sim_heal(sim);
    start_members(sim);
    if (!sim_run(sim, 30000, sim_has_leader)) {
        sim_violate(sim, "no leader after healing");
        return;
    }
    size_t last = 0;
    do { /* again if the one that was asked turns out to be removed: the log may yet say so */
        if (sim_record(sim).epoch != 0 && !sim_run(sim, 60000, members_settled)) {
            sim_violate(sim, "the members do not become what the record says");
            return;
        }
        last = sim_propose(sim, sim_leader(sim));
        sim_run(sim, 30000, sim_all_answered);
    } while (sim->nodes[sim->commands[last].owner - 1].gone);
    if (!sim_all_answered(sim) || sim->commands[last].state != SIM_ACKED) {
        sim_violate(sim, "no write after healing: state %d, error %d",
                    (int)sim->commands[last].state, (int)sim->commands[last].error);
    }
    if (!sim_run(sim, 30000, sim_converged)) {
        sim_violate(sim, "the nodes do not come to agree after healing");
    }
    for (size_t i = 0; i < sim->command_count; i++) {
        if (sim->commands[i].state == SIM_ACKED && sim->commands[i].applied_at == 0) {
            sim_violate(sim, "acknowledged command %zu is lost", i);
        }
    }
}
