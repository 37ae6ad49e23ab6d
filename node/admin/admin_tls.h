/* SPDX-License-Identifier: Apache-2.0
 *
 * TLS of the admin port. libmicrohttpd brings GnuTLS, so the files are read once more here; the
 * rules are those of node/net/tls.h: TLS 1.3, and a client certificate of the CA.
 */
#ifndef SR_NODE_ADMIN_ADMIN_TLS_H
#define SR_NODE_ADMIN_ADMIN_TLS_H

#include <gnutls/gnutls.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "node/net/tls.h"

#define SR_ADMIN_TLS_PRIORITIES "NORMAL:-VERS-ALL:+VERS-TLS1.3"

/* The files' contents, each ending with a 0. */
struct sr_admin_tls {
    char *certificate;
    char *ca;
    char *private_key; /* sr_secret memory */
    size_t private_key_size;
};

/* SR_NOT_FOUND, SR_IO, SR_KEY (mode of the key file). Close it in any case. */
int sr_admin_tls_read(const struct sr_tls_files *files, struct sr_admin_tls *ret,
                      struct sr_err *err);
void sr_admin_tls_close(struct sr_admin_tls *tls);

/* Before the handshake: no certificate, no connection. */
void sr_admin_tls_require(gnutls_session_t session);
/* After it: whether the certificate is of the CA, in its time, and meant for clients. */
bool sr_admin_tls_is_trusted(gnutls_session_t session);

#endif
