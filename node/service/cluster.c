/* SPDX-License-Identifier: Apache-2.0
 *
 * The Cluster service: who the members are. All its headers carry revision 0, as etcd's do.
 */
#include "node/service/internal.h"

static void describe(const struct sr_service_member *from, Etcdserverpb__Member *to,
                     char **peer_url)
{
    etcdserverpb__member__init(to);
    *peer_url = service_unconst(from->peer_url);
    to->id = from->id;
    to->name = service_unconst(from->name);
    to->peerurls = peer_url;
    to->n_peerurls = 1;
    to->clienturls = service_unconst(from->client_urls);
    to->n_clienturls = from->client_url_count;
}

static void reply_members(struct sr_service *service, struct sr_call *call)
{
    const struct sr_service_context *context = service->context;
    Etcdserverpb__Member members[SR_MEMBERS_MAX];
    Etcdserverpb__Member *pointers[SR_MEMBERS_MAX];
    char *peer_urls[SR_MEMBERS_MAX];
    for (size_t i = 0; i < context->member_count; i++) {
        describe(&context->members[i], &members[i], &peer_urls[i]);
        pointers[i] = &members[i];
    }
    Etcdserverpb__MemberListResponse response = ETCDSERVERPB__MEMBER_LIST_RESPONSE__INIT;
    response.n_members = context->member_count;
    response.members = pointers;
    service_reply(service, call, 0, &response.base);
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
