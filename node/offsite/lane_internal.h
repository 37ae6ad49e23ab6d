/* SPDX-License-Identifier: Apache-2.0
 *
 * Between the files of a lane.
 */
#ifndef SR_NODE_OFFSITE_LANE_INTERNAL_H
#define SR_NODE_OFFSITE_LANE_INTERNAL_H

#include "node/offsite/lane.h"

/* Changes: after which revision the next ones begin: where the last ones ended, or at the newest
 * snapshot, when there are none yet, or what follows them has been compacted away. False: there is
 * no snapshot yet that they could be put on. */
bool lane_since(const struct sr_lane *lane, const Strongroom__OffsiteRecord *record,
                int64_t *ret_since);

enum sr_api_error lane_propose(const struct sr_lane *lane, Strongroom__OffsiteChange *change);

/* It has failed, for @reason, which @text says in a sentence: counted, logged, and not tried again
 * for longer each time. */
void lane_back_off(struct sr_lane *lane, enum sr_ship_reason reason, const char *text);

/* Ship what is due with @claim, which is ours, and end the claim, or keep it. */
void lane_ship(struct sr_lane *lane, const Strongroom__OffsiteRecord *record,
               const Strongroom__OffsiteClaim *claim);

#endif
