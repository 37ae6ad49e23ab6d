/* SPDX-License-Identifier: Apache-2.0
 *
 * When full archives are due: at times of the day (UTC, which has no summer time), or every so
 * often. All of them are moved by the same span, which follows from the cluster's id, so that many
 * clusters that share a target do not ship at the same moment.
 *
 * What is due is a matter of the last one that was made, not of who was awake: whoever looks later
 * makes up for what was missed, once, because one archive has what those before it would have had.
 *
 * Pure functions of their arguments. Times are milliseconds since 1970.
 */
#ifndef SR_NODE_OFFSITE_SCHEDULE_H
#define SR_NODE_OFFSITE_SCHEDULE_H

#include <stdbool.h>

#include "node/config/offsite.h"

struct sr_schedule {
    uint32_t times_ms[SR_OFFSITE_TIMES_MAX]; /* after midnight, ascending */
    unsigned times_count;
    uint64_t every_ms; /* when there are no times; counted from 1970 on */
    uint64_t shift_ms;
};

/* Of a valid configuration. */
void sr_schedule_init(struct sr_schedule *schedule, const struct sr_config_offsite *config,
                      uint64_t cluster_id);
/* The last time at or before @now_ms, 0 when the clock was never set; the first one after it. */
uint64_t sr_schedule_last(const struct sr_schedule *schedule, uint64_t now_ms);
uint64_t sr_schedule_next(const struct sr_schedule *schedule, uint64_t now_ms);
/* Whether one is due at @now_ms when the last good one was begun at @begun_ms; 0: there is none,
 * so one is. */
bool sr_schedule_due(const struct sr_schedule *schedule, uint64_t begun_ms, uint64_t now_ms);
/* How many of the times in (@begun_ms, @now_ms] it makes up for; at most @max. */
unsigned sr_schedule_missed(const struct sr_schedule *schedule, uint64_t begun_ms, uint64_t now_ms,
                            unsigned max);

#endif
