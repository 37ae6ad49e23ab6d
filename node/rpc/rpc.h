/* SPDX-License-Identifier: Apache-2.0
 *
 * gRPC over HTTP/2 over TLS 1.3 (docs/api.md): the client side of a node. One acceptor spreads
 * connections round-robin over N client loops; each loop owns its connections: TLS, HTTP/2 by
 * nghttp2, message framing, deadlines, flow control. Knows no service: a call is a path, a
 * message and a reply.
 */
#ifndef SR_NODE_RPC_RPC_H
#define SR_NODE_RPC_RPC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/buf.h"
#include "base/mailbox.h"
#include "base/metrics.h"
#include "node/net/tls.h"
#include "proto/api_error.h"

/* ---- A call, on the loop that owns its connection ---- */

struct sr_call {
    const char *path;        /* "/etcdserverpb.KV/Put" */
    struct sr_bytes message; /* of the one request; valid until the call is answered */
    const char *actor;       /* common name of the client's certificate */
    uint64_t started_ns;     /* monotonic */
    uint64_t deadline_ns;    /* monotonic; UINT64_MAX when the client set none */
    bool has_leader;         /* metadata hasleader: true */
    bool has_request_id;     /* metadata strongroom-request-id: 32 hex digits */
    uint8_t request_id[16];
    void *state; /* the service's own; NULL at first */
};

/* What the service gives each loop. */
struct sr_rpc_handler {
    /* A complete request. Answer now or later with one of the two functions below, exactly once,
     * on this loop, unless on_cancel came. */
    void (*on_call)(void *arg, struct sr_call *call);
    /* The client reset the stream, went away, or its deadline passed (answered already with
     * DEADLINE): drop everything about the call, it is gone when this returns. Never called for
     * a call that was answered. */
    void (*on_cancel)(void *arg, struct sr_call *call);
    /* Mail in this loop's mailbox. */
    void (*on_mail)(void *arg, struct sr_mail *list);
    /* About 10 times a second, for timeouts of the service's own. */
    void (*on_tick)(void *arg, uint64_t now_ns);
    void *arg;
};

/* Answer OK with one message; @message is copied or taken over (it is empty afterwards). */
void sr_call_reply(struct sr_call *call, struct sr_buf *message);
/* Answer with an error: Trailers-Only. @text is percent-encoded as needed. */
void sr_call_fail(struct sr_call *call, enum sr_grpc_code code, const char *text);
void sr_call_fail_api(struct sr_call *call, enum sr_api_error error);

/* ---- The loops ---- */

struct sr_rpc;

struct sr_rpc_options {
    const char *listen; /* host:port */
    const struct sr_tls_files *tls;
    unsigned loop_count;    /* 1 .. 8 */
    size_t connections_max; /* 0: SR_CONNECTIONS_MAX */
};

/* Bind and create the loops, not yet running. SR_NETWORK when the address is taken. */
int sr_rpc_open(const struct sr_rpc_options *options, struct sr_rpc **ret, struct sr_err *err);
/* Where it listens; tells what port 0 became. */
unsigned sr_rpc_port(const struct sr_rpc *rpc);
/* The mailbox of loop @i: its wake-ups run handler.on_mail on that loop. Valid from open to free,
 * which delivers what was posted after the loops had stopped. */
struct sr_mailbox *sr_rpc_mailbox(struct sr_rpc *rpc, unsigned i);
/* Set the handler of loop @i; before start. */
void sr_rpc_set_handler(struct sr_rpc *rpc, unsigned i, const struct sr_rpc_handler *handler);
/* Run the loops' threads and accept. */
void sr_rpc_start(struct sr_rpc *rpc);
/* Graceful end: stop accepting, tell all connections that it is over, serve what crosses that
 * notice, then send the GOAWAY that names the last call, behind which a client knows for certain
 * that a call did not happen and may go elsewhere. Waits for the calls that are open, up to
 * @timeout_ms. Blocks the caller (not a loop). */
void sr_rpc_drain(struct sr_rpc *rpc, unsigned timeout_ms);
/* Close what is left, stop and join the threads. Handlers get on_cancel for open calls. */
void sr_rpc_stop(struct sr_rpc *rpc);
/* After stop; NULL is fine. The handlers get the last mail, on this thread. */
void sr_rpc_free(struct sr_rpc *rpc);

/* ---- Numbers; any thread ---- */

#define SR_RPC_METHODS_MAX 64
#define SR_RPC_CODES       17
struct sr_rpc_method_metrics {
    _Atomic(const char *) path; /* NULL: unused; unknown paths share "other" */
    struct sr_counter by_code[SR_RPC_CODES];
    struct sr_histogram duration;
};
struct sr_rpc_metrics {
    struct sr_gauge connections;
    struct sr_gauge open_calls;
    struct sr_counter accepted;
    struct sr_counter refused; /* over connections_max */
    struct sr_counter failed_handshakes;
    struct sr_counter received_bytes;
    struct sr_counter sent_bytes;
    struct sr_rpc_method_metrics methods[SR_RPC_METHODS_MAX];
};
const struct sr_rpc_metrics *sr_rpc_metrics(const struct sr_rpc *rpc);

#endif
