/* SPDX-License-Identifier: Apache-2.0
 *
 * Numbers by method. The table is a small hash table that only grows: a slot's path is written
 * once, by whichever loop first answers a call of that method. Slot 0 is "other": methods that
 * the service does not know, so that clients cannot fill the table with names they made up.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "node/rpc/internal.h"

static size_t hash_of(const char *path)
{
    uint64_t hash = 14695981039346656037ULL;
    for (const char *at = path; *at != '\0'; at++) {
        hash = (hash ^ (uint8_t)*at) * 1099511628211ULL;
    }
    return (size_t)(hash ^ (hash >> 32));
}

/* Put @path into @slot; false when another loop was faster with another path. */
static bool claim(struct sr_rpc_method_metrics *slot, const char *path)
{
    char *copy = sr_strdup(path);
    const char *expected = NULL;
    if (atomic_compare_exchange_strong(&slot->path, &expected, copy)) {
        return true;
    }
    sr_free(copy);
    return strcmp(expected, path) == 0;
}

static struct sr_rpc_method_metrics *method_of(struct sr_rpc_metrics *metrics, const char *path,
                                               bool insert)
{
    size_t start = hash_of(path);
    for (size_t i = 0; i < SR_RPC_METHODS_MAX - 1; i++) {
        struct sr_rpc_method_metrics *slot =
            &metrics->methods[1 + (start + i) % (SR_RPC_METHODS_MAX - 1)];
        const char *taken = atomic_load_explicit(&slot->path, memory_order_acquire);
        if (taken == NULL) {
            if (!insert || claim(slot, path)) {
                return insert ? slot : &metrics->methods[0];
            }
        } else if (strcmp(taken, path) == 0) {
            return slot;
        }
    }
    return &metrics->methods[0];
}

void rpc_metrics_record(struct sr_rpc_metrics *metrics, const struct sr_call *call,
                        enum sr_grpc_code code, bool known)
{
    struct sr_rpc_method_metrics *method = method_of(metrics, call->path, known);
    sr_count(&method->by_code[code], 1);
    sr_histogram_observe(&method->duration, sr_clock_monotonic_ns() - call->started_ns);
}

void rpc_metrics_close(struct sr_rpc_metrics *metrics)
{
    for (size_t i = 1; i < SR_RPC_METHODS_MAX; i++) {
        union {
            const char *in;
            char *out;
        } path = {.in = atomic_exchange(&metrics->methods[i].path, NULL)};
        sr_free(path.out);
    }
}
