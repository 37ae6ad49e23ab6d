/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/file.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <unistd.h>

#include "base/alloc.h"

int64_t sr_file_pread(int fd, void *data, size_t size, uint64_t offset)
{
    size_t done = 0;
    while (done < size) {
        ssize_t got = pread(fd, (uint8_t *)data + done, size - done, (off_t)(offset + done));
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return -errno;
        }
        if (got == 0) {
            break;
        }
        done += (size_t)got;
    }
    return (int64_t)done;
}

int sr_file_pwrite(int fd, const void *data, size_t size, uint64_t offset)
{
    size_t done = 0;
    while (done < size) {
        ssize_t put = pwrite(fd, (const uint8_t *)data + done, size - done, (off_t)(offset + done));
        if (put < 0 && errno == EINTR) {
            continue;
        }
        if (put <= 0) {
            return put < 0 ? -errno : -EIO;
        }
        done += (size_t)put;
    }
    return 0;
}

int sr_file_sync_parent(const char *path, struct sr_err *err)
{
    char *copy = sr_strdup(path);
    int status = SR_OK;
    int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) != 0) {
        status = sr_err_errno(err, SR_IO, errno, "sync the directory of %s", path);
    }
    if (fd >= 0) {
        close(fd);
    }
    sr_free(copy);
    return status;
}
