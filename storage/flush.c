/* SPDX-License-Identifier: Apache-2.0
 *
 * A frozen memtable becomes LMDB's in one transaction: its records are appended to the log, the
 * applied index goes with them, so that whatever a crash leaves is whole at one index, and the Raft
 * log has the rest. The index follows, a slice in each transaction (unindexed.h).
 */
#include <string.h>
#include <sys/statvfs.h>

#include "base/clock.h"
#include "base/secret.h"
#include "storage/cluster_record.h"
#include "storage/offsite_record.h"
#include "storage/record.h"
#include "storage/requests.h"
#include "storage/store_internal.h"

/* A write was cut short by a full disk if so little of it is free. */
#define CUT_SHORT_BELOW_BYTES (UINT64_C(1) << 20)

/* One transaction in the making. */
struct flush {
    struct sr_store *store;
    struct sr_memtable *memtable; /* NULL: compaction only */
    MDB_txn *txn;
    struct sr_state state;
    struct sr_compaction compaction;
    struct sr_unindexed unindexed;
    struct sr_buf scratch;
    bool may_remove; /* nobody reads an image */
    int64_t limit;   /* how far compaction may go */
};

/* Cut @record into pieces at the end of the log. */
static int put_pieces(MDB_cursor *cursor, const struct sr_version *version, struct sr_bytes record,
                      struct sr_err *err)
{
    uint8_t bytes[SR_LOG_KEY_BYTES];
    uint16_t piece = 0;

    for (size_t at = 0; at < record.size; at += SR_RECORD_CHUNK_BYTES) {
        size_t left = record.size - at;
        MDB_val key = {sizeof(bytes), bytes};
        MDB_val data = sr_lmdb_val((struct sr_bytes){
            record.data + at, left < SR_RECORD_CHUNK_BYTES ? left : SR_RECORD_CHUNK_BYTES});
        sr_log_key_pack(bytes, version->mod_revision, version->sub, piece++);
        int rc = mdb_cursor_put(cursor, &key, &data, MDB_APPEND);
        if (rc != 0) {
            return sr_lmdb_failed(rc, "write log", err);
        }
    }
    return SR_OK;
}

static int put_record(struct flush *flush, MDB_cursor *cursor,
                      const struct sr_memtable_entry *entry, struct sr_buf *plain,
                      struct sr_err *err)
{
    struct sr_lmdb *lmdb = &flush->store->lmdb;
    const struct sr_version *version = &entry->version;
    uint8_t ek[SR_EK_BYTES_MAX];
    uint8_t aad[SR_AAD_BYTES];
    size_t ek_size = sr_key_encode(lmdb->codec, entry->key, entry->key_size, ek);
    size_t aad_size =
        sr_record_aad(aad, (struct sr_bytes){ek, ek_size}, version->mod_revision, version->sub);
    int rc;

    sr_buf_clear(plain);
    sr_buf_append(plain, entry->value, version->value_size);
    sr_header_pack(sr_buf_extend(plain, SR_HEADER_BYTES), version);
    sr_buf_clear(&flush->scratch);
    sr_buf_append_u16(&flush->scratch, (uint16_t)ek_size);
    sr_buf_append(&flush->scratch, ek, ek_size);
    rc = sr_box_seal(lmdb, flush->txn, SR_DOMAIN_RECORD, (struct sr_bytes){aad, aad_size},
                     (struct sr_bytes){plain->data, plain->size}, &flush->scratch, err);
    if (rc != SR_OK) {
        return rc;
    }
    return put_pieces(cursor, version, (struct sr_bytes){flush->scratch.data, flush->scratch.size},
                      err);
}

static int put_log(struct flush *flush, struct sr_err *err)
{
    const struct sr_memtable_entry *entry = sr_memtable_log(flush->memtable);
    struct sr_buf plain = {0};
    MDB_cursor *cursor;
    int rc = mdb_cursor_open(flush->txn, flush->store->lmdb.log, &cursor);

    if (rc != 0) {
        return sr_lmdb_failed(rc, "write log", err);
    }
    for (; rc == SR_OK && entry != NULL; entry = entry->log_next) {
        rc = put_record(flush, cursor, entry, &plain, err);
    }
    mdb_cursor_close(cursor);
    if (plain.data != NULL) {
        sr_secret_wipe(plain.data, plain.capacity);
    }
    sr_buf_close(&plain);
    return rc;
}

static int fill(struct flush *flush, struct sr_err *err)
{
    struct sr_store *store = flush->store;
    uint8_t packed[SR_STATE_BYTES];
    int rc = SR_OK;

    if (flush->memtable != NULL) {
        flush->state = flush->memtable->state;
        rc = put_log(flush, err);
        if (rc == SR_OK) {
            rc = sr_requests_write(store, flush->txn, flush->memtable->remembered,
                                   flush->may_remove, err);
        }
        if (rc == SR_OK) {
            rc = sr_cluster_write(store, flush->txn, flush->memtable->cluster, err);
        }
        if (rc == SR_OK) {
            rc = sr_offsite_write(store, flush->txn, flush->memtable->offsite, err);
        }
    }
    if (rc == SR_OK) {
        rc = sr_unindexed_drain(store, flush->txn, &flush->unindexed, err);
    }
    if (rc != SR_OK) {
        return rc;
    }
    sr_compaction_aim(&flush->compaction, flush->state.compact_revision);
    flush->limit = sr_hold_limit(store, flush->compaction.target);
    /* What supersedes what is known once the index has every event at or below the limit. */
    if (flush->may_remove && sr_compaction_has_work(&flush->compaction, flush->limit) &&
        flush->unindexed.indexed >= flush->limit) {
        atomic_store(&store->compacting_to, flush->compaction.target);
        rc = sr_compaction_slice(store, flush->txn, &flush->compaction, flush->limit,
                                 SR_COMPACTION_SLICE_EVENTS, err);
    }
    if (rc != SR_OK) {
        return rc;
    }
    if (store->incoming.size > 0) {
        rc = sr_meta_put_box(&store->lmdb, flush->txn, "incoming",
                             (struct sr_bytes){store->incoming.data, store->incoming.size}, err);
    }
    if (rc != SR_OK) {
        return rc;
    }
    sr_state_pack(packed, &flush->state, &flush->compaction, flush->unindexed.indexed);
    return sr_meta_put_box(&store->lmdb, flush->txn, "state",
                           (struct sr_bytes){packed, sizeof(packed)}, err);
}

static int commit(struct flush *flush, struct sr_err *err)
{
    struct sr_store *store = flush->store;
    uint64_t start_ns = sr_clock_monotonic_ns();
    int rc = mdb_txn_commit(flush->txn);

    flush->txn = NULL;
    sr_histogram_observe(&store->metrics.commit_duration, sr_clock_monotonic_ns() - start_ns);
    return rc == 0 ? SR_OK : sr_lmdb_failed(rc, "commit", err);
}

/* It is in LMDB: new views need the memtable no longer, once its headers are gathered. */
static void finish(struct flush *flush)
{
    struct sr_store *store = flush->store;
    struct sr_memtable *memtable = flush->memtable;
    struct sr_memtable *drained;
    bool compacting = sr_compaction_has_work(&flush->compaction, flush->limit);

    store->compaction = flush->compaction;
    atomic_store(&store->compaction_pending, compacting && flush->may_remove);
    if (memtable != NULL) {
        sr_unindexed_gather(store, memtable);
    }
    pthread_mutex_lock(&store->mutex);
    store->durable = flush->state;
    if (memtable != NULL) {
        store->frozen = NULL;
    }
    drained = sr_unindexed_turn(store, &flush->unindexed,
                                compacting && flush->unindexed.indexed < flush->limit);
    pthread_mutex_unlock(&store->mutex);
    sr_memtable_unref(drained);
    if (memtable == NULL) {
        return;
    }
    sr_count(&store->metrics.flushed_entries,
             atomic_load_explicit(&memtable->entries, memory_order_relaxed));
    sr_requests_release(memtable->remembered);
    memtable->remembered = NULL;
    sr_cluster_unref(store->cluster_durable);
    store->cluster_durable = memtable->cluster;
    memtable->cluster = NULL;
    sr_offsite_unref(store->offsite_durable);
    store->offsite_durable = memtable->offsite;
    memtable->offsite = NULL;
    sr_memtable_unref(memtable);
}

/* Whether so much of the disk is free. @ret is left alone when nobody knows. */
static void has_free(const struct sr_store *store, uint64_t bytes, bool *ret)
{
    struct statvfs vfs;

    if (statvfs(store->options.dir, &vfs) == 0) {
        *ret = (uint64_t)vfs.f_bavail * vfs.f_frsize >= bytes;
    }
}

/* A disk that becomes full first cuts a write short, and that is EIO to LMDB, as a broken disk is.
 * Nothing refers to what was written of a transaction that failed, and the next one writes all of
 * its pages anew, so that it may be tried again: if the disk is broken besides, it will tell. */
static int name_short_write(const struct sr_store *store, int rc, struct sr_err *err)
{
    bool has_room = true;

    if (rc == SR_IO) {
        has_free(store, CUT_SHORT_BELOW_BYTES, &has_room);
    }
    return has_room ? rc : sr_err_set(err, SR_NO_SPACE, "a write was cut short");
}

static int flush_once(struct flush *flush, struct sr_err *err)
{
    struct sr_store *store = flush->store;
    int rc;

    sr_lmdb_enter(&store->lmdb);
    flush->may_remove = sr_hold_remove_begin(store);
    rc = mdb_txn_begin(store->lmdb.env, NULL, 0, &flush->txn);
    if (rc != 0) {
        rc = sr_lmdb_failed(rc, "begin", err);
        goto out;
    }
    rc = fill(flush, err);
    if (rc == SR_OK) {
        rc = commit(flush, err);
    } else {
        mdb_txn_abort(flush->txn);
    }
    sr_box_end(&store->lmdb, rc == SR_OK);
out:
    sr_hold_remove_end(store);
    return name_short_write(store, rc, err);
}

int sr_store_index_rest(struct sr_store *store, struct sr_err *err)
{
    int rc = SR_OK;

    (void)sr_unindexed_turn(store, &store->unindexed, true); /* nothing has come to its end */
    while (rc == SR_OK && store->unindexed.draining != NULL) {
        struct flush flush = {.store = store,
                              .state = store->durable,
                              .compaction = store->compaction,
                              .unindexed = store->unindexed};
        rc = flush_once(&flush, err);
        sr_buf_close(&flush.scratch);
        if (rc != SR_OK) {
            break;
        }
        finish(&flush);
        /* What was gathered while the last ones were drained comes next. */
        (void)sr_unindexed_turn(store, &store->unindexed, true);
    }
    return rc;
}

/* One transaction; @ret_again: the frozen memtable had to wait for the index. */
static int flush_some(struct sr_store *store, bool *ret_again, struct sr_err *err)
{
    struct flush flush = {
        .store = store, .compaction = store->compaction, .unindexed = store->unindexed};
    uint64_t start_ns = sr_clock_monotonic_ns();
    int64_t limit;
    int rc = SR_OK;

    pthread_mutex_lock(&store->mutex);
    flush.memtable = store->frozen;
    flush.state = store->durable;
    pthread_mutex_unlock(&store->mutex);
    *ret_again = flush.memtable != NULL && sr_unindexed_is_full(store);
    limit = sr_hold_limit(store, store->compaction.target);
    if (flush.memtable == NULL &&
        (!sr_compaction_has_work(&store->compaction, limit) || sr_hold_is_any(store))) {
        atomic_store(&store->compaction_pending, false);
        return SR_OK;
    }
    if (*ret_again) {
        flush.memtable = NULL;
    }
    rc = flush_once(&flush, err);
    sr_buf_close(&flush.scratch);
    if (rc == SR_OK) {
        finish(&flush);
    }
    sr_histogram_observe(&store->metrics.flush_duration, sr_clock_monotonic_ns() - start_ns);
    return rc;
}

int sr_store_flush(struct sr_store *store, struct sr_err *err)
{
    bool again = true;
    struct sr_err local;
    int rc = sr_store_failure(store, err);

    if (rc != SR_OK) {
        return rc;
    }
    while (rc == SR_OK && again) {
        rc = flush_some(store, &again, &local);
    }
    sr_store_refresh(store);
    if (rc == SR_OK) {
        return SR_OK;
    }
    (void)sr_err_prefix(&local, "flush");
    if (rc == SR_NO_SPACE) {
        atomic_store(&store->has_space, false);
    }
    if (err != NULL) {
        *err = local;
    }
    return sr_store_fail(store, &local);
}

static void refresh_sizes(struct sr_store *store)
{
    struct sr_lmdb *lmdb = &store->lmdb;
    const MDB_dbi tables[] = {lmdb->meta, lmdb->epoch, lmdb->idx, lmdb->log, lmdb->request};
    uint64_t in_use = 0;
    MDB_txn *txn;
    MDB_envinfo info;
    MDB_stat stat;

    if (mdb_txn_begin(lmdb->env, NULL, MDB_RDONLY, &txn) != 0) {
        return;
    }
    for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
        if (mdb_stat(txn, tables[i], &stat) != 0) {
            continue;
        }
        in_use += (uint64_t)stat.ms_psize *
                  (stat.ms_branch_pages + stat.ms_leaf_pages + stat.ms_overflow_pages);
        if (tables[i] != lmdb->idx) {
            continue;
        }
        store->idx_leaves = stat.ms_leaf_pages;
        sr_gauge_set(&store->metrics.unindexed_entries,
                     (int64_t)sr_unindexed_count(&store->unindexed));
        sr_gauge_set(&store->metrics.keys,
                     (int64_t)(stat.ms_entries + sr_unindexed_count(&store->unindexed)));
    }
    sr_gauge_set(&store->metrics.in_use_bytes, (int64_t)in_use);
    if (mdb_env_info(lmdb->env, &info) == 0) {
        sr_gauge_set(&store->metrics.database_bytes,
                     (int64_t)((info.me_last_pgno + 1) * stat.ms_psize));
    }
    mdb_txn_abort(txn);
}

void sr_store_refresh(struct sr_store *store)
{
    bool has_space = atomic_load(&store->has_space);

    sr_lmdb_enter(&store->lmdb);
    refresh_sizes(store);
    has_free(store, store->options.disk_reserve_bytes, &has_space);
    atomic_store(&store->has_space, has_space);
}
