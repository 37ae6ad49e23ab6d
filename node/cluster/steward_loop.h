/* SPDX-License-Identifier: Apache-2.0
 *
 * The thread that lets the steward of a node look after its duties, once a second; ten times a
 * second until there is a record of the cluster.
 */
#ifndef SR_NODE_CLUSTER_STEWARD_LOOP_H
#define SR_NODE_CLUSTER_STEWARD_LOOP_H

#include "node/cluster/proposer.h"
#include "node/cluster/steward.h"
#include "node/config/config.h"

struct sr_steward_loop;

struct sr_steward_loop_options {
    const struct sr_config *config; /* must outlive it, as all of these */
    uint64_t self;
    struct sr_store *store;
    struct sr_consensus *consensus;
    struct sr_proposer *proposer;
    /* As struct sr_service_context has it; NULL: nobody knows. */
    size_t (*progress)(void *arg, struct sr_member_progress out[SR_MEMBERS_MAX],
                       uint64_t *ret_age_ms);
    void *arg;
};

struct sr_steward_loop *sr_steward_loop_start(const struct sr_steward_loop_options *options);
/* After sr_proposer_stop, before consensus stops. NULL is fine. */
void sr_steward_loop_stop(struct sr_steward_loop *loop);
const struct sr_steward *sr_steward_loop_steward(const struct sr_steward_loop *loop);

#endif
