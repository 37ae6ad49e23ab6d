/* SPDX-License-Identifier: Apache-2.0
 *
 * Between the files of a plan.
 */
#ifndef SR_NODE_RESTORE_PLAN_INTERNAL_H
#define SR_NODE_RESTORE_PLAN_INTERNAL_H

#include "base/buf.h"
#include "node/restore/plan.h"

struct sr_planning {
    struct sr_targets targets;
    struct sr_target *target; /* the first of them */
    const struct sr_plan_wish *wish;
    struct sr_plan *plan;
    struct sr_buf listed;         /* struct sr_object_parts: manifests of all clusters */
    struct sr_object_parts *full; /* of the cluster, by sequence; into listed */
    size_t full_count;
    struct sr_object_parts *changes;
    size_t changes_count;
};

void sr_plan_note(struct sr_plan *plan, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* plan_list.c: what is there, by names, and which cluster is meant. */
int sr_plan_list(struct sr_planning *planning, struct sr_err *err);
/* Say what the newest one of @chain names and is not there, if anything. */
void sr_plan_note_missing(struct sr_plan *plan, enum sr_archive_kind kind,
                          const struct sr_manifest_chain *chain);
/* The chain of @list: leaves in front those that may be used, and says how many. @from: of the
 * first of the list, whether there are older ones that were not opened. */
int sr_plan_chain(struct sr_planning *planning, struct sr_manifest **list, size_t count,
                  bool has_older, size_t *ret_count, struct sr_err *err);

/* plan_manifests.c. */

/* Fetch and open the manifest named by @parts. One that is gone since it was listed, or is left out
 * by the wish to salvage, is SR_OK, and *ret stays NULL. */
int sr_plan_open(struct sr_planning *planning, const struct sr_object_parts *parts,
                 struct sr_manifest **ret, struct sr_err *err);
/* Takes over the next manifest; false: that is enough. */
typedef bool (*sr_plan_take_cb)(struct sr_planning *planning, struct sr_manifest *manifest);
/* As sr_plan_open for each of @list, in this order, until @take says that it is enough. What comes
 * next is fetched ahead, on as many threads as there are targets: nothing else tells it from one
 * after the other. */
int sr_plan_open_each(struct sr_planning *planning, const struct sr_object_parts *list,
                      size_t count, sr_plan_take_cb take, struct sr_err *err);

#endif
