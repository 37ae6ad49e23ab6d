/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading entries back from disk. The last frame stays decrypted, with the place of the entry
 * after the one read last, so that reading in order decrypts each frame once and walks it once.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/check.h"
#include "storage/file.h"
#include "storage/raftlog_impl.h"

/* Above this the frame's memory is given back after use. */
#define KEPT_BYTES_MAX ((size_t)8 * 1024 * 1024)

/* Where an entry is; a copy, for the index may change. */
struct where {
    uint64_t number;
    uint64_t offset;
    uint8_t preamble[SR_LOG_PREAMBLE_BYTES];
};

static bool locate(struct sr_raftlog *log, uint64_t entry, struct where *ret)
{
    const struct sr_log_segment *segment = NULL;
    sr_log_lock(&log->index_mutex);
    const struct sr_log_ref *ref = sr_log_index_find(&log->index, entry, &segment);
    if (ref != NULL) {
        ret->number = segment->number;
        ret->offset = ref->offset;
        memcpy(ret->preamble, segment->preamble, sizeof(ret->preamble));
    }
    sr_log_unlock(&log->index_mutex);
    return ref != NULL;
}

static void forget_segment(struct sr_log_reader *reader)
{
    sr_sealer_free(reader->sealer);
    reader->sealer = NULL;
    if (reader->fd >= 0) {
        close(reader->fd);
    }
    reader->fd = -1;
    reader->number = 0;
    reader->offset = 0;
}

static int open_segment(struct sr_raftlog *log, const struct where *where, struct sr_err *err)
{
    struct sr_log_reader *reader = &log->reader;
    char name[SR_LOG_NAME_BYTES];

    if (reader->number == where->number) {
        return SR_OK;
    }
    forget_segment(reader);
    sr_log_segment_name(where->number, name);
    reader->fd = openat(log->dir_fd, name, O_RDONLY | O_CLOEXEC);
    if (reader->fd < 0) {
        return sr_err_errno(err, errno == ENOENT ? SR_NOT_FOUND : SR_IO, errno, "open %s", name);
    }
    int status = sr_log_epoch_open(&log->identity, SR_LOG_MAGIC_SEGMENT, where->preamble,
                                   &reader->sealer, err);
    if (status == SR_OK) {
        reader->number = where->number;
    } else {
        forget_segment(reader);
    }
    return status;
}

/* Read @size bytes at @offset, all of them. */
static int read_exactly(int fd, uint8_t *data, size_t size, uint64_t offset, struct sr_err *err)
{
    int64_t got = sr_file_pread(fd, data, size, offset);
    if (got < 0) {
        return sr_err_errno(err, SR_IO, (int)-got, "read");
    }
    return (size_t)got == size ? SR_OK : sr_err_set(err, SR_CORRUPT, "cut off");
}

static int load_frame(struct sr_raftlog *log, uint64_t offset, struct sr_err *err)
{
    struct sr_log_reader *reader = &log->reader;
    struct sr_log_place place = {.number = reader->number, .offset = offset};
    uint8_t tag[SR_SEAL_TAG_BYTES];

    if (reader->offset == offset) {
        return SR_OK;
    }
    reader->offset = 0;
    if (reader->bytes.capacity > KEPT_BYTES_MAX) {
        sr_buf_close(&reader->bytes);
    }
    sr_buf_clear(&reader->bytes);
    uint8_t *bytes = sr_buf_extend(&reader->bytes, SR_LOG_SECTOR);
    int status = read_exactly(reader->fd, bytes, SR_LOG_SECTOR, offset, err);
    if (status == SR_OK) {
        status = sr_log_frame_header_open(reader->sealer, place, bytes, &reader->frame, err);
    }
    if (status != SR_OK) {
        return status;
    }
    size_t rest = sr_log_frame_bytes(reader->frame.body) - SR_LOG_SECTOR;
    if (rest > 0) {
        sr_buf_extend(&reader->bytes, rest);
        status = read_exactly(reader->fd, reader->bytes.data + SR_LOG_SECTOR, rest,
                              offset + SR_LOG_SECTOR, err);
    }
    if (status == SR_OK) {
        status =
            sr_log_frame_open(reader->sealer, place, &reader->frame, reader->bytes.data, tag, err);
    }
    if (status == SR_OK) {
        reader->offset = offset;
        reader->at_index = reader->frame.first_index;
        reader->at_offset = 0;
    }
    return status;
}

/* Copy entry @index out of the frame in memory. */
static int pick(struct sr_log_reader *cached, uint64_t index, struct sr_buf *scratch,
                struct sr_log_entry *ret, struct sr_err *err)
{
    struct sr_reader reader =
        sr_reader_of(cached->bytes.data + SR_LOG_FRAME_HEADER, cached->frame.body);
    struct sr_log_entry entry = {0};

    if (index < cached->at_index) {
        cached->at_index = cached->frame.first_index;
        cached->at_offset = 0;
    }
    reader.offset = cached->at_offset;
    sr_check(index >= cached->at_index);
    while (cached->at_index <= index) {
        entry = sr_log_entry_read(&reader);
        cached->at_index++;
        cached->at_offset = reader.offset;
    }
    if (reader.failed) {
        cached->offset = 0;
        return sr_err_set(err, SR_CORRUPT, "its entries do not fill it");
    }
    sr_buf_clear(scratch);
    sr_buf_append(scratch, entry.data.data, entry.data.size);
    entry.data.data = scratch->data;
    *ret = entry;
    return SR_OK;
}

int sr_raftlog_read(struct sr_raftlog *log, uint64_t index, struct sr_buf *scratch,
                    struct sr_log_entry *ret_entry, struct sr_err *err)
{
    struct where where;
    int status = sr_log_usable(log, err);
    if (status != SR_OK) {
        return status;
    }
    if (!locate(log, index, &where)) {
        return sr_err_set(err, SR_NOT_FOUND, "entry %llu is not in the log",
                          (unsigned long long)index);
    }
    sr_log_lock(&log->reader.mutex);
    status = open_segment(log, &where, err);
    if (status == SR_OK) {
        status = load_frame(log, where.offset, err);
    }
    if (status == SR_OK) {
        status = pick(&log->reader, index, scratch, ret_entry, err);
    }
    sr_log_unlock(&log->reader.mutex);
    if (status == SR_NOT_FOUND && locate(log, index, &where)) {
        /* Not released meanwhile, yet its file is gone. */
        status = sr_err_set(err, SR_CORRUPT, "the segment is missing");
    }
    if (status == SR_OK || status == SR_NOT_FOUND) {
        return status;
    }
    sr_err_prefix(err, "read entry %llu: segment %llu: frame at %llu", (unsigned long long)index,
                  (unsigned long long)where.number, (unsigned long long)where.offset);
    return status == SR_IO ? sr_log_fail(log, err) : status;
}

void sr_log_reader_init(struct sr_log_reader *reader)
{
    reader->fd = -1;
    sr_check(pthread_mutex_init(&reader->mutex, NULL) == 0);
}

void sr_log_reader_close(struct sr_log_reader *reader)
{
    forget_segment(reader);
    sr_buf_close(&reader->bytes);
    pthread_mutex_destroy(&reader->mutex);
}
