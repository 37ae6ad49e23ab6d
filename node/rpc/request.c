/* SPDX-License-Identifier: Apache-2.0
 *
 * Requests, from the first header to on_call. nghttp2's own checks of HTTP semantics are off,
 * because stock clients send an :authority that breaks them; what matters is checked here.
 *
 * A message is handed over as soon as it is complete: what a client sends behind it is ignored.
 *
 * Memory: a connection's window is SR_CONNECTION_BODY_BYTES_MAX, and bytes count against it until
 * their call is answered. A window full of messages that are all incomplete would wait for ever,
 * so before that point the youngest of them is refused; clients send a refused stream again.
 */
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "node/rpc/internal.h"

#define INCOMPLETE_BYTES_MAX ((size_t)(SR_CONNECTION_BODY_BYTES_MAX - 2 * REFILL_BYTES_MIN))
/* The connection's window is given back in steps of at least this. */
#define REFILL_BYTES_MIN (1024 * 1024)
/* That few answers never hold back further calls, however large they are: a slow download is no
 * reason to let everything else on its connection wait. */
#define ANSWERS_WAITING_MIN 4

static bool is(struct sr_bytes bytes, const char *text)
{
    return sr_bytes_equal(bytes, sr_bytes_of(text));
}

static void take_text(struct sr_buf *out, struct sr_bytes value)
{
    sr_buf_clear(out);
    sr_buf_append(out, value.data, value.size);
}

/* ---- Headers ---- */

static void take_method(struct rpc_call *call, struct sr_bytes value)
{
    call->malformed = call->malformed || call->has_method;
    call->has_method = true;
    call->is_post = is(value, "POST");
}

static void take_path(struct rpc_call *call, struct sr_bytes value)
{
    call->malformed = call->malformed || call->has_path || value.size == 0;
    call->has_path = true;
    for (size_t i = 0; i < value.size; i++) {
        if (value.data[i] <= ' ' || value.data[i] > '~') {
            call->malformed = true;
            return;
        }
    }
    take_text(&call->path, value);
    sr_buf_append_u8(&call->path, 0);
    call->call.path = (const char *)call->path.data;
}

static void take_content_type(struct rpc_call *call, struct sr_bytes value)
{
    take_text(&call->content_type, value);
}

static void take_encoding(struct rpc_call *call, struct sr_bytes value)
{
    take_text(&call->encoding, value);
}

static void take_timeout(struct rpc_call *call, struct sr_bytes value)
{
    if (!grpc_parse_timeout(value, &call->timeout_ns)) {
        call->timeout_malformed = true;
    }
}

static void take_has_leader(struct rpc_call *call, struct sr_bytes value)
{
    call->call.has_leader = is(value, "true");
}

static void take_request_id(struct rpc_call *call, struct sr_bytes value)
{
    call->call.has_request_id = grpc_parse_request_id(value, call->call.request_id);
    call->request_id_malformed = !call->call.has_request_id;
}

static const struct {
    const char *name;
    size_t size;
    void (*take)(struct rpc_call *call, struct sr_bytes value);
} known_headers[] = {
#define HEADER(name, take)                                                                         \
    {                                                                                              \
        name, sizeof(name) - 1, take                                                               \
    }
    HEADER(":path", take_path),
    HEADER(":method", take_method),
    HEADER("content-type", take_content_type),
    HEADER("grpc-timeout", take_timeout),
    HEADER("grpc-encoding", take_encoding),
    HEADER("hasleader", take_has_leader),
    HEADER("strongroom-request-id", take_request_id),
#undef HEADER
};

int rpc_request_begin(nghttp2_session *session, const nghttp2_frame *frame, void *user_data)
{
    struct rpc_connection *connection = user_data;
    if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST) {
        connection->receiving = NULL; /* trailers: nothing in them is of interest */
        return 0;
    }
    struct rpc_call *call = rpc_call_new(connection, frame->hd.stream_id);
    connection->receiving = call;
    nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, call);
    return 0;
}

/* NOLINTNEXTLINE(readability-function-size): nghttp2 chose its parameters */
int rpc_request_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                       size_t name_size, const uint8_t *value, size_t value_size, uint8_t flags,
                       void *user_data)
{
    (void)session;
    (void)frame;
    (void)flags;
    struct rpc_connection *connection = user_data;
    struct rpc_call *call = connection->receiving;
    if (call == NULL) {
        return 0;
    }
    call->header_bytes += name_size + value_size + 32; /* as RFC 9113, 6.5.2 counts */
    if (call->header_bytes > (size_t)SR_HEADER_BYTES_MAX) {
        return 0;
    }
    for (size_t i = 0; i < sizeof(known_headers) / sizeof(known_headers[0]); i++) {
        if (known_headers[i].size == name_size &&
            memcmp(known_headers[i].name, name, name_size) == 0) {
            known_headers[i].take(call, (struct sr_bytes){value, value_size});
            return 0;
        }
    }
    return 0;
}

/* Refuse a call by its headers; false when there is nothing to object to. */
static bool refuse_headers(struct rpc_call *call)
{
    struct sr_bytes content_type = {call->content_type.data, call->content_type.size};
    if (call->header_bytes > (size_t)SR_HEADER_BYTES_MAX) {
        rpc_answer(call, "431", SR_GRPC_RESOURCE_EXHAUSTED, "the request's headers are too large",
                   false);
    } else if (call->malformed || !call->has_path || !call->has_method) {
        rpc_answer_reset(call, NGHTTP2_PROTOCOL_ERROR, SR_GRPC_INTERNAL);
    } else if (!call->is_post) {
        rpc_answer(call, "405", SR_GRPC_INTERNAL, "the request's method must be POST", false);
    } else if (!grpc_is_content_type(content_type)) {
        rpc_answer(call, "415", SR_GRPC_INVALID_ARGUMENT,
                   "the request's content-type must be application/grpc", false);
    } else if (call->timeout_malformed) {
        rpc_answer(call, "400", SR_GRPC_INTERNAL, "malformed grpc-timeout", false);
    } else if (call->request_id_malformed) {
        rpc_answer(call, "200", SR_GRPC_INVALID_ARGUMENT,
                   "strongroom: strongroom-request-id must be 32 hexadecimal digits", false);
    } else {
        return false;
    }
    return true;
}

static void headers_complete(struct rpc_call *call)
{
    call->connection->receiving = NULL;
    if (refuse_headers(call)) {
        return;
    }
    call->state = RPC_CALL_BODY;
    if (call->timeout_ns == 0) {
        rpc_call_expire(call);
        return;
    }
    if (!__builtin_add_overflow(call->call.started_ns, call->timeout_ns, &call->call.deadline_ns)) {
        rpc_deadlines_add(&call->connection->loop->deadlines, call);
        rpc_loop_arm(call->connection->loop);
    } else {
        call->call.deadline_ns = UINT64_MAX;
    }
}

/* ---- The message ---- */

static void hand_over(struct rpc_call *call)
{
    struct rpc_loop *loop = call->connection->loop;
    call->state = RPC_CALL_HANDED;
    call->call.message = (struct sr_bytes){call->body.data, call->body.size};
    loop->handler.on_call(loop->handler.arg, &call->call);
}

static bool is_full_of_answers(const struct rpc_connection *connection)
{
    return connection->answers_waiting >= ANSWERS_WAITING_MIN &&
           connection->answer_bytes > (size_t)SR_CONNECTION_WRITE_BYTES_MAX;
}

static void message_complete(struct rpc_call *call)
{
    struct rpc_connection *connection = call->connection;
    connection->incomplete_bytes -= call->held_bytes;
    if (is_full_of_answers(connection)) {
        call->state = RPC_CALL_READY;
        connection->ready_count++;
        return;
    }
    hand_over(call);
}

void rpc_request_dispatch_ready(struct rpc_connection *connection)
{
    struct rpc_call *next = NULL;
    for (struct rpc_call *call = connection->first_call;
         call != NULL && connection->ready_count > 0 && !is_full_of_answers(connection);
         call = next) {
        next = call->next;
        if (call->state == RPC_CALL_READY) {
            connection->ready_count--;
            hand_over(call);
        }
    }
}

/* What the five bytes in front of the message say; false when the call was refused. */
static bool check_prefix(struct rpc_call *call)
{
    char text[128];
    struct sr_bytes encoding = {call->encoding.data, call->encoding.size};
    uint8_t flag = call->prefix[0];
    uint32_t size = sr_get_u32(call->prefix + 1);
    call->body_expected = size;
    if (flag > 1) {
        snprintf(text, sizeof(text), "grpc: received unexpected payload format %u", flag);
        rpc_answer(call, "200", SR_GRPC_INTERNAL, text, false);
    } else if (flag == 1 && (encoding.size == 0 || is(encoding, "identity"))) {
        rpc_answer(call, "200", SR_GRPC_INTERNAL,
                   "grpc: compressed flag set with identity or empty encoding", false);
    } else if (flag == 1) {
        snprintf(text, sizeof(text),
                 "grpc: Decompressor is not installed for grpc-encoding \"%.*s\"",
                 (int)(encoding.size < 32 ? encoding.size : 32), (const char *)encoding.data);
        rpc_answer(call, "200", SR_GRPC_UNIMPLEMENTED, text, false);
    } else if (size > SR_MESSAGE_BYTES_MAX) {
        snprintf(text, sizeof(text), "grpc: received message larger than max (%u vs. %u)", size,
                 (unsigned)SR_MESSAGE_BYTES_MAX);
        rpc_answer(call, "200", SR_GRPC_RESOURCE_EXHAUSTED, text, false);
    } else {
        return true;
    }
    return false;
}

/* Take what belongs to the call's message. */
static void take_message(struct rpc_call *call, const uint8_t *data, size_t size)
{
    size_t used = 0;
    while (call->prefix_size < GRPC_PREFIX_BYTES && used < size) {
        call->prefix[call->prefix_size++] = data[used++];
    }
    if (call->prefix_size < GRPC_PREFIX_BYTES ||
        (call->body_expected == 0 && !check_prefix(call))) {
        return;
    }
    size_t missing = call->body_expected - call->body.size;
    size_t taken = size - used < missing ? size - used : missing;
    sr_buf_append(&call->body, data + used, taken);
    call->held_bytes += taken;
    call->connection->held_bytes += taken;
    call->connection->incomplete_bytes += taken;
    if (call->body.size == call->body_expected) {
        message_complete(call);
    }
}

/* See the top of the file. */
static void refuse_youngest(struct rpc_connection *connection)
{
    struct rpc_call *call = connection->last_call;
    while (call != NULL && (call->state != RPC_CALL_BODY || call->held_bytes == 0)) {
        call = call->previous;
    }
    sr_check(call != NULL);
    rpc_answer_reset(call, NGHTTP2_REFUSED_STREAM, SR_GRPC_RESOURCE_EXHAUSTED);
}

int rpc_request_data(nghttp2_session *session, uint8_t flags, int32_t stream_id,
                     const uint8_t *data, size_t size, void *user_data)
{
    (void)flags;
    struct rpc_connection *connection = user_data;
    struct rpc_call *call = nghttp2_session_get_stream_user_data(session, stream_id);
    if (call != NULL && call->state == RPC_CALL_BODY) {
        take_message(call, data, size);
    }
    nghttp2_session_consume_stream(session, stream_id, size);
    while (connection->incomplete_bytes > INCOMPLETE_BYTES_MAX) {
        refuse_youngest(connection);
    }
    rpc_connection_mark_dirty(connection);
    return 0;
}

void rpc_request_refill(struct rpc_connection *connection)
{
    /* Not by nghttp2_session_consume_connection, which waits for half a window: the other half
     * may be held by messages that wait for just this. */
    int32_t received = nghttp2_session_get_effective_recv_data_length(connection->session);
    int32_t left = received - (int32_t)connection->held_bytes;
    if (left >= REFILL_BYTES_MIN) {
        nghttp2_submit_window_update(connection->session, NGHTTP2_FLAG_NONE, 0, left);
    }
}

/* The client has said all it wanted to. */
static void end_of_request(struct rpc_call *call)
{
    if (call->state == RPC_CALL_BODY) {
        rpc_answer(call, "200", SR_GRPC_UNKNOWN, call->prefix_size == 0 ? "EOF" : "unexpected EOF",
                   false);
    }
}

void rpc_request_frame(struct rpc_connection *connection, const nghttp2_frame *frame)
{
    struct rpc_call *call =
        nghttp2_session_get_stream_user_data(connection->session, frame->hd.stream_id);
    if (call == NULL) {
        return;
    }
    if (call->state == RPC_CALL_HEADERS) {
        headers_complete(call);
    }
    if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0) {
        end_of_request(call);
    }
}
