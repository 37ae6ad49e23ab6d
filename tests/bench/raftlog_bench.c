/* SPDX-License-Identifier: Apache-2.0
 *
 * How long one group write and sync of the log takes, and what it writes.
 *
 *   raftlog_bench DIR [SECONDS]     for each size of group, on the disk of DIR
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/clock.h"
#include "storage/raftlog.h"

#define SAMPLES_MAX ((size_t)200000)

struct bench {
    struct sr_raftlog *log;
    atomic_bool stop;
    atomic_bool wanted;
};

/* As the node does it: the next segment is made beside the writer. */
static void *prepare(void *arg)
{
    struct bench *bench = arg;
    while (!atomic_load(&bench->stop)) {
        if (atomic_exchange(&bench->wanted, false)) {
            sr_check(sr_raftlog_prepare(bench->log, NULL) == SR_OK);
        }
        usleep(500);
    }
    return NULL;
}

static int compare(const void *a, const void *b)
{
    const uint64_t *x = a;
    const uint64_t *y = b;
    return (*x > *y) - (*x < *y);
}

/* Of @count sorted samples, in microseconds. */
static double percentile(const uint64_t *samples, size_t count, size_t percent)
{
    size_t at = count * percent / 100;
    return (double)samples[at < count ? at : count - 1] / 1e3;
}

static void run(struct bench *bench, size_t entry_bytes, size_t group, double seconds,
                uint64_t *samples)
{
    const struct sr_raftlog_metrics *metrics = sr_raftlog_metrics(bench->log);
    uint8_t *data = sr_zalloc(entry_bytes);
    struct sr_log_entry entry = {.term = 1, .type = 1, .data = {data, entry_bytes}};
    uint64_t bytes = sr_counter_read(&metrics->bytes_written);
    uint64_t start = sr_clock_monotonic_ns();
    uint64_t now = start;
    size_t count = 0;

    while (count < SAMPLES_MAX && (double)(now - start) < seconds * 1e9) {
        for (size_t i = 0; i < group; i++) {
            sr_raftlog_append(bench->log, &entry, 1);
        }
        uint64_t before = sr_clock_monotonic_ns();
        sr_check(sr_raftlog_sync(bench->log, NULL) == SR_OK);
        now = sr_clock_monotonic_ns();
        samples[count++] = now - before;
        if (sr_raftlog_wants_prepare(bench->log)) {
            atomic_store(&bench->wanted, true);
        }
    }
    sr_check(sr_raftlog_release(bench->log, UINT64_MAX - 1, NULL) == SR_OK);
    bytes = sr_counter_read(&metrics->bytes_written) - bytes;
    qsort(samples, count, sizeof(*samples), compare);
    double wall_s = (double)(now - start) / 1e9;
    printf("%7zu B x %4zu: %6.0f groups/s %8.0f entries/s  p50 %6.0f p90 %6.0f p99 %6.0f "
           "max %7.0f us  %.2f B written a byte\n",
           entry_bytes, group, (double)count / wall_s, (double)(count * group) / wall_s,
           percentile(samples, count, 50), percentile(samples, count, 90),
           percentile(samples, count, 99), percentile(samples, count, 100),
           (double)bytes / (double)(count * group * entry_bytes));
    fflush(stdout);
    sr_free(data);
}

int main(int argc, char **argv)
{
    static const uint8_t kek[SR_KEY_BYTES] = "not a secret: this is a bench...";
    static const struct {
        size_t entry_bytes;
        size_t group;
    } loads[] = {{300, 1}, {300, 12}, {300, 50}, {300, 200}, {300, 1000}, {4096, 1}, {65536, 1}};
    double seconds = argc > 2 ? strtod(argv[2], NULL) : 3;
    char dir[512];
    char keys[600];
    struct sr_raftlog_options options = {.dir = dir, .cluster_id = 1, .member_id = 1};
    struct sr_keyring *keyring = NULL;
    struct sr_raftlog_state state;
    struct bench bench = {0};
    pthread_t thread;

    if (argc < 2) {
        fprintf(stderr, "usage: raftlog_bench DIR [SECONDS]\n");
        return 2;
    }
    snprintf(dir, sizeof(dir), "%.400s/raftlog-bench-XXXXXX", argv[1]);
    sr_check(mkdtemp(dir) != NULL);
    snprintf(keys, sizeof(keys), "%s/keys", dir);
    sr_check(sr_keyring_create(keys, kek, 1, 1, NULL) == SR_OK);
    sr_check(sr_keyring_open(keys, kek, 1, 1, &keyring, NULL) == SR_OK);
    options.keyring = keyring;
    sr_check(sr_raftlog_open(&options, &bench.log, &state, NULL) == SR_OK);
    sr_check(sr_raftlog_set_vote(bench.log, 1, 1, NULL) == SR_OK);
    sr_check(pthread_create(&thread, NULL, prepare, &bench) == 0);
    uint64_t *samples = sr_calloc(SAMPLES_MAX, sizeof(*samples));
    for (size_t i = 0; i < sizeof(loads) / sizeof(loads[0]); i++) {
        run(&bench, loads[i].entry_bytes, loads[i].group, seconds, samples);
    }
    atomic_store(&bench.stop, true);
    pthread_join(thread, NULL);
    sr_free(samples);
    sr_raftlog_close(bench.log);
    sr_keyring_close(keyring);
    printf("left behind: %s\n", dir);
    return 0;
}
