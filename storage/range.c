/* SPDX-License-Identifier: Apache-2.0
 *
 * etcd's pipeline for a Range, over a scan that may be cut into slices:
 *
 *   candidates ──count──► filters ──► sort ──► limit ──► pack
 *
 * The count is that of all candidates, whatever follows. Key order costs nothing, so such ranges
 * are packed while they are scanned; the others keep their candidates (range_sort.c) and are
 * packed from there, reading values for those only that are left.
 *
 *   SCAN ──key order──────────────────────► DONE
 *     └────any other order────► FILL ───────►┘
 *
 * When compaction overtakes a range at the latest revision, it begins again at a newer one; its
 * answer is still in our hands, so nobody can tell.
 */
#include "storage/range.h"

#include "base/alloc.h"
#include "base/check.h"
#include "proto/limits.h"
#include "storage/range_sort.h"
#include "storage/wire.h"

#define RESTARTS_MAX 3

enum { RESPONSE_KVS = 2, RESPONSE_MORE = 3, RESPONSE_COUNT = 4 };

enum phase { PHASE_START, PHASE_SCAN, PHASE_FILL, PHASE_DONE };

struct sr_range {
    const Etcdserverpb__RangeRequest *request;
    struct sr_interval interval;
    bool fixed;       /* inside a transaction: the revision was given, and checked */
    size_t bytes_max; /* of kvs */
    enum phase phase;
    unsigned restarts;
    int64_t revision; /* to read at */
    int64_t header_revision;
    int64_t count;                  /* candidates */
    int64_t matched;                /* those that pass the filters */
    struct sr_buf last;             /* the last key scanned, to go on after it */
    struct sr_range_sorter *sorter; /* NULL: key order */
    size_t filled;                  /* of the sorted candidates, packed */
    struct sr_buf kvs;              /* packed so far */
};

struct sr_range *sr_range_new(const Etcdserverpb__RangeRequest *request)
{
    struct sr_range *range = sr_zalloc(sizeof(*range));
    range->request = request;
    range->bytes_max = SR_RESPONSE_BYTES_MAX;
    range->interval.begin = sr_bytes_from(request->key);
    range->interval.end = sr_bytes_from(request->range_end);
    return range;
}

struct sr_range *sr_range_new_at(const Etcdserverpb__RangeRequest *request, int64_t revision,
                                 size_t bytes_max)
{
    struct sr_range *range = sr_range_new(request);
    range->fixed = true;
    range->revision = revision;
    range->bytes_max = bytes_max;
    return range;
}

void sr_range_free(struct sr_range *range)
{
    if (range == NULL) {
        return;
    }
    sr_range_sorter_free(range->sorter);
    sr_buf_close(&range->last);
    sr_buf_close(&range->kvs);
    sr_free(range);
}

int sr_range_get(struct sr_view *view, struct sr_bytes key, int64_t revision,
                 struct sr_version *ret_version, struct sr_err *err)
{
    if (key.size == 0 || key.size > SR_KEY_BYTES_MAX) {
        return SR_NOT_FOUND;
    }
    return sr_view_get(view, key, revision, ret_version, err);
}

static int fail(enum sr_api_error error, enum sr_api_error *ret_error, struct sr_err *err)
{
    *ret_error = error;
    return sr_err_set(err, SR_INVALID, "%s", sr_api_error_text(error));
}

static bool passes(const Etcdserverpb__RangeRequest *request, const struct sr_version *version)
{
    return (request->max_mod_revision == 0 || version->mod_revision <= request->max_mod_revision) &&
           (request->min_mod_revision == 0 || version->mod_revision >= request->min_mod_revision) &&
           (request->max_create_revision == 0 ||
            version->create_revision <= request->max_create_revision) &&
           (request->min_create_revision == 0 ||
            version->create_revision >= request->min_create_revision);
}

/* Fix the revision, and say what is wrong with it. */
static int start(struct sr_range *range, struct sr_view *view, enum sr_api_error *ret_error,
                 struct sr_err *err)
{
    const Etcdserverpb__RangeRequest *request = range->request;
    range->phase = PHASE_SCAN;
    range->sorter = sr_range_sorter_new(request);
    if (range->fixed) {
        return SR_OK;
    }
    range->header_revision = sr_view_revision(view);
    range->revision = request->revision > 0 ? request->revision : range->header_revision;
    if (range->revision > range->header_revision) {
        return fail(SR_API_FUTURE_REVISION, ret_error, err);
    }
    if (range->revision < sr_view_compact_revision(view)) {
        return fail(SR_API_COMPACTED, ret_error, err);
    }
    return SR_OK;
}

static int go_on(struct sr_range *range, struct sr_view *view, enum sr_api_error *ret_error,
                 struct sr_err *err)
{
    if (range->fixed || range->revision >= sr_view_compact_revision(view)) {
        return SR_OK;
    }
    if (range->request->revision > 0 || range->restarts == RESTARTS_MAX) {
        return fail(SR_API_COMPACTED, ret_error, err);
    }
    range->restarts++;
    range->count = range->matched = 0;
    range->filled = 0;
    sr_buf_clear(&range->last);
    sr_buf_clear(&range->kvs);
    sr_range_sorter_free(range->sorter);
    range->sorter = NULL;
    return start(range, view, ret_error, err);
}

static int pack_one(struct sr_range *range, struct sr_view *view, struct sr_bytes key,
                    const struct sr_version *version, enum sr_api_error *ret_error,
                    struct sr_err *err)
{
    bool with_value = !range->request->keys_only;
    if (sr_wire_key_value_size(key, version, with_value) > range->bytes_max - range->kvs.size) {
        return fail(SR_API_RESPONSE_TOO_LARGE, ret_error, err);
    }
    return sr_wire_key_value(&range->kvs, SR_WIRE_BYTES(RESPONSE_KVS), view, key, version,
                             with_value, err);
}

/* One candidate. */
static int take(struct sr_range *range, struct sr_view *view, struct sr_bytes key,
                const struct sr_version *version, enum sr_api_error *ret_error, struct sr_err *err)
{
    const Etcdserverpb__RangeRequest *request = range->request;
    range->count++;
    if (request->count_only || !passes(request, version)) {
        return SR_OK;
    }
    range->matched++;
    if (range->sorter != NULL) {
        int rc = sr_range_sorter_add(range->sorter, view, key, version, err);
        return rc == SR_LIMIT ? fail(SR_API_RESPONSE_TOO_LARGE, ret_error, err) : rc;
    }
    if (request->limit > 0 && range->matched > request->limit) {
        return SR_OK;
    }
    return pack_one(range, view, key, version, ret_error, err);
}

bool sr_interval_is_empty(const struct sr_interval *interval)
{
    bool open_ended = interval->end.size == 1 && interval->end.data[0] == 0;
    return !open_ended && sr_bytes_compare(interval->end, interval->begin) <= 0;
}

static int scan_slice(struct sr_range *range, struct sr_view *view, size_t *keys_left,
                      enum sr_api_error *ret_error, struct sr_err *err)
{
    struct sr_bytes after = {range->last.data, range->last.size};
    struct sr_scan *scan = NULL;
    int rc = sr_scan_open(view, &range->interval, range->revision, after.size > 0 ? &after : NULL,
                          &scan, err);
    while (rc == SR_OK && *keys_left > 0) {
        struct sr_bytes key;
        struct sr_version version;
        rc = sr_scan_next(scan, &key, &version, err);
        if (rc != SR_OK) {
            break;
        }
        rc = take(range, view, key, &version, ret_error, err);
        if (--*keys_left == 0) {
            sr_buf_clear(&range->last);
            sr_buf_append(&range->last, key.data, key.size);
        }
    }
    sr_scan_close(scan);
    if (rc == SR_NOT_FOUND) {
        range->phase = range->sorter != NULL ? PHASE_FILL : PHASE_DONE;
        return SR_OK;
    }
    return rc == SR_OK ? SR_AGAIN : rc;
}

static int scan(struct sr_range *range, struct sr_view *view, size_t *keys_left,
                enum sr_api_error *ret_error, struct sr_err *err)
{
    if (range->interval.end.size > 0 && !sr_interval_is_empty(&range->interval)) {
        return scan_slice(range, view, keys_left, ret_error, err);
    }
    struct sr_version version;
    int rc = SR_NOT_FOUND;
    if (range->interval.end.size == 0) {
        rc = sr_range_get(view, range->interval.begin, range->revision, &version, err);
    }
    if (rc == SR_OK) {
        rc = take(range, view, range->interval.begin, &version, ret_error, err);
    }
    if (rc != SR_OK && rc != SR_NOT_FOUND) {
        return rc;
    }
    range->phase = range->sorter != NULL ? PHASE_FILL : PHASE_DONE;
    return SR_OK;
}

static int fill(struct sr_range *range, struct sr_view *view, size_t *keys_left,
                enum sr_api_error *ret_error, struct sr_err *err)
{
    size_t count = sr_range_sorter_finish(range->sorter);
    for (; range->filled < count; range->filled++) {
        if (*keys_left == 0) {
            return SR_AGAIN;
        }
        (*keys_left)--;
        struct sr_bytes key = sr_range_sorter_key(range->sorter, range->filled);
        struct sr_version version;
        /* This view may be another one than that of the scan: the version is looked up anew. */
        int rc = sr_view_get(view, key, range->revision, &version, err);
        if (rc == SR_NOT_FOUND) {
            return sr_err_set(err, SR_CORRUPT, "range: a key that was scanned is not found");
        }
        if (rc == SR_OK) {
            rc = pack_one(range, view, key, &version, ret_error, err);
        }
        if (rc != SR_OK) {
            return rc;
        }
    }
    range->phase = PHASE_DONE;
    return SR_OK;
}

int sr_range_step(struct sr_range *range, struct sr_view *view, size_t keys_max,
                  enum sr_api_error *ret_error, struct sr_err *err)
{
    sr_check(keys_max > 0 && range->phase != PHASE_DONE);
    size_t keys_left = keys_max;
    int rc = range->phase == PHASE_START ? start(range, view, ret_error, err)
                                         : go_on(range, view, ret_error, err);
    if (rc == SR_OK && range->phase == PHASE_SCAN) {
        rc = scan(range, view, &keys_left, ret_error, err);
    }
    if (rc == SR_OK && range->phase == PHASE_FILL) {
        rc = fill(range, view, &keys_left, ret_error, err);
    }
    return rc;
}

void sr_range_pack(const struct sr_range *range, struct sr_buf *body)
{
    sr_check(range->phase == PHASE_DONE);
    const Etcdserverpb__RangeRequest *request = range->request;
    bool more = !request->count_only && request->limit > 0 && range->matched > request->limit;
    sr_buf_append(body, range->kvs.data, range->kvs.size);
    sr_wire_number(body, SR_WIRE_NUMBER(RESPONSE_MORE), more);
    sr_wire_number(body, SR_WIRE_NUMBER(RESPONSE_COUNT), range->count);
}

int64_t sr_range_header_revision(const struct sr_range *range)
{
    return range->header_revision;
}
