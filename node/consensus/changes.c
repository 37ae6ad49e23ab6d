/* SPDX-License-Identifier: Apache-2.0
 *
 * The configuration entries of the log, from when they are appended until they are handed to the
 * state. libraft applies them without showing them to anyone: a gap in what reaches raft_fsm is a
 * barrier, or one of these.
 */
#include "base/alloc.h"
#include "node/consensus/internal.h"

void sr_core_changes_add(struct sr_core *core, uint64_t index, const void *data, size_t size)
{
    struct sr_core_changes *changes = &core->changes;
    struct sr_core_change *change = sr_zalloc(sizeof(*change));
    change->index = index;
    sr_buf_append(&change->data, data, size);
    struct sr_core_change **end = &changes->head;
    while (*end != NULL) {
        sr_check((*end)->index < index);
        end = &(*end)->next;
    }
    *end = change;
}

static void free_list(struct sr_core_change *list)
{
    while (list != NULL) {
        struct sr_core_change *change = list;
        list = change->next;
        sr_buf_close(&change->data);
        sr_free(change);
    }
}

void sr_core_changes_truncate(struct sr_core *core, uint64_t index)
{
    struct sr_core_change **end = &core->changes.head;
    while (*end != NULL && (*end)->index < index) {
        end = &(*end)->next;
    }
    free_list(*end);
    *end = NULL;
}

bool sr_core_changes_take(struct sr_core *core, uint64_t index, struct sr_buf *ret_data)
{
    struct sr_core_changes *changes = &core->changes;
    struct sr_core_change *change = changes->head;
    if (change == NULL || change->index != index) {
        return false;
    }
    changes->head = change->next;
    changes->taken = index;
    *ret_data = change->data;
    sr_free(change);
    return true;
}

uint64_t sr_core_changes_last(const struct sr_core *core, uint64_t index)
{
    uint64_t last = core->changes.taken;
    for (const struct sr_core_change *change = core->changes.head;
         change != NULL && change->index <= index; change = change->next) {
        last = change->index;
    }
    return last;
}

void sr_core_changes_close(struct sr_core *core)
{
    free_list(core->changes.head);
    core->changes.head = NULL;
}
