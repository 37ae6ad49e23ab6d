/* SPDX-License-Identifier: Apache-2.0
 *
 * nghttp2 set up as the server of a gRPC connection.
 */
#include <string.h>

#include "node/rpc/internal.h"

/* Streams that a client may reset in a burst, and a second after that, before it is taken for an
 * attack (CVE-2023-44487). Cancelled calls are resets, so it is generous. */
#define RESETS_BURST      4096
#define RESETS_PER_SECOND 1024
/* Answers to PING and SETTINGS that may wait because the client does not read. */
#define ACKS_WAITING_MAX 1000
#define SETTINGS_MAX     32
/* One message of the usual size fits without a round trip for more window. */
#define STREAM_WINDOW_BYTES (1024 * 1024)

const uint8_t rpc_drain_ping[8] = {'s', 'r', '-', 'd', 'r', 'a', 'i', 'n'};

static int on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame, void *user_data)
{
    struct rpc_connection *connection = user_data;
    (void)session;
    switch (frame->hd.type) {
    case NGHTTP2_SETTINGS:
        connection->greeted = true;
        break;
    case NGHTTP2_HEADERS:
    case NGHTTP2_DATA:
        rpc_request_frame(connection, frame);
        break;
    case NGHTTP2_PING:
        if ((frame->hd.flags & NGHTTP2_FLAG_ACK) != 0 && connection->drain == RPC_DRAIN_NOTICED &&
            memcmp(frame->ping.opaque_data, rpc_drain_ping, sizeof(rpc_drain_ping)) == 0) {
            rpc_connection_drain(connection);
        }
        break;
    default:
        break;
    }
    return 0;
}

static int on_frame_send(nghttp2_session *session, const nghttp2_frame *frame, void *user_data)
{
    (void)session;
    rpc_answer_sent(user_data, frame);
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t stream_id, uint32_t error_code,
                           void *user_data)
{
    (void)error_code;
    (void)user_data;
    struct rpc_call *call = nghttp2_session_get_stream_user_data(session, stream_id);
    if (call != NULL) {
        rpc_call_free(call);
    }
    return 0;
}

static void set_options(nghttp2_option *option)
{
    /* Stock clients send an :authority that is not one; request.c checks what matters. */
    nghttp2_option_set_no_http_messaging(option, 1);
    nghttp2_option_set_no_auto_window_update(option, 1);
    nghttp2_option_set_no_closed_streams(option, 1);
    nghttp2_option_set_stream_reset_rate_limit(option, RESETS_BURST, RESETS_PER_SECOND);
    nghttp2_option_set_max_outbound_ack(option, ACKS_WAITING_MAX);
    nghttp2_option_set_max_settings(option, SETTINGS_MAX);
}

static void set_callbacks(nghttp2_session_callbacks *callbacks)
{
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, rpc_request_begin);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, rpc_request_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, rpc_request_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame_recv);
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_frame_send);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
}

static int greet(nghttp2_session *session)
{
    static const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, SR_STREAMS_PER_CONNECTION_MAX},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW_BYTES},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, SR_HEADER_BYTES_MAX},
    };
    int result = nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, settings,
                                         sizeof(settings) / sizeof(settings[0]));
    if (result != 0) {
        return result;
    }
    return nghttp2_session_set_local_window_size(session, NGHTTP2_FLAG_NONE, 0,
                                                 SR_CONNECTION_BODY_BYTES_MAX);
}

int rpc_session_new(struct rpc_connection *connection, nghttp2_session **ret, struct sr_err *err)
{
    nghttp2_session_callbacks *callbacks = NULL;
    nghttp2_option *option = NULL;
    nghttp2_session *session = NULL;
    int result = nghttp2_session_callbacks_new(&callbacks);
    if (result == 0) {
        result = nghttp2_option_new(&option);
    }
    if (result == 0) {
        set_options(option);
        set_callbacks(callbacks);
        result = nghttp2_session_server_new2(&session, callbacks, connection, option);
    }
    if (result == 0) {
        result = greet(session);
    }
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(callbacks);
    if (result != 0) {
        nghttp2_session_del(session);
        return sr_err_set(err, SR_LIMIT, "HTTP/2 session: %s", nghttp2_strerror(result));
    }
    *ret = session;
    return SR_OK;
}
