/* SPDX-License-Identifier: Apache-2.0
 *
 * From the owner to the socket. Bytes are gathered in plain until a flush seals them all at once
 * and offers them to the socket in one call. What the socket does not take flies in one uv_write;
 * until it has landed, later flushes only gather, so that they too become few records.
 */
#include <openssl/err.h>

#include "base/check.h"
#include "node/net/stream_internal.h"

/* TLS 1.3: header 5, content type 1, tag 16. */
#define RECORD_OVERHEAD ((size_t)22)

static void empty(struct sr_buf *buf)
{
    if (buf->capacity > STREAM_KEEP_BYTES) {
        sr_buf_close(buf);
    } else {
        sr_buf_clear(buf);
    }
}

static void break_off(struct sr_stream *stream, int failure)
{
    if (stream->state == STREAM_CLOSING || stream->is_paused) {
        stream_abort(stream, SR_NETWORK, "write: %s", uv_strerror(failure));
        return;
    }
    sr_err_set(&stream->reason, SR_NETWORK, "write: %s", uv_strerror(failure));
    stream->is_broken = true;
    sr_buf_close(&stream->plain);
    sr_buf_close(&stream->cipher);
    stream_start_timer(stream, STREAM_BROKEN_TIMEOUT_MS);
}

/* False when the stream can write no more; if it was open, its end has begun. */
static bool seal(struct sr_stream *stream)
{
    if (stream->is_tls_failed) {
        sr_buf_clear(&stream->plain); /* the reader who saw it fail is about to end the stream */
        return false;
    }
    if (stream->plain.size == 0) {
        return true;
    }
    size_t sealed = 0;
    size_t records = stream->plain.size / SSL3_RT_MAX_PLAIN_LENGTH + 1;
    sr_buf_reserve(&stream->cipher, stream->plain.size + records * RECORD_OVERHEAD);
    ERR_clear_error();
    int done = SSL_write_ex(stream->ssl, stream->plain.data, stream->plain.size, &sealed);
    if (done == 1) {
        sr_check(sealed == stream->plain.size);
        empty(&stream->plain);
        return true;
    }
    struct sr_err err = {0};
    int status = stream_tls_failure(stream, SSL_get_error(stream->ssl, done), &err);
    if (status == SR_OK) {
        /* The BIO takes everything and renegotiation is off: there is nothing to wait for. */
        stream->is_tls_failed = true;
        sr_err_set(&err, SR_NETWORK, "TLS: cannot write now");
    }
    stream_refuse(stream, &err);
    return false;
}

void stream_tell_drained(struct sr_stream *stream)
{
    if (stream->state == STREAM_OPEN && stream->is_drain_owed && !stream->is_broken &&
        sr_stream_pending(stream) <= SR_STREAM_LOW_BYTES) {
        stream->is_drain_owed = false;
        if (stream->events.on_drain != NULL) {
            stream->events.on_drain(stream->arg, stream);
        }
    }
}

static void on_written(uv_write_t *request, int status)
{
    struct sr_stream *stream = request->data;
    stream->is_writing = false;
    if (stream->state == STREAM_CLOSED) {
        return;
    }
    empty(&stream->flying);
    if (status != 0) {
        break_off(stream, status);
        return;
    }
    if (stream->state == STREAM_CLOSING) {
        stream_finish_sending(stream);
        return;
    }
    if (stream->is_flush_due) {
        stream->is_flush_due = false;
        sr_stream_flush(stream);
    } else {
        stream_send(stream); /* what OpenSSL had to say meanwhile */
    }
    stream_tell_drained(stream);
}

static void send_later(struct sr_stream *stream, size_t sent)
{
    sr_check(!stream->is_writing && stream->flying.size == 0);
    struct sr_buf spare = stream->flying;
    stream->flying = stream->cipher;
    stream->cipher = spare;
    uv_buf_t rest =
        uv_buf_init((char *)stream->flying.data + sent, (unsigned)(stream->flying.size - sent));
    int failure = uv_write(&stream->write, (uv_stream_t *)&stream->tcp, &rest, 1, on_written);
    if (failure != 0) {
        break_off(stream, failure);
        return;
    }
    stream->is_writing = true;
    stream->is_drain_owed = true;
}

void stream_send(struct sr_stream *stream)
{
    if (stream->is_writing || stream->is_broken || stream->cipher.size == 0 ||
        stream->state == STREAM_CLOSED) {
        return;
    }
    uv_buf_t all = uv_buf_init((char *)stream->cipher.data, (unsigned)stream->cipher.size);
    int sent = uv_try_write((uv_stream_t *)&stream->tcp, &all, 1);
    if (sent < 0 && sent != UV_EAGAIN) {
        break_off(stream, sent);
        return;
    }
    stream->given_bytes += stream->cipher.size;
    if (sent >= 0 && (size_t)sent == stream->cipher.size) {
        empty(&stream->cipher);
        return;
    }
    send_later(stream, sent > 0 ? (size_t)sent : 0);
}

void sr_stream_flush(struct sr_stream *stream)
{
    if (stream->state != STREAM_OPEN || stream->is_broken || stream->plain.size == 0) {
        return;
    }
    if (stream->is_writing) {
        stream->is_flush_due = true;
        return;
    }
    if (!seal(stream)) {
        return;
    }
    stream_send(stream);
    if (stream->is_drain_owed && !stream->is_writing && stream->state == STREAM_OPEN &&
        !stream->is_broken) {
        stream_start_timer(stream, 0); /* on_drain comes from the loop only */
    }
}

static void on_shut(uv_shutdown_t *request, int status)
{
    struct sr_stream *stream = request->data;
    stream->is_shut_done = true;
    if (stream->state == STREAM_CLOSING && (status != 0 || stream->is_peer_done)) {
        stream_close_handles(stream);
    }
}

void stream_finish_sending(struct sr_stream *stream)
{
    if (stream->is_writing || stream->is_shut) {
        return;
    }
    if (seal(stream)) {
        ERR_clear_error();
        SSL_shutdown(stream->ssl);
    }
    stream_send(stream);
    if (stream->state == STREAM_CLOSED) {
        return;
    }
    stream->is_shut = true;
    int failure = uv_shutdown(&stream->shutdown, (uv_stream_t *)&stream->tcp, on_shut);
    if (failure != 0) {
        stream_close_handles(stream);
    }
}

void sr_stream_write(struct sr_stream *stream, const void *data, size_t size)
{
    struct sr_buf *plain = sr_stream_gather(stream);
    if (plain != NULL) {
        sr_buf_append(plain, data, size);
    }
}

struct sr_buf *sr_stream_gather(struct sr_stream *stream)
{
    bool is_ending = stream->state >= STREAM_CLOSING || stream->is_broken;
    return is_ending ? NULL : &stream->plain;
}

size_t sr_stream_pending(const struct sr_stream *stream)
{
    return stream->plain.size + stream->cipher.size +
           uv_stream_get_write_queue_size((const uv_stream_t *)&stream->tcp);
}

uint64_t sr_stream_sent(const struct sr_stream *stream)
{
    return stream->given_bytes - uv_stream_get_write_queue_size((const uv_stream_t *)&stream->tcp);
}
