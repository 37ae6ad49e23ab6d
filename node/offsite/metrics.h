/* SPDX-License-Identifier: Apache-2.0
 *
 * What a node knows of its own shipping, and of how far each target is. Written by the lanes, read
 * by the admin port.
 */
#ifndef SR_NODE_OFFSITE_METRICS_H
#define SR_NODE_OFFSITE_METRICS_H

#include "base/metrics.h"

/* X(name, text): why a shipment failed, as a label of a metric. */
#define SR_SHIP_REASONS(X)                                                                         \
    X(NETWORK, "network")       /* the target was not reached, or the connection broke */          \
    X(TIMEOUT, "timeout")       /* it was reached, but nothing moved */                            \
    X(OVERLOADED, "overloaded") /* 5xx, 429 */                                                     \
    X(REFUSED, "refused")       /* credentials, permissions, residency, locks */                   \
    X(NOT_FOUND, "not_found")   /* the bucket, the directory, or a file of credentials */          \
    X(FULL, "full")             /* the target is */                                                \
    X(DAMAGED, "damaged")       /* what arrived is not what was sent */                            \
    X(TARGET, "target")         /* it failed otherwise */                                          \
    X(CLAIM, "claim")           /* another member took over */                                     \
    X(RECORD, "record")         /* the cluster did not take it into its catalogue */               \
    X(COMPACTED, "compacted")   /* changes are gone: a full archive comes first */                 \
    X(STORE, "store")           /* this node could not read its state */

enum sr_ship_reason {
#define X(name, text) SR_SHIP_##name,
    SR_SHIP_REASONS(X)
#undef X
        SR_SHIP_REASON_COUNT
};

const char *sr_ship_reason_text(enum sr_ship_reason reason);

/* X(name, text): why a drill did not show that a snapshot can be restored. */
#define SR_DRILL_REASONS(X)                                                                        \
    X(BAD, "bad")         /* it was looked at, and cannot be restored, or is another one */        \
    X(NETWORK, "network") /* from here on: it could not be looked at, and will be later */         \
    X(TIMEOUT, "timeout") /* these as for shipments */                                             \
    X(OVERLOADED, "overloaded")                                                                    \
    X(REFUSED, "refused")                                                                          \
    X(NOT_FOUND, "not_found")                                                                      \
    X(DISK, "disk")     /* no room for it below the data directory */                              \
    X(PROOF, "proof")   /* the result could not be put beside it */                                \
    X(RECORD, "record") /* the cluster did not take the result */                                  \
    X(OTHER, "other")

enum sr_drill_reason {
#define X(name, text) SR_DRILL_##name,
    SR_DRILL_REASONS(X)
#undef X
        SR_DRILL_REASON_COUNT
};

const char *sr_drill_reason_text(enum sr_drill_reason reason);

struct sr_lane_metrics {
    struct sr_counter shipped; /* by this node */
    struct sr_counter shipped_bytes;
    struct sr_counter failed[SR_SHIP_REASON_COUNT];
    struct sr_counter took_over; /* claims of others that did not renew them */
    struct sr_counter pruned;    /* archives removed */
    struct sr_gauge shipping;    /* 1: now */
    struct sr_gauge last_bytes;  /* of the last one that this node shipped */
    struct sr_gauge last_duration_ms;
    /* As the record says, on all nodes alike. */
    struct sr_gauge last_success_ms; /* since 1970; 0: never */
    struct sr_gauge lag_ms;          /* changes: age of the oldest one that is not there; -1: the
                                        target has no full archive yet */
    struct sr_gauge lag_revisions;   /* likewise */
    atomic_ullong put_bytes;         /* of the shipment that goes on */
};

struct sr_drill_metrics {
    struct sr_counter proven;  /* by this node, and good */
    struct sr_counter adopted; /* results of machines elsewhere */
    struct sr_counter failed[SR_DRILL_REASON_COUNT];
    struct sr_counter fetched_bytes;
    struct sr_gauge drilling; /* 1: now */
};

#endif
