/* SPDX-License-Identifier: Apache-2.0
 *
 * The cluster in a few numbers, for metrics and probes.
 */
#ifndef SR_NODE_CLUSTER_OVERVIEW_H
#define SR_NODE_CLUSTER_OVERVIEW_H

#include "node/cluster/steward.h"

struct sr_cluster_overview {
    uint64_t epoch; /* of the cluster record; 0: there is none yet */
    unsigned feature_level;
    size_t members;
    size_t voters;         /* in libraft's configuration, as the leader last told */
    size_t healthy_voters; /* of them: up and caught up */
    int zones_survivable;  /* as zones.h; -1 too when nothing recent is known */
    size_t alarms_no_space;
    size_t alarms_corrupt;
    bool accused; /* this node, of a state that differs */
    struct sr_steward_counts steward;
};

/* Any thread. @progress is what the leader told @age_ms ago. */
void sr_cluster_overview(struct sr_store *store, const struct sr_steward *steward,
                         const struct sr_member_progress *progress, size_t progress_count,
                         uint64_t age_ms, struct sr_cluster_overview *ret);

#endif
