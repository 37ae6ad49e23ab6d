/* SPDX-License-Identifier: Apache-2.0
 *
 * Compaction to C removes, of each key, the versions that a newer one at or below C supersedes,
 * and deletions before C. It works through the log's events in order, so that its cost is that of
 * the events since the last time and never of the database:
 *
 *   an event at revision r: the next older version of its key, if there is one, is dead;
 *   a tombstone at r < C: it is dead itself.
 *
 * By going in order there is never more than one older version left. A tombstone exactly at C
 * stays, as a reader at C must find that the key is gone and since when; the next compaction
 * begins with the events at C again and removes it.
 */
#include "base/alloc.h"
#include "storage/record.h"
#include "storage/store_internal.h"

/* Events are read a group at a time, so that no cursor stands in the log while it is changed. */
#define GROUP_EVENTS 128

struct event {
    int64_t revision;
    uint32_t sub;
    struct sr_idx_key key;
};

struct slice {
    struct sr_store *store;
    MDB_txn *txn;
    MDB_cursor *idx;
    MDB_cursor *log;
    int64_t target;
    int64_t limit; /* the last event to look at */
    struct event *events;
};

bool sr_compaction_is_pending(const struct sr_compaction *compaction)
{
    return compaction->cursor_rev <= compaction->target;
}

bool sr_compaction_has_work(const struct sr_compaction *compaction, int64_t limit)
{
    return compaction->cursor_rev <= limit;
}

void sr_compaction_aim(struct sr_compaction *compaction, int64_t target)
{
    if (target <= compaction->target) {
        return;
    }
    /* Tombstones at the old target were kept for it: look at its events once more. */
    if (compaction->cursor_rev >= compaction->target && compaction->target > 0) {
        compaction->cursor_rev = compaction->target;
        compaction->cursor_sub = 0;
    }
    compaction->target = target;
}

static int damaged(int64_t revision, const char *what, struct sr_err *err)
{
    return sr_err_set(err, SR_CORRUPT, "compaction: revision %lld: %s", (long long)revision, what);
}

static int parse_event(const MDB_val *key, const MDB_val *data, struct event *ret,
                       struct sr_err *err)
{
    const uint8_t *bytes = key->mv_data;
    struct sr_reader reader = sr_reader_of(data->mv_data, data->mv_size);
    size_t ek_size = sr_read_u16(&reader);

    if (key->mv_size != SR_LOG_KEY_BYTES) {
        return sr_err_set(err, SR_CORRUPT, "log: a key of %zu bytes", key->mv_size);
    }
    ret->revision = (int64_t)sr_get_u64(bytes);
    ret->sub = sr_get_u32(bytes + 8);
    if (ek_size > (size_t)SR_EK_BYTES_MAX) {
        return damaged(ret->revision, "impossible record", err);
    }
    sr_read_copy(&reader, ret->key.bytes, ek_size);
    if (reader.failed || bytes[12] != 0 || bytes[13] != 0) {
        return damaged(ret->revision, "impossible record", err);
    }
    ret->key.ek_size = ek_size;
    return SR_OK;
}

/* Read up to @count events from (@revision, @sub) on, up to the limit. */
static int read_group(struct slice *slice, int64_t revision, uint32_t sub, size_t count,
                      size_t *ret_count, struct sr_err *err)
{
    uint8_t bytes[SR_LOG_KEY_BYTES];
    size_t have = 0;

    while (have < count) {
        MDB_val key = {sizeof(bytes), bytes};
        MDB_val data;
        sr_log_key_pack(bytes, revision, sub, 0);
        int rc = mdb_cursor_get(slice->log, &key, &data, MDB_SET_RANGE);
        if (rc == MDB_NOTFOUND) {
            break;
        }
        if (rc != 0) {
            return sr_lmdb_failed(rc, "compaction: read log", err);
        }
        struct event *event = &slice->events[have];
        rc = parse_event(&key, &data, event, err);
        if (rc != SR_OK) {
            return rc;
        }
        if (event->revision > slice->limit) {
            break;
        }
        have++;
        revision = event->revision;
        sub = event->sub + 1;
    }
    *ret_count = have;
    return SR_OK;
}

/* Each piece is looked for anew: where a cursor stands after a deletion is LMDB's affair. */
static int remove_record(struct slice *slice, size_t ek_size, const struct sr_version *version,
                         struct sr_err *err)
{
    size_t pieces = sr_record_pieces(ek_size, version->value_size);
    uint8_t bytes[SR_LOG_KEY_BYTES];

    for (size_t piece = 0; piece < pieces; piece++) {
        MDB_val key = {sizeof(bytes), bytes};
        MDB_val data;
        sr_log_key_pack(bytes, version->mod_revision, version->sub, (uint16_t)piece);
        int rc = mdb_cursor_get(slice->log, &key, &data, MDB_SET_KEY);
        if (rc == MDB_NOTFOUND) {
            return damaged(version->mod_revision, "a piece of its record is missing", err);
        }
        if (rc == 0) {
            rc = mdb_cursor_del(slice->log, 0);
        }
        if (rc != 0) {
            return sr_lmdb_failed(rc, "compaction: remove record", err);
        }
    }
    return SR_OK;
}

/* Remove the version that the idx cursor stands at. */
static int remove_version(struct slice *slice, size_t ek_size, const struct sr_version *version,
                          struct sr_err *err)
{
    int rc = mdb_cursor_del(slice->idx, 0);

    if (rc != 0) {
        return sr_lmdb_failed(rc, "compaction: remove version", err);
    }
    return remove_record(slice, ek_size, version, err);
}

/* Stand at the version of @event itself; it must be there as long as its record is. */
static int find_version(struct slice *slice, struct event *event, struct sr_version *ret_version,
                        struct sr_err *err)
{
    struct sr_bytes ek = {event->key.bytes, event->key.ek_size};
    MDB_val key;
    MDB_val box;
    int rc;

    sr_idx_key_set_revision(&event->key, event->revision);
    key = sr_idx_key_val(&event->key);
    rc = mdb_cursor_get(slice->idx, &key, &box, MDB_SET_KEY);
    if (rc == MDB_NOTFOUND) {
        return damaged(event->revision, "in the log but not in the index", err);
    }
    if (rc != 0) {
        return sr_lmdb_failed(rc, "compaction: read index", err);
    }
    rc = sr_header_open(&slice->store->opener, slice->txn, ek, event->revision, &box, ret_version,
                        err);
    if (rc == SR_OK && ret_version->sub != event->sub) {
        return damaged(event->revision, "index and log differ", err);
    }
    return rc;
}

/* Remove the next older version of the event's key, if there is one. */
static int remove_older(struct slice *slice, struct event *event, struct sr_err *err)
{
    struct sr_version older;
    struct sr_bytes ek;
    int64_t revision;
    MDB_val key;
    MDB_val box;
    int rc = mdb_cursor_get(slice->idx, &key, &box, MDB_NEXT);

    if (rc == MDB_NOTFOUND || (rc == 0 && !sr_idx_key_same(&event->key, &key))) {
        return SR_OK;
    }
    if (rc != 0) {
        return sr_lmdb_failed(rc, "compaction: read index", err);
    }
    rc = sr_idx_key_parse(&key, &ek, &revision, err);
    if (rc == SR_OK) {
        rc = sr_header_open(&slice->store->opener, slice->txn, ek, revision, &box, &older, err);
    }
    if (rc == SR_OK) {
        rc = remove_version(slice, event->key.ek_size, &older, err);
    }
    return rc;
}

static int work_on(struct slice *slice, struct event *event, struct sr_err *err)
{
    struct sr_version version = {0};
    int rc = find_version(slice, event, &version, err);

    if (rc == SR_OK) {
        rc = remove_older(slice, event, err);
    }
    if (rc != SR_OK || !version.tombstone || event->revision == slice->target) {
        return rc;
    }
    rc = find_version(slice, event, &version, err);
    if (rc == SR_OK) {
        rc = remove_version(slice, event->key.ek_size, &version, err);
    }
    return rc;
}

static int work_through(struct slice *slice, struct sr_compaction *compaction, size_t events_max,
                        struct sr_err *err)
{
    size_t done = 0;

    while (done < events_max) {
        size_t want = events_max - done < GROUP_EVENTS ? events_max - done : GROUP_EVENTS;
        size_t count = 0;
        int rc =
            read_group(slice, compaction->cursor_rev, compaction->cursor_sub, want, &count, err);
        for (size_t i = 0; rc == SR_OK && i < count; i++) {
            rc = work_on(slice, &slice->events[i], err);
        }
        if (rc != SR_OK) {
            return rc;
        }
        if (count > 0) {
            compaction->cursor_rev = slice->events[count - 1].revision;
            compaction->cursor_sub = slice->events[count - 1].sub + 1;
            done += count;
        }
        if (count < want) {
            compaction->cursor_rev = slice->limit + 1;
            compaction->cursor_sub = 0;
            break;
        }
    }
    return SR_OK;
}

int sr_compaction_slice(struct sr_store *store, MDB_txn *txn, struct sr_compaction *compaction,
                        int64_t limit, size_t events_max, struct sr_err *err)
{
    struct slice slice = {.store = store, .txn = txn, .target = compaction->target, .limit = limit};
    int rc = mdb_cursor_open(txn, store->lmdb.idx, &slice.idx);

    if (rc == 0) {
        rc = mdb_cursor_open(txn, store->lmdb.log, &slice.log);
    }
    if (rc == 0) {
        slice.events = sr_calloc(GROUP_EVENTS, sizeof(*slice.events));
        rc = work_through(&slice, compaction, events_max, err);
        sr_free(slice.events);
    } else {
        rc = sr_lmdb_failed(rc, "compaction", err);
    }
    if (slice.idx != NULL) {
        mdb_cursor_close(slice.idx);
    }
    if (slice.log != NULL) {
        mdb_cursor_close(slice.log);
    }
    return rc;
}
