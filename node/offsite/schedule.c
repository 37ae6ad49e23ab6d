/* SPDX-License-Identifier: Apache-2.0 */
#include "node/offsite/schedule.h"

#include "base/check.h"

#define DAY_MS UINT64_C(86400000)
/* A clock that was never set says 1970: nothing is on the schedule before it has been. */
#define EARLIEST_MS (8 * DAY_MS)

/* So that clusters whose ids are close are not moved by close spans. */
static uint64_t scatter(uint64_t id)
{
    id ^= id >> 33;
    id *= UINT64_C(0xff51afd7ed558ccd);
    id ^= id >> 33;
    id *= UINT64_C(0xc4ceb9fe1a85ec53);
    return id ^ id >> 33;
}

void sr_schedule_init(struct sr_schedule *schedule, const struct sr_config_offsite *config,
                      uint64_t cluster_id)
{
    *schedule = (struct sr_schedule){.every_ms = config->every_ms};
    for (unsigned i = 0; i < config->times_count; i++) {
        int seconds = sr_config_time_of_day(config->times[i]);
        sr_check(seconds >= 0);
        schedule->times_ms[i] = (uint32_t)seconds * 1000;
    }
    schedule->times_count = config->times_count;
    sr_check(schedule->times_count > 0 || schedule->every_ms > 0);
    uint64_t period_ms = schedule->times_count > 0 ? DAY_MS : schedule->every_ms;
    uint64_t spread_ms = config->spread_ms < period_ms ? config->spread_ms : period_ms - 1;
    schedule->shift_ms = scatter(cluster_id) % (spread_ms + 1);
}

/* The last of the times of the day at or before @at_ms, without the shift. */
static uint64_t last_time(const struct sr_schedule *schedule, uint64_t at_ms)
{
    uint64_t midnight_ms = at_ms - at_ms % DAY_MS;
    for (unsigned i = schedule->times_count; i > 0; i--) {
        uint64_t time_ms = midnight_ms + schedule->times_ms[i - 1];
        if (time_ms <= at_ms) {
            return time_ms;
        }
    }
    return midnight_ms - DAY_MS + schedule->times_ms[schedule->times_count - 1];
}

static uint64_t next_time(const struct sr_schedule *schedule, uint64_t at_ms)
{
    uint64_t midnight_ms = at_ms - at_ms % DAY_MS;
    for (unsigned i = 0; i < schedule->times_count; i++) {
        if (midnight_ms + schedule->times_ms[i] > at_ms) {
            return midnight_ms + schedule->times_ms[i];
        }
    }
    return midnight_ms + DAY_MS + schedule->times_ms[0];
}

uint64_t sr_schedule_last(const struct sr_schedule *schedule, uint64_t now_ms)
{
    if (now_ms < EARLIEST_MS) {
        return 0;
    }
    uint64_t at_ms = now_ms - schedule->shift_ms;
    uint64_t time_ms =
        schedule->times_count > 0 ? last_time(schedule, at_ms) : at_ms - at_ms % schedule->every_ms;
    return time_ms + schedule->shift_ms;
}

uint64_t sr_schedule_next(const struct sr_schedule *schedule, uint64_t now_ms)
{
    uint64_t at_ms = (now_ms > EARLIEST_MS ? now_ms : EARLIEST_MS) - schedule->shift_ms;
    uint64_t time_ms = schedule->times_count > 0
                           ? next_time(schedule, at_ms)
                           : at_ms - at_ms % schedule->every_ms + schedule->every_ms;
    return time_ms + schedule->shift_ms;
}

bool sr_schedule_due(const struct sr_schedule *schedule, uint64_t begun_ms, uint64_t now_ms)
{
    return begun_ms == 0 || begun_ms < sr_schedule_last(schedule, now_ms);
}

unsigned sr_schedule_missed(const struct sr_schedule *schedule, uint64_t begun_ms, uint64_t now_ms,
                            unsigned max)
{
    unsigned count = 0;
    uint64_t time_ms = sr_schedule_last(schedule, now_ms);
    while (count < max && begun_ms < time_ms) {
        count++;
        time_ms = sr_schedule_last(schedule, time_ms - 1);
    }
    return count;
}
