/* SPDX-License-Identifier: Apache-2.0
 *
 * The bytes of a stream of changes. A chunk is a kind and records to its end, as in an image
 * (storage/image_format.h), whose versions, requests and trailer these are too. Integers are
 * big-endian. Inside storage/ only.
 *
 *   'C' header   magic 8, format u32, compatible u32, incompatible u32, cluster u64;
 *                since u64, until u64, index u64, term u64, compact revision u64,
 *                at point u8, state hash 32
 *   'M' mark     revision u64, time u64: the versions that follow, up to this revision, were there
 *                at this time
 *   'V' versions of every revision after since and up to until: none is missing
 *   'R' requests that were answered meanwhile, at a revision after since and up to until
 *   'T' trailer  requests u64, versions u64, bytes of the chunks before u64
 */
#ifndef SR_STORAGE_CHANGES_FORMAT_H
#define SR_STORAGE_CHANGES_FORMAT_H

#include "storage/changes.h"

#define SR_CHANGES_FORMAT 1

enum sr_changes_kind { SR_CHANGES_HEADER = 'C', SR_CHANGES_MARK = 'M' };

struct sr_changes_header {
    uint64_t cluster_id;
    struct sr_changes_info info;
};
void sr_changes_header_pack(const struct sr_changes_header *header, struct sr_buf *out);
/* The whole chunk. SR_CORRUPT, SR_FORMAT. */
int sr_changes_header_unpack(struct sr_bytes chunk, struct sr_changes_header *ret,
                             struct sr_err *err);

void sr_changes_mark_pack(const struct sr_archive_mark *mark, struct sr_buf *out);
int sr_changes_mark_unpack(struct sr_bytes chunk, struct sr_archive_mark *ret, struct sr_err *err);

#endif
