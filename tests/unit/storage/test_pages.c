/* SPDX-License-Identifier: Apache-2.0
 *
 * Files of LMDB's form made by hand, with pages of 512 bytes: what the check says of the structures
 * that LMDB itself would not write.
 */
#include "tests/unit/storage/store_fixture.h"

#include <fcntl.h>

#include "storage/pages.h"
#include "storage/pages_impl.h"

#define SIZE  512u
#define PAGES 7u
/* Of the pages. */
enum { FREE = 2, TABLES = 3, TABLE = 4, VALUE = 5 };

static uint8_t file[PAGES * SIZE];
static char path[64];

static void put16(uint8_t *at, uint16_t value)
{
    memcpy(at, &value, sizeof(value));
}

static void put32(uint8_t *at, uint32_t value)
{
    memcpy(at, &value, sizeof(value));
}

static void put64(uint8_t *at, uint64_t value)
{
    memcpy(at, &value, sizeof(value));
}

/* A tree of one leaf with one entry. */
static void put_tree(uint8_t *at, uint64_t root, uint16_t flags, uint64_t overflow)
{
    memset(at, 0, TREE_BYTES);
    put16(at + 4, flags);
    put16(at + 6, 1);
    put64(at + 16, 1);
    put64(at + 24, overflow);
    put64(at + 32, 1);
    put64(at + 40, root);
}

/* One node in the leaf @page, whose value is said to have @size bytes; @room of them are there. */
static uint8_t *put_leaf(unsigned page, const void *key, uint16_t key_size, uint16_t flags,
                         uint32_t size, size_t room)
{
    uint8_t *at = file + page * SIZE;
    size_t upper = SIZE - (NODE_HEADER + key_size + room + (key_size + room) % 2);
    put64(at, page);
    put16(at + 10, PAGE_LEAF);
    put16(at + 12, PAGE_HEADER + 2);
    put16(at + 14, (uint16_t)upper);
    put16(at + 16, (uint16_t)upper);
    put32(at + upper, size);
    put16(at + upper + 4, flags);
    put16(at + upper + 6, key_size);
    memcpy(at + upper + NODE_HEADER, key, key_size);
    return at + upper + NODE_HEADER + key_size;
}

static void put_large(unsigned page, uint32_t pages)
{
    put64(file + page * SIZE, page);
    put16(file + page * SIZE + 10, PAGE_OVERFLOW);
    put32(file + page * SIZE + 12, pages);
}

static void put_metas(uint64_t free_overflow, uint64_t last_page)
{
    for (unsigned i = 0; i < 2; i++) {
        uint8_t *meta = file + i * SIZE + PAGE_HEADER;
        put64(file + i * SIZE, i);
        put16(file + i * SIZE + 10, PAGE_META);
        put32(meta, 0xBEEFC0DE);
        put32(meta + 4, 1);
        put_tree(meta + 24, FREE, TREE_INTEGER_KEY, free_overflow);
        put32(meta + 24, SIZE);
        put_tree(meta + 24 + TREE_BYTES, TABLES, 0, 0);
        put64(meta + 24 + 2 * TREE_BYTES, last_page);
        put64(meta + 32 + 2 * TREE_BYTES, i == 0 ? 2 : 1);
    }
}

static const uint64_t transaction = 1;

/* A table with one entry; the pages after it are free. */
static int set_up(void **state)
{
    const char *base = getenv("TMPDIR");
    (void)state;
    (void)snprintf(path, sizeof(path), "%.32s/pages-XXXXXX", base != NULL ? base : "/tmp");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    memset(file, 0, sizeof(file));
    put_metas(0, PAGES - 1);
    put_tree(put_leaf(TABLES, "idx", 3, NODE_TREE, TREE_BYTES, TREE_BYTES), TABLE, 0, 0);
    memcpy(put_leaf(TABLE, "a", 1, 0, 2, 2), "va", 2);
    uint8_t *list = put_leaf(FREE, &transaction, sizeof(transaction), 0, 24, 24);
    put64(list, 2);
    put64(list + 8, VALUE + 1);
    put64(list + 16, VALUE);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    return unlink(path);
}

static int check(struct sr_err *err)
{
    bool empty = false;
    int fd = open(path, O_WRONLY | O_TRUNC);
    assert_int_equal(write(fd, file, sizeof(file)), sizeof(file));
    close(fd);
    return sr_pages_check(path, "idx", &empty, err);
}

static void a_file_is_good(void **state)
{
    struct sr_err err = {0};
    (void)state;
    fixture_ok(check(&err), &err);
}

static void an_entry_of_the_free_list_without_a_count_is_damage(void **state)
{
    struct sr_err err = {0};
    (void)state;
    put_leaf(FREE, &transaction, sizeof(transaction), 0, 0, 0);
    assert_int_equal(check(&err), SR_CORRUPT);
    assert_non_null(strstr(err.text, "a damaged entry"));
    put_metas(1, PAGES - 1); /* the same, where its value has a page of its own */
    put64(put_leaf(FREE, &transaction, sizeof(transaction), NODE_BIG, 0, 8), VALUE);
    put_large(VALUE, 1);
    assert_int_equal(check(&err), SR_CORRUPT);
    assert_non_null(strstr(err.text, "a damaged entry"));
}

/* The file may end before pages that were never written, but not before the end of a value: there
 * is no memory to be found for what is not there. */
static void a_large_value_is_in_the_file(void **state)
{
    struct sr_err err = {0};
    uint32_t size = SIZE * 100000;
    (void)state;
    put_metas(0, 200000);
    put64(put_leaf(TABLE, "a", 1, NODE_BIG, size, 8), VALUE);
    put_large(VALUE, 100001);
    assert_int_equal(check(&err), SR_CORRUPT);
    assert_non_null(strstr(err.text, "the large value of page 5 is cut off"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_file_is_good, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_entry_of_the_free_list_without_a_count_is_damage, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_large_value_is_in_the_file, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
