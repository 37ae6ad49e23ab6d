/* SPDX-License-Identifier: Apache-2.0 */
#include "node/recover/recover.h"

#include "node/recover/birth.h"
#include "storage/cluster.h"
#include "storage/image_rebirth.h"

static int pass(struct sr_image_reader *reader, struct sr_image_writer *writer, struct sr_err *err)
{
    struct sr_image_chunk chunk;
    int status = sr_image_reader_next(reader, &chunk, err);
    while (status == SR_OK) {
        status = sr_image_writer_put(writer, &chunk, err);
        if (status == SR_OK) {
            status = sr_image_reader_next(reader, &chunk, err);
        }
    }
    return status == SR_NOT_FOUND ? sr_image_writer_finish(writer, err) : status;
}

static int make_state(const struct sr_birth *birth, const struct sr_survivor *survivor,
                      struct sr_err *err)
{
    struct sr_image_writer_options options = sr_birth_writer_options(birth);
    struct sr_image_rebirth rebirth = {
        .from_cluster_id = survivor->cluster_id,
        .configuration = {birth->configuration.data, birth->configuration.size},
        .record = {birth->record.data, birth->record.size}};
    struct sr_image_reader *reader = NULL;
    struct sr_image_writer *writer = NULL;
    int status = sr_image_reader_open(survivor->store, &reader, err);
    if (status == SR_OK) {
        status = sr_image_writer_open_rebirth(&options, &rebirth, &writer, err);
    }
    if (status == SR_OK) {
        status = pass(reader, writer, err);
    }
    sr_image_writer_close(writer);
    sr_image_reader_close(reader);
    return status;
}

int sr_recover_make(struct sr_config *config, struct sr_survivor *survivor, const char *work,
                    struct sr_recovered *ret, struct sr_err *err)
{
    Strongroom__ClusterRecord *before = NULL;
    struct sr_birth birth = {.dir = {.lock_fd = -1}};
    struct sr_store_point point = {0};
    int status = sr_store_cluster(survivor->store, &before, err);
    if (status == SR_OK) {
        status = sr_birth_begin(&birth, config, work, before, err);
    }
    if (status == SR_OK) {
        status = make_state(&birth, survivor, err);
    }
    if (status == SR_OK) {
        status = sr_birth_end(&birth, &point, err);
    }
    *ret = (struct sr_recovered){.cluster_id = birth.cluster_id,
                                 .member_id = birth.member_id,
                                 .index = point.index,
                                 .revision = point.revision};
    sr_birth_close(&birth);
    if (before != NULL) {
        strongroom__cluster_record__free_unpacked(before, NULL);
    }
    return status;
}
