/* SPDX-License-Identifier: Apache-2.0
 *
 * The first state of a new cluster, made of archives: a full one, and changes put on top of it up
 * to the revision or the time that is wanted.
 *
 *   open ──► (begin ──► put each chunk ──► end)* ──► finish
 *              full first, then changes, in order
 *
 * begin refuses what does not follow: another cluster's, a gap, changes without a full archive.
 * Changes may begin before what is there; what is there already is passed over. finish makes the
 * state whole, reads it back from disk, and compares it with what was put. The directory must be
 * empty, and a failure leaves it good for nothing but to be thrown away.
 *
 * Blocks; one thread at a time. Memory is a chunk and a memtable.
 */
#ifndef SR_STORAGE_STAGED_H
#define SR_STORAGE_STAGED_H

#include <stdatomic.h>

#include "storage/archive.h"

struct sr_staged;

struct sr_staged_options {
    struct sr_image_writer_options writer; /* dir, keyring, ids of the NEW cluster and so on */
    uint64_t from_cluster_id;              /* of the archives */
    struct sr_bytes configuration;         /* of the new cluster, in libraft's packing; copied */
    struct sr_bytes record; /* its packed cluster record; empty: the first leader makes it */
    int64_t until_revision; /* no further than this revision; 0: no bound */
    uint64_t until_ms;      /* no further than what was there at this time; 0: no bound */
    /* Added to the last revision, so that no client that has seen revisions beyond it, lost with
     * the old cluster, takes a new one for an old one. */
    int64_t revision_bump;
    /* Call the new state compacted at its last revision: watchers that ask for an earlier one are
     * told so, and what they have cached is thrown away. */
    bool mark_compacted;
    /* Set from any thread: finish ends soon, with SR_CLOSED. NULL: never. */
    const atomic_bool *stopping;
};

int sr_staged_open(const struct sr_staged_options *options, struct sr_staged **ret,
                   struct sr_err *err);
/* The archive that follows. SR_REFUSED, changing nothing: it does not, and why. */
int sr_staged_begin(struct sr_staged *staged, const struct sr_archive_header *header,
                    struct sr_err *err);
/* Its next chunk; copies. SR_CORRUPT, SR_FORMAT; SR_NO_SPACE: nothing was taken, the same chunk may
 * be put again. After any other error the directory is worthless. What is beyond the bound is
 * checked and passed over. */
int sr_staged_put(struct sr_staged *staged, const struct sr_image_chunk *chunk, struct sr_err *err);
/* After the last chunk. SR_AGAIN: chunks are missing. */
int sr_staged_end(struct sr_staged *staged, struct sr_err *err);
/* The revision that has been reached. */
int64_t sr_staged_revision(const struct sr_staged *staged);
/* Whether the bound is reached: no further archive is needed. */
bool sr_staged_is_complete(const struct sr_staged *staged);

struct sr_staged_result {
    int64_t revision; /* of the old cluster, that was reached */
    int64_t compact_revision;
    int64_t final_revision; /* with the bump */
    uint64_t index;         /* of the state: the new cluster's log begins after it */
    uint64_t term;
    uint64_t time_ms; /* of the last mark at or before it; 0: none */
    uint64_t versions;
    uint64_t requests;
    uint8_t state_hash[32];
    bool state_hash_is_original; /* that which the old cluster had at this revision */
};
/* SR_REFUSED: the bound is before the full archive, which cannot be undone. SR_NO_SPACE: call again
 * when there is room. SR_CORRUPT: what is on disk is not what was put. SR_CLOSED: see above. */
int sr_staged_finish(struct sr_staged *staged, struct sr_staged_result *ret, struct sr_err *err);
void sr_staged_close(struct sr_staged *staged); /* NULL is fine */

/* Open @source, begin, put all of it, end. */
int sr_staged_put_archive(struct sr_staged *staged, const struct sr_archive_source *source,
                          const struct sr_archive_keys *keys, struct sr_archive_info *ret,
                          struct sr_err *err);

#endif
