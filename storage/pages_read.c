/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "storage/file.h"
#include "storage/pages_impl.h"

#define META_MAGIC    UINT32_C(0xBEEFC0DE)
#define META_VERSION  1u
#define META_BYTES    136u
#define UNWRITTEN_MAX (UINT64_C(1) << 20)
#define METAS         2u
#define PAGE_SIZE_MIN 512u
#define PAGE_SIZE_MAX 32768u

struct meta {
    uint32_t page_size;
    uint64_t last_page;
    uint64_t transaction;
    struct sr_page_tree free;
    struct sr_page_tree main;
};

static int read_at(const struct sr_page_file *file, uint64_t offset, void *out, size_t size,
                   struct sr_err *err)
{
    int64_t got = sr_file_pread(file->fd, out, size, offset);

    if (got < 0) {
        return sr_err_errno(err, SR_IO, (int)-got, "read at %" PRIu64, offset);
    }
    if ((uint64_t)got != size) {
        return sr_err_set(err, SR_CORRUPT, "cut off at %" PRIu64, offset + (uint64_t)got);
    }
    return SR_OK;
}

void sr_page_tree_read(const uint8_t bytes[TREE_BYTES], struct sr_page_tree *ret)
{
    *ret = (struct sr_page_tree){
        .flags = sr_page_u16(bytes + 4),
        .depth = sr_page_u16(bytes + 6),
        .branch_pages = sr_page_u64(bytes + 8),
        .leaf_pages = sr_page_u64(bytes + 16),
        .overflow_pages = sr_page_u64(bytes + 24),
        .entries = sr_page_u64(bytes + 32),
        .root = sr_page_u64(bytes + 40),
    };
}

/* ---- Metas ---- */

static int read_meta(const struct sr_page_file *file, uint64_t page, uint64_t offset,
                     struct meta *ret, struct sr_err *err)
{
    uint8_t bytes[PAGE_HEADER + META_BYTES];
    const uint8_t *meta = bytes + PAGE_HEADER;
    int rc = read_at(file, offset, bytes, sizeof(bytes), err);

    if (rc != SR_OK) {
        return rc;
    }
    if (sr_page_u16(bytes + 10) != PAGE_META || sr_page_u64(bytes) != page ||
        sr_page_u32(meta) != META_MAGIC) {
        return sr_err_set(err, SR_CORRUPT, "page %" PRIu64 " is no meta page", page);
    }
    if (sr_page_u32(meta + 4) != META_VERSION) {
        return sr_err_set(err, SR_FORMAT, "format %u of LMDB", sr_page_u32(meta + 4));
    }
    ret->page_size = sr_page_u32(meta + 24);
    sr_page_tree_read(meta + 24, &ret->free);
    sr_page_tree_read(meta + 24 + TREE_BYTES, &ret->main);
    ret->last_page = sr_page_u64(meta + 24 + 2 * TREE_BYTES);
    ret->transaction = sr_page_u64(meta + 32 + 2 * TREE_BYTES);
    if (ret->page_size < PAGE_SIZE_MIN || ret->page_size > PAGE_SIZE_MAX ||
        (ret->page_size & (ret->page_size - 1)) != 0) {
        return sr_err_set(err, SR_CORRUPT, "meta %" PRIu64 ": pages of %u bytes", page,
                          ret->page_size);
    }
    return SR_OK;
}

/* Transactions alternate between the metas, so that the two differ by one, and each is in its
 * place. Before the first both are 0. */
static int check_metas(const struct meta metas[METAS], struct sr_err *err)
{
    uint64_t even = metas[0].transaction;
    uint64_t odd = metas[1].transaction;

    if (metas[0].page_size != metas[1].page_size) {
        return sr_err_set(err, SR_CORRUPT, "the metas differ in the size of a page");
    }
    if ((even == 0 && odd == 0) ||
        (even % 2 == 0 && odd % 2 == 1 && (even + 1 == odd || odd + 1 == even))) {
        return SR_OK;
    }
    return sr_err_set(err, SR_CORRUPT, "metas of transactions %" PRIu64 " and %" PRIu64, even, odd);
}

static int open_metas(struct sr_page_file *file, uint64_t bytes, struct sr_err *err)
{
    struct meta metas[METAS];
    const struct meta *newest;
    int rc = read_meta(file, 0, 0, &metas[0], err);

    if (rc == SR_OK) {
        rc = read_meta(file, 1, metas[0].page_size, &metas[1], err);
    }
    if (rc == SR_OK) {
        rc = check_metas(metas, err);
    }
    if (rc != SR_OK) {
        return rc;
    }
    newest = &metas[metas[1].transaction > metas[0].transaction];
    file->page_size = newest->page_size;
    file->pages = bytes / newest->page_size;
    file->last_page = newest->last_page;
    file->transaction = newest->transaction;
    file->free = newest->free;
    file->main = newest->main;
    /* Free pages at the end may never have been written, but no more than one transaction has. That
     * the file was cut is found by the pages that are used. */
    if (file->last_page < 1 || file->last_page > file->pages + UNWRITTEN_MAX) {
        return sr_err_set(err, SR_CORRUPT, "%" PRIu64 " pages", file->last_page);
    }
    file->used = sr_try_alloc(file->last_page / 8 + 1);
    if (file->used == NULL) {
        return sr_err_set(err, SR_LIMIT, "no memory for %" PRIu64 " pages", file->last_page);
    }
    memset(file->used, 0, file->last_page / 8 + 1);
    return SR_OK;
}

int sr_page_file_open(struct sr_page_file *file, const char *path, bool *ret_empty,
                      struct sr_err *err)
{
    struct stat info;
    int rc = SR_OK;

    *file = (struct sr_page_file){.fd = open(path, O_RDONLY | O_CLOEXEC)};
    *ret_empty = false;
    if (file->fd < 0 && errno == ENOENT) {
        *ret_empty = true;
        return SR_OK;
    }
    if (file->fd < 0) {
        return sr_err_errno(err, SR_IO, errno, "open");
    }
    if (fstat(file->fd, &info) != 0) {
        rc = sr_err_errno(err, SR_IO, errno, "stat");
    } else if (info.st_size == 0) {
        *ret_empty = true;
    } else {
        rc = open_metas(file, (uint64_t)info.st_size, err);
    }
    if (rc != SR_OK || *ret_empty) {
        sr_page_file_close(file);
    }
    return rc;
}

void sr_page_file_close(struct sr_page_file *file)
{
    if (file->fd >= 0) {
        (void)close(file->fd);
    }
    sr_free(file->used);
    file->used = NULL;
    file->fd = -1;
}

/* ---- Pages ---- */

static bool is_used(const struct sr_page_file *file, uint64_t page)
{
    return (file->used[page / 8] >> (page % 8) & 1) != 0;
}

int sr_page_take(struct sr_page_file *file, uint64_t page, struct sr_err *err)
{
    if (page < METAS || page > file->last_page) {
        return sr_err_set(err, SR_CORRUPT, "page %" PRIu64 " of %" PRIu64, page, file->last_page);
    }
    if (is_used(file, page)) {
        return sr_err_set(err, SR_CORRUPT, "page %" PRIu64 " is used twice", page);
    }
    file->used[page / 8] |= (uint8_t)(1u << (page % 8));
    return SR_OK;
}

int sr_page_read(struct sr_page_file *file, uint64_t page, uint8_t *out, struct sr_err *err)
{
    int rc = sr_page_take(file, page, err);

    if (rc == SR_OK) {
        rc = read_at(file, page * file->page_size, out, file->page_size, err);
    }
    if (rc == SR_OK && sr_page_u64(out) != page) {
        rc = sr_err_set(err, SR_CORRUPT, "page %" PRIu64 " says that it is %" PRIu64, page,
                        sr_page_u64(out));
    }
    return rc;
}

int sr_page_read_big(struct sr_page_file *file, uint64_t page, size_t size, struct sr_buf *out,
                     uint64_t *ret_pages, struct sr_err *err)
{
    uint8_t header[PAGE_HEADER];
    uint64_t least = (PAGE_HEADER + (uint64_t)size + file->page_size - 1) / file->page_size;
    uint64_t pages;
    int rc = sr_page_take(file, page, err);

    if (rc == SR_OK) {
        rc = read_at(file, page * file->page_size, header, sizeof(header), err);
    }
    if (rc != SR_OK) {
        return rc;
    }
    pages = sr_page_u32(header + 12);
    if (sr_page_u64(header) != page || sr_page_u16(header + 10) != PAGE_OVERFLOW || pages < least ||
        pages > file->last_page) {
        return sr_err_set(err, SR_CORRUPT, "page %" PRIu64 " does not begin a large value", page);
    }
    if (least > file->pages || page > file->pages - least) { /* before there is memory for it */
        return sr_err_set(err, SR_CORRUPT, "the large value of page %" PRIu64 " is cut off", page);
    }
    for (uint64_t i = 1; rc == SR_OK && i < pages; i++) {
        rc = sr_page_take(file, page + i, err);
    }
    if (rc == SR_OK) {
        rc = read_at(file, page * file->page_size + PAGE_HEADER, sr_buf_extend(out, size), size,
                     err);
    }
    *ret_pages = pages;
    return rc;
}
