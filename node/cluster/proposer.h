/* SPDX-License-Identifier: Apache-2.0
 *
 * Changes of the cluster record and of the off-site record that a node makes on its own account:
 * propose one, wait for its outcome.
 * For threads that may block, never for a loop.
 */
#ifndef SR_NODE_CLUSTER_PROPOSER_H
#define SR_NODE_CLUSTER_PROPOSER_H

#include "node/consensus/consensus.h"
#include "node/state/answer.h"
#include "proto/api_error.h"
#include "proto/cluster.pb-c.h"
#include "proto/offsite.pb-c.h"

struct sr_proposer;

/* Draws an origin: before consensus starts. */
struct sr_proposer *sr_proposer_new(struct sr_origins *origins);
/* After consensus has stopped, which may still answer. NULL is fine. */
void sr_proposer_free(struct sr_proposer *proposer);

/* Once, when consensus runs. */
void sr_proposer_start(struct sr_proposer *proposer, struct sr_consensus *consensus);
/* Before consensus stops: whoever waits is told STOPPED, and so is whoever comes. */
void sr_proposer_stop(struct sr_proposer *proposer);

/* Propose @change for @actor (it goes to the audit) and wait until this node has applied it, or it
 * was refused, or @timeout_ms are over: TIMED_OUT, outcome unknown. One caller at a time, the
 * others wait for their turn. Any thread but a loop. STOPPED before the start. */
enum sr_api_error sr_proposer_change(struct sr_proposer *proposer,
                                     const Strongroom__ClusterChange *change, const char *actor,
                                     unsigned timeout_ms);

/* The same for the off-site record. OFFSITE_LEVEL, without proposing anything, while the cluster
 * acts at a level at which some member would have to stop at it. */
enum sr_api_error sr_proposer_offsite(struct sr_proposer *proposer,
                                      const Strongroom__OffsiteChange *change, const char *actor,
                                      unsigned timeout_ms);
/* The level that the cluster acts at; 0, as at first: not known. Any thread; the steward says it.
 */
void sr_proposer_set_level(struct sr_proposer *proposer, unsigned level);

#endif
