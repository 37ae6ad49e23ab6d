/* SPDX-License-Identifier: Apache-2.0
 *
 * Maintenance.MoveLeader: hand leadership to a voter. Answered once that member leads, as far as
 * this node knows, which is asked at every tick.
 */
#include "node/service/internal.h"

/* A learner cannot lead; without news of who learns, whoever is a member may try. */
static bool is_voter(const struct sr_service *service, uint64_t id)
{
    struct sr_member_progress progress[SR_MEMBERS_MAX];
    size_t count = 0;
    if (service_progress(service, progress, &count)) {
        const struct sr_member_progress *one = service_progress_find(progress, count, id);
        return one != NULL && one->role == SR_ROLE_VOTER;
    }
    Strongroom__ClusterRecord *record = service_record(service);
    const Strongroom__MemberRecord *member = service_record_find(record, id);
    bool voter = member != NULL && member->voter;
    strongroom__cluster_record__free_unpacked(record, NULL);
    return voter;
}

/* etcd's has no header, though its message would allow one. */
static void reply(struct sr_service *service, struct sr_call *call)
{
    sr_call_reply(call, service_reply_buffer(service));
}

void service_move_leader(struct sr_service *service, struct sr_call *call,
                         ProtobufCMessage *message)
{
    const struct sr_service_context *context = service->context;
    uint64_t target = ((const Etcdserverpb__MoveLeaderRequest *)message)->targetid;
    struct sr_consensus_info info;
    sr_consensus_info(context->consensus, &info);
    if (!info.is_leader) {
        sr_call_fail_api(call, SR_API_NOT_LEADER);
        return;
    }
    if (!is_voter(service, target)) {
        sr_call_fail_api(call, SR_API_BAD_TRANSFEREE);
        return;
    }
    if (target == context->member_id) {
        reply(service, call);
        return;
    }
    struct service_pending *pending = service_pending_add(service, call, SERVICE_MOVE);
    if (pending == NULL) {
        sr_call_fail_api(call, SR_API_TOO_MANY_REQUESTS);
        return;
    }
    pending->move_to = target;
    sr_list_append(&service->moves, &pending->turn);
    sr_consensus_move_leader(context->consensus, target);
}

void service_moves_check(struct sr_service *service)
{
    struct sr_consensus_info info;
    if (sr_list_is_empty(&service->moves)) {
        return;
    }
    sr_consensus_info(service->context->consensus, &info);
    struct sr_list *at = service->moves.next;
    while (at != &service->moves) {
        struct service_pending *pending = sr_container(at, struct service_pending, turn);
        at = at->next;
        if (pending->move_to == info.leader) {
            struct sr_call *call = pending->call;
            service_pending_drop(service, pending);
            reply(service, call);
        }
    }
}
