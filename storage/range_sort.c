/* SPDX-License-Identifier: Apache-2.0
 *
 * Ties stay in key order, in both directions: etcd leaves them open, and does it so for short
 * lists.
 */
#include "storage/range_sort.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "proto/limits.h"

/* Cut to the limit when so many have gathered, or twice the limit. */
#define CUT_COUNT_MIN 4096

struct item {
    int64_t number; /* what it is sorted by, unless by key or value */
    uint64_t place; /* in key order */
    uint32_t key_size;
    uint32_t value_size; /* kept only for sorting by it */
    uint8_t bytes[];     /* key, value */
};

struct sr_range_sorter {
    const Etcdserverpb__RangeRequest *request;
    bool descending;
    int64_t first; /* only so many candidates take part; 0: all */
    struct item **items;
    size_t count;
    size_t capacity;
    size_t held_bytes;
    uint64_t seen;
    bool finished;
    struct sr_buf value;
};

struct sr_range_sorter *sr_range_sorter_new(const Etcdserverpb__RangeRequest *request)
{
    bool by_key = request->sort_target == ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__KEY;
    bool descending = request->sort_order == ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__DESCEND;
    bool unordered = request->sort_order == ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__NONE;
    bool filtered = request->min_mod_revision != 0 || request->max_mod_revision != 0 ||
                    request->min_create_revision != 0 || request->max_create_revision != 0;
    if ((by_key && !descending) || request->count_only) {
        return NULL;
    }
    struct sr_range_sorter *sorter = sr_zalloc(sizeof(*sorter));
    sorter->request = request;
    sorter->descending = descending;
    /* etcd cuts an unordered range before it sorts it by its target. */
    if (unordered && !filtered && request->limit > 0 && request->limit < INT64_MAX) {
        sorter->first = request->limit + 1;
    }
    return sorter;
}

static size_t held_by(const struct item *item)
{
    return sizeof(*item) + sizeof(void *) + item->key_size + item->value_size;
}

static void drop_from(struct sr_range_sorter *sorter, size_t count)
{
    while (sorter->count > count) {
        struct item *item = sorter->items[--sorter->count];
        sorter->held_bytes -= held_by(item);
        sr_free(item);
    }
}

void sr_range_sorter_free(struct sr_range_sorter *sorter)
{
    if (sorter == NULL) {
        return;
    }
    drop_from(sorter, 0);
    sr_free(sorter->items);
    sr_buf_close(&sorter->value);
    sr_free(sorter);
}

static int compare_items(const void *left, const void *right, void *arg)
{
    const struct sr_range_sorter *sorter = arg;
    const struct item *a = *(struct item *const *)left;
    const struct item *b = *(struct item *const *)right;
    int order = (a->number > b->number) - (a->number < b->number);
    if (sorter->request->sort_target == ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__VALUE) {
        order = sr_bytes_compare((struct sr_bytes){a->bytes + a->key_size, a->value_size},
                                 (struct sr_bytes){b->bytes + b->key_size, b->value_size});
    } else if (sorter->request->sort_target == ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__KEY) {
        order = (a->place > b->place) - (a->place < b->place);
    }
    if (order == 0) {
        return (a->place > b->place) - (a->place < b->place);
    }
    return sorter->descending ? -order : order;
}

static void sort_and_cut(struct sr_range_sorter *sorter)
{
    if (sorter->count > 1) {
        qsort_r(sorter->items, sorter->count, sizeof(struct item *), compare_items, sorter);
    }
    int64_t limit = sorter->request->limit;
    if (limit > 0 && (uint64_t)limit < sorter->count) {
        drop_from(sorter, (size_t)limit);
    }
}

static int64_t number_of(const Etcdserverpb__RangeRequest *request,
                         const struct sr_version *version)
{
    switch (request->sort_target) {
    case ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__VERSION:
        return version->version;
    case ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__CREATE:
        return version->create_revision;
    case ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__MOD:
        return version->mod_revision;
    default:
        return 0;
    }
}

static void append(struct sr_range_sorter *sorter, struct item *item)
{
    if (sorter->count == sorter->capacity) {
        sorter->capacity = sorter->capacity == 0 ? 64 : sorter->capacity * 2;
        sorter->items = sr_realloc(sorter->items, sorter->capacity * sizeof(struct item *));
    }
    sorter->items[sorter->count++] = item;
    sorter->held_bytes += held_by(item);
    int64_t limit = sorter->request->limit;
    if (limit > 0 && sorter->count >= CUT_COUNT_MIN && sorter->count / 2 >= (uint64_t)limit) {
        sort_and_cut(sorter);
    }
}

int sr_range_sorter_add(struct sr_range_sorter *sorter, struct sr_view *view, struct sr_bytes key,
                        const struct sr_version *version, struct sr_err *err)
{
    if (sorter->first > 0 && sorter->seen >= (uint64_t)sorter->first) {
        return SR_OK;
    }
    bool by_value = sorter->request->sort_target == ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__VALUE;
    sr_buf_clear(&sorter->value);
    int rc = by_value ? sr_view_value(view, key, version, &sorter->value, err) : SR_OK;
    if (rc != SR_OK) {
        return rc;
    }
    struct item *item = sr_alloc(sizeof(*item) + key.size + sorter->value.size);
    *item = (struct item){.number = number_of(sorter->request, version),
                          .place = sorter->seen++,
                          .key_size = (uint32_t)key.size,
                          .value_size = (uint32_t)sorter->value.size};
    memcpy(item->bytes, key.data, key.size);
    if (sorter->value.size > 0) {
        memcpy(item->bytes + key.size, sorter->value.data, sorter->value.size);
    }
    append(sorter, item);
    return sorter->held_bytes > SR_RESPONSE_BYTES_MAX ? SR_LIMIT : SR_OK;
}

size_t sr_range_sorter_finish(struct sr_range_sorter *sorter)
{
    if (!sorter->finished) {
        sort_and_cut(sorter);
        sorter->finished = true;
    }
    return sorter->count;
}

struct sr_bytes sr_range_sorter_key(const struct sr_range_sorter *sorter, size_t place)
{
    return (struct sr_bytes){sorter->items[place]->bytes, sorter->items[place]->key_size};
}
