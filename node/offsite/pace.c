/* SPDX-License-Identifier: Apache-2.0 */
#include "node/offsite/pace.h"

#include <time.h>

#include "base/clock.h"

/* How long a cancelled thread may sleep on. */
#define NAP_NS    ((uint64_t)50 * 1000 * 1000)
#define SECOND_NS ((uint64_t)1000 * 1000 * 1000)

void sr_pace_init(struct sr_pace *pace, uint64_t bytes_per_second)
{
    pace->bytes_per_second = bytes_per_second;
    pace->ready_ns = 0;
}

void sr_pace_begin(struct sr_pace *pace, uint64_t now_ns)
{
    if (pace->ready_ns < now_ns) {
        pace->ready_ns = now_ns;
    }
}

uint64_t sr_pace_take(struct sr_pace *pace, size_t bytes, uint64_t now_ns)
{
    if (pace->bytes_per_second == 0) {
        return now_ns;
    }
    sr_pace_begin(pace, now_ns);
    pace->ready_ns += (uint64_t)((unsigned __int128)bytes * SECOND_NS / pace->bytes_per_second);
    return pace->ready_ns;
}

void sr_pace_wait(struct sr_pace *pace, size_t bytes, const atomic_bool *cancelled)
{
    uint64_t ready_ns = sr_pace_take(pace, bytes, sr_clock_monotonic_ns());
    uint64_t now_ns = sr_clock_monotonic_ns();
    while (now_ns < ready_ns && !atomic_load(cancelled)) {
        uint64_t left_ns = ready_ns - now_ns;
        struct timespec nap = {.tv_nsec = (long)(left_ns < NAP_NS ? left_ns : NAP_NS)};
        nanosleep(&nap, NULL);
        now_ns = sr_clock_monotonic_ns();
    }
}
