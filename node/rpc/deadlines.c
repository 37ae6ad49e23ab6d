/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"
#include "base/check.h"
#include "node/rpc/internal.h"

#define DEADLINES_CAPACITY_MIN 64

static void put(struct rpc_deadlines *deadlines, size_t slot, struct rpc_call *call)
{
    deadlines->calls[slot] = call;
    call->deadline_slot = slot;
}

static void sift_up(struct rpc_deadlines *deadlines, size_t slot, struct rpc_call *call)
{
    while (slot > 0) {
        size_t parent = (slot - 1) / 2;
        if (deadlines->calls[parent]->call.deadline_ns <= call->call.deadline_ns) {
            break;
        }
        put(deadlines, slot, deadlines->calls[parent]);
        slot = parent;
    }
    put(deadlines, slot, call);
}

static void sift_down(struct rpc_deadlines *deadlines, size_t slot, struct rpc_call *call)
{
    for (;;) {
        size_t child = 2 * slot + 1;
        if (child >= deadlines->count) {
            break;
        }
        if (child + 1 < deadlines->count && deadlines->calls[child + 1]->call.deadline_ns <
                                                deadlines->calls[child]->call.deadline_ns) {
            child++;
        }
        if (call->call.deadline_ns <= deadlines->calls[child]->call.deadline_ns) {
            break;
        }
        put(deadlines, slot, deadlines->calls[child]);
        slot = child;
    }
    put(deadlines, slot, call);
}

void rpc_deadlines_add(struct rpc_deadlines *deadlines, struct rpc_call *call)
{
    if (deadlines->count == deadlines->capacity) {
        deadlines->capacity =
            deadlines->capacity == 0 ? DEADLINES_CAPACITY_MIN : 2 * deadlines->capacity;
        deadlines->calls =
            sr_realloc(deadlines->calls, deadlines->capacity * sizeof(struct rpc_call *));
    }
    deadlines->count++;
    sift_up(deadlines, deadlines->count - 1, call);
}

void rpc_deadlines_remove(struct rpc_deadlines *deadlines, struct rpc_call *call)
{
    size_t slot = call->deadline_slot;
    if (slot == RPC_NO_SLOT) {
        return;
    }
    sr_check(slot < deadlines->count && deadlines->calls[slot] == call);
    deadlines->count--;
    call->deadline_slot = RPC_NO_SLOT;
    if (slot == deadlines->count) {
        return;
    }
    struct rpc_call *last = deadlines->calls[deadlines->count];
    if (slot > 0 && last->call.deadline_ns < deadlines->calls[(slot - 1) / 2]->call.deadline_ns) {
        sift_up(deadlines, slot, last);
    } else {
        sift_down(deadlines, slot, last);
    }
}

struct rpc_call *rpc_deadlines_first(const struct rpc_deadlines *deadlines)
{
    return deadlines->count == 0 ? NULL : deadlines->calls[0];
}

void rpc_deadlines_close(struct rpc_deadlines *deadlines)
{
    sr_free(deadlines->calls);
    *deadlines = (struct rpc_deadlines){0};
}
