/* SPDX-License-Identifier: Apache-2.0
 *
 * A view is taken in this order: the references to the tables and the published state, under one
 * lock; then the LMDB transaction. What a flush moves from one table to the next, or to LMDB, in
 * between is seen twice, which is harmless since versions never change; it is never missed.
 *
 * The gathering table grows while views look at it. What is added after a view was taken has its
 * record in LMDB too late for this view, but is either of a revision that it may not see, or in the
 * memtables that it holds, which are asked first.
 *
 * Physical compaction may have gone on in between, up to a compact revision that was published
 * after this view's state: then versions that this view may read can be gone, and it is taken
 * anew. The flush thread says what it compacts to before it commits.
 */
#include "storage/view.h"

#include "base/alloc.h"
#include "base/check.h"
#include "storage/neighbours.h"
#include "storage/record.h"
#include "storage/store_internal.h"

static int open_txn(struct sr_view *view, struct sr_err *err)
{
    struct sr_lmdb *lmdb = &view->store->lmdb;
    int rc = mdb_txn_begin(lmdb->env, NULL, MDB_RDONLY, &view->txn);

    if (rc == 0) {
        rc = mdb_cursor_open(view->txn, lmdb->idx, &view->idx);
    }
    if (rc == 0) {
        rc = mdb_cursor_open(view->txn, lmdb->log, &view->log);
    }
    if (rc != 0) {
        return sr_lmdb_failed(rc, "open view", err);
    }
    mdb_txn_reset(view->txn);
    return SR_OK;
}

int sr_view_new(struct sr_store *store, struct sr_view **ret, struct sr_err *err)
{
    struct sr_view *view = sr_zalloc(sizeof(*view));
    int rc;

    view->store = store;
    sr_opener_init(&view->opener, &store->lmdb);
    sr_lmdb_enter(&store->lmdb);
    rc = open_txn(view, err);
    if (rc != SR_OK) {
        sr_view_free(view);
        return rc;
    }
    *ret = view;
    return SR_OK;
}

void sr_view_free(struct sr_view *view)
{
    if (view == NULL) {
        return;
    }
    sr_view_end(view);
    if (view->idx != NULL) {
        mdb_cursor_close(view->idx);
    }
    if (view->log != NULL) {
        mdb_cursor_close(view->log);
    }
    if (view->txn != NULL) {
        mdb_txn_abort(view->txn);
    }
    sr_opener_close(&view->opener);
    sr_buf_close(&view->scratch);
    sr_free(view);
}

static int renew(struct sr_view *view, struct sr_err *err)
{
    int rc = mdb_txn_renew(view->txn);

    if (rc != 0) {
        return sr_lmdb_failed(rc, "renew view", err);
    }
    rc = mdb_cursor_renew(view->txn, view->idx);
    if (rc == 0) {
        rc = mdb_cursor_renew(view->txn, view->log);
    }
    if (rc == 0) {
        return SR_OK;
    }
    mdb_txn_reset(view->txn);
    return sr_lmdb_failed(rc, "renew view", err);
}

static void take(struct sr_view *view, bool writer)
{
    struct sr_store *store = view->store;
    struct sr_memtable **tables = view->tables;

    pthread_mutex_lock(&store->mutex);
    tables[SR_ACTIVE] = store->active;
    tables[SR_FROZEN] = store->frozen;
    tables[SR_GATHERING] = store->unindexed.gathering;
    tables[SR_DRAINING] = store->unindexed.draining;
    for (int i = 0; i < SR_TABLES; i++) {
        if (tables[i] != NULL) {
            sr_memtable_ref(tables[i]);
        }
    }
    view->state = store->published;
    pthread_mutex_unlock(&store->mutex);
    view->visible = view->state.revision;
    if (writer) {
        view->state = store->apply;
        view->visible = INT64_MAX;
    }
}

static void release(struct sr_view *view)
{
    for (int i = 0; i < SR_TABLES; i++) {
        sr_memtable_unref(view->tables[i]);
        view->tables[i] = NULL;
    }
}

int sr_view_begin(struct sr_view *view, bool writer, struct sr_err *err)
{
    struct sr_store *store = view->store;

    sr_check(!sr_view_is_open(view));
    sr_lmdb_enter(&store->lmdb);
    for (;;) {
        take(view, writer);
        int rc = renew(view, err);
        if (rc != SR_OK) {
            release(view);
            return rc;
        }
        view->broken = SR_OK;
        if (atomic_load(&store->compacting_to) <= view->state.compact_revision) {
            return SR_OK;
        }
        sr_view_end(view);
    }
}

void sr_view_end(struct sr_view *view)
{
    if (!sr_view_is_open(view)) {
        return;
    }
    mdb_txn_reset(view->txn);
    release(view);
}

int sr_view_failed(struct sr_view *view, struct sr_err *err)
{
    if (err != NULL) {
        *err = view->err;
    }
    return sr_store_fail(view->store, &view->err);
}

int sr_view_open(struct sr_store *store, struct sr_view **ret, struct sr_err *err)
{
    struct sr_err local;
    struct sr_view *view;
    int rc = sr_store_failure(store, err);

    if (rc != SR_OK) {
        return rc;
    }
    pthread_mutex_lock(&store->mutex);
    if (store->views_open == SR_VIEWS_MAX) {
        pthread_mutex_unlock(&store->mutex);
        return sr_err_set(err, SR_LIMIT, "%d views are open", SR_VIEWS_MAX);
    }
    store->views_open++;
    view = store->idle_views;
    if (view != NULL) {
        store->idle_views = view->next_idle;
    }
    pthread_mutex_unlock(&store->mutex);

    if (view == NULL) {
        rc = sr_view_new(store, &view, &local);
    }
    if (rc == SR_OK) {
        rc = sr_view_begin(view, false, &local);
        if (rc != SR_OK) {
            sr_view_free(view);
        }
    }
    if (rc != SR_OK) {
        pthread_mutex_lock(&store->mutex);
        store->views_open--;
        pthread_mutex_unlock(&store->mutex);
        if (err != NULL) {
            *err = local;
        }
        return sr_store_fail(store, &local);
    }
    sr_gauge_add(&store->metrics.open_views, 1);
    *ret = view;
    return SR_OK;
}

void sr_view_close(struct sr_view *view)
{
    struct sr_store *store;

    if (view == NULL) {
        return;
    }
    store = view->store;
    sr_view_end(view);
    pthread_mutex_lock(&store->mutex);
    view->next_idle = store->idle_views;
    store->idle_views = view;
    store->views_open--;
    pthread_mutex_unlock(&store->mutex);
    sr_gauge_add(&store->metrics.open_views, -1);
}

int64_t sr_view_revision(const struct sr_view *view)
{
    return view->state.revision;
}

int64_t sr_view_compact_revision(const struct sr_view *view)
{
    return view->state.compact_revision;
}

uint64_t sr_view_applied_index(const struct sr_view *view)
{
    return view->state.applied_index;
}

/* The newest entry of @key at or below @revision in the first @count tables. */
static const struct sr_memtable_entry *get_in_memory(const struct sr_view *view, int count,
                                                     struct sr_bytes key, int64_t revision)
{
    const struct sr_memtable_entry *entry = NULL;

    for (int i = 0; entry == NULL && i < count; i++) {
        if (view->tables[i] != NULL) {
            entry = sr_memtable_get(view->tables[i], key, revision);
        }
    }
    return entry;
}

/* As above in LMDB; SR_NOT_FOUND when there is none. */
static int get_in_lmdb(struct sr_view *view, struct sr_bytes key, int64_t revision,
                       struct sr_version *ret_version)
{
    struct sr_idx_key idx_key;
    struct sr_bytes ek;
    int64_t found_revision;
    MDB_val found;
    MDB_val box;
    int status;
    int rc;

    if (view->broken != SR_OK) {
        return view->broken;
    }
    if (key.size > SR_KEY_BYTES_MAX) {
        return SR_NOT_FOUND;
    }
    sr_lmdb_enter(&view->store->lmdb);
    idx_key.ek_size = sr_key_encode(view->store->lmdb.codec, key.data, key.size, idx_key.bytes);
    sr_idx_key_set_revision(&idx_key, revision);
    found = sr_idx_key_val(&idx_key);
    rc = sr_neighbours_seek(view, view->idx, &found, &box, &status);
    if (status != SR_OK) {
        return status;
    }
    if (rc == MDB_NOTFOUND || (rc == 0 && !sr_idx_key_same(&idx_key, &found))) {
        return SR_NOT_FOUND;
    }
    if (rc != 0) {
        return sr_lmdb_failed(rc, "read index", &view->err);
    }
    rc = sr_idx_key_parse(&found, &ek, &found_revision, &view->err);
    if (rc == SR_OK) {
        rc = sr_header_open(&view->opener, view->txn, ek, found_revision, &box, ret_version,
                            &view->err);
    }
    return rc;
}

int sr_view_get_any(struct sr_view *view, struct sr_bytes key, int64_t revision,
                    struct sr_version *ret_version, struct sr_err *err)
{
    const struct sr_memtable_entry *entry;
    int rc;

    if (revision > view->visible) {
        revision = view->visible;
    }
    entry = get_in_memory(view, SR_TABLES, key, revision);
    if (entry != NULL) {
        *ret_version = entry->version;
        return SR_OK;
    }
    rc = get_in_lmdb(view, key, revision, ret_version);
    return rc == SR_OK || rc == SR_NOT_FOUND ? rc : sr_view_failed(view, err);
}

int sr_view_get(struct sr_view *view, struct sr_bytes key, int64_t revision,
                struct sr_version *ret_version, struct sr_err *err)
{
    struct sr_version version = {0};
    int rc = sr_view_get_any(view, key, revision, &version, err);

    if (rc != SR_OK) {
        return rc;
    }
    if (version.tombstone) {
        return SR_NOT_FOUND;
    }
    *ret_version = version;
    return SR_OK;
}

int sr_view_value(struct sr_view *view, struct sr_bytes key, const struct sr_version *version,
                  struct sr_buf *value, struct sr_err *err)
{
    const struct sr_memtable_entry *entry =
        get_in_memory(view, SR_TABLES_WITH_VALUES, key, version->mod_revision);
    uint8_t ek[SR_EK_BYTES_MAX];
    size_t ek_size;
    int rc;

    if (entry != NULL && entry->version.mod_revision == version->mod_revision) {
        struct sr_bytes bytes = sr_memtable_value(entry);
        sr_buf_append(value, bytes.data, bytes.size);
        return SR_OK;
    }
    sr_check(view->broken == SR_OK && key.size <= SR_KEY_BYTES_MAX);
    sr_lmdb_enter(&view->store->lmdb);
    ek_size = sr_key_encode(view->store->lmdb.codec, key.data, key.size, ek);
    rc = sr_record_read(&view->opener, view->log, (struct sr_bytes){ek, ek_size}, version,
                        &view->scratch, value, &view->err);
    return rc == SR_OK ? SR_OK : sr_view_failed(view, err);
}
