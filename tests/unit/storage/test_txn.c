/* SPDX-License-Identifier: Apache-2.0
 *
 * Transactions: etcd's rules, case by case.
 */
#include "tests/unit/storage/commands.h"

#define EQUAL     ETCDSERVERPB__COMPARE__COMPARE_RESULT__EQUAL
#define GREATER   ETCDSERVERPB__COMPARE__COMPARE_RESULT__GREATER
#define LESS      ETCDSERVERPB__COMPARE__COMPARE_RESULT__LESS
#define NOT_EQUAL ETCDSERVERPB__COMPARE__COMPARE_RESULT__NOT_EQUAL
#define VERSION   ETCDSERVERPB__COMPARE__COMPARE_TARGET__VERSION
#define CREATE    ETCDSERVERPB__COMPARE__COMPARE_TARGET__CREATE
#define MOD       ETCDSERVERPB__COMPARE__COMPARE_TARGET__MOD
#define VALUE     ETCDSERVERPB__COMPARE__COMPARE_TARGET__VALUE
#define LEASE     ETCDSERVERPB__COMPARE__COMPARE_TARGET__LEASE

/* Whether the guard holds, by way of the log and by way of a view, which must agree. */
static bool holds(struct fixture *fixture, Etcdserverpb__Compare *compare)
{
    struct sr_view *view = NULL;
    struct sr_buf body = {0};
    struct sr_err err = {0};
    enum sr_api_error error = SR_API_NONE;
    const Etcdserverpb__TxnRequest *request = when(txn_request(), compare);
    int64_t revision = sr_store_revision(fixture->store);
    assert_int_equal(applied(fixture, txn(when(txn_request(), compare))), revision);
    bool by_log = txn_answer()->succeeded;
    fixture_ok(sr_view_open(fixture->store, &view, &err), &err);
    fixture_ok(sr_view_read_txn(view, request, &body, &error, &err), &err);
    sr_view_close(view);
    const Etcdserverpb__TxnResponse *response =
        answer(&body, &etcdserverpb__txn_response__descriptor);
    assert_int_equal(response->succeeded, by_log);
    sr_buf_close(&body);
    return by_log;
}

static void compares_of_numbers(void **state)
{
    struct fixture *fixture = *state;
    applied(fixture, put_text("other", "v"));
    applied(fixture, put_text("k", "v"));
    applied(fixture, put_text("k", "v")); /* created 3, modified 4, version 2 */
    static const struct {
        int target;
        int64_t actual;
    } cases[] = {{VERSION, 2}, {CREATE, 3}, {MOD, 4}, {LEASE, 0}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int target = cases[i].target;
        for (int64_t number = cases[i].actual - 1; number <= cases[i].actual + 1; number++) {
            int64_t actual = cases[i].actual;
            assert_int_equal(holds(fixture, compare_number("k", target, EQUAL, number)),
                             actual == number);
            assert_int_equal(holds(fixture, compare_number("k", target, NOT_EQUAL, number)),
                             actual != number);
            assert_int_equal(holds(fixture, compare_number("k", target, GREATER, number)),
                             actual > number);
            assert_int_equal(holds(fixture, compare_number("k", target, LESS, number)),
                             actual < number);
        }
    }
}

static void compares_of_values(void **state)
{
    struct fixture *fixture = *state;
    applied(fixture, put_text("k", "bb"));
    static const struct {
        const char *value;
        int order; /* of "bb" to it */
    } cases[] = {{"bb", 0}, {"b", 1}, {"bbb", -1}, {"a", 1}, {"c", -1}, {"", 1}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *value = cases[i].value;
        int order = cases[i].order;
        assert_int_equal(holds(fixture, compare_value("k", EQUAL, value)), order == 0);
        assert_int_equal(holds(fixture, compare_value("k", NOT_EQUAL, value)), order != 0);
        assert_int_equal(holds(fixture, compare_value("k", GREATER, value)), order > 0);
        assert_int_equal(holds(fixture, compare_value("k", LESS, value)), order < 0);
    }
}

static void compares_with_nothing(void **state)
{
    struct fixture *fixture = *state;
    static char too_long[SR_KEY_BYTES_MAX + 2];
    memset(too_long, 'k', SR_KEY_BYTES_MAX + 1);
    const char *const missing[] = {"k", too_long};
    for (size_t i = 0; i < 2; i++) {
        const char *key = missing[i];
        for (int result = EQUAL; result <= NOT_EQUAL; result++) {
            assert_false(holds(fixture, compare_value(key, result, "")));
            assert_false(holds(fixture, compare_value(key, result, "x")));
        }
        assert_true(holds(fixture, compare_number(key, VERSION, EQUAL, 0)));
        assert_true(holds(fixture, compare_number(key, CREATE, LESS, 1)));
        assert_true(holds(fixture, compare_number(key, MOD, GREATER, -1)));
        assert_false(holds(fixture, compare_number(key, LEASE, NOT_EQUAL, 0)));
    }
    /* An interval without keys likewise. */
    applied(fixture, put_text("k", "v"));
    Etcdserverpb__Compare *compare = compare_number("l", MOD, EQUAL, 0);
    compare->range_end = data_of("m");
    assert_true(holds(fixture, compare));
    compare->range_end = data_of("a"); /* ends before it begins */
    assert_true(holds(fixture, compare));
    compare = compare_value("l", NOT_EQUAL, "v");
    compare->range_end = data_of("m");
    assert_false(holds(fixture, compare));
    /* A key that was deleted is missing. */
    applied(fixture, del(delete_request("k", "")));
    assert_true(holds(fixture, compare_number("k", CREATE, EQUAL, 0)));
}

static void compares_of_intervals_hold_for_every_key(void **state)
{
    struct fixture *fixture = *state;
    applied(fixture, put_text("a", "1"));
    applied(fixture, put_text("b", "1"));
    applied(fixture, put_text("c", "2"));
    Etcdserverpb__Compare *compare = compare_value("a", EQUAL, "1");
    compare->range_end = data_of("c");
    assert_true(holds(fixture, compare));
    compare->range_end = data_of("d");
    assert_false(holds(fixture, compare));
    compare = compare_number("a", VERSION, EQUAL, 1);
    compare->range_end = no_end();
    assert_true(holds(fixture, compare));
    compare = compare_number("a", MOD, LESS, 4);
    compare->range_end = no_end();
    assert_false(holds(fixture, compare));
}

static void odd_compares(void **state)
{
    struct fixture *fixture = *state;
    applied(fixture, put_text("k", "v"));
    /* No union, or that of another target: 0 and empty. */
    assert_true(holds(fixture, compare_new("k", "", VERSION, GREATER)));
    assert_false(holds(fixture, compare_new("k", "", VERSION, EQUAL)));
    assert_true(holds(fixture, compare_new("k", "", VALUE, GREATER)));
    Etcdserverpb__Compare *compare = compare_number("k", VERSION, EQUAL, 1);
    assert_true(holds(fixture, compare));
    compare->target = (Etcdserverpb__Compare__CompareTarget)MOD;
    assert_false(holds(fixture, compare));
    /* An unknown result holds; an unknown target compares 0 with 0. */
    compare->result = (Etcdserverpb__Compare__CompareResult)17;
    assert_true(holds(fixture, compare));
    assert_true(holds(fixture, compare_new("k", "", 17, EQUAL)));
    assert_false(holds(fixture, compare_new("k", "", 17, GREATER)));
    assert_false(holds(fixture, compare_new("k", "", 17, NOT_EQUAL)));
}

static void all_compares_must_hold(void **state)
{
    struct fixture *fixture = *state;
    applied(fixture, put_text("k", "v"));
    Etcdserverpb__TxnRequest *request = txn_request();
    when(request, compare_value("k", EQUAL, "v"));
    when(request, compare_number("k", VERSION, EQUAL, 1));
    then(request, op_put(put_request("done", "yes")));
    otherwise(request, op_put(put_request("done", "no")));
    assert_int_equal(applied(fixture, txn(request)), 3);
    assert_true(txn_answer()->succeeded);
    assert_string_equal(pair_of(fixture, "done"), "done=yes 3/3/1");
    when(request, compare_number("missing", VERSION, GREATER, 0));
    assert_int_equal(applied(fixture, txn(request)), 4);
    assert_false(txn_answer()->succeeded);
    assert_string_equal(pair_of(fixture, "done"), "done=no 3/4/2");
}

static int64_t range_revision(const Etcdserverpb__ResponseOp *op)
{
    assert_int_equal(op->response_case, ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_RANGE);
    return op->response_range->header->revision;
}

/* Each operation sees those before it; headers inside say the revision up to there and nothing
 * else; that of a nested transaction is empty. */
static void operations_run_in_order(void **state)
{
    struct fixture *fixture = *state;
    applied(fixture, put_text("b", "old"));
    Etcdserverpb__PutRequest *put_b = put_request("b", "new");
    put_b->prev_kv = true;
    Etcdserverpb__TxnRequest *inner = then(txn_request(), op_range(range_request("a", "z")));
    Etcdserverpb__TxnRequest *request = txn_request();
    then(request, op_range(range_request("b", "")));
    then(request, op_delete(delete_request("zz", ""))); /* nothing yet */
    then(request, op_put(put_b));
    then(request, op_range(range_request("b", "")));
    then(request, op_put(put_request("c", "too")));
    then(request, op_txn(inner));
    then(request, op_delete(delete_request("zz", "")));
    assert_int_equal(applied(fixture, txn(request)), 3);
    const Etcdserverpb__TxnResponse *response = txn_answer();
    assert_null(response->header);
    assert_true(response->succeeded);
    assert_int_equal(response->n_responses, 7);
    assert_int_equal(range_revision(response->responses[0]), 2);
    assert_string_equal(pair_text(response->responses[0]->response_range->kvs[0]), "b=old 2/2/1");
    assert_int_equal(response->responses[1]->response_delete_range->header->revision, 2);
    assert_int_equal(response->responses[2]->response_put->header->revision, 3);
    assert_int_equal(response->responses[2]->response_put->header->cluster_id, 0);
    assert_int_equal(response->responses[2]->response_put->header->raft_term, 0);
    assert_string_equal(pair_text(response->responses[2]->response_put->prev_kv), "b=old 2/2/1");
    assert_int_equal(range_revision(response->responses[3]), 3);
    assert_string_equal(pair_text(response->responses[3]->response_range->kvs[0]), "b=new 2/3/2");
    const Etcdserverpb__TxnResponse *nested = response->responses[5]->response_txn;
    assert_non_null(nested->header);
    assert_int_equal(nested->header->revision, 0);
    assert_true(nested->succeeded);
    assert_int_equal(nested->responses[0]->response_range->count, 2);
    assert_int_equal(response->responses[6]->response_delete_range->header->revision, 3);
    assert_int_equal(response->responses[6]->response_delete_range->deleted, 0);
    assert_string_equal(pair_of(fixture, "c"), "c=too 3/3/1");
}

static void deletes_inside(void **state)
{
    struct fixture *fixture = *state;
    applied(fixture, put_text("a", "1"));
    applied(fixture, put_text("b", "2"));
    Etcdserverpb__DeleteRangeRequest *all = delete_request("a", "z");
    all->prev_kv = true;
    Etcdserverpb__TxnRequest *request = txn_request();
    then(request, op_delete(delete_request("a", "")));
    then(request, op_delete(all));
    then(request, op_delete(all));
    then(request, op_range(range_request("a", "z")));
    assert_int_equal(applied(fixture, txn(request)), 4);
    const Etcdserverpb__TxnResponse *response = txn_answer();
    assert_int_equal(response->responses[0]->response_delete_range->deleted, 1);
    assert_int_equal(response->responses[1]->response_delete_range->deleted, 1);
    assert_string_equal(pair_text(response->responses[1]->response_delete_range->prev_kvs[0]),
                        "b=2 3/3/1");
    assert_int_equal(response->responses[2]->response_delete_range->deleted, 0);
    assert_int_equal(response->responses[3]->response_range->count, 0);
    /* Nothing left: no revision. */
    assert_int_equal(applied(fixture, txn(request)), 4);
    fixture_settle(fixture);
    assert_string_equal(pair_of(fixture, "a"), "none");
}

static void nested_compares_use_the_state_before(void **state)
{
    struct fixture *fixture = *state;
    Etcdserverpb__TxnRequest *inner = txn_request();
    when(inner, compare_number("k", VERSION, EQUAL, 0));
    then(inner, op_put(put_request("saw", "the state before")));
    otherwise(inner, op_put(put_request("saw", "the put")));
    Etcdserverpb__TxnRequest *request = txn_request();
    then(request, op_put(put_request("k", "v")));
    then(request, op_txn(inner));
    assert_int_equal(applied(fixture, txn(request)), 2);
    assert_string_equal(pair_of(fixture, "saw"), "saw=the state before 2/2/1");
    assert_int_equal(applied(fixture, txn(request)), 3);
    assert_string_equal(pair_of(fixture, "saw"), "saw=the put 2/3/2");
}

static void a_failing_operation_undoes_nothing_because_nothing_was_done(void **state)
{
    struct fixture *fixture = *state;
    Etcdserverpb__PutRequest *keep = put_request("missing", "");
    keep->ignore_value = true;
    Etcdserverpb__PutRequest *leased = put_request("l", "v");
    leased->lease = 4;
    Etcdserverpb__RangeRequest *future = range_request("k", "");
    future->revision = 2; /* what the transaction itself will make */
    Etcdserverpb__RequestOp *put_k = op_put(put_request("k", "v"));
    apply_fails(fixture, txn(then(then(txn_request(), put_k), op_put(keep))), SR_API_KEY_NOT_FOUND);
    apply_fails(fixture, txn(then(then(txn_request(), put_k), op_put(leased))),
                SR_API_LEASE_NOT_FOUND);
    apply_fails(fixture, txn(then(then(txn_request(), put_k), op_range(future))),
                SR_API_FUTURE_REVISION);
    /* Puts are checked before ranges, wherever they stand. */
    apply_fails(fixture, txn(then(then(txn_request(), op_range(future)), op_put(keep))),
                SR_API_KEY_NOT_FOUND);
    /* In a put, the key before the lease (a plain put does it the other way round). */
    keep->lease = 4;
    apply_fails(fixture, txn(then(txn_request(), op_put(keep))), SR_API_KEY_NOT_FOUND);
    /* Deep down as well, but not in a branch that is not taken. */
    Etcdserverpb__TxnRequest *inner = then(txn_request(), op_put(keep));
    apply_fails(fixture, txn(then(then(txn_request(), put_k), op_txn(inner))),
                SR_API_KEY_NOT_FOUND);
    when(inner, compare_number("k", VERSION, GREATER, 0));
    assert_int_equal(applied(fixture, txn(then(then(txn_request(), put_k), op_txn(inner)))), 2);
    /* What is wrong in itself is refused here too. */
    apply_fails(fixture, txn(then(then(txn_request(), put_k), put_k)), SR_API_DUPLICATE_KEY);
    apply_fails(fixture, txn(otherwise(txn_request(), op_new())), SR_API_KEY_NOT_FOUND);
}

static void revisions_of_ranges_inside(void **state)
{
    struct fixture *fixture = *state;
    applied(fixture, put_text("k", "1"));
    applied(fixture, put_text("k", "2"));
    Etcdserverpb__RangeRequest *old = range_request("k", "");
    old->revision = 2;
    Etcdserverpb__RangeRequest *before = range_request("k", "");
    before->revision = 3;
    Etcdserverpb__TxnRequest *request = txn_request();
    then(request, op_put(put_request("k", "3")));
    then(request, op_range(old));
    then(request, op_range(before));
    assert_int_equal(applied(fixture, txn(request)), 4);
    const Etcdserverpb__TxnResponse *response = txn_answer();
    assert_int_equal(range_revision(response->responses[1]), 4);
    assert_string_equal(pair_text(response->responses[1]->response_range->kvs[0]), "k=1 2/2/1");
    assert_string_equal(pair_text(response->responses[2]->response_range->kvs[0]), "k=2 2/3/2");
    Etcdserverpb__RangeRequest *negative = range_request("k", "");
    negative->revision = -1;
    assert_int_equal(applied(fixture, txn(then(txn_request(), op_range(negative)))), 4);
    assert_string_equal(pair_text(txn_answer()->responses[0]->response_range->kvs[0]), "k=3 2/4/3");
    applied(fixture, compact(3));
    apply_fails(fixture, txn(then(txn_request(), op_range(old))), SR_API_COMPACTED);
    apply_fails(fixture, txn(then(txn_request(), op_range(negative))), SR_API_COMPACTED);
    assert_int_equal(applied(fixture, txn(then(txn_request(), op_range(before)))), 4);
}

static void reading_transactions_need_no_log(void **state)
{
    struct fixture *fixture = *state;
    applied(fixture, put_text("k", "v"));
    Etcdserverpb__TxnRequest *request = txn_request();
    when(request, compare_value("k", EQUAL, "v"));
    then(request, op_range(range_request("k", "")));
    then(request, op_range(range_request("a", "z")));
    struct sr_view *view = NULL;
    struct sr_buf body = {0};
    struct sr_err err = {0};
    enum sr_api_error error = SR_API_NONE;
    fixture_ok(sr_view_open(fixture->store, &view, &err), &err);
    applied(fixture, put_text("k", "later")); /* the view stays where it is */
    fixture_ok(sr_view_read_txn(view, request, &body, &error, &err), &err);
    const Etcdserverpb__TxnResponse *response =
        answer(&body, &etcdserverpb__txn_response__descriptor);
    assert_true(response->succeeded);
    assert_int_equal(range_revision(response->responses[0]), 2);
    assert_string_equal(pair_text(response->responses[1]->response_range->kvs[0]), "k=v 2/2/1");
    request->success[0]->request_range->revision = 3;
    sr_buf_clear(&body);
    assert_int_equal(sr_view_read_txn(view, request, &body, &error, &err), SR_INVALID);
    assert_int_equal(error, SR_API_FUTURE_REVISION);
    assert_int_equal(body.size, 0);
    sr_view_close(view);
    sr_buf_close(&body);
}

/* Lengths of one, two, three and more bytes around every message. */
static void answers_of_any_size_and_depth_are_well_formed(void **state)
{
    struct fixture *fixture = *state;
    static const size_t sizes[] = {0, 1, 100, 127, 128, 16000, 16384, 70000, 1000000};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        Etcdserverpb__PutRequest *request = put_request("k", "");
        request->value.len = sizes[i];
        request->value.data = commands_alloc(sizes[i] + 1);
        memset(request->value.data, 'v', sizes[i]);
        applied(fixture, put(request));
        Etcdserverpb__TxnRequest *nested = then(txn_request(), op_range(range_request("k", "")));
        for (int level = 0; level < 100; level++) {
            nested = then(txn_request(), op_txn(nested));
        }
        applied(fixture, txn(nested));
        const Etcdserverpb__TxnResponse *response = txn_answer();
        for (int level = 0; level < 100; level++) {
            assert_int_equal(response->n_responses, 1);
            response = response->responses[0]->response_txn;
        }
        assert_int_equal(response->responses[0]->response_range->kvs[0]->value.len, sizes[i]);
    }
}

/* More than an answer may carry. What only reads is refused; what writes has taken effect all the
 * same, on every node, so its answer says that, here and when it is retried. */
static void answers_have_their_limit(void **state)
{
    struct fixture *fixture = *state;
    char key[4] = "k?";
    for (key[1] = 'a'; key[1] < 'a' + 20; key[1]++) {
        Etcdserverpb__PutRequest *large = put_request(key, "");
        large->value.len = 1400 * 1000;
        large->value.data = commands_alloc(large->value.len);
        applied(fixture, put(large));
    }
    Etcdserverpb__TxnRequest *reads = txn_request();
    for (int i = 0; i < 10; i++) { /* 28 MB each */
        then(reads, op_range(range_request("k", "l")));
    }
    struct sr_view *view = NULL;
    struct sr_buf body = {0};
    struct sr_err err = {0};
    enum sr_api_error error = SR_API_NONE;
    fixture_ok(sr_view_open(fixture->store, &view, &err), &err);
    assert_int_equal(sr_view_read_txn(view, reads, &body, &error, &err), SR_INVALID);
    assert_int_equal(error, SR_API_RESPONSE_TOO_LARGE);
    sr_view_close(view);
    apply_fails(fixture, txn(then(txn_request(), op_txn(reads))), SR_API_RESPONSE_TOO_LARGE);

    Etcdserverpb__TxnRequest *writes = then(txn_request(), op_put(put_request("done", "1")));
    then(writes, op_txn(reads));
    then(writes, op_put(put_request("last", "1")));
    for (int retry = 0; retry < 2; retry++) {
        const struct sr_outcome *outcome = apply(fixture, with_id(txn(writes), 1));
        assert_int_equal(outcome->error, SR_API_ANSWER_FORGOTTEN);
        assert_int_equal(outcome->revision, 22);
        assert_int_equal(outcome->body.size, 0);
        assert_string_equal(pair_of(fixture, "last"), "last=1 22/22/1");
    }
    reads->n_success = 9;
    applied(fixture, txn(then(txn_request(), op_txn(reads))));
    assert_true(outcomes.list[0].body.size > (size_t)9 * 20 * 1400 * 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        commands_test(compares_of_numbers),
        commands_test(compares_of_values),
        commands_test(compares_with_nothing),
        commands_test(compares_of_intervals_hold_for_every_key),
        commands_test(odd_compares),
        commands_test(all_compares_must_hold),
        commands_test(operations_run_in_order),
        commands_test(deletes_inside),
        commands_test(nested_compares_use_the_state_before),
        commands_test(a_failing_operation_undoes_nothing_because_nothing_was_done),
        commands_test(revisions_of_ranges_inside),
        commands_test(reading_transactions_need_no_log),
        commands_test(answers_of_any_size_and_depth_are_well_formed),
        commands_test(answers_have_their_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
