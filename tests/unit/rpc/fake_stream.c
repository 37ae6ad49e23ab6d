/* SPDX-License-Identifier: Apache-2.0 */
#include "fake_stream.h"

struct sr_stream fake_stream;

struct sr_stream *sr_stream_accept(uv_loop_t *loop, uv_os_sock_t fd, struct sr_tls *tls,
                                   uint64_t handshake_timeout_ms,
                                   const struct sr_stream_events *events, void *arg,
                                   struct sr_err *err)
{
    (void)loop;
    (void)fd;
    (void)tls;
    (void)handshake_timeout_ms;
    (void)err;
    fake_stream.events = events;
    fake_stream.arg = arg;
    fake_stream.closed = false;
    fake_stream.paused = false;
    fake_stream.sent = 0;
    sr_buf_clear(&fake_stream.out);
    return &fake_stream;
}

void sr_stream_write(struct sr_stream *self, const void *data, size_t size)
{
    sr_buf_append(&self->out, data, size);
}

struct sr_buf *sr_stream_gather(struct sr_stream *self)
{
    return self->closed ? NULL : &self->out;
}

void sr_stream_flush(struct sr_stream *self)
{
    if (!self->stuck) {
        self->sent += self->out.size;
        sr_buf_clear(&self->out);
    }
}

uint64_t sr_stream_sent(const struct sr_stream *self)
{
    return self->sent;
}

size_t sr_stream_pending(const struct sr_stream *self)
{
    return self->out.size;
}

void sr_stream_pause(struct sr_stream *self)
{
    self->paused = true;
}

void sr_stream_resume(struct sr_stream *self)
{
    self->paused = false;
}

void sr_stream_close(struct sr_stream *self, bool abort)
{
    (void)abort;
    self->closed = true;
}

const char *sr_stream_peer_name(const struct sr_stream *self)
{
    (void)self;
    return "fuzzer";
}

const char *sr_stream_peer_address(const struct sr_stream *self)
{
    (void)self;
    return "nowhere:0";
}
