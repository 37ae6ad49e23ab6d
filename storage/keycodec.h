/* SPDX-License-Identifier: Apache-2.0
 *
 * Key names, encrypted so that their plaintext order can be compared block by block.
 *
 *   ek = AES-256-CBC(K, IV, blocks(name)), without padding
 *   blocks(name): 15 bytes of name and one marker each; marker 16 = more follows, 0..15 = the
 *   last block, that many bytes of name, filled with zeros. An empty name is one block.
 *
 * Deterministic: equal names have equal ek, names with equal first 15 * n bytes share n blocks
 * (fscrypt's precedent; docs/security.md has what that gives away). To compare two eks, find the
 * first block that differs, decrypt that one on both sides, compare as bytes: names order as
 * memcmp, the shorter first.
 */
#ifndef SR_STORAGE_KEYCODEC_H
#define SR_STORAGE_KEYCODEC_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "proto/limits.h"
#include "storage/keyring.h"

#define SR_EK_BLOCK_BYTES 16
#define SR_EK_BYTES_MAX   ((SR_KEY_BYTES_MAX / 15) * SR_EK_BLOCK_BYTES) /* 31 blocks */

_Static_assert(SR_KEY_BYTES_MAX % 15 == 0, "a full last block carries 15 bytes");

struct sr_keycodec;

/* Derives its key and IV from @dek_id of @keyring. Immutable afterwards: any thread may use it. */
int sr_keycodec_new(const struct sr_keyring *keyring, uint32_t dek_id, struct sr_keycodec **ret,
                    struct sr_err *err);
void sr_keycodec_free(struct sr_keycodec *codec); /* wipes; NULL is fine */

/* Size of the ek of a name of @size bytes: 16 for each begun 15 (at least one). */
size_t sr_ek_size(size_t size);
/* @size at most SR_KEY_BYTES_MAX; returns the number of bytes put to @ret_ek. */
size_t sr_key_encode(const struct sr_keycodec *codec, const uint8_t *name, size_t size,
                     uint8_t ret_ek[SR_EK_BYTES_MAX]);
/* SR_CORRUPT when it is not an ek. */
int sr_key_decode(const struct sr_keycodec *codec, const uint8_t *ek, size_t ek_size,
                  uint8_t ret_name[SR_KEY_BYTES_MAX], size_t *ret_size, struct sr_err *err);

/* Order of two index keys `ek || suffix8`, by name and then by the clear 8-byte suffix. Total on
 * garbage: sizes that are not 8 modulo 16 fall back to memcmp. Fits MDB_cmp_func after wrapping:
 * LMDB gives a comparator no context, so storage/lmdb sets the codec of the calling thread. */
int sr_key_compare(const struct sr_keycodec *codec, const uint8_t *a, size_t a_size,
                   const uint8_t *b, size_t b_size);

#endif
