/* SPDX-License-Identifier: Apache-2.0
 *
 * The socket stays non-blocking; a call tries, and waits in poll for what OpenSSL is missing, in
 * slices so short that a stop is seen soon.
 */
#include "node/net/blocking.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/clock.h"
#include "node/net/address.h"
#include "node/net/stream_internal.h"
#include "node/net/tls_internal.h"

#define SLICE_MS 100
/* The last words of a connection that is closed: they are few, the kernel takes them at once. */
#define GOODBYE_MS 1000

struct sr_blocking {
    int fd;
    SSL *ssl;
    const atomic_bool *stop;
    bool is_broken;
    char server_name[SR_HOST_TEXT_MAX];
    char address[SR_ADDRESS_TEXT_MAX];
};

static uint64_t deadline_after(unsigned timeout_ms)
{
    return sr_clock_monotonic_ns() / 1000000 + timeout_ms;
}

/* Until the socket is ready for @events. */
static int wait_for(const struct sr_blocking *blocking, short events, uint64_t deadline_ms,
                    struct sr_err *err)
{
    for (;;) {
        if (atomic_load(blocking->stop)) {
            return sr_err_set(err, SR_CLOSED, "the node is stopping");
        }
        uint64_t now_ms = sr_clock_monotonic_ns() / 1000000;
        if (now_ms >= deadline_ms) {
            return sr_err_set(err, SR_TIMEOUT, "nothing came or went in time");
        }
        uint64_t left_ms = deadline_ms - now_ms;
        struct pollfd watched = {.fd = blocking->fd, .events = events};
        int ready = poll(&watched, 1, left_ms < SLICE_MS ? (int)left_ms : SLICE_MS);
        if (ready > 0) {
            return SR_OK;
        }
        if (ready < 0 && errno != EINTR) {
            return sr_err_errno(err, SR_NETWORK, errno, "wait for a socket");
        }
    }
}

/* An SSL call returned @done: wait for what it misses (SR_OK: try again), or say why it failed. */
static int after(struct sr_blocking *blocking, int done, uint64_t deadline_ms, struct sr_err *err)
{
    int failed = errno;
    int what = SSL_get_error(blocking->ssl, done);
    if (what == SSL_ERROR_WANT_READ || what == SSL_ERROR_WANT_WRITE) {
        return wait_for(blocking, what == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT, deadline_ms, err);
    }
    blocking->is_broken = what != SSL_ERROR_ZERO_RETURN;
    if (what == SSL_ERROR_ZERO_RETURN) {
        return sr_err_set(err, SR_NETWORK, "the other side closed the connection");
    }
    if (what == SSL_ERROR_SYSCALL) {
        ERR_clear_error();
        return failed == 0 ? sr_err_set(err, SR_NETWORK, "the other side hung up")
                           : sr_err_errno(err, SR_NETWORK, failed, "connection");
    }
    return sr_tls_explain(blocking->ssl, blocking->server_name, err);
}

/* ---- Connecting ---- */

static int connect_fd(struct sr_blocking *blocking, const struct addrinfo *to, uint64_t deadline_ms,
                      struct sr_err *err)
{
    int on = 1;
    int failed = 0;
    socklen_t size = sizeof(failed);
    sr_address_format(to->ai_addr, blocking->address);
    blocking->fd = socket(to->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (blocking->fd < 0) {
        return sr_err_errno(err, SR_NETWORK, errno, "open a socket");
    }
    setsockopt(blocking->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    setsockopt(blocking->fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    if (connect(blocking->fd, to->ai_addr, to->ai_addrlen) != 0) {
        failed = errno;
    }
    if (failed == EINPROGRESS) {
        int status = wait_for(blocking, POLLOUT, deadline_ms, err);
        if (status != SR_OK) {
            return sr_err_prefix(err, "connect to %s", blocking->address);
        }
        sr_check(getsockopt(blocking->fd, SOL_SOCKET, SO_ERROR, &failed, &size) == 0);
    }
    return failed == 0 ? SR_OK
                       : sr_err_errno(err, SR_NETWORK, failed, "connect to %s", blocking->address);
}

/* One after the other. One that never answers leaves the others their share of the time. */
static int connect_any(struct sr_blocking *blocking, const struct addrinfo *found,
                       uint64_t deadline_ms, struct sr_err *err)
{
    uint64_t left = 0;
    int status = SR_NETWORK;
    for (const struct addrinfo *at = found; at != NULL; at = at->ai_next) {
        left++;
    }
    for (const struct addrinfo *at = found;
         at != NULL && (status == SR_NETWORK || status == SR_TIMEOUT); at = at->ai_next) {
        uint64_t now_ms = sr_clock_monotonic_ns() / 1000000;
        uint64_t share_ms = now_ms < deadline_ms ? (deadline_ms - now_ms) / left-- : 0;
        if (blocking->fd >= 0) {
            close(blocking->fd);
        }
        status = connect_fd(blocking, at, now_ms + share_ms, err);
    }
    return status;
}

static int reach(struct sr_blocking *blocking, const char *address, uint64_t deadline_ms,
                 struct sr_err *err)
{
    char host[SR_HOST_TEXT_MAX];
    char port[6];
    int status = sr_address_split(address, host, port, err);
    if (status != SR_OK) {
        return status;
    }
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    hints.ai_flags = AI_NUMERICSERV;
    struct addrinfo *found = NULL;
    int failure = getaddrinfo(host, port, &hints, &found);
    if (failure != 0) {
        return sr_err_set(err, SR_NETWORK, "look up \"%.255s\": %s", host, gai_strerror(failure));
    }
    status = connect_any(blocking, found, deadline_ms, err);
    freeaddrinfo(found);
    return status;
}

/* The name, or the number, that the server's certificate must carry. */
static int expect(struct sr_blocking *blocking, const struct sr_blocking_target *target,
                  struct sr_err *err)
{
    char host[SR_HOST_TEXT_MAX];
    char port[6];
    unsigned char number[sizeof(struct in6_addr)];
    const char *name = target->server_name;
    if (name == NULL) {
        sr_check(sr_address_split(target->address, host, port, NULL) == SR_OK);
        name = host;
    }
    if (name[0] == '\0' || name[0] == '.' || strlen(name) >= SR_HOST_TEXT_MAX) {
        return sr_err_set(err, SR_INVALID, "\"%.300s\" is not a DNS name", name);
    }
    memcpy(blocking->server_name, name, strlen(name) + 1);
    if (target->server_name == NULL &&
        (inet_pton(AF_INET, name, number) == 1 || inet_pton(AF_INET6, name, number) == 1)) {
        sr_check(X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(blocking->ssl), name) == 1);
        return SR_OK;
    }
    SSL_set_hostflags(blocking->ssl,
                      X509_CHECK_FLAG_NO_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
    sr_check(SSL_set1_host(blocking->ssl, name) == 1);
    sr_check(SSL_set_tlsext_host_name(blocking->ssl, blocking->server_name) == 1);
    return SR_OK;
}

static int shake_hands(struct sr_blocking *blocking, const struct sr_blocking_target *target,
                       struct sr_tls *tls, uint64_t deadline_ms, struct sr_err *err)
{
    blocking->ssl = SSL_new(tls->ctx);
    sr_check(blocking->ssl != NULL && SSL_set_fd(blocking->ssl, blocking->fd) == 1);
    SSL_set_connect_state(blocking->ssl);
    int status = expect(blocking, target, err);
    while (status == SR_OK) {
        errno = 0;
        ERR_clear_error();
        int done = SSL_do_handshake(blocking->ssl);
        if (done == 1) {
            return sr_tls_check_peer(blocking->ssl, tls, blocking->server_name, err);
        }
        status = after(blocking, done, deadline_ms, err);
    }
    return status;
}

int sr_blocking_connect(const struct sr_blocking_target *target, struct sr_tls *tls,
                        const atomic_bool *stop, unsigned timeout_ms, struct sr_blocking **ret,
                        struct sr_err *err)
{
    uint64_t deadline_ms = deadline_after(timeout_ms);
    struct sr_blocking *blocking = sr_zalloc(sizeof(*blocking));
    blocking->fd = -1;
    blocking->stop = stop;
    blocking->is_broken = true; /* until hands are shaken there is nothing to say goodbye to */
    int status = reach(blocking, target->address, deadline_ms, err);
    if (status == SR_OK) {
        status = shake_hands(blocking, target, tls, deadline_ms, err);
    }
    if (status != SR_OK) {
        sr_blocking_close(blocking);
        return status;
    }
    blocking->is_broken = false;
    *ret = blocking;
    return SR_OK;
}

struct sr_blocking *blocking_take(int fd, SSL *ssl, const atomic_bool *stop)
{
    struct sr_blocking *blocking = sr_zalloc(sizeof(*blocking));
    struct sockaddr_storage peer = {0};
    socklen_t size = sizeof(peer);
    getpeername(fd, (struct sockaddr *)&peer, &size); /* "?" if it is gone already */
    sr_address_format((struct sockaddr *)&peer, blocking->address);
    blocking->fd = fd;
    blocking->ssl = ssl;
    blocking->stop = stop;
    sr_check(SSL_set_fd(ssl, fd) == 1); /* frees the stream's BIO */
    return blocking;
}

/* ---- Moving bytes ---- */

int sr_blocking_read(struct sr_blocking *blocking, void *out, size_t size, unsigned timeout_ms,
                     struct sr_err *err)
{
    size_t filled = 0;
    while (filled < size) {
        size_t got = 0;
        errno = 0;
        ERR_clear_error();
        int done = SSL_read_ex(blocking->ssl, (char *)out + filled, size - filled, &got);
        filled += got;
        if (done != 1) {
            int status = after(blocking, done, deadline_after(timeout_ms), err);
            if (status != SR_OK) {
                return status;
            }
        } else if (atomic_load(blocking->stop)) {
            return sr_err_set(err, SR_CLOSED, "the node is stopping");
        }
    }
    return SR_OK;
}

int sr_blocking_write(struct sr_blocking *blocking, const void *data, size_t size,
                      unsigned timeout_ms, struct sr_err *err)
{
    size_t sent = 0;
    while (sent < size) {
        /* A record at a time: what OpenSSL has begun must be offered again as it was. */
        size_t left = size - sent;
        size_t piece = left < SSL3_RT_MAX_PLAIN_LENGTH ? left : SSL3_RT_MAX_PLAIN_LENGTH;
        size_t taken = 0;
        errno = 0;
        ERR_clear_error();
        int done = SSL_write_ex(blocking->ssl, (const char *)data + sent, piece, &taken);
        sent += taken;
        if (done != 1) {
            int status = after(blocking, done, deadline_after(timeout_ms), err);
            if (status != SR_OK) {
                return status;
            }
        } else if (atomic_load(blocking->stop)) {
            return sr_err_set(err, SR_CLOSED, "the node is stopping");
        }
    }
    return SR_OK;
}

bool sr_blocking_has_dns_name(const struct sr_blocking *blocking, const char *name)
{
    return sr_tls_peer_has_dns_name(blocking->ssl, name);
}

bool sr_blocking_peer_key(const struct sr_blocking *blocking, uint8_t ret_key[32])
{
    return sr_tls_peer_key(blocking->ssl, ret_key);
}

const char *sr_blocking_address(const struct sr_blocking *blocking)
{
    return blocking->address;
}

/* Let our last words arrive: a socket closed over unread input would answer with a reset, which
 * can overtake them. */
static void say_goodbye(struct sr_blocking *blocking)
{
    char discarded[512];
    uint64_t deadline_ms = deadline_after(GOODBYE_MS);
    ERR_clear_error();
    if (SSL_shutdown(blocking->ssl) < 0 || shutdown(blocking->fd, SHUT_WR) != 0) {
        return;
    }
    while (wait_for(blocking, POLLIN, deadline_ms, NULL) == SR_OK) {
        ssize_t got = recv(blocking->fd, discarded, sizeof(discarded), 0);
        if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) {
            return;
        }
    }
}

void sr_blocking_close(struct sr_blocking *blocking)
{
    if (blocking == NULL) {
        return;
    }
    if (!blocking->is_broken) {
        say_goodbye(blocking);
    }
    ERR_clear_error();
    SSL_free(blocking->ssl);
    if (blocking->fd >= 0) {
        close(blocking->fd);
    }
    sr_free(blocking);
}
