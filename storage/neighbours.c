/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/neighbours.h"

#include "storage/pages.h"

static int misplaced(struct sr_view *view)
{
    return sr_err_set(&view->err, SR_CORRUPT, "index: names are not where they belong");
}

static int compare(const struct sr_view *view, const MDB_val *a, const MDB_val *b)
{
    return sr_key_compare(view->store->lmdb.codec, a->mv_data, a->mv_size, b->mv_data, b->mv_size);
}

static int check_entry(struct sr_view *view, const MDB_val *key, const MDB_val *box)
{
    struct sr_version version;
    struct sr_bytes ek;
    int64_t revision = 0;
    int rc = SR_OK;

    if (!sr_pages_leaf_is_whole(key->mv_data, view->store->lmdb.page_bytes)) {
        return sr_err_set(&view->err, SR_CORRUPT, "index: a page is damaged");
    }
    rc = sr_idx_key_parse(key, &ek, &revision, &view->err);
    if (rc == SR_OK) {
        rc = sr_header_open(&view->opener, view->txn, ek, revision, box, &version, &view->err);
    }
    return rc;
}

int sr_neighbours_seek(struct sr_view *view, MDB_cursor *cursor, MDB_val *wanted, MDB_val *ret_box,
                       int *ret_status)
{
    const MDB_val sought = *wanted;
    MDB_val before;
    MDB_val box;
    int status = SR_OK;
    int rc = mdb_cursor_get(cursor, wanted, ret_box, MDB_SET_RANGE);

    *ret_status = SR_OK;
    if (rc != 0 && rc != MDB_NOTFOUND) {
        return rc;
    }
    if (rc == 0) {
        status = compare(view, &sought, wanted) > 0 ? misplaced(view)
                                                    : check_entry(view, wanted, ret_box);
    }
    int there = mdb_cursor_get(cursor, &before, &box, rc == 0 ? MDB_PREV : MDB_LAST);
    if (there != 0 && there != MDB_NOTFOUND) {
        return there;
    }
    if (status == SR_OK && there == 0) {
        status = compare(view, &before, &sought) >= 0 ? misplaced(view)
                                                      : check_entry(view, &before, &box);
    }
    *ret_status = status;
    if (status != SR_OK || rc != 0) {
        return rc;
    }
    /* Back to where it was. At the first entry there was no step to take back. */
    return mdb_cursor_get(cursor, wanted, ret_box, there == 0 ? MDB_NEXT : MDB_FIRST);
}
