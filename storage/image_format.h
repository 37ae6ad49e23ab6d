/* SPDX-License-Identifier: Apache-2.0
 *
 * The bytes of an image. Integers are big-endian. A chunk is a kind and records to its end; the
 * header and the trailer have a chunk of their own, so have large records. Inside storage/ only.
 *
 *   'H' header   magic 8, format u32, compatible flags u32, incompatible flags u32, cluster u64;
 *                index u64, term u64, configuration index u64, revision u64, compact revision u64,
 *                state hash 32; first remembered request u64, their count u64;
 *                size u16 and configuration, size u32 and packed cluster record (empty: none);
 *                with the incompatible flag 1: size u32 and packed off-site record, archive secret
 *   'R' requests number u64, size u32 and record (storage/request_record.h)
 *   'V' versions revision u64, size of the name u16, header 32 (storage/record.h), name, value;
 *                only those that a compaction to the compact revision leaves
 *   'T' trailer  requests u64, versions u64, bytes of the chunks before u64
 *
 * The id of an image is the beginning of SHA-256 over its header: of the same point, the same.
 * Chunks are cut by one rule, so that all nodes cut alike: before the record that would make one
 * larger than SR_IMAGE_CHUNK_FILL, or begins a revision when it is three quarters full, so that a
 * writer finds chunks that end with a revision.
 */
#ifndef SR_STORAGE_IMAGE_FORMAT_H
#define SR_STORAGE_IMAGE_FORMAT_H

#include "storage/image.h"
#include "storage/memtable.h"
#include "storage/requests.h"

#define SR_IMAGE_FORMAT     1
#define SR_IMAGE_CHUNK_FILL ((size_t)1024 * 1024)

/* Incompatible: a state with an off-site record, of feature level 3. */
#define SR_IMAGE_FLAG_OFFSITE 1u

enum sr_image_kind {
    SR_IMAGE_HEADER = 'H',
    SR_IMAGE_REQUESTS = 'R',
    SR_IMAGE_VERSIONS = 'V',
    SR_IMAGE_TRAILER = 'T'
};

struct sr_image_header {
    uint64_t cluster_id;
    struct sr_state state;
    uint64_t request_first;
    uint64_t request_count;
    struct sr_bytes record;         /* the packed cluster record; not owned */
    struct sr_bytes offsite;        /* the packed off-site record; likewise; empty: none */
    struct sr_bytes offsite_secret; /* likewise */
};
void sr_image_header_pack(const struct sr_image_header *header, struct sr_buf *out);
/* The whole chunk; ret->record points into it. SR_CORRUPT, SR_FORMAT. */
int sr_image_header_unpack(struct sr_bytes chunk, struct sr_image_header *ret, struct sr_err *err);

/* @id from the bytes of the header chunk. SR_CRYPTO. */
int sr_image_id(struct sr_bytes header, uint8_t ret_id[SR_IMAGE_ID_BYTES], struct sr_err *err);
/* Go on from @content with chunk @number. SR_CRYPTO. */
int sr_image_content_add(uint8_t content[SR_IMAGE_HASH_BYTES], uint64_t number,
                         struct sr_bytes data, struct sr_err *err);

void sr_image_request_pack(const struct sr_remembered *item, struct sr_buf *chunk);
/* *@ret is to be released with sr_free. */
int sr_image_request_read(struct sr_reader *reader, struct sr_remembered **ret, struct sr_err *err);

struct sr_image_version {
    struct sr_version version;
    struct sr_bytes key;
    struct sr_bytes value;
};
size_t sr_image_version_bytes(const struct sr_image_version *version);
void sr_image_version_pack(const struct sr_image_version *version, struct sr_buf *chunk);
/* Points into the chunk. SR_CORRUPT. */
int sr_image_version_read(struct sr_reader *reader, struct sr_image_version *ret,
                          struct sr_err *err);

void sr_image_trailer_pack(const struct sr_image_position *position, struct sr_buf *chunk);
/* SR_CORRUPT when @data is not the trailer of what came up to @position. */
int sr_image_trailer_check(struct sr_bytes data, const struct sr_image_position *position,
                           struct sr_err *err);

/* A position after the trailer. */
#define SR_IMAGE_END INT64_MAX

#endif
