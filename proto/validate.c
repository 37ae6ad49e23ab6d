/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/validate.h"

#include "proto/limits.h"
#include "proto/txn_keys.h"

enum sr_api_error sr_validate_range(const Etcdserverpb__RangeRequest *request)
{
    if (request->key.len == 0) {
        return SR_API_KEY_NOT_PROVIDED;
    }
    bool known = request->sort_order >= ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__NONE &&
                 request->sort_order <= ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__DESCEND &&
                 request->sort_target >= ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__KEY &&
                 request->sort_target <= ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__VALUE;
    return known ? SR_API_NONE : SR_API_INVALID_SORT;
}

enum sr_api_error sr_validate_put(const Etcdserverpb__PutRequest *request)
{
    if (request->key.len == 0) {
        return SR_API_KEY_NOT_PROVIDED;
    }
    if (request->ignore_value && request->value.len > 0) {
        return SR_API_VALUE_PROVIDED;
    }
    if (request->ignore_lease && request->lease != 0) {
        return SR_API_LEASE_PROVIDED;
    }
    return request->key.len > SR_KEY_BYTES_MAX ? SR_API_KEY_TOO_LONG : SR_API_NONE;
}

enum sr_api_error sr_validate_delete_range(const Etcdserverpb__DeleteRangeRequest *request)
{
    return request->key.len == 0 ? SR_API_KEY_NOT_PROVIDED : SR_API_NONE;
}

enum sr_api_error sr_validate_compaction(const Etcdserverpb__CompactionRequest *request)
{
    (void)request; /* whether its revision is right depends on the state */
    return SR_API_NONE;
}

enum sr_api_error sr_validate_size(size_t size)
{
    return size > SR_REQUEST_BYTES_MAX ? SR_API_REQUEST_TOO_LARGE : SR_API_NONE;
}

static enum sr_api_error validate_txn(const Etcdserverpb__TxnRequest *request, size_t budget);

static enum sr_api_error validate_op(const Etcdserverpb__RequestOp *op, size_t budget)
{
    switch (op->request_case) {
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE:
        return sr_validate_range(op->request_range);
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT:
        return sr_validate_put(op->request_put);
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE:
        return sr_validate_delete_range(op->request_delete_range);
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN:
        return validate_txn(op->request_txn, budget);
    default:
        return SR_API_KEY_NOT_FOUND;
    }
}

static enum sr_api_error validate_ops(Etcdserverpb__RequestOp *const *ops, size_t count,
                                      size_t budget)
{
    for (size_t i = 0; i < count; i++) {
        enum sr_api_error error = validate_op(ops[i], budget);
        if (error != SR_API_NONE) {
            return error;
        }
    }
    return SR_API_NONE;
}

static size_t max_of(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* Recursion ends with the budget: a transaction that holds another one takes at least 1 of it. */
static enum sr_api_error validate_txn(const Etcdserverpb__TxnRequest *request, size_t budget)
{
    size_t weight = max_of(request->n_compare, max_of(request->n_success, request->n_failure));
    if (weight > budget) {
        return SR_API_TOO_MANY_OPS;
    }
    for (size_t i = 0; i < request->n_compare; i++) {
        if (request->compare[i]->key.len == 0) {
            return SR_API_KEY_NOT_PROVIDED;
        }
    }
    enum sr_api_error error = validate_ops(request->success, request->n_success, budget - weight);
    if (error != SR_API_NONE) {
        return error;
    }
    return validate_ops(request->failure, request->n_failure, budget - weight);
}

enum sr_api_error sr_validate_txn(const Etcdserverpb__TxnRequest *request)
{
    enum sr_api_error error = validate_txn(request, SR_TXN_OPS_MAX);
    if (error != SR_API_NONE) {
        return error;
    }
    bool twice = sr_txn_keys_given_twice(request->success, request->n_success) ||
                 sr_txn_keys_given_twice(request->failure, request->n_failure);
    return twice ? SR_API_DUPLICATE_KEY : SR_API_NONE;
}

static bool all_ranges(Etcdserverpb__RequestOp *const *ops, size_t count, bool serializable)
{
    for (size_t i = 0; i < count; i++) {
        if (ops[i]->request_case != ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE ||
            (serializable && !ops[i]->request_range->serializable)) {
            return false;
        }
    }
    return true;
}

bool sr_txn_is_read_only(const Etcdserverpb__TxnRequest *request)
{
    return all_ranges(request->success, request->n_success, false) &&
           all_ranges(request->failure, request->n_failure, false);
}

bool sr_txn_is_serializable(const Etcdserverpb__TxnRequest *request)
{
    return all_ranges(request->success, request->n_success, true) &&
           all_ranges(request->failure, request->n_failure, true);
}

static bool has_put(Etcdserverpb__RequestOp *const *ops, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (ops[i]->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT ||
            (ops[i]->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN &&
             sr_txn_has_put(ops[i]->request_txn))) {
            return true;
        }
    }
    return false;
}

bool sr_txn_has_put(const Etcdserverpb__TxnRequest *request)
{
    return has_put(request->success, request->n_success) ||
           has_put(request->failure, request->n_failure);
}
