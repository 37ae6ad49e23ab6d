/* SPDX-License-Identifier: Apache-2.0
 *
 * Beginning segments. A segment is made of written zeros, not of space merely reserved: writing
 * into reserved space makes every sync commit the file system's journal as well (measured on
 * ext4: 155 against 105 us for 4 KiB). That takes tens of milliseconds, so the next segment can
 * be prepared on another thread before it is needed; a prepared segment is all zeros and counts
 * for nothing. It begins to count in two steps, each synced: its header, and its number in the
 * vote file. Only then are there frames in it.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/check.h"
#include "storage/raftlog_impl.h"

#define ZEROS_BYTES ((size_t)256 * 1024)

static int fill_with_zeros(struct sr_raftlog *log, int fd, uint64_t size, struct sr_err *err)
{
    /* First to reserve it, so that a full disk says so before anything is written. */
    if (fallocate(fd, 0, 0, (off_t)size) != 0 && errno != EOPNOTSUPP && errno != ENOSYS) {
        int status =
            sr_err_errno(err, SR_IO, errno, "reserve %llu bytes", (unsigned long long)size);
        return status == SR_NO_SPACE ? status : sr_log_fail(log, err);
    }
    uint8_t *zeros = sr_zalloc(ZEROS_BYTES);
    int status = SR_OK;
    for (uint64_t at = 0; at < size && status == SR_OK; at += ZEROS_BYTES) {
        size_t part = size - at < ZEROS_BYTES ? (size_t)(size - at) : ZEROS_BYTES;
        status = sr_log_write(log, fd, zeros, part, at, "zeros", err);
    }
    sr_free(zeros);
    return status;
}

int sr_log_segment_create(struct sr_raftlog *log, uint64_t number, uint64_t size, int *ret_fd,
                          struct sr_err *err)
{
    char name[SR_LOG_NAME_BYTES];
    sr_log_segment_name(number, name);
    int status = sr_log_unlink(log, name, err); /* what an earlier attempt may have left */
    if (status != SR_OK) {
        return status;
    }
    int fd = openat(log->dir_fd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) {
        status = sr_err_errno(err, SR_IO, errno, "create segment %s", name);
        return status == SR_NO_SPACE ? status : sr_log_fail(log, err);
    }
    status = fill_with_zeros(log, fd, size, err);
    if (status == SR_OK) {
        status = sr_log_sync(log, fd, name, err);
    }
    if (status == SR_OK) {
        status = sr_log_sync(log, log->dir_fd, "the log's directory", err);
    }
    if (status != SR_OK) {
        sr_err_prefix(err, "create segment %s", name);
        close(fd);
        if (!atomic_load(&log->failed)) {
            sr_log_unlink(log, name, NULL);
        }
        return status;
    }
    atomic_fetch_add(&log->disk_bytes, size);
    *ret_fd = fd;
    return SR_OK;
}

/* Put the header of segment @number to @fd and sync it. */
static int write_header(struct sr_raftlog *log, struct sr_log_segment_header *header, int fd,
                        struct sr_sealer **ret_sealer, struct sr_err *err)
{
    uint8_t sector[SR_LOG_SECTOR];
    struct sr_sealer *sealer = NULL;
    int status =
        sr_log_epoch_new(&log->identity, SR_LOG_MAGIC_SEGMENT, header->preamble, &sealer, err);
    if (status == SR_OK) {
        status = sr_log_segment_header_seal(header, sealer, sector, err);
    }
    if (status == SR_OK) {
        status = sr_log_write(log, fd, sector, sizeof(sector), 0, "segment header", err);
        /* Half a header is worse than none, and the space for it was there. */
        status = status == SR_NO_SPACE ? sr_log_fail(log, err) : status;
    }
    if (status == SR_OK) {
        status = sr_log_sync(log, fd, "segment header", err);
    }
    if (status != SR_OK) {
        sr_sealer_free(sealer);
        return status;
    }
    *ret_sealer = sealer;
    return SR_OK;
}

/* Make segment @number the newest one for the next start; with @fresh, the oldest one too. */
static int record(struct sr_raftlog *log, uint64_t number, bool fresh, struct sr_err *err)
{
    sr_log_lock(&log->vote_mutex);
    log->vote.newest = number;
    if (fresh) {
        log->vote.oldest = number;
    }
    int status = sr_log_vote_store(log, err);
    sr_log_unlock(&log->vote_mutex);
    return status;
}

int sr_log_segment_begin(struct sr_raftlog *log, uint64_t number, uint64_t size, int fd, bool fresh,
                         struct sr_err *err)
{
    struct sr_log_writer *writer = &log->writer;
    struct sr_log_segment_header header = {.number = number, .size = size};
    struct sr_sealer *sealer = NULL;

    header.next_index = log->index.last_index + 1; /* only this thread changes it */
    if (!fresh) {
        header.before_end = writer->end;
        memcpy(header.before_tag, writer->tag, sizeof(header.before_tag));
    }
    int status = write_header(log, &header, fd, &sealer, err);
    if (status == SR_OK) {
        status = record(log, number, fresh, err);
    }
    if (status != SR_OK) {
        sr_sealer_free(sealer);
        return sr_err_prefix(err, "begin segment %llu", (unsigned long long)number);
    }
    sr_sealer_free(writer->sealer);
    if (writer->fd >= 0) {
        close(writer->fd);
    }
    *writer = (struct sr_log_writer){
        .number = number, .size = size, .end = SR_LOG_SECTOR, .fd = fd, .sealer = sealer};
    memcpy(writer->tag, header.tag, sizeof(writer->tag));
    sr_log_lock(&log->index_mutex);
    sr_log_index_add_segment(&log->index, number, size, header.preamble);
    sr_log_unlock(&log->index_mutex);
    return SR_OK;
}

/* The number of the next segment; the prepare mutex is held. */
static uint64_t next_number(struct sr_raftlog *log)
{
    sr_log_lock(&log->index_mutex);
    sr_check(log->index.count > 0);
    uint64_t number = log->index.segments[log->index.count - 1].number + 1;
    sr_log_unlock(&log->index_mutex);
    return number;
}

/* Take the prepared segment if it is large enough, or make one. The prepare mutex is held. */
static int take_segment(struct sr_raftlog *log, uint64_t size, int *ret_fd, uint64_t *ret_size,
                        struct sr_err *err)
{
    uint64_t number = next_number(log);
    if (log->prepared_number == number) {
        bool fits = log->prepared_size >= size;
        log->prepared_number = 0;
        if (fits) {
            *ret_fd = log->prepared_fd;
            *ret_size = log->prepared_size;
            return SR_OK;
        }
        close(log->prepared_fd);
        atomic_fetch_sub(&log->disk_bytes, log->prepared_size);
    }
    *ret_size = size;
    return sr_log_segment_create(log, number, size, ret_fd, err);
}

int sr_log_segment_roll(struct sr_raftlog *log, uint64_t bytes, bool fresh, struct sr_err *err)
{
    uint64_t size = log->segment_bytes;
    uint64_t least = (bytes + (uint64_t)2 * SR_LOG_SECTOR + 4095) / 4096 * 4096;
    int fd = -1;

    sr_log_lock(&log->prepare_mutex);
    int status = take_segment(log, size > least ? size : least, &fd, &size, err);
    if (status == SR_OK) {
        status = sr_log_segment_begin(log, next_number(log), size, fd, fresh, err);
        if (status != SR_OK) {
            close(fd);
        }
    }
    sr_log_unlock(&log->prepare_mutex);
    return status;
}

int sr_raftlog_prepare(struct sr_raftlog *log, struct sr_err *err)
{
    int status = sr_log_usable(log, err);
    if (status != SR_OK) {
        return status;
    }
    sr_log_lock(&log->prepare_mutex);
    if (log->prepared_number == 0) {
        uint64_t number = next_number(log);
        int fd = -1;
        status = sr_log_segment_create(log, number, log->segment_bytes, &fd, err);
        if (status == SR_OK) {
            log->prepared_number = number;
            log->prepared_size = log->segment_bytes;
            log->prepared_fd = fd;
        }
    }
    sr_log_unlock(&log->prepare_mutex);
    return status;
}

int sr_raftlog_wants_prepare(struct sr_raftlog *log)
{
    return atomic_load(&log->prepared_number) == 0 && log->writer.end > log->writer.size / 2;
}
