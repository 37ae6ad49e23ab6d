/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/event.h"

#include "base/secret.h"

static int odd_event(int64_t revision, struct sr_err *err)
{
    return sr_err_set(err, SR_CORRUPT, "revision %lld: impossible record", (long long)revision);
}

/* Put the pieces of the event whose first one is @key and @data together. */
static int gather(struct sr_event_reader *reader, MDB_val key, MDB_val data, struct sr_event *ret,
                  struct sr_err *err)
{
    struct sr_version *version = &ret->version;
    uint8_t expected[SR_LOG_KEY_BYTES];
    int rc = 0;

    if (key.mv_size != sizeof(expected)) {
        return sr_err_set(err, SR_CORRUPT, "log: a key of %zu bytes", key.mv_size);
    }
    version->mod_revision = (int64_t)sr_get_u64(key.mv_data);
    version->sub = sr_get_u32((const uint8_t *)key.mv_data + 8);
    for (uint16_t piece = 0;; piece++) {
        sr_log_key_pack(expected, version->mod_revision, version->sub, piece);
        if (memcmp(key.mv_data, expected, sizeof(expected)) != 0 || piece == UINT16_MAX) {
            return odd_event(version->mod_revision, err);
        }
        sr_buf_append(&reader->record, data.mv_data, data.mv_size);
        rc = mdb_cursor_get(reader->cursor, &key, &data, MDB_NEXT);
        if (rc != 0 || key.mv_size != sizeof(expected) ||
            memcmp(key.mv_data, expected, SR_LOG_EVENT_BYTES) != 0) {
            break;
        }
    }
    return rc == 0 || rc == MDB_NOTFOUND ? SR_OK : sr_lmdb_failed(rc, "read log", err);
}

/* Open the record and fill in the rest of @ret, which has revision and sub. */
static int open_record(struct sr_event_reader *reader, struct sr_event *ret, struct sr_err *err)
{
    struct sr_reader fields = sr_reader_of(reader->record.data, reader->record.size);
    int64_t revision = ret->version.mod_revision;
    uint32_t sub = ret->version.sub;
    uint8_t aad[SR_AAD_BYTES];
    struct sr_bytes box;
    size_t aad_size;
    size_t plain_size;
    int rc;

    ret->ek_size = sr_read_u16(&fields);
    if (ret->ek_size > sizeof(ret->ek)) {
        return odd_event(revision, err);
    }
    sr_read_copy(&fields, ret->ek, ret->ek_size);
    box.size = reader->record.size - 2 - ret->ek_size;
    if (fields.failed || box.size < SR_HEADER_BYTES + SR_BOX_OVERHEAD_BYTES) {
        return odd_event(revision, err);
    }
    box.data = reader->record.data + 2 + ret->ek_size;
    plain_size = box.size - SR_BOX_OVERHEAD_BYTES;
    aad_size = sr_record_aad(aad, (struct sr_bytes){ret->ek, ret->ek_size}, revision, sub);
    rc = sr_box_open(reader->opener, mdb_cursor_txn(reader->cursor), SR_DOMAIN_RECORD,
                     (struct sr_bytes){aad, aad_size}, box,
                     sr_buf_extend(&reader->plain, plain_size), err);
    if (rc != SR_OK) {
        return sr_err_prefix(err, "record of revision %lld", (long long)revision);
    }
    rc = sr_header_unpack(reader->plain.data + plain_size - SR_HEADER_BYTES, revision,
                          &ret->version, err);
    if (rc == SR_OK &&
        (ret->version.sub != sub || ret->version.value_size != plain_size - SR_HEADER_BYTES)) {
        return odd_event(revision, err);
    }
    return rc;
}

int sr_event_read(struct sr_event_reader *reader, int64_t revision, uint32_t sub,
                  struct sr_event *ret, struct sr_err *err)
{
    uint8_t bytes[SR_LOG_KEY_BYTES];
    MDB_val key = {sizeof(bytes), bytes};
    MDB_val data;
    int rc;

    sr_log_key_pack(bytes, revision, sub, 0);
    rc = mdb_cursor_get(reader->cursor, &key, &data, MDB_SET_RANGE);
    if (rc == MDB_NOTFOUND) {
        return SR_NOT_FOUND;
    }
    if (rc != 0) {
        return sr_lmdb_failed(rc, "read log", err);
    }
    sr_buf_clear(&reader->record);
    sr_buf_clear(&reader->plain);
    rc = gather(reader, key, data, ret, err);
    return rc == SR_OK ? open_record(reader, ret, err) : rc;
}

void sr_event_reader_close(struct sr_event_reader *reader)
{
    if (reader->plain.data != NULL) {
        sr_secret_wipe(reader->plain.data, reader->plain.capacity);
    }
    sr_buf_close(&reader->plain);
    sr_buf_close(&reader->record);
}
