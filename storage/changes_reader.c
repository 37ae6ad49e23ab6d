/* SPDX-License-Identifier: Apache-2.0
 *
 * Reads like the reader of images: the point is what the last flush committed, each chunk comes
 * from a view of its own, and a hold keeps what is to be read.
 *
 *   header ──► mark ──► versions up to it ──┐──► requests ──► trailer ──► end
 *                ▲──────── more marks ◄─────┘
 */
#include "base/alloc.h"
#include "base/secret.h"
#include "storage/changes_format.h"
#include "storage/event.h"
#include "storage/image_format.h"
#include "storage/image_requests.h"
#include "storage/store_internal.h"

/* Events looked at with one view. */
#define SLICE_EVENTS 20000

enum step { STEP_HEADER, STEP_MARK, STEP_VERSIONS, STEP_REQUESTS, STEP_TRAILER, STEP_END };

struct sr_changes_reader {
    struct sr_store *store;
    struct sr_hold hold;
    bool held;
    struct sr_changes_info info;
    struct sr_archive_mark *marks; /* the last one is of the point */
    size_t mark_count;
    size_t mark; /* the one that is worked on */
    uint64_t request_end;
    enum step step;
    bool exhausted; /* there are no more versions up to the mark */
    struct sr_image_position position;
    struct sr_buf chunk;
};

/* ---- Open ---- */

/* What a compaction has removed is older than its target, and not newer than the last event that it
 * has looked at. */
static bool is_complete_after(const struct sr_compaction *compaction, int64_t since)
{
    int64_t looked_at = compaction->cursor_rev - (compaction->cursor_sub == 0);

    return compaction->target - 1 <= since || looked_at <= since;
}

static int take_point(struct sr_changes_reader *reader, struct sr_view *view, int64_t until_max,
                      struct sr_err *err)
{
    struct sr_changes_info *info = &reader->info;
    uint8_t packed[SR_STATE_BYTES];
    struct sr_compaction compaction;
    struct sr_state state;
    int64_t indexed;
    int rc = sr_meta_get_box(&view->opener, view->txn, "state", packed, sizeof(packed), err);

    if (rc == SR_OK) {
        rc = sr_state_unpack(packed, &state, &compaction, &indexed, err);
    }
    if (rc != SR_OK) {
        return rc;
    }
    if (info->since > state.revision && state.applied_index > 0) {
        return sr_err_set(err, SR_INVALID, "revision %lld is not there yet: the last one is %lld",
                          (long long)info->since, (long long)state.revision);
    }
    if (info->since >= state.revision || state.applied_index == 0) {
        return sr_err_set(err, SR_NOT_FOUND, "nothing changed since");
    }
    if (!is_complete_after(&compaction, info->since)) {
        return sr_err_set(err, SR_REFUSED,
                          "a compaction to revision %lld has removed some of it: only a full "
                          "archive has it all",
                          (long long)compaction.target);
    }
    info->until = until_max > 0 && until_max < state.revision ? until_max : state.revision;
    info->index = state.applied_index;
    info->term = state.term;
    info->at_point = info->until == state.revision;
    info->compact_revision =
        state.compact_revision < info->until ? state.compact_revision : info->until;
    if (info->at_point) {
        memcpy(info->state_hash, state.hash, sizeof(info->state_hash));
    }
    return SR_OK;
}

/* Those that are within, and the point itself: it was there by now, or by the first mark that is at
 * or behind it. */
static void take_marks(struct sr_changes_reader *reader, const struct sr_archive_mark *marks,
                       size_t count, uint64_t time_ms)
{
    struct sr_archive_mark last = {.revision = reader->info.since};

    reader->marks = sr_calloc(count + 1, sizeof(*marks));
    for (size_t i = 0; i < count; i++) {
        if (marks[i].revision <= last.revision || marks[i].time_ms < last.time_ms) {
            continue;
        }
        if (marks[i].revision >= reader->info.until) {
            time_ms = marks[i].time_ms < time_ms ? marks[i].time_ms : time_ms;
            break;
        }
        last = marks[i];
        reader->marks[reader->mark_count++] = last;
    }
    last.revision = reader->info.until;
    last.time_ms = time_ms > last.time_ms ? time_ms : last.time_ms;
    reader->marks[reader->mark_count++] = last;
}

int sr_changes_reader_open(struct sr_store *store, int64_t since, int64_t until_max,
                           const struct sr_archive_mark *marks, size_t mark_count, uint64_t time_ms,
                           struct sr_changes_reader **ret, struct sr_err *err)
{
    struct sr_changes_reader *reader = sr_zalloc(sizeof(*reader));
    struct sr_changes_info *info = &reader->info;
    struct sr_view *view = NULL;
    int rc;

    reader->store = store;
    info->since = since > 0 ? since : 0;
    rc = sr_hold_begin(store, &reader->hold, err);
    reader->held = rc == SR_OK;
    if (rc == SR_OK) {
        rc = sr_view_open(store, &view, err);
    }
    if (rc == SR_OK) {
        rc = take_point(reader, view, until_max, err);
    }
    if (rc == SR_OK) {
        rc = sr_image_requests_find(store, view, info->since, info->until,
                                    &reader->position.request, &reader->request_end, err);
    }
    sr_view_close(view);
    if (rc != SR_OK) {
        sr_changes_reader_close(reader);
        return sr_err_prefix(err, "read changes since revision %lld", (long long)since);
    }
    take_marks(reader, marks, mark_count, time_ms);
    reader->position.revision = info->since + 1;
    *ret = reader;
    return SR_OK;
}

void sr_changes_reader_close(struct sr_changes_reader *reader)
{
    if (reader == NULL) {
        return;
    }
    if (reader->held) {
        sr_hold_end(reader->store, &reader->hold);
    }
    if (reader->chunk.data != NULL) {
        sr_secret_wipe(reader->chunk.data, reader->chunk.capacity);
    }
    sr_buf_close(&reader->chunk);
    sr_free(reader->marks);
    sr_free(reader);
}

void sr_changes_reader_info(const struct sr_changes_reader *reader, struct sr_changes_info *ret)
{
    *ret = reader->info;
}

/* ---- Chunks ---- */

/* Nothing between two revisions may be missing. */
static bool follows(const struct sr_image_position *position, const struct sr_version *version)
{
    if (version->sub == 0) {
        return version->mod_revision == position->revision + (position->sub > 0);
    }
    return version->mod_revision == position->revision && version->sub == position->sub;
}

/* Add the event that was read; SR_NOT_FOUND: the chunk ends before it. */
static int add_event(struct sr_changes_reader *reader, const struct sr_event *event,
                     const struct sr_buf *plain, struct sr_image_position *after,
                     struct sr_err *err)
{
    uint8_t name[SR_KEY_BYTES_MAX];
    struct sr_image_version version = {.version = event->version,
                                       .value = {plain->data, event->version.value_size}};
    size_t size = 0;
    int rc = SR_OK;

    if (!follows(after, &event->version)) {
        return sr_err_set(err, SR_REFUSED, "after revision %lld, place %u, something is missing",
                          (long long)after->revision, (unsigned)after->sub);
    }
    rc = sr_key_decode(reader->store->lmdb.codec, event->ek, event->ek_size, name, &size, err);
    if (rc != SR_OK) {
        return rc;
    }
    version.key = (struct sr_bytes){name, size};
    if (reader->chunk.size > 1 &&
        reader->chunk.size + sr_image_version_bytes(&version) > SR_IMAGE_CHUNK_FILL) {
        rc = SR_NOT_FOUND;
    } else {
        sr_image_version_pack(&version, &reader->chunk);
    }
    sr_secret_wipe(name, size);
    if (rc == SR_OK) {
        after->revision = event->version.mod_revision;
        after->sub = event->version.sub + 1;
        after->versions++;
    }
    return rc;
}

/* Go on with the chunk through one view. SR_NOT_FOUND: it is complete. */
static int fill_versions(struct sr_changes_reader *reader, struct sr_view *view,
                         struct sr_image_position *after, struct sr_err *err)
{
    struct sr_event_reader events = {.opener = &view->opener, .cursor = view->log};
    int64_t last = reader->marks[reader->mark].revision;
    struct sr_event event;
    int rc = SR_OK;

    if (reader->chunk.size == 0) {
        sr_buf_append_u8(&reader->chunk, SR_IMAGE_VERSIONS);
    }
    for (unsigned i = 0; rc == SR_OK && i < SLICE_EVENTS; i++) {
        rc = sr_event_read(&events, after->revision, after->sub, &event, err);
        if (rc == SR_OK && event.version.mod_revision > last) {
            rc = SR_NOT_FOUND;
        }
        reader->exhausted = rc == SR_NOT_FOUND;
        if (rc == SR_OK) {
            rc = add_event(reader, &event, &events.plain, after, err);
        }
    }
    sr_event_reader_close(&events);
    if (reader->exhausted && (after->revision != last || after->sub == 0)) {
        return sr_err_set(err, SR_REFUSED, "revision %lld is missing", (long long)last);
    }
    return rc;
}

/* Fill the chunk with what one view shows. SR_NOT_FOUND: it is complete. */
static int fill_slice(struct sr_changes_reader *reader, struct sr_image_position *after,
                      struct sr_err *err)
{
    struct sr_store *store = reader->store;
    struct sr_view *view = NULL;
    int rc = sr_view_open(store, &view, err);

    if (rc != SR_OK) {
        return rc;
    }
    if (sr_hold_is_expired(store, &reader->hold)) {
        rc = sr_err_set(err, SR_REFUSED,
                        "compaction has waited for this for too long, or the disk is full: begin "
                        "anew");
    } else if (reader->step == STEP_REQUESTS) {
        uint64_t first = after->request;
        sr_buf_append_u8(&reader->chunk, SR_IMAGE_REQUESTS);
        rc = sr_image_requests_add(store, view, &after->request, reader->request_end,
                                   &reader->chunk, err);
        after->requests += after->request - first;
        rc = rc == SR_OK ? SR_NOT_FOUND : rc;
    } else {
        rc = fill_versions(reader, view, after, err);
    }
    sr_view_close(view);
    return rc;
}

static void fill_header(struct sr_changes_reader *reader)
{
    struct sr_changes_header header = {.cluster_id = reader->store->options.cluster_id,
                                       .info = reader->info};

    sr_changes_header_pack(&header, &reader->chunk);
}

static int fill_step(struct sr_changes_reader *reader, struct sr_image_position *after,
                     struct sr_err *err)
{
    int rc = SR_OK;

    sr_buf_clear(&reader->chunk);
    switch (reader->step) {
    case STEP_HEADER:
        fill_header(reader);
        return SR_OK;
    case STEP_MARK:
        sr_changes_mark_pack(&reader->marks[reader->mark], &reader->chunk);
        return SR_OK;
    case STEP_VERSIONS:
    case STEP_REQUESTS:
        while (rc == SR_OK) {
            rc = fill_slice(reader, after, err);
        }
        return rc == SR_NOT_FOUND ? SR_OK : rc;
    default:
        sr_image_trailer_pack(after, &reader->chunk);
        return SR_OK;
    }
}

/* What comes after what was made. */
static void turn(struct sr_changes_reader *reader, const struct sr_image_position *position)
{
    switch (reader->step) {
    case STEP_HEADER:
        reader->step = STEP_MARK;
        break;
    case STEP_MARK:
        reader->step = STEP_VERSIONS;
        break;
    case STEP_VERSIONS:
        if (!reader->exhausted) {
            break;
        }
        reader->exhausted = false;
        reader->mark++;
        reader->step = reader->mark < reader->mark_count ? STEP_MARK : STEP_REQUESTS;
        break;
    case STEP_TRAILER:
        reader->step = STEP_END;
        break;
    default:
        break;
    }
    if (reader->step == STEP_REQUESTS && position->request == reader->request_end) {
        reader->step = STEP_TRAILER;
    }
}

/* A chunk that was filled to its end may have left no version for the next one. */
static int fill_chunk(struct sr_changes_reader *reader, struct sr_image_position *after,
                      struct sr_err *err)
{
    for (;;) {
        int rc = fill_step(reader, after, err);
        if (rc != SR_OK || reader->chunk.size > 1) {
            return rc;
        }
        turn(reader, after);
    }
}

/* A failure of the disk or of authentication is the store's. */
static int failed(struct sr_changes_reader *reader, struct sr_err *local, struct sr_err *err)
{
    if (err != NULL) {
        *err = *local;
    }
    return local->status == SR_REFUSED ? SR_REFUSED : sr_store_fail(reader->store, local);
}

int sr_changes_reader_next(struct sr_changes_reader *reader, struct sr_image_chunk *ret,
                           struct sr_err *err)
{
    struct sr_image_position after = reader->position;
    struct sr_err local = {0};
    int rc;

    if (reader->step == STEP_END) {
        return SR_NOT_FOUND;
    }
    rc = fill_chunk(reader, &after, &local);
    if (rc == SR_OK) {
        ret->data = (struct sr_bytes){reader->chunk.data, reader->chunk.size};
        rc = sr_image_content_add(after.content, after.chunk, ret->data, &local);
    }
    if (rc != SR_OK) {
        (void)sr_err_prefix(&local, "read changes: chunk %llu", (unsigned long long)after.chunk);
        return failed(reader, &local, err);
    }
    memcpy(ret->content, after.content, sizeof(ret->content));
    ret->number = after.chunk;
    after.chunk++;
    after.bytes += ret->data.size;
    reader->position = after;
    turn(reader, &after);
    ret->last = reader->step == STEP_END;
    return SR_OK;
}
