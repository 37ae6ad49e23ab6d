/* SPDX-License-Identifier: Apache-2.0
 *
 * The bytes of a version in LMDB: keys of the tables idx and log, the header, and what its boxes
 * are bound to. Integers are big-endian.
 *
 *   header  32 bytes: create revision u64, version u64, lease u64, sub u32,
 *                     value size u32 with the tombstone in the highest bit
 *   record  size of ek u16, ek, box of value and header
 */
#ifndef SR_STORAGE_RECORD_H
#define SR_STORAGE_RECORD_H

#include <string.h>

#include "storage/lmdb.h"
#include "storage/mvcc.h"

#define SR_HEADER_BYTES     32
#define SR_HEADER_BOX_BYTES (SR_HEADER_BYTES + SR_BOX_OVERHEAD_BYTES)
#define SR_IDX_SUFFIX_BYTES 8
#define SR_IDX_KEY_BYTES    (SR_EK_BYTES_MAX + SR_IDX_SUFFIX_BYTES)
#define SR_LOG_EVENT_BYTES  12 /* of the key, without the piece */
#define SR_LOG_KEY_BYTES    14
#define SR_AAD_BYTES        (1 + SR_EK_BYTES_MAX + 12)

/* A key of the idx table: ek, and the revision inverted so that the newest is first. */
struct sr_idx_key {
    uint8_t bytes[SR_IDX_KEY_BYTES];
    size_t ek_size;
};

static inline void sr_idx_key_set_revision(struct sr_idx_key *key, int64_t revision)
{
    sr_put_u64(key->bytes + key->ek_size, ~(uint64_t)revision);
}

/* Before the newest version: SET_RANGE finds the first version of this name or a later one. */
static inline void sr_idx_key_set_first(struct sr_idx_key *key)
{
    memset(key->bytes + key->ek_size, 0, SR_IDX_SUFFIX_BYTES);
}

/* After the oldest version: SET_RANGE finds the next name. */
static inline void sr_idx_key_set_last(struct sr_idx_key *key)
{
    memset(key->bytes + key->ek_size, 0xff, SR_IDX_SUFFIX_BYTES);
}

static inline MDB_val sr_idx_key_val(struct sr_idx_key *key)
{
    return (MDB_val){key->ek_size + SR_IDX_SUFFIX_BYTES, key->bytes};
}

/* Whether @val is a key of the same name. */
static inline bool sr_idx_key_same(const struct sr_idx_key *key, const MDB_val *val)
{
    return val->mv_size == key->ek_size + SR_IDX_SUFFIX_BYTES &&
           memcmp(val->mv_data, key->bytes, key->ek_size) == 0;
}

/* Split a key that was read; SR_CORRUPT when it cannot be one. */
int sr_idx_key_parse(const MDB_val *val, struct sr_bytes *ret_ek, int64_t *ret_revision,
                     struct sr_err *err);

static inline void sr_log_key_pack(uint8_t out[SR_LOG_KEY_BYTES], int64_t revision, uint32_t sub,
                                   uint16_t piece)
{
    sr_put_u64(out, (uint64_t)revision);
    sr_put_u32(out + 8, sub);
    sr_put_u16(out + 12, piece);
}

void sr_header_pack(uint8_t out[SR_HEADER_BYTES], const struct sr_version *version);
/* SR_CORRUPT when it is not a header that sr_header_pack makes. */
int sr_header_unpack(const uint8_t in[SR_HEADER_BYTES], int64_t revision,
                     struct sr_version *ret_version, struct sr_err *err);

/* What the boxes of a version are bound to; returns the size. */
size_t sr_header_aad(uint8_t out[SR_AAD_BYTES], struct sr_bytes ek, int64_t revision);
size_t sr_record_aad(uint8_t out[SR_AAD_BYTES], struct sr_bytes ek, int64_t revision, uint32_t sub);

/* Open the value @box of the idx entry (@ek, @revision). */
int sr_header_open(struct sr_opener *opener, MDB_txn *txn, struct sr_bytes ek, int64_t revision,
                   const MDB_val *box, struct sr_version *ret_version, struct sr_err *err);

/* How many pieces the record of a value of @value_size bytes is cut into. */
static inline size_t sr_record_pieces(size_t ek_size, size_t value_size)
{
    size_t size = 2 + ek_size + value_size + SR_HEADER_BYTES + SR_BOX_OVERHEAD_BYTES;

    return (size + SR_RECORD_CHUNK_BYTES - 1) / SR_RECORD_CHUNK_BYTES;
}

/* Read the record of @version through @cursor on the log table, and append its value to @value.
 * @scratch is for pieces. */
int sr_record_read(struct sr_opener *opener, MDB_cursor *cursor, struct sr_bytes ek,
                   const struct sr_version *version, struct sr_buf *scratch, struct sr_buf *value,
                   struct sr_err *err);

#endif
