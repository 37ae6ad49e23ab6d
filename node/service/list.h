/* SPDX-License-Identifier: Apache-2.0
 *
 * A ring of items that embed their links: the list itself is one of them. Adding and removing
 * take no time and no memory.
 */
#ifndef SR_NODE_SERVICE_LIST_H
#define SR_NODE_SERVICE_LIST_H

#include <stdbool.h>

#include "base/mailbox.h" /* sr_container */

struct sr_list {
    struct sr_list *next;
    struct sr_list *previous;
};

/* An empty list; or an item that is in none. */
static inline void sr_list_init(struct sr_list *list)
{
    list->next = list;
    list->previous = list;
}

static inline bool sr_list_is_empty(const struct sr_list *list)
{
    return list->next == list;
}

/* @item must be in no list. */
static inline void sr_list_append(struct sr_list *list, struct sr_list *item)
{
    item->previous = list->previous;
    item->next = list;
    list->previous->next = item;
    list->previous = item;
}

/* Fine for an item that is in none; it is in none afterwards. */
static inline void sr_list_remove(struct sr_list *item)
{
    item->previous->next = item->next;
    item->next->previous = item->previous;
    sr_list_init(item);
}

#endif
