/* SPDX-License-Identifier: Apache-2.0
 *
 * Answers to changes of the cluster, in etcd's messages. isLearner says what is wanted here: a new
 * voter learns first, and what it is at the moment is MemberList's to say.
 */
#include <stdio.h>

#include "proto/limits.h"
#include "proto/member.h"
#include "proto/rpc.pb-c.h"
#include "storage/cluster_change.h"

/* One member, with the memory that its message points to. */
struct described {
    Etcdserverpb__Member member;
    char peer_url[SR_URL_BYTES_MAX + 1];
    char *peer_urls[1];
};

struct list {
    struct described described[SR_MEMBERS_MAX];
    Etcdserverpb__Member *pointers[SR_MEMBERS_MAX];
    size_t count;
};

static void describe(struct described *described, const Strongroom__MemberRecord *record)
{
    etcdserverpb__member__init(&described->member);
    (void)snprintf(described->peer_url, sizeof(described->peer_url), "https://%s",
                   record->peer_address);
    described->peer_urls[0] = described->peer_url;
    described->member.id = record->id;
    described->member.peerurls = described->peer_urls;
    described->member.n_peerurls = 1;
    described->member.islearner = !record->voter;
    if (record->feature_level > 0) {
        described->member.name = record->name;
        described->member.clienturls = record->client_urls;
        described->member.n_clienturls = record->n_client_urls;
    }
}

static void list_members(struct list *list, const Strongroom__ClusterRecord *record)
{
    list->count = record->n_members;
    for (size_t i = 0; i < record->n_members; i++) {
        describe(&list->described[i], record->members[i]);
        list->pointers[i] = &list->described[i].member;
    }
}

static void append(struct sr_buf *body, const ProtobufCMessage *message)
{
    size_t size = protobuf_c_message_get_packed_size(message);
    protobuf_c_message_pack(message, sr_buf_extend(body, size));
}

static void answer_add(const Strongroom__ClusterRecord *record, uint64_t id, struct sr_buf *body)
{
    struct list list;
    Etcdserverpb__MemberAddResponse response = ETCDSERVERPB__MEMBER_ADD_RESPONSE__INIT;
    list_members(&list, record);
    response.members = list.pointers;
    response.n_members = list.count;
    for (size_t i = 0; i < list.count; i++) {
        if (list.pointers[i]->id == id) {
            response.member = list.pointers[i];
        }
    }
    append(body, &response.base);
}

/* The responses of Remove, Update and Promote have the same fields. */
static void answer_members(const Strongroom__ClusterRecord *record, struct sr_buf *body)
{
    struct list list;
    Etcdserverpb__MemberListResponse response = ETCDSERVERPB__MEMBER_LIST_RESPONSE__INIT;
    list_members(&list, record);
    response.members = list.pointers;
    response.n_members = list.count;
    append(body, &response.base);
}

static void answer_alarm(const Strongroom__AlarmRecord *alarm, struct sr_buf *body)
{
    Etcdserverpb__AlarmResponse response = ETCDSERVERPB__ALARM_RESPONSE__INIT;
    Etcdserverpb__AlarmMember member = ETCDSERVERPB__ALARM_MEMBER__INIT;
    Etcdserverpb__AlarmMember *members[] = {&member};
    member.memberid = alarm->member_id;
    member.alarm = (Etcdserverpb__AlarmType)alarm->alarm;
    response.alarms = members;
    response.n_alarms = 1;
    append(body, &response.base);
}

void sr_cluster_answer(const Strongroom__ClusterRecord *before,
                       const Strongroom__ClusterRecord *record,
                       const Strongroom__ClusterChange *change, struct sr_buf *body)
{
    switch (change->change_case) {
    case STRONGROOM__CLUSTER_CHANGE__CHANGE_ADD:
        answer_add(record, change->add->id, body);
        break;
    case STRONGROOM__CLUSTER_CHANGE__CHANGE_REMOVE:
    case STRONGROOM__CLUSTER_CHANGE__CHANGE_UPDATE:
    case STRONGROOM__CLUSTER_CHANGE__CHANGE_PROMOTE:
        answer_members(record, body);
        break;
    case STRONGROOM__CLUSTER_CHANGE__CHANGE_RAISE:
        answer_alarm(change->raise, body);
        break;
    case STRONGROOM__CLUSTER_CHANGE__CHANGE_CLEAR:
        if (before->epoch != record->epoch) { /* it was there */
            answer_alarm(change->clear, body);
        }
        break;
    default:
        break;
    }
}
