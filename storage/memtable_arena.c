/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/memtable_arena.h"

#include <sys/mman.h>

#include "base/check.h"
#include "base/secret.h"

#define BLOCK_BYTES ((size_t)1024 * 1024)

struct sr_plain_block {
    struct sr_plain_block *next;
    size_t size; /* of the mapping */
    size_t used; /* set when the block is no longer filled */
};

static struct sr_plain_block *block_map(size_t size)
{
    struct sr_plain_block *block =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    /* As sr_alloc: a node that cannot get memory within its bounds stops. */
    sr_check(block != MAP_FAILED);
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
        size_t header = sizeof(struct sr_plain_block);
        size_t mapped = BLOCK_BYTES;
        if (size > BLOCK_BYTES - header)
            mapped = (size + header + 4095) & ~(size_t)4095;
        if (block != NULL)
            block->used = arena->used;
        block = block_map(mapped);
        block->next = arena->blocks;
        arena->blocks = block;
        arena->used = header;
    }
    piece = (char *)block + arena->used;
    arena->used += size;
    return piece;
}

void sr_plain_close(struct sr_plain_arena *arena)
{
    struct sr_plain_block *block = arena->blocks;

    if (block != NULL)
        block->used = arena->used;
    while (block != NULL) {
        struct sr_plain_block *next = block->next;
        size_t mapped = block->size;
        sr_secret_wipe(block, block->used);
        munmap(block, mapped);
        block = next;
    }
    *arena = (struct sr_plain_arena){0};
}
