/* SPDX-License-Identifier: Apache-2.0
 *
 * The life of a call. Calls are recycled by their loop with their buffers, so that a steady load
 * of small requests does not touch the allocator.
 */
#include "base/alloc.h"
#include "base/check.h"
#include "base/clock.h"
#include "node/rpc/internal.h"

#define FREE_CALLS_MAX 1024
/* A buffer that grew beyond this is freed rather than kept with the recycled call. */
#define KEPT_BUFFER_BYTES_MAX ((size_t)16 * 1024)

static void recycle_buf(struct sr_buf *buf)
{
    if (buf->capacity > KEPT_BUFFER_BYTES_MAX) {
        sr_buf_close(buf);
    } else {
        sr_buf_clear(buf);
    }
}

static struct rpc_call *take_free(struct rpc_loop *loop)
{
    struct rpc_call *call = loop->free_calls;
    if (call == NULL) {
        return sr_zalloc(sizeof(*call));
    }
    loop->free_calls = call->next;
    loop->free_call_count--;
    *call = (struct rpc_call){.path = call->path,
                              .content_type = call->content_type,
                              .encoding = call->encoding,
                              .body = call->body,
                              .reply = call->reply};
    return call;
}

struct rpc_call *rpc_call_new(struct rpc_connection *connection, int32_t stream_id)
{
    struct rpc_call *call = take_free(connection->loop);
    call->connection = connection;
    call->stream_id = stream_id;
    call->deadline_slot = RPC_NO_SLOT;
    call->timeout_ns = UINT64_MAX;
    call->call.path = "";
    call->call.actor = connection->actor;
    call->call.started_ns = sr_clock_monotonic_ns();
    call->call.deadline_ns = UINT64_MAX;

    call->previous = connection->last_call;
    if (connection->last_call != NULL) {
        connection->last_call->next = call;
    } else {
        connection->first_call = call;
    }
    connection->last_call = call;
    connection->call_count++;
    connection->loop->open_calls++;
    sr_gauge_add(&connection->loop->rpc->metrics.open_calls, 1);
    return call;
}

static void unlink_call(struct rpc_call *call)
{
    struct rpc_connection *connection = call->connection;
    if (call->previous != NULL) {
        call->previous->next = call->next;
    } else {
        connection->first_call = call->next;
    }
    if (call->next != NULL) {
        call->next->previous = call->previous;
    } else {
        connection->last_call = call->previous;
    }
    connection->call_count--;
    connection->loop->open_calls--;
    sr_gauge_add(&connection->loop->rpc->metrics.open_calls, -1);
}

enum rpc_call_state rpc_call_leave(struct rpc_call *call)
{
    struct rpc_connection *connection = call->connection;
    enum rpc_call_state state = call->state;
    rpc_deadlines_remove(&connection->loop->deadlines, call);
    if (state == RPC_CALL_BODY) {
        connection->incomplete_bytes -= call->held_bytes;
    } else if (state == RPC_CALL_READY) {
        connection->ready_count--;
    }
    call->state = RPC_CALL_ANSWERED;
    connection->held_bytes -= call->held_bytes;
    call->held_bytes = 0;
    recycle_buf(&call->body);
    call->call.message = (struct sr_bytes){0};
    return state;
}

void rpc_call_destroy(struct rpc_call *call)
{
    sr_buf_close(&call->path);
    sr_buf_close(&call->content_type);
    sr_buf_close(&call->encoding);
    sr_buf_close(&call->body);
    sr_buf_close(&call->reply);
    sr_free(call);
}

void rpc_call_free(struct rpc_call *call)
{
    struct rpc_connection *connection = call->connection;
    struct rpc_loop *loop = connection->loop;
    if (call->state == RPC_CALL_HANDED) {
        loop->handler.on_cancel(loop->handler.arg, &call->call);
    }
    enum rpc_call_state left = rpc_call_leave(call);
    if (left != RPC_CALL_ANSWERED) {
        rpc_metrics_record(&loop->rpc->metrics, &call->call, SR_GRPC_CANCELLED,
                           left == RPC_CALL_HANDED);
    }
    connection->answer_bytes -= call->reply_left;
    connection->answers_waiting -= call->reply_left > 0;
    if (connection->receiving == call) {
        connection->receiving = NULL;
    }
    unlink_call(call);
    recycle_buf(&call->reply);
    recycle_buf(&call->path);
    recycle_buf(&call->content_type);
    recycle_buf(&call->encoding);
    if (loop->free_call_count == FREE_CALLS_MAX) {
        rpc_call_destroy(call);
        return;
    }
    call->next = loop->free_calls;
    loop->free_calls = call;
    loop->free_call_count++;
}

void rpc_call_expire(struct rpc_call *call)
{
    struct rpc_loop *loop = call->connection->loop;
    bool handed = call->state == RPC_CALL_HANDED;
    if (handed) {
        loop->handler.on_cancel(loop->handler.arg, &call->call);
    }
    rpc_answer(call, "200", sr_api_error_code(SR_API_DEADLINE), sr_api_error_text(SR_API_DEADLINE),
               handed);
}
