/* SPDX-License-Identifier: Apache-2.0
 *
 * The candidates of a Range that does not come out in key order: kept with what they are sorted
 * by, cut to the limit on the way so that "the newest one of a million" takes little memory.
 */
#ifndef SR_STORAGE_RANGE_SORT_H
#define SR_STORAGE_RANGE_SORT_H

#include "storage/mvcc.h"

struct sr_range_sorter;

/* NULL when @request is answered in key order. @request must outlive the sorter. */
struct sr_range_sorter *sr_range_sorter_new(const Etcdserverpb__RangeRequest *request);
void sr_range_sorter_free(struct sr_range_sorter *sorter); /* NULL is fine */

/* Copies. SR_LIMIT (without @err) when they take more than SR_RESPONSE_BYTES_MAX. */
int sr_range_sorter_add(struct sr_range_sorter *sorter, struct sr_view *view, struct sr_bytes key,
                        const struct sr_version *version, struct sr_err *err);
/* Sort and cut to the limit; how many are left. May be called again. */
size_t sr_range_sorter_finish(struct sr_range_sorter *sorter);
struct sr_bytes sr_range_sorter_key(const struct sr_range_sorter *sorter, size_t place);

#endif
