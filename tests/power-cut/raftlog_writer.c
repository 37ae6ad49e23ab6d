/* SPDX-License-Identifier: Apache-2.0
 *
 * Writes to a log until its disk goes away, and checks afterwards what it had promised.
 *
 *   raftlog_writer write OUTSIDE DIR SEED   prints "promised INDEX TERM" after each sync
 *   raftlog_writer verify OUTSIDE DIR INDEX TERM
 *
 * DIR is on the disk that will be cut, OUTSIDE is not: the keyring is there. `write` begins by
 * opening what is in DIR, so that recovery is cut as well.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "storage/raftlog.h"

#define CLUSTER       1
#define MEMBER        2
#define SEGMENT_BYTES ((size_t)256 * 1024)
#define ENTRY_MAX     ((size_t)40 * 1024)

static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

/* The bytes of an entry follow from its index; most are small. */
static size_t fill(uint64_t index, uint8_t data[ENTRY_MAX])
{
    uint64_t x = mix(index);
    size_t size = x % 16 == 0 ? x / 16 % ENTRY_MAX : x / 16 % 1500;
    for (size_t i = 0; i < size; i++) {
        data[i] = (uint8_t)mix(x + i / 8);
    }
    return size;
}

static _Noreturn void stop(const char *what, const struct sr_err *err)
{
    fprintf(stderr, "%s: %s\n", what, err->text);
    exit(1);
}

static void append(struct sr_raftlog *log, uint64_t index, uint64_t term)
{
    static uint8_t data[ENTRY_MAX];
    struct sr_log_entry entry = {.term = term, .type = 1, .data = {data, fill(index, data)}};
    sr_raftlog_append(log, &entry, 1);
}

static struct sr_keyring *open_keyring(const char *outside)
{
    static const uint8_t kek[SR_KEY_BYTES] = "the power may go, the key stays.";
    char path[512];
    struct sr_keyring *keyring = NULL;
    struct sr_err err;
    snprintf(path, sizeof(path), "%s/keyring", outside);
    int status = sr_keyring_create(path, kek, CLUSTER, MEMBER, &err);
    if (status != SR_OK && status != SR_EXISTS) {
        stop("create keyring", &err);
    }
    if (sr_keyring_open(path, kek, CLUSTER, MEMBER, &keyring, &err) != SR_OK) {
        stop("open keyring", &err);
    }
    return keyring;
}

static struct sr_raftlog *open_log(const struct sr_keyring *keyring, const char *dir,
                                   struct sr_raftlog_state *ret_state)
{
    struct sr_raftlog_options options = {.dir = dir,
                                         .keyring = keyring,
                                         .cluster_id = CLUSTER,
                                         .member_id = MEMBER,
                                         .segment_bytes = SEGMENT_BYTES};
    struct sr_raftlog *log = NULL;
    struct sr_err err;
    if (sr_raftlog_open(&options, &log, ret_state, &err) != SR_OK) {
        stop("open log", &err);
    }
    return log;
}

/* One round of work after which everything up to @last is durable. */
static uint64_t work(struct sr_raftlog *log, uint64_t last, uint64_t *term, uint64_t dice)
{
    struct sr_err err;
    for (uint64_t i = 0; i < 1 + dice % 12; i++) {
        append(log, ++last, *term);
    }
    if (dice % 7 == 0) { /* some that a later leader voids, in this group or the next */
        append(log, last + 1, *term);
        append(log, last + 2, *term);
        if (dice % 2 == 0 && sr_raftlog_sync(log, &err) != SR_OK) {
            stop("sync", &err);
        }
        sr_raftlog_truncate(log, last + 1);
    }
    if (sr_raftlog_sync(log, &err) != SR_OK) {
        stop("sync", &err);
    }
    if (dice % 11 == 0 && sr_raftlog_set_vote(log, ++*term, dice, &err) != SR_OK) {
        stop("vote", &err);
    }
    if (dice % 13 == 0 && sr_raftlog_put_manifest(log, &last, sizeof(last), &err) != SR_OK) {
        stop("manifest", &err);
    }
    if (dice % 17 == 0 && sr_raftlog_prepare(log, &err) != SR_OK) {
        stop("prepare", &err);
    }
    if (dice % 29 == 0 && last > 400 && sr_raftlog_release(log, last - 400, &err) != SR_OK) {
        stop("release", &err);
    }
    return last;
}

static void write_until_it_fails(const char *outside, const char *dir, uint64_t seed)
{
    struct sr_raftlog_state state;
    struct sr_err err;
    struct sr_raftlog *log = open_log(open_keyring(outside), dir, &state);
    uint64_t term = state.term + 1;
    uint64_t last = state.last_index;
    if (sr_raftlog_set_vote(log, term, 1, &err) != SR_OK) {
        stop("vote", &err);
    }
    for (;;) {
        seed = mix(seed + 1);
        last = work(log, last, &term, seed >> 8);
        printf("promised %llu %llu\n", (unsigned long long)last, (unsigned long long)term);
        fflush(stdout);
    }
}

static int verify(const char *outside, const char *dir, uint64_t index, uint64_t term)
{
    static uint8_t data[ENTRY_MAX];
    struct sr_raftlog_state state;
    struct sr_log_entry entry;
    struct sr_buf scratch = {0};
    struct sr_err err;
    struct sr_raftlog *log = open_log(open_keyring(outside), dir, &state);

    if (state.last_index < index || state.term < term || state.first_index > index + 1) {
        fprintf(stderr, "lost: promised entry %llu and term %llu, found %llu..%llu and %llu\n",
                (unsigned long long)index, (unsigned long long)term,
                (unsigned long long)state.first_index, (unsigned long long)state.last_index,
                (unsigned long long)state.term);
        return 1;
    }
    for (uint64_t i = state.first_index; i <= state.last_index; i++) {
        if (sr_raftlog_read(log, i, &scratch, &entry, &err) != SR_OK) {
            stop("read", &err);
        }
        size_t size = fill(i, data);
        if (entry.data.size != size || (size > 0 && memcmp(entry.data.data, data, size) != 0)) {
            fprintf(stderr, "entry %llu is not what was written\n", (unsigned long long)i);
            return 1;
        }
    }
    int status = sr_raftlog_get_manifest(log, &scratch, &err);
    if (status != SR_OK && status != SR_NOT_FOUND) {
        stop("manifest", &err);
    }
    printf("found %llu..%llu, term %llu, %llu bytes of unsynced tail\n",
           (unsigned long long)state.first_index, (unsigned long long)state.last_index,
           (unsigned long long)state.term, (unsigned long long)state.dropped_bytes);
    sr_buf_close(&scratch);
    sr_raftlog_close(log);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 5 && strcmp(argv[1], "write") == 0) {
        write_until_it_fails(argv[2], argv[3], strtoull(argv[4], NULL, 10));
    }
    if (argc == 6 && strcmp(argv[1], "verify") == 0) {
        return verify(argv[2], argv[3], strtoull(argv[4], NULL, 10), strtoull(argv[5], NULL, 10));
    }
    fprintf(stderr, "usage: raftlog_writer write OUTSIDE DIR SEED\n"
                    "       raftlog_writer verify OUTSIDE DIR INDEX TERM\n");
    return 2;
}
