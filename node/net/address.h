/* SPDX-License-Identifier: Apache-2.0
 *
 * "host:port" as configuration has it.
 */
#ifndef SR_NODE_NET_ADDRESS_H
#define SR_NODE_NET_ADDRESS_H

#include <netinet/in.h>
#include <sys/socket.h>

#include "base/err.h"

/* Resolve @text ("127.0.0.1:2379", "[::1]:2379", "db-1.zone-a:2380") to one address. Names are
 * looked up and may block: numeric on an event loop, anything at start or on a worker.
 * SR_INVALID for a malformed text, SR_NETWORK for an unknown name. */
int sr_address_resolve(const char *text, struct sockaddr_storage *ret_address, struct sr_err *err);

#endif
