/* SPDX-License-Identifier: Apache-2.0
 *
 * Calls that wait. Slots stay where they are, in blocks that are added as needed, and are used
 * again, the one that rested longest first.
 */
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "node/service/internal.h"

/* Low bits of a sequence: the slot. */
#define SLOT_BITS 16
#define SLOT_MASK ((UINT64_C(1) << SLOT_BITS) - 1)

_Static_assert(SR_CALLS_WAITING_MAX <= SLOT_MASK + 1, "every slot has a number");
_Static_assert(SR_CALLS_WAITING_MAX % SERVICE_SLOTS_PER_BLOCK == 0, "whole blocks");

void service_pending_init(struct sr_service *service)
{
    sr_list_init(&service->unused);
    sr_list_init(&service->waiting);
    sr_list_init(&service->ready);
    sr_list_init(&service->going);
    sr_list_init(&service->stalled);
    sr_list_init(&service->moves);
    sr_list_init(&service->settling);
}

static void forget_range(struct sr_service *service, struct service_pending *pending)
{
    if (pending->range != NULL) {
        sr_range_free(pending->range);
        pending->range = NULL;
        sr_check(service->going_count > 0);
        service->going_count--;
    }
}

void service_pending_close(struct sr_service *service)
{
    while (!sr_list_is_empty(&service->waiting)) {
        service_pending_drop(service,
                             sr_container(service->waiting.next, struct service_pending, age));
    }
    for (size_t i = 0; i < service->block_count; i++) {
        sr_free(service->blocks[i]);
    }
}

static bool add_block(struct sr_service *service)
{
    if (service->block_count == SERVICE_BLOCKS_MAX) {
        return false;
    }
    struct service_pending *block = sr_calloc(SERVICE_SLOTS_PER_BLOCK, sizeof(*block));
    for (size_t i = 0; i < SERVICE_SLOTS_PER_BLOCK; i++) {
        block[i].sequence = service->block_count * SERVICE_SLOTS_PER_BLOCK + i;
        sr_list_init(&block[i].turn);
        sr_list_append(&service->unused, &block[i].age);
    }
    service->blocks[service->block_count++] = block;
    return true;
}

struct service_pending *service_pending_add(struct sr_service *service, struct sr_call *call,
                                            enum service_kind kind)
{
    sr_check(call->state == NULL);
    if (sr_list_is_empty(&service->unused) && !add_block(service)) {
        return NULL;
    }
    struct service_pending *pending =
        sr_container(service->unused.next, struct service_pending, age);
    sr_list_remove(&pending->age);
    sr_list_append(&service->waiting, &pending->age);
    pending->sequence += SLOT_MASK + 1;
    pending->call = call;
    pending->kind = kind;
    pending->expires_ns = sr_clock_monotonic_ns() +
                          (uint64_t)service->context->request_timeout_ms * UINT64_C(1000000);
    call->state = pending;
    return pending;
}

struct service_pending *service_pending_find(struct sr_service *service, uint64_t sequence)
{
    size_t slot = sequence & SLOT_MASK;
    if (slot / SERVICE_SLOTS_PER_BLOCK >= service->block_count) {
        return NULL;
    }
    struct service_pending *pending =
        &service->blocks[slot / SERVICE_SLOTS_PER_BLOCK][slot % SERVICE_SLOTS_PER_BLOCK];
    return pending->call != NULL && pending->sequence == sequence ? pending : NULL;
}

void service_pending_drop(struct sr_service *service, struct service_pending *pending)
{
    sr_check(pending->call != NULL);
    forget_range(service, pending);
    service_change_forget(pending);
    if (pending->keys != pending->keys_inline) {
        sr_free(pending->keys);
    }
    pending->keys = NULL;
    pending->call->state = NULL;
    pending->call = NULL;
    sr_list_remove(&pending->turn);
    sr_list_remove(&pending->age);
    sr_list_append(&service->unused, &pending->age);
}

void service_pending_keep_range(struct service_pending *pending,
                                const Etcdserverpb__RangeRequest *request)
{
    size_t key_size = request->key.len;
    size_t end_size = request->range_end.len;
    pending->keys = pending->keys_inline;
    if (key_size + end_size > SERVICE_KEYS_INLINE) {
        pending->keys = sr_alloc(key_size + end_size);
    }
    pending->request = *request;
    pending->request.base.n_unknown_fields = 0;
    pending->request.base.unknown_fields = NULL;
    pending->request.key.data = pending->keys;
    pending->request.range_end.data = pending->keys + key_size;
    if (key_size > 0) {
        memcpy(pending->request.key.data, request->key.data, key_size);
    }
    if (end_size > 0) {
        memcpy(pending->request.range_end.data, request->range_end.data, end_size);
    }
}

void service_pending_restart(struct sr_service *service, struct service_pending *pending)
{
    forget_range(service, pending);
}

void service_pending_fail(struct sr_service *service, struct service_pending *pending,
                          enum sr_api_error error)
{
    struct sr_call *call = pending->call;
    service_pending_drop(service, pending);
    sr_call_fail_api(call, error);
}

void service_pending_expire(struct sr_service *service, uint64_t now_ns)
{
    while (!sr_list_is_empty(&service->waiting)) {
        struct service_pending *oldest =
            sr_container(service->waiting.next, struct service_pending, age);
        if (oldest->expires_ns > now_ns) {
            return;
        }
        service_pending_fail(service, oldest,
                             oldest->kind == SERVICE_MOVE ? SR_API_TRANSFER_TIMED_OUT
                                                          : SR_API_TIMED_OUT);
    }
}

void service_pending_fail_all(struct sr_service *service, enum sr_api_error error)
{
    while (!sr_list_is_empty(&service->waiting)) {
        service_pending_fail(
            service, sr_container(service->waiting.next, struct service_pending, age), error);
    }
}
