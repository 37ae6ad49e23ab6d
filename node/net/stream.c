/* SPDX-License-Identifier: Apache-2.0
 *
 * The life of a stream; its states are drawn in stream_internal.h.
 */
#include "node/net/stream.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/check.h"
#include "node/net/blocking.h"
#include "node/net/stream_internal.h"
#include "node/net/tls_internal.h"

/* A silent peer whose host is gone is found by the kernel in about this time. */
#define KEEPALIVE_S 30

static void free_stream(struct sr_stream *stream)
{
    SSL_free(stream->ssl);
    sr_tls_free(stream->tls);
    sr_buf_close(&stream->plain);
    sr_buf_close(&stream->cipher);
    sr_buf_close(&stream->flying);
    sr_buf_close(&stream->held);
    sr_free(stream);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct sr_stream *stream = handle->data;
    if (--stream->handles > 0) {
        return;
    }
    if (!stream->is_silent) {
        stream->events.on_close(stream->arg, stream, &stream->reason);
    }
    free_stream(stream);
}

void stream_close_handles(struct sr_stream *stream)
{
    if (stream->state == STREAM_CLOSED) {
        return;
    }
    stream->state = STREAM_CLOSED;
    uv_close((uv_handle_t *)&stream->tcp, on_handle_closed);
    uv_close((uv_handle_t *)&stream->timer, on_handle_closed);
}

void stream_abort(struct sr_stream *stream, int status, const char *format, ...)
{
    char text[SR_ERR_TEXT_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args); /* NOLINT: it is */
    va_end(args);
    if (stream->state < STREAM_CLOSING) {
        sr_err_set(&stream->reason, status, "%s", text);
    }
    stream_close_handles(stream);
}

void stream_say_goodbye(struct sr_stream *stream, uint64_t timeout_ms)
{
    if (stream->state >= STREAM_CLOSING) {
        return;
    }
    stream->state = STREAM_CLOSING;
    stream->source_left = 0;
    sr_buf_clear(&stream->held); /* its memory may be being read right now */
    stream_start_timer(stream, timeout_ms);
    if (!stream->is_peer_done) {
        stream_start_reading(stream);
    }
    if (stream->state == STREAM_CLOSING) {
        stream_finish_sending(stream);
    }
}

static void on_timer(uv_timer_t *timer)
{
    struct sr_stream *stream = timer->data;
    if (stream->is_broken || stream->state == STREAM_CLOSING) {
        stream_close_handles(stream);
        return;
    }
    if (stream->state == STREAM_CONNECTING) {
        stream_abort(stream, SR_TIMEOUT, "no connection to %s in time", stream->peer_address);
        return;
    }
    if (stream->state == STREAM_SHAKING) {
        stream_abort(stream, SR_TIMEOUT, "no TLS handshake in time");
        return;
    }
    if (stream->is_resume_due) {
        stream->is_resume_due = false;
        stream_resume_now(stream);
    }
    stream_tell_drained(stream);
}

void stream_start_timer(struct sr_stream *stream, uint64_t timeout_ms)
{
    /* uv_timer_start counts from the loop's idea of now, which a long callback leaves behind. */
    uv_update_time(stream->timer.loop);
    sr_check(uv_timer_start(&stream->timer, on_timer, timeout_ms, 0) == 0);
}

static struct sr_stream *stream_new(uv_loop_t *loop, struct sr_tls *tls,
                                    const struct sr_stream_events *events, void *arg,
                                    struct sr_err *err)
{
    struct sr_stream *stream = sr_zalloc(sizeof(*stream));
    int failure = uv_tcp_init(loop, &stream->tcp);
    if (failure != 0) {
        sr_free(stream);
        sr_err_set(err, SR_NETWORK, "open a stream: %s", uv_strerror(failure));
        return NULL;
    }
    sr_check(uv_timer_init(loop, &stream->timer) == 0);
    stream->handles = 2;
    stream->tcp.data = stream;
    stream->timer.data = stream;
    stream->connect.data = stream;
    stream->write.data = stream;
    stream->shutdown.data = stream;
    stream->tls = sr_tls_reference(tls);
    stream->events = *events;
    stream->arg = arg;
    return stream;
}

struct sr_stream *sr_stream_accept(uv_loop_t *loop, uv_os_sock_t fd, struct sr_tls *tls,
                                   uint64_t handshake_timeout_ms,
                                   const struct sr_stream_events *events, void *arg,
                                   struct sr_err *err)
{
    struct sr_stream *stream = stream_new(loop, tls, events, arg, err);
    if (stream == NULL) {
        close(fd);
        return NULL;
    }
    int failure = uv_tcp_open(&stream->tcp, fd);
    if (failure != 0) {
        close(fd);
        stream->is_silent = true;
        stream_close_handles(stream);
        sr_err_set(err, SR_NETWORK, "take over a socket: %s", uv_strerror(failure));
        return NULL;
    }
    struct sockaddr_storage peer = {0};
    int size = sizeof(peer);
    uv_tcp_getpeername(&stream->tcp, (struct sockaddr *)&peer, &size);
    sr_address_format((struct sockaddr *)&peer, stream->peer_address);
    /* Both fail only on a connection that is gone already, which reading will find out. */
    uv_tcp_nodelay(&stream->tcp, 1);
    uv_tcp_keepalive(&stream->tcp, 1, KEEPALIVE_S);

    stream->is_server = true;
    stream->state = STREAM_SHAKING;
    stream->ssl = stream_ssl_new(stream);
    stream_start_timer(stream, handshake_timeout_ms);
    stream_start_reading(stream);
    return stream;
}

static void on_connected(uv_connect_t *request, int status)
{
    struct sr_stream *stream = request->data;
    if (stream->state != STREAM_CONNECTING) {
        return;
    }
    if (status != 0) {
        stream_abort(stream, SR_NETWORK, "connect to %s: %s", stream->peer_address,
                     uv_strerror(status));
        return;
    }
    uv_tcp_nodelay(&stream->tcp, 1);
    uv_tcp_keepalive(&stream->tcp, 1, KEEPALIVE_S);
    stream->state = STREAM_SHAKING;
    stream_start_reading(stream);
    stream_process(stream);
}

struct sr_stream *sr_stream_connect(uv_loop_t *loop, const struct sr_stream_target *target,
                                    struct sr_tls *tls, uint64_t handshake_timeout_ms,
                                    const struct sr_stream_events *events, void *arg,
                                    struct sr_err *err)
{
    const char *name = target->server_name;
    size_t name_size = strlen(name);
    if (name_size == 0 || name_size >= SR_HOST_TEXT_MAX || name[0] == '.') {
        sr_err_set(err, SR_INVALID, "\"%.300s\" is not a DNS name", name);
        return NULL;
    }
    struct sr_stream *stream = stream_new(loop, tls, events, arg, err);
    if (stream == NULL) {
        return NULL;
    }
    memcpy(stream->server_name, name, name_size + 1);
    sr_address_format(target->address, stream->peer_address);
    stream->state = STREAM_CONNECTING;
    stream->ssl = stream_ssl_new(stream);
    stream_start_timer(stream, handshake_timeout_ms);
    int failure = uv_tcp_connect(&stream->connect, &stream->tcp, target->address, on_connected);
    if (failure != 0) {
        stream_abort(stream, SR_NETWORK, "connect to %s: %s", stream->peer_address,
                     uv_strerror(failure));
    }
    return stream;
}

void sr_stream_pause(struct sr_stream *stream)
{
    stream->is_paused = true;
    stream->is_resume_due = false;
    /* The handshake goes on; it stops to read when it is done. */
    if (stream->state == STREAM_OPEN) {
        uv_read_stop((uv_stream_t *)&stream->tcp);
    }
}

void sr_stream_resume(struct sr_stream *stream)
{
    if (!stream->is_paused) {
        return;
    }
    stream->is_paused = false;
    if (stream->state == STREAM_OPEN && !stream->is_broken) {
        stream->is_resume_due = true;
        stream_start_timer(stream, 0);
    }
}

void sr_stream_close(struct sr_stream *stream, bool abort)
{
    if (stream->state == STREAM_OPEN && !stream->is_broken && !abort) {
        stream->reason = (struct sr_err){.status = SR_OK};
        stream_say_goodbye(stream, STREAM_CLOSE_TIMEOUT_MS);
        return;
    }
    if (stream->state < STREAM_CLOSING && !stream->is_broken) {
        stream->reason = (struct sr_err){.status = SR_OK};
    }
    if (stream->state < STREAM_CLOSING || abort) {
        stream_close_handles(stream);
    }
}

struct sr_blocking *sr_stream_detach(struct sr_stream *stream, const atomic_bool *stop)
{
    uv_os_fd_t fd = -1;
    bool is_quiet = stream->state == STREAM_OPEN && !stream->is_broken && !stream->is_writing &&
                    !stream->is_tls_failed && stream->source_left == 0 && stream->held.size == 0 &&
                    stream->plain.size == 0 && stream->cipher.size == 0;
    if (!is_quiet || uv_fileno((uv_handle_t *)&stream->tcp, &fd) != 0) {
        return NULL;
    }
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0); /* the handle closes its own */
    if (copy < 0) {
        return NULL;
    }
    struct sr_blocking *blocking = blocking_take(copy, stream->ssl, stop);
    stream->ssl = NULL;
    stream->reason = (struct sr_err){.status = SR_OK};
    stream_close_handles(stream);
    return blocking;
}

const char *sr_stream_peer_address(const struct sr_stream *stream)
{
    return stream->peer_address;
}
