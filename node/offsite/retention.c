/* SPDX-License-Identifier: Apache-2.0 */
#include "node/offsite/retention.h"

#include <time.h>

#include "base/check.h"

/* The numbers of a day, a month and a year: equal for two times in the same one. */
enum period { DAY, MONTH, YEAR };

static long number_of(enum period period, uint64_t time_ms)
{
    time_t seconds = (time_t)(time_ms / 1000);
    struct tm parts;
    sr_check(gmtime_r(&seconds, &parts) != NULL);
    return period == DAY     ? (long)(seconds / 86400)
           : period == MONTH ? parts.tm_year * 12L + parts.tm_mon
                             : parts.tm_year;
}

/* Keep the newest of each of the newest @wanted periods. */
static void keep_periods(struct sr_retained *list, size_t count, enum period period,
                         unsigned wanted)
{
    long before = -1;
    for (size_t i = count; i > 0 && wanted > 0; i--) {
        long number = number_of(period, list[i - 1].begun_ms);
        if (number != before) {
            list[i - 1].keep = true;
            before = number;
            wanted--;
        }
    }
}

/* What is under a lock stays in the catalogue, the newest first, as long as there is room. */
static void keep_locked(const struct sr_config_offsite *config, struct sr_retained *list,
                        size_t count, uint64_t now_ms)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        kept += list[i].keep ? 1 : 0;
    }
    for (size_t i = count; i > 0 && kept < sr_retention_room(config->targets_count); i--) {
        struct sr_retained *one = &list[i - 1];
        if (!one->keep && one->locked_until_ms > now_ms) {
            one->keep = true;
            kept++;
        }
    }
}

size_t sr_retention_decide(const struct sr_config_offsite *config, struct sr_retained *list,
                           size_t count, uint64_t now_ms)
{
    size_t removable = 0;
    bool proven_kept = false;
    for (size_t i = count; i > 0; i--) {
        struct sr_retained *one = &list[i - 1];
        bool last_proven = one->proven && !proven_kept;
        proven_kept = proven_kept || one->proven;
        one->keep = count - i < config->retention.last || last_proven;
    }
    keep_periods(list, count, DAY, config->retention.daily);
    keep_periods(list, count, MONTH, config->retention.monthly);
    keep_periods(list, count, YEAR, config->retention.yearly);
    keep_locked(config, list, count, now_ms);
    for (size_t i = 0; i < count; i++) {
        removable += list[i].keep ? 0 : 1;
    }
    return removable;
}

int64_t sr_retention_changes(const struct sr_retained *list, size_t count)
{
    for (size_t i = count; i > 0; i--) {
        if (list[i - 1].proven) {
            return list[i - 1].revision;
        }
    }
    return count > 0 ? list[0].revision : 0;
}
