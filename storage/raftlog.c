/* SPDX-License-Identifier: Apache-2.0
 *
 * Writing the log. What is appended waits in memory; a sync seals it as one frame, writes that
 * with one write and syncs once. Truncation of the suffix is a fact in a frame, never a change of
 * what is on disk; truncation of the prefix is the deletion of whole segments, after the vote
 * file says which one is the oldest.
 */
#include "storage/raftlog.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/clock.h"
#include "storage/raftlog_impl.h"

/* A buffer that has grown beyond this is given back after use. */
#define KEPT_BYTES_MAX ((size_t)16 * 1024 * 1024)

/* ---- Waiting ---- */

void sr_raftlog_append(struct sr_raftlog *log, const struct sr_log_entry *entries, size_t count)
{
    struct sr_log_pending *pending = &log->pending;
    for (size_t i = 0; i < count; i++) {
        sr_check(entries[i].data.size <= UINT32_MAX / 4);
        if (pending->count == pending->capacity) {
            pending->capacity = pending->capacity == 0 ? 64 : pending->capacity * 2;
            pending->starts =
                sr_realloc(pending->starts, pending->capacity * sizeof(*pending->starts));
        }
        pending->starts[pending->count++] = pending->body.size;
        sr_buf_append_u64(&pending->body, entries[i].term);
        sr_buf_append_u32(&pending->body, entries[i].type);
        sr_buf_append_u32(&pending->body, (uint32_t)entries[i].data.size);
        sr_buf_append(&pending->body, entries[i].data.data, entries[i].data.size);
        if (entries[i].term > pending->term_max) {
            pending->term_max = entries[i].term;
        }
    }
}

void sr_raftlog_truncate(struct sr_raftlog *log, uint64_t index)
{
    struct sr_log_pending *pending = &log->pending;
    sr_check(index > 0);
    if (index > pending->base) {
        size_t keep = (size_t)(index - pending->base - 1);
        if (keep < pending->count) {
            pending->body.size = pending->starts[keep];
            pending->count = keep;
        }
        return;
    }
    pending->body.size = 0;
    pending->count = 0;
    pending->base = index - 1;
    pending->truncate_from = index;
}

static void pending_clear(struct sr_log_pending *pending, uint64_t base)
{
    if (pending->body.capacity > KEPT_BYTES_MAX) {
        sr_buf_close(&pending->body);
    }
    sr_buf_clear(&pending->body);
    pending->count = 0;
    pending->base = base;
    pending->truncate_from = 0;
    pending->term_max = 0;
}

/* How many entries from @from on go into one frame: at least one, and no more than fit. */
static size_t group_count(const struct sr_log_pending *pending, size_t from, size_t *ret_bytes)
{
    size_t start = from < pending->count ? pending->starts[from] : pending->body.size;
    size_t to = from;
    size_t bytes = 0;
    while (to < pending->count) {
        size_t end = to + 1 < pending->count ? pending->starts[to + 1] : pending->body.size;
        if (to > from && end - start > SR_LOG_BODY_BYTES_MAX) {
            break;
        }
        bytes = end - start;
        to++;
    }
    *ret_bytes = bytes;
    return to - from;
}

/* ---- Writing ---- */

/* A write of @bytes found no room, though the segment has it (a file system that copies on
 * write): leave zeros behind, or stop. */
static int undo_write(struct sr_raftlog *log, size_t bytes, struct sr_err *err)
{
    struct sr_err second;
    memset(log->frame.data, 0, bytes);
    if (sr_log_write(log, log->writer.fd, log->frame.data, bytes, log->writer.end, "zeros",
                     &second) != SR_OK ||
        sr_log_sync(log, log->writer.fd, "zeros", &second) != SR_OK) {
        return sr_log_fail(log, err);
    }
    return SR_NO_SPACE;
}

/* Seal, write and sync one frame, then let readers see it. */
static int write_frame(struct sr_raftlog *log, struct sr_log_frame *frame, const uint8_t *body,
                       struct sr_err *err)
{
    struct sr_log_writer *writer = &log->writer;
    size_t bytes = sr_log_frame_bytes(frame->body);
    uint8_t tag[SR_SEAL_TAG_BYTES];
    int status = SR_OK;

    if (bytes > writer->size - writer->end) {
        status = sr_log_segment_roll(log, bytes, false, err);
        if (status != SR_OK) {
            return status;
        }
    }
    struct sr_log_place place = {.number = writer->number, .offset = writer->end};
    sr_buf_clear(&log->frame);
    memcpy(frame->before, writer->tag, sizeof(frame->before));
    status = sr_log_frame_seal(writer->sealer, place, frame, body,
                               sr_buf_extend(&log->frame, bytes), tag, err);
    if (status != SR_OK) {
        return status;
    }
    status = sr_log_write(log, writer->fd, log->frame.data, bytes, writer->end, "frame", err);
    if (status == SR_NO_SPACE) {
        return undo_write(log, bytes, err);
    }
    if (status == SR_OK) {
        status = sr_log_sync(log, writer->fd, "frame", err);
    }
    if (status != SR_OK) {
        return status;
    }
    sr_log_lock(&log->index_mutex);
    sr_log_index_add_frame(&log->index, frame, writer->end);
    sr_log_unlock(&log->index_mutex);
    memcpy(writer->tag, tag, sizeof(tag));
    writer->end += bytes;
    if (log->frame.capacity > KEPT_BYTES_MAX) {
        sr_buf_close(&log->frame);
    }
    return SR_OK;
}

/* The first @done entries are on disk. */
static void pending_written(struct sr_log_pending *pending, size_t done)
{
    size_t cut = done < pending->count ? pending->starts[done] : pending->body.size;
    for (size_t i = done; i < pending->count; i++) {
        pending->starts[i - done] = pending->starts[i] - cut;
    }
    sr_buf_consume(&pending->body, cut);
    pending->count -= done;
    pending->base += done;
    pending->truncate_from = 0;
}

int sr_raftlog_sync(struct sr_raftlog *log, struct sr_err *err)
{
    struct sr_log_pending *pending = &log->pending;
    uint64_t start = sr_clock_monotonic_ns();
    size_t done = 0;

    int status = sr_log_usable(log, err);
    if (status != SR_OK || (pending->count == 0 && pending->truncate_from == 0)) {
        return status;
    }
    /* The next open will refuse a log whose entries are of later terms than its vote. */
    sr_check(pending->term_max <= atomic_load(&log->durable_term));
    do {
        size_t bytes = 0;
        struct sr_log_frame frame = {.first_index = pending->base + done + 1};
        frame.count = (uint32_t)group_count(pending, done, &bytes);
        frame.body = (uint32_t)bytes;
        frame.truncate_from = done == 0 ? pending->truncate_from : 0;
        const uint8_t *body = frame.count > 0 ? pending->body.data + pending->starts[done] : NULL;
        status = write_frame(log, &frame, body, err);
        if (status != SR_OK) {
            if (done > 0) {
                pending_written(pending, done);
            }
            sr_err_prefix(err, "sync the log");
            return status;
        }
        done += frame.count;
    } while (done < pending->count);
    pending_clear(pending, pending->base + done);
    sr_histogram_observe(&log->metrics.sync_duration, sr_clock_monotonic_ns() - start);
    return SR_OK;
}

/* ---- Dropping the prefix ---- */

/* Drop the @count oldest segments from memory and disk. The vote file knows already. */
static int drop_segments(struct sr_raftlog *log, size_t count, struct sr_err *err)
{
    uint64_t *numbers = sr_calloc(count, sizeof(*numbers));
    uint64_t freed = 0;
    int status = SR_OK;

    sr_log_lock(&log->index_mutex);
    for (size_t i = 0; i < count; i++) {
        numbers[i] = log->index.segments[i].number;
        freed += log->index.segments[i].size;
    }
    sr_log_index_drop_segments(&log->index, count);
    sr_log_unlock(&log->index_mutex);
    for (size_t i = 0; i < count && status == SR_OK; i++) {
        char name[SR_LOG_NAME_BYTES];
        sr_log_segment_name(numbers[i], name);
        status = sr_log_unlink(log, name, err);
    }
    atomic_fetch_sub(&log->disk_bytes, freed);
    sr_free(numbers);
    return status;
}

int sr_raftlog_release(struct sr_raftlog *log, uint64_t index, struct sr_err *err)
{
    int status = sr_log_usable(log, err);
    if (status != SR_OK) {
        return status;
    }
    sr_log_lock(&log->release_mutex);
    sr_log_lock(&log->index_mutex);
    size_t count = sr_log_index_releasable(&log->index, index);
    uint64_t oldest = log->index.segments[count].number;
    sr_log_unlock(&log->index_mutex);
    if (count > 0) {
        sr_log_lock(&log->vote_mutex);
        log->vote.oldest = oldest;
        status = sr_log_vote_store(log, err);
        sr_log_unlock(&log->vote_mutex);
        if (status == SR_OK) {
            status = drop_segments(log, count, err);
        }
    }
    sr_log_unlock(&log->release_mutex);
    return status;
}

int sr_raftlog_reset(struct sr_raftlog *log, uint64_t index, struct sr_err *err)
{
    int status = sr_log_usable(log, err);
    if (status != SR_OK) {
        return status;
    }
    sr_log_lock(&log->release_mutex);
    sr_log_lock(&log->index_mutex);
    uint64_t last_index = log->index.last_index;
    log->index.last_index = index; /* where the next segment begins */
    size_t count = log->index.count;
    sr_log_unlock(&log->index_mutex);
    status = sr_log_segment_roll(log, 0, true, err);
    if (status == SR_OK) {
        status = drop_segments(log, count, err);
        pending_clear(&log->pending, index);
    } else {
        sr_log_lock(&log->index_mutex);
        log->index.last_index = last_index;
        sr_log_unlock(&log->index_mutex);
    }
    sr_log_unlock(&log->release_mutex);
    return status;
}

uint64_t sr_raftlog_disk_bytes(const struct sr_raftlog *log)
{
    return atomic_load(&log->disk_bytes);
}

const struct sr_raftlog_metrics *sr_raftlog_metrics(const struct sr_raftlog *log)
{
    return &log->metrics;
}
