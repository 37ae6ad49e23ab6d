/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/pages.h"

#include <inttypes.h>
#include <string.h>

#include "base/alloc.h"
#include "base/check.h"
#include "storage/pages_impl.h"

#define KEY_BYTES_MAX 511u

/* A walk through one tree, from left to right. */
struct walk {
    struct sr_page_file *file;
    const struct sr_page_tree *tree;
    const struct sr_pages_visitor *visitor; /* compare NULL: in any order */
    uint8_t *pages;                         /* one of each level */
    uint64_t branch_pages;
    uint64_t leaf_pages;
    uint64_t overflow_pages;
    uint64_t entries;
    /* The key or separator before; the next key may be equal to a separator. */
    uint8_t before[KEY_BYTES_MAX];
    size_t before_size;
    bool has_before;
    bool is_separator;
    struct sr_buf big;
};

/* A node of a page, within its bounds. */
struct node {
    struct sr_bytes key;
    uint64_t child;   /* of a branch */
    uint16_t flags;   /* of a leaf */
    size_t data_size; /* likewise; the data itself, or a page number with NODE_BIG */
    const uint8_t *data;
};

static int walk_page(struct walk *walk, uint64_t number, unsigned level, struct sr_err *err);

/* ---- One page ---- */

static size_t count_of(const uint8_t *page)
{
    return (sr_page_u16(page + 12) - PAGE_HEADER) / 2;
}

/* Whether the space between the header and the end is divided into offsets, nothing and nodes. */
static bool has_sane_header(size_t page_size, const uint8_t *page)
{
    size_t lower = sr_page_u16(page + 12);
    size_t upper = sr_page_u16(page + 14);

    return lower > PAGE_HEADER && lower % 2 == 0 && lower <= upper && upper <= page_size;
}

/* Node @i of @page; false when it is not within the page. @ret_size: its bytes there. */
static bool node_of(size_t page_size, const uint8_t *page, size_t i, struct node *ret,
                    size_t *ret_size)
{
    size_t at = sr_page_u16(page + PAGE_HEADER + 2 * i);
    bool leaf = sr_page_u16(page + 10) == PAGE_LEAF;
    const uint8_t *node = page + at;
    size_t size;

    if (at < sr_page_u16(page + 14) || at % 2 != 0 || at + NODE_HEADER > page_size) {
        return false;
    }
    ret->key = (struct sr_bytes){node + NODE_HEADER, sr_page_u16(node + 6)};
    ret->flags = leaf ? sr_page_u16(node + 4) : 0;
    ret->child = sr_page_u32(node) | (uint64_t)sr_page_u16(node + 4) << 32;
    ret->data_size = leaf ? sr_page_u32(node) : 0;
    size = NODE_HEADER + ret->key.size;
    if (leaf) {
        size += (ret->flags & NODE_BIG) != 0 ? sizeof(uint64_t) : ret->data_size;
    }
    if (size > page_size - at || ret->key.size > KEY_BYTES_MAX) {
        return false;
    }
    ret->data = node + NODE_HEADER + ret->key.size;
    *ret_size = size + size % 2;
    return true;
}

/* Nodes lie one after the other at the end of the page: together they fill it exactly, and none
 * begins where another one does. */
static bool has_sane_nodes(size_t page_size, const uint8_t *page)
{
    size_t total = 0;

    for (size_t i = 0; i < count_of(page); i++) {
        struct node node;
        size_t size;
        if (!node_of(page_size, page, i, &node, &size)) {
            return false;
        }
        total += size;
    }
    return total == page_size - sr_page_u16(page + 14);
}

bool sr_pages_leaf_is_whole(const void *inside, size_t page_bytes)
{
    const uint8_t *page = (const uint8_t *)inside - (uintptr_t)inside % page_bytes;

    return sr_page_u16(page + 10) == PAGE_LEAF && has_sane_header(page_bytes, page) &&
           has_sane_nodes(page_bytes, page);
}

/* ---- Order ---- */

static int compare(const struct walk *walk, struct sr_bytes key)
{
    struct sr_bytes before = {walk->before, walk->before_size};

    return walk->visitor->compare(walk->visitor->arg, before, key);
}

static int check_order(struct walk *walk, struct sr_bytes key, bool separator, struct sr_err *err)
{
    if (walk->visitor->compare == NULL) {
        return SR_OK;
    }
    if (walk->has_before) {
        int order = compare(walk, key);
        if (order > 0 || (order == 0 && (separator || !walk->is_separator))) {
            return sr_err_set(err, SR_CORRUPT, "keys are not in order");
        }
    }
    memcpy(walk->before, key.data, key.size);
    walk->before_size = key.size;
    walk->has_before = true;
    walk->is_separator = separator;
    return SR_OK;
}

/* ---- The tree ---- */

static int walk_entry(struct walk *walk, const struct node *node, struct sr_err *err)
{
    struct sr_bytes value = {node->data, node->data_size};
    uint64_t pages = 0;
    int rc;

    walk->entries++;
    if ((node->flags & ~(NODE_BIG | NODE_TREE)) != 0 || node->key.size == 0) {
        return sr_err_set(err, SR_CORRUPT, "an impossible entry");
    }
    rc = check_order(walk, node->key, false, err);
    if (rc == SR_OK && (node->flags & NODE_BIG) != 0) {
        sr_buf_clear(&walk->big);
        rc = sr_page_read_big(walk->file, sr_page_u64(node->data), node->data_size, &walk->big,
                              &pages, err);
        value.data = walk->big.data;
    }
    walk->overflow_pages += pages;
    if (rc == SR_OK && walk->visitor->entry != NULL) {
        rc = walk->visitor->entry(walk->visitor->arg, node->key, value, err);
    }
    return rc;
}

static int walk_leaf(struct walk *walk, const uint8_t *page, struct sr_err *err)
{
    int rc = SR_OK;

    walk->leaf_pages++;
    for (size_t i = 0; rc == SR_OK && i < count_of(page); i++) {
        struct node node;
        size_t size;
        sr_check(node_of(walk->file->page_size, page, i, &node, &size));
        rc = walk_entry(walk, &node, err);
    }
    return rc;
}

/* The key of the first node is not used: everything that is less than the second goes there. */
static int walk_branch(struct walk *walk, const uint8_t *page, unsigned level, struct sr_err *err)
{
    int rc = SR_OK;

    walk->branch_pages++;
    if (count_of(page) < 2) {
        return sr_err_set(err, SR_CORRUPT, "a branch with one child");
    }
    for (size_t i = 0; rc == SR_OK && i < count_of(page); i++) {
        struct node node;
        size_t size;
        sr_check(node_of(walk->file->page_size, page, i, &node, &size));
        if (i > 0) {
            rc = check_order(walk, node.key, true, err);
        }
        if (rc == SR_OK) {
            rc = walk_page(walk, node.child, level + 1, err);
        }
    }
    return rc;
}

static int walk_page(struct walk *walk, uint64_t number, unsigned level, struct sr_err *err)
{
    uint8_t *page = walk->pages + (size_t)level * walk->file->page_size;
    bool leaf = level + 1 == walk->tree->depth;
    int rc = sr_page_read(walk->file, number, page, err);

    if (rc == SR_OK && (sr_page_u16(page + 10) != (leaf ? PAGE_LEAF : PAGE_BRANCH) ||
                        !has_sane_header(walk->file->page_size, page) ||
                        !has_sane_nodes(walk->file->page_size, page))) {
        rc = sr_err_set(err, SR_CORRUPT, "its structure is damaged");
    }
    if (rc == SR_OK) {
        rc = leaf ? walk_leaf(walk, page, err) : walk_branch(walk, page, level, err);
    } else {
        (void)sr_err_prefix(err, "page %" PRIu64, number);
    }
    return rc;
}

static bool counts_agree(const struct walk *walk)
{
    const struct sr_page_tree *tree = walk->tree;

    return walk->branch_pages == tree->branch_pages && walk->leaf_pages == tree->leaf_pages &&
           walk->overflow_pages == tree->overflow_pages && walk->entries == tree->entries;
}

static int walk_tree(struct sr_page_file *file, const struct sr_page_tree *tree,
                     const struct sr_pages_visitor *visitor, const char *name, struct sr_err *err)
{
    struct walk walk = {.file = file, .tree = tree, .visitor = visitor};
    int rc = SR_OK;

    if ((tree->root == PAGE_NONE) != (tree->depth == 0) || tree->depth > DEPTH_MAX) {
        return sr_err_set(err, SR_CORRUPT, "table %s: impossible depth %u", name, tree->depth);
    }
    walk.pages = sr_alloc((size_t)file->page_size * (tree->depth + 1u));
    if (tree->depth > 0) {
        rc = walk_page(&walk, tree->root, 0, err);
    }
    if (rc == SR_OK && !counts_agree(&walk)) {
        rc = sr_err_set(err, SR_CORRUPT, "%" PRIu64 " entries instead of %" PRIu64, walk.entries,
                        tree->entries);
    }
    sr_free(walk.pages);
    sr_buf_close(&walk.big);
    return rc == SR_OK ? SR_OK : sr_err_prefix(err, "table %s", name);
}

/* ---- Tables ---- */

static int compare_bytes(void *arg, struct sr_bytes a, struct sr_bytes b)
{
    size_t size = a.size < b.size ? a.size : b.size;
    int order = memcmp(a.data, b.data, size);

    (void)arg;
    return order != 0 ? order : (a.size > b.size) - (a.size < b.size);
}

struct tables {
    struct sr_page_file *file;
    const char *unordered;    /* check all: but for the order of this one */
    const char *wanted;       /* or find this one */
    struct sr_page_tree tree; /* found */
    bool found;
};

static int visit_table(void *arg, struct sr_bytes key, struct sr_bytes value, struct sr_err *err)
{
    struct tables *tables = arg;
    static const struct sr_pages_visitor ordered = {.compare = compare_bytes};
    static const struct sr_pages_visitor in_any_order = {0};
    const char *name = tables->wanted != NULL ? tables->wanted : tables->unordered;
    bool same = sr_bytes_equal(key, sr_bytes_of(name));
    struct sr_page_tree tree;
    char text[32];

    if (value.size != TREE_BYTES || key.size >= sizeof(text)) {
        return sr_err_set(err, SR_CORRUPT, "not a table");
    }
    memcpy(text, key.data, key.size);
    text[key.size] = '\0';
    sr_page_tree_read(value.data, &tree);
    if (tree.flags != 0) {
        return sr_err_set(err, SR_CORRUPT, "table %s: flags %#x", text, tree.flags);
    }
    if (tables->wanted == NULL) {
        return walk_tree(tables->file, &tree, same ? &in_any_order : &ordered, text, err);
    }
    if (same) {
        tables->tree = tree;
        tables->found = true;
    }
    return SR_OK;
}

static int walk_tables(struct tables *tables, struct sr_err *err)
{
    struct sr_pages_visitor visitor = {
        .compare = compare_bytes, .entry = visit_table, .arg = tables};

    if (tables->file->main.flags != 0) {
        return sr_err_set(err, SR_CORRUPT, "flags %#x", tables->file->main.flags);
    }
    return walk_tree(tables->file, &tables->file->main, &visitor, "main", err);
}

/* ---- The free list ---- */

static int compare_numbers(void *arg, struct sr_bytes a, struct sr_bytes b)
{
    uint64_t x = a.size == sizeof(x) ? sr_page_u64(a.data) : 0;
    uint64_t y = b.size == sizeof(y) ? sr_page_u64(b.data) : 0;

    (void)arg;
    return (x > y) - (x < y);
}

/* Transaction number u64; then how many pages u64, and these, descending. */
static int visit_free(void *arg, struct sr_bytes key, struct sr_bytes value, struct sr_err *err)
{
    struct sr_page_file *file = arg;
    uint64_t count = value.size >= 8 ? sr_page_u64(value.data) : 0;
    uint64_t above = UINT64_MAX;

    if (key.size != 8 || sr_page_u64(key.data) == 0 || sr_page_u64(key.data) > file->transaction ||
        value.size < 8 || value.size % 8 != 0 || count > value.size / 8 - 1) {
        return sr_err_set(err, SR_CORRUPT, "a damaged entry");
    }
    for (uint64_t i = 1; i <= count; i++) {
        uint64_t page = sr_page_u64(value.data + 8 * i);
        if (page >= above) {
            return sr_err_set(err, SR_CORRUPT, "pages are not in order");
        }
        int rc = sr_page_take(file, page, err);
        if (rc != SR_OK) {
            return rc;
        }
        above = page;
    }
    return SR_OK;
}

/* After the tables, so that what is used cannot be free; pages of the list itself are taken as it
 * is read. */
static int check_free(struct sr_page_file *file, struct sr_err *err)
{
    struct sr_pages_visitor visitor = {
        .compare = compare_numbers, .entry = visit_free, .arg = file};

    if (file->free.flags != TREE_INTEGER_KEY) {
        return sr_err_set(err, SR_CORRUPT, "free pages: flags %#x", file->free.flags);
    }
    return walk_tree(file, &file->free, &visitor, "of free pages", err);
}

/* ---- From outside ---- */

int sr_pages_check(const char *path, const char *unordered, bool *ret_empty, struct sr_err *err)
{
    struct sr_page_file file;
    struct tables tables = {.file = &file, .unordered = unordered};
    int rc = sr_page_file_open(&file, path, ret_empty, err);

    if (rc == SR_OK && !*ret_empty) {
        rc = walk_tables(&tables, err);
        if (rc == SR_OK) {
            rc = check_free(&file, err);
        }
        sr_page_file_close(&file);
    }
    return rc == SR_OK ? SR_OK : sr_err_prefix(err, "%s", path);
}

int sr_pages_check_table(const char *path, const char *name, const struct sr_pages_visitor *visitor,
                         struct sr_err *err)
{
    struct sr_page_file file;
    struct tables tables = {.file = &file, .wanted = name};
    bool empty = false;
    int rc = sr_page_file_open(&file, path, &empty, err);

    if (rc != SR_OK || empty) {
        return rc == SR_OK ? sr_err_set(err, SR_CORRUPT, "%s is empty", path)
                           : sr_err_prefix(err, "%s", path);
    }
    rc = walk_tables(&tables, err);
    if (rc == SR_OK && !tables.found) {
        rc = sr_err_set(err, SR_CORRUPT, "there is no table %s", name);
    }
    if (rc == SR_OK) {
        rc = walk_tree(&file, &tables.tree, visitor, name, err);
    }
    sr_page_file_close(&file);
    return rc == SR_OK ? SR_OK : sr_err_prefix(err, "%s", path);
}
