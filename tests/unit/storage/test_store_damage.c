/* SPDX-License-Identifier: Apache-2.0
 *
 * Every value in the file, damaged one at a time: a read gives the truth or fails, the store is
 * failed from then on, and a damaged record that compaction meets is not removed in silence.
 */
#include "tests/unit/storage/damage.h"

/* Write the file with byte @offset of @target changed, wherever it is; NULL: as it was. */
static void write_image(const struct target *target, size_t offset)
{
    uint8_t *copy = sr_memdup(image, image_size);
    uint8_t *at = copy;
    size_t found = 0;

    while (target != NULL && (at = memmem(at, image_size - (size_t)(at - copy), target->bytes,
                                          target->size)) != NULL) {
        at[offset] ^= (uint8_t)(1 + fixture_random(&seed) % 255);
        at++;
        found++;
    }
    assert_true(target == NULL || found > 0);
    write_bytes(copy, image_size);
    sr_free(copy);
}

static int set_up(void **state)
{
    (void)state;
    return set_up_with(true);
}

/* The records are read at open, which makes the lacking part of the index of them. */
static int set_up_unindexed(void **state)
{
    (void)state;
    return set_up_with(false);
}

static int tear_down(void **state)
{
    (void)state;
    fixture_close(&fixture);
    sr_free(image);
    return 0;
}

static void every_damaged_value_is_found(void **state)
{
    (void)state;
    write_image(NULL, 0);
    assert_true(check_all());
    for (size_t i = 0; i < target_count; i++) {
        /* The last byte is in a tag, a salt's key number or a piece; the others anywhere. */
        for (int round = 0; round < 3; round++) {
            size_t size = targets[i].size;
            size_t offset = round == 0 ? size - 1 : fixture_random(&seed) % size;
            write_image(&targets[i], offset);
            if (check_all()) {
                print_error("%s: byte %zu of %zu was not noticed\n", targets[i].table, offset,
                            size);
                fail();
            }
        }
    }
}

/* Exchange two values of one size, in old copies of their pages too. */
static void swap(const struct target *a, const struct target *b)
{
    uint8_t *end = image + image_size;
    size_t found = 0;

    for (uint8_t *at = image; at + a->size <= end; at++) {
        bool is_a = memcmp(at, a->bytes, a->size) == 0;
        if (!is_a && memcmp(at, b->bytes, b->size) != 0) {
            continue;
        }
        memcpy(at, is_a ? b->bytes : a->bytes, a->size);
        found++;
    }
    assert_true(found >= 2);
}

/* Two headers, or two records, changed for one another are authentic, but not in their place. */
static void swapped_values_are_found(void **state)
{
    struct target *before = NULL;
    size_t swaps = 0;

    (void)state;
    for (size_t i = 0; i < target_count; i++) {
        struct target *target = &targets[i];
        if (before == NULL || target->size != before->size ||
            strcmp(target->table, before->table) != 0 || strcmp(target->table, "meta") == 0) {
            before = target;
            continue;
        }
        swap(before, target);
        write_image(NULL, 0);
        assert_false(check_all());
        swap(before, target);
        before = NULL;
        swaps++;
    }
    assert_true(swaps > 10);
}

static void compaction_stops_at_damage(void **state)
{
    size_t found = 0;

    (void)state;
    for (size_t i = 0; i < target_count; i++) {
        struct sr_err err = {0};
        if (strcmp(targets[i].table, "idx") != 0) {
            continue;
        }
        write_image(NULL, 0);
        fixture_open(&fixture); /* the damage comes when the file is open */
        write_image(&targets[i], targets[i].size / 2);
        fixture_compact(&fixture, REVISIONS);
        assert_true(sr_store_freeze(fixture.store, true));
        assert_int_equal(sr_store_flush(fixture.store, &err), SR_CORRUPT);
        assert_int_equal(sr_store_failure(fixture.store, &err), SR_CORRUPT);
        assert_int_equal(sr_store_durable_index(fixture.store), durable_index);
        sr_store_close(fixture.store);
        fixture.store = NULL;
        found++;
    }
    assert_int_equal(found, REVISIONS - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_damaged_value_is_found, set_up, tear_down),
        cmocka_unit_test_setup_teardown(every_damaged_value_is_found, set_up_unindexed, tear_down),
        cmocka_unit_test_setup_teardown(swapped_values_are_found, set_up_unindexed, tear_down),
        cmocka_unit_test_setup_teardown(swapped_values_are_found, set_up, tear_down),
        cmocka_unit_test_setup_teardown(compaction_stops_at_damage, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
