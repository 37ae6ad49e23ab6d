/* SPDX-License-Identifier: Apache-2.0 */
#include <signal.h>
#include <time.h>

#include "base/alloc.h"
#include "base/check.h"
#include "node/rpc/internal.h"

int sr_rpc_open(const struct sr_rpc_options *options, struct sr_rpc **ret, struct sr_err *err)
{
    sr_check(options->loop_count >= 1 && options->loop_count <= RPC_LOOPS_MAX);
    struct sr_rpc *rpc = sr_zalloc(sizeof(*rpc));
    pthread_condattr_t attributes;
    sr_check(pthread_condattr_init(&attributes) == 0);
    sr_check(pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0);
    sr_check(pthread_mutex_init(&rpc->drain_mutex, NULL) == 0);
    sr_check(pthread_cond_init(&rpc->drain_cond, &attributes) == 0);
    pthread_condattr_destroy(&attributes);
    atomic_store(&rpc->metrics.methods[0].path, "other");
    rpc->connections_max =
        options->connections_max == 0 ? SR_CONNECTIONS_MAX : options->connections_max;

    int result = sr_tls_server_new(options->tls, "h2", true, &rpc->tls, err);
    if (result == SR_OK) {
        result = rpc_acceptor_open(&rpc->acceptor, rpc, options->listen, err);
    }
    while (result == SR_OK && rpc->loop_count < options->loop_count) {
        result = rpc_loop_init(&rpc->loops[rpc->loop_count], rpc, err);
        rpc->loop_count += result == SR_OK;
    }
    if (result == SR_OK) {
        result = rpc_acceptor_attach(&rpc->acceptor, &rpc->loops[0].uv, err);
    }
    if (result != SR_OK) {
        sr_rpc_free(rpc);
        return result;
    }
    *ret = rpc;
    return SR_OK;
}

struct sr_mailbox *sr_rpc_mailbox(struct sr_rpc *rpc, unsigned i)
{
    sr_check(i < rpc->loop_count);
    return &rpc->loops[i].mailbox;
}

unsigned sr_rpc_port(const struct sr_rpc *rpc)
{
    return rpc->acceptor.port;
}

void sr_rpc_set_handler(struct sr_rpc *rpc, unsigned i, const struct sr_rpc_handler *handler)
{
    sr_check(i < rpc->loop_count && !rpc->running);
    sr_check(handler->on_call != NULL && handler->on_cancel != NULL && handler->on_mail != NULL &&
             handler->on_tick != NULL);
    rpc->loops[i].handler = *handler;
}

static void *run_loop(void *arg)
{
    rpc_loop_run(arg);
    return NULL;
}

void sr_rpc_start(struct sr_rpc *rpc)
{
    sigset_t all;
    sigset_t before;
    sr_check(!rpc->running);
    sigfillset(&all);
    sr_check(pthread_sigmask(SIG_SETMASK, &all, &before) == 0); /* signals are main's */
    for (unsigned i = 0; i < rpc->loop_count; i++) {
        struct rpc_loop *loop = &rpc->loops[i];
        sr_check(loop->handler.on_call != NULL);
        sr_check(pthread_create(&loop->thread, NULL, run_loop, loop) == 0);
    }
    sr_check(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
    rpc->running = true;
}

static struct timespec time_in(unsigned timeout_ms)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    at.tv_sec += timeout_ms / 1000;
    at.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
    if (at.tv_nsec >= 1000000000) {
        at.tv_sec++;
        at.tv_nsec -= 1000000000;
    }
    return at;
}

void sr_rpc_drain(struct sr_rpc *rpc, unsigned timeout_ms)
{
    struct timespec until = time_in(timeout_ms);
    if (!rpc->running || rpc->drained) {
        return;
    }
    rpc->drained = true;
    rpc->undrained = rpc->loop_count;
    for (unsigned i = 0; i < rpc->loop_count; i++) {
        rpc_loop_post(&rpc->loops[i], &rpc->loops[i].drain_message);
    }
    pthread_mutex_lock(&rpc->drain_mutex);
    while (rpc->undrained > 0 &&
           pthread_cond_timedwait(&rpc->drain_cond, &rpc->drain_mutex, &until) == 0) {
    }
    pthread_mutex_unlock(&rpc->drain_mutex);
}

void sr_rpc_stop(struct sr_rpc *rpc)
{
    if (!rpc->running) {
        return;
    }
    for (unsigned i = 0; i < rpc->loop_count; i++) {
        rpc_loop_post(&rpc->loops[i], &rpc->loops[i].stop_message);
    }
    for (unsigned i = 0; i < rpc->loop_count; i++) {
        sr_check(pthread_join(rpc->loops[i].thread, NULL) == 0);
    }
    rpc->running = false;
}

void sr_rpc_free(struct sr_rpc *rpc)
{
    if (rpc == NULL) {
        return;
    }
    sr_check(!rpc->running);
    rpc_acceptor_close(&rpc->acceptor);
    for (unsigned i = 0; i < rpc->loop_count; i++) {
        rpc_loop_close(&rpc->loops[i]);
    }
    sr_tls_free(rpc->tls);
    rpc_metrics_close(&rpc->metrics);
    pthread_cond_destroy(&rpc->drain_cond);
    pthread_mutex_destroy(&rpc->drain_mutex);
    sr_free(rpc);
}

const struct sr_rpc_metrics *sr_rpc_metrics(const struct sr_rpc *rpc)
{
    return &rpc->metrics;
}
