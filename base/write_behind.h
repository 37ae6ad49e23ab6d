/* SPDX-License-Identifier: Apache-2.0
 *
 * A large file that is written from its beginning to its end, beside others on the same disk: what
 * is written goes to the disk as it comes. Otherwise the next who syncs anything, as a log does all
 * the time, may wait for gigabytes of it.
 *
 * One thread at a time.
 */
#ifndef SR_BASE_WRITE_BEHIND_H
#define SR_BASE_WRITE_BEHIND_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct sr_write_behind {
    int fd;
    off_t on_disk; /* up to here it is there */
    off_t begun;   /* up to here it is on its way */
    bool read_soon;
};

/* What is before @offset of @fd, which is borrowed, is no concern of ours. Also to go back there.
 * @read_soon: leave it in the page cache, for to read it back from the disk would be worse. */
void sr_write_behind_begin(struct sr_write_behind *behind, int fd, uint64_t offset, bool read_soon);
/* It has been written up to @offset. May wait for the disk. A sync at the end is still needed by
 * who wants the file to be there after a crash: this writes neither its size nor where its blocks
 * are, and empties no cache of a disk. Returns 0, or -errno when the disk failed. */
int sr_write_behind_to(struct sr_write_behind *behind, uint64_t offset);

#endif
