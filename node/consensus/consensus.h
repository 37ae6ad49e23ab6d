/* SPDX-License-Identifier: Apache-2.0
 *
 * Consensus as the rest of the node sees it: propose a command, ask for a read index, know who
 * leads. Behind it are one event loop (the consensus loop) with libraft's core and the peer
 * links, and the log's writer thread. docs/architecture.md has the picture.
 *
 * A command is answered by its own node's apply (node/state), or refused from here when it
 * certainly did not and will not happen, or its outcome is unknown.
 */
#ifndef SR_NODE_CONSENSUS_CONSENSUS_H
#define SR_NODE_CONSENSUS_CONSENSUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/mailbox.h"
#include "base/metrics.h"
#include "node/cluster/replicas.h"
#include "node/consensus/progress.h"
#include "node/peer/peers.h"
#include "node/state/applier.h"
#include "proto/limits.h"
#include "storage/raftlog.h"

struct sr_consensus;

struct sr_consensus_member {
    uint64_t id;
    const char *name;
    const char *zone;
    const char *peer_address;
};

struct sr_consensus_options {
    uint64_t cluster_id;
    uint64_t self;
    const struct sr_consensus_member *members; /* the initial cluster, sorted by id; copied */
    size_t member_count;
    bool joins; /* this node was not born with the cluster: its log begins with the leader's */
    const char *peer_listen;
    const struct sr_tls_files *peer_tls;
    unsigned election_timeout_ms; /* 150 .. 60000 */
    unsigned tick_ms;             /* 5 .. 1000, at most a third of the election timeout */
    struct sr_raftlog *log;
    struct sr_raftlog_state log_state;
    struct sr_store *store;
    struct sr_origins *origins;
    uint32_t feature_level;    /* that this node offers */
    uint64_t incarnation;      /* of its data directory */
    uint64_t log_keep_bytes;   /* of log kept behind the flushed state for followers that lag */
    uint64_t log_keep_entries; /* and at most so many entries; 0: no bound */
    /* The node must stop: called once, on any thread, with why. SR_REMOVED: for good, the cluster
     * has removed it. */
    void (*on_failure)(void *arg, const struct sr_err *err);
    /* A bulk connection, on a thread of its own; see struct sr_peer_events. May be NULL. */
    void (*on_bulk)(void *arg, struct sr_bulk *bulk, Strongroom__Hello__Purpose purpose,
                    uint64_t member);
    /* This node needs an image of @member, the leader; on the consensus loop, each second until the
     * node has started from one. May be NULL. */
    void (*on_image_needed)(void *arg, uint64_t member);
    void *arg;
};

/* Start loop and threads: bootstraps the configuration on an empty log, replays otherwise.
 * Refuses (SR_CORRUPT) a log that ends before what the store had made durable. */
int sr_consensus_start(const struct sr_consensus_options *options, struct sr_consensus **ret,
                       struct sr_err *err);

/* Any thread but a loop: lead no more. Hand leadership to an up-to-date voter if we lead, now and
 * whenever it comes back, while everything else goes on; blocks until another member is known to
 * lead, at most @timeout_ms. True when it is. */
bool sr_consensus_yield(struct sr_consensus *consensus, unsigned timeout_ms);
/* Hand leadership to an up-to-date voter if we lead, and take no proposals from now on; blocks
 * the calling thread (not a loop) until done or @timeout_ms. True when we do not lead any more. */
bool sr_consensus_step_down(struct sr_consensus *consensus, unsigned timeout_ms);
/* Any thread: if this node leads, hand leadership to voter @member as soon as it is reachable, and
 * stop trying after SR_REQUEST_TIMEOUT_MS. The last wish counts. No answer: watch who leads. */
void sr_consensus_move_leader(struct sr_consensus *consensus, uint64_t member);
/* Stop everything in order, the applier too; blocks. Frees. */
void sr_consensus_stop(struct sr_consensus *consensus);

/* A command on its way in. The memory passes over with a successful propose. */
struct sr_proposal {
    struct sr_mail mail;
    uint64_t origin;
    uint64_t sequence;
    struct sr_buf command; /* packed strongroom.Command */
    uint64_t deadline_ms;  /* consensus fills it in */
};
void sr_proposal_free(struct sr_proposal *proposal);

/* Any thread. False when SR_PROPOSALS_WAITING_MAX or SR_PROPOSAL_BYTES_WAITING_MAX wait: nothing
 * happened, the proposal stays the caller's (answer TOO_MANY_REQUESTS). Later refusals come as
 * answers to its origin:
 *   NO_LEADER         never proposed: waited too long without a leader
 *   TIMED_OUT_LEADER  handed to a leader that was lost: outcome unknown
 *   TIMED_OUT         in the log of a leader that cannot commit it: outcome unknown
 *   TOO_MANY_REQUESTS the leader is full; did not happen
 *   NO_SPACE          the disk of the leader, this node, is full; did not happen
 *   REQUEST_TOO_LARGE no log entry can hold it; did not happen
 *   STOPPED           this node is leaving; did not happen */
bool sr_consensus_propose(struct sr_consensus *consensus, struct sr_proposal *proposal);

/* A linearizable read on its way in; as above. Answered when this node has applied everything
 * that was acknowledged before the call: error NONE and the index, or NO_LEADER, TIMED_OUT,
 * STOPPED. A change of leader in between is not the caller's concern: the question is asked
 * again. */
struct sr_read {
    struct sr_mail mail;
    uint64_t origin;
    uint64_t sequence;
    uint64_t deadline_ms; /* this and the next: consensus fills them in */
    uint64_t index;
};
bool sr_consensus_read(struct sr_consensus *consensus, struct sr_read *read);

/* Any thread: what the leader last said of each member, of the record or of the configuration, on
 * any node. Returns how many; @ret_age_ms: how old that is, UINT64_MAX when nothing is known. */
size_t sr_consensus_progress(const struct sr_consensus *consensus,
                             struct sr_member_progress out[SR_MEMBERS_MAX], uint64_t *ret_age_ms);
/* Any thread, on the node that an image is taken of: how much of it @member has, of @total bytes.
 * Both 0: it is not taking any. */
void sr_consensus_image_progress(struct sr_consensus *consensus, uint64_t member, uint64_t bytes,
                                 uint64_t total);

/* What is known now; any thread. */
struct sr_consensus_info {
    uint64_t term;
    uint64_t leader; /* member id, or 0 */
    bool is_leader;
    enum sr_role role; /* of this node in the configuration that its log holds */
    size_t voters;     /* in it */
    uint64_t last_index;
    uint64_t commit_index;
    uint64_t applied_index;
    bool log_full; /* this node's disk has no room for the log: nothing is written */
};
void sr_consensus_info(const struct sr_consensus *consensus, struct sr_consensus_info *ret_info);

/* Any thread: tell the leader what this node found at a replica check; lost without a leader. */
void sr_consensus_report_hash(struct sr_consensus *consensus, uint64_t index, int64_t revision,
                              const uint8_t hash[32]);
/* Any thread: the newest report of each member that this node has been told while it led; returns
 * how many. */
size_t sr_consensus_hash_reports(const struct sr_consensus *consensus,
                                 struct sr_replica_report out[SR_MEMBERS_MAX]);

struct sr_consensus_metrics {
    struct sr_gauge proposals_waiting;
    struct sr_counter proposals_failed;
    struct sr_counter proposals_committed;
    struct sr_counter leader_changes;
    struct sr_counter read_rounds;
    struct sr_counter read_rounds_failed;
    struct sr_counter
        followers_beyond_log; /* followers that needed an image: the log was too short */
    struct sr_counter image_holds_given_up; /* log held for one of them beyond the bounds */
    struct sr_counter refused_messages;     /* from peers, that broke a rule of the protocol */
    struct sr_counter membership_changes;   /* of libraft's configuration, as leader */
    struct sr_histogram commit_duration;    /* from raft_apply to apply, on the leader */
};
const struct sr_consensus_metrics *sr_consensus_metrics(const struct sr_consensus *consensus);
const struct sr_peers *sr_consensus_peers(const struct sr_consensus *consensus);

#endif
