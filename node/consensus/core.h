/* SPDX-License-Identifier: Apache-2.0
 *
 * Consensus without threads, loop, disk or network: struct raft with our raft_io and raft_fsm,
 * and the queues around them. The world is a table of functions, so that the node and a simulator
 * run the same code. One thread; nothing here blocks but set_vote.
 *
 *   propose, read ─► waiting ─► one log entry, one read round ─► libraft ─► env: log, send, apply
 *   receive ───────► validated, split ─────────────────────────► libraft
 *
 * Inputs only queue or step libraft; what follows from them is done once in sr_core_turn_end, so
 * that everything which arrived in one turn of the loop shares an entry, a round and a frame.
 *
 * libraft is compiled without assertions and frees twice on error paths, so no callback of ours
 * ever returns an error to it: a failure ends the node (env.fail), and from then on the core
 * neither answers nor sends anything.
 */
#ifndef SR_NODE_CONSENSUS_CORE_H
#define SR_NODE_CONSENSUS_CORE_H

#include <raft.h>

#include "node/consensus/consensus.h"
#include "proto/limits.h"

struct sr_core;

/* One write to the log, in order; the env gives it back with sr_core_op_done when it is durable. */
enum sr_core_op_kind { SR_CORE_APPEND, SR_CORE_TRUNCATE };
struct sr_core_op {
    struct sr_mail mail; /* the env's */
    enum sr_core_op_kind kind;
    uint64_t index;                   /* of the first entry that is appended or void */
    const struct raft_entry *entries; /* libraft's, valid until done */
    unsigned count;
    /* The core's. */
    struct sr_core_op *next;
    uint64_t last; /* what its completion makes durable */
    uint64_t queued_ms;
    struct raft_io_append *request;
};

/* Work that may block, for another thread than the core's; given back with sr_core_task_done. */
enum sr_core_task_kind { SR_CORE_FETCH, SR_CORE_MANIFEST, SR_CORE_RELEASE };
struct sr_core_fetched {
    uint64_t term;
    uint32_t type;
    uint32_t size;
};
struct sr_core_task {
    struct sr_mail mail;
    enum sr_core_task_kind kind;
    uint64_t index;     /* fetch: the first entry; release: the last one */
    size_t bytes_max;   /* fetch: at least one entry, then up to this much */
    struct sr_buf data; /* manifest: what to write; fetch: the payloads found, back to back */
    uint64_t prev_term; /* fetch, found: of the entry before @index */
    struct sr_core_fetched *entries;
    size_t count;
    uint64_t member; /* the core's, as the next */
    uint64_t ticket;
    int status;
    struct sr_err err;
};
/* Do @task on @log: any thread that may block. */
void sr_core_task_run(struct sr_core_task *task, struct sr_raftlog *log);
void sr_core_task_free(struct sr_core_task *task); /* NULL is fine */

struct sr_core_env {
    uint64_t (*now_ns)(void *arg);
    uint32_t (*random)(void *arg);
    /* ---- disk; the first three only from sr_core_start ---- */
    int (*log_read)(void *arg, uint64_t index, struct sr_buf *scratch,
                    struct sr_log_entry *ret_entry, struct sr_err *err);
    int (*log_append_now)(void *arg, const struct sr_log_entry *entry, struct sr_err *err);
    int (*get_manifest)(void *arg, struct sr_buf *ret_data, struct sr_err *err);
    /* Durable when it returns: libraft answers votes right after it. */
    int (*set_vote)(void *arg, uint64_t term, uint64_t voted_for, struct sr_err *err);
    void (*log_submit)(void *arg, struct sr_core_op *op);
    void (*task_submit)(void *arg, struct sr_core_task *task);
    /* ---- network; false when it could not be queued ---- */
    bool (*send)(void *arg, uint64_t member, const Strongroom__Envelope *envelope,
                 const struct sr_bytes *payload, size_t payload_count);
    bool (*is_up)(void *arg, uint64_t member); /* as sr_core_link would say */
    /* ---- state ---- */
    /* Every committed index in order, whatever it is: @type as in raft.h. A barrier's bytes mean
     * nothing (@data NULL); a configuration's are libraft's encoding. @data is valid during the
     * call. */
    void (*apply)(void *arg, uint64_t index, uint64_t term, uint32_t type, const uint8_t *data,
                  size_t size);
    void (*apply_backlog)(void *arg, size_t *ret_entries, size_t *ret_bytes);
    uint64_t (*durable_index)(void *arg);
    /* The leader, @member, says that this node needs an image of its state: each second, until it
     * has started from one. Cheap. */
    void (*image_needed)(void *arg, uint64_t member);
    /* ---- who asked ---- */
    void (*answer)(void *arg, uint64_t origin, uint64_t sequence, enum sr_api_error error,
                   uint64_t index);
    /* The core is done with it: frees. */
    void (*proposal_done)(void *arg, struct sr_proposal *proposal);
    void (*read_done)(void *arg, struct sr_read *read);
    /* The node must stop; called once. */
    void (*fail)(void *arg, const struct sr_err *err);
    void *arg;
};

/* A member as the cluster record wants it. */
struct sr_core_member {
    uint64_t id;
    bool voter;
};

struct sr_core_options {
    uint64_t self;
    /* Ids, ascending; copied. They make the configuration of a log that is born here, and are
     * whom this node speaks to until sr_core_set_members. */
    const uint64_t *members;
    size_t member_count;
    bool joins; /* an empty log stays so: its first entries come from the cluster's leader */
    unsigned election_timeout_ms;
    struct sr_raftlog_state log_state;
    uint64_t log_bytes;         /* on disk at open */
    uint64_t log_keep_bytes;    /* see struct sr_consensus_options */
    uint64_t log_keep_entries;  /* likewise */
    size_t snapshot_bytes;      /* of log between two manifests; 0: 16 MiB */
    size_t trailing_bytes;      /* of log kept in memory behind a manifest; 0: 4 MiB */
    uint64_t hold_bytes;        /* of log held for a follower with an image; 0: see limits.h */
    unsigned entries_in_flight; /* own entries not yet committed; 0: 2 */
    struct sr_consensus_metrics *metrics;
    struct sr_core_env env;
    uint32_t guards_off; /* tests only: enum sr_core_guard */
};

/* Fences against defects of libraft and against subtle errors of ours. Tests turn one off to
 * prove that they would notice its absence; nothing else does. */
enum sr_core_guard {
    SR_GUARD_SPLIT_CHANGE = 1 << 0,    /* a configuration entry comes first in its message */
    SR_GUARD_VOTE_RESULT = 1 << 1,     /* vote results reach candidates only */
    SR_GUARD_READ_FLOOR = 1 << 2,      /* a read index is at least the last index at election */
    SR_GUARD_READ_ROUND = 1 << 3,      /* a read asks a majority for its term */
    SR_GUARD_APPLY_PERSISTED = 1 << 4, /* apply only what the own log holds durably */
    SR_GUARD_COMMITTED = 1 << 5,       /* a leader that contradicts committed entries: stop */
    SR_GUARD_FORGOTTEN = 1 << 6,       /* no entries from before what is in memory */
    SR_GUARD_SNAPSHOT_BACK = 1 << 7,   /* no manifest at a commit index that stepped back */
    SR_GUARD_TRAILING = 1 << 8,        /* something stays in memory behind a manifest */
    SR_GUARD_MANIFEST_HOLD = 1 << 9,   /* no manifest before the state is durable up to it */
    SR_GUARD_REPEATS = 1 << 10,        /* entries under way are not sent again */
    SR_GUARD_NUMBERS = 1 << 11,        /* questions of an earlier run are not taken for ours */
    SR_GUARD_CHANGE_TERM = 1 << 12,    /* an entry of this term before a change of members */
    SR_GUARD_SOLE_TERM = 1 << 13,      /* a sole voter leads in a term of its own */
    SR_GUARD_LEARNER_VOTES = 1 << 14,  /* who is asked for a vote gives it, learner or not */
    SR_GUARD_CONFIGURATION = 1 << 15,  /* a manifest has the configuration of its index */
    SR_GUARD_COMMIT_FIRST = 1 << 16,   /* commits are told before the next configuration */
};

/* Gives birth to an empty log unless this node joins, replays otherwise. SR_CORRUPT for a log that
 * cannot be continued. */
int sr_core_start(const struct sr_core_options *options, struct sr_core **ret, struct sr_err *err);
/* Everything that waits is answered STOPPED; ops and tasks must all have been given back, done or
 * not, before. Frees. */
void sr_core_stop(struct sr_core *core);

void sr_core_tick(struct sr_core *core);
void sr_core_receive(struct sr_core *core, uint64_t member, const struct sr_frame *frame);
void sr_core_link(struct sr_core *core, uint64_t member, bool up);
/* In the order of submission. */
void sr_core_op_done(struct sr_core *core, struct sr_core_op *op);
void sr_core_task_done(struct sr_core *core, struct sr_core_task *task);
/* Whether the log waits for space on the disk: nothing is proposed meanwhile. */
void sr_core_log_full(struct sr_core *core, bool full);
/* The state finds no space on its disk, or does again. */
void sr_core_state_full(struct sr_core *core, bool full);
/* Take over @proposal, @read. */
void sr_core_propose(struct sr_core *core, struct sr_proposal *proposal);
void sr_core_read(struct sr_core *core, struct sr_read *read);
/* The state has applied everything up to @index. */
void sr_core_applied(struct sr_core *core, uint64_t index);
/* Refuse proposals and reads from now on, and hand leadership to the best voter. */
void sr_core_step_down(struct sr_core *core);
/* Hand leadership to the best voter, now and whenever this node leads again; all else goes on. */
void sr_core_yield(struct sr_core *core);
/* See sr_consensus_move_leader. */
void sr_core_move_leader(struct sr_core *core, uint64_t member);
/* The members as the state's cluster record has them, whenever that has changed, and before the
 * sr_core_applied of the entry that changed it: the leader brings libraft's configuration there. */
void sr_core_set_members(struct sr_core *core, const struct sr_core_member *members, size_t count);
/* Members as a newer cluster record has them than this node has applied: somebody else said so.
 * They are heard, so that a node that was away can learn from a leader that came meanwhile. Until
 * the next sr_core_set_members. */
void sr_core_set_heard(struct sr_core *core, const uint64_t *members, size_t count);
void sr_core_turn_end(struct sr_core *core);

/* See sr_consensus_progress; @ret_at_ms: when that was, 0: never. */
size_t sr_core_progress(const struct sr_core *core, struct sr_member_progress out[SR_MEMBERS_MAX],
                        uint64_t *ret_at_ms);
/* How much of an image @member has taken of this node. */
void sr_core_image_progress(struct sr_core *core, uint64_t member, uint64_t bytes, uint64_t total);
void sr_core_info(const struct sr_core *core, struct sr_consensus_info *ret_info);
struct raft *sr_core_raft(struct sr_core *core); /* tests only */

#endif
