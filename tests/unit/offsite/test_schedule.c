/* SPDX-License-Identifier: Apache-2.0
 *
 * When full archives are due: five a day whatever the day, moved by the cluster's id, missed ones
 * made up for once; over simulated days and years.
 */
#include <stdlib.h>
#include <string.h>

#include "node/offsite/schedule.h"
#include "tests/unit/cmocka.h"

#define MINUTE   UINT64_C(60000)
#define HOUR     (60 * MINUTE)
#define DAY      (24 * HOUR)
#define MIDNIGHT (UINT64_C(20600) * DAY) /* 2026-05-27 */

static char *five_times[] = {"00:30", "05:00", "09:45", "14:30", "23:59"};

static struct sr_schedule at_times(uint64_t spread_ms, uint64_t cluster_id)
{
    struct sr_config_offsite config = {
        .times = five_times, .times_count = 5, .spread_ms = spread_ms};
    struct sr_schedule schedule;
    sr_schedule_init(&schedule, &config, cluster_id);
    return schedule;
}

static struct sr_schedule every(uint64_t every_ms, uint64_t spread_ms, uint64_t cluster_id)
{
    struct sr_config_offsite config = {.every_ms = every_ms, .spread_ms = spread_ms};
    struct sr_schedule schedule;
    sr_schedule_init(&schedule, &config, cluster_id);
    return schedule;
}

/* How many a node makes that looks each minute, is awake as @awake says (NULL: always), and takes
 * @takes_ms for each. */
static unsigned run(const struct sr_schedule *schedule, uint64_t from_ms, uint64_t to_ms,
                    uint64_t takes_ms, bool (*awake)(uint64_t at_ms))
{
    uint64_t begun_ms = sr_schedule_last(schedule, from_ms);
    uint64_t busy_until_ms = 0;
    unsigned made = 0;
    for (uint64_t now_ms = from_ms; now_ms < to_ms; now_ms += MINUTE) {
        bool looks = now_ms >= busy_until_ms && (awake == NULL || awake(now_ms));
        if (looks && sr_schedule_due(schedule, begun_ms, now_ms)) {
            begun_ms = now_ms;
            busy_until_ms = now_ms + takes_ms;
            made++;
        }
    }
    return made;
}

static void test_times_of_a_day(void **state)
{
    struct sr_schedule schedule = at_times(0, 7);
    (void)state;
    assert_int_equal(sr_schedule_next(&schedule, MIDNIGHT), MIDNIGHT + 30 * MINUTE);
    assert_int_equal(sr_schedule_last(&schedule, MIDNIGHT), MIDNIGHT - MINUTE);
    assert_int_equal(sr_schedule_last(&schedule, MIDNIGHT + 30 * MINUTE), MIDNIGHT + 30 * MINUTE);
    assert_int_equal(sr_schedule_next(&schedule, MIDNIGHT + 30 * MINUTE), MIDNIGHT + 5 * HOUR);
    assert_int_equal(sr_schedule_last(&schedule, MIDNIGHT + 30 * MINUTE - 1), MIDNIGHT - MINUTE);
    assert_int_equal(sr_schedule_next(&schedule, MIDNIGHT + DAY - MINUTE),
                     MIDNIGHT + DAY + 30 * MINUTE);
}

static void test_five_a_day_for_ten_years(void **state)
{
    struct sr_schedule times = at_times(30 * MINUTE, 0x1234);
    struct sr_schedule spans = every(DAY / 5, 30 * MINUTE, 0x1234);
    (void)state;
    assert_int_equal(run(&times, MIDNIGHT, MIDNIGHT + 3652 * DAY, 3 * MINUTE, NULL), 5 * 3652);
    assert_int_equal(run(&spans, MIDNIGHT, MIDNIGHT + 3652 * DAY, 3 * MINUTE, NULL), 5 * 3652);
}

static void test_last_and_next_enclose_now(void **state)
{
    (void)state;
    srand(1);
    for (int i = 0; i < 20000; i++) {
        uint64_t id = ((uint64_t)(unsigned)rand() << 32) | (unsigned)rand();
        struct sr_schedule schedule =
            i % 2 == 0 ? at_times(HOUR, id) : every(MINUTE + (unsigned)rand() % DAY, HOUR, id);
        uint64_t now_ms = MIDNIGHT + (unsigned)rand() % (300 * DAY);
        uint64_t last_ms = sr_schedule_last(&schedule, now_ms);
        uint64_t next_ms = sr_schedule_next(&schedule, now_ms);
        assert_true(last_ms <= now_ms && now_ms < next_ms);
        assert_int_equal(sr_schedule_last(&schedule, next_ms), next_ms);
        assert_int_equal(sr_schedule_last(&schedule, next_ms - 1), last_ms);
    }
}

static void test_clusters_are_spread(void **state)
{
    unsigned quarters[4] = {0};
    (void)state;
    for (uint64_t id = 1; id <= 1000; id++) {
        struct sr_schedule schedule = at_times(HOUR - 1, id);
        assert_in_range(schedule.shift_ms, 0, HOUR - 1);
        quarters[schedule.shift_ms / (HOUR / 4)]++;
        struct sr_schedule again = at_times(HOUR - 1, id);
        assert_int_equal(schedule.shift_ms, again.shift_ms);
    }
    for (size_t i = 0; i < 4; i++) {
        assert_in_range(quarters[i], 200, 300);
    }
    assert_int_equal(at_times(0, 99).shift_ms, 0);
    assert_true(every(1000, HOUR, 99).shift_ms < 1000);
}

static bool sleeps_at_night(uint64_t at_ms)
{
    return at_ms % DAY >= 8 * HOUR;
}

static bool sleeps_for_three_days(uint64_t at_ms)
{
    return at_ms < MIDNIGHT + 2 * DAY || at_ms >= MIDNIGHT + 5 * DAY;
}

static void test_missed_ones_are_made_up_for(void **state)
{
    struct sr_schedule schedule = at_times(0, 7);
    (void)state;
    /* 00:30 and 05:00 are both made up for by one at 08:00, then 09:45, 14:30 and 23:59. */
    assert_int_equal(run(&schedule, MIDNIGHT, MIDNIGHT + DAY, MINUTE, sleeps_at_night), 4);
    assert_int_equal(sr_schedule_missed(&schedule, MIDNIGHT - MINUTE, MIDNIGHT + 8 * HOUR, 100), 2);
    assert_int_equal(run(&schedule, MIDNIGHT, MIDNIGHT + 7 * DAY, MINUTE, sleeps_for_three_days),
                     2 * 5 + 1 + 2 * 5);
    assert_int_equal(
        sr_schedule_missed(&schedule, MIDNIGHT + 2 * DAY - MINUTE, MIDNIGHT + 5 * DAY, 100), 15);
    assert_int_equal(sr_schedule_missed(&schedule, 0, MIDNIGHT, 100), 100);
    assert_int_equal(sr_schedule_missed(&schedule, MIDNIGHT, MIDNIGHT, 100), 0);
}

static void test_one_that_takes_longer_than_the_span(void **state)
{
    struct sr_schedule schedule = every(HOUR, 0, 1);
    (void)state;
    assert_int_equal(run(&schedule, MIDNIGHT, MIDNIGHT + DAY, 90 * MINUTE, NULL), 16);
}

static void test_a_clock_that_was_set_back_ships_nothing_twice(void **state)
{
    struct sr_schedule schedule = at_times(0, 7);
    (void)state;
    uint64_t begun_ms = MIDNIGHT + 5 * HOUR + MINUTE;
    assert_false(sr_schedule_due(&schedule, begun_ms, MIDNIGHT + 4 * HOUR));
    assert_false(sr_schedule_due(&schedule, begun_ms, MIDNIGHT + 5 * HOUR));
    assert_true(sr_schedule_due(&schedule, begun_ms, MIDNIGHT + 9 * HOUR + 45 * MINUTE));
    assert_true(sr_schedule_due(&schedule, 0, MIDNIGHT));
}

static void test_a_clock_that_was_never_set(void **state)
{
    struct sr_schedule schedules[] = {at_times(0, 7), every(7 * DAY, 0, 1)};
    (void)state;
    for (size_t i = 0; i < sizeof(schedules) / sizeof(schedules[0]); i++) {
        for (uint64_t now_ms = 1; now_ms < 8 * DAY; now_ms += 7 * HOUR) {
            assert_true(sr_schedule_due(&schedules[i], 0, now_ms)); /* the first one of all */
            assert_false(sr_schedule_due(&schedules[i], now_ms, now_ms + HOUR));
            assert_false(sr_schedule_due(&schedules[i], MIDNIGHT, now_ms));
            assert_true(sr_schedule_next(&schedules[i], now_ms) > now_ms);
            assert_true(sr_schedule_last(&schedules[i], now_ms) <= now_ms);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_times_of_a_day),
        cmocka_unit_test(test_five_a_day_for_ten_years),
        cmocka_unit_test(test_last_and_next_enclose_now),
        cmocka_unit_test(test_clusters_are_spread),
        cmocka_unit_test(test_missed_ones_are_made_up_for),
        cmocka_unit_test(test_one_that_takes_longer_than_the_span),
        cmocka_unit_test(test_a_clock_that_was_set_back_ships_nothing_twice),
        cmocka_unit_test(test_a_clock_that_was_never_set),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
