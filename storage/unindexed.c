/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/unindexed.h"

#include "base/check.h"
#include "base/secret.h"
#include "storage/event.h"
#include "storage/store_internal.h"

/* Leaves of the index that one transaction should change at most. LMDB holds each in memory until
 * the commit: 16 MiB. */
#define SLICE_LEAVES ((size_t)4096)

static size_t entries_of(const struct sr_memtable *memtable)
{
    return atomic_load_explicit(&memtable->entries, memory_order_relaxed);
}

/* ---- Open ---- */

static int gather_event(struct sr_store *store, const struct sr_event *event, struct sr_err *err)
{
    uint8_t name[SR_KEY_BYTES_MAX];
    size_t size;
    int rc = sr_key_decode(store->lmdb.codec, event->ek, event->ek_size, name, &size, err);

    if (rc != SR_OK) {
        return rc;
    }
    sr_memtable_add_header(store->unindexed.gathering, (struct sr_bytes){name, size},
                           &event->version);
    store->unindexed.gathering_value_bytes += event->version.value_size;
    sr_secret_wipe(name, size);
    return SR_OK;
}

static int gather_events(struct sr_store *store, struct sr_event_reader *reader, struct sr_err *err)
{
    int64_t last = store->durable.revision;
    int64_t revision = store->unindexed.indexed + 1;
    struct sr_event event;
    uint32_t sub = 0;

    for (;;) {
        int rc = sr_event_read(reader, revision, sub, &event, err);
        if (rc != SR_OK) {
            return rc == SR_NOT_FOUND ? SR_OK : rc;
        }
        revision = event.version.mod_revision;
        sub = event.version.sub + 1;
        if (revision > last) {
            return sr_err_set(err, SR_CORRUPT, "log: revision %lld is beyond the last one, %lld",
                              (long long)revision, (long long)last);
        }
        rc = gather_event(store, &event, err);
        if (rc != SR_OK) {
            return rc;
        }
    }
}

int sr_unindexed_load(struct sr_store *store, MDB_txn *txn, struct sr_err *err)
{
    struct sr_event_reader reader = {.opener = &store->opener};
    int rc = mdb_cursor_open(txn, store->lmdb.log, &reader.cursor);

    if (rc != 0) {
        return sr_lmdb_failed(rc, "read log", err);
    }
    store->unindexed.gathering = sr_memtable_new(store->hash_key);
    store->unindexed.rebuilt = store->durable.revision;
    rc = gather_events(store, &reader, err);
    mdb_cursor_close(reader.cursor);
    sr_event_reader_close(&reader);
    return rc;
}

void sr_unindexed_close(struct sr_unindexed *unindexed)
{
    sr_memtable_unref(unindexed->gathering);
    sr_memtable_unref(unindexed->draining);
    *unindexed = (struct sr_unindexed){0};
}

/* ---- Gather ---- */

static bool at_bound(const struct sr_store *store)
{
    const struct sr_unindexed *unindexed = &store->unindexed;

    return entries_of(unindexed->gathering) >= store->options.unindexed_entries_max ||
           unindexed->gathering_value_bytes >= SR_UNINDEXED_VALUE_BYTES_MAX;
}

bool sr_unindexed_is_full(const struct sr_store *store)
{
    return store->unindexed.draining != NULL && at_bound(store);
}

void sr_unindexed_gather(struct sr_store *store, const struct sr_memtable *memtable)
{
    const struct sr_memtable_entry *entry = sr_memtable_log(memtable);

    sr_memtable_add_headers(store->unindexed.gathering, memtable);
    for (; entry != NULL; entry = entry->log_next) {
        store->unindexed.gathering_value_bytes += entry->version.value_size;
    }
}

size_t sr_unindexed_count(const struct sr_unindexed *unindexed)
{
    size_t count = entries_of(unindexed->gathering);

    if (unindexed->draining != NULL) {
        count += entries_of(unindexed->draining) - unindexed->drained;
    }
    return count;
}

/* ---- Drain ---- */

static int put_header(struct sr_store *store, MDB_cursor *cursor, struct sr_buf *scratch,
                      const struct sr_memtable_entry *entry, struct sr_err *err)
{
    struct sr_lmdb *lmdb = &store->lmdb;
    uint8_t aad[SR_AAD_BYTES];
    uint8_t header[SR_HEADER_BYTES];
    int64_t revision = entry->version.mod_revision;
    struct sr_idx_key idx_key;
    MDB_val key;
    MDB_val data;
    size_t size;
    int rc;

    idx_key.ek_size = sr_key_encode(lmdb->codec, entry->key, entry->key_size, idx_key.bytes);
    sr_idx_key_set_revision(&idx_key, revision);
    size = sr_header_aad(aad, (struct sr_bytes){idx_key.bytes, idx_key.ek_size}, revision);
    sr_header_pack(header, &entry->version);
    sr_buf_clear(scratch);
    rc = sr_box_seal(lmdb, mdb_cursor_txn(cursor), SR_DOMAIN_HEADER, (struct sr_bytes){aad, size},
                     (struct sr_bytes){header, sizeof(header)}, scratch, err);
    if (rc != SR_OK) {
        return rc;
    }
    key = sr_idx_key_val(&idx_key);
    data = (MDB_val){scratch->size, scratch->data};
    /* A version is written once: finding it there, but for what a drain before a restart may have
     * left, means that the applied index is not to be trusted. */
    rc = mdb_cursor_put(cursor, &key, &data,
                        revision <= store->unindexed.rebuilt ? 0 : MDB_NOOVERWRITE);
    return rc == 0 ? SR_OK : sr_lmdb_failed(rc, "write index", err);
}

/* How many entries to drain at once: those that change about SLICE_LEAVES, in key order. Each is
 * taken to change a leaf of its own, until there are more entries than leaves. Never more than a
 * quarter of the bound, so that no transaction is much longer than the others. */
static size_t slice_entries(const struct sr_store *store, const struct sr_memtable *draining)
{
    size_t leaves = store->idx_leaves;
    size_t entries = entries_of(draining);
    size_t slice = SLICE_LEAVES * (entries > leaves && leaves > 0 ? entries / leaves : 1);
    size_t most = store->options.unindexed_entries_max / 4 + 1;

    return slice < most ? slice : most;
}

int sr_unindexed_drain(struct sr_store *store, MDB_txn *txn, struct sr_unindexed *after,
                       struct sr_err *err)
{
    struct sr_buf scratch = {0};
    MDB_cursor *cursor;
    size_t left;
    int rc;

    if (after->draining == NULL) {
        return SR_OK;
    }
    rc = mdb_cursor_open(txn, store->lmdb.idx, &cursor);
    if (rc != 0) {
        return sr_lmdb_failed(rc, "write index", err);
    }
    left = slice_entries(store, after->draining);
    for (; rc == SR_OK && left > 0 && after->next != NULL; left--) {
        rc = put_header(store, cursor, &scratch, after->next, err);
        after->next = sr_memtable_next(after->next);
        after->drained++;
    }
    if (after->next == NULL) {
        after->indexed = after->draining->state.revision;
    }
    mdb_cursor_close(cursor);
    sr_buf_close(&scratch);
    return rc;
}

struct sr_memtable *sr_unindexed_turn(struct sr_store *store, const struct sr_unindexed *after,
                                      bool hurry)
{
    struct sr_unindexed *unindexed = &store->unindexed;
    struct sr_memtable *done = NULL;

    unindexed->next = after->next;
    unindexed->drained = after->drained;
    unindexed->indexed = after->indexed;
    if (unindexed->draining != NULL && unindexed->next == NULL) {
        done = unindexed->draining;
        unindexed->draining = NULL;
    }
    if (unindexed->draining != NULL || (!hurry && !at_bound(store))) {
        return done;
    }
    if (entries_of(unindexed->gathering) == 0) {
        unindexed->indexed = store->durable.revision;
        return done;
    }
    unindexed->draining = unindexed->gathering;
    unindexed->draining->state = store->durable;
    unindexed->next = sr_memtable_seek(unindexed->draining, (struct sr_bytes){0}, false);
    unindexed->drained = 0;
    unindexed->gathering = sr_memtable_new(store->hash_key);
    unindexed->gathering_value_bytes = 0;
    return done;
}
