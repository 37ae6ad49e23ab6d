/* SPDX-License-Identifier: Apache-2.0
 *
 * What struct sr_core is made of. Each part owns one struct here and has its functions in a file
 * of its own name; internal.h declares them.
 */
#ifndef SR_NODE_CONSENSUS_PARTS_H
#define SR_NODE_CONSENSUS_PARTS_H

#include "base/check.h"
#include "node/consensus/core.h"
#include "node/consensus/marks.h"
#include "proto/limits.h"

/* Own entries not yet committed: with one being written and one gathering behind it, commands
 * share entries under load and do not wait for each other when there is none. */
#define SR_CORE_ENTRIES_IN_FLIGHT 2
/* Batches that a follower has handed to the leader and that were not yet answered. */
#define SR_CORE_FORWARDS_MAX 4
/* Batches of followers that wait on the leader; more are refused. */
#define SR_CORE_GUESTS_MAX 256
/* Payload of one AppendEntries frame, if it is more than one entry. */
#define SR_CORE_FRAME_PAYLOAD_MAX ((size_t)4 * 1024 * 1024)
/* What a lagging follower is fed at a time, read from disk. */
#define SR_CORE_FEED_BYTES ((size_t)2 * 1024 * 1024)
/* A write to the log that takes longer than this is a broken disk. */
#define SR_CORE_LOG_STALL_MS 30000

struct sr_core_list {
    struct sr_mail *head;
    struct sr_mail *tail;
};

static inline void sr_core_list_push(struct sr_core_list *list, struct sr_mail *mail)
{
    mail->next = NULL;
    if (list->tail == NULL) {
        list->head = mail;
    } else {
        list->tail->next = mail;
    }
    list->tail = mail;
}

static inline struct sr_mail *sr_core_list_pop(struct sr_core_list *list)
{
    struct sr_mail *mail = list->head;
    if (mail != NULL) {
        list->head = mail->next;
        if (list->head == NULL) {
            list->tail = NULL;
        }
    }
    return mail;
}

/* Put all of @more before what is in @list; @more is empty afterwards. */
static inline void sr_core_list_prepend(struct sr_core_list *list, struct sr_core_list *more)
{
    if (more->head == NULL) {
        return;
    }
    more->tail->next = list->head;
    if (list->tail == NULL) {
        list->tail = more->tail;
    }
    list->head = more->head;
    *more = (struct sr_core_list){0};
}

/* ---- batches ---- */

/* Commands on their way: handed to the leader, or in its log as the entry (index, term). */
struct sr_core_batch {
    struct sr_core_batch *next;
    struct raft_apply request; /* of the leader; libraft links it in its own queue */
    bool queued;               /* there it is, and must stay */
    bool placed;               /* index and term are known */
    bool lost;                 /* the link broke before the leader answered: see lost.c */
    uint64_t id;               /* of a forward */
    uint64_t member;           /* whom it was forwarded to; 0: proposed here */
    uint64_t index;
    uint64_t term;
    uint64_t started_ns;
    uint64_t deadline_ms;
    uint32_t commands;
    struct sr_core_list proposals; /* our own among them */
};

/* A batch of a follower that waits on the leader. */
struct sr_core_guest {
    struct sr_mail mail;
    uint64_t member;
    uint64_t id;
    uint64_t deadline_ms;
    size_t count;
    uint32_t *lengths;
    struct sr_buf payload;
};

struct sr_core_batches {
    struct sr_core_list own;    /* struct sr_proposal, waiting */
    struct sr_core_list guests; /* struct sr_core_guest, waiting */
    size_t guest_count;
    size_t guest_bytes;
    bool own_first;              /* who goes first into the next entry */
    struct sr_core_batch *list;  /* on their way */
    struct sr_core_batch *spent; /* to be freed at the end of the turn */
    unsigned in_flight;          /* entries in libraft's queue */
    bool mark_due;               /* a new reign has not put an entry of its own into the log */
    unsigned forwards;           /* not yet answered */
    uint64_t next_id;
    uint64_t forward_not_before_ms;
};

/* ---- reads ---- */

struct sr_core_reads {
    struct sr_core_list waiting; /* struct sr_read */
    /* The round under way: of term probes on the leader, of one ReadIndex on a follower. */
    struct sr_core_list asked;
    bool asking;
    uint64_t asked_leader; /* follower: whom; 0: a round of our own */
    uint64_t round;
    uint64_t term;
    uint64_t index;
    uint64_t sent_ms;
    uint64_t started_ms;
    struct sr_core_list ready; /* wait for their index to be applied, in its order */
    uint64_t ready_index;      /* of the last of them */
    uint64_t ask_not_before_ms;
};

/* ---- entries on their way to the state ---- */

struct sr_core_held {
    struct sr_core_held *next;
    uint64_t index;
    uint64_t term;
    uint32_t type;
    size_t size;
    uint8_t data[];
};

struct sr_core_applies {
    struct sr_core_held *head;
    struct sr_core_held *tail;
    size_t entries;
    size_t bytes;
    uint64_t seen;    /* last index taken from libraft */
    uint64_t applied; /* what the state says */
};

/* ---- configuration entries ---- */

struct sr_core_change {
    struct sr_core_change *next;
    uint64_t index;
    struct sr_buf data; /* libraft's encoding */
};

struct sr_core_changes {
    struct sr_core_change *head; /* not yet handed to the state, by index */
    uint64_t taken;              /* of the last one that was, or that the manifest is based on */
};

/* ---- manifests ---- */

struct sr_core_snapshots {
    uint64_t index; /* of the last manifest on disk */
    uint64_t want_index;
    struct sr_core_task *task;            /* waits for the state to be durable, then writes */
    struct raft_io_snapshot_put *request; /* libraft's, while one is under way */
    raft_io_snapshot_put_cb cb;
    bool submitted;
    uint64_t not_before_ms; /* there was no space for it */
    bool releasing;
    uint64_t released; /* up to here the log was told to let go */
};

/* ---- members ---- */

enum sr_core_feed_state {
    SR_FEED_IDLE,
    SR_FEED_WANTED,
    SR_FEED_FETCHING,
    SR_FEED_SENT,
    SR_FEED_IMAGE /* what it needs is not in the log */
};
struct sr_core_feed {
    enum sr_core_feed_state state;
    uint64_t ticket; /* of the fetch that is awaited */
    uint64_t next;   /* index to fetch */
    uint64_t prev;   /* what was sent is (prev, last] */
    uint64_t last;
    uint64_t sent_ms;
    uint64_t image_hint; /* what it had when an image was found to be needed */
};

/* Of our log, while a follower takes an image: hold.c. */
struct sr_core_hold {
    uint64_t index; /* nothing from here on is released; 0: no hold */
    uint64_t needs; /* the entry that the follower lacked */
    uint64_t since_ms;
    uint64_t said_ms;
};

/* The wish, the configuration and what was heard may be all different. */
#define SR_CORE_PEERS_MAX (3 * SR_MEMBERS_MAX)

struct sr_core_peer {
    uint64_t id;
    char address[24];
    bool up;
    bool went_down;
    uint64_t append_term; /* of the last AppendEntries it sent us */
    uint64_t answered_ms; /* when it last answered one of ours, in this reign; 0: not yet */
    uint64_t hint;        /* its last index, as it told us */
    bool hinted;
    /* Entries under way: sent, neither answered nor refused yet. */
    uint64_t sent_term;
    uint64_t sent_prev;
    uint64_t sent_last;
    uint64_t sent_ms;
    /* Reads. */
    bool read_waiting;
    bool read_asked; /* in the round under way */
    uint64_t read_round;
    uint64_t read_round_waiting;
    bool term_confirmed;
    struct sr_core_feed feed;
    struct sr_core_hold hold;
    uint64_t image_bytes; /* that it has taken of us, and of how many */
    uint64_t image_total;
};

struct sr_core_members {
    struct sr_core_member wish[SR_MEMBERS_MAX];
    size_t wish_count;
    uint64_t heard[SR_MEMBERS_MAX];
    size_t heard_count;
    bool recorded;     /* the wish is that of the cluster record */
    uint64_t retry_ms; /* nothing is changed before */
    struct raft_change request;
    /* What update_peers saw last of libraft's configuration. */
    uint64_t seen_committed;
    uint64_t seen_uncommitted;
    unsigned seen_count;
};

/* What the leader knows of all members, here or as it said. */
struct sr_core_progress {
    struct sr_member_progress members[SR_MEMBERS_MAX];
    size_t count;
    bool known;
    uint64_t at_ms;
    uint64_t told_ms;
};

/* What raft_start's load hands over. */
struct sr_core_boot {
    struct raft_snapshot *snapshot;
    uint64_t start_index;
    struct raft_entry *entries;
    size_t count;
};

/* A hand-over that waits until the other has all of our log. */
struct sr_core_hand {
    bool waits;        /* nothing is proposed meanwhile */
    uint64_t since_ms; /* 0: it does not wait */
    uint64_t not_before_ms;
};

/* How long a full disk has kept us from leading. */
struct sr_core_space {
    bool blocked;
    uint64_t not_before_ms; /* no hand-over before */
};

struct sr_core {
    struct raft raft;
    struct raft_io io;
    struct raft_fsm fsm;
    raft_io_tick_cb tick_cb;
    raft_io_recv_cb recv_cb;
    struct sr_core_env env;
    struct sr_core_options options; /* without members */
    struct sr_consensus_metrics *metrics;
    bool failed;
    bool stepping_down;
    bool yielding;
    bool retiring; /* our own vote is not wanted any more: see membership.c */
    bool log_full;
    bool state_full;
    uint64_t now_ms; /* of this input */

    struct sr_core_peer peers[SR_CORE_PEERS_MAX]; /* without ourselves */
    size_t peer_count;
    struct sr_core_members members;
    struct sr_core_progress progress;

    /* Log. */
    struct sr_core_boot boot;
    struct sr_core_op *ops; /* submitted, oldest first */
    struct sr_core_op *ops_tail;
    uint64_t log_last;  /* submitted */
    uint64_t persisted; /* durable */
    uint64_t term;      /* durable, as the vote */
    uint64_t voted_for;
    struct sr_marks marks;

    /* Leadership as last noticed. */
    enum raft_state state;
    uint64_t noticed_term;
    uint64_t leader;
    uint64_t leader_heard_ms; /* the last entries or heartbeat of this term */
    uint64_t floor;

    struct sr_core_batches batches;
    struct sr_core_reads reads;
    struct sr_core_applies applies;
    struct sr_core_changes changes;
    struct sr_core_snapshots snapshots;
    uint64_t next_ticket;
    struct raft_transfer transfer;
    struct sr_core_hand hand;
    struct sr_core_space space;
    uint64_t move_to; /* whom an operator wants to lead; 0: nobody in particular */
    uint64_t move_until_ms;

    /* Scratch of the codec: the largest message. */
    Strongroom__Entry *entries;
    Strongroom__Entry **entry_pointers;
    struct sr_bytes *pieces;
    uint32_t *lengths;
};

#endif
