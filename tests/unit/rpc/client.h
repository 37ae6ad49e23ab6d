/* SPDX-License-Identifier: Apache-2.0
 *
 * A blocking gRPC client for tests, on OpenSSL and nghttp2, with a door to send raw bytes.
 */
#ifndef SR_TESTS_UNIT_RPC_CLIENT_H
#define SR_TESTS_UNIT_RPC_CLIENT_H

#include <nghttp2/nghttp2.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

#define TEST_ANSWERS_MAX 8192

struct test_answer {
    int http_status;   /* 0: none came */
    int grpc_status;   /* -1: none came */
    char message[400]; /* grpc-message as sent; "" if none */
    bool has_message;
    char content_type[64];
    unsigned header_frames;
    struct sr_buf body; /* DATA, prefix included */
    bool closed;
    uint32_t error_code; /* of the stream's end */
};

struct test_client {
    SSL_CTX *ctx;
    SSL *ssl;
    int fd;
    nghttp2_session *session;
    bool gone;      /* the server closed the connection */
    bool is_goaway; /* GOAWAY came */
    int32_t goaway_last_id;
    struct test_answer *answers; /* stream 1 is answers[0], stream 3 answers[1], ... */
    struct test_upload *uploads;
};

/* A TLS connection without HTTP/2 so far; false when the server does not let it in. */
bool test_client_connect(struct test_client *client, unsigned port, const char *dir);
/* The same and the preface. @window 0: the default initial window, refilled by nghttp2;
 * otherwise a window of that many bytes that only test_client_consume refills. */
void test_client_open(struct test_client *client, unsigned port, const char *dir, uint32_t window);
void test_client_close(struct test_client *client);
/* Break the TCP connection without a word. */
void test_client_vanish(struct test_client *client);
void test_client_raw(struct test_client *client, const void *data, size_t size);

struct test_request {
    const char *path;         /* NULL: "/test.S/Echo"; "-": none */
    const char *method;       /* NULL: "POST" */
    const char *authority;    /* NULL: "localhost" */
    const char *content_type; /* NULL: "application/grpc" */
    const char *name;         /* one more header */
    const char *value;
    const void *body; /* DATA as it is; NULL and open false: HEADERS end the stream */
    size_t size;
    bool open; /* no END_STREAM behind it */
};

/* Start a call; returns its stream id. */
int32_t test_client_send(struct test_client *client, const struct test_request *request);
/* The same for a message to a path: prefix and END_STREAM as they should be. */
int32_t test_client_call(struct test_client *client, const char *path, const void *message,
                         size_t size);
/* Move bytes until @stream_id is closed (0: until the server has closed the connection); fails the
 * test after 20 s. Returns the answer; NULL for 0. */
struct test_answer *test_client_finish(struct test_client *client, int32_t stream_id);
struct test_answer *test_client_answer(struct test_client *client, int32_t stream_id);
/* Send what is queued and read what has come, for at most about @wait_ms. */
void test_client_pump(struct test_client *client, int wait_ms);
/* Give @size bytes of window back, to the stream and the connection. */
void test_client_consume(struct test_client *client, int32_t stream_id, size_t size);

/* A gRPC message: prefix and bytes. */
void test_frame(struct sr_buf *out, uint8_t flag, const void *message, size_t size);

#endif
