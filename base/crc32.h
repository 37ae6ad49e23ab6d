/* SPDX-License-Identifier: Apache-2.0
 *
 * CRC-32 (IEEE 802.3, as in gzip): for small files in the clear. Finds damage, not tampering.
 */
#ifndef SR_BASE_CRC32_H
#define SR_BASE_CRC32_H

#include <stddef.h>
#include <stdint.h>

uint32_t sr_crc32(const void *data, size_t size);

#endif
