/* SPDX-License-Identifier: Apache-2.0
 *
 * Time, by its two meanings. Code that runs under the simulator takes a struct sr_clock; the rest
 * may call the functions.
 */
#ifndef SR_BASE_CLOCK_H
#define SR_BASE_CLOCK_H

#include <stdint.h>

/* Monotonic nanoseconds: for durations and timeouts. */
uint64_t sr_clock_monotonic_ns(void);
/* Milliseconds since 1970 UTC: for people and records, never for ordering. */
uint64_t sr_clock_wall_ms(void);

struct sr_clock {
    uint64_t (*monotonic_ns)(void *arg);
    uint64_t (*wall_ms)(void *arg);
    void *arg;
};

/* The machine's own. */
extern const struct sr_clock sr_clock_real;

#endif
