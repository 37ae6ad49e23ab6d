/* SPDX-License-Identifier: Apache-2.0
 *
 * grpc.health.v1: the one method that a node with a failed store still answers, and an accused one
 * too.
 */
#include "node/service/internal.h"
#include "proto/health.pb-c.h"

void service_health(struct sr_service *service, struct sr_call *call, ProtobufCMessage *message)
{
    const Grpc__Health__V1__HealthCheckRequest *request =
        (Grpc__Health__V1__HealthCheckRequest *)message;
    if (request->service[0] != '\0') {
        sr_call_fail(call, SR_GRPC_NOT_FOUND, "unknown service");
        return;
    }
    Grpc__Health__V1__HealthCheckResponse response = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;
    response.status = service_store_failed(service) || service_is_accused(service)
                          ? GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__NOT_SERVING
                          : GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING;
    struct sr_buf *reply = service_reply_buffer(service);
    size_t size = protobuf_c_message_get_packed_size(&response.base);
    protobuf_c_message_pack(&response.base, sr_buf_extend(reply, size));
    sr_call_reply(call, reply);
}
