/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/batch.h"

#include "base/check.h"

#define BATCH_MAGIC        0xB1
#define BATCH_FORMAT       1
#define BATCH_COUNT_OFFSET 4

void sr_batch_begin(struct sr_buf *buf, uint64_t term)
{
    sr_check(buf->size == 0);
    sr_buf_append_u8(buf, BATCH_MAGIC);
    sr_buf_append_u8(buf, BATCH_FORMAT);
    sr_buf_append_u16(buf, 0);
    sr_buf_append_u32(buf, 0);
    sr_buf_append_u64(buf, term);
    sr_check(buf->size == SR_BATCH_HEADER_BYTES);
}

uint32_t sr_batch_count(const struct sr_buf *buf)
{
    sr_check(buf->size >= SR_BATCH_HEADER_BYTES);
    return sr_get_u32(buf->data + BATCH_COUNT_OFFSET);
}

void sr_batch_add(struct sr_buf *buf, const uint8_t *command, size_t size)
{
    sr_check(size <= UINT32_MAX);
    uint32_t count = sr_batch_count(buf);
    sr_check(count < UINT32_MAX);
    sr_buf_append_u32(buf, (uint32_t)size);
    sr_buf_append(buf, command, size);
    sr_put_u32(buf->data + BATCH_COUNT_OFFSET, count + 1);
}

int sr_batch_open(struct sr_batch_reader *batch, const uint8_t *data, size_t size,
                  struct sr_err *err)
{
    struct sr_reader reader = sr_reader_of(data, size);
    uint8_t magic = sr_read_u8(&reader);
    uint8_t format = sr_read_u8(&reader);
    (void)sr_read_u8(&reader); /* compatible features */
    uint8_t incompatible = sr_read_u8(&reader);
    uint32_t count = sr_read_u32(&reader);
    uint64_t term = sr_read_u64(&reader);
    if (reader.failed) {
        return sr_err_set(err, SR_CORRUPT, "batch: header cut short at %zu bytes", size);
    }
    if (magic != BATCH_MAGIC || format != BATCH_FORMAT || incompatible != 0) {
        return sr_err_set(err, SR_FORMAT, "batch: magic %02x format %u features %#x are not known",
                          magic, format, incompatible);
    }
    struct sr_reader first = reader;
    for (uint32_t i = 0; i < count && !reader.failed; i++) {
        (void)sr_read_bytes(&reader, sr_read_u32(&reader));
    }
    if (reader.failed) {
        return sr_err_set(err, SR_CORRUPT, "batch: cut short: %u commands in %zu bytes", count,
                          size);
    }
    if (sr_reader_left(&reader) > 0) {
        return sr_err_set(err, SR_CORRUPT, "batch: %zu bytes after its last command",
                          sr_reader_left(&reader));
    }
    *batch = (struct sr_batch_reader){.reader = first, .term = term, .left = count};
    return SR_OK;
}

bool sr_batch_next(struct sr_batch_reader *batch, struct sr_bytes *ret_command)
{
    if (batch->left == 0) {
        return false;
    }
    batch->left--;
    *ret_command = sr_read_bytes(&batch->reader, sr_read_u32(&batch->reader));
    sr_check(!batch->reader.failed); /* walked by sr_batch_open */
    return true;
}
