/* SPDX-License-Identifier: Apache-2.0 */
#include "client/newfile.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdint.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"

static int fill(int fd, const char *path, const uint8_t *data, size_t size, struct sr_err *err)
{
    while (size > 0) {
        ssize_t n = write(fd, data, size);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return sr_err_errno(err, SR_IO, errno, "%s", path);
        }
        data += n;
        size -= (size_t)n;
    }
    if (fsync(fd) != 0) {
        return sr_err_errno(err, SR_IO, errno, "%s", path);
    }
    return SR_OK;
}

/* A new name is durable only with its directory. */
static int sync_directory(const char *path, struct sr_err *err)
{
    char *copy = sr_strdup(path);
    int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int status = SR_OK;
    if (fd < 0 || fsync(fd) != 0) {
        status = sr_err_errno(err, SR_IO, errno, "%s: its directory", path);
    }
    if (fd >= 0) {
        close(fd);
    }
    sr_free(copy);
    return status;
}

int sr_newfile_write(const char *path, mode_t mode, const void *data, size_t size,
                     struct sr_err *err)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
    if (fd < 0 && errno == EEXIST) {
        return sr_err_set(err, SR_EXISTS, "%s: exists already, and is not overwritten", path);
    }
    if (fd < 0) {
        return sr_err_errno(err, SR_IO, errno, "%s", path);
    }
    /* The mode as asked for, whatever the umask. */
    int status = fchmod(fd, mode) == 0 ? fill(fd, path, data, size, err)
                                       : sr_err_errno(err, SR_IO, errno, "%s", path);
    if (close(fd) != 0 && status == SR_OK) {
        status = sr_err_errno(err, SR_IO, errno, "%s", path);
    }
    if (status == SR_OK) {
        status = sync_directory(path, err);
    }
    if (status != SR_OK) {
        unlink(path);
    }
    return status;
}
