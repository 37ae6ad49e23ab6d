/* SPDX-License-Identifier: Apache-2.0
 *
 * An archive: the state at one revision, or what changed between two, as a file that may leave the
 * cluster. It is sealed under a key of its own and says in the clear only what one has to know to
 * choose it.
 *
 *   store ──reader──► chunks ──zstd──► pieces of 1 MiB ──AES-256-GCM──► sink
 *   source ──► pieces ──► chunks ──► storage/staged.h, or nothing but a check
 *
 * A full archive is an image (storage/image.h), one of changes a stream of storage/changes.h. Each
 * piece is bound to its archive, its place, and whether it is the last; the stream inside ends with
 * its own counts and content hash. What was altered, cut, joined, reordered or belongs to another
 * archive is refused before anything of the piece is believed. Bytes: docs/formats/archive.md.
 *
 * All calls block; an object is for one thread at a time. Memory is some 16 MiB, whatever the size.
 */
#ifndef SR_STORAGE_ARCHIVE_H
#define SR_STORAGE_ARCHIVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "storage/image.h"
#include "storage/keyring.h"

#define SR_ARCHIVE_ID_BYTES    16
#define SR_ARCHIVE_PIECE_BYTES ((size_t)1024 * 1024) /* of compressed stream */
/* The keys of an archive, wrapped for everybody who may open it. */
#define SR_ARCHIVE_WRAPPED_BYTES_MAX ((size_t)32 * 1024)
#define SR_ARCHIVE_CONTEXT_BYTES     112

enum sr_archive_kind { SR_ARCHIVE_FULL = 'F', SR_ARCHIVE_CHANGES = 'C' };

/* ---- Where the bytes go to and come from ---- */

/* Takes the next @size bytes, or returns a status of its own, which ends the writing. */
struct sr_archive_sink {
    int (*put)(void *arg, const void *data, size_t size, struct sr_err *err);
    void *arg;
};

/* Gives between 1 and @size bytes, or 0 at the end. */
struct sr_archive_source {
    int (*get)(void *arg, void *data, size_t size, size_t *ret_size, struct sr_err *err);
    void *arg;
};

/* How the key of an archive is wrapped and unwrapped (storage/archive_key.h). @context: the fixed
 * part of the header (SR_ARCHIVE_CONTEXT_BYTES, public), to which what is wrapped is to be bound: a
 * wrapped key then opens in this archive alone. */
struct sr_archive_keys {
    /* Append @dek, wrapped, to @wrapped: at most SR_ARCHIVE_WRAPPED_BYTES_MAX. Writing only. */
    int (*wrap)(void *arg, const uint8_t dek[SR_KEY_BYTES], struct sr_bytes context,
                struct sr_buf *wrapped, struct sr_err *err);
    /* Reading only. @ret_dek is secret memory. SR_KEY: none of the keys at hand opens it. */
    int (*unwrap)(void *arg, struct sr_bytes wrapped, struct sr_bytes context,
                  uint8_t ret_dek[SR_KEY_BYTES], struct sr_err *err);
    void *arg;
};

/* ---- What is known of one ---- */

/* What stands in the clear, authenticated with every piece. */
struct sr_archive_header {
    enum sr_archive_kind kind;
    uint64_t cluster_id;
    uint8_t id[SR_ARCHIVE_ID_BYTES]; /* random */
    int64_t since;                   /* changes: what is after this revision; full: 0 */
    int64_t revision;                /* up to this one */
    uint64_t index;                  /* of the flush that it was read from */
    uint64_t term;
    uint32_t compatible; /* features that a reader may pass over */
};

/* What is known at its end. */
struct sr_archive_info {
    struct sr_archive_header header;
    uint8_t content[SR_IMAGE_HASH_BYTES]; /* of the chunks; equal for equal content */
    uint8_t state_hash[32];               /* at the point; zeros when it is not known */
    int64_t compact_revision;
    uint64_t chunks;
    uint64_t versions;
    uint64_t requests;
    uint64_t plain_bytes;    /* of the chunks */
    uint64_t bytes;          /* of the archive */
    uint64_t newest_time_ms; /* changes: that of the last mark */
};

/* ---- Writing ---- */

/* Revisions up to @revision, and no later ones of the same store, were there at @time_ms: what a
 * restore up to a time goes by. */
struct sr_archive_mark {
    int64_t revision;
    uint64_t time_ms;
};

struct sr_archive_options {
    const struct sr_archive_keys *keys;
    int level; /* of zstd; 0: 3 */
    /* Changes only: ascending in both; those up to since are passed over. The point itself is
     * marked with the first at or behind it, or with @time_ms, if that is earlier. */
    const struct sr_archive_mark *marks;
    size_t mark_count;
    uint64_t time_ms; /* now */
};

/* Write the state of @store as its last flush left it. While it goes on, nothing of it is removed
 * (storage/image.h says within which bounds).
 * SR_NOT_FOUND: nothing is flushed yet. SR_REFUSED: compaction waited for too long, or the disk
 * runs short: begin anew. SR_LIMIT: too many images are read, try later. Otherwise the status of
 * sink or keys, or the store's failure. What was put is worthless unless it returns SR_OK. */
int sr_archive_write_full(struct sr_store *store, const struct sr_archive_options *options,
                          const struct sr_archive_sink *sink, struct sr_archive_info *ret,
                          struct sr_err *err);

/* Write what changed after revision @since and up to @until_max (0: all that is flushed), as
 * sr_archive_write_full. Puts nothing and returns SR_NOT_FOUND, with a text, when nothing did.
 * SR_REFUSED before anything is put: a compaction has removed some of it (sr_store_keep_after
 * prevents that): only a full archive helps. */
int sr_archive_write_changes(struct sr_store *store, int64_t since, int64_t until_max,
                             const struct sr_archive_options *options,
                             const struct sr_archive_sink *sink, struct sr_archive_info *ret,
                             struct sr_err *err);

/* ---- Reading ---- */

struct sr_archive_reader;

/* Read the header and unwrap the key. SR_CORRUPT, SR_FORMAT (of a newer version), SR_KEY, the
 * status of @source. @source and @keys are borrowed until close; what a source gets afterwards is
 * read ahead. The header is only believed once the first chunk has come. */
int sr_archive_reader_open(const struct sr_archive_source *source,
                           const struct sr_archive_keys *keys, struct sr_archive_reader **ret,
                           struct sr_err *err);
const struct sr_archive_header *sr_archive_reader_header(const struct sr_archive_reader *reader);
/* The next chunk; its data is valid until the next call. When ret->last, the whole archive has been
 * read to its end and is unharmed. SR_NOT_FOUND after the last one. SR_CORRUPT: altered, cut,
 * joined, or with something behind its end; the text says which piece. */
int sr_archive_reader_next(struct sr_archive_reader *reader, struct sr_image_chunk *ret,
                           struct sr_err *err);
/* After the last chunk. */
void sr_archive_reader_info(const struct sr_archive_reader *reader, struct sr_archive_info *ret);
void sr_archive_reader_close(struct sr_archive_reader *reader); /* wipes; NULL is fine */

/* Read all of it and check order, bounds and counts of all records, without storing anything.
 * Fails as the reader does. */
int sr_archive_verify(const struct sr_archive_source *source, const struct sr_archive_keys *keys,
                      struct sr_archive_info *ret, struct sr_err *err);

/* The fixed part of a header alone, without any key, and so not to be believed: to see what a file
 * claims to be. @size may be more than the header. SR_CORRUPT, SR_FORMAT. */
#define SR_ARCHIVE_HEADER_BYTES 116
int sr_archive_peek(const void *data, size_t size, struct sr_archive_header *ret,
                    struct sr_err *err);

#endif
