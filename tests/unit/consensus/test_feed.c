/* SPDX-License-Identifier: Apache-2.0
 *
 * Followers that lag behind the leader's memory: fed from its disk, or told that it cannot be.
 */
#include "base/log.h"
#include "node/consensus/internal.h"
#include "sim.h"
#include "tests/unit/cmocka.h"

static struct sim sim;

static void begin(uint64_t log_keep_bytes)
{
    sim_init(&sim, 7, 3);
    sim.snapshot_bytes = 4000;
    sim.trailing_bytes = 500;
    sim.log_keep_bytes = log_keep_bytes;
    sim_start(&sim);
    assert_true(sim_run(&sim, 5000, sim_has_leader));
}

static void write_some(size_t node, int count)
{
    for (int i = 0; i < count; i++) {
        sim_propose(&sim, node);
        assert_true(sim_run(&sim, 5000, sim_all_answered));
    }
}

static uint64_t last_on_disk(size_t node)
{
    return sim.nodes[node].disk.first + sim.nodes[node].disk.count - 1;
}

static uint64_t first_in_memory(size_t node)
{
    return sr_core_raft(sim.nodes[node].core)->trail.offset + 1;
}

static void finish(void)
{
    sim_finish(&sim);
    assert_string_equal(sim.violation, "");
    sim_close(&sim);
}

/* Until the leader's memory begins after what @follower has. */
static void outrun(size_t leader, size_t follower, int entries)
{
    write_some(leader, entries);
    sim_run(&sim, 2000, NULL); /* flushes, so that manifests are written */
    write_some(leader, 5);
    sim_run(&sim, 2000, NULL);
    assert_true(first_in_memory(leader) > last_on_disk(follower) + 1);
}

static void test_laggard_is_fed_from_disk(void **state)
{
    (void)state;
    begin(UINT64_MAX / 2);
    size_t leader = sim_leader(&sim);
    size_t follower = (leader + 1) % 3;
    write_some(leader, 10);
    sim_crash(&sim, follower);
    outrun(leader, follower, 300);
    struct sr_err err;
    assert_int_equal(sim_restart(&sim, follower, &err), SR_OK);
    assert_true(sim_run(&sim, 5000, sim_converged));
    assert_int_equal(sim_leader(&sim), leader);
    assert_int_equal(sr_counter_read(&sim.nodes[leader].metrics.followers_beyond_log), 0);
    finish();
}

/* More than a slice, more than libraft's window, while writes go on. */
static void test_laggard_catches_up_under_load(void **state)
{
    (void)state;
    begin(UINT64_MAX / 2);
    size_t leader = sim_leader(&sim);
    size_t follower = (leader + 1) % 3;
    sim_crash(&sim, follower);
    sim.command_bytes = 20000;
    outrun(leader, follower, 400); /* 8 MB: four slices */
    struct sr_err err;
    assert_int_equal(sim_restart(&sim, follower, &err), SR_OK);
    for (int i = 0; i < 200; i++) {
        sim_propose(&sim, leader);
        sim_run(&sim, 10, NULL);
    }
    sim.command_bytes = 16;
    assert_true(sim_run(&sim, 5000, sim_converged));
    finish();
}

/* Its uncommitted tail is of another term: it says so, and is fed from before it. */
static void test_laggard_with_a_tail_of_its_own(void **state)
{
    (void)state;
    begin(UINT64_MAX / 2);
    size_t old = sim_leader(&sim);
    write_some(old, 3);
    sim_isolate(&sim, old, true);
    for (int i = 0; i < 3; i++) {
        sim_propose(&sim, old); /* in its log only */
        sim_run(&sim, 10, NULL);
    }
    uint64_t tail = last_on_disk(old);
    sim_run(&sim, 100, NULL);
    sim_crash(&sim, old);
    sim_heal(&sim);
    assert_true(sim_run(&sim, 5000, sim_has_leader));
    size_t leader = sim_leader(&sim);
    outrun(leader, old, 300);
    assert_true(last_on_disk(old) >= tail);
    struct sr_err err;
    assert_int_equal(sim_restart(&sim, old, &err), SR_OK);
    assert_true(sim_run(&sim, 5000, sim_converged));
    finish();
}

/* Links break and leaders change while it is fed. */
static void test_feeding_survives_trouble(void **state)
{
    (void)state;
    begin(UINT64_MAX / 2);
    size_t leader = sim_leader(&sim);
    size_t follower = (leader + 1) % 3;
    sim_crash(&sim, follower);
    sim.command_bytes = 20000;
    outrun(leader, follower, 400);
    sim.command_bytes = 16;
    struct sr_err err;
    assert_int_equal(sim_restart(&sim, follower, &err), SR_OK);
    for (int i = 0; i < 20; i++) {
        sim_run(&sim, 15, NULL);
        sim_reset_link(&sim, leader, follower);
        sim_run(&sim, 50, NULL);
        sim_reset_link(&sim, follower, leader);
    }
    sr_core_step_down(sim.nodes[leader].core);
    sr_core_turn_end(sim.nodes[leader].core);
    sim_run(&sim, 1000, NULL);
    sim_crash(&sim, leader);
    finish();
}

/* The log was released: said once, and the others go on. */
static void test_laggard_beyond_the_log_is_told_once(void **state)
{
    (void)state;
    begin(0);
    size_t leader = sim_leader(&sim);
    size_t follower = (leader + 1) % 3;
    write_some(leader, 10);
    sim_crash(&sim, follower);
    outrun(leader, follower, 300);
    assert_true(sim.nodes[leader].disk.first > last_on_disk(follower) + 1);
    struct sr_err err;
    assert_int_equal(sim_restart(&sim, follower, &err), SR_OK);
    sim_run(&sim, 5000, NULL);
    assert_int_equal(sr_counter_read(&sim.nodes[leader].metrics.followers_beyond_log), 1);
    write_some(leader, 10);
    assert_int_equal(sim_leader(&sim), leader);
    assert_string_equal(sim.violation, "");
    sim_close(&sim);
}

static bool feeds(enum sr_core_feed_state state)
{
    struct sr_core *core = sim.nodes[sim_leader(&sim)].core;
    for (size_t i = 0; i < core->peer_count; i++) {
        if (core->peers[i].feed.state == state) {
            return true;
        }
    }
    return false;
}

static bool is_fetching(struct sim *of)
{
    (void)of;
    return feeds(SR_FEED_FETCHING);
}

static bool says_image(struct sim *of)
{
    (void)of;
    return feeds(SR_FEED_IMAGE);
}

/* Entries that were on their way arrive while the log is read for it, and are not there any more:
 * it is told an entry that it lacks, or it would think that it lacks nothing. */
static void test_laggard_moves_on_while_the_log_is_read(void **state)
{
    (void)state;
    begin(0);
    size_t leader = sim_leader(&sim);
    size_t follower = (leader + 1) % 3;
    write_some(leader, 10);
    sim_crash(&sim, follower);
    outrun(leader, follower, 300);
    struct sr_err err;
    assert_int_equal(sim_restart(&sim, follower, &err), SR_OK);
    assert_true(sim_run(&sim, 5000, is_fetching));
    struct sr_core *core = sim.nodes[leader].core;
    struct sr_core_peer *peer = sr_core_peer(core, follower + 1);
    sr_core_feed_result(core, peer, 0, peer->hint + 3);
    assert_true(sim_run(&sim, 5000, says_image));
    assert_true(peer->hold.needs > peer->hint);
    sim_close(&sim);
}

/* What is kept, counted in bytes. */
static void test_log_is_kept_by_bytes(void **state)
{
    (void)state;
    begin(20000);
    size_t leader = sim_leader(&sim);
    write_some(leader, 2000);
    sim_run(&sim, 3000, NULL);
    write_some(leader, 5);
    sim_run(&sim, 3000, NULL);
    const struct sim_disk *disk = &sim.nodes[leader].disk;
    size_t bytes = 0;
    for (size_t i = 0; i < disk->count; i++) {
        bytes += disk->entries[i].size;
    }
    assert_in_range(bytes, 20000, 40000);
    finish();
}

/* Without space for a manifest the node goes on, and writes it when there is some. */
static void test_manifest_waits_for_space(void **state)
{
    (void)state;
    begin(0);
    size_t leader = sim_leader(&sim);
    sim.nodes[leader].disk_full = true;
    write_some(leader, 300);
    sim_run(&sim, 5000, NULL);
    assert_false(sim.nodes[leader].failed);
    assert_int_equal(sim.nodes[leader].disk.manifest.size, 0);
    write_some(leader, 5);
    sim.nodes[leader].disk_full = false;
    sim_run(&sim, 3000, NULL);
    assert_true(sim.nodes[leader].disk.manifest.size > 0);
    assert_true(sim.nodes[leader].disk.first > 1);
    finish();
}

/* Small entries: the bound in bytes is never reached, that in entries is. */
static void test_log_is_bounded_by_entries(void **state)
{
    (void)state;
    begin(UINT64_MAX / 2);
    size_t leader = sim_leader(&sim);
    write_some(leader, 300);
    sim_run(&sim, 2000, NULL);
    assert_int_equal(sim.nodes[leader].disk.first, 1);
    finish();

    sim_init(&sim, 7, 3);
    sim.snapshot_bytes = 4000;
    sim.trailing_bytes = 500;
    sim.log_keep_bytes = UINT64_MAX / 2;
    sim.log_keep_entries = 40;
    sim_start(&sim);
    assert_true(sim_run(&sim, 5000, sim_has_leader));
    leader = sim_leader(&sim);
    for (int round = 0; round < 4; round++) {
        write_some(leader, 150);
        sim_run(&sim, 2000, NULL);
        for (size_t i = 0; i < 3; i++) {
            const struct sr_core *core = sim.nodes[i].core;
            assert_true(core->snapshots.index > 0);
            assert_int_equal(sim.nodes[i].disk.first, core->snapshots.index - 40 + 1);
        }
    }
    finish();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_laggard_is_fed_from_disk),
        cmocka_unit_test(test_log_is_bounded_by_entries),
        cmocka_unit_test(test_laggard_catches_up_under_load),
        cmocka_unit_test(test_laggard_with_a_tail_of_its_own),
        cmocka_unit_test(test_feeding_survives_trouble),
        cmocka_unit_test(test_laggard_beyond_the_log_is_told_once),
        cmocka_unit_test(test_laggard_moves_on_while_the_log_is_read),
        cmocka_unit_test(test_log_is_kept_by_bytes),
        cmocka_unit_test(test_manifest_waits_for_space),
    };
    sr_log_init(SR_LOG_FATAL, SR_LOG_LOGFMT, NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
