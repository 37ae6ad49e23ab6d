/* SPDX-License-Identifier: Apache-2.0
 *
 * LMDB's file in bytes, and reading it page by page.
 *
 *   page      number u64, unused 2, flags u16, then lower u16 and upper u16, or pages u32
 *   meta      page header, magic u32, version u32, address u64, map size u64, two trees (free and
 *             main), last page u64, transaction u64; in pages 0 and 1, by the transaction's parity
 *   tree      page size or 0 u32, flags u16, depth u16, branch, leaf and overflow pages u64 each,
 *             entries u64, root u64
 *   node      at offsets listed from byte 16 to lower, from upper to the end without gaps, each
 *             begun at an even byte: 4 + 2 bytes of value size and flags (leaf), or 6 of page
 *             number (branch), key size u16, key, and in a leaf the value or where it is
 */
#ifndef SR_STORAGE_PAGES_IMPL_H
#define SR_STORAGE_PAGES_IMPL_H

#include <stdbool.h>

#include "storage/pages.h"

#define PAGE_HEADER      16u
#define PAGE_BRANCH      0x01u
#define PAGE_LEAF        0x02u
#define PAGE_OVERFLOW    0x04u
#define PAGE_META        0x08u
#define PAGE_NONE        UINT64_MAX
#define NODE_HEADER      8u
#define NODE_BIG         0x01u
#define NODE_TREE        0x02u
#define TREE_BYTES       48u
#define TREE_INTEGER_KEY 0x08u
#define DEPTH_MAX        32u

struct sr_page_tree {
    uint16_t flags;
    uint16_t depth;
    uint64_t branch_pages;
    uint64_t leaf_pages;
    uint64_t overflow_pages;
    uint64_t entries;
    uint64_t root; /* PAGE_NONE: empty */
};

struct sr_page_file {
    int fd;
    uint32_t page_size;
    uint64_t pages;     /* whole ones in the file */
    uint64_t last_page; /* that was ever used */
    uint64_t transaction;
    struct sr_page_tree free;
    struct sr_page_tree main;
    uint8_t *used; /* a bit a page */
};

static inline uint16_t sr_page_u16(const uint8_t *at)
{
    uint16_t value;
    __builtin_memcpy(&value, at, sizeof(value));
    return value;
}

static inline uint32_t sr_page_u32(const uint8_t *at)
{
    uint32_t value;
    __builtin_memcpy(&value, at, sizeof(value));
    return value;
}

static inline uint64_t sr_page_u64(const uint8_t *at)
{
    uint64_t value;
    __builtin_memcpy(&value, at, sizeof(value));
    return value;
}

/* Open @path and read its metas. @ret_empty: there is nothing in it yet, and nothing to close. */
int sr_page_file_open(struct sr_page_file *file, const char *path, bool *ret_empty,
                      struct sr_err *err);
void sr_page_file_close(struct sr_page_file *file);
void sr_page_tree_read(const uint8_t bytes[TREE_BYTES], struct sr_page_tree *ret);
/* Mark @page used. SR_CORRUPT when it is none of the file's, or used already. */
int sr_page_take(struct sr_page_file *file, uint64_t page, struct sr_err *err);
/* Take @page and read it to @out (page_size bytes). */
int sr_page_read(struct sr_page_file *file, uint64_t page, uint8_t *out, struct sr_err *err);
/* Take the overflow pages from @page on, and append the @size bytes in them to @out.
 * @ret_pages: how many they are. */
int sr_page_read_big(struct sr_page_file *file, uint64_t page, size_t size, struct sr_buf *out,
                     uint64_t *ret_pages, struct sr_err *err);

#endif
