/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/cmocka.h"

#include <string.h>

#include "base/alloc.h"

static void arena_hands_out_aligned_pieces_up_to_its_limit(void **state)
{
    (void)state;
    struct sr_arena arena;
    sr_arena_init(&arena, 100000);
    size_t taken = 0;
    for (size_t size = 1; size < 5000; size += 37) {
        uint8_t *piece = sr_arena_alloc(&arena, size);
        if (piece == NULL) {
            break;
        }
        assert_int_equal((uintptr_t)piece % 16, 0);
        memset(piece, 0xab, size);
        taken += size;
    }
    assert_true(taken > 80000);
    assert_null(sr_arena_alloc(&arena, 100001));
    sr_arena_reset(&arena);
    assert_int_equal(arena.used_bytes, 0);
    assert_non_null(sr_arena_alloc(&arena, 90000));
    sr_arena_close(&arena);
}

static void a_try_allocation_fails_when_it_is_told_to(void **state)
{
    (void)state;
    sr_alloc_fail_nth(2);
    void *first = sr_try_alloc(10);
    void *second = sr_try_alloc(10);
    void *third = sr_try_alloc(10);
    assert_non_null(first);
    assert_null(second);
    assert_non_null(third);
    assert_int_equal(sr_alloc_fail_nth(0), 1);
    assert_int_equal(sr_alloc_fail_nth(0), 0);
    sr_free(first);
    sr_free(third);
}

static void an_arena_survives_a_failed_block(void **state)
{
    (void)state;
    struct sr_arena arena;
    sr_arena_init(&arena, 1 << 20);
    sr_alloc_fail_nth(1);
    assert_null(sr_arena_alloc(&arena, 100));
    assert_int_equal(sr_alloc_fail_nth(0), 1);
    assert_non_null(sr_arena_alloc(&arena, 100));
    sr_arena_close(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arena_hands_out_aligned_pieces_up_to_its_limit),
        cmocka_unit_test(a_try_allocation_fails_when_it_is_told_to),
        cmocka_unit_test(an_arena_survives_a_failed_block),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
