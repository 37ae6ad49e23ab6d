/* SPDX-License-Identifier: Apache-2.0
 *
 * The newest versions, in memory: an ordered table with one writer and lock-free readers, filled
 * by apply, then frozen and written to LMDB as one transaction.
 *
 * Versions are ordered by key and, within a key, newest first, in a skiplist; a hash table of the
 * distinct keys answers point lookups. Nothing is changed or removed once it is linked, so readers
 * need no locks: they see an entry whole or not at all. Memory comes from an arena of its own that
 * is kept out of core dumps and wiped when the last reference goes.
 */
#ifndef SR_STORAGE_MEMTABLE_H
#define SR_STORAGE_MEMTABLE_H

#include <stdatomic.h>

#include "proto/limits.h"
#include "storage/mvcc.h"

/* What the state machine is at one applied index, apart from its keys. */
struct sr_state {
    uint64_t applied_index;
    uint64_t term; /* of the entry at the applied index; 0: none yet */
    int64_t revision;
    int64_t compact_revision; /* -1: never compacted */
    uint8_t hash[32];
    uint64_t configuration_index; /* of the last configuration entry; 0: none yet */
    uint16_t configuration_size;
    uint8_t configuration[SR_CONFIGURATION_BYTES_MAX];
};

struct sr_remembered; /* storage/requests.h */
struct sr_cluster;    /* storage/cluster_record.h */
struct sr_offsite;    /* storage/offsite_record.h */
struct sr_memtable_index;

struct sr_memtable {
    atomic_uint references;
    struct sr_memtable_index *index;
    atomic_size_t entries;
    atomic_size_t bytes; /* of the arenas */

    /* The request ids to store with this table: apply thread until the freeze, then the flush
     * thread, which hands the list to sr_requests_write and then to sr_requests_release. */
    struct sr_remembered *remembered; /* oldest first */
    struct sr_remembered *remembered_last;
    size_t remembered_bytes; /* counted towards memtable_bytes_max */

    struct sr_state state;      /* set by the freeze */
    struct sr_cluster *cluster; /* likewise: a reference; NULL: there is no record yet */
    struct sr_offsite *offsite; /* likewise */
};

/* One version. Immutable once it can be reached. */
struct sr_memtable_entry {
    struct sr_version version;
    const uint8_t *key;
    const uint8_t *value;
    uint32_t key_size;
    struct sr_memtable_entry *log_next; /* in order of revision and sub; flush thread only */
};

/* @hash_key seeds the hash of key names, so that nobody can choose names that collide. */
struct sr_memtable *sr_memtable_new(const uint8_t hash_key[16]);
void sr_memtable_ref(struct sr_memtable *memtable);
void sr_memtable_unref(struct sr_memtable *memtable); /* any thread; NULL is fine */

/* One writer. Versions come in ascending order of (mod_revision, sub). */
void sr_memtable_add(struct sr_memtable *memtable, struct sr_bytes key, struct sr_bytes value,
                     const struct sr_version *version);
/* The same without the value, which is found elsewhere: sr_memtable_value is not for this entry. */
void sr_memtable_add_header(struct sr_memtable *memtable, struct sr_bytes key,
                            const struct sr_version *version);
/* All of @from, likewise, in one pass: @from is frozen and newer than all that is in @memtable.
 * From then on there is no order of revisions: sr_memtable_log is not for @memtable. */
void sr_memtable_add_headers(struct sr_memtable *memtable, const struct sr_memtable *from);

/* The newest entry of @key at or below @revision, tombstones included; NULL if none. */
const struct sr_memtable_entry *sr_memtable_get(const struct sr_memtable *memtable,
                                                struct sr_bytes key, int64_t revision);
/* The first entry in table order whose key is at or after @key (or, with @above, greater). */
const struct sr_memtable_entry *sr_memtable_seek(const struct sr_memtable *memtable,
                                                 struct sr_bytes key, bool above);
/* The next entry in table order: an older version of the same key, or the next key. */
const struct sr_memtable_entry *sr_memtable_next(const struct sr_memtable_entry *entry);
/* The first entry in order of revision and sub; frozen tables only. Go on with log_next. */
const struct sr_memtable_entry *sr_memtable_log(const struct sr_memtable *memtable);

static inline struct sr_bytes sr_memtable_key(const struct sr_memtable_entry *entry)
{
    return (struct sr_bytes){entry->key, entry->key_size};
}

static inline struct sr_bytes sr_memtable_value(const struct sr_memtable_entry *entry)
{
    return (struct sr_bytes){entry->value, entry->version.value_size};
}

#endif
