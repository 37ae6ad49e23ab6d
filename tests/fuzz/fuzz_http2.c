/* SPDX-License-Identifier: Apache-2.0
 *
 * The HTTP/2 and gRPC side of a server connection, fed with arbitrary bytes. The streams of
 * node/net are replaced by the few functions below, so that a connection runs without sockets and
 * TLS. The first byte of the input chooses how: see struct choices.
 */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/log.h"
#include "fake_stream.h"
#include "node/rpc/internal.h"

#define HELD_MAX 64

/* ---- A service that does a little of everything ---- */

static struct sr_call *held[HELD_MAX];
static size_t held_count;

static void answer(struct sr_call *call)
{
    struct sr_buf reply = {0};
    sr_buf_append(&reply, call->message.data, call->message.size);
    if (call->message.size % 3 == 2) {
        sr_call_fail(call, SR_GRPC_NOT_FOUND, call->path);
    } else {
        if (call->message.size % 3 == 1) {
            memset(sr_buf_extend(&reply, 100000), 'x', 100000);
        }
        sr_call_reply(call, &reply);
    }
    sr_buf_close(&reply);
}

static void on_call(void *arg, struct sr_call *call)
{
    (void)arg;
    sr_check(call->path[0] != '\0' && call->actor[0] != '\0');
    if (call->has_leader && held_count < HELD_MAX) {
        held[held_count++] = call;
    } else {
        answer(call);
    }
}

static void on_cancel(void *arg, struct sr_call *call)
{
    (void)arg;
    size_t i = 0;
    while (i < held_count && held[i] != call) {
        i++;
    }
    sr_check(i < held_count);
    held[i] = held[--held_count];
}

static void on_mail(void *arg, struct sr_mail *list)
{
    (void)arg;
    (void)list;
}

static void on_tick(void *arg, uint64_t now_ns)
{
    (void)arg;
    (void)now_ns;
}

/* ---- A run ---- */

struct choices {
    bool with_preface; /* the input begins behind the preface and an empty SETTINGS */
    bool is_stuck;
    bool drains;
    size_t piece; /* bytes a read */
};

static struct sr_rpc rpc;
static struct rpc_loop *const loop = &rpc.loops[0];

static void set_up(void)
{
    struct sr_err err;
    sr_log_init(SR_LOG_FATAL, SR_LOG_LOGFMT, NULL);
    atomic_store(&rpc.metrics.methods[0].path, "other");
    rpc.loop_count = 1;
    rpc.acceptor.fd = -1;
    rpc.acceptor.reserve_fd = -1;
    sr_check(rpc_loop_init(loop, &rpc, &err) == SR_OK);
    loop->handler = (struct sr_rpc_handler){
        .on_call = on_call, .on_cancel = on_cancel, .on_mail = on_mail, .on_tick = on_tick};
}

static void feed(const uint8_t *data, size_t size, const struct choices *choices)
{
    static const uint8_t preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0";
    if (choices->with_preface) {
        fake_stream.events->on_data(fake_stream.arg, &fake_stream, preface, sizeof(preface));
    }
    while (size > 0) {
        size_t piece = size < choices->piece ? size : choices->piece;
        uint8_t *copy = sr_memdup(data, piece); /* its end is guarded by the sanitizer */
        fake_stream.events->on_data(fake_stream.arg, &fake_stream, copy, piece);
        sr_free(copy);
        rpc_loop_flush(loop);
        data += piece;
        size -= piece;
    }
}

static void finish(void)
{
    struct sr_err reason = {.status = SR_OK};
    while (held_count > 0) {
        answer(held[--held_count]);
    }
    rpc_loop_flush(loop);
    fake_stream.stuck = false;
    for (unsigned i = 0; i < 10; i++) {
        sr_buf_clear(&fake_stream.out);
        fake_stream.events->on_drain(fake_stream.arg, &fake_stream);
        rpc_loop_flush(loop);
    }
    fake_stream.events->on_close(fake_stream.arg, &fake_stream, &reason);
    sr_check(loop->open_calls == 0 && loop->connection_count == 0 && loop->dirty == NULL);
    sr_check(held_count == 0 && loop->deadlines.count == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool is_set_up;
    if (!is_set_up) {
        is_set_up = true;
        set_up();
    }
    if (size == 0) {
        return 0;
    }
    struct choices choices = {.with_preface = (data[0] & 1) == 0,
                              .is_stuck = (data[0] & 2) != 0,
                              .drains = (data[0] & 4) != 0,
                              .piece = (data[0] >> 3) == 0 ? SIZE_MAX : data[0] >> 3};
    fake_stream.stuck = choices.is_stuck;
    loop->draining = false;
    loop->drain_reported = true;
    rpc_connection_open(loop, -1);
    fake_stream.events->on_open(fake_stream.arg, &fake_stream);
    rpc_loop_flush(loop);
    feed(data + 1, size - 1, &choices);
    if (choices.drains && loop->connections != NULL) {
        rpc_connection_drain(loop->connections);
        rpc_loop_flush(loop);
    }
    finish();
    return 0;
}
