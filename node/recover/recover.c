/* SPDX-License-Identifier: Apache-2.0
 *
 * The new directory is that of a node that has joined: DIR/joined says which cluster it belongs to
 * and under which id, whatever the names in the configuration would make.
 */
#include "node/recover/recover.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/check.h"
#include "node/cluster/joined.h"
#include "node/consensus/log_begin.h"
#include "node/datadir.h"
#include "storage/cluster.h"
#include "storage/image_rebirth.h"
#include "storage/seal.h"

struct making {
    struct sr_config *config;
    struct sr_survivor *survivor;
    struct sr_recovered *result;
    struct sr_datadir dir; /* of the new node, where it is made */
    Strongroom__ClusterRecord *before;
    struct sr_buf configuration;
    struct sr_buf record; /* packed; empty when there was none before */
};

static uint64_t draw_id(void)
{
    uint64_t id = 0;
    while (id == 0) {
        sr_random_bytes(&id, sizeof(id));
    }
    return id;
}

/* ---- Who it is ---- */

static void describe_self(const struct sr_config *config, uint64_t id,
                          Strongroom__MemberRecord *ret)
{
    const struct sr_config_member *own = sr_config_self(config);
    strongroom__member_record__init(ret);
    ret->id = id;
    ret->name = own->name;
    ret->zone = own->zone;
    ret->peer_address = own->peer_address;
    ret->client_urls = own->client_urls;
    ret->n_client_urls = own->client_urls_count;
    ret->voter = true;
    ret->feature_level = config->cluster.feature_level;
}

/* Write DIR/joined, and keep the record for the state. Ids that were removed stay so. */
static int write_identity(struct making *making, const char *path, struct sr_err *err)
{
    Strongroom__JoinReply joined = STRONGROOM__JOIN_REPLY__INIT;
    Strongroom__ClusterRecord record = STRONGROOM__CLUSTER_RECORD__INIT;
    Strongroom__MemberRecord self;
    Strongroom__MemberRecord *members[] = {&self};
    describe_self(making->config, making->result->member_id, &self);
    record.epoch = making->before->epoch + 1;
    record.members = members;
    record.n_members = 1;
    record.removed = making->before->removed;
    record.n_removed = making->before->n_removed;
    joined.cluster_id = making->result->cluster_id;
    joined.member_id = making->result->member_id;
    joined.record = &record;
    if (making->before->epoch > 0) {
        size_t size = strongroom__cluster_record__get_packed_size(&record);
        strongroom__cluster_record__pack(&record, sr_buf_extend(&making->record, size));
    }
    int status = sr_joined_write(path, &joined, err);
    return status == SR_OK ? sr_joined_take(making->config, &joined, err) : status;
}

/* ---- State and log ---- */

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

static int make_state(struct making *making, struct sr_err *err)
{
    struct sr_image_writer_options options = {.dir = making->dir.state_path,
                                              .keyring = making->dir.keyring,
                                              .cluster_id = making->dir.cluster_id,
                                              .member_id = making->dir.member_id};
    struct sr_image_rebirth rebirth = {
        .from_cluster_id = making->survivor->cluster_id,
        .configuration = {making->configuration.data, making->configuration.size},
        .record = {making->record.data, making->record.size}};
    struct sr_image_reader *reader = NULL;
    struct sr_image_writer *writer = NULL;
    int status = sr_image_reader_open(making->survivor->store, &reader, err);
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

static int read_point(struct making *making, struct sr_store_point *ret, struct sr_err *err)
{
    struct sr_store_options options = {.dir = making->dir.state_path,
                                       .keyring = making->dir.keyring,
                                       .cluster_id = making->dir.cluster_id,
                                       .member_id = making->dir.member_id,
                                       .must_exist = true};
    struct sr_store *store = NULL;
    int status = sr_store_open(&options, &store, err);
    if (status == SR_OK) {
        sr_store_point(store, ret);
        sr_store_close(store);
    }
    return status;
}

static int make_log(struct making *making, struct sr_err *err)
{
    struct sr_raftlog_options options = {.dir = making->dir.log_path,
                                         .keyring = making->dir.keyring,
                                         .cluster_id = making->dir.cluster_id,
                                         .member_id = making->dir.member_id};
    struct sr_store_point point = {0};
    struct sr_raftlog_state state;
    struct sr_raftlog *log = NULL;
    int status = read_point(making, &point, err);
    if (status == SR_OK) {
        status = sr_raftlog_open(&options, &log, &state, err);
    }
    if (status == SR_OK) {
        status = sr_log_begin_after(log, &state, &point, err);
    }
    sr_raftlog_close(log);
    making->result->index = point.index;
    making->result->revision = point.revision;
    sr_buf_close(&point.configuration);
    return status;
}

/* ---- Into place ---- */

static int check_place(const char *path, struct sr_err *err)
{
    if (rmdir(path) == 0 || errno == ENOENT) {
        return SR_OK;
    }
    if (errno == ENOTEMPTY || errno == EEXIST) {
        return sr_err_set(err, SR_EXISTS,
                          "data_dir %s is not empty: a recovered node needs a new place", path);
    }
    return sr_err_errno(err, SR_IO, errno, "data_dir %s cannot be replaced", path);
}

static int move_in(const char *from, const char *to, struct sr_err *err)
{
    char parent[PATH_MAX];
    snprintf(parent, sizeof(parent), "%s/..", to);
    if (rename(from, to) != 0) {
        return sr_err_errno(err, SR_IO, errno, "rename %s to %s", from, to);
    }
    int fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int failed = fd < 0 || fsync(fd) != 0 ? errno : 0;
    if (fd >= 0) {
        close(fd);
    }
    return failed == 0 ? SR_OK : sr_err_errno(err, SR_IO, failed, "sync %s", parent);
}

/* The whole directory at @path, which the configuration names for the time being. */
static int make(struct making *making, const char *path, struct sr_err *err)
{
    int status = sr_store_cluster(making->survivor->store, &making->before, err);
    if (status == SR_OK) {
        status = write_identity(making, path, err);
    }
    if (status == SR_OK) {
        sr_log_configuration_of_one(making->result->member_id, &making->configuration);
        status = sr_datadir_open(making->config, &making->dir, err);
    }
    if (status == SR_OK) {
        status = make_state(making, err);
    }
    if (status == SR_OK) {
        status = make_log(making, err);
    }
    return status == SR_OK ? sr_datadir_mark_started(&making->dir, err) : status;
}

int sr_recover_make(struct sr_config *config, struct sr_survivor *survivor, const char *work,
                    struct sr_recovered *ret, struct sr_err *err)
{
    *ret = (struct sr_recovered){.cluster_id = draw_id(), .member_id = draw_id()};
    struct making making = {
        .config = config, .survivor = survivor, .result = ret, .dir = {.lock_fd = -1}};
    char path[PATH_MAX];
    char *place = config->data_dir;
    if (snprintf(path, sizeof(path), "%s/new", work) >= (int)sizeof(path)) {
        return sr_err_set(err, SR_INVALID, "data_dir: path is too long");
    }
    int status = check_place(place, err);
    if (status == SR_OK) {
        config->data_dir = path;
        status = make(&making, path, err);
        config->data_dir = place;
    }
    sr_datadir_close(&making.dir);
    if (making.before != NULL) {
        strongroom__cluster_record__free_unpacked(making.before, NULL);
    }
    sr_buf_close(&making.configuration);
    sr_buf_close(&making.record);
    return status == SR_OK ? move_in(path, place, err) : status;
}
