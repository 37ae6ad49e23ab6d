/* SPDX-License-Identifier: Apache-2.0
 *
 * The simulated state and the clients: applies entries a while after they were handed over, makes
 * them durable now and then, and holds every answer against what really happened.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/check.h"
#include "proto/batch.h"
#include "sim.h"

static uint64_t hash_of(const uint8_t *data, size_t size)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < size; i++) {
        hash = (hash ^ data[i]) * 0x100000001b3u;
    }
    return hash;
}

static void remember(struct sim_node *node, uint64_t index, uint64_t hash)
{
    struct sim *sim = node->sim;
    if (index >= sim->history_count) {
        size_t count = (size_t)index + 256;
        sim->history = sr_realloc(sim->history, count * sizeof(*sim->history));
        memset(sim->history + sim->history_count, 0,
               (count - sim->history_count) * sizeof(*sim->history));
        sim->history_count = count;
    }
    if (sim->history[index] != 0 && sim->history[index] != hash) {
        sim_violate(sim, "node %llu has another entry at %llu", (unsigned long long)node->id,
                    (unsigned long long)index);
    }
    sim->history[index] = hash;
}

static void apply_command(struct sim_node *node, uint64_t index, struct sr_bytes command)
{
    struct sim *sim = node->sim;
    struct sr_reader reader = sr_reader_of(command.data, command.size);
    uint64_t origin = sr_read_u64(&reader);
    uint64_t number = sr_read_u64(&reader);
    sr_check(number < sim->command_count);
    struct sim_command *known = &sim->commands[number];
    if (known->applied_at != 0 && known->applied_at != index) {
        sim_violate(sim, "command %llu is applied at %llu and %llu", (unsigned long long)number,
                    (unsigned long long)known->applied_at, (unsigned long long)index);
    }
    if (known->state == SIM_NEVER) {
        sim_violate(sim, "command %llu happened, but was refused with %d",
                    (unsigned long long)number, (int)known->error);
    }
    known->applied_at = index;
    if (known->record.epoch != 0 && known->record.epoch == node->record.epoch + 1) {
        node->record = known->record;
    }
    if (origin == node->id && known->state == SIM_WAITS) {
        known->state = SIM_ACKED;
        known->answered_ns = sim->now_ns;
        sim->acked++;
        sim->acked_index = index > sim->acked_index ? index : sim->acked_index;
    }
}

/* What is handed over is what the log holds, whatever kind of entry it is. */
static void check_entry(struct sim_node *node, uint64_t index, uint64_t term, uint32_t type,
                        const uint8_t *data, size_t size)
{
    const struct sim_disk *disk = &node->disk;
    if (index < disk->first || index >= disk->first + disk->count) {
        return; /* said elsewhere, or released */
    }
    const struct sim_entry *entry = &disk->entries[index - disk->first];
    bool same = entry->term == term && entry->type == type &&
                (type == RAFT_BARRIER ? data == NULL : entry->size == size) &&
                (size == 0 || memcmp(entry->data, data, size) == 0);
    if (!same) {
        sim_violate(node->sim, "node %llu hands over another entry %llu than its log holds",
                    (unsigned long long)node->id, (unsigned long long)index);
    }
}

/* The end of sr_applier_post. */
static void env_apply(void *arg, uint64_t index, uint64_t term, uint32_t type, const uint8_t *data,
                      size_t size)
{
    struct sim_node *node = arg;
    if (index != node->posted + 1 && node->posted != 0) {
        sim_violate(node->sim, "node %llu hands over %llu after %llu", (unsigned long long)node->id,
                    (unsigned long long)index, (unsigned long long)node->posted);
    }
    if (index >= node->disk.first + node->disk.count) {
        sim_violate(node->sim, "node %llu applies %llu, which its log does not hold",
                    (unsigned long long)node->id, (unsigned long long)index);
    }
    check_entry(node, index, term, type, data, size);
    node->posted = index;
    remember(node, index, (hash_of(data, size) ^ term << 8 ^ type) | 2);
    if (index <= node->applied) {
        return; /* from before the restart */
    }
    /* Applied here at once; readers and the core see it when apply_at_ns has come. */
    if (type == RAFT_COMMAND) {
        struct sr_batch_reader batch;
        struct sr_bytes command;
        struct sr_err err;
        if (sr_batch_open(&batch, data, size, &err) != SR_OK) {
            sim_violate(node->sim, "entry %llu: %s", (unsigned long long)index, err.text);
            return;
        }
        while (sr_batch_next(&batch, &command)) {
            apply_command(node, index, command);
        }
    }
    node->applied = index;
    node->state.term = term;
    if (type == RAFT_CHANGE) {
        sim_members_note_change(node->sim, index);
        node->state.configuration_index = index;
        sr_buf_clear(&node->state.configuration);
        sr_buf_append(&node->state.configuration, data, size);
    }
    if (node->apply_at_ns == UINT64_MAX) {
        node->apply_at_ns = node->sim->now_ns + sim_random(node->sim, 2000000);
    }
}

static void env_backlog(void *arg, size_t *ret_entries, size_t *ret_bytes)
{
    const struct sim_node *node = arg;
    *ret_entries = node->backlog_entries;
    *ret_bytes = 0;
}

static uint64_t env_durable(void *arg)
{
    const struct sim_node *node = arg;
    return node->disk.state_index;
}

static void answer_command(struct sim_node *node, uint64_t number, enum sr_api_error error)
{
    struct sim_command *command = &node->sim->commands[number];
    if (command->state != SIM_WAITS) {
        return; /* answered by the state already, as a client loop would find */
    }
    bool never = error == SR_API_NO_LEADER || error == SR_API_TOO_MANY_REQUESTS ||
                 error == SR_API_STOPPED || error == SR_API_REQUEST_TOO_LARGE;
    command->state = never ? SIM_NEVER : SIM_UNKNOWN;
    command->error = error;
    command->answered_ns = node->sim->now_ns;
    if (never && command->applied_at != 0) {
        sim_violate(node->sim, "command %llu happened, but is refused with %d",
                    (unsigned long long)number, (int)error);
    }
}

static void answer_read(struct sim_node *node, uint64_t number, enum sr_api_error error)
{
    struct sim_read *read = &node->sim->reads[number];
    read->waits = false;
    read->error = error;
    if (error == SR_API_NONE) {
        node->sim->reads_done++;
        if (node->applied < read->must_see) {
            sim_violate(node->sim, "stale read on node %llu: %llu applied, %llu acknowledged",
                        (unsigned long long)node->id, (unsigned long long)node->applied,
                        (unsigned long long)read->must_see);
        }
    }
}

/* Origins of reads have bit 32 set. */
static void env_answer(void *arg, uint64_t origin, uint64_t sequence, enum sr_api_error error,
                       uint64_t index)
{
    struct sim_node *node = arg;
    (void)index;
    if (origin >> 32 != 0) {
        answer_read(node, sequence, error);
    } else {
        answer_command(node, sequence, error);
    }
}

static void env_proposal_done(void *arg, struct sr_proposal *proposal)
{
    (void)arg;
    sr_buf_close(&proposal->command);
    sr_free(proposal);
}

static void env_read_done(void *arg, struct sr_read *read)
{
    (void)arg;
    sr_free(read);
}

void sim_state_env(struct sr_core_env *env)
{
    env->apply = env_apply;
    env->apply_backlog = env_backlog;
    env->durable_index = env_durable;
    env->image_needed = sim_image_needed;
    env->answer = env_answer;
    env->proposal_done = env_proposal_done;
    env->read_done = env_read_done;
}

void sim_state_copy(struct sim_state *to, const struct sim_state *from)
{
    to->term = from->term;
    to->configuration_index = from->configuration_index;
    sr_buf_clear(&to->configuration);
    sr_buf_append(&to->configuration, from->configuration.data, from->configuration.size);
}

void sim_state_close(struct sim_state *state)
{
    sr_buf_close(&state->configuration);
}

void sim_state_apply(struct sim_node *node)
{
    node->apply_at_ns = UINT64_MAX;
    sim_members_tell(node);
    sr_core_applied(node->core, node->applied);
}

void sim_state_flush(struct sim_node *node)
{
    node->flush_at_ns = node->sim->now_ns + 50000000 + sim_random(node->sim, 500000000);
    if (!node->flush_never) {
        node->disk.state_index = node->applied;
        node->disk.record = node->record;
        sim_state_copy(&node->disk.state, &node->state);
    }
}

void sim_state_restart(struct sim_node *node)
{
    node->applied = node->disk.state_index;
    node->record = node->disk.record;
    sim_state_copy(&node->state, &node->disk.state);
    node->image_from = 0;
    node->image_at_ns = UINT64_MAX;
    node->told = 0;
    node->heard = (struct sim_record){0};
    node->posted = 0;
    node->apply_at_ns = UINT64_MAX;
    node->flush_at_ns = node->sim->now_ns + sim_random(node->sim, 500000000);
}
