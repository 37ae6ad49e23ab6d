/* SPDX-License-Identifier: Apache-2.0
 *
 * Small helpers over files that are read and replaced whole.
 */
#ifndef SR_STORAGE_FILE_H
#define SR_STORAGE_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* Read at most @size bytes at @offset of @fd, less only at the end of the file. Returns the
 * number of bytes, or -errno. */
int64_t sr_file_pread(int fd, void *data, size_t size, uint64_t offset);
/* Write all of @data at @offset. Returns 0 or -errno. */
int sr_file_pwrite(int fd, const void *data, size_t size, uint64_t offset);
/* Sync the directory that holds @path. SR_IO. */
int sr_file_sync_parent(const char *path, struct sr_err *err);

#endif
