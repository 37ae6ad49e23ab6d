/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading: a view is the state as of one revision, taken in a moment on any thread. It holds
 * references to the memtables and an LMDB read transaction: keep it for one request or one slice
 * of a long one, since an open view keeps LMDB from reusing pages.
 */
#ifndef SR_STORAGE_VIEW_H
#define SR_STORAGE_VIEW_H

#include "proto/api_error.h"
#include "proto/rpc.pb-c.h"
#include "storage/store.h"

struct sr_view;

/* SR_LIMIT when SR_VIEWS_MAX are open; the store's sticky error. */
int sr_view_open(struct sr_store *store, struct sr_view **ret, struct sr_err *err);
void sr_view_close(struct sr_view *view); /* NULL is fine */
int64_t sr_view_revision(const struct sr_view *view);
int64_t sr_view_compact_revision(const struct sr_view *view);
uint64_t sr_view_applied_index(const struct sr_view *view);

/* A Range that is worked off in slices, each with a view of its own, at one revision: etcd's
 * pipeline (candidates, count, filters, sort, limit) as docs/api.md has it. */
struct sr_range;

/* @request must stay valid until sr_range_free. */
struct sr_range *sr_range_new(const Etcdserverpb__RangeRequest *request);
void sr_range_free(struct sr_range *range); /* NULL is fine */

/* Work on up to @keys_max more keys. SR_OK: finished. SR_AGAIN: call again, with a new view.
 * SR_INVALID: the request failed, *ret_error says how. Anything else: the store failed.
 * The revision is fixed by the first call. */
int sr_range_step(struct sr_range *range, struct sr_view *view, size_t keys_max,
                  enum sr_api_error *ret_error, struct sr_err *err);
/* After SR_OK: append the packed RangeResponse without its header to @body. */
void sr_range_pack(const struct sr_range *range, struct sr_buf *body);
/* After SR_OK: the store's revision when the range began, for the header. */
int64_t sr_range_header_revision(const struct sr_range *range);

/* A transaction that only reads, for the path that needs no consensus: compares, then the ranges
 * of the branch taken. @body gets the packed TxnResponse without its header. Fails as above. */
int sr_view_read_txn(struct sr_view *view, const Etcdserverpb__TxnRequest *request,
                     struct sr_buf *body, enum sr_api_error *ret_error, struct sr_err *err);

#endif
