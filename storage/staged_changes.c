/* SPDX-License-Identifier: Apache-2.0
 *
 * Changes put on top of a staged state. A chunk may be put again after it found no space half way:
 * what was taken of it is known by (revision, place), and passed over.
 */
#include <string.h>

#include "base/alloc.h"
#include "storage/requests.h"
#include "storage/staged_impl.h"

/* ---- Versions ---- */

static int end_link(struct sr_staged *staged, struct sr_err *err)
{
    if (!staged->link_open) {
        return SR_OK;
    }
    staged->link_open = false;
    return sr_statehash_end(staged->hash, staged->state.hash, err);
}

/* All before @revision is there: what was put may be flushed. */
static int begin_revision(struct sr_staged *staged, int64_t revision, struct sr_err *err)
{
    int rc = end_link(staged, err);

    if (rc == SR_OK) {
        rc = sr_image_writer_flush(staged->writer, false, err);
    }
    if (rc != SR_OK) {
        return rc;
    }
    sr_statehash_begin(staged->hash, staged->state.hash, revision);
    staged->link_open = true;
    staged->added = true;
    staged->original = false; /* until it is known what else the old cluster did */
    staged->state.revision = revision;
    staged->next_sub = 0;
    staged->writer->store->apply.revision = revision;
    return SR_OK;
}

static int add_version(struct sr_staged *staged, const struct sr_image_version *version,
                       struct sr_bytes packed, struct sr_err *err)
{
    const struct sr_version *header = &version->version;
    int rc = SR_OK;

    if (header->mod_revision != staged->state.revision) {
        rc = begin_revision(staged, header->mod_revision, err);
    }
    if (rc == SR_OK && sr_image_writer_is_changed_twice(staged->writer, version)) {
        rc = sr_err_set(err, SR_CORRUPT, "revision %lld changes a name twice",
                        (long long)header->mod_revision);
    }
    if (rc == SR_OK) {
        rc = sr_staged_sum(staged, packed.data, packed.size, err);
    }
    if (rc != SR_OK) {
        return rc;
    }
    sr_writer_add(staged->writer->store, version->key, version->value, header);
    sr_statehash_event(staged->hash, version->key, version->value, header);
    staged->next_sub = header->sub + 1;
    staged->versions++;
    return SR_OK;
}

/* Whether it is there already: from before these changes, or from the same chunk. */
static bool is_there(const struct sr_staged *staged, const struct sr_version *version)
{
    return version->mod_revision <= staged->base ||
           version->mod_revision < staged->state.revision ||
           (version->mod_revision == staged->state.revision && version->sub < staged->next_sub);
}

static int put_versions(struct sr_staged *staged, struct sr_bytes data, struct sr_err *err)
{
    struct sr_reader reader = sr_reader_of(data.data, data.size);
    int64_t bound = staged->options.until_revision;
    struct sr_image_version version = {0};
    int rc = SR_OK;

    (void)sr_read_u8(&reader); /* its kind */
    while (rc == SR_OK && sr_reader_left(&reader) > 0) {
        size_t start = reader.offset;
        rc = sr_image_version_read(&reader, &version, err);
        if (rc != SR_OK || is_there(staged, &version.version)) {
            continue;
        }
        if (bound > 0 && version.version.mod_revision > bound) {
            staged->stopped = true;
        }
        if (staged->stopped) {
            return SR_OK;
        }
        rc = add_version(staged, &version,
                         (struct sr_bytes){data.data + start, reader.offset - start}, err);
    }
    return rc;
}

/* ---- Requests ---- */

static int put_requests(struct sr_staged *staged, struct sr_bytes data, struct sr_err *err)
{
    struct sr_reader reader = sr_reader_of(data.data, data.size);
    struct sr_remembered *item = NULL;
    int rc = end_link(staged, err);

    if (rc == SR_OK) {
        rc = sr_image_writer_flush(staged->writer, false, err);
    }
    (void)sr_read_u8(&reader); /* its kind */
    while (rc == SR_OK && sr_reader_left(&reader) > 0) {
        rc = sr_image_request_read(&reader, &item, err);
        if (rc != SR_OK) {
            return rc;
        }
        if (item->revision > staged->base && item->revision <= staged->state.revision) {
            rc = sr_requests_adopt(staged->writer->store, item, err);
        }
        sr_free(item);
    }
    return rc;
}

/* ---- Chunks ---- */

static void pass_mark(struct sr_staged *staged)
{
    if (staged->mark.revision > 0 && staged->mark.revision <= staged->state.revision) {
        staged->time_ms = staged->mark.time_ms;
    }
}

static int put_mark(struct sr_staged *staged, struct sr_bytes data, struct sr_err *err)
{
    uint64_t bound = staged->options.until_ms;
    struct sr_archive_mark mark;
    int rc = sr_changes_mark_unpack(data, &mark, err);

    if (rc != SR_OK) {
        return rc;
    }
    pass_mark(staged);
    /* What is there already cannot be taken back, and its time is that of an earlier mark. */
    if (bound > 0 && mark.time_ms > bound && mark.revision > staged->base) {
        staged->stopped = true;
    }
    if (!staged->stopped) {
        staged->mark = mark;
    }
    return SR_OK;
}

int sr_staged_put_changes(struct sr_staged *staged, const struct sr_image_chunk *chunk,
                          struct sr_err *err)
{
    struct sr_changes_header header;
    int rc = SR_OK;

    switch ((int)chunk->data.data[0]) {
    case SR_CHANGES_HEADER:
        rc = sr_changes_header_unpack(chunk->data, &header, err);
        staged->changes = header.info;
        break;
    case SR_CHANGES_MARK:
        rc = put_mark(staged, chunk->data, err);
        break;
    case SR_IMAGE_VERSIONS:
        rc = put_versions(staged, chunk->data, err);
        break;
    case SR_IMAGE_REQUESTS:
        rc = put_requests(staged, chunk->data, err);
        break;
    default: /* a trailer, which was checked */
        break;
    }
    return rc;
}

/* All of them are there: the state is that of their point, which has done things that leave no
 * version, as compactions. */
static void take_point(struct sr_staged *staged)
{
    const struct sr_changes_info *changes = &staged->changes;
    struct sr_state *state = &staged->state;

    state->applied_index = changes->index;
    state->term = changes->term;
    if (changes->compact_revision > state->compact_revision) {
        state->compact_revision = changes->compact_revision;
    }
    staged->original = changes->at_point;
    if (changes->at_point) {
        memcpy(state->hash, changes->state_hash, sizeof(state->hash));
    }
}

int sr_staged_end_changes(struct sr_staged *staged, struct sr_err *err)
{
    int rc = end_link(staged, err);

    if (rc != SR_OK) {
        return rc;
    }
    pass_mark(staged);
    if (staged->added && !staged->stopped) {
        take_point(staged);
    }
    return SR_OK;
}
