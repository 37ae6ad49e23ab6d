/* SPDX-License-Identifier: Apache-2.0
 *
 * The links as their files see them: peers.c (the whole), members.c (who they are), outgoing.c
 * (what we send on), incoming.c (what we receive on), bulk_server.c (what goes on elsewhere),
 * link.c (what both have: frames out of a stream, hellos).
 *
 * An outgoing link, one for each other member, for as long as it is one:
 *
 *   WAITING ──► RESOLVING ──► CONNECTING ──► GREETING ──► UP
 *      ▲ back-off   │              │   hello sent │        │ answered
 *      └────────────┴──────────────┴──── ENDING ◄─┴────────┘
 *
 * An incoming link lives as long as its connection; member is set when its hello was accepted.
 */
#ifndef SR_NODE_PEER_PEERS_INTERNAL_H
#define SR_NODE_PEER_PEERS_INTERNAL_H

#include <pthread.h>
#include <stdbool.h>
#include <uv.h>

#include "node/net/listener.h"
#include "node/net/stream.h"
#include "node/peer/bulk.h"
#include "node/peer/peers.h"
#include "proto/limits.h"

#define PING_INTERVAL_MS 1000
/* So many pings without an answer, and nothing moving in a backlog: the link is dead. */
#define PINGS_UNANSWERED_MAX 5
/* The other side pings each second; this long without a frame, its connection is dead. */
#define SILENCE_MAX_NS ((uint64_t)10 * 1000 * 1000 * 1000)
/* Connect and TLS; then the hello and its answer. */
#define CONNECT_TIMEOUT_MS 3000
#define GREET_TIMEOUT_MS   3000
#define BACKOFF_MIN_MS     50
#define BACKOFF_MAX_MS     2000
/* Before its hello a stranger may send so much and no more. */
#define HELLO_FRAME_BYTES_MAX 4096
/* Connections that come in: the members' own, and as many again on their way in or out. */
#define INCOMING_MAX 64
/* At the end: how long links may take to deliver what is queued. */
#define FAREWELL_MS 500
#define REASON_MAX  256

/* Frames out of a byte stream. Whole frames are taken where they lie; only one that is cut by the
 * end of a read is put together in partial. */
struct link_input {
    struct sr_buf partial;
    struct sr_arena arena;
    size_t frame_bytes_max;
    bool has_more; /* during on_frame: bytes that came with the frame follow it */
};

/* False: take no more of this input, the link is ending. */
typedef bool link_frame_cb(void *arg, const struct sr_frame *frame);

enum outgoing_state {
    OUTGOING_WAITING,
    OUTGOING_RESOLVING,
    OUTGOING_CONNECTING,
    OUTGOING_GREETING,
    OUTGOING_UP,
    OUTGOING_ENDING
};

struct outgoing {
    struct sr_peers *peers;
    struct member *member;
    enum outgoing_state state;
    bool is_moved;    /* RESOLVING an address that is not the member's any more */
    uv_timer_t timer; /* WAITING: the next attempt; GREETING: the limit */
    uv_getaddrinfo_t lookup;
    struct sr_stream *stream; /* from CONNECTING to on_close */
    struct link_input input;
    uint64_t session;
    uint64_t backoff_ms;
    unsigned attempts;
    struct sr_err problem;     /* why it is ending, when the stream itself does not know */
    char reported[REASON_MAX]; /* the reason logged last; "" once the link has proved itself */
    uint64_t up_since_ns;
    uint64_t ping_ns; /* when the newest ping left */
    unsigned pings_unanswered;
    uint64_t sent_bytes_at_ping;
    bool has_backlog_at_ping;
};

/* Another member. One that is leaving is nobody's any more: it only waits for its handles. */
struct member {
    struct member *next; /* in peers->members */
    uint64_t id;
    char *name;
    char *address;
    uint64_t incarnation; /* of its data, as its last hello said; 0: not known */
    bool is_leaving;
    size_t references;        /* the timer, the stream and the look-up of its outgoing link */
    char refused[REASON_MAX]; /* why its connection was refused last, as logged */
    struct outgoing outgoing;
    struct incoming *current; /* whose frames are delivered */
    struct sr_peer_metrics metrics;
};

struct incoming {
    struct sr_peers *peers;
    struct incoming *next; /* in peers->incoming */
    struct sr_stream *stream;
    struct link_input input;
    struct member *member; /* NULL before the hello, and when it is no member any more */
    uint64_t sequence;     /* counts accepts: the larger, the newer */
    uint64_t heard_ns;
    bool is_ending;
};

struct sr_peers {
    uv_loop_t *loop;
    uint64_t cluster_id;
    uint64_t self;
    uint32_t feature_level;
    uint64_t incarnation;
    struct sr_peer_events events;
    void *arg;
    struct member *members; /* the others, those that are leaving too */
    uint64_t *removed;
    size_t removed_count;
    pthread_mutex_t *metrics_mutex; /* apart, so that readers of a const struct can lock it */
    struct incoming *incoming;
    size_t incoming_count;
    uint64_t accepted;
    struct bulk_call *bulk_calls; /* threads that serve bulk connections */
    size_t bulk_count;
    atomic_bool is_bulk_stopped;
    struct sr_tls *server_tls;
    struct sr_tls *client_tls;
    struct sr_listener *listener;
    uv_timer_t tick;
    size_t references; /* the listener, members and incoming links that are still there */
    bool is_closing;
    char stranger_reported[REASON_MAX]; /* refusals of those who did not say who they are */
    uint64_t stranger_reported_ns;
    void (*done)(void *arg);
    void *done_arg;
};

/* peers.c */
void peers_unreference(struct sr_peers *peers);

/* members.c */
/* One of the others; NULL if it is none. */
struct member *members_find(const struct sr_peers *peers, uint64_t id);
bool members_is_removed(const struct sr_peers *peers, uint64_t id);
void members_unreference(struct member *member);

/* link.c */
void link_input_init(struct link_input *input);
void link_input_close(struct link_input *input);
/* Give back what only a rare large frame needed. */
void link_input_trim(struct link_input *input);
/* Call @on_frame for each whole frame. SR_INVALID or SR_LIMIT: the stream is not to be trusted. */
int link_input_feed(struct link_input *input, struct sr_bytes data, link_frame_cb *on_frame,
                    void *arg, struct sr_err *err);
/* Why a connection is not wanted; NONE and "" when it is. */
struct refusal {
    Strongroom__Hello__Refusal code;
    char text[REASON_MAX]; /* may be told to the other side */
};
void link_refuse(struct refusal *refusal, Strongroom__Hello__Refusal code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Queue a hello of ours on @stream and flush: to @target, or the answer to its. */
void link_send_hello(const struct sr_peers *peers, struct sr_stream *stream, uint64_t target,
                     uint64_t session);
void link_answer_hello(const struct sr_peers *peers, struct sr_stream *stream,
                       const Strongroom__Hello *asked, const struct refusal *refusal);
/* What every answer has. */
void link_fill_answer(const struct sr_peers *peers, Strongroom__Hello *answer,
                      const Strongroom__Hello *asked);
/* Whether we understand what follows @hello; clears or fills @refusal. */
bool link_check_format(const Strongroom__Hello *hello, struct refusal *refusal);
/* What an accepted hello tells of @member. */
void link_note_hello(struct member *member, const Strongroom__Hello *hello);
/* Whether @hello, from the other end of @stream, is of a member of this cluster that means us:
 * that member, or NULL with @refusal. */
struct member *link_check_hello(const struct sr_peers *peers, const Strongroom__Hello *hello,
                                const struct sr_stream *stream, struct refusal *refusal);
/* Copy @text as one line that can stand in double quotes. */
void link_copy_printable(char *out, size_t size, const char *text);

/* bulk_server.c */
/* Whether as many are served as may be. */
bool bulk_is_busy(struct sr_peers *peers);
/* Take @stream, whose @hello was accepted, off the loop; its on_close follows. False when more than
 * the hello has come: it stays as it is. */
bool bulk_serve(struct sr_peers *peers, struct sr_stream *stream, const Strongroom__Hello *hello);
/* Join the threads that are done; wait for them when @all. */
void bulk_reap(struct sr_peers *peers, bool all);

/* outgoing.c */
void outgoing_init(struct outgoing *outgoing, struct sr_peers *peers, struct member *member);
void outgoing_start(struct outgoing *outgoing);
/* The member's address has changed. */
void outgoing_move(struct outgoing *outgoing);
/* Do not wait for the back-off: the member has just shown that it lives. */
void outgoing_hurry(struct outgoing *outgoing);
void outgoing_tick(struct outgoing *outgoing, uint64_t now_ns);
void outgoing_close(struct outgoing *outgoing, bool abort);

/* incoming.c */
/* @arg: the peers. */
void incoming_accept(void *arg, uv_os_sock_t fd);
void incoming_tick(struct incoming *incoming, uint64_t now_ns);
void incoming_close(struct incoming *incoming, bool abort);

#endif
