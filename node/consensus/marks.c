/* SPDX-License-Identifier: Apache-2.0 */
#include "node/consensus/marks.h"

#include <string.h>

#include "base/alloc.h"
#include "base/check.h"

#define MARK_BYTES ((uint64_t)256 * 1024)

static struct sr_mark *last_of(const struct sr_marks *marks)
{
    return &marks->items[marks->count - 1];
}

static void push(struct sr_marks *marks, struct sr_mark mark)
{
    if (marks->count == marks->capacity) {
        marks->capacity = marks->capacity == 0 ? 64 : marks->capacity * 2;
        marks->items = sr_realloc(marks->items, marks->capacity * sizeof(*marks->items));
    }
    marks->items[marks->count++] = mark;
}

void sr_marks_init(struct sr_marks *marks, uint64_t first, uint64_t last, uint64_t bytes)
{
    sr_check(first <= last);
    *marks = (struct sr_marks){0};
    push(marks, (struct sr_mark){.index = first});
    push(marks, (struct sr_mark){.index = last, .bytes = bytes});
}

void sr_marks_close(struct sr_marks *marks)
{
    sr_free(marks->items);
    *marks = (struct sr_marks){0};
}

void sr_marks_add(struct sr_marks *marks, size_t size)
{
    struct sr_mark end = *last_of(marks);
    /* The end moves with each entry; it stays behind as a mark once a stretch is full. */
    uint64_t stretch = marks->count < 2 ? 0 : end.bytes - marks->items[marks->count - 2].bytes;
    end.index++;
    end.bytes += size;
    if (marks->count < 2 || stretch >= MARK_BYTES) {
        push(marks, end);
    } else {
        *last_of(marks) = end;
    }
}

static uint64_t bytes_at(const struct sr_marks *marks, uint64_t index)
{
    if (index <= marks->items[0].index) {
        return marks->items[0].bytes;
    }
    if (index >= last_of(marks)->index) {
        return last_of(marks)->bytes;
    }
    size_t high = 1;
    size_t count = marks->count - 1;
    while (count > 0) { /* the first mark at or after index */
        size_t half = count / 2;
        if (marks->items[high + half].index < index) {
            high += half + 1;
            count -= half + 1;
        } else {
            count = half;
        }
    }
    const struct sr_mark *a = &marks->items[high - 1];
    const struct sr_mark *b = &marks->items[high];
    double part = (double)(index - a->index) / (double)(b->index - a->index);
    return a->bytes + (uint64_t)((double)(b->bytes - a->bytes) * part);
}

void sr_marks_truncate(struct sr_marks *marks, uint64_t index)
{
    sr_check(index > 0);
    struct sr_mark end = {.index = index - 1, .bytes = bytes_at(marks, index - 1)};
    while (marks->count > 1 && last_of(marks)->index >= end.index) {
        marks->count--;
    }
    if (last_of(marks)->index < end.index) {
        push(marks, end);
    }
}

void sr_marks_release(struct sr_marks *marks, uint64_t index)
{
    struct sr_mark start = {.index = index, .bytes = bytes_at(marks, index)};
    if (index <= marks->items[0].index || index > last_of(marks)->index) {
        return;
    }
    size_t gone = 0;
    while (gone + 1 < marks->count && marks->items[gone + 1].index <= index) {
        gone++;
    }
    memmove(marks->items, marks->items + gone, (marks->count - gone) * sizeof(*marks->items));
    marks->count -= gone;
    marks->items[0] = start;
}

uint64_t sr_marks_bytes_after(const struct sr_marks *marks, uint64_t index)
{
    return last_of(marks)->bytes - bytes_at(marks, index);
}

uint64_t sr_marks_index_before(const struct sr_marks *marks, uint64_t to, uint64_t bytes)
{
    uint64_t end = bytes_at(marks, to);
    uint64_t low = marks->items[0].index;
    uint64_t high = to > low ? to : low;
    while (low < high) {
        uint64_t middle = low + (high - low + 1) / 2;
        if (end - bytes_at(marks, middle) >= bytes) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    return low;
}
