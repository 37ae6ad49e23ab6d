/* SPDX-License-Identifier: Apache-2.0
 *
 * An archive is fetched into a directory, and taken up again where an earlier attempt stopped.
 *
 *   target ──► DIR/NAME.part, its groups of 8 MiB compared with the manifest ──► DIR/NAME
 *
 * What is in DIR/NAME.part from before counts as far as its whole groups have the digests that the
 * manifest says; the rest is fetched. A group that arrives otherwise is fetched once more, as it
 * may have been harmed on the way; then it is refused. Nothing is synced: what a crash takes is
 * noticed by its digest.
 *
 * Blocks; one thread at a time.
 */
#ifndef SR_NODE_RESTORE_FETCH_H
#define SR_NODE_RESTORE_FETCH_H

#include <limits.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "node/offsite/target.h"
#include "storage/manifest.h"

struct sr_fetch {
    struct sr_target *target;
    const char *dir;             /* must exist; nobody else's */
    bool can_wait;               /* others use its disk (base/write_behind.h) */
    const atomic_bool *stopping; /* NULL: never. Set from any thread: SR_CLOSED, soon */
    /* Called now and then: of @manifest, so many bytes are there. NULL: nobody asks. */
    void (*progress)(void *arg, const struct sr_manifest *manifest, uint64_t bytes);
    void *arg;
    uint64_t fetched_bytes; /* counted: from the target */
    uint64_t kept_bytes;    /* counted: were there already */
};

/* Where the archive of @manifest is, or will be. SR_INVALID: too long a path. */
int sr_fetch_path(const struct sr_fetch *fetch, const struct sr_manifest *manifest,
                  char ret_path[PATH_MAX], struct sr_err *err);

/* Have the archive of @manifest, whole and compared, at sr_fetch_path. SR_CORRUPT: truncated or
 * edited; SR_NOT_FOUND: it is missing on the target; SR_NO_SPACE: the directory has no room for
 * it; SR_IO: the directory failed; SR_CLOSED; the status of the target. */
int sr_fetch_archive(struct sr_fetch *fetch, const struct sr_manifest *manifest,
                     struct sr_err *err);

/* How many bytes of the archives of @manifests, @count of them, are not in the directory yet, and
 * how many are free on its disk. SR_IO. */
int sr_fetch_room(const struct sr_fetch *fetch, const struct sr_manifest *const *manifests,
                  size_t count, uint64_t *ret_wanted, uint64_t *ret_free, struct sr_err *err);

#endif
