/* SPDX-License-Identifier: Apache-2.0
 *
 * The new directory is that of a node that has joined: DIR/joined says which cluster it belongs to
 * and under which id, whatever the names in the configuration would make.
 */
#include "node/recover/birth.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "node/cluster/joined.h"
#include "node/consensus/log_begin.h"
#include "storage/raftlog.h"
#include "storage/seal.h"

static uint64_t draw_id(void)
{
    uint64_t id = 0;
    while (id == 0) {
        sr_random_bytes(&id, sizeof(id));
    }
    return id;
}

/* ---- Who it is ---- */

static void describe_self(const struct sr_birth *birth, Strongroom__MemberRecord *ret)
{
    const struct sr_config_member *own = sr_config_self(birth->config);
    strongroom__member_record__init(ret);
    ret->id = birth->member_id;
    ret->name = own->name;
    ret->zone = own->zone;
    ret->peer_address = own->peer_address;
    ret->client_urls = own->client_urls;
    ret->n_client_urls = own->client_urls_count;
    ret->voter = true;
    ret->feature_level = birth->config->cluster.feature_level;
}

/* Write DIR/joined, and keep the record for the state. Ids that were removed stay so. */
static int write_identity(struct sr_birth *birth, const Strongroom__ClusterRecord *before,
                          struct sr_err *err)
{
    Strongroom__JoinReply joined = STRONGROOM__JOIN_REPLY__INIT;
    Strongroom__ClusterRecord record = STRONGROOM__CLUSTER_RECORD__INIT;
    Strongroom__MemberRecord self;
    Strongroom__MemberRecord *members[] = {&self};
    describe_self(birth, &self);
    record.epoch = 1;
    record.members = members;
    record.n_members = 1;
    if (before != NULL) {
        record.epoch = before->epoch + 1;
        record.removed = before->removed;
        record.n_removed = before->n_removed;
    }
    joined.cluster_id = birth->cluster_id;
    joined.member_id = birth->member_id;
    joined.record = &record;
    if (before != NULL && before->epoch > 0) {
        size_t size = strongroom__cluster_record__get_packed_size(&record);
        strongroom__cluster_record__pack(&record, sr_buf_extend(&birth->record, size));
    }
    int status = sr_joined_write(birth->path, &joined, err);
    return status == SR_OK ? sr_joined_take(birth->config, &joined, err) : status;
}

/* ---- Into place ---- */

int sr_birth_check_place(const char *place, struct sr_err *err)
{
    if (rmdir(place) == 0 || errno == ENOENT) {
        return SR_OK;
    }
    if (errno == ENOTEMPTY || errno == EEXIST) {
        return sr_err_set(err, SR_EXISTS,
                          "data_dir %s is not empty: a recovered node needs a new place", place);
    }
    return sr_err_errno(err, SR_IO, errno, "data_dir %s cannot be replaced", place);
}

static int move_in(const char *from, const char *to, struct sr_err *err)
{
    char parent[PATH_MAX + 4];
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

/* ---- Begin ---- */

static int take_paths(struct sr_birth *birth, const char *work, struct sr_err *err)
{
    const char *place = birth->config->data_dir;
    if (snprintf(birth->place, sizeof(birth->place), "%s", place) >= (int)sizeof(birth->place) ||
        snprintf(birth->path, sizeof(birth->path), "%s/new", work) >= (int)sizeof(birth->path)) {
        return sr_err_set(err, SR_INVALID, "data_dir: path is too long");
    }
    return sr_birth_check_place(birth->place, err);
}

int sr_birth_begin(struct sr_birth *birth, struct sr_config *config, const char *work,
                   const Strongroom__ClusterRecord *before, struct sr_err *err)
{
    *birth = (struct sr_birth){
        .config = config, .cluster_id = draw_id(), .member_id = draw_id(), .dir = {.lock_fd = -1}};
    char *place = config->data_dir;
    int status = take_paths(birth, work, err);
    if (status != SR_OK) {
        return status;
    }
    config->data_dir = birth->path;
    status = write_identity(birth, before, err);
    if (status == SR_OK) {
        sr_log_configuration_of_one(birth->member_id, &birth->configuration);
        status = sr_datadir_open(config, &birth->dir, err);
    }
    config->data_dir = place;
    return status;
}

struct sr_image_writer_options sr_birth_writer_options(const struct sr_birth *birth)
{
    return (struct sr_image_writer_options){.dir = birth->dir.state_path,
                                            .keyring = birth->dir.keyring,
                                            .cluster_id = birth->dir.cluster_id,
                                            .member_id = birth->dir.member_id,
                                            .map_bytes = birth->config->storage.map_bytes,
                                            .disk_reserve_bytes =
                                                birth->config->storage.disk_reserve_bytes};
}

/* ---- End ---- */

static int read_point(const struct sr_birth *birth, struct sr_store_point *ret, struct sr_err *err)
{
    struct sr_store_options options = {.dir = birth->dir.state_path,
                                       .keyring = birth->dir.keyring,
                                       .cluster_id = birth->dir.cluster_id,
                                       .member_id = birth->dir.member_id,
                                       .map_bytes = birth->config->storage.map_bytes,
                                       .must_exist = true};
    struct sr_store *store = NULL;
    int status = sr_store_open(&options, &store, err);
    if (status == SR_OK) {
        sr_store_point(store, ret);
        sr_store_close(store);
    }
    return status;
}

static int make_log(const struct sr_birth *birth, const struct sr_store_point *point,
                    struct sr_err *err)
{
    struct sr_raftlog_options options = {.dir = birth->dir.log_path,
                                         .keyring = birth->dir.keyring,
                                         .cluster_id = birth->dir.cluster_id,
                                         .member_id = birth->dir.member_id};
    struct sr_raftlog_state state;
    struct sr_raftlog *log = NULL;
    int status = sr_raftlog_open(&options, &log, &state, err);
    if (status == SR_OK) {
        status = sr_log_begin_after(log, &state, point, err);
    }
    sr_raftlog_close(log);
    return status;
}

int sr_birth_end(struct sr_birth *birth, struct sr_store_point *ret_point, struct sr_err *err)
{
    struct sr_store_point point = {0};
    int status = read_point(birth, &point, err);
    if (status == SR_OK) {
        status = make_log(birth, &point, err);
    }
    if (status == SR_OK) {
        status = sr_datadir_mark_started(&birth->dir, err);
    }
    sr_datadir_close(&birth->dir);
    sr_buf_close(&point.configuration);
    *ret_point = point;
    return status == SR_OK ? move_in(birth->path, birth->place, err) : status;
}

void sr_birth_close(struct sr_birth *birth)
{
    sr_datadir_close(&birth->dir);
    sr_buf_close(&birth->configuration);
    sr_buf_close(&birth->record);
}
