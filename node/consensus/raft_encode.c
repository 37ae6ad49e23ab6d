/* SPDX-License-Identifier: Apache-2.0
 *
 * libraft's messages into frames. Everything is copied before the call returns.
 *
 * An AppendEntries larger than a frame becomes several, each valid by itself. And entries that
 * are under way already are not sent again: in PROBE libraft repeats them with every heartbeat,
 * which for us is every tick, until the first answer. The repeat becomes a heartbeat that begins
 * after them; links are in order, so they will be there, or it is refused and libraft steps back.
 */
#include "node/consensus/internal.h"

static bool send_simple(struct sr_core *core, struct sr_core_peer *peer,
                        const Strongroom__Envelope *envelope)
{
    return sr_core_send(core, peer, envelope, NULL, 0);
}

/* One frame of the first @count entries of @append. */
static bool send_entries(struct sr_core *core, struct sr_core_peer *peer,
                         const struct raft_append_entries *append, unsigned count)
{
    Strongroom__AppendEntries message = STRONGROOM__APPEND_ENTRIES__INIT;
    message.term = append->term;
    message.prev_log_index = append->prev_log_index;
    message.prev_log_term = append->prev_log_term;
    message.leader_commit = append->leader_commit;
    for (unsigned i = 0; i < count; i++) {
        const struct raft_entry *entry = &append->entries[i];
        strongroom__entry__init(&core->entries[i]);
        core->entries[i].term = entry->term;
        core->entries[i].type = (uint32_t)entry->type;
        core->entries[i].length = (uint32_t)entry->buf.len;
        core->entry_pointers[i] = &core->entries[i];
        core->pieces[i] = (struct sr_bytes){.data = entry->buf.base, .size = entry->buf.len};
    }
    message.n_entries = count;
    message.entries = core->entry_pointers;
    Strongroom__Envelope envelope = STRONGROOM__ENVELOPE__INIT;
    envelope.message_case = STRONGROOM__ENVELOPE__MESSAGE_APPEND_ENTRIES;
    envelope.append_entries = &message;
    return sr_core_send(core, peer, &envelope, core->pieces, count);
}

static unsigned fill_frame(const struct raft_append_entries *append)
{
    size_t bytes = 0;
    unsigned count = 0;
    while (count < append->n_entries && count < SR_INFLIGHT_ENTRIES_MAX) {
        bytes += append->entries[count].buf.len;
        if (count > 0 && bytes > SR_CORE_FRAME_PAYLOAD_MAX) {
            break;
        }
        count++;
    }
    return count;
}

static void advance(struct raft_append_entries *append, unsigned count)
{
    if (count > 0) {
        append->prev_log_index += count;
        append->prev_log_term = append->entries[count - 1].term;
        append->entries += count;
        append->n_entries -= count;
    }
}

void sr_core_encode_append(struct sr_core *core, struct sr_core_peer *peer,
                           const struct raft_append_entries *append)
{
    struct raft_append_entries rest = *append;
    bool sent = true;
    do {
        unsigned count = fill_frame(&rest);
        sent = send_entries(core, peer, &rest, count);
        advance(&rest, count);
    } while (sent && rest.n_entries > 0);
    if (!sent) {
        peer->sent_last = 0;
    }
}

/* libraft's own entries: without those under way. */
static void encode_append(struct sr_core *core, struct sr_core_peer *peer,
                          const struct raft_append_entries *append)
{
    struct raft_append_entries rest = *append;
    uint64_t last = append->prev_log_index + append->n_entries;
    if (append->n_entries > 0) {
        sr_core_feed_stop(peer); /* libraft has what the follower needs in memory */
    }
    bool under_way = peer->sent_last > 0 && peer->sent_term == append->term &&
                     append->prev_log_index >= peer->sent_prev &&
                     append->prev_log_index < peer->sent_last &&
                     core->now_ms - peer->sent_ms < core->options.election_timeout_ms;
    if (under_way && append->n_entries > 0 && sr_core_guarded(core, SR_GUARD_REPEATS)) {
        uint64_t skip = peer->sent_last - append->prev_log_index;
        if (skip >= append->n_entries) {
            rest.n_entries = 0;
        } else {
            advance(&rest, (unsigned)skip);
        }
    }
    if (rest.n_entries > 0) {
        if (!under_way) {
            peer->sent_prev = append->prev_log_index;
            peer->sent_ms = core->now_ms;
        }
        peer->sent_term = append->term;
        peer->sent_last = last;
    }
    sr_core_encode_append(core, peer, &rest);
}

static void encode_append_result(struct sr_core *core, struct sr_core_peer *peer,
                                 const struct raft_append_entries_result *result)
{
    Strongroom__AppendEntriesResult message = STRONGROOM__APPEND_ENTRIES_RESULT__INIT;
    message.term = result->term;
    message.rejected = result->rejected;
    /* libraft leaves it unset in its answer to a leader of an older term. */
    message.last_log_index = result->term > peer->append_term ? 0 : result->last_log_index;
    message.features = result->features;
    message.capacity = result->capacity;
    Strongroom__Envelope envelope = STRONGROOM__ENVELOPE__INIT;
    envelope.message_case = STRONGROOM__ENVELOPE__MESSAGE_APPEND_ENTRIES_RESULT;
    envelope.append_entries_result = &message;
    send_simple(core, peer, &envelope);
}

static void encode_vote(struct sr_core *core, struct sr_core_peer *peer,
                        const struct raft_request_vote *vote)
{
    Strongroom__RequestVote message = STRONGROOM__REQUEST_VOTE__INIT;
    message.term = vote->term;
    message.candidate_id = vote->candidate_id;
    message.last_log_index = vote->last_log_index;
    message.last_log_term = vote->last_log_term;
    message.disrupt_leader = vote->disrupt_leader;
    message.pre_vote = vote->pre_vote;
    Strongroom__Envelope envelope = STRONGROOM__ENVELOPE__INIT;
    envelope.message_case = STRONGROOM__ENVELOPE__MESSAGE_REQUEST_VOTE;
    envelope.request_vote = &message;
    send_simple(core, peer, &envelope);
}

static void encode_vote_result(struct sr_core *core, struct sr_core_peer *peer,
                               const struct raft_request_vote_result *result)
{
    Strongroom__RequestVoteResult message = STRONGROOM__REQUEST_VOTE_RESULT__INIT;
    message.term = result->term;
    message.vote_granted = result->vote_granted;
    message.pre_vote = result->pre_vote;
    message.features = result->features;
    message.capacity = result->capacity;
    Strongroom__Envelope envelope = STRONGROOM__ENVELOPE__INIT;
    envelope.message_case = STRONGROOM__ENVELOPE__MESSAGE_REQUEST_VOTE_RESULT;
    envelope.request_vote_result = &message;
    send_simple(core, peer, &envelope);
}

static void encode_timeout_now(struct sr_core *core, struct sr_core_peer *peer,
                               const struct raft_timeout_now *now)
{
    Strongroom__TimeoutNow message = STRONGROOM__TIMEOUT_NOW__INIT;
    message.term = now->term;
    message.last_log_index = now->last_log_index;
    message.last_log_term = now->last_log_term;
    Strongroom__Envelope envelope = STRONGROOM__ENVELOPE__INIT;
    envelope.message_case = STRONGROOM__ENVELOPE__MESSAGE_TIMEOUT_NOW;
    envelope.timeout_now = &message;
    send_simple(core, peer, &envelope);
}

void sr_core_encode(struct sr_core *core, const struct raft_message *message)
{
    struct sr_core_peer *peer = sr_core_peer(core, message->server_id);
    switch (message->type) {
    case RAFT_APPEND_ENTRIES:
        encode_append(core, peer, &message->append_entries);
        break;
    case RAFT_APPEND_ENTRIES_RESULT:
        encode_append_result(core, peer, &message->append_entries_result);
        break;
    case RAFT_REQUEST_VOTE:
        encode_vote(core, peer, &message->request_vote);
        break;
    case RAFT_REQUEST_VOTE_RESULT:
        encode_vote_result(core, peer, &message->request_vote_result);
        break;
    case RAFT_TIMEOUT_NOW:
        encode_timeout_now(core, peer, &message->timeout_now);
        break;
    case RAFT_INSTALL_SNAPSHOT:
        break; /* raft_io.c keeps it back */
    }
}
