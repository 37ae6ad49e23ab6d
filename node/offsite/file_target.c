/* SPDX-License-Identifier: Apache-2.0
 *
 * A directory as a target: mounted storage of whatever kind.
 *
 *   DIR/.incoming-RANDOM ──write, sync──► rename ──► DIR/NAME ──► sync of the directories
 *
 * DIR itself is never made: where a mount is missing, its subdirectory is too, and nothing lands on
 * the disk below. Names of ours do not begin with a dot, so what is unfinished is never listed.
 */
#include "node/offsite/file_target.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "node/offsite/file_walk.h"

/* ---- Errors ---- */

/* What an errno of somebody else's file system means; SR_IO becomes SR_NO_SPACE by itself. */
int sr_file_meaning(int number)
{
    switch (number) {
    case EACCES:
    case EPERM:
    case EROFS:
        return SR_REFUSED;
    case ENOENT:
    case ENOTDIR:
        return SR_NOT_FOUND;
    case ESTALE:
    case EHOSTDOWN:
    case EHOSTUNREACH:
    case ENOTCONN:
        return SR_NETWORK;
    case ETIMEDOUT:
        return SR_TIMEOUT;
    case EFBIG:
        return SR_LIMIT;
    default:
        return SR_IO;
    }
}

int sr_file_check_cancelled(const struct sr_target *target, struct sr_err *err)
{
    return atomic_load(&target->cancelled) ? sr_err_set(err, SR_CLOSED, "the node stops") : SR_OK;
}

/* ---- Paths ---- */

int sr_file_path(const struct sr_target *target, const char *name, char out[PATH_MAX],
                 struct sr_err *err)
{
    int size = snprintf(out, PATH_MAX, "%s/%s", ((const struct sr_file_target *)target)->dir, name);
    return size < PATH_MAX ? SR_OK : sr_err_set(err, SR_INVALID, "the path is too long");
}

int sr_file_sync_directory(const char *path, struct sr_err *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int status = SR_OK;
    /* Some network file systems cannot sync a directory, and need not. */
    if (fd < 0 || (fsync(fd) != 0 && errno != EINVAL && errno != ENOTSUP)) {
        status = sr_file_fail(err, "sync the directory");
    }
    if (fd >= 0) {
        close(fd);
    }
    return status;
}

int sr_file_is_directory(const char *path, struct sr_err *err)
{
    struct stat info;
    if (stat(path, &info) != 0) {
        return sr_file_fail(err, "the directory");
    }
    return S_ISDIR(info.st_mode) ? SR_OK : sr_err_set(err, SR_INVALID, "that is no directory");
}

void sr_file_describe(const char *name, const struct stat *info, struct sr_target_object *ret)
{
    memset(ret, 0, sizeof(*ret));
    snprintf(ret->name, sizeof(ret->name), "%s", name);
    ret->size = (uint64_t)info->st_size;
    ret->modified_ms =
        (uint64_t)info->st_mtim.tv_sec * 1000 + (uint64_t)info->st_mtim.tv_nsec / 1000000;
}

/* ---- Get ---- */

static int check_range(const struct stat *info, uint64_t offset, uint64_t *size, struct sr_err *err)
{
    uint64_t there = (uint64_t)info->st_size;
    if (!S_ISREG(info->st_mode)) {
        return sr_err_set(err, SR_NOT_FOUND, "that is no file");
    }
    if (offset > there || *size > there - offset) {
        return sr_err_set(err, SR_INVALID, "it has %llu bytes only", (unsigned long long)there);
    }
    *size = *size == 0 ? there - offset : *size;
    return SR_OK;
}

static int read_range(struct sr_target *target, int fd, uint64_t offset, uint64_t size,
                      sr_target_take_cb take, void *arg, struct sr_err *err)
{
    int status = SR_OK;
    uint8_t *data = sr_alloc(SR_FILE_TRANSFER_BYTES);
    while (size > 0 && status == SR_OK) {
        ssize_t got = pread(fd, data, size < SR_FILE_TRANSFER_BYTES ? size : SR_FILE_TRANSFER_BYTES,
                            (off_t)offset);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            status = sr_file_fail(err, "read");
        } else if (got == 0) {
            status = sr_err_set(err, SR_CORRUPT, "it became shorter while it was read");
        } else {
            status = sr_file_check_cancelled(target, err);
        }
        if (status == SR_OK) {
            offset += (uint64_t)got;
            size -= (uint64_t)got;
            target->stats.received_bytes += (uint64_t)got;
            atomic_fetch_add_explicit(&target->moved_bytes, (unsigned long long)got,
                                      memory_order_relaxed);
            status = take(arg, data, (size_t)got, err);
            sr_pace_wait(&sr_file_target_of(target)->pace, (size_t)got, &target->cancelled);
        }
    }
    sr_free(data);
    return status;
}

static int file_get(struct sr_target *target, const char *name, uint64_t offset, uint64_t size,
                    sr_target_take_cb take, void *arg, struct sr_err *err)
{
    char path[PATH_MAX];
    struct stat info;
    int status = sr_file_path(target, name, path, err);
    if (status != SR_OK) {
        return status;
    }
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &info) != 0) {
        status = sr_file_fail(err, "open");
    }
    if (status == SR_OK) {
        status = check_range(&info, offset, &size, err);
    }
    if (status == SR_OK) {
        status = read_range(target, fd, offset, size, take, arg, err);
    }
    if (fd >= 0) {
        close(fd);
    }
    return status;
}

/* ---- Head, list, remove ---- */

static int file_head(struct sr_target *target, const char *name, struct sr_target_object *ret,
                     struct sr_err *err)
{
    char path[PATH_MAX];
    struct stat info;
    int status = sr_file_path(target, name, path, err);
    if (status != SR_OK) {
        return status;
    }
    if (stat(path, &info) != 0) {
        return sr_file_fail(err, "look for it");
    }
    if (!S_ISREG(info.st_mode)) {
        return sr_err_set(err, SR_NOT_FOUND, "that is no file");
    }
    sr_file_describe(name, &info, ret);
    return SR_OK;
}

static int file_list(struct sr_target *target, const char *prefix, sr_target_each_cb each,
                     void *arg, struct sr_err *err)
{
    struct sr_file_names names = {0};
    int status = sr_file_is_directory(sr_file_target_of(target)->dir, err);
    if (status == SR_OK) {
        status = sr_file_walk(sr_file_target_of(target)->dir, prefix, &names, err);
    }
    for (size_t i = 0; i < names.count && status == SR_OK; i++) {
        struct sr_target_object object;
        status = sr_file_check_cancelled(target, err);
        if (status == SR_OK) {
            status = file_head(target, names.names[i], &object, err);
            if (status == SR_NOT_FOUND) { /* removed meanwhile, or never a file */
                status = SR_OK;
                continue;
            }
        }
        if (status == SR_OK) {
            status = each(arg, &object, err);
        }
    }
    sr_file_names_close(&names);
    return status;
}

static int file_remove(struct sr_target *target, const char *name, struct sr_err *err)
{
    char path[PATH_MAX];
    int status = sr_file_path(target, name, path, err);
    if (status == SR_OK && unlink(path) != 0) {
        status = sr_file_fail(err, "remove the file");
    }
    if (status != SR_OK) {
        return status;
    }
    *strrchr(path, '/') = 0;
    return sr_file_sync_directory(path, err);
}

static int file_clean(struct sr_target *target, const char *prefix, uint64_t before_ms,
                      uint64_t *ret_count, struct sr_err *err)
{
    (void)prefix;
    DIR *dir = opendir(sr_file_target_of(target)->dir);
    if (dir == NULL) {
        return sr_file_fail(err, "the directory");
    }
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        struct stat info;
        struct sr_target_object object;
        if (strncmp(entry->d_name, SR_FILE_INCOMING, strlen(SR_FILE_INCOMING)) != 0 ||
            fstatat(dirfd(dir), entry->d_name, &info, AT_SYMLINK_NOFOLLOW) != 0) {
            continue;
        }
        sr_file_describe("", &info, &object);
        if (object.modified_ms < before_ms && unlinkat(dirfd(dir), entry->d_name, 0) == 0) {
            (*ret_count)++;
        }
    }
    closedir(dir);
    return SR_OK;
}

/* ---- Open ---- */

static int file_probe(struct sr_target *target, struct sr_err *err)
{
    return sr_file_is_directory(sr_file_target_of(target)->dir, err);
}

static void file_wake(struct sr_target *target)
{
    (void)target; /* looks at the flag often enough */
}

static void file_close(struct sr_target *target)
{
    sr_free(target);
}

static const struct sr_target_kind file_kind = {
    .close = file_close,
    .wake = file_wake,
    .probe = file_probe,
    .put_begin = sr_file_put_begin,
    .put_write = sr_file_put_write,
    .put_finish = sr_file_put_finish,
    .put_abort = sr_file_put_abort,
    .get = file_get,
    .head = file_head,
    .list = file_list,
    .remove = file_remove,
    .clean = file_clean,
};

static bool has_s3_fields(const struct sr_target_config *config)
{
    return config->endpoint != NULL || config->virtual_host || config->credentials_file != NULL ||
           config->credentials_command != NULL || config->profile != NULL ||
           config->storage_class != NULL || config->sse != SR_TARGET_SSE_NONE ||
           config->sse_kms_key != NULL || config->lock != SR_TARGET_LOCK_NONE ||
           config->checksum_sha256 || config->proxy != NULL || config->ca_file != NULL ||
           config->parts_parallel != 0 || config->part_bytes != 0 ||
           config->connect_timeout_ms != 0 || config->stall_timeout_ms != 0 ||
           config->attempts != 0;
}

/* It goes into manifests, logs and metrics. */
static bool is_region(const char *text)
{
    size_t size = strlen(text);
    for (size_t i = 0; i < size; i++) {
        if (text[i] < ' ' || text[i] > '~' || text[i] == '"' || text[i] == '\\') {
            return false;
        }
    }
    return size > 0 && size < sizeof(((struct sr_target *)0)->region);
}

int sr_target_open_file(const struct sr_target_config *config, struct sr_target **ret,
                        struct sr_err *err)
{
    const char *path = config->url + strlen("file://");
    if (path[0] != '/') {
        return sr_err_set(err, SR_INVALID, "the directory must be absolute: file:///DIR");
    }
    if (has_s3_fields(config)) {
        return sr_err_set(err, SR_INVALID, "it has settings that only an s3:// target can have");
    }
    if (config->region != NULL && !is_region(config->region)) {
        return sr_err_set(err, SR_INVALID,
                          "region: 1 to 63 characters are wanted, without quotes or backslashes");
    }
    struct sr_file_target *target = sr_zalloc(sizeof(*target));
    target->base.kind = &file_kind;
    if (config->region != NULL) {
        snprintf(target->base.region, sizeof(target->base.region), "%s", config->region);
    }
    sr_pace_init(&target->pace, config->bytes_per_second);
    int size = snprintf(target->dir, sizeof(target->dir), "%s", path);
    while (size > 1 && size < PATH_MAX && target->dir[size - 1] == '/') {
        target->dir[--size] = 0;
    }
    int status = size < PATH_MAX ? sr_file_is_directory(target->dir, err)
                                 : sr_err_set(err, SR_INVALID, "the path is too long");
    if (status != SR_OK) {
        sr_free(target);
        return status;
    }
    *ret = &target->base;
    return SR_OK;
}
