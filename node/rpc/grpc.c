/* SPDX-License-Identifier: Apache-2.0 */
#include "node/rpc/grpc.h"

#include <string.h>

#define TIMEOUT_DIGITS_MAX 8

static uint64_t unit_ns(uint8_t unit)
{
    switch (unit) {
    case 'H':
        return 3600ULL * 1000000000ULL;
    case 'M':
        return 60ULL * 1000000000ULL;
    case 'S':
        return 1000000000ULL;
    case 'm':
        return 1000000ULL;
    case 'u':
        return 1000ULL;
    case 'n':
        return 1ULL;
    default:
        return 0;
    }
}

bool grpc_parse_timeout(struct sr_bytes text, uint64_t *ret_ns)
{
    if (text.size < 2 || text.size > TIMEOUT_DIGITS_MAX + 1) {
        return false;
    }
    uint64_t scale = unit_ns(text.data[text.size - 1]);
    if (scale == 0) {
        return false;
    }
    uint64_t value = 0;
    for (size_t i = 0; i < text.size - 1; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') {
            return false;
        }
        value = value * 10 + (uint64_t)(text.data[i] - '0');
    }
    /* 99,999,999 hours are 3.6e20 ns, more than 64 bits hold: such a client means "never". */
    if (__builtin_mul_overflow(value, scale, ret_ns)) {
        *ret_ns = UINT64_MAX;
    }
    return true;
}

void grpc_encode_message(struct sr_buf *out, const char *text)
{
    static const char digits[] = "0123456789ABCDEF";
    for (size_t i = 0; text[i] != '\0' && i < GRPC_TEXT_BYTES_MAX; i++) {
        uint8_t byte = (uint8_t)text[i];
        if (byte >= 0x20 && byte <= 0x7e && byte != '%') {
            sr_buf_append_u8(out, byte);
            continue;
        }
        uint8_t *escaped = sr_buf_extend(out, 3);
        escaped[0] = '%';
        escaped[1] = (uint8_t)digits[byte >> 4];
        escaped[2] = (uint8_t)digits[byte & 15];
    }
}

bool grpc_is_content_type(struct sr_bytes text)
{
    static const char base[] = "application/grpc";
    size_t length = sizeof(base) - 1;
    if (text.size < length || memcmp(text.data, base, length) != 0) {
        return false;
    }
    return text.size == length || text.data[length] == '+' || text.data[length] == ';';
}

static int hex_value(uint8_t digit)
{
    if (digit >= '0' && digit <= '9') {
        return digit - '0';
    }
    uint8_t lower = digit | 0x20;
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

bool grpc_parse_request_id(struct sr_bytes text, uint8_t ret_id[16])
{
    uint8_t id[16];
    if (text.size != 2 * sizeof(id)) {
        return false;
    }
    for (size_t i = 0; i < sizeof(id); i++) {
        int high = hex_value(text.data[2 * i]);
        int low = hex_value(text.data[2 * i + 1]);
        if (high < 0 || low < 0) {
            return false;
        }
        id[i] = (uint8_t)(high << 4 | low);
    }
    memcpy(ret_id, id, sizeof(id));
    return true;
}
