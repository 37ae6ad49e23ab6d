/* SPDX-License-Identifier: Apache-2.0
 *
 * One archive, read where it lies. Inside node/restore only.
 */
#ifndef SR_NODE_RESTORE_VERIFY_ARCHIVE_H
#define SR_NODE_RESTORE_VERIFY_ARCHIVE_H

#include <stdatomic.h>

#include "node/offsite/target.h"
#include "storage/manifest.h"

/* Compare the archive of @manifest with it, group by group, in memory of one group; with @key
 * (NULL: none), which must open it, also unseal it and check each record. SR_CORRUPT: truncated or
 * edited; SR_REFUSED: swapped; SR_NOT_FOUND: it is missing; SR_CLOSED: @stopping; the status of the
 * target. */
int sr_verify_archive(struct sr_target *target, const struct sr_manifest *manifest,
                      const struct sr_recovery_private *key, const atomic_bool *stopping,
                      struct sr_err *err);

#endif
