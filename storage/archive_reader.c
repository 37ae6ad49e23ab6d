/* SPDX-License-Identifier: Apache-2.0
 *
 *   source ──get──► piece ──unseal──► zstd ──pull──► size, chunk ──check──► caller
 *
 * One chunk is looked ahead of, so that the last one is only handed out when everything behind it
 * is known to be as it should: the content hash, the end of the frame, of the piece, of the source.
 */
#include <string.h>
#include <zstd.h>

#include "base/alloc.h"
#include "base/secret.h"
#include "storage/archive_check.h"
#include "storage/archive_format.h"

#define PIECE_ROOM (SR_ARCHIVE_PREFIX_BYTES + SR_ARCHIVE_PIECE_BYTES + SR_SEAL_TAG_BYTES)

struct sr_archive_reader {
    const struct sr_archive_source *source;
    struct sr_archive_header header;
    struct sr_archive_seal seal;
    struct sr_archive_check check;
    ZSTD_DCtx *zstd;
    uint8_t *piece;
    ZSTD_inBuffer in; /* what is left of it */
    bool last_piece;
    bool frame_ended;
    uint32_t next_size; /* of the next chunk; 0: there is none */
    bool failed;
    uint8_t *chunk;
    uint64_t bytes;
};

/* ---- Source ---- */

/* @size bytes, or fewer at the end. */
static int get(struct sr_archive_reader *reader, uint8_t *out, size_t size, size_t *ret_size,
               struct sr_err *err)
{
    size_t have = 0;
    size_t got = 1;
    int rc = SR_OK;

    while (rc == SR_OK && have < size && got > 0) {
        got = 0;
        rc = reader->source->get(reader->source->arg, out + have, size - have, &got, err);
        have += rc == SR_OK ? got : 0;
    }
    reader->bytes += have;
    *ret_size = have;
    return rc;
}

static int cut(struct sr_err *err)
{
    return sr_err_set(err, SR_CORRUPT, "it is cut");
}

static int get_all(struct sr_archive_reader *reader, uint8_t *out, size_t size, struct sr_err *err)
{
    size_t got = 0;
    int rc = get(reader, out, size, &got, err);

    return rc == SR_OK && got < size ? cut(err) : rc;
}

/* ---- Open ---- */

static int read_header(struct sr_archive_reader *reader, struct sr_buf *packed, struct sr_err *err)
{
    uint32_t wrapped_size = 0;
    int rc = get_all(reader, sr_buf_extend(packed, SR_ARCHIVE_HEADER_BYTES),
                     SR_ARCHIVE_HEADER_BYTES, err);

    if (rc == SR_OK) {
        rc = sr_archive_header_unpack(packed->data, &reader->header, &wrapped_size, err);
    }
    if (rc == SR_OK) {
        rc = get_all(reader, sr_buf_extend(packed, wrapped_size), wrapped_size, err);
    }
    return rc;
}

static int open_seal(struct sr_archive_reader *reader, const struct sr_archive_keys *keys,
                     const struct sr_buf *packed, struct sr_err *err)
{
    struct sr_bytes context = {packed->data, SR_ARCHIVE_CONTEXT_BYTES};
    struct sr_bytes wrapped = {packed->data + SR_ARCHIVE_HEADER_BYTES,
                               packed->size - SR_ARCHIVE_HEADER_BYTES};
    uint8_t *dek = sr_secret_alloc(SR_KEY_BYTES);
    int rc = keys->unwrap(keys->arg, wrapped, context, dek, err);

    if (rc == SR_OK) {
        rc = sr_archive_seal_open(&reader->seal, dek, (struct sr_bytes){packed->data, packed->size},
                                  err);
    }
    sr_secret_free(dek, SR_KEY_BYTES);
    return rc;
}

static int open_zstd(struct sr_archive_reader *reader, struct sr_err *err)
{
    reader->zstd = ZSTD_createDCtx();
    if (reader->zstd == NULL || ZSTD_isError(ZSTD_DCtx_setParameter(
                                    reader->zstd, ZSTD_d_windowLogMax, SR_ARCHIVE_WINDOW_LOG))) {
        return sr_err_set(err, SR_INTERNAL, "zstd cannot be set up");
    }
    reader->piece = sr_alloc(PIECE_ROOM);
    reader->chunk = sr_alloc(SR_IMAGE_CHUNK_BYTES_MAX);
    return SR_OK;
}

int sr_archive_reader_open(const struct sr_archive_source *source,
                           const struct sr_archive_keys *keys, struct sr_archive_reader **ret,
                           struct sr_err *err)
{
    struct sr_archive_reader *reader = sr_zalloc(sizeof(*reader));
    struct sr_buf packed = {0};
    int rc;

    reader->source = source;
    rc = read_header(reader, &packed, err);
    if (rc == SR_OK) {
        rc = open_seal(reader, keys, &packed, err);
    }
    if (rc == SR_OK) {
        rc = open_zstd(reader, err);
    }
    sr_buf_close(&packed);
    if (rc != SR_OK) {
        sr_archive_reader_close(reader);
        return sr_err_prefix(err, "read an archive");
    }
    sr_archive_check_begin(&reader->check, &reader->header);
    *ret = reader;
    return SR_OK;
}

void sr_archive_reader_close(struct sr_archive_reader *reader)
{
    if (reader == NULL) {
        return;
    }
    if (reader->piece != NULL) {
        sr_secret_wipe(reader->piece, PIECE_ROOM);
    }
    if (reader->chunk != NULL) {
        sr_secret_wipe(reader->chunk, SR_IMAGE_CHUNK_BYTES_MAX);
    }
    ZSTD_freeDCtx(reader->zstd);
    sr_archive_seal_close(&reader->seal);
    sr_free(reader->piece);
    sr_free(reader->chunk);
    sr_free(reader);
}

const struct sr_archive_header *sr_archive_reader_header(const struct sr_archive_reader *reader)
{
    return &reader->header;
}

void sr_archive_reader_info(const struct sr_archive_reader *reader, struct sr_archive_info *ret)
{
    *ret = reader->check.info;
    ret->bytes = reader->bytes;
}

/* ---- Pieces ---- */

/* All pieces but the last are full. */
static int read_piece(struct sr_archive_reader *reader, struct sr_err *err)
{
    uint8_t *bytes = reader->piece + SR_ARCHIVE_PREFIX_BYTES;
    uint32_t word;
    size_t size;
    int rc = get_all(reader, reader->piece, SR_ARCHIVE_PREFIX_BYTES, err);

    if (rc != SR_OK) {
        return rc;
    }
    word = sr_get_u32(reader->piece);
    size = word & ~SR_ARCHIVE_LAST;
    reader->last_piece = (word & SR_ARCHIVE_LAST) != 0;
    if (size == 0 || size > SR_ARCHIVE_PIECE_BYTES ||
        (!reader->last_piece && size != SR_ARCHIVE_PIECE_BYTES)) {
        return sr_err_set(err, SR_CORRUPT, "it has %zu bytes", size);
    }
    rc = get_all(reader, bytes, size + SR_SEAL_TAG_BYTES, err);
    if (rc == SR_OK) {
        rc = sr_archive_piece_open(&reader->seal, reader->piece, err);
    }
    reader->in = (ZSTD_inBuffer){bytes, size, 0};
    return rc;
}

/* zstd's library reads what it made before there was a standard, too: by decoders that nobody has
 * looked at for long, and without the bound of the window. */
static int check_frame(const ZSTD_inBuffer *in, struct sr_err *err)
{
    static const uint8_t magic[] = {0x28, 0xb5, 0x2f, 0xfd}; /* RFC 8878, 3.1.1 */

    if (in->size < sizeof(magic) || memcmp(in->src, magic, sizeof(magic)) != 0) {
        return sr_err_set(err, SR_CORRUPT, "it does not begin a frame of zstd");
    }
    return SR_OK;
}

static int next_piece(struct sr_archive_reader *reader, struct sr_err *err)
{
    uint64_t number = reader->seal.piece;
    int rc;

    if (reader->last_piece) {
        return sr_err_set(err, SR_CORRUPT, "its stream ends early");
    }
    rc = read_piece(reader, err);
    if (rc == SR_OK && number == 0) {
        rc = check_frame(&reader->in, err);
    }
    return rc == SR_OK ? SR_OK : sr_err_prefix(err, "piece %llu", (unsigned long long)number);
}

/* ---- The stream ---- */

/* Decompress what fits; *ret_size tells how much it was. Nothing: the frame has ended. */
/* zstd writes there. NOLINTNEXTLINE(readability-non-const-parameter) */
static int pull_some(struct sr_archive_reader *reader, uint8_t *out, size_t size, size_t *ret_size,
                     struct sr_err *err)
{
    ZSTD_outBuffer to = {out, size, 0};

    while (to.pos == 0 && !reader->frame_ended) {
        size_t before = reader->in.pos;
        size_t left = ZSTD_decompressStream(reader->zstd, &to, &reader->in);
        int rc = SR_OK;
        if (ZSTD_isError(left)) {
            return sr_err_set(err, SR_CORRUPT, "zstd: %s", ZSTD_getErrorName(left));
        }
        reader->frame_ended = left == 0;
        if (left > 0 && to.pos == 0 && reader->in.pos == before) {
            rc = next_piece(reader, err);
        }
        if (rc != SR_OK) {
            return rc;
        }
    }
    *ret_size = to.pos;
    return SR_OK;
}

static int pull(struct sr_archive_reader *reader, uint8_t *out, size_t size, struct sr_err *err)
{
    size_t have = 0;

    while (have < size) {
        size_t got = 0;
        int rc = pull_some(reader, out + have, size - have, &got, err);
        if (rc != SR_OK) {
            return rc;
        }
        if (got == 0) {
            return sr_err_set(err, SR_CORRUPT, "its stream ends early");
        }
        have += got;
    }
    return SR_OK;
}

static int pull_size(struct sr_archive_reader *reader, struct sr_err *err)
{
    uint8_t bytes[4];
    int rc = pull(reader, bytes, sizeof(bytes), err);

    if (rc != SR_OK) {
        return rc;
    }
    reader->next_size = sr_get_u32(bytes);
    if (reader->next_size > SR_IMAGE_CHUNK_BYTES_MAX) {
        return sr_err_set(err, SR_CORRUPT, "a chunk of %u bytes", (unsigned)reader->next_size);
    }
    return SR_OK;
}

/* There is nothing behind the end, on any level. */
static int check_nothing_left(struct sr_archive_reader *reader, struct sr_err *err)
{
    uint8_t more;
    size_t got = 0;
    int rc = pull_some(reader, &more, 1, &got, err);

    if (rc == SR_OK && got == 0 && reader->in.pos == reader->in.size && reader->last_piece) {
        rc = get(reader, &more, 1, &got, err);
    } else if (rc == SR_OK) {
        got = 1;
    }
    if (rc == SR_OK && got > 0) {
        return sr_err_set(err, SR_CORRUPT, "there is something behind its end");
    }
    return rc;
}

static int read_end(struct sr_archive_reader *reader, struct sr_err *err)
{
    uint8_t content[SR_IMAGE_HASH_BYTES];
    int rc = pull(reader, content, sizeof(content), err);

    if (rc == SR_OK && memcmp(content, reader->check.info.content, sizeof(content)) != 0) {
        rc = sr_err_set(err, SR_CORRUPT, "its content hash is another");
    }
    if (rc == SR_OK && !reader->check.ended) {
        rc = sr_err_set(err, SR_CORRUPT, "its trailer is missing");
    }
    return rc == SR_OK ? check_nothing_left(reader, err) : rc;
}

static int next(struct sr_archive_reader *reader, struct sr_image_chunk *ret, struct sr_err *err)
{
    struct sr_archive_info *info = &reader->check.info;
    size_t size;
    int rc = info->chunks == 0 ? pull_size(reader, err) : SR_OK;

    size = reader->next_size;
    if (rc == SR_OK && size == 0) {
        rc = sr_err_set(err, SR_CORRUPT, "it is empty");
    }
    if (rc == SR_OK) {
        rc = pull(reader, reader->chunk, size, err);
    }
    if (rc == SR_OK) {
        rc = sr_archive_check_chunk(&reader->check, (struct sr_bytes){reader->chunk, size}, err);
    }
    if (rc == SR_OK) {
        rc = pull_size(reader, err);
    }
    if (rc == SR_OK && reader->next_size == 0) {
        rc = read_end(reader, err);
    }
    if (rc != SR_OK) {
        return rc;
    }
    ret->number = info->chunks - 1;
    ret->data = (struct sr_bytes){reader->chunk, size};
    ret->last = reader->next_size == 0;
    memcpy(ret->content, info->content, sizeof(ret->content));
    return SR_OK;
}

int sr_archive_reader_next(struct sr_archive_reader *reader, struct sr_image_chunk *ret,
                           struct sr_err *err)
{
    int rc;

    if (reader->failed) {
        return sr_err_set(err, SR_CLOSED, "read an archive: it has failed before");
    }
    if (reader->check.info.chunks > 0 && reader->next_size == 0) {
        return SR_NOT_FOUND;
    }
    rc = next(reader, ret, err);
    reader->failed = rc != SR_OK;
    return rc == SR_OK ? SR_OK : sr_err_prefix(err, "read an archive");
}

int sr_archive_verify(const struct sr_archive_source *source, const struct sr_archive_keys *keys,
                      struct sr_archive_info *ret, struct sr_err *err)
{
    struct sr_archive_reader *reader = NULL;
    struct sr_image_chunk chunk = {0};
    int rc = sr_archive_reader_open(source, keys, &reader, err);

    while (rc == SR_OK && !chunk.last) {
        rc = sr_archive_reader_next(reader, &chunk, err);
    }
    if (rc == SR_OK) {
        sr_archive_reader_info(reader, ret);
    }
    sr_archive_reader_close(reader);
    return rc;
}
