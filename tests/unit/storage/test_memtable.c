/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/cmocka.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "storage/keyhash.h"
#include "storage/memtable.h"

static const uint8_t hash_key[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

static void add(struct sr_memtable *memtable, const char *key, int64_t revision, uint32_t sub,
                const char *value)
{
    struct sr_version version = {
        .create_revision = revision,
        .mod_revision = revision,
        .version = 1,
        .sub = sub,
        .value_size = (uint32_t)strlen(value),
    };

    sr_memtable_add(memtable, sr_bytes_of(key), sr_bytes_of(value), &version);
}

/* The values from @entry to the end, with blanks between. */
static const char *list(const struct sr_memtable_entry *entry, bool by_log)
{
    static char text[4096];
    size_t size = 0;

    text[0] = 0;
    for (; entry != NULL; entry = by_log ? entry->log_next : sr_memtable_next(entry)) {
        struct sr_bytes value = sr_memtable_value(entry);
        size += (size_t)snprintf(text + size, sizeof(text) - size, "%.*s ", (int)value.size,
                                 (const char *)value.data);
    }
    return text;
}

static const char *get(const struct sr_memtable *memtable, const char *key, int64_t revision)
{
    const struct sr_memtable_entry *entry = sr_memtable_get(memtable, sr_bytes_of(key), revision);
    static char text[64];

    if (entry == NULL) {
        return "none";
    }
    (void)snprintf(text, sizeof(text), "%.*s", (int)entry->version.value_size,
                   (const char *)entry->value);
    return text;
}

/* The vectors of SipHash's authors for 00 01 .. 0f and inputs of 0 and 15 bytes. */
static void hashes_as_siphash_does(void **state)
{
    uint8_t input[15];

    (void)state;
    for (size_t i = 0; i < sizeof(input); i++) {
        input[i] = (uint8_t)i;
    }
    assert_true(sr_keyhash(hash_key, (struct sr_bytes){input, 0}) == UINT64_C(0x726fdb47dd0e0e31));
    assert_true(sr_keyhash(hash_key, (struct sr_bytes){input, sizeof(input)}) ==
                UINT64_C(0xa129ca6149be45e5));
}

static void orders_by_key_and_newest_first(void **state)
{
    struct sr_memtable *memtable = sr_memtable_new(hash_key);

    (void)state;
    assert_null(sr_memtable_seek(memtable, sr_bytes_of(""), false));
    assert_null(sr_memtable_log(memtable));
    add(memtable, "b", 2, 0, "b2");
    add(memtable, "a", 3, 0, "a3");
    add(memtable, "ab", 3, 1, "ab3");
    add(memtable, "b", 4, 0, "b4");
    add(memtable, "a", 5, 0, "a5");
    assert_string_equal(list(sr_memtable_seek(memtable, sr_bytes_of(""), false), false),
                        "a5 a3 ab3 b4 b2 ");
    assert_string_equal(list(sr_memtable_seek(memtable, sr_bytes_of("a"), true), false),
                        "ab3 b4 b2 ");
    assert_string_equal(list(sr_memtable_seek(memtable, sr_bytes_of("aa"), false), false),
                        "ab3 b4 b2 ");
    assert_null(sr_memtable_seek(memtable, sr_bytes_of("b"), true));
    assert_string_equal(list(sr_memtable_log(memtable), true), "b2 a3 ab3 b4 a5 ");
    assert_int_equal(atomic_load(&memtable->entries), 5);
    sr_memtable_unref(memtable);
}

static void finds_the_version_of_a_revision(void **state)
{
    struct sr_memtable *memtable = sr_memtable_new(hash_key);
    char text[16];

    (void)state;
    add(memtable, "other", 1, 0, "x");
    /* Enough versions that walking gives way to searching. */
    for (int64_t revision = 10; revision <= 1000; revision += 10) {
        (void)snprintf(text, sizeof(text), "%d", (int)revision);
        add(memtable, "hot", revision, 0, text);
    }
    assert_string_equal(get(memtable, "hot", INT64_MAX), "1000");
    assert_string_equal(get(memtable, "hot", 999), "990");
    assert_string_equal(get(memtable, "hot", 505), "500");
    assert_string_equal(get(memtable, "hot", 500), "500");
    assert_string_equal(get(memtable, "hot", 10), "10");
    assert_string_equal(get(memtable, "hot", 9), "none");
    assert_string_equal(get(memtable, "ho", INT64_MAX), "none");
    assert_string_equal(get(memtable, "hott", INT64_MAX), "none");
    sr_memtable_unref(memtable);
}

static void takes_empty_and_large_values(void **state)
{
    struct sr_memtable *memtable = sr_memtable_new(hash_key);
    struct sr_version version = {.mod_revision = 3, .value_size = 3 * 1024 * 1024};
    uint8_t *large = malloc(version.value_size);
    const struct sr_memtable_entry *entry;

    (void)state;
    assert_non_null(large);
    memset(large, 'L', version.value_size);
    add(memtable, "a", 2, 0, "");
    sr_memtable_add(memtable, sr_bytes_of("large"), (struct sr_bytes){large, version.value_size},
                    &version);
    add(memtable, "z", 4, 0, "after");
    entry = sr_memtable_get(memtable, sr_bytes_of("large"), 3);
    assert_non_null(entry);
    assert_memory_equal(entry->value, large, version.value_size);
    assert_string_equal(get(memtable, "a", 9), "");
    assert_string_equal(get(memtable, "z", 9), "after");
    assert_true(atomic_load(&memtable->bytes) > version.value_size);
    free(large);
    sr_memtable_unref(memtable);
}

struct race {
    struct sr_memtable *memtable;
    _Atomic int64_t published;
};

#define RACE_REVISIONS 30000
#define RACE_KEYS      97

/* At every revision that is published, the newest version of each key is known by arithmetic. */
static void *read_beside(void *arg)
{
    struct race *race = arg;
    uint64_t problems = 0;

    for (int64_t done = 0; done < RACE_REVISIONS;) {
        done = atomic_load(&race->published);
        size_t seen = 0;
        const struct sr_memtable_entry *entry =
            sr_memtable_seek(race->memtable, sr_bytes_of(""), false);
        const struct sr_memtable_entry *before = NULL;
        for (; entry != NULL; before = entry, entry = sr_memtable_next(entry)) {
            seen += entry->version.mod_revision <= done;
            if (before != NULL &&
                (sr_bytes_compare(sr_memtable_key(before), sr_memtable_key(entry)) > 0)) {
                problems++;
            }
        }
        problems += seen != (size_t)done;
        for (int64_t i = 0; i < RACE_KEYS && i < done; i++) {
            char key[16];
            int64_t want = done - i;
            (void)snprintf(key, sizeof(key), "k%d", (int)(want % RACE_KEYS));
            entry = sr_memtable_get(race->memtable, sr_bytes_of(key), done);
            problems += entry == NULL || entry->version.mod_revision != want;
        }
    }
    return problems == 0 ? NULL : arg;
}

static void readers_need_no_lock(void **state)
{
    struct race race = {.memtable = sr_memtable_new(hash_key)};
    pthread_t readers[3];
    void *problems;

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(pthread_create(&readers[i], NULL, read_beside, &race), 0);
    }
    for (int64_t revision = 1; revision <= RACE_REVISIONS; revision++) {
        char key[16];
        (void)snprintf(key, sizeof(key), "k%d", (int)(revision % RACE_KEYS));
        add(race.memtable, key, revision, 0, "value");
        atomic_store(&race.published, revision);
    }
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(pthread_join(readers[i], &problems), 0);
        assert_null(problems);
    }
    sr_memtable_unref(race.memtable);
}

/* Names and revisions from @entry to the end. */
static const char *names(const struct sr_memtable_entry *entry)
{
    static char text[4096];
    size_t size = 0;

    text[0] = 0;
    for (; entry != NULL; entry = sr_memtable_next(entry)) {
        size += (size_t)snprintf(text + size, sizeof(text) - size, "%.*s%d ", (int)entry->key_size,
                                 (const char *)entry->key, (int)entry->version.mod_revision);
    }
    return text;
}

static void headers_are_merged_in(void **state)
{
    struct sr_memtable *all = sr_memtable_new(hash_key);
    struct sr_memtable *first = sr_memtable_new(hash_key);
    struct sr_memtable *second = sr_memtable_new(hash_key);
    const struct sr_memtable_entry *entry;

    (void)state;
    add(first, "m", 1, 0, "value");
    add(first, "b", 2, 0, "value");
    add(first, "m", 3, 0, "value");
    add(second, "a", 4, 0, "value");
    add(second, "m", 5, 0, "value");
    add(second, "m", 6, 0, "value");
    add(second, "z", 6, 1, "value");
    sr_memtable_add_headers(all, first);
    assert_string_equal(names(sr_memtable_seek(all, sr_bytes_of(""), false)), "b2 m3 m1 ");
    sr_memtable_add_headers(all, second);
    assert_string_equal(names(sr_memtable_seek(all, sr_bytes_of(""), false)),
                        "a4 b2 m6 m5 m3 m1 z6 ");
    assert_int_equal(atomic_load(&all->entries), 7);
    for (int64_t revision = 1; revision <= 7; revision++) {
        static const int64_t newest[] = {0, 1, 1, 3, 3, 5, 6, 6};
        entry = sr_memtable_get(all, sr_bytes_of("m"), revision);
        assert_int_equal(entry->version.mod_revision, newest[revision]);
    }
    sr_memtable_unref(first);
    sr_memtable_unref(second);
    /* The names are copies. */
    assert_string_equal(names(sr_memtable_seek(all, sr_bytes_of("m"), true)), "z6 ");
    sr_memtable_unref(all);
}

/* Many random keys in several tables: the merged one is in order and has every entry. */
static void many_headers_are_merged_in(void **state)
{
    struct sr_memtable *all = sr_memtable_new(hash_key);
    const struct sr_memtable_entry *last = NULL;
    const struct sr_memtable_entry *entry;
    unsigned seed = 7;
    size_t count = 0;
    int64_t revision = 0;
    char key[16];

    (void)state;
    for (int round = 0; round < 6; round++) {
        struct sr_memtable *part = sr_memtable_new(hash_key);
        for (int i = 0; i < 3000; i++) {
            (void)snprintf(key, sizeof(key), "%d", rand_r(&seed) % 5000);
            add(part, key, ++revision, 0, "value");
        }
        sr_memtable_add_headers(all, part);
        sr_memtable_unref(part);
    }
    for (entry = sr_memtable_seek(all, sr_bytes_of(""), false); entry != NULL;
         entry = sr_memtable_next(entry)) {
        if (last != NULL) {
            int order = sr_bytes_compare(sr_memtable_key(last), sr_memtable_key(entry));
            assert_true(order < 0 ||
                        (order == 0 && last->version.mod_revision > entry->version.mod_revision));
        }
        assert_ptr_equal(sr_memtable_get(all, sr_memtable_key(entry), entry->version.mod_revision),
                         entry);
        last = entry;
        count++;
    }
    assert_int_equal(count, revision);
    sr_memtable_unref(all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hashes_as_siphash_does),
        cmocka_unit_test(orders_by_key_and_newest_first),
        cmocka_unit_test(finds_the_version_of_a_revision),
        cmocka_unit_test(takes_empty_and_large_values),
        cmocka_unit_test(readers_need_no_lock),
        cmocka_unit_test(headers_are_merged_in),
        cmocka_unit_test(many_headers_are_merged_in),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
