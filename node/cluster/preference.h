/* SPDX-License-Identifier: Apache-2.0
 *
 * Whom a leader should make way for: a voter in a zone that is preferred to its own, once that
 * voter has been healthy for a while. Time is given, so that tests own it; one thread.
 *
 * It never flaps: each hand-over to the same member doubles how long that member must have been
 * healthy before the next, up to an hour, until it was healthy for a day.
 */
#ifndef SR_NODE_CLUSTER_PREFERENCE_H
#define SR_NODE_CLUSTER_PREFERENCE_H

#include "node/cluster/zones.h"
#include "proto/limits.h"

struct sr_preference {
    const char *const *zones; /* the best first; borrowed */
    size_t zone_count;
    uint64_t led_since_ms; /* 0: we do not lead */
    struct {
        uint64_t id;
        uint64_t healthy_since_ms; /* 0: it is not */
        unsigned hand_overs;       /* that count against it */
    } seen[SR_MEMBERS_MAX];
    size_t seen_count;
};

/* To be called each second or so, on every node, with all members, or none (@count 0) while nothing
 * recent is known of them. The id of the voter to hand leadership to now; 0: nobody, or we do not
 * lead. @now_ms is monotonic and above 0. */
uint64_t sr_preference_tick(struct sr_preference *preference, uint64_t now_ms, uint64_t self,
                            bool leads, const struct sr_zone_member *members, size_t count);

#endif
