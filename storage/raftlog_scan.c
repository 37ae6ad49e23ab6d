/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading a segment at open. Every frame is authenticated and decrypted, so that damage is found
 * when the node starts and not when a follower asks for the entry.
 *
 * Of the newest segment, what follows the last good frame is one of three things:
 *   nothing but zeros: the log ends here;
 *   the remains of a write that was never synced, and so never acknowledged: some sectors of one
 *     frame, at least one of them missing (zeros), and nothing after it;
 *   damage.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/check.h"
#include "storage/file.h"
#include "storage/raftlog_impl.h"

/* A segment being read: all of it in memory. */
struct scan {
    struct sr_raftlog *log;
    uint64_t number;
    uint8_t *bytes;
    uint64_t size;
    uint64_t file_size;
    struct sr_sealer *sealer;
};

/* Read the file of segment @number, at most @limit bytes of it (0: all). */
static int load(struct scan *scan, uint64_t limit, struct sr_err *err)
{
    char name[SR_LOG_NAME_BYTES];
    struct stat stat;
    int64_t size;
    int status = SR_OK;

    sr_log_segment_name(scan->number, name);
    int fd = openat(scan->log->dir_fd, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return errno == ENOENT ? sr_err_set(err, SR_CORRUPT, "it is missing")
                               : sr_err_errno(err, SR_IO, errno, "open");
    }
    if (limit == 0) {
        status = sr_log_sync(scan->log, fd, name, err); /* see sr_log_vote_load */
    }
    if (status == SR_OK && fstat(fd, &stat) != 0) {
        status = sr_err_errno(err, SR_IO, errno, "stat");
    }
    if (status != SR_OK) {
        goto out;
    }
    posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    scan->file_size = (uint64_t)stat.st_size;
    scan->size = limit != 0 && limit < scan->file_size ? limit : scan->file_size;
    scan->bytes = sr_try_alloc(scan->size + 1);
    if (scan->bytes == NULL) {
        status = sr_err_set(err, SR_LIMIT, "no memory for its %llu bytes",
                            (unsigned long long)scan->size);
        goto out;
    }
    size = sr_file_pread(fd, scan->bytes, scan->size, 0);
    if (size < 0) {
        status = sr_err_errno(err, SR_IO, (int)-size, "read");
    } else if ((uint64_t)size != scan->size) {
        status = sr_err_set(err, SR_CORRUPT, "it shrank while it was read");
    }
out:
    close(fd);
    return status;
}

static void unload(struct scan *scan)
{
    sr_sealer_free(scan->sealer);
    sr_free(scan->bytes);
}

static int open_header(struct scan *scan, struct sr_log_segment_header *ret, struct sr_err *err)
{
    if (scan->size < SR_LOG_SECTOR) {
        return sr_err_set(err, SR_CORRUPT, "cut to %llu bytes", (unsigned long long)scan->size);
    }
    int status =
        sr_log_segment_header_open(&scan->log->identity, scan->bytes, ret, &scan->sealer, err);
    if (status == SR_OK && ret->number != scan->number) {
        status = sr_err_set(err, SR_CORRUPT, "it is segment %llu under another name",
                            (unsigned long long)ret->number);
    }
    return status;
}

static struct sr_log_place place_of(const struct scan *scan, uint64_t offset)
{
    return (struct sr_log_place){.number = scan->number, .offset = offset};
}

static bool rest_is_zero(const struct scan *scan, uint64_t offset)
{
    return offset >= scan->size || sr_log_is_zero(scan->bytes + offset, scan->size - offset);
}

static bool has_zero_sector(const uint8_t *bytes, uint64_t size)
{
    for (uint64_t at = 0; at < size; at += SR_LOG_SECTOR) {
        if (sr_log_is_zero(bytes + at, SR_LOG_SECTOR)) {
            return true;
        }
    }
    return false;
}

/* The first sector at @offset is all zeros: is what follows no more than the remains of the frame
 * that began here? A whole header further on belongs to a later frame, and that was written only
 * after this one had been synced. */
static bool header_never_written(const struct scan *scan, uint64_t offset)
{
    struct sr_log_frame frame;
    for (uint64_t at = offset + SR_LOG_SECTOR; at + SR_LOG_SECTOR <= scan->size;
         at += SR_LOG_SECTOR) {
        if (sr_get_u32(scan->bytes + at) == SR_LOG_FRAME_MAGIC &&
            sr_log_frame_header_open(scan->sealer, place_of(scan, at), scan->bytes + at, &frame,
                                     NULL) == SR_OK) {
            return false;
        }
    }
    return true;
}

/* Bytes from @offset to the last one that is not zero, in sectors. */
static uint64_t remains(const struct scan *scan, uint64_t offset)
{
    uint64_t end = scan->size;
    while (end > offset && scan->bytes[end - 1] == 0) {
        end--;
    }
    return (end - offset + SR_LOG_SECTOR - 1) / SR_LOG_SECTOR * SR_LOG_SECTOR;
}

/* Check that the entries of a decrypted body are what its header counts. */
static int check_entries(const struct sr_log_frame *frame, const uint8_t *body, uint64_t *term_max,
                         struct sr_err *err)
{
    struct sr_reader reader = sr_reader_of(body, frame->body);
    for (uint32_t i = 0; i < frame->count && !reader.failed; i++) {
        struct sr_log_entry entry = sr_log_entry_read(&reader);
        if (!reader.failed && entry.term > *term_max) {
            *term_max = entry.term;
        }
    }
    if (reader.failed || sr_reader_left(&reader) != 0) {
        return sr_err_set(err, SR_CORRUPT, "its entries do not fill it");
    }
    return SR_OK;
}

/* Check that the frame fits what was read before, and put it into the index. */
static int accept_frame(struct scan *scan, struct sr_log_scan *found,
                        const struct sr_log_frame *frame, const uint8_t *tag, struct sr_err *err)
{
    struct sr_log_index *index = &scan->log->index;
    uint64_t next = frame->truncate_from != 0 ? frame->truncate_from : index->last_index + 1;

    if (memcmp(frame->before, found->tag, sizeof(frame->before)) != 0) {
        return sr_err_set(err, SR_CORRUPT, "it does not follow the frame before");
    }
    if (next > index->last_index + 1 || (frame->count > 0 && frame->first_index != next)) {
        return sr_err_set(err, SR_CORRUPT, "its indexes do not follow the frame before");
    }
    sr_log_index_add_frame(index, frame, found->end);
    memcpy(found->tag, tag, sizeof(found->tag));
    found->end += sr_log_frame_bytes(frame->body);
    return SR_OK;
}

/* The header at found->end is good; check the rest. @ret_more tells whether the log goes on. */
static int scan_body(struct scan *scan, struct sr_log_scan *found, const struct sr_log_frame *frame,
                     bool newest, bool *ret_more, struct sr_err *err)
{
    uint8_t *bytes = scan->bytes + found->end;
    uint64_t total = sr_log_frame_bytes(frame->body);
    uint8_t tag[SR_SEAL_TAG_BYTES];

    if (total > scan->size - found->end) {
        return sr_err_set(err, SR_CORRUPT, "cut off");
    }
    /* Before decryption changes the bytes. A whole frame has no sector of zeros. */
    if (newest && has_zero_sector(bytes, total)) {
        if (!rest_is_zero(scan, found->end + total)) {
            return sr_err_set(err, SR_CORRUPT, "incomplete, and not the last one");
        }
        found->dropped = remains(scan, found->end);
        *ret_more = false;
        return SR_OK;
    }
    int status =
        sr_log_frame_open(scan->sealer, place_of(scan, found->end), frame, bytes, tag, err);
    if (status == SR_OK) {
        status = check_entries(frame, bytes + SR_LOG_FRAME_HEADER, &found->term_max, err);
    }
    if (status == SR_OK) {
        status = accept_frame(scan, found, frame, tag, err);
    }
    *ret_more = true;
    return status;
}

/* One frame at found->end. */
static int scan_frame(struct scan *scan, struct sr_log_scan *found, bool newest, bool *ret_more,
                      struct sr_err *err)
{
    struct sr_log_frame frame;
    const uint8_t *sector = scan->bytes + found->end;

    if (scan->size - found->end < SR_LOG_SECTOR) {
        return sr_err_set(err, SR_CORRUPT, "cut off");
    }
    if (newest && sr_log_is_zero(sector, SR_LOG_SECTOR)) {
        if (!header_never_written(scan, found->end)) {
            return sr_err_set(err, SR_CORRUPT, "a frame is missing before others");
        }
        found->dropped = remains(scan, found->end);
        *ret_more = false;
        return SR_OK;
    }
    int status =
        sr_log_frame_header_open(scan->sealer, place_of(scan, found->end), sector, &frame, err);
    if (status != SR_OK) {
        return status;
    }
    return scan_body(scan, found, &frame, newest, ret_more, err);
}

static int scan_frames(struct scan *scan, struct sr_log_scan *found, uint64_t end,
                       struct sr_err *err)
{
    bool newest = end == 0;
    bool more = true;
    uint64_t limit = newest ? scan->size : end;
    size_t count = 0;

    while (more && found->end < limit) {
        int status = scan_frame(scan, found, newest, &more, err);
        if (status != SR_OK) {
            sr_err_prefix(err, "frame %zu at %llu", count, (unsigned long long)found->end);
            return status;
        }
        count++;
    }
    if (!newest && found->end != end) {
        return sr_err_set(err, SR_CORRUPT, "ends at %llu, its successor says %llu",
                          (unsigned long long)found->end, (unsigned long long)end);
    }
    return SR_OK;
}

int sr_log_scan_segment(struct sr_raftlog *log, uint64_t number, uint64_t end,
                        struct sr_log_scan *ret, struct sr_err *err)
{
    struct scan scan = {.log = log, .number = number};
    struct sr_log_scan found = {.end = SR_LOG_SECTOR};

    int status = load(&scan, end, err);
    if (status == SR_OK) {
        status = open_header(&scan, &found.header, err);
    }
    if (status != SR_OK) {
        goto out;
    }
    found.size = scan.file_size;
    memcpy(found.tag, found.header.tag, sizeof(found.tag));
    if (log->index.count == 0) {
        log->index.last_index = found.header.next_index - 1;
    } else if (found.header.next_index != log->index.last_index + 1) {
        status = sr_err_set(err, SR_CORRUPT, "begins at index %llu instead of %llu",
                            (unsigned long long)found.header.next_index,
                            (unsigned long long)log->index.last_index + 1);
        goto out;
    }
    if (end == 0 && found.header.size != scan.file_size) {
        status =
            sr_err_set(err, SR_CORRUPT, "%llu bytes instead of %llu",
                       (unsigned long long)scan.file_size, (unsigned long long)found.header.size);
        goto out;
    }
    sr_log_index_add_segment(&log->index, number, found.size, found.header.preamble);
    status = scan_frames(&scan, &found, end, err);
    if (status == SR_OK) {
        *ret = found;
    }
out:
    unload(&scan);
    return status;
}

int sr_log_scan_header(struct sr_raftlog *log, uint64_t number, struct sr_log_segment_header *ret,
                       struct sr_err *err)
{
    struct scan scan = {.log = log, .number = number};
    int status = load(&scan, SR_LOG_SECTOR, err);
    if (status == SR_OK) {
        status = open_header(&scan, ret, err);
    }
    unload(&scan);
    return status;
}

int sr_log_scan_unused(struct sr_raftlog *log, uint64_t number, struct sr_err *err)
{
    struct scan scan = {.log = log, .number = number};
    struct sr_log_segment_header header;
    int status = load(&scan, 0, err);
    if (status == SR_OK && !rest_is_zero(&scan, 0)) {
        status = open_header(&scan, &header, err);
        if (status == SR_OK && !rest_is_zero(&scan, SR_LOG_SECTOR)) {
            status = sr_err_set(err, SR_CORRUPT,
                                "it is in use, but the vote file does not know "
                                "it: the vote file is an old one");
        }
    }
    unload(&scan);
    return status;
}
