/* SPDX-License-Identifier: Apache-2.0
 *
 * An image writer takes the full archive; changes go on into the memtable of its store. The state
 * has applied index 0 until finish, so that what is left of a failure is not mistaken for a state.
 *
 * While it is finished a hold keeps what the new compact revision supersedes: what is read back is
 * all that was put. The node that adopts the directory compacts.
 */
#include "storage/staged.h"

#include <string.h>

#include "base/alloc.h"
#include "base/check.h"
#include "storage/requests.h"
#include "storage/staged_impl.h"

/* Entries of a transaction, and headers that are gathered for the index, and as many that are
 * drained: fewer than on a node, for less memory. */
#define STAGED_ENTRIES_MAX   20000
#define STAGED_UNINDEXED_MAX 40000

/* ---- Open ---- */

static int check_options(const struct sr_staged_options *options, struct sr_err *err)
{
    if (options->configuration.size == 0 ||
        options->configuration.size > SR_CONFIGURATION_BYTES_MAX) {
        return sr_err_set(err, SR_INVALID, "a configuration of %zu bytes",
                          options->configuration.size);
    }
    if (options->until_revision < 0 || options->revision_bump < 0 ||
        options->revision_bump > INT64_MAX / 2) {
        return sr_err_set(err, SR_INVALID, "a revision that cannot be");
    }
    return SR_OK;
}

int sr_staged_open(const struct sr_staged_options *options, struct sr_staged **ret,
                   struct sr_err *err)
{
    struct sr_staged *staged;
    int rc = check_options(options, err);

    if (rc != SR_OK) {
        return sr_err_prefix(err, "stage an archive");
    }
    staged = sr_zalloc(sizeof(*staged));
    staged->options = *options;
    sr_buf_append(&staged->configuration, options->configuration.data, options->configuration.size);
    sr_buf_append(&staged->record, options->record.data, options->record.size);
    staged->rebirth = (struct sr_image_rebirth){
        .from_cluster_id = options->from_cluster_id,
        .configuration = {staged->configuration.data, staged->configuration.size},
        .record = {staged->record.data, staged->record.size}};
    staged->hash = sr_statehash_new();
    staged->sum = EVP_MD_CTX_new();
    sr_check(staged->sum != NULL && EVP_DigestInit_ex2(staged->sum, EVP_sha256(), NULL) == 1);
    if (staged->options.writer.staged_entries_max == 0) {
        staged->options.writer.staged_entries_max = STAGED_ENTRIES_MAX;
    }
    rc = sr_image_writer_open_rebirth(&staged->options.writer, &staged->rebirth, &staged->writer,
                                      err);
    if (rc != SR_OK) {
        sr_staged_close(staged);
        return sr_err_prefix(err, "stage an archive");
    }
    staged->writer->store->options.unindexed_entries_max = STAGED_UNINDEXED_MAX;
    *ret = staged;
    return SR_OK;
}

void sr_staged_close(struct sr_staged *staged)
{
    if (staged == NULL) {
        return;
    }
    if (staged->held) {
        sr_hold_end(staged->writer->store, &staged->hold);
    }
    sr_image_writer_close(staged->writer);
    sr_statehash_free(staged->hash);
    EVP_MD_CTX_free(staged->sum);
    sr_buf_close(&staged->configuration);
    sr_buf_close(&staged->record);
    sr_free(staged);
}

int64_t sr_staged_revision(const struct sr_staged *staged)
{
    return staged->state.revision;
}

bool sr_staged_is_complete(const struct sr_staged *staged)
{
    int64_t bound = staged->options.until_revision;

    return staged->stopped || (bound > 0 && staged->state.revision >= bound);
}

int sr_staged_sum(struct sr_staged *staged, const void *data, size_t size, struct sr_err *err)
{
    return EVP_DigestUpdate(staged->sum, data, size) == 1
               ? SR_OK
               : sr_err_set(err, SR_CRYPTO, "SHA-256 failed");
}

/* ---- Archives ---- */

static int follows(const struct sr_staged *staged, const struct sr_archive_header *header,
                   struct sr_err *err)
{
    bool full = header->kind == SR_ARCHIVE_FULL;
    int64_t bound = staged->options.until_revision;
    int64_t reached = staged->state.revision;

    if (header->cluster_id != staged->options.from_cluster_id) {
        return sr_err_set(err, SR_REFUSED, "it is of cluster %016llx, not of %016llx",
                          (unsigned long long)header->cluster_id,
                          (unsigned long long)staged->options.from_cluster_id);
    }
    if (staged->phase != SR_STAGED_EMPTY && staged->phase != SR_STAGED_READY) {
        return sr_err_set(err, SR_REFUSED, "the archive before it is not whole");
    }
    if (full != (staged->phase == SR_STAGED_EMPTY)) {
        return sr_err_set(err, SR_REFUSED,
                          full ? "there is a full archive already"
                               : "changes need a full archive before them");
    }
    if (full && bound > 0 && header->revision > bound) {
        return sr_err_set(err, SR_REFUSED,
                          "it is of revision %lld, and only %lld is wanted: take an earlier one",
                          (long long)header->revision, (long long)bound);
    }
    if (header->revision >= INT64_MAX - staged->options.revision_bump) {
        return sr_err_set(err, SR_REFUSED, "after revision %lld there are not %lld more",
                          (long long)header->revision, (long long)staged->options.revision_bump);
    }
    if (!full && header->since > reached) {
        return sr_err_set(err, SR_REFUSED,
                          "it begins after revision %lld, and only %lld is there: changes between "
                          "are missing",
                          (long long)header->since, (long long)reached);
    }
    return SR_OK;
}

int sr_staged_begin(struct sr_staged *staged, const struct sr_archive_header *header,
                    struct sr_err *err)
{
    int rc = follows(staged, header, err);

    if (rc != SR_OK) {
        return sr_err_prefix(err, "stage an archive");
    }
    sr_archive_check_begin(&staged->check, header);
    staged->phase = header->kind == SR_ARCHIVE_FULL ? SR_STAGED_FULL : SR_STAGED_CHANGES;
    staged->base = staged->state.revision;
    staged->added = false;
    staged->mark = (struct sr_archive_mark){0};
    return SR_OK;
}

static int put_full(struct sr_staged *staged, const struct sr_image_chunk *chunk,
                    struct sr_err *err)
{
    int rc = sr_image_writer_put(staged->writer, chunk, err);

    if (rc == SR_OK && chunk->data.data[0] == SR_IMAGE_VERSIONS) {
        rc = sr_staged_sum(staged, chunk->data.data + 1, chunk->data.size - 1, err);
    }
    return rc;
}

/* The chunk must be the next one of the archive that was begun. */
static int put(struct sr_staged *staged, const struct sr_image_chunk *chunk, struct sr_err *err)
{
    struct sr_archive_check check = staged->check;
    int rc;

    if (chunk->number != check.info.chunks) {
        return sr_err_set(err, SR_CORRUPT, "chunk %llu: %llu was expected",
                          (unsigned long long)chunk->number, (unsigned long long)check.info.chunks);
    }
    rc = sr_archive_check_chunk(&check, chunk->data, err);
    if (rc == SR_OK && memcmp(check.info.content, chunk->content, sizeof(chunk->content)) != 0) {
        rc = sr_err_set(err, SR_CORRUPT, "chunk %llu: its checksum is another",
                        (unsigned long long)chunk->number);
    }
    if (rc == SR_OK) {
        rc = staged->phase == SR_STAGED_FULL ? put_full(staged, chunk, err)
                                             : sr_staged_put_changes(staged, chunk, err);
    }
    if (rc == SR_OK) {
        staged->check = check;
    }
    return rc;
}

int sr_staged_put(struct sr_staged *staged, const struct sr_image_chunk *chunk, struct sr_err *err)
{
    int rc;

    if (staged->phase != SR_STAGED_FULL && staged->phase != SR_STAGED_CHANGES) {
        return sr_err_set(err, SR_CLOSED, "stage an archive: none was begun, or it has failed");
    }
    rc = put(staged, chunk, err);
    if (rc == SR_OK || rc == SR_NO_SPACE) {
        return rc;
    }
    staged->phase = SR_STAGED_FAILED;
    return sr_err_prefix(err, "stage an archive");
}

static void end_full(struct sr_staged *staged)
{
    staged->state = staged->writer->point.state;
    staged->versions = staged->check.info.versions;
    staged->requests = staged->check.info.requests;
    staged->original = true;
    /* Where the image writer counts on: what follows is ours. */
    staged->writer->store->apply.revision = staged->state.revision;
}

int sr_staged_end(struct sr_staged *staged, struct sr_err *err)
{
    int rc = SR_OK;

    if (staged->phase != SR_STAGED_FULL && staged->phase != SR_STAGED_CHANGES) {
        return sr_err_set(err, SR_CLOSED, "stage an archive: none was begun, or it has failed");
    }
    if (!staged->check.ended) {
        return sr_err_set(err, SR_AGAIN, "stage an archive: chunks are missing");
    }
    if (staged->phase == SR_STAGED_FULL) {
        end_full(staged);
    } else {
        rc = sr_staged_end_changes(staged, err);
    }
    staged->phase = rc == SR_OK ? SR_STAGED_READY : SR_STAGED_FAILED;
    return rc == SR_OK ? SR_OK : sr_err_prefix(err, "stage an archive");
}

static int put_chunks(struct sr_staged *staged, struct sr_archive_reader *reader,
                      struct sr_err *err)
{
    struct sr_image_chunk chunk = {0};
    int rc = sr_staged_begin(staged, sr_archive_reader_header(reader), err);

    while (rc == SR_OK && !chunk.last) {
        rc = sr_archive_reader_next(reader, &chunk, err);
        if (rc == SR_OK) {
            rc = sr_staged_put(staged, &chunk, err);
        }
    }
    return rc == SR_OK ? sr_staged_end(staged, err) : rc;
}

int sr_staged_put_archive(struct sr_staged *staged, const struct sr_archive_source *source,
                          const struct sr_archive_keys *keys, struct sr_archive_info *ret,
                          struct sr_err *err)
{
    struct sr_archive_reader *reader = NULL;
    int rc = sr_archive_reader_open(source, keys, &reader, err);

    if (rc == SR_OK) {
        rc = put_chunks(staged, reader, err);
    }
    if (rc == SR_OK && ret != NULL) {
        sr_archive_reader_info(reader, ret);
    }
    sr_archive_reader_close(reader);
    return rc;
}

/* ---- Finish ---- */

/* The state as it is to be, bump and all. */
static void make_final(const struct sr_staged *staged, struct sr_image_header *ret)
{
    *ret = staged->writer->point;
    ret->state = staged->state;
    ret->state.revision += staged->options.revision_bump;
    if (staged->options.mark_compacted) {
        ret->state.compact_revision = ret->state.revision;
    }
    sr_image_rebirth_header(&staged->rebirth, staged->options.writer.cluster_id, ret);
}

static int make_whole(struct sr_staged *staged, struct sr_err *err)
{
    struct sr_image_writer *writer = staged->writer;
    struct sr_image_header header;
    int rc = sr_image_writer_flush(writer, false, err); /* one that found no space */

    make_final(staged, &header);
    if (rc == SR_OK && !staged->held) {
        rc = sr_hold_begin(writer->store, &staged->hold, err);
        staged->held = rc == SR_OK;
    }
    if (rc == SR_OK) {
        rc = sr_image_writer_enter(writer, &header, err);
    }
    if (rc == SR_OK) {
        rc = sr_image_writer_flush(writer, true, err);
    }
    return rc == SR_OK ? sr_store_index_rest(writer->store, err) : rc;
}

static int finish(struct sr_staged *staged, struct sr_err *err)
{
    int rc = make_whole(staged, err);

    if (rc != SR_OK) {
        return rc;
    }
    sr_hold_end(staged->writer->store, &staged->hold);
    staged->held = false;
    rc = sr_image_writer_reopen(staged->writer, err);
    if (rc == SR_OK) {
        rc = sr_image_writer_check_count(staged->writer, staged->versions, err);
    }
    if (rc == SR_OK) {
        rc = sr_staged_verify(staged, err);
    }
    return rc;
}

static void tell(const struct sr_staged *staged, struct sr_staged_result *ret)
{
    const struct sr_state *state = &staged->state;

    *ret =
        (struct sr_staged_result){.revision = state->revision,
                                  .compact_revision = state->compact_revision,
                                  .final_revision = state->revision + staged->options.revision_bump,
                                  .index = state->applied_index,
                                  .term = state->term,
                                  .time_ms = staged->time_ms,
                                  .versions = staged->versions,
                                  .requests = sr_requests_count(staged->writer->store),
                                  .state_hash_is_original = staged->original};
    memcpy(ret->state_hash, state->hash, sizeof(ret->state_hash));
}

int sr_staged_finish(struct sr_staged *staged, struct sr_staged_result *ret, struct sr_err *err)
{
    int rc;

    if (staged->phase == SR_STAGED_FAILED || staged->writer->store == NULL) {
        return sr_err_set(err, SR_CLOSED, "stage an archive: it has failed before");
    }
    if (staged->phase != SR_STAGED_READY) {
        return sr_err_set(err, SR_AGAIN, "stage an archive: it is not whole");
    }
    rc = finish(staged, err);
    if (rc == SR_NO_SPACE) {
        return sr_err_prefix(err, "stage an archive");
    }
    if (rc == SR_OK) {
        tell(staged, ret);
    }
    staged->phase = SR_STAGED_FAILED; /* there is nothing left to be done */
    return rc == SR_OK ? SR_OK : sr_err_prefix(err, "stage an archive");
}
