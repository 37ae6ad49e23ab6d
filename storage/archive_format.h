/* SPDX-License-Identifier: Apache-2.0
 *
 * The bytes of an archive; docs/formats/archive.md has them one by one. Integers are big-endian.
 *
 *   header   magic 8, format u32, compatible u32, incompatible u32, kind u32, cluster u64, id 16,
 *            since u64, revision u64, index u64, term u64, salt 32; size u32 and wrapped keys
 *   piece    word u32: size, and in the highest bit whether it is the last; sealed bytes, tag 16
 *
 * The pieces opened are one frame of zstd. In it: size u32 and chunk, again and again; u32 0 and
 * the content hash of all. Inside storage/ only.
 */
#ifndef SR_STORAGE_ARCHIVE_FORMAT_H
#define SR_STORAGE_ARCHIVE_FORMAT_H

#include "storage/archive.h"
#include "storage/seal.h"

#define SR_ARCHIVE_FORMAT       1
#define SR_ARCHIVE_PREFIX_BYTES 4 /* of a piece */
#define SR_ARCHIVE_LAST         UINT32_C(0x80000000)
/* What a reader of zstd has to remember, as a power of two: 2 MiB. */
#define SR_ARCHIVE_WINDOW_LOG 21

/* The fixed part: SR_ARCHIVE_CONTEXT_BYTES. */
void sr_archive_header_pack(const struct sr_archive_header *header,
                            const uint8_t salt[SR_SALT_BYTES], struct sr_buf *out);
/* Of SR_ARCHIVE_HEADER_BYTES at @data. SR_CORRUPT, SR_FORMAT. */
int sr_archive_header_unpack(const uint8_t *data, struct sr_archive_header *ret,
                             uint32_t *ret_wrapped_size, struct sr_err *err);

/* What seals or opens the pieces of one archive, in order. */
struct sr_archive_seal {
    struct sr_sealer *sealer;
    uint8_t header_hash[32];
    uint64_t piece; /* the next one */
};

/* @header: all of it, wrapped keys included. SR_CRYPTO. */
int sr_archive_seal_open(struct sr_archive_seal *seal, const uint8_t dek[SR_KEY_BYTES],
                         struct sr_bytes header, struct sr_err *err);
void sr_archive_seal_close(struct sr_archive_seal *seal); /* wipes; a zeroed one is fine */

/* @piece: room for the word, then @size bytes, then room for the tag. Sealed in place. */
int sr_archive_piece_seal(struct sr_archive_seal *seal, uint8_t *piece, size_t size, bool last,
                          struct sr_err *err);
/* The other way; the word says how much there is. SR_CORRUPT. */
int sr_archive_piece_open(struct sr_archive_seal *seal, uint8_t *piece, struct sr_err *err);

#endif
