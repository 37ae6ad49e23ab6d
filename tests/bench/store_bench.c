/* SPDX-License-Identifier: Apache-2.0
 *
 * What the store alone can do: loads keys through the writer's side, with a flush thread beside
 * it, then reads at random. Prints one line a phase.
 *
 *   store_bench DIR [keys] [value bytes] [updates]
 *
 * Bytes written are those of system calls (wchar): write_bytes counts whole folios, which since
 * ext4 has large ones says ten times too much of random page writes.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "proto/batch.h"
#include "proto/command.pb-c.h"
#include "storage/store_internal.h"

#define BATCH 50 /* changes of one log entry */
#define GETS  300000

static const uint8_t kek[SR_KEY_BYTES] = "the master key of a benchmark 32";

struct bench {
    struct sr_store *store;
    struct sr_keyring *keyring;
    size_t keys;
    size_t value_bytes;
    size_t updates;
    uint64_t seed;
    uint64_t sequence;
    atomic_bool stop;
    pthread_t flusher;
};

static void must(int rc, const struct sr_err *err)
{
    if (rc == SR_OK) {
        return;
    }
    (void)fprintf(stderr, "%s: %s\n", sr_status_text(rc), err->text);
    exit(1);
}

static uint64_t any(struct bench *bench)
{
    bench->seed ^= bench->seed << 13;
    bench->seed ^= bench->seed >> 7;
    bench->seed ^= bench->seed << 17;
    return bench->seed;
}

static double cpu_s(void)
{
    struct rusage usage;

    (void)getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

/* The number after @name in a file of /proc/self. */
static double proc_value(const char *path, const char *name)
{
    char line[256];
    double value = 0;
    FILE *file = fopen(path, "r");

    while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
        if (strncmp(line, name, strlen(name)) == 0) {
            value = strtod(line + strlen(name), NULL);
        }
    }
    if (file != NULL) {
        (void)fclose(file);
    }
    return value;
}

static struct sr_bytes key_of(uint64_t number, char out[64])
{
    uint64_t mixed = number * UINT64_C(0x9e3779b97f4a7c15);
    int size = snprintf(out, 64, "/registry/pods/ns-%03u/pod-%016llx", (unsigned)(mixed >> 57),
                        (unsigned long long)mixed);

    return (struct sr_bytes){(const uint8_t *)out, (size_t)size};
}

static void *flush_loop(void *arg)
{
    struct bench *bench = arg;
    struct sr_err err;

    while (!atomic_load(&bench->stop)) {
        must(sr_store_flush(bench->store, &err), &err);
        (void)usleep(1000);
    }
    return NULL;
}

static void put(struct bench *bench, struct sr_bytes key, struct sr_bytes value)
{
    struct sr_store *store = bench->store;
    int64_t revision = ++store->apply.revision;
    struct sr_version version = {.create_revision = revision,
                                 .mod_revision = revision,
                                 .version = 1,
                                 .value_size = (uint32_t)value.size};
    struct sr_version old;
    struct sr_err err;
    int rc = sr_view_get(sr_writer_view(store), key, INT64_MAX, &old, &err);

    if (rc == SR_OK) {
        version.create_revision = old.create_revision;
        version.version = old.version + 1;
    } else if (rc != SR_NOT_FOUND) {
        must(rc, &err);
    }
    sr_writer_add(store, key, value, &version);
}

/* Add a put command for @key to @batch. */
static void add_command(struct bench *bench, struct sr_buf *batch, struct sr_bytes key,
                        struct sr_bytes value)
{
    Etcdserverpb__PutRequest request = ETCDSERVERPB__PUT_REQUEST__INIT;
    Strongroom__Command command = STRONGROOM__COMMAND__INIT;
    struct sr_buf packed = {0};

    request.key = (ProtobufCBinaryData){key.size, sr_memdup(key.data, key.size)};
    request.value = (ProtobufCBinaryData){value.size, sr_memdup(value.data, value.size)};
    command.origin = 1;
    command.sequence = ++bench->sequence;
    command.operation_case = STRONGROOM__COMMAND__OPERATION_PUT;
    command.put = &request;
    (void)strongroom__command__pack(
        &command, sr_buf_extend(&packed, strongroom__command__get_packed_size(&command)));
    sr_batch_add(batch, packed.data, packed.size);
    sr_buf_close(&packed);
    sr_free(request.key.data);
    sr_free(request.value.data);
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

/* Time what sr_store_apply takes for a batch. */
static uint64_t apply(struct bench *bench, const struct sr_buf *batch)
{
    static const struct sr_outcome_sink sink = {.wanted = unwanted, .deliver = undeliverable};
    uint64_t start_ns = sr_clock_monotonic_ns();
    struct sr_err err;

    must(sr_store_apply(bench->store, sr_store_applied_index(bench->store) + 1, batch->data,
                        batch->size, &sink, &err),
         &err);
    return sr_clock_monotonic_ns() - start_ns;
}

enum kind { NEW, RANDOM, COMMANDS };

/* Change up to BATCH keys as one log entry would; returns the time that applying took. */
static uint64_t load_batch(struct bench *bench, size_t done, size_t count, enum kind kind,
                           uint8_t *bytes)
{
    uint64_t start_ns = sr_clock_monotonic_ns();
    struct sr_buf batch = {0};
    char text[64];

    if (kind == COMMANDS) {
        sr_batch_begin(&batch, 1);
    }
    for (size_t i = done; i < done + count; i++) {
        struct sr_bytes key = key_of(kind == NEW ? i : any(bench) % bench->keys, text);
        struct sr_bytes value = {bytes, bench->value_bytes};
        memcpy(bytes, &i, sizeof(i));
        if (kind == COMMANDS) {
            add_command(bench, &batch, key, value);
        } else {
            put(bench, key, value);
        }
    }
    if (kind == COMMANDS) {
        start_ns = sr_clock_monotonic_ns() - apply(bench, &batch);
        sr_buf_close(&batch);
    } else {
        sr_store_publish(bench->store, bench->store->apply.applied_index + 1);
    }
    return sr_clock_monotonic_ns() - start_ns;
}

/* Put @count keys: new ones in turn, or any. */
static void load(struct bench *bench, const char *name, size_t count, enum kind kind)
{
    struct sr_store *store = bench->store;
    uint8_t *bytes = calloc(1, bench->value_bytes + 8);
    uint64_t start_ns = sr_clock_monotonic_ns();
    double cpu = cpu_s();
    double written = proc_value("/proc/self/io", "wchar:");
    double most = 0;
    double apply_s = 0;
    double seconds;

    for (size_t done = 0; done < count;) {
        size_t batch = count - done < BATCH ? count - done : BATCH;
        apply_s += (double)load_batch(bench, done, batch, kind, bytes) / 1e9;
        done += batch;
        (void)sr_store_freeze(store, false);
        while (sr_store_is_full(store)) {
            (void)usleep(200);
        }
        if (done % 20000 == 0) {
            double anon = proc_value("/proc/self/status", "RssAnon:");
            most = anon > most ? anon : most;
        }
    }
    while (sr_store_durable_index(store) < sr_store_applied_index(store)) {
        (void)sr_store_freeze(store, true);
        (void)usleep(1000);
    }
    seconds = (double)(sr_clock_monotonic_ns() - start_ns) / 1e9;
    (void)printf("%-12s %8.0f puts/s  apply %5.2f us  cpu %6.2f us/put  written %6.0f B/put  "
                 "file %6.0f MB  anon RSS at most %4.0f MB\n",
                 name, (double)count / seconds, apply_s * 1e6 / (double)count,
                 (cpu_s() - cpu) * 1e6 / (double)count,
                 (proc_value("/proc/self/io", "wchar:") - written) / (double)count,
                 (double)sr_gauge_read(&sr_store_metrics(store)->database_bytes) / 1e6, most / 1e3);
    free(bytes);
}

static void read_some(struct bench *bench, const char *name, bool values, bool miss)
{
    uint64_t start_ns = sr_clock_monotonic_ns();
    struct sr_buf value = {0};
    struct sr_version version;
    struct sr_view *view;
    struct sr_err err;
    char text[64];

    for (size_t i = 0; i < GETS; i++) {
        struct sr_bytes key = key_of(any(bench) % bench->keys, text);
        key.size -= miss;
        must(sr_view_open(bench->store, &view, &err), &err);
        int rc = sr_view_get(view, key, INT64_MAX, &version, &err);
        if (rc != SR_NOT_FOUND || !miss) {
            must(rc, &err);
        }
        sr_buf_clear(&value);
        if (values) {
            must(sr_view_value(view, key, &version, &value, &err), &err);
        }
        sr_view_close(view);
    }
    (void)printf("%-12s %6.2f us\n", name,
                 (double)(sr_clock_monotonic_ns() - start_ns) / 1e3 / GETS);
    sr_buf_close(&value);
}

static void scan_all(struct bench *bench, size_t slice)
{
    static const uint8_t zero[1];
    struct sr_interval all = {{zero, 1}, {zero, 1}};
    uint64_t start_ns = sr_clock_monotonic_ns();
    struct sr_version version;
    struct sr_bytes key;
    struct sr_view *view;
    struct sr_scan *scan;
    struct sr_err err;
    char text[64];
    size_t keys = 0;

    for (size_t i = 0; i < 100000 / slice; i++) {
        all.begin = key_of(any(bench) % bench->keys, text);
        must(sr_view_open(bench->store, &view, &err), &err);
        must(sr_scan_open(view, &all, INT64_MAX, NULL, &scan, &err), &err);
        for (size_t n = 0; n < slice && sr_scan_next(scan, &key, &version, &err) == SR_OK; n++) {
            keys++;
        }
        sr_scan_close(scan);
        sr_view_close(view);
    }
    (void)printf("scan %-7zu %6.2f us/key\n", slice,
                 (double)(sr_clock_monotonic_ns() - start_ns) / 1e3 / (double)keys);
}

static void compact(struct bench *bench)
{
    struct sr_store *store = bench->store;
    uint64_t start_ns = sr_clock_monotonic_ns();
    double cpu = cpu_s();
    double written = proc_value("/proc/self/io", "wchar:");
    int64_t events = store->apply.revision;

    store->apply.compact_revision = store->apply.revision;
    sr_store_publish(store, store->apply.applied_index + 1);
    (void)sr_store_freeze(store, true);
    while (sr_store_durable_index(store) < sr_store_applied_index(store) ||
           sr_store_compaction_pending(store)) {
        (void)usleep(1000);
    }
    (void)printf("compaction   %6.2f us/event wall  cpu %6.2f us/event  written %6.0f B/event\n",
                 (double)(sr_clock_monotonic_ns() - start_ns) / 1e3 / (double)events,
                 (cpu_s() - cpu) * 1e6 / (double)events,
                 (proc_value("/proc/self/io", "wchar:") - written) / (double)events);
}

int main(int argc, char **argv)
{
    struct bench bench = {
        .keys = argc > 2 ? strtoull(argv[2], NULL, 10) : 1000000,
        .value_bytes = argc > 3 ? strtoull(argv[3], NULL, 10) : 256,
        .updates = argc > 4 ? strtoull(argv[4], NULL, 10) : 300000,
        .seed = 88172645463325252U,
    };
    char path[512];
    struct sr_err err;

    if (argc < 2) {
        (void)fprintf(stderr, "usage: %s DIR [keys] [value bytes] [updates]\n", argv[0]);
        return 2;
    }
    (void)snprintf(path, sizeof(path), "%s/keyring", argv[1]);
    must(sr_keyring_create(path, kek, 1, 1, &err), &err);
    must(sr_keyring_open(path, kek, 1, 1, &bench.keyring, &err), &err);
    struct sr_store_options options = {
        .dir = argv[1], .keyring = bench.keyring, .cluster_id = 1, .member_id = 1};
    must(sr_store_open(&options, &bench.store, &err), &err);
    if (pthread_create(&bench.flusher, NULL, flush_loop, &bench) != 0) {
        return 1;
    }
    load(&bench, "load", bench.keys, NEW);
    read_some(&bench, "get header", false, false);
    read_some(&bench, "get value", true, false);
    read_some(&bench, "get absent", false, true);
    scan_all(&bench, 100);
    scan_all(&bench, 10000);
    load(&bench, "update", bench.updates, RANDOM);
    load(&bench, "commands", bench.updates, COMMANDS);
    compact(&bench);
    atomic_store(&bench.stop, true);
    pthread_join(bench.flusher, NULL);
    sr_store_close(bench.store);
    sr_keyring_close(bench.keyring);
    return 0;
}
