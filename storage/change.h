/* SPDX-License-Identifier: Apache-2.0
 *
 * One revision in the making: the puts and deletes of one command, with their places in it, the
 * link of the state hash, and the answer. A change without puts and deletes makes no revision.
 */
#ifndef SR_STORAGE_CHANGE_H
#define SR_STORAGE_CHANGE_H

#include "storage/range.h"
#include "storage/statehash.h"
#include "storage/store_internal.h"

/* An answer being written. Beyond its limit it is given up; what it tells of still happens, since
 * only some nodes write answers. */
struct sr_reply {
    struct sr_buf buf;
    size_t limit;
    bool wanted;
    bool too_large;
};

static inline bool sr_reply_open(const struct sr_reply *reply)
{
    return reply->wanted && !reply->too_large;
}

/* Give the answer up if it is larger than its limit; whether it still goes on. To be asked before
 * each sr_wire_end, which cannot write larger lengths. */
bool sr_reply_fits(struct sr_reply *reply);
void sr_reply_give_up(struct sr_reply *reply);

struct sr_change {
    struct sr_store *store; /* NULL: only reads */
    struct sr_statehash *hash;
    struct sr_view *view;
    int64_t base_revision; /* before it */
    int64_t read_revision; /* of a Range without one */
    int64_t compact_revision;
    uint32_t events; /* puts and deletes so far */
};

/* Apply thread: after what store->apply says. */
struct sr_change sr_change_begin(struct sr_store *store, struct sr_statehash *hash);
/* Take over the new revision and state hash, if there is one, to store->apply. SR_CRYPTO. */
int sr_change_end(struct sr_change *change, struct sr_err *err);

/* The revision up to here: one more than before once there are events. */
static inline int64_t sr_change_revision(const struct sr_change *change)
{
    return change->base_revision + (change->events > 0);
}

/* Execute a valid request; nothing that it asks for can fail any more. The fields of the response
 * except its header go to @reply. Fails only with the store. */
int sr_change_put(struct sr_change *change, const Etcdserverpb__PutRequest *request,
                  struct sr_reply *reply, struct sr_err *err);
int sr_change_delete_range(struct sr_change *change,
                           const Etcdserverpb__DeleteRangeRequest *request, struct sr_reply *reply,
                           struct sr_err *err);

#endif
