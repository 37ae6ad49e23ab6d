/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/archive_check.h"

#include <string.h>

#include "base/alloc.h"
#include "storage/changes_format.h"
#include "storage/image_format.h"

void sr_archive_check_begin(struct sr_archive_check *check, const struct sr_archive_header *header)
{
    *check = (struct sr_archive_check){.info = {.header = *header}};
    check->position.revision = header->since + 1;
}

/* ---- Headers ---- */

static int not_the_same(struct sr_err *err)
{
    return sr_err_set(err, SR_CORRUPT, "its header and that of the archive differ");
}

static int check_full_header(struct sr_archive_check *check, struct sr_bytes data,
                             struct sr_err *err)
{
    const struct sr_archive_header *wanted = &check->info.header;
    struct sr_image_header header;
    const struct sr_state *state = &header.state;
    int rc = sr_image_header_unpack(data, &header, err);

    if (rc != SR_OK) {
        return rc;
    }
    if (header.cluster_id != wanted->cluster_id || state->applied_index != wanted->index ||
        state->term != wanted->term || state->revision != wanted->revision) {
        return not_the_same(err);
    }
    if (header.offsite.size > 0 || header.offsite_secret.size > 0) {
        return sr_err_set(err, SR_CORRUPT, "it carries what may not leave the cluster");
    }
    check->request_count = header.request_count;
    check->position.request = header.request_first;
    check->info.compact_revision = state->compact_revision;
    memcpy(check->info.state_hash, state->hash, sizeof(check->info.state_hash));
    return SR_OK;
}

static int check_changes_header(struct sr_archive_check *check, struct sr_bytes data,
                                struct sr_err *err)
{
    const struct sr_archive_header *wanted = &check->info.header;
    struct sr_changes_header header;
    const struct sr_changes_info *info = &header.info;
    int rc = sr_changes_header_unpack(data, &header, err);

    if (rc != SR_OK) {
        return rc;
    }
    if (header.cluster_id != wanted->cluster_id || info->index != wanted->index ||
        info->term != wanted->term || info->since != wanted->since ||
        info->until != wanted->revision) {
        return not_the_same(err);
    }
    check->request_revision = info->since + 1;
    check->mark.revision = info->since;
    check->info.compact_revision = info->compact_revision;
    memcpy(check->info.state_hash, info->state_hash, sizeof(check->info.state_hash));
    return SR_OK;
}

/* ---- Records ---- */

static int no_place(const char *what, int64_t revision, struct sr_err *err)
{
    return sr_err_set(err, SR_CORRUPT, "%s %lld has no place there", what, (long long)revision);
}

/* Changes have every revision; in an image what was compacted is left out. */
static int check_version(struct sr_archive_check *check, const struct sr_version *version,
                         struct sr_err *err)
{
    struct sr_image_position *position = &check->position;
    bool changes = check->info.header.kind == SR_ARCHIVE_CHANGES;
    int64_t revision = version->mod_revision;
    bool begins = position->sub == 0;

    if (version->sub == UINT32_MAX || revision > check->info.header.revision) {
        return no_place("revision", revision, err);
    }
    if (changes) {
        bool next = revision == position->revision + (begins ? 0 : 1);
        bool same = !begins && revision == position->revision;
        if ((!next && !same) || version->sub != (same ? position->sub : 0) ||
            revision > check->mark.revision) {
            return no_place("revision", revision, err);
        }
    } else if (revision < position->revision ||
               (revision == position->revision && version->sub < position->sub)) {
        return no_place("revision", revision, err);
    }
    position->revision = revision;
    position->sub = version->sub + 1;
    position->versions++;
    return SR_OK;
}

static int check_versions(struct sr_archive_check *check, struct sr_reader *reader,
                          struct sr_err *err)
{
    struct sr_image_version version = {0};
    bool full = check->info.header.kind == SR_ARCHIVE_FULL;
    int rc = SR_OK;

    if (sr_reader_left(reader) == 0 || (full && check->position.requests < check->request_count) ||
        (!full && check->position.requests > 0)) {
        return sr_err_set(err, SR_CORRUPT, "versions have no place there");
    }
    while (rc == SR_OK && sr_reader_left(reader) > 0) {
        rc = sr_image_version_read(reader, &version, err);
        if (rc == SR_OK) {
            rc = check_version(check, &version.version, err);
        }
    }
    return rc;
}

static int check_request(struct sr_archive_check *check, const struct sr_remembered *item,
                         struct sr_err *err)
{
    struct sr_image_position *position = &check->position;
    bool full = check->info.header.kind == SR_ARCHIVE_FULL;
    /* Whoever goes on counting from it never comes to an end of numbers. */
    bool fits = item->revision <= check->info.header.revision && item->number < INT64_MAX;

    if (full) {
        fits = fits && item->number == position->request &&
               position->requests < check->request_count && position->versions == 0;
    } else {
        fits = fits && (position->requests == 0 || item->number == position->request) &&
               item->revision >= check->request_revision;
    }
    if (!fits) {
        return no_place("remembered request", (int64_t)item->number, err);
    }
    check->request_revision = item->revision;
    position->request = item->number + 1;
    position->requests++;
    return SR_OK;
}

static int check_requests(struct sr_archive_check *check, struct sr_reader *reader,
                          struct sr_err *err)
{
    struct sr_remembered *item = NULL;
    int rc = SR_OK;

    if (sr_reader_left(reader) == 0) {
        return sr_err_set(err, SR_CORRUPT, "no request in a chunk of them");
    }
    while (rc == SR_OK && sr_reader_left(reader) > 0) {
        rc = sr_image_request_read(reader, &item, err);
        if (rc != SR_OK) {
            return rc;
        }
        rc = check_request(check, item, err);
        sr_free(item);
    }
    return rc;
}

static int check_mark(struct sr_archive_check *check, struct sr_bytes data, struct sr_err *err)
{
    struct sr_archive_mark mark = {0};
    int rc = sr_changes_mark_unpack(data, &mark, err);

    if (rc != SR_OK) {
        return rc;
    }
    /* All that the one before announced is there. */
    if (mark.revision <= check->mark.revision || mark.time_ms < check->mark.time_ms ||
        mark.revision > check->info.header.revision ||
        (check->position.versions > 0 && check->position.revision != check->mark.revision) ||
        (check->position.versions == 0 && check->mark.revision != check->info.header.since)) {
        return no_place("mark", mark.revision, err);
    }
    check->mark = mark;
    check->info.newest_time_ms = mark.time_ms;
    return SR_OK;
}

static int check_trailer(struct sr_archive_check *check, struct sr_bytes data, struct sr_err *err)
{
    const struct sr_image_position *position = &check->position;
    bool full = check->info.header.kind == SR_ARCHIVE_FULL;
    int rc = sr_image_trailer_check(data, position, err);

    if (rc != SR_OK) {
        return rc;
    }
    if (full && position->requests != check->request_count) {
        return sr_err_set(err, SR_CORRUPT, "remembered requests are missing");
    }
    if (!full && (position->versions == 0 || position->revision != check->info.header.revision)) {
        return sr_err_set(err, SR_CORRUPT, "the last revisions are missing");
    }
    check->ended = true;
    return SR_OK;
}

/* ---- Chunks ---- */

static int check_content(struct sr_archive_check *check, struct sr_bytes data, struct sr_err *err)
{
    struct sr_reader reader = sr_reader_of(data.data, data.size);
    bool full = check->info.header.kind == SR_ARCHIVE_FULL;
    int kind = sr_read_u8(&reader);

    if (check->ended) {
        return sr_err_set(err, SR_CORRUPT, "there is one after the last");
    }
    if ((kind == (full ? (int)SR_IMAGE_HEADER : (int)SR_CHANGES_HEADER)) !=
        (check->info.chunks == 0)) {
        return sr_err_set(err, SR_CORRUPT, "a header has no place here, or is missing");
    }
    if (kind == SR_IMAGE_HEADER) {
        return check_full_header(check, data, err);
    }
    if (kind == SR_CHANGES_HEADER) {
        return check_changes_header(check, data, err);
    }
    if (kind == SR_IMAGE_VERSIONS) {
        return check_versions(check, &reader, err);
    }
    if (kind == SR_IMAGE_REQUESTS) {
        return check_requests(check, &reader, err);
    }
    if (kind == SR_CHANGES_MARK && !full) {
        return check_mark(check, data, err);
    }
    if (kind == SR_IMAGE_TRAILER) {
        return check_trailer(check, data, err);
    }
    return sr_err_set(err, SR_FORMAT, "a chunk of unknown kind %d", kind);
}

int sr_archive_check_chunk(struct sr_archive_check *check, struct sr_bytes data, struct sr_err *err)
{
    struct sr_archive_info *info = &check->info;
    uint64_t number = info->chunks;
    int rc;

    if (data.size == 0 || data.size > SR_IMAGE_CHUNK_BYTES_MAX) {
        return sr_err_set(err, SR_CORRUPT, "chunk %llu: it has %zu bytes",
                          (unsigned long long)number, data.size);
    }
    rc = check_content(check, data, err);
    if (rc == SR_OK) {
        rc = sr_image_content_add(info->content, number, data, err);
    }
    if (rc != SR_OK) {
        return sr_err_prefix(err, "chunk %llu", (unsigned long long)number);
    }
    info->chunks++;
    info->plain_bytes += data.size;
    info->versions = check->position.versions;
    info->requests = check->position.requests;
    check->position.bytes = info->plain_bytes;
    return SR_OK;
}
