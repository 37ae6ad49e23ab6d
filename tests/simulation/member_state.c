/* SPDX-License-Identifier: Apache-2.0
 *
 * What node/state/applier.c does with two threads: entries are applied in order some while after
 * they were handed over; a frozen memtable is flushed some while after that.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/check.h"
#include "proto/batch.h"
#include "proto/command.pb-c.h"
#include "proto/limits.h"
#include "tests/simulation/world.h"

struct member_entry {
    struct member_entry *next;
    uint64_t index;
    uint64_t term;
    uint32_t type;
    struct sr_buf data;
};

static void env_apply(void *arg, uint64_t index, uint64_t term, uint32_t type, const uint8_t *data,
                      size_t size)
{
    struct member *member = arg;
    check_storage_handed_over(member, index);
    member->posted = index;
    struct member_entry *entry = sr_zalloc(sizeof(*entry));
    entry->index = index;
    entry->term = term;
    entry->type = type;
    if (data != NULL) {
        sr_buf_append(&entry->data, data, size);
    }
    *member->entries_end = entry;
    member->entries_end = &entry->next;
    member->entry_count++;
    member->entry_bytes += size;
    if (member->apply_at_ns == WORLD_NEVER) {
        member->apply_at_ns =
            member->world->now_ns + world_random(member->world, member->pace.apply_max_ns);
    }
}

static void env_apply_backlog(void *arg, size_t *ret_entries, size_t *ret_bytes)
{
    const struct member *member = arg;
    *ret_entries = member->entry_count;
    *ret_bytes = member->entry_bytes;
}

static uint64_t env_durable_index(void *arg)
{
    const struct member *member = arg;
    return sr_store_durable_index(member->store);
}

void member_state_env(struct sr_core_env *env)
{
    env->apply = env_apply;
    env->apply_backlog = env_apply_backlog;
    env->durable_index = env_durable_index;
}

void member_state_reset(struct member *member)
{
    member->entries = NULL;
    member->entries_end = &member->entries;
    member->entry_count = 0;
    member->entry_bytes = 0;
    member->posted = 0;
    member->apply_at_ns = WORLD_NEVER;
    member->freeze_at_ns = member->world->now_ns + SR_FLUSH_INTERVAL_MS * WORLD_MS;
    member->flush_at_ns = WORLD_NEVER;
}

/* ---- applying ---- */

static void freeze(struct member *member, bool force)
{
    if (sr_store_freeze(member->store, force) && member->flush_at_ns == WORLD_NEVER) {
        member->flush_at_ns =
            member->world->now_ns + 100000 + world_random(member->world, member->pace.flush_max_ns);
    }
}

static bool wanted(void *arg, uint64_t origin)
{
    const struct member *member = arg;
    return member->curious || origin == member->origin;
}

static void deliver(void *arg, struct sr_outcome *outcome)
{
    struct member *member = arg;
    check_outcome(member, outcome);
    if (outcome->origin == member->origin) {
        clients_outcome(member, outcome);
    }
}

/* The planted bug: a batch whose commands carry no ids. */
static void apply_without_ids(struct member *member, const struct member_entry *entry,
                              struct sr_buf *ret)
{
    struct sr_batch_reader batch;
    struct sr_bytes packed;
    struct sr_err err;
    (void)member;
    sr_check(sr_batch_open(&batch, entry->data.data, entry->data.size, &err) == SR_OK);
    sr_batch_begin(ret, batch.term);
    while (sr_batch_next(&batch, &packed)) {
        Strongroom__Command *command = strongroom__command__unpack(NULL, packed.size, packed.data);
        sr_check(command != NULL);
        struct sr_buf again = {0};
        ProtobufCBinaryData id = command->request_id;
        command->request_id = (ProtobufCBinaryData){0};
        strongroom__command__pack(
            command, sr_buf_extend(&again, strongroom__command__get_packed_size(command)));
        command->request_id = id;
        strongroom__command__free_unpacked(command, NULL);
        sr_batch_add(ret, again.data, again.size);
        sr_buf_close(&again);
    }
}

static int apply_batch(struct member *member, const struct member_entry *entry, struct sr_err *err)
{
    struct sr_outcome_sink sink = {.wanted = wanted, .deliver = deliver, .arg = member};
    struct sr_buf other = {0};
    const struct sr_buf *data = &entry->data;
    if (world_has_bug(member->world, WORLD_BUG_NO_REQUEST_IDS)) {
        apply_without_ids(member, entry, &other);
        data = &other;
    }
    int status = sr_store_apply(member->store, entry->index, data->data, data->size, &sink, err);
    sr_buf_close(&other);
    return status;
}

static int apply_entry(struct member *member, const struct member_entry *entry, struct sr_err *err)
{
    switch (entry->type) {
    case SR_ENTRY_COMMAND:
        return apply_batch(member, entry, err);
    case SR_ENTRY_CONFIGURATION:
        return sr_store_apply_configuration(member->store, entry->index, entry->term,
                                            entry->data.data, entry->data.size, err);
    default:
        return sr_store_apply_empty(member->store, entry->index, entry->term, err);
    }
}

static struct member_entry *pop(struct member *member)
{
    struct member_entry *entry = member->entries;
    member->entries = entry->next;
    if (member->entries == NULL) {
        member->entries_end = &member->entries;
    }
    member->entry_count--;
    member->entry_bytes -= entry->data.size;
    return entry;
}

static void free_entry(struct member_entry *entry)
{
    sr_buf_close(&entry->data);
    sr_free(entry);
}

static void apply_one(struct member *member)
{
    struct sr_err err;
    struct member_entry *entry = pop(member);
    bool is_new = entry->index > sr_store_applied_index(member->store);
    struct check_entry content = {.index = entry->index,
                                  .term = entry->term,
                                  .type = entry->type,
                                  .data = {entry->data.data, entry->data.size}};
    check_entry(member, &content);
    if (apply_entry(member, entry, &err) != SR_OK) {
        member_fail(member, &err);
    } else if (is_new) {
        member->entries_applied++;
        check_state(member);
        roster_applied(member);
    }
    free_entry(entry);
}

void member_state_apply(struct member *member)
{
    member->apply_at_ns = WORLD_NEVER;
    while (member->entries != NULL && !member->failed && !world_is_broken(member->world)) {
        if (sr_store_is_full(member->store)) {
            freeze(member, false);
            break; /* the flush goes on with it */
        }
        apply_one(member);
        freeze(member, false);
    }
    if (!member->failed) {
        sr_core_applied(member->core, sr_store_applied_index(member->store));
    }
}

/* ---- flushing ---- */

void member_state_freeze(struct member *member)
{
    member->freeze_at_ns = member->world->now_ns + SR_FLUSH_INTERVAL_MS * WORLD_MS;
    freeze(member, true);
}

void member_state_flush(struct member *member)
{
    struct sr_err err;
    member->flush_at_ns = WORLD_NEVER;
    if (sr_store_flush(member->store, &err) != SR_OK) {
        member_fail(member, &err);
        return;
    }
    world_trace(member->world, "member %zu flushes to %llu", member->at + 1,
                (unsigned long long)sr_store_durable_index(member->store));
    if (sr_store_compaction_pending(member->store)) {
        member->flush_at_ns = member->world->now_ns + WORLD_MS;
    }
    if (member->entries != NULL && member->apply_at_ns == WORLD_NEVER) {
        member->apply_at_ns = member->world->now_ns;
    }
}

void member_state_flush_all(struct member *member)
{
    struct sr_err err;
    while (member->entries != NULL && !member->failed) {
        member_state_apply(member);
        if (member->entries != NULL) {
            member_state_flush(member);
        }
    }
    for (int i = 0; i < 2 && !member->failed; i++) {
        if (sr_store_flush(member->store, &err) != SR_OK) {
            member_fail(member, &err);
        }
        sr_store_freeze(member->store, true);
    }
}

void member_state_crash(struct member *member)
{
    while (member->entries != NULL) {
        free_entry(pop(member));
    }
    member_state_reset(member);
}
