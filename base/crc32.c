/* SPDX-License-Identifier: Apache-2.0 */
#include "base/crc32.h"

#define POLYNOMIAL UINT32_C(0xedb88320)

uint32_t sr_crc32(const void *data, size_t size)
{
    const uint8_t *bytes = data;
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < size; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++) {
            crc = (crc & 1) != 0 ? crc >> 1 ^ POLYNOMIAL : crc >> 1;
        }
    }
    return ~crc;
}
