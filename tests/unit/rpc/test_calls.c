/* SPDX-License-Identifier: Apache-2.0
 *
 * Calls through a real server, TLS and HTTP/2: what a well-behaved client sees, and what a client
 * sees that does something wrong.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "client.h"
#include "proto/limits.h"
#include "server.h"

static struct test_server server;

static int setup(void **state)
{
    (void)state;
    test_server_start(&server, 2, 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    test_server_stop(&server);
    return 0;
}

static void check_message(const struct test_answer *answer, const void *message, size_t size)
{
    assert_int_equal(answer->http_status, 200);
    assert_int_equal(answer->grpc_status, 0);
    assert_int_equal(answer->body.size, size + 5);
    assert_int_equal(answer->body.data[0], 0);
    assert_int_equal(sr_get_u32(answer->body.data + 1), size);
    if (size > 0) {
        assert_memory_equal(answer->body.data + 5, message, size);
    }
}

static void check_text(const struct test_answer *answer, const char *text)
{
    check_message(answer, text, strlen(text));
}

static void check_error(const struct test_answer *answer, int http_status, int grpc_status,
                        const char *message)
{
    assert_int_equal(answer->http_status, http_status);
    assert_int_equal(answer->grpc_status, grpc_status);
    assert_int_equal(answer->header_frames, 1); /* Trailers-Only */
    assert_int_equal(answer->body.size, 0);
    if (message != NULL) {
        assert_string_equal(answer->message, message);
    }
}

static void round_trip(void **state)
{
    struct test_client client;
    (void)state;
    test_client_open(&client, server.port, server.dir, 0);
    int32_t id = test_client_call(&client, "/test.S/Echo", "hello", 5);
    const struct test_answer *answer = test_client_finish(&client, id);
    check_text(answer, "hello");
    assert_int_equal(answer->header_frames, 2);
    assert_false(answer->has_message);
    assert_string_equal(answer->content_type, "application/grpc");
    assert_int_equal(answer->error_code, NGHTTP2_NO_ERROR);

    id = test_client_call(&client, "/test.S/Echo", "", 0);
    check_text(test_client_finish(&client, id), "");
    test_client_close(&client);
}

static void metadata(void **state)
{
    struct test_client client;
    struct sr_buf body = {0};
    (void)state;
    test_frame(&body, 0, "x", 1);
    test_client_open(&client, server.port, server.dir, 0);
    struct test_request request = {.path = "/test.S/Who",
                                   .content_type = "application/grpc+proto",
                                   .name = "hasleader",
                                   .value = "true",
                                   .body = body.data,
                                   .size = body.size};
    const struct test_answer *answer =
        test_client_finish(&client, test_client_send(&client, &request));
    check_text(answer, "client|true|");
    assert_string_equal(answer->content_type, "application/grpc+proto");

    request.name = "strongroom-request-id";
    request.value = "00112233445566778899AABBCCDDEEFF";
    answer = test_client_finish(&client, test_client_send(&client, &request));
    check_text(answer, "client|false|00112233445566778899aabbccddeeff");

    request.value = "0011";
    answer = test_client_finish(&client, test_client_send(&client, &request));
    check_error(answer, 200, 3, NULL);
    test_client_close(&client);
    sr_buf_close(&body);
}

static void many_streams(void **state)
{
    enum { COUNT = 1000 };
    struct test_client client;
    int32_t ids[COUNT];
    char text[32];
    (void)state;
    test_client_open(&client, server.port, server.dir, 0);
    unsigned before = atomic_load(&server.calls);
    for (unsigned i = 0; i < COUNT; i++) {
        snprintf(text, sizeof(text), "call %u", i);
        ids[i] = test_client_call(&client, "/test.S/Hold", text, strlen(text));
    }
    test_wait_until((test_client_pump(&client, 1), atomic_load(&server.calls) == before + COUNT));
    assert_int_equal(sr_gauge_read(&sr_rpc_metrics(server.rpc)->open_calls), COUNT);
    test_server_release(&server);
    for (unsigned i = 0; i < COUNT; i++) {
        snprintf(text, sizeof(text), "call %u", i);
        check_text(test_client_finish(&client, ids[i]), text);
    }
    test_client_close(&client);
}

static void service_errors(void **state)
{
    struct test_client client;
    (void)state;
    test_client_open(&client, server.port, server.dir, 0);
    const char *text = "100% of \xc3\xa9\n";
    int32_t id = test_client_call(&client, "/test.S/Fail", text, strlen(text));
    check_error(test_client_finish(&client, id), 200, 5, "100%25 of %C3%A9%0A");

    id = test_client_call(&client, "/test.S/Fail", "", 0);
    const struct test_answer *answer = test_client_finish(&client, id);
    check_error(answer, 200, 5, "");
    assert_false(answer->has_message);

    id = test_client_call(&client, "/none/None", "", 0);
    check_error(test_client_finish(&client, id), 200, 12, "unknown service");
    test_client_close(&client);
}

/* Stock clients send these; RFC 9110 says that they are no authorities. */
static void malformed_authority(void **state)
{
    static const char *const authorities[] = {"http://localhost:2379", "#initially=[a:1;b:2]", ""};
    struct test_client client;
    struct sr_buf body = {0};
    (void)state;
    test_frame(&body, 0, "x", 1);
    test_client_open(&client, server.port, server.dir, 0);
    for (size_t i = 0; i < sizeof(authorities) / sizeof(authorities[0]); i++) {
        struct test_request request = {
            .authority = authorities[i], .body = body.data, .size = body.size};
        check_text(test_client_finish(&client, test_client_send(&client, &request)), "x");
    }
    test_client_close(&client);
    sr_buf_close(&body);
}

static void bad_requests(void **state)
{
    static const uint8_t good[] = {0, 0, 0, 0, 1, 'x'};
    static const uint8_t compressed[] = {1, 0, 0, 0, 1, 'x'};
    static const uint8_t strange[] = {7, 0, 0, 0, 1, 'x'};
    static const uint8_t half[] = {0, 0, 0, 0, 9, 'x'};
    static const struct {
        struct test_request request;
        int http_status;
        int grpc_status;
        const char *message;
    } cases[] = {
        {{.content_type = "application/json", .body = good, .size = 6}, 415, 3, NULL},
        {{.content_type = "application/grpc-web", .body = good, .size = 6}, 415, 3, NULL},
        {{.method = "GET"}, 405, 13, NULL},
        {{.name = "grpc-timeout", .value = "soon", .body = good, .size = 6}, 400, 13, NULL},
        {{.name = "grpc-timeout", .value = "0n", .body = good, .size = 6},
         200,
         4,
         "context deadline exceeded"},
        {{.body = NULL}, 200, 2, "EOF"},
        {{.body = "", .size = 0}, 200, 2, "EOF"},
        {{.body = good, .size = 3}, 200, 2, "unexpected EOF"},
        {{.body = half, .size = 6}, 200, 2, "unexpected EOF"},
        {{.body = compressed, .size = 6},
         200,
         13,
         "grpc: compressed flag set with identity or empty encoding"},
        {{.name = "grpc-encoding", .value = "identity", .body = compressed, .size = 6},
         200,
         13,
         "grpc: compressed flag set with identity or empty encoding"},
        {{.name = "grpc-encoding", .value = "gzip", .body = compressed, .size = 6},
         200,
         12,
         "grpc: Decompressor is not installed for grpc-encoding \"gzip\""},
        {{.body = strange, .size = 6}, 200, 13, "grpc: received unexpected payload format 7"},
    };
    struct test_client client;
    (void)state;
    test_client_open(&client, server.port, server.dir, 0);
    unsigned before = atomic_load(&server.calls);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int32_t id = test_client_send(&client, &cases[i].request);
        check_error(test_client_finish(&client, id), cases[i].http_status, cases[i].grpc_status,
                    cases[i].message);
    }
    assert_int_equal(atomic_load(&server.calls), before);

    /* Not even a gRPC request: the stream is reset, the connection lives. */
    struct test_request no_path = {.path = "-", .body = good, .size = 6};
    const struct test_answer *answer =
        test_client_finish(&client, test_client_send(&client, &no_path));
    assert_int_equal(answer->error_code, NGHTTP2_PROTOCOL_ERROR);
    struct test_request bad_path = {.path = "/test.S/Ec\x01ho", .body = good, .size = 6};
    answer = test_client_finish(&client, test_client_send(&client, &bad_path));
    assert_int_equal(answer->error_code, NGHTTP2_PROTOCOL_ERROR);
    int32_t id = test_client_call(&client, "/test.S/Echo", "alive", 5);
    check_text(test_client_finish(&client, id), "alive");
    test_client_close(&client);
}

static void large_headers(void **state)
{
    static const uint8_t good[] = {0, 0, 0, 0, 1, 'x'};
    struct test_client client;
    (void)state;
    char *value = sr_zalloc(SR_HEADER_BYTES_MAX + 1);
    memset(value, 'v', SR_HEADER_BYTES_MAX);
    test_client_open(&client, server.port, server.dir, 0);
    struct test_request request = {.name = "x-large", .value = value, .body = good, .size = 6};
    check_error(test_client_finish(&client, test_client_send(&client, &request)), 431, 8, NULL);
    value[SR_HEADER_BYTES_MAX - 1024] = '\0';
    check_text(test_client_finish(&client, test_client_send(&client, &request)), "x");
    test_client_close(&client);
    sr_free(value);
}

static void message_sizes(void **state)
{
    struct test_client client;
    (void)state;
    uint8_t *message = sr_zalloc(SR_MESSAGE_BYTES_MAX + 1);
    memset(message, 'm', SR_MESSAGE_BYTES_MAX + 1);
    test_client_open(&client, server.port, server.dir, 0);
    int32_t id = test_client_call(&client, "/test.S/Echo", message, SR_MESSAGE_BYTES_MAX);
    check_message(test_client_finish(&client, id), message, SR_MESSAGE_BYTES_MAX);
    id = test_client_call(&client, "/test.S/Echo", message, SR_MESSAGE_BYTES_MAX + 1);
    check_error(test_client_finish(&client, id), 200, 8,
                "grpc: received message larger than max (2097153 vs. 2097152)");
    test_client_close(&client);
    sr_free(message);
}

/* A message in single bytes, each in a DATA frame of its own; then more than one message. */
static void split_and_joined(void **state)
{
    struct test_client client;
    struct sr_buf body = {0};
    (void)state;
    test_client_open(&client, server.port, server.dir, 0);
    test_frame(&body, 0, "split up", 8);
    struct test_request request = {.open = true};
    int32_t id = test_client_send(&client, &request);
    for (size_t i = 0; i < body.size; i++) {
        uint8_t frame[10] = {0, 0, 1, NGHTTP2_DATA, 0, 0, 0, 0, (uint8_t)id};
        frame[9] = body.data[i];
        test_client_raw(&client, frame, sizeof(frame));
    }
    check_text(test_client_finish(&client, id), "split up");

    test_frame(&body, 0, "another", 7);
    struct test_request two = {.body = body.data, .size = body.size};
    check_text(test_client_finish(&client, test_client_send(&client, &two)), "split up");
    test_client_close(&client);
    sr_buf_close(&body);
}

/* The answer comes when the message is complete; then the client is told to stop sending. */
static void answer_before_end(void **state)
{
    static const uint8_t body[] = {0, 0, 0, 0, 2, 'o', 'k'};
    struct test_client client;
    (void)state;
    test_client_open(&client, server.port, server.dir, 0);
    struct test_request request = {.body = body, .size = sizeof(body), .open = true};
    const struct test_answer *answer =
        test_client_finish(&client, test_client_send(&client, &request));
    check_text(answer, "ok");
    assert_int_equal(answer->error_code, NGHTTP2_NO_ERROR);
    test_client_close(&client);
}

static void methods_are_counted(void **state)
{
    const struct sr_rpc_metrics *metrics = sr_rpc_metrics(server.rpc);
    unsigned found = 0;
    (void)state;
    for (size_t i = 0; i < SR_RPC_METHODS_MAX; i++) {
        const struct sr_rpc_method_metrics *method = &metrics->methods[i];
        const char *path = atomic_load(&method->path);
        if (path == NULL) {
            continue;
        }
        assert_string_not_equal(path, "/none/None");
        if (strcmp(path, "/test.S/Echo") == 0) {
            found++;
            assert_true(sr_counter_read(&method->by_code[SR_GRPC_OK]) > 3);
        } else if (strcmp(path, "/test.S/Fail") == 0) {
            found++;
            assert_int_equal(sr_counter_read(&method->by_code[SR_GRPC_NOT_FOUND]), 2);
        } else if (strcmp(path, "other") == 0) {
            found++;
            assert_true(sr_counter_read(&method->by_code[SR_GRPC_UNIMPLEMENTED]) >= 1);
        }
    }
    assert_int_equal(found, 3);
    assert_true(sr_counter_read(&metrics->accepted) > 5);
    assert_true(sr_counter_read(&metrics->received_bytes) > SR_MESSAGE_BYTES_MAX);
    assert_true(sr_counter_read(&metrics->sent_bytes) > SR_MESSAGE_BYTES_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),          cmocka_unit_test(metadata),
        cmocka_unit_test(many_streams),        cmocka_unit_test(service_errors),
        cmocka_unit_test(malformed_authority), cmocka_unit_test(bad_requests),
        cmocka_unit_test(large_headers),       cmocka_unit_test(message_sizes),
        cmocka_unit_test(split_and_joined),    cmocka_unit_test(answer_before_end),
        cmocka_unit_test(methods_are_counted),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
