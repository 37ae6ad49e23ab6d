/* SPDX-License-Identifier: Apache-2.0
 *
 * The pages of LMDB's file, looked at before LMDB trusts them.
 *
 * LMDB has no checksums: it believes every page number, offset and size that it reads. What is
 * sealed in the values is authenticated when it is read, but a flipped bit in a page's structure
 * can hide a key, show an old page, or crash the process. So the file is checked when it is opened,
 * without LMDB and without trust:
 *
 *   metas     both, and how they follow on one another
 *   trees     each page is of the kind and at the place that it should be, within the file, used
 *             once and not free; its nodes are within it and fill it without gaps; keys and the
 *             separators above them are in order; pages and entries are as many as were counted
 *   free      the list of free pages is in order and names pages of the file, each once
 *
 * The format is that of LMDB 0.9 with 64-bit words, little-endian, as this machine writes it.
 * One thread; nobody may write to the file meanwhile.
 */
#ifndef SR_STORAGE_PAGES_H
#define SR_STORAGE_PAGES_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"

/* What is looked at in one table. */
struct sr_pages_visitor {
    int (*compare)(void *arg, struct sr_bytes a, struct sr_bytes b);
    /* Each entry, in order; NULL: nothing more to check. Not SR_OK ends the walk. */
    int (*entry)(void *arg, struct sr_bytes key, struct sr_bytes value, struct sr_err *err);
    void *arg;
};

/* Check @path but for the order of table @unordered, whose comparator is not known yet. A file
 * that is missing or empty is fine (@ret_empty). SR_CORRUPT, SR_FORMAT (not what LMDB 0.9 writes
 * here), SR_IO. */
int sr_pages_check(const char *path, const char *unordered, bool *ret_empty, struct sr_err *err);
/* Check table @name of a file that passed sr_pages_check, its order and entries. */
int sr_pages_check_table(const char *path, const char *name, const struct sr_pages_visitor *visitor,
                         struct sr_err *err);
/* Whether the leaf of a read transaction that holds @inside, a key in LMDB's map, has the structure
 * of one. Cheap: some nanoseconds a node. */
bool sr_pages_leaf_is_whole(const void *inside, size_t page_bytes);

#endif
