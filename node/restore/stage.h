/* SPDX-License-Identifier: Apache-2.0
 *
 * The steps of a plan, fetched before, become a state in a directory, which is compared with what
 * the manifests say of it.
 *
 *   DIR/NAME (fetch.h) ──► header, as the manifest says? ──► storage/staged.h ──► info, likewise?
 *   ... all steps ──► finish: read back from disk ──► revision and state hash, likewise?
 *
 * Blocks; one thread at a time. Memory as that of storage/staged.h, below 64 MB.
 */
#ifndef SR_NODE_RESTORE_STAGE_H
#define SR_NODE_RESTORE_STAGE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "node/restore/fetch.h"
#include "node/restore/plan.h"
#include "storage/archive_key.h"
#include "storage/staged.h"

struct sr_stage {
    const struct sr_plan *plan;
    const struct sr_fetch *fetch;          /* where the archives are; its progress is not called */
    const struct sr_archive_keyring *keys; /* recovery_private, or secret of the cluster */
    /* writer, configuration, record, revision_bump, mark_compacted: the caller's. The cluster that
     * it comes from and the bounds are those of the plan, and filled in. */
    struct sr_staged_options staged;
    const atomic_bool *stopping; /* NULL: never */
    /* Of step @number, from 0, so many bytes are staged. NULL: nobody asks. */
    void (*progress)(void *arg, size_t number, uint64_t bytes);
    void *arg;
};

struct sr_stage_result {
    struct sr_staged_result staged;
    /* The last manifest says which state hash is to be reached, and it was. False: the plan stops
     * within its last step, or the manifest does not say. A hash that is another one fails. */
    bool state_hash_is_proven;
};

/* SR_KEY: the keys do not open an archive; SR_REFUSED: swapped, or it does not follow; SR_CORRUPT:
 * an archive, or what came to be on disk, is not what the manifests say; SR_NOT_FOUND: the bound of
 * time is before anything that is there; SR_NO_SPACE, SR_IO, SR_CLOSED. The directory is worthless
 * unless it returns SR_OK. */
int sr_stage_run(struct sr_stage *stage, struct sr_stage_result *ret, struct sr_err *err);

#endif
