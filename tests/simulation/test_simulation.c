/* SPDX-License-Identifier: Apache-2.0
 *
 * The simulator itself: a seed always gives the same life, a life is not idle, and bugs that are
 * planted are found.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "tests/simulation/keys.h"
#include "tests/simulation/world.h"
#include "tests/unit/cmocka.h"

static char directory[64];

static struct world_summary life(uint64_t seed, size_t members, uint32_t guards_off, uint32_t bugs)
{
    struct world_options options = {.seed = seed,
                                    .members = members,
                                    .ms = 10000,
                                    .guards_off = guards_off,
                                    .bugs = bugs,
                                    .dir = directory};
    struct world_summary summary;
    world_run(&options, &summary);
    return summary;
}

static void a_seed_gives_one_life(void **state)
{
    (void)state;
    uint64_t before = 0;
    for (uint64_t seed = 1; seed <= 6; seed++) {
        size_t members = seed % 3 == 0 ? 5 : 3;
        struct world_summary first = life(seed, members, 0, 0);
        struct world_summary second = life(seed, members, 0, 0);
        assert_string_equal(first.violation, "");
        assert_int_equal(first.trace_hash, second.trace_hash);
        assert_int_equal(first.trace_lines, second.trace_lines);
        assert_int_not_equal(first.trace_hash, before);
        before = first.trace_hash;
    }
}

/* What does nothing breaks no rule. */
static void a_life_is_not_idle(void **state)
{
    (void)state;
    struct world_summary sum = {0};
    for (uint64_t seed = 1; seed <= 10; seed++) {
        struct world_summary one = life(seed, 3, 0, 0);
        sum.acknowledged += one.acknowledged;
        sum.reads += one.reads;
        sum.starts += one.starts;
        sum.leaders += one.leaders;
        sum.unknown += one.unknown;
    }
    assert_true(sum.acknowledged > 1000);
    assert_true(sum.reads > 300);
    assert_true(sum.starts > 10 * 6);
    assert_true(sum.leaders > 20);
    assert_true(sum.unknown > 0);
}

static void members_come_and_images_are_taken(void **state)
{
    (void)state;
    struct world_summary sum = {0};
    for (uint64_t seed = 1; seed <= 12; seed++) {
        struct world_summary one = life(seed, 5, 0, 0);
        assert_string_equal(one.violation, "");
        sum.changes += one.changes;
        sum.images += one.images;
    }
    assert_true(sum.changes >= 12);
    assert_true(sum.images >= 1);
}

/* Within @seeds lives some rule is broken, and the first one that is says @what. */
static void is_found(uint32_t guards_off, uint32_t bugs, uint64_t seeds, const char *what)
{
    for (uint64_t seed = 1; seed <= seeds; seed++) {
        struct world_summary summary = life(seed, 3, guards_off, bugs);
        if (summary.violation[0] != 0) {
            printf("found with seed %llu: %s\n", (unsigned long long)seed, summary.violation);
            assert_non_null(strstr(summary.violation, what));
            return;
        }
    }
    fail_msg("not found in %llu lives", (unsigned long long)seeds);
}

static void an_early_answer_is_found(void **state)
{
    (void)state;
    is_found(0, WORLD_BUG_EARLY_ANSWER, 30, "operation");
}

static void forgotten_request_ids_are_found(void **state)
{
    (void)state;
    is_found(0, WORLD_BUG_NO_REQUEST_IDS, 30, "P3");
}

static void a_lying_disk_is_found(void **state)
{
    (void)state;
    is_found(0, WORLD_BUG_LYING_DISK, 30, "member");
}

static void a_read_without_its_round_is_found(void **state)
{
    (void)state;
    is_found(SR_GUARD_READ_ROUND, 0, 200, "P2");
}

static void a_read_below_the_floor_is_found(void **state)
{
    (void)state;
    is_found(SR_GUARD_READ_FLOOR, 0, 60, "P2");
}

static void a_state_ahead_of_its_log_is_found(void **state)
{
    (void)state;
    is_found(SR_GUARD_APPLY_PERSISTED, 0, 30, "durably");
}

static void a_log_released_too_early_is_found(void **state)
{
    (void)state;
    is_found(SR_GUARD_MANIFEST_HOLD, 0, 30, "does not start");
}

static int set_up(void **state)
{
    (void)state;
    const char *base = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : getenv("TMPDIR");
    snprintf(directory, sizeof(directory), "%.30s/simulation-XXXXXX", base != NULL ? base : "/tmp");
    return mkdtemp(directory) != NULL ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    keys_close();
    return rmdir(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_seed_gives_one_life),
        cmocka_unit_test(a_life_is_not_idle),
        cmocka_unit_test(members_come_and_images_are_taken),
        cmocka_unit_test(an_early_answer_is_found),
        cmocka_unit_test(forgotten_request_ids_are_found),
        cmocka_unit_test(a_lying_disk_is_found),
        cmocka_unit_test(a_read_without_its_round_is_found),
        cmocka_unit_test(a_read_below_the_floor_is_found),
        cmocka_unit_test(a_state_ahead_of_its_log_is_found),
        cmocka_unit_test(a_log_released_too_early_is_found),
    };
#ifdef __SANITIZE_ADDRESS__
    cmocka_set_skip_filter("*_found"); /* a sanitizer looks for other mistakes than planted ones */
#endif
    sr_log_init(SR_LOG_FATAL, SR_LOG_LOGFMT, NULL);
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
