/* SPDX-License-Identifier: Apache-2.0
 *
 * The inside of a store, and who may touch what:
 *
 *   apply thread   apply, active, writer, cluster, offsite, requests (the memory of request ids)
 *   flush thread   lmdb.session, compaction, unindexed, cluster_durable, offsite_durable
 *   mutex          published, durable, the four tables as pointers, views, failure
 *
 * The apply thread changes `apply` as it works through a batch and calls sr_store_publish at its
 * end; `published` is what new views see. `active` is changed by the apply thread under the
 * mutex, so it reads it without; `frozen` is set by the apply thread and cleared by the flush
 * thread, both under the mutex. Those of `unindexed` are changed by the flush thread, likewise.
 */
#ifndef SR_STORAGE_STORE_INTERNAL_H
#define SR_STORAGE_STORE_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "storage/cluster.h"
#include "storage/lmdb.h"
#include "storage/memtable.h"
#include "storage/mvcc.h"
#include "storage/unindexed.h"

struct sr_requests; /* storage/requests.h */
struct sr_applying; /* apply.c */
struct sr_offsite;  /* storage/offsite_record.h */

/* How far superseded versions have been removed from LMDB. */
struct sr_compaction {
    int64_t target;     /* remove what is superseded at this revision; -1: nothing yet */
    int64_t cursor_rev; /* the next event to look at; above target: done */
    uint32_t cursor_sub;
};

/* While there is one, nothing is removed from LMDB (hold.c). In the object that wants it. */
struct sr_hold {
    struct sr_hold *next;
    uint64_t since_ns;
    bool expired;
};

struct sr_store {
    struct sr_store *self;           /* how those who may only read come to the mutex */
    struct sr_store_options options; /* keyring borrowed; dir is ours */
    char *dir;
    struct sr_lmdb lmdb;
    uint8_t hash_key[16]; /* of memtables */

    /* Apply thread. */
    struct sr_state apply; /* the state in the making */
    struct sr_requests *requests;
    struct sr_cluster *cluster;   /* the record in the making; NULL: there is none yet */
    struct sr_offsite *offsite;   /* likewise */
    struct sr_applying *applying; /* NULL before the first entry */
    struct sr_view *writer;
    uint64_t frozen_index; /* applied index of the last freeze */

    /* Flush thread. */
    struct sr_compaction compaction;
    struct sr_cluster *cluster_durable; /* what LMDB has */
    struct sr_offsite *offsite_durable; /* likewise */
    size_t idx_leaves;                  /* of the index in LMDB, at the last refresh */
    struct sr_opener opener;
    struct sr_buf incoming; /* an image is being staged: how far, for `meta`; empty: none is */

    pthread_mutex_t mutex; /* guards what follows; held for a few instructions only */
    struct sr_state published;
    struct sr_state durable;
    struct sr_cluster *cluster_published;
    struct sr_offsite *offsite_published;
    struct sr_store_check check;
    struct sr_memtable *active;
    struct sr_memtable *frozen; /* NULL: nothing to flush */
    struct sr_unindexed unindexed;
    struct sr_view *idle_views;
    size_t views_open;
    struct sr_hold *holds;
    int64_t keep_after; /* compaction is to leave what is later, ... */
    uint64_t keep_ns;   /* ... as was said at this time */
    bool removing;      /* a transaction of the flush thread removes what is superseded */
    pthread_cond_t removed;
    struct sr_err failure; /* status SR_OK: none */

    atomic_bool failed;
    _Atomic uint64_t cluster_epoch; /* of the published record */
    _Atomic uint64_t offsite_epoch; /* likewise */
    atomic_uint alarms;             /* likewise */
    atomic_bool has_space;
    atomic_bool compaction_pending;
    /* Set before the transaction that removes versions for it commits: a view whose own compact
     * revision is below it may have lost versions, and is taken anew. */
    _Atomic int64_t compacting_to;
    struct sr_store_metrics metrics;
};

/* Apply thread: make everything applied so far visible to new views, as of `apply`, and end the
 * writer view. @index becomes the applied index. */
void sr_store_publish(struct sr_store *store, uint64_t index);

/* Any thread: set the sticky error to @err, if it is the first; returns its status. SR_NO_SPACE,
 * SR_LIMIT and SR_NOT_FOUND are no failures of the store and only returned. */
int sr_store_fail(struct sr_store *store, const struct sr_err *err);

/* ---- implemented in requests.c ---- */

/* Load the memory of request ids from table `request` in the read transaction @txn, at open;
 * creates store->requests. Seals and opens with SR_DOMAIN_REQUEST. */
int sr_requests_load(struct sr_store *store, MDB_txn *txn, struct sr_opener *opener,
                     struct sr_err *err);
/* Flush thread: write @list (oldest first, may be NULL) to table `request` and, if @may_remove,
 * remove what has been forgotten. On failure the transaction is aborted and the call comes again
 * with the same list. */
int sr_requests_write(struct sr_store *store, MDB_txn *txn, struct sr_remembered *list,
                      bool may_remove, struct sr_err *err);
/* Release a list that is durable, or that nobody needs any more. Called once for each list, by
 * the flush thread or at close. NULL is fine. */
void sr_requests_release(struct sr_remembered *list);
/* Remember @from, which a state that is being staged brings: a copy. The first one says where the
 * numbers begin; SR_CORRUPT when it does not follow. */
int sr_requests_import(struct sr_store *store, const struct sr_remembered *from,
                       struct sr_err *err);
void sr_requests_free(struct sr_requests *requests); /* at close; NULL is fine */

/* ---- implemented in apply.c ---- */

void sr_applying_free(struct sr_applying *applying); /* at close; NULL is fine */

/* ---- inside the core ---- */

/* state.c: sr_state and sr_compaction as value "state" of `meta`. */
#define SR_STATE_BYTES (102 + SR_CONFIGURATION_BYTES_MAX)
void sr_state_init(struct sr_state *state, struct sr_compaction *compaction);
void sr_state_pack(uint8_t out[SR_STATE_BYTES], const struct sr_state *state,
                   const struct sr_compaction *compaction, int64_t indexed);
int sr_state_unpack(const uint8_t in[SR_STATE_BYTES], struct sr_state *ret_state,
                    struct sr_compaction *ret_compaction, int64_t *ret_indexed, struct sr_err *err);

/* view.c */
enum {
    SR_ACTIVE,
    SR_FROZEN,
    SR_TABLES_WITH_VALUES,
    SR_GATHERING = SR_TABLES_WITH_VALUES,
    SR_DRAINING,
    SR_TABLES
};

struct sr_view {
    struct sr_store *store;
    struct sr_view *next_idle;
    struct sr_memtable *tables[SR_TABLES]; /* the newest first; NULL: there is none */
    struct sr_state state;
    int64_t visible; /* versions above are not for this view */
    MDB_txn *txn;    /* reset while the view is closed */
    MDB_cursor *idx;
    MDB_cursor *log;
    int broken; /* not SR_OK: there is no snapshot; err says why, and reads return it */
    struct sr_opener opener;
    struct sr_buf scratch;
    struct sr_err err;
};

/* A closed view with an LMDB transaction of its own; SR_LIMIT. */
int sr_view_new(struct sr_store *store, struct sr_view **ret, struct sr_err *err);
void sr_view_free(struct sr_view *view); /* closes it; NULL is fine */
/* Take the state as it is now; the writer's sees what is not yet published. */
int sr_view_begin(struct sr_view *view, bool writer, struct sr_err *err);
void sr_view_end(struct sr_view *view);
/* There always is an active table to look at. */
static inline bool sr_view_is_open(const struct sr_view *view)
{
    return view->tables[SR_ACTIVE] != NULL;
}
/* As sr_view_get, but tombstones are found too. */
int sr_view_get_any(struct sr_view *view, struct sr_bytes key, int64_t revision,
                    struct sr_version *ret_version, struct sr_err *err);
/* view->err holds a failure: pass it on, and to the store. */
int sr_view_failed(struct sr_view *view, struct sr_err *err);

/* hold.c: any thread. Waits for a transaction that removes. SR_LIMIT. */
int sr_hold_begin(struct sr_store *store, struct sr_hold *hold, struct sr_err *err);
void sr_hold_end(struct sr_store *store, struct sr_hold *hold);
/* Whether something may have been removed although @hold was there. Ask with a view open. */
bool sr_hold_is_expired(struct sr_store *store, const struct sr_hold *hold);
/* Flush thread: whether anything is held. Lets those expire that are over a bound. */
bool sr_hold_is_any(struct sr_store *store);
/* Flush thread, around a transaction: whether it may remove. */
bool sr_hold_remove_begin(struct sr_store *store);
void sr_hold_remove_end(struct sr_store *store);
/* Flush thread: up to which event a compaction to @target may go: @target, or less while what is
 * later is kept. */
int64_t sr_hold_limit(struct sr_store *store, int64_t target);

/* flush.c: bring the index up to date, at open. */
int sr_store_index_rest(struct sr_store *store, struct sr_err *err);
/* Refresh has_space and the gauges of the database. */
void sr_store_refresh(struct sr_store *store);

/* compaction.c */
bool sr_compaction_is_pending(const struct sr_compaction *compaction);
/* Whether there is work to do up to @limit, the target or less. */
bool sr_compaction_has_work(const struct sr_compaction *compaction, int64_t limit);
/* Aim at @target, if that is further than before. */
void sr_compaction_aim(struct sr_compaction *compaction, int64_t target);
/* Work through at most @events_max events up to @limit, the target or less; @compaction is moved
 * on. */
int sr_compaction_slice(struct sr_store *store, MDB_txn *txn, struct sr_compaction *compaction,
                        int64_t limit, size_t events_max, struct sr_err *err);

#endif
