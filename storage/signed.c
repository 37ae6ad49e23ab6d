/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/signed.h"

#include <string.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/crc32.h"
#include "proto/archive.pb-c.h"
#include "proto/message.h"
#include "storage/signature.h"

#define MAGIC       "SRSIGNED"
#define MAGIC_BYTES 8
#define FRAME_BYTES (MAGIC_BYTES + 4 + 4)

/* label, 0, payload: what is signed. */
static void make_message(const char *label, struct sr_bytes payload, struct sr_buf *message)
{
    sr_buf_append(message, label, strlen(label) + 1);
    sr_buf_append(message, payload.data, payload.size);
}

static void append_frame(struct sr_buf *out, size_t size)
{
    size_t begin = out->size;
    sr_buf_append(out, MAGIC, MAGIC_BYTES);
    sr_buf_append_u32(out, (uint32_t)size);
    sr_buf_append_u32(out, sr_crc32(out->data + begin, MAGIC_BYTES + 4));
}

/* protobuf-c only reads what it packs. */
static ProtobufCBinaryData as_data(struct sr_bytes bytes)
{
    union {
        const uint8_t *in;
        uint8_t *out;
    } data = {.in = bytes.data};
    return (ProtobufCBinaryData){bytes.size, data.out};
}

int sr_signed_pack(const char *label, const uint8_t seed[SR_SIGNING_BYTES], struct sr_bytes payload,
                   struct sr_buf *out, struct sr_err *err)
{
    Strongroom__SignedDocument document = STRONGROOM__SIGNED_DOCUMENT__INIT;
    struct sr_buf message = {0};
    uint8_t signature[SR_SIGNATURE_BYTES];
    uint8_t public_key[SR_CURVE_KEY_BYTES];
    make_message(label, payload, &message);
    int rc = sr_ed25519_sign(seed, (struct sr_bytes){message.data, message.size}, signature, err);
    sr_buf_close(&message);
    if (rc == SR_OK) {
        rc = sr_ed25519_public(seed, public_key, err);
    }
    if (rc != SR_OK) {
        return rc;
    }
    document.payload = as_data(payload);
    document.signature = (ProtobufCBinaryData){sizeof(signature), signature};
    document.public_key = (ProtobufCBinaryData){sizeof(public_key), public_key};
    size_t size = strongroom__signed_document__get_packed_size(&document);
    if (size > SR_SIGNED_BYTES_MAX) {
        return sr_err_set(err, SR_INVALID, "a document of %zu bytes", size);
    }
    append_frame(out, size);
    (void)strongroom__signed_document__pack(&document, sr_buf_extend(out, size));
    return SR_OK;
}

/* ---- Opening ---- */

static int check_frame(struct sr_bytes file, struct sr_err *err)
{
    struct sr_reader reader = sr_reader_of(file.data, file.size);
    struct sr_bytes magic = sr_read_bytes(&reader, MAGIC_BYTES);
    uint32_t size = sr_read_u32(&reader);
    uint32_t crc = sr_read_u32(&reader);
    size_t known = file.size < MAGIC_BYTES ? file.size : MAGIC_BYTES;
    if (known > 0 && memcmp(file.data, MAGIC, known) != 0) {
        return sr_err_set(err, SR_CORRUPT, "not a signed document of Strongroom");
    }
    if (reader.failed) {
        return sr_err_set(err, SR_CORRUPT, "truncated: %zu bytes are there, its frame alone has %d",
                          file.size, FRAME_BYTES);
    }
    if (crc != sr_crc32(magic.data, MAGIC_BYTES + 4)) {
        return sr_err_set(err, SR_CORRUPT, "edited: the checksum of its frame is wrong");
    }
    if (sr_reader_left(&reader) < size) {
        return sr_err_set(err, SR_CORRUPT, "truncated: %zu of %u bytes are there",
                          sr_reader_left(&reader), (unsigned)size);
    }
    if (sr_reader_left(&reader) > size) {
        return sr_err_set(err, SR_CORRUPT, "edited: %zu bytes stand behind its end",
                          sr_reader_left(&reader) - size);
    }
    return SR_OK;
}

/* Whether @packed is what packing makes of @document: there are many ways to write a message, and
 * only one of them is signed. */
static bool is_canonical(const Strongroom__SignedDocument *document, struct sr_bytes packed)
{
    if (strongroom__signed_document__get_packed_size(document) != packed.size) {
        return false;
    }
    uint8_t *again = sr_alloc(packed.size + 1);
    (void)strongroom__signed_document__pack(document, again);
    bool same = memcmp(again, packed.data, packed.size) == 0;
    sr_free(again);
    return same;
}

static int check_document(const char *label, const Strongroom__SignedDocument *document,
                          struct sr_bytes packed, struct sr_err *err)
{
    struct sr_buf message = {0};
    if (document->signature.len != SR_SIGNATURE_BYTES ||
        document->public_key.len != SR_CURVE_KEY_BYTES || !is_canonical(document, packed)) {
        return sr_err_set(err, SR_CORRUPT, "edited: what stands in its frame is not as it is made");
    }
    make_message(label, (struct sr_bytes){document->payload.data, document->payload.len}, &message);
    int rc =
        sr_ed25519_verify(document->public_key.data, (struct sr_bytes){message.data, message.size},
                          document->signature.data, err);
    sr_buf_close(&message);
    return rc == SR_CORRUPT
               ? sr_err_set(err, SR_CORRUPT, "edited: its signature does not fit its content")
               : rc;
}

int sr_signed_open(const char *label, struct sr_bytes file, uint8_t **ret_payload, size_t *ret_size,
                   uint8_t ret_key[SR_SIGNING_BYTES], struct sr_err *err)
{
    struct sr_arena arena;
    if (file.size > SR_SIGNED_BYTES_MAX + FRAME_BYTES) {
        return sr_err_set(err, SR_CORRUPT, "edited: it has %zu bytes, more than any document",
                          file.size);
    }
    int rc = check_frame(file, err);
    if (rc != SR_OK) {
        return rc;
    }
    struct sr_bytes packed = {file.data + FRAME_BYTES, file.size - FRAME_BYTES};
    sr_arena_init(&arena, 2 * SR_SIGNED_BYTES_MAX);
    const Strongroom__SignedDocument *document =
        (const Strongroom__SignedDocument *)sr_message_unpack_known(
            &strongroom__signed_document__descriptor, &arena, packed.data, packed.size, NULL);
    rc = document != NULL
             ? check_document(label, document, packed, err)
             : sr_err_set(err, SR_CORRUPT, "edited: what stands in its frame is no document");
    if (rc == SR_OK) {
        *ret_payload = sr_memdup(document->payload.data, document->payload.len);
        *ret_size = document->payload.len;
        memcpy(ret_key, document->public_key.data, SR_SIGNING_BYTES);
    }
    sr_arena_close(&arena);
    return rc;
}
