/* SPDX-License-Identifier: Apache-2.0
 *
 * Chunks are asked for their rules once more before they are sealed: an archive that its own reader
 * would refuse is not to be shipped.
 */
#include <string.h>
#include <time.h>
#include <zstd.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/secret.h"
#include "storage/archive_check.h"
#include "storage/archive_format.h"
#include "storage/changes.h"
#include "storage/store_internal.h"

#define LEVEL_DEFAULT 3
/* A reader that finds all views taken is asked again, for half a minute. */
#define BUSY_PAUSE_NS  10000000L
#define BUSY_TIMES_MAX 3000

struct writer {
    const struct sr_archive_sink *sink;
    struct sr_archive_seal seal;
    struct sr_archive_check check;
    ZSTD_CCtx *zstd;
    uint8_t *piece; /* word, SR_ARCHIVE_PIECE_BYTES, tag */
    size_t filled;
    uint64_t bytes;
};

#define PIECE_ROOM (SR_ARCHIVE_PREFIX_BYTES + SR_ARCHIVE_PIECE_BYTES + SR_SEAL_TAG_BYTES)

/* ---- Begin and end ---- */

static int put(struct writer *writer, const void *data, size_t size, struct sr_err *err)
{
    writer->bytes += size;
    return writer->sink->put(writer->sink->arg, data, size, err);
}

static int make_header(const struct sr_archive_header *header, const struct sr_archive_keys *keys,
                       const uint8_t dek[SR_KEY_BYTES], struct sr_buf *out, struct sr_err *err)
{
    uint8_t salt[SR_SALT_BYTES];
    struct sr_buf wrapped = {0};
    int rc;

    sr_random_bytes(salt, sizeof(salt));
    sr_archive_header_pack(header, salt, out);
    rc = keys->wrap(keys->arg, dek, (struct sr_bytes){out->data, out->size}, &wrapped, err);
    if (rc == SR_OK && wrapped.size > SR_ARCHIVE_WRAPPED_BYTES_MAX) {
        rc = sr_err_set(err, SR_LIMIT, "wrapped keys of %zu bytes", wrapped.size);
    }
    sr_buf_append_u32(out, (uint32_t)wrapped.size);
    sr_buf_append(out, wrapped.data, wrapped.size);
    sr_buf_close(&wrapped);
    return rc;
}

static int begin(struct writer *writer, struct sr_archive_header *header,
                 const struct sr_archive_keys *keys, struct sr_err *err)
{
    uint8_t *dek = sr_secret_alloc(SR_KEY_BYTES);
    struct sr_buf packed = {0};
    int rc;

    sr_random_bytes(dek, SR_KEY_BYTES);
    sr_random_bytes(header->id, sizeof(header->id));
    sr_archive_check_begin(&writer->check, header);
    rc = make_header(header, keys, dek, &packed, err);
    if (rc == SR_OK) {
        rc = sr_archive_seal_open(&writer->seal, dek, (struct sr_bytes){packed.data, packed.size},
                                  err);
    }
    sr_secret_free(dek, SR_KEY_BYTES);
    if (rc == SR_OK) {
        rc = put(writer, packed.data, packed.size, err);
    }
    sr_buf_close(&packed);
    return rc;
}

static int writer_init(struct writer *writer, const struct sr_archive_options *options,
                       const struct sr_archive_sink *sink, struct sr_err *err)
{
    int level = options->level != 0 ? options->level : LEVEL_DEFAULT;

    *writer = (struct writer){.sink = sink, .zstd = ZSTD_createCCtx()};
    if (writer->zstd == NULL ||
        ZSTD_isError(ZSTD_CCtx_setParameter(writer->zstd, ZSTD_c_compressionLevel, level)) ||
        ZSTD_isError(
            ZSTD_CCtx_setParameter(writer->zstd, ZSTD_c_windowLog, SR_ARCHIVE_WINDOW_LOG))) {
        return sr_err_set(err, SR_INTERNAL, "zstd does not take level %d", level);
    }
    writer->piece = sr_alloc(PIECE_ROOM);
    return SR_OK;
}

static void writer_close(struct writer *writer)
{
    ZSTD_freeCCtx(writer->zstd);
    if (writer->piece != NULL) {
        sr_secret_wipe(writer->piece, PIECE_ROOM);
    }
    sr_free(writer->piece);
    sr_archive_seal_close(&writer->seal);
}

/* ---- Pieces ---- */

static int put_piece(struct writer *writer, bool last, struct sr_err *err)
{
    size_t size = writer->filled;
    int rc = sr_archive_piece_seal(&writer->seal, writer->piece, size, last, err);

    writer->filled = 0;
    if (rc != SR_OK) {
        return rc;
    }
    return put(writer, writer->piece, SR_ARCHIVE_PREFIX_BYTES + size + SR_SEAL_TAG_BYTES, err);
}

/* A full piece is put as soon as it is known that something follows: the end of the frame does. */
static int compress(struct writer *writer, const void *data, size_t size, ZSTD_EndDirective how,
                    struct sr_err *err)
{
    ZSTD_inBuffer in = {data, size, 0};
    size_t left;
    int rc = SR_OK;

    do {
        ZSTD_outBuffer out = {writer->piece + SR_ARCHIVE_PREFIX_BYTES, SR_ARCHIVE_PIECE_BYTES,
                              writer->filled};
        left = ZSTD_compressStream2(writer->zstd, &out, &in, how);
        if (ZSTD_isError(left)) {
            return sr_err_set(err, SR_INTERNAL, "zstd: %s", ZSTD_getErrorName(left));
        }
        writer->filled = out.pos;
        if (out.pos == out.size && (how == ZSTD_e_continue || left > 0)) {
            rc = put_piece(writer, false, err);
        }
    } while (rc == SR_OK && (how == ZSTD_e_continue ? in.pos < in.size : left > 0));
    return rc;
}

static int put_chunk(struct writer *writer, struct sr_bytes data, struct sr_err *err)
{
    uint8_t size[4];
    int rc = sr_archive_check_chunk(&writer->check, data, err);

    sr_put_u32(size, (uint32_t)data.size);
    if (rc == SR_OK) {
        rc = compress(writer, size, sizeof(size), ZSTD_e_continue, err);
    }
    return rc == SR_OK ? compress(writer, data.data, data.size, ZSTD_e_continue, err) : rc;
}

static int end(struct writer *writer, struct sr_err *err)
{
    uint8_t bytes[4 + SR_IMAGE_HASH_BYTES] = {0};
    int rc;

    if (!writer->check.ended) {
        return sr_err_set(err, SR_INTERNAL, "the stream has no end");
    }
    memcpy(bytes + 4, writer->check.info.content, SR_IMAGE_HASH_BYTES);
    rc = compress(writer, bytes, sizeof(bytes), ZSTD_e_end, err);
    return rc == SR_OK ? put_piece(writer, true, err) : rc;
}

/* ---- What is written ---- */

/* The two readers, alike. */
struct stream {
    void *reader;
    int (*next)(void *reader, struct sr_image_chunk *ret, struct sr_err *err);
};

static int next_of_image(void *reader, struct sr_image_chunk *ret, struct sr_err *err)
{
    return sr_image_reader_next(reader, ret, err);
}

static int next_of_changes(void *reader, struct sr_image_chunk *ret, struct sr_err *err)
{
    return sr_changes_reader_next(reader, ret, err);
}

static int next_chunk(const struct stream *stream, struct sr_image_chunk *ret, struct sr_err *err)
{
    const struct timespec pause = {.tv_nsec = BUSY_PAUSE_NS};
    int rc = stream->next(stream->reader, ret, err);

    for (unsigned i = 0; rc == SR_LIMIT && i < BUSY_TIMES_MAX; i++) {
        (void)nanosleep(&pause, NULL);
        rc = stream->next(stream->reader, ret, err);
    }
    return rc;
}

static int write_stream(struct writer *writer, const struct stream *stream, struct sr_err *err)
{
    struct sr_image_chunk chunk = {0};
    int rc = SR_OK;

    while (rc == SR_OK && !chunk.last) {
        rc = next_chunk(stream, &chunk, err);
        if (rc == SR_OK) {
            rc = put_chunk(writer, chunk.data, err);
        }
    }
    return rc == SR_OK ? end(writer, err) : rc;
}

static int write_archive(const struct stream *stream, struct sr_archive_header *header,
                         const struct sr_archive_options *options,
                         const struct sr_archive_sink *sink, struct sr_archive_info *ret,
                         struct sr_err *err)
{
    struct writer writer;
    int rc = writer_init(&writer, options, sink, err);

    if (rc == SR_OK) {
        rc = begin(&writer, header, options->keys, err);
    }
    if (rc == SR_OK) {
        rc = write_stream(&writer, stream, err);
    }
    if (rc == SR_OK) {
        *ret = writer.check.info;
        ret->bytes = writer.bytes;
    }
    writer_close(&writer);
    return rc == SR_OK ? SR_OK : sr_err_prefix(err, "write an archive");
}

int sr_archive_write_full(struct sr_store *store, const struct sr_archive_options *options,
                          const struct sr_archive_sink *sink, struct sr_archive_info *ret,
                          struct sr_err *err)
{
    struct sr_image_reader *reader = NULL;
    struct sr_archive_header header = {.kind = SR_ARCHIVE_FULL};
    struct sr_image_info info;
    int rc = sr_image_reader_open_bare(store, &reader, err);

    if (rc != SR_OK) {
        return sr_err_prefix(err, "write an archive");
    }
    sr_image_reader_info(reader, &info);
    header.cluster_id = store->options.cluster_id;
    header.revision = info.revision;
    header.index = info.index;
    header.term = info.term;
    rc = write_archive(&(struct stream){reader, next_of_image}, &header, options, sink, ret, err);
    sr_image_reader_close(reader);
    return rc;
}

int sr_archive_write_changes(struct sr_store *store, int64_t since, int64_t until_max,
                             const struct sr_archive_options *options,
                             const struct sr_archive_sink *sink, struct sr_archive_info *ret,
                             struct sr_err *err)
{
    struct sr_changes_reader *reader = NULL;
    struct sr_archive_header header = {.kind = SR_ARCHIVE_CHANGES};
    struct sr_changes_info info;
    int rc = sr_changes_reader_open(store, since, until_max, options->marks, options->mark_count,
                                    options->time_ms, &reader, err);

    if (rc != SR_OK) {
        return sr_err_prefix(err, "write an archive");
    }
    sr_changes_reader_info(reader, &info);
    header.cluster_id = store->options.cluster_id;
    header.since = info.since;
    header.revision = info.until;
    header.index = info.index;
    header.term = info.term;
    rc = write_archive(&(struct stream){reader, next_of_changes}, &header, options, sink, ret, err);
    sr_changes_reader_close(reader);
    return rc;
}
