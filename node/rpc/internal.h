/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of node/rpc share. One loop owns its connections, one connection its calls;
 * nothing here is touched by two threads but the mailboxes and the metrics.
 *
 *   acceptor ─fd─► control mailbox ─► connection (stream + nghttp2 session) ─► call ─► handler
 *
 * Bytes leave in one place: whatever has something to send is put on the loop's dirty list, which
 * is flushed once a turn, so that the answers of a turn share TLS records and system calls.
 */
#ifndef SR_NODE_RPC_INTERNAL_H
#define SR_NODE_RPC_INTERNAL_H

#include <nghttp2/nghttp2.h>
#include <pthread.h>

#include "node/net/stream.h"
#include "node/rpc/grpc.h"
#include "node/rpc/rpc.h"
#include "proto/limits.h"

#define RPC_LOOPS_MAX 8

/* ---- A call ----
 *
 *   HEADERS ─► BODY ─► (READY ─►) HANDED ─► ANSWERED ─► freed when nghttp2 closes the stream
 *      └────────┴─────────┴── refused or expired ─►┘
 */
enum rpc_call_state {
    RPC_CALL_HEADERS,  /* its header block is arriving */
    RPC_CALL_BODY,     /* its message is arriving */
    RPC_CALL_READY,    /* complete; waits until less answers wait in its connection */
    RPC_CALL_HANDED,   /* the service has it */
    RPC_CALL_ANSWERED, /* nghttp2 has its answer */
};

#define RPC_NO_SLOT SIZE_MAX

struct rpc_call {
    struct sr_call call;
    struct rpc_connection *connection;
    struct rpc_call *previous; /* of the connection, oldest first */
    struct rpc_call *next;     /* there, or on the loop's free list */
    int32_t stream_id;
    enum rpc_call_state state;
    size_t deadline_slot; /* in the loop's heap, or RPC_NO_SLOT */

    /* What its headers said. */
    size_t header_bytes;
    bool has_method;
    bool is_post;
    bool has_path;
    bool malformed; /* a pseudo-header twice */
    bool timeout_malformed;
    bool request_id_malformed;
    uint64_t timeout_ns; /* UINT64_MAX: none */
    struct sr_buf path;  /* with a 0 at the end */
    struct sr_buf content_type;
    struct sr_buf encoding; /* grpc-encoding */

    /* The request. */
    uint8_t prefix[GRPC_PREFIX_BYTES];
    size_t prefix_size;
    size_t body_expected;
    struct sr_buf body;
    size_t held_bytes; /* of the connection's window, given back when the body is released */

    /* The answer. */
    struct sr_buf reply;
    size_t reply_offset; /* what nghttp2 has fetched, prefix included */
    size_t reply_left;   /* what it has not */
};

struct rpc_call *rpc_call_new(struct rpc_connection *connection, int32_t stream_id);
/* Unlink and recycle; tells the service first when it has the call. */
void rpc_call_free(struct rpc_call *call);
void rpc_call_destroy(struct rpc_call *call); /* of a recycled one */
/* Give back what the call holds for its request, make it ANSWERED; returns the state it was in. */
enum rpc_call_state rpc_call_leave(struct rpc_call *call);
/* The grpc-timeout has passed. */
void rpc_call_expire(struct rpc_call *call);

/* ---- request.c: from headers and data to on_call ---- */

int rpc_request_begin(nghttp2_session *session, const nghttp2_frame *frame, void *user_data);
int rpc_request_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                       size_t name_size, const uint8_t *value, size_t value_size, uint8_t flags,
                       void *user_data);
int rpc_request_data(nghttp2_session *session, uint8_t flags, int32_t stream_id,
                     const uint8_t *data, size_t size, void *user_data);
/* A whole HEADERS or DATA frame has come. */
void rpc_request_frame(struct rpc_connection *connection, const nghttp2_frame *frame);
/* Give back the window of what is no longer held. */
void rpc_request_refill(struct rpc_connection *connection);
/* Hand over calls that waited for answers to leave, oldest first, as far as there is room. */
void rpc_request_dispatch_ready(struct rpc_connection *connection);

/* ---- response.c ---- */

/* Trailers-Only under @http_status, a string literal. @known as in rpc_metrics_record. */
void rpc_answer(struct rpc_call *call, const char *http_status, enum sr_grpc_code code,
                const char *text, bool known);
/* No answer but RST_STREAM with @error_code. */
void rpc_answer_reset(struct rpc_call *call, uint32_t error_code, enum sr_grpc_code code);
/* After the last frame of an answer: ask a client that is still sending to stop. */
void rpc_answer_sent(struct rpc_connection *connection, const nghttp2_frame *frame);

/* ---- A connection ---- */

enum rpc_drain {
    RPC_DRAIN_NO,
    RPC_DRAIN_NOTICED, /* "no new calls soon" is out, the ping behind it not yet answered */
    RPC_DRAIN_FINAL    /* GOAWAY with the last stream is out: closed when the calls are done */
};

struct rpc_connection {
    struct rpc_loop *loop;
    struct rpc_connection *previous;
    struct rpc_connection *next;
    struct rpc_connection *next_dirty;
    bool dirty;
    struct sr_stream *stream;
    nghttp2_session *session; /* NULL until the TLS handshake is done */
    bool greeted;             /* the client's preface and SETTINGS have come */
    bool closing;             /* sr_stream_close was called: nothing is read or sent any more */
    bool paused;              /* not reading: see connection.c */
    bool pinged;              /* asked whether the other side is still there */
    enum rpc_drain drain;
    uint64_t drain_ns;    /* since when */
    uint64_t accepted_ns; /* monotonic */
    uint64_t active_ns;   /* when bytes last moved */
    uint64_t sent_seen;   /* of sr_stream_sent */

    size_t unheard_bytes; /* received while the socket took nothing */

    struct rpc_call *first_call;
    struct rpc_call *last_call;
    struct rpc_call *receiving; /* whose header block is arriving */
    size_t call_count;
    size_t ready_count;      /* calls in READY */
    size_t held_bytes;       /* received and still held, by all calls */
    size_t incomplete_bytes; /* the part of it that calls in BODY hold */
    size_t answer_bytes;     /* of answers that nghttp2 has not fetched yet */
    size_t answers_waiting;  /* how many these are */
    char actor[SR_ACTOR_BYTES_MAX + 1];
};

/* Takes @fd over; counts are the acceptor's until this is called, the connection's afterwards. */
void rpc_connection_open(struct rpc_loop *loop, uv_os_sock_t fd);
void rpc_connection_flush(struct rpc_connection *connection);
void rpc_connection_mark_dirty(struct rpc_connection *connection);
/* Cancel its calls, send what is queued (unless @abort), close. */
void rpc_connection_shut(struct rpc_connection *connection, bool abort);
void rpc_connection_drain(struct rpc_connection *connection);
/* About 10 times a second. */
void rpc_connection_tick(struct rpc_connection *connection, uint64_t now_ns);

/* session.c: nghttp2 set up for gRPC. SR_LIMIT when memory is short. */
int rpc_session_new(struct rpc_connection *connection, nghttp2_session **ret, struct sr_err *err);
/* What the ping of a drain carries. */
extern const uint8_t rpc_drain_ping[8];

/* ---- Deadlines: a heap, the earliest first ---- */

struct rpc_deadlines {
    struct rpc_call **calls;
    size_t count;
    size_t capacity;
};

void rpc_deadlines_add(struct rpc_deadlines *deadlines, struct rpc_call *call);
void rpc_deadlines_remove(struct rpc_deadlines *deadlines, struct rpc_call *call);
struct rpc_call *rpc_deadlines_first(const struct rpc_deadlines *deadlines);
void rpc_deadlines_close(struct rpc_deadlines *deadlines);

/* ---- A loop ---- */

enum rpc_control_kind { RPC_CONTROL_ACCEPT, RPC_CONTROL_DRAIN, RPC_CONTROL_STOP };

struct rpc_control {
    struct sr_mail mail;
    enum rpc_control_kind kind;
    uv_os_sock_t fd; /* of ACCEPT; that kind is allocated, the others are the loop's own */
};

struct rpc_loop {
    struct sr_rpc *rpc;
    struct sr_rpc_handler handler;
    pthread_t thread;
    uv_loop_t uv;
    uv_async_t mail_async;
    uv_async_t control_async;
    uv_prepare_t prepare;
    uv_check_t check;
    uv_timer_t tick;
    uv_timer_t deadline_timer;
    uint64_t deadline_armed_ns; /* UINT64_MAX: not armed */
    struct sr_mailbox mailbox;
    struct sr_mailbox control;
    struct rpc_control drain_message;
    struct rpc_control stop_message;

    struct rpc_connection *connections;
    size_t connection_count;
    struct rpc_connection *dirty;
    size_t open_calls;
    struct rpc_call *free_calls;
    size_t free_call_count;
    struct rpc_deadlines deadlines;
    bool draining;
    bool drain_reported;
    bool stopping;
    uint64_t stopping_ns;
    uint64_t complained_ns; /* last log line about a client's misbehaviour */
    unsigned complaints_held;
};

int rpc_loop_init(struct rpc_loop *loop, struct sr_rpc *rpc, struct sr_err *err);
void rpc_loop_run(struct rpc_loop *loop); /* the thread's body */
void rpc_loop_close(struct rpc_loop *loop);
void rpc_loop_post(struct rpc_loop *loop, struct rpc_control *message);
/* Send what the connections have to send. */
void rpc_loop_flush(struct rpc_loop *loop);
/* Make sure that the deadline timer fires for the earliest deadline. */
void rpc_loop_arm(struct rpc_loop *loop);
void rpc_loop_connection_gone(struct rpc_loop *loop);
/* Log about a client, at most once a second. */
void rpc_loop_complain(struct rpc_loop *loop, const char *message, const char *address,
                       const char *reason);

/* ---- The listening socket, on loop 0 ---- */

struct rpc_acceptor {
    struct sr_rpc *rpc;
    uv_os_sock_t fd; /* -1 once closed */
    int reserve_fd;  /* given up for a moment to refuse politely when the process is out of fds */
    bool polling;
    uv_poll_t poll;
    unsigned next_loop;
    unsigned port;
    uint64_t complained_ns;
};

int rpc_acceptor_open(struct rpc_acceptor *acceptor, struct sr_rpc *rpc, const char *listen,
                      struct sr_err *err);
int rpc_acceptor_attach(struct rpc_acceptor *acceptor, uv_loop_t *loop, struct sr_err *err);
/* Accept (again, after a shortage of file descriptors). */
void rpc_acceptor_resume(struct rpc_acceptor *acceptor);
void rpc_acceptor_close(struct rpc_acceptor *acceptor); /* on loop 0, or when it does not run */

/* ---- metrics.c ---- */

/* Count an answered call; @known: the service knows its method, so it deserves a row of its own. */
void rpc_metrics_record(struct sr_rpc_metrics *metrics, const struct sr_call *call,
                        enum sr_grpc_code code, bool known);
void rpc_metrics_close(struct sr_rpc_metrics *metrics);

/* ---- All of it ---- */

struct sr_rpc {
    struct sr_rpc_metrics metrics;
    struct sr_tls *tls;
    size_t connections_max;
    struct rpc_acceptor acceptor;
    bool running;
    bool drained; /* sr_rpc_drain was called */
    pthread_mutex_t drain_mutex;
    pthread_cond_t drain_cond;
    unsigned undrained; /* loops that may still have calls */
    unsigned loop_count;
    struct rpc_loop loops[RPC_LOOPS_MAX];
};

#endif
