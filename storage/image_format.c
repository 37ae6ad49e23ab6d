/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/image_format.h"

#include <openssl/evp.h>
#include <string.h>

#include "base/check.h"
#include "storage/archive_key.h"
#include "storage/record.h"
#include "storage/request_record.h"

#define MAGIC       "SRIMAGE\n"
#define MAGIC_BYTES 8

/* ---- Header ---- */

void sr_image_header_pack(const struct sr_image_header *header, struct sr_buf *out)
{
    const struct sr_state *state = &header->state;

    sr_buf_append_u8(out, SR_IMAGE_HEADER);
    sr_buf_append(out, MAGIC, MAGIC_BYTES);
    sr_buf_append_u32(out, SR_IMAGE_FORMAT);
    sr_buf_append_u32(out, 0);
    sr_buf_append_u32(out, header->offsite.size > 0 ? SR_IMAGE_FLAG_OFFSITE : 0);
    sr_buf_append_u64(out, header->cluster_id);
    sr_buf_append_u64(out, state->applied_index);
    sr_buf_append_u64(out, state->term);
    sr_buf_append_u64(out, state->configuration_index);
    sr_buf_append_u64(out, (uint64_t)state->revision);
    sr_buf_append_u64(out, (uint64_t)state->compact_revision);
    sr_buf_append(out, state->hash, sizeof(state->hash));
    sr_buf_append_u64(out, header->request_first);
    sr_buf_append_u64(out, header->request_count);
    sr_buf_append_u16(out, state->configuration_size);
    sr_buf_append(out, state->configuration, state->configuration_size);
    sr_buf_append_u32(out, (uint32_t)header->record.size);
    sr_buf_append(out, header->record.data, header->record.size);
    if (header->offsite.size > 0) {
        sr_check(header->offsite_secret.size == SR_ARCHIVE_SECRET_BYTES);
        sr_buf_append_u32(out, (uint32_t)header->offsite.size);
        sr_buf_append(out, header->offsite.data, header->offsite.size);
        sr_buf_append(out, header->offsite_secret.data, header->offsite_secret.size);
    }
}

/* Magic, format and flags. */
static int check_start(struct sr_reader *reader, uint32_t *ret_features, struct sr_err *err)
{
    uint8_t kind = sr_read_u8(reader);
    struct sr_bytes magic = sr_read_bytes(reader, MAGIC_BYTES);
    uint32_t format = sr_read_u32(reader);
    uint32_t incompatible;

    (void)sr_read_u32(reader); /* compatible */
    incompatible = sr_read_u32(reader);
    if (reader->failed || kind != SR_IMAGE_HEADER ||
        !sr_bytes_equal(magic, (struct sr_bytes){(const uint8_t *)MAGIC, MAGIC_BYTES})) {
        return sr_err_set(err, SR_CORRUPT, "no header of an image");
    }
    if (format != SR_IMAGE_FORMAT || (incompatible & ~SR_IMAGE_FLAG_OFFSITE) != 0) {
        return sr_err_set(err, SR_FORMAT, "an image of format %u, features 0x%x", (unsigned)format,
                          (unsigned)incompatible);
    }
    *ret_features = incompatible;
    return SR_OK;
}

static bool is_possible(const struct sr_image_header *header)
{
    const struct sr_state *state = &header->state;

    return state->applied_index > 0 && state->configuration_index <= state->applied_index &&
           state->revision >= 1 && state->revision < SR_IMAGE_END &&
           state->compact_revision >= -1 && state->compact_revision <= state->revision &&
           header->request_count <= SR_REMEMBERED_REQUESTS_MAX &&
           header->request_first <= UINT64_MAX - header->request_count;
}

int sr_image_header_unpack(struct sr_bytes chunk, struct sr_image_header *ret, struct sr_err *err)
{
    struct sr_reader reader = sr_reader_of(chunk.data, chunk.size);
    struct sr_image_header header = {0};
    struct sr_state *state = &header.state;
    uint32_t features = 0;
    int rc = check_start(&reader, &features, err);

    if (rc != SR_OK) {
        return rc;
    }
    header.cluster_id = sr_read_u64(&reader);
    state->applied_index = sr_read_u64(&reader);
    state->term = sr_read_u64(&reader);
    state->configuration_index = sr_read_u64(&reader);
    state->revision = (int64_t)sr_read_u64(&reader);
    state->compact_revision = (int64_t)sr_read_u64(&reader);
    sr_read_copy(&reader, state->hash, sizeof(state->hash));
    header.request_first = sr_read_u64(&reader);
    header.request_count = sr_read_u64(&reader);
    state->configuration_size = sr_read_u16(&reader);
    if (state->configuration_size > SR_CONFIGURATION_BYTES_MAX) {
        return sr_err_set(err, SR_FORMAT, "a configuration of %u bytes",
                          (unsigned)state->configuration_size);
    }
    sr_read_copy(&reader, state->configuration, state->configuration_size);
    header.record = sr_read_bytes(&reader, sr_read_u32(&reader));
    if ((features & SR_IMAGE_FLAG_OFFSITE) != 0) {
        header.offsite = sr_read_bytes(&reader, sr_read_u32(&reader));
        header.offsite_secret = sr_read_bytes(&reader, SR_ARCHIVE_SECRET_BYTES);
        if (header.offsite.size == 0) {
            reader.failed = true;
        }
    }
    if (reader.failed || sr_reader_left(&reader) > 0 || !is_possible(&header)) {
        return sr_err_set(err, SR_CORRUPT, "impossible header");
    }
    *ret = header;
    return SR_OK;
}

/* ---- Hashes ---- */

int sr_image_id(struct sr_bytes header, uint8_t ret_id[SR_IMAGE_ID_BYTES], struct sr_err *err)
{
    uint8_t digest[EVP_MAX_MD_SIZE];

    if (EVP_Digest(header.data, header.size, digest, NULL, EVP_sha256(), NULL) != 1) {
        return sr_err_set(err, SR_CRYPTO, "SHA-256 failed");
    }
    memcpy(ret_id, digest, SR_IMAGE_ID_BYTES);
    return SR_OK;
}

int sr_image_content_add(uint8_t content[SR_IMAGE_HASH_BYTES], uint64_t number,
                         struct sr_bytes data, struct sr_err *err)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    uint8_t digest[EVP_MAX_MD_SIZE];
    uint8_t start[SR_IMAGE_HASH_BYTES + 8];
    bool done;

    memcpy(start, content, SR_IMAGE_HASH_BYTES);
    sr_put_u64(start + SR_IMAGE_HASH_BYTES, number);
    done = context != NULL && EVP_DigestInit_ex2(context, EVP_sha256(), NULL) == 1 &&
           EVP_DigestUpdate(context, start, sizeof(start)) == 1 &&
           EVP_DigestUpdate(context, data.data, data.size) == 1 &&
           EVP_DigestFinal_ex(context, digest, NULL) == 1;
    EVP_MD_CTX_free(context);
    if (!done) {
        return sr_err_set(err, SR_CRYPTO, "SHA-256 failed");
    }
    memcpy(content, digest, SR_IMAGE_HASH_BYTES);
    return SR_OK;
}

/* ---- Records ---- */

void sr_image_request_pack(const struct sr_remembered *item, struct sr_buf *chunk)
{
    size_t place;

    sr_buf_append_u64(chunk, item->number);
    sr_buf_append_u32(chunk, 0);
    place = chunk->size;
    sr_request_record_pack(item, chunk);
    sr_put_u32(chunk->data + place - 4, (uint32_t)(chunk->size - place));
}

int sr_image_request_read(struct sr_reader *reader, struct sr_remembered **ret, struct sr_err *err)
{
    uint64_t number = sr_read_u64(reader);
    struct sr_bytes record = sr_read_bytes(reader, sr_read_u32(reader));

    if (reader->failed) {
        return sr_err_set(err, SR_CORRUPT, "a remembered request is cut");
    }
    return sr_request_record_parse(number, record, ret, err);
}

size_t sr_image_version_bytes(const struct sr_image_version *version)
{
    return 8 + 2 + SR_HEADER_BYTES + version->key.size + version->value.size;
}

void sr_image_version_pack(const struct sr_image_version *version, struct sr_buf *chunk)
{
    sr_buf_append_u64(chunk, (uint64_t)version->version.mod_revision);
    sr_buf_append_u16(chunk, (uint16_t)version->key.size);
    sr_header_pack(sr_buf_extend(chunk, SR_HEADER_BYTES), &version->version);
    sr_buf_append(chunk, version->key.data, version->key.size);
    sr_buf_append(chunk, version->value.data, version->value.size);
}

int sr_image_version_read(struct sr_reader *reader, struct sr_image_version *ret,
                          struct sr_err *err)
{
    uint64_t revision = sr_read_u64(reader);
    uint16_t key_size = sr_read_u16(reader);
    struct sr_bytes header = sr_read_bytes(reader, SR_HEADER_BYTES);
    int rc;

    if (reader->failed || revision == 0 || revision >= SR_IMAGE_END || key_size == 0 ||
        key_size > SR_KEY_BYTES_MAX) {
        return sr_err_set(err, SR_CORRUPT, "a version is cut, or impossible");
    }
    rc = sr_header_unpack(header.data, (int64_t)revision, &ret->version, err);
    if (rc != SR_OK) {
        return rc;
    }
    ret->key = sr_read_bytes(reader, key_size);
    ret->value = sr_read_bytes(reader, ret->version.value_size);
    if (reader->failed) {
        return sr_err_set(err, SR_CORRUPT, "a version is cut");
    }
    return SR_OK;
}

void sr_image_trailer_pack(const struct sr_image_position *position, struct sr_buf *chunk)
{
    sr_buf_append_u8(chunk, SR_IMAGE_TRAILER);
    sr_buf_append_u64(chunk, position->requests);
    sr_buf_append_u64(chunk, position->versions);
    sr_buf_append_u64(chunk, position->bytes);
}

int sr_image_trailer_check(struct sr_bytes data, const struct sr_image_position *position,
                           struct sr_err *err)
{
    struct sr_buf expected = {0};
    bool same;

    sr_image_trailer_pack(position, &expected);
    same = sr_bytes_equal(data, (struct sr_bytes){expected.data, expected.size});
    sr_buf_close(&expected);
    return same ? SR_OK : sr_err_set(err, SR_CORRUPT, "the counts of the trailer are others");
}

/* ---- Position ---- */

void sr_image_position_pack(const struct sr_image_position *position,
                            uint8_t out[SR_IMAGE_POSITION_BYTES])
{
    uint8_t *at = out + SR_IMAGE_ID_BYTES;

    memcpy(out, position->id, SR_IMAGE_ID_BYTES);
    sr_put_u64(at, position->chunk);
    sr_put_u64(at + 8, position->bytes);
    sr_put_u64(at + 16, position->request);
    sr_put_u64(at + 24, (uint64_t)position->revision);
    sr_put_u64(at + 32, position->requests);
    sr_put_u64(at + 40, position->versions);
    sr_put_u32(at + 48, position->sub);
    memcpy(at + 52, position->content, SR_IMAGE_HASH_BYTES);
}

void sr_image_position_unpack(const uint8_t in[SR_IMAGE_POSITION_BYTES],
                              struct sr_image_position *ret)
{
    const uint8_t *at = in + SR_IMAGE_ID_BYTES;

    *ret = (struct sr_image_position){
        .chunk = sr_get_u64(at),
        .bytes = sr_get_u64(at + 8),
        .request = sr_get_u64(at + 16),
        .revision = (int64_t)sr_get_u64(at + 24),
        .requests = sr_get_u64(at + 32),
        .versions = sr_get_u64(at + 40),
        .sub = sr_get_u32(at + 48),
    };
    memcpy(ret->id, in, SR_IMAGE_ID_BYTES);
    memcpy(ret->content, at + 52, SR_IMAGE_HASH_BYTES);
}
