/* SPDX-License-Identifier: Apache-2.0
 *
 * Readers beside an apply thread and a flush thread. What each revision does is fixed, so that a
 * reader knows by arithmetic what it must see at any revision it may ask for:
 *
 *   revision r sets "a/<r % KEYS>" and "b/<r % KEYS>" to r, or deletes both if r % 7 == 0
 */
#include "tests/unit/storage/store_fixture.h"

#include <pthread.h>

#define KEYS      24
#define REVISIONS 12000
#define READERS   3

static struct fixture fixture;
static atomic_bool done;
static atomic_uint problems;
static atomic_uint reads;

static void problem(const char *what, int64_t revision)
{
    print_error("%s at revision %lld\n", what, (long long)revision);
    atomic_fetch_add(&problems, 1);
}

static struct sr_bytes key_of(char group, int64_t number, char out[16])
{
    (void)snprintf(out, 16, "%c/%02d", group, (int)number);
    return sr_bytes_of(out);
}

/* The revision that made what key @number holds at @revision; 0: it holds nothing. */
static int64_t expected(int64_t number, int64_t revision)
{
    int64_t last = revision - (revision % KEYS - number + KEYS) % KEYS;

    return last < 2 || last % 7 == 0 ? 0 : last;
}

static void check_get(struct sr_view *view, char group, int64_t number, int64_t revision)
{
    struct sr_version version;
    struct sr_buf value = {0};
    struct sr_err err = {0};
    char text[16];
    int64_t want = expected(number, revision);
    struct sr_bytes key = key_of(group, number, text);
    int rc = sr_view_get(view, key, revision, &version, &err);

    if (want == 0) {
        if (rc != SR_NOT_FOUND) {
            problem("a deleted key was found", revision);
        }
        return;
    }
    if (rc == SR_OK) {
        rc = sr_view_value(view, key, &version, &value, &err);
    }
    if (rc != SR_OK) {
        problem(rc == SR_NOT_FOUND ? "a key is missing" : err.text, revision);
    } else if (version.mod_revision != want || value.size != 8 ||
               sr_get_u64(value.data) != (uint64_t)want) {
        problem("a key has another value", revision);
    }
    sr_buf_close(&value);
}

static void check_scan(struct sr_view *view, int64_t revision)
{
    struct sr_interval all = {sr_bytes_of("a"), {(const uint8_t *)"", 1}};
    struct sr_version version;
    struct sr_scan *scan;
    struct sr_bytes key;
    struct sr_err err = {0};
    char text[16];

    if (sr_scan_open(view, &all, revision, NULL, &scan, &err) != SR_OK) {
        problem(err.text, revision);
        return;
    }
    for (int64_t i = 0; i < (int64_t)2 * KEYS; i++) {
        int64_t want = expected(i % KEYS, revision);
        if (want == 0) {
            continue;
        }
        if (sr_scan_next(scan, &key, &version, &err) != SR_OK ||
            !sr_bytes_equal(key, key_of(i < KEYS ? 'a' : 'b', i % KEYS, text)) ||
            version.mod_revision != want) {
            problem("a scan went astray", revision);
        }
    }
    if (sr_scan_next(scan, &key, &version, &err) != SR_NOT_FOUND) {
        problem("a scan did not end", revision);
    }
    sr_scan_close(scan);
}

static void *read_loop(void *arg)
{
    uint64_t seed = *(const uint64_t *)arg;
    int64_t last = 0;
    unsigned rounds = 0;

    while (!atomic_load(&done) || rounds < 50) {
        struct sr_view *view;
        struct sr_err err = {0};
        if (sr_view_open(fixture.store, &view, &err) != SR_OK) {
            problem(err.text, 0);
            break;
        }
        int64_t highest = sr_view_revision(view);
        int64_t lowest = sr_view_compact_revision(view);
        if (highest < last) {
            problem("a view went back", highest);
        }
        last = highest;
        if (lowest < 1) {
            lowest = 1;
        }
        int64_t revision =
            lowest + (int64_t)(fixture_random(&seed) % (uint64_t)(highest - lowest + 1));
        int64_t number = (int64_t)(fixture_random(&seed) % KEYS);
        check_get(view, 'a', number, revision);
        check_get(view, 'b', number, revision);
        check_get(view, 'a', number, highest);
        /* The oldest revision is the one that compaction is after. */
        check_get(view, 'b', number, lowest);
        if (rounds % 8 == 0) {
            check_scan(view, revision);
        }
        if (rounds % 8 == 4) {
            check_scan(view, lowest);
        }
        sr_view_close(view);
        atomic_fetch_add(&reads, 1);
        rounds++;
    }
    return NULL;
}

static void *flush_loop(void *arg)
{
    struct sr_err err = {0};

    (void)arg;
    while (!atomic_load(&done)) {
        if (sr_store_flush(fixture.store, &err) != SR_OK) {
            problem(err.text, 0);
            break;
        }
        (void)sr_store_durable_index(fixture.store);
        (void)sr_store_has_space(fixture.store);
    }
    return NULL;
}

static void apply_one(int64_t revision)
{
    uint8_t bytes[8];
    struct sr_bytes value = {bytes, sizeof(bytes)};
    char text[16];

    sr_put_u64(bytes, (uint64_t)revision);
    for (uint32_t sub = 0; sub < 2; sub++) {
        fixture_change(&fixture, sub, key_of(sub == 0 ? 'a' : 'b', revision % KEYS, text),
                       revision % 7 == 0 ? NULL : &value);
    }
    fixture_publish(&fixture);
    if (revision % 40 == 0 && revision > 100) {
        fixture_compact(&fixture, revision - 60);
    }
    (void)sr_store_freeze(fixture.store, revision % 100 == 0);
    while (sr_store_is_full(fixture.store) && atomic_load(&problems) == 0) {
        sched_yield();
    }
}

/* What the flush thread had not come to, when it was stopped. */
static void flush_the_rest(void)
{
    struct sr_err err = {0};

    do {
        (void)sr_store_freeze(fixture.store, true);
        assert_int_equal(sr_store_flush(fixture.store, &err), SR_OK);
    } while (sr_store_compaction_pending(fixture.store));
}

static void readers_see_what_they_must(void **state)
{
    static uint64_t seeds[READERS] = {1, 2, 3};
    pthread_t readers[READERS];
    pthread_t flusher;

    (void)state;
    fixture_init(&fixture);
    fixture.options.memtable_entries_max = 150;
    fixture.options.unindexed_entries_max = 400;
    fixture_open(&fixture);
    assert_int_equal(pthread_create(&flusher, NULL, flush_loop, NULL), 0);
    for (size_t i = 0; i < READERS; i++) {
        assert_int_equal(pthread_create(&readers[i], NULL, read_loop, &seeds[i]), 0);
    }
    for (int64_t revision = 2; revision <= REVISIONS && atomic_load(&problems) == 0; revision++) {
        apply_one(revision);
    }
    atomic_store(&done, true);
    for (size_t i = 0; i < READERS; i++) {
        assert_int_equal(pthread_join(readers[i], NULL), 0);
    }
    assert_int_equal(pthread_join(flusher, NULL), 0);
    assert_int_equal(atomic_load(&problems), 0);
    assert_true(atomic_load(&reads) >= READERS * 50);
    flush_the_rest();
    assert_true(sr_gauge_read(&sr_store_metrics(fixture.store)->keys) < (int64_t)REVISIONS);
    fixture_close(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(readers_see_what_they_must)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
