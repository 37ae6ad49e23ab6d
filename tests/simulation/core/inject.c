/* SPDX-License-Identifier: Apache-2.0 */
#include "inject.h"

#include <stdio.h>

#include "base/check.h"
#include "proto/batch.h"

#define ENTRIES_MAX 64

void inject(struct sim *sim, size_t from, size_t to, Strongroom__Envelope *envelope,
            const void *payload, size_t payload_size)
{
    struct sr_frame frame = {
        .envelope = envelope,
        .payload = {payload, payload_size},
    };
    sr_core_receive(sim->nodes[to].core, from + 1, &frame);
    sr_core_turn_end(sim->nodes[to].core);
}

static void add_configuration(const struct sim *sim, struct sr_buf *payload)
{
    struct raft_configuration conf;
    struct raft_buffer encoded;
    raft_configuration_init(&conf);
    for (size_t i = 0; i < sim->count; i++) {
        char address[24];
        snprintf(address, sizeof(address), "m%zu", i + 1);
        sr_check(raft_configuration_add(&conf, i + 1, address, RAFT_VOTER) == 0);
    }
    sr_check(raft_configuration_encode(&conf, &encoded) == 0);
    sr_buf_append(payload, encoded.base, encoded.len);
    raft_free(encoded.base);
    raft_configuration_close(&conf);
}

static void add_batch(uint64_t term, struct sr_buf *payload)
{
    struct sr_buf batch = {0};
    sr_batch_begin(&batch, term);
    sr_buf_append(payload, batch.data, batch.size);
    sr_buf_close(&batch);
}

void inject_append(struct sim *sim, size_t from, size_t to, const struct inject_append *append)
{
    Strongroom__Entry entries[ENTRIES_MAX];
    Strongroom__Entry *pointers[ENTRIES_MAX];
    struct sr_buf payload = {0};
    sr_check(append->count <= ENTRIES_MAX);
    for (size_t i = 0; i < append->count; i++) {
        size_t before = payload.size;
        if (append->entries[i].type == RAFT_CHANGE) {
            add_configuration(sim, &payload);
        } else {
            add_batch(append->entries[i].term, &payload);
        }
        strongroom__entry__init(&entries[i]);
        entries[i].term = append->entries[i].term;
        entries[i].type = append->entries[i].type;
        entries[i].length = (uint32_t)(payload.size - before);
        pointers[i] = &entries[i];
    }
    Strongroom__AppendEntries message = STRONGROOM__APPEND_ENTRIES__INIT;
    message.term = append->term;
    message.prev_log_index = append->prev_index;
    message.prev_log_term = append->prev_term;
    message.leader_commit = append->commit;
    message.entries = pointers;
    message.n_entries = append->count;
    Strongroom__Envelope envelope = STRONGROOM__ENVELOPE__INIT;
    envelope.message_case = STRONGROOM__ENVELOPE__MESSAGE_APPEND_ENTRIES;
    envelope.append_entries = &message;
    inject(sim, from, to, &envelope, payload.data, payload.size);
    sr_buf_close(&payload);
}
