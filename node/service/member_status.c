/* SPDX-License-Identifier: Apache-2.0
 *
 * strongroom.v1.Cluster/MemberStatus: the members, and what is known of them here. The record says
 * who they are, the leader's broadcast how far they are.
 */
#include "node/service/internal.h"
#include "proto/level.h"

/* The response and what it points to, for the time of one call. */
struct view {
    Strongroom__V1__MemberStatusResponse response;
    Strongroom__V1__Member members[SR_MEMBERS_MAX];
    Strongroom__V1__Member *member_pointers[SR_MEMBERS_MAX];
    Strongroom__V1__Alarm alarms[SR_ALARMS_MAX];
    Strongroom__V1__Alarm *alarm_pointers[SR_ALARMS_MAX];
};

void service_describe_member(const Strongroom__MemberRecord *from, Strongroom__V1__Member *to)
{
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

static void add_members(struct view *view, const Strongroom__ClusterRecord *record)
{
    view->response.members = view->member_pointers;
    view->response.n_members = record->n_members;
    for (size_t i = 0; i < record->n_members; i++) {
        strongroom__v1__member__init(&view->members[i]);
        service_describe_member(record->members[i], &view->members[i]);
        view->member_pointers[i] = &view->members[i];
    }
}

static void add_alarms(struct view *view, const Strongroom__ClusterRecord *record)
{
    view->response.alarms = view->alarm_pointers;
    view->response.n_alarms = record->n_alarms;
    for (size_t i = 0; i < record->n_alarms; i++) {
        strongroom__v1__alarm__init(&view->alarms[i]);
        view->alarms[i].member_id = record->alarms[i]->member_id;
        view->alarms[i].alarm = (Etcdserverpb__AlarmType)record->alarms[i]->alarm;
        view->alarms[i].index = record->alarms[i]->index;
        view->alarm_pointers[i] = &view->alarms[i];
    }
}

static Strongroom__V1__Role role_of(enum sr_role role)
{
    switch (role) {
    case SR_ROLE_VOTER:
        return STRONGROOM__V1__ROLE__VOTER;
    case SR_ROLE_LEARNER:
        return STRONGROOM__V1__ROLE__LEARNER;
    default:
        return STRONGROOM__V1__ROLE__NONE;
    }
}

/* Whoever has most of the log is the leader: the others lag behind that. */
static uint64_t most(const struct sr_member_progress *progress, size_t count)
{
    uint64_t index = 0;
    for (size_t i = 0; i < count; i++) {
        index = progress[i].match_index > index ? progress[i].match_index : index;
    }
    return index;
}

static void add_progress(struct view *view, const struct sr_service *service,
                         const Strongroom__ClusterRecord *record)
{
    struct sr_member_progress progress[SR_MEMBERS_MAX];
    struct sr_zone_member zones[SR_MEMBERS_MAX];
    const struct sr_service_context *context = service->context;
    size_t count = context->progress == NULL
                       ? 0
                       : context->progress(context->arg, progress, &view->response.progress_age_ms);
    uint64_t last = most(progress, count);
    view->response.has_progress = count > 0;
    for (size_t i = 0; i < view->response.n_members; i++) {
        Strongroom__V1__Member *member = &view->members[i];
        const struct sr_member_progress *one = service_progress_find(progress, count, member->id);
        if (one != NULL) {
            member->role = role_of(one->role);
            member->up = one->up;
            member->caught_up = one->caught_up;
            member->match_index = one->match_index;
            member->lag_entries = last - one->match_index;
            member->image_bytes = one->image_bytes;
            member->image_total_bytes = one->image_total;
        } else if (count == 0) { /* the record is all that is known */
            member->role = member->wanted;
        }
    }
    if (service_zone_members(service, record, zones)) {
        view->response.zones_survivable = sr_zones_survivable(zones, record->n_members);
    }
}

void service_member_status(struct sr_service *service, struct sr_call *call,
                           ProtobufCMessage *message)
{
    const struct sr_service_context *context = service->context;
    struct sr_consensus_info info;
    struct view view = {.response = STRONGROOM__V1__MEMBER_STATUS_RESPONSE__INIT};
    Strongroom__ClusterRecord *record = service_record(service);
    (void)message;
    sr_consensus_info(context->consensus, &info);
    view.response.leader = info.leader;
    view.response.epoch = record->epoch;
    view.response.feature_level =
        context->feature_level == NULL ? SR_FEATURE_LEVEL : context->feature_level(context->arg);
    add_members(&view, record);
    add_alarms(&view, record);
    add_progress(&view, service, record);
    service_reply(service, call, 0, &view.response.base);
    strongroom__cluster_record__free_unpacked(record, NULL);
}
