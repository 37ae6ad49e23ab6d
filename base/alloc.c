/* SPDX-License-Identifier: Apache-2.0 */
#include "base/alloc.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

#define ARENA_BLOCK_BYTES ((size_t)8192)
#define ARENA_ALIGN       ((size_t)16)

struct sr_arena_block {
    struct sr_arena_block *next;
    size_t size; /* of data */
    size_t used;
    _Alignas(16) uint8_t data[];
};

static _Thread_local unsigned fail_countdown;
static _Thread_local int fail_happened;

static void *must(void *memory, size_t size)
{
    if (memory == NULL) {
        fprintf(stderr, "level=fatal part=alloc msg=\"out of memory\" bytes=%zu\n", size);
        abort();
    }
    return memory;
}

void *sr_alloc(size_t size)
{
    return must(malloc(size == 0 ? 1 : size), size);
}

void *sr_zalloc(size_t size)
{
    return must(calloc(1, size == 0 ? 1 : size), size);
}

void *sr_calloc(size_t count, size_t size)
{
    size_t total = 0;
    sr_check(!__builtin_mul_overflow(count, size, &total));
    return sr_zalloc(total);
}

void *sr_realloc(void *memory, size_t size)
{
    return must(realloc(memory, size == 0 ? 1 : size), size);
}

void *sr_memdup(const void *memory, size_t size)
{
    void *copy = sr_alloc(size);
    if (size > 0) {
        memcpy(copy, memory, size);
    }
    return copy;
}

char *sr_strdup(const char *text)
{
    return sr_memdup(text, strlen(text) + 1);
}

static int fails_now(void)
{
    if (fail_countdown == 0 || --fail_countdown > 0) {
        return 0;
    }
    fail_happened = 1;
    return 1;
}

void *sr_try_alloc(size_t size)
{
    return fails_now() ? NULL : malloc(size == 0 ? 1 : size);
}

void *sr_try_realloc(void *memory, size_t size)
{
    return fails_now() ? NULL : realloc(memory, size == 0 ? 1 : size);
}

void sr_free(void *memory)
{
    free(memory);
}

int sr_alloc_fail_nth(unsigned nth)
{
    int happened = fail_happened;
    fail_happened = 0;
    fail_countdown = nth;
    return happened;
}

void sr_arena_init(struct sr_arena *arena, size_t limit_bytes)
{
    *arena = (struct sr_arena){.limit_bytes = limit_bytes};
}

static struct sr_arena_block *arena_grow(struct sr_arena *arena, size_t size)
{
    size_t data_size = size > ARENA_BLOCK_BYTES ? size : ARENA_BLOCK_BYTES;
    struct sr_arena_block *block = sr_try_alloc(sizeof(*block) + data_size);
    if (block == NULL) {
        return NULL;
    }
    *block = (struct sr_arena_block){.next = arena->head, .size = data_size};
    arena->head = block;
    return block;
}

void *sr_arena_alloc(struct sr_arena *arena, size_t size)
{
    if (size > arena->limit_bytes || arena->used_bytes > arena->limit_bytes - size) {
        return NULL;
    }
    size_t rounded = (size + ARENA_ALIGN - 1) & ~(ARENA_ALIGN - 1);
    struct sr_arena_block *block = arena->head;
    if (block == NULL || block->size - block->used < rounded) {
        block = arena_grow(arena, rounded);
        if (block == NULL) {
            return NULL;
        }
    }
    void *memory = block->data + block->used;
    block->used += rounded;
    arena->used_bytes += rounded;
    return memory;
}

void sr_arena_reset(struct sr_arena *arena)
{
    struct sr_arena_block *keep = NULL;
    struct sr_arena_block *block = arena->head;
    while (block != NULL) {
        struct sr_arena_block *next = block->next;
        if (next == NULL && block->size == ARENA_BLOCK_BYTES) {
            keep = block;
        } else {
            sr_free(block);
        }
        block = next;
    }
    if (keep != NULL) {
        keep->used = 0;
    }
    arena->head = keep;
    arena->used_bytes = 0;
}

void sr_arena_close(struct sr_arena *arena)
{
    while (arena->head != NULL) {
        struct sr_arena_block *next = arena->head->next;
        sr_free(arena->head);
        arena->head = next;
    }
    arena->used_bytes = 0;
}
