/* SPDX-License-Identifier: Apache-2.0
 *
 * A store with known content, the bytes of its file, and a check that reads all of it: what is read
 * is the truth, or a failure. Included by one test program each.
 */
#ifndef SR_TESTS_UNIT_STORAGE_DAMAGE_H
#define SR_TESTS_UNIT_STORAGE_DAMAGE_H

#include "tests/unit/storage/store_fixture.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "storage/record.h"

#define KEYS       12
#define REVISIONS  40
#define VALUES_MAX 1000

/* A value of a table, as bytes to look for in the file. */
struct target {
    char table[16];
    uint8_t bytes[2048];
    size_t size;
};

static struct fixture fixture;
static struct target targets[VALUES_MAX];
static size_t target_count;
static uint8_t *image;
static size_t image_size;
static uint64_t durable_index;
static uint64_t seed = 5;

static void value_of(int64_t revision, struct sr_buf *ret)
{
    size_t size = revision % 5 == 0 ? 5000 : 40;

    sr_buf_clear(ret);
    memset(sr_buf_extend(ret, size), (int)revision, size);
}

/* Revision r sets key r % KEYS, or deletes it when r is a multiple of 11. */
static bool expected(int64_t key, int64_t revision, int64_t *ret_revision)
{
    for (int64_t r = revision; r >= 2; r--) {
        if (r % KEYS != key) {
            continue;
        }
        *ret_revision = r;
        return r % 11 != 0;
    }
    return false;
}

static struct sr_bytes key_of(int64_t number, char out[32])
{
    (void)snprintf(out, 32, "a key with number %d", (int)number + 10);
    return sr_bytes_of(out);
}

static void load(void)
{
    struct sr_buf value = {0};
    char key[32];

    for (int64_t r = 2; r <= REVISIONS; r++) {
        value_of(r, &value);
        struct sr_bytes bytes = {value.data, value.size};
        fixture_change(&fixture, 0, key_of(r % KEYS, key), r % 11 == 0 ? NULL : &bytes);
        fixture_publish(&fixture);
        if (r == REVISIONS / 2) {
            fixture_flush(&fixture);
        }
    }
    fixture_flush(&fixture);
    sr_buf_close(&value);
}

/* The record of a deletion has no value, so that no read of these looks at it. */
static bool is_deletion(const char *table, size_t size)
{
    char text[32];
    size_t ek_size = sr_ek_size(key_of(0, text).size);

    return strcmp(table, "log") == 0 &&
           size == 2 + ek_size + SR_HEADER_BYTES + SR_BOX_OVERHEAD_BYTES;
}

/* The order of the tables does not matter here, so LMDB's own comparator will do. */
static void collect(const char *table)
{
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi dbi;
    MDB_cursor *cursor;
    MDB_val key;
    MDB_val value;

    assert_int_equal(mdb_env_create(&env), 0);
    assert_int_equal(mdb_env_set_maxdbs(env, 8), 0);
    assert_int_equal(mdb_env_open(env, fixture.dir, MDB_RDONLY, 0600), 0);
    assert_int_equal(mdb_txn_begin(env, NULL, MDB_RDONLY, &txn), 0);
    assert_int_equal(mdb_dbi_open(txn, table, 0, &dbi), 0);
    assert_int_equal(mdb_cursor_open(txn, dbi, &cursor), 0);
    while (mdb_cursor_get(cursor, &key, &value, MDB_NEXT) == 0) {
        if (is_deletion(table, value.mv_size)) {
            continue;
        }
        struct target *target = &targets[target_count++];
        assert_true(target_count < VALUES_MAX && value.mv_size <= sizeof(target->bytes));
        (void)snprintf(target->table, sizeof(target->table), "%s", table);
        memcpy(target->bytes, value.mv_data, value.mv_size);
        target->size = value.mv_size;
    }
    mdb_cursor_close(cursor);
    mdb_txn_abort(txn);
    mdb_env_close(env);
}

static void load_image(void)
{
    char path[128];
    struct stat info;
    int fd;

    fixture_path(&fixture, "data.mdb", path);
    fd = open(path, O_RDONLY);
    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &info), 0);
    image_size = (size_t)info.st_size;
    image = sr_alloc(image_size);
    assert_int_equal(read(fd, image, image_size), image_size);
    close(fd);
}

static void write_bytes(const uint8_t *bytes, size_t size)
{
    char path[128];
    int fd;

    fixture_path(&fixture, "data.mdb", path);
    fd = open(path, O_WRONLY);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, size), size);
    assert_int_equal(ftruncate(fd, (off_t)size), 0);
    close(fd);
}

static bool is_failure(int rc)
{
    return rc == SR_CORRUPT || rc == SR_KEY || rc == SR_FORMAT || rc == SR_REFUSED;
}

/* Read one key at one revision: the truth, or a failure (then false). */
static bool check_get(struct sr_view *view, int64_t number, int64_t revision)
{
    struct sr_version version;
    struct sr_buf value = {0};
    struct sr_buf want = {0};
    struct sr_err err = {0};
    int64_t want_revision = 0;
    bool live = expected(number, revision, &want_revision);
    char text[32];
    struct sr_bytes key = key_of(number, text);
    int rc = sr_view_get(view, key, revision, &version, &err);

    if (rc == SR_OK) {
        rc = sr_view_value(view, key, &version, &value, &err);
    }
    if (rc == SR_OK) {
        assert_true(live);
        assert_int_equal(version.mod_revision, want_revision);
        value_of(want_revision, &want);
        assert_int_equal(value.size, want.size);
        assert_memory_equal(value.data, want.data, want.size);
    } else if (rc == SR_NOT_FOUND) {
        assert_false(live);
    } else {
        assert_true(is_failure(rc));
        assert_true(is_failure(sr_store_failure(fixture.store, &err)));
    }
    sr_buf_close(&value);
    sr_buf_close(&want);
    return rc == SR_OK || rc == SR_NOT_FOUND;
}

static bool check_scan(struct sr_view *view)
{
    struct sr_interval all = {sr_bytes_of("a"), sr_bytes_of("b")};
    struct sr_version version;
    struct sr_scan *scan = NULL;
    struct sr_bytes key;
    struct sr_err err = {0};
    char text[32];
    int rc = sr_scan_open(view, &all, INT64_MAX, NULL, &scan, &err);

    for (int64_t number = 0; rc == SR_OK && number < KEYS; number++) {
        int64_t revision = 0;
        if (!expected(number, REVISIONS, &revision)) {
            continue;
        }
        rc = sr_scan_next(scan, &key, &version, &err);
        if (rc != SR_OK) {
            break;
        }
        assert_true(sr_bytes_equal(key, key_of(number, text)));
        assert_int_equal(version.mod_revision, revision);
    }
    if (rc == SR_OK) {
        rc = sr_scan_next(scan, &key, &version, &err);
        assert_int_not_equal(rc, SR_OK); /* there is no more */
        rc = rc == SR_NOT_FOUND ? SR_OK : rc;
    }
    if (rc != SR_OK) {
        assert_true(is_failure(rc));
    }
    sr_scan_close(scan);
    return rc == SR_OK;
}

/* Read everything from the open store; true when nothing was found to be wrong. */
static bool check_reads(void)
{
    struct sr_view *view;
    struct sr_err err = {0};
    bool whole = true;

    fixture_ok(sr_view_open(fixture.store, &view, &err), &err);
    for (int64_t number = 0; number < KEYS; number++) {
        for (int64_t revision = REVISIONS; revision >= 2; revision -= 2) {
            whole &= check_get(view, number, revision);
        }
    }
    whole &= check_scan(view);
    sr_view_close(view);
    if (whole) {
        assert_int_equal(sr_store_failure(fixture.store, &err), SR_OK);
    }
    return whole;
}

/* Open the store and read everything; true when nothing was found to be wrong. */
static bool check_all(void)
{
    struct sr_err err = {0};
    int rc = sr_store_open(&fixture.options, &fixture.store, &err);

    if (rc != SR_OK) {
        if (!is_failure(rc)) {
            fail_msg("%d: %s", rc, err.text);
        }
        return false;
    }
    bool whole = check_reads();
    sr_store_close(fixture.store);
    fixture.store = NULL;
    return whole;
}

static int set_up_with(bool indexed)
{
    static const char *const tables[] = {"meta", "epoch", "idx", "log"};

    fixture_init(&fixture);
    if (indexed) {
        fixture.options.unindexed_entries_max = 1;
    }
    fixture_open(&fixture);
    load();
    if (indexed) {
        fixture_index(&fixture);
    }
    durable_index = sr_store_durable_index(fixture.store);
    sr_store_close(fixture.store);
    fixture.store = NULL;
    target_count = 0;
    for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
        collect(tables[i]);
    }
    load_image();
    return 0;
}

#endif
