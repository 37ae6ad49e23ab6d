/* SPDX-License-Identifier: Apache-2.0
 *
 * The Maintenance service, as far as it goes: Status and Alarm. NOSPACE is the only alarm, of
 * this member only; it comes and goes with the free space of its disk, so there is nothing to
 * raise or clear by hand.
 */
#include <inttypes.h>
#include <stdio.h>

#include "node/service/internal.h"

/* Clients switch features on by this number, not by our own: what we speak is etcd 3.5's API. */
#define ETCD_VERSION "3.5.0"

void service_status(struct sr_service *service, struct sr_call *call, ProtobufCMessage *message)
{
    (void)message;
    const struct sr_service_context *context = service->context;
    const struct sr_store_metrics *metrics = sr_store_metrics(context->store);
    struct sr_consensus_info info;
    sr_consensus_info(context->consensus, &info);

    char version[] = ETCD_VERSION;
    char no_leader[] = "etcdserver: no leader";
    char no_space[64];
    char *errors[2];
    Etcdserverpb__StatusResponse response = ETCDSERVERPB__STATUS_RESPONSE__INIT;
    response.errors = errors;
    if (info.leader == 0) {
        errors[response.n_errors++] = no_leader;
    }
    if (!service_has_space(context)) {
        snprintf(no_space, sizeof(no_space), "memberID:%" PRIu64 " alarm:NOSPACE ",
                 context->member_id);
        errors[response.n_errors++] = no_space;
    }
    response.version = version;
    response.dbsize = sr_gauge_read(&metrics->database_bytes);
    response.dbsizeinuse = sr_gauge_read(&metrics->in_use_bytes);
    response.leader = info.leader;
    response.raftindex = info.commit_index;
    response.raftterm = info.term;
    response.raftappliedindex = info.applied_index;
    service_reply(service, call, sr_store_revision(context->store), &response.base);
}

static void reply_alarms(struct sr_service *service, struct sr_call *call,
                         const Etcdserverpb__AlarmRequest *request)
{
    const struct sr_service_context *context = service->context;
    bool asked = request->alarm == ETCDSERVERPB__ALARM_TYPE__NONE ||
                 request->alarm == ETCDSERVERPB__ALARM_TYPE__NOSPACE;
    Etcdserverpb__AlarmMember no_space = ETCDSERVERPB__ALARM_MEMBER__INIT;
    no_space.memberid = context->member_id;
    no_space.alarm = ETCDSERVERPB__ALARM_TYPE__NOSPACE;
    Etcdserverpb__AlarmMember *alarms[1] = {&no_space};
    Etcdserverpb__AlarmResponse response = ETCDSERVERPB__ALARM_RESPONSE__INIT;
    response.alarms = alarms;
    response.n_alarms = asked && !service_has_space(context) ? 1 : 0;
    service_reply(service, call, sr_store_revision(context->store), &response.base);
}

void service_alarm(struct sr_service *service, struct sr_call *call, ProtobufCMessage *message)
{
    const Etcdserverpb__AlarmRequest *request = (Etcdserverpb__AlarmRequest *)message;
    switch (request->action) {
    case ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__GET:
        reply_alarms(service, call, request);
        return;
    case ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__ACTIVATE:
    case ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__DEACTIVATE:
        sr_call_fail(call, SR_GRPC_UNIMPLEMENTED,
                     "strongroom: alarms follow the free space of the disk and cannot be set or "
                     "cleared by hand");
        return;
    default:
        sr_call_fail(call, SR_GRPC_INVALID_ARGUMENT, "strongroom: unknown alarm action");
    }
}
