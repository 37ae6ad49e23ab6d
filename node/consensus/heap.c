/* SPDX-License-Identifier: Apache-2.0
 *
 * libraft's allocator. It frees twice on its own out-of-memory paths, so it gets one that never
 * fails; and being base/alloc's, a struct sr_buf can pass into libraft without a copy.
 */
#include <pthread.h>

#include "base/alloc.h"
#include "node/consensus/internal.h"

static void *heap_malloc(void *data, size_t size)
{
    (void)data;
    return sr_alloc(size);
}

static void heap_free(void *data, void *memory)
{
    (void)data;
    sr_free(memory);
}

static void *heap_calloc(void *data, size_t count, size_t size)
{
    (void)data;
    return sr_calloc(count, size);
}

static void *heap_realloc(void *data, void *memory, size_t size)
{
    (void)data;
    return sr_realloc(memory, size);
}

static void *heap_aligned_alloc(void *data, size_t alignment, size_t size)
{
    (void)data;
    sr_check(alignment <= _Alignof(max_align_t)); /* more is asked for by raft_uv only */
    return sr_alloc(size);
}

static void heap_aligned_free(void *data, size_t alignment, void *memory)
{
    (void)data;
    (void)alignment;
    sr_free(memory);
}

static void heap_set(void)
{
    static struct raft_heap heap = {
        .malloc = heap_malloc,
        .free = heap_free,
        .calloc = heap_calloc,
        .realloc = heap_realloc,
        .aligned_alloc = heap_aligned_alloc,
        .aligned_free = heap_aligned_free,
    };
    raft_heap_set(&heap);
}

void sr_core_heap_init(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    sr_check(pthread_once(&once, heap_set) == 0);
}
