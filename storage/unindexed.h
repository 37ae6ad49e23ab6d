/* SPDX-License-Identifier: Apache-2.0
 *
 * Changes whose records are in LMDB's log and whose headers are not yet in its index.
 *
 * The log is appended to and costs a flush next to nothing. The index is changed at random places,
 * and a place costs a page of a copy-on-write tree whether one header goes there or twenty. So
 * headers are gathered in memory over several flushes, and drained in key order, a slice with each
 * flush, while the next ones gather:
 *
 *   flushed memtable ──► gathering ──(at its bound)──► draining ──slice by slice──► idx
 *
 * Both are memtables without values, and sources of every view. After a crash they are made anew
 * from the log, from the revision on that the index is known to be complete up to. What a drain had
 * written beyond it is then written a second time, and is the same.
 */
#ifndef SR_STORAGE_UNINDEXED_H
#define SR_STORAGE_UNINDEXED_H

#include <lmdb.h>
#include <stdbool.h>

#include "storage/memtable.h"

struct sr_store;

struct sr_unindexed {
    struct sr_memtable *gathering;        /* headers; the flush thread adds to it */
    struct sr_memtable *draining;         /* older headers; NULL: none */
    size_t gathering_value_bytes;         /* what making it anew has to read */
    const struct sr_memtable_entry *next; /* of draining, not yet in the index */
    size_t drained;                       /* entries of draining before it */
    int64_t indexed;                      /* the index has every event at or below this revision */
    int64_t rebuilt; /* it may have events up to this one, from before a restart */
};

/* Open: gather everything after unindexed->indexed from the log. */
int sr_unindexed_load(struct sr_store *store, MDB_txn *txn, struct sr_err *err);
void sr_unindexed_close(struct sr_unindexed *unindexed);

/* ---- Flush thread ---- */

/* Whether the next memtable must wait until what is being drained is. */
bool sr_unindexed_is_full(const struct sr_store *store);
/* Write a slice of what is being drained to the index; @after, a copy of store->unindexed, is
 * moved on. */
int sr_unindexed_drain(struct sr_store *store, MDB_txn *txn, struct sr_unindexed *after,
                       struct sr_err *err);
/* Entries that the index lacks. */
size_t sr_unindexed_count(const struct sr_unindexed *unindexed);
/* The records of @memtable are committed: gather its headers. */
void sr_unindexed_gather(struct sr_store *store, const struct sr_memtable *memtable);
/* The transaction that moved @after on is committed: let go of what is drained, and begin with
 * what was gathered if there is enough of it, or @hurry. It changes the tables and relies on
 * store->durable: with the mutex held. Returns the table that was let go, for sr_memtable_unref. */
struct sr_memtable *sr_unindexed_turn(struct sr_store *store, const struct sr_unindexed *after,
                                      bool hurry);

#endif
