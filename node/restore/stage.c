/* SPDX-License-Identifier: Apache-2.0 */
#include "node/restore/stage.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"

struct staging {
    struct sr_stage *stage;
    struct sr_staged *staged;
    struct sr_archive_keys keys;
    size_t number; /* of the step */
    int fd;        /* of its archive */
    uint64_t bytes;
};

/* ---- One archive ---- */

static int get(void *arg, void *data, size_t size, size_t *ret_size, struct sr_err *err)
{
    struct staging *staging = arg;
    const struct sr_stage *stage = staging->stage;
    ssize_t got = 0;
    if (stage->stopping != NULL && atomic_load(stage->stopping)) {
        return sr_err_set(err, SR_CLOSED, "it is to stop");
    }
    do {
        got = read(staging->fd, data, size);
    } while (got < 0 && errno == EINTR);
    if (got < 0) {
        return sr_err_errno(err, SR_IO, errno, "read the archive");
    }
    staging->bytes += (uint64_t)got;
    if (stage->progress != NULL) {
        stage->progress(stage->arg, staging->number, staging->bytes);
    }
    *ret_size = (size_t)got;
    return SR_OK;
}

static int put_chunks(struct staging *staging, struct sr_archive_reader *reader, struct sr_err *err)
{
    struct sr_image_chunk chunk = {0};
    int status = sr_staged_begin(staging->staged, sr_archive_reader_header(reader), err);
    while (status == SR_OK && !chunk.last) {
        status = sr_archive_reader_next(reader, &chunk, err);
        if (status == SR_OK) {
            status = sr_staged_put(staging->staged, &chunk, err);
        }
    }
    return status == SR_OK ? sr_staged_end(staging->staged, err) : status;
}

/* The reader has the header before it has authenticated it; the manifest is signed, so that what
 * does not fit is refused before anything of the archive is looked at. */
static int put_archive(struct staging *staging, const struct sr_manifest *manifest,
                       struct sr_err *err)
{
    struct sr_archive_source source = {.get = get, .arg = staging};
    struct sr_archive_reader *reader = NULL;
    struct sr_archive_info info;
    int status = sr_archive_reader_open(&source, &staging->keys, &reader, err);
    if (status == SR_OK) {
        status = sr_manifest_check_header(manifest, sr_archive_reader_header(reader), err);
    }
    if (status == SR_OK) {
        status = put_chunks(staging, reader, err);
    }
    if (status == SR_OK) {
        sr_archive_reader_info(reader, &info);
        status = sr_manifest_check_info(manifest, &info, err);
    }
    sr_archive_reader_close(reader);
    return status;
}

static int put_step(struct staging *staging, struct sr_err *err)
{
    const struct sr_manifest *manifest = staging->stage->plan->steps[staging->number];
    char path[PATH_MAX];
    int status = sr_fetch_path(staging->stage->fetch, manifest, path, err);
    if (status != SR_OK) {
        return status;
    }
    staging->bytes = 0;
    staging->fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (staging->fd < 0) {
        return sr_err_errno(err, SR_IO, errno, "open %s", path);
    }
    (void)posix_fadvise(staging->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    status = put_archive(staging, manifest, err);
    close(staging->fd);
    return status == SR_OK ? SR_OK : sr_err_prefix(err, "%s", manifest->said->object);
}

/* ---- What came of it ---- */

/* What was reached at the end of a whole archive is what its manifest says. */
static int compare(const struct sr_plan *plan, struct sr_stage_result *result, struct sr_err *err)
{
    const Strongroom__Manifest *said = sr_plan_last(plan)->said;
    const struct sr_staged_result *staged = &result->staged;
    if (sr_plan_stops_within(plan)) {
        return plan->until_revision == 0 || staged->revision == plan->until_revision
                   ? SR_OK
                   : sr_err_set(err, SR_CORRUPT, "revision %" PRId64 " was reached, not %" PRId64,
                                staged->revision, plan->until_revision);
    }
    if (staged->revision != said->until_revision) {
        return sr_err_set(err, SR_CORRUPT,
                          "revision %" PRId64 " was reached, and the manifest %s says %" PRId64,
                          staged->revision, said->object, said->until_revision);
    }
    if (said->state_hash.len != sizeof(staged->state_hash) || !staged->state_hash_is_original) {
        return SR_OK;
    }
    if (memcmp(staged->state_hash, said->state_hash.data, sizeof(staged->state_hash)) != 0) {
        return sr_err_set(err, SR_CORRUPT,
                          "the state hash is another one than the manifest of %s says",
                          said->object);
    }
    result->state_hash_is_proven = true;
    return SR_OK;
}

static int run(struct staging *staging, struct sr_stage_result *result, struct sr_err *err)
{
    const struct sr_plan *plan = staging->stage->plan;
    int status = SR_OK;
    for (; status == SR_OK && staging->number < plan->step_count; staging->number++) {
        if (staging->number > 0 && sr_staged_is_complete(staging->staged)) {
            break;
        }
        status = put_step(staging, err);
    }
    if (status == SR_OK) {
        status = sr_staged_finish(staging->staged, &result->staged, err);
    }
    return status == SR_OK ? compare(plan, result, err) : status;
}

int sr_stage_run(struct sr_stage *stage, struct sr_stage_result *ret, struct sr_err *err)
{
    struct sr_stage_result result = {0};
    struct staging staging = {.stage = stage, .keys = sr_archive_keys_of(stage->keys), .fd = -1};
    sr_check(stage->plan->step_count > 0);
    stage->staged.from_cluster_id = stage->plan->cluster_id;
    stage->staged.until_revision = stage->plan->until_revision;
    stage->staged.until_ms = stage->plan->until_ms;
    stage->staged.stopping = stage->stopping;
    int status = sr_staged_open(&stage->staged, &staging.staged, err);
    if (status == SR_OK) {
        status = run(&staging, &result, err);
    }
    sr_staged_close(staging.staged);
    if (status == SR_OK) {
        *ret = result;
    }
    return status;
}
