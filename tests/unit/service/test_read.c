/* SPDX-License-Identifier: Apache-2.0
 *
 * The path of a read: what waits for a read index and what does not, long ranges over many turns,
 * transactions that only read.
 */
#include "tests/unit/service/harness.h"

#include <stdio.h>

#include "base/clock.h"

#define RANGE "/etcdserverpb.KV/Range"
#define TXN   "/etcdserverpb.KV/Txn"

static void release(void *message)
{
    protobuf_c_message_free_unpacked(message, NULL);
}

static Etcdserverpb__RangeResponse *expect_range(struct test_call *test, int64_t revision,
                                                 size_t kvs)
{
    Etcdserverpb__RangeResponse *response =
        expect_reply(test, &etcdserverpb__range_response__descriptor);
    assert_non_null(response->header);
    assert_true(response->header->cluster_id == CLUSTER_ID);
    assert_true(response->header->member_id == MEMBER_ID);
    assert_int_equal(response->header->raft_term, TERM);
    assert_int_equal(response->header->revision, revision);
    assert_int_equal(response->n_kvs, kvs);
    return response;
}

static void linearizable_waits_for_its_index(void **state)
{
    struct world *world = *state;
    put(world, "k", "old");
    struct test_call *test = call_range(world, "k", "", false);
    assert_int_equal(consensus.read_count, 1);
    assert_false(turn(world));
    expect_open(test);
    put(world, "k", "new"); /* acknowledged after the read began, and seen all the same */
    expect_open(test);
    answer_reads(world, SR_API_NONE);
    turns(world);
    Etcdserverpb__RangeResponse *response = expect_range(test, 3, 1);
    assert_memory_equal(response->kvs[0]->value.data, "new", 3);
    release(response);
}

static void serializable_is_read_at_once(void **state)
{
    struct world *world = *state;
    put(world, "k", "v");
    consensus.info.leader = 0;
    struct test_call *hit = call_range(world, "k", "", true);
    struct test_call *miss = call_range(world, "nothing", "", true);
    assert_int_equal(consensus.read_count, 0);
    assert_true(turn(world));
    release(expect_range(hit, 2, 1));
    release(expect_range(miss, 2, 0));
}

static void all_of_a_turn_share_a_view(void **state)
{
    struct world *world = *state;
    put(world, "k", "v");
    struct test_call *calls[100];
    size_t wakes = world->wakes;
    for (size_t i = 0; i < 100; i++) {
        calls[i] = call_range(world, "k", "", true);
    }
    assert_int_equal(world->wakes, wakes + 1); /* one wake-up for all */
    turns(world); /* one, unless the machine is so slow that its time is up */
    assert_int_equal(sr_gauge_read(&sr_store_metrics(world->store)->open_views), 0);
    for (size_t i = 0; i < 100; i++) {
        release(expect_range(calls[i], 2, 1));
    }
}

static void wrong_ranges_are_refused(void **state)
{
    struct world *world = *state;
    put(world, "k", "v");
    expect_error(call_range(world, "", "z", true), SR_API_KEY_NOT_PROVIDED);
    expect_error(call_range(world, "", "", false), SR_API_KEY_NOT_PROVIDED);
    assert_int_equal(consensus.read_count, 0);
    Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;
    request.key = bytes("k");
    request.serializable = true;
    request.revision = 3;
    struct test_call *test = call(world, RANGE, &request.base);
    turns(world);
    expect_error(test, SR_API_FUTURE_REVISION);
}

static void long_keys_are_kept_while_waiting(void **state)
{
    struct world *world = *state;
    char key[SR_KEY_BYTES_MAX + 1];
    memset(key, 'x', sizeof(key));
    key[SR_KEY_BYTES_MAX] = '\0';
    put(world, key, "v");
    struct test_call *test = call_range(world, key, "y", false);
    struct test_call *other = call_range(world, "something else", "t", false);
    answer_reads(world, SR_API_NONE);
    turns(world);
    release(expect_range(test, 2, 1));
    release(expect_range(other, 2, 0));
}

static void refusals_are_passed_on(void **state)
{
    struct world *world = *state;
    struct test_call *test = call_range(world, "k", "", false);
    answer_reads(world, SR_API_LEADER_CHANGED);
    turns(world);
    expect_error(test, SR_API_LEADER_CHANGED);
    consensus.refuse = true;
    expect_error(call_range(world, "k", "", false), SR_API_TOO_MANY_REQUESTS);
    consensus.refuse = false;
    consensus.info.leader = 0;
    Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;
    request.key = bytes("k");
    request.serializable = true;
    test = call_new(RANGE, &request.base);
    test->call.has_leader = true;
    call_make(world, test);
    expect_error(test, SR_API_NO_LEADER); /* even a serializable one */
}

static void reads_time_out(void **state)
{
    struct world *world = *state;
    uint64_t before_ns = sr_clock_monotonic_ns();
    struct test_call *test = call_range(world, "k", "", false);
    world->handler.on_tick(world->handler.arg, before_ns + 6 * SECOND_NS);
    expect_open(test);
    world->handler.on_tick(world->handler.arg, sr_clock_monotonic_ns() + 7 * SECOND_NS);
    expect_error(test, SR_API_TIMED_OUT);
    answer_reads(world, SR_API_NONE); /* too late */
    turns(world);
}

static void gone_reads_are_forgotten(void **state)
{
    struct world *world = *state;
    put_many(world, "key", 2500);
    struct test_call *waiting = call_range(world, "key", "l", false);
    call_cancel(world, waiting);
    answer_reads(world, SR_API_NONE);
    struct test_call *ready = call_range(world, "key", "l", true);
    call_cancel(world, ready);
    turns(world);
    struct test_call *going = call_range(world, "key", "l", true);
    assert_true(turn(world));
    expect_open(going);
    call_cancel(world, going);
    turns(world);
}

/* ---- Long ranges ---- */

static void long_range_yields_and_stays_at_its_revision(void **state)
{
    struct world *world = *state;
    put_many(world, "key", 4500);
    int64_t revision = sr_store_revision(world->store);
    struct test_call *test = call_range(world, "key", "l", true);
    assert_true(turn(world));
    expect_open(test);
    /* Short reads do not wait for long ones, and writes in between do not show up. */
    struct test_call *quick = call_range(world, "key00001", "", true);
    assert_true(turn(world));
    release(expect_range(quick, revision, 1));
    expect_open(test);
    struct test_call *changed = call_put(world, "key04499", "changed");
    struct test_call *new = call_put(world, "key99999", "new");
    commit(world);
    assert_true(turn(world));
    assert_true(changed->answered && new->answered);
    call_free(changed);
    call_free(new);
    expect_open(test);
    turns(world);
    Etcdserverpb__RangeResponse *response = expect_range(test, revision, 4500);
    assert_int_equal(response->count, 4500);
    for (size_t i = 0; i < 4500; i++) {
        char key[16];
        snprintf(key, sizeof(key), "key%05zu", i);
        assert_int_equal(response->kvs[i]->key.len, 8);
        assert_memory_equal(response->kvs[i]->key.data, key, 8);
        assert_int_equal(response->kvs[i]->value.len, 5);
    }
    release(response);
}

static void many_long_ranges_take_their_turns(void **state)
{
    struct world *world = *state;
    put_many(world, "key", 2200);
    int64_t revision = sr_store_revision(world->store);
    struct test_call *calls[4 * SR_LONG_RANGES_MAX];
    size_t count = sizeof(calls) / sizeof(calls[0]);
    for (size_t i = 0; i < count; i++) {
        calls[i] = call_range(world, "key", "l", i % 2 == 0);
    }
    answer_reads(world, SR_API_NONE);
    turns(world); /* nothing but turns is needed to finish them all */
    for (size_t i = 0; i < count; i++) {
        release(expect_range(calls[i], revision, 2200));
    }
    assert_int_equal(sr_gauge_read(&sr_store_metrics(world->store)->open_views), 0);
}

static void stalled_ranges_can_be_given_up(void **state)
{
    struct world *world = *state;
    put_many(world, "key", 2200);
    struct test_call *calls[4 * SR_LONG_RANGES_MAX];
    size_t count = sizeof(calls) / sizeof(calls[0]);
    for (size_t i = 0; i < count; i++) {
        calls[i] = call_range(world, "key", "l", true);
    }
    assert_true(turn(world));
    for (size_t i = 0; i < count; i++) {
        if (!calls[i]->answered && i % 3 != 0) {
            call_cancel(world, calls[i]);
            calls[i] = NULL;
        }
    }
    turns(world);
    for (size_t i = 0; i < count; i++) {
        if (calls[i] != NULL) {
            release(expect_range(calls[i], sr_store_revision(world->store), 2200));
        }
    }
}

static void long_range_times_out_between_slices(void **state)
{
    struct world *world = *state;
    put_many(world, "key", 2500);
    struct test_call *test = call_range(world, "key", "l", true);
    assert_true(turn(world));
    expect_open(test);
    world->handler.on_tick(world->handler.arg, sr_clock_monotonic_ns() + 7 * SECOND_NS);
    expect_error(test, SR_API_TIMED_OUT);
    turns(world);
}

static void open_range_survives_the_end(void **state)
{
    struct world *world = *state;
    put_many(world, "key", 2500);
    struct test_call *test = call_range(world, "key", "l", true);
    assert_true(turn(world)); /* and more mail waits */
    struct test_call *waiting = call_range(world, "key", "l", false);
    answer_reads(world, SR_API_NONE); /* an answer that nobody takes out */
    call_cancel(world, test);
    call_cancel(world, waiting);
}

/* ---- Transactions that read ---- */

struct read_txn {
    Etcdserverpb__RangeRequest ranges[2];
    Etcdserverpb__RequestOp ops[2];
    Etcdserverpb__RequestOp *branch[2];
    Etcdserverpb__TxnRequest txn;
};

static void read_txn_init(struct read_txn *test, bool first_serializable, bool second_serializable)
{
    for (size_t i = 0; i < 2; i++) {
        etcdserverpb__range_request__init(&test->ranges[i]);
        etcdserverpb__request_op__init(&test->ops[i]);
        test->ranges[i].key = bytes(i == 0 ? "a" : "b");
        test->ops[i].request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE;
        test->ops[i].request_range = &test->ranges[i];
        test->branch[i] = &test->ops[i];
    }
    test->ranges[0].serializable = first_serializable;
    test->ranges[1].serializable = second_serializable;
    etcdserverpb__txn_request__init(&test->txn);
    test->txn.success = test->branch;
    test->txn.n_success = 2;
}

static void expect_two_ranges(struct test_call *test, int64_t revision)
{
    Etcdserverpb__TxnResponse *response =
        expect_reply(test, &etcdserverpb__txn_response__descriptor);
    assert_true(response->header->cluster_id == CLUSTER_ID);
    assert_int_equal(response->header->revision, revision);
    assert_true(response->succeeded);
    assert_int_equal(response->n_responses, 2);
    assert_int_equal(response->responses[0]->response_range->n_kvs, 1);
    assert_int_equal(response->responses[1]->response_range->n_kvs, 0);
    assert_int_equal(response->responses[0]->response_range->header->revision, revision);
    assert_int_equal(response->responses[0]->response_range->header->member_id, 0);
    release(response);
}

static void read_only_txn_needs_no_log(void **state)
{
    struct world *world = *state;
    put(world, "a", "1");
    size_t proposals = consensus.proposal_count;
    struct read_txn test;
    read_txn_init(&test, true, false); /* one linearizable range makes it linearizable */
    struct test_call *linearizable = call(world, TXN, &test.txn.base);
    assert_int_equal(consensus.read_count, 1);
    assert_false(turn(world));
    answer_reads(world, SR_API_NONE);
    turns(world);
    expect_two_ranges(linearizable, 2);
    read_txn_init(&test, true, true);
    struct test_call *serializable = call(world, TXN, &test.txn.base);
    turns(world);
    expect_two_ranges(serializable, 2);
    assert_int_equal(consensus.read_count, 1);
    assert_int_equal(consensus.proposal_count, proposals);
}

static void empty_txn_is_answered_here(void **state)
{
    struct world *world = *state;
    consensus.info.leader = 0;
    struct test_call *test = call_new_raw(TXN, "", 0);
    call_make(world, test);
    turns(world);
    Etcdserverpb__TxnResponse *response =
        expect_reply(test, &etcdserverpb__txn_response__descriptor);
    assert_true(response->succeeded);
    assert_int_equal(response->header->revision, 1);
    release(response);
    assert_int_equal(consensus.read_count + consensus.proposal_count, 0);
}

static void nested_txn_goes_through_the_log(void **state)
{
    struct world *world = *state;
    put(world, "a", "1");
    struct read_txn inner;
    read_txn_init(&inner, true, true);
    Etcdserverpb__RequestOp op = ETCDSERVERPB__REQUEST_OP__INIT;
    op.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN;
    op.request_txn = &inner.txn;
    Etcdserverpb__RequestOp *branch[] = {&op};
    Etcdserverpb__TxnRequest txn = ETCDSERVERPB__TXN_REQUEST__INIT;
    txn.success = branch;
    txn.n_success = 1;
    size_t proposals = consensus.proposal_count;
    struct test_call *test = call(world, TXN, &txn.base);
    assert_int_equal(consensus.proposal_count, proposals + 1);
    commit(world);
    turns(world);
    Etcdserverpb__TxnResponse *response =
        expect_reply(test, &etcdserverpb__txn_response__descriptor);
    assert_int_equal(response->header->revision, 2);
    assert_int_equal(response->responses[0]->response_txn->n_responses, 2);
    release(response);
}

static void read_only_txn_fails_as_a_range_does(void **state)
{
    struct world *world = *state;
    struct read_txn test;
    read_txn_init(&test, true, true);
    test.ranges[1].revision = 100;
    struct test_call *future = call(world, TXN, &test.txn.base);
    turns(world);
    expect_error(future, SR_API_FUTURE_REVISION);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, world_open, world_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(linearizable_waits_for_its_index),
        TEST(serializable_is_read_at_once),
        TEST(all_of_a_turn_share_a_view),
        TEST(wrong_ranges_are_refused),
        TEST(long_keys_are_kept_while_waiting),
        TEST(refusals_are_passed_on),
        TEST(reads_time_out),
        TEST(gone_reads_are_forgotten),
        TEST(long_range_yields_and_stays_at_its_revision),
        TEST(many_long_ranges_take_their_turns),
        TEST(stalled_ranges_can_be_given_up),
        TEST(long_range_times_out_between_slices),
        TEST(open_range_survives_the_end),
        TEST(read_only_txn_needs_no_log),
        TEST(empty_txn_is_answered_here),
        TEST(nested_txn_goes_through_the_log),
        TEST(read_only_txn_fails_as_a_range_does),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
