/* SPDX-License-Identifier: Apache-2.0
 *
 * The two threads that own the store's writing side: the storage thread applies committed
 * entries in order, the flush thread makes memtables durable.
 *
 *   consensus loop ──sr_applier_post──► storage thread ──answers──► client loops
 *                                          │ freeze
 *                                          ▼
 *                                       flush thread ──► LMDB
 *
 * Any failure is fatal to the node: on_failure is called once, from the failing thread.
 */
#ifndef SR_NODE_STATE_APPLIER_H
#define SR_NODE_STATE_APPLIER_H

#include "node/state/answer.h"
#include "storage/raftlog.h"
#include "storage/store.h"

struct sr_applier;

struct sr_applier_options {
    struct sr_store *store;
    const struct sr_origins *origins;
    /* Applied moved to sr_store_applied_index: called on the storage thread after each batch of
     * entries. Cheap: it posts to whoever waits. */
    void (*on_applied)(void *arg);
    /* Durable moved to sr_store_durable_index: called on the flush thread. */
    void (*on_durable)(void *arg);
    void (*on_failure)(void *arg, const struct sr_err *err);
    void *arg;
};

struct sr_applier *sr_applier_start(const struct sr_applier_options *options);
/* Apply what is queued, flush everything, stop both threads, free. */
void sr_applier_stop(struct sr_applier *applier);

/* Queue the committed entry @index of @term; its bytes are copied, those of a barrier are not
 * looked at. In index order, from one thread. Bounded by the caller through sr_applier_backlog. */
void sr_applier_post(struct sr_applier *applier, uint64_t index, uint64_t term,
                     enum sr_entry_type type, const uint8_t *data, size_t size);
/* Entries and bytes that wait; any thread. */
void sr_applier_backlog(const struct sr_applier *applier, size_t *ret_entries, size_t *ret_bytes);

/* Whether the last flush found the disk full; any thread. */
bool sr_applier_lacks_space(const struct sr_applier *applier);

#endif
