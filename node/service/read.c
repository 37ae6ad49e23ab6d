/* SPDX-License-Identifier: Apache-2.0
 *
 * Reads. What may be read now waits in the ready list until the loop's next turn, which opens one
 * view for all of it: the view is newer than every read index that has been answered, and so is
 * right for linearizable reads too. A Range of more than a slice goes on in later turns, each
 * slice in that turn's view, at the revision of its first.
 *
 * A turn is bounded in time, so that long ranges cannot keep a loop from its connections, and
 * half of it is theirs only when nothing short waits. Long ranges hold what they have read:
 * SR_LONG_RANGES_MAX go on at a time, more start anew when there is a place.
 */
#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "node/service/internal.h"
#include "proto/message.h"
#include "proto/validate.h"

/* What the loop gives to reading before it looks at its sockets again. */
#define TURN_NS UINT64_C(4000000)

/* ---- On their way to being ready ---- */

void service_go_on(struct sr_service *service)
{
    if (!service->go_on_posted) {
        service->go_on_posted = true;
        sr_mailbox_post_always(service->mailbox, &service->go_on);
    }
}

static void make_ready(struct sr_service *service, struct service_pending *pending)
{
    sr_list_append(&service->ready, &pending->turn);
    service_go_on(service);
}

void service_read_ask(struct sr_service *service, struct service_pending *pending)
{
    struct sr_read *read = sr_zalloc(sizeof(*read));
    read->origin = service->origin;
    read->sequence = pending->sequence;
    if (!sr_consensus_read(service->context->consensus, read)) {
        sr_free(read);
        service_pending_fail(service, pending, SR_API_TOO_MANY_REQUESTS);
    }
}

void service_range(struct sr_service *service, struct sr_call *call, ProtobufCMessage *message)
{
    const Etcdserverpb__RangeRequest *request = (Etcdserverpb__RangeRequest *)message;
    enum sr_api_error error = sr_validate_range(request);
    struct service_pending *pending = NULL;
    if (error == SR_API_NONE) {
        pending = service_pending_add(service, call, SERVICE_RANGE);
        error = SR_API_TOO_MANY_REQUESTS;
    }
    if (pending == NULL) {
        sr_call_fail_api(call, error);
        return;
    }
    service_pending_keep_range(pending, request);
    if (request->serializable) {
        make_ready(service, pending);
    } else {
        service_read_ask(service, pending);
    }
}

void service_txn(struct sr_service *service, struct sr_call *call, ProtobufCMessage *message)
{
    Etcdserverpb__TxnRequest *request = (Etcdserverpb__TxnRequest *)message;
    enum sr_api_error error = SR_API_NONE;
    if (sr_txn_has_put(request) && !service_takes_puts(service)) {
        error = SR_API_NO_SPACE;
    } else {
        error = sr_validate_txn(request);
    }
    if (error != SR_API_NONE) {
        sr_call_fail_api(call, error);
        return;
    }
    if (!sr_txn_is_read_only(request)) {
        service_propose_txn(service, call, request);
        return;
    }
    struct service_pending *pending = service_pending_add(service, call, SERVICE_TXN);
    if (pending == NULL) {
        sr_call_fail_api(call, SR_API_TOO_MANY_REQUESTS);
    } else if (sr_txn_is_serializable(request)) {
        make_ready(service, pending);
    } else {
        service_read_ask(service, pending);
    }
}

void service_read_answered(struct sr_service *service, struct service_pending *pending,
                           const struct sr_answer *answer)
{
    if (answer->error != SR_API_NONE) {
        service_pending_fail(service, pending, answer->error);
    } else if (pending->kind == SERVICE_MEMBERS) {
        service_members_answered(service, pending);
    } else {
        sr_list_append(&service->ready, &pending->turn);
    }
}

/* ---- Reading ---- */

/* Answer a read that ended with @status other than SR_OK and SR_AGAIN. */
static void fail_read(struct sr_service *service, struct service_pending *pending, int status,
                      enum sr_api_error error, const struct sr_err *err)
{
    if (status == SR_INVALID) {
        service_pending_fail(service, pending, error);
        return;
    }
    sr_log(SR_LOG_ERROR, "service", "read failed", "reason=\"%s\"", err->text);
    service_pending_fail(service, pending, SR_API_STORE_FAILED);
}

static void reply_range(struct sr_service *service, struct service_pending *pending, uint64_t term)
{
    struct sr_call *call = pending->call;
    struct sr_buf *reply = service_reply_buffer(service);
    service_header_append(service, reply, sr_range_header_revision(pending->range), term);
    sr_range_pack(pending->range, reply);
    service_pending_drop(service, pending);
    sr_call_reply(call, reply);
}

/* Read one more slice; @pending is in no list of the turn. */
static void read_range(struct sr_service *service, struct service_pending *pending,
                       struct sr_view *view, uint64_t term)
{
    if (pending->range == NULL) {
        pending->range = sr_range_new(&pending->request);
        service->going_count++;
    }
    enum sr_api_error error = SR_API_NONE;
    struct sr_err err = {0};
    int status = sr_range_step(pending->range, view, SR_RANGE_SLICE_KEYS, &error, &err);
    if (status == SR_OK) {
        reply_range(service, pending, term);
    } else if (status != SR_AGAIN) {
        fail_read(service, pending, status, error, &err);
    } else if (service->going_count <= SR_LONG_RANGES_MAX) {
        sr_list_append(&service->going, &pending->turn);
    } else {
        service_pending_restart(service, pending);
        sr_list_append(&service->stalled, &pending->turn);
    }
}

/* The request is unpacked again rather than kept: the call still has it packed. */
static void read_txn(struct sr_service *service, struct service_pending *pending,
                     struct sr_view *view, uint64_t term)
{
    struct sr_call *call = pending->call;
    enum sr_api_error error = SR_API_NONE;
    struct sr_err err = {0};
    int status = SR_LIMIT;
    ProtobufCMessage *request =
        sr_message_unpack(&etcdserverpb__txn_request__descriptor, &service->arena,
                          call->message.data, call->message.size, &err);
    struct sr_buf *reply = service_reply_buffer(service);
    if (request != NULL) {
        service_header_append(service, reply, sr_view_revision(view), term);
        status = sr_view_read_txn(view, (Etcdserverpb__TxnRequest *)request, reply, &error, &err);
    }
    sr_arena_reset(&service->arena);
    if (status != SR_OK) {
        fail_read(service, pending, status, error, &err);
        return;
    }
    service_pending_drop(service, pending);
    sr_call_reply(call, reply);
}

static void read_one(struct sr_service *service, struct sr_list *item, struct sr_view *view,
                     uint64_t term)
{
    struct service_pending *pending = sr_container(item, struct service_pending, turn);
    sr_list_remove(item);
    if (pending->kind == SERVICE_TXN) {
        read_txn(service, pending, view, term);
    } else {
        read_range(service, pending, view, term);
    }
}

static void read_with(struct sr_service *service, struct sr_view *view)
{
    struct sr_consensus_info info;
    sr_consensus_info(service->context->consensus, &info);
    uint64_t began_ns = sr_clock_monotonic_ns();
    size_t going_count = service->going_count;
    while (!sr_list_is_empty(&service->ready)) {
        read_one(service, service->ready.next, view, info.term);
        if (sr_clock_monotonic_ns() - began_ns > TURN_NS / 2) {
            break;
        }
    }
    /* Those that began in this turn have had their slice. */
    for (size_t i = 0; i < going_count; i++) {
        read_one(service, service->going.next, view, info.term);
        if (sr_clock_monotonic_ns() - began_ns > TURN_NS) {
            break;
        }
    }
}

/* Let stalled ranges start anew, as many as there are places. */
static void restart_stalled(struct sr_service *service)
{
    for (size_t i = service->going_count; i < SR_LONG_RANGES_MAX; i++) {
        if (sr_list_is_empty(&service->stalled)) {
            return;
        }
        struct sr_list *item = service->stalled.next;
        sr_list_remove(item);
        sr_list_append(&service->ready, item);
    }
}

static bool has_ready(const struct sr_service *service)
{
    return !sr_list_is_empty(&service->ready) || !sr_list_is_empty(&service->going);
}

void service_read_turn(struct sr_service *service)
{
    restart_stalled(service);
    if (!has_ready(service)) {
        return;
    }
    struct sr_view *view = NULL;
    struct sr_err err = {0};
    int status = sr_view_open(service->context->store, &view, &err);
    if (status == SR_LIMIT) {
        return; /* all views are in use: the next tick tries again */
    }
    if (status != SR_OK) {
        sr_log(SR_LOG_ERROR, "service", "read failed", "reason=\"%s\"", err.text);
        service_pending_fail_all(service, SR_API_STORE_FAILED);
        return;
    }
    read_with(service, view);
    sr_view_close(view);
    restart_stalled(service);
    if (has_ready(service)) {
        service_go_on(service);
    }
}
