/* SPDX-License-Identifier: Apache-2.0
 *
 * The keys of one node. The operator's master key (KEK) wraps the keyring file; the keyring holds
 * the node's data keys (DEKs); every key that is used is derived from a DEK by HKDF-SHA-256
 * (RFC 5869) with a label, so that no two uses share a key.
 *
 * Each node draws DEKs of its own: replicas are equal in content, not in ciphertext, so a stolen
 * disk and its key open one node only. See docs/decisions/.
 */
#ifndef SR_STORAGE_KEYRING_H
#define SR_STORAGE_KEYRING_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define SR_KEY_BYTES  32
#define SR_SALT_BYTES 32

/* Read a KEK from @path: a regular file that only its owner may read (no group or other bits),
 * holding 32 raw bytes or 64 hexadecimal digits with an optional newline. @ret_kek points to
 * sr_secret memory of SR_KEY_BYTES, released with sr_secret_free.
 * SR_NOT_FOUND, SR_KEY (mode, length, content), SR_IO; the text names the file and the reason. */
int sr_kek_read(const char *path, uint8_t **ret_kek, struct sr_err *err);

struct sr_keyring;

/* Create the keyring file @path with one fresh DEK, wrapped by @kek and bound to the two ids.
 * Written to a temporary file, synced, renamed, directory synced. SR_EXISTS, SR_IO, SR_NO_SPACE.*/
int sr_keyring_create(const char *path, const uint8_t kek[SR_KEY_BYTES], uint64_t cluster_id,
                      uint64_t member_id, struct sr_err *err);

/* Open the keyring file @path. SR_NOT_FOUND; SR_KEY when @kek does not open it (wrong KEK, or the
 * file was altered: the two cannot be told apart, and the text says so); SR_REFUSED when it
 * belongs to another cluster or member; SR_FORMAT; SR_CORRUPT when it is cut. */
int sr_keyring_open(const char *path, const uint8_t kek[SR_KEY_BYTES], uint64_t cluster_id,
                    uint64_t member_id, struct sr_keyring **ret, struct sr_err *err);
void sr_keyring_close(struct sr_keyring *keyring); /* wipes; NULL is fine */

/* The id of the DEK that new data is sealed under. */
uint32_t sr_keyring_active_id(const struct sr_keyring *keyring);

/* HKDF-SHA-256 of DEK @dek_id with @salt and @label to 32 bytes. Any thread. SR_NOT_FOUND when
 * the keyring has no such DEK (destroyed or foreign), SR_CRYPTO. */
int sr_keyring_derive(const struct sr_keyring *keyring, uint32_t dek_id, const char *label,
                      const uint8_t *salt, size_t salt_size, uint8_t ret_key[SR_KEY_BYTES],
                      struct sr_err *err);

#endif
