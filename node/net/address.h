/* SPDX-License-Identifier: Apache-2.0
 *
 * "host:port" as configuration has it.
 */
#ifndef SR_NODE_NET_ADDRESS_H
#define SR_NODE_NET_ADDRESS_H

#include <netinet/in.h>
#include <sys/socket.h>

#include "base/err.h"

/* The longest DNS name (RFC 1035) and the longest numeric address, with the 0. */
#define SR_HOST_TEXT_MAX 256
/* "[" IPv6 with scope "]:65535", with the 0. */
#define SR_ADDRESS_TEXT_MAX 72

/* Resolve @text ("127.0.0.1:2379", "[::1]:2379", "db-1.zone-a:2380") to one address. Names are
 * looked up and may block: numeric on an event loop, anything at start or on a worker.
 * SR_INVALID for a malformed text, SR_NETWORK for an unknown name. */
int sr_address_resolve(const char *text, struct sockaddr_storage *ret_address, struct sr_err *err);

/* As sr_address_resolve, but never looks anything up: SR_NOT_FOUND when the host is a name. */
int sr_address_numeric(const char *text, struct sockaddr_storage *ret_address, struct sr_err *err);

/* Cut @text into host (without brackets) and decimal port. SR_INVALID when malformed. */
int sr_address_split(const char *text, char ret_host[SR_HOST_TEXT_MAX], char ret_port[6],
                     struct sr_err *err);

/* Write @address as text for logs; "?" for a family that is not IP. */
void sr_address_format(const struct sockaddr *address, char out[SR_ADDRESS_TEXT_MAX]);

/* How many bytes of a sockaddr of this family count. */
socklen_t sr_address_size(const struct sockaddr_storage *address);

#endif
