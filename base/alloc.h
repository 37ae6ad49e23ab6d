/* SPDX-License-Identifier: Apache-2.0
 *
 * The one way to allocate. Two kinds, told apart by who chose the size:
 *
 *   sr_alloc and its kin: sizes that the program chose, or that a limit of proto/limits.h bounds
 *   tightly. They never return NULL: a node that cannot get a few kilobytes stops at once, with a
 *   line that says so, rather than run on half-built state (P7). libraft is given these too,
 *   because it frees twice on its own out-of-memory paths.
 *
 *   sr_try_alloc: sizes that the outside world chose. It returns NULL when memory is short, and
 *   the caller answers with an error.
 *
 * All memory is released with sr_free. All functions may be called on any thread.
 */
#ifndef SR_BASE_ALLOC_H
#define SR_BASE_ALLOC_H

#include <stddef.h>

void *sr_alloc(size_t size) __attribute__((malloc, returns_nonnull));
void *sr_zalloc(size_t size) __attribute__((malloc, returns_nonnull)); /* zero filled */
void *sr_calloc(size_t count, size_t size) __attribute__((malloc, returns_nonnull));
void *sr_realloc(void *memory, size_t size) __attribute__((returns_nonnull));
void *sr_memdup(const void *memory, size_t size) __attribute__((malloc, returns_nonnull));
char *sr_strdup(const char *text) __attribute__((malloc, returns_nonnull));

void *sr_try_alloc(size_t size) __attribute__((malloc));
void *sr_try_realloc(void *memory, size_t size);

void sr_free(void *memory);

/* For fault sweeps in tests: let the @nth (from 1) sr_try_* call of this thread from now on fail,
 * once. 0 turns it off. Returns whether the armed failure has happened since the last call. */
int sr_alloc_fail_nth(unsigned nth);

/* A bump allocator for what lives as long as one request: many small pieces, one release. */
struct sr_arena {
    struct sr_arena_block *head;
    size_t used_bytes;  /* handed out since the last reset */
    size_t limit_bytes; /* beyond this sr_arena_alloc returns NULL */
};

void sr_arena_init(struct sr_arena *arena, size_t limit_bytes);
/* 16-byte aligned; NULL when the limit is reached or memory is short. */
void *sr_arena_alloc(struct sr_arena *arena, size_t size);
/* Forget all pieces; keeps the first block for reuse. */
void sr_arena_reset(struct sr_arena *arena);
void sr_arena_close(struct sr_arena *arena);

#endif
