/* SPDX-License-Identifier: Apache-2.0 */
#include "base/write_behind.h"

#include <errno.h>
#include <fcntl.h>

/* What the kernel may have of it that is not on its way to the disk. */
#define UNWRITTEN_BYTES ((off_t)1024 * 1024)

#define SYNC_AND_WAIT                                                                              \
    (SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER)

void sr_write_behind_begin(struct sr_write_behind *behind, int fd, uint64_t offset, bool read_soon)
{
    *behind = (struct sr_write_behind){
        .fd = fd, .on_disk = (off_t)offset, .begun = (off_t)offset, .read_soon = read_soon};
}

/* Where it cannot be done, a sync at the end does it all. */
static int sync_range(int fd, off_t from, off_t to, unsigned flags)
{
    if (to == from || sync_file_range(fd, from, to - from, flags) == 0 || errno == ENOSYS ||
        errno == EINVAL || errno == ESPIPE || errno == ENOTSUP) {
        return 0;
    }
    return -errno;
}

/* One piece is on its way while the next is made. */
int sr_write_behind_to(struct sr_write_behind *behind, uint64_t offset)
{
    off_t written = (off_t)offset;
    if (written - behind->begun < UNWRITTEN_BYTES) {
        return 0;
    }
    int failed = sync_range(behind->fd, behind->begun, written, SYNC_FILE_RANGE_WRITE);
    if (failed == 0) {
        failed = sync_range(behind->fd, behind->on_disk, behind->begun, SYNC_AND_WAIT);
    }
    if (failed == 0 && !behind->read_soon) {
        (void)posix_fadvise(behind->fd, behind->on_disk, behind->begun - behind->on_disk,
                            POSIX_FADV_DONTNEED);
    }
    if (failed == 0) {
        behind->on_disk = behind->begun;
        behind->begun = written;
    }
    return failed;
}
