/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/wire.h"

#include <string.h>

#include "base/check.h"
#include "proto/limits.h"

/* Room for a length: four groups of seven bits hold any answer's size. */
#define LENGTH_BYTES 4
/* Up to here the room that a length does not need is closed; beyond, the length is padded, which
 * every decoder takes, rather than move a large answer once for every level of nesting. */
#define MOVE_BYTES_MAX ((size_t)64 * 1024)

_Static_assert(SR_RESPONSE_BYTES_MAX <= 1 << (7 * LENGTH_BYTES), "a length must fit");

enum {
    KV_KEY = 1,
    KV_CREATE_REVISION = 2,
    KV_MOD_REVISION = 3,
    KV_VERSION = 4,
    KV_VALUE = 5,
    KV_LEASE = 6
};

static size_t varint_size(uint64_t value)
{
    unsigned bits = 64 - (unsigned)__builtin_clzll(value | 1);
    return (bits + 6) / 7;
}

static uint8_t *put_varint(uint8_t *out, uint64_t value)
{
    for (; value >= 0x80; value >>= 7) {
        *out++ = (uint8_t)(value | 0x80);
    }
    *out++ = (uint8_t)value;
    return out;
}

static uint8_t *put_number(uint8_t *out, uint8_t tag, int64_t value)
{
    if (value == 0) {
        return out;
    }
    *out++ = tag;
    return put_varint(out, (uint64_t)value);
}

void sr_wire_number(struct sr_buf *buf, uint8_t tag, int64_t value)
{
    if (value != 0) {
        put_number(sr_buf_extend(buf, 1 + varint_size((uint64_t)value)), tag, value);
    }
}

size_t sr_wire_begin(struct sr_buf *buf, uint8_t tag)
{
    sr_buf_append_u8(buf, tag);
    (void)sr_buf_extend(buf, LENGTH_BYTES);
    return buf->size;
}

void sr_wire_end(struct sr_buf *buf, size_t content)
{
    size_t size = buf->size - content;
    uint8_t *length = buf->data + content - LENGTH_BYTES;
    if (size <= MOVE_BYTES_MAX) {
        uint8_t *start = put_varint(length, size);
        memmove(start, buf->data + content, size);
        buf->size = (size_t)(start - buf->data) + size;
        return;
    }
    sr_check(size >> (7 * LENGTH_BYTES) == 0);
    for (unsigned i = 0; i < LENGTH_BYTES; i++) {
        length[i] = (uint8_t)(((size >> (7 * i)) & 0x7f) | (i + 1 < LENGTH_BYTES ? 0x80 : 0));
    }
}

static size_t number_size(int64_t value)
{
    return value == 0 ? 0 : 1 + varint_size((uint64_t)value);
}

static size_t bytes_size(size_t size)
{
    return size == 0 ? 0 : 1 + varint_size(size) + size;
}

static size_t content_size(struct sr_bytes key, const struct sr_version *version, bool with_value)
{
    return bytes_size(key.size) + number_size(version->create_revision) +
           number_size(version->mod_revision) + number_size(version->version) +
           bytes_size(with_value ? version->value_size : 0) + number_size(version->lease);
}

size_t sr_wire_key_value_size(struct sr_bytes key, const struct sr_version *version,
                              bool with_value)
{
    size_t size = content_size(key, version, with_value);
    return 1 + varint_size(size) + size;
}

int sr_wire_key_value(struct sr_buf *buf, uint8_t tag, struct sr_view *view, struct sr_bytes key,
                      const struct sr_version *version, bool with_value, struct sr_err *err)
{
    size_t size = content_size(key, version, with_value);
    size_t whole = 1 + varint_size(size) + size;
    sr_buf_reserve(buf, whole);
    size_t begin = buf->size;
    uint8_t *out = buf->data + begin;
    *out++ = tag;
    out = put_varint(out, size);
    if (key.size > 0) {
        *out++ = SR_WIRE_BYTES(KV_KEY);
        out = put_varint(out, key.size);
        memcpy(out, key.data, key.size);
        out += key.size;
    }
    out = put_number(out, SR_WIRE_NUMBER(KV_CREATE_REVISION), version->create_revision);
    out = put_number(out, SR_WIRE_NUMBER(KV_MOD_REVISION), version->mod_revision);
    out = put_number(out, SR_WIRE_NUMBER(KV_VERSION), version->version);
    if (with_value && version->value_size > 0) {
        *out++ = SR_WIRE_BYTES(KV_VALUE);
        out = put_varint(out, version->value_size);
        buf->size = (size_t)(out - buf->data);
        size_t before = buf->size;
        int rc = sr_view_value(view, key, version, buf, err);
        if (rc == SR_OK && buf->size - before != version->value_size) {
            rc = sr_err_set(err, SR_CORRUPT, "a value is not as long as its header says");
        }
        if (rc != SR_OK) {
            buf->size = begin;
            return rc;
        }
        out = buf->data + buf->size;
    }
    buf->size = (size_t)(out - buf->data);
    sr_wire_number(buf, SR_WIRE_NUMBER(KV_LEASE), version->lease);
    sr_check(buf->size == begin + whole);
    return SR_OK;
}
