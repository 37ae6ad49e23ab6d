/* SPDX-License-Identifier: Apache-2.0
 *
 * Applies entries to a store until its disk goes away, and checks afterwards what it had promised.
 *
 *   store_writer write OUTSIDE DIR SEED     prints "promised INDEX" after each flush
 *   store_writer verify OUTSIDE DIR INDEX
 *
 * DIR is on the disk that will be cut, OUTSIDE is not. What an entry does follows from its index,
 * so the store must be, at whatever index it is found, what another one is that never saw a cut.
 * That other one is kept in OUTSIDE.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "proto/batch.h"
#include "proto/command.pb-c.h"
#include "storage/store.h"
#include "storage/view.h"

#define CLUSTER          1
#define MEMBER           2
#define KEYS             700
#define COMMANDS         4 /* of one entry */
#define VALUE_BYTES_MAX  6000
#define ENTRIES_IN_FLUSH 40

static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

static void must(int status, const char *what, const struct sr_err *err)
{
    if (status != SR_OK) {
        fprintf(stderr, "%s: %s\n", what, err->text);
        exit(1);
    }
}

/* ---- Entries ---- */

static ProtobufCBinaryData key_of(uint64_t x, char out[64])
{
    int size = snprintf(out, 64, "/power/%03u/key-%u", (unsigned)(x % 31), (unsigned)(x % KEYS));
    return (ProtobufCBinaryData){.len = (size_t)size, .data = (uint8_t *)out};
}

/* Command @turn of entry @index: mostly puts, some deletions, a compaction now and then. */
static void add_command(struct sr_buf *batch, uint64_t index, uint64_t turn)
{
    static uint8_t value[VALUE_BYTES_MAX];
    Strongroom__Command command = STRONGROOM__COMMAND__INIT;
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
    Etcdserverpb__DeleteRangeRequest del = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
    Etcdserverpb__CompactionRequest compaction = ETCDSERVERPB__COMPACTION_REQUEST__INIT;
    uint64_t x = mix(index * COMMANDS + turn);
    char key[64];

    command.origin = 1;
    command.sequence = index * COMMANDS + turn;
    if (turn == 0 && index % 64 == 0) {
        compaction.revision = (int64_t)index; /* each entry makes more revisions than one */
        command.operation_case = STRONGROOM__COMMAND__OPERATION_COMPACTION;
        command.compaction = &compaction;
    } else if (x % 9 == 0) {
        del.key = key_of(x >> 8, key);
        command.operation_case = STRONGROOM__COMMAND__OPERATION_DELETE_RANGE;
        command.delete_range = &del;
    } else {
        memset(value, (int)(x >> 24), sizeof(value));
        put.key = key_of(x >> 8, key);
        put.value.len = x % 16 == 0 ? (x >> 32) % VALUE_BYTES_MAX : (x >> 32) % 400;
        put.value.data = value;
        command.operation_case = STRONGROOM__COMMAND__OPERATION_PUT;
        command.put = &put;
    }
    struct sr_buf packed = {0};
    size_t size = strongroom__command__get_packed_size(&command);
    strongroom__command__pack(&command, sr_buf_extend(&packed, size));
    sr_batch_add(batch, packed.data, packed.size);
    sr_buf_close(&packed);
}

static bool unwanted(void *arg, uint64_t origin)
{
    (void)arg;
    (void)origin;
    return false;
}

static void undeliverable(void *arg, struct sr_outcome *outcome)
{
    (void)arg;
    (void)outcome;
    abort();
}

static void apply(struct sr_store *store, uint64_t index)
{
    static const struct sr_outcome_sink sink = {.wanted = unwanted, .deliver = undeliverable};
    struct sr_buf batch = {0};
    struct sr_err err;
    sr_batch_begin(&batch, 1);
    for (uint64_t turn = 0; turn < COMMANDS; turn++) {
        add_command(&batch, index, turn);
    }
    must(sr_store_apply(store, index, batch.data, batch.size, &sink, &err), "apply", &err);
    sr_buf_close(&batch);
}

static void flush(struct sr_store *store)
{
    struct sr_err err;
    sr_store_freeze(store, true);
    must(sr_store_flush(store, &err), "flush", &err);
}

/* ---- Stores ---- */

static struct sr_keyring *open_keyring(const char *outside)
{
    static const uint8_t kek[SR_KEY_BYTES] = "the power may go, the key stays.";
    char path[512];
    struct sr_keyring *keyring = NULL;
    struct sr_err err;
    snprintf(path, sizeof(path), "%s/keyring", outside);
    int status = sr_keyring_create(path, kek, CLUSTER, MEMBER, &err);
    must(status == SR_EXISTS ? SR_OK : status, "create keyring", &err);
    must(sr_keyring_open(path, kek, CLUSTER, MEMBER, &keyring, &err), "open keyring", &err);
    return keyring;
}

static struct sr_store *open_store(const struct sr_keyring *keyring, const char *dir)
{
    /* Few unindexed entries: the index is always being written when the power goes. */
    struct sr_store_options options = {.dir = dir,
                                       .keyring = keyring,
                                       .cluster_id = CLUSTER,
                                       .member_id = MEMBER,
                                       .unindexed_entries_max = 150};
    struct sr_store *store = NULL;
    struct sr_err err;
    must(sr_store_open(&options, &store, &err), "open store", &err);
    return store;
}

static void write_until_it_fails(const char *outside, const char *dir, uint64_t seed)
{
    struct sr_store *store = open_store(open_keyring(outside), dir);
    uint64_t index = sr_store_durable_index(store);
    for (;;) {
        seed = mix(seed + 1);
        for (uint64_t i = 0; i < 1 + seed % ENTRIES_IN_FLUSH; i++) {
            apply(store, ++index);
        }
        flush(store);
        printf("promised %llu\n", (unsigned long long)sr_store_durable_index(store));
        fflush(stdout);
    }
}

/* Every key and value with its revisions, as one answer. */
static void read_all(struct sr_store *store, struct sr_buf *ret)
{
    static uint8_t zero[1];
    Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;
    enum sr_api_error refused;
    struct sr_err err;
    int status = SR_AGAIN;

    request.key = (ProtobufCBinaryData){.len = 1, .data = zero};
    request.range_end = request.key;
    struct sr_range *range = sr_range_new(&request);
    while (status == SR_AGAIN) {
        struct sr_view *view = NULL;
        must(sr_view_open(store, &view, &err), "open view", &err);
        status = sr_range_step(range, view, 1000, &refused, &err);
        sr_view_close(view);
    }
    must(status, "read all", &err);
    sr_range_pack(range, ret);
    sr_range_free(range);
}

static int compare(struct sr_store *store, struct sr_store *reference)
{
    uint8_t hashes[2][32];
    int64_t revisions[2];
    uint64_t indexes[2];
    struct sr_buf contents[2] = {{0}, {0}};

    sr_store_state_hash(store, hashes[0], &revisions[0], &indexes[0]);
    sr_store_state_hash(reference, hashes[1], &revisions[1], &indexes[1]);
    read_all(store, &contents[0]);
    read_all(reference, &contents[1]);
    bool equal = indexes[0] == indexes[1] && revisions[0] == revisions[1] &&
                 memcmp(hashes[0], hashes[1], sizeof(hashes[0])) == 0 &&
                 contents[0].size == contents[1].size && contents[0].size > 0 &&
                 memcmp(contents[0].data, contents[1].data, contents[0].size) == 0;
    if (!equal) {
        fprintf(stderr,
                "not what it must be: index %llu and %llu, revision %lld and %lld, %zu and %zu "
                "bytes\n",
                (unsigned long long)indexes[0], (unsigned long long)indexes[1],
                (long long)revisions[0], (long long)revisions[1], contents[0].size,
                contents[1].size);
    } else {
        printf("found index %llu, revision %lld, %zu bytes of keys and values\n",
               (unsigned long long)indexes[0], (long long)revisions[0], contents[0].size);
    }
    sr_buf_close(&contents[0]);
    sr_buf_close(&contents[1]);
    return equal ? 0 : 1;
}

static int verify(const char *outside, const char *dir, uint64_t promised)
{
    struct sr_keyring *keyring = open_keyring(outside);
    struct sr_store *store = open_store(keyring, dir);
    uint64_t found = sr_store_durable_index(store);
    char path[512];

    if (found < promised) {
        fprintf(stderr, "lost: promised index %llu, found %llu\n", (unsigned long long)promised,
                (unsigned long long)found);
        return 1;
    }
    snprintf(path, sizeof(path), "%s/reference", outside);
    (void)mkdir(path, 0700);
    struct sr_store *reference = open_store(keyring, path);
    for (uint64_t index = sr_store_durable_index(reference) + 1; index <= found; index++) {
        apply(reference, index);
        if (index % 500 == 0) {
            flush(reference);
        }
    }
    int differs = compare(store, reference);
    flush(reference);
    sr_store_close(reference);
    sr_store_close(store);
    sr_keyring_close(keyring);
    return differs;
}

int main(int argc, char **argv)
{
    if (argc == 5 && strcmp(argv[1], "write") == 0) {
        write_until_it_fails(argv[2], argv[3], strtoull(argv[4], NULL, 10));
    }
    if (argc == 5 && strcmp(argv[1], "verify") == 0) {
        return verify(argv[2], argv[3], strtoull(argv[4], NULL, 10));
    }
    fprintf(stderr, "usage: store_writer write OUTSIDE DIR SEED\n"
                    "       store_writer verify OUTSIDE DIR INDEX\n");
    return 2;
}
