/* SPDX-License-Identifier: Apache-2.0
 *
 * A lane ships one kind of archive to one target, on a thread of its own, so that no target waits
 * for another, and no changes for a full archive. On each node; who of them ships is settled by a
 * claim, through the log:
 *
 *              due, nobody has a claim, or nobody renews it
 *     resting ────────────────────────────────────────────► claiming ──refused──► resting
 *        ▲                                                      │ granted
 *        │   complete, or fail: the claim ends                  ▼
 *        └───────────────────────────────────────────────── shipping
 *
 * A follower claims as soon as something is due, the leader only when no follower has for half of
 * claim_timeout_ms. The claim gives the sequence, and each claim another one, so that who has lost
 * it without knowing never writes over what its successor ships. A member that dies is succeeded
 * once its claim has not been renewed for claim_timeout_ms; what is due is then shipped at once.
 *
 * Changes: the claim is kept from one shipment to the next, as long as its holder does not lead.
 *
 * Inside node/offsite only. sr_lane_step and what it calls: one thread, the lane's. sr_lane_renew
 * and sr_lane_measure: another one, the keeper's. The rest: any.
 */
#ifndef SR_NODE_OFFSITE_LANE_H
#define SR_NODE_OFFSITE_LANE_H

#include "node/offsite/metrics.h"
#include "node/offsite/ship.h"
#include "node/offsite/shipment.h"

struct sr_lane {
    const struct sr_ship *ship;
    const struct sr_config_target *config;
    enum sr_archive_kind kind;
    struct sr_target *target;
    struct sr_lane *full; /* changes: the lane of the same target's full archives */

    /* Any thread. */
    struct sr_lane_metrics metrics;
    atomic_ullong claim_number; /* that is ours and to be renewed; 0: none */
    atomic_bool lost;           /* it has gone to somebody else meanwhile */
    atomic_bool wanted;         /* full: ship whether or not one is due */
    atomic_llong needed_beyond; /* full: ship unless there is one of a later revision */

    /* The keeper's own. */
    unsigned long long moved_bytes; /* by the target, when that was last seen to rise, */
    uint64_t moved_ns;              /* and when that was; 0: nothing is shipped */

    /* The lane's own. */
    uint64_t token; /* that our claims are known by */
    struct sr_offsite_watch watch;
    uint64_t spent_sequence; /* something failed under it, and may lie at the target: never again */
    bool probed;
    atomic_bool compacted; /* changes: LMDB has no more what follows the last ones */
    unsigned failures_in_row;
    uint64_t not_before_ns; /* after a failure */
    uint64_t due_since_ns;  /* 0: nothing is due */
    uint64_t last_look_ns;  /* changes */
    uint64_t seen_sequence; /* full: the newest in the catalogue, */
    uint64_t seen_ns;       /* since when it has been known here */
};

/* A shipment of which nothing has moved for so long is left to other members. */
#define SR_LANE_STALL_MS (UINT64_C(20) * 60 * 1000)

/* Opens the target, without connecting to it. SR_INVALID, SR_REFUSED, SR_NOT_FOUND. */
int sr_lane_open(struct sr_lane *lane, const struct sr_ship *ship,
                 const struct sr_config_target *config, enum sr_archive_kind kind,
                 struct sr_err *err);
void sr_lane_close(struct sr_lane *lane);

/* Look whether something is due that is ours to ship, and ship it. Blocks for as long as that
 * takes. */
void sr_lane_step(struct sr_lane *lane);
/* Say that the claim is still ours, if there is one, and the shipment gets on. */
void sr_lane_renew(struct sr_lane *lane);
/* How far this target is behind the store; sets the metrics. */
void sr_lane_measure(struct sr_lane *lane, const Strongroom__OffsiteRecord *record);

/* prune.c: remove from the target, and from the catalogue before that, what need not be kept any
 * more. Best effort: what fails is logged, and tried again after the next shipment. */
void sr_lane_prune(struct sr_lane *lane);

#endif
