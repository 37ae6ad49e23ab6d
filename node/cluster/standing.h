/* SPDX-License-Identifier: Apache-2.0
 *
 * The members as the rules see them: from the record, who they are; from what the leader told, how
 * far they are. Pure; any thread.
 */
#ifndef SR_NODE_CLUSTER_STANDING_H
#define SR_NODE_CLUSTER_STANDING_H

#include "node/cluster/zones.h"
#include "node/consensus/progress.h"
#include "proto/cluster.pb-c.h"

/* One for each member of @record, in its order. Texts stay those of @record. */
void sr_standing(const Strongroom__ClusterRecord *record, const struct sr_member_progress *progress,
                 size_t count, struct sr_zone_member *out);

#endif
