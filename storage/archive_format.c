/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/archive_format.h"

#include <openssl/evp.h>
#include <string.h>

#include "base/check.h"
#include "base/secret.h"
#include "storage/hkdf.h"

#define MAGIC       "SRARCHIV"
#define MAGIC_BYTES 8
#define LABEL       "strongroom archive pieces"
#define AAD_BYTES   (32 + 8 + 4)
#define SALT_AT     (SR_ARCHIVE_CONTEXT_BYTES - SR_SALT_BYTES)

/* ---- Header ---- */

void sr_archive_header_pack(const struct sr_archive_header *header,
                            const uint8_t salt[SR_SALT_BYTES], struct sr_buf *out)
{
    size_t start = out->size;

    sr_buf_append(out, MAGIC, MAGIC_BYTES);
    sr_buf_append_u32(out, SR_ARCHIVE_FORMAT);
    sr_buf_append_u32(out, header->compatible);
    sr_buf_append_u32(out, 0); /* incompatible */
    sr_buf_append_u32(out, (uint32_t)header->kind);
    sr_buf_append_u64(out, header->cluster_id);
    sr_buf_append(out, header->id, sizeof(header->id));
    sr_buf_append_u64(out, (uint64_t)header->since);
    sr_buf_append_u64(out, (uint64_t)header->revision);
    sr_buf_append_u64(out, header->index);
    sr_buf_append_u64(out, header->term);
    sr_buf_append(out, salt, SR_SALT_BYTES);
    sr_check(out->size - start == SR_ARCHIVE_CONTEXT_BYTES);
}

static bool is_possible(const struct sr_archive_header *header)
{
    bool full = header->kind == SR_ARCHIVE_FULL;

    return (full || header->kind == SR_ARCHIVE_CHANGES) && header->index > 0 &&
           header->revision >= 1 && header->revision < INT64_MAX && header->since >= 0 &&
           (full ? header->since == 0 : header->since < header->revision);
}

int sr_archive_header_unpack(const uint8_t *data, struct sr_archive_header *ret,
                             uint32_t *ret_wrapped_size, struct sr_err *err)
{
    struct sr_reader reader = sr_reader_of(data, SR_ARCHIVE_HEADER_BYTES);
    struct sr_archive_header header = {0};
    struct sr_bytes magic = sr_read_bytes(&reader, MAGIC_BYTES);
    uint32_t format = sr_read_u32(&reader);
    uint32_t incompatible;

    header.compatible = sr_read_u32(&reader);
    incompatible = sr_read_u32(&reader);
    if (!sr_bytes_equal(magic, (struct sr_bytes){(const uint8_t *)MAGIC, MAGIC_BYTES})) {
        return sr_err_set(err, SR_CORRUPT, "no header of an archive");
    }
    if (format != SR_ARCHIVE_FORMAT || incompatible != 0) {
        return sr_err_set(err, SR_FORMAT, "an archive of format %u, features 0x%x",
                          (unsigned)format, (unsigned)incompatible);
    }
    header.kind = (enum sr_archive_kind)sr_read_u32(&reader);
    header.cluster_id = sr_read_u64(&reader);
    sr_read_copy(&reader, header.id, sizeof(header.id));
    header.since = (int64_t)sr_read_u64(&reader);
    header.revision = (int64_t)sr_read_u64(&reader);
    header.index = sr_read_u64(&reader);
    header.term = sr_read_u64(&reader);
    (void)sr_read_bytes(&reader, SR_SALT_BYTES);
    *ret_wrapped_size = sr_read_u32(&reader);
    if (!is_possible(&header) || *ret_wrapped_size > SR_ARCHIVE_WRAPPED_BYTES_MAX) {
        return sr_err_set(err, SR_CORRUPT, "impossible header");
    }
    *ret = header;
    return SR_OK;
}

int sr_archive_peek(const void *data, size_t size, struct sr_archive_header *ret,
                    struct sr_err *err)
{
    uint32_t wrapped_size;

    if (size < SR_ARCHIVE_HEADER_BYTES) {
        return sr_err_set(err, SR_CORRUPT, "it is cut: %zu bytes", size);
    }
    return sr_archive_header_unpack(data, ret, &wrapped_size, err);
}

/* ---- Pieces ---- */

int sr_archive_seal_open(struct sr_archive_seal *seal, const uint8_t dek[SR_KEY_BYTES],
                         struct sr_bytes header, struct sr_err *err)
{
    struct sr_bytes salt = {header.data + SALT_AT, SR_SALT_BYTES};
    uint8_t key[SR_KEY_BYTES];
    int rc;

    if (EVP_Digest(header.data, header.size, seal->header_hash, NULL, EVP_sha256(), NULL) != 1) {
        return sr_err_set(err, SR_CRYPTO, "SHA-256 failed");
    }
    rc = sr_hkdf((struct sr_bytes){dek, SR_KEY_BYTES}, salt, sr_bytes_of(LABEL), key, err);
    if (rc == SR_OK) {
        seal->sealer = sr_sealer_new(key);
    }
    seal->piece = 0;
    sr_secret_wipe(key, sizeof(key));
    return rc;
}

void sr_archive_seal_close(struct sr_archive_seal *seal)
{
    sr_sealer_free(seal->sealer);
    *seal = (struct sr_archive_seal){0};
}

static void make_aad(const struct sr_archive_seal *seal, const uint8_t *word,
                     uint8_t aad[AAD_BYTES])
{
    memcpy(aad, seal->header_hash, 32);
    sr_put_u64(aad + 32, seal->piece);
    memcpy(aad + 40, word, SR_ARCHIVE_PREFIX_BYTES);
}

int sr_archive_piece_seal(struct sr_archive_seal *seal, uint8_t *piece, size_t size, bool last,
                          struct sr_err *err)
{
    uint8_t *bytes = piece + SR_ARCHIVE_PREFIX_BYTES;
    uint8_t aad[AAD_BYTES];
    int rc;

    sr_check(size > 0 && size <= SR_ARCHIVE_PIECE_BYTES);
    sr_put_u32(piece, (uint32_t)size | (last ? SR_ARCHIVE_LAST : 0));
    make_aad(seal, piece, aad);
    seal->piece = sr_sealer_next(seal->sealer);
    rc = sr_seal(seal->sealer, SR_DOMAIN_ARCHIVE, seal->piece, aad, sizeof(aad), bytes, size, bytes,
                 err);
    seal->piece++;
    return rc;
}

int sr_archive_piece_open(struct sr_archive_seal *seal, uint8_t *piece, struct sr_err *err)
{
    size_t size = sr_get_u32(piece) & ~SR_ARCHIVE_LAST;
    uint8_t *bytes = piece + SR_ARCHIVE_PREFIX_BYTES;
    uint8_t aad[AAD_BYTES];
    int rc;

    make_aad(seal, piece, aad);
    rc = sr_unseal(seal->sealer, SR_DOMAIN_ARCHIVE, seal->piece, aad, sizeof(aad), bytes, size,
                   bytes, err);
    seal->piece++;
    return rc;
}
