/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"

#include <string.h>

#include "base/alloc.h"
#include "base/check.h"

#define BUF_CAPACITY_MIN ((size_t)256)

int sr_bytes_compare(struct sr_bytes a, struct sr_bytes b)
{
    size_t shorter = a.size < b.size ? a.size : b.size;
    int order = shorter == 0 ? 0 : memcmp(a.data, b.data, shorter);
    if (order != 0) {
        return order;
    }
    return a.size < b.size ? -1 : a.size > b.size;
}

bool sr_bytes_equal(struct sr_bytes a, struct sr_bytes b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

struct sr_bytes sr_bytes_of(const char *text)
{
    return (struct sr_bytes){(const uint8_t *)text, strlen(text)};
}

void sr_buf_reserve(struct sr_buf *buf, size_t more)
{
    size_t needed = 0;
    sr_check(!__builtin_add_overflow(buf->size, more, &needed));
    if (needed <= buf->capacity) {
        return;
    }
    size_t capacity = buf->capacity < BUF_CAPACITY_MIN ? BUF_CAPACITY_MIN : buf->capacity;
    while (capacity < needed) {
        sr_check(!__builtin_mul_overflow(capacity, (size_t)2, &capacity));
    }
    buf->data = sr_realloc(buf->data, capacity);
    buf->capacity = capacity;
}

uint8_t *sr_buf_extend(struct sr_buf *buf, size_t size)
{
    sr_buf_reserve(buf, size > 0 ? size : 1); /* so that there is memory to point into */
    uint8_t *start = buf->data + buf->size;
    buf->size += size;
    return start;
}

void sr_buf_append(struct sr_buf *buf, const void *data, size_t size)
{
    if (size > 0) {
        memcpy(sr_buf_extend(buf, size), data, size);
    }
}

void sr_buf_append_u8(struct sr_buf *buf, uint8_t value)
{
    *sr_buf_extend(buf, 1) = value;
}

void sr_buf_append_u16(struct sr_buf *buf, uint16_t value)
{
    sr_put_u16(sr_buf_extend(buf, 2), value);
}

void sr_buf_append_u32(struct sr_buf *buf, uint32_t value)
{
    sr_put_u32(sr_buf_extend(buf, 4), value);
}

void sr_buf_append_u64(struct sr_buf *buf, uint64_t value)
{
    sr_put_u64(sr_buf_extend(buf, 8), value);
}

void sr_buf_consume(struct sr_buf *buf, size_t size)
{
    if (size >= buf->size) {
        buf->size = 0;
        return;
    }
    memmove(buf->data, buf->data + size, buf->size - size);
    buf->size -= size;
}

void sr_buf_clear(struct sr_buf *buf)
{
    buf->size = 0;
}

void sr_buf_close(struct sr_buf *buf)
{
    sr_free(buf->data);
    *buf = (struct sr_buf){0};
}

struct sr_reader sr_reader_of(const void *data, size_t size)
{
    return (struct sr_reader){.data = data, .size = size};
}

size_t sr_reader_left(const struct sr_reader *reader)
{
    return reader->size - reader->offset;
}

struct sr_bytes sr_read_bytes(struct sr_reader *reader, size_t size)
{
    if (reader->failed || size > sr_reader_left(reader)) {
        reader->failed = true;
        return (struct sr_bytes){NULL, 0};
    }
    struct sr_bytes bytes = {reader->data + reader->offset, size};
    reader->offset += size;
    return bytes;
}

void sr_read_copy(struct sr_reader *reader, void *out, size_t size)
{
    struct sr_bytes bytes = sr_read_bytes(reader, size);
    if (bytes.data == NULL) {
        memset(out, 0, size);
    } else {
        memcpy(out, bytes.data, size);
    }
}

uint8_t sr_read_u8(struct sr_reader *reader)
{
    struct sr_bytes bytes = sr_read_bytes(reader, 1);
    return bytes.data == NULL ? 0 : bytes.data[0];
}

uint16_t sr_read_u16(struct sr_reader *reader)
{
    struct sr_bytes bytes = sr_read_bytes(reader, 2);
    return bytes.data == NULL ? 0 : (uint16_t)((bytes.data[0] << 8) | bytes.data[1]);
}

uint32_t sr_read_u32(struct sr_reader *reader)
{
    struct sr_bytes bytes = sr_read_bytes(reader, 4);
    return bytes.data == NULL ? 0 : sr_get_u32(bytes.data);
}

uint64_t sr_read_u64(struct sr_reader *reader)
{
    struct sr_bytes bytes = sr_read_bytes(reader, 8);
    return bytes.data == NULL ? 0 : sr_get_u64(bytes.data);
}
