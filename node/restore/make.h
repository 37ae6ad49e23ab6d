/* SPDX-License-Identifier: Apache-2.0
 *
 * The data directory of a new cluster, made of what a target has of an old one.
 *
 *   plan ──► fetch all steps ──► WORK/new, state staged ──► log, one rename ──► data_dir
 *
 * Interrupted at any point, it leaves nothing at data_dir, and in WORK what was fetched, which the
 * next attempt keeps.
 */
#ifndef SR_NODE_RESTORE_MAKE_H
#define SR_NODE_RESTORE_MAKE_H

#include "node/config/config.h"
#include "node/restore/fetch.h"
#include "node/restore/plan.h"
#include "node/restore/stage.h"

/* A page on why: docs/operations/disaster.md. More than any cluster is ahead of what it shipped. */
#define SR_RESTORE_BUMP 1000000000

struct sr_restore {
    struct sr_config *config; /* of the new node; its data_dir is the place */
    const struct sr_plan *plan;
    struct sr_targets targets; /* to fetch from: so many archives at a time */
    struct sr_fetch *fetch;    /* as sr_fetch_all takes it */
    const struct sr_archive_keyring *keys;
    const char *work; /* a directory on the file system of data_dir, for what is unfinished */
    int64_t bump;     /* of the revision; 0: none */
    /* For sr_fetch_all.progress and sr_stage.progress. */
    void (*fetched)(void *arg, size_t whole, uint64_t bytes);
    void (*staged)(void *arg, size_t number, uint64_t bytes);
    void *arg;
    /* Of sr_restore_fetch, when it fails: whose archive it was; NULL: of none. */
    const struct sr_manifest *failed;
};

struct sr_restored {
    uint64_t cluster_id; /* new */
    uint64_t member_id;  /* new */
    struct sr_stage_result result;
};

/* Fetch what is not there yet. SR_NO_SPACE before anything is, when the disk has no room for it;
 * otherwise as sr_fetch_all. */
int sr_restore_fetch(struct sr_restore *restore, struct sr_err *err);
/* Make the directory of what was fetched. Ids and members of the configuration are replaced.
 * SR_EXISTS: data_dir is not empty; as sr_stage_run; what storage may say. */
int sr_restore_make(struct sr_restore *restore, struct sr_restored *ret, struct sr_err *err);

#endif
