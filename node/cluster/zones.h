/* SPDX-License-Identifier: Apache-2.0
 *
 * How many zones a cluster can lose. Pure functions for any thread.
 */
#ifndef SR_NODE_CLUSTER_ZONES_H
#define SR_NODE_CLUSTER_ZONES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A member as these rules see it. Texts are borrowed. */
struct sr_zone_member {
    uint64_t id;
    const char *name; /* for sentences; may be "" */
    const char *zone; /* members of zone "" count as being in one place */
    bool voter;       /* in libraft's configuration */
    bool healthy;     /* up, and caught up with the leader */
};

/* The largest number of zones of which any may be lost, all at once, with a majority of the voters
 * still healthy; -1 when there is no majority even now. Learners do not count, and a voter that is
 * not healthy counts towards the majority that is needed. */
int sr_zones_survivable(const struct sr_zone_member *members, size_t count);

/* The same, were every voter healthy. */
int sr_zones_survivable_at_best(const struct sr_zone_member *members, size_t count);

#endif
