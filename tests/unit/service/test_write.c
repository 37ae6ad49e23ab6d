/* SPDX-License-Identifier: Apache-2.0
 *
 * The path of a write: what is proposed, what is refused at once, and what the answers become.
 */
#include "tests/unit/service/harness.h"

#include <stdio.h>

#include "base/clock.h"

#define PUT          "/etcdserverpb.KV/Put"
#define DELETE_RANGE "/etcdserverpb.KV/DeleteRange"
#define TXN          "/etcdserverpb.KV/Txn"
#define COMPACT      "/etcdserverpb.KV/Compact"

static void release(void *message)
{
    protobuf_c_message_free_unpacked(message, NULL);
}

static void expect_header(const Etcdserverpb__ResponseHeader *header, int64_t revision)
{
    assert_non_null(header);
    assert_true(header->cluster_id == CLUSTER_ID);
    assert_true(header->member_id == MEMBER_ID);
    assert_int_equal(header->raft_term, TERM);
    assert_int_equal(header->revision, revision);
}

static void put_is_answered_by_its_apply(void **state)
{
    struct world *world = *state;
    put(world, "k", "one");
    Etcdserverpb__PutRequest request = ETCDSERVERPB__PUT_REQUEST__INIT;
    request.key = bytes("k");
    request.value = bytes("two");
    request.prev_kv = true;
    struct test_call *test = call(world, PUT, &request.base);
    assert_false(turn(world));
    expect_open(test);
    commit(world);
    expect_open(test);
    turns(world);
    Etcdserverpb__PutResponse *response =
        expect_reply(test, &etcdserverpb__put_response__descriptor);
    expect_header(response->header, 3);
    assert_non_null(response->prev_kv);
    assert_int_equal(response->prev_kv->mod_revision, 2);
    assert_int_equal(response->prev_kv->value.len, 3);
    assert_memory_equal(response->prev_kv->value.data, "one", 3);
    release(response);
}

static void delete_and_compact_are_answered(void **state)
{
    struct world *world = *state;
    put(world, "a", "1");
    put(world, "b", "2");
    Etcdserverpb__DeleteRangeRequest delete_range = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
    delete_range.key = bytes("a");
    delete_range.range_end = bytes("c");
    struct test_call *deleted = call(world, DELETE_RANGE, &delete_range.base);
    Etcdserverpb__CompactionRequest compaction = ETCDSERVERPB__COMPACTION_REQUEST__INIT;
    compaction.revision = 3;
    struct test_call *compacted = call(world, COMPACT, &compaction.base);
    struct test_call *again = call(world, COMPACT, &compaction.base);
    commit(world);
    turns(world);
    Etcdserverpb__DeleteRangeResponse *response =
        expect_reply(deleted, &etcdserverpb__delete_range_response__descriptor);
    expect_header(response->header, 4);
    assert_int_equal(response->deleted, 2);
    release(response);
    Etcdserverpb__CompactionResponse *done =
        expect_reply(compacted, &etcdserverpb__compaction_response__descriptor);
    expect_header(done->header, 4);
    release(done);
    expect_error(again, SR_API_COMPACTED);
}

static void txn_is_answered_in_order(void **state)
{
    struct world *world = *state;
    Etcdserverpb__PutRequest put_request = ETCDSERVERPB__PUT_REQUEST__INIT;
    put_request.key = bytes("k");
    put_request.value = bytes("v");
    Etcdserverpb__RangeRequest range = ETCDSERVERPB__RANGE_REQUEST__INIT;
    range.key = bytes("k");
    Etcdserverpb__RequestOp ops[2] = {ETCDSERVERPB__REQUEST_OP__INIT,
                                      ETCDSERVERPB__REQUEST_OP__INIT};
    ops[0].request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
    ops[0].request_put = &put_request;
    ops[1].request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE;
    ops[1].request_range = &range;
    Etcdserverpb__RequestOp *branch[2] = {&ops[0], &ops[1]};
    Etcdserverpb__TxnRequest txn = ETCDSERVERPB__TXN_REQUEST__INIT;
    txn.success = branch;
    txn.n_success = 2;
    struct test_call *test = call(world, TXN, &txn.base);
    assert_int_equal(consensus.proposal_count, 1);
    commit(world);
    turns(world);
    Etcdserverpb__TxnResponse *response =
        expect_reply(test, &etcdserverpb__txn_response__descriptor);
    expect_header(response->header, 2);
    assert_true(response->succeeded);
    assert_int_equal(response->n_responses, 2);
    assert_int_equal(response->responses[1]->response_range->count, 1);
    release(response);
}

static void command_says_who_and_when(void **state)
{
    struct world *world = *state;
    Etcdserverpb__PutRequest request = ETCDSERVERPB__PUT_REQUEST__INIT;
    request.key = bytes("k");
    request.value = bytes("v");
    struct test_call *test = call_new(PUT, &request.base);
    test->call.has_request_id = true;
    memset(test->call.request_id, 0xab, sizeof(test->call.request_id));
    uint64_t before_ms = sr_clock_wall_ms();
    call_make(world, test);
    struct sr_proposal *proposal = take_proposal();
    Strongroom__Command *command =
        strongroom__command__unpack(NULL, proposal->command.size, proposal->command.data);
    assert_non_null(command);
    assert_true(command->origin == world->origin && proposal->origin == world->origin);
    assert_true(command->sequence != 0 && command->sequence == proposal->sequence);
    assert_string_equal(command->actor, "tester");
    assert_int_equal(command->request_id.len, 16);
    assert_memory_equal(command->request_id.data, test->call.request_id, 16);
    assert_true(command->wall_ms >= before_ms && command->wall_ms <= sr_clock_wall_ms());
    assert_int_equal(command->operation_case, STRONGROOM__COMMAND__OPERATION_PUT);
    assert_memory_equal(command->put->key.data, "k", 1);
    strongroom__command__free_unpacked(command, NULL);
    sr_proposal_free(proposal);
    call_cancel(world, test);

    /* Without the metadata there is no id. */
    test = call_put(world, "k", "v");
    proposal = take_proposal();
    command = strongroom__command__unpack(NULL, proposal->command.size, proposal->command.data);
    assert_int_equal(command->request_id.len, 0);
    strongroom__command__free_unpacked(command, NULL);
    sr_proposal_free(proposal);
    call_cancel(world, test);
}

static void wrong_puts_are_refused(void **state)
{
    struct world *world = *state;
    expect_error(call_put(world, "", "v"), SR_API_KEY_NOT_PROVIDED);
    char key[SR_KEY_BYTES_MAX + 2];
    memset(key, 'k', sizeof(key));
    key[SR_KEY_BYTES_MAX + 1] = '\0';
    expect_error(call_put(world, key, "v"), SR_API_KEY_TOO_LONG);
    Etcdserverpb__PutRequest request = ETCDSERVERPB__PUT_REQUEST__INIT;
    request.key = bytes("k");
    request.value = bytes("v");
    request.ignore_value = true;
    expect_error(call(world, PUT, &request.base), SR_API_VALUE_PROVIDED);
    request.ignore_value = false;
    request.ignore_lease = true;
    request.lease = 1;
    expect_error(call(world, PUT, &request.base), SR_API_LEASE_PROVIDED);
    Etcdserverpb__DeleteRangeRequest delete_range = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
    expect_error(call(world, DELETE_RANGE, &delete_range.base), SR_API_KEY_NOT_PROVIDED);
    assert_int_equal(consensus.proposal_count, 0);
}

static void wrong_txns_are_refused(void **state)
{
    struct world *world = *state;
    Etcdserverpb__PutRequest put_request = ETCDSERVERPB__PUT_REQUEST__INIT;
    put_request.key = bytes("k");
    Etcdserverpb__RequestOp op = ETCDSERVERPB__REQUEST_OP__INIT;
    op.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
    op.request_put = &put_request;
    Etcdserverpb__RequestOp *branch[SR_TXN_OPS_MAX + 1];
    for (size_t i = 0; i <= SR_TXN_OPS_MAX; i++) {
        branch[i] = &op;
    }
    Etcdserverpb__TxnRequest txn = ETCDSERVERPB__TXN_REQUEST__INIT;
    txn.success = branch;
    txn.n_success = SR_TXN_OPS_MAX + 1;
    expect_error(call(world, TXN, &txn.base), SR_API_TOO_MANY_OPS);
    txn.n_success = 2;
    expect_error(call(world, TXN, &txn.base), SR_API_DUPLICATE_KEY);
    Etcdserverpb__RequestOp empty = ETCDSERVERPB__REQUEST_OP__INIT;
    branch[0] = &empty;
    txn.n_success = 1;
    expect_error(call(world, TXN, &txn.base), SR_API_KEY_NOT_FOUND);
    Etcdserverpb__Compare compare = ETCDSERVERPB__COMPARE__INIT;
    Etcdserverpb__Compare *compares[] = {&compare};
    txn.compare = compares;
    txn.n_compare = 1;
    expect_error(call(world, TXN, &txn.base), SR_API_KEY_NOT_PROVIDED);
    assert_int_equal(consensus.proposal_count, 0);
}

static void size_is_bounded_as_a_command(void **state)
{
    struct world *world = *state;
    char *value = sr_alloc((size_t)SR_REQUEST_BYTES_MAX + 1);
    memset(value, 'v', (size_t)SR_REQUEST_BYTES_MAX);
    value[SR_REQUEST_BYTES_MAX - 100] = '\0';
    struct test_call *fits = call_put(world, "k", value);
    expect_open(fits);
    call_cancel(world, fits);
    assert_int_equal(consensus.proposal_count, 1);
    value[SR_REQUEST_BYTES_MAX - 100] = 'v';
    value[SR_REQUEST_BYTES_MAX - 1] = '\0';
    expect_error(call_put(world, "k", value), SR_API_REQUEST_TOO_LARGE);
    assert_int_equal(consensus.proposal_count, 1);
    sr_free(value);
}

static void full_disk_refuses_puts_only(void **state)
{
    struct world *world = *state;
    struct sr_err err;
    assert_int_equal(sr_store_flush(world->store, &err), SR_OK); /* looks at the disk */
    assert_false(sr_store_has_space(world->store));
    expect_error(call_put(world, "k", "v"), SR_API_NO_SPACE);
    expect_error(call_put(world, "", "v"), SR_API_NO_SPACE); /* before its arguments */

    Etcdserverpb__PutRequest put_request = ETCDSERVERPB__PUT_REQUEST__INIT;
    put_request.key = bytes("k");
    Etcdserverpb__DeleteRangeRequest delete_range = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
    delete_range.key = bytes("k");
    Etcdserverpb__RequestOp op = ETCDSERVERPB__REQUEST_OP__INIT;
    op.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
    op.request_put = &put_request;
    Etcdserverpb__RequestOp *branch[] = {&op};
    Etcdserverpb__TxnRequest txn = ETCDSERVERPB__TXN_REQUEST__INIT;
    txn.failure = branch; /* the branch that will not be taken counts */
    txn.n_failure = 1;
    expect_error(call(world, TXN, &txn.base), SR_API_NO_SPACE);
    assert_int_equal(consensus.proposal_count, 0);

    op.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE;
    op.request_delete_range = &delete_range;
    struct test_call *without_puts = call(world, TXN, &txn.base);
    struct test_call *deletes = call(world, DELETE_RANGE, &delete_range.base);
    commit(world);
    turns(world);
    release(expect_reply(without_puts, &etcdserverpb__txn_response__descriptor));
    release(expect_reply(deletes, &etcdserverpb__delete_range_response__descriptor));
}

static void backlog_and_full_queues_refuse(void **state)
{
    struct world *world = *state;
    consensus.info.commit_index = consensus.info.applied_index + 5000;
    struct test_call *just_fits = call_put(world, "k", "v");
    expect_open(just_fits);
    call_cancel(world, just_fits);
    consensus.info.commit_index++;
    expect_error(call_put(world, "k", "v"), SR_API_TOO_MANY_REQUESTS);
    expect_error(call_put(world, "", "v"), SR_API_KEY_NOT_PROVIDED); /* arguments come first */
    consensus.info.commit_index = consensus.info.applied_index;
    consensus.refuse = true;
    expect_error(call_put(world, "k", "v"), SR_API_TOO_MANY_REQUESTS);
}

static void refusals_of_consensus_are_passed_on(void **state)
{
    struct world *world = *state;
    static const enum sr_api_error errors[] = {SR_API_NO_LEADER, SR_API_TIMED_OUT_LEADER,
                                               SR_API_TOO_MANY_REQUESTS};
    for (size_t i = 0; i < 3; i++) {
        struct test_call *test = call_put(world, "k", "v");
        refuse_proposals(world, errors[i]);
        turns(world);
        expect_error(test, errors[i]);
    }
}

static void has_leader_is_refused_without_one(void **state)
{
    struct world *world = *state;
    consensus.info.leader = 0;
    Etcdserverpb__PutRequest request = ETCDSERVERPB__PUT_REQUEST__INIT;
    struct test_call *test = call_new(PUT, &request.base);
    test->call.has_leader = true;
    call_make(world, test);
    expect_error(test, SR_API_NO_LEADER); /* before its arguments */
    assert_int_equal(consensus.proposal_count, 0);
    struct test_call *waits = call_put(world, "k", "v");
    expect_open(waits);
    call_cancel(world, waits);
}

static void answers_for_gone_calls_are_dropped(void **state)
{
    struct world *world = *state;
    struct test_call *gone = call_put(world, "gone", "1");
    struct sr_proposal *proposal = sr_container(consensus.proposals, struct sr_proposal, mail);
    uint64_t sequence = proposal->sequence;
    call_cancel(world, gone);
    struct test_call *others[600]; /* more than there were slots: the slot is in use again */
    for (size_t i = 0; i < 600; i++) {
        others[i] = call_put(world, "other", "2");
    }
    sr_origins_answer(&world->origins, world->origin, sequence, SR_API_NO_LEADER, 0);
    sr_origins_answer(&world->origins, world->origin, UINT64_MAX, SR_API_NO_LEADER, 0);
    sr_origins_answer(&world->origins, world->origin, 0, SR_API_NO_LEADER, 0);
    turns(world);
    for (size_t i = 0; i < 600; i++) {
        expect_open(others[i]);
    }
    commit(world); /* the gone one with them: it takes effect all the same */
    turns(world);
    for (size_t i = 0; i < 600; i++) {
        Etcdserverpb__PutResponse *response =
            expect_reply(others[i], &etcdserverpb__put_response__descriptor);
        assert_int_equal(response->header->revision, 3 + i);
        release(response);
    }
}

static void sequences_never_repeat(void **state)
{
    struct world *world = *state;
    uint64_t seen[1000];
    for (size_t i = 0; i < 1000; i++) {
        struct test_call *test = call_put(world, "k", "v");
        struct sr_proposal *proposal = take_proposal();
        seen[i] = proposal->sequence;
        for (size_t j = 0; j < i; j++) {
            assert_true(seen[j] != seen[i]);
        }
        sr_proposal_free(proposal);
        call_cancel(world, test);
    }
}

static void writes_time_out(void **state)
{
    struct world *world = *state;
    uint64_t before_ns = sr_clock_monotonic_ns();
    struct test_call *first = call_put(world, "a", "v");
    struct test_call *second = call_put(world, "b", "v");
    uint64_t after_ns = sr_clock_monotonic_ns();
    world->handler.on_tick(world->handler.arg, before_ns + 6 * SECOND_NS);
    expect_open(first);
    world->handler.on_tick(world->handler.arg, after_ns + 7 * SECOND_NS);
    expect_error(first, SR_API_TIMED_OUT);
    expect_error(second, SR_API_TIMED_OUT);
    commit(world); /* answers come too late, for nobody */
    turns(world);
    put(world, "c", "v");
}

static void waiting_calls_are_bounded(void **state)
{
    struct world *world = *state;
    struct test_call **calls = sr_alloc(SR_CALLS_WAITING_MAX * sizeof(struct test_call *));
    for (size_t i = 0; i < SR_CALLS_WAITING_MAX; i++) {
        calls[i] = call_put(world, "k", "v");
        expect_open(calls[i]);
    }
    expect_error(call_put(world, "k", "v"), SR_API_TOO_MANY_REQUESTS);
    call_cancel(world, calls[7]);
    calls[7] = call_put(world, "k", "v");
    expect_open(calls[7]);
    world->handler.on_tick(world->handler.arg, UINT64_MAX);
    for (size_t i = 0; i < SR_CALLS_WAITING_MAX; i++) {
        expect_error(calls[i], SR_API_TIMED_OUT);
    }
    sr_free(calls);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, world_open, world_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(put_is_answered_by_its_apply),
        TEST(delete_and_compact_are_answered),
        TEST(txn_is_answered_in_order),
        TEST(command_says_who_and_when),
        TEST(wrong_puts_are_refused),
        TEST(wrong_txns_are_refused),
        TEST(size_is_bounded_as_a_command),
        cmocka_unit_test_setup_teardown(full_disk_refuses_puts_only, world_open_without_space,
                                        world_close),
        TEST(backlog_and_full_queues_refuse),
        TEST(refusals_of_consensus_are_passed_on),
        TEST(has_leader_is_refused_without_one),
        TEST(answers_for_gone_calls_are_dropped),
        TEST(sequences_never_repeat),
        TEST(writes_time_out),
        TEST(waiting_calls_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
