/* SPDX-License-Identifier: Apache-2.0
 *
 * One thing at a time: elections, replication, forwarding, reads, hand-over, restart.
 */
#include "base/log.h"
#include "proto/limits.h"
#include "sim.h"
#include "tests/unit/cmocka.h"

static struct sim sim;

static void begin(size_t nodes)
{
    sim_init(&sim, 1, nodes);
    sim_start(&sim);
    assert_true(sim_run(&sim, 5000, sim_has_leader));
}

static void finish(void)
{
    sim_finish(&sim);
    assert_string_equal(sim.violation, "");
    sim_close(&sim);
}

static size_t follower_of(size_t leader)
{
    return (leader + 1) % sim.count;
}

static void expect_acked(size_t command)
{
    assert_true(sim_run(&sim, 10000, sim_all_answered));
    assert_int_equal(sim.commands[command].state, SIM_ACKED);
}

static void test_single_node_leads_and_commits(void **state)
{
    (void)state;
    begin(1);
    expect_acked(sim_propose(&sim, 0));
    size_t read = sim_read(&sim, 0);
    assert_true(sim_run(&sim, 1000, sim_all_answered));
    assert_int_equal(sim.reads[read].error, SR_API_NONE);
    finish();
}

static void test_writes_on_leader_and_follower(void **state)
{
    (void)state;
    begin(3);
    size_t leader = sim_leader(&sim);
    expect_acked(sim_propose(&sim, leader));
    for (size_t i = 0; i < 3; i++) {
        expect_acked(sim_propose(&sim, i));
    }
    finish();
}

static void test_reads_everywhere_see_the_last_write(void **state)
{
    (void)state;
    begin(3);
    for (int round = 0; round < 10; round++) {
        expect_acked(sim_propose(&sim, (size_t)round % 3));
        for (size_t i = 0; i < 3; i++) {
            size_t read = sim_read(&sim, i);
            assert_true(sim_run(&sim, 1000, sim_all_answered));
            assert_int_equal(sim.reads[read].error, SR_API_NONE);
        }
    }
    finish();
}

/* Commands that arrive together share entries, however many they are. */
static void test_commands_share_entries(void **state)
{
    (void)state;
    begin(3);
    size_t leader = sim_leader(&sim);
    expect_acked(sim_propose(&sim, leader));
    uint64_t before = sim.nodes[leader].applied;
    for (int i = 0; i < 1000; i++) {
        sim_propose(&sim, leader);
    }
    assert_true(sim_run(&sim, 5000, sim_all_answered));
    assert_int_equal(sim.acked, 1001);
    assert_true(sim.nodes[leader].applied - before <= 4);
    finish();
}

static void test_forwarded_commands_share_entries(void **state)
{
    (void)state;
    begin(3);
    size_t follower = follower_of(sim_leader(&sim));
    expect_acked(sim_propose(&sim, follower));
    uint64_t before = sim.nodes[follower].applied;
    for (int i = 0; i < 1000; i++) {
        sim_propose(&sim, follower);
    }
    assert_true(sim_run(&sim, 5000, sim_all_answered));
    assert_int_equal(sim.acked, 1001);
    assert_true(sim.nodes[follower].applied - before <= 8);
    finish();
}

/* A write issued when nobody leads waits for the next leader. */
static void test_write_without_leader_waits_for_one(void **state)
{
    (void)state;
    begin(3);
    size_t leader = sim_leader(&sim);
    size_t other = follower_of(leader);
    expect_acked(sim_propose(&sim, other));
    sim_crash(&sim, leader);
    sim_run(&sim, 50, NULL); /* the link is down, nothing is elected yet */
    size_t write = sim_propose(&sim, other);
    expect_acked(write);
    finish();
}

static void test_without_majority_writes_end_in_time(void **state)
{
    (void)state;
    begin(3);
    size_t leader = sim_leader(&sim);
    sim_crash(&sim, (leader + 1) % 3);
    sim_crash(&sim, (leader + 2) % 3);
    size_t early = sim_propose(&sim, leader); /* goes into the log of the old leader */
    sim_run(&sim, 2000, NULL);                /* which steps down */
    size_t late = sim_propose(&sim, leader);
    size_t read = sim_read(&sim, leader);
    assert_true(sim_run(&sim, 6000, sim_all_answered));
    assert_int_equal(sim.commands[early].state, SIM_UNKNOWN);
    assert_int_equal(sim.commands[late].state, SIM_NEVER);
    assert_int_equal(sim.commands[late].error, SR_API_NO_LEADER);
    assert_int_equal(sim.reads[read].error, SR_API_NO_LEADER);
    finish();
}

/* What was handed to a leader and not answered waits until the log tells what became of it. */
static bool drop_forwards(struct sim *s, size_t from, size_t to, const struct sr_frame *frame)
{
    (void)s;
    (void)from;
    (void)to;
    return frame->envelope->message_case != STRONGROOM__ENVELOPE__MESSAGE_FORWARD;
}

static bool drop_forward_replies(struct sim *s, size_t from, size_t to,
                                 const struct sr_frame *frame)
{
    (void)s;
    (void)from;
    (void)to;
    return frame->envelope->message_case != STRONGROOM__ENVELOPE__MESSAGE_FORWARD_REPLY;
}

/* A write through a follower whose traffic with the leader goes through @filter. */
static size_t forward_through(bool (*filter)(struct sim *, size_t, size_t, const struct sr_frame *))
{
    size_t follower = follower_of(sim_leader(&sim));
    expect_acked(sim_propose(&sim, follower));
    sim.filter = filter;
    return sim_propose(&sim, follower);
}

static void test_write_lost_with_its_leader_goes_to_the_next(void **state)
{
    (void)state;
    begin(3);
    size_t write = forward_through(drop_forwards);
    sim_run(&sim, 20, NULL);
    assert_int_equal(sim.commands[write].state, SIM_WAITS);
    sim_crash(&sim, sim_leader(&sim));
    sim.filter = NULL;
    expect_acked(write);
    finish();
}

static void test_write_that_the_dead_leader_had_spread_counts_once(void **state)
{
    (void)state;
    begin(3);
    size_t leader = sim_leader(&sim);
    size_t write = forward_through(drop_forward_replies);
    sim_run(&sim, 1, NULL); /* on its way; the leader may or may not have it in its log */
    sim_crash(&sim, leader);
    sim.filter = NULL;
    expect_acked(write);
    finish(); /* checks that no command was applied twice */
}

static void test_write_with_a_lost_reply_is_answered_by_its_entry(void **state)
{
    (void)state;
    begin(3);
    size_t leader = sim_leader(&sim);
    size_t write = forward_through(drop_forward_replies);
    sim_reset_link(&sim, leader, follower_of(leader));
    expect_acked(write);
    sim.filter = NULL;
    finish();
}

static void test_write_lost_while_the_leader_stays_ends_in_time(void **state)
{
    (void)state;
    begin(3);
    size_t leader = sim_leader(&sim);
    size_t write = forward_through(drop_forwards);
    sim_run(&sim, 20, NULL);
    sim_reset_link(&sim, follower_of(leader), leader);
    sim.filter = NULL;
    sim_run(&sim, SR_REQUEST_TIMEOUT_MS + 1000, NULL);
    assert_int_equal(sim.commands[write].state, SIM_UNKNOWN);
    assert_int_equal(sim_leader(&sim), leader);
    finish();
}

static bool nobody_else_leads(struct sim *s)
{
    size_t leader = sim_leader(s);
    return leader != SIM_NODES_MAX && leader != s->watched;
}

static void test_step_down_hands_over(void **state)
{
    (void)state;
    begin(3);
    size_t leader = sim_leader(&sim);
    expect_acked(sim_propose(&sim, leader));
    sim.watched = leader;
    uint64_t before_ns = sim.now_ns;
    sr_core_step_down(sim.nodes[leader].core);
    sr_core_turn_end(sim.nodes[leader].core);
    assert_true(sim_run(&sim, 5000, nobody_else_leads));
    /* By transfer, not because somebody noticed a silence. */
    assert_true(sim.now_ns - before_ns < 250 * 1000000u);
    size_t refused = sim_propose(&sim, leader);
    assert_int_equal(sim.commands[refused].error, SR_API_STOPPED);
    expect_acked(sim_propose(&sim, follower_of(leader)));
    sim_crash(&sim, leader);
    finish();
}

/* Leadership goes, the node stays: what it is given still gets done. */
static void test_yield_goes_on(void **state)
{
    (void)state;
    begin(3);
    size_t leader = sim_leader(&sim);
    expect_acked(sim_propose(&sim, leader));
    sim.watched = leader;
    uint64_t before_ns = sim.now_ns;
    sr_core_yield(sim.nodes[leader].core);
    for (int i = 0; i < 20; i++) {
        sim_propose(&sim, leader);
    }
    sr_core_turn_end(sim.nodes[leader].core);
    assert_true(sim_run(&sim, 5000, nobody_else_leads));
    assert_true(sim.now_ns - before_ns < 250 * 1000000u);
    assert_true(sim_run(&sim, 5000, sim_all_answered));
    assert_int_equal(sim.acked, 21);
    expect_acked(sim_propose(&sim, leader));
    sim_crash(&sim, leader);
    finish();
}

/* A graceful stop loses no write that is under way. */
static void test_writes_survive_hand_over(void **state)
{
    (void)state;
    begin(3);
    size_t leader = sim_leader(&sim);
    expect_acked(sim_propose(&sim, leader));
    for (int i = 0; i < 20; i++) {
        sim_propose(&sim, (size_t)i % 3);
    }
    sr_core_step_down(sim.nodes[leader].core);
    sr_core_turn_end(sim.nodes[leader].core);
    assert_true(sim_run(&sim, 5000, sim_all_answered));
    assert_int_equal(sim.acked, 21);
    sim_crash(&sim, leader);
    finish();
}

static bool watched_leads(struct sim *s)
{
    return sim_leader(s) == s->watched;
}

/* To the voter that was named, by transfer and with nothing lost. */
static void test_move_leader(void **state)
{
    (void)state;
    begin(3);
    expect_acked(sim_propose(&sim, sim_leader(&sim)));
    for (int round = 0; round < 6; round++) {
        size_t leader = sim_leader(&sim);
        sim.watched = (leader + 1 + (size_t)round % 2) % 3;
        for (int i = 0; i < 6; i++) {
            sim_propose(&sim, (size_t)i % 3);
        }
        uint64_t before_ns = sim.now_ns;
        sr_core_move_leader(sim.nodes[leader].core, sim.nodes[sim.watched].id);
        sr_core_turn_end(sim.nodes[leader].core);
        assert_true(sim_run(&sim, 5000, watched_leads));
        assert_true(sim.now_ns - before_ns < 250 * 1000000u);
        assert_true(sim_run(&sim, 5000, sim_all_answered));
    }
    assert_int_equal(sim.acked, 37);
    finish();
}

/* A leader that has just been elected, and has not yet heard how far the other is. */
static void test_move_leader_right_after_an_election(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        sim_init(&sim, seed, 3);
        sim_start(&sim);
        assert_true(sim_run(&sim, 5000, sim_has_leader));
        size_t leader = sim_leader(&sim);
        sim.watched = (leader + 1 + (size_t)seed % 2) % 3;
        uint64_t before_ns = sim.now_ns;
        sr_core_move_leader(sim.nodes[leader].core, sim.nodes[sim.watched].id);
        assert_true(sim_run(&sim, 5000, watched_leads));
        assert_true(sim.now_ns - before_ns < 150 * 1000000u); /* half an election timeout */
        finish();
    }
}

/* Not to one that is down, itself or nobody: the leader stays and goes on. */
static void test_move_leader_elsewhere(void **state)
{
    (void)state;
    begin(3);
    size_t leader = sim_leader(&sim);
    size_t other = follower_of(leader);
    expect_acked(sim_propose(&sim, leader));
    sr_core_move_leader(sim.nodes[leader].core, 999999);
    sr_core_turn_end(sim.nodes[leader].core);
    sr_core_move_leader(sim.nodes[leader].core, sim.nodes[leader].id);
    sr_core_turn_end(sim.nodes[leader].core);
    expect_acked(sim_propose(&sim, leader));
    sim_crash(&sim, other);
    sim_run(&sim, 50, NULL);
    sr_core_move_leader(sim.nodes[leader].core, sim.nodes[other].id);
    sr_core_turn_end(sim.nodes[leader].core);
    expect_acked(sim_propose(&sim, leader));
    assert_int_equal(sim_leader(&sim), leader);
    finish();
}

static void test_restart_of_all_keeps_everything(void **state)
{
    (void)state;
    begin(3);
    for (int i = 0; i < 50; i++) {
        expect_acked(sim_propose(&sim, (size_t)i % 3));
    }
    for (size_t i = 0; i < 3; i++) {
        sim_crash(&sim, i);
    }
    finish();
}

/* The cut-off leader's uncommitted commands either survive or are asked of the next leader. */
static void test_replaced_entries_are_proposed_again(void **state)
{
    (void)state;
    begin(3);
    size_t leader = sim_leader(&sim);
    expect_acked(sim_propose(&sim, leader));
    sim_isolate(&sim, leader, true);
    size_t write = sim_propose(&sim, leader); /* in its log only */
    sim.watched = leader;
    assert_true(sim_run(&sim, 2000, nobody_else_leads));
    size_t other = sim_leader(&sim);
    sim_propose(&sim, other); /* takes that index */
    sim_run(&sim, 100, NULL);
    sim_heal(&sim);
    assert_true(sim_run(&sim, 3000, sim_all_answered));
    assert_int_equal(sim.commands[write].state, SIM_ACKED);
    finish();
}

/* Also those whose place in the log nobody takes for a while. */
static void test_entries_behind_a_new_reign_are_proposed_again(void **state)
{
    (void)state;
    begin(3);
    size_t leader = sim_leader(&sim);
    expect_acked(sim_propose(&sim, leader));
    sim_isolate(&sim, leader, true);
    sim_propose(&sim, leader);
    sim_run(&sim, 10, NULL);
    size_t second = sim_propose(&sim, leader); /* one entry further */
    sim.watched = leader;
    assert_true(sim_run(&sim, 2000, nobody_else_leads)); /* with one entry, of its own */
    sim_run(&sim, 100, NULL);
    sim_heal(&sim);
    assert_true(sim_run(&sim, 1000, sim_all_answered));
    assert_int_equal(sim.commands[second].state, SIM_ACKED);
    finish();
}

static void test_backlog_holds_proposals_back(void **state)
{
    (void)state;
    begin(3);
    size_t leader = sim_leader(&sim);
    sim.nodes[leader].backlog_entries = SR_APPLY_ENTRIES_MAX;
    size_t write = sim_propose(&sim, leader);
    sim_run(&sim, 1000, NULL);
    assert_int_equal(sim.commands[write].state, SIM_WAITS);
    sim.nodes[leader].backlog_entries = 0;
    expect_acked(write);
    sim.nodes[leader].backlog_entries = SR_APPLY_ENTRIES_MAX;
    write = sim_propose(&sim, leader);
    assert_true(sim_run(&sim, 6000, sim_all_answered));
    assert_int_equal(sim.commands[write].error, SR_API_TOO_MANY_REQUESTS);
    sim.nodes[leader].backlog_entries = 0;
    finish();
}

static void test_full_disk_holds_proposals_back(void **state)
{
    (void)state;
    begin(1);
    sr_core_log_full(sim.nodes[0].core, true);
    size_t write = sim_propose(&sim, 0);
    sim_run(&sim, 1000, NULL);
    assert_int_equal(sim.commands[write].state, SIM_WAITS);
    sr_core_log_full(sim.nodes[0].core, false);
    expect_acked(write);
    finish();
}

static void test_stuck_disk_stops_the_node(void **state)
{
    (void)state;
    begin(3);
    size_t leader = sim_leader(&sim);
    sim.nodes[leader].disk_stuck = true;
    sim_propose(&sim, leader);
    for (int i = 0; i < 40; i++) {
        sr_core_log_full(sim.nodes[leader].core, false); /* as the loop says again and again */
        sim_run(&sim, 1000, NULL);
    }
    assert_true(sim.nodes[leader].failed);
    assert_int_equal(sim.nodes[leader].failure.status, SR_IO);
    sim_crash(&sim, leader);
    sim.nodes[leader].disk_stuck = false;
    finish();
}

static void test_too_large_command_is_refused(void **state)
{
    (void)state;
    begin(1);
    sim.command_bytes = SR_BATCH_BYTES_MAX;
    size_t write = sim_propose(&sim, 0);
    assert_int_equal(sim.commands[write].error, SR_API_REQUEST_TOO_LARGE);
    sim.command_bytes = SR_BATCH_BYTES_MAX - 16 - 4;
    expect_acked(sim_propose(&sim, 0));
    sim.command_bytes = 16;
    finish();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_single_node_leads_and_commits),
        cmocka_unit_test(test_writes_on_leader_and_follower),
        cmocka_unit_test(test_reads_everywhere_see_the_last_write),
        cmocka_unit_test(test_commands_share_entries),
        cmocka_unit_test(test_forwarded_commands_share_entries),
        cmocka_unit_test(test_write_without_leader_waits_for_one),
        cmocka_unit_test(test_without_majority_writes_end_in_time),
        cmocka_unit_test(test_write_lost_with_its_leader_goes_to_the_next),
        cmocka_unit_test(test_write_that_the_dead_leader_had_spread_counts_once),
        cmocka_unit_test(test_write_with_a_lost_reply_is_answered_by_its_entry),
        cmocka_unit_test(test_write_lost_while_the_leader_stays_ends_in_time),
        cmocka_unit_test(test_step_down_hands_over),
        cmocka_unit_test(test_yield_goes_on),
        cmocka_unit_test(test_writes_survive_hand_over),
        cmocka_unit_test(test_move_leader),
        cmocka_unit_test(test_move_leader_right_after_an_election),
        cmocka_unit_test(test_move_leader_elsewhere),
        cmocka_unit_test(test_restart_of_all_keeps_everything),
        cmocka_unit_test(test_replaced_entries_are_proposed_again),
        cmocka_unit_test(test_entries_behind_a_new_reign_are_proposed_again),
        cmocka_unit_test(test_backlog_holds_proposals_back),
        cmocka_unit_test(test_full_disk_holds_proposals_back),
        cmocka_unit_test(test_stuck_disk_stops_the_node),
        cmocka_unit_test(test_too_large_command_is_refused),
    };
    sr_log_init(SR_LOG_FATAL, SR_LOG_LOGFMT, NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
