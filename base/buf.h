/* SPDX-License-Identifier: Apache-2.0
 *
 * Byte strings: a growing buffer for what we write, a bounded cursor for what we read. No other
 * code does pointer arithmetic on input. Integers are big-endian unless the name says otherwise.
 */
#ifndef SR_BASE_BUF_H
#define SR_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes that somebody else owns. */
struct sr_bytes {
    const uint8_t *data;
    size_t size;
};

/* memcmp order, the shorter first when one is a prefix of the other: <0, 0, >0. */
int sr_bytes_compare(struct sr_bytes a, struct sr_bytes b);
bool sr_bytes_equal(struct sr_bytes a, struct sr_bytes b);
/* The characters of @text, without its 0. */
struct sr_bytes sr_bytes_of(const char *text);

/* A growing buffer; zero-initialised is empty and valid. Grows by doubling with sr_alloc. */
struct sr_buf {
    uint8_t *data;
    size_t size;
    size_t capacity;
};

void sr_buf_reserve(struct sr_buf *buf, size_t more);
void sr_buf_append(struct sr_buf *buf, const void *data, size_t size);
/* Grow by @size bytes and return where they start; their content is undefined. */
uint8_t *sr_buf_extend(struct sr_buf *buf, size_t size);
void sr_buf_append_u8(struct sr_buf *buf, uint8_t value);
void sr_buf_append_u16(struct sr_buf *buf, uint16_t value);
void sr_buf_append_u32(struct sr_buf *buf, uint32_t value);
void sr_buf_append_u64(struct sr_buf *buf, uint64_t value);
/* Drop the first @size bytes (at most what is there). */
void sr_buf_consume(struct sr_buf *buf, size_t size);
void sr_buf_clear(struct sr_buf *buf); /* keeps the memory */
void sr_buf_close(struct sr_buf *buf); /* frees it; the buffer is empty and valid afterwards */

/* A bounded cursor over bytes that somebody else owns. Reading past the end sets failed, returns
 * zeros, and moves nothing, so that a decoder may read everything first and check once. */
struct sr_reader {
    const uint8_t *data;
    size_t size;
    size_t offset;
    bool failed;
};

struct sr_reader sr_reader_of(const void *data, size_t size);
size_t sr_reader_left(const struct sr_reader *reader);
uint8_t sr_read_u8(struct sr_reader *reader);
uint16_t sr_read_u16(struct sr_reader *reader);
uint32_t sr_read_u32(struct sr_reader *reader);
uint64_t sr_read_u64(struct sr_reader *reader);
/* @size bytes in place, or {NULL, 0} past the end. */
struct sr_bytes sr_read_bytes(struct sr_reader *reader, size_t size);
/* Copies @size bytes to @out, zeros past the end. */
void sr_read_copy(struct sr_reader *reader, void *out, size_t size);

static inline void sr_put_u16(uint8_t *out, uint16_t value)
{
    out[0] = (uint8_t)(value >> 8);
    out[1] = (uint8_t)value;
}

static inline void sr_put_u32(uint8_t *out, uint32_t value)
{
    value = __builtin_bswap32(value);
    __builtin_memcpy(out, &value, sizeof(value));
}

static inline void sr_put_u64(uint8_t *out, uint64_t value)
{
    value = __builtin_bswap64(value);
    __builtin_memcpy(out, &value, sizeof(value));
}

static inline uint32_t sr_get_u32(const uint8_t *in)
{
    uint32_t value;
    __builtin_memcpy(&value, in, sizeof(value));
    return __builtin_bswap32(value);
}

static inline uint64_t sr_get_u64(const uint8_t *in)
{
    uint64_t value;
    __builtin_memcpy(&value, in, sizeof(value));
    return __builtin_bswap64(value);
}

#endif
