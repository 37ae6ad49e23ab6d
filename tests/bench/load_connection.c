/* SPDX-License-Identifier: Apache-2.0
 *
 * One HTTP/2 connection over TLS with a client certificate. Non-blocking after the handshake;
 * what one turn produces leaves with one SSL_write.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"
#include "tests/bench/load.h"

struct load_connection {
    int fd;
    SSL *ssl;
    nghttp2_session *session;
    struct sr_buf out;
    const struct load_events *events;
    char authority[128];
};

void load_die(const char *what, const char *detail)
{
    fprintf(stderr, "strongroom-load: %s: %s\n", what, detail);
    exit(1);
}

/* ---- nghttp2 ---- */

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_size, const uint8_t *value, size_t value_size, uint8_t flags,
                     void *arg)
{
    (void)flags;
    (void)arg;
    struct load_client *client = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    if (client == NULL) {
        return 0;
    }
    if (name_size == 11 && memcmp(name, "grpc-status", 11) == 0) {
        client->grpc_status = atoi((const char *)value);
    } else if (name_size == 12 && memcmp(name, "grpc-message", 12) == 0) {
        snprintf(client->grpc_message, sizeof(client->grpc_message), "%.*s", (int)value_size,
                 (const char *)value);
    }
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream_id, const uint8_t *data,
                   size_t size, void *arg)
{
    (void)flags;
    (void)data;
    (void)arg;
    struct load_client *client = nghttp2_session_get_stream_user_data(session, stream_id);
    if (client != NULL) {
        client->answer_bytes += size;
    }
    return 0;
}

/* A get that found its key carries the value back; a put's answer is a header at least. */
static bool is_good(const struct load_client *client, uint32_t http2_error)
{
    size_t least = client->request.is_get ? 64 : 5;
    return http2_error == 0 && client->grpc_status == 0 && client->answer_bytes >= least;
}

static int on_stream_close(nghttp2_session *session, int32_t stream_id, uint32_t error, void *arg)
{
    struct load_connection *connection = arg;
    struct load_client *client = nghttp2_session_get_stream_user_data(session, stream_id);
    if (client != NULL) {
        connection->events->on_done(client, is_good(client, error));
    }
    return 0;
}

static ssize_t read_body(nghttp2_session *session, int32_t stream_id, uint8_t *out, size_t size,
                         uint32_t *flags, nghttp2_data_source *source, void *arg)
{
    (void)session;
    (void)stream_id;
    (void)arg;
    struct load_client *client = source->ptr;
    size_t left = client->request.message.size - client->sent;
    size_t taken = left < size ? left : size;
    memcpy(out, client->request.message.data + client->sent, taken);
    client->sent += taken;
    if (taken == left) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    }
    return (ssize_t)taken;
}

static nghttp2_session *make_session(struct load_connection *connection)
{
    nghttp2_session_callbacks *callbacks = NULL;
    nghttp2_session *session = NULL;
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    if (nghttp2_session_client_new(&session, callbacks, connection) != 0) {
        load_die("nghttp2", "no session");
    }
    nghttp2_session_callbacks_del(callbacks);
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 1 << 20},
    };
    nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, settings, 2);
    nghttp2_session_set_local_window_size(session, NGHTTP2_FLAG_NONE, 0, 16 << 20);
    return session;
}

#define HEADER(name, value, length)                                                                \
    {                                                                                              \
        (uint8_t *)(uintptr_t)(name), (uint8_t *)(uintptr_t)(value), sizeof(name) - 1, (length),   \
            NGHTTP2_NV_FLAG_NO_COPY_NAME                                                           \
    }

void load_submit(struct load_connection *connection, struct load_client *client)
{
    const nghttp2_nv headers[] = {
        HEADER(":method", "POST", 4),
        HEADER(":scheme", "https", 5),
        HEADER(":path", client->request.path, strlen(client->request.path)),
        HEADER(":authority", connection->authority, strlen(connection->authority)),
        HEADER("content-type", "application/grpc", 16),
        HEADER("te", "trailers", 8),
    };
    nghttp2_data_provider body = {.source.ptr = client, .read_callback = read_body};
    client->sent = 0;
    client->answer_bytes = 0;
    client->grpc_status = -1;
    client->grpc_message[0] = '\0';
    client->stream_id = nghttp2_submit_request(connection->session, NULL, headers,
                                               sizeof(headers) / sizeof(headers[0]), &body, client);
    if (client->stream_id < 0) {
        load_die("submit", nghttp2_strerror(client->stream_id));
    }
}

/* ---- socket ---- */

static int connect_to(const char *endpoint, char *authority, size_t authority_size)
{
    const char *start = strstr(endpoint, "://") == NULL ? endpoint : strstr(endpoint, "://") + 3;
    snprintf(authority, authority_size, "%s", start);
    char host[128];
    snprintf(host, sizeof(host), "%s", start);
    char *colon = strrchr(host, ':');
    if (colon == NULL) {
        load_die("endpoint without a port", endpoint);
    }
    *colon = '\0';
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    if (getaddrinfo(host, colon + 1, &hints, &found) != 0) {
        load_die("unknown host", endpoint);
    }
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool ok = fd >= 0 && connect(fd, found->ai_addr, found->ai_addrlen) == 0;
    freeaddrinfo(found);
    if (!ok) {
        if (fd >= 0) {
            close(fd);
        }
        return -1;
    }
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    return fd;
}

static struct load_connection *given_up(struct load_connection *connection, const char *what,
                                        const char *why)
{
    if (connection->events->on_lost == NULL) {
        load_die(what, why);
    }
    ERR_clear_error();
    load_connection_close(connection);
    return NULL;
}

struct load_connection *load_connect(const struct load_options *options, SSL_CTX *tls,
                                     const char *endpoint, const struct load_events *events)
{
    (void)options;
    struct load_connection *connection = sr_zalloc(sizeof(*connection));
    connection->events = events;
    connection->fd = connect_to(endpoint, connection->authority, sizeof(connection->authority));
    if (connection->fd < 0) {
        return given_up(connection, endpoint, strerror(errno));
    }
    connection->ssl = SSL_new(tls);
    if (connection->ssl == NULL || SSL_set_fd(connection->ssl, connection->fd) != 1 ||
        SSL_connect(connection->ssl) != 1) {
        return given_up(connection, "TLS handshake",
                        ERR_reason_error_string(ERR_peek_last_error()));
    }
    fcntl(connection->fd, F_SETFL, fcntl(connection->fd, F_GETFL) | O_NONBLOCK);
    connection->session = make_session(connection);
    return connection;
}

int load_connection_fd(const struct load_connection *connection)
{
    return connection->fd;
}

static bool lost(struct load_connection *connection, const char *why)
{
    if (connection->events->on_lost == NULL) {
        load_die(connection->authority, why);
    }
    ERR_clear_error();
    connection->events->on_lost(connection);
    return false;
}

bool load_readable(struct load_connection *connection)
{
    static uint8_t buffer[64 * 1024];
    for (;;) {
        int size = SSL_read(connection->ssl, buffer, sizeof(buffer));
        if (size <= 0) {
            int error = SSL_get_error(connection->ssl, size);
            if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) {
                return true;
            }
            return lost(connection, "the server closed the connection");
        }
        ssize_t used = nghttp2_session_mem_recv(connection->session, buffer, (size_t)size);
        if (used < 0) {
            load_die("nghttp2", nghttp2_strerror((int)used));
        }
    }
}

bool load_flush(struct load_connection *connection)
{
    for (;;) {
        const uint8_t *data = NULL;
        ssize_t size = nghttp2_session_mem_send(connection->session, &data);
        if (size <= 0) {
            break;
        }
        sr_buf_append(&connection->out, data, (size_t)size);
    }
    while (connection->out.size > 0) {
        int size = connection->out.size > 1 << 20 ? 1 << 20 : (int)connection->out.size;
        int written = SSL_write(connection->ssl, connection->out.data, size);
        if (written <= 0) {
            if (SSL_get_error(connection->ssl, written) == SSL_ERROR_WANT_WRITE) {
                return true;
            }
            if (connection->events->on_lost == NULL) {
                load_die(connection->authority, "write failed");
            }
            ERR_clear_error();
            shutdown(connection->fd, SHUT_RDWR);
            return false;
        }
        sr_buf_consume(&connection->out, (size_t)written);
    }
    return false;
}

void load_connection_close(struct load_connection *connection)
{
    nghttp2_session_del(connection->session);
    SSL_free(connection->ssl);
    if (connection->fd >= 0) {
        close(connection->fd);
    }
    sr_buf_close(&connection->out);
    sr_free(connection);
}
