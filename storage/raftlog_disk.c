/* SPDX-License-Identifier: Apache-2.0
 *
 * The disk under the log, and what its failures mean. A failed write or sync leaves unknown what
 * is on the platter, and the kernel forgets dirty pages that it could not write, so the answer to
 * trying again is worthless: the log stops for good. Lack of space alone is no failure.
 */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "storage/file.h"
#include "storage/raftlog_impl.h"

static int real_write(void *arg, int fd, const void *data, size_t size, uint64_t offset)
{
    (void)arg;
    return sr_file_pwrite(fd, data, size, offset);
}

static int real_sync(void *arg, int fd)
{
    (void)arg;
    return fdatasync(fd) != 0 ? -errno : 0;
}

static int real_rename(void *arg, int dir_fd, const char *from, const char *to)
{
    (void)arg;
    return renameat(dir_fd, from, dir_fd, to) != 0 ? -errno : 0;
}

static int real_unlink(void *arg, int dir_fd, const char *name)
{
    (void)arg;
    return unlinkat(dir_fd, name, 0) != 0 ? -errno : 0;
}

const struct sr_log_disk sr_log_disk_real = {
    .write = real_write, .sync = real_sync, .rename = real_rename, .unlink = real_unlink};

bool sr_log_is_zero(const uint8_t *data, size_t size)
{
    /* Equal to itself shifted by one, and the first is zero: memcmp does it by words. */
    return size == 0 || (data[0] == 0 && memcmp(data, data + 1, size - 1) == 0);
}

void sr_log_segment_name(uint64_t number, char out[SR_LOG_NAME_BYTES])
{
    snprintf(out, SR_LOG_NAME_BYTES, "%016llx.seg", (unsigned long long)number);
}

void sr_log_lock(pthread_mutex_t *mutex)
{
    sr_check(pthread_mutex_lock(mutex) == 0);
}

void sr_log_unlock(pthread_mutex_t *mutex)
{
    sr_check(pthread_mutex_unlock(mutex) == 0);
}

int sr_log_fail(struct sr_raftlog *log, struct sr_err *err)
{
    if (!atomic_exchange(&log->failing, true)) {
        (void)snprintf(log->reason, sizeof(log->reason), "%.150s", err == NULL ? "" : err->text);
        atomic_store(&log->failed, true);
    }
    while (!atomic_load(&log->failed)) {
        sched_yield();
    }
    if (err != NULL) {
        err->status = SR_IO;
    }
    return SR_IO;
}

int sr_log_usable(const struct sr_raftlog *log, struct sr_err *err)
{
    if (atomic_load(&log->failed)) {
        return sr_err_set(err, SR_IO, "the log has failed before and stays closed: %s",
                          log->reason);
    }
    return SR_OK;
}

int sr_log_write(struct sr_raftlog *log, int fd, const void *data, size_t size, uint64_t offset,
                 const char *what, struct sr_err *err)
{
    int result = log->disk.write(log->disk.arg, fd, data, size, offset);
    if (result == 0) {
        sr_count(&log->metrics.bytes_written, size);
        return SR_OK;
    }
    int status =
        sr_err_errno(err, SR_IO, -result, "write %s at %llu", what, (unsigned long long)offset);
    return status == SR_NO_SPACE ? status : sr_log_fail(log, err);
}

int sr_log_sync(struct sr_raftlog *log, int fd, const char *what, struct sr_err *err)
{
    int result = log->disk.sync(log->disk.arg, fd);
    sr_count(&log->metrics.syncs, 1);
    if (result == 0) {
        return SR_OK;
    }
    /* Even for lack of space: what was to be written may be lost. */
    sr_err_errno(err, SR_IO, -result, "sync %s", what);
    return sr_log_fail(log, err);
}

int sr_log_unlink(struct sr_raftlog *log, const char *name, struct sr_err *err)
{
    int result = log->disk.unlink(log->disk.arg, log->dir_fd, name);
    if (result == 0 || result == -ENOENT) {
        return SR_OK;
    }
    sr_err_errno(err, SR_IO, -result, "delete %s", name);
    return sr_log_fail(log, err);
}
