/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/scan_lmdb.h"

#include "storage/neighbours.h"
#include "storage/pages.h"

/* Entries stepped over one by one before the tree is searched again. */
#define STEPS_MAX 4

/* Send the cursor to @key, as sr_neighbours_seek. */
static int seek(struct sr_lmdb_scan *scan, MDB_val *key, MDB_val *box, int *ret_status)
{
    return sr_neighbours_seek(scan->view, scan->cursor, key, box, ret_status);
}

/* The entry at the cursor is of a later revision than what is asked for, if it is what it says. */
static int pass_over(struct sr_lmdb_scan *scan, struct sr_bytes ek, int64_t revision,
                     const MDB_val *box)
{
    struct sr_view *view = scan->view;
    struct sr_version version;

    memcpy(scan->place.bytes, ek.data, ek.size);
    scan->place.ek_size = ek.size;
    return sr_header_open(&view->opener, view->txn, ek, revision, box, &version, &view->err);
}

static int set_name(struct sr_lmdb_scan *scan, struct sr_bytes ek)
{
    int rc = sr_key_decode(scan->view->store->lmdb.codec, ek.data, ek.size, scan->name,
                           &scan->name_size, &scan->view->err);

    if (rc != SR_OK) {
        return rc;
    }
    memcpy(scan->place.bytes, ek.data, ek.size);
    scan->place.ek_size = ek.size;
    return SR_OK;
}

/* The cursor stands at (@key, @box), the first entry of a name that is not older than the
 * revision or too new: find the first name from here on with a version to show. */
static int settle(struct sr_lmdb_scan *scan, int rc, int status, MDB_val *key, MDB_val *box)
{
    struct sr_view *view = scan->view;
    struct sr_bytes ek;
    int64_t revision;

    scan->valid = false;
    for (;;) {
        if (status != SR_OK) {
            return status;
        }
        if (rc == MDB_NOTFOUND) {
            return SR_OK;
        }
        if (rc != 0) {
            return sr_lmdb_failed(rc, "scan index", &view->err);
        }
        if (!sr_pages_leaf_is_whole(key->mv_data, view->store->lmdb.page_bytes)) {
            return sr_err_set(&view->err, SR_CORRUPT, "index: a page is damaged");
        }
        rc = sr_idx_key_parse(key, &ek, &revision, &view->err);
        if (rc != SR_OK) {
            return rc;
        }
        if (revision <= scan->revision) {
            break;
        }
        status = pass_over(scan, ek, revision, box);
        if (status != SR_OK) {
            return status;
        }
        sr_idx_key_set_revision(&scan->place, scan->revision);
        *key = sr_idx_key_val(&scan->place);
        rc = seek(scan, key, box, &status);
    }
    rc = set_name(scan, ek);
    if (rc == SR_OK) {
        rc =
            sr_header_open(&view->opener, view->txn, ek, revision, box, &scan->version, &view->err);
    }
    scan->valid = rc == SR_OK;
    return rc;
}

int sr_lmdb_scan_open(struct sr_lmdb_scan *scan, struct sr_view *view, struct sr_bytes begin,
                      bool above, int64_t revision)
{
    MDB_val key;
    MDB_val box;
    int status;
    int rc;

    scan->view = view;
    scan->revision = revision;
    scan->valid = false;
    if (view->broken != SR_OK) {
        return view->broken;
    }
    sr_lmdb_enter(&view->store->lmdb);
    rc = mdb_cursor_open(view->txn, view->store->lmdb.idx, &scan->cursor);
    if (rc != 0) {
        return sr_lmdb_failed(rc, "open scan", &view->err);
    }
    /* A longer bound lies after its first bytes and before every other name that is after them. */
    if (begin.size > SR_KEY_BYTES_MAX) {
        begin.size = SR_KEY_BYTES_MAX;
        above = true;
    }
    scan->place.ek_size =
        sr_key_encode(view->store->lmdb.codec, begin.data, begin.size, scan->place.bytes);
    if (above) {
        sr_idx_key_set_last(&scan->place);
    } else {
        sr_idx_key_set_first(&scan->place);
    }
    key = sr_idx_key_val(&scan->place);
    rc = seek(scan, &key, &box, &status);
    return settle(scan, rc, status, &key, &box);
}

int sr_lmdb_scan_next(struct sr_lmdb_scan *scan)
{
    MDB_val key;
    MDB_val box;
    int status;
    int rc;

    sr_lmdb_enter(&scan->view->store->lmdb);
    for (int steps = 0; steps < STEPS_MAX; steps++) {
        rc = mdb_cursor_get(scan->cursor, &key, &box, MDB_NEXT);
        if (rc != 0 || !sr_idx_key_same(&scan->place, &key)) {
            return settle(scan, rc, SR_OK, &key, &box);
        }
    }
    sr_idx_key_set_last(&scan->place);
    key = sr_idx_key_val(&scan->place);
    rc = seek(scan, &key, &box, &status);
    return settle(scan, rc, status, &key, &box);
}

void sr_lmdb_scan_close(struct sr_lmdb_scan *scan)
{
    if (scan->cursor != NULL) {
        mdb_cursor_close(scan->cursor);
    }
    scan->cursor = NULL;
}
