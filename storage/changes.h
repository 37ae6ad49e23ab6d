/* SPDX-License-Identifier: Apache-2.0
 *
 * What changed after one revision and up to another, as a stream of chunks like those of an image
 * (storage/image.h): all versions in the order of revisions, deletions included, and the answers
 * that were remembered meanwhile. Put on top of a state at or after the first revision they give
 * that at the last one (storage/staged.h).
 *
 *   header ──► (mark ──► versions up to it)* ──► remembered requests ──► trailer
 *
 * Unlike an image, which leaves out what compaction would remove, this has to have everything:
 * without a deletion that was compacted away, what it deleted would come back. So the reader
 * refuses to begin where something is missing, and compaction waits while it reads.
 */
#ifndef SR_STORAGE_CHANGES_H
#define SR_STORAGE_CHANGES_H

#include "storage/archive.h"

struct sr_changes_reader;

struct sr_changes_info {
    int64_t since;
    int64_t until;
    uint64_t index; /* of the flush that it is read from: that of @until, or later */
    uint64_t term;
    int64_t compact_revision; /* at that flush, but no more than @until */
    bool at_point;            /* @until is the last revision of that flush, and the hash is known */
    uint8_t state_hash[32];   /* zeros unless @at_point */
};

/* Begin to read what is flushed of @store after @since and up to @until_max (0: no bound). @marks
 * and @time_ms as in struct sr_archive_options; @marks is copied.
 * SR_NOT_FOUND, with a text: nothing. SR_REFUSED: compaction has removed some of it. SR_INVALID:
 * @since is in the future. SR_LIMIT: too many readers or views. Otherwise the store failed. */
int sr_changes_reader_open(struct sr_store *store, int64_t since, int64_t until_max,
                           const struct sr_archive_mark *marks, size_t mark_count, uint64_t time_ms,
                           struct sr_changes_reader **ret, struct sr_err *err);
void sr_changes_reader_info(const struct sr_changes_reader *reader, struct sr_changes_info *ret);
/* As sr_image_reader_next. */
int sr_changes_reader_next(struct sr_changes_reader *reader, struct sr_image_chunk *ret,
                           struct sr_err *err);
void sr_changes_reader_close(struct sr_changes_reader *reader); /* before the store; NULL is fine */

/* Let compaction leave everything after @revision in LMDB, though nobody can read it any more, for
 * changes that are yet to be shipped from there. It goes on all the same when the disk runs short,
 * when this is more than SR_KEEP_REVISIONS_MAX, and when it was not said again for SR_KEEP_MS_MAX.
 * INT64_MAX: no more. Any thread. */
void sr_store_keep_after(struct sr_store *store, int64_t revision);

#endif
