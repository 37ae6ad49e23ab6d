/* SPDX-License-Identifier: Apache-2.0
 *
 * A Range inside a transaction, beside what view.h has for ranges of their own.
 */
#ifndef SR_STORAGE_RANGE_H
#define SR_STORAGE_RANGE_H

#include "storage/mvcc.h"

/* As sr_range_new, at @revision (checked by the caller; INT64_MAX: the newest), not sliced, and
 * with an answer of at most @bytes_max. */
struct sr_range *sr_range_new_at(const Etcdserverpb__RangeRequest *request, int64_t revision,
                                 size_t bytes_max);

/* A key alone, guarded: keys that cannot be stored are not there. */
int sr_range_get(struct sr_view *view, struct sr_bytes key, int64_t revision,
                 struct sr_version *ret_version, struct sr_err *err);

/* Whether no key can be in it, of those that are more than a key alone. */
bool sr_interval_is_empty(const struct sr_interval *interval);

static inline struct sr_bytes sr_bytes_from(ProtobufCBinaryData data)
{
    return (struct sr_bytes){data.data, data.len};
}

#endif
