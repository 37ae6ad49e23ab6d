/* SPDX-License-Identifier: Apache-2.0
 *
 * Where calls, mail and ticks of a client loop come in, and which method a path means.
 */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/secret.h"
#include "node/cluster/token.h"
#include "node/service/internal.h"
#include "proto/health.pb-c.h"
#include "proto/message.h"
#include "proto/strongroom.pb-c.h"
#include "storage/cluster.h"
#include "storage/seal.h"

/* Who serves a method besides voters in good standing. A learner serves serializable Ranges too. */
enum { ON_LEARNER = 1, ON_ACCUSED = 2, ON_ANY = ON_LEARNER | ON_ACCUSED };

struct method {
    const char *path;
    const ProtobufCMessageDescriptor *request;
    void (*run)(struct sr_service *service, struct sr_call *call, ProtobufCMessage *message);
    unsigned also; /* ON_LEARNER, ON_ACCUSED */
};

#define HEALTH_PATH "/grpc.health.v1.Health/Check"

/* The busiest first. */
static const struct method methods[] = {
    {"/etcdserverpb.KV/Range", &etcdserverpb__range_request__descriptor, service_range, 0},
    {"/etcdserverpb.KV/Put", &etcdserverpb__put_request__descriptor, service_put, 0},
    {"/etcdserverpb.KV/Txn", &etcdserverpb__txn_request__descriptor, service_txn, 0},
    {"/etcdserverpb.KV/DeleteRange", &etcdserverpb__delete_range_request__descriptor,
     service_delete_range, 0},
    {"/etcdserverpb.KV/Compact", &etcdserverpb__compaction_request__descriptor, service_compact, 0},
    {"/etcdserverpb.Cluster/MemberList", &etcdserverpb__member_list_request__descriptor,
     service_member_list, 0},
    {"/etcdserverpb.Cluster/MemberAdd", &etcdserverpb__member_add_request__descriptor,
     service_member_add, 0},
    {"/etcdserverpb.Cluster/MemberRemove", &etcdserverpb__member_remove_request__descriptor,
     service_member_remove, 0},
    {"/etcdserverpb.Cluster/MemberUpdate", &etcdserverpb__member_update_request__descriptor,
     service_member_update, 0},
    {"/etcdserverpb.Cluster/MemberPromote", &etcdserverpb__member_promote_request__descriptor,
     service_member_promote, 0},
    {"/etcdserverpb.Maintenance/Status", &etcdserverpb__status_request__descriptor, service_status,
     ON_ANY},
    {"/etcdserverpb.Maintenance/Alarm", &etcdserverpb__alarm_request__descriptor, service_alarm,
     ON_ACCUSED},
    {"/etcdserverpb.Maintenance/MoveLeader", &etcdserverpb__move_leader_request__descriptor,
     service_move_leader, 0},
    {"/strongroom.v1.Cluster/MemberStatus", &strongroom__v1__member_status_request__descriptor,
     service_member_status, ON_ANY},
    {"/strongroom.v1.Cluster/MemberAdd", &strongroom__v1__member_add_request__descriptor,
     service_v1_member_add, 0},
    {"/strongroom.v1.Cluster/MemberRemove", &strongroom__v1__member_remove_request__descriptor,
     service_v1_member_remove, 0},
    {"/strongroom.v1.Cluster/MemberUpdate", &strongroom__v1__member_update_request__descriptor,
     service_v1_member_update, 0},
    {"/strongroom.v1.Cluster/MemberPromote", &strongroom__v1__member_promote_request__descriptor,
     service_v1_member_promote, 0},
    {"/strongroom.v1.Cluster/Drain", &strongroom__v1__drain_request__descriptor, service_drain,
     ON_ANY},
    {"/strongroom.v1.Cluster/OffsiteStatus", &strongroom__v1__offsite_status_request__descriptor,
     service_offsite_status, ON_ANY},
    {"/strongroom.v1.Cluster/SnapshotNow", &strongroom__v1__snapshot_now_request__descriptor,
     service_snapshot_now, 0},
    {"/strongroom.v1.Cluster/SnapshotForget", &strongroom__v1__snapshot_forget_request__descriptor,
     service_snapshot_forget, 0},
    {HEALTH_PATH, &grpc__health__v1__health_check_request__descriptor, service_health, ON_ANY},
};
#define METHOD_COUNT (sizeof(methods) / sizeof(methods[0]))

/* ---- Calls ---- */

static const struct method *find_method(const char *path)
{
    for (size_t i = 0; i < METHOD_COUNT; i++) {
        if (strcmp(methods[i].path, path) == 0) {
            return &methods[i];
        }
    }
    return NULL;
}

static bool is_service(const char *name, size_t size)
{
    for (size_t i = 0; i < METHOD_COUNT; i++) {
        const char *known = methods[i].path + 1;
        if (strncmp(known, name, size) == 0 && known[size] == '/') {
            return true;
        }
    }
    return false;
}

/* In the words of grpc-go, which clients may look for. */
static void fail_unknown(struct sr_call *call)
{
    char text[512];
    const char *name = call->path[0] == '/' ? call->path + 1 : call->path;
    const char *slash = strrchr(name, '/');
    if (slash == NULL) {
        snprintf(text, sizeof(text), "malformed method name: \"%s\"", call->path);
    } else if (is_service(name, (size_t)(slash - name))) {
        snprintf(text, sizeof(text), "unknown method %s for service %.*s", slash + 1,
                 (int)(slash - name), name);
    } else {
        snprintf(text, sizeof(text), "unknown service %.*s", (int)(slash - name), name);
    }
    sr_call_fail(call, SR_GRPC_UNIMPLEMENTED, text);
}

static void fail_unmarshalling(struct sr_call *call, const struct sr_err *err)
{
    char text[SR_ERR_TEXT_MAX + 64];
    snprintf(text, sizeof(text), "grpc: error unmarshalling request: %s", err->text);
    sr_call_fail(call, SR_GRPC_INTERNAL, text);
}

bool service_store_failed(struct sr_service *service)
{
    struct sr_err err = {0};
    if (sr_store_failure(service->context->store, &err) == SR_OK) {
        return false;
    }
    if (!service->failure_logged) {
        service->failure_logged = true;
        sr_log(SR_LOG_ERROR, "service", "refusing calls", "reason=\"%s\"", err.text);
    }
    return true;
}

static bool has_leader(const struct sr_service *service)
{
    struct sr_consensus_info info;
    sr_consensus_info(service->context->consensus, &info);
    return info.leader != 0;
}

/* What keeps this node from serving @method at the moment; SR_API_NONE: nothing. */
static enum sr_api_error refusal(struct sr_service *service, const struct sr_call *call,
                                 const struct method *method, const ProtobufCMessage *message)
{
    if (call->has_leader && !has_leader(service)) {
        return SR_API_NO_LEADER;
    }
    if (method->run != service_health && service_store_failed(service)) {
        return SR_API_STORE_FAILED;
    }
    if (service_is_accused(service) && (method->also & ON_ACCUSED) == 0) {
        return SR_API_ACCUSED;
    }
    if (!service->is_learner || (method->also & ON_LEARNER) != 0 ||
        (method->run == service_range &&
         ((const Etcdserverpb__RangeRequest *)message)->serializable)) {
        return SR_API_NONE;
    }
    return SR_API_NOT_FOR_LEARNER;
}

bool service_is_accused(const struct sr_service *service)
{
    return (sr_store_alarms(service->context->store) & SR_ALARM_CORRUPT_HERE) != 0;
}

static void make_call(struct sr_service *service, struct sr_call *call)
{
    const struct method *method = find_method(call->path);
    if (method == NULL) {
        fail_unknown(call);
        return;
    }
    struct sr_err err = {0};
    ProtobufCMessage *message = sr_message_unpack(method->request, &service->arena,
                                                  call->message.data, call->message.size, &err);
    if (message == NULL) {
        fail_unmarshalling(call, &err);
    } else {
        enum sr_api_error error = refusal(service, call, method, message);
        if (error != SR_API_NONE) {
            sr_call_fail_api(call, error);
        } else {
            method->run(service, call, message);
        }
    }
    sr_arena_reset(&service->arena);
}

static void on_call(void *arg, struct sr_call *call)
{
    struct sr_service *service = arg;
    service->tries = 0;
    make_call(service, call);
}

void service_call_again(struct sr_service *service, struct sr_call *call, unsigned tries)
{
    service->tries = tries;
    make_call(service, call);
}

static void on_cancel(void *arg, struct sr_call *call)
{
    struct sr_service *service = arg;
    if (call->state != NULL) {
        service_pending_drop(service, call->state);
    }
}

/* ---- Mail and ticks ---- */

static void take_answer(struct sr_service *service, struct sr_answer *answer)
{
    struct service_pending *pending = service_pending_find(service, answer->sequence);
    if (pending == NULL) {
        return; /* the call was given up */
    }
    if (pending->kind == SERVICE_WRITE) {
        service_write_answered(service, pending, answer);
    } else if (pending->kind == SERVICE_CHANGE) {
        service_change_answered(service, pending, answer);
    } else {
        service_read_answered(service, pending, answer);
    }
}

static void on_mail(void *arg, struct sr_mail *list)
{
    struct sr_service *service = arg;
    while (list != NULL) {
        struct sr_mail *mail = list;
        list = list->next;
        if (mail == &service->go_on) {
            service->go_on_posted = false;
            continue;
        }
        struct sr_answer *answer = sr_container(mail, struct sr_answer, mail);
        take_answer(service, answer);
        sr_answer_free(answer);
    }
    service_read_turn(service);
}

static void on_tick(void *arg, uint64_t now_ns)
{
    struct sr_service *service = arg;
    if (service_store_failed(service)) {
        service_pending_fail_all(service, SR_API_STORE_FAILED);
        return;
    }
    service_roster_tick(service);
    service_moves_check(service);
    service_changes_check(service, now_ns);
    service_pending_expire(service, now_ns);
    service_read_turn(service);
}

/* ---- Life ---- */

struct sr_service *sr_service_new(const struct sr_service_context *context, uint64_t origin,
                                  struct sr_mailbox *mailbox)
{
    struct sr_service *service = sr_zalloc(sizeof(*service));
    service->context = context;
    service->origin = origin;
    service->mailbox = mailbox;
    sr_arena_init(&service->arena, (size_t)SR_UNPACK_BYTES_MAX);
    service->token_secret = sr_secret_alloc(SR_TOKEN_SECRET_BYTES);
    sr_random_bytes(service->token_secret, SR_TOKEN_SECRET_BYTES);
    service_header_init(service);
    service_pending_init(service);
    return service;
}

void sr_service_free(struct sr_service *service)
{
    if (service == NULL) {
        return;
    }
    service_pending_close(service);
    sr_secret_free(service->token_secret, SR_TOKEN_SECRET_BYTES);
    sr_arena_close(&service->arena);
    sr_buf_close(&service->reply);
    sr_free(service);
}

struct sr_rpc_handler sr_service_handler(struct sr_service *service)
{
    return (struct sr_rpc_handler){.on_call = on_call,
                                   .on_cancel = on_cancel,
                                   .on_mail = on_mail,
                                   .on_tick = on_tick,
                                   .arg = service};
}
