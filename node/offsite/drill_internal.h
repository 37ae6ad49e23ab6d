/* SPDX-License-Identifier: Apache-2.0
 *
 * Between the files of the drill.
 */
#ifndef SR_NODE_OFFSITE_DRILL_INTERNAL_H
#define SR_NODE_OFFSITE_DRILL_INTERNAL_H

#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>

#include "node/offsite/drill.h"
#include "storage/manifest.h"

/* One target. */
struct drill_lane {
    struct sr_drill *drill;
    const struct sr_config_target *config;
    struct sr_target *target;
    struct sr_drill_metrics metrics;
    uint64_t seen_sequence; /* the newest snapshot, */
    uint64_t seen_ns;       /* and since when it has been the newest for us */
    uint64_t not_before_ns; /* after a failure */
    unsigned failures_in_row;
    uint64_t proofs_ns; /* when results were last read; 0: not yet */
};

struct sr_drill {
    struct sr_drill_options options;
    uint8_t proof_keys[SR_RECOVERY_KEYS_MAX + 1][SR_SIGNING_BYTES]; /* the first: the cluster's */
    size_t proof_key_count;
    char path[PATH_MAX]; /* of the scratch directory */
    struct drill_lane lanes[SR_OFFSITE_TARGETS_MAX];
    unsigned lane_count;
    atomic_bool stopping;
    bool running;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t changed; /* stopping, or woken */
    bool woken;
};

/* drill_run.c: fetch, restore, compare and publish @entry, the newest of its target. Failures that
 * say nothing about it are noted in @lane, for later. */
void drill_run(struct drill_lane *lane, const Strongroom__OffsiteRecord *record,
               const Strongroom__OffsiteEntry *entry);

/* drill_proofs.c: publish what has been found out about @entry, as the file at the target says,
 * if there is one, and it is newer than what is known. Returns whether it was published. */
bool drill_adopt(struct drill_lane *lane, const Strongroom__OffsiteEntry *entry);
/* Look for results of all snapshots of the target that are there and that may be new. */
void drill_adopt_all(struct drill_lane *lane, const Strongroom__OffsiteRecord *record);

/* Propose @proven until the cluster has decided on it. False: it did not take it, or nobody knows.
 */
bool drill_publish(struct drill_lane *lane, const Strongroom__OffsiteProven *proven);

#endif
