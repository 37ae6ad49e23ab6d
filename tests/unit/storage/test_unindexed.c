/* SPDX-License-Identifier: Apache-2.0
 *
 * The index follows the log: in slices, across restarts at every point, and before compaction.
 */
#include "tests/unit/storage/store_fixture.h"

#define KEYS 50
#define MAX  40

static struct fixture fixture;
static int64_t newest[KEYS]; /* revision of the last put of a key; 0: none */

static struct sr_bytes key_of(int number, char out[16])
{
    (void)snprintf(out, 16, "key %d", number);
    return sr_bytes_of(out);
}

static void put(int number)
{
    char key[16];
    char value[32];

    (void)key_of(number, key);
    newest[number] = sr_store_revision(fixture.store) + 1;
    (void)snprintf(value, sizeof(value), "value %d", (int)newest[number]);
    fixture_put(&fixture, key, value);
}

static void put_many(int count, uint64_t *seed)
{
    for (int i = 0; i < count; i++) {
        put((int)(fixture_random(seed) % KEYS));
    }
}

static void check_key(struct sr_view *view, int number)
{
    struct sr_version version;
    struct sr_buf value = {0};
    struct sr_err err = {0};
    char text[16];
    char want[32];
    struct sr_bytes key = key_of(number, text);
    int rc = sr_view_get(view, key, INT64_MAX, &version, &err);

    if (newest[number] == 0) {
        assert_int_equal(rc, SR_NOT_FOUND);
        return;
    }
    fixture_ok(rc, &err);
    assert_int_equal(version.mod_revision, newest[number]);
    fixture_ok(sr_view_value(view, key, &version, &value, &err), &err);
    (void)snprintf(want, sizeof(want), "value %d", (int)newest[number]);
    assert_true(sr_bytes_equal((struct sr_bytes){value.data, value.size}, sr_bytes_of(want)));
    sr_buf_close(&value);
}

static void check_all(void)
{
    struct sr_interval all = {sr_bytes_of("a"), sr_bytes_of("z")};
    struct sr_version version;
    struct sr_scan *scan = NULL;
    struct sr_view *view = NULL;
    struct sr_err err = {0};
    struct sr_bytes key;
    int live = 0;

    fixture_ok(sr_view_open(fixture.store, &view, &err), &err);
    for (int i = 0; i < KEYS; i++) {
        check_key(view, i);
        live += newest[i] != 0;
    }
    fixture_ok(sr_scan_open(view, &all, INT64_MAX, NULL, &scan, &err), &err);
    while (sr_scan_next(scan, &key, &version, &err) == SR_OK) {
        live--;
    }
    assert_int_equal(live, 0);
    sr_scan_close(scan);
    sr_view_close(view);
}

static int set_up(void **state)
{
    (void)state;
    memset(newest, 0, sizeof(newest));
    fixture_init(&fixture);
    fixture.options.memtable_entries_max = 16;
    fixture.options.unindexed_entries_max = MAX;
    fixture_open(&fixture);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fixture_close(&fixture);
    return 0;
}

static void gathers_over_several_flushes(void **state)
{
    uint64_t seed = 1;

    (void)state;
    put_many(16, &seed);
    fixture_flush(&fixture);
    put_many(16, &seed);
    fixture_flush(&fixture);
    assert_int_equal(sr_unindexed_count(&fixture.store->unindexed), 32);
    assert_int_equal(fixture.store->unindexed.indexed, 1);
    check_all();
}

static void is_bounded(void **state)
{
    uint64_t seed = 2;
    bool drained = false;

    (void)state;
    for (int i = 0; i < 100; i++) {
        put_many(16, &seed);
        fixture_flush(&fixture);
        assert_true(sr_unindexed_count(&fixture.store->unindexed) <= 2 * (MAX + 16));
        drained |= fixture.store->unindexed.drained > 0;
        check_all();
    }
    assert_true(drained);
    assert_true(fixture.store->unindexed.indexed > 1600 - 2 * (MAX + 16));
}

/* Reopen after a few flushes, with the index at every stage. */
static void survives_restarts(void **state)
{
    uint64_t seed = 3;
    size_t half_way = 0;

    (void)state;
    for (int i = 0; i < 100; i++) {
        for (uint64_t flushes = 1 + fixture_random(&seed) % 4; flushes > 0; flushes--) {
            put_many(1 + (int)(fixture_random(&seed) % 16), &seed);
            fixture_flush(&fixture);
        }
        half_way += fixture.store->unindexed.drained > 0 && fixture.store->unindexed.next != NULL;
        fixture_reopen(&fixture);
        check_all();
    }
    assert_true(half_way > 10);
}

/* Lives that all end before the index is complete: it does not fall behind for ever. */
static void catches_up_at_open(void **state)
{
    uint64_t seed = 6;

    (void)state;
    for (int i = 0; i < 40; i++) {
        put_many(16, &seed);
        fixture_flush(&fixture);
        fixture_reopen(&fixture);
        assert_true(sr_unindexed_count(&fixture.store->unindexed) <= 3 * MAX);
        check_all();
    }
    assert_true(fixture.store->unindexed.indexed > 1);
}

static void compaction_waits_for_the_index(void **state)
{
    uint64_t seed = 4;

    (void)state;
    put_many(16, &seed);
    fixture_flush(&fixture);
    fixture_compact(&fixture, sr_store_revision(fixture.store));
    put_many(5, &seed);
    fixture_flush(&fixture);
    assert_true(sr_store_compaction_pending(fixture.store));
    fixture_settle(&fixture);
    assert_true(fixture.store->unindexed.indexed >= 17);
    check_all();
    fixture_reopen(&fixture);
    check_all();
}

/* A version that compaction has removed must not come back from the log after a restart. */
static void compacted_versions_stay_away(void **state)
{
    uint64_t seed = 5;

    (void)state;
    for (int i = 0; i < 20; i++) {
        put_many(16, &seed);
        fixture_flush(&fixture);
        if (i % 3 == 0) {
            fixture_compact(&fixture, sr_store_revision(fixture.store) - 5);
            fixture_settle(&fixture);
        }
        fixture_reopen(&fixture);
        check_all();
    }
    fixture_compact(&fixture, sr_store_revision(fixture.store));
    fixture_settle(&fixture);
    sr_store_refresh(fixture.store);
    int live = 0;
    for (int i = 0; i < KEYS; i++) {
        live += newest[i] != 0;
    }
    assert_int_equal(sr_gauge_read(&sr_store_metrics(fixture.store)->keys), live);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(gathers_over_several_flushes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(is_bounded, set_up, tear_down),
        cmocka_unit_test_setup_teardown(survives_restarts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(catches_up_at_open, set_up, tear_down),
        cmocka_unit_test_setup_teardown(compaction_waits_for_the_index, set_up, tear_down),
        cmocka_unit_test_setup_teardown(compacted_versions_stay_away, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
