/* SPDX-License-Identifier: Apache-2.0
 *
 * P5. Whoever comes first to an index says what must be found there by all others, and by itself
 * after a restart: the entry, the hash of the state after it, the answers to its commands.
 */
#include "tests/simulation/check.h"

#include <string.h>

#include "base/alloc.h"
#include "proto/batch.h"
#include "tests/simulation/world.h"

void check_close(struct check *check)
{
    sr_free(check->indexes);
    sr_free(check->leaders);
    *check = (struct check){0};
}

uint64_t check_hash(uint64_t hash, const void *data, size_t size)
{
    const uint8_t *bytes = data;
    hash ^= 0xcbf29ce484222325u;
    for (size_t i = 0; i < size; i++) {
        hash = (hash ^ bytes[i]) * 0x100000001b3u;
    }
    return hash | 1; /* never 0 */
}

struct check_index *check_at(struct check *check, uint64_t index)
{
    if (index >= check->index_count) {
        size_t count = (size_t)index + 256;
        check->indexes = sr_realloc(check->indexes, count * sizeof(*check->indexes));
        memset(check->indexes + check->index_count, 0,
               (count - check->index_count) * sizeof(*check->indexes));
        check->index_count = count;
    }
    return &check->indexes[index];
}

static void note_commands(struct world *world, const struct check_entry *entry)
{
    struct sr_batch_reader batch;
    struct sr_bytes command;
    struct sr_err err;
    if (entry->type != SR_ENTRY_COMMAND) {
        return;
    }
    if (sr_batch_open(&batch, entry->data.data, entry->data.size, &err) != SR_OK) {
        world_violate(world, "entry %llu: %.200s", (unsigned long long)entry->index, err.text);
        return;
    }
    while (sr_batch_next(&batch, &command)) {
        check_once_applied(world, entry->index, command);
    }
}

void check_entry(struct member *member, const struct check_entry *entry)
{
    struct world *world = member->world;
    struct check *check = &world->check;
    struct check_index *known = check_at(check, entry->index);
    uint64_t hash = check_hash(entry->term * 8 + entry->type, entry->data.data, entry->data.size);
    check->members[member->at].outcomes = 0;
    if (known->entry == 0) {
        known->entry = hash;
        note_commands(world, entry);
    } else if (known->entry != hash) {
        world_violate(world, "P5: member %zu has another entry at %llu", member->at + 1,
                      (unsigned long long)entry->index);
    }
}

void check_outcome(struct member *member, const struct sr_outcome *outcome)
{
    uint64_t *hash = &member->world->check.members[member->at].outcomes;
    uint64_t numbers[] = {outcome->origin, outcome->sequence, (uint64_t)outcome->error,
                          (uint64_t)outcome->revision};
    *hash = check_hash(*hash, numbers, sizeof(numbers));
    *hash = check_hash(*hash, outcome->body.data, outcome->body.size);
    check_once_outcome(member->world, outcome);
}

static void compare(struct member *member, uint64_t index, uint64_t *known, uint64_t found,
                    const char *what)
{
    if (*known == 0) {
        *known = found;
    } else if (*known != found) {
        world_violate(member->world, "P5: at %llu member %zu has another %s than others",
                      (unsigned long long)index, member->at + 1, what);
    }
}

void check_state(struct member *member)
{
    struct world *world = member->world;
    struct check *check = &world->check;
    uint8_t hash[32];
    int64_t revision = 0;
    uint64_t index = 0;
    sr_store_state_hash(member->store, hash, &revision, &index);
    struct check_index *known = check_at(check, index);
    uint64_t state = check_hash((uint64_t)revision, hash, sizeof(hash));
    known->revision = revision;
    compare(member, index, &known->state, state, "state");
    if (member->curious) {
        uint64_t outcomes = check->members[member->at].outcomes | 1;
        compare(member, index, &known->outcomes, outcomes, "answer");
    }
    check->last = index > check->last ? index : check->last;
    world_trace(world, "member %zu applies %llu: revision %lld, state %016llx", member->at + 1,
                (unsigned long long)index, (long long)revision, (unsigned long long)state);
}
