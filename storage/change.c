/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/change.h"

#include "base/alloc.h"
#include "base/check.h"
#include "proto/limits.h"
#include "storage/wire.h"

/* Keys that a delete collects before it writes their tombstones: writing while a scan is open
 * would make it depend on what a scan sees of it. */
#define DELETE_SLICE_KEYS 256

enum { PUT_RESPONSE_PREV_KV = 2, DELETE_RESPONSE_DELETED = 2, DELETE_RESPONSE_PREV_KVS = 3 };

void sr_reply_give_up(struct sr_reply *reply)
{
    reply->too_large = true;
    sr_buf_close(&reply->buf);
}

bool sr_reply_fits(struct sr_reply *reply)
{
    if (sr_reply_open(reply) && reply->buf.size > reply->limit) {
        sr_reply_give_up(reply);
    }
    return sr_reply_open(reply);
}

struct sr_change sr_change_begin(struct sr_store *store, struct sr_statehash *hash)
{
    return (struct sr_change){.store = store,
                              .hash = hash,
                              .view = sr_writer_view(store),
                              .base_revision = store->apply.revision,
                              .read_revision = INT64_MAX,
                              .compact_revision = store->apply.compact_revision};
}

int sr_change_end(struct sr_change *change, struct sr_err *err)
{
    if (change->events == 0) {
        return SR_OK;
    }
    change->store->apply.revision = sr_change_revision(change);
    return sr_statehash_end(change->hash, change->store->apply.hash, err);
}

static void add_event(struct sr_change *change, struct sr_bytes key, struct sr_bytes value,
                      struct sr_version version)
{
    sr_check(change->store != NULL && change->events < UINT32_MAX);
    version.mod_revision = change->base_revision + 1;
    version.sub = change->events;
    version.value_size = (uint32_t)value.size;
    if (change->events == 0) {
        sr_statehash_begin(change->hash, change->store->apply.hash, version.mod_revision);
    }
    if (version.create_revision == 0 && !version.tombstone) {
        version.create_revision = version.mod_revision;
    }
    sr_writer_add(change->store, key, value, &version);
    sr_statehash_event(change->hash, key, value, &version);
    change->events++;
}

/* The pair as it was, as field @tag of the response. */
static int reply_previous(struct sr_change *change, uint8_t tag, struct sr_bytes key,
                          const struct sr_version *version, struct sr_reply *reply,
                          struct sr_err *err)
{
    if (!sr_reply_open(reply)) {
        return SR_OK;
    }
    if (sr_wire_key_value_size(key, version, true) + reply->buf.size > reply->limit) {
        sr_reply_give_up(reply);
        return SR_OK;
    }
    return sr_wire_key_value(&reply->buf, tag, change->view, key, version, true, err);
}

int sr_change_put(struct sr_change *change, const Etcdserverpb__PutRequest *request,
                  struct sr_reply *reply, struct sr_err *err)
{
    struct sr_bytes key = sr_bytes_from(request->key);
    struct sr_bytes value = sr_bytes_from(request->value);
    struct sr_buf kept = {0};
    struct sr_version old = {0};
    int rc = sr_range_get(change->view, key, INT64_MAX, &old, err);
    bool exists = rc == SR_OK;
    if (rc == SR_NOT_FOUND) {
        old = (struct sr_version){0};
        rc = SR_OK;
    }
    if (rc == SR_OK && exists && request->prev_kv) {
        rc = reply_previous(change, SR_WIRE_BYTES(PUT_RESPONSE_PREV_KV), key, &old, reply, err);
    }
    if (rc == SR_OK && exists && request->ignore_value) {
        rc = sr_view_value(change->view, key, &old, &kept, err);
        value = (struct sr_bytes){kept.data, kept.size};
    }
    if (rc == SR_OK) {
        add_event(change, key, value,
                  (struct sr_version){.create_revision = old.create_revision,
                                      .version = old.version + 1,
                                      .lease = request->ignore_lease ? old.lease : request->lease});
        sr_count(&change->store->metrics.puts, 1);
    }
    sr_buf_close(&kept);
    return rc;
}

/* Keys found by a delete, packed one after the other. */
struct slice {
    struct sr_buf keys;
    size_t count;
    struct {
        size_t offset;
        size_t size;
        struct sr_version version;
    } items[DELETE_SLICE_KEYS];
};

static struct sr_bytes slice_key(const struct slice *slice, size_t place)
{
    return (struct sr_bytes){slice->keys.data + slice->items[place].offset,
                             slice->items[place].size};
}

static void slice_add(struct slice *slice, struct sr_bytes key, const struct sr_version *version)
{
    slice->items[slice->count].offset = slice->keys.size;
    slice->items[slice->count].size = key.size;
    slice->items[slice->count].version = *version;
    sr_buf_append(&slice->keys, key.data, key.size);
    slice->count++;
}

/* The live keys of the interval after those of the slice before; fewer than DELETE_SLICE_KEYS:
 * those were the last. */
static int slice_collect(struct slice *slice, struct sr_change *change,
                         const struct sr_interval *interval, struct sr_err *err)
{
    uint8_t last_key[SR_KEY_BYTES_MAX];
    struct sr_bytes after = {last_key, 0};
    if (slice->count > 0) {
        struct sr_bytes last = slice_key(slice, slice->count - 1);
        __builtin_memcpy(last_key, last.data, last.size);
        after.size = last.size;
    }
    slice->count = 0;
    sr_buf_clear(&slice->keys);
    struct sr_scan *scan = NULL;
    int rc =
        sr_scan_open(change->view, interval, INT64_MAX, after.size > 0 ? &after : NULL, &scan, err);
    while (rc == SR_OK && slice->count < DELETE_SLICE_KEYS) {
        struct sr_bytes key;
        struct sr_version version;
        rc = sr_scan_next(scan, &key, &version, err);
        if (rc == SR_OK) {
            slice_add(slice, key, &version);
        }
    }
    sr_scan_close(scan);
    return rc == SR_NOT_FOUND ? SR_OK : rc;
}

static int delete_one(struct sr_change *change, struct sr_bytes key,
                      const struct sr_version *version, bool prev_kv, struct sr_reply *reply,
                      struct sr_err *err)
{
    int rc = prev_kv ? reply_previous(change, SR_WIRE_BYTES(DELETE_RESPONSE_PREV_KVS), key, version,
                                      reply, err)
                     : SR_OK;
    if (rc == SR_OK) {
        add_event(change, key, (struct sr_bytes){NULL, 0}, (struct sr_version){.tombstone = true});
        sr_count(&change->store->metrics.deletes, 1);
    }
    return rc;
}

static int delete_interval(struct sr_change *change, const struct sr_interval *interval,
                           bool prev_kv, struct sr_reply *reply, struct sr_err *err)
{
    struct slice *slice = sr_zalloc(sizeof(*slice));
    int rc = SR_OK;
    do {
        rc = slice_collect(slice, change, interval, err);
        for (size_t i = 0; rc == SR_OK && i < slice->count; i++) {
            rc = delete_one(change, slice_key(slice, i), &slice->items[i].version, prev_kv, reply,
                            err);
        }
    } while (rc == SR_OK && slice->count == DELETE_SLICE_KEYS);
    sr_buf_close(&slice->keys);
    sr_free(slice);
    return rc;
}

int sr_change_delete_range(struct sr_change *change,
                           const Etcdserverpb__DeleteRangeRequest *request, struct sr_reply *reply,
                           struct sr_err *err)
{
    struct sr_interval interval = {.begin = sr_bytes_from(request->key),
                                   .end = sr_bytes_from(request->range_end)};
    uint32_t before = change->events;
    int rc = SR_OK;
    if (interval.end.size == 0) {
        struct sr_version version;
        rc = sr_range_get(change->view, interval.begin, INT64_MAX, &version, err);
        if (rc == SR_OK) {
            rc = delete_one(change, interval.begin, &version, request->prev_kv, reply, err);
        }
        rc = rc == SR_NOT_FOUND ? SR_OK : rc;
    } else if (!sr_interval_is_empty(&interval)) {
        rc = delete_interval(change, &interval, request->prev_kv, reply, err);
    }
    if (rc == SR_OK && sr_reply_open(reply)) {
        sr_wire_number(&reply->buf, SR_WIRE_NUMBER(DELETE_RESPONSE_DELETED),
                       change->events - before);
    }
    return rc;
}
