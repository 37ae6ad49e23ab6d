/* SPDX-License-Identifier: Apache-2.0
 *
 * Archives as they come from a target. The first byte chooses: an archive as it is, whose keys
 * open; or what follows, chunk by chunk, as whoever has the keys might seal it. Nothing that is
 * accepted breaks the rules that a staged state relies on.
 */
#include <string.h>

#include "base/check.h"
#include "storage/archive_check.h"
#include "storage/archive_format.h"
#include "storage/changes_format.h"
#include "storage/image_format.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int unwrap(void *arg, struct sr_bytes wrapped, struct sr_bytes context,
                  uint8_t ret_dek[SR_KEY_BYTES], struct sr_err *err)
{
    (void)arg;
    (void)wrapped;
    (void)err;
    sr_check(context.size == SR_ARCHIVE_CONTEXT_BYTES);
    memset(ret_dek, 7, SR_KEY_BYTES);
    return SR_OK;
}

static int get(void *arg, void *data, size_t size, size_t *ret_size, struct sr_err *err)
{
    struct sr_reader *reader = arg;
    size_t left = sr_reader_left(reader);

    (void)err;
    *ret_size = size < left ? size : left;
    sr_read_copy(reader, data, *ret_size);
    return SR_OK;
}

static void as_it_is(const uint8_t *data, size_t size)
{
    static const struct sr_archive_keys keys = {.unwrap = unwrap};
    struct sr_reader reader = sr_reader_of(data, size);
    struct sr_archive_source source = {.get = get, .arg = &reader};
    struct sr_archive_info info;
    struct sr_archive_header header;
    struct sr_err err = {0};
    int rc = sr_archive_verify(&source, &keys, &info, &err);

    if (rc == SR_OK) {
        sr_check(sr_reader_left(&reader) == 0 && info.bytes == size);
        sr_check(sr_archive_peek(data, size, &header, &err) == SR_OK);
    } else {
        sr_check(err.status == rc && err.text[0] != 0);
    }
}

/* The header of the archive is made to fit the first chunk. */
static void header_for(struct sr_bytes chunk, struct sr_archive_header *ret)
{
    struct sr_image_header image;
    struct sr_changes_header changes;

    *ret = (struct sr_archive_header){.kind = SR_ARCHIVE_FULL};
    if (sr_image_header_unpack(chunk, &image, NULL) == SR_OK) {
        ret->cluster_id = image.cluster_id;
        ret->index = image.state.applied_index;
        ret->term = image.state.term;
        ret->revision = image.state.revision;
    } else if (sr_changes_header_unpack(chunk, &changes, NULL) == SR_OK) {
        ret->kind = SR_ARCHIVE_CHANGES;
        ret->cluster_id = changes.cluster_id;
        ret->index = changes.info.index;
        ret->term = changes.info.term;
        ret->since = changes.info.since;
        ret->revision = changes.info.until;
    }
}

static void chunk_by_chunk(const uint8_t *data, size_t size)
{
    struct sr_reader reader = sr_reader_of(data, size);
    struct sr_archive_check check;
    struct sr_archive_header header;
    struct sr_err err = {0};
    bool begun = false;
    int rc = SR_OK;

    while (rc == SR_OK && sr_reader_left(&reader) > 0) {
        struct sr_bytes chunk = sr_read_bytes(&reader, sr_read_u16(&reader));
        if (reader.failed) {
            return;
        }
        if (!begun) {
            header_for(chunk, &header);
            sr_archive_check_begin(&check, &header);
            begun = true;
        }
        rc = sr_archive_check_chunk(&check, chunk, &err);
        sr_check(rc != SR_OK || !check.ended || header.kind == SR_ARCHIVE_FULL ||
                 check.position.revision == header.revision);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    if (data[0] % 2 == 0) {
        as_it_is(data + 1, size - 1);
    } else {
        chunk_by_chunk(data + 1, size - 1);
    }
    return 0;
}
