/* SPDX-License-Identifier: Apache-2.0
 *
 * What a target has of a cluster, and which of it makes the state that is wanted.
 *
 *   list ──► names ──► manifests, opened and chained ──► one full archive, changes behind it
 *
 * The newest full archive that is not beyond the bound is also the best one: whatever changes
 * follow an older one follow it too. So all full archives are looked at, but of changes, of which
 * there are many, only those behind the chosen one.
 *
 * A manifest that is refused, or one that is missing between two, refuses the whole plan: who
 * restores is to know that something is wrong before it is done. With wish.salvage it is left out,
 * and a note says so.
 *
 * Blocks on the target. An object is for one thread at a time.
 */
#ifndef SR_NODE_RESTORE_PLAN_H
#define SR_NODE_RESTORE_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "node/restore/many.h"
#include "storage/manifest.h"

/* Clusters that are told of; there may be more under one prefix. */
#define SR_PLAN_CLUSTERS_MAX 64
#define SR_PLAN_NOTES_MAX    64

/* An archive that is known to be damaged. */
struct sr_plan_without {
    enum sr_archive_kind kind;
    uint64_t sequence;
};

/* Zeros and NULLs: no wish. Strings are borrowed for the call. */
struct sr_plan_wish {
    uint64_t cluster_id;       /* which one; 0: the only one that is there */
    const char *signed_by;     /* fingerprint of who must have signed */
    const uint8_t *public_key; /* the same, as SR_SIGNING_BYTES */
    const char *target;        /* the name that the cluster has for this target */
    int64_t revision;          /* no further than this one */
    uint64_t time_ms;          /* no further than what was there at this time */
    int64_t revision_min;      /* this one is known to have been shipped: less is stale */
    uint64_t sequence;         /* begin with this full archive */
    bool salvage;
    const struct sr_plan_without *without; /* with salvage: left out as if it were not there */
    size_t without_count;
};

struct sr_plan_cluster {
    uint64_t id;
    size_t snapshots; /* manifests, by their names */
    size_t changes;
    int64_t newest_revision; /* likewise */
};

struct sr_plan {
    /* All that are there, by id; names only, nothing is opened. */
    struct sr_plan_cluster clusters[SR_PLAN_CLUSTERS_MAX];
    size_t cluster_count;

    /* Of the one that was chosen. */
    uint64_t cluster_id;
    char fingerprint[SR_FINGERPRINT_CHARS + 1]; /* who signed all of it */
    struct sr_manifest **full;                  /* full archives on the chain, ascending */
    size_t full_count;
    size_t full_opened;           /* those that are not on the chain are behind */
    struct sr_manifest **changes; /* those that were looked at: ascending */
    size_t changes_count;
    size_t changes_opened;
    int64_t reach_revision; /* what all that is there reaches */
    uint64_t reach_ms;      /* when that was written; 0: not known */

    /* The way: steps[0] is full, then changes, in order. Borrowed from above. */
    const struct sr_manifest **steps;
    size_t step_count;
    uint64_t bytes;   /* of all steps */
    int64_t revision; /* that the steps lead to, bounds included; with a bound of time: at most */
    int64_t until_revision; /* the wish */
    uint64_t until_ms;      /* likewise */

    /* Sentences: what is missing, what was left out and why. */
    char *notes[SR_PLAN_NOTES_MAX];
    size_t note_count;
    size_t notes_lost; /* there was no room for so many more */
    size_t left_out;   /* with salvage: manifests that were refused */
};

/* Look at @target. @ret is to be freed with sr_plan_free in any case, also when this fails: then
 * its clusters and notes say what was found.
 * SR_NOT_FOUND: nothing is there, or nothing that reaches the bound; SR_INVALID: there are several
 * clusters; SR_CORRUPT, SR_REFUSED, SR_FORMAT: as storage/manifest.h refuses; otherwise the status
 * of the target. */
int sr_plan_make(struct sr_target *target, const struct sr_plan_wish *wish, struct sr_plan **ret,
                 struct sr_err *err);
/* The same, with as many manifests on their way at a time as there are @targets of that place: in a
 * thread for each. */
int sr_plan_make_with(struct sr_targets targets, const struct sr_plan_wish *wish,
                      struct sr_plan **ret, struct sr_err *err);
void sr_plan_free(struct sr_plan *plan); /* NULL is fine */

/* The full archive of the plan. */
const struct sr_manifest *sr_plan_base(const struct sr_plan *plan);
/* The last step. */
const struct sr_manifest *sr_plan_last(const struct sr_plan *plan);
/* Whether the plan is to stop within its last step, whose state hash is then not reached. */
bool sr_plan_stops_within(const struct sr_plan *plan);

/* When the last of an archive was written, at the latest; 0: not known. */
uint64_t sr_plan_time(const struct sr_manifest *manifest);
/* Whether @key opens the archive of @manifest, by what that says. */
bool sr_plan_opens(const struct sr_manifest *manifest, const struct sr_recovery_public *key);
/* Whether @key opens all steps, by what the manifests say. SR_KEY says which keys would. */
int sr_plan_check_key(const struct sr_plan *plan, const struct sr_recovery_public *key,
                      struct sr_err *err);

#endif
