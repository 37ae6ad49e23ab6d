/* SPDX-License-Identifier: Apache-2.0
 *
 * Answers. A good one is HEADERS, DATA and trailers; nghttp2 fetches the message piece by piece
 * as the client's windows and the socket allow, so a large answer is never copied as a whole. An
 * error is Trailers-Only: a single HEADERS frame that ends the stream.
 */
#include <string.h>

#include "base/check.h"
#include "node/rpc/internal.h"

/* Smaller answers are copied into the call's recycled buffer; larger ones change owner. */
#define COPIED_REPLY_BYTES_MAX 4096

static const char *const code_texts[SR_RPC_CODES] = {
    "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16"};

/* nghttp2 takes names and values as not const, though it does not write to them. */
static uint8_t *unconst(const void *data)
{
    union {
        const void *in;
        uint8_t *out;
    } pointer = {.in = data};
    return pointer.out;
}

/* @value lives as long as the program. */
static nghttp2_nv constant_header(const char *name, const char *value)
{
    return (nghttp2_nv){unconst(name), unconst(value), strlen(name), strlen(value),
                        NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE};
}

/* @value is copied by nghttp2. */
static nghttp2_nv copied_header(const char *name, struct sr_bytes value)
{
    return (nghttp2_nv){unconst(name), unconst(value.data), strlen(name), value.size,
                        NGHTTP2_NV_FLAG_NO_COPY_NAME};
}

/* "application/grpc", or the client's own kind of it. */
static nghttp2_nv content_type_header(const struct rpc_call *call)
{
    struct sr_bytes theirs = {call->content_type.data, call->content_type.size};
    if (theirs.size > strlen("application/grpc") && grpc_is_content_type(theirs)) {
        return copied_header("content-type", theirs);
    }
    return constant_header("content-type", "application/grpc");
}

static ssize_t read_reply(nghttp2_session *session, int32_t stream_id, uint8_t *out, size_t size,
                          uint32_t *data_flags, nghttp2_data_source *source, void *user_data)
{
    (void)user_data;
    struct rpc_call *call = source->ptr;
    size_t filled = 0;
    if (call->reply_offset < GRPC_PREFIX_BYTES) {
        uint8_t prefix[GRPC_PREFIX_BYTES] = {0};
        sr_put_u32(prefix + 1, (uint32_t)call->reply.size);
        filled = GRPC_PREFIX_BYTES - call->reply_offset;
        filled = filled < size ? filled : size;
        memcpy(out, prefix + call->reply_offset, filled);
    }
    size_t wanted = size < call->reply_left ? size : call->reply_left;
    if (wanted > filled) {
        memcpy(out + filled, call->reply.data + call->reply_offset + filled - GRPC_PREFIX_BYTES,
               wanted - filled);
    }
    call->reply_offset += wanted;
    call->reply_left -= wanted;
    call->connection->answer_bytes -= wanted;
    if (call->reply_left == 0) {
        call->connection->answers_waiting--;
        *data_flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
        nghttp2_nv trailer = constant_header("grpc-status", "0");
        if (nghttp2_submit_trailer(session, stream_id, &trailer, 1) != 0) {
            return NGHTTP2_ERR_CALLBACK_FAILURE;
        }
    }
    return (ssize_t)wanted;
}

/* nghttp2 could not take an answer: it is out of memory, and the connection of no use. */
static void check_submitted(struct rpc_call *call, int result)
{
    if (result != 0) {
        nghttp2_session_terminate_session(call->connection->session, NGHTTP2_INTERNAL_ERROR);
    }
    rpc_connection_mark_dirty(call->connection);
}

void sr_call_reply(struct sr_call *public_call, struct sr_buf *message)
{
    struct rpc_call *call = sr_container(public_call, struct rpc_call, call);
    sr_check(call->state == RPC_CALL_HANDED);
    sr_check(message->size <= UINT32_MAX);
    if (message->size <= COPIED_REPLY_BYTES_MAX) {
        sr_buf_append(&call->reply, message->data, message->size);
        sr_buf_clear(message);
    } else {
        sr_buf_close(&call->reply);
        call->reply = *message;
        *message = (struct sr_buf){0};
    }
    rpc_call_leave(call);
    rpc_metrics_record(&call->connection->loop->rpc->metrics, public_call, SR_GRPC_OK, true);
    call->reply_left = GRPC_PREFIX_BYTES + call->reply.size;
    call->connection->answer_bytes += call->reply_left;
    call->connection->answers_waiting++;

    nghttp2_nv headers[] = {constant_header(":status", "200"), content_type_header(call)};
    nghttp2_data_provider provider = {.source = {.ptr = call}, .read_callback = read_reply};
    check_submitted(call, nghttp2_submit_response(call->connection->session, call->stream_id,
                                                  headers, 2, &provider));
}

void rpc_answer(struct rpc_call *call, const char *http_status, enum sr_grpc_code code,
                const char *text, bool known)
{
    sr_check(call->state != RPC_CALL_ANSWERED && (unsigned)code < SR_RPC_CODES);
    struct sr_buf encoded = {0};
    grpc_encode_message(&encoded, text);
    nghttp2_nv headers[] = {
        constant_header(":status", http_status), content_type_header(call),
        constant_header("grpc-status", code_texts[code]),
        copied_header("grpc-message", (struct sr_bytes){encoded.data, encoded.size})};
    rpc_call_leave(call);
    rpc_metrics_record(&call->connection->loop->rpc->metrics, &call->call, code, known);
    check_submitted(call, nghttp2_submit_response(call->connection->session, call->stream_id,
                                                  headers, encoded.size == 0 ? 3 : 4, NULL));
    sr_buf_close(&encoded);
}

void sr_call_fail(struct sr_call *public_call, enum sr_grpc_code code, const char *text)
{
    struct rpc_call *call = sr_container(public_call, struct rpc_call, call);
    sr_check(call->state == RPC_CALL_HANDED && code != SR_GRPC_OK);
    rpc_answer(call, "200", code, text, code != SR_GRPC_UNIMPLEMENTED);
}

void sr_call_fail_api(struct sr_call *call, enum sr_api_error error)
{
    sr_call_fail(call, sr_api_error_code(error), sr_api_error_text(error));
}

void rpc_answer_reset(struct rpc_call *call, uint32_t error_code, enum sr_grpc_code code)
{
    rpc_call_leave(call);
    rpc_metrics_record(&call->connection->loop->rpc->metrics, &call->call, code, false);
    check_submitted(call, nghttp2_submit_rst_stream(call->connection->session, NGHTTP2_FLAG_NONE,
                                                    call->stream_id, error_code));
}

void rpc_answer_sent(struct rpc_connection *connection, const nghttp2_frame *frame)
{
    if (frame->hd.type != NGHTTP2_HEADERS || (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0) {
        return;
    }
    int32_t stream_id = frame->hd.stream_id;
    if (nghttp2_session_get_stream_remote_close(connection->session, stream_id) == 0) {
        nghttp2_submit_rst_stream(connection->session, NGHTTP2_FLAG_NONE, stream_id,
                                  NGHTTP2_NO_ERROR);
    }
}
