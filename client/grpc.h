/* SPDX-License-Identifier: Apache-2.0
 *
 * One unary gRPC call over HTTP/2 and TLS 1.3, by libcurl: the message in its frame, the status
 * from the trailers.
 */
#ifndef SR_CLIENT_GRPC_H
#define SR_CLIENT_GRPC_H

#include "base/buf.h"
#include "proto/api_error.h"

#define SR_GRPC_MESSAGE_MAX 2048

/* Where to, and who we are. Files are PEM. */
struct sr_grpc_target {
    const char *endpoint; /* https://host:port */
    const char *ca;
    const char *certificate;
    const char *private_key;
    unsigned timeout_ms;
};

enum sr_grpc_outcome {
    SR_GRPC_ANSWERED,  /* code and message say how */
    SR_GRPC_UNREACHED, /* nothing was sent: it is certain that nothing happened */
    SR_GRPC_BROKEN     /* no answer to what was sent, or none that makes sense */
};

struct sr_grpc_answer {
    enum sr_grpc_outcome outcome;
    enum sr_grpc_code code;
    char message[SR_GRPC_MESSAGE_MAX]; /* the server's, or what went wrong; one line */
    struct sr_buf body;                /* of the message, with code OK */
};

/* Call @path ("/package.Service/Method") with the packed @request. Blocks. @answer is filled in
 * whatever happens; its body is the caller's to close. Not for several threads at once. */
void sr_grpc_call(const struct sr_grpc_target *target, const char *path, struct sr_bytes request,
                  struct sr_grpc_answer *answer);

/* "UNAVAILABLE"; never NULL. */
const char *sr_grpc_code_name(enum sr_grpc_code code);

#endif
