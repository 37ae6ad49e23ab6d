/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/simulation/history.h"

#include "base/alloc.h"
#include "base/check.h"

void history_close(struct history *history)
{
    sr_free(history->ops);
    sr_free(history->attempts);
    *history = (struct history){0};
}

struct op *history_add(struct history *history, enum op_kind kind)
{
    if (history->op_count == history->op_capacity) {
        history->op_capacity = history->op_capacity == 0 ? 256 : 2 * history->op_capacity;
        history->ops = sr_realloc(history->ops, history->op_capacity * sizeof(*history->ops));
    }
    struct op *op = &history->ops[history->op_count++];
    *op = (struct op){.number = history->op_count, .kind = kind, .returned_ns = UINT64_MAX};
    return op;
}

struct op *history_op(struct history *history, uint64_t number)
{
    sr_check(number >= 1 && number <= history->op_count);
    return &history->ops[number - 1];
}

uint64_t history_attempt(struct history *history, uint64_t op, uint64_t origin)
{
    if (history->attempt_count == history->attempt_capacity) {
        history->attempt_capacity =
            history->attempt_capacity == 0 ? 256 : 2 * history->attempt_capacity;
        history->attempts =
            sr_realloc(history->attempts, history->attempt_capacity * sizeof(*history->attempts));
    }
    history->attempts[history->attempt_count] = (struct attempt){.op = op, .origin = origin};
    return history->attempt_count++;
}

const char *history_key(size_t key)
{
    static const char *const names[HISTORY_KEYS] = {"r0", "r1", "r2", "r3", "r4",
                                                    "r5", "c0", "c1", "pa", "pb"};
    sr_check(key < HISTORY_KEYS);
    return names[key];
}

bool op_writes(const struct op *op)
{
    return op->kind <= OP_COUNT;
}
