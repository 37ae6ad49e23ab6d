/* SPDX-License-Identifier: Apache-2.0
 *
 * What both pages about the cluster are made of, read once. Inside node/admin only.
 */
#ifndef SR_NODE_ADMIN_STANDING_H
#define SR_NODE_ADMIN_STANDING_H

#include "node/admin/admin.h"
#include "node/cluster/zones.h"
#include "proto/cluster.pb-c.h"

struct sr_admin_standing {
    struct sr_consensus_info info;
    Strongroom__ClusterRecord *record; /* NULL: it could not be read */
    struct sr_member_progress progress[SR_MEMBERS_MAX];
    size_t progress_count;
    uint64_t progress_age_ms; /* UINT64_MAX: nothing is known */
    bool has_zones;           /* whether the next is known */
    int zones_survivable;     /* -1: no majority even now */
};

void sr_admin_standing_get(const struct sr_admin_options *node, struct sr_admin_standing *ret);
void sr_admin_standing_free(struct sr_admin_standing *standing);
/* NULL when the leader has not told of it. */
const struct sr_member_progress *sr_admin_progress(const struct sr_admin_standing *standing,
                                                   uint64_t member);
/* How many entries it lacks of what the leader has. */
uint64_t sr_admin_lag(const struct sr_admin_standing *standing,
                      const struct sr_member_progress *progress);
const char *sr_admin_role_name(const struct sr_member_progress *progress); /* NULL is "unknown" */
const char *sr_admin_alarm_name(uint32_t alarm);

#endif
