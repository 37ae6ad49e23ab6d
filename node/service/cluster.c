/* SPDX-License-Identifier: Apache-2.0
 *
 * The Cluster service's MemberList: who the members are. All headers of this service carry
 * revision 0, as etcd's do. isLearner is what libraft's configuration says, as far as the leader
 * has told; otherwise what the record wants.
 */
#include <stdio.h>

#include "node/service/internal.h"
#include "proto/member.h"

/* A member's message and what it points to. */
struct listed {
    Etcdserverpb__Member member;
    char peer_url[SR_URL_BYTES_MAX + 1];
    char *peer_urls[1];
};

/* A place that no node has taken yet has no name for clients. */
static void describe(const Strongroom__MemberRecord *from, bool is_learner, struct listed *to)
{
    etcdserverpb__member__init(&to->member);
    (void)snprintf(to->peer_url, sizeof(to->peer_url), "https://%s", from->peer_address);
    to->peer_urls[0] = to->peer_url;
    to->member.id = from->id;
    to->member.peerurls = to->peer_urls;
    to->member.n_peerurls = 1;
    to->member.islearner = is_learner;
    if (from->feature_level > 0) {
        to->member.name = from->name;
        to->member.clienturls = from->client_urls;
        to->member.n_clienturls = from->n_client_urls;
    }
}

static void reply_members(struct sr_service *service, struct sr_call *call)
{
    struct listed listed[SR_MEMBERS_MAX];
    Etcdserverpb__Member *pointers[SR_MEMBERS_MAX];
    struct sr_member_progress progress[SR_MEMBERS_MAX];
    size_t count = 0;
    bool told = service_progress(service, progress, &count);
    Strongroom__ClusterRecord *record = service_record(service);
    for (size_t i = 0; i < record->n_members; i++) {
        const Strongroom__MemberRecord *member = record->members[i];
        const struct sr_member_progress *one =
            told ? service_progress_find(progress, count, member->id) : NULL;
        bool is_voter = told ? one != NULL && one->role == SR_ROLE_VOTER : member->voter;
        describe(member, !is_voter, &listed[i]);
        pointers[i] = &listed[i].member;
    }
    Etcdserverpb__MemberListResponse response = ETCDSERVERPB__MEMBER_LIST_RESPONSE__INIT;
    response.n_members = record->n_members;
    response.members = pointers;
    service_reply(service, call, 0, &response.base);
    strongroom__cluster_record__free_unpacked(record, NULL);
}

void service_member_list(struct sr_service *service, struct sr_call *call,
                         ProtobufCMessage *message)
{
    const Etcdserverpb__MemberListRequest *request = (Etcdserverpb__MemberListRequest *)message;
    if (!request->linearizable) {
        reply_members(service, call);
        return;
    }
    struct service_pending *pending = service_pending_add(service, call, SERVICE_MEMBERS);
    if (pending == NULL) {
        sr_call_fail_api(call, SR_API_TOO_MANY_REQUESTS);
        return;
    }
    service_read_ask(service, pending);
}

void service_members_answered(struct sr_service *service, struct service_pending *pending)
{
    struct sr_call *call = pending->call;
    service_pending_drop(service, pending);
    reply_members(service, call);
}
