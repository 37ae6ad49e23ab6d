/* SPDX-License-Identifier: Apache-2.0
 *
 * P3. Seen from inside: an attempt is in the log once, and not if it was refused; all attempts
 * under one request id have the same effect. And from outside: the version of a counter's key is
 * how many puts were acknowledged.
 */
#include "base/check.h"
#include "proto/command.pb-c.h"
#include "tests/simulation/check.h"
#include "tests/simulation/world.h"

static void refused_but_happened(struct world *world, uint64_t sequence)
{
    const struct attempt *attempt = &world->history.attempts[sequence];
    world_violate(world, "P3: attempt %llu of operation %llu happened at %llu, but was refused",
                  (unsigned long long)sequence, (unsigned long long)attempt->op,
                  (unsigned long long)attempt->applied_at);
}

void check_refused(struct world *world, uint64_t sequence)
{
    struct attempt *attempt = &world->history.attempts[sequence];
    attempt->state = OP_NEVER;
    if (attempt->applied_at != 0) {
        refused_but_happened(world, sequence);
    }
}

void check_once_applied(struct world *world, uint64_t index, struct sr_bytes packed)
{
    struct history *history = &world->history;
    Strongroom__Command *command = strongroom__command__unpack(NULL, packed.size, packed.data);
    sr_check(command != NULL);
    uint64_t sequence = command->sequence;
    uint64_t origin = command->origin;
    strongroom__command__free_unpacked(command, NULL);
    if (sequence >= history->attempt_count || history->attempts[sequence].origin != origin) {
        world_violate(world, "P3: entry %llu has a command that nobody sent",
                      (unsigned long long)index);
        return;
    }
    struct attempt *attempt = &history->attempts[sequence];
    if (attempt->applied_at != 0) {
        world_violate(world, "P3: attempt %llu is in the log at %llu and %llu",
                      (unsigned long long)sequence, (unsigned long long)attempt->applied_at,
                      (unsigned long long)index);
    }
    attempt->applied_at = index;
    if (attempt->state == OP_NEVER) {
        refused_but_happened(world, sequence);
    }
}

void check_once_outcome(struct world *world, const struct sr_outcome *outcome)
{
    struct history *history = &world->history;
    if (outcome->sequence >= history->attempt_count) {
        return; /* found already when the entry was looked at */
    }
    struct op *op = history_op(history, history->attempts[outcome->sequence].op);
    if (outcome->error != SR_API_NONE) {
        return;
    }
    if (op->applied && op->applied_revision != outcome->revision) {
        world_violate(world, "P3: operation %llu takes effect at revisions %lld and %lld",
                      (unsigned long long)op->number, (long long)op->applied_revision,
                      (long long)outcome->revision);
    }
    op->applied = true;
    op->applied_revision = outcome->revision;
}

/* ---- at the end ---- */

static void count_effects(const struct history *history, size_t key, int64_t *ret_least,
                          int64_t *ret_most)
{
    *ret_least = 0;
    *ret_most = 0;
    for (size_t i = 0; i < history->op_count; i++) {
        const struct op *op = &history->ops[i];
        if (op->kind == OP_COUNT && op->key == key) {
            *ret_least += op->state == OP_DONE;
            *ret_most += op->state != OP_NEVER;
        }
    }
}

static void check_counter(struct member *member, struct sr_view *view, size_t key)
{
    struct found found = {0};
    int64_t least = 0;
    int64_t most = 0;
    count_effects(&member->world->history, key, &least, &most);
    if (!clients_read_key(member, view, key, 0, &found)) {
        return;
    }
    if (found.version < least || found.version > most) {
        world_violate(member->world,
                      "P3: %s was put %lld times on member %zu, but clients know of %lld to %lld",
                      history_key(key), (long long)found.version, member->at + 1, (long long)least,
                      (long long)most);
    }
}

static void check_counters(struct member *member)
{
    struct sr_view *view = NULL;
    struct sr_err err;
    sr_check(sr_view_open(member->store, &view, &err) == SR_OK);
    for (size_t key = HISTORY_REGISTERS; key < HISTORY_PAIR; key++) {
        check_counter(member, view, key);
    }
    sr_view_close(view);
}

void check_once(struct world *world)
{
    for (size_t i = 0; i < world->count; i++) {
        if (roster_has(world, i)) {
            check_counters(&world->members[i]);
        }
    }
}
