/* SPDX-License-Identifier: Apache-2.0
 *
 * An image: the whole replicated state at one point of the log, as a stream of chunks, for a
 * member that the log can no longer bring up to date, and for a new cluster made of an old state.
 *
 *   store ──reader──► chunk 0, 1, 2 … last ──(TLS, or a call)──► writer ──► staged state directory
 *
 * The stream is logical and canonical: names, values and metadata in the clear, in the order of
 * revisions, without anything of the node that made it, so that two nodes at the same point make
 * the same bytes. It must not be written down; the writer seals it with the keyring of its own
 * node. Layout: storage/image_format.h.
 *
 * Each chunk carries the running content hash, SHA-256 over that of the chunk before, its number
 * and its bytes. A chunk that is damaged, cut, missing, repeated, out of order or of another image
 * is refused when it is put. When all are there the staged state is read back from disk through a
 * reader of its own, and must give the last content hash again.
 *
 * Reader, writer and verification block; each object is for one thread at a time. Memory is
 * bounded by a chunk and a memtable, whatever the size of the state.
 */
#ifndef SR_STORAGE_IMAGE_H
#define SR_STORAGE_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "storage/keyring.h"

struct sr_store;

#define SR_IMAGE_ID_BYTES   16
#define SR_IMAGE_HASH_BYTES 32
/* Chunks are filled up to 1 MiB; a record that is larger has one of its own. */
#define SR_IMAGE_CHUNK_BYTES_MAX ((size_t)2 * 1024 * 1024)

/* Where in an image one is: what is before it has been made, or is safely staged. Made by a writer
 * for a reader to go on from. */
struct sr_image_position {
    uint8_t id[SR_IMAGE_ID_BYTES]; /* of the image; zeros when @chunk is 0 */
    uint64_t chunk;                /* the next one; 0: from the start */
    uint64_t bytes;                /* of the chunks before */
    uint64_t request;              /* the next remembered request */
    int64_t revision;              /* the next version is at or after (revision, sub) */
    uint32_t sub;
    uint64_t requests; /* records before it */
    uint64_t versions;
    uint8_t content[SR_IMAGE_HASH_BYTES];
};
#define SR_IMAGE_POSITION_BYTES (SR_IMAGE_ID_BYTES + 8 * 6 + 4 + SR_IMAGE_HASH_BYTES)
void sr_image_position_pack(const struct sr_image_position *position,
                            uint8_t out[SR_IMAGE_POSITION_BYTES]);
void sr_image_position_unpack(const uint8_t in[SR_IMAGE_POSITION_BYTES],
                              struct sr_image_position *ret);

struct sr_image_chunk {
    uint64_t number;
    struct sr_bytes data;                 /* at most SR_IMAGE_CHUNK_BYTES_MAX */
    uint8_t content[SR_IMAGE_HASH_BYTES]; /* the running hash, this chunk included */
    bool last;
};

/* ---- Reader ---- */

struct sr_image_reader;

/* What a reader reads. */
struct sr_image_info {
    uint8_t id[SR_IMAGE_ID_BYTES];
    uint64_t index; /* the point: that of the last flush */
    uint64_t term;
    int64_t revision;
    uint64_t bytes; /* about how large the stream will be; for progress only */
};

/* Begin an image of @store as its last flush left it. Until it is closed, nothing that it has to
 * read is removed: compaction and the forgetting of request ids wait, but not for ever. After
 * SR_IMAGE_HOLD_MS_MAX, or when the disk's reserve is touched, they go on, and the reader returns
 * SR_REFUSED from then on: its image has to begin anew, at a later point.
 * SR_NOT_FOUND: nothing is flushed yet. SR_LIMIT: too many views or readers, try again later; the
 * store's failure. */
int sr_image_reader_open(struct sr_store *store, struct sr_image_reader **ret, struct sr_err *err);
/* The same without the off-site record and its secret: for what leaves the cluster. */
int sr_image_reader_open_bare(struct sr_store *store, struct sr_image_reader **ret,
                              struct sr_err *err);
void sr_image_reader_info(const struct sr_image_reader *reader, struct sr_image_info *ret);
/* Go on from @position, which a writer of the same image gave. SR_NOT_FOUND, changing nothing,
 * when it is of another image, or nowhere in this one; position.chunk 0 is the start and always
 * accepted. */
int sr_image_reader_seek(struct sr_image_reader *reader, const struct sr_image_position *position,
                         struct sr_err *err);
/* The next chunk; its data is valid until the next call. SR_NOT_FOUND after the last one. SR_LIMIT
 * changes nothing and may be tried again; SR_REFUSED: see above; otherwise the store failed. */
int sr_image_reader_next(struct sr_image_reader *reader, struct sr_image_chunk *ret,
                         struct sr_err *err);
void sr_image_reader_close(struct sr_image_reader *reader); /* before the store; NULL is fine */

/* ---- Writer ---- */

struct sr_image_writer;

struct sr_image_writer_options {
    const char *dir; /* of the staged state; must exist; empty, or left by a writer before */
    const struct sr_keyring *keyring;
    uint64_t cluster_id; /* of the image too */
    uint64_t member_id;
    size_t map_bytes;            /* as in struct sr_store_options */
    uint64_t disk_reserve_bytes; /* likewise: below it, SR_NO_SPACE */
    size_t staged_entries_max;   /* in one transaction, about; 0: 50,000, or 4 MiB of them. The
                                    index follows when there are twice as many; 0: the store's
                                    default */
};

/* Begin to stage, or go on with what an earlier writer staged in @dir. SR_CORRUPT and the like when
 * what is there cannot be continued: throw it away and begin anew. SR_NO_SPACE, SR_IO. */
int sr_image_writer_open(const struct sr_image_writer_options *options,
                         struct sr_image_writer **ret, struct sr_err *err);
/* What a writer that is opened after a crash would go on from: durable, so it may be behind what
 * was put. Right after opening, it is what to ask the reader for. */
void sr_image_writer_position(const struct sr_image_writer *writer, struct sr_image_position *ret);
/* Whether every chunk is durable: there is nothing to ask a reader for any more, only to finish.
 * @ret_index: the point of the image. */
bool sr_image_writer_has_all(const struct sr_image_writer *writer, uint64_t *ret_index);
/* Take over the next chunk; copies. SR_CORRUPT: it is not the next chunk of this image, unharmed;
 * SR_REFUSED: it is an image of another cluster; SR_FORMAT: of a newer version. SR_NO_SPACE:
 * nothing was taken, the same chunk may be put again when there is room. After any other error the
 * writer is only good for closing. */
int sr_image_writer_put(struct sr_image_writer *writer, const struct sr_image_chunk *chunk,
                        struct sr_err *err);
/* After the last chunk: bring the index up to date, make the point that of the staged state, sync,
 * and read everything back. SR_OK: the directory holds the whole state. SR_NO_SPACE: call again
 * when there is room. SR_AGAIN: chunks are missing. Otherwise: throw it away. */
int sr_image_writer_finish(struct sr_image_writer *writer, struct sr_err *err);
/* Close. What is durable stays, for a writer that goes on. NULL is fine. */
void sr_image_writer_close(struct sr_image_writer *writer);

/* Read and authenticate every record and every remembered request of @store, in slices, as an
 * image would be made of it; nothing is made. @ret_bytes: of names and values, about. Fails as the
 * reader does. */
int sr_image_scrub(struct sr_store *store, uint64_t *ret_bytes, struct sr_err *err);

/* Read all of @store through a reader and compare the content hash with @content. SR_CORRUPT when
 * it differs. */
int sr_image_verify(struct sr_store *store, const uint8_t content[SR_IMAGE_HASH_BYTES],
                    struct sr_err *err);

#endif
