/* SPDX-License-Identifier: Apache-2.0
 *
 * strongroom.v1.Cluster/MemberStatus: the members, and what is known of them here. The record says
 * who they are, the leader's broadcast how far they are.
 */
#include "base/log.h"
#include "node/service/internal.h"
#include "proto/strongroom.pb-c.h"
#include "storage/cluster.h"

/* The response and what it points to, for the time of one call. */
struct view {
    Strongroom__V1__MemberStatusResponse response;
    Strongroom__V1__Member members[SR_MEMBERS_MAX];
    Strongroom__V1__Member *member_pointers[SR_MEMBERS_MAX];
    Strongroom__V1__Alarm alarms[SR_ALARMS_MAX];
    Strongroom__V1__Alarm *alarm_pointers[SR_ALARMS_MAX];
};

static Strongroom__V1__Member *add_member(struct view *view)
{
    size_t i = view->response.n_members++;
    strongroom__v1__member__init(&view->members[i]);
    view->member_pointers[i] = &view->members[i];
    return &view->members[i];
}

/* Before there is a record, the configuration says who founds the cluster. */
static void add_founders(struct view *view, const struct sr_service_context *context)
{
    for (size_t i = 0; i < context->member_count; i++) {
        const struct sr_service_member *from = &context->members[i];
        Strongroom__V1__Member *to = add_member(view);
        to->id = from->id;
        to->name = service_unconst(from->name);
        to->zone = service_unconst(from->zone);
        to->peer_address = service_unconst(from->peer_url + sizeof("https://") - 1);
        to->client_urls = service_unconst(from->client_urls);
        to->n_client_urls = from->client_url_count;
        to->role = STRONGROOM__V1__ROLE__VOTER;
        to->wanted = STRONGROOM__V1__ROLE__VOTER;
        to->started = true;
    }
}

static void add_record(struct view *view, const Strongroom__ClusterRecord *record)
{
    for (size_t i = 0; i < record->n_members && i < SR_MEMBERS_MAX; i++) {
        const Strongroom__MemberRecord *from = record->members[i];
        Strongroom__V1__Member *to = add_member(view);
        to->id = from->id;
        to->name = from->name;
        to->zone = from->zone;
        to->peer_address = from->peer_address;
        to->client_urls = from->client_urls;
        to->n_client_urls = from->n_client_urls;
        to->wanted = from->voter ? STRONGROOM__V1__ROLE__VOTER : STRONGROOM__V1__ROLE__LEARNER;
        to->started = from->feature_level != 0;
        to->feature_level = from->feature_level;
    }
    for (size_t i = 0; i < record->n_alarms && i < SR_ALARMS_MAX; i++) {
        Strongroom__V1__Alarm *alarm = &view->alarms[view->response.n_alarms];
        strongroom__v1__alarm__init(alarm);
        alarm->member_id = record->alarms[i]->member_id;
        alarm->alarm = (Etcdserverpb__AlarmType)record->alarms[i]->alarm;
        alarm->index = record->alarms[i]->index;
        view->alarm_pointers[view->response.n_alarms++] = alarm;
    }
}

void service_member_status(struct sr_service *service, struct sr_call *call,
                           ProtobufCMessage *message)
{
    (void)message;
    const struct sr_service_context *context = service->context;
    struct sr_consensus_info info;
    struct sr_err err = {0};
    struct view view = {.response = STRONGROOM__V1__MEMBER_STATUS_RESPONSE__INIT};
    Strongroom__ClusterRecord *record = NULL;
    if (sr_store_cluster(context->store, &record, &err) != SR_OK) {
        sr_log(SR_LOG_ERROR, "service", "no cluster record", "reason=\"%s\"", err.text);
        sr_call_fail_api(call, SR_API_STORE_FAILED);
        return;
    }
    sr_consensus_info(context->consensus, &info);
    view.response.members = view.member_pointers;
    view.response.alarms = view.alarm_pointers;
    view.response.leader = info.leader;
    view.response.epoch = record->epoch;
    if (record->epoch == 0) {
        add_founders(&view, context);
    } else {
        add_record(&view, record);
    }
    service_reply(service, call, 0, &view.response.base);
    strongroom__cluster_record__free_unpacked(record, NULL);
}
