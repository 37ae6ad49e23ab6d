/* SPDX-License-Identifier: Apache-2.0
 *
 * Members that come and go, one thing at a time; and the fences that this needs, each with it and
 * without.
 */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "inject.h"
#include "node/consensus/internal.h"
#include "tests/unit/cmocka.h"

static struct sim sim;

/* ---- helpers ---- */

static void begin(size_t initial, size_t count, uint32_t guards_off)
{
    sim_init(&sim, 1, count);
    sim.initial = initial;
    sim.guards_off = guards_off;
    sim_start(&sim);
    assert_true(sim_run(&sim, 5000, sim_has_leader));
}

static void finish(void)
{
    sim_finish(&sim);
    assert_string_equal(sim.violation, "");
    sim_close(&sim);
}

static void join(size_t node)
{
    struct sr_err err;
    assert_int_equal(sim_restart(&sim, node, &err), SR_OK);
}

static bool settled(struct sim *s)
{
    return sim_members_settled(s) && sim_all_answered(s);
}

static void become(unsigned voters, unsigned learners, unsigned removed)
{
    struct sim_record record = {.voters = voters, .learners = learners, .removed = removed};
    sim_propose_record(&sim, sim_leader(&sim), record);
}

static struct raft *raft_of(size_t node)
{
    return sr_core_raft(sim.nodes[node].core);
}

static int role_of(size_t at, size_t node)
{
    const struct raft_server *server = sr_core_server(sim.nodes[at].core, node + 1);
    return server == NULL ? -1 : server->role;
}

/* ---- what happens ---- */

static void test_a_node_joins_and_gets_its_vote(void **state)
{
    (void)state;
    begin(3, 4, 0);
    for (int i = 0; i < 20; i++) {
        sim_propose(&sim, (size_t)i % 3);
    }
    assert_true(sim_run(&sim, 5000, sim_all_answered));
    become(0xf, 0, 0);
    sim_run(&sim, 1000, NULL);
    assert_int_equal(role_of(sim_leader(&sim), 3), RAFT_STANDBY); /* not before it has come */
    join(3);
    assert_true(sim_run(&sim, 5000, settled));
    sim_propose(&sim, 3);
    finish();
    begin(3, 4, 0);
    become(0x7, 0x8, 0);
    join(3);
    assert_true(sim_run(&sim, 5000, settled)); /* as a learner, for as long as is wanted */
    sim_run(&sim, 2000, NULL);
    assert_int_equal(role_of(0, 3), RAFT_STANDBY);
    finish();
}

static void test_a_node_that_joins_does_not_stand_for_election(void **state)
{
    (void)state;
    begin(1, 2, 0);
    join(1);
    sim_run(&sim, 5000, NULL);
    assert_int_equal(raft_of(1)->state, RAFT_FOLLOWER);
    assert_int_equal(sim.nodes[1].disk.term, 0);
    sim_crash(&sim, 0);
    sim_run(&sim, 5000, NULL);
    assert_int_equal(raft_of(1)->state, RAFT_FOLLOWER);
    sim_crash(&sim, 1);
    finish();
}

static void test_a_learner_knows_that_nobody_leads(void **state)
{
    (void)state;
    struct sr_consensus_info info;
    begin(1, 2, 0);
    become(0x1, 0x2, 0);
    join(1);
    assert_true(sim_run(&sim, 5000, settled));
    sr_core_info(sim.nodes[1].core, &info);
    assert_int_equal(info.leader, 1);
    assert_int_equal(info.role, SR_ROLE_LEARNER);
    sim_crash(&sim, 0);
    sim_run(&sim, 1000, NULL);
    sr_core_info(sim.nodes[1].core, &info);
    assert_int_equal(info.leader, 0);
    finish();
}

static void test_one_becomes_three_and_three_become_one(void **state)
{
    (void)state;
    begin(1, 3, 0);
    become(0x7, 0, 0);
    join(1);
    join(2);
    assert_true(sim_run(&sim, 10000, settled));
    become(0x4, 0, 0x3);
    assert_true(sim_run(&sim, 10000, settled));
    assert_true(sim.nodes[0].gone);
    assert_true(sim.nodes[1].gone);
    sim_propose(&sim, 2);
    assert_true(sim_run(&sim, 5000, settled));
    sim_crash(&sim, 2);
    finish(); /* alone, it leads again after a start */
}

static void test_a_leader_that_is_removed_hands_over(void **state)
{
    (void)state;
    begin(3, 3, 0);
    size_t leader = sim_leader(&sim);
    uint64_t term = raft_of(leader)->current_term;
    become(0x7 & ~(1u << leader), 0, 1u << leader);
    assert_true(sim_run(&sim, 10000, settled));
    assert_true(sim.nodes[leader].gone);
    assert_int_equal(raft_of(sim_leader(&sim))->current_term, term + 1); /* no vote was lost */
    finish();
}

static void test_a_dead_member_is_replaced(void **state)
{
    (void)state;
    begin(3, 4, 0);
    size_t dead = (sim_leader(&sim) + 1) % 3;
    sim_crash(&sim, dead);
    become(0xf & ~(1u << dead), 0, 1u << dead);
    join(3);
    assert_true(sim_run(&sim, 10000, settled));
    finish();
}

/* To remove one of two that answer, of three, would leave a majority that cannot be reached. */
static void test_a_removal_waits_for_a_majority_that_answers(void **state)
{
    (void)state;
    begin(3, 3, 0);
    size_t leader = sim_leader(&sim);
    size_t dead = (leader + 1) % 3;
    size_t victim = (leader + 2) % 3;
    sim_crash(&sim, dead);
    sim_run(&sim, 1000, NULL);
    leader = sim_leader(&sim);
    become(0x7 & ~(1u << victim), 0, 1u << victim);
    sim_run(&sim, 5000, NULL);
    assert_int_equal(role_of(leader, victim), RAFT_VOTER);
    size_t write = sim_propose(&sim, leader);
    assert_true(sim_run(&sim, 5000, sim_all_answered));
    assert_int_equal(sim.commands[write].state, SIM_ACKED);
    finish();
}

static void test_progress_is_known_everywhere(void **state)
{
    (void)state;
    begin(3, 4, 0);
    become(0x7, 0x8, 0);
    join(3);
    assert_true(sim_run(&sim, 5000, settled));
    size_t dead = (sim_leader(&sim) + 1) % 3;
    sim_crash(&sim, dead);
    sim_run(&sim, 3000, NULL);
    for (size_t i = 0; i < 4; i++) {
        struct sr_member_progress members[SR_MEMBERS_MAX];
        uint64_t at_ms = 0;
        if (i == dead) {
            continue;
        }
        assert_int_equal(sr_core_progress(sim.nodes[i].core, members, &at_ms), 4);
        assert_in_range(at_ms, sim.now_ns / 1000000 - 1100, sim.now_ns / 1000000);
        for (size_t j = 0; j < 4; j++) {
            bool up = members[j].id != dead + 1;
            assert_int_equal(members[j].role, members[j].id == 4 ? SR_ROLE_LEARNER : SR_ROLE_VOTER);
            assert_int_equal(members[j].up, up);
            assert_int_equal(members[j].caught_up, up);
        }
    }
    finish();
}

/* ---- images ---- */

static void short_log(size_t initial, size_t count, uint64_t hold_bytes)
{
    sim_init(&sim, 1, count);
    sim.initial = initial;
    sim.snapshot_bytes = 400;
    sim.trailing_bytes = 50;
    sim.log_keep_bytes = 500;
    sim.hold_bytes = hold_bytes;
    sim_start(&sim);
    assert_true(sim_run(&sim, 5000, sim_has_leader));
}

static void write_some(size_t at, int count)
{
    for (int i = 0; i < count; i++) {
        sim_propose(&sim, at);
        assert_true(sim_run(&sim, 5000, sim_all_answered));
        sim_run(&sim, 20, NULL);
    }
}

static bool converged(struct sim *s)
{
    return sim_converged(s) && sim_has_leader(s);
}

static void test_a_follower_beyond_the_log_starts_from_an_image(void **state)
{
    (void)state;
    short_log(3, 3, 100000);
    size_t leader = sim_leader(&sim);
    size_t away = (leader + 1) % 3;
    sim_crash(&sim, away);
    write_some(leader, 100);
    assert_true(sim.nodes[leader].disk.first > 20);
    join(away);
    write_some(leader, 50);
    assert_true(sim_run(&sim, 5000, converged));
    assert_int_equal(sim.nodes[away].images_adopted, 1);
    assert_int_equal(sr_counter_read(&sim.nodes[leader].metrics.followers_beyond_log), 1);
    assert_int_equal(sr_counter_read(&sim.nodes[leader].metrics.image_holds_given_up), 0);
    finish();
}

static void test_a_node_joins_with_an_image(void **state)
{
    (void)state;
    short_log(3, 4, 100000);
    write_some(sim_leader(&sim), 100);
    become(0xf, 0, 0);
    join(3);
    assert_true(sim_run(&sim, 20000, settled));
    assert_int_equal(sim.nodes[3].images_adopted, 1);
    finish();
}

/* What is written meanwhile exceeds the bound: over again, until it is fast enough. */
static void test_a_hold_is_given_up(void **state)
{
    (void)state;
    short_log(3, 3, 2000);
    size_t leader = sim_leader(&sim);
    size_t away = (leader + 1) % 3;
    sim_crash(&sim, away);
    write_some(leader, 100);
    join(away);
    assert_true(sim_run(&sim, 5000, sim_has_leader));
    for (int i = 0;
         i < 2000 && sr_counter_read(&sim.nodes[leader].metrics.image_holds_given_up) == 0; i++) {
        sim.nodes[away].image_from = 0; /* it never gets anywhere */
        sim.nodes[away].image_at_ns = UINT64_MAX;
        write_some(leader, 1);
    }
    assert_true(sr_counter_read(&sim.nodes[leader].metrics.image_holds_given_up) > 0);
    assert_true(sim_run(&sim, 5000, converged));
    assert_int_equal(sim.nodes[away].images_adopted, 1);
    finish();
}

/* ---- fences ---- */

static bool cut[SIM_NODES_MAX][SIM_NODES_MAX];     /* everything */
static bool starved[SIM_NODES_MAX][SIM_NODES_MAX]; /* entries only */

static bool pass(struct sim *s, size_t from, size_t to, const struct sr_frame *frame)
{
    (void)s;
    return !cut[from][to] &&
           !(starved[from][to] &&
             frame->envelope->message_case == STRONGROOM__ENVELOPE__MESSAGE_APPEND_ENTRIES &&
             frame->envelope->append_entries->n_entries > 0);
}

static void separate(const unsigned sides[2])
{
    for (size_t a = 0; a < sim.count; a++) {
        for (size_t b = 0; b < sim.count; b++) {
            cut[a][b] = !((sides[0] >> a & 1 && sides[0] >> b & 1) ||
                          (sides[1] >> a & 1 && sides[1] >> b & 1));
        }
    }
}

static void wish(size_t at, unsigned voters, unsigned learners)
{
    struct sr_core_member members[SIM_NODES_MAX];
    size_t count = 0;
    for (size_t i = 0; i < sim.count; i++) {
        if (((voters | learners) >> i & 1) != 0) {
            members[count++] =
                (struct sr_core_member){.id = i + 1, .voter = (voters >> i & 1) != 0};
        }
    }
    sr_core_set_members(sim.nodes[at].core, members, count);
}

/* Four voters a, b, c, d and a learner, e. The leader a gives e its vote, which only e hears.
 * Then b is elected by b, c and d, and takes a's vote: c has that, d not. Is it committed? And
 * then a stands for election, with d and e. @d counts from a; false: it became b. */
static bool change_twice(uint32_t guards_off, size_t d)
{
    memset(cut, 0, sizeof(cut));
    memset(starved, 0, sizeof(starved));
    begin(4, 5, guards_off);
    become(0xf, 0x10, 0);
    join(4);
    assert_true(sim_run(&sim, 10000, settled));
    sim_run(&sim, 1000, NULL);
    size_t a = sim_leader(&sim);
    unsigned others = 0xf & ~(1u << a);
    d = (a + d) % 4;
    for (size_t i = 0; i < 4; i++) {
        starved[i][d] = true;
    }
    separate((unsigned[]){1u << a | 0x10, others});
    sim.filter = pass;
    wish(a, 0x1f, 0);
    sim_run(&sim, 200, NULL);
    assert_int_equal(role_of(4, 4), RAFT_VOTER);
    sim_run(&sim, 5000, NULL);
    size_t b = sim_leader(&sim);
    assert_true((others >> b & 1) != 0);
    if (b == d) {
        return false;
    }
    size_t c = 0;
    while ((others >> c & 1) == 0 || c == b || c == d) {
        c++;
    }
    wish(b, others, 0x10);
    sim_run(&sim, 1000, NULL);
    sim_propose(&sim, b);
    sim_run(&sim, 1000, NULL);
    separate((unsigned[]){1u << a | 1u << d | 0x10, 1u << b | 1u << c});
    sim_run(&sim, 5000, NULL);
    memset(starved, 0, sizeof(starved));
    sim_propose(&sim, a);
    sim_run(&sim, 3000, NULL);
    return true;
}

static void change_twice_somehow(uint32_t guards_off)
{
    size_t d = 1;
    while (!change_twice(guards_off, d)) {
        sim_close(&sim);
        assert_true(++d < 4);
    }
}

static void test_change_term(void **state)
{
    (void)state;
    change_twice_somehow(0);
    assert_string_equal(sim.violation, "");
    sim_close(&sim);
    change_twice_somehow(SR_GUARD_CHANGE_TERM);
    assert_non_null(strstr(sim.violation, "has another entry"));
    sim_close(&sim);
}

/* A voter and a learner: the learner gets an entry that the voter loses in a crash. */
static void lose_what_the_learner_has(uint32_t guards_off, uint64_t seed)
{
    sim_init(&sim, seed, 2);
    sim.initial = 1;
    sim.guards_off = guards_off;
    sim_start(&sim);
    assert_true(sim_run(&sim, 5000, sim_has_leader));
    become(0x1, 0x2, 0);
    join(1);
    assert_true(sim_run(&sim, 10000, settled));
    sim.nodes[0].disk_stuck = true;
    sim_propose(&sim, 0);
    sim_run(&sim, 100, NULL);
    sim_crash(&sim, 0);
    sim.nodes[0].disk_stuck = false;
    join(0);
    assert_true(sim_run(&sim, 5000, sim_has_leader));
    sim_propose(&sim, 0);
    sim_run(&sim, 2000, NULL);
}

static void test_sole_term(void **state)
{
    (void)state;
    unsigned broken = 0;
    for (uint64_t seed = 1; seed <= 20; seed++) { /* in half of them the entry is written */
        lose_what_the_learner_has(0, seed);
        assert_string_equal(sim.violation, "");
        finish();
        lose_what_the_learner_has(SR_GUARD_SOLE_TERM, seed);
        broken += strstr(sim.violation, "has another entry") != NULL;
        sim_close(&sim);
    }
    assert_true(broken > 0);
}

static bool hide_changes(struct sim *s, size_t from, size_t to, const struct sr_frame *frame)
{
    const Strongroom__AppendEntries *append = frame->envelope->append_entries;
    if (frame->envelope->message_case != STRONGROOM__ENVELOPE__MESSAGE_APPEND_ENTRIES ||
        to != s->watched) {
        return true;
    }
    (void)from;
    for (size_t i = 0; i < append->n_entries; i++) {
        if (append->entries[i]->type == RAFT_CHANGE) {
            return false;
        }
    }
    return true;
}

/* Three voters give a fourth its vote, but it does not hear of it; then the leader dies. */
static bool elect_with_a_vote_that_does_not_know_of_itself(uint32_t guards_off)
{
    begin(3, 4, guards_off);
    become(0x7, 0x8, 0);
    join(3);
    assert_true(sim_run(&sim, 10000, settled));
    size_t leader = sim_leader(&sim);
    sim.watched = 3;
    sim.filter = hide_changes;
    wish(leader, 0xf, 0);
    sim_run(&sim, 300, NULL);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(role_of(i, 3), RAFT_VOTER);
    }
    assert_int_equal(role_of(3, 3), RAFT_STANDBY);
    sim_crash(&sim, leader);
    return sim_run(&sim, 10000, sim_has_leader);
}

static void test_learner_votes(void **state)
{
    (void)state;
    assert_true(elect_with_a_vote_that_does_not_know_of_itself(0));
    sim.filter = NULL;
    sim_close(&sim);
    assert_false(elect_with_a_vote_that_does_not_know_of_itself(SR_GUARD_LEARNER_VOTES));
    sim.filter = NULL;
    sim_close(&sim);
}

static void append(uint64_t prev_index, uint64_t prev_term, uint64_t commit,
                   const struct inject_entry *entries, size_t count)
{
    struct inject_append message = {.term = 2,
                                    .prev_index = prev_index,
                                    .prev_term = prev_term,
                                    .commit = commit,
                                    .entries = entries,
                                    .count = count};
    inject_append(&sim, 1, 0, &message);
    sim_run(&sim, 100, NULL);
}

/* Where a follower would go back to, if its leader dies with a configuration that nobody else has.
 */
static uint64_t committed_configuration(uint32_t guards_off)
{
    static const struct inject_entry change[] = {{2, RAFT_CHANGE}};
    struct sr_err err;
    sim_init(&sim, 1, 3);
    sim.guards_off = guards_off;
    sim.election_timeout_ms = 60000;
    assert_int_equal(sim_restart(&sim, 0, &err), SR_OK);
    append(1, 1, 1, change, 1);
    append(2, 2, 2, change, 1); /* and the one before is committed */
    assert_int_equal(raft_of(0)->configuration_uncommitted_index, 3);
    uint64_t index = raft_of(0)->configuration_committed_index;
    sim_close(&sim);
    return index;
}

static void test_commit_first(void **state)
{
    (void)state;
    assert_int_equal(committed_configuration(0), 2);
    assert_int_equal(committed_configuration(SR_GUARD_COMMIT_FIRST), 1);
}

/* A node starts with two configurations in its log that it does not know to be committed, and is
 * told so for both at once. */
static void commit_two_configurations(uint32_t guards_off)
{
    static const struct inject_entry entries[] = {
        {2, RAFT_CHANGE}, {2, RAFT_COMMAND}, {2, RAFT_CHANGE}, {2, RAFT_COMMAND}};
    static struct inject_entry more[20];
    struct sr_err err;
    for (size_t i = 0; i < 20; i++) {
        more[i] = (struct inject_entry){2, RAFT_COMMAND};
    }
    sim_init(&sim, 1, 3);
    sim.guards_off = guards_off;
    sim.election_timeout_ms = 60000;
    sim.snapshot_bytes = 100;
    sim.trailing_bytes = 64;
    assert_int_equal(sim_restart(&sim, 0, &err), SR_OK);
    append(1, 1, 1, entries, 4);
    sim_crash(&sim, 0);
    assert_int_equal(sim_restart(&sim, 0, &err), SR_OK);
    append(5, 2, 1, more, 20);
    append(25, 2, 25, NULL, 0);
    sim_run(&sim, 3000, NULL);
}

static void test_configuration(void **state)
{
    (void)state;
    commit_two_configurations(0);
    assert_int_equal(raft_of(0)->trail.snapshot.index, 25);
    assert_string_equal(sim.violation, "");
    sim_close(&sim);
    commit_two_configurations(SR_GUARD_CONFIGURATION);
    assert_non_null(strstr(sim.violation, "manifest"));
    sim_close(&sim);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_node_joins_and_gets_its_vote),
        cmocka_unit_test(test_a_node_that_joins_does_not_stand_for_election),
        cmocka_unit_test(test_a_learner_knows_that_nobody_leads),
        cmocka_unit_test(test_one_becomes_three_and_three_become_one),
        cmocka_unit_test(test_a_leader_that_is_removed_hands_over),
        cmocka_unit_test(test_a_dead_member_is_replaced),
        cmocka_unit_test(test_a_removal_waits_for_a_majority_that_answers),
        cmocka_unit_test(test_progress_is_known_everywhere),
        cmocka_unit_test(test_a_follower_beyond_the_log_starts_from_an_image),
        cmocka_unit_test(test_a_node_joins_with_an_image),
        cmocka_unit_test(test_a_hold_is_given_up),
        cmocka_unit_test(test_change_term),
        cmocka_unit_test(test_sole_term),
        cmocka_unit_test(test_learner_votes),
        cmocka_unit_test(test_commit_first),
        cmocka_unit_test(test_configuration),
    };
    sr_log_init(SR_LOG_FATAL, SR_LOG_LOGFMT, NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
