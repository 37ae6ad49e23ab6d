/* SPDX-License-Identifier: Apache-2.0
 *
 * Frames into libraft's messages. libraft's own checks are assertions that were compiled out: a
 * message that breaks its rules corrupts it silently. So whatever could is refused here, counted,
 * and never delivered. Who sent a message is what the link proved, not what the message says.
 *
 * Four messages are kept back or changed though they break no rule of Raft:
 *   - a vote result when we are no candidate: libraft reads a union that holds something else then;
 *   - entries that contradict committed ones: libraft frees them twice. Somebody's log is damaged,
 *     ours or the leader's: this node stops;
 *   - entries beyond what we can apply: without them the message is a heartbeat, the leader keeps
 *     them for later;
 *   - entries that begin before those we have in memory: libraft takes what it forgot for what it
 *     never had, and appends entry 1 after entry 20. All up to our manifest is committed, so the
 *     leader has the same: the message begins after it.
 */
#include <inttypes.h>
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "node/consensus/internal.h"

/* A follower this many times over the bounds of the apply backlog takes no more entries. */
#define BACKLOG_FACTOR 4

static void refuse(struct sr_core *core, const struct sr_core_peer *peer, const char *why)
{
    sr_count(&core->metrics->refused_messages, 1);
    sr_log(SR_LOG_ERROR, "consensus", "message refused", "member=%" PRIu64 " reason=\"%s\"",
           peer->id, why);
}

static void deliver(struct sr_core *core, struct sr_core_peer *peer, struct raft_message *message)
{
    message->server_id = peer->id;
    message->server_address = peer->address;
    core->recv_cb(&core->io, message);
}

/* ---- entries ---- */

static const char *check_append(const struct sr_core *core,
                                const Strongroom__AppendEntries *message, struct sr_bytes payload)
{
    struct sr_reader reader = sr_reader_of(payload.data, payload.size);
    uint64_t term = message->prev_log_term;
    if (message->term == 0 || term > message->term) {
        return "entries: term";
    }
    if ((message->prev_log_index == 0) != (term == 0)) {
        return "entries: previous index without previous term";
    }
    if (message->n_entries > SR_INFLIGHT_ENTRIES_MAX) {
        return "entries: too many";
    }
    if (message->term == raft_current_term(&core->raft) && core->raft.state == RAFT_LEADER) {
        return "entries: a second leader in this term";
    }
    for (size_t i = 0; i < message->n_entries; i++) {
        const Strongroom__Entry *entry = message->entries[i];
        struct sr_bytes data = sr_read_bytes(&reader, entry->length);
        if (entry->term < term || entry->term == 0 || entry->term > message->term) {
            return "entries: term of an entry";
        }
        if (entry->type < RAFT_COMMAND || entry->type > RAFT_CHANGE) {
            return "entries: type of an entry";
        }
        if (reader.failed || data.size > SR_BATCH_BYTES_MAX) {
            return "entries: length of an entry";
        }
        if (entry->type == RAFT_CHANGE && sr_core_configuration_check(data, NULL) != SR_OK) {
            return "entries: configuration";
        }
        term = entry->term;
    }
    return sr_reader_left(&reader) == 0 ? NULL : "entries: payload";
}

/* Whether an entry that we know to be committed has another term than @term. */
static bool contradicts(const struct sr_core *core, uint64_t index, uint64_t term)
{
    uint64_t ours = index == 0 ? 0 : sr_core_term_of(core, index);
    return index <= core->raft.commit_index && ours != 0 && ours != term;
}

static bool contradiction(struct sr_core *core, const struct sr_core_peer *peer,
                          const Strongroom__AppendEntries *message)
{
    if (message->term < raft_current_term(&core->raft) ||
        !sr_core_guarded(core, SR_GUARD_COMMITTED)) {
        return false; /* of the past: libraft refuses it before it looks */
    }
    uint64_t index = message->prev_log_index;
    bool found = contradicts(core, index, message->prev_log_term);
    for (size_t i = 0; i < message->n_entries && !found; i++) {
        index++;
        found = contradicts(core, index, message->entries[i]->term);
    }
    if (found) {
        struct sr_err err;
        sr_err_set(&err, SR_CORRUPT,
                   "entry %" PRIu64 " is committed here in term %" PRIu64 ", but leader %" PRIu64
                   " has another: one of the logs is damaged",
                   index, sr_core_term_of(core, index), peer->id);
        sr_core_fail(core, &err);
    }
    return found;
}

static bool overloaded(const struct sr_core *core)
{
    size_t entries = 0;
    size_t bytes = 0;
    sr_core_backlog(core, &entries, &bytes);
    return entries > (size_t)BACKLOG_FACTOR * SR_APPLY_ENTRIES_MAX ||
           bytes > (size_t)BACKLOG_FACTOR * SR_APPLY_BYTES_MAX;
}

/* Entries [from, to) of @message as a message of their own, in one allocation as libraft wants. */
static void deliver_part(struct sr_core *core, struct sr_core_peer *peer,
                         const Strongroom__AppendEntries *message, size_t from, size_t to,
                         struct sr_reader *reader)
{
    struct raft_message part = {.type = RAFT_APPEND_ENTRIES};
    struct raft_append_entries *append = &part.append_entries;
    append->term = message->term;
    append->prev_log_index = message->prev_log_index + from;
    append->prev_log_term = from == 0 ? message->prev_log_term : message->entries[from - 1]->term;
    append->leader_commit = message->leader_commit;
    append->n_entries = (unsigned)(to - from);
    if (to > from) {
        size_t bytes = 0;
        for (size_t i = from; i < to; i++) {
            bytes += message->entries[i]->length;
        }
        struct sr_bytes data = sr_read_bytes(reader, bytes);
        uint8_t *batch = sr_memdup(data.data, data.size);
        uint8_t *next = batch;
        append->entries = sr_calloc(to - from, sizeof(*append->entries));
        for (size_t i = from; i < to; i++) {
            struct raft_entry *entry = &append->entries[i - from];
            entry->term = message->entries[i]->term;
            entry->type = (enum raft_entry_type)message->entries[i]->type;
            entry->buf.base = next;
            entry->buf.len = message->entries[i]->length;
            entry->batch = batch;
            next += entry->buf.len;
        }
    }
    deliver(core, peer, &part);
}

/* How many entries of @message to leave out because they are forgotten here. All of them, and
 * more: SIZE_MAX. */
static size_t forgotten(const struct sr_core *core, const Strongroom__AppendEntries *message)
{
    const struct raft_trail *trail = &core->raft.trail;
    uint64_t prev = message->prev_log_index;
    if (prev >= trail->snapshot.index || prev > trail->offset || trail->offset == 0 ||
        message->term < raft_current_term(&core->raft) ||
        !sr_core_guarded(core, SR_GUARD_FORGOTTEN)) {
        return 0;
    }
    uint64_t skip = trail->snapshot.index - prev;
    return skip <= message->n_entries ? (size_t)skip : SIZE_MAX;
}

/* What we have and the leader too, with nothing after it. */
static void deliver_known(struct sr_core *core, struct sr_core_peer *peer,
                          const Strongroom__AppendEntries *message)
{
    struct raft_message part = {.type = RAFT_APPEND_ENTRIES};
    part.append_entries = (struct raft_append_entries){
        .term = message->term,
        .prev_log_index = core->raft.trail.snapshot.index,
        .prev_log_term = core->raft.trail.snapshot.term,
        .leader_commit = message->leader_commit,
    };
    deliver(core, peer, &part);
}

/* libraft takes note of a committed configuration only if it is the last one that it has received.
 * So what is committed before this one is told first; else a rollback of this one would go back to
 * the one before that. */
static void commit_before_change(struct sr_core *core, struct sr_core_peer *peer,
                                 const Strongroom__AppendEntries *message, size_t from, size_t end,
                                 struct sr_reader *reader)
{
    uint64_t prev = message->prev_log_index + from;
    uint64_t term = from == 0 ? message->prev_log_term : message->entries[from - 1]->term;
    if (from < end && message->entries[from]->type == RAFT_CHANGE && prev > 0 &&
        core->raft.commit_index < prev && core->raft.commit_index < message->leader_commit &&
        sr_core_term_of(core, prev) == term && sr_core_guarded(core, SR_GUARD_COMMIT_FIRST)) {
        deliver_part(core, peer, message, from, from, reader);
    }
}

static void decode_append(struct sr_core *core, struct sr_core_peer *peer,
                          const Strongroom__AppendEntries *message, struct sr_bytes payload)
{
    const char *why = check_append(core, message, payload);
    if (why != NULL) {
        refuse(core, peer, why);
        return;
    }
    if (contradiction(core, peer, message)) {
        return;
    }
    peer->append_term = message->term;
    if (message->term >= raft_current_term(&core->raft)) {
        core->leader_heard_ms = core->now_ms;
    }
    struct sr_reader reader = sr_reader_of(payload.data, payload.size);
    size_t from = forgotten(core, message);
    if (from == SIZE_MAX) {
        deliver_known(core, peer, message);
        return;
    }
    for (size_t i = 0; i < from; i++) {
        (void)sr_read_bytes(&reader, message->entries[i]->length);
    }
    size_t end = overloaded(core) ? from : message->n_entries;
    do {
        /* libraft notes a configuration at the index of the message's first entry. */
        size_t to = from + 1;
        while (to < end && (message->entries[to]->type != RAFT_CHANGE ||
                            !sr_core_guarded(core, SR_GUARD_SPLIT_CHANGE))) {
            to++;
        }
        to = to < end ? to : end;
        commit_before_change(core, peer, message, from, end, &reader);
        deliver_part(core, peer, message, from, to, &reader);
        from = to;
    } while (from < end && !core->failed);
}

static void decode_append_result(struct sr_core *core, struct sr_core_peer *peer,
                                 const Strongroom__AppendEntriesResult *message)
{
    uint64_t term = raft_current_term(&core->raft);
    if (message->term == 0 || message->features > UINT16_MAX || message->capacity > UINT16_MAX) {
        refuse(core, peer, "result: term or features");
        return;
    }
    if (message->term == term && message->rejected != 0 &&
        message->last_log_index >= message->rejected) {
        refuse(core, peer, "result: refused what it has");
        return;
    }
    if (message->term == term && sr_core_leads(core)) {
        peer->answered_ms = core->now_ms;
        if (message->rejected != 0 || message->last_log_index >= peer->sent_last) {
            peer->sent_last = 0; /* nothing is under way any more */
        }
        sr_core_feed_result(core, peer, message->rejected, message->last_log_index);
    }
    struct raft_message result = {.type = RAFT_APPEND_ENTRIES_RESULT};
    result.append_entries_result = (struct raft_append_entries_result){
        .version = 2,
        .term = message->term,
        .rejected = message->rejected,
        .last_log_index = message->last_log_index,
        .features = (unsigned short)message->features,
        .capacity = (unsigned short)message->capacity,
    };
    deliver(core, peer, &result);
}

/* ---- elections ---- */

static void decode_vote(struct sr_core *core, struct sr_core_peer *peer,
                        const Strongroom__RequestVote *message)
{
    if (message->term == 0 || message->candidate_id != peer->id ||
        (message->last_log_index == 0) != (message->last_log_term == 0)) {
        refuse(core, peer, "vote: term, candidate or last entry");
        return;
    }
    struct raft_message vote = {.type = RAFT_REQUEST_VOTE};
    vote.request_vote = (struct raft_request_vote){
        .version = 2,
        .term = message->term,
        .candidate_id = message->candidate_id,
        .last_log_index = message->last_log_index,
        .last_log_term = message->last_log_term,
        .disrupt_leader = message->disrupt_leader,
        .pre_vote = message->pre_vote,
    };
    int role = sr_core_election_vote_as_voter(core);
    deliver(core, peer, &vote);
    sr_core_election_voted(core, role);
}

static void decode_vote_result(struct sr_core *core, struct sr_core_peer *peer,
                               const Strongroom__RequestVoteResult *message)
{
    if (message->term == 0 || message->features > UINT16_MAX || message->capacity > UINT16_MAX) {
        refuse(core, peer, "vote result: term or features");
        return;
    }
    if (core->raft.state != RAFT_CANDIDATE && sr_core_guarded(core, SR_GUARD_VOTE_RESULT)) {
        return; /* late, as happens after every election */
    }
    struct raft_message result = {.type = RAFT_REQUEST_VOTE_RESULT};
    result.request_vote_result = (struct raft_request_vote_result){
        .version = 2,
        .term = message->term,
        .vote_granted = message->vote_granted,
        .pre_vote = message->pre_vote,
        .features = (unsigned short)message->features,
        .capacity = (unsigned short)message->capacity,
    };
    deliver(core, peer, &result);
}

static void decode_timeout_now(struct sr_core *core, struct sr_core_peer *peer,
                               const Strongroom__TimeoutNow *message)
{
    if (message->term == 0 || (message->last_log_index == 0) != (message->last_log_term == 0)) {
        refuse(core, peer, "timeout now: term or last entry");
        return;
    }
    if (sr_core_sole_voter(core)) {
        return; /* of a leader that has taken its own vote: it would skip the election */
    }
    struct raft_message now = {.type = RAFT_TIMEOUT_NOW};
    now.timeout_now = (struct raft_timeout_now){
        .term = message->term,
        .last_log_index = message->last_log_index,
        .last_log_term = message->last_log_term,
    };
    deliver(core, peer, &now);
}

void sr_core_decode(struct sr_core *core, struct sr_core_peer *peer, const struct sr_frame *frame)
{
    const Strongroom__Envelope *envelope = frame->envelope;
    switch (envelope->message_case) {
    case STRONGROOM__ENVELOPE__MESSAGE_APPEND_ENTRIES:
        decode_append(core, peer, envelope->append_entries, frame->payload);
        break;
    case STRONGROOM__ENVELOPE__MESSAGE_APPEND_ENTRIES_RESULT:
        decode_append_result(core, peer, envelope->append_entries_result);
        break;
    case STRONGROOM__ENVELOPE__MESSAGE_REQUEST_VOTE:
        decode_vote(core, peer, envelope->request_vote);
        break;
    case STRONGROOM__ENVELOPE__MESSAGE_REQUEST_VOTE_RESULT:
        decode_vote_result(core, peer, envelope->request_vote_result);
        break;
    case STRONGROOM__ENVELOPE__MESSAGE_TIMEOUT_NOW:
        decode_timeout_now(core, peer, envelope->timeout_now);
        break;
    default:
        refuse(core, peer, "unknown message");
        break;
    }
}
