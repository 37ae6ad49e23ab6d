/* SPDX-License-Identifier: Apache-2.0
 *
 * Ed25519 (RFC 8032), X25519 (RFC 7748) and SHA-256 by OpenSSL, as plain functions over bytes. Any
 * thread; each fails with SR_CRYPTO only, unless it says otherwise.
 */
#ifndef SR_STORAGE_SIGNATURE_H
#define SR_STORAGE_SIGNATURE_H

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

#define SR_CURVE_KEY_BYTES 32 /* seed, private and public keys of both curves */
#define SR_SIGNATURE_BYTES 64
#define SR_SHA256_BYTES    32

int sr_sha256(struct sr_bytes data, uint8_t ret_digest[SR_SHA256_BYTES], struct sr_err *err);

int sr_ed25519_public(const uint8_t seed[SR_CURVE_KEY_BYTES],
                      uint8_t ret_public[SR_CURVE_KEY_BYTES], struct sr_err *err);
int sr_ed25519_sign(const uint8_t seed[SR_CURVE_KEY_BYTES], struct sr_bytes message,
                    uint8_t ret_signature[SR_SIGNATURE_BYTES], struct sr_err *err);
/* SR_CORRUPT when the signature does not fit. */
int sr_ed25519_verify(const uint8_t public_key[SR_CURVE_KEY_BYTES], struct sr_bytes message,
                      const uint8_t signature[SR_SIGNATURE_BYTES], struct sr_err *err);

int sr_x25519_public(const uint8_t private_key[SR_CURVE_KEY_BYTES],
                     uint8_t ret_public[SR_CURVE_KEY_BYTES], struct sr_err *err);
/* @ret_shared is to be wiped. SR_KEY when @public_key is one that gives no secret (RFC 7748,
 * section 6.1). */
int sr_x25519(const uint8_t private_key[SR_CURVE_KEY_BYTES],
              const uint8_t public_key[SR_CURVE_KEY_BYTES], uint8_t ret_shared[SR_CURVE_KEY_BYTES],
              struct sr_err *err);

#endif
