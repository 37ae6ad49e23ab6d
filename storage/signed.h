/* SPDX-License-Identifier: Apache-2.0
 *
 * A signed document: a protobuf message that was signed as it stands, byte for byte, in a frame
 * that says how long it is. Manifests and proofs are such (storage/manifest.h).
 *
 *   magic "SRSIGNED" 8, size of what follows u32, CRC-32 of the twelve bytes before u32
 *   SignedDocument (proto/archive.proto), in its one canonical packing
 *
 * The signature is Ed25519 over the label, a 0 byte and the payload; the label says what kind of
 * document it is, so that none can be taken for another.
 */
#ifndef SR_STORAGE_SIGNED_H
#define SR_STORAGE_SIGNED_H

#include "base/buf.h"
#include "base/err.h"
#include "storage/archive_key.h"

#define SR_SIGNED_BYTES_MAX ((size_t)4 * 1024 * 1024)

/* Sign @payload with the Ed25519 key of @seed and append the document to @out. SR_CRYPTO. */
int sr_signed_pack(const char *label, const uint8_t seed[SR_SIGNING_BYTES], struct sr_bytes payload,
                   struct sr_buf *out, struct sr_err *err);

/* Check the frame and the signature of the whole file @file. @ret_payload points to new memory, to
 * be released with sr_free. @ret_key: who signed; whether that is to be trusted is the caller's to
 * say. SR_CORRUPT: "truncated: ...", "edited: ..." or "not a signed document"; SR_CRYPTO. */
int sr_signed_open(const char *label, struct sr_bytes file, uint8_t **ret_payload, size_t *ret_size,
                   uint8_t ret_key[SR_SIGNING_BYTES], struct sr_err *err);

#endif
