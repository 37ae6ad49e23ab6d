/* SPDX-License-Identifier: Apache-2.0
 *
 * What happens at the edges: deadlines, cancelled calls, lost clients, closed windows,
 * and limits.
 */
#include <arpa/inet.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "client.h"
#include "proto/limits.h"
#include "server.h"

static const char *const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

struct fixture {
    struct test_server server;
    struct test_client client;
};

static int setup(void **state)
{
    struct fixture *fixture = sr_zalloc(sizeof(*fixture));
    test_server_start(&fixture->server, 2, 0);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    test_server_stop(&fixture->server);
    sr_free(fixture);
    return 0;
}

static void open_client(struct fixture *fixture, uint32_t window)
{
    test_client_open(&fixture->client, fixture->server.port, fixture->server.dir, window);
}

static int64_t connections(const struct fixture *fixture)
{
    return sr_gauge_read(&sr_rpc_metrics(fixture->server.rpc)->connections);
}

static void check_alive(struct test_client *client)
{
    int32_t id = test_client_call(client, "/test.S/Echo", "alive", 5);
    const struct test_answer *answer = test_client_finish(client, id);
    assert_int_equal(answer->grpc_status, 0);
    assert_int_equal(answer->body.size, 10);
}

static void wait_for_calls(struct fixture *fixture, unsigned count)
{
    test_wait_until(
        (test_client_pump(&fixture->client, 1), atomic_load(&fixture->server.calls) >= count));
}

static void deadline(void **state)
{
    static const uint8_t body[] = {0, 0, 0, 0, 1, 'x'};
    struct fixture *fixture = *state;
    open_client(fixture, 0);
    struct test_request request = {.path = "/test.S/Hold",
                                   .name = "grpc-timeout",
                                   .value = "50m",
                                   .body = body,
                                   .size = sizeof(body)};
    int32_t id = test_client_send(&fixture->client, &request);
    /* A request that never becomes complete expires as well. */
    request.size = 3;
    request.open = true;
    int32_t slow = test_client_send(&fixture->client, &request);
    request.value = "1H";
    request.size = sizeof(body);
    int32_t patient = test_client_send(&fixture->client, &request);

    const struct test_answer *answer = test_client_finish(&fixture->client, id);
    assert_int_equal(answer->grpc_status, 4);
    assert_string_equal(answer->message, "context deadline exceeded");
    answer = test_client_finish(&fixture->client, slow);
    assert_int_equal(answer->grpc_status, 4);
    assert_int_equal(atomic_load(&fixture->server.cancelled), 1);
    assert_false(test_client_answer(&fixture->client, patient)->closed);
    test_server_release(&fixture->server);
    assert_int_equal(test_client_finish(&fixture->client, patient)->grpc_status, 0);
    test_client_close(&fixture->client);
}

/* The heap of deadlines: they pass in their order, whatever the order of the calls. */
static void many_deadlines(void **state)
{
    enum { COUNT = 200 };
    static const uint8_t body[] = {0, 0, 0, 0, 1, 'x'};
    struct fixture *fixture = *state;
    int32_t ids[COUNT];
    char value[16];
    open_client(fixture, 0);
    for (unsigned i = 0; i < COUNT; i++) {
        snprintf(value, sizeof(value), "%um", 1 + i * 37 % COUNT);
        struct test_request request = {.path = i % 3 == 0 ? "/test.S/Echo" : "/test.S/Hold",
                                       .name = "grpc-timeout",
                                       .value = i % 3 == 0 ? "1H" : value,
                                       .body = body,
                                       .size = sizeof(body)};
        ids[i] = test_client_send(&fixture->client, &request);
    }
    for (unsigned i = 0; i < COUNT; i++) {
        const struct test_answer *answer = test_client_finish(&fixture->client, ids[i]);
        assert_int_equal(answer->grpc_status, i % 3 == 0 ? 0 : 4);
    }
    test_client_close(&fixture->client);
}

static void cancel(void **state)
{
    struct fixture *fixture = *state;
    open_client(fixture, 0);
    int32_t id = test_client_call(&fixture->client, "/test.S/Hold", "x", 1);
    wait_for_calls(fixture, 1);
    nghttp2_submit_rst_stream(fixture->client.session, NGHTTP2_FLAG_NONE, id, NGHTTP2_CANCEL);
    test_wait_until(
        (test_client_pump(&fixture->client, 1), atomic_load(&fixture->server.cancelled) == 1));
    check_alive(&fixture->client);
    test_server_release(&fixture->server);
    check_alive(&fixture->client);
    test_client_close(&fixture->client);
}

static void vanish(void **state)
{
    struct fixture *fixture = *state;
    open_client(fixture, 0);
    for (unsigned i = 0; i < 10; i++) {
        test_client_call(&fixture->client, "/test.S/Hold", "x", 1);
    }
    wait_for_calls(fixture, 10);
    assert_int_equal(connections(fixture), 1);
    test_client_vanish(&fixture->client);
    test_wait_until(connections(fixture) == 0);
    assert_int_equal(atomic_load(&fixture->server.cancelled), 10);
    assert_int_equal(sr_gauge_read(&sr_rpc_metrics(fixture->server.rpc)->open_calls), 0);
    test_client_close(&fixture->client);
}

static int32_t ask_big(struct test_client *client, uint32_t size)
{
    uint8_t message[4];
    sr_put_u32(message, size);
    return test_client_call(client, "/test.S/Big", message, sizeof(message));
}

/* A client with a window of 1,000 bytes gets 10 MB nevertheless, and others are not kept waiting.
 */
static void tiny_window(void **state)
{
    enum { SIZE = 10 * 1000 * 1000, WINDOW = 1000 };
    struct fixture *fixture = *state;
    size_t consumed = 0;
    open_client(fixture, WINDOW);
    int32_t id = ask_big(&fixture->client, SIZE);
    struct test_answer *answer = test_client_answer(&fixture->client, id);
    test_wait_until((test_client_pump(&fixture->client, 1), answer->body.size == WINDOW));
    check_alive(&fixture->client);
    while (!answer->closed) {
        assert_false(fixture->client.gone);
        test_client_consume(&fixture->client, id, answer->body.size - consumed);
        if (consumed < 4 * WINDOW && answer->body.size >= 4 * WINDOW) {
            /* Enough of the crawl: open the window wide. */
            nghttp2_submit_window_update(fixture->client.session, 0, id, 1 << 24);
            nghttp2_submit_window_update(fixture->client.session, 0, 0, 1 << 24);
        }
        consumed = answer->body.size;
        test_client_pump(&fixture->client, 50);
    }
    assert_int_equal(answer->grpc_status, 0);
    assert_int_equal(answer->body.size, SIZE + 5);
    for (size_t i = 0; i < SIZE; i++) {
        if (answer->body.data[5 + i] != (uint8_t)(i * 31 >> 3)) {
            fail_msg("byte %zu differs", i);
        }
    }
    test_client_close(&fixture->client);
}

/* Answers that the client does not take hold back further calls, not the connection. */
static void waiting_answers(void **state)
{
    enum { SIZE = SR_CONNECTION_WRITE_BYTES_MAX / 2, COUNT = 10, TAKEN = 4 };
    struct fixture *fixture = *state;
    int32_t ids[COUNT];
    open_client(fixture, 10);
    for (unsigned i = 0; i < COUNT; i++) {
        ids[i] = ask_big(&fixture->client, SIZE);
    }
    test_wait_until((test_client_pump(&fixture->client, 1),
                     sr_gauge_read(&sr_rpc_metrics(fixture->server.rpc)->open_calls) == COUNT));
    test_wait_until((test_client_pump(&fixture->client, 1),
                     test_client_answer(&fixture->client, ids[TAKEN - 1])->body.size == 10));
    assert_int_equal(atomic_load(&fixture->server.calls), TAKEN);
    /* One of those that wait goes away, the others are served as soon as there is room. */
    nghttp2_submit_rst_stream(fixture->client.session, 0, ids[COUNT - 1], NGHTTP2_CANCEL);
    nghttp2_submit_window_update(fixture->client.session, 0, 0, 1 << 30);
    for (size_t i = 0; i < COUNT - 1; i++) {
        nghttp2_submit_window_update(fixture->client.session, 0, ids[i], 1 << 24);
    }
    for (size_t i = 0; i < COUNT - 1; i++) {
        const struct test_answer *answer = test_client_finish(&fixture->client, ids[i]);
        assert_int_equal(answer->body.size, SIZE + 5);
        assert_int_equal(answer->grpc_status, 0);
    }
    assert_int_equal(atomic_load(&fixture->server.calls), COUNT - 1);
    test_client_close(&fixture->client);
}

/* The window of the connection is given back whatever becomes of the calls. */
static void window_does_not_leak(void **state)
{
    enum { SIZE = 900 * 1024 };
    struct fixture *fixture = *state;
    open_client(fixture, 0);
    uint8_t *body = sr_zalloc(SIZE);
    sr_put_u32(body + 1, SIZE);
    for (unsigned i = 0; i < 60; i++) {
        struct test_request request = {.body = body, .size = SIZE - 1, .open = i % 2 == 0};
        if (i % 3 == 0) {
            request.content_type = "text/plain"; /* refused before its body comes */
        }
        int32_t id = test_client_send(&fixture->client, &request);
        if (request.open) {
            test_client_pump(&fixture->client, 0);
            nghttp2_submit_rst_stream(fixture->client.session, 0, id, NGHTTP2_CANCEL);
        }
        test_client_finish(&fixture->client, id);
    }
    check_alive(&fixture->client);
    test_wait_until((test_client_pump(&fixture->client, 1),
                     nghttp2_session_get_remote_window_size(fixture->client.session) >
                         SR_CONNECTION_BODY_BYTES_MAX / 2));
    test_client_close(&fixture->client);
    sr_free(body);
}

/* More large requests at once than the connection may hold: some are refused, the others are
 * answered, nothing waits for ever. */
static void incomplete_bodies(void **state)
{
    enum { COUNT = 40, SIZE = 1024 * 1024 };
    struct fixture *fixture = *state;
    int32_t ids[COUNT];
    unsigned good = 0;
    open_client(fixture, 0);
    uint8_t *message = sr_zalloc(SIZE);
    for (unsigned i = 0; i < COUNT; i++) {
        struct test_request request = {.path = "/test.S/Echo", .body = message, .size = 0};
        struct sr_buf body = {0};
        test_frame(&body, 0, message, SIZE);
        request.body = body.data;
        request.size = body.size;
        ids[i] = test_client_send(&fixture->client, &request);
        sr_buf_close(&body);
    }
    for (unsigned i = 0; i < COUNT; i++) {
        const struct test_answer *answer = test_client_finish(&fixture->client, ids[i]);
        if (answer->grpc_status == 0) {
            good++;
            assert_int_equal(answer->body.size, SIZE + 5);
        } else {
            assert_int_equal(answer->error_code, NGHTTP2_REFUSED_STREAM);
        }
    }
    assert_true(good >= 10);
    check_alive(&fixture->client);
    test_client_close(&fixture->client);
    sr_free(message);
}

static void garbage(void **state)
{
    struct fixture *fixture = *state;
    struct test_client client;
    assert_true(test_client_connect(&client, fixture->server.port, fixture->server.dir));
    test_client_raw(&client, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 27);
    test_client_finish(&client, 0);
    test_client_close(&client);

    /* A good preface, then a frame that is larger than allowed. */
    assert_true(test_client_connect(&client, fixture->server.port, fixture->server.dir));
    test_client_raw(&client, preface, strlen(preface));
    test_client_raw(&client, "\x00\x00\x00\x04\x00\x00\x00\x00\x00", 9);
    test_client_raw(&client, "\xff\xff\xff\x00\x00\x00\x00\x00\x01", 9);
    test_client_finish(&client, 0);
    test_client_close(&client);
    test_wait_until(connections(fixture) == 0);
    assert_true(sr_counter_read(&sr_rpc_metrics(fixture->server.rpc)->failed_handshakes) >= 1);

    open_client(fixture, 0);
    check_alive(&fixture->client);
    test_client_close(&fixture->client);
}

static void connection_limit(void **state)
{
    struct test_server server;
    struct test_client clients[3];
    (void)state;
    test_server_start(&server, 2, 2);
    test_client_open(&clients[0], server.port, server.dir, 0);
    test_client_open(&clients[1], server.port, server.dir, 0);
    check_alive(&clients[0]);
    check_alive(&clients[1]);
    assert_false(test_client_connect(&clients[2], server.port, server.dir));
    test_client_close(&clients[2]);
    assert_int_equal(sr_counter_read(&sr_rpc_metrics(server.rpc)->refused), 1);

    test_client_close(&clients[0]);
    test_wait_until(sr_gauge_read(&sr_rpc_metrics(server.rpc)->connections) == 1);
    test_client_open(&clients[2], server.port, server.dir, 0);
    check_alive(&clients[2]);
    test_client_close(&clients[1]);
    test_client_close(&clients[2]);
    test_server_stop(&server);
}

/* A plain TCP connection on a socket made before; whether the server has closed it again. */
static bool is_turned_away(int fd, unsigned port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    char byte = 0;
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(poll(&ready, 1, 20000), 1);
    return read(fd, &byte, 1) <= 0;
}

/* Out of file descriptors: clients are told at once, and all is well when there are some again. */
static void no_descriptors(void **state)
{
    struct fixture *fixture = *state;
    struct rlimit before;
    int sockets[3];
    open_client(fixture, 0);
    check_alive(&fixture->client);
    for (unsigned i = 0; i < 3; i++) {
        sockets[i] = socket(AF_INET, SOCK_STREAM, 0);
        assert_true(sockets[i] >= 0);
    }
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    struct rlimit none = {.rlim_cur = (rlim_t)sockets[2] + 1, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    for (unsigned i = 0; i < 3; i++) {
        assert_true(is_turned_away(sockets[i], fixture->server.port));
    }
    check_alive(&fixture->client);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    for (unsigned i = 0; i < 3; i++) {
        close(sockets[i]);
    }
    assert_int_equal(sr_counter_read(&sr_rpc_metrics(fixture->server.rpc)->refused), 3);
    test_client_close(&fixture->client);
    open_client(fixture, 0);
    check_alive(&fixture->client);
    test_client_close(&fixture->client);
}

static void address_taken(void **state)
{
    struct fixture *fixture = *state;
    char files[3][96];
    char listen[32];
    struct sr_rpc *second = NULL;
    struct sr_err err = {0};
    snprintf(files[0], sizeof(files[0]), "%s/node-1.crt", fixture->server.dir);
    snprintf(files[1], sizeof(files[1]), "%s/node-1.key", fixture->server.dir);
    snprintf(files[2], sizeof(files[2]), "%s/ca.crt", fixture->server.dir);
    snprintf(listen, sizeof(listen), "127.0.0.1:%u", fixture->server.port);
    struct sr_tls_files tls = {files[0], files[1], files[2]};
    struct sr_rpc_options options = {.listen = listen, .tls = &tls, .loop_count = 1};
    assert_int_equal(sr_rpc_open(&options, &second, &err), SR_NETWORK);
    assert_null(second);
    assert_non_null(strstr(err.text, listen));
}

static void ticks(void **state)
{
    struct fixture *fixture = *state;
    test_wait_until(atomic_load(&fixture->server.ticks) >= 2);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(deadline),
        TEST(many_deadlines),
        TEST(cancel),
        TEST(vanish),
        TEST(tiny_window),
        TEST(waiting_answers),
        TEST(garbage),
        TEST(window_does_not_leak),
        TEST(no_descriptors),
        TEST(address_taken),
        TEST(ticks),
        TEST(incomplete_bodies),
        cmocka_unit_test(connection_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
