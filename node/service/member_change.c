/* SPDX-License-Identifier: Apache-2.0
 *
 * strongroom.v1.Cluster's MemberAdd, MemberRemove, MemberUpdate and MemberPromote: etcd's, with
 * names, zones, tokens, and force.
 *
 * The token is made of the member's id and a secret of this client loop, so that nothing waits for
 * the place to be there but the call itself. Only its hash leaves this node.
 */
#include <string.h>

#include "base/secret.h"
#include "node/cluster/token.h"
#include "node/service/internal.h"
#include "proto/member.h"
#include "proto/strongroom.pb-c.h"

/* ---- What all of them need ---- */

/* Answer with @response, whose field @slot is to hold @member as the record has it now. */
static void reply_member(struct sr_service *service, struct sr_call *call, uint64_t member,
                         const ProtobufCMessage *response, Strongroom__V1__Member **slot)
{
    Strongroom__V1__Member described;
    Strongroom__ClusterRecord *record = service_record(service);
    const Strongroom__MemberRecord *known = service_record_find(record, member);
    strongroom__v1__member__init(&described);
    described.id = member;
    if (known != NULL) {
        service_describe_member(known, &described);
    }
    *slot = &described;
    service_reply(service, call, 0, response);
    *slot = NULL;
    strongroom__cluster_record__free_unpacked(record, NULL);
}

/* By id, or by name when there is none. NULL: the call has been answered. */
static const Strongroom__MemberRecord *
find(struct sr_call *call, const Strongroom__ClusterRecord *record, uint64_t id, const char *name)
{
    const Strongroom__MemberRecord *found = NULL;
    if (id != 0) {
        found = service_record_find(record, id);
    }
    for (size_t i = 0; id == 0 && *name != 0 && i < record->n_members; i++) {
        if (strcmp(record->members[i]->name, name) == 0) {
            found = record->members[i];
        }
    }
    if (found == NULL) {
        sr_call_fail_api(call, SR_API_MEMBER_NOT_FOUND);
    }
    return found;
}

/* ---- Add ---- */

static void added(struct sr_service *service, struct sr_call *call, uint64_t member,
                  const struct sr_answer *answer)
{
    char token[SR_TOKEN_TEXT_BYTES + 1];
    Strongroom__V1__MemberAddResponse response = STRONGROOM__V1__MEMBER_ADD_RESPONSE__INIT;
    (void)answer;
    sr_token_make(service->token_secret, member, token);
    response.token = token;
    reply_member(service, call, member, &response.base, &response.member);
    sr_secret_wipe(token, sizeof(token));
}

/* What etcd's API leaves open is required here: the place of a node that is known. */
static bool is_complete(const Strongroom__MemberRecord *member)
{
    return *member->name != 0 && *member->zone != 0 && sr_is_member(member, true);
}

static void propose_add(struct sr_service *service, struct sr_call *call,
                        const Strongroom__V1__MemberAddRequest *request,
                        const Strongroom__ClusterRecord *record)
{
    char token[SR_TOKEN_TEXT_BYTES + 1];
    uint8_t hash[SR_TOKEN_HASH_BYTES];
    Strongroom__MemberRecord member = STRONGROOM__MEMBER_RECORD__INIT;
    Strongroom__ClusterChange change = STRONGROOM__CLUSTER_CHANGE__INIT;
    member.id = service_draw_id();
    member.name = request->name;
    member.zone = request->zone;
    member.peer_address = request->peer_address;
    member.client_urls = request->client_urls;
    member.n_client_urls = request->n_client_urls;
    member.voter = !request->learner;
    sr_token_make(service->token_secret, member.id, token);
    sr_token_hash(token, SR_TOKEN_TEXT_BYTES, hash);
    sr_secret_wipe(token, sizeof(token));
    member.token_hash = (ProtobufCBinaryData){.data = hash, .len = sizeof(hash)};
    change.change_case = STRONGROOM__CLUSTER_CHANGE__CHANGE_ADD;
    change.add = &member;
    change.forced = request->force;
    if (!is_complete(&member)) {
        sr_call_fail_api(call, SR_API_MEMBER_INVALID);
    } else if (request->learner || service_change_judge(service, call, record, SR_ACTION_ADD,
                                                        member.id, member.zone, request->force)) {
        service_change(service, call, record, &change,
                       &(struct service_change){.finish = added, .member = member.id});
    }
}

void service_v1_member_add(struct sr_service *service, struct sr_call *call,
                           ProtobufCMessage *message)
{
    Strongroom__ClusterRecord *record = service_change_open(service, call);
    if (record != NULL) {
        propose_add(service, call, (const Strongroom__V1__MemberAddRequest *)message, record);
        strongroom__cluster_record__free_unpacked(record, NULL);
    }
}

/* ---- Remove ---- */

static void removed(struct sr_service *service, struct sr_call *call, uint64_t member,
                    const struct sr_answer *answer)
{
    Strongroom__V1__MemberRemoveResponse response = STRONGROOM__V1__MEMBER_REMOVE_RESPONSE__INIT;
    (void)answer;
    reply_member(service, call, member, &response.base, &response.member);
}

void service_v1_member_remove(struct sr_service *service, struct sr_call *call,
                              ProtobufCMessage *message)
{
    const Strongroom__V1__MemberRemoveRequest *request =
        (const Strongroom__V1__MemberRemoveRequest *)message;
    Strongroom__ClusterChange change = STRONGROOM__CLUSTER_CHANGE__INIT;
    Strongroom__ClusterRecord *record = service_change_open(service, call);
    const Strongroom__MemberRecord *member =
        record == NULL ? NULL : find(call, record, request->id, request->name);
    if (member != NULL && service_change_judge(service, call, record, SR_ACTION_REMOVE, member->id,
                                               "", request->force)) {
        change.change_case = STRONGROOM__CLUSTER_CHANGE__CHANGE_REMOVE;
        change.remove = member->id;
        change.forced = request->force;
        service_change(
            service, call, record, &change,
            &(struct service_change){
                .finish = removed, .member = member->id, .settles = true, .role = SR_ROLE_NONE});
    }
    strongroom__cluster_record__free_unpacked(record, NULL);
}

/* ---- Update ---- */

static void updated(struct sr_service *service, struct sr_call *call, uint64_t member,
                    const struct sr_answer *answer)
{
    Strongroom__V1__MemberUpdateResponse response = STRONGROOM__V1__MEMBER_UPDATE_RESPONSE__INIT;
    (void)answer;
    reply_member(service, call, member, &response.base, &response.member);
}

void service_v1_member_update(struct sr_service *service, struct sr_call *call,
                              ProtobufCMessage *message)
{
    const Strongroom__V1__MemberUpdateRequest *request =
        (const Strongroom__V1__MemberUpdateRequest *)message;
    Strongroom__ClusterChange change = STRONGROOM__CLUSTER_CHANGE__INIT;
    Strongroom__MemberAddress to = STRONGROOM__MEMBER_ADDRESS__INIT;
    Strongroom__ClusterRecord *record = service_change_open(service, call);
    const Strongroom__MemberRecord *member =
        record == NULL ? NULL : find(call, record, request->id, request->name);
    if (member != NULL) {
        to.id = member->id;
        to.peer_address = request->peer_address;
        change.change_case = STRONGROOM__CLUSTER_CHANGE__CHANGE_UPDATE;
        change.update = &to;
        change.forced = request->force;
        service_change(service, call, record, &change,
                       &(struct service_change){.finish = updated, .member = member->id});
    }
    strongroom__cluster_record__free_unpacked(record, NULL);
}

/* ---- Promote ---- */

static void promoted(struct sr_service *service, struct sr_call *call, uint64_t member,
                     const struct sr_answer *answer)
{
    Strongroom__V1__MemberPromoteResponse response = STRONGROOM__V1__MEMBER_PROMOTE_RESPONSE__INIT;
    (void)answer;
    reply_member(service, call, member, &response.base, &response.member);
}

void service_v1_member_promote(struct sr_service *service, struct sr_call *call,
                               ProtobufCMessage *message)
{
    const Strongroom__V1__MemberPromoteRequest *request =
        (const Strongroom__V1__MemberPromoteRequest *)message;
    Strongroom__ClusterChange change = STRONGROOM__CLUSTER_CHANGE__INIT;
    Strongroom__ClusterRecord *record = service_change_open(service, call);
    const Strongroom__MemberRecord *member =
        record == NULL ? NULL : find(call, record, request->id, request->name);
    enum sr_api_error error =
        member == NULL ? SR_API_NONE : service_check_promotion(service, record, member->id);
    if (error != SR_API_NONE) {
        sr_call_fail_api(call, error);
    } else if (member != NULL && service_change_judge(service, call, record, SR_ACTION_PROMOTE,
                                                      member->id, "", request->force)) {
        change.change_case = STRONGROOM__CLUSTER_CHANGE__CHANGE_PROMOTE;
        change.promote = member->id;
        change.forced = request->force;
        service_change(
            service, call, record, &change,
            &(struct service_change){
                .finish = promoted, .member = member->id, .settles = true, .role = SR_ROLE_VOTER});
    }
    strongroom__cluster_record__free_unpacked(record, NULL);
}
