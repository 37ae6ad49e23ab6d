/* SPDX-License-Identifier: Apache-2.0
 *
 * The inside of struct sr_core: what its files call of each other. parts.h has what it is made of.
 */
#ifndef SR_NODE_CONSENSUS_INTERNAL_H
#define SR_NODE_CONSENSUS_INTERNAL_H

#include "node/consensus/parts.h"

static inline bool sr_core_guarded(const struct sr_core *core, enum sr_core_guard guard)
{
    return (core->options.guards_off & (uint32_t)guard) == 0;
}

static inline bool sr_core_leads(const struct sr_core *core)
{
    return core->raft.state == RAFT_LEADER;
}

/* core.c */
void sr_core_fail(struct sr_core *core, const struct sr_err *err);
bool sr_core_send(struct sr_core *core, struct sr_core_peer *peer,
                  const Strongroom__Envelope *envelope, const struct sr_bytes *payload,
                  size_t payload_count);
/* The term of an entry in libraft's log, or 0 when it is not there. */
uint64_t sr_core_term_of(const struct sr_core *core, uint64_t index);
uint64_t sr_core_first_in_memory(const struct sr_core *core);

/* heap.c */
void sr_core_heap_init(void);

/* members.c */
struct sr_core_peer *sr_core_peer(struct sr_core *core, uint64_t member); /* NULL: unknown */
/* What libraft calls @member; nobody connects to it. */
void sr_core_address(uint64_t member, char ret_address[24]);
/* In libraft's configuration, or NULL. */
const struct raft_server *sr_core_server(const struct sr_core *core, uint64_t member);
enum sr_role sr_core_role(const struct sr_core *core, uint64_t member);
bool sr_core_is_voter(const struct sr_core *core, uint64_t member);
unsigned sr_core_voters(const struct raft_configuration *conf);
/* In the wish, or NULL. */
const struct sr_core_member *sr_core_wished(const struct sr_core *core, uint64_t member);
void sr_core_members_init(struct sr_core *core, const uint64_t *ids, size_t count);
/* Make and free peers; not while libraft runs. */
void sr_core_members_update(struct sr_core *core);
void sr_core_members_turn(struct sr_core *core);

/* membership.c */
void sr_core_membership_turn(struct sr_core *core);
/* On the leader: @member has answered within an election timeout; it lacks little of our log. */
bool sr_core_responds(struct sr_core *core, uint64_t member);
bool sr_core_caught_up(struct sr_core *core, uint64_t member);

/* progress.c */
void sr_core_progress_turn(struct sr_core *core);
void sr_core_progress_told(struct sr_core *core, const struct sr_core_peer *peer,
                           const Strongroom__Progress *message);

/* hold.c */
/* @peer needs entry @needs, which is not in the log any more. */
void sr_core_hold_begin(struct sr_core *core, struct sr_core_peer *peer, uint64_t needs);
void sr_core_hold_turn(struct sr_core *core);
/* How much of the log may be released, if nothing else speaks against @index. */
uint64_t sr_core_hold_limit(const struct sr_core *core, uint64_t index);
void sr_core_image_needed(struct sr_core *core, const struct sr_core_peer *peer,
                          const Strongroom__ImageNeeded *message);

/* election.c */
void sr_core_election_tick(struct sr_core *core); /* before libraft's */
bool sr_core_sole_voter(const struct sr_core *core);
/* Around the delivery of a request for our vote. */
int sr_core_election_vote_as_voter(struct sr_core *core);
void sr_core_election_voted(struct sr_core *core, int role);

/* boot.c */
int sr_core_boot_load(struct sr_core *core, const struct sr_core_options *options,
                      struct sr_err *err);
void sr_core_boot_close(struct sr_core *core);

/* raft_io.c */
void sr_core_io_init(struct sr_core *core);
void sr_core_io_check_stall(struct sr_core *core);
/* Make libraft's term and vote durable. */
int sr_core_write_vote(struct sr_core *core);

/* fsm.c */
void sr_core_fsm_init(struct sr_core *core);
void sr_core_applies_drain(struct sr_core *core);
void sr_core_applies_close(struct sr_core *core);
/* Entries and bytes between libraft and the state. */
void sr_core_backlog(const struct sr_core *core, size_t *ret_entries, size_t *ret_bytes);

/* changes.c */
void sr_core_changes_add(struct sr_core *core, uint64_t index, const void *data, size_t size);
/* Entries from @index on are void. */
void sr_core_changes_truncate(struct sr_core *core, uint64_t index);
/* Whether entry @index, the next to be handed over, is one; its bytes pass to the caller. */
bool sr_core_changes_take(struct sr_core *core, uint64_t index, struct sr_buf *ret_data);
/* The index of the last one at or before @index, which is not before what was handed over. */
uint64_t sr_core_changes_last(const struct sr_core *core, uint64_t index);
void sr_core_changes_close(struct sr_core *core);

/* raft_encode.c */
void sr_core_encode(struct sr_core *core, const struct raft_message *message);
/* AppendEntries of @n entries in as many frames as it takes. */
void sr_core_encode_append(struct sr_core *core, struct sr_core_peer *peer,
                           const struct raft_append_entries *append);
/* raft_decode.c */
void sr_core_decode(struct sr_core *core, struct sr_core_peer *peer, const struct sr_frame *frame);

/* configuration.c */
int sr_core_configuration_check(struct sr_bytes data, struct sr_err *err);

/* batch.c */
void sr_core_batches_propose(struct sr_core *core);
void sr_core_batches_applied(struct sr_core *core, uint64_t index, uint64_t term);
void sr_core_batches_lost_leadership(struct sr_core *core);
void sr_core_batches_expire(struct sr_core *core);
void sr_core_batches_reap(struct sr_core *core);
void sr_core_batches_close(struct sr_core *core);
void sr_core_batch_refuse(struct sr_core *core, struct sr_core_batch *batch,
                          enum sr_api_error error);
void sr_core_batch_drop(struct sr_core *core, struct sr_core_batch *batch);
void sr_core_proposal_refuse(struct sr_core *core, struct sr_proposal *proposal,
                             enum sr_api_error error);

void sr_core_batch_committed(struct sr_core *core, struct sr_core_batch *batch);

/* lost.c */
void sr_core_lost_link(struct sr_core *core, uint64_t member);
void sr_core_lost_applied(struct sr_core *core, uint64_t term, const uint8_t *data, size_t size);

/* forward.c */
void sr_core_forward(struct sr_core *core);
void sr_core_forward_received(struct sr_core *core, struct sr_core_peer *peer,
                              const struct sr_frame *frame);
void sr_core_forward_replied(struct sr_core *core, struct sr_core_peer *peer,
                             const Strongroom__ForwardReply *reply);
void sr_core_forward_reply(struct sr_core *core, const struct sr_core_guest *guest,
                           const struct sr_core_batch *batch, bool busy);
void sr_core_guest_free(struct sr_core_guest *guest);

/* reads.c */
void sr_core_reads_turn(struct sr_core *core);
void sr_core_reads_tick(struct sr_core *core);
void sr_core_reads_leader_changed(struct sr_core *core);
void sr_core_reads_link_lost(struct sr_core *core, uint64_t member);
void sr_core_reads_applied(struct sr_core *core);
void sr_core_reads_close(struct sr_core *core);
void sr_core_reads_ask(struct sr_core *core, struct sr_core_peer *peer, uint64_t round);
void sr_core_reads_told(struct sr_core *core, struct sr_core_peer *peer,
                        const Strongroom__ReadIndexReply *reply);
void sr_core_reads_probed(struct sr_core *core, struct sr_core_peer *peer,
                          const Strongroom__TermProbe *question);
void sr_core_reads_confirmed(struct sr_core *core, struct sr_core_peer *peer,
                             const Strongroom__TermProbeReply *reply);

/* leadership.c */
void sr_core_leadership_notice(struct sr_core *core);
/* Hand over, if that is wanted, as soon as it is possible. */
void sr_core_leadership_turn(struct sr_core *core);

/* space.c */
void sr_core_space_turn(struct sr_core *core);

/* snapshots.c */
void sr_core_snapshots_turn(struct sr_core *core);
int sr_core_snapshots_put(struct sr_core *core, const struct raft_snapshot *snapshot,
                          struct raft_io_snapshot_put *request, raft_io_snapshot_put_cb cb);
void sr_core_snapshots_task_done(struct sr_core *core, struct sr_core_task *task);
void sr_core_snapshots_close(struct sr_core *core);
/* Whether the manifest that libraft proposes to take now is wanted. */
bool sr_core_snapshots_wanted(const struct sr_core *core);

/* manifest.c */
struct sr_core_manifest {
    uint64_t index;
    uint64_t term;
    uint64_t configuration_index;
    struct sr_bytes configuration; /* as libraft encodes it */
    struct sr_bytes data;          /* of the state machine */
};
void sr_core_manifest_pack(const struct sr_core_manifest *manifest, struct sr_buf *out);
int sr_core_manifest_unpack(struct sr_bytes data, struct sr_core_manifest *ret_manifest,
                            struct sr_err *err);

/* feed.c */
void sr_core_feed_wanted(struct sr_core *core, struct sr_core_peer *peer);
void sr_core_feed_result(struct sr_core *core, struct sr_core_peer *peer, uint64_t rejected,
                         uint64_t last_index);
void sr_core_feed_task_done(struct sr_core *core, struct sr_core_task *task);
void sr_core_feed_turn(struct sr_core *core);
void sr_core_feed_stop(struct sr_core_peer *peer);

#endif
