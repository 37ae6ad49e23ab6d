/* SPDX-License-Identifier: Apache-2.0
 *
 * One writer links, any thread reads: a pointer is stored with release after all it points to is
 * written, and loaded with acquire. All versions of a key share the bytes of its name, so that
 * "the same key" is a comparison of pointers.
 */
#include "storage/memtable.h"

#include <string.h>
#include <sys/mman.h>

#include "base/alloc.h"
#include "base/check.h"
#include "storage/keyhash.h"
#include "storage/memtable_arena.h"

#define HEIGHT_MAX   12 /* a quarter of each level rises to the next: good for 4^12 entries */
#define BUCKETS      ((size_t)262144)
#define BUCKET_BYTES (BUCKETS * sizeof(struct key_slot *))
/* Versions of a key walked one by one before the skiplist is asked. */
#define WALK_MAX 8

struct node {
    struct sr_memtable_entry entry;
    _Atomic(struct node *) next[];
};

/* A distinct key. */
struct key_slot {
    struct key_slot *next; /* in its bucket */
    uint64_t hash;
    _Atomic(struct node *) newest;
};

struct sr_memtable_index {
    struct sr_plain_arena arena;  /* what is walked through: nodes with their names, slots */
    struct sr_plain_arena values; /* apart, so that the former is dense */
    uint8_t hash_key[SR_KEYHASH_KEY_BYTES];
    uint64_t random;
    _Atomic(struct key_slot *) *buckets;
    struct node *log_first;
    struct node *log_last;
    atomic_int height;
    _Atomic(struct node *) head[HEIGHT_MAX];
};

struct sr_memtable *sr_memtable_new(const uint8_t hash_key[16])
{
    struct sr_memtable *memtable = sr_zalloc(sizeof(*memtable));
    struct sr_memtable_index *index = sr_zalloc(sizeof(*index));

    memcpy(index->hash_key, hash_key, sizeof(index->hash_key));
    index->random = sr_keyhash(hash_key, sr_bytes_of("heights")) | 1;
    index->buckets = sr_huge_map(BUCKET_BYTES);
    atomic_store_explicit(&index->height, 1, memory_order_relaxed);
    memtable->index = index;
    atomic_store_explicit(&memtable->references, 1, memory_order_relaxed);
    return memtable;
}

void sr_memtable_ref(struct sr_memtable *memtable)
{
    atomic_fetch_add_explicit(&memtable->references, 1, memory_order_relaxed);
}

void sr_memtable_unref(struct sr_memtable *memtable)
{
    if (memtable == NULL ||
        atomic_fetch_sub_explicit(&memtable->references, 1, memory_order_acq_rel) != 1) {
        return;
    }
    sr_plain_close(&memtable->index->arena);
    sr_plain_close(&memtable->index->values);
    munmap(memtable->index->buckets, BUCKET_BYTES);
    sr_free(memtable->index);
    sr_free(memtable);
}

/* Order of a node and the place (key, revision): by key, then newest first. */
static int node_compare(const struct node *node, struct sr_bytes key, int64_t revision)
{
    int order = sr_bytes_compare(sr_memtable_key(&node->entry), key);

    if (order != 0) {
        return order;
    }
    if (node->entry.version.mod_revision == revision) {
        return 0;
    }
    return node->entry.version.mod_revision > revision ? -1 : 1;
}

/* The first node at or after (key, revision). With @ret_links, also the pointers to change in
 * order to insert there, one a level. */
static struct node *node_seek(struct sr_memtable_index *index, struct sr_bytes key,
                              int64_t revision, _Atomic(struct node *) **ret_links)
{
    int level = atomic_load_explicit(&index->height, memory_order_relaxed) - 1;
    _Atomic(struct node *) *links = index->head;
    struct node *beyond = NULL; /* known to be at or after the place */

    for (;;) {
        struct node *next = atomic_load_explicit(&links[level], memory_order_acquire);
        if (next != NULL && next != beyond && node_compare(next, key, revision) < 0) {
            links = next->next;
            continue;
        }
        beyond = next;
        if (ret_links != NULL) {
            ret_links[level] = &links[level];
        }
        if (level == 0) {
            return next;
        }
        level--;
    }
}

static struct key_slot *slot_find(const struct sr_memtable_index *index, struct sr_bytes key,
                                  uint64_t hash)
{
    struct key_slot *slot =
        atomic_load_explicit(&index->buckets[hash % BUCKETS], memory_order_acquire);

    for (; slot != NULL; slot = slot->next) {
        if (slot->hash != hash) {
            continue;
        }
        struct node *newest = atomic_load_explicit(&slot->newest, memory_order_acquire);
        if (sr_bytes_equal(sr_memtable_key(&newest->entry), key)) {
            return slot;
        }
    }
    return NULL;
}

static int random_height(struct sr_memtable_index *index)
{
    int height = 1;

    index->random ^= index->random << 13;
    index->random ^= index->random >> 7;
    index->random ^= index->random << 17;
    for (uint64_t bits = index->random; height < HEIGHT_MAX && (bits & 3) == 0; bits >>= 2) {
        height++;
    }
    return height;
}

static struct node *node_new(struct sr_memtable_index *index, int height, struct sr_bytes key,
                             const uint8_t *shared_key, struct sr_bytes value)
{
    size_t links = (size_t)height * sizeof(_Atomic(struct node *));
    size_t key_bytes = shared_key == NULL ? key.size : 0;
    struct node *node = sr_plain_alloc(&index->arena, sizeof(*node) + links + key_bytes);
    uint8_t *bytes = (uint8_t *)node + sizeof(*node) + links;

    if (shared_key == NULL && key.size > 0) {
        memcpy(bytes, key.data, key.size);
    }
    if (value.size > 0) {
        uint8_t *copy = sr_plain_alloc(&index->values, value.size);
        memcpy(copy, value.data, value.size);
        node->entry.value = copy;
    }
    node->entry.key = shared_key != NULL ? shared_key : bytes;
    node->entry.key_size = (uint32_t)key.size;
    return node;
}

/* As node_seek, for places in ascending order: from @finger, the links of the last place, on. */
static void finger_seek(const struct sr_memtable_index *index, struct sr_bytes key,
                        int64_t revision, _Atomic(struct node *) *finger[HEIGHT_MAX])
{
    int height = atomic_load_explicit(&index->height, memory_order_relaxed);
    _Atomic(struct node *) *links = NULL;
    int level = 0;

    for (; level + 1 < height; level++) {
        struct node *next = atomic_load_explicit(finger[level + 1], memory_order_relaxed);
        if (next == NULL || node_compare(next, key, revision) >= 0) {
            break;
        }
    }
    for (; level >= 0; level--) {
        if (links != NULL) {
            finger[level] = &links[level];
        }
        for (;;) {
            struct node *next = atomic_load_explicit(finger[level], memory_order_relaxed);
            if (next == NULL || node_compare(next, key, revision) >= 0) {
                break;
            }
            links = next->next;
            finger[level] = &links[level];
        }
    }
}

/* Put @node between what @links point from and to. */
static void node_link(struct sr_memtable_index *index, struct node *node, int height,
                      _Atomic(struct node *) *links[HEIGHT_MAX])
{
    for (int level = 0; level < height; level++) {
        struct node *next = atomic_load_explicit(links[level], memory_order_relaxed);
        atomic_store_explicit(&node->next[level], next, memory_order_relaxed);
        atomic_store_explicit(links[level], node, memory_order_release);
    }
    if (height > atomic_load_explicit(&index->height, memory_order_relaxed)) {
        atomic_store_explicit(&index->height, height, memory_order_release);
    }
}

/* Make @node findable by its key alone. */
static void slot_publish(struct sr_memtable_index *index, struct key_slot *slot, uint64_t hash,
                         struct node *node)
{
    if (slot != NULL) {
        const struct node *newest = atomic_load_explicit(&slot->newest, memory_order_relaxed);
        if (newest->entry.version.mod_revision < node->entry.version.mod_revision) {
            atomic_store_explicit(&slot->newest, node, memory_order_release);
        }
        return;
    }
    slot = sr_plain_alloc(&index->arena, sizeof(*slot));
    slot->hash = hash;
    slot->next = atomic_load_explicit(&index->buckets[hash % BUCKETS], memory_order_relaxed);
    atomic_store_explicit(&slot->newest, node, memory_order_relaxed);
    atomic_store_explicit(&index->buckets[hash % BUCKETS], slot, memory_order_release);
}

static void log_append(struct sr_memtable_index *index, struct node *node)
{
    const struct sr_version *version = &node->entry.version;

    if (index->log_last == NULL) {
        index->log_first = node;
    } else {
        const struct sr_version *last = &index->log_last->entry.version;
        sr_check(last->mod_revision < version->mod_revision ||
                 (last->mod_revision == version->mod_revision && last->sub < version->sub));
        index->log_last->entry.log_next = &node->entry;
    }
    index->log_last = node;
}

static void count(struct sr_memtable *memtable, size_t entries)
{
    const struct sr_memtable_index *index = memtable->index;

    atomic_fetch_add_explicit(&memtable->entries, entries, memory_order_relaxed);
    atomic_store_explicit(&memtable->bytes,
                          sr_plain_bytes(&index->arena) + sr_plain_bytes(&index->values),
                          memory_order_relaxed);
}

static void add(struct sr_memtable *memtable, struct sr_bytes key, struct sr_bytes value,
                const struct sr_version *version)
{
    struct sr_memtable_index *index = memtable->index;
    _Atomic(struct node *) *links[HEIGHT_MAX];
    uint64_t hash = sr_keyhash(index->hash_key, key);
    struct key_slot *slot = slot_find(index, key, hash);
    const struct node *newest =
        slot == NULL ? NULL : atomic_load_explicit(&slot->newest, memory_order_relaxed);
    int height = random_height(index);
    struct node *node;

    /* A revision changes a key once: the index in LMDB depends on it. */
    sr_check(newest == NULL || newest->entry.version.mod_revision < version->mod_revision);
    node = node_new(index, height, key, newest == NULL ? NULL : newest->entry.key, value);
    node->entry.version = *version;

    for (int level = 0; level < HEIGHT_MAX; level++) {
        links[level] = &index->head[level];
    }
    (void)node_seek(index, key, version->mod_revision, links);
    node_link(index, node, height, links);
    slot_publish(index, slot, hash, node);
    log_append(index, node);
    count(memtable, 1);
}

void sr_memtable_add(struct sr_memtable *memtable, struct sr_bytes key, struct sr_bytes value,
                     const struct sr_version *version)
{
    sr_check(value.size == version->value_size);
    add(memtable, key, value, version);
}

void sr_memtable_add_header(struct sr_memtable *memtable, struct sr_bytes key,
                            const struct sr_version *version)
{
    add(memtable, key, (struct sr_bytes){0}, version);
}

void sr_memtable_add_headers(struct sr_memtable *memtable, const struct sr_memtable *from)
{
    struct sr_memtable_index *index = memtable->index;
    _Atomic(struct node *) *finger[HEIGHT_MAX];
    const struct node *next = atomic_load_explicit(&from->index->head[0], memory_order_acquire);
    size_t entries = 0;

    for (int level = 0; level < HEIGHT_MAX; level++) {
        finger[level] = &index->head[level];
    }
    for (; next != NULL; next = atomic_load_explicit(&next->next[0], memory_order_acquire)) {
        struct sr_bytes key = sr_memtable_key(&next->entry);
        uint64_t hash = sr_keyhash(index->hash_key, key);
        struct key_slot *slot = slot_find(index, key, hash);
        int height = random_height(index);
        struct node *node = node_new(
            index, height, key,
            slot == NULL ? NULL
                         : atomic_load_explicit(&slot->newest, memory_order_relaxed)->entry.key,
            (struct sr_bytes){0});
        node->entry.version = next->entry.version;
        finger_seek(index, key, node->entry.version.mod_revision, finger);
        node_link(index, node, height, finger);
        for (int level = 0; level < height; level++) {
            finger[level] = &node->next[level];
        }
        slot_publish(index, slot, hash, node);
        entries++;
    }
    count(memtable, entries);
}

const struct sr_memtable_entry *sr_memtable_get(const struct sr_memtable *memtable,
                                                struct sr_bytes key, int64_t revision)
{
    struct sr_memtable_index *index = memtable->index;
    const struct key_slot *slot = slot_find(index, key, sr_keyhash(index->hash_key, key));
    const struct node *node;

    if (slot == NULL) {
        return NULL;
    }
    node = atomic_load_explicit(&slot->newest, memory_order_acquire);
    for (int steps = 0; node != NULL && steps < WALK_MAX; steps++) {
        if (node->entry.version.mod_revision <= revision) {
            return &node->entry;
        }
        const struct node *next = atomic_load_explicit(&node->next[0], memory_order_acquire);
        if (next == NULL || next->entry.key != node->entry.key) {
            return NULL;
        }
        node = next;
    }
    node = node_seek(index, key, revision, NULL);
    if (node == NULL || !sr_bytes_equal(sr_memtable_key(&node->entry), key)) {
        return NULL;
    }
    return &node->entry;
}

const struct sr_memtable_entry *sr_memtable_seek(const struct sr_memtable *memtable,
                                                 struct sr_bytes key, bool above)
{
    const struct node *node = node_seek(memtable->index, key, above ? INT64_MIN : INT64_MAX, NULL);

    return node == NULL ? NULL : &node->entry;
}

const struct sr_memtable_entry *sr_memtable_next(const struct sr_memtable_entry *entry)
{
    const struct node *node = (const struct node *)(const void *)entry;
    const struct node *next = atomic_load_explicit(&node->next[0], memory_order_acquire);

    return next == NULL ? NULL : &next->entry;
}

const struct sr_memtable_entry *sr_memtable_log(const struct sr_memtable *memtable)
{
    const struct node *node = memtable->index->log_first;

    return node == NULL ? NULL : &node->entry;
}
