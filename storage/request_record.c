/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/request_record.h"

#include <string.h>

#include "base/alloc.h"
#include "base/secret.h"

#define RECORD_FORMAT       1
#define FLAG_WITHOUT_BODY   1
#define RECORD_HEADER_BYTES (1 + 1 + 8 + sizeof(struct sr_request_name) + 2)

static int error_of_text(struct sr_bytes text, enum sr_api_error *ret)
{
    for (int error = 0; error < SR_API_ERROR_COUNT; error++) {
        if (sr_bytes_equal(text, sr_bytes_of(sr_api_error_text((enum sr_api_error)error)))) {
            *ret = (enum sr_api_error)error;
            return SR_OK;
        }
    }
    return SR_FORMAT;
}

void sr_request_record_pack(const struct sr_remembered *item, struct sr_buf *out)
{
    struct sr_bytes text = sr_bytes_of(sr_api_error_text(item->error));
    sr_buf_append_u8(out, RECORD_FORMAT);
    sr_buf_append_u8(out, item->without_body ? FLAG_WITHOUT_BODY : 0);
    sr_buf_append_u64(out, (uint64_t)item->revision);
    sr_buf_append(out, item->name.bytes, sizeof(item->name));
    sr_buf_append_u16(out, (uint16_t)text.size);
    sr_buf_append(out, text.data, text.size);
    sr_buf_append(out, item->body, item->size);
}

int sr_request_record_seal(struct sr_lmdb *lmdb, MDB_txn *txn, const struct sr_remembered *item,
                           struct sr_buf *ret_box, struct sr_err *err)
{
    struct sr_buf plain = {0};
    sr_request_record_pack(item, &plain);

    uint8_t number[SR_REQUEST_KEY_BYTES];
    sr_put_u64(number, item->number);
    sr_buf_clear(ret_box);
    int rc = sr_box_seal(lmdb, txn, SR_DOMAIN_REQUEST, (struct sr_bytes){number, sizeof(number)},
                         (struct sr_bytes){plain.data, plain.size}, ret_box, err);
    sr_secret_wipe(plain.data, plain.size);
    sr_buf_close(&plain);
    return rc;
}

int sr_request_record_parse(uint64_t number, struct sr_bytes plain, struct sr_remembered **ret,
                            struct sr_err *err)
{
    struct sr_reader reader = sr_reader_of(plain.data, plain.size);
    uint8_t format = sr_read_u8(&reader);
    uint8_t flags = sr_read_u8(&reader);
    int64_t revision = (int64_t)sr_read_u64(&reader);
    struct sr_request_name name;
    sr_read_copy(&reader, name.bytes, sizeof(name.bytes));
    struct sr_bytes text = sr_read_bytes(&reader, sr_read_u16(&reader));
    enum sr_api_error error = SR_API_NONE;
    if (reader.failed || format != RECORD_FORMAT || flags > FLAG_WITHOUT_BODY ||
        error_of_text(text, &error) != SR_OK) {
        return sr_err_set(err, SR_FORMAT, "remembered request %llu: unknown format %u",
                          (unsigned long long)number, format);
    }
    size_t size = sr_reader_left(&reader);
    struct sr_remembered *item = sr_alloc(sizeof(*item) + size);
    *item = (struct sr_remembered){.number = number,
                                   .name = name,
                                   .error = error,
                                   .revision = revision,
                                   .without_body = flags == FLAG_WITHOUT_BODY,
                                   .size = size};
    sr_read_copy(&reader, item->body, size);
    *ret = item;
    return SR_OK;
}

int sr_request_record_open(struct sr_opener *opener, MDB_txn *txn, const MDB_val *key,
                           const MDB_val *box, struct sr_remembered **ret, struct sr_err *err)
{
    if (key->mv_size != SR_REQUEST_KEY_BYTES ||
        box->mv_size < SR_BOX_OVERHEAD_BYTES + RECORD_HEADER_BYTES) {
        return sr_err_set(err, SR_CORRUPT, "remembered request: bad size");
    }
    size_t size = box->mv_size - SR_BOX_OVERHEAD_BYTES;
    uint8_t *plain = sr_alloc(size);
    int rc =
        sr_box_open(opener, txn, SR_DOMAIN_REQUEST, (struct sr_bytes){key->mv_data, key->mv_size},
                    (struct sr_bytes){box->mv_data, box->mv_size}, plain, err);
    if (rc == SR_OK) {
        rc = sr_request_record_parse(sr_get_u64(key->mv_data), (struct sr_bytes){plain, size}, ret,
                                     err);
    } else {
        (void)sr_err_prefix(err, "remembered request");
    }
    sr_secret_wipe(plain, size);
    sr_free(plain);
    return rc;
}
