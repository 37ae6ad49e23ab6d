/* SPDX-License-Identifier: Apache-2.0
 *
 * The Maintenance service's Alarm. There are two kinds: those of the cluster record, which are
 * raised by the replica check or by hand, hold for the whole cluster and stay until they are
 * cleared; and NOSPACE, which each member raises and clears for itself as the free space of its
 * disk comes and goes (decision 0015). This member's own is shown before the record has it.
 */
#include "node/service/internal.h"
#include "storage/cluster.h"

static void add(Etcdserverpb__AlarmMember *out, uint64_t member, Etcdserverpb__AlarmType type)
{
    etcdserverpb__alarm_member__init(out);
    out->memberid = member;
    out->alarm = type;
}

static bool is_asked(Etcdserverpb__AlarmType asked, uint32_t type)
{
    return asked == ETCDSERVERPB__ALARM_TYPE__NONE || (uint32_t)asked == type;
}

size_t service_alarms(const struct sr_service *service, Etcdserverpb__AlarmType type,
                      Etcdserverpb__AlarmMember out[SERVICE_ALARMS_MAX])
{
    const struct sr_service_context *context = service->context;
    bool own = is_asked(type, ETCDSERVERPB__ALARM_TYPE__NOSPACE) && !service_has_space(context);
    size_t count = 0;
    if (sr_store_alarms(context->store) != 0) {
        Strongroom__ClusterRecord *record = service_record(service);
        for (size_t i = 0; i < record->n_alarms; i++) {
            const Strongroom__AlarmRecord *alarm = record->alarms[i];
            if (is_asked(type, alarm->alarm)) {
                add(&out[count++], alarm->member_id, (Etcdserverpb__AlarmType)alarm->alarm);
                own = own && (alarm->member_id != context->member_id ||
                              alarm->alarm != ETCDSERVERPB__ALARM_TYPE__NOSPACE);
            }
        }
        strongroom__cluster_record__free_unpacked(record, NULL);
    }
    if (own) {
        add(&out[count++], context->member_id, ETCDSERVERPB__ALARM_TYPE__NOSPACE);
    }
    return count;
}

static void reply_alarms(struct sr_service *service, struct sr_call *call,
                         Etcdserverpb__AlarmType type)
{
    Etcdserverpb__AlarmMember alarms[SERVICE_ALARMS_MAX];
    Etcdserverpb__AlarmMember *pointers[SERVICE_ALARMS_MAX];
    Etcdserverpb__AlarmResponse response = ETCDSERVERPB__ALARM_RESPONSE__INIT;
    response.n_alarms = service_alarms(service, type, alarms);
    response.alarms = pointers;
    for (size_t i = 0; i < response.n_alarms; i++) {
        pointers[i] = &alarms[i];
    }
    service_reply(service, call, sr_store_revision(service->context->store), &response.base);
}

static void reply_nothing(struct sr_service *service, struct sr_call *call)
{
    Etcdserverpb__AlarmResponse response = ETCDSERVERPB__ALARM_RESPONSE__INIT;
    service_reply(service, call, sr_store_revision(service->context->store), &response.base);
}

static void reply_change(struct sr_service *service, struct sr_call *call, uint64_t member,
                         const struct sr_answer *answer)
{
    (void)member;
    service_reply_body(service, call, answer->revision, answer->term,
                       (struct sr_bytes){answer->body.data, answer->body.size});
}

static void change_alarm(struct sr_service *service, struct sr_call *call,
                         const Etcdserverpb__AlarmRequest *request, bool raise)
{
    Strongroom__AlarmRecord alarm = STRONGROOM__ALARM_RECORD__INIT;
    Strongroom__ClusterChange change = STRONGROOM__CLUSTER_CHANGE__INIT;
    Strongroom__ClusterRecord *record = service_record(service);
    enum sr_api_error error = service_change_allowed(service, record);
    alarm.member_id = request->memberid;
    alarm.alarm = (uint32_t)request->alarm;
    if (raise) {
        change.change_case = STRONGROOM__CLUSTER_CHANGE__CHANGE_RAISE;
        change.raise = &alarm;
    } else {
        change.change_case = STRONGROOM__CLUSTER_CHANGE__CHANGE_CLEAR;
        change.clear = &alarm;
    }
    if (error != SR_API_NONE) {
        sr_call_fail_api(call, error);
    } else {
        service_change(
            service, call, record, &change,
            &(struct service_change){.finish = reply_change, .member = request->memberid});
    }
    strongroom__cluster_record__free_unpacked(record, NULL);
}

void service_alarm(struct sr_service *service, struct sr_call *call, ProtobufCMessage *message)
{
    const Etcdserverpb__AlarmRequest *request = (Etcdserverpb__AlarmRequest *)message;
    bool raise = request->action == ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__ACTIVATE;
    if (request->action == ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__GET) {
        reply_alarms(service, call, request->alarm);
    } else if (!raise && request->action != ETCDSERVERPB__ALARM_REQUEST__ALARM_ACTION__DEACTIVATE) {
        sr_call_fail(call, SR_GRPC_INVALID_ARGUMENT, "strongroom: unknown alarm action");
    } else if (request->alarm == ETCDSERVERPB__ALARM_TYPE__NONE) {
        reply_nothing(service, call); /* as etcd */
    } else {
        change_alarm(service, call, request, raise);
    }
}
