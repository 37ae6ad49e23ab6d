/* SPDX-License-Identifier: Apache-2.0
 *
 * The services of the client API (etcd's KV, Cluster and Maintenance, strongroom.v1, gRPC health):
 * validation, the paths of a write and of a read, and the answers. One struct sr_service a client
 * loop; it owns the calls that wait for consensus or for the rest of a long range.
 */
#ifndef SR_NODE_SERVICE_SERVICE_H
#define SR_NODE_SERVICE_SERVICE_H

#include "node/consensus/consensus.h"
#include "node/consensus/progress.h"
#include "node/offsite/shipper.h"
#include "node/rpc/rpc.h"
#include "storage/store.h"

struct sr_service;

/* A member as MemberList tells it. */
struct sr_service_member {
    uint64_t id;
    const char *name;
    const char *zone;
    const char *peer_url;
    const char *const *client_urls;
    size_t client_url_count;
};

/* What all loops share; must outlive them. */
struct sr_service_context {
    uint64_t cluster_id;
    uint64_t member_id;
    const struct sr_service_member *members; /* sorted by id */
    size_t member_count;
    struct sr_store *store;
    struct sr_consensus *consensus;
    unsigned request_timeout_ms;
    int zones_min; /* how many zones the cluster is to be able to lose, at least */
    /* How far the members are, as the leader told @ret_age_ms ago; returns how many, 0: nothing is
     * known. Any thread. NULL: nobody knows, and no rule asks. */
    size_t (*progress)(void *arg, struct sr_member_progress out[SR_MEMBERS_MAX],
                       uint64_t *ret_age_ms);
    /* The feature level that the cluster acts at, 0: not all members have been seen. Any thread.
     * NULL: that of this program. */
    unsigned (*feature_level)(void *arg);
    /* Off-site shipping as this node sees it, and shipping at once; any thread. NULL: it does not
     * ship. */
    void (*offsite)(void *arg, struct sr_shipper_view *ret);
    void (*ship_now)(void *arg);
    /* The node is to stop gracefully; any thread. */
    void (*ask_stop)(void *arg);
    void *arg;
};

/* @origin is that of @mailbox, this loop's own (node/state/answer.h). The service also posts to it
 * itself, to go on with a long range in a later turn of the loop. */
struct sr_service *sr_service_new(const struct sr_service_context *context, uint64_t origin,
                                  struct sr_mailbox *mailbox);
/* After sr_rpc_free, which has delivered all mail. NULL is fine. */
void sr_service_free(struct sr_service *service);
/* To be given to sr_rpc_set_handler. */
struct sr_rpc_handler sr_service_handler(struct sr_service *service);

#endif
