/* SPDX-License-Identifier: Apache-2.0
 *
 * TLS contexts: TLS 1.3 only (RFC 8446), certificates of the cluster's CA required on both sides.
 */
#ifndef SR_NODE_NET_TLS_H
#define SR_NODE_NET_TLS_H

#include <stdbool.h>

#include "base/err.h"

struct sr_tls; /* an SSL_CTX; immutable after creation, shared by loops */

struct sr_tls_files {
    const char *certificate; /* PEM chain, the node's own first */
    const char *private_key; /* PEM; only its owner may read it (checked) */
    const char *ca;          /* PEM: who may come in */
};

/* Accepting side. @alpn (may be NULL) must be offered by the client, or the handshake fails with
 * no_application_protocol. Session tickets are off for peers, on for clients (@resumption).
 * SR_NOT_FOUND, SR_INVALID (not PEM, key and certificate differ), SR_KEY (mode of the key file):
 * the text names the file. */
int sr_tls_server_new(const struct sr_tls_files *files, const char *alpn, bool resumption,
                      struct sr_tls **ret, struct sr_err *err);
/* Connecting side. */
int sr_tls_client_new(const struct sr_tls_files *files, const char *alpn, struct sr_tls **ret,
                      struct sr_err *err);
void sr_tls_free(struct sr_tls *tls); /* NULL is fine; streams keep a reference of their own */

#endif
