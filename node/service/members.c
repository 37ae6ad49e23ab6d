/* SPDX-License-Identifier: Apache-2.0
 *
 * etcd's MemberAdd, MemberRemove, MemberUpdate and MemberPromote. A member that is added learns
 * first and votes by itself once it has caught up, unless it is added as a learner; so adding
 * never weakens the majority (decision 0010).
 */
#include "node/service/internal.h"
#include "proto/member.h"
#include "storage/seal.h"

/* All of these answers have header revision 0, as etcd's. */
static void reply_change(struct sr_service *service, struct sr_call *call, uint64_t member,
                         const struct sr_answer *answer)
{
    (void)member;
    service_reply_body(service, call, 0, answer->term,
                       (struct sr_bytes){answer->body.data, answer->body.size});
}

/* A member has one address. NULL: etcd would take these URLs for wrong, or we have no use for so
 * many. */
static const char *only_address(size_t count, char **urls)
{
    return count == 1 ? sr_peer_url_address(urls[0]) : NULL;
}

uint64_t service_draw_id(void)
{
    uint64_t id = 0;
    while (id == 0) {
        sr_random_bytes(&id, sizeof(id));
    }
    return id;
}

void service_member_add(struct sr_service *service, struct sr_call *call, ProtobufCMessage *message)
{
    const Etcdserverpb__MemberAddRequest *request = (const Etcdserverpb__MemberAddRequest *)message;
    const char *address = only_address(request->n_peerurls, request->peerurls);
    Strongroom__MemberRecord member = STRONGROOM__MEMBER_RECORD__INIT;
    Strongroom__ClusterChange change = STRONGROOM__CLUSTER_CHANGE__INIT;
    if (address == NULL) {
        sr_call_fail_api(call, SR_API_MEMBER_URLS_INVALID);
        return;
    }
    Strongroom__ClusterRecord *record = service_change_open(service, call);
    if (record == NULL) {
        return;
    }
    member.id = service_draw_id();
    member.peer_address = service_unconst(address);
    member.voter = !request->islearner;
    change.change_case = STRONGROOM__CLUSTER_CHANGE__CHANGE_ADD;
    change.add = &member;
    service_change(service, call, record, &change,
                   &(struct service_change){.finish = reply_change, .member = member.id});
    strongroom__cluster_record__free_unpacked(record, NULL);
}

void service_member_remove(struct sr_service *service, struct sr_call *call,
                           ProtobufCMessage *message)
{
    uint64_t id = ((const Etcdserverpb__MemberRemoveRequest *)message)->id;
    Strongroom__ClusterChange change = STRONGROOM__CLUSTER_CHANGE__INIT;
    Strongroom__ClusterRecord *record = service_change_open(service, call);
    if (record == NULL) {
        return;
    }
    change.change_case = STRONGROOM__CLUSTER_CHANGE__CHANGE_REMOVE;
    change.remove = id;
    if (service_record_find(record, id) == NULL) {
        sr_call_fail_api(call, SR_API_MEMBER_NOT_FOUND);
    } else if (service_change_judge(service, call, record, SR_ACTION_REMOVE, id, "", false)) {
        service_change(
            service, call, record, &change,
            &(struct service_change){
                .finish = reply_change, .member = id, .settles = true, .role = SR_ROLE_NONE});
    }
    strongroom__cluster_record__free_unpacked(record, NULL);
}

void service_member_update(struct sr_service *service, struct sr_call *call,
                           ProtobufCMessage *message)
{
    const Etcdserverpb__MemberUpdateRequest *request =
        (const Etcdserverpb__MemberUpdateRequest *)message;
    const char *address = only_address(request->n_peerurls, request->peerurls);
    Strongroom__MemberAddress to = STRONGROOM__MEMBER_ADDRESS__INIT;
    Strongroom__ClusterChange change = STRONGROOM__CLUSTER_CHANGE__INIT;
    if (address == NULL) {
        sr_call_fail_api(call, SR_API_MEMBER_URLS_INVALID);
        return;
    }
    Strongroom__ClusterRecord *record = service_change_open(service, call);
    if (record == NULL) {
        return;
    }
    to.id = request->id;
    to.peer_address = service_unconst(address);
    change.change_case = STRONGROOM__CLUSTER_CHANGE__CHANGE_UPDATE;
    change.update = &to;
    service_change(service, call, record, &change,
                   &(struct service_change){.finish = reply_change, .member = request->id});
    strongroom__cluster_record__free_unpacked(record, NULL);
}

enum sr_api_error service_check_promotion(const struct sr_service *service,
                                          const Strongroom__ClusterRecord *record, uint64_t id)
{
    struct sr_member_progress progress[SR_MEMBERS_MAX];
    size_t count = 0;
    const Strongroom__MemberRecord *member = service_record_find(record, id);
    if (member == NULL) {
        return SR_API_MEMBER_NOT_FOUND;
    }
    if (member->voter) {
        return SR_API_NOT_A_LEARNER;
    }
    if (service->context->progress == NULL) {
        return SR_API_NONE;
    }
    if (!service_progress(service, progress, &count)) {
        return SR_API_UNHEALTHY;
    }
    const struct sr_member_progress *one = service_progress_find(progress, count, id);
    return one != NULL && one->up && one->caught_up ? SR_API_NONE : SR_API_LEARNER_NOT_READY;
}

void service_member_promote(struct sr_service *service, struct sr_call *call,
                            ProtobufCMessage *message)
{
    uint64_t id = ((const Etcdserverpb__MemberPromoteRequest *)message)->id;
    Strongroom__ClusterChange change = STRONGROOM__CLUSTER_CHANGE__INIT;
    Strongroom__ClusterRecord *record = service_change_open(service, call);
    if (record == NULL) {
        return;
    }
    enum sr_api_error error = service_check_promotion(service, record, id);
    change.change_case = STRONGROOM__CLUSTER_CHANGE__CHANGE_PROMOTE;
    change.promote = id;
    if (error != SR_API_NONE) {
        sr_call_fail_api(call, error);
    } else if (service_change_judge(service, call, record, SR_ACTION_PROMOTE, id, "", false)) {
        service_change(
            service, call, record, &change,
            &(struct service_change){
                .finish = reply_change, .member = id, .settles = true, .role = SR_ROLE_VOTER});
    }
    strongroom__cluster_record__free_unpacked(record, NULL);
}
