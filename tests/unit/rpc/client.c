/* SPDX-License-Identifier: Apache-2.0 */
#include "client.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/clock.h"

/* What is still to be sent of a request. */
struct test_upload {
    struct test_upload *next;
    struct sr_buf data;
    size_t offset;
    bool open;
};

void test_frame(struct sr_buf *out, uint8_t flag, const void *message, size_t size)
{
    sr_buf_append_u8(out, flag);
    sr_buf_append_u32(out, (uint32_t)size);
    sr_buf_append(out, message, size);
}

struct test_answer *test_client_answer(struct test_client *client, int32_t stream_id)
{
    assert_true(stream_id > 0 && stream_id / 2 < TEST_ANSWERS_MAX);
    return &client->answers[stream_id / 2];
}

/* ---- nghttp2's callbacks ---- */

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_size, const uint8_t *value, size_t value_size, uint8_t flags,
                     void *user_data)
{
    (void)session;
    (void)flags;
    struct test_answer *answer = test_client_answer(user_data, frame->hd.stream_id);
    char text[sizeof(answer->message)] = "";
    assert_true(value_size < sizeof(text));
    memcpy(text, value, value_size);
    struct sr_bytes key = {name, name_size};
    if (sr_bytes_equal(key, sr_bytes_of(":status"))) {
        answer->http_status = atoi(text);
    } else if (sr_bytes_equal(key, sr_bytes_of("grpc-status"))) {
        assert_int_equal(answer->grpc_status, -1);
        assert_true(frame->hd.flags & NGHTTP2_FLAG_END_STREAM);
        answer->grpc_status = atoi(text);
    } else if (sr_bytes_equal(key, sr_bytes_of("grpc-message"))) {
        answer->has_message = true;
        memcpy(answer->message, text, sizeof(text));
    } else if (sr_bytes_equal(key, sr_bytes_of("content-type"))) {
        snprintf(answer->content_type, sizeof(answer->content_type), "%.63s", text);
    }
    return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user_data)
{
    (void)session;
    struct test_client *client = user_data;
    if (frame->hd.type == NGHTTP2_HEADERS) {
        test_client_answer(client, frame->hd.stream_id)->header_frames++;
    } else if (frame->hd.type == NGHTTP2_GOAWAY) {
        client->is_goaway = true;
        client->goaway_last_id = frame->goaway.last_stream_id;
    }
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream_id, const uint8_t *data,
                   size_t size, void *user_data)
{
    (void)session;
    (void)flags;
    sr_buf_append(&test_client_answer(user_data, stream_id)->body, data, size);
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t stream_id, uint32_t error_code,
                           void *user_data)
{
    (void)session;
    struct test_answer *answer = test_client_answer(user_data, stream_id);
    answer->closed = true;
    answer->error_code = error_code;
    return 0;
}

static ssize_t read_upload(nghttp2_session *session, int32_t stream_id, uint8_t *out, size_t size,
                           uint32_t *flags, nghttp2_data_source *source, void *user_data)
{
    (void)session;
    (void)stream_id;
    (void)user_data;
    struct test_upload *upload = source->ptr;
    size_t left = upload->data.size - upload->offset;
    if (left == 0 && upload->open) {
        return NGHTTP2_ERR_DEFERRED;
    }
    size_t taken = left < size ? left : size;
    if (taken > 0) {
        memcpy(out, upload->data.data + upload->offset, taken);
    }
    upload->offset += taken;
    if (upload->offset == upload->data.size && !upload->open) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    }
    return (ssize_t)taken;
}

/* ---- Connecting ---- */

bool test_client_connect(struct test_client *client, unsigned port, const char *dir)
{
    char file[128];
    signal(SIGPIPE, SIG_IGN);
    *client = (struct test_client){.fd = -1};
    client->answers = sr_calloc(TEST_ANSWERS_MAX, sizeof(*client->answers));
    for (size_t i = 0; i < TEST_ANSWERS_MAX; i++) {
        client->answers[i].grpc_status = -1;
    }
    client->ctx = SSL_CTX_new(TLS_client_method());
    assert_non_null(client->ctx);
    snprintf(file, sizeof(file), "%s/client.crt", dir);
    assert_int_equal(SSL_CTX_use_certificate_chain_file(client->ctx, file), 1);
    snprintf(file, sizeof(file), "%s/client.key", dir);
    assert_int_equal(SSL_CTX_use_PrivateKey_file(client->ctx, file, SSL_FILETYPE_PEM), 1);
    snprintf(file, sizeof(file), "%s/ca.crt", dir);
    assert_int_equal(SSL_CTX_load_verify_locations(client->ctx, file, NULL), 1);
    SSL_CTX_set_verify(client->ctx, SSL_VERIFY_PEER, NULL);
    assert_int_equal(SSL_CTX_set_alpn_protos(client->ctx, (const uint8_t *)"\x02h2", 3), 0);

    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    client->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(client->fd >= 0);
    if (connect(client->fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
        return false;
    }
    int on = 1;
    setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    client->ssl = SSL_new(client->ctx);
    SSL_set_fd(client->ssl, client->fd);
    return SSL_connect(client->ssl) == 1;
}

void test_client_open(struct test_client *client, unsigned port, const char *dir, uint32_t window)
{
    nghttp2_session_callbacks *callbacks = NULL;
    nghttp2_option *option = NULL;
    assert_true(test_client_connect(client, port, dir));
    assert_int_equal(nghttp2_session_callbacks_new(&callbacks), 0);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    assert_int_equal(nghttp2_option_new(&option), 0);
    nghttp2_option_set_no_http_messaging(option, 1); /* it has to send what is not allowed */
    nghttp2_option_set_no_auto_window_update(option, window != 0);
    assert_int_equal(nghttp2_session_client_new2(&client->session, callbacks, client, option), 0);
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_settings_entry entry = {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, window};
    assert_int_equal(nghttp2_submit_settings(client->session, 0, &entry, window != 0 ? 1 : 0), 0);
}

void test_client_vanish(struct test_client *client)
{
    struct linger abortive = {.l_onoff = 1};
    setsockopt(client->fd, SOL_SOCKET, SO_LINGER, &abortive, sizeof(abortive));
    close(client->fd);
    client->fd = -1;
    client->gone = true;
}

void test_client_close(struct test_client *client)
{
    nghttp2_session_del(client->session);
    if (client->ssl != NULL && !client->gone) {
        SSL_shutdown(client->ssl);
    }
    SSL_free(client->ssl);
    SSL_CTX_free(client->ctx);
    if (client->fd >= 0) {
        close(client->fd);
    }
    ERR_clear_error();
    for (size_t i = 0; i < TEST_ANSWERS_MAX; i++) {
        sr_buf_close(&client->answers[i].body);
    }
    sr_free(client->answers);
    while (client->uploads != NULL) {
        struct test_upload *upload = client->uploads;
        client->uploads = upload->next;
        sr_buf_close(&upload->data);
        sr_free(upload);
    }
}

/* ---- Moving bytes ---- */

void test_client_raw(struct test_client *client, const void *data, size_t size)
{
    ERR_clear_error();
    if (!client->gone && SSL_write(client->ssl, data, (int)size) <= 0) {
        client->gone = true;
    }
}

static void send_queued(struct test_client *client)
{
    const uint8_t *data = NULL;
    ssize_t size = 0;
    while (!client->gone && (size = nghttp2_session_mem_send(client->session, &data)) > 0) {
        test_client_raw(client, data, (size_t)size);
    }
    assert_true(size >= 0);
}

static void receive(struct test_client *client)
{
    static uint8_t buffer[65536];
    ERR_clear_error();
    int size = SSL_read(client->ssl, buffer, sizeof(buffer));
    if (size <= 0) {
        client->gone = true;
        shutdown(client->fd, SHUT_RDWR);
        return;
    }
    if (client->session != NULL) {
        assert_int_equal(nghttp2_session_mem_recv(client->session, buffer, (size_t)size), size);
    }
}

void test_client_pump(struct test_client *client, int wait_ms)
{
    if (client->session != NULL) {
        send_queued(client);
    }
    while (!client->gone) {
        struct pollfd ready = {.fd = client->fd, .events = POLLIN};
        if (SSL_pending(client->ssl) == 0 && poll(&ready, 1, wait_ms) <= 0) {
            return;
        }
        receive(client);
        if (client->session != NULL) {
            send_queued(client);
        }
        wait_ms = 0;
    }
}

struct test_answer *test_client_finish(struct test_client *client, int32_t stream_id)
{
    uint64_t end_ns = sr_clock_monotonic_ns() + 120000000000ULL;
    struct test_answer *answer = stream_id == 0 ? NULL : test_client_answer(client, stream_id);
    while (answer == NULL ? !client->gone : !answer->closed) {
        if (answer != NULL && client->gone) {
            fail_msg("connection closed before stream %d was", stream_id);
        }
        assert_true(sr_clock_monotonic_ns() < end_ns);
        test_client_pump(client, 50);
    }
    return answer;
}

void test_client_consume(struct test_client *client, int32_t stream_id, size_t size)
{
    nghttp2_session_consume(client->session, stream_id, size);
}

/* ---- Calls ---- */

static nghttp2_nv header(const char *name, const char *value)
{
    return (nghttp2_nv){(uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value, strlen(name),
                        strlen(value), NGHTTP2_NV_FLAG_NONE};
}

static const char *or_else(const char *given, const char *otherwise)
{
    return given == NULL ? otherwise : given;
}

int32_t test_client_send(struct test_client *client, const struct test_request *request)
{
    const char *path = or_else(request->path, "/test.S/Echo");
    nghttp2_nv headers[8];
    size_t count = 0;
    headers[count++] = header(":method", or_else(request->method, "POST"));
    headers[count++] = header(":scheme", "https");
    if (strcmp(path, "-") != 0) {
        headers[count++] = header(":path", path);
    }
    headers[count++] = header(":authority", or_else(request->authority, "localhost"));
    headers[count++] = header("content-type", or_else(request->content_type, "application/grpc"));
    headers[count++] = header("te", "trailers");
    if (request->name != NULL) {
        headers[count++] = header(request->name, request->value);
    }
    nghttp2_data_provider provider = {.read_callback = read_upload};
    if (request->body != NULL || request->open) {
        struct test_upload *upload = sr_zalloc(sizeof(*upload));
        sr_buf_append(&upload->data, request->body, request->size);
        upload->open = request->open;
        upload->next = client->uploads;
        client->uploads = upload;
        provider.source.ptr = upload;
    }
    int32_t stream_id =
        nghttp2_submit_request(client->session, NULL, headers, count,
                               provider.source.ptr == NULL ? NULL : &provider, NULL);
    assert_true(stream_id > 0);
    send_queued(client);
    return stream_id;
}

int32_t test_client_call(struct test_client *client, const char *path, const void *message,
                         size_t size)
{
    struct sr_buf body = {0};
    test_frame(&body, 0, message, size);
    struct test_request request = {.path = path, .body = body.data, .size = body.size};
    int32_t stream_id = test_client_send(client, &request);
    sr_buf_close(&body);
    return stream_id;
}
