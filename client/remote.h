/* SPDX-License-Identifier: Apache-2.0
 *
 * The cluster, as the network commands see it: endpoints that are tried in turn, and who we are.
 * From options, or else from the environment.
 */
#ifndef SR_CLIENT_REMOTE_H
#define SR_CLIENT_REMOTE_H

#include <getopt.h>
#include <protobuf-c/protobuf-c.h>

#include "base/alloc.h"
#include "base/err.h"
#include "client/grpc.h"

#define SR_ENDPOINTS_MAX 64

/* What getopt_long returns for them; a command's own options are characters. */
enum { REMOTE_ENDPOINTS = 0x100, REMOTE_CA, REMOTE_CERTIFICATE, REMOTE_KEY, REMOTE_TIMEOUT };
/* Goes into a command's table of options. */
#define REMOTE_OPTIONS                                                                             \
    {"endpoints", required_argument, NULL, REMOTE_ENDPOINTS},                                      \
        {"cacert", required_argument, NULL, REMOTE_CA},                                            \
        {"cert", required_argument, NULL, REMOTE_CERTIFICATE},                                     \
        {"key", required_argument, NULL, REMOTE_KEY},                                              \
    {                                                                                              \
        "timeout", required_argument, NULL, REMOTE_TIMEOUT                                         \
    }
/* And into its help. */
#define REMOTE_HELP                                                                                \
    "  --endpoints URL,...  nodes to ask, tried in turn (STRONGROOM_ENDPOINTS;\n"                  \
    "                       default https://127.0.0.1:2379)\n"                                     \
    "  --cacert FILE        the authority that nodes are certified by (STRONGROOM_CACERT)\n"       \
    "  --cert FILE          our certificate (STRONGROOM_CERT)\n"                                   \
    "  --key FILE           its private key (STRONGROOM_KEY)\n"                                    \
    "  --timeout SECONDS    how long to wait for an answer, 1 to 600 (default 10)\n"

struct sr_remote {
    const char *command; /* for messages: "strongroom status" */
    const char *endpoints_text;
    char *endpoints[SR_ENDPOINTS_MAX];
    size_t endpoint_count;
    const char *ca;
    const char *certificate;
    const char *private_key;
    unsigned timeout_ms;
    const char *answered;  /* the endpoint that answered last */
    struct sr_arena arena; /* holds the answers */
};

/* Take @option if it is one of REMOTE_OPTIONS. EXIT_USAGE, said on standard error, when its value
 * is bad; -1 when it is not ours. */
int sr_remote_option(struct sr_remote *remote, int option, const char *value);
/* Fill in what no option said. EXIT_USAGE, said on standard error, when something is missing. */
int sr_remote_open(struct sr_remote *remote, const char *command);
void sr_remote_close(struct sr_remote *remote);
/* Replace the endpoints by @urls. */
void sr_remote_redirect(struct sr_remote *remote, char *const *urls, size_t count);

enum sr_remote_use {
    REMOTE_READ,   /* asked again elsewhere whenever the answer is UNAVAILABLE or missing */
    REMOTE_CHANGE, /* only when it is certain that nothing happened */
};

/* Call "/strongroom.v1.Cluster/@method", or @method when it begins with '/', at the endpoints in
 * turn; again, within the timeout, while the answer is that the cluster has no record of its
 * members yet. The answer lives in the remote's arena. NULL when it failed, @err says why and
 * where;
 * @ret_code, which may be NULL, is what the server said, or UNAVAILABLE. */
ProtobufCMessage *sr_remote_call(struct sr_remote *remote, const char *method,
                                 enum sr_remote_use use, const ProtobufCMessage *request,
                                 const ProtobufCMessageDescriptor *answer,
                                 enum sr_grpc_code *ret_code, struct sr_err *err);

#endif
