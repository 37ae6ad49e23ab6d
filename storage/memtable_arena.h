/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory of one memtable: handed out piece by piece, released at once. It holds plaintext, so it
 * is kept out of core dumps and wiped before it goes back to the system.
 */
#ifndef SR_STORAGE_MEMTABLE_ARENA_H
#define SR_STORAGE_MEMTABLE_ARENA_H

#include <stddef.h>

struct sr_plain_block;

/* Zero-initialised is empty and valid. */
struct sr_plain_arena {
    struct sr_plain_block *blocks; /* the one being filled first */
    size_t used;                   /* of that one */
    size_t before;                 /* of the others */
};

/* @size bytes, zeroed, aligned to 8. Never NULL. */
void *sr_plain_alloc(struct sr_plain_arena *arena, size_t size);
static inline size_t sr_plain_bytes(const struct sr_plain_arena *arena)
{
    return arena->before + arena->used;
}
void sr_plain_close(struct sr_plain_arena *arena);

/* @size zeroed bytes, a multiple of 2 MiB and aligned to it, on huge pages if the system has them.
 * Never NULL. To be unmapped by munmap. */
void *sr_huge_map(size_t size);

#endif
