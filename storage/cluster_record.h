/* SPDX-License-Identifier: Apache-2.0
 *
 * The cluster record on its way through the store: packed and immutable, shared by reference
 * between the state in the making, what readers see, a frozen memtable and what is in LMDB.
 *
 *   meta: "cluster" -> box of the packed record; absent: there is none yet
 */
#ifndef SR_STORAGE_CLUSTER_RECORD_H
#define SR_STORAGE_CLUSTER_RECORD_H

#include "proto/command.pb-c.h"
#include "storage/change.h"
#include "storage/cluster.h"

struct sr_cluster {
    atomic_uint references;
    uint64_t epoch;
    unsigned alarms; /* SR_ALARM_*, for this member */
    size_t size;
    uint8_t packed[];
};

/* One more reference to @cluster, which may be NULL. */
struct sr_cluster *sr_cluster_ref(struct sr_cluster *cluster);
void sr_cluster_unref(struct sr_cluster *cluster); /* NULL is fine */

/* Any thread: a copy as of what readers see, to be released; NULL: there is none. */
struct sr_cluster *sr_cluster_published(struct sr_store *store);

/* At open: what is in LMDB. */
int sr_cluster_load(struct sr_store *store, MDB_txn *txn, struct sr_err *err);
/* Flush thread: write @cluster, if it is another than LMDB has. NULL is fine. */
int sr_cluster_write(struct sr_store *store, MDB_txn *txn, const struct sr_cluster *cluster,
                     struct sr_err *err);
/* The packed record in @txn, empty if there is none, appended to @ret_packed: for images. */
int sr_cluster_read(struct sr_opener *opener, MDB_txn *txn, struct sr_buf *ret_packed,
                    struct sr_err *err);

/* Take over the packed record that an image brings; empty: there is none yet. SR_CORRUPT. */
int sr_cluster_import(struct sr_store *store, struct sr_bytes packed, struct sr_err *err);

/* Apply thread: execute @change of the entry in the making. Fails only with the store, or with
 * SR_FORMAT when this node acts at a lower feature level. */
int sr_cluster_apply(struct sr_store *store, struct sr_statehash *hash,
                     const Strongroom__ClusterChange *change, struct sr_reply *reply,
                     enum sr_api_error *ret_error, struct sr_err *err);
/* Apply thread: what the alarms say to @command: SR_API_NONE, or why it has no effect. */
enum sr_api_error sr_cluster_refuses(const struct sr_store *store,
                                     const Strongroom__Command *command);

#endif
