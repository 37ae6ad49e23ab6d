/* SPDX-License-Identifier: Apache-2.0
 *
 * The manifest: replaced as a whole, under a fresh epoch each time.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "storage/file.h"
#include "storage/raftlog_impl.h"

#define NAME         "manifest"
#define TEMPORARY    "manifest.tmp"
#define HEADER_BYTES (SR_LOG_PREAMBLE_BYTES + 8)
/* It holds a configuration and a few numbers: more than this was not written by us. */
#define DATA_BYTES_MAX ((size_t)16 * 1024 * 1024)

static int pack(struct sr_raftlog *log, const void *data, size_t size, struct sr_buf *ret_file,
                struct sr_err *err)
{
    struct sr_sealer *sealer = NULL;
    uint8_t *file = sr_buf_extend(ret_file, HEADER_BYTES + size + SR_SEAL_TAG_BYTES);
    int status = sr_log_epoch_new(&log->identity, SR_LOG_MAGIC_MANIFEST, file, &sealer, err);
    if (status != SR_OK) {
        return status;
    }
    sr_put_u64(file + SR_LOG_PREAMBLE_BYTES, size);
    status = sr_seal(sealer, SR_DOMAIN_MANIFEST, sr_sealer_next(sealer), file, HEADER_BYTES, data,
                     size, file + HEADER_BYTES, err);
    sr_sealer_free(sealer);
    return status;
}

static int replace(struct sr_raftlog *log, const struct sr_buf *file, struct sr_err *err)
{
    int fd = openat(log->dir_fd, TEMPORARY, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) {
        int status = sr_err_errno(err, SR_IO, errno, "create " TEMPORARY);
        return status == SR_NO_SPACE ? status : sr_log_fail(log, err);
    }
    int status = sr_log_write(log, fd, file->data, file->size, 0, TEMPORARY, err);
    if (status == SR_OK) {
        status = sr_log_sync(log, fd, TEMPORARY, err);
    }
    close(fd);
    if (status != SR_OK) {
        return status;
    }
    int renamed = log->disk.rename(log->disk.arg, log->dir_fd, TEMPORARY, NAME);
    if (renamed != 0) {
        sr_err_errno(err, SR_IO, -renamed, "rename " TEMPORARY);
        return sr_log_fail(log, err);
    }
    return sr_log_sync(log, log->dir_fd, "the log's directory", err);
}

int sr_raftlog_put_manifest(struct sr_raftlog *log, const void *data, size_t size,
                            struct sr_err *err)
{
    struct sr_buf file = {0};
    int status = sr_log_usable(log, err);
    if (status != SR_OK) {
        return status;
    }
    if (size > DATA_BYTES_MAX) {
        return sr_err_set(err, SR_LIMIT, "manifest of %zu bytes", size);
    }
    sr_log_lock(&log->manifest_mutex);
    status = pack(log, data, size, &file, err);
    if (status == SR_OK) {
        status = replace(log, &file, err);
    }
    sr_log_unlock(&log->manifest_mutex);
    sr_buf_close(&file);
    return status;
}

static int read_file(struct sr_raftlog *log, struct sr_buf *ret_file, struct sr_err *err)
{
    struct stat stat;
    int fd = openat(log->dir_fd, NAME, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return sr_err_errno(err, errno == ENOENT ? SR_NOT_FOUND : SR_IO, errno, NAME);
    }
    int status = SR_OK;
    if (fstat(fd, &stat) != 0) {
        status = sr_err_errno(err, SR_IO, errno, NAME);
    } else if (stat.st_size < (off_t)(HEADER_BYTES + SR_SEAL_TAG_BYTES) ||
               stat.st_size > (off_t)(HEADER_BYTES + DATA_BYTES_MAX + SR_SEAL_TAG_BYTES)) {
        status = sr_err_set(err, SR_CORRUPT, NAME ": %lld bytes", (long long)stat.st_size);
    } else {
        size_t size = (size_t)stat.st_size;
        int64_t got = sr_file_pread(fd, sr_buf_extend(ret_file, size), size, 0);
        if (got < 0) {
            status = sr_err_errno(err, SR_IO, (int)-got, "read " NAME);
        } else if ((size_t)got != size) {
            status = sr_err_set(err, SR_CORRUPT, NAME ": it shrank while it was read");
        }
    }
    close(fd);
    return status;
}

int sr_raftlog_get_manifest(struct sr_raftlog *log, struct sr_buf *ret_data, struct sr_err *err)
{
    struct sr_buf file = {0};
    struct sr_sealer *sealer = NULL;
    size_t size;

    int status = read_file(log, &file, err);
    if (status != SR_OK) {
        goto out;
    }
    sr_check(file.data != NULL);
    status = sr_log_epoch_open(&log->identity, SR_LOG_MAGIC_MANIFEST, file.data, &sealer, err);
    if (status != SR_OK) {
        sr_err_prefix(err, NAME);
        goto out;
    }
    size = file.size - HEADER_BYTES - SR_SEAL_TAG_BYTES;
    if (sr_get_u64(file.data + SR_LOG_PREAMBLE_BYTES) != size) {
        status = sr_err_set(err, SR_CORRUPT, NAME ": cut to %zu bytes", file.size);
        goto out;
    }
    status = sr_unseal(sealer, SR_DOMAIN_MANIFEST, 0, file.data, HEADER_BYTES,
                       file.data + HEADER_BYTES, size, file.data + HEADER_BYTES, err);
    if (status != SR_OK) {
        sr_err_prefix(err, NAME);
        goto out;
    }
    sr_buf_clear(ret_data);
    sr_buf_append(ret_data, file.data + HEADER_BYTES, size);
out:
    sr_sealer_free(sealer);
    sr_buf_close(&file);
    return status;
}
