/* SPDX-License-Identifier: Apache-2.0
 *
 * Clusters written as text: "a b c" are three healthy voters n1, n2 and n3 in zones a, b and c;
 * "-" after a zone: not healthy; "*": a learner.
 */
#include "tests/unit/cmocka.h"

#include <stdio.h>
#include <string.h>

#include "node/cluster/rules.h"
#include "proto/limits.h"

struct drawn {
    struct sr_zone_member members[SR_MEMBERS_MAX];
    char names[SR_MEMBERS_MAX][4];
    char zones[SR_MEMBERS_MAX][2];
    size_t count;
};

static struct drawn *draw(const char *text)
{
    static struct drawn drawn;
    memset(&drawn, 0, sizeof(drawn));
    for (const char *at = text; *at != 0; at++) {
        if (*at == ' ') {
            continue;
        }
        struct sr_zone_member *last = drawn.count > 0 ? &drawn.members[drawn.count - 1] : NULL;
        if (*at == '-') {
            last->healthy = false;
        } else if (*at == '*') {
            last->voter = false;
        } else {
            size_t i = drawn.count++;
            snprintf(drawn.names[i], sizeof(drawn.names[i]), "n%zu", i + 1);
            drawn.zones[i][0] = *at == '?' ? 0 : *at;
            drawn.members[i] = (struct sr_zone_member){.id = i + 1,
                                                       .name = drawn.names[i],
                                                       .zone = drawn.zones[i],
                                                       .voter = true,
                                                       .healthy = true};
        }
    }
    return &drawn;
}

static void expect_survivable(const char *text, int expected)
{
    struct drawn *drawn = draw(text);
    int found = sr_zones_survivable(drawn->members, drawn->count);
    if (found != expected) {
        print_error("\"%s\": %d\n", text, found);
    }
    assert_int_equal(found, expected);
}

static void zones_survivable(void **state)
{
    (void)state;
    expect_survivable("a", 0);
    expect_survivable("a a a", 0);
    expect_survivable("a a a a a", 0);
    expect_survivable("a b", 0);
    expect_survivable("a b c", 1);
    expect_survivable("a a b", 0);
    expect_survivable("a b c d", 1);
    expect_survivable("a a b c", 0);
    expect_survivable("a a b b", 0);
    expect_survivable("a a b b c", 1);
    expect_survivable("a a a b c", 0);
    expect_survivable("a b c d e", 2);
    expect_survivable("a a b c d", 1);
    expect_survivable("a a b b c c d", 1);
    expect_survivable("a a b b c d e", 1);
    expect_survivable("a b c d e f g", 3);
    expect_survivable("a a a b b b c c c", 1);
}

static void the_dead_count_against_it(void **state)
{
    (void)state;
    expect_survivable("a b c-", 0);
    expect_survivable("a b- c-", -1);
    expect_survivable("a- b", -1);
    expect_survivable("a-", -1);
    expect_survivable("a a- b b c", 0);
    expect_survivable("a a- b b- c", 0);
    expect_survivable("a- a- b b c", 0);
    expect_survivable("a- a- b b c-", -1);
    expect_survivable("a b c d e-", 1);
    expect_survivable("a b c d- e-", 0);
}

static void learners_do_not_count(void **state)
{
    (void)state;
    expect_survivable("a b c*", 0);
    expect_survivable("a b c d*", 1);
    expect_survivable("a* b* c*", -1); /* nobody votes */
    expect_survivable("", -1);
    expect_survivable("a b c a*- b*-", 1);
}

static void an_unknown_zone_is_one_place(void **state)
{
    (void)state;
    expect_survivable("? ? a", 0);
    expect_survivable("? a b", 1);
}

static void at_best_everybody_is_healthy(void **state)
{
    (void)state;
    struct drawn *drawn = draw("a- b- c- d*");
    assert_int_equal(sr_zones_survivable(drawn->members, drawn->count), -1);
    assert_int_equal(sr_zones_survivable_at_best(drawn->members, drawn->count), 1);
}

/* ---- Rules ---- */

static enum sr_rule judge(const char *text, enum sr_rule_action action, uint64_t target,
                          const char *zone, int zones_min, char *ret_text)
{
    struct drawn *drawn = draw(text);
    ret_text[0] = 0;
    return sr_rules_judge(drawn->members, drawn->count, action, target, zone, zones_min, ret_text);
}

static void expect_allowed(const char *text, enum sr_rule_action action, uint64_t target)
{
    char said[SR_RULE_TEXT_MAX];
    enum sr_rule rule = judge(text, action, target, "", 1, said);
    if (rule != SR_RULE_NONE) {
        print_error("\"%s\" %s n%u: %s\n", text, sr_rule_action_name(action), (unsigned)target,
                    said);
    }
    assert_int_equal(rule, SR_RULE_NONE);
}

static void expect_refused(const char *text, enum sr_rule_action action, uint64_t target,
                           enum sr_rule expected, const char *sentence)
{
    char said[SR_RULE_TEXT_MAX];
    enum sr_rule rule = judge(text, action, target, "", 1, said);
    assert_string_equal(said, sentence);
    assert_int_equal(rule, expected);
}

static void removing_the_dead_is_always_right(void **state)
{
    (void)state;
    expect_allowed("a b c-", SR_ACTION_REMOVE, 3);
    expect_allowed("a a b b c-", SR_ACTION_REMOVE, 5);
    expect_allowed("a a- b b c", SR_ACTION_REMOVE, 2);
    expect_allowed("a a a-", SR_ACTION_REMOVE, 3);
    expect_allowed("a b-", SR_ACTION_REMOVE, 2); /* there is no majority to lose */
    expect_allowed("a b c d*-", SR_ACTION_REMOVE, 4);
    expect_allowed("a b c d*", SR_ACTION_REMOVE, 4);
}

static void a_removal_keeps_the_majority(void **state)
{
    (void)state;
    expect_refused("a b c-", SR_ACTION_REMOVE, 1, SR_RULE_QUORUM,
                   "removing n1 would leave 1 of 2 voters working, which is no majority: add a "
                   "voter in zone a first");
    expect_refused("a a a-", SR_ACTION_REMOVE, 1, SR_RULE_QUORUM,
                   "removing n1 would leave 1 of 2 voters working, which is no majority: bring n3 "
                   "back first");
    expect_refused("a b c d- e-", SR_ACTION_REMOVE, 2, SR_RULE_QUORUM,
                   "removing n2 would leave 2 of 4 voters working, which is no majority: bring n4 "
                   "and n5 back first");
}

static void a_removal_keeps_a_zone_to_lose(void **state)
{
    (void)state;
    expect_refused("a b c", SR_ACTION_REMOVE, 3, SR_RULE_ZONES,
                   "removing n3 would leave 2 voters so spread that the loss of 1 zone is fatal: "
                   "add a voter in zone c first");
    expect_refused("a a b b c", SR_ACTION_REMOVE, 5, SR_RULE_ZONES,
                   "removing n5 would leave 4 voters so spread that the loss of 1 zone is fatal: "
                   "add a voter in zone c first");
    expect_refused("a a b b c", SR_ACTION_REMOVE, 1, SR_RULE_ZONES,
                   "removing n1 would leave 4 voters so spread that the loss of 1 zone is fatal: "
                   "add a voter in zone a first");
    expect_allowed("a b b c", SR_ACTION_REMOVE, 2); /* to one each */
    expect_allowed("a b c d", SR_ACTION_REMOVE, 4);
    expect_allowed("a b c d e", SR_ACTION_REMOVE, 5);
    expect_allowed("a a b c d", SR_ACTION_REMOVE, 1);
}

static void one_zone_has_nothing_to_keep(void **state)
{
    (void)state;
    expect_allowed("a a a", SR_ACTION_REMOVE, 1);
    expect_allowed("a a a a a", SR_ACTION_REMOVE, 1);
    expect_allowed("a a a", SR_ACTION_DRAIN, 1);
    expect_allowed("a a", SR_ACTION_REMOVE, 1);
    expect_allowed("a a b", SR_ACTION_DRAIN, 1);
}

static void a_replacement_is_possible(void **state)
{
    (void)state;
    /* The dead one goes, another comes. */
    expect_allowed("a b c-", SR_ACTION_REMOVE, 3);
    expect_allowed("a b c*", SR_ACTION_PROMOTE, 3);
    /* Or the other way round. */
    expect_allowed("a b c- c*", SR_ACTION_PROMOTE, 4);
    expect_allowed("a b c- c", SR_ACTION_REMOVE, 3);
    /* A healthy one is replaced by one in its zone. */
    expect_allowed("a b c c*", SR_ACTION_PROMOTE, 4);
    expect_allowed("a b c c", SR_ACTION_REMOVE, 3);
}

static void one_zone_at_a_time_is_drained(void **state)
{
    (void)state;
    expect_allowed("a b c", SR_ACTION_DRAIN, 1);
    expect_allowed("a a b b c", SR_ACTION_DRAIN, 1);
    expect_allowed("a- a b b c", SR_ACTION_DRAIN, 2);
    expect_refused("a- a b b c", SR_ACTION_DRAIN, 3, SR_RULE_ZONES,
                   "draining n3 would leave zone b and another one short of voters at the same "
                   "time: bring n1 back first");
    expect_refused("a- b c", SR_ACTION_DRAIN, 2, SR_RULE_QUORUM,
                   "draining n2 would leave 1 of 3 voters working, which is no majority: bring n1 "
                   "back first");
    expect_refused("a", SR_ACTION_DRAIN, 1, SR_RULE_QUORUM,
                   "draining n1 would leave 0 of 1 voters working, which is no majority: add "
                   "voters in other zones first");
    expect_allowed("a b c d*", SR_ACTION_DRAIN, 4);
    expect_allowed("a- b c d*", SR_ACTION_DRAIN, 4);
}

static void growth_passes_through_four(void **state)
{
    (void)state;
    expect_allowed("a b c a*", SR_ACTION_PROMOTE, 4);
    expect_allowed("a a b c b*", SR_ACTION_PROMOTE, 5);
    expect_allowed("a a a a*", SR_ACTION_PROMOTE, 4);
}

static void a_misplaced_voter_is_refused(void **state)
{
    char said[SR_RULE_TEXT_MAX];
    (void)state;
    assert_int_equal(judge("a b c", SR_ACTION_ADD, 9, "a", 1, said), SR_RULE_NONE);
    assert_int_equal(judge("a a b c", SR_ACTION_ADD, 9, "b", 1, said), SR_RULE_NONE);
    assert_int_equal(judge("a a b c", SR_ACTION_ADD, 9, "d", 1, said), SR_RULE_NONE);
    assert_int_equal(judge("a a b c", SR_ACTION_ADD, 9, "a", 1, said), SR_RULE_ZONES);
    assert_string_equal(said, "adding the member would leave 5 voters so spread that the loss of "
                              "1 zone is fatal: put it in zone b");
    assert_int_equal(judge("a a b c a*", SR_ACTION_PROMOTE, 5, "", 1, said), SR_RULE_ZONES);
    assert_string_equal(said, "promoting n5 would leave 5 voters so spread that the loss of 1 zone "
                              "is fatal: put it in zone b");
    /* The health of the others is not the newcomer's concern. */
    assert_int_equal(judge("a a- b b c", SR_ACTION_ADD, 9, "a", 1, said), SR_RULE_NONE);
    assert_int_equal(judge("a b c d e", SR_ACTION_ADD, 9, "e", 2, said), SR_RULE_NONE);
    assert_int_equal(judge("a b c d e e", SR_ACTION_ADD, 9, "e", 2, said), SR_RULE_NONE);
    assert_int_equal(judge("a b c d e e", SR_ACTION_ADD, 9, "e", 1, said), SR_RULE_NONE);
}

static void a_higher_minimum_is_held(void **state)
{
    char said[SR_RULE_TEXT_MAX];
    (void)state;
    assert_int_equal(judge("a b c d e", SR_ACTION_REMOVE, 5, "", 1, said), SR_RULE_NONE);
    assert_int_equal(judge("a b c d e", SR_ACTION_REMOVE, 5, "", 2, said), SR_RULE_ZONES);
    assert_string_equal(said, "removing n5 would leave 4 voters so spread that the loss of 2 zones "
                              "is fatal: add a voter in zone e first");
    assert_int_equal(judge("a b c d e", SR_ACTION_DRAIN, 5, "", 2, said), SR_RULE_NONE);
    assert_int_equal(judge("a b c d e-", SR_ACTION_DRAIN, 1, "", 1, said), SR_RULE_NONE);
    assert_int_equal(judge("a b c d e-", SR_ACTION_DRAIN, 1, "", 2, said), SR_RULE_ZONES);
    /* Three can never lose two zones: they are held to one. */
    assert_int_equal(judge("a b c", SR_ACTION_DRAIN, 1, "", 2, said), SR_RULE_NONE);
}

/* Whatever is allowed leaves a majority, if there was one, for every small cluster there is. */
static void nothing_that_is_allowed_loses_the_majority(void **state)
{
    (void)state;
    char said[SR_RULE_TEXT_MAX];
    size_t judged = 0;
    for (unsigned drawn_by = 0; drawn_by < 6u * 6 * 6 * 6 * 6; drawn_by++) {
        static const char *const kinds[] = {"a", "b", "c", "a-", "b-", "c-"};
        char text[32] = "";
        unsigned rest = drawn_by;
        for (int i = 0; i < 5; i++, rest /= 6) {
            strcat(text, kinds[rest % 6]);
        }
        struct drawn before = *draw(text);
        int zones_before = sr_zones_survivable(before.members, before.count);
        for (uint64_t id = 1; id <= 5 && zones_before >= 0; id++) {
            if (judge(text, SR_ACTION_REMOVE, id, "", 1, said) != SR_RULE_NONE) {
                assert_true(said[0] != 0);
                continue;
            }
            struct drawn then = *draw(text);
            then.members[id - 1] = then.members[--then.count];
            int zones_then = sr_zones_survivable(then.members, then.count);
            assert_true(zones_then >= 0);
            assert_true(zones_then >= 1 || zones_before < 1);
            judged++;
        }
    }
    assert_true(judged > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(zones_survivable),
        cmocka_unit_test(the_dead_count_against_it),
        cmocka_unit_test(learners_do_not_count),
        cmocka_unit_test(an_unknown_zone_is_one_place),
        cmocka_unit_test(at_best_everybody_is_healthy),
        cmocka_unit_test(removing_the_dead_is_always_right),
        cmocka_unit_test(a_removal_keeps_the_majority),
        cmocka_unit_test(a_removal_keeps_a_zone_to_lose),
        cmocka_unit_test(one_zone_has_nothing_to_keep),
        cmocka_unit_test(a_replacement_is_possible),
        cmocka_unit_test(one_zone_at_a_time_is_drained),
        cmocka_unit_test(growth_passes_through_four),
        cmocka_unit_test(a_misplaced_voter_is_refused),
        cmocka_unit_test(a_higher_minimum_is_held),
        cmocka_unit_test(nothing_that_is_allowed_loses_the_majority),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
