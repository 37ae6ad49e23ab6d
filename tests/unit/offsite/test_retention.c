/* SPDX-License-Identifier: Apache-2.0
 *
 * What may go: two years of five archives a day under the default policy, and each rule on its own.
 */
#include <string.h>

#include "base/alloc.h"
#include "node/offsite/retention.h"
#include "tests/unit/cmocka.h"

#define HOUR UINT64_C(3600000)
#define DAY  (24 * HOUR)
#define NOW  (UINT64_C(20819) * DAY) /* 2027-01-01 00:00 */

static struct sr_config_offsite policy(unsigned last, unsigned daily, unsigned monthly,
                                       unsigned yearly)
{
    struct sr_config_offsite config = {0};
    config.retention.last = last;
    config.retention.daily = daily;
    config.retention.monthly = monthly;
    config.retention.yearly = yearly;
    return config;
}

/* @count of them, the newest begun an hour before NOW, @apart_ms between two. */
static void fill(struct sr_retained *list, size_t count, uint64_t apart_ms)
{
    for (size_t i = 0; i < count; i++) {
        list[i] = (struct sr_retained){
            .sequence = i + 1,
            .revision = (int64_t)i * 10 + 10,
            .begun_ms = NOW - HOUR - (count - 1 - i) * apart_ms,
        };
    }
}

static size_t kept(const struct sr_retained *list, size_t count)
{
    size_t result = 0;
    for (size_t i = 0; i < count; i++) {
        result += list[i].keep ? 1 : 0;
    }
    return result;
}

static void test_the_newest_stay(void **state)
{
    struct sr_config_offsite config = policy(3, 0, 0, 0);
    struct sr_retained list[10];
    (void)state;
    fill(list, 10, HOUR);
    assert_int_equal(sr_retention_decide(&config, list, 10, NOW), 7);
    assert_int_equal(kept(list, 10), 3);
    assert_true(list[7].keep && list[8].keep && list[9].keep);
    assert_int_equal(sr_retention_decide(&config, list, 2, NOW), 0);
    assert_int_equal(sr_retention_decide(&config, list, 0, NOW), 0);
}

static void test_one_of_each_day(void **state)
{
    struct sr_config_offsite config = policy(1, 4, 0, 0);
    struct sr_retained list[50];
    (void)state;
    fill(list, 50, DAY / 5);
    (void)sr_retention_decide(&config, list, 50, NOW);
    assert_int_equal(kept(list, 50), 4);
    for (size_t i = 0; i < 50; i++) { /* the last one of its day */
        bool last_of_day = i == 49 || list[i].begun_ms / DAY != list[i + 1].begun_ms / DAY;
        assert_int_equal(list[i].keep, last_of_day && list[i].begun_ms / DAY >= NOW / DAY - 4);
    }
}

static void test_months_and_years(void **state)
{
    struct sr_config_offsite config = policy(1, 0, 3, 2);
    struct sr_retained list[800];
    (void)state;
    fill(list, 800, DAY);
    (void)sr_retention_decide(&config, list, 800, NOW);
    /* The ends of December, November and October 2026, and of 2025. */
    assert_int_equal(kept(list, 800), 4);
    assert_true(list[799].keep);
    assert_true(list[799 - 31].keep);
    assert_true(list[799 - 31 - 30].keep);
    assert_true(list[799 - 365].keep);
}

static void test_the_last_proven_stays(void **state)
{
    struct sr_config_offsite config = policy(2, 0, 0, 0);
    struct sr_retained list[10];
    (void)state;
    fill(list, 10, HOUR);
    list[1].proven = true;
    list[4].proven = true;
    assert_int_equal(sr_retention_decide(&config, list, 10, NOW), 7);
    assert_true(list[4].keep);
    assert_false(list[1].keep);
}

static void test_what_is_locked_stays(void **state)
{
    struct sr_config_offsite config = policy(1, 0, 0, 0);
    struct sr_retained list[10];
    (void)state;
    fill(list, 10, HOUR);
    list[2].locked_until_ms = NOW + 1;
    list[3].locked_until_ms = NOW;
    assert_int_equal(sr_retention_decide(&config, list, 10, NOW), 8);
    assert_true(list[2].keep);
    assert_false(list[3].keep);
}

/* A year under lock, five a day: more than the catalogue takes. */
static void test_locked_ones_do_not_fill_the_catalogue(void **state)
{
    struct sr_config_offsite config = policy(10, 14, 12, 10);
    struct sr_retained *list = sr_zalloc(SR_OFFSITE_ENTRIES_MAX * sizeof(*list));
    size_t room = sr_retention_room(4);
    (void)state;
    config.targets_count = 4;
    fill(list, SR_OFFSITE_ENTRIES_MAX, DAY / 5);
    for (size_t i = 0; i < SR_OFFSITE_ENTRIES_MAX; i++) {
        list[i].locked_until_ms = list[i].begun_ms + 365 * DAY;
    }
    list[0].proven = true;
    (void)sr_retention_decide(&config, list, SR_OFFSITE_ENTRIES_MAX, NOW);
    assert_int_equal(kept(list, SR_OFFSITE_ENTRIES_MAX), room);
    assert_true(list[0].keep); /* the proven one, and the months */
    for (size_t i = 0; i < 200; i++) {
        assert_true(list[SR_OFFSITE_ENTRIES_MAX - 1 - i].keep); /* the newest */
    }
    assert_true(4 * (room + 1) < SR_OFFSITE_ENTRIES_MAX);
    sr_free(list);
}

/* Each time one is made, what may go goes: what is left is bounded, and reaches back. */
static void test_two_years_of_five_a_day(void **state)
{
    struct sr_config_offsite config = policy(10, 14, 12, 10);
    struct sr_retained list[64];
    size_t count = 0;
    size_t most = 0;
    (void)state;
    for (size_t i = 0; i < 5 * 731; i++) {
        uint64_t now_ms = NOW + i * (DAY / 5);
        assert_true(count < 64);
        list[count++] = (struct sr_retained){.sequence = i + 1, .begun_ms = now_ms};
        (void)sr_retention_decide(&config, list, count, now_ms);
        size_t left = 0;
        for (size_t k = 0; k < count; k++) {
            if (list[k].keep) {
                list[left++] = list[k];
            }
        }
        count = left;
        most = left > most ? left : most;
    }
    assert_in_range(most, 30, 10 + 14 + 12 + 10);
    assert_true(list[0].begun_ms < NOW + 366 * DAY); /* of the first year */
    assert_int_equal(list[count - 1].sequence, 5 * 731);
}

static void test_changes_go_up_to_the_last_proven(void **state)
{
    struct sr_retained list[5];
    (void)state;
    fill(list, 5, HOUR);
    assert_int_equal(sr_retention_changes(list, 0), 0);
    assert_int_equal(sr_retention_changes(list, 5), 10);
    list[1].proven = true;
    list[3].proven = true;
    assert_int_equal(sr_retention_changes(list, 5), 40);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_newest_stay),
        cmocka_unit_test(test_one_of_each_day),
        cmocka_unit_test(test_months_and_years),
        cmocka_unit_test(test_the_last_proven_stays),
        cmocka_unit_test(test_what_is_locked_stays),
        cmocka_unit_test(test_locked_ones_do_not_fill_the_catalogue),
        cmocka_unit_test(test_two_years_of_five_a_day),
        cmocka_unit_test(test_changes_go_up_to_the_last_proven),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
