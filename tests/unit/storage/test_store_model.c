/* SPDX-License-Identifier: Apache-2.0
 *
 * The store against a map that keeps everything: random changes, freezes, flushes, compactions
 * and crashes on tiny memtables; every read at every revision that may be read must agree.
 */
#include "tests/unit/storage/store_fixture.h"

#include "base/alloc.h"

#define KEYS         48
#define VERSIONS_MAX 1500
#define STEPS        3000
#define VALUE_MAX    7000

struct model_version {
    struct sr_version version;
    uint64_t seed; /* its value is made from it */
};

struct model_key {
    uint8_t bytes[SR_KEY_BYTES_MAX];
    struct sr_bytes name;
    size_t count;
    struct model_version versions[VERSIONS_MAX];
};

struct model {
    struct model_key keys[KEYS]; /* in order */
    uint64_t seed;
};

static struct model model;
static struct fixture fixture;

static uint64_t any(uint64_t below)
{
    return fixture_random(&model.seed) % below;
}

static int order(const void *a, const void *b)
{
    return sr_bytes_compare(((const struct model_key *)a)->name,
                            ((const struct model_key *)b)->name);
}

/* Names that share prefixes and end at the edges of cipher blocks, and some of random bytes. */
static void make_keys(void)
{
    static const size_t sizes[] = {1, 2, 14, 15, 16, 29, 30, 31, 45, 46, 464, SR_KEY_BYTES_MAX};
    size_t size_count = sizeof(sizes) / sizeof(sizes[0]);

    for (size_t i = 0; i < KEYS; i++) {
        struct model_key *key = &model.keys[i];
        size_t size = sizes[i % size_count];
        memset(key, 0, sizeof(*key));
        memset(key->bytes, 'k', size);
        key->bytes[size - 1] = (uint8_t)(i * 5);
        if (i >= KEYS / 2) {
            key->bytes[any(size)] = (uint8_t)any(256);
        }
        key->name = (struct sr_bytes){key->bytes, size};
    }
    qsort(model.keys, KEYS, sizeof(model.keys[0]), order);
    for (size_t i = 0; i < KEYS; i++) {
        model.keys[i].name.data = model.keys[i].bytes;
    }
    for (size_t i = 1; i < KEYS; i++) {
        assert_true(order(&model.keys[i - 1], &model.keys[i]) < 0);
    }
}

static const struct model_version *model_get(const struct model_key *key, int64_t revision)
{
    for (size_t i = key->count; i > 0; i--) {
        const struct model_version *found = &key->versions[i - 1];
        if (found->version.mod_revision <= revision) {
            return found->version.tombstone ? NULL : found;
        }
    }
    return NULL;
}

static void make_value(const struct model_version *version, uint8_t out[VALUE_MAX])
{
    uint64_t seed = version->seed;

    for (size_t i = 0; i < version->version.value_size; i++) {
        out[i] = (uint8_t)(fixture_random(&seed) >> 32);
    }
}

static void assert_version(const struct sr_version *got, const struct sr_version *want)
{
    assert_int_equal(got->mod_revision, want->mod_revision);
    assert_int_equal(got->create_revision, want->create_revision);
    assert_int_equal(got->version, want->version);
    assert_int_equal(got->lease, want->lease);
    assert_int_equal(got->sub, want->sub);
    assert_int_equal(got->value_size, want->value_size);
    assert_false(got->tombstone);
}

static void check_get(struct sr_view *view, const struct model_key *key, int64_t revision)
{
    static uint8_t want_value[VALUE_MAX];
    const struct model_version *want = model_get(key, revision);
    struct sr_buf value = {0};
    struct sr_version got;
    struct sr_err err = {0};
    int rc = sr_view_get(view, key->name, revision, &got, &err);

    if (want == NULL) {
        assert_int_equal(rc, SR_NOT_FOUND);
        return;
    }
    fixture_ok(rc, &err);
    assert_version(&got, &want->version);
    fixture_ok(sr_view_value(view, key->name, &got, &value, &err), &err);
    assert_int_equal(value.size, got.value_size);
    make_value(want, want_value);
    if (value.size > 0) {
        assert_memory_equal(value.data, want_value, value.size);
    }
    sr_buf_close(&value);
}

/* Add a change of key @index to the store and the model; the last of three kinds deletes. */
static void change(size_t index, uint32_t sub)
{
    static uint8_t bytes[VALUE_MAX];
    struct model_key *key = &model.keys[index];
    int64_t revision = fixture.store->apply.revision + 1;
    const struct model_version *old = model_get(key, INT64_MAX);
    struct model_version next = {.seed = any(UINT64_MAX) | 1};
    struct sr_bytes value = {bytes, 0};
    bool remove = any(3) == 0;

    assert_true(key->count < VERSIONS_MAX);
    check_get(sr_writer_view(fixture.store), key, INT64_MAX);
    next.version = (struct sr_version){.mod_revision = revision, .sub = sub, .tombstone = remove};
    if (!remove) {
        next.version.create_revision = old != NULL ? old->version.create_revision : revision;
        next.version.version = old != NULL ? old->version.version + 1 : 1;
        next.version.lease = revision * 3;
        next.version.value_size = (uint32_t)(any(8) == 0 ? any(VALUE_MAX) : any(200));
        make_value(&next, bytes);
        value.size = next.version.value_size;
    }
    key->versions[key->count++] = next;
    fixture_change(&fixture, sub, key->name, remove ? NULL : &value);
}

static void change_some(void)
{
    size_t count = 1 + any(4);
    size_t first = any(3) == 0 ? any(KEYS) : any(4); /* some keys are hot */

    for (size_t i = 0; i < count; i++) {
        change((first + i * 5) % KEYS, (uint32_t)i);
    }
    fixture_publish(&fixture);
}

static int64_t any_revision(void)
{
    int64_t lowest = fixture.store->published.compact_revision;
    int64_t highest = fixture.store->published.revision;

    if (any(3) == 0) {
        return highest;
    }
    if (lowest < 1) {
        lowest = 1;
    }
    return lowest + (int64_t)any((uint64_t)(highest - lowest + 1));
}

static struct sr_bytes any_bound(uint8_t scratch[SR_KEY_BYTES_MAX + 8])
{
    struct sr_bytes name = model.keys[any(KEYS)].name;

    memcpy(scratch, name.data, name.size);
    switch (any(4)) {
    case 0: /* between names, and longer than any name may be */
        memset(scratch + name.size, 1, 8);
        return (struct sr_bytes){scratch, name.size + 8};
    case 1:
        return (struct sr_bytes){scratch, 1 + any(name.size)};
    default:
        return (struct sr_bytes){scratch, name.size};
    }
}

static void check_scan(void)
{
    static uint8_t begin[SR_KEY_BYTES_MAX + 8];
    static uint8_t end[SR_KEY_BYTES_MAX + 8];
    struct sr_interval interval = {any_bound(begin), any_bound(end)};
    int64_t revision = any_revision();
    struct sr_bytes after = {0};
    struct sr_scan *scan = NULL;
    struct sr_view *view = NULL;
    struct sr_version version;
    struct sr_bytes key;
    struct sr_err err = {0};

    if (any(4) == 0) {
        interval.end = (struct sr_bytes){(const uint8_t *)"", 1};
    }
    if (any(8) == 0) {
        interval.end.size = 0;
    }
    for (size_t i = 0; i < KEYS; i++) {
        const struct model_version *want = model_get(&model.keys[i], revision);
        if (want == NULL || !sr_interval_contains(&interval, model.keys[i].name)) {
            continue;
        }
        /* Now and then, go on with a new view, as a sliced range does. */
        if (scan == NULL || any(6) == 0) {
            sr_scan_close(scan);
            sr_view_close(view);
            fixture_ok(sr_view_open(fixture.store, &view, &err), &err);
            fixture_ok(sr_scan_open(view, &interval, revision, after.data != NULL ? &after : NULL,
                                    &scan, &err),
                       &err);
        }
        fixture_ok(sr_scan_next(scan, &key, &version, &err), &err);
        assert_true(sr_bytes_equal(key, model.keys[i].name));
        assert_version(&version, &want->version);
        after = model.keys[i].name;
    }
    if (scan != NULL) {
        assert_int_equal(sr_scan_next(scan, &key, &version, &err), SR_NOT_FOUND);
    }
    sr_scan_close(scan);
    sr_view_close(view);
}

static void check_gets(void)
{
    struct sr_view *view;
    struct sr_err err = {0};

    fixture_ok(sr_view_open(fixture.store, &view, &err), &err);
    assert_int_equal(sr_view_revision(view), fixture.store->apply.revision);
    for (int i = 0; i < 10; i++) {
        check_get(view, &model.keys[any(KEYS)], any_revision());
    }
    sr_view_close(view);
}

/* What was not flushed is gone, as it is until the log is applied again. */
static void crash(void)
{
    uint64_t durable = sr_store_durable_index(fixture.store);

    fixture_reopen(&fixture);
    assert_int_equal(sr_store_applied_index(fixture.store), durable);
    for (size_t i = 0; i < KEYS; i++) {
        struct model_key *key = &model.keys[i];
        while (key->count > 0 && key->versions[key->count - 1].version.mod_revision >
                                     sr_store_revision(fixture.store)) {
            key->count--;
        }
    }
}

/* After compaction has gone through, exactly what may still be read is there. */
static void check_compacted(void)
{
    int64_t compact;
    int64_t want = 0;

    size_t unindexed_max = fixture.store->options.unindexed_entries_max;

    fixture_settle(&fixture);
    /* What a drain had written before a crash is counted twice until it is written again. */
    fixture.store->options.unindexed_entries_max = 1;
    fixture_index(&fixture);
    fixture.store->options.unindexed_entries_max = unindexed_max;
    compact = sr_store_compact_revision(fixture.store);
    for (size_t i = 0; i < KEYS; i++) {
        const struct model_key *key = &model.keys[i];
        for (size_t j = 0; j < key->count; j++) {
            const struct sr_version *version = &key->versions[j].version;
            bool superseded =
                j + 1 < key->count && key->versions[j + 1].version.mod_revision <= compact;
            bool gone = version->tombstone && version->mod_revision < compact;
            want += !superseded && !gone;
        }
    }
    assert_int_equal(sr_gauge_read(&sr_store_metrics(fixture.store)->keys), want);
}

static void compact(void)
{
    int64_t from = fixture.store->published.compact_revision;
    int64_t to = fixture.store->published.revision;

    if (from < 0) {
        from = 0;
    }
    if (to > from) {
        fixture_compact(&fixture, from + 1 + (int64_t)any((uint64_t)(to - from)));
    }
}

static void step(void)
{
    struct sr_err err = {0};

    switch (any(64)) {
    case 0:
        crash();
        break;
    case 1:
        compact();
        break;
    case 2:
        check_compacted();
        break;
    case 3:
    case 4:
        fixture_ok(sr_store_flush(fixture.store, &err), &err);
        break;
    case 5:
    case 6:
    case 7:
        (void)sr_store_freeze(fixture.store, any(2) == 0);
        break;
    default:
        change_some();
    }
    check_gets();
    check_scan();
}

static void run(uint64_t seed)
{
    model.seed = seed * UINT64_C(0x9e3779b97f4a7c15);
    make_keys();
    fixture_init(&fixture);
    fixture.options.memtable_entries_max = 60;
    fixture.options.unindexed_entries_max = 1 + seed % 100;
    fixture_open(&fixture);
    for (int i = 0; i < STEPS; i++) {
        size_t fullest = 0;
        for (size_t k = 0; k < KEYS; k++) {
            fullest = model.keys[k].count > fullest ? model.keys[k].count : fullest;
        }
        if (fullest + 4 >= VERSIONS_MAX) {
            break;
        }
        step();
    }
    check_compacted();
    crash();
    check_gets();
    fixture_close(&fixture);
}

static void agrees_with_the_model(void **state)
{
    const char *seed = getenv("STRONGROOM_TEST_SEED");

    (void)state;
    if (seed != NULL) {
        run(strtoull(seed, NULL, 10));
        return;
    }
    for (uint64_t i = 1; i <= 4; i++) {
        run(i);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(agrees_with_the_model)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
