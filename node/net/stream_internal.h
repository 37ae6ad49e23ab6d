/* SPDX-License-Identifier: Apache-2.0
 *
 * A stream, as its three files see it: stream.c (life and death), stream_read.c (from the socket
 * through TLS to the owner) and stream_write.c (back).
 *
 *   CONNECTING ──► SHAKING ──► OPEN ──► CLOSING ──► CLOSED ──► (on_close, then the memory is gone)
 *       │             │         │          ▲            ▲
 *       │             ├─────────┴──────────┘            │   refused by either side, close_notify,
 *       │             │                                 │   close: a farewell, see below
 *       └─────────────┴─────────────────────────────────┘   lost, too late, close at once
 *
 * CLOSING sends what is left, close_notify and FIN, and reads on (and discards) until the other
 * side ends too: a socket closed over unread input answers with a reset, which can overtake our
 * last words on their way.
 *
 * A failed write leaves the state as it is for a moment (is_broken): why it failed, the alert of a
 * side that refused us, is often still to be read.
 */
#ifndef SR_NODE_NET_STREAM_INTERNAL_H
#define SR_NODE_NET_STREAM_INTERNAL_H

#include <openssl/ssl.h>

#include "node/net/address.h"
#include "node/net/stream.h"

/* How long the farewell of a stream may take: with data to deliver, and with a refusal only. */
#define STREAM_CLOSE_TIMEOUT_MS  5000
#define STREAM_REFUSE_TIMEOUT_MS 1000
/* After a failed write: how long to listen for the reason. */
#define STREAM_BROKEN_TIMEOUT_MS 1000
/* Buffers above this are given back when they run empty. */
#define STREAM_KEEP_BYTES ((size_t)64 * 1024)

enum stream_state { STREAM_CONNECTING, STREAM_SHAKING, STREAM_OPEN, STREAM_CLOSING, STREAM_CLOSED };

struct sr_stream {
    uv_tcp_t tcp;
    uv_timer_t timer; /* limit of the handshake; work put off to the next turn; the farewell */
    uv_connect_t connect;
    uv_write_t write;
    uv_shutdown_t shutdown;
    SSL *ssl;
    struct sr_tls *tls;
    struct sr_stream_events events;
    void *arg;
    enum stream_state state;
    unsigned handles; /* not closed yet */
    bool is_server;
    bool is_silent;        /* failed before the owner had it: no on_close */
    bool is_paused;        /* by the owner */
    bool is_resume_due;    /* by the timer, because callbacks never come from inside a call */
    bool is_writing;       /* a uv_write is under way with flying */
    bool is_flush_due;     /* flush was called meanwhile */
    bool is_drain_owed;    /* the socket did not take everything: on_drain will tell */
    bool is_broken;        /* writing failed */
    bool is_tls_failed;    /* no further records may be written */
    bool is_shut;          /* our FIN is queued */
    bool is_shut_done;     /* our FIN is sent */
    bool is_peer_done;     /* the other side ended its half */
    struct sr_buf plain;   /* gathered by the owner */
    struct sr_buf cipher;  /* sealed, not yet given to the socket */
    struct sr_buf flying;  /* owned by the uv_write under way */
    struct sr_buf held;    /* received while paused */
    const uint8_t *source; /* what OpenSSL reads next */
    size_t source_left;
    uint64_t given_bytes; /* to libuv, sent or not */
    struct sr_err reason;
    char server_name[SR_HOST_TEXT_MAX];
    char peer_name[65];
    char peer_address[SR_ADDRESS_TEXT_MAX];
};

/* stream.c */
/* End with this reason, unless the end has begun: the first reason stays. */
void stream_abort(struct sr_stream *stream, int status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Say goodbye within @timeout_ms, then end with what stream->reason says. */
void stream_say_goodbye(struct sr_stream *stream, uint64_t timeout_ms);
/* End now with what stream->reason says. */
void stream_close_handles(struct sr_stream *stream);
void stream_start_timer(struct sr_stream *stream, uint64_t timeout_ms);

/* stream_read.c */
void stream_start_reading(struct sr_stream *stream);
/* Take the handshake, then the data, as far as stream->source goes. */
void stream_process(struct sr_stream *stream);
/* What resume put off: first what was held, then the socket again. */
void stream_resume_now(struct sr_stream *stream);
/* End over a TLS failure; the alert that OpenSSL wrote goes out first. */
void stream_refuse(struct sr_stream *stream, const struct sr_err *reason);

/* stream_write.c */
/* Give what is sealed to the socket. */
void stream_send(struct sr_stream *stream);
/* on_drain, if it is owed and due. */
void stream_tell_drained(struct sr_stream *stream);
/* One step of the farewell: what is queued, close_notify, FIN. */
void stream_finish_sending(struct sr_stream *stream);

/* blocking.c */
/* Go on with the connection @fd, whose handshake is done: takes both. */
struct sr_blocking *blocking_take(int fd, SSL *ssl, const atomic_bool *stop);

/* stream_tls.c */
SSL *stream_ssl_new(struct sr_stream *stream);
/* Why an SSL call failed: SR_OK when it only wants more bytes. */
int stream_tls_failure(struct sr_stream *stream, int ssl_error, struct sr_err *err);
/* After the handshake: that the other side is who it must be. SR_OK or SR_REFUSED. */
int stream_tls_verify(struct sr_stream *stream, struct sr_err *err);

#endif
