/* SPDX-License-Identifier: Apache-2.0
 *
 * HKDF-SHA-256 (RFC 5869) by OpenSSL: how every key that is used is made from one that is kept.
 */
#ifndef SR_STORAGE_HKDF_H
#define SR_STORAGE_HKDF_H

#include "base/buf.h"
#include "base/err.h"
#include "storage/keyring.h"

/* 32 bytes from @key with @salt (may be empty) and @info, which says for what. Any thread.
 * SR_CRYPTO. */
int sr_hkdf(struct sr_bytes key, struct sr_bytes salt, struct sr_bytes info,
            uint8_t ret_key[SR_KEY_BYTES], struct sr_err *err);

#endif
