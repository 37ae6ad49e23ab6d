/* SPDX-License-Identifier: Apache-2.0
 *
 * P2. Only what clients know is looked at. An answer says at which revision it was given, so the
 * order to check is given, and what is left is whether it can be:
 *
 *   1. Each write has a revision of its own.
 *   2. What was answered before an operation began comes before it: a write has a higher revision
 *      than all that, a linearizable read at least as high a one. Over all keys at once, which is
 *      more than linearizability of each.
 *   3. A read finds, at its revision, the last write before it; a compare-and-swap that succeeded
 *      found what it expected. Serializable reads too: they may be old, but never wrong.
 *
 * Writes whose outcome a client does not know may show in a read; then their revision is known.
 */
#include <stdlib.h>

#include "base/alloc.h"
#include "tests/simulation/check.h"
#include "tests/simulation/world.h"

/* A write to one key that certainly happened. */
struct effect {
    size_t key;
    int64_t revision;
    const struct op *op;
};

struct effects {
    struct effect *list;
    size_t count;
    size_t capacity;
};

static bool touches(const struct op *op, size_t key)
{
    return op_writes(op) && (op->key == key || (op->kind == OP_PAIR && key == HISTORY_PAIR + 1));
}

static bool reads(const struct op *op)
{
    return op->kind == OP_READ || op->kind == OP_SERIAL || (op->kind == OP_CAS && !op->wrote);
}

/* ---- which writes happened, and when ---- */

static void add_effect(struct effects *effects, size_t key, int64_t revision, const struct op *op)
{
    if (effects->count == effects->capacity) {
        effects->capacity = effects->capacity == 0 ? 256 : 2 * effects->capacity;
        effects->list = sr_realloc(effects->list, effects->capacity * sizeof(*effects->list));
    }
    effects->list[effects->count++] = (struct effect){key, revision, op};
}

static void add_writes(struct effects *effects, const struct op *op)
{
    for (size_t key = 0; key < HISTORY_KEYS; key++) {
        if (touches(op, key)) {
            add_effect(effects, key, op->revision, op);
        }
    }
}

static void add_acknowledged(const struct world *world, struct effects *effects)
{
    for (size_t i = 0; i < world->history.op_count; i++) {
        const struct op *op = &world->history.ops[i];
        if (op->state == OP_DONE && op->wrote && op->revision != 0) {
            add_writes(effects, op);
        }
    }
}

/* What @reader found was written by an operation that might have written it. */
static void learn(struct world *world, struct effects *effects, const struct op *reader, size_t key,
                  const struct found *found)
{
    if (!found->exists) {
        return;
    }
    if (found->value < 1 || found->value > world->history.op_count ||
        !touches(history_op(&world->history, found->value), key)) {
        world_violate(world, "P2: operation %llu finds in %s what nobody wrote there",
                      (unsigned long long)reader->number, history_key(key));
        return;
    }
    struct op *writer = history_op(&world->history, found->value);
    bool late = writer->invoked_ns > reader->returned_ns;
    bool other = writer->state == OP_DONE && writer->revision != 0 &&
                 writer->revision != found->mod_revision;
    if (late || other || writer->state == OP_NEVER || found->mod_revision > reader->revision) {
        world_violate(world,
                      "P2: operation %llu finds in %s, at %lld, what operation %llu (state %d) "
                      "wrote at %lld",
                      (unsigned long long)reader->number, history_key(key),
                      (long long)found->mod_revision, (unsigned long long)writer->number,
                      (int)writer->state, (long long)writer->revision);
        return;
    }
    if (writer->state != OP_DONE || writer->revision == 0) {
        writer->revision = found->mod_revision;
        writer->state = OP_DONE;
        writer->wrote = true;
        add_writes(effects, writer);
    }
}

static void learn_all(struct world *world, struct effects *effects)
{
    for (size_t i = 0; i < world->history.op_count && !world_is_broken(world); i++) {
        const struct op *op = &world->history.ops[i];
        if (op->state == OP_DONE && reads(op)) {
            learn(world, effects, op, op->key, &op->found);
            if (op->key == HISTORY_PAIR) {
                learn(world, effects, op, HISTORY_PAIR + 1, &op->other);
            }
        }
    }
}

static int by_key_and_revision(const void *a, const void *b)
{
    const struct effect *x = a;
    const struct effect *y = b;
    if (x->key != y->key) {
        return x->key < y->key ? -1 : 1;
    }
    return (x->revision > y->revision) - (x->revision < y->revision);
}

/* 1. */
static void check_distinct(struct world *world, const struct effects *effects)
{
    for (size_t i = 1; i < effects->count; i++) {
        const struct effect *a = &effects->list[i - 1];
        const struct effect *b = &effects->list[i];
        if (a->key == b->key && a->revision == b->revision) {
            world_violate(world, "P2: operations %llu and %llu both write %s at revision %lld",
                          (unsigned long long)a->op->number, (unsigned long long)b->op->number,
                          history_key(a->key), (long long)a->revision);
        }
    }
}

/* ---- 2. real time ---- */

static int by_invocation(const void *a, const void *b)
{
    const struct op *x = *(const struct op *const *)a;
    const struct op *y = *(const struct op *const *)b;
    return (x->invoked_ns > y->invoked_ns) - (x->invoked_ns < y->invoked_ns);
}

static int by_return(const void *a, const void *b)
{
    const struct op *x = *(const struct op *const *)a;
    const struct op *y = *(const struct op *const *)b;
    return (x->returned_ns > y->returned_ns) - (x->returned_ns < y->returned_ns);
}

static void check_after(struct world *world, const struct op *op, const struct op *before)
{
    bool good = op->wrote ? op->revision > before->revision : op->revision >= before->revision;
    if (!good) {
        world_violate(world,
                      "P2: operation %llu (kind %d) is at revision %lld, though operation %llu "
                      "(kind %d) had been answered at %lld before it began",
                      (unsigned long long)op->number, (int)op->kind, (long long)op->revision,
                      (unsigned long long)before->number, (int)before->kind,
                      (long long)before->revision);
    }
}

static void check_real_time(struct world *world)
{
    const struct history *history = &world->history;
    const struct op **begun = sr_calloc(history->op_count + 1, sizeof(*begun));
    const struct op **ended = sr_calloc(history->op_count + 1, sizeof(*ended));
    const struct op *latest = NULL;
    size_t count = 0;
    size_t next = 0;
    for (size_t i = 0; i < history->op_count; i++) {
        const struct op *op = &history->ops[i];
        if (op->state == OP_DONE && op->kind != OP_SERIAL && op->revision != 0) {
            begun[count] = op;
            ended[count++] = op;
        }
    }
    qsort(begun, count, sizeof(*begun), by_invocation);
    qsort(ended, count, sizeof(*ended), by_return);
    for (size_t i = 0; i < count; i++) {
        for (; next < count && ended[next]->returned_ns < begun[i]->invoked_ns; next++) {
            latest =
                latest == NULL || ended[next]->revision > latest->revision ? ended[next] : latest;
        }
        if (latest != NULL) {
            check_after(world, begun[i], latest);
        }
    }
    sr_free(begun);
    sr_free(ended);
}

/* ---- 3. what is found ---- */

/* The last one on @key at or below @revision; NULL: none. */
static const struct effect *last_effect(const struct effects *effects, size_t key, int64_t revision)
{
    size_t low = 0;
    size_t high = effects->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        struct effect wanted = {.key = key, .revision = revision};
        if (by_key_and_revision(&effects->list[middle], &wanted) <= 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low > 0 && effects->list[low - 1].key == key ? &effects->list[low - 1] : NULL;
}

/* A delete whose fate is not known may explain that a key is gone. */
static bool may_be_deleted(const struct history *history, size_t key, uint64_t before_ns)
{
    for (size_t i = 0; i < history->op_count; i++) {
        const struct op *op = &history->ops[i];
        if (op->kind == OP_DELETE && op->key == key && op->state != OP_DONE &&
            op->state != OP_NEVER && op->invoked_ns <= before_ns) {
            return true;
        }
    }
    return false;
}

static void check_found(struct world *world, const struct effects *effects, const struct op *op,
                        size_t key, const struct found *found)
{
    const struct effect *last = last_effect(effects, key, op->revision);
    bool gone = last == NULL || last->op->kind == OP_DELETE;
    bool good = false;
    if (found->exists) {
        good = last != NULL && last->op->number == found->value;
    } else {
        good = gone || may_be_deleted(&world->history, key, op->returned_ns);
    }
    if (!good) {
        world_violate(world,
                      "P2: operation %llu (kind %d) finds operation %llu in %s at revision %lld, "
                      "where operation %llu had written last",
                      (unsigned long long)op->number, (int)op->kind,
                      (unsigned long long)found->value, history_key(key), (long long)op->revision,
                      (unsigned long long)(last == NULL ? 0 : last->op->number));
    }
}

static void check_swap(struct world *world, const struct effects *effects, const struct op *op)
{
    const struct effect *last = last_effect(effects, op->key, op->revision - 1);
    int64_t found = last == NULL || last->op->kind == OP_DELETE ? 0 : last->revision;
    bool good = found == op->expected ||
                (op->expected == 0 && may_be_deleted(&world->history, op->key, op->returned_ns));
    if (!good) {
        world_violate(world, "P2: operation %llu swapped %s at %lld, expecting %lld",
                      (unsigned long long)op->number, history_key(op->key), (long long)op->revision,
                      (long long)op->expected);
    }
}

static void check_one(struct world *world, const struct effects *effects, const struct op *op)
{
    if (op->state != OP_DONE || op->revision == 0) {
        return;
    }
    if (reads(op)) {
        check_found(world, effects, op, op->key, &op->found);
        if (op->kind == OP_CAS && op->found.mod_revision == op->expected) {
            world_violate(world, "P2: operation %llu found what it expected, and did not swap",
                          (unsigned long long)op->number);
        }
    }
    if (reads(op) && op->key == HISTORY_PAIR) {
        check_found(world, effects, op, HISTORY_PAIR + 1, &op->other);
        if (op->found.value != op->other.value) {
            world_violate(world, "P2: operation %llu sees half a transaction",
                          (unsigned long long)op->number);
        }
    }
    if (op->kind == OP_CAS && op->wrote && op->returned_ns != UINT64_MAX) {
        check_swap(world, effects, op);
    }
}

void check_order(struct world *world)
{
    struct effects effects = {0};
    add_acknowledged(world, &effects);
    learn_all(world, &effects);
    if (effects.count > 0) {
        qsort(effects.list, effects.count, sizeof(*effects.list), by_key_and_revision);
    }
    check_distinct(world, &effects);
    check_real_time(world);
    for (size_t i = 0; i < world->history.op_count && !world_is_broken(world); i++) {
        check_one(world, &effects, &world->history.ops[i]);
    }
    sr_free(effects.list);
}
