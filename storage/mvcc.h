/* SPDX-License-Identifier: Apache-2.0
 *
 * Versions of keys: what range.c, txn.c and apply.c are written on. Inside storage/ only.
 *
 * Every put and delete makes one immutable version (key, revision, sub). The newest one at or
 * below a revision is what a reader at that revision sees; a tombstone means that there is none.
 */
#ifndef SR_STORAGE_MVCC_H
#define SR_STORAGE_MVCC_H

#include "storage/view.h"

struct sr_version {
    int64_t create_revision;
    int64_t mod_revision;
    int64_t version; /* 1 at creation */
    int64_t lease;
    uint32_t sub;        /* place within its revision */
    uint32_t value_size; /* of the plaintext */
    bool tombstone;      /* then create_revision and version are 0 */
};

/* etcd's interval: @end empty: the key @begin alone; @end = "\0": all keys at or after @begin;
 * otherwise begin <= key < end, bytewise. Bounds may be longer than SR_KEY_BYTES_MAX. */
struct sr_interval {
    struct sr_bytes begin;
    struct sr_bytes end;
};
bool sr_interval_contains(const struct sr_interval *interval, struct sr_bytes key);

/* ---- Reading, on the thread that opened the view ---- */

/* The newest version of @key at or below @revision that is not a tombstone; SR_NOT_FOUND
 * without setting @err when there is none. */
int sr_view_get(struct sr_view *view, struct sr_bytes key, int64_t revision,
                struct sr_version *ret_version, struct sr_err *err);
/* Append the value of a version that this view has returned to @value. */
int sr_view_value(struct sr_view *view, struct sr_bytes key, const struct sr_version *version,
                  struct sr_buf *value, struct sr_err *err);

/* Live keys of an interval at a revision, in key order. */
struct sr_scan;
/* Start at the first key of @interval or, when @after is not NULL, at the first one greater than
 * *after (to resume a sliced scan). @interval's bytes must stay valid until sr_scan_close. */
int sr_scan_open(struct sr_view *view, const struct sr_interval *interval, int64_t revision,
                 const struct sr_bytes *after, struct sr_scan **ret, struct sr_err *err);
/* The next live key; its bytes are valid until the next call. SR_NOT_FOUND (without @err) at the
 * end. */
int sr_scan_next(struct sr_scan *scan, struct sr_bytes *ret_key, struct sr_version *ret_version,
                 struct sr_err *err);
void sr_scan_close(struct sr_scan *scan); /* before its view; NULL is fine */

/* ---- Writing, on the apply thread inside sr_store_apply ---- */

/* A view that sees everything applied so far, changes of the revision in the making included.
 * Owned by the store; valid until the current sr_store_apply returns. Use INT64_MAX as revision
 * to read the newest. */
struct sr_view *sr_writer_view(struct sr_store *store);

/* Add a version to the active memtable: invisible to other threads until the revision is
 * published. Key and value are copied. */
void sr_writer_add(struct sr_store *store, struct sr_bytes key, struct sr_bytes value,
                   const struct sr_version *version);

#endif
