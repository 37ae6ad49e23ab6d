/* SPDX-License-Identifier: Apache-2.0
 *
 * The writer fills the memtable of a store of its own and lets it flush: what makes a state durable
 * anywhere else does so here, index and all. The position goes to `meta` in the transaction that
 * stores what is before it, so that a crash costs what was put since, and nothing is stored twice.
 *
 *   put ──► memtable ──(at its bound, before a chunk that begins a revision)──► flush, position
 *   finish ──► last flush, with the point as its state ──► index ──► reopen ──► verify
 *
 * What is finished: image_writer_finish.c. Until then the staged state has applied index 0: it is
 * not mistaken for a whole one.
 *
 *   meta "incoming"   position (SR_IMAGE_POSITION_BYTES), the header's chunk
 */
#include "base/alloc.h"
#include "base/check.h"
#include "base/secret.h"
#include "storage/image_writer_impl.h"
#include "storage/record.h"

/* What a crash may cost, and the size of a transaction. */
#define STAGED_BYTES_MAX   ((size_t)4 * 1024 * 1024)
#define STAGED_ENTRIES_MAX 50000

/* ---- Open ---- */

int sr_image_writer_reopen(struct sr_image_writer *writer, struct sr_err *err)
{
    const struct sr_image_writer_options *options = &writer->options;
    struct sr_store_options store = {
        .dir = writer->dir,
        .keyring = options->keyring,
        .cluster_id = options->cluster_id,
        .member_id = options->member_id,
        .map_bytes = options->map_bytes,
        .memtable_entries_max =
            options->staged_entries_max != 0 ? options->staged_entries_max : STAGED_ENTRIES_MAX,
        .memtable_bytes_max = STAGED_BYTES_MAX,
        .unindexed_entries_max = 2 * options->staged_entries_max,
        .disk_reserve_bytes = options->disk_reserve_bytes,
    };

    sr_store_close(writer->store);
    writer->store = NULL;
    return sr_store_open(&store, &writer->store, err);
}

static int use_header(struct sr_image_writer *writer, struct sr_bytes chunk, struct sr_err *err)
{
    uint64_t wanted =
        writer->rebirth != NULL ? writer->rebirth->from_cluster_id : writer->options.cluster_id;
    int rc;

    sr_buf_clear(&writer->header);
    sr_buf_append(&writer->header, chunk.data, chunk.size);
    rc = sr_image_header_unpack((struct sr_bytes){writer->header.data, writer->header.size},
                                &writer->point, err);
    if (rc == SR_OK && writer->point.cluster_id != wanted) {
        return sr_err_set(err, SR_REFUSED, "it is of another cluster");
    }
    return rc;
}

/* Where an earlier writer has come to; nothing is fine. */
static int load_position(struct sr_image_writer *writer, MDB_txn *txn, struct sr_err *err)
{
    struct sr_store *store = writer->store;
    struct sr_buf packed = {0};
    size_t size = 0;
    int rc = sr_meta_box_size(&store->lmdb, txn, "incoming", &size, err);

    if (rc == SR_NOT_FOUND) {
        return store->durable.applied_index == 0 && store->durable.revision == 1
                   ? SR_OK
                   : sr_err_set(err, SR_EXISTS, "the directory holds a state that was not staged");
    }
    if (rc == SR_OK && size <= SR_IMAGE_POSITION_BYTES) {
        rc = sr_err_set(err, SR_CORRUPT, "meta: incoming has %zu bytes", size);
    }
    if (rc == SR_OK) {
        rc = sr_meta_get_box(&store->opener, txn, "incoming", sr_buf_extend(&packed, size), size,
                             err);
    }
    if (rc == SR_OK) {
        sr_image_position_unpack(packed.data, &writer->durable);
        rc = use_header(writer,
                        (struct sr_bytes){packed.data + SR_IMAGE_POSITION_BYTES,
                                          size - SR_IMAGE_POSITION_BYTES},
                        err);
    }
    sr_buf_close(&packed);
    writer->position = writer->durable;
    memcpy(writer->expected, writer->durable.content, sizeof(writer->expected));
    return rc;
}

static int resume(struct sr_image_writer *writer, struct sr_err *err)
{
    struct sr_store *store = writer->store;
    MDB_txn *txn;
    int rc;

    sr_lmdb_enter(&store->lmdb);
    rc = mdb_txn_begin(store->lmdb.env, NULL, MDB_RDONLY, &txn);
    if (rc != 0) {
        return sr_lmdb_failed(rc, "read meta", err);
    }
    rc = load_position(writer, txn, err);
    mdb_txn_abort(txn);
    return rc;
}

int sr_image_writer_open_rebirth(const struct sr_image_writer_options *options,
                                 const struct sr_image_rebirth *rebirth,
                                 struct sr_image_writer **ret, struct sr_err *err)
{
    struct sr_image_writer *writer = sr_zalloc(sizeof(*writer));
    int rc;

    writer->options = *options;
    writer->dir = sr_strdup(options->dir);
    writer->options.dir = writer->dir;
    writer->rebirth = rebirth;
    rc = sr_image_writer_reopen(writer, err);
    if (rc == SR_OK) {
        rc = resume(writer, err);
    }
    if (rc == SR_OK && rebirth != NULL && writer->position.chunk > 0) {
        rc = sr_err_set(err, SR_EXISTS, "the directory is not empty");
    }
    if (rc != SR_OK) {
        sr_image_writer_close(writer);
        return sr_err_prefix(err, "stage an image");
    }
    *ret = writer;
    return SR_OK;
}

int sr_image_writer_open(const struct sr_image_writer_options *options,
                         struct sr_image_writer **ret, struct sr_err *err)
{
    return sr_image_writer_open_rebirth(options, NULL, ret, err);
}

void sr_image_writer_close(struct sr_image_writer *writer)
{
    if (writer == NULL) {
        return;
    }
    sr_store_close(writer->store);
    if (writer->header.data != NULL) {
        sr_secret_wipe(writer->header.data, writer->header.capacity);
    }
    sr_buf_close(&writer->header);
    sr_free(writer->dir);
    sr_free(writer);
}

void sr_image_writer_position(const struct sr_image_writer *writer, struct sr_image_position *ret)
{
    *ret = writer->durable;
}

bool sr_image_writer_has_all(const struct sr_image_writer *writer, uint64_t *ret_index)
{
    *ret_index = writer->point.state.applied_index;
    return writer->durable.revision == SR_IMAGE_END;
}

/* ---- Flushing ---- */

static void note_position(struct sr_image_writer *writer)
{
    struct sr_buf *incoming = &writer->store->incoming;

    sr_buf_clear(incoming);
    sr_image_position_pack(&writer->position, sr_buf_extend(incoming, SR_IMAGE_POSITION_BYTES));
    sr_buf_append(incoming, writer->header.data, writer->header.size);
}

int sr_image_writer_flush(struct sr_image_writer *writer, bool force, struct sr_err *err)
{
    struct sr_store *store = writer->store;
    int rc;

    if (!sr_store_freeze(store, force)) {
        return SR_OK;
    }
    sr_store_refresh(store);
    if (!sr_store_has_space(store)) {
        return sr_err_set(err, SR_NO_SPACE, "the disk has less left than its reserve");
    }
    note_position(writer);
    rc = sr_store_flush(store, err);
    if (rc == SR_OK) {
        writer->durable = writer->position;
    }
    return rc;
}

/* ---- Put ---- */

static int put_header(struct sr_image_writer *writer, struct sr_bytes data, struct sr_err *err)
{
    int rc = use_header(writer, data, err);

    if (rc == SR_OK) {
        rc = sr_image_id(data, writer->position.id, err);
    }
    writer->position.request = writer->point.request_first;
    return rc;
}

static int put_requests(struct sr_image_writer *writer, struct sr_reader *reader,
                        struct sr_err *err)
{
    struct sr_image_position *position = &writer->position;
    struct sr_remembered *item = NULL;
    int rc = SR_OK;

    while (rc == SR_OK && sr_reader_left(reader) > 0) {
        rc = sr_image_request_read(reader, &item, err);
        if (rc != SR_OK) {
            return rc;
        }
        if (position->requests == writer->point.request_count ||
            item->number != position->request || position->versions > 0) {
            rc = sr_err_set(err, SR_CORRUPT, "remembered request %llu has no place",
                            (unsigned long long)item->number);
        } else {
            rc = sr_requests_import(writer->store, item, err);
        }
        sr_free(item);
        position->request++;
        position->requests++;
    }
    return rc;
}

bool sr_image_writer_is_changed_twice(const struct sr_image_writer *writer,
                                      const struct sr_image_version *version)
{
    const struct sr_memtable_entry *newest =
        sr_memtable_get(writer->store->active, version->key, INT64_MAX);

    return newest != NULL && newest->version.mod_revision == version->version.mod_revision;
}

static int put_versions(struct sr_image_writer *writer, struct sr_reader *reader,
                        struct sr_err *err)
{
    struct sr_image_position *position = &writer->position;
    struct sr_image_version version = {0};
    int64_t revision;
    int rc;

    while (sr_reader_left(reader) > 0) {
        rc = sr_image_version_read(reader, &version, err);
        if (rc != SR_OK) {
            return rc;
        }
        revision = version.version.mod_revision;
        if (position->requests < writer->point.request_count ||
            revision > writer->point.state.revision || revision < position->revision ||
            (revision == position->revision && version.version.sub < position->sub) ||
            version.version.sub == UINT32_MAX ||
            sr_image_writer_is_changed_twice(writer, &version)) {
            return sr_err_set(err, SR_CORRUPT, "revision %lld has no place", (long long)revision);
        }
        sr_writer_add(writer->store, version.key, version.value, &version.version);
        position->revision = revision;
        position->sub = version.version.sub + 1;
        position->versions++;
        writer->store->apply.revision = revision;
    }
    return SR_OK;
}

static int put_trailer(struct sr_image_writer *writer, struct sr_bytes data, struct sr_err *err)
{
    int rc = sr_image_trailer_check(data, &writer->position, err);

    if (rc == SR_OK && writer->position.requests != writer->point.request_count) {
        rc = sr_err_set(err, SR_CORRUPT, "remembered requests are missing");
    }
    writer->position.revision = SR_IMAGE_END;
    return rc;
}

static int put_content(struct sr_image_writer *writer, const struct sr_image_chunk *chunk,
                       struct sr_err *err)
{
    struct sr_reader reader = sr_reader_of(chunk->data.data, chunk->data.size);
    enum sr_image_kind kind = (enum sr_image_kind)sr_read_u8(&reader);

    if ((kind == SR_IMAGE_HEADER) != (chunk->number == 0)) {
        return sr_err_set(err, SR_CORRUPT, "a header has no place here, or is missing");
    }
    switch (kind) {
    case SR_IMAGE_HEADER:
        return put_header(writer, chunk->data, err);
    case SR_IMAGE_REQUESTS:
        return put_requests(writer, &reader, err);
    case SR_IMAGE_VERSIONS:
        return put_versions(writer, &reader, err);
    case SR_IMAGE_TRAILER:
        return put_trailer(writer, chunk->data, err);
    default:
        return sr_err_set(err, SR_FORMAT, "a chunk of unknown kind %u", (unsigned)kind);
    }
}

/* Whether it is the next chunk of the image that was begun, and unharmed. */
static int check_chunk(const struct sr_image_writer *writer, const struct sr_image_chunk *chunk,
                       struct sr_err *err)
{
    uint8_t content[SR_IMAGE_HASH_BYTES];
    int rc;

    if (writer->position.revision == SR_IMAGE_END) {
        return sr_err_set(err, SR_CORRUPT, "there is one after the last");
    }
    if (chunk->number != writer->position.chunk) {
        return sr_err_set(err, SR_CORRUPT, "%llu was expected",
                          (unsigned long long)writer->position.chunk);
    }
    if (chunk->data.size == 0 || chunk->data.size > SR_IMAGE_CHUNK_BYTES_MAX) {
        return sr_err_set(err, SR_CORRUPT, "it has %zu bytes", chunk->data.size);
    }
    memcpy(content, writer->position.content, sizeof(content));
    rc = sr_image_content_add(content, chunk->number, chunk->data, err);
    if (rc == SR_OK && memcmp(content, chunk->content, sizeof(content)) != 0) {
        return sr_err_set(err, SR_CORRUPT, "its checksum is not that of the next chunk");
    }
    return rc;
}

/* Whether what was put may be flushed before @chunk: it must not cut a revision in two, since the
 * index is complete up to whole revisions. */
static bool begins_revision(const struct sr_image_writer *writer,
                            const struct sr_image_chunk *chunk)
{
    struct sr_reader reader = sr_reader_of(chunk->data.data, chunk->data.size);

    if (sr_read_u8(&reader) != SR_IMAGE_VERSIONS) {
        return true;
    }
    return sr_read_u64(&reader) != (uint64_t)writer->position.revision;
}

/* The hash that the staged state will have: its header may be another than that of the image. */
static int expect(struct sr_image_writer *writer, const struct sr_image_chunk *chunk,
                  struct sr_err *err)
{
    struct sr_image_header header = writer->point;
    struct sr_buf own = {0};
    struct sr_bytes data = chunk->data;
    int rc;

    if (writer->rebirth == NULL) {
        memcpy(writer->expected, chunk->content, sizeof(writer->expected));
        return SR_OK;
    }
    if (chunk->number == 0) {
        sr_image_rebirth_header(writer->rebirth, writer->options.cluster_id, &header);
        sr_image_header_pack(&header, &own);
        data = (struct sr_bytes){own.data, own.size};
    } else if (writer->position.revision == SR_IMAGE_END) {
        struct sr_image_position end = writer->position;
        sr_image_rebirth_header(writer->rebirth, writer->options.cluster_id, &header);
        sr_image_header_pack(&header, &own);
        end.bytes = end.bytes - writer->header.size + own.size;
        sr_buf_clear(&own);
        sr_image_trailer_pack(&end, &own);
        data = (struct sr_bytes){own.data, own.size};
    }
    rc = sr_image_content_add(writer->expected, chunk->number, data, err);
    sr_buf_close(&own);
    return rc;
}

static int put(struct sr_image_writer *writer, const struct sr_image_chunk *chunk,
               struct sr_err *err)
{
    struct sr_image_position *position = &writer->position;
    int rc = check_chunk(writer, chunk, err);

    if (rc == SR_OK && begins_revision(writer, chunk)) {
        rc = sr_image_writer_flush(writer, false, err);
    }
    if (rc == SR_NO_SPACE) {
        return rc;
    }
    if (rc == SR_OK) {
        rc = put_content(writer, chunk, err);
    }
    if (rc == SR_OK) {
        rc = expect(writer, chunk, err);
    }
    writer->failed = rc != SR_OK;
    position->chunk++;
    position->bytes += chunk->data.size;
    memcpy(position->content, chunk->content, sizeof(position->content));
    return rc;
}

int sr_image_writer_put(struct sr_image_writer *writer, const struct sr_image_chunk *chunk,
                        struct sr_err *err)
{
    int rc;

    if (writer->failed) {
        return sr_err_set(err, SR_CLOSED, "stage an image: it has failed before");
    }
    rc = put(writer, chunk, err);
    return rc == SR_OK ? SR_OK
                       : sr_err_prefix(err, "stage an image: chunk %llu",
                                       (unsigned long long)chunk->number);
}
