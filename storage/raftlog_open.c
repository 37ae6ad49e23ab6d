/* SPDX-License-Identifier: Apache-2.0
 *
 * Opening the log: first everything is read and checked, and nothing changed; then a new epoch is
 * begun.
 *
 *   vote file            newest = N, oldest = K
 *   segments below K     their deletion was cut short: delete them
 *   segments K .. N      must all be there, each continuing the one before
 *   segment N + 1        prepared, or begun but not yet recorded: no frame can be in it; delete it
 *   any other            does not belong to this vote file: damage
 *
 * Afterwards this process writes to a segment of its own, under its own salt: N + 1, or N again
 * if nothing was ever written to it. The new segment's header says where N ends, so whatever an
 * unsynced write has left behind there will never be looked at again.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/check.h"
#include "storage/raftlog_impl.h"

#define SEGMENT_BYTES_DEFAULT ((size_t)16 * 1024 * 1024)
#define SEGMENT_BYTES_MIN     ((size_t)4096)
/* On a full disk the log opens with a segment this small rather than not at all. */
#define SEGMENT_BYTES_SPARE ((size_t)128 * 1024)
/* A segment that ends with less than this unused is left as long as it is. */
#define WASTE_BYTES_MAX ((uint64_t)64 * 1024)

/* What is in the directory. */
struct listing {
    uint64_t *numbers; /* of segments, ascending */
    size_t count;
    size_t capacity;
    bool manifest;
    bool temporary;
};

/* What the checks found. */
struct found {
    bool vote;
    struct sr_log_scan newest;
    uint64_t dropped;
    uint64_t term_max;
    uint64_t segment_bytes; /* of all files */
};

/* ---- The directory ---- */

static bool parse_name(const char *name, uint64_t *ret)
{
    char again[SR_LOG_NAME_BYTES];
    uint64_t number = strtoull(name, NULL, 16);
    sr_log_segment_name(number, again);
    *ret = number;
    return number != 0 && strcmp(name, again) == 0;
}

static void add_name(struct listing *listing, const char *name)
{
    uint64_t number = 0;
    listing->manifest |= strcmp(name, "manifest") == 0;
    listing->temporary |= strcmp(name, "manifest.tmp") == 0;
    if (!parse_name(name, &number)) {
        return;
    }
    if (listing->count == listing->capacity) {
        listing->capacity = listing->capacity == 0 ? 16 : listing->capacity * 2;
        listing->numbers =
            sr_realloc(listing->numbers, listing->capacity * sizeof(*listing->numbers));
    }
    listing->numbers[listing->count++] = number;
}

static int compare_numbers(const void *a, const void *b)
{
    const uint64_t *x = a;
    const uint64_t *y = b;
    return (*x > *y) - (*x < *y);
}

static int list_directory(struct sr_raftlog *log, struct listing *ret, struct sr_err *err)
{
    int fd = openat(log->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (dir == NULL) {
        int status = sr_err_errno(err, SR_IO, errno, "list the directory");
        if (fd >= 0) {
            close(fd);
        }
        return status;
    }
    struct dirent *entry;
    errno = 0;
    while ((entry = readdir(dir)) != NULL) {
        add_name(ret, entry->d_name);
        errno = 0;
    }
    int failed = errno;
    closedir(dir);
    if (failed != 0) {
        return sr_err_errno(err, SR_IO, failed, "list the directory");
    }
    if (ret->count > 0) {
        qsort(ret->numbers, ret->count, sizeof(*ret->numbers), compare_numbers);
    }
    return SR_OK;
}

/* ---- Checking ---- */

/* Segment @number, and its end as its successor has it. */
static int check_segment(struct sr_raftlog *log, uint64_t number, struct found *found,
                         struct sr_err *err)
{
    struct sr_log_segment_header next = {0};
    struct sr_log_scan scan = {0};
    bool newest = number == log->vote.newest;
    int status = SR_OK;

    if (!newest) {
        status = sr_log_scan_header(log, number + 1, &next, err);
        if (status != SR_OK) {
            sr_err_prefix(err, "segment %llu", (unsigned long long)number + 1);
            return status;
        }
        if (next.before_end < SR_LOG_SECTOR) {
            return sr_err_set(err, SR_CORRUPT, "segment %llu does not continue one",
                              (unsigned long long)number + 1);
        }
    }
    status = sr_log_scan_segment(log, number, next.before_end, &scan, err);
    if (status == SR_OK && !newest && memcmp(scan.tag, next.before_tag, sizeof(scan.tag)) != 0) {
        status = sr_err_set(err, SR_CORRUPT, "its end is not what its successor saw");
    }
    if (status != SR_OK) {
        sr_err_prefix(err, "segment %llu", (unsigned long long)number);
        return status;
    }
    found->newest = scan;
    found->dropped += scan.dropped;
    found->segment_bytes += scan.size;
    if (scan.term_max > found->term_max) {
        found->term_max = scan.term_max;
    }
    return SR_OK;
}

/* Files that the vote file does not know. */
static int check_strangers(struct sr_raftlog *log, const struct listing *listing,
                           struct sr_err *err)
{
    for (size_t i = 0; i < listing->count; i++) {
        uint64_t number = listing->numbers[i];
        int status = SR_OK;
        if (number > log->vote.newest + 1) {
            status = sr_err_set(err, SR_CORRUPT, "the vote file does not know it");
        } else if (number == log->vote.newest + 1) {
            status = sr_log_scan_unused(log, number, err);
        }
        if (status != SR_OK) {
            sr_err_prefix(err, "segment %llu", (unsigned long long)number);
            return status;
        }
    }
    return SR_OK;
}

static int check_all(struct sr_raftlog *log, const struct listing *listing, struct found *found,
                     struct sr_err *err)
{
    const struct sr_log_vote *vote = &log->vote;
    int status = sr_log_vote_load(log, &found->vote, err);
    if (status != SR_OK) {
        return status;
    }
    if (vote->newest == 0 && listing->manifest) {
        return sr_err_set(err, SR_CORRUPT, "the vote file is missing, but there is a manifest");
    }
    if (!found->vote && listing->count > 0) {
        return sr_err_set(err, SR_CORRUPT, "the vote file is missing, but there are segments");
    }
    status = check_strangers(log, listing, err);
    for (uint64_t number = vote->oldest; status == SR_OK && number != 0 && number <= vote->newest;
         number++) {
        status = check_segment(log, number, found, err);
    }
    if (status == SR_OK && found->term_max > vote->term) {
        status = sr_err_set(err, SR_CORRUPT, "an entry of term %llu, but the vote file says %llu",
                            (unsigned long long)found->term_max, (unsigned long long)vote->term);
    }
    return status;
}

/* ---- Beginning ---- */

static int delete_strangers(struct sr_raftlog *log, const struct listing *listing,
                            struct sr_err *err)
{
    int status = SR_OK;
    if (listing->temporary) {
        status = sr_log_unlink(log, "manifest.tmp", err);
    }
    for (size_t i = 0; i < listing->count && status == SR_OK; i++) {
        uint64_t number = listing->numbers[i];
        if (number < log->vote.oldest || number > log->vote.newest) {
            char name[SR_LOG_NAME_BYTES];
            sr_log_segment_name(number, name);
            status = sr_log_unlink(log, name, err);
        }
    }
    return status;
}

/* The newest segment, when nothing was ever written to it. Afterwards the index lacks it. */
static int reuse_segment(struct sr_raftlog *log, const struct found *found, int *ret_fd,
                         struct sr_err *err)
{
    char name[SR_LOG_NAME_BYTES];
    sr_log_segment_name(log->vote.newest, name);
    int fd = openat(log->dir_fd, name, O_RDWR | O_CLOEXEC);
    if (fd < 0) {
        return sr_err_errno(err, SR_IO, errno, "open %s", name);
    }
    struct sr_log_segment *last = &log->index.segments[log->index.count - 1];
    sr_check(last->number == log->vote.newest && last->ref_count == 0);
    sr_free(last->refs);
    log->index.count--;
    log->writer.end = found->newest.header.before_end;
    memcpy(log->writer.tag, found->newest.header.before_tag, sizeof(log->writer.tag));
    *ret_fd = fd;
    return SR_OK;
}

static int create_segment(struct sr_raftlog *log, uint64_t number, uint64_t *ret_size, int *ret_fd,
                          struct sr_err *err)
{
    *ret_size = log->segment_bytes;
    int status = sr_log_segment_create(log, number, *ret_size, ret_fd, err);
    if (status == SR_NO_SPACE && *ret_size > SEGMENT_BYTES_SPARE) {
        *ret_size = SEGMENT_BYTES_SPARE;
        status = sr_log_segment_create(log, number, *ret_size, ret_fd, err);
    }
    return status;
}

/* Give back what the segment before will never use. Only the size changes, and nobody counts on
 * it: not worth a sync, nor an error. */
static void trim(struct sr_raftlog *log, uint64_t number, const struct sr_log_scan *scan)
{
    char name[SR_LOG_NAME_BYTES];
    if (scan->size - scan->end < WASTE_BYTES_MAX) {
        return;
    }
    sr_log_segment_name(number, name);
    int fd = openat(log->dir_fd, name, O_WRONLY | O_CLOEXEC);
    if (fd < 0) {
        return;
    }
    if (ftruncate(fd, (off_t)scan->end) == 0) {
        atomic_fetch_sub(&log->disk_bytes, scan->size - scan->end);
        log->index.segments[log->index.count - 2].size = scan->end;
    }
    close(fd);
}

static int begin(struct sr_raftlog *log, const struct listing *listing, const struct found *found,
                 struct sr_err *err)
{
    uint64_t newest = log->vote.newest;
    uint64_t number = newest + 1;
    uint64_t size = found->newest.size;
    bool unused = newest != 0 && found->newest.end == SR_LOG_SECTOR && found->newest.dropped == 0;
    int fd = -1;

    int status = delete_strangers(log, listing, err);
    if (status == SR_OK && log->vote_fd < 0) {
        status = sr_log_vote_create(log, err);
    }
    if (status == SR_OK) {
        status = sr_log_vote_begin(log, err);
    }
    if (status != SR_OK) {
        return status;
    }
    atomic_fetch_add(&log->disk_bytes, found->segment_bytes);
    if (unused) {
        number = newest;
        status = reuse_segment(log, found, &fd, err);
    } else {
        log->writer.end = found->newest.end;
        memcpy(log->writer.tag, found->newest.tag, sizeof(log->writer.tag));
        status = create_segment(log, number, &size, &fd, err);
    }
    if (status != SR_OK) {
        return status;
    }
    if (newest == 0) {
        log->vote.oldest = number;
    }
    status = sr_log_segment_begin(log, number, size, fd, newest == 0, err);
    if (status != SR_OK) {
        close(fd);
        return status;
    }
    if (newest != 0 && !unused) {
        trim(log, newest, &found->newest);
    }
    return SR_OK;
}

/* ---- The object ---- */

static struct sr_raftlog *new_log(const struct sr_raftlog_options *options)
{
    struct sr_raftlog *log = sr_zalloc(sizeof(*log));
    size_t segment_bytes =
        options->segment_bytes == 0 ? SEGMENT_BYTES_DEFAULT : options->segment_bytes;

    log->identity.keyring = options->keyring;
    log->identity.cluster_id = options->cluster_id;
    log->identity.member_id = options->member_id;
    log->disk = options->disk != NULL ? *options->disk : sr_log_disk_real;
    log->disk.rename = log->disk.rename != NULL ? log->disk.rename : sr_log_disk_real.rename;
    log->disk.unlink = log->disk.unlink != NULL ? log->disk.unlink : sr_log_disk_real.unlink;
    log->dir = sr_strdup(options->dir);
    log->dir_fd = -1;
    log->vote_fd = -1;
    log->writer.fd = -1;
    log->prepared_fd = -1;
    if (segment_bytes < SEGMENT_BYTES_MIN) {
        segment_bytes = SEGMENT_BYTES_MIN;
    }
    log->segment_bytes = (segment_bytes + 4095) / 4096 * 4096;
    pthread_mutex_t *mutexes[] = {&log->index_mutex, &log->vote_mutex, &log->prepare_mutex,
                                  &log->release_mutex, &log->manifest_mutex};
    for (size_t i = 0; i < sizeof(mutexes) / sizeof(mutexes[0]); i++) {
        sr_check(pthread_mutex_init(mutexes[i], NULL) == 0);
    }
    sr_log_reader_init(&log->reader);
    return log;
}

static int open_directory(struct sr_raftlog *log, struct sr_err *err)
{
    log->dir_fd = open(log->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (log->dir_fd < 0) {
        return sr_err_errno(err, errno == ENOENT ? SR_NOT_FOUND : SR_IO, errno, "open");
    }
    if (flock(log->dir_fd, LOCK_EX | LOCK_NB) != 0) {
        return errno == EWOULDBLOCK ? sr_err_set(err, SR_REFUSED, "in use by another process")
                                    : sr_err_errno(err, SR_IO, errno, "lock");
    }
    return SR_OK;
}

int sr_raftlog_open(const struct sr_raftlog_options *options, struct sr_raftlog **ret,
                    struct sr_raftlog_state *ret_state, struct sr_err *err)
{
    struct listing listing = {0};
    struct found found = {0};
    struct sr_raftlog *log = new_log(options);

    int status = open_directory(log, err);
    if (status == SR_OK) {
        status = list_directory(log, &listing, err);
    }
    if (status == SR_OK) {
        status = check_all(log, &listing, &found, err);
    }
    if (status == SR_OK) {
        status = begin(log, &listing, &found, err);
    }
    sr_free(listing.numbers);
    if (status != SR_OK) {
        sr_err_prefix(err, "raft log %s", log->dir);
        sr_raftlog_close(log);
        return status;
    }
    log->pending.base = log->index.last_index;
    atomic_store(&log->durable_term, log->vote.term);
    *ret_state = (struct sr_raftlog_state){
        .term = log->vote.term,
        .voted_for = log->vote.voted_for,
        .first_index = sr_log_index_first(&log->index),
        .last_index = log->index.last_index,
        .dropped_bytes = found.dropped,
    };
    *ret = log;
    return SR_OK;
}

static void close_fd(int fd)
{
    if (fd >= 0) {
        close(fd);
    }
}

void sr_raftlog_close(struct sr_raftlog *log)
{
    if (log == NULL) {
        return;
    }
    sr_sealer_free(log->writer.sealer);
    sr_sealer_free(log->vote_sealer);
    sr_log_reader_close(&log->reader);
    sr_log_index_close(&log->index);
    sr_buf_close(&log->pending.body);
    sr_buf_close(&log->frame);
    sr_free(log->pending.starts);
    close_fd(log->writer.fd);
    close_fd(log->vote_fd);
    close_fd(log->prepared_number != 0 ? log->prepared_fd : -1);
    close_fd(log->dir_fd);
    pthread_mutex_t *mutexes[] = {&log->index_mutex, &log->vote_mutex, &log->prepare_mutex,
                                  &log->release_mutex, &log->manifest_mutex};
    for (size_t i = 0; i < sizeof(mutexes) / sizeof(mutexes[0]); i++) {
        pthread_mutex_destroy(mutexes[i]);
    }
    sr_free(log->dir);
    sr_free(log);
}
