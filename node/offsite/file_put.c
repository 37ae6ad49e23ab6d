/* SPDX-License-Identifier: Apache-2.0
 *
 *   DIR/.incoming-RANDOM ──write, sync──► rename ──► DIR/NAME ──► sync of the directories
 *
 * What is written goes to the disk as it comes (base/write_behind.h): a sync of gigabytes at the
 * end would hold up whoever syncs a log on the same disk.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/write_behind.h"
#include "node/offsite/file_target.h"

struct file_put {
    struct sr_target_put base;
    int fd;
    struct sr_write_behind behind;
    uint64_t size;
    char incoming[PATH_MAX];
};

/* For each directory between DIR and the file at @path, the outermost first. @path is as before
 * when it returns. */
static int each_parent(const struct sr_file_target *target, char *path,
                       int (*call)(const char *dir, struct sr_err *err), struct sr_err *err)
{
    int status = SR_OK;
    for (char *at = strchr(path + strlen(target->dir) + 1, '/'); at != NULL && status == SR_OK;
         at = strchr(at + 1, '/')) {
        *at = 0;
        status = call(path, err);
        *at = '/';
    }
    return status;
}

static int make_directory(const char *path, struct sr_err *err)
{
    return mkdir(path, 0700) == 0 || errno == EEXIST ? SR_OK
                                                     : sr_file_fail(err, "make a directory for it");
}

int sr_file_put_begin(struct sr_target *target, const char *name,
                      const struct sr_target_put_options *options, struct sr_target_put **ret,
                      struct sr_err *err)
{
    (void)name;
    (void)options;
    uint64_t random = 0;
    struct file_put *put = sr_zalloc(sizeof(*put));
    char incoming[64];
    int status = sr_file_is_directory(sr_file_target_of(target)->dir, err);
    if (status == SR_OK && getrandom(&random, sizeof(random), 0) != sizeof(random)) {
        status = sr_err_set(err, SR_CRYPTO, "no random number");
    }
    snprintf(incoming, sizeof(incoming), SR_FILE_INCOMING "%016llx", (unsigned long long)random);
    if (status == SR_OK) {
        status = sr_file_path(target, incoming, put->incoming, err);
    }
    if (status == SR_OK) {
        put->fd = open(put->incoming, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (put->fd < 0) {
            status = sr_file_fail(err, "create a file");
        }
    }
    if (status != SR_OK) {
        sr_free(put);
        return status;
    }
    sr_write_behind_begin(&put->behind, put->fd, 0, false);
    sr_pace_begin(&sr_file_target_of(target)->pace, sr_clock_monotonic_ns());
    *ret = &put->base;
    return SR_OK;
}

int sr_file_put_write(struct sr_target_put *base, const void *data, size_t size, struct sr_err *err)
{
    struct file_put *put = (struct file_put *)base;
    struct sr_target *target = base->target;
    const uint8_t *at = data;
    while (size > 0) {
        int status = sr_file_check_cancelled(target, err);
        if (status != SR_OK) {
            return status;
        }
        ssize_t done =
            write(put->fd, at, size < SR_FILE_TRANSFER_BYTES ? size : SR_FILE_TRANSFER_BYTES);
        if (done < 0 && errno == EINTR) {
            continue;
        }
        if (done <= 0) {
            return sr_file_fail(err, "write");
        }
        at += done;
        size -= (size_t)done;
        put->size += (uint64_t)done;
        target->stats.sent_bytes += (uint64_t)done;
        atomic_fetch_add_explicit(&target->moved_bytes, (unsigned long long)done,
                                  memory_order_relaxed);
        int failed = sr_write_behind_to(&put->behind, put->size);
        if (failed != 0) {
            errno = -failed;
            return sr_file_fail(err, "sync");
        }
        sr_pace_wait(&sr_file_target_of(target)->pace, (size_t)done, &target->cancelled);
    }
    return SR_OK;
}

/* Not every file system knows renameat2; there, who put it in the same moment is replaced. */
static int move_into_place(const struct file_put *put, const char *path)
{
    if (!put->base.options.replace) {
        if (renameat2(AT_FDCWD, put->incoming, AT_FDCWD, path, RENAME_NOREPLACE) == 0) {
            return 0;
        }
        if (errno != EINVAL && errno != ENOSYS && errno != ENOTSUP) {
            return -1;
        }
    }
    return rename(put->incoming, path);
}

static int publish(struct file_put *put, struct sr_err *err)
{
    struct sr_file_target *target = sr_file_target_of(put->base.target);
    char path[PATH_MAX];
    int status = sr_file_path(&target->base, put->base.name, path, err);
    if (status == SR_OK && fsync(put->fd) != 0) {
        status = sr_file_fail(err, "sync");
    }
    if (status == SR_OK) {
        status = each_parent(target, path, make_directory, err);
    }
    if (status == SR_OK && move_into_place(put, path) != 0) {
        status = errno == EEXIST ? sr_err_set(err, SR_EXISTS, "there is an object of that name")
                                 : sr_file_fail(err, "move it into place");
    }
    if (status != SR_OK) {
        return status;
    }
    put->incoming[0] = 0;
    status = sr_file_sync_directory(target->dir, err);
    return status == SR_OK ? each_parent(target, path, sr_file_sync_directory, err) : status;
}

static void put_free(struct file_put *put)
{
    close(put->fd);
    if (put->incoming[0] != 0) {
        unlink(put->incoming);
    }
    sr_free(put);
}

int sr_file_put_finish(struct sr_target_put *base, struct sr_target_object *ret, struct sr_err *err)
{
    struct file_put *put = (struct file_put *)base;
    struct stat info;
    int status = sr_file_check_cancelled(base->target, err);
    if (status == SR_OK) {
        status = publish(put, err);
    }
    if (status == SR_OK && fstat(put->fd, &info) != 0) {
        status = sr_file_fail(err, "look at it");
    }
    if (status == SR_OK && (uint64_t)info.st_size != base->size) {
        status = sr_err_set(err, SR_CORRUPT, "%lld bytes are there of %llu",
                            (long long)info.st_size, (unsigned long long)base->size);
    }
    if (status == SR_OK) {
        sr_file_describe(base->name, &info, ret);
    }
    put_free(put);
    return status;
}

void sr_file_put_abort(struct sr_target_put *base)
{
    put_free((struct file_put *)base);
}
