/* SPDX-License-Identifier: Apache-2.0
 *
 * A state that is put together from archives whose keys open and whose pieces fit: somebody with
 * the keys sealed what the input says. The first three bytes choose the bounds, the bump, and how
 * much is staged at once; then each u16 size and bytes are a chunk. It gets the right number and
 * content hash, and a trailer the right counts, as no fuzzer would find them; a header begins an
 * archive. What comes to its end is a state that can be read, and is what was put.
 */
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "scratch.h"
#include "storage/staged_impl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char configuration[] = "one alone";

static struct sr_staged *open_staged(const uint8_t *choice)
{
    static const size_t staged_entries[] = {0, 1, 2, 5};
    static const int64_t bumps[] = {0, 1, 1000, INT64_MAX / 2};
    char dir[PATH_MAX];
    struct sr_staged *staged = NULL;
    struct sr_err err;
    scratch_path("staged", dir);
    struct sr_staged_options options = {
        .writer = {.dir = dir,
                   .keyring = scratch_keyring(),
                   .cluster_id = SCRATCH_CLUSTER,
                   .member_id = SCRATCH_MEMBER,
                   .map_bytes = (size_t)16 * 1024 * 1024,
                   .staged_entries_max = staged_entries[choice[0] & 3]},
        .from_cluster_id = SCRATCH_CLUSTER,
        .configuration = sr_bytes_of(configuration),
        .until_revision = choice[1],
        .until_ms = choice[2],
        .revision_bump = bumps[choice[0] >> 2 & 3],
        .mark_compacted = (choice[0] & 16) != 0,
    };
    sr_check(sr_staged_open(&options, &staged, &err) == SR_OK);
    return staged;
}

/* That of the archive which @chunk begins; false: it begins none. */
static bool header_of(struct sr_bytes chunk, struct sr_archive_header *ret)
{
    struct sr_image_header image;
    struct sr_changes_header changes;
    if (sr_image_header_unpack(chunk, &image, NULL) == SR_OK) {
        *ret = (struct sr_archive_header){.kind = SR_ARCHIVE_FULL,
                                          .cluster_id = image.cluster_id,
                                          .revision = image.state.revision,
                                          .index = image.state.applied_index,
                                          .term = image.state.term};
        return true;
    }
    if (sr_changes_header_unpack(chunk, &changes, NULL) == SR_OK) {
        *ret = (struct sr_archive_header){.kind = SR_ARCHIVE_CHANGES,
                                          .cluster_id = changes.cluster_id,
                                          .since = changes.info.since,
                                          .revision = changes.info.until,
                                          .index = changes.info.index,
                                          .term = changes.info.term};
        return true;
    }
    return false;
}

static int put(struct sr_staged *staged, struct sr_bytes data)
{
    const struct sr_archive_check *check = &staged->check;
    struct sr_image_chunk chunk = {.number = check->info.chunks, .data = data};
    struct sr_buf trailer = {0};
    struct sr_err err;
    if (data.size > 0 && data.data[0] == SR_IMAGE_TRAILER) {
        sr_image_trailer_pack(&check->position, &trailer);
        chunk.data = (struct sr_bytes){trailer.data, trailer.size};
    }
    memcpy(chunk.content, check->info.content, sizeof(chunk.content));
    sr_check(sr_image_content_add(chunk.content, chunk.number, chunk.data, &err) == SR_OK);
    int status = sr_staged_put(staged, &chunk, &err);
    sr_buf_close(&trailer);
    if (status == SR_OK && check->ended) {
        status = sr_staged_end(staged, &err);
    }
    return status;
}

static int put_all(struct sr_staged *staged, struct sr_reader *reader)
{
    int status = SR_OK;
    while (status == SR_OK && sr_reader_left(reader) > 0) {
        struct sr_bytes chunk = sr_read_bytes(reader, sr_read_u16(reader));
        struct sr_archive_header header;
        struct sr_err err;
        if (reader->failed) {
            break;
        }
        if (header_of(chunk, &header) && staged->check.info.chunks > 0 && !staged->check.ended) {
            break;
        }
        if (header_of(chunk, &header)) {
            status = sr_staged_begin(staged, &header, &err);
        }
        if (status == SR_OK) {
            status = put(staged, chunk);
        }
    }
    return status;
}

/* As the new node will. */
static void check_whole(const struct sr_staged_result *result)
{
    char dir[PATH_MAX];
    struct sr_store *store = NULL;
    struct sr_err err;
    uint64_t bytes = 0;
    scratch_path("staged", dir);
    struct sr_store_options options = {.dir = dir,
                                       .keyring = scratch_keyring(),
                                       .cluster_id = SCRATCH_CLUSTER,
                                       .member_id = SCRATCH_MEMBER,
                                       .map_bytes = (size_t)16 * 1024 * 1024};
    sr_check(sr_store_open(&options, &store, &err) == SR_OK);
    sr_check(sr_store_revision(store) == result->final_revision);
    sr_check(sr_store_applied_index(store) == result->index);
    sr_check(sr_image_scrub(store, &bytes, &err) == SR_OK);
    sr_store_close(store);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool is_ready;
    struct sr_staged_result result;
    struct sr_err err;
    if (!is_ready) {
        sr_log_init(SR_LOG_FATAL, SR_LOG_LOGFMT, NULL);
        scratch_make_dir("staged");
        is_ready = true;
    }
    if (size < 3) {
        return 0;
    }
    struct sr_reader reader = sr_reader_of(data + 3, size - 3);
    struct sr_staged *staged = open_staged(data);
    int status = put_all(staged, &reader);
    if (status == SR_OK) {
        status = sr_staged_finish(staged, &result, &err);
    }
    sr_staged_close(staged);
    if (status == SR_OK) {
        check_whole(&result);
    }
    scratch_empty("staged");
    return 0;
}
