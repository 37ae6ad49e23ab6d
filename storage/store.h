/* SPDX-License-Identifier: Apache-2.0
 *
 * The replicated state: a multi-version map of sealed records on LMDB, behind a memtable.
 *
 *   apply(index, batch) ──► active memtable ──freeze──► frozen memtable ──flush──► LMDB
 *                                  ▲                          ▲                      ▲
 *                                  └──────────── view: newest version wins ──────────┘
 *
 * Who calls what: one *apply thread* calls sr_store_apply and sr_store_freeze; one *flush thread*
 * calls sr_store_flush; any thread opens views and reads counters. With one thread doing all of it
 * in turn, as the simulator does, everything works the same. Knows nothing of libuv or raft.
 *
 * Invariants:
 *  1. The same entries in the same order give the same state hash on every node.
 *  2. An entry is applied once: at or below the applied index it is skipped.
 *  3. A view sees whole revisions only, and all revisions up to its own.
 *  4. LMDB holds a state that was whole at one applied index, stored in the same transaction.
 *  5. After SR_IO, SR_CORRUPT or SR_CRYPTO the store is failed: it refuses everything (P7).
 */
#ifndef SR_STORAGE_STORE_H
#define SR_STORAGE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/metrics.h"
#include "proto/api_error.h"
#include "storage/keyring.h"

struct sr_store;

struct sr_store_options {
    const char *dir; /* must exist; data.mdb and lock.mdb go there */
    const struct sr_keyring *keyring;
    uint64_t cluster_id;
    uint64_t member_id;
    bool must_exist;              /* a database without content is a loss, not a beginning */
    size_t map_bytes;             /* LMDB's map; 0: 1 TiB, 16 GiB under AddressSanitizer */
    size_t memtable_entries_max;  /* 0: SR_MEMTABLE_ENTRIES_MAX */
    size_t memtable_bytes_max;    /* 0: SR_MEMTABLE_BYTES_MAX */
    size_t unindexed_entries_max; /* 0: SR_UNINDEXED_ENTRIES_MAX */
    unsigned feature_level;       /* commands of a higher one fail the store; 0: SR_FEATURE_LEVEL */
    uint64_t disk_reserve_bytes;  /* below this much free disk sr_store_has_space is false */
};

/* Open or create. Reads all pages of an existing file and checks them (pages.h, verify.h): about a
 * second for a gigabyte. Reads `meta` and its key-check value before any other table, because a
 * wrong name key would make LMDB's comparator lie. SR_KEY, SR_REFUSED (another cluster's or
 * member's), SR_FORMAT (newer), SR_CORRUPT, SR_IO, SR_NO_SPACE. */
int sr_store_open(const struct sr_store_options *options, struct sr_store **ret,
                  struct sr_err *err);
/* All views must be closed. What was not flushed is in the Raft log. NULL is fine. */
void sr_store_close(struct sr_store *store);

/* ---- apply thread ---- */

/* What became of one command. */
struct sr_outcome {
    uint64_t origin;
    uint64_t sequence;
    enum sr_api_error error;
    int64_t revision;   /* for the response header */
    uint64_t term;      /* of the batch */
    struct sr_buf body; /* the packed response without its header; the receiver takes it over by
                           zeroing it here, otherwise it is freed after the call */
};

struct sr_outcome_sink {
    /* Whether the outcome of this origin's commands is wanted here: if not, no response is built
     * and deliver is not called. */
    bool (*wanted)(void *arg, uint64_t origin);
    void (*deliver)(void *arg, struct sr_outcome *outcome);
    void *arg;
};

/* Apply the log entry @index: a batch (proto/batch.h). Skipped when already applied. Published to
 * readers before it returns; outcomes are delivered after that. SR_FORMAT for a batch of a newer
 * version and any failure of storage are fatal to the node. Never fails because of what a command
 * asks: that is its outcome. */
int sr_store_apply(struct sr_store *store, uint64_t index, const uint8_t *data, size_t size,
                   const struct sr_outcome_sink *sink, struct sr_err *err);
/* An entry without commands (a barrier) of @term: only moves the applied index. */
int sr_store_apply_empty(struct sr_store *store, uint64_t index, uint64_t term, struct sr_err *err);
/* A configuration entry: who votes, in libraft's packing, which is opaque here. It is kept, as an
 * image of the state has to say which configuration held at its point. Copies. SR_FORMAT when it
 * is longer than SR_CONFIGURATION_BYTES_MAX. */
int sr_store_apply_configuration(struct sr_store *store, uint64_t index, uint64_t term,
                                 const uint8_t *data, size_t size, struct sr_err *err);

/* Whether the active memtable is full and cannot be frozen because one is being flushed: the
 * apply thread must wait for the flush thread. */
bool sr_store_is_full(const struct sr_store *store);
/* Freeze the active memtable for the flush thread if it is at a bound, or not empty and @force.
 * True when there is something to flush now. */
bool sr_store_freeze(struct sr_store *store, bool force);

/* ---- flush thread ---- */

/* Write the frozen memtable, the applied index, a slice of what the index lacks and one of pending
 * compaction as one synced LMDB transaction; nothing to do is fine. SR_NO_SPACE may be tried again;
 * anything else fails the store. */
int sr_store_flush(struct sr_store *store, struct sr_err *err);
/* Whether compaction still has work to do: then sr_store_flush should be called again. */
bool sr_store_compaction_pending(const struct sr_store *store);

/* ---- any thread ---- */

uint64_t sr_store_applied_index(const struct sr_store *store); /* visible to new views */
uint64_t sr_store_durable_index(const struct sr_store *store); /* in LMDB: bounds log release */
int64_t sr_store_revision(const struct sr_store *store);
int64_t sr_store_compact_revision(const struct sr_store *store); /* -1: never compacted */
/* Whether there is room for puts. Refreshed by the flush thread; clears by itself. */
bool sr_store_has_space(const struct sr_store *store);
/* SR_OK, or the sticky error, with its text in @err. */
int sr_store_failure(const struct sr_store *store, struct sr_err *err);
/* SHA-256 chain over all events since the cluster began, at @ret_revision: equal on all nodes at
 * the same revision and applied index. */
void sr_store_state_hash(struct sr_store *store, uint8_t ret_hash[32], int64_t *ret_revision,
                         uint64_t *ret_index);

/* The place of the state in the log: what a log that begins after it has to know. */
struct sr_store_point {
    uint64_t index;
    uint64_t term; /* of that entry */
    uint64_t configuration_index;
    int64_t revision;
    int64_t compact_revision;
    struct sr_buf configuration; /* the caller's to close */
    uint8_t state_hash[32];
};
/* As applied, and visible to new views. Index 0: nothing was applied yet. */
void sr_store_point(const struct sr_store *store, struct sr_store_point *ret);

struct sr_store_metrics {
    struct sr_histogram apply_duration;  /* a batch */
    struct sr_histogram flush_duration;  /* a transaction, with its commit */
    struct sr_histogram commit_duration; /* the commit alone */
    struct sr_counter puts;
    struct sr_counter deletes;
    struct sr_counter txns;
    struct sr_counter flushed_entries;
    struct sr_gauge open_views;
    struct sr_gauge memtable_entries; /* active and frozen */
    struct sr_gauge memtable_bytes;
    struct sr_gauge unindexed_entries; /* see unindexed.h */
    struct sr_gauge database_bytes;    /* size of the file */
    struct sr_gauge in_use_bytes;      /* less what is free in it */
    struct sr_gauge keys; /* versions outside the memtables; those of an index that was being
                           written at a crash twice, until it is again */
};
const struct sr_store_metrics *sr_store_metrics(const struct sr_store *store);

#endif
