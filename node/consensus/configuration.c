/* SPDX-License-Identifier: Apache-2.0
 *
 * libraft's encoding of a configuration, walked within its bounds before libraft decodes it: its
 * own decoder trusts the bytes.
 *
 *   format u8 = 1, count u64, then per server: id u64, address and a 0, role u8; zeros up to a
 *   multiple of eight. Integers are little-endian.
 */
#include <string.h>

#include "node/consensus/internal.h"

static uint64_t read_u64_le(struct sr_reader *reader)
{
    return __builtin_bswap64(sr_read_u64(reader));
}

int sr_core_configuration_check(struct sr_bytes data, struct sr_err *err)
{
    struct sr_reader reader = sr_reader_of(data.data, data.size);
    uint8_t format = sr_read_u8(&reader);
    uint64_t count = read_u64_le(&reader);
    if (reader.failed || format != 1 || count == 0 || count > SR_MEMBERS_MAX) {
        return sr_err_set(err, SR_CORRUPT, "configuration: format %u with %llu members", format,
                          (unsigned long long)count);
    }
    unsigned voters = 0;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t id = read_u64_le(&reader);
        const uint8_t *address = reader.data + reader.offset;
        size_t left = sr_reader_left(&reader);
        const uint8_t *end = left == 0 ? NULL : memchr(address, 0, left);
        if (id == 0 || end == NULL || end == address) {
            return sr_err_set(err, SR_CORRUPT, "configuration: member %llu is cut short",
                              (unsigned long long)i);
        }
        (void)sr_read_bytes(&reader, (size_t)(end - address) + 1);
        uint8_t role = sr_read_u8(&reader);
        if (reader.failed || role > RAFT_SPARE) {
            return sr_err_set(err, SR_CORRUPT, "configuration: role of member %llu",
                              (unsigned long long)i);
        }
        voters += role == RAFT_VOTER;
    }
    if (voters == 0) {
        return sr_err_set(err, SR_CORRUPT, "configuration: no voter");
    }
    return SR_OK;
}
