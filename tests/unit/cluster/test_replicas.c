/* SPDX-License-Identifier: Apache-2.0
 *
 * Reports written as text: "1a 2a 3b" says that members 1 and 2 found hash a, and 3 found b.
 */
#include "tests/unit/cmocka.h"

#include <string.h>

#include "node/cluster/replicas.h"

#define INDEX 77

static struct sr_replica_report reports[SR_MEMBERS_MAX];
static uint64_t odd[SR_MEMBERS_MAX];
static size_t odd_count;

static enum sr_replicas judge(const char *text, size_t member_count, bool complete)
{
    uint64_t members[SR_MEMBERS_MAX];
    size_t count = 0;
    for (size_t i = 0; i < member_count; i++) {
        members[i] = i + 1;
    }
    for (const char *at = text; *at != 0; at += at[2] == 0 ? 2 : 3) {
        reports[count] = (struct sr_replica_report){
            .member = (uint64_t)(at[0] - '0'), .index = INDEX, .revision = 5};
        memset(reports[count].hash, at[1], sizeof(reports[count].hash));
        count++;
    }
    odd_count = 0;
    return sr_replicas_judge(reports, count, INDEX, members, member_count, complete, odd,
                             &odd_count);
}

static void all_equal(void **state)
{
    (void)state;
    assert_int_equal(judge("1a 2a 3a", 3, false), SR_REPLICAS_EQUAL);
    assert_int_equal(judge("1a", 1, false), SR_REPLICAS_EQUAL);
    assert_int_equal(judge("1a 2a", 3, true), SR_REPLICAS_EQUAL); /* one is down */
}

static void more_may_come(void **state)
{
    (void)state;
    assert_int_equal(judge("", 3, false), SR_REPLICAS_WAIT);
    assert_int_equal(judge("1a", 3, false), SR_REPLICAS_WAIT);
    assert_int_equal(judge("1a 2a", 3, false), SR_REPLICAS_WAIT);
    assert_int_equal(judge("1a 2b", 3, false), SR_REPLICAS_WAIT);
    assert_int_equal(judge("1a", 3, true), SR_REPLICAS_WAIT); /* nobody to compare with */
}

static void the_odd_one_is_named(void **state)
{
    (void)state;
    assert_int_equal(judge("1a 2b 3a", 3, false), SR_REPLICAS_ODD);
    assert_int_equal(odd_count, 1);
    assert_int_equal(odd[0], 2);
    assert_int_equal(judge("1b 2a 3a 4a 5c", 5, false), SR_REPLICAS_ODD);
    assert_int_equal(odd_count, 2);
    assert_int_equal(odd[0], 1);
    assert_int_equal(odd[1], 5);
    /* Three of five are enough to know. */
    assert_int_equal(judge("1b 2a 3a 4a", 5, false), SR_REPLICAS_ODD);
}

static void a_minority_accuses_nobody(void **state)
{
    (void)state;
    assert_int_equal(judge("1a 2b", 2, false), SR_REPLICAS_UNCLEAR);
    assert_int_equal(judge("1a 2b", 3, true), SR_REPLICAS_UNCLEAR);
    assert_int_equal(judge("1a 2a 3b 4b", 4, false), SR_REPLICAS_UNCLEAR);
    assert_int_equal(judge("1a 2b 3c", 3, false), SR_REPLICAS_UNCLEAR);
    assert_int_equal(judge("1a 2a 3b", 5, true), SR_REPLICAS_UNCLEAR);
    assert_int_equal(odd_count, 0);
}

static void other_reports_do_not_count(void **state)
{
    (void)state;
    assert_int_equal(judge("1a 2a 3a 9b", 3, false), SR_REPLICAS_EQUAL); /* no member */
    uint64_t members[] = {1, 2, 3};
    (void)judge("1a 2a 3b", 3, false);
    reports[2].index = INDEX - 1; /* of an earlier check */
    assert_int_equal(sr_replicas_judge(reports, 3, INDEX, members, 3, false, odd, &odd_count),
                     SR_REPLICAS_WAIT);
}

static void the_revision_counts_too(void **state)
{
    (void)state;
    uint64_t members[] = {1, 2, 3};
    (void)judge("1a 2a 3a", 3, false);
    reports[0].revision = 6;
    assert_int_equal(sr_replicas_judge(reports, 3, INDEX, members, 3, false, odd, &odd_count),
                     SR_REPLICAS_ODD);
    assert_int_equal(odd[0], 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_equal),
        cmocka_unit_test(more_may_come),
        cmocka_unit_test(the_odd_one_is_named),
        cmocka_unit_test(a_minority_accuses_nobody),
        cmocka_unit_test(other_reports_do_not_count),
        cmocka_unit_test(the_revision_counts_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
