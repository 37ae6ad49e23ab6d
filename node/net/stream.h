/* SPDX-License-Identifier: Apache-2.0
 *
 * A TLS 1.3 byte stream on a libuv loop. One read callback may carry several records; writes are
 * gathered until sr_stream_flush, so that many small messages of one loop turn become few records
 * and one system call.
 *
 *   accept/connect ─► handshaking ─► open ─► closing ─► (on_close, then the memory is gone)
 *
 * Everything runs on the loop's thread. Callbacks may call any function here, close included.
 * on_close comes exactly once, always from the loop, never from inside a call.
 */
#ifndef SR_NODE_NET_STREAM_H
#define SR_NODE_NET_STREAM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <uv.h>

#include "base/buf.h"
#include "base/err.h"
#include "node/net/tls.h"

struct sr_stream;

/* on_drain comes at this much: the kernel's own buffer keeps the line busy meanwhile. */
#define SR_STREAM_LOW_BYTES ((size_t)64 * 1024)

struct sr_stream_events {
    /* The handshake is done, the other side's certificate verified. */
    void (*on_open)(void *arg, struct sr_stream *stream);
    void (*on_data)(void *arg, struct sr_stream *stream, const uint8_t *data, size_t size);
    /* After a flush that the socket did not take whole: what waits has fallen to
     * SR_STREAM_LOW_BYTES or less, it is time to produce more. */
    void (*on_drain)(void *arg, struct sr_stream *stream);
    /* @reason->status: SR_OK for a clean end by either side, SR_NETWORK, SR_REFUSED (TLS: the
     * text says which check failed), SR_TIMEOUT (handshake). The stream is freed on return. */
    void (*on_close)(void *arg, struct sr_stream *stream, const struct sr_err *reason);
};

/* Take over the connected socket @fd and shake hands as the server. TCP_NODELAY is set.
 * NULL with @err when libuv will not have it; @fd is closed then. */
struct sr_stream *sr_stream_accept(uv_loop_t *loop, uv_os_sock_t fd, struct sr_tls *tls,
                                   uint64_t handshake_timeout_ms,
                                   const struct sr_stream_events *events, void *arg,
                                   struct sr_err *err);

struct sr_stream_target {
    const struct sockaddr *address;
    const char *server_name; /* DNS name that the server's certificate must carry in its SAN */
};

/* Connect to @target (copied) and shake hands as the client. The server's certificate must be of
 * the CA and carry the name. NULL with @err when the name is none or libuv will not have it;
 * failures to connect come as on_close. */
struct sr_stream *sr_stream_connect(uv_loop_t *loop, const struct sr_stream_target *target,
                                    struct sr_tls *tls, uint64_t handshake_timeout_ms,
                                    const struct sr_stream_events *events, void *arg,
                                    struct sr_err *err);

/* Queue @size bytes (copied). Nothing is sent before sr_stream_flush. Dropped while closing. */
void sr_stream_write(struct sr_stream *stream, const void *data, size_t size);
/* The queue itself, to append to in place instead of sr_stream_write; NULL while closing. Valid
 * until the next call of this stream. */
struct sr_buf *sr_stream_gather(struct sr_stream *stream);
/* Seal and send what is queued. Safe to call when there is nothing. */
void sr_stream_flush(struct sr_stream *stream);
/* Bytes queued here or refused by the socket so far. */
size_t sr_stream_pending(const struct sr_stream *stream);
/* Bytes that the socket took so far, TLS included: tells a slow line from a dead one. */
uint64_t sr_stream_sent(const struct sr_stream *stream);
/* Stop and resume reading the socket (back-pressure). */
void sr_stream_pause(struct sr_stream *stream);
void sr_stream_resume(struct sr_stream *stream);

/* Send what is queued, then close_notify, then close; at once when @abort. Idempotent. */
void sr_stream_close(struct sr_stream *stream, bool abort);

struct sr_blocking;
/* Take the connection off the loop, from within on_data: it goes on in @stop's thread (see
 * node/net/blocking.h), and on_close comes for the stream. NULL when it is not open, or something
 * waits to be sent, or more has been received: nothing is changed then. */
struct sr_blocking *sr_stream_detach(struct sr_stream *stream, const atomic_bool *stop);

/* The other side's certificate, once open. Subject common name; "" if it has none, more than one,
 * or one that is not plain printable text of at most 64 characters (X.520). */
const char *sr_stream_peer_name(const struct sr_stream *stream);
/* Whether its SAN carries the DNS name @name, exactly (no wildcards; ASCII case aside). */
bool sr_stream_peer_has_dns_name(const struct sr_stream *stream, const char *name);
/* Address of the other side for logs, "127.0.0.1:4711". */
const char *sr_stream_peer_address(const struct sr_stream *stream);

#endif
