/* SPDX-License-Identifier: Apache-2.0
 *
 * Ordered sources, merged: the tables of the view, newest first, and LMDB. Each offers, for its
 * next key, its newest version at or below the revision. A newer source never holds an older
 * version of a key than an older source does, so of equal keys the first source wins.
 */
#include "base/alloc.h"
#include "base/secret.h"
#include "storage/scan_lmdb.h"

/* Versions of a key walked one by one before the memtable is searched. */
#define WALK_MAX 8

/* A memtable as a source. */
struct table {
    const struct sr_memtable *memtable;
    const struct sr_memtable_entry *entry; /* NULL: at its end */
};

struct sr_scan {
    struct sr_view *view;
    const struct sr_interval *interval;
    int64_t revision;
    struct table tables[SR_TABLES];
    struct sr_lmdb_scan lmdb;
    struct sr_bytes key; /* the last one returned, which is to be passed; in key_bytes */
    bool started;
    uint8_t key_bytes[SR_KEY_BYTES_MAX];
};

static bool is_single(const struct sr_interval *interval)
{
    return interval->end.size == 0;
}

static bool is_open_ended(const struct sr_interval *interval)
{
    return interval->end.size == 1 && interval->end.data[0] == 0;
}

/* Whether @key, which is at or after the beginning, is before the end. */
static bool before_end(const struct sr_interval *interval, struct sr_bytes key)
{
    if (is_single(interval)) {
        return sr_bytes_equal(key, interval->begin);
    }
    return is_open_ended(interval) || sr_bytes_compare(key, interval->end) < 0;
}

bool sr_interval_contains(const struct sr_interval *interval, struct sr_bytes key)
{
    return sr_bytes_compare(key, interval->begin) >= 0 && before_end(interval, key);
}

/* From table->entry on, the first entry that is the newest of its key at or below @revision. */
static void table_settle(struct table *table, int64_t revision)
{
    const struct sr_memtable_entry *entry = table->entry;
    int steps = 0;

    while (entry != NULL && entry->version.mod_revision > revision) {
        const struct sr_memtable_entry *next = sr_memtable_next(entry);
        if (++steps < WALK_MAX || next == NULL || next->key != entry->key) {
            if (next == NULL || next->key != entry->key) {
                steps = 0;
            }
            entry = next;
            continue;
        }
        next = sr_memtable_get(table->memtable, sr_memtable_key(entry), revision);
        entry =
            next != NULL ? next : sr_memtable_seek(table->memtable, sr_memtable_key(entry), true);
        steps = 0;
    }
    table->entry = entry;
}

static void table_next(struct table *table, int64_t revision)
{
    const struct sr_memtable_entry *entry = table->entry;
    const struct sr_memtable_entry *next = sr_memtable_next(entry);

    for (int steps = 0; next != NULL && next->key == entry->key; steps++) {
        if (steps == WALK_MAX) {
            next = sr_memtable_seek(table->memtable, sr_memtable_key(entry), true);
            break;
        }
        next = sr_memtable_next(next);
    }
    table->entry = next;
    table_settle(table, revision);
}

int sr_scan_open(struct sr_view *view, const struct sr_interval *interval, int64_t revision,
                 const struct sr_bytes *after, struct sr_scan **ret, struct sr_err *err)
{
    struct sr_bytes begin = interval->begin;
    bool above = false;
    struct sr_scan *scan;
    int rc;

    if (after != NULL && sr_bytes_compare(*after, begin) >= 0) {
        begin = *after;
        above = true;
    }
    scan = sr_zalloc(sizeof(*scan));
    scan->view = view;
    scan->interval = interval;
    scan->revision = revision < view->visible ? revision : view->visible;
    for (int i = 0; i < SR_TABLES; i++) {
        struct table *table = &scan->tables[i];
        table->memtable = view->tables[i];
        if (table->memtable == NULL) {
            continue;
        }
        table->entry = sr_memtable_seek(table->memtable, begin, above);
        table_settle(table, scan->revision);
    }
    rc = sr_lmdb_scan_open(&scan->lmdb, view, begin, above, scan->revision);
    if (rc != SR_OK) {
        sr_scan_close(scan);
        return sr_view_failed(view, err);
    }
    *ret = scan;
    return SR_OK;
}

/* Move every source that stands at the last returned key past it. */
static int pass(struct sr_scan *scan)
{
    struct sr_lmdb_scan *lmdb = &scan->lmdb;

    for (int i = 0; i < SR_TABLES; i++) {
        struct table *table = &scan->tables[i];
        if (table->entry != NULL && sr_bytes_equal(sr_memtable_key(table->entry), scan->key)) {
            table_next(table, scan->revision);
        }
    }
    if (lmdb->valid && sr_bytes_equal((struct sr_bytes){lmdb->name, lmdb->name_size}, scan->key)) {
        return sr_lmdb_scan_next(lmdb);
    }
    return SR_OK;
}

/* The smallest key that a source stands at, in its newest version; false at the end. */
static bool smallest(const struct sr_scan *scan, struct sr_bytes *ret_key,
                     struct sr_version *ret_version)
{
    bool found = false;

    if (scan->lmdb.valid) {
        *ret_key = (struct sr_bytes){scan->lmdb.name, scan->lmdb.name_size};
        *ret_version = scan->lmdb.version;
        found = true;
    }
    for (int i = SR_TABLES - 1; i >= 0; i--) {
        const struct sr_memtable_entry *entry = scan->tables[i].entry;
        if (entry == NULL || (found && sr_bytes_compare(sr_memtable_key(entry), *ret_key) > 0)) {
            continue;
        }
        *ret_key = sr_memtable_key(entry);
        *ret_version = entry->version;
        found = true;
    }
    return found;
}

int sr_scan_next(struct sr_scan *scan, struct sr_bytes *ret_key, struct sr_version *ret_version,
                 struct sr_err *err)
{
    struct sr_version version;
    struct sr_bytes key;

    for (;;) {
        if (scan->started && pass(scan) != SR_OK) {
            return sr_view_failed(scan->view, err);
        }
        if (!smallest(scan, &key, &version) || !before_end(scan->interval, key)) {
            return SR_NOT_FOUND;
        }
        /* A copy: the source that it came from may move before the caller is done with it. */
        if (key.size > 0) {
            memcpy(scan->key_bytes, key.data, key.size);
        }
        scan->key = (struct sr_bytes){scan->key_bytes, key.size};
        scan->started = true;
        if (!version.tombstone) {
            break;
        }
    }
    *ret_key = scan->key;
    *ret_version = version;
    return SR_OK;
}

void sr_scan_close(struct sr_scan *scan)
{
    if (scan == NULL) {
        return;
    }
    sr_lmdb_scan_close(&scan->lmdb);
    sr_secret_wipe(scan, sizeof(*scan));
    sr_free(scan);
}
