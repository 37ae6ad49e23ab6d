/* SPDX-License-Identifier: Apache-2.0
 *
 * Any byte of the file, whatever it is for: page headers, offsets, names, separators, metas, the
 * list of free pages. An open refuses, or all that is read is the truth. And the file may end
 * anywhere.
 */
#include "tests/unit/storage/damage.h"

#define PAGE        4096
#define HEADER      96 /* of a page: header and offsets */
#define NAME        40 /* of an index key: two blocks and the revision */
#define NAME_SIZE   2
#define META        160
#define TAIL_STRIDE 97

/* A sanitizer looks for other mistakes than this one: a part of the places is enough. */
#ifdef __SANITIZE_ADDRESS__
#define EVERY 4
#else
#define EVERY 1
#endif

static size_t refused;
static size_t harmless;

static int set_up(void **state)
{
    (void)state;
    return set_up_with(true);
}

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

static void put_byte(size_t offset, uint8_t byte)
{
    char path[128];
    int fd;

    fixture_path(&fixture, "data.mdb", path);
    fd = open(path, O_WRONLY);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, &byte, 1, (off_t)offset), 1);
    close(fd);
}

/* check_all fails the test when anything is read that is not the truth. */
static void flip(size_t offset)
{
    put_byte(offset, image[offset] ^ (uint8_t)(1 + fixture_random(&seed) % 255));
    if (check_all()) {
        harmless++;
    } else {
        refused++;
    }
    put_byte(offset, image[offset]);
}

static void any_byte_may_flip(void **state)
{
    (void)state;
    refused = harmless = 0;
    for (size_t page = 0; page < image_size; page += PAGE) {
        size_t header = page < 2 * PAGE ? META : HEADER;
        for (size_t at = fixture_random(&seed) % EVERY; at < header; at += EVERY) {
            flip(page + at);
        }
        for (size_t at = header; at < PAGE;
             at += 1 + fixture_random(&seed) % (TAIL_STRIDE * EVERY)) {
            flip(page + at);
        }
    }
    print_message("%zu flips refused, %zu without consequence\n", refused, harmless);
    assert_true(refused > 1000 / EVERY);
    assert_true(check_all());
}

static void the_file_may_end_anywhere(void **state)
{
    size_t needed = 0;

    (void)state;
    fixture.options.must_exist = true;
    for (size_t size = 0; size < image_size; size += size % PAGE == 0 ? 1 : PAGE / 3) {
        write_bytes(image, size);
        if (check_all()) {
            continue;
        }
        needed++;
    }
    assert_true(needed > image_size / PAGE);
    write_bytes(image, image_size);
    assert_true(check_all());
}

/* A page where another one should be: old copies of pages are in the file, and look right. */
static void pages_are_exchanged(void **state)
{
    size_t found = 0;

    (void)state;
    for (size_t from = 0; from < image_size; from += PAGE) {
        for (size_t to = fixture_random(&seed) % EVERY * PAGE; to < image_size;
             to += EVERY * PAGE) {
            uint8_t *copy = sr_memdup(image, image_size);
            memcpy(copy + to, image + from, PAGE);
            memcpy(copy + to, image + to, 8); /* its number, as whoever put it there would see to */
            write_bytes(copy, image_size);
            found += !check_all();
            sr_free(copy);
        }
    }
    assert_true(found > image_size / PAGE / EVERY);
}

/* Names, and the sizes before them, that change while the store is open. They are nowhere else to
 * be seen than in what is found, or not found, beside them. */
static void names_may_change_while_it_is_open(void **state)
{
    size_t found = 0;
    size_t tried = 0;

    (void)state;
    for (size_t i = 0; i < target_count; i++) {
        const struct target *target = &targets[i];
        uint8_t *at = image;
        if (strcmp(target->table, "idx") != 0) {
            continue;
        }
        while ((at = memmem(at, image_size - (size_t)(at - image), target->bytes, target->size)) !=
               NULL) {
            for (size_t back = 1; back <= NAME + NAME_SIZE;
                 back += 1 + fixture_random(&seed) % 25) {
                size_t offset = (size_t)(at - image) - back;
                fixture_open(&fixture);
                put_byte(offset, image[offset] ^ (uint8_t)(1u << fixture_random(&seed) % 8));
                found += !check_reads();
                sr_store_close(fixture.store);
                fixture.store = NULL;
                put_byte(offset, image[offset]);
                tried++;
            }
            at++;
        }
    }
    print_message("%zu changes, %zu of them found\n", tried, found);
    assert_true(found > tried / 20); /* the others are in old copies of pages */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(any_byte_may_flip, set_up, tear_down),
        cmocka_unit_test_setup_teardown(any_byte_may_flip, set_up_unindexed, tear_down),
        cmocka_unit_test_setup_teardown(names_may_change_while_it_is_open, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_file_may_end_anywhere, set_up, tear_down),
        cmocka_unit_test_setup_teardown(pages_are_exchanged, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
