/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/storage/store_fixture.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>

#include "base/alloc.h"

static struct fixture fixture;

static int set_up(void **state)
{
    (void)state;
    fixture_init(&fixture);
    fixture_open(&fixture);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fixture_close(&fixture);
    return 0;
}

static int try_open(const struct sr_store_options *options)
{
    struct sr_store *store = NULL;
    struct sr_err err = {0};
    int rc = sr_store_open(options, &store, &err);

    if (rc == SR_OK) {
        sr_store_close(store);
    } else {
        assert_true(strlen(err.text) > 0);
    }
    return rc;
}

static void begins_as_etcd_does(void **state)
{
    uint8_t hash[32];
    uint8_t zeros[32] = {0};
    int64_t revision;
    uint64_t index;

    (void)state;
    assert_int_equal(sr_store_revision(fixture.store), 1);
    assert_int_equal(sr_store_compact_revision(fixture.store), -1);
    assert_int_equal(sr_store_applied_index(fixture.store), 0);
    assert_int_equal(sr_store_durable_index(fixture.store), 0);
    sr_store_state_hash(fixture.store, hash, &revision, &index);
    assert_memory_equal(hash, zeros, sizeof(hash));
    assert_true(sr_store_has_space(fixture.store));
    assert_false(sr_store_freeze(fixture.store, true));
    assert_null(fixture_get(&fixture, "a", INT64_MAX));
}

static void reads_from_every_layer(void **state)
{
    (void)state;
    fixture_put(&fixture, "a", "in lmdb");
    fixture_put(&fixture, "b", "in lmdb");
    fixture_put(&fixture, "c", "in lmdb");
    fixture_flush(&fixture);
    fixture_put(&fixture, "b", "frozen");
    fixture_put(&fixture, "c", "frozen");
    assert_true(sr_store_freeze(fixture.store, true));
    fixture_put(&fixture, "c", "active");
    assert_string_equal(fixture_get(&fixture, "a", INT64_MAX), "in lmdb");
    assert_string_equal(fixture_get(&fixture, "b", INT64_MAX), "frozen");
    assert_string_equal(fixture_get(&fixture, "c", INT64_MAX), "active");
    assert_string_equal(fixture_get(&fixture, "c", 6), "frozen");
    assert_string_equal(fixture_get(&fixture, "c", 4), "in lmdb");
    assert_null(fixture_get(&fixture, "c", 3));
    fixture_delete(&fixture, "a");
    assert_null(fixture_get(&fixture, "a", INT64_MAX));
    assert_string_equal(fixture_get(&fixture, "a", 7), "in lmdb");
}

static void a_view_sees_whole_revisions_only(void **state)
{
    struct sr_bytes value = sr_bytes_of("v");
    struct sr_view *view;
    struct sr_version version;
    struct sr_err err = {0};

    (void)state;
    fixture_put(&fixture, "a", "old");
    fixture_change(&fixture, 0, sr_bytes_of("a"), &value);
    /* The writer sees what it is doing; nobody else does. */
    fixture_ok(
        sr_view_get(sr_writer_view(fixture.store), sr_bytes_of("a"), INT64_MAX, &version, &err),
        &err);
    assert_int_equal(version.mod_revision, 3);
    assert_string_equal(fixture_get(&fixture, "a", INT64_MAX), "old");
    fixture_ok(sr_view_open(fixture.store, &view, &err), &err);
    fixture_publish(&fixture);
    assert_string_equal(fixture_get(&fixture, "a", INT64_MAX), "v");
    /* A view stays at its revision, whatever happens beside it. */
    fixture_settle(&fixture);
    assert_int_equal(sr_view_revision(view), 2);
    fixture_ok(sr_view_get(view, sr_bytes_of("a"), INT64_MAX, &version, &err), &err);
    assert_int_equal(version.mod_revision, 2);
    sr_view_close(view);
}

static void *open_one(void *arg)
{
    struct sr_view **view = arg;
    struct sr_err err = {0};

    return sr_view_open(fixture.store, view, &err) == SR_OK ? NULL : arg;
}

/* Versions up to a compact revision may be gone before a view has taken that revision in. */
static void a_view_that_compaction_overtook_is_taken_anew(void **state)
{
    struct sr_view *view = NULL;
    bool counted = false;
    pthread_t reader;
    void *rc;

    (void)state;
    for (int i = 0; i < 5; i++) {
        fixture_put(&fixture, "a", "v");
    }
    atomic_store(&fixture.store->compacting_to, 4);
    assert_int_equal(pthread_create(&reader, NULL, open_one, &view), 0);
    while (!counted) {
        pthread_mutex_lock(&fixture.store->mutex);
        counted = fixture.store->views_open == 1;
        pthread_mutex_unlock(&fixture.store->mutex);
    }
    for (int i = 0; i < 1000; i++) {
        sched_yield();
    }
    fixture_compact(&fixture, 4);
    assert_int_equal(pthread_join(reader, &rc), 0);
    assert_null(rc);
    assert_int_equal(sr_view_compact_revision(view), 4);
    sr_view_close(view);
}

static void keeps_what_was_flushed(void **state)
{
    uint8_t hash[32];
    int64_t revision;
    uint64_t index;

    (void)state;
    fixture.store->apply.hash[5] = 77;
    fixture_put(&fixture, "a", "kept");
    fixture_compact(&fixture, 2);
    fixture_flush(&fixture);
    fixture_put(&fixture, "a", "lost");
    fixture_reopen(&fixture);
    assert_string_equal(fixture_get(&fixture, "a", INT64_MAX), "kept");
    assert_int_equal(sr_store_compact_revision(fixture.store), 2);
    sr_store_state_hash(fixture.store, hash, &revision, &index);
    assert_int_equal(hash[5], 77);
    assert_int_equal(revision, 2);
    assert_int_equal(index, 2);
    assert_int_equal(sr_store_durable_index(fixture.store), 2);
    /* The lost one is applied again, under the same revision. */
    fixture_put(&fixture, "a", "lost");
    fixture_flush(&fixture);
    fixture_reopen(&fixture);
    assert_string_equal(fixture_get(&fixture, "a", INT64_MAX), "lost");
    assert_int_equal(sr_store_revision(fixture.store), 3);
}

static void flushes_an_index_that_moved_alone(void **state)
{
    (void)state;
    sr_store_publish(fixture.store, 41);
    assert_false(sr_store_freeze(fixture.store, false));
    fixture_flush(&fixture);
    assert_int_equal(sr_store_durable_index(fixture.store), 41);
    assert_false(sr_store_freeze(fixture.store, true));
}

static void half_a_batch_is_never_frozen(void **state)
{
    struct sr_bytes value = sr_bytes_of("v");

    (void)state;
    fixture_put(&fixture, "a", "whole");
    fixture_change(&fixture, 0, sr_bytes_of("a"), &value);
    assert_false(sr_store_freeze(fixture.store, true));
    fixture_publish(&fixture);
    assert_true(sr_store_freeze(fixture.store, true));
}

/* A database that does not fit is no store at all. */
static void no_space_at_open_fails(void **state)
{
    struct fixture small;
    struct sr_err err = {0};

    (void)state;
    fixture_init(&small);
    small.options.map_bytes = 16384;
    assert_int_equal(sr_store_open(&small.options, &small.store, &err), SR_NO_SPACE);
    assert_null(small.store);
    fixture_close(&small);
}

static void is_full_with_two_memtables(void **state)
{
    char key[16];

    (void)state;
    sr_store_close(fixture.store);
    fixture.options.memtable_entries_max = 10;
    fixture_open(&fixture);
    for (int i = 0; i < 10; i++) {
        (void)snprintf(key, sizeof(key), "%d", i);
        assert_false(sr_store_freeze(fixture.store, false));
        fixture_put(&fixture, key, "x");
    }
    assert_false(sr_store_is_full(fixture.store));
    assert_true(sr_store_freeze(fixture.store, false));
    for (int i = 0; i < 10; i++) {
        assert_false(sr_store_is_full(fixture.store));
        (void)snprintf(key, sizeof(key), "%d", i);
        fixture_put(&fixture, key, "y");
    }
    assert_true(sr_store_is_full(fixture.store));
    assert_int_equal(sr_gauge_read(&sr_store_metrics(fixture.store)->memtable_entries), 20);
    struct sr_err err = {0};
    fixture_ok(sr_store_flush(fixture.store, &err), &err);
    assert_false(sr_store_is_full(fixture.store));
}

static void opens_a_bounded_number_of_views(void **state)
{
    struct sr_view *views[SR_VIEWS_MAX + 1];
    struct sr_err err = {0};

    (void)state;
    fixture_put(&fixture, "a", "v");
    fixture_flush(&fixture);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < SR_VIEWS_MAX; i++) {
            fixture_ok(sr_view_open(fixture.store, &views[i], &err), &err);
        }
        assert_int_equal(sr_view_open(fixture.store, &views[SR_VIEWS_MAX], &err), SR_LIMIT);
        assert_int_equal(sr_gauge_read(&sr_store_metrics(fixture.store)->open_views), SR_VIEWS_MAX);
        for (int i = 0; i < SR_VIEWS_MAX; i++) {
            sr_view_close(views[i]);
        }
    }
    assert_int_equal(sr_store_failure(fixture.store, &err), SR_OK);
    assert_string_equal(fixture_get(&fixture, "a", INT64_MAX), "v");
}

static void refuses_what_is_not_its_own(void **state)
{
    struct sr_store_options options = fixture.options;
    char path[128];
    struct sr_err err = {0};
    struct sr_keyring *other;

    (void)state;
    fixture_put(&fixture, "a", "v");
    fixture_flush(&fixture);
    sr_store_close(fixture.store);
    fixture.store = NULL;
    options.cluster_id++;
    assert_int_equal(try_open(&options), SR_REFUSED);
    options = fixture.options;
    options.member_id++;
    assert_int_equal(try_open(&options), SR_REFUSED);
    /* The right names, but another keyring. */
    fixture_path(&fixture, "keyring2", path);
    fixture_ok(sr_keyring_create(path, fixture_kek, FIXTURE_CLUSTER, FIXTURE_MEMBER, &err), &err);
    fixture_ok(sr_keyring_open(path, fixture_kek, FIXTURE_CLUSTER, FIXTURE_MEMBER, &other, &err),
               &err);
    options = fixture.options;
    options.keyring = other;
    assert_int_equal(try_open(&options), SR_KEY);
    sr_keyring_close(other);
    /* None of that has changed anything. */
    fixture_open(&fixture);
    assert_string_equal(fixture_get(&fixture, "a", INT64_MAX), "v");
}

/* Change value @name of `meta` behind the store's back. */
static void set_format(size_t at, uint32_t number)
{
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi dbi;
    MDB_val key = {6, "format"};
    MDB_val value;
    uint8_t bytes[64];

    assert_int_equal(mdb_env_create(&env), 0);
    assert_int_equal(mdb_env_set_maxdbs(env, 8), 0);
    assert_int_equal(mdb_env_open(env, fixture.dir, 0, 0600), 0);
    assert_int_equal(mdb_txn_begin(env, NULL, 0, &txn), 0);
    assert_int_equal(mdb_dbi_open(txn, "meta", 0, &dbi), 0);
    assert_int_equal(mdb_get(txn, dbi, &key, &value), 0);
    assert_true(value.mv_size <= sizeof(bytes));
    memcpy(bytes, value.mv_data, value.mv_size);
    sr_put_u32(bytes + at, number);
    value.mv_data = bytes;
    assert_int_equal(mdb_put(txn, dbi, &key, &value, 0), 0);
    assert_int_equal(mdb_txn_commit(txn), 0);
    mdb_env_close(env);
}

static void refuses_a_newer_format(void **state)
{
    (void)state;
    sr_store_close(fixture.store);
    fixture.store = NULL;
    set_format(4, SR_STORE_FORMAT + 1);
    assert_int_equal(try_open(&fixture.options), SR_FORMAT);
    set_format(4, SR_STORE_FORMAT);
    set_format(12, 0x10); /* an incompatible feature */
    assert_int_equal(try_open(&fixture.options), SR_FORMAT);
    set_format(12, 0);
    assert_int_equal(try_open(&fixture.options), SR_OK);
    set_format(4, SR_STORE_FORMAT);
    fixture_open(&fixture);
}

static void refuses_files_that_are_none(void **state)
{
    char path[128];
    int fd;

    (void)state;
    sr_store_close(fixture.store);
    fixture.store = NULL;
    fixture_path(&fixture, "data.mdb", path);
    fd = open(path, O_WRONLY | O_TRUNC);
    assert_true(fd >= 0);
    for (int i = 0; i < 3; i++) {
        assert_true(write(fd, fixture.dir, sizeof(fixture.dir)) > 0);
    }
    close(fd);
    assert_int_equal(try_open(&fixture.options), SR_CORRUPT);
    fixture.options.dir = "/nonexistent/strongroom";
    assert_int_equal(try_open(&fixture.options), SR_IO);
    fixture.options.dir = fixture.dir;
}

static void a_full_map_is_no_failure(void **state)
{
    char key[32];
    struct sr_err err = {0};
    int count = 0;
    int rc = SR_OK;

    (void)state;
    fixture_close(&fixture);
    fixture_init(&fixture);
    fixture.options.map_bytes = (size_t)512 * 1024;
    fixture_open(&fixture);
    while (rc == SR_OK && count < 10000) {
        for (int i = 0; i < 50; i++) {
            (void)snprintf(key, sizeof(key), "key %d", count++);
            fixture_put(&fixture, key, key);
        }
        assert_true(sr_store_freeze(fixture.store, true));
        rc = sr_store_flush(fixture.store, &err);
    }
    assert_int_equal(rc, SR_NO_SPACE);
    assert_int_equal(sr_store_failure(fixture.store, &err), SR_OK);
    assert_false(sr_store_has_space(fixture.store));
    assert_int_equal(sr_store_durable_index(fixture.store), count - 50);
    assert_string_equal(fixture_get(&fixture, key, INT64_MAX), key);
    assert_string_equal(fixture_get(&fixture, "key 0", INT64_MAX), "key 0");
    /* It stays as it is until there is room. */
    assert_int_equal(sr_store_flush(fixture.store, &err), SR_NO_SPACE);
    fixture.options.map_bytes = 0;
    fixture_reopen(&fixture);
    assert_int_equal(sr_store_applied_index(fixture.store), count - 50);
    assert_true(sr_store_has_space(fixture.store));
    assert_null(fixture_get(&fixture, key, INT64_MAX));
    assert_string_equal(fixture_get(&fixture, "key 0", INT64_MAX), "key 0");
}

static void has_no_space_below_the_reserve(void **state)
{
    (void)state;
    fixture.options.disk_reserve_bytes = UINT64_MAX;
    fixture_reopen(&fixture);
    assert_false(sr_store_has_space(fixture.store));
    fixture.options.disk_reserve_bytes = 0;
    fixture_reopen(&fixture);
    assert_true(sr_store_has_space(fixture.store));
}

static void the_first_failure_stays(void **state)
{
    struct sr_err err = {0};
    struct sr_view *view;

    (void)state;
    fixture_put(&fixture, "a", "v");
    (void)sr_err_set(&err, SR_NO_SPACE, "full");
    assert_int_equal(sr_store_fail(fixture.store, &err), SR_NO_SPACE);
    assert_int_equal(sr_store_failure(fixture.store, &err), SR_OK);
    (void)sr_err_set(&err, SR_CORRUPT, "first");
    assert_int_equal(sr_store_fail(fixture.store, &err), SR_CORRUPT);
    (void)sr_err_set(&err, SR_IO, "second");
    assert_int_equal(sr_store_fail(fixture.store, &err), SR_IO);
    assert_int_equal(sr_store_failure(fixture.store, &err), SR_CORRUPT);
    assert_string_equal(err.text, "first");
    assert_int_equal(sr_view_open(fixture.store, &view, &err), SR_CORRUPT);
    assert_int_equal(sr_store_flush(fixture.store, &err), SR_CORRUPT);
}

static bool file_contains(const char *text)
{
    char path[128];
    struct stat info;
    uint8_t *bytes;
    bool found;
    int fd;

    fixture_path(&fixture, "data.mdb", path);
    fd = open(path, O_RDONLY);
    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &info), 0);
    bytes = sr_alloc((size_t)info.st_size);
    assert_int_equal(read(fd, bytes, (size_t)info.st_size), info.st_size);
    found = memmem(bytes, (size_t)info.st_size, text, strlen(text)) != NULL;
    sr_free(bytes);
    close(fd);
    return found;
}

static void nothing_is_in_the_clear(void **state)
{
    char value[4096];
    struct sr_bytes bytes = {(const uint8_t *)value, sizeof(value)};
    struct stat info;
    char path[128];

    (void)state;
    memset(value, '.', sizeof(value));
    (void)snprintf(value + 2500, 64, "PLANTED-IN-A-LARGE-VALUE");
    fixture_put(&fixture, "/PLANTED-KEY-NAME", "PLANTED-VALUE-BYTES");
    fixture_change(&fixture, 0, sr_bytes_of("large"), &bytes);
    fixture_publish(&fixture);
    fixture_put(&fixture, "/PLANTED-KEY-NAME", "PLANTED-VALUE-BYTES");
    fixture_compact(&fixture, 4);
    fixture_settle(&fixture);
    assert_true(file_contains("format"));
    assert_false(file_contains("PLANTED"));
    assert_false(file_contains("........"));
    fixture_path(&fixture, "data.mdb", path);
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(begins_as_etcd_does, set_up, tear_down),
        cmocka_unit_test_setup_teardown(reads_from_every_layer, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_view_sees_whole_revisions_only, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_view_that_compaction_overtook_is_taken_anew, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(keeps_what_was_flushed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(flushes_an_index_that_moved_alone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(half_a_batch_is_never_frozen, set_up, tear_down),
        cmocka_unit_test_setup_teardown(is_full_with_two_memtables, set_up, tear_down),
        cmocka_unit_test_setup_teardown(no_space_at_open_fails, set_up, tear_down),
        cmocka_unit_test_setup_teardown(opens_a_bounded_number_of_views, set_up, tear_down),
        cmocka_unit_test_setup_teardown(refuses_what_is_not_its_own, set_up, tear_down),
        cmocka_unit_test_setup_teardown(refuses_a_newer_format, set_up, tear_down),
        cmocka_unit_test_setup_teardown(refuses_files_that_are_none, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_full_map_is_no_failure, set_up, tear_down),
        cmocka_unit_test_setup_teardown(has_no_space_below_the_reserve, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_first_failure_stays, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nothing_is_in_the_clear, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
