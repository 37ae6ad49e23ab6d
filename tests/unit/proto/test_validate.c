/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/cmocka.h"

#include <string.h>

#include "base/alloc.h"
#include "base/check.h"
#include "proto/limits.h"
#include "proto/validate.h"

/* Requests as text, for tests that read like what they test; released all at once. */
static struct sr_arena arena;

static void *piece(size_t size)
{
    void *memory = sr_arena_alloc(&arena, size);
    assert_non_null(memory);
    memset(memory, 0, size);
    return memory;
}

static ProtobufCBinaryData text(const char *characters)
{
    return (ProtobufCBinaryData){strlen(characters), (uint8_t *)(uintptr_t)characters};
}

static ProtobufCBinaryData everything_after(void)
{
    static uint8_t zero;
    return (ProtobufCBinaryData){1, &zero};
}

static ProtobufCBinaryData filler(size_t size)
{
    uint8_t *data = piece(size);
    memset(data, 'x', size);
    return (ProtobufCBinaryData){size, data};
}

static Etcdserverpb__RequestOp *op_new(void)
{
    Etcdserverpb__RequestOp *op = piece(sizeof(*op));
    etcdserverpb__request_op__init(op);
    return op;
}

static Etcdserverpb__RequestOp *put(const char *key)
{
    Etcdserverpb__RequestOp *op = op_new();
    op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
    op->request_put = piece(sizeof(*op->request_put));
    etcdserverpb__put_request__init(op->request_put);
    op->request_put->key = text(key);
    return op;
}

static Etcdserverpb__RequestOp *range(const char *key)
{
    Etcdserverpb__RequestOp *op = op_new();
    op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE;
    op->request_range = piece(sizeof(*op->request_range));
    etcdserverpb__range_request__init(op->request_range);
    op->request_range->key = text(key);
    return op;
}

static Etcdserverpb__RequestOp *del(const char *key, ProtobufCBinaryData end)
{
    Etcdserverpb__RequestOp *op = op_new();
    op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE;
    op->request_delete_range = piece(sizeof(*op->request_delete_range));
    etcdserverpb__delete_range_request__init(op->request_delete_range);
    op->request_delete_range->key = text(key);
    op->request_delete_range->range_end = end;
    return op;
}

#define SINGLE text("")

static Etcdserverpb__RequestOp *nest(const Etcdserverpb__TxnRequest *txn)
{
    Etcdserverpb__RequestOp *op = op_new();
    op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN;
    op->request_txn = (Etcdserverpb__TxnRequest *)(uintptr_t)txn;
    return op;
}

static Etcdserverpb__TxnRequest *txn_new(void)
{
    Etcdserverpb__TxnRequest *txn = piece(sizeof(*txn));
    etcdserverpb__txn_request__init(txn);
    return txn;
}

static void add(Etcdserverpb__RequestOp ***ops, size_t *count, Etcdserverpb__RequestOp *op)
{
    Etcdserverpb__RequestOp **more = piece((*count + 1) * sizeof(*more));
    if (*count > 0) {
        memcpy(more, *ops, *count * sizeof(*more));
    }
    more[*count] = op;
    *ops = more;
    ++*count;
}

static Etcdserverpb__TxnRequest *then(Etcdserverpb__TxnRequest *txn, Etcdserverpb__RequestOp *op)
{
    add(&txn->success, &txn->n_success, op);
    return txn;
}

static Etcdserverpb__TxnRequest *otherwise(Etcdserverpb__TxnRequest *txn,
                                           Etcdserverpb__RequestOp *op)
{
    add(&txn->failure, &txn->n_failure, op);
    return txn;
}

static Etcdserverpb__TxnRequest *both(Etcdserverpb__RequestOp *first,
                                      Etcdserverpb__RequestOp *second)
{
    return then(then(txn_new(), first), second);
}

static Etcdserverpb__TxnRequest *compare(Etcdserverpb__TxnRequest *txn, const char *key,
                                         size_t times)
{
    txn->compare = piece(times * sizeof(*txn->compare));
    txn->n_compare = times;
    for (size_t i = 0; i < times; i++) {
        txn->compare[i] = piece(sizeof(**txn->compare));
        etcdserverpb__compare__init(txn->compare[i]);
        txn->compare[i]->key = text(key);
    }
    return txn;
}

static Etcdserverpb__TxnRequest *many(size_t count)
{
    Etcdserverpb__TxnRequest *txn = txn_new();
    txn->success = piece(count * sizeof(Etcdserverpb__RequestOp *));
    txn->n_success = count;
    for (size_t i = 0; i < count; i++) {
        txn->success[i] = range("k");
    }
    return txn;
}

static int reset(void **state)
{
    (void)state;
    sr_arena_reset(&arena);
    return 0;
}

static void ranges(void **state)
{
    (void)state;
    Etcdserverpb__RangeRequest *request = range("")->request_range;
    request->range_end = everything_after();
    assert_int_equal(sr_validate_range(request), SR_API_KEY_NOT_PROVIDED);
    request->key = filler(SR_KEY_BYTES_MAX + 1);
    assert_int_equal(sr_validate_range(request), SR_API_NONE);
    request->sort_order = (Etcdserverpb__RangeRequest__SortOrder)3;
    assert_int_equal(sr_validate_range(request), SR_API_INVALID_SORT);
    request->sort_order = ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__DESCEND;
    request->sort_target = (Etcdserverpb__RangeRequest__SortTarget)5;
    assert_int_equal(sr_validate_range(request), SR_API_INVALID_SORT);
    request->sort_target = (Etcdserverpb__RangeRequest__SortTarget)-1;
    assert_int_equal(sr_validate_range(request), SR_API_INVALID_SORT);
}

static void put_requests(void **state)
{
    (void)state;
    Etcdserverpb__PutRequest *request = put("")->request_put;
    request->ignore_value = true;
    request->ignore_lease = true;
    request->value = text("v");
    request->lease = 1;
    assert_int_equal(sr_validate_put(request), SR_API_KEY_NOT_PROVIDED);
    request->key = filler(SR_KEY_BYTES_MAX);
    assert_int_equal(sr_validate_put(request), SR_API_VALUE_PROVIDED);
    request->value.len = 0;
    assert_int_equal(sr_validate_put(request), SR_API_LEASE_PROVIDED);
    request->lease = 0;
    assert_int_equal(sr_validate_put(request), SR_API_NONE);
    request->key = filler(SR_KEY_BYTES_MAX + 1);
    assert_int_equal(sr_validate_put(request), SR_API_KEY_TOO_LONG);
}

static void deletes_sizes_and_compactions(void **state)
{
    (void)state;
    assert_int_equal(sr_validate_delete_range(del("", text("z"))->request_delete_range),
                     SR_API_KEY_NOT_PROVIDED);
    assert_int_equal(sr_validate_delete_range(del("z", text("a"))->request_delete_range),
                     SR_API_NONE);
    assert_int_equal(sr_validate_size(SR_REQUEST_BYTES_MAX), SR_API_NONE);
    assert_int_equal(sr_validate_size(SR_REQUEST_BYTES_MAX + 1), SR_API_REQUEST_TOO_LARGE);
    Etcdserverpb__CompactionRequest compaction = ETCDSERVERPB__COMPACTION_REQUEST__INIT;
    compaction.revision = -1;
    assert_int_equal(sr_validate_compaction(&compaction), SR_API_NONE);
}

static void the_budget_of_operations(void **state)
{
    (void)state;
    assert_int_equal(sr_validate_txn(many(SR_TXN_OPS_MAX)), SR_API_NONE);
    assert_int_equal(sr_validate_txn(many(SR_TXN_OPS_MAX + 1)), SR_API_TOO_MANY_OPS);
    assert_int_equal(sr_validate_txn(compare(txn_new(), "k", SR_TXN_OPS_MAX)), SR_API_NONE);
    assert_int_equal(sr_validate_txn(compare(txn_new(), "k", SR_TXN_OPS_MAX + 1)),
                     SR_API_TOO_MANY_OPS);
    /* One operation that holds a transaction takes one off its budget; siblings share nothing. */
    assert_int_equal(sr_validate_txn(then(txn_new(), nest(many(127)))), SR_API_NONE);
    assert_int_equal(sr_validate_txn(then(txn_new(), nest(many(128)))), SR_API_TOO_MANY_OPS);
    assert_int_equal(sr_validate_txn(both(nest(many(126)), nest(many(126)))), SR_API_NONE);
    assert_int_equal(sr_validate_txn(both(nest(many(126)), nest(many(127)))), SR_API_TOO_MANY_OPS);
    /* The widest of the three lists counts. */
    Etcdserverpb__TxnRequest *wide =
        compare(then(otherwise(txn_new(), range("k")), nest(many(100))), "k", 28);
    assert_int_equal(sr_validate_txn(wide), SR_API_NONE);
    wide = compare(then(otherwise(txn_new(), range("k")), nest(many(100))), "k", 29);
    assert_int_equal(sr_validate_txn(wide), SR_API_TOO_MANY_OPS);
}

static void nesting_ends_with_the_budget(void **state)
{
    (void)state;
    Etcdserverpb__TxnRequest *txn = txn_new();
    for (size_t level = 0; level < SR_TXN_OPS_MAX; level++) {
        txn = then(txn_new(), nest(txn));
    }
    assert_int_equal(sr_validate_txn(txn), SR_API_NONE);
    assert_int_equal(sr_validate_txn(then(txn_new(), nest(txn))), SR_API_TOO_MANY_OPS);
}

static void operations_are_checked_one_by_one(void **state)
{
    (void)state;
    assert_int_equal(sr_validate_txn(txn_new()), SR_API_NONE);
    assert_int_equal(sr_validate_txn(compare(txn_new(), "", 1)), SR_API_KEY_NOT_PROVIDED);
    assert_int_equal(sr_validate_txn(then(txn_new(), op_new())), SR_API_KEY_NOT_FOUND);
    assert_int_equal(sr_validate_txn(otherwise(txn_new(), op_new())), SR_API_KEY_NOT_FOUND);
    assert_int_equal(sr_validate_txn(then(txn_new(), range(""))), SR_API_KEY_NOT_PROVIDED);
    assert_int_equal(sr_validate_txn(otherwise(txn_new(), put(""))), SR_API_KEY_NOT_PROVIDED);
    /* Success before failure, in order; what is nested where it stands. */
    assert_int_equal(sr_validate_txn(otherwise(then(txn_new(), op_new()), put(""))),
                     SR_API_KEY_NOT_FOUND);
    Etcdserverpb__TxnRequest *nested = otherwise(txn_new(), op_new());
    assert_int_equal(sr_validate_txn(both(nest(nested), put(""))), SR_API_KEY_NOT_FOUND);
    /* Before keys that are given twice. */
    assert_int_equal(sr_validate_txn(otherwise(both(put("k"), put("k")), op_new())),
                     SR_API_KEY_NOT_FOUND);
}

static int twice(Etcdserverpb__RequestOp *first, Etcdserverpb__RequestOp *second)
{
    Etcdserverpb__TxnRequest *in_success = both(first, second);
    Etcdserverpb__TxnRequest *in_failure = otherwise(otherwise(txn_new(), first), second);
    enum sr_api_error error = sr_validate_txn(in_success);
    assert_int_equal(sr_validate_txn(in_failure), error);
    assert_true(error == SR_API_NONE || error == SR_API_DUPLICATE_KEY);
    return error == SR_API_DUPLICATE_KEY;
}

/* Both orders. */
static int twice_anyhow(Etcdserverpb__RequestOp *first, Etcdserverpb__RequestOp *second)
{
    int answer = twice(first, second);
    assert_int_equal(twice(second, first), answer);
    return answer;
}

static void keys_given_twice_in_one_level(void **state)
{
    (void)state;
    assert_true(twice_anyhow(put("k"), put("k")));
    assert_false(twice_anyhow(put("k"), put("l")));
    assert_false(twice_anyhow(put("k"), range("k")));
    assert_true(twice_anyhow(put("k"), del("k", SINGLE)));
    assert_false(twice_anyhow(put("k"), del("kk", SINGLE)));
    assert_false(twice_anyhow(put("kk"), del("k", SINGLE)));
    assert_true(twice_anyhow(put("k"), del("k", text("l"))));
    assert_true(twice_anyhow(put("kzz"), del("k", text("l"))));
    assert_false(twice_anyhow(put("l"), del("k", text("l"))));
    assert_false(twice_anyhow(put("j"), del("k", text("l"))));
    assert_false(twice_anyhow(put("k"), del("l", text("a")))); /* empty */
    assert_true(twice_anyhow(put("k"), del("a", everything_after())));
    assert_false(twice_anyhow(put("k"), del("l", everything_after())));
    assert_false(twice_anyhow(del("a", text("m")), del("b", everything_after())));
    /* A wide span that began earlier counts, whatever begins later. */
    Etcdserverpb__TxnRequest *txn = both(del("a", text("z")), del("b", text("c")));
    assert_int_equal(sr_validate_txn(then(txn, put("m"))), SR_API_DUPLICATE_KEY);
    /* The other branch is another matter. */
    assert_int_equal(sr_validate_txn(otherwise(then(txn_new(), put("k")), put("k"))), SR_API_NONE);
}

static void keys_given_twice_across_levels(void **state)
{
    (void)state;
    Etcdserverpb__TxnRequest *put_k = then(txn_new(), put("k"));
    Etcdserverpb__TxnRequest *del_k = otherwise(txn_new(), del("a", text("z")));
    assert_true(twice_anyhow(nest(put_k), put("k")));
    assert_true(twice_anyhow(nest(put_k), nest(put_k)));
    assert_true(twice_anyhow(nest(put_k), del("k", SINGLE)));
    assert_true(twice_anyhow(nest(del_k), put("k")));
    assert_true(twice_anyhow(nest(put_k), nest(del_k)));
    assert_true(twice_anyhow(nest(then(txn_new(), nest(put_k))), put("k")));
    assert_false(twice_anyhow(nest(del_k), nest(del_k)));
    assert_false(twice_anyhow(nest(put_k), put("l")));
    /* The branches of one nested transaction exclude each other. */
    Etcdserverpb__TxnRequest *either = otherwise(then(txn_new(), put("k")), put("k"));
    assert_int_equal(sr_validate_txn(then(txn_new(), nest(either))), SR_API_NONE);
    either = otherwise(then(txn_new(), put("k")), del("k", SINGLE));
    assert_int_equal(sr_validate_txn(then(txn_new(), nest(either))), SR_API_NONE);
    assert_true(twice_anyhow(nest(either), put("k")));
    /* Within one of them they do not. */
    Etcdserverpb__TxnRequest *broken = otherwise(txn_new(), nest(both(put("k"), put("k"))));
    assert_int_equal(sr_validate_txn(then(txn_new(), nest(broken))), SR_API_DUPLICATE_KEY);
}

static void kinds_of_transactions(void **state)
{
    (void)state;
    assert_true(sr_txn_is_read_only(txn_new()));
    assert_true(sr_txn_is_serializable(txn_new()));
    Etcdserverpb__TxnRequest *reads = otherwise(then(txn_new(), range("k")), range("k"));
    assert_true(sr_txn_is_read_only(reads));
    assert_false(sr_txn_is_serializable(reads));
    reads->success[0]->request_range->serializable = true;
    assert_false(sr_txn_is_serializable(reads));
    reads->failure[0]->request_range->serializable = true;
    assert_true(sr_txn_is_serializable(reads));
    assert_false(sr_txn_is_read_only(then(txn_new(), nest(reads))));
    assert_false(sr_txn_is_serializable(then(txn_new(), nest(reads))));
    assert_false(sr_txn_is_read_only(otherwise(txn_new(), put("k"))));
    assert_false(sr_txn_has_put(then(txn_new(), nest(reads))));
    assert_false(sr_txn_has_put(then(txn_new(), del("k", SINGLE))));
    assert_true(sr_txn_has_put(otherwise(txn_new(), nest(then(txn_new(), put("k"))))));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(ranges, reset),
        cmocka_unit_test_teardown(put_requests, reset),
        cmocka_unit_test_teardown(deletes_sizes_and_compactions, reset),
        cmocka_unit_test_teardown(the_budget_of_operations, reset),
        cmocka_unit_test_teardown(nesting_ends_with_the_budget, reset),
        cmocka_unit_test_teardown(operations_are_checked_one_by_one, reset),
        cmocka_unit_test_teardown(keys_given_twice_in_one_level, reset),
        cmocka_unit_test_teardown(keys_given_twice_across_levels, reset),
        cmocka_unit_test_teardown(kinds_of_transactions, reset),
    };
    sr_arena_init(&arena, (size_t)64 * 1024 * 1024);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    sr_arena_close(&arena);
    return failed;
}
