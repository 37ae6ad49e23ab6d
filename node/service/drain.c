/* SPDX-License-Identifier: Apache-2.0
 *
 * strongroom.v1.Cluster/Drain: this node is to leave as it does at SIGTERM. The answer says that
 * it has begun; it is on its way before the client ports say goodbye.
 */
#include <inttypes.h>
#include <stdio.h>

#include "base/log.h"
#include "node/service/internal.h"

static bool is_allowed(struct sr_service *service, struct sr_call *call, bool forced)
{
    const struct sr_service_context *context = service->context;
    Strongroom__ClusterRecord *record = service_record(service);
    /* Who was removed leaves nothing behind. */
    bool allowed = service_record_find(record, context->member_id) == NULL ||
                   service_change_judge(service, call, record, SR_ACTION_DRAIN, context->member_id,
                                        "", forced);
    strongroom__cluster_record__free_unpacked(record, NULL);
    return allowed;
}

void service_drain(struct sr_service *service, struct sr_call *call, ProtobufCMessage *message)
{
    const Strongroom__V1__DrainRequest *request = (const Strongroom__V1__DrainRequest *)message;
    const struct sr_service_context *context = service->context;
    if (request->member_id != 0 && request->member_id != context->member_id) {
        char text[128];
        snprintf(text, sizeof(text), "strongroom: this is member %" PRIx64 ", not %" PRIx64,
                 context->member_id, request->member_id);
        sr_call_fail(call, SR_GRPC_FAILED_PRECONDITION, text);
        return;
    }
    if (!is_allowed(service, call, request->force)) {
        return;
    }
    sr_log(SR_LOG_INFO, "audit", "asked to drain", "actor=\"%s\" forced=%d", call->actor,
           request->force);
    Strongroom__V1__DrainResponse response = STRONGROOM__V1__DRAIN_RESPONSE__INIT;
    service_reply(service, call, 0, &response.base);
    context->ask_stop(context->arg);
}
