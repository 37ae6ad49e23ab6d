/* SPDX-License-Identifier: Apache-2.0
 *
 * A bandwidth limit for a thread that may sleep. Inside node/offsite only.
 */
#ifndef SR_NODE_OFFSITE_PACE_H
#define SR_NODE_OFFSITE_PACE_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

struct sr_pace {
    uint64_t bytes_per_second; /* 0: no limit */
    uint64_t ready_ns;         /* when all that was sent so far is paid for */
};

void sr_pace_init(struct sr_pace *pace, uint64_t bytes_per_second);
/* After a pause: what was not sent then is not caught up. */
void sr_pace_begin(struct sr_pace *pace, uint64_t now_ns);
/* When @bytes that are sent now are paid for: nothing more is to be sent before. */
uint64_t sr_pace_take(struct sr_pace *pace, size_t bytes, uint64_t now_ns);
/* Take, and sleep until then, or until @cancelled. */
void sr_pace_wait(struct sr_pace *pace, size_t bytes, const atomic_bool *cancelled);

#endif
