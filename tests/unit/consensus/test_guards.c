/* SPDX-License-Identifier: Apache-2.0
 *
 * Each fence of enum sr_core_guard, with it and without: a test that passes both ways proves
 * nothing. Where libraft corrupts its memory without the fence, a child process goes that way.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "chaos.h"
#include "inject.h"
#include "proto/batch.h"
#include "tests/unit/cmocka.h"

static struct sim sim;

/* Node 0 of three, alone: what it hears, the test says. */
static struct raft *begin_alone(uint32_t guards_off)
{
    sim_init(&sim, 1, 3);
    sim.guards_off = guards_off;
    sim.election_timeout_ms = 60000;
    struct sr_err err;
    assert_int_equal(sim_restart(&sim, 0, &err), SR_OK);
    return sr_core_raft(sim.nodes[0].core);
}

static void append(uint64_t term, uint64_t prev_index, uint64_t prev_term, uint64_t commit,
                   const struct inject_entry *entries, size_t count)
{
    struct inject_append message = {.term = term,
                                    .prev_index = prev_index,
                                    .prev_term = prev_term,
                                    .commit = commit,
                                    .entries = entries,
                                    .count = count};
    inject_append(&sim, 1, 0, &message);
}

static bool child_fails(void (*child)(void))
{
    fflush(stdout);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        if (freopen("/dev/null", "w", stderr) == NULL ||
            freopen("/dev/null", "w", stdout) == NULL) {
            _exit(0);
        }
        child();
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return !WIFEXITED(status) || WEXITSTATUS(status) != 0;
}

/* The first seed in whose life the rule @what is broken, and no other; 0: none. */
static uint64_t seeds_until_violation(uint32_t guards_off, const char *what, uint64_t seeds)
{
    for (uint64_t seed = 1; seed <= seeds; seed++) {
        sim_init(&sim, seed, 3);
        sim.guards_off = guards_off;
        chaos_run(&sim, 8000);
        bool found = strstr(sim.violation, what) != NULL;
        bool other = !found && sim.violation[0] != 0;
        sim_close(&sim);
        assert_false(other);
        if (found) {
            return seed;
        }
    }
    return 0;
}

/* ---- what libraft gets ---- */

static uint64_t configuration_index(uint32_t guards_off)
{
    static const struct inject_entry entries[] = {
        {2, RAFT_COMMAND}, {2, RAFT_COMMAND}, {2, RAFT_CHANGE}, {2, RAFT_COMMAND}};
    struct raft *raft = begin_alone(guards_off);
    append(2, 1, 1, 1, entries, 4);
    uint64_t index = raft->configuration_uncommitted_index;
    assert_int_equal(raft_last_index(raft), 5);
    sim_close(&sim);
    return index;
}

static void test_split_change(void **state)
{
    (void)state;
    assert_int_equal(configuration_index(0), 4);
    assert_int_not_equal(configuration_index(SR_GUARD_SPLIT_CHANGE), 4);
}

static uint64_t term_after_vote_result(uint32_t guards_off)
{
    struct raft *raft = begin_alone(guards_off);
    Strongroom__RequestVoteResult result = STRONGROOM__REQUEST_VOTE_RESULT__INIT;
    result.term = 9;
    Strongroom__Envelope envelope = STRONGROOM__ENVELOPE__INIT;
    envelope.message_case = STRONGROOM__ENVELOPE__MESSAGE_REQUEST_VOTE_RESULT;
    envelope.request_vote_result = &result;
    inject(&sim, 1, 0, &envelope, NULL, 0);
    uint64_t term = raft_current_term(raft);
    sim_close(&sim);
    return term;
}

static void test_vote_result(void **state)
{
    (void)state;
    assert_int_equal(term_after_vote_result(0), 1);
    assert_int_equal(term_after_vote_result(SR_GUARD_VOTE_RESULT), 9);
}

static void contradict(uint32_t guards_off)
{
    static const struct inject_entry first[] = {{2, RAFT_COMMAND}, {2, RAFT_COMMAND}};
    static const struct inject_entry other[] = {{3, RAFT_COMMAND}};
    begin_alone(guards_off);
    append(2, 1, 1, 3, first, 2); /* committed up to 3 */
    append(3, 2, 2, 3, other, 1); /* a new leader has another entry 3 */
}

static void contradict_unguarded(void)
{
    contradict(SR_GUARD_COMMITTED);
    /* Not every allocator notices the double free; that nobody stopped the node is as bad. */
    _exit(sim.nodes[0].failed ? 0 : 1);
}

static void test_committed(void **state)
{
    (void)state;
    contradict(0);
    assert_true(sim.nodes[0].failed);
    assert_int_equal(sim.nodes[0].failure.status, SR_CORRUPT);
    sim_close(&sim);
    assert_true(child_fails(contradict_unguarded));
}

/* Entries 2 .. 21 applied and durable, a manifest at 21, next to nothing behind it in memory. */
static struct raft *begin_compacted(uint32_t guards_off)
{
    static struct inject_entry entries[20];
    for (size_t i = 0; i < 20; i++) {
        entries[i] = (struct inject_entry){2, RAFT_COMMAND};
    }
    sim_init(&sim, 1, 3);
    sim.guards_off = guards_off;
    sim.election_timeout_ms = 60000;
    sim.snapshot_bytes = 100;
    sim.trailing_bytes = 64;
    struct sr_err err;
    assert_int_equal(sim_restart(&sim, 0, &err), SR_OK);
    struct raft *raft = sr_core_raft(sim.nodes[0].core);
    append(2, 1, 1, 21, entries, 20);
    sim_run(&sim, 2000, NULL);
    assert_int_equal(raft->trail.snapshot.index, 21);
    return raft;
}

static void send_forgotten(uint32_t guards_off)
{
    static const struct inject_entry all[] = {
        {1, RAFT_CHANGE}, {2, RAFT_COMMAND}, {2, RAFT_COMMAND}, {2, RAFT_COMMAND}};
    struct raft *raft = begin_compacted(guards_off);
    append(2, 0, 0, 21, all, 4);
    sim_run(&sim, 100, NULL);
    if (raft_last_index(raft) != 21 || sim.violation[0] != 0 || sim.nodes[0].failed) {
        _exit(1);
    }
}

static void send_forgotten_unguarded(void)
{
    send_forgotten(SR_GUARD_FORGOTTEN);
}

static void test_forgotten(void **state)
{
    (void)state;
    send_forgotten(0);
    sim_close(&sim);
    assert_true(child_fails(send_forgotten_unguarded));
}

/* The part that is not forgotten is taken. */
static void test_forgotten_in_part(void **state)
{
    (void)state;
    static struct inject_entry entries[23];
    for (size_t i = 0; i < 23; i++) {
        entries[i] = (struct inject_entry){i == 0 ? 1 : 2, i == 0 ? RAFT_CHANGE : RAFT_COMMAND};
    }
    struct raft *raft = begin_compacted(0);
    append(2, 0, 0, 23, entries, 23);
    sim_run(&sim, 100, NULL);
    assert_int_equal(raft_last_index(raft), 23);
    assert_int_equal(sim.nodes[0].applied, 23);
    sim_close(&sim);
}

/* ---- manifests ---- */

static uint64_t manifest_after_step_back(uint32_t guards_off)
{
    struct raft *raft = begin_compacted(guards_off);
    /* A probe of the leader below our manifest: libraft lowers its commit index. */
    append(2, 20, 2, 30, NULL, 0);
    assert_int_equal(raft->commit_index, 20);
    sim_run(&sim, 2000, NULL);
    uint64_t index = raft->trail.snapshot.index;
    sim_close(&sim);
    return index;
}

static void test_snapshot_back(void **state)
{
    (void)state;
    assert_int_equal(manifest_after_step_back(0), 21);
    assert_int_equal(manifest_after_step_back(SR_GUARD_SNAPSHOT_BACK), 20);
}

static uint64_t in_memory_behind_manifest(uint32_t guards_off)
{
    struct raft *raft = begin_compacted(guards_off);
    uint64_t count = raft->trail.snapshot.index - raft->trail.offset;
    sim_close(&sim);
    return count;
}

static void test_trailing(void **state)
{
    (void)state;
    assert_true(in_memory_behind_manifest(0) > 0);
    assert_int_equal(in_memory_behind_manifest(SR_GUARD_TRAILING), 0);
}

static int restart_without_flush(uint32_t guards_off)
{
    struct sr_err err;
    sim_init(&sim, 1, 1);
    sim.guards_off = guards_off;
    sim.snapshot_bytes = 200;
    sim.trailing_bytes = 64;
    sim_start(&sim);
    sim.nodes[0].flush_never = true;
    for (int i = 0; i < 20; i++) {
        sim_propose(&sim, 0);
        sim_run(&sim, 50, NULL);
    }
    sim_run(&sim, 1000, NULL);
    sim_crash(&sim, 0);
    int status = sim_restart(&sim, 0, &err);
    sim_close(&sim);
    return status;
}

static void test_manifest_hold(void **state)
{
    (void)state;
    assert_int_equal(restart_without_flush(0), SR_OK);
    assert_int_equal(restart_without_flush(SR_GUARD_MANIFEST_HOLD), SR_CORRUPT);
}

/* ---- sending ---- */

static bool caught_up(struct sim *s)
{
    return sim_converged(s) && sim_all_answered(s);
}

/* Bytes of entries that a leader sends for one command to a follower that was away for a while
 * and whose disk is slow. */
static uint64_t bytes_sent(uint32_t guards_off)
{
    sim_init(&sim, 1, 3);
    sim.guards_off = guards_off;
    sim.command_bytes = 100000;
    sim_start(&sim);
    assert_true(sim_run(&sim, 5000, sim_has_leader));
    size_t leader = sim_leader(&sim);
    size_t follower = (leader + 1) % 3;
    sim.nodes[follower].disk_delay_ns = 250 * 1000000u;
    sim_cut(&sim, leader, follower, true);
    sim_cut(&sim, follower, leader, true); /* nor may it stand for election */
    sim_cut(&sim, follower, (leader + 2) % 3, true);
    sim_run(&sim, 1000, NULL);
    sim_propose(&sim, leader);
    assert_true(sim_run(&sim, 1000, sim_all_answered));
    uint64_t before = sim.nodes[leader].entry_bytes_out;
    sim_heal(&sim);
    assert_true(sim_run(&sim, 5000, caught_up));
    uint64_t bytes = sim.nodes[leader].entry_bytes_out - before;
    assert_string_equal(sim.violation, "");
    sim_close(&sim);
    return bytes;
}

static void test_repeats(void **state)
{
    (void)state;
    assert_in_range(bytes_sent(0), 100000, 150000);
    assert_in_range(bytes_sent(SR_GUARD_REPEATS), 200000, UINT32_MAX);
}

/* Why a batch is one buffer: libraft takes an array of them, and loses all but the first. */
static void test_one_buffer(void **state)
{
    (void)state;
    static struct raft_apply request;
    sim_init(&sim, 1, 1);
    sim_start(&sim);
    struct raft *raft = sr_core_raft(sim.nodes[0].core);
    uint64_t before = raft_last_index(raft);
    struct raft_buffer buffers[2];
    for (size_t i = 0; i < 2; i++) {
        struct sr_buf batch = {0};
        sr_batch_begin(&batch, raft_current_term(raft));
        buffers[i] = (struct raft_buffer){.base = batch.data, .len = batch.size};
    }
    assert_int_equal(raft_apply(raft, &request, buffers, 2, NULL), 0);
    assert_int_equal(raft_last_index(raft), before + 1);
    raft_free(buffers[1].base);
    sim_run(&sim, 100, NULL);
    sim_close(&sim);
}

/* ---- reads ---- */

static bool another_leads(struct sim *s)
{
    size_t leader = sim_leader(s);
    return leader != SIM_NODES_MAX && !s->nodes[leader].paused;
}

/* A leader sleeps through its own deposition and is asked at once when it wakes up. */
static void read_from_sleeper(uint32_t guards_off)
{
    sim_init(&sim, 1, 3);
    sim.guards_off = guards_off;
    sim_start(&sim);
    assert_true(sim_run(&sim, 5000, sim_has_leader));
    size_t old = sim_leader(&sim);
    sim_propose(&sim, old);
    assert_true(sim_run(&sim, 5000, sim_all_answered));
    sim.nodes[old].paused = true;
    assert_true(sim_run(&sim, 5000, another_leads));
    sim_propose(&sim, sim_leader(&sim));
    assert_true(sim_run(&sim, 5000, sim_all_answered));
    sim.nodes[old].paused = false;
    sim_read(&sim, old);
    sim_run(&sim, 5000, sim_all_answered);
}

static void test_read_round(void **state)
{
    (void)state;
    read_from_sleeper(0);
    assert_string_equal(sim.violation, "");
    assert_int_equal(sim.reads[0].error, SR_API_NONE);
    sim_close(&sim);
    read_from_sleeper(SR_GUARD_READ_ROUND);
    assert_non_null(strstr(sim.violation, "stale read"));
    sim_close(&sim);
}

static bool confirmations;
static size_t starved; /* the node that gets no entries */

static bool hold_confirmations(struct sim *s, size_t from, size_t to, const struct sr_frame *frame)
{
    const Strongroom__Envelope *envelope = frame->envelope;
    (void)s;
    (void)from;
    if (envelope->message_case == STRONGROOM__ENVELOPE__MESSAGE_TERM_PROBE_REPLY) {
        return confirmations;
    }
    return envelope->message_case != STRONGROOM__ENVELOPE__MESSAGE_APPEND_ENTRIES ||
           to != starved || envelope->append_entries->n_entries == 0;
}

/* A follower asks, restarts, and asks again while the leader is still busy with its question of
 * before. What was written in between, the answer to the old question does not show. */
static void read_across_restart(uint32_t guards_off)
{
    struct sr_err err;
    sim_init(&sim, 1, 3);
    sim.guards_off = guards_off;
    sim.election_timeout_ms = 2000;
    sim_start(&sim);
    assert_true(sim_run(&sim, 20000, sim_has_leader));
    size_t leader = sim_leader(&sim);
    size_t follower = (leader + 1) % 3;
    sim_propose(&sim, leader);
    assert_true(sim_run(&sim, 5000, sim_all_answered) && sim_run(&sim, 5000, sim_converged));
    sim.nodes[follower].disk.state_index = sim.nodes[follower].applied;
    confirmations = false;
    starved = follower;
    sim.filter = hold_confirmations;
    sim_read(&sim, follower);
    sim_run(&sim, 50, NULL);
    sim_crash(&sim, follower);
    sim_propose(&sim, leader);
    sim_run(&sim, 50, NULL);
    assert_int_equal(sim.acked, 2);
    assert_int_equal(sim_restart(&sim, follower, &err), SR_OK);
    sim_run(&sim, 200, NULL);
    sim_read(&sim, follower);
    sim_run(&sim, 50, NULL);
    confirmations = true;
    sim_run(&sim, 500, NULL);
}

static void test_numbers(void **state)
{
    (void)state;
    read_across_restart(0);
    assert_string_equal(sim.violation, "");
    sim_close(&sim);
    read_across_restart(SR_GUARD_NUMBERS);
    assert_non_null(strstr(sim.violation, "stale read"));
    sim_close(&sim);
}

/* ---- in random lives ---- */

static void test_read_floor(void **state)
{
    (void)state;
    assert_int_not_equal(seeds_until_violation(SR_GUARD_READ_FLOOR, "stale read", 400), 0);
}

static void test_apply_persisted(void **state)
{
    (void)state;
    assert_int_not_equal(
        seeds_until_violation(SR_GUARD_APPLY_PERSISTED, "its log does not hold", 200), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_split_change),      cmocka_unit_test(test_vote_result),
        cmocka_unit_test(test_committed),         cmocka_unit_test(test_forgotten),
        cmocka_unit_test(test_forgotten_in_part), cmocka_unit_test(test_snapshot_back),
        cmocka_unit_test(test_trailing),          cmocka_unit_test(test_manifest_hold),
        cmocka_unit_test(test_repeats),           cmocka_unit_test(test_one_buffer),
        cmocka_unit_test(test_read_floor),        cmocka_unit_test(test_read_round),
        cmocka_unit_test(test_apply_persisted),   cmocka_unit_test(test_numbers),
    };
    sr_log_init(SR_LOG_FATAL, SR_LOG_LOGFMT, NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
