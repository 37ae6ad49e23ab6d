/* SPDX-License-Identifier: Apache-2.0
 *
 *   compares ──path──► check puts ──► check ranges ──► execute
 *
 * The path says for each transaction that is reached, in the order in which they are reached,
 * whether its compares hold. All of it is decided on the state before, nested transactions
 * included. Nothing is executed unless everything on the path can be.
 *
 * All walks recurse along nested transactions, no deeper than the budget of operations.
 */
#include "storage/txn.h"

#include "base/check.h"
#include "proto/limits.h"
#include "proto/validate.h"
#include "storage/compare.h"
#include "storage/wire.h"

enum { OP_RANGE = 1, OP_PUT = 2, OP_DELETE_RANGE = 3, OP_TXN = 4 };
enum { TXN_HEADER = 1, TXN_SUCCEEDED = 2, TXN_RESPONSES = 3 };
enum { RESPONSE_HEADER = 1, HEADER_REVISION = 3 };

struct run {
    struct sr_change *change;
    struct sr_reply *reply;
    struct sr_buf path; /* 1 or 0 for each transaction reached */
    size_t path_offset; /* of the next one, in the walk going on */
};

struct branch {
    Etcdserverpb__RequestOp *const *ops;
    size_t count;
};

static struct branch branch_of(const Etcdserverpb__TxnRequest *txn, bool succeeded)
{
    return succeeded ? (struct branch){txn->success, txn->n_success}
                     : (struct branch){txn->failure, txn->n_failure};
}

static bool path_next(struct run *run)
{
    sr_check(run->path_offset < run->path.size);
    return run->path.data[run->path_offset++] != 0;
}

static int decide(struct run *run, const Etcdserverpb__TxnRequest *txn, struct sr_err *err)
{
    bool hold = false;
    int rc = sr_compares_hold(txn, run->change->view, run->change->read_revision, &hold, err);
    if (rc != SR_OK) {
        return rc;
    }
    sr_buf_append_u8(&run->path, hold);
    struct branch branch = branch_of(txn, hold);
    for (size_t i = 0; rc == SR_OK && i < branch.count; i++) {
        if (branch.ops[i]->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN) {
            rc = decide(run, branch.ops[i]->request_txn, err);
        }
    }
    return rc;
}

static int check_put(struct run *run, const Etcdserverpb__PutRequest *put,
                     enum sr_api_error *ret_error, struct sr_err *err)
{
    if (put->ignore_value || put->ignore_lease) {
        struct sr_version version;
        int rc = sr_range_get(run->change->view, sr_bytes_from(put->key),
                              run->change->read_revision, &version, err);
        if (rc == SR_NOT_FOUND) {
            *ret_error = SR_API_KEY_NOT_FOUND;
            return SR_OK;
        }
        if (rc != SR_OK) {
            return rc;
        }
    }
    if (put->lease != 0) {
        *ret_error = SR_API_LEASE_NOT_FOUND;
    }
    return SR_OK;
}

static void check_range(const struct run *run, const Etcdserverpb__RangeRequest *range,
                        enum sr_api_error *ret_error)
{
    if (range->revision > run->change->base_revision) {
        *ret_error = SR_API_FUTURE_REVISION;
    } else if (range->revision != 0 && range->revision < run->change->compact_revision) {
        *ret_error = SR_API_COMPACTED;
    }
}

/* Check the operations of @kind along the path; all puts come before all ranges, as in etcd. */
static int check_all(struct run *run, const Etcdserverpb__TxnRequest *txn,
                     Etcdserverpb__RequestOp__RequestCase kind, enum sr_api_error *ret_error,
                     struct sr_err *err)
{
    struct branch branch = branch_of(txn, path_next(run));
    for (size_t i = 0; i < branch.count; i++) {
        const Etcdserverpb__RequestOp *op = branch.ops[i];
        int rc = SR_OK;
        if (op->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN) {
            rc = check_all(run, op->request_txn, kind, ret_error, err);
        } else if (op->request_case != kind) {
            continue;
        } else if (kind == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT) {
            rc = check_put(run, op->request_put, ret_error, err);
        } else {
            check_range(run, op->request_range, ret_error);
        }
        if (rc != SR_OK || *ret_error != SR_API_NONE) {
            return rc;
        }
    }
    return SR_OK;
}

/* The header of a nested response has a revision only. */
static size_t begin_response(struct run *run, uint8_t kind)
{
    return sr_reply_open(run->reply) ? sr_wire_begin(&run->reply->buf, SR_WIRE_BYTES(kind)) : 0;
}

static void add_header(struct run *run)
{
    if (sr_reply_open(run->reply)) {
        struct sr_buf *buf = &run->reply->buf;
        size_t header = sr_wire_begin(buf, SR_WIRE_BYTES(RESPONSE_HEADER));
        sr_wire_number(buf, SR_WIRE_NUMBER(HEADER_REVISION), sr_change_revision(run->change));
        sr_wire_end(buf, header);
    }
}

static void end_response(struct run *run, size_t content)
{
    if (sr_reply_fits(run->reply)) {
        sr_wire_end(&run->reply->buf, content);
    }
}

static int execute_range(struct run *run, const Etcdserverpb__RangeRequest *request,
                         struct sr_err *err)
{
    if (!sr_reply_open(run->reply)) {
        return SR_OK;
    }
    int64_t revision = request->revision > 0 ? request->revision : run->change->read_revision;
    enum sr_api_error error = SR_API_NONE;
    const struct sr_buf *buf = &run->reply->buf;
    size_t left = run->reply->limit > buf->size ? run->reply->limit - buf->size : 0;
    struct sr_range *range = sr_range_new_at(request, revision, left);
    int rc = sr_range_step(range, run->change->view, SIZE_MAX, &error, err);
    if (rc == SR_OK) {
        sr_range_pack(range, &run->reply->buf);
    } else if (rc == SR_INVALID) {
        sr_check(error == SR_API_RESPONSE_TOO_LARGE); /* everything else was checked before */
        sr_reply_give_up(run->reply);
        rc = SR_OK;
    }
    sr_range_free(range);
    return rc;
}

/* A put or a delete: its fields come after its header, which tells the revision after it. They
 * are written aside, since whether a delete makes a revision is known only then. */
static int execute_change(struct run *run, const Etcdserverpb__RequestOp *op, struct sr_err *err)
{
    struct sr_reply aside = {.wanted = sr_reply_open(run->reply), .limit = run->reply->limit};
    int rc = op->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT
                 ? sr_change_put(run->change, op->request_put, &aside, err)
                 : sr_change_delete_range(run->change, op->request_delete_range, &aside, err);
    if (aside.too_large) {
        sr_reply_give_up(run->reply);
    }
    if (rc == SR_OK) {
        add_header(run);
    }
    if (rc == SR_OK && sr_reply_open(run->reply)) {
        sr_buf_append(&run->reply->buf, aside.buf.data, aside.buf.size);
    }
    sr_buf_close(&aside.buf);
    return rc;
}

static int execute(struct run *run, const Etcdserverpb__TxnRequest *txn, struct sr_err *err);

static int execute_op(struct run *run, const Etcdserverpb__RequestOp *op, struct sr_err *err)
{
    size_t content = 0;
    int rc = SR_OK;
    switch (op->request_case) {
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE:
        content = begin_response(run, OP_RANGE);
        add_header(run);
        rc = execute_range(run, op->request_range, err);
        break;
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT:
        content = begin_response(run, OP_PUT);
        rc = execute_change(run, op, err);
        break;
    case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE:
        content = begin_response(run, OP_DELETE_RANGE);
        rc = execute_change(run, op, err);
        break;
    default:
        sr_check(op->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN);
        content = begin_response(run, OP_TXN);
        if (sr_reply_open(run->reply)) { /* its header is there, and empty */
            sr_wire_end(&run->reply->buf,
                        sr_wire_begin(&run->reply->buf, SR_WIRE_BYTES(TXN_HEADER)));
        }
        rc = execute(run, op->request_txn, err);
        break;
    }
    if (rc == SR_OK) {
        end_response(run, content);
    }
    return rc;
}

static int execute(struct run *run, const Etcdserverpb__TxnRequest *txn, struct sr_err *err)
{
    bool succeeded = path_next(run);
    struct branch branch = branch_of(txn, succeeded);
    if (sr_reply_open(run->reply)) {
        sr_wire_number(&run->reply->buf, SR_WIRE_NUMBER(TXN_SUCCEEDED), succeeded);
    }
    for (size_t i = 0; i < branch.count; i++) {
        size_t response = begin_response(run, TXN_RESPONSES);
        int rc = execute_op(run, branch.ops[i], err);
        if (rc != SR_OK) {
            return rc;
        }
        end_response(run, response);
    }
    return SR_OK;
}

int sr_txn_execute(struct sr_change *change, const Etcdserverpb__TxnRequest *request,
                   struct sr_reply *reply, enum sr_api_error *ret_error, struct sr_err *err)
{
    struct run run = {.change = change, .reply = reply};
    enum sr_api_error error = SR_API_NONE;
    int rc = decide(&run, request, err);
    if (rc == SR_OK) {
        rc = check_all(&run, request, ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT, &error, err);
    }
    if (rc == SR_OK && error == SR_API_NONE) {
        run.path_offset = 0;
        rc = check_all(&run, request, ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE, &error, err);
    }
    if (rc == SR_OK && error == SR_API_NONE) {
        run.path_offset = 0;
        rc = execute(&run, request, err);
    }
    if (rc == SR_OK) {
        *ret_error = error;
    }
    sr_buf_close(&run.path);
    return rc;
}

int sr_view_read_txn(struct sr_view *view, const Etcdserverpb__TxnRequest *request,
                     struct sr_buf *body, enum sr_api_error *ret_error, struct sr_err *err)
{
    sr_check(sr_txn_is_read_only(request));
    struct sr_change change = {.view = view,
                               .base_revision = sr_view_revision(view),
                               .read_revision = sr_view_revision(view),
                               .compact_revision = sr_view_compact_revision(view)};
    struct sr_reply reply = {.wanted = true, .limit = SR_RESPONSE_BYTES_MAX};
    enum sr_api_error error = SR_API_NONE;
    int rc = sr_txn_execute(&change, request, &reply, &error, err);
    if (rc == SR_OK && !sr_reply_fits(&reply)) {
        error = SR_API_RESPONSE_TOO_LARGE;
    }
    if (rc == SR_OK && error != SR_API_NONE) {
        *ret_error = error;
        rc = sr_err_set(err, SR_INVALID, "%s", sr_api_error_text(error));
    } else if (rc == SR_OK) {
        sr_buf_append(body, reply.buf.data, reply.buf.size);
    }
    sr_buf_close(&reply.buf);
    return rc;
}
