/* SPDX-License-Identifier: Apache-2.0
 *
 * From the socket to the owner: libuv reads into a buffer that all streams of the thread share,
 * OpenSSL opens the records from there, and the owner gets as much as has come in one piece.
 * Between two reads a stream holds nothing but a partial record, inside OpenSSL.
 */
#include <openssl/err.h>

#include "base/check.h"
#include "node/net/stream_internal.h"

#define SHARED_BYTES ((size_t)64 * 1024)

/* One of each a thread is enough: both are in use within one read callback only. */
static _Thread_local uint8_t shared_cipher[SHARED_BYTES];
static _Thread_local uint8_t shared_plain[SHARED_BYTES];

void stream_refuse(struct sr_stream *stream, const struct sr_err *reason)
{
    if (stream->state >= STREAM_CLOSING) {
        return;
    }
    stream->reason = *reason;
    sr_buf_clear(&stream->plain);
    stream_say_goodbye(stream, STREAM_REFUSE_TIMEOUT_MS);
}

/* False when there is nothing more to do with the input now. */
static bool handshake_step(struct sr_stream *stream)
{
    struct sr_err err = {0};
    ERR_clear_error();
    int done = SSL_do_handshake(stream->ssl);
    if (done != 1) {
        int status = stream_tls_failure(stream, SSL_get_error(stream->ssl, done), &err);
        if (status != SR_OK) {
            stream_refuse(stream, &err);
        } else {
            stream_send(stream);
        }
        return false;
    }
    if (stream_tls_verify(stream, &err) != SR_OK) {
        stream_refuse(stream, &err);
        return false;
    }
    stream->state = STREAM_OPEN;
    uv_timer_stop(&stream->timer);
    stream_send(stream);
    if (stream->state != STREAM_OPEN) {
        return false;
    }
    if (stream->is_paused) {
        uv_read_stop((uv_stream_t *)&stream->tcp);
    }
    stream->events.on_open(stream->arg, stream);
    return true;
}

/* The other side said that it is done: answer what is queued, and close too. */
static void end_cleanly(struct sr_stream *stream)
{
    stream->is_peer_done = true;
    stream->reason = (struct sr_err){.status = SR_OK};
    stream_say_goodbye(stream, STREAM_CLOSE_TIMEOUT_MS);
}

/* Open as many records as fit and hand them over. False when the input is used up, or the owner
 * wants no more. */
static bool read_step(struct sr_stream *stream)
{
    size_t filled = 0;
    int failure = SSL_ERROR_NONE;
    ERR_clear_error();
    while (filled < sizeof(shared_plain)) {
        size_t got = 0;
        int done =
            SSL_read_ex(stream->ssl, shared_plain + filled, sizeof(shared_plain) - filled, &got);
        if (done != 1) {
            failure = SSL_get_error(stream->ssl, done);
            break;
        }
        filled += got;
        if (stream->source_left == 0 && SSL_pending(stream->ssl) == 0) {
            failure = SSL_ERROR_WANT_READ;
            break;
        }
    }
    /* Before the callback, which may use OpenSSL's error queue for another stream. */
    struct sr_err err = {0};
    bool is_end = failure == SSL_ERROR_ZERO_RETURN;
    int status =
        failure == SSL_ERROR_NONE || is_end ? SR_OK : stream_tls_failure(stream, failure, &err);
    if (filled > 0) {
        stream->events.on_data(stream->arg, stream, shared_plain, filled);
    }
    if (stream->state != STREAM_OPEN) {
        return false;
    }
    if (status != SR_OK) {
        stream_refuse(stream, &err);
    } else if (is_end) {
        end_cleanly(stream);
    }
    return failure == SSL_ERROR_NONE;
}

void stream_process(struct sr_stream *stream)
{
    if (stream->state == STREAM_SHAKING && !handshake_step(stream)) {
        return;
    }
    while (stream->state == STREAM_OPEN && !stream->is_paused && read_step(stream)) {
    }
    /* OpenSSL answers some messages by itself (key updates). */
    if (stream->state == STREAM_OPEN && stream->cipher.size > 0) {
        stream_send(stream);
    }
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret)
{
    (void)handle;
    (void)suggested;
    *ret = uv_buf_init((char *)shared_cipher, sizeof(shared_cipher));
}

static void end_of_input(struct sr_stream *stream, int failure)
{
    if (stream->state == STREAM_CLOSING) {
        stream->is_peer_done = true;
        if (failure != UV_EOF || stream->is_shut_done) {
            stream_close_handles(stream);
        }
        return;
    }
    if (stream->is_broken) {
        stream_close_handles(stream); /* the reason is the write's */
        return;
    }
    bool is_open = stream->state == STREAM_OPEN;
    const char *what = failure == UV_EOF ? "the other side hung up" : uv_strerror(failure);
    stream_abort(stream, SR_NETWORK, "%s %s", what,
                 is_open ? "without a TLS close" : "during the TLS handshake");
}

static void on_read(uv_stream_t *tcp, ssize_t got, const uv_buf_t *buffer)
{
    struct sr_stream *stream = tcp->data;
    if (got < 0) {
        end_of_input(stream, (int)got);
        return;
    }
    if (stream->state == STREAM_CLOSING) {
        return;
    }
    stream->source = (const uint8_t *)buffer->base;
    stream->source_left = (size_t)got;
    stream_process(stream);
    if (stream->state == STREAM_OPEN && stream->source_left > 0) {
        sr_buf_append(&stream->held, stream->source, stream->source_left);
    }
    stream->source_left = 0;
}

void stream_resume_now(struct sr_stream *stream)
{
    stream->source = stream->held.data;
    stream->source_left = stream->held.size;
    stream_process(stream);
    size_t left = stream->source_left;
    stream->source_left = 0;
    if (stream->state != STREAM_OPEN) {
        return;
    }
    if (left > 0) {
        sr_buf_consume(&stream->held, stream->held.size - left);
        return; /* paused again */
    }
    sr_buf_close(&stream->held);
    if (!stream->is_paused) {
        stream_start_reading(stream);
    }
}

void stream_start_reading(struct sr_stream *stream)
{
    int failure = uv_read_start((uv_stream_t *)&stream->tcp, on_alloc, on_read);
    if (failure != 0 && failure != UV_EALREADY) {
        stream_abort(stream, SR_NETWORK, "read: %s", uv_strerror(failure));
    }
}
