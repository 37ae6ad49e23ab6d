/* SPDX-License-Identifier: Apache-2.0
 *
 * Copies of data directories, and getting rid of them.
 */
#ifndef SR_NODE_RECOVER_COPY_H
#define SR_NODE_RECOVER_COPY_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/err.h"

/* Copy keyring, log and state of the data directory @from to @to, which is created. @from is only
 * read. @ret_changed_ms: when the youngest of these files was last written, in ms since 1970. */
int sr_copy_datadir(const char *from, const char *to, uint64_t *ret_changed_ms, struct sr_err *err);
/* Remove @path with all that is in it; nothing there is fine. */
int sr_copy_remove(const char *path, struct sr_err *err);
/* The same, beside others who use the disk: large files are made shorter by and by first, for who
 * syncs a log waits while gigabytes are freed at once. Until @stop, which may be NULL: then at
 * once. */
int sr_copy_remove_slowly(const char *path, const atomic_bool *stop, struct sr_err *err);

#endif
