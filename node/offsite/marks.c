/* SPDX-License-Identifier: Apache-2.0 */
#include "node/offsite/marks.h"

#include <pthread.h>

#include "base/alloc.h"

#define DRIFT_MS UINT64_C(10000)

/* A ring: the oldest is at first % SR_MARKS_MAX. */
struct sr_marks {
    pthread_mutex_t *mutex; /* guards the rest; apart, so that readers may be const */
    size_t first;
    size_t count;
    struct sr_archive_mark ring[SR_MARKS_MAX];
};

struct sr_marks *sr_marks_new(void)
{
    struct sr_marks *marks = sr_zalloc(sizeof(*marks));
    marks->mutex = sr_zalloc(sizeof(*marks->mutex));
    pthread_mutex_init(marks->mutex, NULL);
    return marks;
}

void sr_marks_free(struct sr_marks *marks)
{
    if (marks != NULL) {
        pthread_mutex_destroy(marks->mutex);
        sr_free(marks->mutex);
        sr_free(marks);
    }
}

static const struct sr_archive_mark *at(const struct sr_marks *marks, size_t i)
{
    return &marks->ring[(marks->first + i) % SR_MARKS_MAX];
}

/* The first whose revision is more than @revision; marks->count when there is none. */
static size_t find_after(const struct sr_marks *marks, int64_t revision)
{
    size_t low = 0;
    size_t high = marks->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (at(marks, middle)->revision > revision) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low;
}

/* A clock that was set back by more than it drifts was wrong before: what was noted by it since is
 * worth nothing, and would keep what comes from being noted until that time is there again. */
static void forget_the_future(struct sr_marks *marks, uint64_t time_ms)
{
    if (marks->count > 0 && at(marks, marks->count - 1)->time_ms > time_ms + DRIFT_MS) {
        while (marks->count > 0 && at(marks, marks->count - 1)->time_ms >= time_ms) {
            marks->count--;
        }
    }
}

void sr_marks_note(struct sr_marks *marks, int64_t revision, uint64_t time_ms)
{
    pthread_mutex_lock(marks->mutex);
    forget_the_future(marks, time_ms);
    const struct sr_archive_mark *last = marks->count == 0 ? NULL : at(marks, marks->count - 1);
    if (last == NULL || (revision > last->revision && time_ms > last->time_ms)) {
        if (marks->count == SR_MARKS_MAX) {
            marks->first = (marks->first + 1) % SR_MARKS_MAX;
            marks->count--;
        }
        marks->ring[(marks->first + marks->count) % SR_MARKS_MAX] =
            (struct sr_archive_mark){.revision = revision, .time_ms = time_ms};
        marks->count++;
    }
    pthread_mutex_unlock(marks->mutex);
}

struct sr_archive_mark *sr_marks_after(const struct sr_marks *marks, int64_t since,
                                       size_t *ret_count)
{
    struct sr_archive_mark *list = NULL;
    pthread_mutex_lock(marks->mutex);
    size_t from = find_after(marks, since);
    *ret_count = marks->count - from;
    if (*ret_count > 0) {
        list = sr_alloc(*ret_count * sizeof(*list));
        for (size_t i = 0; i < *ret_count; i++) {
            list[i] = *at(marks, from + i);
        }
    }
    pthread_mutex_unlock(marks->mutex);
    return list;
}

uint64_t sr_marks_time_after(const struct sr_marks *marks, int64_t revision)
{
    pthread_mutex_lock(marks->mutex);
    size_t found = find_after(marks, revision);
    uint64_t time_ms = found == marks->count ? 0 : at(marks, found)->time_ms;
    pthread_mutex_unlock(marks->mutex);
    return time_ms;
}

bool sr_marks_saw(const struct sr_marks *marks, int64_t revision)
{
    pthread_mutex_lock(marks->mutex);
    bool saw = marks->count > 0 && at(marks, 0)->revision <= revision;
    pthread_mutex_unlock(marks->mutex);
    return saw;
}

uint64_t sr_marks_time_of(const struct sr_marks *marks, int64_t revision)
{
    return sr_marks_time_after(marks, revision - 1);
}
