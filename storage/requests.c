/* SPDX-License-Identifier: Apache-2.0
 *
 * The memory is a ring of the last numbers, and a hash table (open addressing, half full at most)
 * from names to places in the ring. Its hash is seeded: nobody can choose names that collide.
 */
#include "storage/requests.h"

#include <openssl/evp.h>
#include <string.h>

#include "base/alloc.h"
#include "base/check.h"
#include "proto/limits.h"
#include "storage/request_record.h"

#define RING_SIZE  ((size_t)SR_REMEMBERED_REQUESTS_MAX)
#define TABLE_SIZE (RING_SIZE * 2)
#define TABLE_MASK (TABLE_SIZE - 1)

_Static_assert((RING_SIZE & (RING_SIZE - 1)) == 0, "places are found by masking");

struct place {
    struct sr_request_name name;
    struct sr_remembered *fresh; /* NULL: the answer is in LMDB */
};

struct sr_requests {
    uint64_t seed[2];
    uint64_t first;       /* oldest number that is remembered */
    uint64_t next;        /* number of the next one; equal to first when nothing is remembered */
    uint64_t first_fresh; /* places before it have no fresh answer */
    struct place *ring;   /* number modulo RING_SIZE */
    uint32_t *table;      /* place + 1; 0 is empty */
};

static struct sr_requests *requests_new(const uint8_t seed[16])
{
    struct sr_requests *requests = sr_zalloc(sizeof(*requests));
    memcpy(requests->seed, seed, sizeof(requests->seed));
    requests->ring = sr_calloc(RING_SIZE, sizeof(struct place));
    requests->table = sr_calloc(TABLE_SIZE, sizeof(uint32_t));
    return requests;
}

static void unref(struct sr_remembered *item)
{
    if (item != NULL &&
        atomic_fetch_sub_explicit(&item->references, 1, memory_order_acq_rel) == 1) {
        sr_free(item);
    }
}

void sr_requests_free(struct sr_requests *requests)
{
    if (requests == NULL) {
        return;
    }
    for (uint64_t number = requests->first_fresh; number < requests->next; number++) {
        unref(requests->ring[number % RING_SIZE].fresh);
    }
    sr_free(requests->ring);
    sr_free(requests->table);
    sr_free(requests);
}

static size_t slot_of(const struct sr_requests *requests, const struct sr_request_name *name)
{
    uint64_t words[2];
    memcpy(words, name->bytes, sizeof(words));
    uint64_t mixed = (words[0] ^ requests->seed[0]) * (words[1] | 1);
    mixed ^= mixed >> 32;
    mixed = (mixed ^ requests->seed[1]) * (words[0] | 1);
    return (size_t)(mixed >> 40) & TABLE_MASK;
}

/* The slot that holds @name, or the empty one where it belongs. */
static size_t find_slot(const struct sr_requests *requests, const struct sr_request_name *name)
{
    size_t slot = slot_of(requests, name);
    while (requests->table[slot] != 0) {
        const struct place *place = &requests->ring[requests->table[slot] - 1];
        if (memcmp(&place->name, name, sizeof(*name)) == 0) {
            break;
        }
        slot = (slot + 1) & TABLE_MASK;
    }
    return slot;
}

/* Empty @slot, and close the gap for those that had to go further because of it. */
static void empty_slot(struct sr_requests *requests, size_t slot)
{
    size_t gap = slot;
    for (size_t at = (gap + 1) & TABLE_MASK; requests->table[at] != 0; at = (at + 1) & TABLE_MASK) {
        size_t home = slot_of(requests, &requests->ring[requests->table[at] - 1].name);
        if (((at - home) & TABLE_MASK) >= ((at - gap) & TABLE_MASK)) {
            requests->table[gap] = requests->table[at];
            gap = at;
        }
    }
    requests->table[gap] = 0;
}

static void forget_oldest(struct sr_requests *requests)
{
    struct place *place = &requests->ring[requests->first % RING_SIZE];
    empty_slot(requests, find_slot(requests, &place->name));
    unref(place->fresh);
    place->fresh = NULL;
    requests->first++;
    if (requests->first_fresh < requests->first) {
        requests->first_fresh = requests->first;
    }
}

static void add(struct sr_requests *requests, const struct sr_request_name *name,
                struct sr_remembered *fresh)
{
    if (requests->next - requests->first == RING_SIZE) {
        forget_oldest(requests);
    }
    size_t place = requests->next % RING_SIZE;
    size_t slot = find_slot(requests, name);
    sr_check(requests->table[slot] == 0); /* found before, or written once */
    requests->ring[place] = (struct place){.name = *name, .fresh = fresh};
    requests->table[slot] = (uint32_t)place + 1;
    requests->next++;
}

/* Let go of answers that have reached the disk in the meantime. */
static void drop_durable(struct sr_requests *requests)
{
    for (; requests->first_fresh < requests->next; requests->first_fresh++) {
        struct place *place = &requests->ring[requests->first_fresh % RING_SIZE];
        if (place->fresh == NULL) {
            continue;
        }
        if (!atomic_load_explicit(&place->fresh->durable, memory_order_acquire)) {
            return;
        }
        unref(place->fresh);
        place->fresh = NULL;
    }
}

int sr_request_name(const Strongroom__Command *command, struct sr_request_name *ret,
                    struct sr_err *err)
{
    size_t actor_size = strnlen(command->actor, SR_ACTOR_BYTES_MAX);
    uint8_t text[4 + SR_REQUEST_ID_BYTES + SR_ACTOR_BYTES_MAX];
    sr_check(command->request_id.len == SR_REQUEST_ID_BYTES);
    sr_put_u32(text, (uint32_t)command->operation_case);
    memcpy(text + 4, command->request_id.data, SR_REQUEST_ID_BYTES);
    memcpy(text + 4 + SR_REQUEST_ID_BYTES, command->actor, actor_size);
    uint8_t digest[EVP_MAX_MD_SIZE];
    if (EVP_Digest(text, 4 + SR_REQUEST_ID_BYTES + actor_size, digest, NULL, EVP_sha256(), NULL) !=
        1) {
        return sr_err_set(err, SR_CRYPTO, "request id: SHA-256 failed");
    }
    memcpy(ret->bytes, digest, sizeof(ret->bytes));
    return SR_OK;
}

static void answer_from(const struct sr_remembered *item, struct sr_outcome *ret)
{
    ret->error = item->without_body ? SR_API_ANSWER_FORGOTTEN : item->error;
    ret->revision = item->revision;
    sr_buf_append(&ret->body, item->body, item->size);
}

/* Read the answer back. Rare, so it takes a transaction of its own: one that began earlier might
 * not have it yet. */
static int find_on_disk(struct sr_store *store, uint64_t number, const struct sr_request_name *name,
                        struct sr_outcome *ret, struct sr_err *err)
{
    sr_lmdb_enter(&store->lmdb);
    MDB_txn *txn = NULL;
    struct sr_opener opener;
    sr_opener_init(&opener, &store->lmdb);
    struct sr_remembered *item = NULL;
    uint8_t key_bytes[SR_REQUEST_KEY_BYTES];
    sr_put_u64(key_bytes, number);
    MDB_val key = {sizeof(key_bytes), key_bytes};
    MDB_val value = {0};
    int rc = SR_OK;
    int code = mdb_txn_begin(store->lmdb.env, NULL, MDB_RDONLY, &txn);
    if (code == 0) {
        code = mdb_get(txn, store->lmdb.request, &key, &value);
    }
    if (code == MDB_NOTFOUND) {
        rc = sr_err_set(err, SR_CORRUPT, "request %llu is missing", (unsigned long long)number);
        goto out;
    }
    if (code != 0) {
        rc = sr_lmdb_failed(code, "read a remembered request", err);
        goto out;
    }
    rc = sr_request_record_open(&opener, txn, &key, &value, &item, err);
    if (rc != SR_OK) {
        goto out;
    }
    if (memcmp(&item->name, name, sizeof(*name)) != 0) {
        rc = sr_err_set(err, SR_CORRUPT, "request %llu is another one", (unsigned long long)number);
        goto out;
    }
    answer_from(item, ret);
out:
    sr_free(item);
    sr_opener_close(&opener);
    mdb_txn_abort(txn);
    return rc;
}

int sr_requests_find(struct sr_store *store, const struct sr_request_name *name,
                     struct sr_outcome *ret, struct sr_err *err)
{
    struct sr_requests *requests = store->requests;
    drop_durable(requests);
    size_t slot = find_slot(requests, name);
    if (requests->table[slot] == 0) {
        return SR_NOT_FOUND;
    }
    size_t place = requests->table[slot] - 1;
    if (requests->ring[place].fresh != NULL) {
        answer_from(requests->ring[place].fresh, ret);
        return SR_OK;
    }
    uint64_t number = requests->first + ((place - requests->first) & (RING_SIZE - 1));
    return find_on_disk(store, number, name, ret, err);
}

/* On its way to disk with @active. */
static void add_to_table(struct sr_memtable *active, struct sr_remembered *item)
{
    if (active->remembered_last == NULL) {
        active->remembered = item;
    } else {
        active->remembered_last->next = item;
    }
    active->remembered_last = item;
    active->remembered_bytes += sizeof(*item) + item->size;
}

void sr_requests_remember(struct sr_store *store, const struct sr_request_name *name,
                          const struct sr_outcome *outcome, bool without_body)
{
    struct sr_requests *requests = store->requests;
    if (outcome->body.size > SR_REMEMBERED_ANSWER_BYTES_MAX) {
        without_body = true;
    }
    size_t size = without_body ? 0 : outcome->body.size;
    struct sr_remembered *item = sr_alloc(sizeof(*item) + size);
    *item = (struct sr_remembered){.number = requests->next,
                                   .name = *name,
                                   .error = outcome->error,
                                   .revision = outcome->revision,
                                   .without_body = without_body,
                                   .size = size};
    atomic_init(&item->references, 2);
    atomic_init(&item->durable, false);
    if (size > 0) {
        memcpy(item->body, outcome->body.data, size);
    }
    drop_durable(requests);
    add(requests, name, item);
    add_to_table(store->active, item);
}

int sr_requests_import(struct sr_store *store, const struct sr_remembered *from, struct sr_err *err)
{
    struct sr_requests *requests = store->requests;
    if (requests->next == requests->first) {
        requests->first = requests->first_fresh = requests->next = from->number;
    }
    if (from->number != requests->next || requests->table[find_slot(requests, &from->name)] != 0) {
        return sr_err_set(err, SR_CORRUPT, "remembered requests: %llu is out of order",
                          (unsigned long long)from->number);
    }
    struct sr_remembered *item = sr_memdup(from, sizeof(*from) + from->size);
    item->next = NULL;
    atomic_init(&item->references, 2);
    atomic_init(&item->durable, false);
    drop_durable(requests);
    add(requests, &item->name, item);
    add_to_table(store->active, item);
    return SR_OK;
}

int sr_requests_adopt(struct sr_store *store, const struct sr_remembered *from, struct sr_err *err)
{
    const struct sr_requests *requests = store->requests;
    struct sr_remembered *item;
    int rc;

    if (requests->table[find_slot(requests, &from->name)] != 0) {
        return SR_OK;
    }
    item = sr_memdup(from, sizeof(*from) + from->size);
    if (requests->next != requests->first) {
        item->number = requests->next;
    }
    rc = sr_requests_import(store, item, err);
    sr_free(item);
    return rc;
}

size_t sr_requests_count(const struct sr_store *store)
{
    return (size_t)(store->requests->next - store->requests->first);
}
int sr_requests_load(struct sr_store *store, MDB_txn *txn, struct sr_opener *opener,
                     struct sr_err *err)
{
    struct sr_requests *requests = requests_new(store->hash_key);
    MDB_cursor *cursor = NULL;
    MDB_val key = {0};
    MDB_val value = {0};
    int rc = SR_OK;
    int code = mdb_cursor_open(txn, store->lmdb.request, &cursor);
    if (code == 0) {
        code = mdb_cursor_get(cursor, &key, &value, MDB_FIRST);
    }
    for (; code == 0; code = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) {
        struct sr_remembered *item = NULL;
        rc = sr_request_record_open(opener, txn, &key, &value, &item, err);
        if (rc != SR_OK) {
            goto out;
        }
        bool is_first = requests->next == requests->first;
        bool fits = (is_first || item->number == requests->next) &&
                    requests->table[find_slot(requests, &item->name)] == 0;
        if (fits && is_first) {
            requests->first = requests->first_fresh = requests->next = item->number;
        }
        if (fits) {
            add(requests, &item->name, NULL);
        } else {
            rc = sr_err_set(err, SR_CORRUPT, "remembered requests: %llu is out of order",
                            (unsigned long long)item->number);
        }
        sr_free(item);
        if (rc != SR_OK) {
            goto out;
        }
    }
    if (code != MDB_NOTFOUND) {
        rc = sr_lmdb_failed(code, "read remembered requests", err);
        goto out;
    }
    store->requests = requests;
    requests = NULL;
out:
    mdb_cursor_close(cursor);
    sr_requests_free(requests);
    return rc;
}

/* Delete what is more than SR_REMEMBERED_REQUESTS_MAX numbers behind @last. */
static int remove_forgotten(struct sr_store *store, MDB_txn *txn, uint64_t last, struct sr_err *err)
{
    MDB_cursor *cursor = NULL;
    MDB_val key = {0};
    MDB_val value = {0};
    int code = mdb_cursor_open(txn, store->lmdb.request, &cursor);
    while (code == 0) {
        code = mdb_cursor_get(cursor, &key, &value, MDB_FIRST);
        if (code != 0 || key.mv_size != SR_REQUEST_KEY_BYTES) {
            break;
        }
        uint64_t number = sr_get_u64(key.mv_data);
        if (number > last || last - number < RING_SIZE) {
            break;
        }
        code = mdb_cursor_del(cursor, 0);
    }
    mdb_cursor_close(cursor);
    return code == 0 || code == MDB_NOTFOUND ? SR_OK
                                             : sr_lmdb_failed(code, "forget old requests", err);
}

int sr_requests_write(struct sr_store *store, MDB_txn *txn, struct sr_remembered *list,
                      bool may_remove, struct sr_err *err)
{
    struct sr_buf box = {0};
    int rc = SR_OK;
    uint64_t last = 0;
    for (struct sr_remembered *item = list; item != NULL && rc == SR_OK; item = item->next) {
        uint8_t key_bytes[SR_REQUEST_KEY_BYTES];
        sr_put_u64(key_bytes, item->number);
        rc = sr_request_record_seal(&store->lmdb, txn, item, &box, err);
        if (rc != SR_OK) {
            break;
        }
        MDB_val key = {sizeof(key_bytes), key_bytes};
        MDB_val value = {box.size, box.data};
        int code = mdb_put(txn, store->lmdb.request, &key, &value, 0);
        if (code != 0) {
            rc = sr_lmdb_failed(code, "write a remembered request", err);
        }
        last = item->number;
    }
    sr_buf_close(&box);
    return rc == SR_OK && list != NULL && may_remove ? remove_forgotten(store, txn, last, err) : rc;
}

void sr_requests_release(struct sr_remembered *list)
{
    while (list != NULL) {
        struct sr_remembered *next = list->next;
        atomic_store_explicit(&list->durable, true, memory_order_release);
        unref(list);
        list = next;
    }
}
