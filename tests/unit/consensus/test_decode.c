/* SPDX-License-Identifier: Apache-2.0
 *
 * Messages that break a rule never reach libraft: counted, without effect, and the node goes on.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "inject.h"
#include "node/consensus/internal.h"
#include "tests/unit/cmocka.h"

static struct sim sim;

/* Node 0 of three, alone, follower in term 2 with entries 1 to 3. */
static void begin(void)
{
    static const struct inject_entry entries[] = {{2, RAFT_COMMAND}, {2, RAFT_COMMAND}};
    struct inject_append append = {2, 1, 1, 3, entries, 2};
    struct sr_err err;
    sim_init(&sim, 1, 3);
    sim.election_timeout_ms = 60000;
    assert_int_equal(sim_restart(&sim, 0, &err), SR_OK);
    inject_append(&sim, 1, 0, &append);
    sim_run(&sim, 50, NULL);
    assert_int_equal(raft_last_index(sr_core_raft(sim.nodes[0].core)), 3);
}

/* Nothing changed but the count of what was refused; then the node takes the next entry. */
static void expect_refused(uint64_t count)
{
    static const struct inject_entry next = {2, RAFT_COMMAND};
    struct inject_append append = {2, 3, 2, 4, &next, 1};
    struct raft *raft = sr_core_raft(sim.nodes[0].core);
    assert_int_equal(sr_counter_read(&sim.nodes[0].metrics.refused_messages), count);
    assert_int_equal(raft_current_term(raft), 2);
    assert_int_equal(raft_last_index(raft), 3);
    assert_false(sim.nodes[0].failed);
    inject_append(&sim, 1, 0, &append);
    sim_run(&sim, 50, NULL);
    assert_int_equal(raft_last_index(raft), 4);
    assert_int_equal(sim.nodes[0].applied, 4);
    assert_string_equal(sim.violation, "");
    sim_close(&sim);
}

static void test_append_entries(void **state)
{
    (void)state;
    static const struct inject_entry command = {2, RAFT_COMMAND};
    static const struct inject_entry without_term = {0, RAFT_COMMAND};
    static const struct inject_entry of_the_future = {3, RAFT_COMMAND};
    static const struct inject_entry of_the_past = {1, RAFT_COMMAND};
    static const struct inject_entry without_type = {2, 0};
    static const struct inject_entry of_unknown_type = {2, 4};
    const struct inject_append bad[] = {
        {0, 3, 2, 3, &command, 1},         {2, 3, 0, 3, &command, 1},
        {2, 0, 2, 3, &command, 1},         {2, 3, 3, 3, &command, 1},
        {2, 3, 2, 3, &without_term, 1},    {2, 3, 2, 3, &of_the_future, 1},
        {2, 3, 2, 3, &of_the_past, 1},     {2, 3, 2, 3, &without_type, 1},
        {2, 3, 2, 3, &of_unknown_type, 1},
    };
    begin();
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        inject_append(&sim, 1, 0, &bad[i]);
    }
    expect_refused(sizeof(bad) / sizeof(*bad));
}

static void send_entry(uint32_t type, uint32_t length, const void *payload, size_t payload_size)
{
    Strongroom__Entry entry = STRONGROOM__ENTRY__INIT;
    Strongroom__Entry *entries[] = {&entry};
    entry.term = 2;
    entry.type = type;
    entry.length = length;
    Strongroom__AppendEntries append = STRONGROOM__APPEND_ENTRIES__INIT;
    append.term = 2;
    append.prev_log_index = 3;
    append.prev_log_term = 2;
    append.entries = entries;
    append.n_entries = 1;
    Strongroom__Envelope envelope = STRONGROOM__ENVELOPE__INIT;
    envelope.message_case = STRONGROOM__ENVELOPE__MESSAGE_APPEND_ENTRIES;
    envelope.append_entries = &append;
    inject(&sim, 1, 0, &envelope, payload, payload_size);
}

static void test_payloads(void **state)
{
    (void)state;
    begin();
    send_entry(RAFT_COMMAND, 8, "1234567", 7);
    send_entry(RAFT_COMMAND, 8, "123456789", 9);
    send_entry(RAFT_COMMAND, UINT32_MAX, "12345678", 8);
    send_entry(RAFT_CHANGE, 8, "12345678", 8);
    expect_refused(4);
}

/* What the walk lets through, libraft's decoder must survive. */
static void try_configuration(const void *data, size_t size, size_t at, uint8_t value)
{
    struct raft_configuration conf;
    uint8_t *copy = sr_memdup(data, size);
    copy[at] = value;
    struct raft_buffer cut = {.base = copy, .len = size};
    if (sr_core_configuration_check((struct sr_bytes){copy, size}, NULL) == SR_OK &&
        raft_configuration_decode(&cut, &conf) == 0) {
        raft_configuration_close(&conf);
    }
    sr_free(copy);
}

/* Every cut of a configuration, and every byte of it changed to every extreme: the walk stays in
 * its bounds (AddressSanitizer looks). */
static void test_configurations(void **state)
{
    (void)state;
    static const uint8_t extremes[] = {0, 1, 2, 3, 127, 128, 255};
    struct raft_configuration conf;
    struct raft_buffer encoded;
    raft_configuration_init(&conf);
    assert_int_equal(raft_configuration_add(&conf, 1, "m1", RAFT_VOTER), 0);
    assert_int_equal(raft_configuration_add(&conf, 2, "m2", RAFT_STANDBY), 0);
    assert_int_equal(raft_configuration_encode(&conf, &encoded), 0);
    raft_configuration_close(&conf);
    struct sr_bytes whole = {encoded.base, encoded.len};
    assert_int_equal(sr_core_configuration_check(whole, NULL), SR_OK);
    for (size_t size = 1; size <= encoded.len; size++) {
        for (size_t i = 0; i < size * sizeof(extremes); i++) {
            try_configuration(encoded.base, size, i / sizeof(extremes),
                              extremes[i % sizeof(extremes)]);
        }
    }
    struct sr_bytes short_one = {encoded.base, 20};
    assert_int_equal(sr_core_configuration_check(short_one, NULL), SR_CORRUPT);
    raft_free(encoded.base);
}

static void give(Strongroom__Envelope__MessageCase which, void *message)
{
    Strongroom__Envelope envelope = STRONGROOM__ENVELOPE__INIT;
    envelope.message_case = which;
    envelope.hello = message; /* all members of the union are pointers */
    inject(&sim, 1, 0, &envelope, NULL, 0);
}

static void test_votes_and_results(void **state)
{
    (void)state;
    begin();
    Strongroom__RequestVote vote = STRONGROOM__REQUEST_VOTE__INIT;
    vote.term = 9;
    vote.candidate_id = 3; /* but it comes from 2 */
    vote.last_log_index = 9;
    vote.last_log_term = 9;
    give(STRONGROOM__ENVELOPE__MESSAGE_REQUEST_VOTE, &vote);
    vote.candidate_id = 2;
    vote.term = 0;
    give(STRONGROOM__ENVELOPE__MESSAGE_REQUEST_VOTE, &vote);
    vote.term = 9;
    vote.last_log_term = 0;
    give(STRONGROOM__ENVELOPE__MESSAGE_REQUEST_VOTE, &vote);

    Strongroom__RequestVoteResult result = STRONGROOM__REQUEST_VOTE_RESULT__INIT;
    result.term = 9;
    result.capacity = 65536;
    give(STRONGROOM__ENVELOPE__MESSAGE_REQUEST_VOTE_RESULT, &result);

    Strongroom__AppendEntriesResult appended = STRONGROOM__APPEND_ENTRIES_RESULT__INIT;
    appended.term = 0;
    give(STRONGROOM__ENVELOPE__MESSAGE_APPEND_ENTRIES_RESULT, &appended);
    appended.term = 2;
    appended.rejected = 2;
    appended.last_log_index = 2;
    give(STRONGROOM__ENVELOPE__MESSAGE_APPEND_ENTRIES_RESULT, &appended);

    Strongroom__TimeoutNow now = STRONGROOM__TIMEOUT_NOW__INIT;
    now.term = 9;
    now.last_log_index = 3;
    give(STRONGROOM__ENVELOPE__MESSAGE_TIMEOUT_NOW, &now);
    expect_refused(7);
}

static void test_forwards(void **state)
{
    (void)state;
    begin();
    uint32_t lengths[] = {4, 4};
    Strongroom__Forward forward = STRONGROOM__FORWARD__INIT;
    forward.lengths = lengths;
    give(STRONGROOM__ENVELOPE__MESSAGE_FORWARD, &forward); /* of nothing */
    forward.n_lengths = 2;
    give(STRONGROOM__ENVELOPE__MESSAGE_FORWARD, &forward); /* of bytes that do not follow */
    Strongroom__Hello hello = STRONGROOM__HELLO__INIT;
    give(STRONGROOM__ENVELOPE__MESSAGE_HELLO, &hello); /* after the hello */
    expect_refused(3);
}

/* From somebody who is not of the cluster: as if nothing had come. */
static void test_strangers(void **state)
{
    (void)state;
    static const struct inject_entry command = {9, RAFT_COMMAND};
    struct inject_append append = {9, 3, 2, 3, &command, 1};
    begin();
    inject_append(&sim, 7, 0, &append);
    expect_refused(0);
}

/* More than the state can take: the message is a heartbeat, the entries come again. */
static void test_backlog_of_a_follower(void **state)
{
    (void)state;
    static const struct inject_entry command = {2, RAFT_COMMAND};
    struct inject_append append = {2, 3, 2, 4, &command, 1};
    begin();
    sim.nodes[0].backlog_entries = 100000;
    inject_append(&sim, 1, 0, &append);
    assert_int_equal(raft_last_index(sr_core_raft(sim.nodes[0].core)), 3);
    sim.nodes[0].backlog_entries = 0;
    expect_refused(0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_append_entries),
        cmocka_unit_test(test_payloads),
        cmocka_unit_test(test_configurations),
        cmocka_unit_test(test_votes_and_results),
        cmocka_unit_test(test_forwards),
        cmocka_unit_test(test_strangers),
        cmocka_unit_test(test_backlog_of_a_follower),
    };
    sr_log_init(SR_LOG_FATAL, SR_LOG_LOGFMT, NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
