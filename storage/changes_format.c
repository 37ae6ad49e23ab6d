/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/changes_format.h"

#define MAGIC       "SRCHANGE"
#define MAGIC_BYTES 8

void sr_changes_header_pack(const struct sr_changes_header *header, struct sr_buf *out)
{
    const struct sr_changes_info *info = &header->info;

    sr_buf_append_u8(out, SR_CHANGES_HEADER);
    sr_buf_append(out, MAGIC, MAGIC_BYTES);
    sr_buf_append_u32(out, SR_CHANGES_FORMAT);
    sr_buf_append_u32(out, 0);
    sr_buf_append_u32(out, 0);
    sr_buf_append_u64(out, header->cluster_id);
    sr_buf_append_u64(out, (uint64_t)info->since);
    sr_buf_append_u64(out, (uint64_t)info->until);
    sr_buf_append_u64(out, info->index);
    sr_buf_append_u64(out, info->term);
    sr_buf_append_u64(out, (uint64_t)info->compact_revision);
    sr_buf_append_u8(out, info->at_point);
    sr_buf_append(out, info->state_hash, sizeof(info->state_hash));
}

/* Magic, format and flags. */
static int check_start(struct sr_reader *reader, struct sr_err *err)
{
    uint8_t kind = sr_read_u8(reader);
    struct sr_bytes magic = sr_read_bytes(reader, MAGIC_BYTES);
    uint32_t format = sr_read_u32(reader);
    uint32_t incompatible;

    (void)sr_read_u32(reader); /* compatible */
    incompatible = sr_read_u32(reader);
    if (reader->failed || kind != SR_CHANGES_HEADER ||
        !sr_bytes_equal(magic, (struct sr_bytes){(const uint8_t *)MAGIC, MAGIC_BYTES})) {
        return sr_err_set(err, SR_CORRUPT, "no header of changes");
    }
    if (format != SR_CHANGES_FORMAT || incompatible != 0) {
        return sr_err_set(err, SR_FORMAT, "changes of format %u, features 0x%x", (unsigned)format,
                          (unsigned)incompatible);
    }
    return SR_OK;
}

int sr_changes_header_unpack(struct sr_bytes chunk, struct sr_changes_header *ret,
                             struct sr_err *err)
{
    struct sr_reader reader = sr_reader_of(chunk.data, chunk.size);
    struct sr_changes_header header = {0};
    struct sr_changes_info *info = &header.info;
    uint8_t at_point;
    int rc = check_start(&reader, err);

    if (rc != SR_OK) {
        return rc;
    }
    header.cluster_id = sr_read_u64(&reader);
    info->since = (int64_t)sr_read_u64(&reader);
    info->until = (int64_t)sr_read_u64(&reader);
    info->index = sr_read_u64(&reader);
    info->term = sr_read_u64(&reader);
    info->compact_revision = (int64_t)sr_read_u64(&reader);
    at_point = sr_read_u8(&reader);
    info->at_point = at_point == 1;
    sr_read_copy(&reader, info->state_hash, sizeof(info->state_hash));
    if (reader.failed || sr_reader_left(&reader) > 0 || at_point > 1 || info->since < 0 ||
        info->since >= info->until || info->until == INT64_MAX || info->index == 0 ||
        info->compact_revision < -1 || info->compact_revision > info->until) {
        return sr_err_set(err, SR_CORRUPT, "impossible header of changes");
    }
    *ret = header;
    return SR_OK;
}

void sr_changes_mark_pack(const struct sr_archive_mark *mark, struct sr_buf *out)
{
    sr_buf_append_u8(out, SR_CHANGES_MARK);
    sr_buf_append_u64(out, (uint64_t)mark->revision);
    sr_buf_append_u64(out, mark->time_ms);
}

int sr_changes_mark_unpack(struct sr_bytes chunk, struct sr_archive_mark *ret, struct sr_err *err)
{
    struct sr_reader reader = sr_reader_of(chunk.data, chunk.size);

    (void)sr_read_u8(&reader); /* its kind */
    ret->revision = (int64_t)sr_read_u64(&reader);
    ret->time_ms = sr_read_u64(&reader);
    if (reader.failed || sr_reader_left(&reader) > 0 || ret->revision < 1) {
        return sr_err_set(err, SR_CORRUPT, "impossible mark");
    }
    return SR_OK;
}
