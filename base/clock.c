/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"

#include <time.h>

static uint64_t read_clock_ns(clockid_t id)
{
    struct timespec now;
    clock_gettime(id, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t sr_clock_monotonic_ns(void)
{
    return read_clock_ns(CLOCK_MONOTONIC);
}

uint64_t sr_clock_wall_ms(void)
{
    return read_clock_ns(CLOCK_REALTIME) / 1000000u;
}

static uint64_t real_monotonic_ns(void *arg)
{
    (void)arg;
    return sr_clock_monotonic_ns();
}

static uint64_t real_wall_ms(void *arg)
{
    (void)arg;
    return sr_clock_wall_ms();
}

const struct sr_clock sr_clock_real = {.monotonic_ns = real_monotonic_ns, .wall_ms = real_wall_ms};
