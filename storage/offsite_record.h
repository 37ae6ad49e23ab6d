/* SPDX-License-Identifier: Apache-2.0
 *
 * The off-site record on its way through the store: packed and immutable, shared by reference
 * between the state in the making, what readers see, a frozen memtable and what is in LMDB. The
 * archive secret goes the same way, in secret memory and under a name of its own:
 *
 *   meta: "offsite" -> box of the packed record; "offsite-secret" -> box of the packed secret.
 *   Both are absent while there is none.
 */
#ifndef SR_STORAGE_OFFSITE_RECORD_H
#define SR_STORAGE_OFFSITE_RECORD_H

#include "proto/command.pb-c.h"
#include "storage/change.h"
#include "storage/offsite.h"

struct sr_offsite_secret;

struct sr_offsite {
    atomic_uint references;
    uint64_t epoch;
    struct sr_offsite_secret *secret; /* a reference */
    size_t size;
    uint8_t packed[];
};

/* One more reference to @offsite, which may be NULL. */
struct sr_offsite *sr_offsite_ref(struct sr_offsite *offsite);
void sr_offsite_unref(struct sr_offsite *offsite); /* NULL is fine */

/* At open: what is in LMDB. */
int sr_offsite_load(struct sr_store *store, MDB_txn *txn, struct sr_err *err);
/* Flush thread: write @offsite, if it is another than LMDB has. NULL is fine. */
int sr_offsite_write(struct sr_store *store, MDB_txn *txn, const struct sr_offsite *offsite,
                     struct sr_err *err);
/* For images: the packed record in @txn appended to @ret_packed, and the packed secret to
 * @ret_secret, which is to be wiped; both stay empty while there is none. */
int sr_offsite_read(struct sr_opener *opener, MDB_txn *txn, struct sr_buf *ret_packed,
                    struct sr_buf *ret_secret, struct sr_err *err);
/* Take over what an image brings; both empty: there is none yet. SR_CORRUPT. */
int sr_offsite_import(struct sr_store *store, struct sr_bytes packed, struct sr_bytes secret,
                      struct sr_err *err);

/* Apply thread: execute @change of the entry in the making; an Init is wiped afterwards. Fails only
 * with the store, or with SR_FORMAT when this node acts at a lower feature level. */
int sr_offsite_apply(struct sr_store *store, struct sr_statehash *hash,
                     const Strongroom__OffsiteChange *change, enum sr_api_error *ret_error,
                     struct sr_err *err);

#endif
