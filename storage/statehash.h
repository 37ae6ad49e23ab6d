/* SPDX-License-Identifier: Apache-2.0
 *
 * The state hash (P5): a chain of SHA-256, one link for each revision, each compaction and
 * each change of the cluster record or the off-site record,
 *
 *   H' = SHA-256(H || revision || events of the revision, in order)
 *
 * over names, values and metadata in the clear. Two nodes that applied the same have the same
 * hash, whatever keys they seal with. One thread at a time.
 */
#ifndef SR_STORAGE_STATEHASH_H
#define SR_STORAGE_STATEHASH_H

#include "storage/mvcc.h"

#define SR_STATE_HASH_BYTES 32

struct sr_statehash;

struct sr_statehash *sr_statehash_new(void);
void sr_statehash_free(struct sr_statehash *hash); /* NULL is fine */

/* Begin a link after @previous. Failures of the library are kept until sr_statehash_end. */
void sr_statehash_begin(struct sr_statehash *hash, const uint8_t previous[SR_STATE_HASH_BYTES],
                        int64_t revision);
void sr_statehash_event(struct sr_statehash *hash, struct sr_bytes key, struct sr_bytes value,
                        const struct sr_version *version);
void sr_statehash_compaction(struct sr_statehash *hash, int64_t compact_revision);
/* @record: the packed one that follows. */
void sr_statehash_cluster(struct sr_statehash *hash, struct sr_bytes record);
/* Likewise, of the off-site record. */
void sr_statehash_offsite(struct sr_statehash *hash, struct sr_bytes record);
/* SR_CRYPTO. */
int sr_statehash_end(struct sr_statehash *hash, uint8_t ret_hash[SR_STATE_HASH_BYTES],
                     struct sr_err *err);

#endif
