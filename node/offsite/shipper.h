/* SPDX-License-Identifier: Apache-2.0
 *
 * The shipper of a node: two lanes for each target (node/offsite/lane.h), a thread each, and a
 * keeper that renews claims, notes when revisions came, keeps compaction from removing what is yet
 * to be shipped, and measures. Starts with the node when its configuration has an "offsite"
 * section; waits until the cluster has an off-site record.
 */
#ifndef SR_NODE_OFFSITE_SHIPPER_H
#define SR_NODE_OFFSITE_SHIPPER_H

#include "node/offsite/metrics.h"
#include "node/offsite/ship.h"

struct sr_shipper;

struct sr_shipper_options {
    const struct sr_config_offsite *config; /* must outlive it, as all of these */
    const char *cluster_name;
    const char *member_name;
    uint64_t cluster_id;
    uint64_t member_id;
    struct sr_store *store;
    struct sr_ship_env env;
};

/* Read the recovery keys, open the targets without connecting to them. SR_INVALID, SR_REFUSED (a
 * target outside of the allowed regions), SR_NOT_FOUND, SR_KEY. */
int sr_shipper_open(const struct sr_shipper_options *options, struct sr_shipper **ret,
                    struct sr_err *err);
/* Once: start the threads. env may be called from now on. */
void sr_shipper_start(struct sr_shipper *shipper);
/* Stop the threads: uploads that go on are cut off, the claim is given back if that can be done at
 * once. env must still work, and answer soon. NULL is fine. */
void sr_shipper_stop(struct sr_shipper *shipper);
void sr_shipper_free(struct sr_shipper *shipper); /* stops; NULL is fine */

/* Any thread: ship a full archive to each target as soon as possible, whatever the schedule says.
 * Returns how many targets there are. */
unsigned sr_shipper_ship_now(struct sr_shipper *shipper);

/* What is known here of the targets; texts are those of the configuration. */
struct sr_shipper_view {
    unsigned count; /* 0: nothing is shipped from here */
    struct sr_shipper_target {
        const char *name;
        const char *url;
        const char *region; /* "": not said */
        const struct sr_lane_metrics *full;
        const struct sr_lane_metrics *changes;
        const struct sr_drill_metrics *drill; /* NULL: nobody drills here */
    } targets[SR_OFFSITE_TARGETS_MAX];
    uint64_t next_ms; /* when the schedule has the next full archive */
};
/* Any thread. @shipper may be NULL. */
void sr_shipper_view(const struct sr_shipper *shipper, struct sr_shipper_view *ret);

#endif
