/* SPDX-License-Identifier: Apache-2.0
 *
 * The listening socket. It is polled by loop 0, which accepts what waits and hands the sockets
 * round-robin to all loops.
 *
 * Two shortages are answered in the same way, by accepting and closing at once, so that a client
 * learns quickly that it should try another node: too many connections, and no file descriptors
 * (for which one is kept in reserve).
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "node/net/address.h"
#include "node/rpc/internal.h"

#define BACKLOG           4096
#define ACCEPTS_PER_TURN  64
#define COMPLAIN_EVERY_NS (1000ULL * 1000000ULL)

static int open_reserve(void)
{
    return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void complain(struct rpc_acceptor *acceptor, const char *reason)
{
    uint64_t now_ns = sr_clock_monotonic_ns();
    if (acceptor->complained_ns != 0 && now_ns - acceptor->complained_ns < COMPLAIN_EVERY_NS) {
        return;
    }
    acceptor->complained_ns = now_ns;
    sr_log(SR_LOG_WARN, "rpc", "connections refused", "reason=\"%s\" refused_total=%llu", reason,
           (unsigned long long)sr_counter_read(&acceptor->rpc->metrics.refused));
}

static void pause_polling(struct rpc_acceptor *acceptor)
{
    if (acceptor->polling) {
        acceptor->polling = false;
        uv_poll_stop(&acceptor->poll);
    }
}

/* Out of file descriptors: use the reserve to take one connection off the queue and close it.
 * False when there is no reserve either. */
static bool refuse_with_reserve(struct rpc_acceptor *acceptor)
{
    if (acceptor->reserve_fd < 0) {
        acceptor->reserve_fd = open_reserve();
        return false;
    }
    close(acceptor->reserve_fd);
    int fd = accept4(acceptor->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0) {
        close(fd);
        sr_count(&acceptor->rpc->metrics.refused, 1);
    }
    acceptor->reserve_fd = open_reserve();
    complain(acceptor, "out of file descriptors");
    return fd >= 0;
}

static void hand_out(struct rpc_acceptor *acceptor, int fd)
{
    struct sr_rpc *rpc = acceptor->rpc;
    if (sr_gauge_read(&rpc->metrics.connections) >= (int64_t)rpc->connections_max) {
        close(fd);
        sr_count(&rpc->metrics.refused, 1);
        complain(acceptor, "too many connections");
        return;
    }
    sr_gauge_add(&rpc->metrics.connections, 1);
    sr_count(&rpc->metrics.accepted, 1);
    struct rpc_control *message = sr_zalloc(sizeof(*message));
    message->kind = RPC_CONTROL_ACCEPT;
    message->fd = fd;
    rpc_loop_post(&rpc->loops[acceptor->next_loop], message);
    acceptor->next_loop = (acceptor->next_loop + 1) % rpc->loop_count;
}

/* False when there is nothing more to accept for now. */
static bool accept_one(struct rpc_acceptor *acceptor)
{
    int fd = accept4(acceptor->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0) {
        hand_out(acceptor, fd);
        return true;
    }
    switch (errno) {
    case EINTR:
    case ECONNABORTED:
        return true;
    case EAGAIN:
        return false;
    case EMFILE:
    case ENFILE:
        if (refuse_with_reserve(acceptor)) {
            return true;
        }
        break;
    default:
        complain(acceptor, "accept failed");
        break;
    }
    pause_polling(acceptor); /* until the next tick, or the loop would spin */
    return false;
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct rpc_acceptor *acceptor = poll->data;
    (void)status;
    (void)events;
    for (unsigned i = 0; i < ACCEPTS_PER_TURN && accept_one(acceptor); i++) {
    }
}

static unsigned port_of(const struct sockaddr_storage *address)
{
    if (address->ss_family == AF_INET6) {
        return ntohs(((const struct sockaddr_in6 *)(const void *)address)->sin6_port);
    }
    return ntohs(((const struct sockaddr_in *)(const void *)address)->sin_port);
}

int rpc_acceptor_open(struct rpc_acceptor *acceptor, struct sr_rpc *rpc, const char *listen_at,
                      struct sr_err *err)
{
    struct sockaddr_storage address;
    socklen_t size = sizeof(address);
    int on = 1;
    acceptor->rpc = rpc;
    acceptor->reserve_fd = -1;
    acceptor->fd = -1;
    int result = sr_address_resolve(listen_at, &address, err);
    if (result != SR_OK) {
        return result;
    }
    int fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return sr_err_errno(err, SR_NETWORK, errno, "socket");
    }
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    socklen_t bind_size =
        address.ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
    if (bind(fd, (const struct sockaddr *)&address, bind_size) != 0 || listen(fd, BACKLOG) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &size) != 0) {
        result = sr_err_errno(err, SR_NETWORK, errno, "listen on %s", listen_at);
        close(fd);
        return result;
    }
    acceptor->fd = fd;
    acceptor->port = port_of(&address);
    acceptor->reserve_fd = open_reserve();
    return SR_OK;
}

int rpc_acceptor_attach(struct rpc_acceptor *acceptor, uv_loop_t *loop, struct sr_err *err)
{
    int result = uv_poll_init_socket(loop, &acceptor->poll, acceptor->fd);
    if (result != 0) {
        return sr_err_set(err, SR_NETWORK, "poll: %s", uv_strerror(result));
    }
    acceptor->poll.data = acceptor;
    rpc_acceptor_resume(acceptor);
    return SR_OK;
}

void rpc_acceptor_resume(struct rpc_acceptor *acceptor)
{
    if (acceptor->fd >= 0 && !acceptor->polling) {
        acceptor->polling = true;
        sr_check(uv_poll_start(&acceptor->poll, UV_READABLE, on_readable) == 0);
    }
}

void rpc_acceptor_close(struct rpc_acceptor *acceptor)
{
    pause_polling(acceptor);
    if (acceptor->fd >= 0) {
        close(acceptor->fd);
        acceptor->fd = -1;
    }
    if (acceptor->reserve_fd >= 0) {
        close(acceptor->reserve_fd);
        acceptor->reserve_fd = -1;
    }
}
