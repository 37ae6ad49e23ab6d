/* SPDX-License-Identifier: Apache-2.0
 *
 * SipHash-2-4 (Aumasson, Bernstein 2012): a keyed hash for tables in memory. Whoever does not know
 * the key cannot choose names that fall into one bucket.
 */
#ifndef SR_STORAGE_KEYHASH_H
#define SR_STORAGE_KEYHASH_H

#include <stdint.h>

#include "base/buf.h"

#define SR_KEYHASH_KEY_BYTES 16

uint64_t sr_keyhash(const uint8_t key[SR_KEYHASH_KEY_BYTES], struct sr_bytes input);

#endif
