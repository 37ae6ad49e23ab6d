/* SPDX-License-Identifier: Apache-2.0
 *
 * Linearizable reads: from what index on may a read be served?
 *
 *   waiting ─► asked: one round at a time ─► ready: until that index is applied here ─► answered
 *
 * On the leader a round takes the larger of floor and commit index, then asks every voter whether
 * its term is still ours. An answer "yes" was given after the round began, by a voter that had
 * not durably voted in a later term; a majority of them means that nobody else can have been
 * elected, and acknowledged anything, before the round began. The floor (leadership.c) covers
 * what earlier leaders acknowledged and our commit index does not show yet.
 *
 * On a follower a round is one ReadIndex to the leader. What arrives while a round is under way
 * waits for the next: an index found before a read began proves nothing for it.
 */
#include "base/alloc.h"
#include "node/consensus/internal.h"

/* After a refusal: the leader that we know of is not one. */
#define RETRY_MS 20

static struct sr_read *read_of(struct sr_mail *mail)
{
    return sr_container(mail, struct sr_read, mail);
}

static void answer(struct sr_core *core, struct sr_read *read, enum sr_api_error error)
{
    core->env.answer(core->env.arg, read->origin, read->sequence, error, read->index);
    core->env.read_done(core->env.arg, read);
}

void sr_core_read(struct sr_core *core, struct sr_read *read)
{
    if (core->failed || core->stepping_down) {
        answer(core, read, SR_API_STOPPED);
        return;
    }
    read->deadline_ms = core->env.now_ns(core->env.arg) / 1000000u + SR_REQUEST_TIMEOUT_MS;
    sr_core_list_push(&core->reads.waiting, &read->mail);
}

void sr_core_reads_applied(struct sr_core *core)
{
    struct sr_core_list *ready = &core->reads.ready;
    while (ready->head != NULL && read_of(ready->head)->index <= core->applies.applied) {
        answer(core, read_of(sr_core_list_pop(ready)), SR_API_NONE);
    }
}

/* The round found @index for all that asked. */
static void found(struct sr_core *core, uint64_t index)
{
    struct sr_core_reads *reads = &core->reads;
    /* Never below what an earlier round found, so that ready stays in order. */
    reads->ready_index = index > reads->ready_index ? index : reads->ready_index;
    for (struct sr_mail *mail = sr_core_list_pop(&reads->asked); mail != NULL;
         mail = sr_core_list_pop(&reads->asked)) {
        read_of(mail)->index = reads->ready_index;
        sr_core_list_push(&reads->ready, mail);
    }
    reads->asking = false;
    sr_core_reads_applied(core);
}

/* The round came to nothing: its reads wait for another. */
static void abandon(struct sr_core *core)
{
    struct sr_core_reads *reads = &core->reads;
    if (reads->asking) {
        sr_count(&core->metrics->read_rounds_failed, 1);
    }
    reads->asking = false;
    sr_core_list_prepend(&reads->waiting, &reads->asked);
}

/* ---- a round of the leader ---- */

static void tell(struct sr_core *core, struct sr_core_peer *peer, uint64_t round, bool refused)
{
    Strongroom__ReadIndexReply reply = STRONGROOM__READ_INDEX_REPLY__INIT;
    reply.round = round;
    reply.refused = refused;
    reply.index = refused ? 0 : core->reads.index;
    Strongroom__Envelope envelope = STRONGROOM__ENVELOPE__INIT;
    envelope.message_case = STRONGROOM__ENVELOPE__MESSAGE_READ_INDEX_REPLY;
    envelope.read_index_reply = &reply;
    sr_core_send(core, peer, &envelope, NULL, 0);
}

static void probe(struct sr_core *core)
{
    Strongroom__TermProbe message = STRONGROOM__TERM_PROBE__INIT;
    message.round = core->reads.round;
    message.term = core->reads.term;
    Strongroom__Envelope envelope = STRONGROOM__ENVELOPE__INIT;
    envelope.message_case = STRONGROOM__ENVELOPE__MESSAGE_TERM_PROBE;
    envelope.term_probe = &message;
    for (size_t i = 0; i < core->peer_count; i++) {
        if (!core->peers[i].term_confirmed && sr_core_is_voter(core, core->peers[i].id)) {
            sr_core_send(core, &core->peers[i], &envelope, NULL, 0);
        }
    }
    core->reads.sent_ms = core->now_ms;
}

static bool anybody_waits(const struct sr_core *core)
{
    bool waits = core->reads.waiting.head != NULL;
    for (size_t i = 0; i < core->peer_count; i++) {
        waits = waits || core->peers[i].read_waiting;
    }
    return waits;
}

static void start_round(struct sr_core *core)
{
    struct sr_core_reads *reads = &core->reads;
    uint64_t commit = raft_commit_index(&core->raft);
    uint64_t floor = sr_core_guarded(core, SR_GUARD_READ_FLOOR) ? core->floor : 0;
    reads->asking = true;
    reads->asked_leader = 0;
    reads->round++;
    reads->term = raft_current_term(&core->raft);
    reads->index = floor > commit ? floor : commit;
    reads->started_ms = core->now_ms;
    reads->asked = reads->waiting;
    reads->waiting = (struct sr_core_list){0};
    for (size_t i = 0; i < core->peer_count; i++) {
        struct sr_core_peer *peer = &core->peers[i];
        peer->term_confirmed = false;
        peer->read_asked = peer->read_waiting;
        peer->read_round = peer->read_round_waiting;
        peer->read_waiting = false;
    }
    sr_count(&core->metrics->read_rounds, 1);
    probe(core);
}

static bool confirmed_by_majority(struct sr_core *core)
{
    const struct raft_configuration *conf = &core->raft.configuration;
    unsigned voters = 0;
    unsigned confirmed = 0;
    for (unsigned i = 0; i < conf->n; i++) {
        if (conf->servers[i].role != RAFT_VOTER) {
            continue;
        }
        struct sr_core_peer *peer = sr_core_peer(core, conf->servers[i].id);
        voters++;
        confirmed +=
            peer == NULL ? conf->servers[i].id == core->options.self : peer->term_confirmed;
    }
    return confirmed > voters / 2 || !sr_core_guarded(core, SR_GUARD_READ_ROUND);
}

static void refuse_peers(struct sr_core *core)
{
    for (size_t i = 0; i < core->peer_count; i++) {
        struct sr_core_peer *peer = &core->peers[i];
        if (peer->read_asked) {
            tell(core, peer, peer->read_round, true);
        }
        if (peer->read_waiting) {
            tell(core, peer, peer->read_round_waiting, true);
        }
        peer->read_asked = false;
        peer->read_waiting = false;
    }
}

static void finish_round(struct sr_core *core)
{
    for (size_t i = 0; i < core->peer_count; i++) {
        struct sr_core_peer *peer = &core->peers[i];
        if (peer->read_asked) {
            tell(core, peer, peer->read_round, false);
            peer->read_asked = false;
        }
    }
    found(core, core->reads.index);
}

static void turn_of_leader(struct sr_core *core)
{
    struct sr_core_reads *reads = &core->reads;
    /* Leadership was noticed before in this turn: floor and term are of the same reign. */
    if (reads->asking && reads->term != raft_current_term(&core->raft)) {
        abandon(core);
        refuse_peers(core);
    }
    for (;;) {
        if (reads->asking && !confirmed_by_majority(core)) {
            return;
        }
        if (reads->asking) {
            finish_round(core);
        }
        if (!anybody_waits(core)) {
            return;
        }
        start_round(core);
    }
}

/* ---- a round of a follower ---- */

static bool ask_leader(struct sr_core *core, struct sr_core_peer *leader)
{
    Strongroom__ReadIndex message = STRONGROOM__READ_INDEX__INIT;
    message.round = core->reads.round;
    Strongroom__Envelope envelope = STRONGROOM__ENVELOPE__INIT;
    envelope.message_case = STRONGROOM__ENVELOPE__MESSAGE_READ_INDEX;
    envelope.read_index = &message;
    core->reads.sent_ms = core->now_ms;
    return sr_core_send(core, leader, &envelope, NULL, 0);
}

static void turn_of_follower(struct sr_core *core)
{
    struct sr_core_reads *reads = &core->reads;
    struct sr_core_peer *leader = sr_core_peer(core, core->leader);
    if (reads->asking || reads->waiting.head == NULL || leader == NULL ||
        core->now_ms < reads->ask_not_before_ms) {
        return;
    }
    reads->round++;
    if (!ask_leader(core, leader)) {
        return;
    }
    reads->asking = true;
    reads->asked_leader = leader->id;
    reads->started_ms = core->now_ms;
    reads->asked = reads->waiting;
    reads->waiting = (struct sr_core_list){0};
    sr_count(&core->metrics->read_rounds, 1);
}

void sr_core_reads_turn(struct sr_core *core)
{
    if (sr_core_leads(core)) {
        turn_of_leader(core);
    } else {
        turn_of_follower(core);
    }
}

/* ---- what the others say ---- */

/* A peer asks us; one question of a peer at a time, the newest. */
void sr_core_reads_ask(struct sr_core *core, struct sr_core_peer *peer, uint64_t round)
{
    if (!sr_core_leads(core)) {
        tell(core, peer, round, true);
        return;
    }
    if (peer->read_asked && peer->read_round == round) {
        return; /* asked again; the round under way will answer it */
    }
    peer->read_waiting = true;
    peer->read_round_waiting = round;
}

void sr_core_reads_told(struct sr_core *core, struct sr_core_peer *peer,
                        const Strongroom__ReadIndexReply *reply)
{
    struct sr_core_reads *reads = &core->reads;
    if (!reads->asking || reads->asked_leader != peer->id || reads->round != reply->round) {
        return;
    }
    if (reply->refused) {
        abandon(core);
        reads->ask_not_before_ms = core->now_ms + RETRY_MS;
        return;
    }
    found(core, reply->index);
}

/* Answered here, in order with libraft's messages, from the term that is durable. */
void sr_core_reads_probed(struct sr_core *core, struct sr_core_peer *peer,
                          const Strongroom__TermProbe *question)
{
    Strongroom__TermProbeReply reply = STRONGROOM__TERM_PROBE_REPLY__INIT;
    reply.round = question->round;
    reply.term = raft_current_term(&core->raft);
    Strongroom__Envelope envelope = STRONGROOM__ENVELOPE__INIT;
    envelope.message_case = STRONGROOM__ENVELOPE__MESSAGE_TERM_PROBE_REPLY;
    envelope.term_probe_reply = &reply;
    sr_core_send(core, peer, &envelope, NULL, 0);
}

void sr_core_reads_confirmed(struct sr_core *core, struct sr_core_peer *peer,
                             const Strongroom__TermProbeReply *reply)
{
    const struct sr_core_reads *reads = &core->reads;
    if (reads->asking && reads->asked_leader == 0 && reads->round == reply->round &&
        reads->term == reply->term) {
        peer->term_confirmed = true;
    }
}

void sr_core_reads_leader_changed(struct sr_core *core)
{
    abandon(core);
    refuse_peers(core);
    core->reads.ask_not_before_ms = 0;
}

void sr_core_reads_link_lost(struct sr_core *core, uint64_t member)
{
    if (core->reads.asking && core->reads.asked_leader == member) {
        abandon(core);
    }
}

/* ---- time ---- */

static void expire(struct sr_core *core, struct sr_core_list *list)
{
    struct sr_core_list kept = {0};
    for (struct sr_mail *mail = sr_core_list_pop(list); mail != NULL;
         mail = sr_core_list_pop(list)) {
        struct sr_read *read = read_of(mail);
        if (read->deadline_ms > core->now_ms) {
            sr_core_list_push(&kept, mail);
        } else {
            answer(core, read, core->leader == 0 ? SR_API_NO_LEADER : SR_API_TIMED_OUT);
        }
    }
    *list = kept;
}

/* Questions and answers may be lost: ask again with each tick. A later answer to the same
 * question is as good. */
void sr_core_reads_tick(struct sr_core *core)
{
    struct sr_core_reads *reads = &core->reads;
    struct sr_core_peer *leader = sr_core_peer(core, reads->asked_leader);
    if (reads->asking && reads->asked_leader == 0 && sr_core_leads(core)) {
        probe(core);
    } else if (reads->asking && leader != NULL) {
        ask_leader(core, leader);
    }
    expire(core, &reads->waiting);
    expire(core, &reads->asked);
    expire(core, &reads->ready);
}

void sr_core_reads_close(struct sr_core *core)
{
    struct sr_core_list *lists[] = {&core->reads.waiting, &core->reads.asked, &core->reads.ready};
    for (size_t i = 0; i < 3; i++) {
        for (struct sr_mail *mail = sr_core_list_pop(lists[i]); mail != NULL;
             mail = sr_core_list_pop(lists[i])) {
            answer(core, read_of(mail), SR_API_STOPPED);
        }
    }
}
