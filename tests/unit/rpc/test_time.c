/* SPDX-License-Identifier: Apache-2.0
 *
 * What a connection does as time passes, without waiting for it: the stream is a fake, and the
 * ticks are given the time.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/clock.h"
#include "fake_stream.h"
#include "node/rpc/internal.h"

#define SECOND_NS 1000000000ULL

static const uint8_t preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0";

static struct sr_rpc rpc;
static struct rpc_loop *const loop = &rpc.loops[0];

static void on_call(void *arg, struct sr_call *call)
{
    (void)arg;
    (void)call;
    fail();
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

static int setup(void **state)
{
    struct sr_err err;
    (void)state;
    memset(&rpc, 0, sizeof(rpc));
    atomic_store(&rpc.metrics.methods[0].path, "other");
    rpc.loop_count = 1;
    rpc.acceptor.fd = -1;
    rpc.acceptor.reserve_fd = -1;
    assert_int_equal(rpc_loop_init(loop, &rpc, &err), SR_OK);
    loop->drain_reported = true;
    loop->handler = (struct sr_rpc_handler){
        .on_call = on_call, .on_cancel = on_call, .on_mail = on_mail, .on_tick = on_tick};
    rpc_connection_open(loop, -1);
    return 0;
}

static int teardown(void **state)
{
    struct sr_err reason = {.status = SR_OK};
    (void)state;
    fake_stream.stuck = false;
    fake_stream.events->on_close(fake_stream.arg, &fake_stream, &reason);
    sr_buf_close(&fake_stream.out);
    rpc_loop_close(loop);
    return 0;
}

static void receive(const void *data, size_t size)
{
    fake_stream.events->on_data(fake_stream.arg, &fake_stream, data, size);
    rpc_loop_flush(loop);
}

static void tick_at(uint64_t now_ns)
{
    rpc_connection_tick(loop->connections, now_ns);
    rpc_loop_flush(loop);
}

static void no_preface(void **state)
{
    uint64_t start_ns = sr_clock_monotonic_ns();
    (void)state;
    fake_stream.events->on_open(fake_stream.arg, &fake_stream);
    receive(preface, 20);
    tick_at(start_ns + 9 * SECOND_NS);
    assert_false(fake_stream.closed);
    tick_at(start_ns + 11 * SECOND_NS);
    assert_true(fake_stream.closed);
}

static void silent_client(void **state)
{
    (void)state;
    fake_stream.events->on_open(fake_stream.arg, &fake_stream);
    receive(preface, sizeof(preface));
    uint64_t start_ns = sr_clock_monotonic_ns();
    uint64_t sent = fake_stream.sent;
    tick_at(start_ns + 59 * SECOND_NS);
    assert_int_equal(fake_stream.sent, sent);
    tick_at(start_ns + 61 * SECOND_NS); /* sees that the greeting was taken */
    tick_at(start_ns + 122 * SECOND_NS);
    assert_int_equal(fake_stream.sent, sent + 17); /* a PING */
    tick_at(start_ns + 123 * SECOND_NS);
    tick_at(start_ns + 242 * SECOND_NS);
    assert_false(fake_stream.closed);
    tick_at(start_ns + 244 * SECOND_NS);
    assert_true(fake_stream.closed);
}

/* A client that answers the PING stays. */
static void patient_client(void **state)
{
    static const uint8_t pong[17] = {0, 0, 8, NGHTTP2_PING, NGHTTP2_FLAG_ACK};
    (void)state;
    fake_stream.events->on_open(fake_stream.arg, &fake_stream);
    receive(preface, sizeof(preface));
    uint64_t start_ns = sr_clock_monotonic_ns();
    tick_at(start_ns + 61 * SECOND_NS);
    tick_at(start_ns + 122 * SECOND_NS);
    receive(pong, sizeof(pong));
    tick_at(sr_clock_monotonic_ns() + 59 * SECOND_NS);
    assert_false(fake_stream.closed);
}

/* The ping behind the notice of a drain is never answered. */
static void drain_without_pong(void **state)
{
    (void)state;
    fake_stream.events->on_open(fake_stream.arg, &fake_stream);
    receive(preface, sizeof(preface));
    rpc_connection_drain(loop->connections);
    rpc_loop_flush(loop);
    uint64_t start_ns = sr_clock_monotonic_ns();
    tick_at(start_ns);
    assert_false(fake_stream.closed);
    tick_at(start_ns + 2 * SECOND_NS);
    assert_true(fake_stream.closed);
}

/* Acknowledgements that are not taken are a known attack. */
static void ping_flood(void **state)
{
    uint8_t pings[17 * 100] = {0};
    (void)state;
    fake_stream.events->on_open(fake_stream.arg, &fake_stream);
    receive(preface, sizeof(preface));
    for (size_t i = 0; i < 100; i++) {
        pings[17 * i + 2] = 8;
        pings[17 * i + 3] = NGHTTP2_PING;
    }
    fake_stream.stuck = true;
    for (unsigned i = 0; i < 1000 && !fake_stream.closed; i++) {
        receive(pings, sizeof(pings));
    }
    assert_true(fake_stream.closed);
}

/* Calls that are reset as soon as they are made (CVE-2023-44487). */
static void reset_flood(void **state)
{
    /* :method POST, :scheme https, :path / */
    uint8_t frames[12 + 13] = {0,
                               0,
                               3,
                               NGHTTP2_HEADERS,
                               4,
                               0,
                               0,
                               0,
                               0,
                               0x83,
                               0x87,
                               0x84,
                               0,
                               0,
                               4,
                               NGHTTP2_RST_STREAM,
                               0,
                               0,
                               0,
                               0,
                               0,
                               0,
                               0,
                               0,
                               NGHTTP2_CANCEL};
    (void)state;
    fake_stream.events->on_open(fake_stream.arg, &fake_stream);
    receive(preface, sizeof(preface));
    for (uint32_t id = 1; !fake_stream.closed; id += 2) {
        assert_true(id < 2 * 1000 * 1000);
        sr_put_u32(frames + 5, id);
        sr_put_u32(frames + 17, id);
        receive(frames, sizeof(frames));
    }
    assert_int_equal(loop->open_calls, 0);
}

/* A client that sends requests, bad ones at that, and does not read the answers. */
static void deaf_client(void **state)
{
    /* :method GET, :scheme https, :path / from HPACK's static table */
    uint8_t request[12] = {0, 0, 3, NGHTTP2_HEADERS, 5, 0, 0, 0, 0, 0x82, 0x87, 0x84};
    size_t fed = 0;
    (void)state;
    fake_stream.events->on_open(fake_stream.arg, &fake_stream);
    receive(preface, sizeof(preface));
    fake_stream.stuck = true;
    for (uint32_t id = 1; !fake_stream.paused && !fake_stream.closed; id += 2) {
        sr_put_u32(request + 5, id);
        receive(request, sizeof(request));
        fed += sizeof(request);
        assert_true(fed < (size_t)1024 * 1024);
    }
    assert_true(fake_stream.paused);
    assert_true(loop->open_calls <= SR_STREAMS_PER_CONNECTION_MAX);
    assert_true(fake_stream.out.size < (size_t)512 * 1024);

    /* It begins to read: everything is told, and the reading goes on. */
    fake_stream.stuck = false;
    for (unsigned i = 0; i < 100 && loop->open_calls > 0; i++) {
        sr_buf_clear(&fake_stream.out);
        fake_stream.events->on_drain(fake_stream.arg, &fake_stream);
        rpc_loop_flush(loop);
    }
    assert_int_equal(loop->open_calls, 0);
    assert_false(fake_stream.paused);
    assert_false(fake_stream.closed);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(no_preface), TEST(silent_client), TEST(patient_client), TEST(drain_without_pong),
        TEST(ping_flood), TEST(reset_flood),   TEST(deaf_client),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
