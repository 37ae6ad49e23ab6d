/* SPDX-License-Identifier: Apache-2.0
 *
 * Which frame has which entry: one small record a frame, kept while its segment is.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/check.h"
#include "storage/raftlog_impl.h"

static void grow(void **items, size_t *capacity, size_t count, size_t item_bytes)
{
    if (count < *capacity) {
        return;
    }
    *capacity = *capacity == 0 ? 8 : *capacity * 2;
    *items = sr_realloc(*items, *capacity * item_bytes);
}

void sr_log_index_close(struct sr_log_index *index)
{
    sr_log_index_drop_segments(index, index->count);
    sr_free(index->segments);
    memset(index, 0, sizeof(*index));
}

struct sr_log_segment *sr_log_index_add_segment(struct sr_log_index *index, uint64_t number,
                                                uint64_t size, const uint8_t *preamble)
{
    void *items = index->segments;
    grow(&items, &index->capacity, index->count, sizeof(*index->segments));
    index->segments = items;
    struct sr_log_segment *segment = &index->segments[index->count++];
    memset(segment, 0, sizeof(*segment));
    segment->number = number;
    segment->size = size;
    memcpy(segment->preamble, preamble, SR_LOG_PREAMBLE_BYTES);
    return segment;
}

void sr_log_index_drop_segments(struct sr_log_index *index, size_t count)
{
    sr_check(count <= index->count);
    for (size_t i = 0; i < count; i++) {
        sr_free(index->segments[i].refs);
    }
    index->count -= count;
    if (index->count > 0) {
        memmove(index->segments, index->segments + count, index->count * sizeof(*index->segments));
    }
}

static uint64_t ref_last(const struct sr_log_ref *ref)
{
    return ref->first_index + ref->count - 1;
}

/* Entries from @entry on are void. */
static void truncate_from(struct sr_log_index *index, uint64_t entry)
{
    for (size_t s = index->count; s-- > 0;) {
        struct sr_log_segment *segment = &index->segments[s];
        while (segment->ref_count > 0) {
            struct sr_log_ref *ref = &segment->refs[segment->ref_count - 1];
            if (ref_last(ref) < entry) {
                return;
            }
            if (ref->first_index < entry) {
                ref->count = (uint32_t)(entry - ref->first_index);
                return;
            }
            segment->ref_count--;
        }
    }
}

void sr_log_index_add_frame(struct sr_log_index *index, const struct sr_log_frame *frame,
                            uint64_t offset)
{
    sr_check(index->count > 0);
    if (frame->truncate_from != 0) {
        truncate_from(index, frame->truncate_from);
        index->last_index = frame->truncate_from - 1;
    }
    if (frame->count == 0) {
        return;
    }
    sr_check(frame->first_index == index->last_index + 1);
    struct sr_log_segment *segment = &index->segments[index->count - 1];
    void *items = segment->refs;
    grow(&items, &segment->ref_capacity, segment->ref_count, sizeof(*segment->refs));
    segment->refs = items;
    segment->refs[segment->ref_count++] = (struct sr_log_ref){
        .first_index = frame->first_index, .offset = offset, .count = frame->count};
    index->last_index += frame->count;
}

uint64_t sr_log_index_first(const struct sr_log_index *index)
{
    for (size_t s = 0; s < index->count; s++) {
        if (index->segments[s].ref_count > 0) {
            return index->segments[s].refs[0].first_index;
        }
    }
    return index->last_index + 1;
}

/* The last frame of @segment that begins at or before @entry; there is one. */
static const struct sr_log_ref *search(const struct sr_log_segment *segment, uint64_t entry)
{
    size_t low = 0;
    size_t high = segment->ref_count;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (segment->refs[middle].first_index <= entry) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return &segment->refs[low];
}

const struct sr_log_ref *sr_log_index_find(const struct sr_log_index *index, uint64_t entry,
                                           const struct sr_log_segment **ret_segment)
{
    for (size_t s = index->count; s-- > 0;) {
        const struct sr_log_segment *segment = &index->segments[s];
        if (segment->ref_count == 0 || segment->refs[0].first_index > entry) {
            continue;
        }
        const struct sr_log_ref *ref = search(segment, entry);
        if (ref_last(ref) < entry) {
            return NULL;
        }
        *ret_segment = segment;
        return ref;
    }
    return NULL;
}

size_t sr_log_index_releasable(const struct sr_log_index *index, uint64_t entry)
{
    size_t count = 0;
    while (count + 1 < index->count) {
        const struct sr_log_segment *segment = &index->segments[count];
        if (segment->ref_count > 0 && ref_last(&segment->refs[segment->ref_count - 1]) > entry) {
            break;
        }
        count++;
    }
    return count;
}
