/* SPDX-License-Identifier: Apache-2.0
 *
 * The reader takes the point from what the last flush committed, so that LMDB alone has all of it,
 * and each chunk from a view of its own: no view lives longer than a chunk takes. What is written
 * later is of later revisions and numbers and is passed over; what is superseded later stays there
 * while the hold lasts.
 *
 * What a compaction up to the point has not yet removed is left out: while one is not finished,
 * each version at or below the compact revision is looked up once more.
 */
#include "base/alloc.h"
#include "base/check.h"
#include "base/secret.h"
#include "storage/cluster_record.h"
#include "storage/event.h"
#include "storage/image_format.h"
#include "storage/image_requests.h"
#include "storage/offsite_record.h"
#include "storage/request_record.h"

/* Events looked at with one view. */
#define SLICE_EVENTS 20000

struct sr_image_reader {
    struct sr_store *store;
    struct sr_hold hold;
    bool held;
    bool bare;      /* without the off-site record */
    bool compacted; /* LMDB has nothing that is superseded at the point */
    struct sr_buf header;
    struct sr_state state;
    uint64_t request_first;
    uint64_t request_count;
    struct sr_image_position position;
    struct sr_image_info info;
    struct sr_buf chunk;
    int64_t last; /* revision of the last version in it; what was left out does not count */
};

/* ---- Open ---- */

/* Which request ids are remembered at the point: the last ones in the table. */
static int find_requests(struct sr_image_reader *reader, MDB_txn *txn, struct sr_err *err)
{
    MDB_cursor *cursor;
    MDB_val first;
    MDB_val last;
    MDB_val data;
    int rc = mdb_cursor_open(txn, reader->store->lmdb.request, &cursor);

    if (rc != 0) {
        return sr_lmdb_failed(rc, "read remembered requests", err);
    }
    rc = mdb_cursor_get(cursor, &first, &data, MDB_FIRST);
    if (rc == 0) {
        rc = mdb_cursor_get(cursor, &last, &data, MDB_LAST);
    }
    mdb_cursor_close(cursor);
    if (rc == MDB_NOTFOUND) {
        return SR_OK;
    }
    if (rc != 0) {
        return sr_lmdb_failed(rc, "read remembered requests", err);
    }
    if (first.mv_size != SR_REQUEST_KEY_BYTES || last.mv_size != SR_REQUEST_KEY_BYTES) {
        return sr_err_set(err, SR_CORRUPT, "remembered request: bad size");
    }
    reader->request_first = sr_get_u64(first.mv_data);
    reader->request_count = sr_get_u64(last.mv_data) - reader->request_first + 1;
    if (reader->request_count > SR_REMEMBERED_REQUESTS_MAX) {
        reader->request_first += reader->request_count - SR_REMEMBERED_REQUESTS_MAX;
        reader->request_count = SR_REMEMBERED_REQUESTS_MAX;
    }
    return SR_OK;
}

static void close_wiped(struct sr_buf *buf)
{
    if (buf->data != NULL) {
        sr_secret_wipe(buf->data, buf->capacity);
    }
    sr_buf_close(buf);
}

static int make_header(struct sr_image_reader *reader, struct sr_view *view, struct sr_err *err)
{
    struct sr_buf record = {0};
    struct sr_buf offsite = {0};
    struct sr_buf secret = {0};
    int rc = sr_cluster_read(&view->opener, view->txn, &record, err);

    if (rc == SR_OK && !reader->bare) {
        rc = sr_offsite_read(&view->opener, view->txn, &offsite, &secret, err);
    }
    if (rc == SR_OK) {
        rc = find_requests(reader, view->txn, err);
    }
    if (rc == SR_OK) {
        struct sr_image_header header = {.cluster_id = reader->store->options.cluster_id,
                                         .state = reader->state,
                                         .request_first = reader->request_first,
                                         .request_count = reader->request_count,
                                         .record = {record.data, record.size},
                                         .offsite = {offsite.data, offsite.size},
                                         .offsite_secret = {secret.data, secret.size}};
        sr_image_header_pack(&header, &reader->header);
        rc = sr_image_id((struct sr_bytes){reader->header.data, reader->header.size},
                         reader->info.id, err);
    }
    sr_buf_close(&record);
    sr_buf_close(&offsite);
    close_wiped(&secret);
    return rc;
}

/* How far a compaction has come is stored beside the state. */
static int take_point(struct sr_image_reader *reader, struct sr_view *view, struct sr_err *err)
{
    uint8_t packed[SR_STATE_BYTES];
    struct sr_compaction compaction;
    int64_t indexed;
    int rc = sr_meta_get_box(&view->opener, view->txn, "state", packed, sizeof(packed), err);

    if (rc == SR_OK) {
        rc = sr_state_unpack(packed, &reader->state, &compaction, &indexed, err);
    }
    if (rc != SR_OK) {
        return rc;
    }
    if (reader->state.applied_index == 0) {
        return sr_err_set(err, SR_NOT_FOUND, "nothing was stored yet");
    }
    reader->compacted = compaction.target == reader->state.compact_revision &&
                        !sr_compaction_is_pending(&compaction);
    rc = make_header(reader, view, err);
    reader->position.request = reader->request_first;
    reader->info.index = reader->state.applied_index;
    reader->info.term = reader->state.term;
    reader->info.revision = reader->state.revision;
    reader->info.bytes = (uint64_t)sr_gauge_read(&reader->store->metrics.in_use_bytes);
    return rc;
}

static int reader_open(struct sr_store *store, bool bare, struct sr_image_reader **ret,
                       struct sr_err *err)
{
    struct sr_image_reader *reader = sr_zalloc(sizeof(*reader));
    struct sr_view *view = NULL;
    int rc;

    reader->store = store;
    reader->bare = bare;
    rc = sr_hold_begin(store, &reader->hold, err);
    reader->held = rc == SR_OK;
    if (rc == SR_OK) {
        rc = sr_view_open(store, &view, err);
    }
    if (rc == SR_OK) {
        rc = take_point(reader, view, err);
    }
    sr_view_close(view);
    if (rc != SR_OK) {
        sr_image_reader_close(reader);
        return sr_err_prefix(err, "begin an image");
    }
    *ret = reader;
    return SR_OK;
}

int sr_image_reader_open(struct sr_store *store, struct sr_image_reader **ret, struct sr_err *err)
{
    return reader_open(store, false, ret, err);
}

int sr_image_reader_open_bare(struct sr_store *store, struct sr_image_reader **ret,
                              struct sr_err *err)
{
    return reader_open(store, true, ret, err);
}

void sr_image_reader_close(struct sr_image_reader *reader)
{
    if (reader == NULL) {
        return;
    }
    if (reader->held) {
        sr_hold_end(reader->store, &reader->hold);
    }
    close_wiped(&reader->chunk);
    close_wiped(&reader->header);
    sr_free(reader);
}

void sr_image_reader_info(const struct sr_image_reader *reader, struct sr_image_info *ret)
{
    *ret = reader->info;
}

int sr_image_reader_seek(struct sr_image_reader *reader, const struct sr_image_position *position,
                         struct sr_err *err)
{
    if (position->chunk == 0) {
        reader->position = (struct sr_image_position){.request = reader->request_first};
        return SR_OK;
    }
    /* It comes from another node: a request that is not there would be damage to this store. */
    if (memcmp(position->id, reader->info.id, SR_IMAGE_ID_BYTES) != 0 ||
        position->requests > reader->request_count ||
        position->request != reader->request_first + position->requests) {
        return sr_err_set(err, SR_NOT_FOUND, "the position is in another image");
    }
    reader->position = *position;
    return SR_OK;
}

/* ---- Chunks ---- */

static int fill_requests(struct sr_image_reader *reader, struct sr_view *view,
                         struct sr_image_position *after, struct sr_err *err)
{
    uint64_t first = after->request;
    int rc;

    sr_buf_append_u8(&reader->chunk, SR_IMAGE_REQUESTS);
    rc = sr_image_requests_add(reader->store, view, &after->request,
                               reader->request_first + reader->request_count, &reader->chunk, err);
    after->requests += after->request - first;
    return rc;
}

/* Whether a compaction up to the point would remove @version. */
static int is_superseded(struct sr_image_reader *reader, struct sr_view *view, struct sr_bytes key,
                         const struct sr_version *version, bool *ret, struct sr_err *err)
{
    int64_t compact = reader->state.compact_revision;
    struct sr_version newest = {0};
    int rc = SR_OK;

    *ret = false;
    if (reader->compacted || version->mod_revision > compact) {
        return SR_OK;
    }
    if (version->tombstone && version->mod_revision < compact) {
        *ret = true;
        return SR_OK;
    }
    rc = sr_view_get_any(view, key, compact, &newest, err);
    if (rc == SR_NOT_FOUND) {
        return sr_err_set(err, SR_CORRUPT, "revision %lld: in the log but not in the index",
                          (long long)version->mod_revision);
    }
    *ret = newest.mod_revision != version->mod_revision;
    return rc;
}

static bool ends_before(const struct sr_image_reader *reader,
                        const struct sr_image_version *version, int64_t last)
{
    size_t size = reader->chunk.size;

    if (size <= 1) {
        return false;
    }
    return size + sr_image_version_bytes(version) > SR_IMAGE_CHUNK_FILL ||
           (version->version.mod_revision != last && size > SR_IMAGE_CHUNK_FILL / 4 * 3);
}

/* Add the event that was read, unless it is superseded; SR_NOT_FOUND: the chunk ends before it. */
static int add_event(struct sr_image_reader *reader, struct sr_view *view,
                     const struct sr_event *event, const struct sr_buf *plain,
                     struct sr_image_position *after, struct sr_err *err)
{
    uint8_t name[SR_KEY_BYTES_MAX];
    struct sr_image_version version = {.version = event->version,
                                       .value = {plain->data, event->version.value_size}};
    size_t size = 0;
    bool superseded = false;
    int rc = sr_key_decode(reader->store->lmdb.codec, event->ek, event->ek_size, name, &size, err);

    if (rc != SR_OK) {
        return rc;
    }
    version.key = (struct sr_bytes){name, size};
    rc = is_superseded(reader, view, version.key, &event->version, &superseded, err);
    if (rc == SR_OK && !superseded) {
        if (ends_before(reader, &version, reader->last)) {
            rc = SR_NOT_FOUND;
        } else {
            sr_image_version_pack(&version, &reader->chunk);
            reader->last = event->version.mod_revision;
            after->versions++;
        }
    }
    sr_secret_wipe(name, size);
    if (rc == SR_OK) {
        after->revision = event->version.mod_revision;
        after->sub = event->version.sub + 1;
    }
    return rc;
}

/* Go on with the chunk through one view. SR_NOT_FOUND: it is complete. */
static int fill_versions(struct sr_image_reader *reader, struct sr_view *view,
                         struct sr_image_position *after, struct sr_err *err)
{
    struct sr_event_reader events = {.opener = &view->opener, .cursor = view->log};
    struct sr_event event;
    int rc = SR_OK;

    for (unsigned i = 0; rc == SR_OK && i < SLICE_EVENTS; i++) {
        rc = sr_event_read(&events, after->revision, after->sub, &event, err);
        if (rc == SR_OK && event.version.mod_revision > reader->state.revision) {
            rc = SR_NOT_FOUND;
        }
        if (rc == SR_OK) {
            rc = add_event(reader, view, &event, &events.plain, after, err);
        }
    }
    sr_event_reader_close(&events);
    return rc;
}

/* Fill the chunk with what one view shows. SR_NOT_FOUND: it is complete. */
static int fill_slice(struct sr_image_reader *reader, struct sr_image_position *after,
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
                        "compaction has waited for this image for too long, or the disk is full: "
                        "begin anew");
    } else if (after->requests < reader->request_count) {
        rc = fill_requests(reader, view, after, err);
        rc = rc == SR_OK ? SR_NOT_FOUND : rc;
    } else {
        if (reader->chunk.size == 0) {
            sr_buf_append_u8(&reader->chunk, SR_IMAGE_VERSIONS);
        }
        rc = fill_versions(reader, view, after, err);
    }
    sr_view_close(view);
    return rc;
}

static int fill_chunk(struct sr_image_reader *reader, struct sr_image_position *after,
                      struct sr_err *err)
{
    int rc = SR_OK;

    sr_buf_clear(&reader->chunk);
    if (after->chunk == 0) {
        sr_buf_append(&reader->chunk, reader->header.data, reader->header.size);
        return SR_OK;
    }
    while (rc == SR_OK) {
        rc = fill_slice(reader, after, err);
    }
    if (rc != SR_NOT_FOUND) {
        return rc;
    }
    if (reader->chunk.size == 1) { /* no more versions */
        sr_buf_clear(&reader->chunk);
        sr_image_trailer_pack(after, &reader->chunk);
        after->revision = SR_IMAGE_END;
    }
    return SR_OK;
}

/* A failure of the disk or of authentication is the store's. */
static int failed(struct sr_image_reader *reader, struct sr_err *local, struct sr_err *err)
{
    if (err != NULL) {
        *err = *local;
    }
    if (local->status == SR_REFUSED) {
        return SR_REFUSED;
    }
    return sr_store_fail(reader->store, local);
}

int sr_image_reader_next(struct sr_image_reader *reader, struct sr_image_chunk *ret,
                         struct sr_err *err)
{
    struct sr_image_position after = reader->position;
    struct sr_err local = {0};
    int rc;

    if (after.revision == SR_IMAGE_END) {
        return SR_NOT_FOUND;
    }
    rc = fill_chunk(reader, &after, &local);
    if (rc == SR_OK) {
        ret->data = (struct sr_bytes){reader->chunk.data, reader->chunk.size};
        rc = sr_image_content_add(after.content, after.chunk, ret->data, &local);
    }
    if (rc != SR_OK) {
        (void)sr_err_prefix(&local, "read an image: chunk %llu", (unsigned long long)after.chunk);
        return failed(reader, &local, err);
    }
    memcpy(ret->content, after.content, sizeof(ret->content));
    memcpy(after.id, reader->info.id, sizeof(after.id));
    ret->number = after.chunk;
    ret->last = after.revision == SR_IMAGE_END;
    after.chunk++;
    after.bytes += ret->data.size;
    reader->position = after;
    return SR_OK;
}

int sr_image_scrub(struct sr_store *store, uint64_t *ret_bytes, struct sr_err *err)
{
    struct sr_image_reader *reader = NULL;
    struct sr_image_chunk chunk = {0};
    int rc = sr_image_reader_open(store, &reader, err);

    *ret_bytes = 0;
    if (rc != SR_OK) {
        return rc;
    }
    while (rc == SR_OK) {
        rc = sr_image_reader_next(reader, &chunk, err);
        *ret_bytes += rc == SR_OK ? chunk.data.size : 0;
    }
    sr_image_reader_close(reader);
    return rc == SR_NOT_FOUND ? SR_OK : rc;
}

int sr_image_verify(struct sr_store *store, const uint8_t content[SR_IMAGE_HASH_BYTES],
                    struct sr_err *err)
{
    struct sr_image_reader *reader = NULL;
    struct sr_image_chunk chunk = {0};
    int rc = sr_image_reader_open(store, &reader, err);

    while (rc == SR_OK) {
        rc = sr_image_reader_next(reader, &chunk, err);
    }
    sr_image_reader_close(reader);
    if (rc != SR_NOT_FOUND) {
        return rc;
    }
    if (memcmp(chunk.content, content, SR_IMAGE_HASH_BYTES) != 0) {
        return sr_err_set(err, SR_CORRUPT, "what was read back is not what was staged");
    }
    return SR_OK;
}
