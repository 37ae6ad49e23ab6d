/* SPDX-License-Identifier: Apache-2.0
 *
 * What must not be done to a cluster without saying that it is meant: losing the majority, or the
 * ability to lose a zone. Pure functions for any thread.
 *
 *   remove   refused when no majority of those who stay is healthy; and when fewer zones could be
 *            lost than before, and fewer than the minimum
 *   drain    (and every planned stop) refused when no healthy majority stays; and when, with the
 *            whole zone of the member gone, fewer zones could be lost than the minimum less one:
 *            one zone at a time may be worked on
 *   promote, refused when the minimum of zones to lose gets out of sight, and another zone of the
 *   add      cluster would have kept it: growing from three to five passes through four, but the
 *            fourth and the fifth must not both be put where one is already
 *
 * A cluster that could not lose the minimum with everybody healthy is not held to it.
 */
#ifndef SR_NODE_CLUSTER_RULES_H
#define SR_NODE_CLUSTER_RULES_H

#include "node/cluster/zones.h"

#define SR_RULE_TEXT_MAX 512

enum sr_rule_action { SR_ACTION_REMOVE, SR_ACTION_DRAIN, SR_ACTION_PROMOTE, SR_ACTION_ADD };

/* Which rule speaks against it. */
enum sr_rule { SR_RULE_NONE, SR_RULE_QUORUM, SR_RULE_ZONES };

/* Judge @action on @target: the id of one of @members, or, for an addition, the id of a member
 * that is not in it, in @target_zone. @zones_min: how many zones the cluster is to be able to
 * lose, at least 1. When a rule speaks against it, @ret_text has one sentence that says what would
 * happen and what would make it safe. */
enum sr_rule sr_rules_judge(const struct sr_zone_member *members, size_t count,
                            enum sr_rule_action action, uint64_t target, const char *target_zone,
                            int zones_min, char ret_text[SR_RULE_TEXT_MAX]);

const char *sr_rule_name(enum sr_rule rule);                 /* "quorum", "zones" */
const char *sr_rule_action_name(enum sr_rule_action action); /* "remove" and so on */

#endif
