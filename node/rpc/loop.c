/* SPDX-License-Identifier: Apache-2.0
 *
 * One client loop. A turn: timers (ticks, deadlines), then whatever the sockets and mailboxes
 * bring, then one flush of all connections that have something to send. Timers may have produced
 * answers before the loop goes to sleep, hence the flush before polling as well.
 */
#include <unistd.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "node/rpc/internal.h"

#define TICK_MS 100
/* What waits for the service: answers of consensus, as many as there are open calls. */
#define MAILBOX_COUNT_MAX 65536
#define CONTROL_COUNT_MAX 65536
/* At the end, connections get this long to take what is queued for them. */
#define STOP_GRACE_NS         (1000ULL * 1000000ULL)
#define COMPLAINT_INTERVAL_NS (1000ULL * 1000000ULL)

static void wake(void *arg)
{
    uv_async_send(arg);
}

static void on_mail(uv_async_t *async)
{
    struct rpc_loop *loop = async->data;
    struct sr_mail *list = sr_mailbox_take(&loop->mailbox);
    if (list != NULL) {
        loop->handler.on_mail(loop->handler.arg, list);
    }
}

/* ---- Commands from other threads ---- */

static void accept_connection(struct rpc_loop *loop, uv_os_sock_t fd)
{
    if (loop->draining || loop->stopping) {
        close(fd);
        rpc_loop_connection_gone(loop);
        return;
    }
    rpc_connection_open(loop, fd);
}

static void drain(struct rpc_loop *loop)
{
    loop->draining = true;
    if (loop == &loop->rpc->loops[0]) {
        rpc_acceptor_close(&loop->rpc->acceptor);
    }
    for (struct rpc_connection *at = loop->connections; at != NULL; at = at->next) {
        rpc_connection_drain(at);
    }
}

static void stop(struct rpc_loop *loop)
{
    drain(loop);
    rpc_loop_flush(loop);
    loop->stopping = true;
    loop->stopping_ns = sr_clock_monotonic_ns();
    for (struct rpc_connection *at = loop->connections; at != NULL; at = at->next) {
        rpc_connection_shut(at, at->session == NULL);
    }
    if (loop->connection_count == 0) {
        uv_stop(&loop->uv);
    }
}

static void on_control(uv_async_t *async)
{
    struct rpc_loop *loop = async->data;
    struct sr_mail *mail = sr_mailbox_take(&loop->control);
    while (mail != NULL) {
        struct rpc_control *message = sr_container(mail, struct rpc_control, mail);
        mail = mail->next;
        switch (message->kind) {
        case RPC_CONTROL_ACCEPT:
            accept_connection(loop, message->fd);
            sr_free(message);
            break;
        case RPC_CONTROL_DRAIN:
            drain(loop);
            break;
        case RPC_CONTROL_STOP:
            stop(loop);
            break;
        }
    }
}

void rpc_loop_post(struct rpc_loop *loop, struct rpc_control *message)
{
    sr_mailbox_post_always(&loop->control, &message->mail);
}

void rpc_loop_connection_gone(struct rpc_loop *loop)
{
    sr_gauge_add(&loop->rpc->metrics.connections, -1);
    if (loop->stopping && loop->connection_count == 0) {
        uv_stop(&loop->uv);
    }
}

/* ---- Sending ---- */

void rpc_loop_flush(struct rpc_loop *loop)
{
    struct rpc_connection *list = loop->dirty;
    loop->dirty = NULL;
    while (list != NULL) {
        struct rpc_connection *connection = list;
        list = connection->next_dirty;
        connection->dirty = false;
        rpc_connection_flush(connection);
    }
    if (loop->dirty != NULL) {
        uv_async_send(&loop->mail_async); /* there is more: have another turn at once */
    }
}

static void report_drained(struct rpc_loop *loop)
{
    struct sr_rpc *rpc = loop->rpc;
    loop->drain_reported = true;
    pthread_mutex_lock(&rpc->drain_mutex);
    rpc->undrained--;
    pthread_cond_signal(&rpc->drain_cond);
    pthread_mutex_unlock(&rpc->drain_mutex);
}

/* No call is open, and none can come any more: every client has been told which of its calls were
 * the last. Who has not said anything yet learns it from the connection's end. */
static bool is_drained(const struct rpc_loop *loop)
{
    if (!loop->draining || loop->open_calls > 0) {
        return false;
    }
    for (const struct rpc_connection *at = loop->connections; at != NULL; at = at->next) {
        if (at->greeted && !at->closing && at->drain != RPC_DRAIN_FINAL) {
            return false;
        }
    }
    return true;
}

static void end_turn(struct rpc_loop *loop)
{
    rpc_loop_flush(loop);
    if (!loop->drain_reported && is_drained(loop)) {
        report_drained(loop);
    }
}

static void on_check(uv_check_t *check)
{
    end_turn(check->data);
}

static void on_prepare(uv_prepare_t *prepare)
{
    end_turn(prepare->data);
}

/* ---- Time ---- */

static void on_deadline(uv_timer_t *timer)
{
    struct rpc_loop *loop = timer->data;
    uint64_t now_ns = sr_clock_monotonic_ns();
    loop->deadline_armed_ns = UINT64_MAX;
    struct rpc_call *call = NULL;
    while ((call = rpc_deadlines_first(&loop->deadlines)) != NULL &&
           call->call.deadline_ns <= now_ns) {
        rpc_call_expire(call);
    }
    rpc_loop_arm(loop);
}

void rpc_loop_arm(struct rpc_loop *loop)
{
    struct rpc_call *first = rpc_deadlines_first(&loop->deadlines);
    if (first == NULL || first->call.deadline_ns >= loop->deadline_armed_ns) {
        return; /* a timer that fires too early finds nothing and arms itself again */
    }
    uint64_t now_ns = sr_clock_monotonic_ns();
    uint64_t left_ns = first->call.deadline_ns > now_ns ? first->call.deadline_ns - now_ns : 0;
    loop->deadline_armed_ns = first->call.deadline_ns;
    uv_update_time(&loop->uv);
    uv_timer_start(&loop->deadline_timer, on_deadline, left_ns / 1000000 + 1, 0);
}

static void on_tick(uv_timer_t *timer)
{
    struct rpc_loop *loop = timer->data;
    uint64_t now_ns = sr_clock_monotonic_ns();
    for (struct rpc_connection *at = loop->connections; at != NULL; at = at->next) {
        rpc_connection_tick(at, now_ns);
        if (loop->stopping && now_ns - loop->stopping_ns > STOP_GRACE_NS) {
            rpc_connection_shut(at, true);
        }
    }
    if (loop == &loop->rpc->loops[0]) {
        rpc_acceptor_resume(&loop->rpc->acceptor);
    }
    loop->handler.on_tick(loop->handler.arg, now_ns);
}

void rpc_loop_complain(struct rpc_loop *loop, const char *message, const char *address,
                       const char *reason)
{
    uint64_t now_ns = sr_clock_monotonic_ns();
    if (loop->complained_ns != 0 && now_ns - loop->complained_ns < COMPLAINT_INTERVAL_NS) {
        loop->complaints_held++;
        return;
    }
    sr_log(SR_LOG_INFO, "rpc", message, "client=%s reason=\"%s\" not_logged=%u", address, reason,
           loop->complaints_held);
    loop->complained_ns = now_ns;
    loop->complaints_held = 0;
}

/* ---- Life ---- */

int rpc_loop_init(struct rpc_loop *loop, struct sr_rpc *rpc, struct sr_err *err)
{
    loop->rpc = rpc;
    loop->deadline_armed_ns = UINT64_MAX;
    loop->drain_message.kind = RPC_CONTROL_DRAIN;
    loop->stop_message.kind = RPC_CONTROL_STOP;
    int result = uv_loop_init(&loop->uv);
    if (result != 0) {
        return sr_err_set(err, SR_NETWORK, "event loop: %s", uv_strerror(result));
    }
    sr_check(uv_async_init(&loop->uv, &loop->mail_async, on_mail) == 0);
    sr_check(uv_async_init(&loop->uv, &loop->control_async, on_control) == 0);
    uv_prepare_init(&loop->uv, &loop->prepare);
    uv_check_init(&loop->uv, &loop->check);
    uv_timer_init(&loop->uv, &loop->tick);
    uv_timer_init(&loop->uv, &loop->deadline_timer);
    loop->mail_async.data = loop;
    loop->control_async.data = loop;
    loop->prepare.data = loop;
    loop->check.data = loop;
    loop->tick.data = loop;
    loop->deadline_timer.data = loop;
    sr_mailbox_init(&loop->mailbox, MAILBOX_COUNT_MAX, wake, &loop->mail_async);
    sr_mailbox_init(&loop->control, CONTROL_COUNT_MAX, wake, &loop->control_async);
    return SR_OK;
}

void rpc_loop_run(struct rpc_loop *loop)
{
    uv_prepare_start(&loop->prepare, on_prepare);
    uv_check_start(&loop->check, on_check);
    uv_timer_start(&loop->tick, on_tick, TICK_MS, TICK_MS);
    uv_run(&loop->uv, UV_RUN_DEFAULT);
    on_mail(&loop->mail_async);
}

static void close_handle(uv_handle_t *handle, void *arg)
{
    (void)arg;
    if (!uv_is_closing(handle)) {
        uv_close(handle, NULL);
    }
}

void rpc_loop_close(struct rpc_loop *loop)
{
    struct sr_mail *mail = sr_mailbox_take(&loop->control);
    while (mail != NULL) {
        struct rpc_control *message = sr_container(mail, struct rpc_control, mail);
        mail = mail->next;
        if (message->kind == RPC_CONTROL_ACCEPT) {
            close(message->fd);
            sr_free(message);
        }
    }
    on_mail(&loop->mail_async); /* the calls are gone, but the letters have to be freed */
    uv_walk(&loop->uv, close_handle, NULL);
    uv_run(&loop->uv, UV_RUN_DEFAULT);
    sr_check(uv_loop_close(&loop->uv) == 0);
    sr_mailbox_close(&loop->control);
    sr_mailbox_close(&loop->mailbox);
    while (loop->free_calls != NULL) {
        struct rpc_call *call = loop->free_calls;
        loop->free_calls = call->next;
        rpc_call_destroy(call);
    }
    rpc_deadlines_close(&loop->deadlines);
}
