/* SPDX-License-Identifier: Apache-2.0
 *
 * All that a cluster has at a target, read and checked, and nothing of it stored: not only what a
 * restore would begin with today, but also the snapshots of years ago.
 *
 *   names ──► manifests, chained ──► each archive, by groups of 8 MiB ──► digest as the manifest
 * says └── with a key: unsealed, each record checked, content and counts too
 *
 * Of changes there may be hundreds of thousands: they are gone through from the newest to the
 * oldest, some thousands at a time. What is pruned meanwhile is passed over.
 */
#ifndef SR_NODE_RESTORE_VERIFY_H
#define SR_NODE_RESTORE_VERIFY_H

#include <stdatomic.h>

#include "node/restore/many.h"
#include "node/restore/plan.h"

struct sr_verify {
    struct sr_targets targets; /* so many archives at a time */
    /* Which cluster, who must have signed, what is known to be shipped; the rest is not heeded. */
    struct sr_plan_wish wish;
    const struct sr_recovery_private *key; /* NULL: bytes are compared, and not looked into */
    size_t slice;                /* manifests of changes in memory at a time; 0: 4096, some 40 MB */
    const atomic_bool *stopping; /* NULL: never. Set from any thread: SR_CLOSED, soon */
    /* Called for each archive once it has been looked at, on any of the threads, but never on two
     * at a time. @fault: NULL when it is good, or a sentence. NULL: nobody asks. */
    void (*each)(void *arg, const struct sr_manifest *manifest, const char *fault);
    void *arg;
};

struct sr_verified {
    /* Clusters, and notes: manifests that were refused, chains that are broken, what is missing.
     * To be freed with sr_plan_free, also when it failed. */
    struct sr_plan *plan;
    uint64_t snapshots; /* that are good */
    uint64_t changes;   /* likewise, pieces */
    uint64_t bytes;     /* of both */
    uint64_t versions;  /* likewise; of those that were looked into */
    uint64_t closed;    /* of them, those that @key does not open */
    uint64_t faults;    /* archives, manifests and chains that are not as they should be */
};

/* Look at all of it. SR_OK: it could be looked at, and faults says how good it is. SR_NOT_FOUND:
 * nothing is there; SR_INVALID: there are several clusters; SR_CLOSED; otherwise the status of the
 * target. */
int sr_verify_all(const struct sr_verify *verify, struct sr_verified *ret, struct sr_err *err);

#endif
