/* SPDX-License-Identifier: Apache-2.0 */
#include "node/net/listener.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/log.h"
#include "node/net/address.h"

#define BACKLOG 512
/* So that a storm of connections does not keep the loop from the ones it has. */
#define ACCEPTS_PER_TURN 64
/* Out of descriptors: how long to wait for somebody to close one. */
#define PAUSE_MS 200

struct sr_listener {
    uv_poll_t poll;
    uv_timer_t timer;
    int fd;
    unsigned handles; /* not closed yet */
    bool starved;     /* logged once until accepting works again */
    sr_listener_cb *on_accept;
    void *arg;
    void (*done)(void *arg);
    void *done_arg;
};

static void on_readable(uv_poll_t *poll, int status, int events);

static void on_pause_over(uv_timer_t *timer)
{
    struct sr_listener *listener = timer->data;
    uv_poll_start(&listener->poll, UV_READABLE, on_readable);
}

static void rest(struct sr_listener *listener, int errno_value)
{
    if (!listener->starved) {
        listener->starved = true;
        sr_log(SR_LOG_ERROR, "net", "cannot accept connections", "reason=\"%s\"",
               uv_strerror(-errno_value));
    }
    uv_poll_stop(&listener->poll);
    uv_timer_start(&listener->timer, on_pause_over, PAUSE_MS, 0);
}

/* Failures of one connection, gone before we took it: the next may be fine. */
static bool is_passing(int errno_value)
{
    return errno_value == EINTR || errno_value == ECONNABORTED || errno_value == EPROTO ||
           errno_value == EPERM || errno_value == ENETDOWN || errno_value == EHOSTUNREACH ||
           errno_value == ENETUNREACH || errno_value == ETIMEDOUT;
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct sr_listener *listener = poll->data;
    (void)events;
    (void)status; /* accept4 says more */
    for (int i = 0; i < ACCEPTS_PER_TURN && !uv_is_closing((uv_handle_t *)poll); i++) {
        int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            listener->starved = false;
            listener->on_accept(listener->arg, fd);
            continue;
        }
        if (errno == EAGAIN || errno == EWOULDBLOCK) {
            return;
        }
        if (!is_passing(errno)) {
            rest(listener, errno);
            return;
        }
    }
}

static int listen_on(const struct sr_listener_options *options, int *ret_fd, struct sr_err *err)
{
    struct sockaddr_storage address;
    int status = sr_address_resolve(options->address, &address, err);
    if (status != SR_OK) {
        return status;
    }
    int fd = socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return sr_err_errno(err, SR_NETWORK, errno, "open a socket");
    }
    int on = 1;
    const char *step = "set options of";
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
        (options->reuse_port && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) != 0)) {
        goto out;
    }
    step = "bind";
    if (bind(fd, (struct sockaddr *)&address, sr_address_size(&address)) != 0) {
        goto out;
    }
    step = "listen on";
    if (listen(fd, BACKLOG) != 0) {
        goto out;
    }
    *ret_fd = fd;
    return SR_OK;
out:
    status = sr_err_errno(err, SR_NETWORK, errno, "%s %.255s", step, options->address);
    close(fd);
    return status;
}

int sr_listener_open(const struct sr_listener_options *options, struct sr_listener **ret,
                     struct sr_err *err)
{
    int fd = -1;
    int status = listen_on(options, &fd, err);
    if (status != SR_OK) {
        return status;
    }
    struct sr_listener *listener = sr_zalloc(sizeof(*listener));
    listener->fd = fd;
    listener->handles = 2;
    listener->on_accept = options->on_accept;
    listener->arg = options->arg;
    int failure = uv_poll_init(options->loop, &listener->poll, fd);
    if (failure != 0) {
        close(fd);
        sr_free(listener);
        return sr_err_set(err, SR_NETWORK, "watch %.255s: %s", options->address,
                          uv_strerror(failure));
    }
    sr_check(uv_timer_init(options->loop, &listener->timer) == 0);
    listener->poll.data = listener;
    listener->timer.data = listener;
    sr_check(uv_poll_start(&listener->poll, UV_READABLE, on_readable) == 0);
    *ret = listener;
    return SR_OK;
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct sr_listener *listener = handle->data;
    if (--listener->handles > 0) {
        return;
    }
    void (*done)(void *arg) = listener->done;
    void *arg = listener->done_arg;
    sr_free(listener);
    if (done != NULL) {
        done(arg);
    }
}

void sr_listener_close(struct sr_listener *listener, void (*done)(void *arg), void *arg)
{
    listener->done = done;
    listener->done_arg = arg;
    uv_close((uv_handle_t *)&listener->poll, on_handle_closed);
    uv_close((uv_handle_t *)&listener->timer, on_handle_closed);
    close(listener->fd); /* at once, so that the port is free when the caller asks for it again */
}

uint16_t sr_listener_port(const struct sr_listener *listener)
{
    union {
        struct sockaddr any;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
    } address = {0};
    socklen_t size = sizeof(address);
    sr_check(getsockname(listener->fd, &address.any, &size) == 0);
    return ntohs(address.any.sa_family == AF_INET6 ? address.in6.sin6_port : address.in.sin_port);
}
