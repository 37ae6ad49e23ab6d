/* SPDX-License-Identifier: Apache-2.0
 *
 * The replica check: do all members have the same state at the same index of the log? Pure
 * functions for any thread.
 */
#ifndef SR_NODE_CLUSTER_REPLICAS_H
#define SR_NODE_CLUSTER_REPLICAS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/limits.h"

/* What a member found at a Check (storage/cluster.h). */
struct sr_replica_report {
    uint64_t member;
    uint64_t index;
    int64_t revision;
    uint8_t hash[32];
};

enum sr_replicas {
    SR_REPLICAS_WAIT,   /* not enough have reported on that index */
    SR_REPLICAS_EQUAL,  /* those who have are of one mind, and more than half of the members */
    SR_REPLICAS_ODD,    /* some differ from more than half of the members */
    SR_REPLICAS_UNCLEAR /* they differ, and no side is more than half of the members */
};

/* Compare the reports on @index of the @member_count @members. With SR_REPLICAS_ODD the ids of
 * those who differ are in @ret_odd. @complete: nobody else is going to report. */
enum sr_replicas sr_replicas_judge(const struct sr_replica_report *reports, size_t count,
                                   uint64_t index, const uint64_t *members, size_t member_count,
                                   bool complete, uint64_t ret_odd[SR_MEMBERS_MAX],
                                   size_t *ret_odd_count);

#endif
