/* SPDX-License-Identifier: Apache-2.0
 *
 * Commands become log entries.
 *
 *   own ───────┐                        applied, same term ─► gone: the state answers
 *              ├─► one entry ─► placed ─┤
 *   guests ────┘   (index, term)        applied, other term ─► it never happened: own again
 *
 * A placed batch stays known until its fate is: the entry at its index is applied. If that is the
 * batch (the term in its header says so), the state has answered, or will. If it is anything else,
 * a later leader has replaced it for good, and its commands go back to wait for that leader. Only
 * a batch whose time is up is given away as "outcome unknown".
 *
 * A new leader begins with an entry of its own, empty if nothing waits. Once a node applies it,
 * every entry of an earlier term has been applied or never will be: that settles what was lost on
 * its way to the leader before (lost.c).
 *
 * While entries_in_flight entries are not yet committed, further commands gather, so that load
 * makes entries larger instead of more.
 */
#include "proto/batch.h"
#include "base/alloc.h"
#include "base/clock.h"
#include "node/consensus/internal.h"

#define COMMAND_HEADER_BYTES 4

static struct sr_proposal *proposal_of(struct sr_mail *mail)
{
    return sr_container(mail, struct sr_proposal, mail);
}

static struct sr_core_guest *guest_of(struct sr_mail *mail)
{
    return sr_container(mail, struct sr_core_guest, mail);
}

void sr_core_proposal_refuse(struct sr_core *core, struct sr_proposal *proposal,
                             enum sr_api_error error)
{
    sr_count(&core->metrics->proposals_failed, 1);
    core->env.answer(core->env.arg, proposal->origin, proposal->sequence, error, 0);
    core->env.proposal_done(core->env.arg, proposal);
}

void sr_core_propose(struct sr_core *core, struct sr_proposal *proposal)
{
    if (core->failed || core->stepping_down) {
        sr_core_proposal_refuse(core, proposal, SR_API_STOPPED);
        return;
    }
    if (proposal->command.size >
        SR_BATCH_BYTES_MAX - SR_BATCH_HEADER_BYTES - COMMAND_HEADER_BYTES) {
        sr_core_proposal_refuse(core, proposal, SR_API_REQUEST_TOO_LARGE);
        return;
    }
    proposal->deadline_ms = core->env.now_ns(core->env.arg) / 1000000u + SR_REQUEST_TIMEOUT_MS;
    sr_core_list_push(&core->batches.own, &proposal->mail);
}

/* ---- into the log ---- */

static bool fits(const struct sr_buf *entry, size_t commands, size_t bytes)
{
    size_t size = entry->size + bytes + commands * COMMAND_HEADER_BYTES;
    size_t count = sr_batch_count(entry) + commands;
    return sr_batch_count(entry) == 0 ||
           (size <= SR_BATCH_BYTES_MAX && count <= SR_BATCH_COMMANDS_MAX);
}

static void add_own(struct sr_core *core, struct sr_core_batch *batch, struct sr_buf *entry)
{
    struct sr_core_batches *batches = &core->batches;
    while (batches->own.head != NULL) {
        struct sr_proposal *proposal = proposal_of(batches->own.head);
        if (!fits(entry, 1, proposal->command.size)) {
            break;
        }
        sr_core_list_pop(&batches->own);
        sr_batch_add(entry, proposal->command.data, proposal->command.size);
        sr_core_list_push(&batch->proposals, &proposal->mail);
        batch->commands++;
        if (batch->deadline_ms == 0 || proposal->deadline_ms < batch->deadline_ms) {
            batch->deadline_ms = proposal->deadline_ms;
        }
    }
}

static void add_guests(struct sr_core *core, struct sr_core_list *taken, struct sr_buf *entry)
{
    struct sr_core_batches *batches = &core->batches;
    while (batches->guests.head != NULL) {
        struct sr_core_guest *guest = guest_of(batches->guests.head);
        if (!fits(entry, guest->count, guest->payload.size)) {
            break;
        }
        sr_core_list_pop(&batches->guests);
        struct sr_reader reader = sr_reader_of(guest->payload.data, guest->payload.size);
        for (size_t i = 0; i < guest->count; i++) {
            struct sr_bytes command = sr_read_bytes(&reader, guest->lengths[i]);
            sr_batch_add(entry, command.data, command.size);
        }
        batches->guest_count--;
        batches->guest_bytes -= guest->payload.size;
        sr_core_list_push(taken, &guest->mail);
    }
}

static void submit(struct sr_core *core, struct sr_core_batch *batch, struct sr_buf *entry)
{
    /* One buffer: libraft takes an array, and drops all but the first without a word. */
    struct raft_buffer buffer = {.base = entry->data, .len = entry->size};
    batch->term = raft_current_term(&core->raft);
    batch->started_ns = core->env.now_ns(core->env.arg);
    /* It refuses only when we do not lead or hand over, which was ruled out. */
    sr_check(raft_apply(&core->raft, &batch->request, &buffer, 1, NULL) == 0);
    *entry = (struct sr_buf){0}; /* libraft has it: same allocator */
    batch->index = batch->request.index;
    batch->placed = true;
    batch->queued = true;
    batch->next = core->batches.list;
    core->batches.list = batch;
    core->batches.in_flight++;
}

static void propose_one(struct sr_core *core)
{
    struct sr_core_batches *batches = &core->batches;
    struct sr_core_batch *batch = sr_zalloc(sizeof(*batch));
    struct sr_core_list taken = {0};
    struct sr_buf entry = {0};
    sr_batch_begin(&entry, raft_current_term(&core->raft));
    if (batches->own_first) {
        add_own(core, batch, &entry);
    }
    add_guests(core, &taken, &entry);
    add_own(core, batch, &entry);
    batches->own_first = !batches->own_first;
    submit(core, batch, &entry);
    for (struct sr_mail *mail = sr_core_list_pop(&taken); mail != NULL;
         mail = sr_core_list_pop(&taken)) {
        sr_core_forward_reply(core, guest_of(mail), batch, false);
        sr_core_guest_free(guest_of(mail));
    }
}

static bool has_room(const struct sr_core *core)
{
    size_t entries = 0;
    size_t bytes = 0;
    sr_core_backlog(core, &entries, &bytes);
    return !core->log_full && entries < SR_APPLY_ENTRIES_MAX && bytes < SR_APPLY_BYTES_MAX;
}

void sr_core_batches_propose(struct sr_core *core)
{
    struct sr_core_batches *batches = &core->batches;
    if (batches->mark_due && sr_core_leads(core) && raft_transferee(&core->raft) == 0) {
        batches->mark_due = false;
        propose_one(core);
    }
    while (sr_core_leads(core) && raft_transferee(&core->raft) == 0 && !core->hand.waits &&
           (batches->own.head != NULL || batches->guests.head != NULL) &&
           batches->in_flight < core->options.entries_in_flight && has_room(core)) {
        propose_one(core);
    }
}

/* ---- their fate ---- */

/* Off the list; freed at the end of the turn, when libraft has let go of its request. */
void sr_core_batch_drop(struct sr_core *core, struct sr_core_batch *batch)
{
    struct sr_core_batch **link = &core->batches.list;
    while (*link != batch) {
        link = &(*link)->next;
    }
    *link = batch->next;
    batch->next = core->batches.spent;
    core->batches.spent = batch;
}

void sr_core_batch_refuse(struct sr_core *core, struct sr_core_batch *batch,
                          enum sr_api_error error)
{
    for (struct sr_mail *mail = sr_core_list_pop(&batch->proposals); mail != NULL;
         mail = sr_core_list_pop(&batch->proposals)) {
        sr_core_proposal_refuse(core, proposal_of(mail), error);
    }
}

void sr_core_batch_committed(struct sr_core *core, struct sr_core_batch *batch)
{
    sr_count(&core->metrics->proposals_committed, batch->commands);
    if (batch->queued) {
        uint64_t now_ns = core->env.now_ns(core->env.arg);
        sr_histogram_observe(&core->metrics->commit_duration, now_ns - batch->started_ns);
    }
    for (struct sr_mail *mail = sr_core_list_pop(&batch->proposals); mail != NULL;
         mail = sr_core_list_pop(&batch->proposals)) {
        core->env.proposal_done(core->env.arg, proposal_of(mail));
    }
}

void sr_core_batches_applied(struct sr_core *core, uint64_t index, uint64_t term)
{
    struct sr_core_batch *next = NULL;
    for (struct sr_core_batch *batch = core->batches.list; batch != NULL; batch = next) {
        next = batch->next;
        if (!batch->placed || batch->index != index) {
            continue;
        }
        if (batch->term == term) {
            sr_core_batch_committed(core, batch);
        } else {
            sr_core_list_prepend(&core->batches.own, &batch->proposals);
        }
        if (batch->queued) {
            core->batches.in_flight--;
        }
        sr_core_batch_drop(core, batch);
    }
}

/* What is in the log may still be committed by the next leader; what is not, never was. */
void sr_core_batches_lost_leadership(struct sr_core *core)
{
    struct sr_core_batches *batches = &core->batches;
    for (struct sr_core_batch *batch = batches->list; batch != NULL; batch = batch->next) {
        batch->queued = false;
    }
    batches->in_flight = 0;
    batches->mark_due = false;
    for (struct sr_mail *mail = sr_core_list_pop(&batches->guests); mail != NULL;
         mail = sr_core_list_pop(&batches->guests)) {
        sr_core_forward_reply(core, guest_of(mail), NULL, false);
        sr_core_guest_free(guest_of(mail));
    }
    batches->guest_count = 0;
    batches->guest_bytes = 0;
}

static void expire_waiting(struct sr_core *core)
{
    struct sr_core_batches *batches = &core->batches;
    while (batches->own.head != NULL &&
           proposal_of(batches->own.head)->deadline_ms <= core->now_ms) {
        struct sr_proposal *proposal = proposal_of(sr_core_list_pop(&batches->own));
        sr_core_proposal_refuse(core, proposal,
                                core->leader == 0 ? SR_API_NO_LEADER
                                : core->log_full  ? SR_API_NO_SPACE
                                                  : SR_API_TOO_MANY_REQUESTS);
    }
    while (batches->guests.head != NULL &&
           guest_of(batches->guests.head)->deadline_ms <= core->now_ms) {
        struct sr_core_guest *guest = guest_of(sr_core_list_pop(&batches->guests));
        batches->guest_count--;
        batches->guest_bytes -= guest->payload.size;
        sr_core_forward_reply(core, guest, NULL, true);
        sr_core_guest_free(guest);
    }
}

/* Give up those commands of @batch whose time is up; the others may have come much later. */
static void expire_batch(struct sr_core *core, struct sr_core_batch *batch)
{
    bool same_leader = core->leader != 0 && batch->term == core->noticed_term;
    struct sr_core_list kept = {0};
    batch->deadline_ms = UINT64_MAX;
    for (struct sr_mail *mail = sr_core_list_pop(&batch->proposals); mail != NULL;
         mail = sr_core_list_pop(&batch->proposals)) {
        struct sr_proposal *proposal = proposal_of(mail);
        if (proposal->deadline_ms <= core->now_ms) {
            sr_core_proposal_refuse(core, proposal,
                                    same_leader ? SR_API_TIMED_OUT : SR_API_TIMED_OUT_LEADER);
            continue;
        }
        sr_core_list_push(&kept, mail);
        if (proposal->deadline_ms < batch->deadline_ms) {
            batch->deadline_ms = proposal->deadline_ms;
        }
    }
    batch->proposals = kept;
}

void sr_core_batches_expire(struct sr_core *core)
{
    expire_waiting(core);
    struct sr_core_batch *next = NULL;
    for (struct sr_core_batch *batch = core->batches.list; batch != NULL; batch = next) {
        next = batch->next;
        if (batch->deadline_ms == 0 || batch->deadline_ms > core->now_ms) {
            continue;
        }
        expire_batch(core, batch);
        if (batch->proposals.head != NULL || batch->queued) {
            continue; /* libraft's queue runs through it */
        }
        if (!batch->placed && !batch->lost) {
            core->batches.forwards--;
        }
        sr_core_batch_drop(core, batch);
    }
}

void sr_core_batches_reap(struct sr_core *core)
{
    while (core->batches.spent != NULL) {
        struct sr_core_batch *batch = core->batches.spent;
        core->batches.spent = batch->next;
        sr_free(batch);
    }
}

/* The batches go to spent, not away: until raft_close, libraft's queue runs through them. */
void sr_core_batches_close(struct sr_core *core)
{
    struct sr_core_batches *batches = &core->batches;
    for (struct sr_mail *mail = sr_core_list_pop(&batches->own); mail != NULL;
         mail = sr_core_list_pop(&batches->own)) {
        sr_core_proposal_refuse(core, proposal_of(mail), SR_API_STOPPED);
    }
    for (struct sr_mail *mail = sr_core_list_pop(&batches->guests); mail != NULL;
         mail = sr_core_list_pop(&batches->guests)) {
        sr_core_guest_free(guest_of(mail));
    }
    while (batches->list != NULL) {
        struct sr_core_batch *batch = batches->list;
        sr_core_batch_refuse(core, batch, SR_API_TIMED_OUT_LEADER);
        sr_core_batch_drop(core, batch);
    }
}
