/* SPDX-License-Identifier: Apache-2.0
 *
 * What streams know of a TLS context. Only node/net includes this.
 */
#ifndef SR_NODE_NET_TLS_INTERNAL_H
#define SR_NODE_NET_TLS_INTERNAL_H

#include <openssl/ssl.h>
#include <stdatomic.h>

#include "node/net/tls.h"

struct sr_tls {
    SSL_CTX *ctx;
    atomic_uint references;  /* the owner's and one a stream */
    unsigned char alpn[256]; /* as on the wire: length, name; alpn[0] == 0: none */
};

struct sr_tls *sr_tls_reference(struct sr_tls *tls);

/* tls_peer.c */
/* Why the last SSL call failed, from OpenSSL's queue, which is emptied. SR_REFUSED, SR_NETWORK. */
int sr_tls_explain(SSL *ssl, const char *server_name, struct sr_err *err);
/* After the handshake: that the other side is who it must be. SR_OK or SR_REFUSED. */
int sr_tls_check_peer(const SSL *ssl, const struct sr_tls *tls, const char *server_name,
                      struct sr_err *err);
/* Whether the SAN of its certificate carries @name, exactly. */
bool sr_tls_peer_has_dns_name(const SSL *ssl, const char *name);
/* SHA-256 of the public key of its certificate; false when it has shown none. */
bool sr_tls_peer_key(const SSL *ssl, uint8_t ret_key[32]);

/* The reason of the oldest error in OpenSSL's queue, which is emptied. Never NULL. */
const char *sr_tls_take_reason(void);

#endif
