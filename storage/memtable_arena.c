/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/memtable_arena.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>

#include "base/check.h"
#include "base/secret.h"

/* A small table takes a small block; from the second on they are what a huge page covers: walks
 * through a table miss the processor's address cache at every step otherwise. */
#define FIRST_BLOCK_BYTES ((size_t)256 * 1024)
#define HUGE_BYTES        ((size_t)2 * 1024 * 1024)

struct sr_plain_block {
    struct sr_plain_block *next;
    size_t size; /* of the mapping */
    size_t used; /* set when the block is no longer filled */
};

static char *map(size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    /* As sr_alloc: a node that cannot get memory within its bounds stops. */
    sr_check(memory != MAP_FAILED);
    return memory;
}

void *sr_huge_map(size_t size)
{
    size_t mapped = size + HUGE_BYTES;
    char *memory = map(mapped);
    size_t before = -(uintptr_t)memory % HUGE_BYTES;

    sr_check(size % HUGE_BYTES == 0);
    if (before > 0) {
        (void)munmap(memory, before);
    }
    if (before < HUGE_BYTES) {
        (void)munmap(memory + before + size, HUGE_BYTES - before);
    }
    (void)madvise(memory + before, size, MADV_HUGEPAGE); /* small pages do as well */
    return memory + before;
}

static struct sr_plain_block *block_new(size_t size, bool first)
{
    struct sr_plain_block *block;
    size_t unit = first ? FIRST_BLOCK_BYTES : HUGE_BYTES;

    size = (size + sizeof(*block) + unit - 1) / unit * unit;
    block = (struct sr_plain_block *)(first ? (void *)map(size) : sr_huge_map(size));
    /* Fails only on kernels without the advice; then the process is undumpable all the same. */
    (void)madvise(block, size, MADV_DONTDUMP);
    block->size = size;
    return block;
}

void *sr_plain_alloc(struct sr_plain_arena *arena, size_t size)
{
    struct sr_plain_block *block = arena->blocks;
    void *piece;

    size = (size + 7) & ~(size_t)7;
    if (block == NULL || size > block->size - arena->used) {
        if (block != NULL) {
            block->used = arena->used;
            arena->before += arena->used;
        }
        block = block_new(size, block == NULL);
        block->next = arena->blocks;
        arena->blocks = block;
        arena->used = sizeof(*block);
    }
    piece = (char *)block + arena->used;
    arena->used += size;
    return piece;
}

void sr_plain_close(struct sr_plain_arena *arena)
{
    struct sr_plain_block *block = arena->blocks;

    if (block != NULL) {
        block->used = arena->used;
    }
    while (block != NULL) {
        struct sr_plain_block *next = block->next;
        size_t mapped = block->size;
        sr_secret_wipe(block, block->used);
        munmap(block, mapped);
        block = next;
    }
    *arena = (struct sr_plain_arena){0};
}
