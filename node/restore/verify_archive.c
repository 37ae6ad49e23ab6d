/* SPDX-License-Identifier: Apache-2.0 */
#include "node/restore/verify_archive.h"

#include <inttypes.h>
#include <string.h>

#include "base/alloc.h"
#include "storage/signature.h"

struct stream {
    struct sr_target *target;
    const struct sr_manifest *manifest;
    const atomic_bool *stopping;
    uint8_t *group;
    size_t room;       /* of the group that is fetched */
    size_t have;       /* of it, so many bytes */
    size_t at;         /* so many have been given out */
    uint64_t offset;   /* where it begins */
    size_t number;     /* of the next one */
    struct sr_err err; /* of what could not be read */
};

static const uint8_t no_hash[SR_MANIFEST_HASH_BYTES];

/* ---- Groups ---- */

static int take(void *arg, const void *data, size_t size, struct sr_err *err)
{
    struct stream *stream = arg;
    if (size > stream->room - stream->have) {
        return sr_manifest_check_object(stream->manifest, stream->manifest->said->size + 1, no_hash,
                                        err);
    }
    memcpy(stream->group + stream->have, data, size);
    stream->have += size;
    return stream->stopping != NULL && atomic_load(stream->stopping)
               ? sr_err_set(err, SR_CLOSED, "it is to stop")
               : SR_OK;
}

/* It ends before the group does: how long is it? */
static int explain_end(const struct stream *stream, struct sr_err *err)
{
    const Strongroom__Manifest *said = stream->manifest->said;
    struct sr_target_object object;
    int status = sr_target_head(stream->target, said->object, &object, err);
    if (status != SR_OK) {
        return status;
    }
    return object.size < said->size
               ? sr_manifest_check_object(stream->manifest, object.size, no_hash, err)
               : sr_err_set(err, SR_AGAIN, "%s: it changed while it was read", said->object);
}

/* The last group is asked for up to the end of the object, which shows what is behind it. */
static int get_group(struct stream *stream, struct sr_err *err)
{
    const Strongroom__Manifest *said = stream->manifest->said;
    bool last = stream->offset + stream->room == said->size;
    struct sr_err local = {0};
    stream->have = 0;
    int status = sr_target_get(stream->target, said->object, stream->offset,
                               last ? 0 : stream->room, take, stream, &local);
    if (status == SR_INVALID) {
        status = explain_end(stream, &local);
    }
    if (status == SR_NOT_FOUND) {
        return sr_err_set(err, status, "truncated: it is not there, although its manifest is");
    }
    if (status != SR_OK) {
        return sr_err_set(err, status, "%s", local.text);
    }
    return stream->have == stream->room
               ? SR_OK
               : sr_manifest_check_object(stream->manifest, stream->offset + stream->have, no_hash,
                                          err);
}

static int check_group(const struct stream *stream, struct sr_err *err)
{
    uint8_t sum[SR_SHA256_BYTES];
    int status = sr_sha256((struct sr_bytes){stream->group, stream->have}, sum, err);
    if (status == SR_OK && memcmp(sum, stream->manifest->said->groups[stream->number].data,
                                  SR_ARCHIVE_DIGEST_BYTES) != 0) {
        return sr_err_set(err, SR_CORRUPT,
                          "edited: it has other bytes between %" PRIu64 " and %" PRIu64
                          " than its manifest says, also when fetched again",
                          stream->offset, stream->offset + stream->have);
    }
    return status;
}

/* One that differs is fetched once more: it may have been harmed on the way. */
static int next_group(struct stream *stream, struct sr_err *err)
{
    uint64_t left = stream->manifest->said->size - stream->offset;
    stream->room = left < SR_ARCHIVE_GROUP_BYTES ? (size_t)left : SR_ARCHIVE_GROUP_BYTES;
    int status = SR_CORRUPT;
    for (int i = 0; i < 2 && status == SR_CORRUPT; i++) {
        status = get_group(stream, err);
        if (status != SR_OK) {
            return status;
        }
        status = check_group(stream, err);
    }
    stream->number++;
    stream->at = 0;
    return status;
}

/* ---- The archive ---- */

static int get(void *arg, void *data, size_t size, size_t *ret_size, struct sr_err *err)
{
    struct stream *stream = arg;
    int status = SR_OK;
    if (stream->at == stream->have) {
        stream->offset += stream->have;
        stream->have = 0;
        stream->at = 0;
        if (stream->offset < stream->manifest->said->size) {
            status = next_group(stream, &stream->err);
        }
    }
    size_t left = stream->have - stream->at;
    size = size < left ? size : left;
    if (status == SR_OK && size > 0) {
        memcpy(data, stream->group + stream->at, size);
        stream->at += size;
    }
    *ret_size = size;
    return status == SR_OK ? SR_OK : sr_err_set(err, status, "%s", stream->err.text);
}

static int compare_bytes(struct stream *stream, struct sr_err *err)
{
    const struct sr_manifest *manifest = stream->manifest;
    int status = SR_OK;
    while (status == SR_OK && stream->offset < manifest->said->size) {
        status = next_group(stream, err);
        stream->offset += stream->have;
    }
    return status;
}

static int read_records(struct stream *stream, const struct sr_recovery_private *key,
                        struct sr_err *err)
{
    const struct sr_archive_keyring ring = {.recovery_private = key};
    const struct sr_archive_keys keys = sr_archive_keys_of(&ring);
    const struct sr_archive_source source = {.get = get, .arg = stream};
    struct sr_archive_info info;
    int status = sr_archive_verify(&source, &keys, &info, err);
    if (stream->err.status != SR_OK) { /* in words that do not depend on who read it */
        return sr_err_set(err, stream->err.status, "%s", stream->err.text);
    }
    return status == SR_OK ? sr_manifest_check_info(stream->manifest, &info, err) : status;
}

int sr_verify_archive(struct sr_target *target, const struct sr_manifest *manifest,
                      const struct sr_recovery_private *key, const atomic_bool *stopping,
                      struct sr_err *err)
{
    uint64_t size = manifest->said->size;
    struct stream stream = {.target = target, .manifest = manifest, .stopping = stopping};
    stream.group = sr_alloc(size < SR_ARCHIVE_GROUP_BYTES ? (size_t)size : SR_ARCHIVE_GROUP_BYTES);
    int status = key != NULL ? read_records(&stream, key, err) : compare_bytes(&stream, err);
    sr_free(stream.group);
    return status;
}
