/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/image_requests.h"

#include "base/alloc.h"
#include "storage/request_record.h"

static int add_requests(struct sr_view *view, MDB_cursor *cursor, uint64_t *number, uint64_t end,
                        struct sr_buf *chunk, struct sr_err *err)
{
    struct sr_remembered *item = NULL;
    uint8_t bytes[SR_REQUEST_KEY_BYTES];
    MDB_val key;
    MDB_val box;
    int rc;

    while (*number < end && chunk->size < SR_IMAGE_CHUNK_FILL) {
        sr_put_u64(bytes, *number);
        key = (MDB_val){sizeof(bytes), bytes};
        rc = mdb_cursor_get(cursor, &key, &box, MDB_SET_KEY);
        if (rc == MDB_NOTFOUND) {
            return sr_err_set(err, SR_CORRUPT, "request %llu is missing",
                              (unsigned long long)*number);
        }
        if (rc != 0) {
            return sr_lmdb_failed(rc, "read a remembered request", err);
        }
        rc = sr_request_record_open(&view->opener, view->txn, &key, &box, &item, err);
        if (rc != SR_OK) {
            return rc;
        }
        sr_image_request_pack(item, chunk);
        sr_free(item);
        (*number)++;
    }
    return SR_OK;
}

int sr_image_requests_add(struct sr_store *store, struct sr_view *view, uint64_t *number,
                          uint64_t end, struct sr_buf *chunk, struct sr_err *err)
{
    MDB_cursor *cursor;
    int rc = mdb_cursor_open(view->txn, store->lmdb.request, &cursor);

    if (rc != 0) {
        return sr_lmdb_failed(rc, "read remembered requests", err);
    }
    rc = add_requests(view, cursor, number, end, chunk, err);
    mdb_cursor_close(cursor);
    return rc;
}

/* Later numbers have the same or later revisions: go back from the last one. */
static int find_requests(struct sr_view *view, MDB_cursor *cursor, int64_t since, int64_t until,
                         uint64_t *ret_first, uint64_t *ret_end, struct sr_err *err)
{
    struct sr_remembered *item = NULL;
    int64_t revision = INT64_MAX;
    uint64_t number = 0;
    MDB_val key;
    MDB_val box;
    int code = mdb_cursor_get(cursor, &key, &box, MDB_LAST);
    int rc;

    *ret_first = *ret_end = 0;
    for (; code == 0; code = mdb_cursor_get(cursor, &key, &box, MDB_PREV)) {
        rc = sr_request_record_open(&view->opener, view->txn, &key, &box, &item, err);
        if (rc != SR_OK) {
            return rc;
        }
        revision = item->revision;
        number = item->number;
        sr_free(item);
        if (revision <= since) {
            break;
        }
        *ret_first = number;
        if (revision > until || *ret_end == 0) {
            *ret_end = revision > until ? number : number + 1;
        }
    }
    return code == 0 || code == MDB_NOTFOUND ? SR_OK : sr_lmdb_failed(code, "read requests", err);
}

int sr_image_requests_find(struct sr_store *store, struct sr_view *view, int64_t since,
                           int64_t until, uint64_t *ret_first, uint64_t *ret_end,
                           struct sr_err *err)
{
    MDB_cursor *cursor;
    int rc = mdb_cursor_open(view->txn, store->lmdb.request, &cursor);

    if (rc != 0) {
        return sr_lmdb_failed(rc, "read remembered requests", err);
    }
    rc = find_requests(view, cursor, since, until, ret_first, ret_end, err);
    mdb_cursor_close(cursor);
    return rc;
}
