/* SPDX-License-Identifier: Apache-2.0
 *
 * Listening sockets; and several loops in threads of their own that share a port and the TLS
 * contexts, as the client loops of a node do.
 */
#include "stream_pair.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/check.h"
#include "node/net/address.h"

struct counter {
    struct sr_listener *listener;
    unsigned accepted;
    bool closes_itself;
    bool is_closed;
};

static void on_closed(void *arg)
{
    ((struct counter *)arg)->is_closed = true;
}

static void count(void *arg, uv_os_sock_t fd)
{
    struct counter *counter = arg;
    int flags = fcntl(fd, F_GETFL);
    assert_true((flags & O_NONBLOCK) != 0);
    assert_true((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
    counter->accepted++;
    close(fd);
    if (counter->closes_itself) {
        sr_listener_close(counter->listener, on_closed, counter);
    }
}

static int dial(uint16_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sr_check(fd >= 0);
    sr_check(connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0);
    return fd;
}

static void open_counter(uv_loop_t *loop, struct counter *counter)
{
    struct sr_listener_options options = {
        .loop = loop, .address = "127.0.0.1:0", .on_accept = count, .arg = counter};
    assert_int_equal(uv_loop_init(loop), 0);
    assert_int_equal(sr_listener_open(&options, &counter->listener, NULL), SR_OK);
    assert_true(sr_listener_port(counter->listener) > 0);
}

static void a_listener_may_close_from_within_its_callback(void **state)
{
    (void)state;
    uv_loop_t loop;
    struct counter counter = {.closes_itself = true};
    open_counter(&loop, &counter);
    uint16_t port = sr_listener_port(counter.listener);
    int first = dial(port);
    int second = dial(port); /* waits in the backlog, and is not taken any more */
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(counter.accepted, 1);
    assert_true(counter.is_closed);
    close(first);
    close(second);
    assert_int_equal(uv_loop_close(&loop), 0);
}

/* Without a descriptor left nothing is accepted, nothing is lost, and nothing spins. */
static void out_of_descriptors_connections_wait(void **state)
{
    (void)state;
    uv_loop_t loop;
    struct counter counter = {0};
    open_counter(&loop, &counter);
    int client = dial(sr_listener_port(counter.listener));
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    struct rlimit none = {.rlim_cur = 0, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    for (int i = 0; i < 100; i++) {
        uv_run(&loop, UV_RUN_NOWAIT);
    }
    assert_int_equal(counter.accepted, 0);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    while (counter.accepted == 0) {
        uv_run(&loop, UV_RUN_ONCE);
    }
    close(client);
    sr_listener_close(counter.listener, on_closed, &counter);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
}

static void what_cannot_be_listened_on_is_explained(void **state)
{
    (void)state;
    uv_loop_t loop;
    assert_int_equal(uv_loop_init(&loop), 0);
    static const struct {
        const char *address;
        int status;
    } bad[] = {{"192.0.2.1:80", SR_NETWORK}, {"127.0.0.1", SR_INVALID}, {"[::1:80", SR_INVALID}};
    for (size_t i = 0; i < 3; i++) {
        struct sr_listener_options options = {.loop = &loop, .address = bad[i].address};
        struct sr_listener *listener = NULL;
        struct sr_err err = {0};
        assert_int_equal(sr_listener_open(&options, &listener, &err), bad[i].status);
        assert_non_null(strstr(err.text, bad[i].address));
    }
    assert_int_equal(uv_loop_close(&loop), 0);
}

/* ---- loops in threads ---- */

enum { THREADS = 3, CONNECTIONS = 6, ROUNDS = 50 };

struct shared {
    struct sr_tls *server_tls;
    struct sr_tls *client_tls;
    char address[32];
};

struct worker {
    const struct shared *shared;
    uv_loop_t loop;
    struct sr_listener *listener;
    uv_async_t stop;
    pthread_t thread;
};

struct caller {
    unsigned rounds;
    unsigned received;
    bool is_closed;
};

static void echo(void *arg, struct sr_stream *stream, const uint8_t *data, size_t size)
{
    (void)arg;
    sr_stream_write(stream, data, size);
    sr_stream_flush(stream);
}

static void ignore_open(void *arg, struct sr_stream *stream)
{
    (void)arg;
    (void)stream;
}

static void ignore_close(void *arg, struct sr_stream *stream, const struct sr_err *reason)
{
    (void)arg;
    (void)stream;
    sr_check(reason->status == SR_OK);
}

static void serve(void *arg, uv_os_sock_t fd)
{
    static const struct sr_stream_events events = {
        .on_open = ignore_open, .on_data = echo, .on_close = ignore_close};
    struct worker *worker = arg;
    sr_check(sr_stream_accept(&worker->loop, fd, worker->shared->server_tls, 60000, &events, NULL,
                              NULL) != NULL);
}

static void on_stop(uv_async_t *stop)
{
    struct worker *worker = stop->data;
    sr_listener_close(worker->listener, NULL, NULL);
    uv_close((uv_handle_t *)stop, NULL);
}

static void *work(void *arg)
{
    struct worker *worker = arg;
    uv_run(&worker->loop, UV_RUN_DEFAULT);
    sr_check(uv_loop_close(&worker->loop) == 0);
    return NULL;
}

static void start_worker(struct worker *worker, const struct shared *shared)
{
    worker->shared = shared;
    sr_check(uv_loop_init(&worker->loop) == 0);
    sr_check(uv_async_init(&worker->loop, &worker->stop, on_stop) == 0);
    worker->stop.data = worker;
    struct sr_listener_options options = {.loop = &worker->loop,
                                          .address = shared->address,
                                          .reuse_port = true,
                                          .on_accept = serve,
                                          .arg = worker};
    assert_int_equal(sr_listener_open(&options, &worker->listener, NULL), SR_OK);
    assert_int_equal(pthread_create(&worker->thread, NULL, work, worker), 0);
}

static void call(void *arg, struct sr_stream *stream)
{
    (void)arg;
    sr_stream_write(stream, "hello", 5);
    sr_stream_flush(stream);
}

static void call_again(void *arg, struct sr_stream *stream, const uint8_t *data, size_t size)
{
    struct caller *caller = arg;
    (void)data;
    caller->received += (unsigned)size;
    if (caller->received < 5 * (caller->rounds + 1)) {
        return;
    }
    if (++caller->rounds == ROUNDS) {
        sr_stream_close(stream, false);
    } else {
        call(arg, stream);
    }
}

static void on_call_closed(void *arg, struct sr_stream *stream, const struct sr_err *reason)
{
    struct caller *caller = arg;
    (void)stream;
    sr_check(reason->status == SR_OK);
    caller->is_closed = true;
}

static void call_all(const struct shared *shared)
{
    static const struct sr_stream_events events = {
        .on_open = call, .on_data = call_again, .on_close = on_call_closed};
    struct caller callers[CONNECTIONS] = {0};
    struct sockaddr_storage address;
    uv_loop_t loop;
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(sr_address_numeric(shared->address, &address, NULL), SR_OK);
    struct sr_stream_target target = {(struct sockaddr *)&address, "node-1"};
    for (size_t i = 0; i < CONNECTIONS; i++) {
        assert_non_null(sr_stream_connect(&loop, &target, shared->client_tls, 60000, &events,
                                          &callers[i], NULL));
    }
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    for (size_t i = 0; i < CONNECTIONS; i++) {
        assert_true(callers[i].is_closed);
        assert_int_equal(callers[i].rounds, ROUNDS);
    }
}

static void loops_in_threads_share_port_and_contexts(void **state)
{
    (void)state;
    struct shared shared = {0};
    struct worker workers[THREADS];
    uint8_t net[2];
    struct sr_tls_files files = {fixture_path("node-1", "crt"), fixture_path("node-1", "key"),
                                 fixture_path("ca", "crt")};
    assert_int_equal(sr_tls_server_new(&files, "h2", true, &shared.server_tls, NULL), SR_OK);
    shared.client_tls = fixture_client_tls("client", "ca", "h2");
    assert_int_equal(getentropy(net, sizeof(net)), 0);
    snprintf(shared.address, sizeof(shared.address), "127.%d.%d.9:7379", net[0] % 200 + 20, net[1]);
    for (size_t i = 0; i < THREADS; i++) {
        start_worker(&workers[i], &shared);
    }
    call_all(&shared);
    /* The contexts are let go before the loops: streams hold references of their own. */
    sr_tls_free(shared.client_tls);
    for (size_t i = 0; i < THREADS; i++) {
        uv_async_send(&workers[i].stop);
        assert_int_equal(pthread_join(workers[i].thread, NULL), 0);
    }
    sr_tls_free(shared.server_tls);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_listener_may_close_from_within_its_callback),
        cmocka_unit_test(out_of_descriptors_connections_wait),
        cmocka_unit_test(what_cannot_be_listened_on_is_explained),
        cmocka_unit_test(loops_in_threads_share_port_and_contexts),
    };
    return cmocka_run_group_tests(tests, fixture_make_pki, fixture_remove_pki);
}
