/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/store.h"

#include <string.h>

#include "base/alloc.h"
#include "base/check.h"
#include "proto/level.h"
#include "storage/cluster_record.h"
#include "storage/offsite_record.h"
#include "storage/store_internal.h"

static void set_options(struct sr_store *store, const struct sr_store_options *options)
{
    store->self = store;
    store->dir = sr_strdup(options->dir);
    store->options = *options;
    store->options.dir = store->dir;
    if (store->options.memtable_entries_max == 0) {
        store->options.memtable_entries_max = SR_MEMTABLE_ENTRIES_MAX;
    }
    if (store->options.memtable_bytes_max == 0) {
        store->options.memtable_bytes_max = (size_t)SR_MEMTABLE_BYTES_MAX;
    }
    if (store->options.unindexed_entries_max == 0) {
        store->options.unindexed_entries_max = SR_UNINDEXED_ENTRIES_MAX;
    }
    if (store->options.feature_level == 0) {
        store->options.feature_level = SR_FEATURE_LEVEL;
    }
}

/* What the last flush left, what its index lacks, and the memory of request ids. */
static int load(struct sr_store *store, struct sr_err *err)
{
    uint8_t packed[SR_STATE_BYTES];
    MDB_txn *txn;
    int rc = mdb_txn_begin(store->lmdb.env, NULL, MDB_RDONLY, &txn);

    if (rc != 0) {
        return sr_lmdb_failed(rc, "load state", err);
    }
    rc = sr_meta_get_box(&store->opener, txn, "state", packed, sizeof(packed), err);
    if (rc == SR_OK) {
        rc = sr_state_unpack(packed, &store->durable, &store->compaction, &store->unindexed.indexed,
                             err);
    }
    if (rc == SR_OK) {
        rc = sr_cluster_load(store, txn, err);
    }
    if (rc == SR_OK) {
        rc = sr_offsite_load(store, txn, err);
    }
    if (rc == SR_OK) {
        rc = sr_unindexed_load(store, txn, err);
    }
    if (rc == SR_OK) {
        store->frozen_index = store->durable.applied_index;
        store->apply = store->durable;
        store->published = store->durable;
        rc = sr_requests_load(store, txn, &store->opener, err);
    }
    mdb_txn_abort(txn);
    return rc;
}

/* More than a single life leaves: each began to drain anew, and none came to the end. Without
 * space it goes on with the flushes, when there is some. */
static int limit_unindexed(struct sr_store *store, struct sr_err *err)
{
    int rc = SR_OK;

    if (sr_unindexed_count(&store->unindexed) > 3 * store->options.unindexed_entries_max) {
        rc = sr_store_index_rest(store, err);
    }
    return rc == SR_NO_SPACE ? SR_OK : rc;
}

int sr_store_open(const struct sr_store_options *options, struct sr_store **ret, struct sr_err *err)
{
    struct sr_store *store = sr_zalloc(sizeof(*store));
    uint8_t initial[SR_STATE_BYTES];
    struct sr_state state;
    struct sr_compaction compaction;
    int rc;

    set_options(store, options);
    pthread_mutex_init(&store->mutex, NULL);
    pthread_cond_init(&store->removed, NULL);
    sr_random_bytes(store->hash_key, sizeof(store->hash_key));
    store->active = sr_memtable_new(store->hash_key);
    store->keep_after = INT64_MAX;

    sr_state_init(&state, &compaction);
    sr_state_pack(initial, &state, &compaction, state.revision);
    rc = sr_lmdb_open(&store->options, (struct sr_bytes){initial, sizeof(initial)}, &store->lmdb,
                      err);
    if (rc == SR_OK) {
        sr_opener_init(&store->opener, &store->lmdb);
        rc = load(store, err);
    }
    if (rc == SR_OK) {
        rc = limit_unindexed(store, err);
    }
    if (rc == SR_OK) {
        rc = sr_view_new(store, &store->writer, err);
    }
    if (rc != SR_OK) {
        sr_store_close(store);
        (void)sr_err_prefix(err, "open store");
        return rc;
    }
    atomic_store(&store->compacting_to, store->compaction.target);
    atomic_store(&store->compaction_pending, sr_compaction_is_pending(&store->compaction));
    sr_store_refresh(store);
    *ret = store;
    return SR_OK;
}

static void drop_memtable(struct sr_memtable *memtable)
{
    if (memtable == NULL) {
        return;
    }
    sr_requests_release(memtable->remembered);
    memtable->remembered = NULL;
    sr_cluster_unref(memtable->cluster);
    memtable->cluster = NULL;
    sr_offsite_unref(memtable->offsite);
    memtable->offsite = NULL;
    sr_memtable_unref(memtable);
}

void sr_store_close(struct sr_store *store)
{
    if (store == NULL) {
        return;
    }
    sr_check(store->views_open == 0 && store->holds == NULL);
    while (store->idle_views != NULL) {
        struct sr_view *view = store->idle_views;
        store->idle_views = view->next_idle;
        sr_view_free(view);
    }
    sr_view_free(store->writer);
    drop_memtable(store->frozen);
    drop_memtable(store->active);
    sr_unindexed_close(&store->unindexed);
    sr_applying_free(store->applying);
    sr_requests_free(store->requests);
    sr_cluster_unref(store->cluster);
    sr_cluster_unref(store->cluster_published);
    sr_cluster_unref(store->cluster_durable);
    sr_offsite_unref(store->offsite);
    sr_offsite_unref(store->offsite_published);
    sr_offsite_unref(store->offsite_durable);
    sr_opener_close(&store->opener);
    sr_lmdb_close(&store->lmdb);
    pthread_cond_destroy(&store->removed);
    pthread_mutex_destroy(&store->mutex);
    sr_buf_close(&store->incoming);
    sr_free(store->dir);
    sr_free(store);
}

static size_t entries_of(const struct sr_memtable *memtable)
{
    return memtable == NULL ? 0 : atomic_load_explicit(&memtable->entries, memory_order_relaxed);
}

static size_t bytes_of(const struct sr_memtable *memtable)
{
    return memtable == NULL ? 0 : atomic_load_explicit(&memtable->bytes, memory_order_relaxed);
}

/* Under the mutex. */
static void publish_cluster(struct sr_store *store)
{
    if (store->cluster == store->cluster_published) {
        return;
    }
    sr_cluster_unref(store->cluster_published);
    store->cluster_published = sr_cluster_ref(store->cluster);
    atomic_store(&store->alarms, store->cluster->alarms);
    atomic_store(&store->cluster_epoch, store->cluster->epoch);
}

/* Likewise. */
static void publish_offsite(struct sr_store *store)
{
    if (store->offsite == store->offsite_published) {
        return;
    }
    sr_offsite_unref(store->offsite_published);
    store->offsite_published = sr_offsite_ref(store->offsite);
    atomic_store(&store->offsite_epoch, store->offsite->epoch);
}

void sr_store_publish(struct sr_store *store, uint64_t index)
{
    sr_view_end(store->writer);
    store->apply.applied_index = index;
    pthread_mutex_lock(&store->mutex);
    store->published = store->apply;
    publish_cluster(store);
    publish_offsite(store);
    sr_gauge_set(&store->metrics.memtable_entries,
                 (int64_t)(entries_of(store->active) + entries_of(store->frozen)));
    sr_gauge_set(&store->metrics.memtable_bytes,
                 (int64_t)(bytes_of(store->active) + bytes_of(store->frozen)));
    pthread_mutex_unlock(&store->mutex);
}

static bool at_bound(const struct sr_store *store)
{
    const struct sr_memtable *active = store->active;

    return entries_of(active) >= store->options.memtable_entries_max ||
           bytes_of(active) + active->remembered_bytes >= store->options.memtable_bytes_max;
}

/* The pointer `frozen` changes on two threads; what it points to is not looked at. */
static bool has_frozen(const struct sr_store *store)
{
    bool frozen;

    pthread_mutex_lock(&store->self->mutex);
    frozen = store->frozen != NULL;
    pthread_mutex_unlock(&store->self->mutex);
    return frozen;
}

bool sr_store_is_full(const struct sr_store *store)
{
    return at_bound(store) && has_frozen(store);
}

bool sr_store_freeze(struct sr_store *store, bool force)
{
    struct sr_memtable *active = store->active;
    struct sr_memtable *fresh;

    if (has_frozen(store)) {
        return true;
    }
    /* An index that moved without a change is worth a small transaction: it lets the Raft log be
     * released. */
    if (!at_bound(store) && (!force || store->apply.applied_index == store->frozen_index)) {
        return false;
    }
    /* A batch that failed half way has left changes that must never become durable. */
    if (sr_view_is_open(store->writer) || atomic_load(&store->failed)) {
        return false;
    }
    active->state = store->apply;
    active->cluster = sr_cluster_ref(store->cluster);
    active->offsite = sr_offsite_ref(store->offsite);
    store->frozen_index = store->apply.applied_index;
    fresh = sr_memtable_new(store->hash_key);
    pthread_mutex_lock(&store->mutex);
    store->frozen = active;
    store->active = fresh;
    pthread_mutex_unlock(&store->mutex);
    return true;
}

bool sr_store_compaction_pending(const struct sr_store *store)
{
    return atomic_load(&store->compaction_pending);
}

bool sr_store_has_space(const struct sr_store *store)
{
    return atomic_load(&store->has_space);
}

const struct sr_store_metrics *sr_store_metrics(const struct sr_store *store)
{
    return &store->metrics;
}

static struct sr_state state_of(const struct sr_store *store, const struct sr_state *which)
{
    struct sr_state state;

    pthread_mutex_lock(&store->self->mutex);
    state = *which;
    pthread_mutex_unlock(&store->self->mutex);
    return state;
}

uint64_t sr_store_applied_index(const struct sr_store *store)
{
    return state_of(store, &store->published).applied_index;
}

uint64_t sr_store_durable_index(const struct sr_store *store)
{
    return state_of(store, &store->durable).applied_index;
}

int64_t sr_store_revision(const struct sr_store *store)
{
    return state_of(store, &store->published).revision;
}

int64_t sr_store_compact_revision(const struct sr_store *store)
{
    return state_of(store, &store->published).compact_revision;
}

void sr_store_state_hash(struct sr_store *store, uint8_t ret_hash[32], int64_t *ret_revision,
                         uint64_t *ret_index)
{
    struct sr_state state = state_of(store, &store->published);

    memcpy(ret_hash, state.hash, sizeof(state.hash));
    *ret_revision = state.revision;
    *ret_index = state.applied_index;
}

void sr_store_point(const struct sr_store *store, struct sr_store_point *ret)
{
    struct sr_state state = state_of(store, &store->published);

    *ret = (struct sr_store_point){
        .index = state.applied_index,
        .term = state.term,
        .configuration_index = state.configuration_index,
        .revision = state.revision,
        .compact_revision = state.compact_revision,
    };
    memcpy(ret->state_hash, state.hash, sizeof(state.hash));
    sr_buf_append(&ret->configuration, state.configuration, state.configuration_size);
}

int sr_store_fail(struct sr_store *store, const struct sr_err *err)
{
    if (err->status == SR_NO_SPACE || err->status == SR_LIMIT || err->status == SR_NOT_FOUND) {
        return err->status;
    }
    pthread_mutex_lock(&store->mutex);
    if (store->failure.status == SR_OK) {
        store->failure = *err;
        atomic_store(&store->failed, true);
    }
    pthread_mutex_unlock(&store->mutex);
    return err->status;
}

int sr_store_failure(const struct sr_store *store, struct sr_err *err)
{
    int status;

    if (!atomic_load(&store->failed)) {
        return SR_OK;
    }
    pthread_mutex_lock(&store->self->mutex);
    status = store->failure.status;
    if (err != NULL) {
        *err = store->failure;
    }
    pthread_mutex_unlock(&store->self->mutex);
    return status;
}
