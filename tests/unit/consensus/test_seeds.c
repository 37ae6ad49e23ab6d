/* SPDX-License-Identifier: Apache-2.0
 *
 * Many short random lives; the simulation checks its rules as they run. SEEDS and FIRST_SEED
 * change how many, and which.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "chaos.h"
#include "tests/unit/cmocka.h"

static struct sim sim;

struct totals {
    unsigned acked;
    unsigned reads;
    unsigned commands;
    uint64_t leaders;
    uint64_t changes; /* of members */
    uint64_t images;  /* adopted */
};

static uint64_t number_of(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text == NULL ? otherwise : strtoull(text, NULL, 10);
}

static void add(struct totals *totals)
{
    totals->acked += sim.acked;
    totals->reads += sim.reads_done;
    totals->commands += (unsigned)sim.command_count;
    for (size_t i = 0; i < sim.count; i++) {
        totals->leaders += sr_counter_read(&sim.nodes[i].metrics.leader_changes);
        totals->images += sim.nodes[i].images_adopted;
        totals->changes += sr_counter_read(&sim.nodes[i].metrics.membership_changes);
    }
}

static void run_seeds(size_t nodes, uint64_t seeds, void (*prepare)(struct sim *sim))
{
    uint64_t first = number_of("FIRST_SEED", 1);
    struct totals totals = {0};
    seeds = number_of("SEEDS", seeds);
    for (uint64_t seed = first; seed < first + seeds; seed++) {
        if (getenv("VERBOSE") != NULL) {
            fprintf(stderr, "seed %llu\n", (unsigned long long)seed);
        }
        sim_init(&sim, seed, nodes);
        if (prepare != NULL) {
            prepare(&sim);
        }
        chaos_run(&sim, 8000);
        add(&totals);
        assert_string_equal(sim.violation, "");
        sim_close(&sim);
    }
    printf("%llu seeds: %u of %u commands acknowledged, %u reads, %llu changes of leader, "
           "%llu of members, %llu images\n",
           (unsigned long long)seeds, totals.acked, totals.commands, totals.reads,
           (unsigned long long)totals.leaders, (unsigned long long)totals.changes,
           (unsigned long long)totals.images);
    assert_true(totals.acked > 20 * seeds); /* a cluster that does nothing breaks no rule */
    assert_true(totals.reads > 10 * seeds);
    assert_true(sim.hold_bytes == 0 || totals.images > seeds / 4);
    assert_true(!sim.churn || totals.changes > 2 * seeds);
}

static void test_three_nodes(void **state)
{
    (void)state;
    run_seeds(3, 150, NULL);
}

static void test_five_nodes(void **state)
{
    (void)state;
    run_seeds(5, 30, NULL);
}

/* Manifests all the time, next to nothing in memory: laggards are fed from disk. */
static void small_memory(struct sim *s)
{
    s->snapshot_bytes = 400;
    s->trailing_bytes = 50;
    s->log_keep_bytes = UINT64_MAX / 2;
}

static void test_three_nodes_with_small_memory(void **state)
{
    (void)state;
    run_seeds(3, 80, small_memory);
}

static void slow_network(struct sim *s)
{
    s->delay_max_ns = 40000000;
}

static void test_three_nodes_with_slow_network(void **state)
{
    (void)state;
    run_seeds(3, 40, slow_network);
}

/* Members are added, promoted, demoted, removed and replaced, the leader among them. */
static void churn(struct sim *s)
{
    s->churn = true;
    s->initial = 3;
}

static void churn_small_memory(struct sim *s)
{
    small_memory(s);
    churn(s);
}

static void test_members_come_and_go(void **state)
{
    (void)state;
    run_seeds(9, 60, churn);
}

static void test_members_come_and_go_with_small_memory(void **state)
{
    (void)state;
    run_seeds(9, 40, churn_small_memory);
}

/* Little log is kept: who was away for a while, and who joins, needs an image. */
static void churn_short_log(struct sim *s)
{
    churn_small_memory(s);
    s->log_keep_bytes = 500;
    s->hold_bytes = 4000;
}

static void test_members_come_and_go_with_a_short_log(void **state)
{
    (void)state;
    run_seeds(9, 40, churn_short_log);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_three_nodes),
        cmocka_unit_test(test_five_nodes),
        cmocka_unit_test(test_three_nodes_with_small_memory),
        cmocka_unit_test(test_three_nodes_with_slow_network),
        cmocka_unit_test(test_members_come_and_go),
        cmocka_unit_test(test_members_come_and_go_with_small_memory),
        cmocka_unit_test(test_members_come_and_go_with_a_short_log),
    };
    sr_log_init(SR_LOG_FATAL, SR_LOG_LOGFMT, NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
