/* SPDX-License-Identifier: Apache-2.0
 *
 * Points of time as people write them: RFC 3339.
 */
#ifndef SR_NODE_RESTORE_WHEN_H
#define SR_NODE_RESTORE_WHEN_H

#include <stdbool.h>
#include <stdint.h>

#define SR_WHEN_CHARS 32

/* "2026-11-23T04:05:06Z", with ".789" when it is not a whole second; "an unknown time" for 0.
 * Returns @out. */
const char *sr_when_text(uint64_t ms, char out[SR_WHEN_CHARS]);
/* The same back, with a zone of Z or +hh:mm: without one, nobody knows which hour is meant. False:
 * it is no such text, or is before 1970. */
bool sr_when_parse(const char *text, uint64_t *ret_ms);

#endif
