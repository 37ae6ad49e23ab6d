/* SPDX-License-Identifier: Apache-2.0 */
#include "node/restore/make.h"

#include <inttypes.h>
#include <stdio.h>

#include "node/recover/birth.h"
#include "node/recover/copy.h"
#include "node/restore/fetch_all.h"

static int check_room(struct sr_restore *restore, struct sr_err *err)
{
    const struct sr_plan *plan = restore->plan;
    uint64_t reserve = restore->config->storage.disk_reserve_bytes;
    uint64_t wanted = 0;
    uint64_t free_bytes = 0;
    int status =
        sr_fetch_room(restore->fetch, plan->steps, plan->step_count, &wanted, &free_bytes, err);
    if (status == SR_OK && wanted + reserve > free_bytes) {
        return sr_err_set(err, SR_NO_SPACE,
                          "%s: %" PRIu64 " MiB are to be fetched, %" PRIu64
                          " MiB kept in reserve, and %" PRIu64 " MiB are free",
                          restore->fetch->dir, wanted >> 20, reserve >> 20, free_bytes >> 20);
    }
    return status;
}

int sr_restore_fetch(struct sr_restore *restore, struct sr_err *err)
{
    const struct sr_plan *plan = restore->plan;
    struct sr_fetch_all all = {.targets = restore->targets,
                               .fetch = restore->fetch,
                               .progress = restore->fetched,
                               .arg = restore->arg};
    size_t failed = plan->step_count;
    int status = check_room(restore, err);
    if (status == SR_OK) {
        status = sr_fetch_all(&all, plan->steps, plan->step_count, &failed, err);
    }
    restore->failed = failed < plan->step_count ? plan->steps[failed] : NULL;
    return status;
}

static int make_state(struct sr_restore *restore, const struct sr_birth *birth,
                      struct sr_stage_result *ret, struct sr_err *err)
{
    struct sr_stage stage = {
        .plan = restore->plan,
        .fetch = restore->fetch,
        .keys = restore->keys,
        .staged = {.writer = sr_birth_writer_options(birth),
                   .configuration = {birth->configuration.data, birth->configuration.size},
                   .record = {birth->record.data, birth->record.size},
                   .revision_bump = restore->bump,
                   .mark_compacted = restore->bump > 0},
        .stopping = restore->fetch->stopping,
        .progress = restore->staged,
        .arg = restore->arg};
    return sr_stage_run(&stage, ret, err);
}

/* What an attempt that was interrupted has begun is of no use any more: archives are. */
static int clear(const struct sr_restore *restore, struct sr_err *err)
{
    char path[PATH_MAX];
    int size = snprintf(path, sizeof(path), "%s/new", restore->work);
    return size < (int)sizeof(path)
               ? sr_copy_remove(path, err)
               : sr_err_set(err, SR_INVALID, "%s: too long a path", restore->work);
}

int sr_restore_make(struct sr_restore *restore, struct sr_restored *ret, struct sr_err *err)
{
    struct sr_birth birth = {.dir = {.lock_fd = -1}};
    struct sr_restored made = {0};
    struct sr_store_point point = {0};
    int status = clear(restore, err);
    if (status == SR_OK) {
        status = sr_birth_begin(&birth, restore->config, restore->work, NULL, err);
    }
    if (status == SR_OK) {
        status = make_state(restore, &birth, &made.result, err);
    }
    if (status == SR_OK) {
        status = sr_birth_end(&birth, &point, err);
    }
    made.cluster_id = birth.cluster_id;
    made.member_id = birth.member_id;
    sr_birth_close(&birth);
    if (status != SR_OK) {
        (void)clear(restore, NULL);
        return status;
    }
    *ret = made;
    return SR_OK;
}
