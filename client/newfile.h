/* SPDX-License-Identifier: Apache-2.0
 *
 * Files that must not exist yet: keys and certificates are never overwritten.
 */
#ifndef SR_CLIENT_NEWFILE_H
#define SR_CLIENT_NEWFILE_H

#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"

/* Create @path with @mode and @size bytes of @data, synced, its directory too. SR_EXISTS, SR_IO,
 * SR_NO_SPACE; nothing is left of it on failure. */
int sr_newfile_write(const char *path, mode_t mode, const void *data, size_t size,
                     struct sr_err *err);

#endif
