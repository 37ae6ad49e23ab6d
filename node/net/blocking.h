/* SPDX-License-Identifier: Apache-2.0
 *
 * A TLS 1.3 byte stream for a thread that may block: what moves much, and must not share a loop
 * with consensus. Certificates are checked as for streams (node/net/stream.h).
 *
 * One thread at a time. Every call ends within its timeout, and within a tenth of a second of
 * *stop becoming true (SR_CLOSED). After a failure only sr_blocking_close may be called. The
 * process ignores SIGPIPE.
 */
#ifndef SR_NODE_NET_BLOCKING_H
#define SR_NODE_NET_BLOCKING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "node/net/tls.h"

struct sr_blocking;

struct sr_blocking_target {
    const char *address;     /* host:port; each address of a name is tried */
    const char *server_name; /* DNS name that the server's certificate must carry in its SAN; NULL:
                                the host of @address, which may be a number */
};

/* SR_INVALID (no such address), SR_NETWORK, SR_TIMEOUT, SR_REFUSED (a certificate), SR_CLOSED.
 * @stop lives as long as the connection. */
int sr_blocking_connect(const struct sr_blocking_target *target, struct sr_tls *tls,
                        const atomic_bool *stop, unsigned timeout_ms, struct sr_blocking **ret,
                        struct sr_err *err);
void sr_blocking_close(struct sr_blocking *blocking); /* NULL is fine */

/* Exactly @size bytes. SR_NETWORK (broken, or ended by the other side), SR_REFUSED (its TLS did
 * not want us), SR_TIMEOUT (nothing has moved for @timeout_ms), SR_CLOSED. */
int sr_blocking_read(struct sr_blocking *blocking, void *out, size_t size, unsigned timeout_ms,
                     struct sr_err *err);
int sr_blocking_write(struct sr_blocking *blocking, const void *data, size_t size,
                      unsigned timeout_ms, struct sr_err *err);

/* As sr_stream_peer_has_dns_name and sr_stream_peer_address. */
bool sr_blocking_has_dns_name(const struct sr_blocking *blocking, const char *name);
const char *sr_blocking_address(const struct sr_blocking *blocking);
/* SHA-256 of the public key in the other side's certificate: who it is, whatever names are in it.
 */
bool sr_blocking_peer_key(const struct sr_blocking *blocking, uint8_t ret_key[32]);

#endif
