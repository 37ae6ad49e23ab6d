/* SPDX-License-Identifier: Apache-2.0
 *
 * Batches that went to the leader and were not answered, mostly because the link broke: its log
 * may hold them, or not, and the leader may be dead. They wait until the log tells.
 *
 *   lost ─ its entry is applied ──────────────────────► gone: the state answers
 *        ─ an entry of a later term is applied first ─► it never will be: own again
 *        ─ its time is up ────────────────────────────► TIMED_OUT_LEADER, outcome unknown
 *
 * Why the second is safe: the leader takes a batch only in the term that the batch names, so its
 * entry has that term. Terms in a log never go down, so behind an applied entry of a later term
 * there is none of this one, and what stands before it has been applied already. Each new leader
 * begins with an entry of its own, so that the wait is as long as the election.
 *
 * While the same leader stays, only the link was bad: a batch that did not arrive waits until its
 * time is up.
 */
#include <string.h>

#include "node/consensus/internal.h"
#include "proto/batch.h"

void sr_core_lost_link(struct sr_core *core, uint64_t member)
{
    for (struct sr_core_batch *batch = core->batches.list; batch != NULL; batch = batch->next) {
        if (!batch->placed && !batch->lost && batch->member == member) {
            batch->lost = true;
            core->batches.forwards--;
        }
    }
}

/* All commands of a batch share one entry, and a command is like no other: the first one tells. */
static bool holds(const uint8_t *data, size_t size, const struct sr_core_batch *batch)
{
    const struct sr_proposal *first = sr_container(batch->proposals.head, struct sr_proposal, mail);
    struct sr_bytes wanted = {first->command.data, first->command.size};
    struct sr_batch_reader reader;
    struct sr_bytes command;
    if (sr_batch_open(&reader, data, size, NULL) != SR_OK) {
        return false; /* the state will refuse the entry, and the node end */
    }
    while (sr_batch_next(&reader, &command)) {
        if (sr_bytes_equal(command, wanted)) {
            return true;
        }
    }
    return false;
}

/* The latest first, so that what went out earlier stands before it again. Not only for lost
 * batches: the leader's answer may be lost while the link to the leader holds, and an entry that
 * went by unrecognised would be taken for one that never was. */
void sr_core_lost_applied(struct sr_core *core, uint64_t term, const uint8_t *data, size_t size)
{
    struct sr_core_batch *next = NULL;
    for (struct sr_core_batch *batch = core->batches.list; batch != NULL; batch = next) {
        next = batch->next;
        if (batch->proposals.head == NULL || term < batch->term) {
            continue;
        }
        if (term > batch->term) { /* also of a placed one: its place lies behind this entry */
            sr_core_list_prepend(&core->batches.own, &batch->proposals);
        } else if (!batch->placed && holds(data, size, batch)) {
            sr_core_batch_committed(core, batch);
        } else {
            continue;
        }
        core->batches.forwards -= !batch->lost && !batch->placed;
        core->batches.in_flight -= batch->queued;
        sr_core_batch_drop(core, batch);
    }
}
