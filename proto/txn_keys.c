/* SPDX-License-Identifier: Apache-2.0
 *
 * Bottom up: every level collects what it puts (sorted keys) and deletes (spans, sorted by where
 * they begin), checks each nested transaction in order against what is collected so far, then its
 * own puts against everything. The two branches of a nested transaction exclude each other, so
 * they are checked apart and then count as one.
 *
 * Stricter than etcd in two cases, which it lets through: a nested put followed by the delete of a
 * later sibling, and a put beside a delete of everything from a key on (range_end "\0"). So no
 * revision ever has two versions of a key, which storage relies on.
 *
 * Each level costs (operations on it) x (what is below it); the budget of operations bounds the
 * sum along a path by 128 times the size of the request.
 */
#include "proto/txn_keys.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"

/* Keys from @begin up to @end; a single key ends with itself. */
struct span {
    struct sr_bytes begin;
    struct sr_bytes end;
    bool inclusive; /* @end belongs to it */
    bool unbounded; /* there is no end */
};

struct touched {
    struct sr_bytes *puts; /* sorted, each once */
    size_t put_count;
    struct span *dels; /* sorted by begin */
    size_t del_count;
};

static void touched_close(struct touched *touched)
{
    sr_free(touched->puts);
    sr_free(touched->dels);
    *touched = (struct touched){0};
}

static struct sr_bytes bytes_of(ProtobufCBinaryData data)
{
    return (struct sr_bytes){data.data, data.len};
}

static struct span span_of(const Etcdserverpb__DeleteRangeRequest *request)
{
    struct span span = {.begin = bytes_of(request->key), .end = bytes_of(request->range_end)};
    if (span.end.size == 0) {
        span.end = span.begin;
        span.inclusive = true;
    } else if (span.end.size == 1 && span.end.data[0] == 0) {
        span.unbounded = true;
    }
    return span;
}

static bool ends_before(const struct span *a, const struct span *b)
{
    if (a->unbounded || b->unbounded) {
        return !a->unbounded;
    }
    int order = sr_bytes_compare(a->end, b->end);
    return order < 0 || (order == 0 && !a->inclusive && b->inclusive);
}

/* For a key that is not before its begin. */
static bool reaches(const struct span *span, struct sr_bytes key)
{
    if (span->unbounded) {
        return true;
    }
    int order = sr_bytes_compare(key, span->end);
    return order < 0 || (order == 0 && span->inclusive);
}

static bool puts_meet(const struct touched *a, const struct touched *b)
{
    size_t i = 0;
    size_t j = 0;
    while (i < a->put_count && j < b->put_count) {
        int order = sr_bytes_compare(a->puts[i], b->puts[j]);
        if (order == 0) {
            return true;
        }
        i += order < 0;
        j += order > 0;
    }
    return false;
}

static bool puts_are_deleted(const struct touched *puts, const struct touched *dels)
{
    const struct span *furthest = NULL;
    size_t next = 0;
    for (size_t i = 0; i < puts->put_count; i++) {
        struct sr_bytes key = puts->puts[i];
        for (; next < dels->del_count; next++) {
            const struct span *span = &dels->dels[next];
            if (sr_bytes_compare(span->begin, key) > 0) {
                break;
            }
            if (furthest == NULL || ends_before(furthest, span)) {
                furthest = span;
            }
        }
        if (furthest != NULL && reaches(furthest, key)) {
            return true;
        }
    }
    return false;
}

static void merge_puts(struct touched *into, const struct touched *from)
{
    if (from->put_count == 0) {
        return;
    }
    struct sr_bytes *merged = sr_calloc(into->put_count + from->put_count, sizeof(struct sr_bytes));
    size_t count = 0;
    size_t i = 0;
    size_t j = 0;
    while (i < into->put_count || j < from->put_count) {
        int order = i == into->put_count   ? 1
                    : j == from->put_count ? -1
                                           : sr_bytes_compare(into->puts[i], from->puts[j]);
        merged[count++] = order <= 0 ? into->puts[i] : from->puts[j];
        i += order <= 0;
        j += order >= 0;
    }
    sr_free(into->puts);
    into->puts = merged;
    into->put_count = count;
}

static void merge_dels(struct touched *into, const struct touched *from)
{
    if (from->del_count == 0) {
        return;
    }
    struct span *merged = sr_calloc(into->del_count + from->del_count, sizeof(struct span));
    size_t count = 0;
    size_t i = 0;
    size_t j = 0;
    while (i < into->del_count || j < from->del_count) {
        bool first = j == from->del_count ||
                     (i < into->del_count &&
                      sr_bytes_compare(into->dels[i].begin, from->dels[j].begin) <= 0);
        merged[count++] = first ? into->dels[i++] : from->dels[j++];
    }
    sr_free(into->dels);
    into->dels = merged;
    into->del_count = count;
}

static int compare_keys(const void *a, const void *b)
{
    return sr_bytes_compare(*(const struct sr_bytes *)a, *(const struct sr_bytes *)b);
}

static int compare_spans(const void *a, const void *b)
{
    return sr_bytes_compare(((const struct span *)a)->begin, ((const struct span *)b)->begin);
}

/* The puts and deletes that stand directly in @ops; false when a key is put twice. */
static bool collect_own(Etcdserverpb__RequestOp *const *ops, size_t count, struct touched *ret)
{
    ret->puts = sr_calloc(count, sizeof(struct sr_bytes));
    ret->dels = sr_calloc(count, sizeof(struct span));
    for (size_t i = 0; i < count; i++) {
        if (ops[i]->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT) {
            ret->puts[ret->put_count++] = bytes_of(ops[i]->request_put->key);
        } else if (ops[i]->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE) {
            ret->dels[ret->del_count++] = span_of(ops[i]->request_delete_range);
        }
    }
    qsort(ret->puts, ret->put_count, sizeof(struct sr_bytes), compare_keys);
    qsort(ret->dels, ret->del_count, sizeof(struct span), compare_spans);
    for (size_t i = 1; i < ret->put_count; i++) {
        if (compare_keys(&ret->puts[i - 1], &ret->puts[i]) == 0) {
            return false;
        }
    }
    return true;
}

static bool collect(Etcdserverpb__RequestOp *const *ops, size_t count, struct touched *ret);

/* Add a nested transaction to what its level has collected. */
static bool collect_nested(const Etcdserverpb__TxnRequest *txn, struct touched *level)
{
    struct touched success = {0};
    struct touched failure = {0};
    bool fine = collect(txn->success, txn->n_success, &success) &&
                collect(txn->failure, txn->n_failure, &failure);
    if (fine) {
        merge_puts(&success, &failure);
        fine = !puts_meet(level, &success) && !puts_are_deleted(&success, level) &&
               !puts_are_deleted(level, &success) && !puts_are_deleted(level, &failure);
    }
    if (fine) {
        merge_puts(level, &success);
        merge_dels(level, &success);
        merge_dels(level, &failure);
    }
    touched_close(&success);
    touched_close(&failure);
    return fine;
}

/* What a branch puts and deletes; false when it gives a key twice. Recursion is bounded by the
 * budget of operations. @ret is to be closed in both cases. */
static bool collect(Etcdserverpb__RequestOp *const *ops, size_t count, struct touched *ret)
{
    struct touched own = {0};
    bool fine = collect_own(ops, count, &own);
    if (fine) {
        merge_dels(ret, &own); /* before the nested ones, wherever they stand */
    }
    for (size_t i = 0; fine && i < count; i++) {
        if (ops[i]->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN) {
            fine = collect_nested(ops[i]->request_txn, ret);
        }
    }
    if (fine) {
        fine = !puts_meet(ret, &own) && !puts_are_deleted(&own, ret);
        merge_puts(ret, &own);
    }
    touched_close(&own);
    return fine;
}

bool sr_txn_keys_given_twice(Etcdserverpb__RequestOp *const *ops, size_t count)
{
    struct touched all = {0};
    bool fine = collect(ops, count, &all);
    touched_close(&all);
    return !fine;
}
