/* SPDX-License-Identifier: Apache-2.0
 *
 * A compare of an interval holds when it holds for every live key in it. One of nothing compares
 * with 0, except by value: that never holds. An unknown target compares 0 with 0, an unknown
 * result always holds, as in etcd.
 */
#include "storage/compare.h"

#include "storage/range.h"

static int order_of(int64_t a, int64_t b)
{
    return (a > b) - (a < b);
}

/* What the request compares with; 0 when it says so for another target. */
static int64_t expected_number(const Etcdserverpb__Compare *compare)
{
    switch (compare->target) {
    case ETCDSERVERPB__COMPARE__COMPARE_TARGET__VERSION:
        return compare->target_union_case == ETCDSERVERPB__COMPARE__TARGET_UNION_VERSION
                   ? compare->version
                   : 0;
    case ETCDSERVERPB__COMPARE__COMPARE_TARGET__CREATE:
        return compare->target_union_case == ETCDSERVERPB__COMPARE__TARGET_UNION_CREATE_REVISION
                   ? compare->create_revision
                   : 0;
    case ETCDSERVERPB__COMPARE__COMPARE_TARGET__MOD:
        return compare->target_union_case == ETCDSERVERPB__COMPARE__TARGET_UNION_MOD_REVISION
                   ? compare->mod_revision
                   : 0;
    case ETCDSERVERPB__COMPARE__COMPARE_TARGET__LEASE:
        return compare->target_union_case == ETCDSERVERPB__COMPARE__TARGET_UNION_LEASE
                   ? compare->lease
                   : 0;
    default:
        return 0;
    }
}

static int64_t actual_number(const Etcdserverpb__Compare *compare, const struct sr_version *version)
{
    switch (compare->target) {
    case ETCDSERVERPB__COMPARE__COMPARE_TARGET__VERSION:
        return version->version;
    case ETCDSERVERPB__COMPARE__COMPARE_TARGET__CREATE:
        return version->create_revision;
    case ETCDSERVERPB__COMPARE__COMPARE_TARGET__MOD:
        return version->mod_revision;
    case ETCDSERVERPB__COMPARE__COMPARE_TARGET__LEASE:
        return version->lease;
    default:
        return 0;
    }
}

static bool result_holds(const Etcdserverpb__Compare *compare, int order)
{
    switch (compare->result) {
    case ETCDSERVERPB__COMPARE__COMPARE_RESULT__EQUAL:
        return order == 0;
    case ETCDSERVERPB__COMPARE__COMPARE_RESULT__GREATER:
        return order > 0;
    case ETCDSERVERPB__COMPARE__COMPARE_RESULT__LESS:
        return order < 0;
    case ETCDSERVERPB__COMPARE__COMPARE_RESULT__NOT_EQUAL:
        return order != 0;
    default:
        return true;
    }
}

static bool is_by_value(const Etcdserverpb__Compare *compare)
{
    return compare->target == ETCDSERVERPB__COMPARE__COMPARE_TARGET__VALUE;
}

static int holds_for(const Etcdserverpb__Compare *compare, struct sr_view *view,
                     struct sr_bytes key, const struct sr_version *version, bool *ret_holds,
                     struct sr_err *err)
{
    if (!is_by_value(compare)) {
        *ret_holds = result_holds(
            compare, order_of(actual_number(compare, version), expected_number(compare)));
        return SR_OK;
    }
    struct sr_bytes expected = {NULL, 0};
    if (compare->target_union_case == ETCDSERVERPB__COMPARE__TARGET_UNION_VALUE) {
        expected = sr_bytes_from(compare->value);
    }
    struct sr_buf value = {0};
    int rc = sr_view_value(view, key, version, &value, err);
    if (rc == SR_OK) {
        *ret_holds = result_holds(
            compare, sr_bytes_compare((struct sr_bytes){value.data, value.size}, expected));
    }
    sr_buf_close(&value);
    return rc;
}

static bool holds_for_nothing(const Etcdserverpb__Compare *compare)
{
    return !is_by_value(compare) && result_holds(compare, order_of(0, expected_number(compare)));
}

static int holds_in_interval(const Etcdserverpb__Compare *compare,
                             const struct sr_interval *interval, struct sr_view *view,
                             int64_t revision, bool *ret_holds, struct sr_err *err)
{
    struct sr_scan *scan = NULL;
    bool any = false;
    bool holds = true;
    int rc = sr_scan_open(view, interval, revision, NULL, &scan, err);
    while (rc == SR_OK && holds) {
        struct sr_bytes key;
        struct sr_version version;
        rc = sr_scan_next(scan, &key, &version, err);
        if (rc == SR_OK) {
            any = true;
            rc = holds_for(compare, view, key, &version, &holds, err);
        }
    }
    sr_scan_close(scan);
    if (rc != SR_OK && rc != SR_NOT_FOUND) {
        return rc;
    }
    *ret_holds = any ? holds : holds_for_nothing(compare);
    return SR_OK;
}

static int compare_holds(const Etcdserverpb__Compare *compare, struct sr_view *view,
                         int64_t revision, bool *ret_holds, struct sr_err *err)
{
    struct sr_interval interval = {.begin = sr_bytes_from(compare->key),
                                   .end = sr_bytes_from(compare->range_end)};
    if (interval.end.size > 0 && !sr_interval_is_empty(&interval)) {
        return holds_in_interval(compare, &interval, view, revision, ret_holds, err);
    }
    struct sr_version version;
    int rc = SR_NOT_FOUND;
    if (interval.end.size == 0) {
        rc = sr_range_get(view, interval.begin, revision, &version, err);
    }
    if (rc == SR_NOT_FOUND) {
        *ret_holds = holds_for_nothing(compare);
        return SR_OK;
    }
    return rc == SR_OK ? holds_for(compare, view, interval.begin, &version, ret_holds, err) : rc;
}

int sr_compares_hold(const Etcdserverpb__TxnRequest *txn, struct sr_view *view, int64_t revision,
                     bool *ret_hold, struct sr_err *err)
{
    bool hold = true;
    for (size_t i = 0; i < txn->n_compare && hold; i++) {
        int rc = compare_holds(txn->compare[i], view, revision, &hold, err);
        if (rc != SR_OK) {
            return rc;
        }
    }
    *ret_hold = hold;
    return SR_OK;
}
