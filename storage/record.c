/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/record.h"

#include "base/check.h"

#define TOMBSTONE_BIT UINT32_C(0x80000000)

int sr_idx_key_parse(const MDB_val *val, struct sr_bytes *ret_ek, int64_t *ret_revision,
                     struct sr_err *err)
{
    const uint8_t *data = val->mv_data;
    size_t ek_size = val->mv_size - SR_IDX_SUFFIX_BYTES;
    uint64_t revision;

    if (val->mv_size < SR_EK_BLOCK_BYTES + SR_IDX_SUFFIX_BYTES || val->mv_size > SR_IDX_KEY_BYTES ||
        ek_size % SR_EK_BLOCK_BYTES != 0) {
        return sr_err_set(err, SR_CORRUPT, "index: a key of %zu bytes", val->mv_size);
    }
    revision = ~sr_get_u64(data + ek_size);
    if (revision == 0 || revision > INT64_MAX) {
        return sr_err_set(err, SR_CORRUPT, "index: a key with an impossible revision");
    }
    *ret_ek = (struct sr_bytes){data, ek_size};
    *ret_revision = (int64_t)revision;
    return SR_OK;
}

void sr_header_pack(uint8_t out[SR_HEADER_BYTES], const struct sr_version *version)
{
    sr_check((version->value_size & TOMBSTONE_BIT) == 0);
    sr_put_u64(out, (uint64_t)version->create_revision);
    sr_put_u64(out + 8, (uint64_t)version->version);
    sr_put_u64(out + 16, (uint64_t)version->lease);
    sr_put_u32(out + 24, version->sub);
    sr_put_u32(out + 28, version->value_size | (version->tombstone ? TOMBSTONE_BIT : 0));
}

int sr_header_unpack(const uint8_t in[SR_HEADER_BYTES], int64_t revision,
                     struct sr_version *ret_version, struct sr_err *err)
{
    uint32_t size = sr_get_u32(in + 28);
    struct sr_version version = {
        .create_revision = (int64_t)sr_get_u64(in),
        .mod_revision = revision,
        .version = (int64_t)sr_get_u64(in + 8),
        .lease = (int64_t)sr_get_u64(in + 16),
        .sub = sr_get_u32(in + 24),
        .value_size = size & ~TOMBSTONE_BIT,
        .tombstone = (size & TOMBSTONE_BIT) != 0,
    };

    if (version.create_revision < 0 || version.create_revision > revision || version.version < 0) {
        return sr_err_set(err, SR_CORRUPT, "revision %lld: impossible header", (long long)revision);
    }
    *ret_version = version;
    return SR_OK;
}

size_t sr_header_aad(uint8_t out[SR_AAD_BYTES], struct sr_bytes ek, int64_t revision)
{
    sr_check(ek.size <= (size_t)SR_EK_BYTES_MAX);
    out[0] = 'i';
    memcpy(out + 1, ek.data, ek.size);
    sr_put_u64(out + 1 + ek.size, (uint64_t)revision);
    return 1 + ek.size + 8;
}

size_t sr_record_aad(uint8_t out[SR_AAD_BYTES], struct sr_bytes ek, int64_t revision, uint32_t sub)
{
    sr_check(ek.size <= (size_t)SR_EK_BYTES_MAX);
    out[0] = 'l';
    memcpy(out + 1, ek.data, ek.size);
    sr_put_u64(out + 1 + ek.size, (uint64_t)revision);
    sr_put_u32(out + 1 + ek.size + 8, sub);
    return 1 + ek.size + 12;
}

int sr_header_open(struct sr_opener *opener, MDB_txn *txn, struct sr_bytes ek, int64_t revision,
                   const MDB_val *box, struct sr_version *ret_version, struct sr_err *err)
{
    uint8_t aad[SR_AAD_BYTES];
    uint8_t header[SR_HEADER_BYTES];
    size_t aad_size;
    int rc;

    if (box->mv_size != SR_HEADER_BOX_BYTES) {
        return sr_err_set(err, SR_CORRUPT, "revision %lld: header of %zu bytes",
                          (long long)revision, box->mv_size);
    }
    aad_size = sr_header_aad(aad, ek, revision);
    rc = sr_box_open(opener, txn, SR_DOMAIN_HEADER, (struct sr_bytes){aad, aad_size},
                     (struct sr_bytes){box->mv_data, box->mv_size}, header, err);
    if (rc != SR_OK) {
        return sr_err_prefix(err, "header of revision %lld", (long long)revision);
    }
    return sr_header_unpack(header, revision, ret_version, err);
}

/* Put the pieces of a record of @size bytes together; a single one is used in place. */
static int gather(MDB_cursor *cursor, const struct sr_version *version, size_t size,
                  struct sr_buf *scratch, struct sr_bytes *ret_record, struct sr_err *err)
{
    uint8_t bytes[SR_LOG_KEY_BYTES];
    size_t have = 0;
    unsigned piece = 0;

    sr_buf_clear(scratch);
    while (have < size) {
        size_t want = size - have < SR_RECORD_CHUNK_BYTES ? size - have : SR_RECORD_CHUNK_BYTES;
        MDB_val key = {sizeof(bytes), bytes};
        MDB_val data;
        sr_log_key_pack(bytes, version->mod_revision, version->sub, (uint16_t)piece);
        int rc = mdb_cursor_get(cursor, &key, &data, piece == 0 ? MDB_SET_KEY : MDB_NEXT);
        if (rc == MDB_NOTFOUND || (rc == 0 && (key.mv_size != sizeof(bytes) ||
                                               memcmp(key.mv_data, bytes, sizeof(bytes)) != 0))) {
            return sr_err_set(err, SR_CORRUPT, "revision %lld: piece %u of its record is missing",
                              (long long)version->mod_revision, piece);
        }
        if (rc != 0) {
            return sr_lmdb_failed(rc, "read log", err);
        }
        if (data.mv_size != want) {
            return sr_err_set(err, SR_CORRUPT,
                              "revision %lld: piece %u of its record has %zu "
                              "bytes, not %zu",
                              (long long)version->mod_revision, piece, data.mv_size, want);
        }
        if (want == size) {
            *ret_record = (struct sr_bytes){data.mv_data, size};
            return SR_OK;
        }
        sr_buf_append(scratch, data.mv_data, want);
        have += want;
        piece++;
    }
    *ret_record = (struct sr_bytes){scratch->data, size};
    return SR_OK;
}

int sr_record_read(struct sr_opener *opener, MDB_cursor *cursor, struct sr_bytes ek,
                   const struct sr_version *version, struct sr_buf *scratch, struct sr_buf *value,
                   struct sr_err *err)
{
    uint8_t aad[SR_AAD_BYTES];
    uint8_t header[SR_HEADER_BYTES];
    size_t plain_size = (size_t)version->value_size + SR_HEADER_BYTES;
    size_t box_size = plain_size + SR_BOX_OVERHEAD_BYTES;
    size_t old_size = value->size;
    struct sr_bytes record = {0};
    size_t aad_size;
    uint8_t *plain;
    int rc = gather(cursor, version, 2 + ek.size + box_size, scratch, &record, err);

    if (rc != SR_OK) {
        return rc;
    }
    sr_check(record.data != NULL);
    if (((size_t)record.data[0] << 8 | record.data[1]) != ek.size ||
        memcmp(record.data + 2, ek.data, ek.size) != 0) {
        return sr_err_set(err, SR_CORRUPT, "revision %lld: its record is of another key",
                          (long long)version->mod_revision);
    }
    aad_size = sr_record_aad(aad, ek, version->mod_revision, version->sub);
    plain = sr_buf_extend(value, plain_size);
    rc = sr_box_open(opener, mdb_cursor_txn(cursor), SR_DOMAIN_RECORD,
                     (struct sr_bytes){aad, aad_size},
                     (struct sr_bytes){record.data + 2 + ek.size, box_size}, plain, err);
    if (rc == SR_OK) {
        sr_header_pack(header, version);
        if (memcmp(header, plain + version->value_size, sizeof(header)) != 0) {
            rc = sr_err_set(err, SR_CORRUPT, "index and log differ");
        }
    }
    if (rc != SR_OK) {
        value->size = old_size;
        return sr_err_prefix(err, "record of revision %lld", (long long)version->mod_revision);
    }
    value->size = old_size + version->value_size;
    return SR_OK;
}
