/* SPDX-License-Identifier: Apache-2.0
 *
 * A node's standing duties towards its cluster, looked after once a second:
 *
 *   founding      the first leader puts the members of its configuration into the cluster record,
 *                 once it has seen that all of them know what a record is
 *   publishing    each node keeps its own zone, client URLs and feature level in the record
 *   replica check the leader has all members note their state hash at the same index, compares,
 *                 and raises CORRUPT against those that differ from more than half
 *   preference    a leader makes way for a steady voter in a preferred zone
 *   accusation    a node that is accused says why it does not serve, and does not lead
 *
 * What it needs of the node comes as a table of functions, so that tests own time and consensus.
 */
#ifndef SR_NODE_CLUSTER_STEWARD_H
#define SR_NODE_CLUSTER_STEWARD_H

#include "node/cluster/replicas.h"
#include "node/cluster/zones.h"
#include "node/consensus/progress.h"
#include "proto/api_error.h"
#include "proto/cluster.pb-c.h"
#include "proto/offsite.pb-c.h"
#include "storage/cluster.h"

struct sr_steward_env {
    uint64_t (*now_ms)(void *arg); /* monotonic, above 0 */
    bool (*leads)(void *arg);
    /* A feature level as the last hello of @member said; 0: not heard yet. */
    unsigned (*level_of)(void *arg, uint64_t member);
    /* As struct sr_service_context has it. */
    size_t (*progress)(void *arg, struct sr_member_progress out[SR_MEMBERS_MAX],
                       uint64_t *ret_age_ms);
    /* Propose and wait for the outcome. */
    enum sr_api_error (*change)(void *arg, const Strongroom__ClusterChange *change);
    enum sr_api_error (*offsite)(void *arg, const Strongroom__OffsiteChange *change);
    /* The level that the cluster acts at, at each round. */
    void (*tell_level)(void *arg, unsigned level);
    /* Tell the leader, ourselves included; and what was told us, the newest of each member. */
    void (*report)(void *arg, const struct sr_store_check *check);
    size_t (*reports)(void *arg, struct sr_replica_report out[SR_MEMBERS_MAX]);
    void (*move_leader)(void *arg, uint64_t member);
    /* Whether this node's disk has no room for puts. */
    bool (*lacks_space)(void *arg);
    void *arg;
};

struct sr_steward_options {
    uint64_t self;
    /* What the configuration says: members by id, each with name, zone, address and client URLs.
     * Borrowed. */
    const Strongroom__ClusterRecord *founders;
    struct sr_store *store;
    unsigned feature_level; /* of this node */
    bool offsite;           /* it is to ship: the leader founds the off-site record */
    unsigned check_interval_ms;
    const char *const *preferred_zones; /* borrowed */
    size_t preferred_zone_count;
    struct sr_steward_env env;
};

struct sr_steward;

struct sr_steward *sr_steward_new(const struct sr_steward_options *options);
void sr_steward_free(struct sr_steward *steward); /* NULL is fine */

/* One round of all duties; may block for as long as env.change does. One thread. Returns whether
 * there was a record of the cluster when it began. */
bool sr_steward_tick(struct sr_steward *steward);

/* Any thread: the feature level that the cluster acts at, the lowest of its members; 0: not all
 * have been seen yet. */
unsigned sr_steward_feature_level(const struct sr_steward *steward);

/* Any thread: what the replica checks that this node led came to. */
struct sr_steward_counts {
    uint64_t checks;     /* equal on more than half of the members */
    uint64_t odd;        /* members found to differ */
    uint64_t unclear;    /* they differ, and nobody can tell who is right */
    uint64_t hand_overs; /* to a preferred zone */
};
void sr_steward_counts(const struct sr_steward *steward, struct sr_steward_counts *ret);

#endif
