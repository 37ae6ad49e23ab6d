/* SPDX-License-Identifier: Apache-2.0
 *
 * One client connection: a TLS stream below, an nghttp2 session above.
 *
 * Back-pressure: frames are fetched from nghttp2 only while little waits in the stream. A client
 * that goes on sending but does not read its socket is read no further, or what nghttp2 has to
 * tell it (answers, refusals) would pile up. A client that reads its socket but keeps its windows
 * shut is no reason to stop reading (its window updates would never come): there, new calls wait
 * (request.c, READY).
 */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "node/rpc/internal.h"

/* Frames are fetched while less than this waits in the stream. */
#define PRODUCE_BYTES ((size_t)256 * 1024)
/* What a client may send while its socket takes nothing. */
#define UNHEARD_BYTES_MAX ((size_t)256 * 1024)
/* Without a byte from the other side for so long it is asked whether it is still there; after
 * twice that time it is not. */
#define SILENCE_NS (60ULL * 1000000000ULL)
/* How long the notice of a drain waits for its ping. */
#define DRAIN_NOTICE_NS (1000ULL * 1000000ULL)

static void link_connection(struct rpc_connection *connection)
{
    struct rpc_loop *loop = connection->loop;
    connection->next = loop->connections;
    if (loop->connections != NULL) {
        loop->connections->previous = connection;
    }
    loop->connections = connection;
    loop->connection_count++;
}

static void unlink_connection(struct rpc_connection *connection)
{
    struct rpc_loop *loop = connection->loop;
    if (connection->previous != NULL) {
        connection->previous->next = connection->next;
    } else {
        loop->connections = connection->next;
    }
    if (connection->next != NULL) {
        connection->next->previous = connection->previous;
    }
    loop->connection_count--;
    for (struct rpc_connection **at = &loop->dirty; connection->dirty && *at != NULL;
         at = &(*at)->next_dirty) {
        if (*at == connection) {
            *at = connection->next_dirty;
            break;
        }
    }
}

void rpc_connection_mark_dirty(struct rpc_connection *connection)
{
    if (!connection->dirty) {
        connection->dirty = true;
        connection->next_dirty = connection->loop->dirty;
        connection->loop->dirty = connection;
    }
}

static void cancel_calls(struct rpc_connection *connection)
{
    while (connection->first_call != NULL) {
        struct rpc_call *call = connection->first_call;
        nghttp2_session_set_stream_user_data(connection->session, call->stream_id, NULL);
        rpc_call_free(call);
    }
}

void rpc_connection_shut(struct rpc_connection *connection, bool abort)
{
    if (!connection->closing) {
        connection->closing = true;
        cancel_calls(connection);
    }
    sr_stream_close(connection->stream, abort);
}

/* ---- What the stream tells ---- */

static void on_open(void *arg, struct sr_stream *stream)
{
    struct rpc_connection *connection = arg;
    struct sr_err err;
    const char *name = sr_stream_peer_name(stream);
    if (strlen(name) > SR_ACTOR_BYTES_MAX) {
        rpc_loop_complain(connection->loop, "connection refused", sr_stream_peer_address(stream),
                          "the common name of its certificate is too long");
        rpc_connection_shut(connection, true);
        return;
    }
    snprintf(connection->actor, sizeof(connection->actor), "%s", name);
    if (rpc_session_new(connection, &connection->session, &err) != SR_OK) {
        rpc_loop_complain(connection->loop, "connection refused", sr_stream_peer_address(stream),
                          err.text);
        rpc_connection_shut(connection, true);
        return;
    }
    connection->active_ns = sr_clock_monotonic_ns();
    rpc_connection_mark_dirty(connection);
    if (connection->loop->draining) {
        rpc_connection_drain(connection);
    }
}

static void on_data(void *arg, struct sr_stream *stream, const uint8_t *data, size_t size)
{
    struct rpc_connection *connection = arg;
    if (connection->closing) {
        return;
    }
    connection->active_ns = sr_clock_monotonic_ns();
    connection->pinged = false;
    sr_count(&connection->loop->rpc->metrics.received_bytes, size);
    connection->unheard_bytes += sr_stream_pending(stream) >= PRODUCE_BYTES ? size : 0;
    ssize_t taken = nghttp2_session_mem_recv(connection->session, data, size);
    if (taken < 0) {
        rpc_loop_complain(connection->loop, "connection closed", sr_stream_peer_address(stream),
                          nghttp2_strerror((int)taken));
        rpc_connection_flush(connection); /* its GOAWAY */
        rpc_connection_shut(connection, false);
        return;
    }
    rpc_connection_mark_dirty(connection);
}

static void on_drain(void *arg, struct sr_stream *stream)
{
    struct rpc_connection *connection = arg;
    (void)stream;
    connection->active_ns = sr_clock_monotonic_ns();
    rpc_connection_mark_dirty(connection);
}

static void on_close(void *arg, struct sr_stream *stream, const struct sr_err *reason)
{
    struct rpc_connection *connection = arg;
    struct rpc_loop *loop = connection->loop;
    if (!connection->greeted && !loop->stopping) {
        sr_count(&loop->rpc->metrics.failed_handshakes, 1);
    }
    /* Clients that hang up when they have nothing open are nothing to write home about. */
    bool is_worth_a_line = !connection->greeted || connection->call_count > 0;
    if (reason->status != SR_OK && !connection->closing && is_worth_a_line) {
        rpc_loop_complain(loop, "connection lost", sr_stream_peer_address(stream), reason->text);
    }
    connection->closing = true;
    cancel_calls(connection);
    nghttp2_session_del(connection->session);
    unlink_connection(connection);
    sr_free(connection);
    rpc_loop_connection_gone(loop);
}

void rpc_connection_open(struct rpc_loop *loop, uv_os_sock_t fd)
{
    static const struct sr_stream_events events = {
        .on_open = on_open, .on_data = on_data, .on_drain = on_drain, .on_close = on_close};
    struct sr_err err;
    struct rpc_connection *connection = sr_zalloc(sizeof(*connection));
    connection->loop = loop;
    connection->accepted_ns = sr_clock_monotonic_ns();
    connection->stream = sr_stream_accept(&loop->uv, fd, loop->rpc->tls, SR_HANDSHAKE_TIMEOUT_MS,
                                          &events, connection, &err);
    if (connection->stream == NULL) {
        rpc_loop_complain(loop, "connection refused", "", err.text);
        sr_free(connection);
        rpc_loop_connection_gone(loop);
        return;
    }
    link_connection(connection);
}

/* ---- What it sends ---- */

/* Move frames from nghttp2 to the stream until either has had enough; 0 or nghttp2's error.
 * @ret_more: nghttp2 has more. */
static ssize_t fetch_frames(struct rpc_connection *connection, bool *ret_more)
{
    ssize_t size = 0;
    size_t before = sr_stream_pending(connection->stream);
    size_t room = before < PRODUCE_BYTES ? PRODUCE_BYTES - before : 0;
    size_t sent = 0;
    struct sr_buf *out = sr_stream_gather(connection->stream);
    while (out != NULL && sent < room) {
        const uint8_t *data = NULL;
        size = nghttp2_session_mem_send(connection->session, &data);
        if (size <= 0) {
            break;
        }
        sr_buf_append(out, data, (size_t)size);
        sent += (size_t)size;
    }
    if (sent > 0) {
        sr_count(&connection->loop->rpc->metrics.sent_bytes, sent);
        sr_stream_flush(connection->stream);
    }
    *ret_more = size > 0;
    return size < 0 ? size : 0;
}

/* False when the connection had to be closed. */
static bool produce(struct rpc_connection *connection)
{
    bool more = false;
    ssize_t result = fetch_frames(connection, &more);
    if (result < 0) {
        rpc_loop_complain(connection->loop, "connection closed",
                          sr_stream_peer_address(connection->stream),
                          nghttp2_strerror((int)result));
        rpc_connection_shut(connection, true);
        return false;
    }
    if (more && sr_stream_pending(connection->stream) < PRODUCE_BYTES) {
        /* The socket took all: go on in the next turn, other connections want theirs too. Had it
         * not, on_drain would tell. */
        rpc_connection_mark_dirty(connection);
    }
    return true;
}

static void balance_reading(struct rpc_connection *connection)
{
    if (sr_stream_pending(connection->stream) < PRODUCE_BYTES) {
        connection->unheard_bytes = 0;
    }
    bool pause = connection->unheard_bytes > UNHEARD_BYTES_MAX;
    if (pause && !connection->paused) {
        sr_stream_pause(connection->stream);
    } else if (!pause && connection->paused) {
        sr_stream_resume(connection->stream);
    }
    connection->paused = pause;
}

void rpc_connection_flush(struct rpc_connection *connection)
{
    if (connection->closing || connection->session == NULL) {
        return;
    }
    rpc_request_refill(connection);
    if (!produce(connection)) {
        return;
    }
    if (connection->ready_count > 0) {
        rpc_request_dispatch_ready(connection);
    }
    balance_reading(connection);
    if (!nghttp2_session_want_read(connection->session) &&
        !nghttp2_session_want_write(connection->session)) {
        rpc_connection_shut(connection, false);
    }
}

/* ---- Time ---- */

void rpc_connection_drain(struct rpc_connection *connection)
{
    if (connection->closing || connection->session == NULL) {
        return;
    }
    if (connection->drain == RPC_DRAIN_NO) {
        connection->drain = RPC_DRAIN_NOTICED;
        connection->drain_ns = sr_clock_monotonic_ns();
        nghttp2_submit_shutdown_notice(connection->session);
        nghttp2_submit_ping(connection->session, NGHTTP2_FLAG_NONE, rpc_drain_ping);
    } else if (connection->drain == RPC_DRAIN_NOTICED) {
        connection->drain = RPC_DRAIN_FINAL;
        nghttp2_submit_goaway(connection->session, NGHTTP2_FLAG_NONE,
                              nghttp2_session_get_last_proc_stream_id(connection->session),
                              NGHTTP2_NO_ERROR, NULL, 0);
    }
    rpc_connection_mark_dirty(connection);
}

static void check_presence(struct rpc_connection *connection, uint64_t now_ns)
{
    if (now_ns - connection->active_ns <= SILENCE_NS) {
        return;
    }
    uint64_t sent = sr_stream_sent(connection->stream);
    if (sent != connection->sent_seen) { /* it takes its answers, however slowly */
        connection->sent_seen = sent;
        connection->active_ns = now_ns;
        return;
    }
    if (now_ns - connection->active_ns > 2 * SILENCE_NS) {
        rpc_loop_complain(connection->loop, "connection closed",
                          sr_stream_peer_address(connection->stream), "the client went silent");
        rpc_connection_shut(connection, true);
        return;
    }
    if (!connection->pinged) {
        connection->pinged = true;
        nghttp2_submit_ping(connection->session, NGHTTP2_FLAG_NONE, NULL);
        rpc_connection_mark_dirty(connection);
    }
}

void rpc_connection_tick(struct rpc_connection *connection, uint64_t now_ns)
{
    if (connection->closing) {
        return;
    }
    if (!connection->greeted) {
        if (now_ns - connection->accepted_ns > SR_HANDSHAKE_TIMEOUT_MS * 1000000ULL) {
            rpc_loop_complain(connection->loop, "connection closed",
                              sr_stream_peer_address(connection->stream),
                              "no HTTP/2 preface in time");
            rpc_connection_shut(connection, true);
        }
        return;
    }
    if (connection->drain == RPC_DRAIN_NOTICED && now_ns - connection->drain_ns > DRAIN_NOTICE_NS) {
        rpc_connection_drain(connection);
    }
    check_presence(connection, now_ns);
}
