/* SPDX-License-Identifier: Apache-2.0
 *
 * The drill of a node: what was shipped is fetched back, restored below the data directory, and
 * compared with what its manifest says; the result is signed, put beside the manifest, and
 * published in the off-site record (decision 0022). One thread, behind all others of the node.
 *
 * Whose it is: the newest snapshot of a target, if no drill has looked at it yet, is drilled by the
 * member that shipped it; by another one when that takes suspiciously long. Two that do it at the
 * same time do no harm: whoever is later writes the same down again.
 *
 * What cannot be looked at (a target that is away, a disk that is full) says nothing about the
 * snapshot and is tried again, less and less often. Only what was looked at is good or bad.
 *
 * Results of machines elsewhere (`strongroom drill`), signed with a recovery key, are taken over,
 * also when this node itself does not drill.
 */
#ifndef SR_NODE_OFFSITE_DRILL_H
#define SR_NODE_OFFSITE_DRILL_H

#include "node/offsite/ship.h"
#include "node/offsite/shipper.h"

struct sr_drill;

struct sr_drill_options {
    const struct sr_config_offsite *config; /* must outlive it, as all of these */
    const char *member_name;
    uint64_t cluster_id;
    uint64_t member_id;
    struct sr_store *store;
    const char *data_dir;        /* "drill" below it is ours */
    uint64_t disk_reserve_bytes; /* that are to stay free */
    struct sr_ship_env env;      /* shipped: not called */
};

/* Read the recovery keys, open the targets without connecting to them; what an earlier drill left
 * in the data directory is removed. SR_INVALID, SR_REFUSED, SR_NOT_FOUND, SR_KEY; SR_IO. */
int sr_drill_open(const struct sr_drill_options *options, struct sr_drill **ret,
                  struct sr_err *err);
/* Once: start the thread. env may be called from now on. */
void sr_drill_start(struct sr_drill *drill);
/* Any thread: something was shipped, look at once. NULL is fine, as in the following. */
void sr_drill_wake(struct sr_drill *drill);
/* Stop the thread: a drill that goes on is given up, and nothing of it is left. */
void sr_drill_stop(struct sr_drill *drill);
void sr_drill_free(struct sr_drill *drill); /* stops */

/* Instead of a thread, for tests: look once, and drill what is due. */
void sr_drill_step(struct sr_drill *drill);

/* Any thread: add the metrics of the drills to @view, which the shipper has filled. */
void sr_drill_view(const struct sr_drill *drill, struct sr_shipper_view *view);

#endif
