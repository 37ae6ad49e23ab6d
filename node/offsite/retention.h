/* SPDX-License-Identifier: Apache-2.0
 *
 * Which full archives may go, and how far back changes are still of use. Of one target.
 *
 *   1  the newest `last` stay
 *   2  of each of the newest `daily` days (UTC) that have any, the newest stays; likewise months,
 *      years
 *   3  the newest one that is proven stays
 *   4  what is under a lock stays, while the catalogue has room for it: then the oldest of these
 *      are forgotten, and stay at the target until their locks end
 *
 * Pure functions of their arguments. Times are milliseconds since 1970.
 */
#ifndef SR_NODE_OFFSITE_RETENTION_H
#define SR_NODE_OFFSITE_RETENTION_H

#include <stdbool.h>
#include <stddef.h>

#include "node/config/offsite.h"

#define SR_RETENTION_SPARE 8

struct sr_retained {
    uint64_t sequence;
    int64_t revision;
    uint64_t begun_ms;
    uint64_t locked_until_ms;
    bool proven;
    bool keep; /* the result */
};

/* How many one of @targets_count targets may have in the catalogue, which is bounded; some more
 * come before the next decision. */
static inline size_t sr_retention_room(unsigned targets_count)
{
    return SR_OFFSITE_ENTRIES_MAX / (targets_count > 0 ? targets_count : 1) - SR_RETENTION_SPARE;
}

/* Decide about @list, by sequence, lowest first; returns how many are not to be kept. */
size_t sr_retention_decide(const struct sr_config_offsite *config, struct sr_retained *list,
                           size_t count, uint64_t now_ms);

/* Changes up to this revision may go when they are also older than changes_days: a restore to now
 * begins with a full archive that is newer. It is that of the newest proven one, or, while none is
 * proven, of the oldest. 0: none may go. */
int64_t sr_retention_changes(const struct sr_retained *list, size_t count);

#endif
