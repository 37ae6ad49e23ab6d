/* SPDX-License-Identifier: Apache-2.0
 *
 * The apply thread's side: a view that sees what is not yet published, and the way into the
 * active memtable. The view lives from its first use in a batch to the publication, so that it
 * never holds an old LMDB snapshot while there is nothing to do.
 */
#include "base/check.h"
#include "storage/store_internal.h"

struct sr_view *sr_writer_view(struct sr_store *store)
{
    struct sr_view *view = store->writer;

    if (sr_view_is_open(view)) {
        view->state = store->apply;
        return view;
    }
    /* The transaction has had its reader slot since the store was opened, so that only a failure
     * of the disk is left: what is read through the view then fails. */
    view->broken = sr_view_begin(view, true, &view->err);
    return view;
}

void sr_writer_add(struct sr_store *store, struct sr_bytes key, struct sr_bytes value,
                   const struct sr_version *version)
{
    sr_check(key.size <= SR_KEY_BYTES_MAX);
    sr_memtable_add(store->active, key, value, version);
}
