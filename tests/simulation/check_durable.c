/* SPDX-License-Identifier: Apache-2.0
 *
 * P1. Every write that was acknowledged is read back from every member, at the revision at which
 * it was acknowledged; or, where that is compacted, something at least as new is there.
 */
#include "base/check.h"
#include "tests/simulation/check.h"
#include "tests/simulation/world.h"

static void lost(const struct member *member, const struct op *op)
{
    world_violate(
        member->world,
        "P1: operation %llu was acknowledged at revision %lld, but member %zu has lost it",
        (unsigned long long)op->number, (long long)op->revision, member->at + 1);
}

/* As the operation left @key, or, if @compacted, as anything after it did. */
static bool fits(const struct op *op, const struct found *found, bool compacted)
{
    if (compacted) {
        return !found->exists || found->mod_revision >= op->revision;
    }
    if (op->kind == OP_DELETE) {
        return !found->exists;
    }
    return found->exists && found->value == op->number && found->mod_revision == op->revision;
}

static void check_key(struct member *member, struct sr_view *view, const struct op *op, size_t key)
{
    struct found found = {0};
    bool compacted = op->revision < sr_view_compact_revision(view);
    bool read = clients_read_key(member, view, key, compacted ? 0 : op->revision, &found);
    if (!read || !fits(op, &found, compacted)) {
        lost(member, op);
    }
}

static void check_op(struct member *member, struct sr_view *view, const struct op *op)
{
    if (op->revision > sr_view_revision(view)) {
        lost(member, op);
        return;
    }
    check_key(member, view, op, op->key);
    if (op->kind == OP_PAIR) {
        check_key(member, view, op, op->key + 1);
    }
}

static void check_member_has_all(struct member *member)
{
    const struct history *history = &member->world->history;
    struct sr_view *view = NULL;
    struct sr_err err;
    sr_check(sr_view_open(member->store, &view, &err) == SR_OK);
    for (size_t i = 0; i < history->op_count; i++) {
        const struct op *op = &history->ops[i];
        if (op->state == OP_DONE && op->wrote && op->revision != 0) {
            check_op(member, view, op);
        }
    }
    sr_view_close(view);
}

/* An answer that came without a revision must be for something that is in the log. */
static void check_without_revision(struct world *world)
{
    for (size_t i = 0; i < world->history.op_count; i++) {
        const struct op *op = &world->history.ops[i];
        if (op->state == OP_DONE && op->wrote && op->revision == 0 && !op->applied) {
            world_violate(world, "P1: operation %llu was acknowledged, but is not in the log",
                          (unsigned long long)op->number);
        }
    }
}

void check_durable(struct world *world)
{
    check_without_revision(world);
    for (size_t i = 0; i < world->count && !world_is_broken(world); i++) {
        if (roster_has(world, i)) {
            check_member_has_all(&world->members[i]);
        }
    }
}
