/* SPDX-License-Identifier: Apache-2.0
 *
 * Leadership by zone, second by second: member 1 is in zone a, 2 in b, 3 in c; "a" is preferred,
 * then "b".
 */
#include "tests/unit/cmocka.h"

#include "node/cluster/preference.h"

static const char *const preferred[] = {"a", "b"};

static struct sr_zone_member members[] = {
    {.id = 1, .name = "n1", .zone = "a", .voter = true, .healthy = true},
    {.id = 2, .name = "n2", .zone = "b", .voter = true, .healthy = true},
    {.id = 3, .name = "n3", .zone = "c", .voter = true, .healthy = true},
};

static struct sr_preference preference;
static uint64_t now_ms;

static int setup(void **state)
{
    (void)state;
    preference = (struct sr_preference){.zones = preferred, .zone_count = 2};
    now_ms = 1000;
    for (size_t i = 0; i < 3; i++) {
        members[i].healthy = true;
        members[i].voter = true;
    }
    return 0;
}

/* Let @seconds pass with @leader leading, seen by @self; the first wish, or 0. */
static uint64_t pass(uint64_t self, uint64_t leader, unsigned seconds)
{
    for (unsigned i = 0; i < seconds; i++) {
        now_ms += 1000;
        uint64_t wish = sr_preference_tick(&preference, now_ms, self, self == leader, members, 3);
        if (wish != 0) {
            return wish;
        }
    }
    return 0;
}

static void the_best_zone_gets_it(void **state)
{
    (void)state;
    assert_int_equal(pass(3, 3, 9), 0); /* not at once */
    assert_int_equal(pass(3, 3, 10), 1);
}

static void the_next_best_if_need_be(void **state)
{
    (void)state;
    members[0].healthy = false;
    assert_int_equal(pass(3, 3, 30), 2);
}

static void only_voters_lead(void **state)
{
    (void)state;
    members[0].voter = false;
    members[1].voter = false;
    assert_int_equal(pass(3, 3, 100), 0);
}

static void the_best_stays(void **state)
{
    (void)state;
    assert_int_equal(pass(1, 1, 1000), 0);
}

static void a_worse_zone_is_no_reason(void **state)
{
    (void)state;
    members[0].healthy = false;
    assert_int_equal(pass(2, 2, 1000), 0);
}

static void who_does_not_lead_wishes_nothing(void **state)
{
    (void)state;
    assert_int_equal(pass(3, 2, 1000), 0);
}

static void without_preferred_zones_nothing_happens(void **state)
{
    (void)state;
    preference.zone_count = 0;
    assert_int_equal(pass(3, 3, 1000), 0);
}

static void equal_zones_are_equal(void **state)
{
    (void)state;
    members[1].zone = "a";
    assert_int_equal(pass(2, 2, 1000), 0);
    members[1].zone = "b";
}

static void health_counts_from_its_last_beginning(void **state)
{
    (void)state;
    members[1].healthy = false;
    for (int i = 0; i < 20; i++) {
        members[0].healthy = i % 2 == 0;
        assert_int_equal(pass(3, 3, 9), 0);
    }
    members[0].healthy = true;
    assert_int_equal(pass(3, 3, 12), 1);
}

/* A member that takes leadership and loses it again and again gets it less and less often. */
static void it_does_not_flap(void **state)
{
    (void)state;
    unsigned longest = 0;
    members[1].healthy = false;
    for (unsigned round = 0; round < 12; round++) {
        unsigned waited = 0;
        while (pass(3, 3, 1) == 0) {
            waited++;
            assert_true(waited < 4000);
        }
        assert_true(waited + 2 >= longest);
        longest = waited;
        (void)pass(3, 1, 3); /* it leads for three seconds */
        members[0].healthy = false;
        (void)pass(3, 3, 2);
        members[0].healthy = true;
    }
    assert_true(longest > 3000); /* about an hour by now */
    (void)pass(3, 1, 2 * 86400); /* it led for two days: forgiven */
    unsigned waited = 0;
    while (pass(3, 3, 1) == 0) {
        waited++;
    }
    assert_true(waited < 15);
}

/* For a while nobody knows how the members are: what counts against one is not forgotten by that.
 */
static void to_lose_sight_is_not_to_forgive(void **state)
{
    (void)state;
    members[1].healthy = false;
    for (unsigned round = 0; round < 4; round++) {
        while (pass(3, 3, 1) == 0) {
        }
    }
    now_ms += 1000;
    assert_int_equal(sr_preference_tick(&preference, now_ms, 3, false, NULL, 0), 0);
    assert_int_equal(pass(3, 3, 60), 0); /* four times: it takes 160 s */
    assert_int_equal(pass(3, 3, 120), 1);
}

static void members_come_and_go(void **state)
{
    (void)state;
    (void)pass(3, 3, 5);
    for (uint64_t id = 10; id < 40; id++) {
        struct sr_zone_member other[] = {members[2],
                                         {.id = id, .zone = "a", .voter = true, .healthy = true}};
        now_ms += 1000;
        assert_int_equal(sr_preference_tick(&preference, now_ms, 3, true, other, 2), 0);
        assert_true(preference.seen_count == 2);
    }
    assert_int_equal(pass(3, 3, 30), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(the_best_zone_gets_it, setup),
        cmocka_unit_test_setup(the_next_best_if_need_be, setup),
        cmocka_unit_test_setup(only_voters_lead, setup),
        cmocka_unit_test_setup(the_best_stays, setup),
        cmocka_unit_test_setup(a_worse_zone_is_no_reason, setup),
        cmocka_unit_test_setup(who_does_not_lead_wishes_nothing, setup),
        cmocka_unit_test_setup(without_preferred_zones_nothing_happens, setup),
        cmocka_unit_test_setup(equal_zones_are_equal, setup),
        cmocka_unit_test_setup(health_counts_from_its_last_beginning, setup),
        cmocka_unit_test_setup(it_does_not_flap, setup),
        cmocka_unit_test_setup(to_lose_sight_is_not_to_forgive, setup),
        cmocka_unit_test_setup(members_come_and_go, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
