/* SPDX-License-Identifier: Apache-2.0
 *
 * How many bytes of log lie behind an index: a mark now and then, straight lines in between. For
 * decisions in bytes (when to take a manifest, how much to keep) where libraft counts entries.
 */
#ifndef SR_NODE_CONSENSUS_MARKS_H
#define SR_NODE_CONSENSUS_MARKS_H

#include <stddef.h>
#include <stdint.h>

struct sr_mark {
    uint64_t index;
    uint64_t bytes; /* of all entries up to index, counted from some beginning */
};

struct sr_marks {
    struct sr_mark *items; /* ascending; the first is what was released, the last the end */
    size_t count;
    size_t capacity;
};

/* A log whose entries (first, last] take @bytes. */
void sr_marks_init(struct sr_marks *marks, uint64_t first, uint64_t last, uint64_t bytes);
void sr_marks_close(struct sr_marks *marks);
/* The entry after the last one. */
void sr_marks_add(struct sr_marks *marks, size_t size);
/* Entries from @index on are void. */
void sr_marks_truncate(struct sr_marks *marks, uint64_t index);
/* Entries up to @index are gone. */
void sr_marks_release(struct sr_marks *marks, uint64_t index);
/* Of the entries after @index, up to the last. */
uint64_t sr_marks_bytes_after(const struct sr_marks *marks, uint64_t index);
/* The highest index with at least @bytes in the entries after it, up to @to; at least where the
 * marks begin. */
uint64_t sr_marks_index_before(const struct sr_marks *marks, uint64_t to, uint64_t bytes);

#endif
