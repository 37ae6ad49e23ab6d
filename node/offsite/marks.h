/* SPDX-License-Identifier: Apache-2.0
 *
 * When revisions came: what a node has seen of its own store, by looking now and then. Archives of
 * changes carry it, so that a restore can stop at a time; the lag is measured by it.
 *
 * Bounded: the oldest are forgotten. Any thread.
 */
#ifndef SR_NODE_OFFSITE_MARKS_H
#define SR_NODE_OFFSITE_MARKS_H

#include <stdbool.h>
#include <stddef.h>

#include "storage/archive.h"

#define SR_MARKS_MAX 16384

struct sr_marks;

struct sr_marks *sr_marks_new(void);
void sr_marks_free(struct sr_marks *marks); /* NULL is fine */
/* The store is at @revision at @time_ms. Noted when both are beyond the last one; what was noted by
 * a clock that has been set back since is forgotten. */
void sr_marks_note(struct sr_marks *marks, int64_t revision, uint64_t time_ms);
/* Those after @since; an array to be released with sr_free, NULL when there are none. */
struct sr_archive_mark *sr_marks_after(const struct sr_marks *marks, int64_t since,
                                       size_t *ret_count);
/* When the first revision after @revision had come, as far as it is known; 0: there is none that is
 * known of. */
uint64_t sr_marks_time_after(const struct sr_marks *marks, int64_t revision);
/* Whether somebody looked when the store was at @revision, or before: otherwise what came after it
 * may have come long before the first mark. */
bool sr_marks_saw(const struct sr_marks *marks, int64_t revision);
/* When all up to @revision had certainly come; 0: not known. */
uint64_t sr_marks_time_of(const struct sr_marks *marks, int64_t revision);

#endif
