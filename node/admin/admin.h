/* SPDX-License-Identifier: Apache-2.0
 *
 * The admin port: health and numbers over HTTP for probes and Prometheus. A listener of its own
 * (libmicrohttpd, one thread), so that it answers when the client port is busy.
 */
#ifndef SR_NODE_ADMIN_ADMIN_H
#define SR_NODE_ADMIN_ADMIN_H

#include "node/cluster/overview.h"
#include "node/consensus/consensus.h"
#include "node/image/receiver.h"
#include "node/image/sender.h"
#include "node/net/tls.h"
#include "node/offsite/shipper.h"
#include "node/rpc/rpc.h"
#include "storage/store.h"

struct sr_admin;

struct sr_admin_options {
    const char *listen;
    const struct sr_tls_files *tls; /* NULL: plain HTTP */
    const char *node_name;
    const char *zone;
    const char *cluster_name;
    const struct sr_consensus *consensus;
    struct sr_store *store;
    const struct sr_raftlog *log;
    const struct sr_rpc *rpc;
    void (*overview)(void *arg, struct sr_cluster_overview *ret); /* any thread */
    /* What is shipped, as this node sees it; any thread. NULL: nothing is. */
    void (*offsite)(void *arg, struct sr_shipper_view *ret);
    void *arg;
    uint64_t cluster_id;
    uint64_t member_id;
    const struct sr_image_sender_metrics *image_sender; /* these two may be NULL */
    const struct sr_image_receiver_metrics *image_receiver;
    const atomic_bool *stopping; /* readyz fails from then on */
};

int sr_admin_start(const struct sr_admin_options *options, struct sr_admin **ret,
                   struct sr_err *err);
/* The port it listens on: what the system chose when the options say 0. */
unsigned sr_admin_port(const struct sr_admin *admin);
void sr_admin_stop(struct sr_admin *admin); /* NULL is fine */

#endif
