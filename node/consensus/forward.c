/* SPDX-License-Identifier: Apache-2.0
 *
 * A follower hands its commands to the leader, a batch at a time, and keeps them until it knows
 * their fate.
 *
 *   follower                              leader
 *   own ─Forward(batch)─────────────────► guests ─► entry (index, term)
 *   placed ◄──────ForwardReply(index, term)─┘
 *   own again ◄───ForwardReply(refused)     not the leader: nothing of it will happen
 *   answered ◄────ForwardReply(busy)        too much waits: likewise
 *
 * The link is in order and at most once: a batch without a reply was either lost with the link or
 * is still on its way. What becomes of it when the link breaks is told in lost.c.
 */
#include "base/alloc.h"
#include "node/consensus/internal.h"
#include "proto/batch.h"

#define COMMAND_HEADER_BYTES 4
/* After a refusal: the leader that we know of is not one, and the tick brings the next. */
#define RETRY_MS 20

static struct sr_proposal *proposal_of(struct sr_mail *mail)
{
    return sr_container(mail, struct sr_proposal, mail);
}

/* ---- on the follower ---- */

/* As many as go into one entry; the pieces point into the proposals. */
static size_t gather(struct sr_core *core, struct sr_core_batch *batch)
{
    struct sr_core_list *own = &core->batches.own;
    size_t bytes = SR_BATCH_HEADER_BYTES;
    size_t count = 0;
    while (own->head != NULL && count < SR_BATCH_COMMANDS_MAX) {
        struct sr_proposal *proposal = proposal_of(own->head);
        bytes += proposal->command.size + COMMAND_HEADER_BYTES;
        if (count > 0 && bytes > SR_BATCH_BYTES_MAX) {
            break;
        }
        sr_core_list_pop(own);
        sr_core_list_push(&batch->proposals, &proposal->mail);
        core->pieces[count] = (struct sr_bytes){proposal->command.data, proposal->command.size};
        core->lengths[count] = (uint32_t)proposal->command.size;
        if (batch->deadline_ms == 0 || proposal->deadline_ms < batch->deadline_ms) {
            batch->deadline_ms = proposal->deadline_ms;
        }
        count++;
    }
    batch->commands = (uint32_t)count;
    return count;
}

static bool forward_one(struct sr_core *core, struct sr_core_peer *leader)
{
    struct sr_core_batches *batches = &core->batches;
    struct sr_core_batch *batch = sr_zalloc(sizeof(*batch));
    size_t count = gather(core, batch);
    batch->id = ++batches->next_id;
    batch->member = leader->id;
    batch->term = core->noticed_term;
    Strongroom__Forward forward = STRONGROOM__FORWARD__INIT;
    forward.batch = batch->id;
    forward.term = core->noticed_term;
    forward.n_lengths = count;
    forward.lengths = core->lengths;
    Strongroom__Envelope envelope = STRONGROOM__ENVELOPE__INIT;
    envelope.message_case = STRONGROOM__ENVELOPE__MESSAGE_FORWARD;
    envelope.forward = &forward;
    if (!sr_core_send(core, leader, &envelope, core->pieces, count)) {
        sr_core_list_prepend(&batches->own, &batch->proposals);
        sr_free(batch);
        return false;
    }
    batch->next = batches->list;
    batches->list = batch;
    batches->forwards++;
    return true;
}

void sr_core_forward(struct sr_core *core)
{
    struct sr_core_batches *batches = &core->batches;
    struct sr_core_peer *leader = sr_core_peer(core, core->leader);
    if (sr_core_leads(core) || leader == NULL || core->now_ms < batches->forward_not_before_ms) {
        return;
    }
    while (batches->own.head != NULL && batches->forwards < SR_CORE_FORWARDS_MAX &&
           forward_one(core, leader)) {
    }
}

static struct sr_core_batch *find(const struct sr_core *core, uint64_t member, uint64_t id)
{
    struct sr_core_batch *batch = core->batches.list;
    while (batch != NULL &&
           (batch->placed || batch->lost || batch->member != member || batch->id != id)) {
        batch = batch->next;
    }
    return batch;
}

void sr_core_forward_replied(struct sr_core *core, struct sr_core_peer *peer,
                             const Strongroom__ForwardReply *reply)
{
    struct sr_core_batch *batch = find(core, peer->id, reply->batch);
    if (batch == NULL) {
        return; /* given up in the meantime */
    }
    core->batches.forwards--;
    if (!reply->refused) {
        batch->placed = true;
        batch->index = reply->index;
        batch->term = reply->term;
        return;
    }
    if (reply->busy) {
        sr_core_batch_refuse(core, batch, SR_API_TOO_MANY_REQUESTS);
    } else {
        sr_core_list_prepend(&core->batches.own, &batch->proposals);
        core->batches.forward_not_before_ms = core->now_ms + RETRY_MS;
    }
    sr_core_batch_drop(core, batch);
}

/* ---- on the leader ---- */

void sr_core_guest_free(struct sr_core_guest *guest)
{
    sr_free(guest->lengths);
    sr_buf_close(&guest->payload);
    sr_free(guest);
}

/* @batch NULL: refused. */
void sr_core_forward_reply(struct sr_core *core, const struct sr_core_guest *guest,
                           const struct sr_core_batch *batch, bool busy)
{
    struct sr_core_peer *peer = sr_core_peer(core, guest->member);
    if (peer == NULL) {
        return; /* removed since */
    }
    Strongroom__ForwardReply reply = STRONGROOM__FORWARD_REPLY__INIT;
    reply.batch = guest->id;
    reply.refused = batch == NULL;
    reply.busy = busy;
    if (batch != NULL) {
        reply.index = batch->index;
        reply.term = batch->term;
    }
    Strongroom__Envelope envelope = STRONGROOM__ENVELOPE__INIT;
    envelope.message_case = STRONGROOM__ENVELOPE__MESSAGE_FORWARD_REPLY;
    envelope.forward_reply = &reply;
    sr_core_send(core, peer, &envelope, NULL, 0);
}

static bool valid(const Strongroom__Forward *forward, const struct sr_bytes *payload)
{
    size_t total = 0;
    for (size_t i = 0; i < forward->n_lengths; i++) {
        total += forward->lengths[i];
    }
    size_t entry = SR_BATCH_HEADER_BYTES + total + forward->n_lengths * COMMAND_HEADER_BYTES;
    return forward->n_lengths > 0 && forward->n_lengths <= SR_BATCH_COMMANDS_MAX &&
           total == payload->size && entry <= SR_BATCH_BYTES_MAX;
}

void sr_core_forward_received(struct sr_core *core, struct sr_core_peer *peer,
                              const struct sr_frame *frame)
{
    const Strongroom__Forward *forward = frame->envelope->forward;
    struct sr_core_batches *batches = &core->batches;
    if (!valid(forward, &frame->payload)) {
        sr_count(&core->metrics->refused_messages, 1);
        return;
    }
    struct sr_core_guest *guest = sr_zalloc(sizeof(*guest));
    guest->member = peer->id;
    guest->id = forward->batch;
    guest->deadline_ms = core->now_ms + SR_REQUEST_TIMEOUT_MS;
    guest->count = forward->n_lengths;
    bool leads = sr_core_leads(core) && !core->stepping_down &&
                 forward->term == raft_current_term(&core->raft);
    bool busy = batches->guest_count >= SR_CORE_GUESTS_MAX ||
                batches->guest_bytes + frame->payload.size > SR_PROPOSAL_BYTES_WAITING_MAX;
    if (!leads || busy) {
        sr_core_forward_reply(core, guest, NULL, leads);
        sr_core_guest_free(guest);
        return;
    }
    guest->lengths = sr_memdup(forward->lengths, guest->count * sizeof(*guest->lengths));
    sr_buf_append(&guest->payload, frame->payload.data, frame->payload.size);
    batches->guest_count++;
    batches->guest_bytes += guest->payload.size;
    sr_core_list_push(&batches->guests, &guest->mail);
}
