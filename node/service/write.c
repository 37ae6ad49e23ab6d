/* SPDX-License-Identifier: Apache-2.0
 *
 * Writes. A valid request becomes a Command, which is proposed; this node's own apply of it
 * answers, or consensus refuses it. The order of the checks is etcd's: quota, arguments, backlog,
 * size.
 */
#include "base/check.h"
#include "base/clock.h"
#include "node/service/internal.h"
#include "proto/command.pb-c.h"
#include "proto/validate.h"
#include "storage/cluster.h"

/* etcd's: commit further ahead of apply than this many entries, and writes are refused. */
#define BACKLOG_ENTRIES_MAX 5000

static bool is_far_behind(const struct sr_service *service)
{
    struct sr_consensus_info info;
    sr_consensus_info(service->context->consensus, &info);
    return info.commit_index > info.applied_index + BACKLOG_ENTRIES_MAX;
}

bool service_has_space(const struct sr_service_context *context)
{
    struct sr_consensus_info info;
    sr_consensus_info(context->consensus, &info);
    return sr_store_has_space(context->store) && !info.log_full;
}

bool service_takes_puts(const struct sr_service *service)
{
    return service_has_space(service->context) &&
           (sr_store_alarms(service->context->store) & SR_ALARM_NO_PUTS) == 0;
}

static struct sr_proposal *pack_proposal(const Strongroom__Command *command, size_t size)
{
    struct sr_proposal *proposal = sr_zalloc(sizeof(*proposal));
    proposal->origin = command->origin;
    proposal->sequence = command->sequence;
    sr_check(strongroom__command__pack(command, sr_buf_extend(&proposal->command, size)) == size);
    return proposal;
}

struct service_pending *service_propose(struct sr_service *service, struct sr_call *call,
                                        Strongroom__Command *command, enum service_kind kind)
{
    struct service_pending *pending =
        is_far_behind(service) ? NULL : service_pending_add(service, call, kind);
    if (pending == NULL) {
        sr_call_fail_api(call, SR_API_TOO_MANY_REQUESTS);
        return NULL;
    }
    command->origin = service->origin;
    command->sequence = pending->sequence;
    if (call->has_request_id) {
        command->request_id.data = call->request_id;
        command->request_id.len = sizeof(call->request_id);
    }
    command->actor = service_unconst(call->actor);
    command->wall_ms = sr_clock_wall_ms();
    size_t size = strongroom__command__get_packed_size(command);
    enum sr_api_error error = sr_validate_size(size);
    if (error != SR_API_NONE) {
        service_pending_fail(service, pending, error);
        return NULL;
    }
    struct sr_proposal *proposal = pack_proposal(command, size);
    if (!sr_consensus_propose(service->context->consensus, proposal)) {
        sr_proposal_free(proposal);
        service_pending_fail(service, pending, SR_API_TOO_MANY_REQUESTS);
        return NULL;
    }
    return pending;
}

static void propose(struct sr_service *service, struct sr_call *call, Strongroom__Command *command)
{
    (void)service_propose(service, call, command, SERVICE_WRITE);
}

void service_put(struct sr_service *service, struct sr_call *call, ProtobufCMessage *message)
{
    Etcdserverpb__PutRequest *request = (Etcdserverpb__PutRequest *)message;
    enum sr_api_error error = SR_API_NO_SPACE;
    if (service_takes_puts(service)) {
        error = sr_validate_put(request);
    }
    if (error != SR_API_NONE) {
        sr_call_fail_api(call, error);
        return;
    }
    Strongroom__Command command = STRONGROOM__COMMAND__INIT;
    command.operation_case = STRONGROOM__COMMAND__OPERATION_PUT;
    command.put = request;
    propose(service, call, &command);
}

void service_delete_range(struct sr_service *service, struct sr_call *call,
                          ProtobufCMessage *message)
{
    Etcdserverpb__DeleteRangeRequest *request = (Etcdserverpb__DeleteRangeRequest *)message;
    enum sr_api_error error = sr_validate_delete_range(request);
    if (error != SR_API_NONE) {
        sr_call_fail_api(call, error);
        return;
    }
    Strongroom__Command command = STRONGROOM__COMMAND__INIT;
    command.operation_case = STRONGROOM__COMMAND__OPERATION_DELETE_RANGE;
    command.delete_range = request;
    propose(service, call, &command);
}

void service_compact(struct sr_service *service, struct sr_call *call, ProtobufCMessage *message)
{
    Etcdserverpb__CompactionRequest *request = (Etcdserverpb__CompactionRequest *)message;
    enum sr_api_error error = sr_validate_compaction(request);
    if (error != SR_API_NONE) {
        sr_call_fail_api(call, error);
        return;
    }
    Strongroom__Command command = STRONGROOM__COMMAND__INIT;
    command.operation_case = STRONGROOM__COMMAND__OPERATION_COMPACTION;
    command.compaction = request;
    propose(service, call, &command);
}

void service_propose_txn(struct sr_service *service, struct sr_call *call,
                         Etcdserverpb__TxnRequest *request)
{
    Strongroom__Command command = STRONGROOM__COMMAND__INIT;
    command.operation_case = STRONGROOM__COMMAND__OPERATION_TXN;
    command.txn = request;
    propose(service, call, &command);
}

void service_write_answered(struct sr_service *service, struct service_pending *pending,
                            struct sr_answer *answer)
{
    if (answer->error != SR_API_NONE) {
        service_pending_fail(service, pending, answer->error);
        return;
    }
    struct sr_call *call = pending->call;
    service_pending_drop(service, pending);
    struct sr_bytes body = {.data = answer->body.data, .size = answer->body.size};
    service_reply_body(service, call, answer->revision, answer->term, body);
}
