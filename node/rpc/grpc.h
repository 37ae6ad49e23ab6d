/* SPDX-License-Identifier: Apache-2.0
 *
 * What gRPC puts on top of HTTP/2: the frame around a message, grpc-timeout, the encoding of
 * grpc-message. Pure functions on bytes.
 */
#ifndef SR_NODE_RPC_GRPC_H
#define SR_NODE_RPC_GRPC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

/* A flag byte (1: compressed) and the length in 32 bits. */
#define GRPC_PREFIX_BYTES 5

/* Longer texts are cut: a status line is for people, and has to fit a header block. */
#define GRPC_TEXT_BYTES_MAX 2048

/* "250m": 1 to 8 digits and one of H M S m u n. False when malformed. */
bool grpc_parse_timeout(struct sr_bytes text, uint64_t *ret_ns);

/* Append @text as grpc-message wants it: %XX for '%' and all that is not printable ASCII. */
void grpc_encode_message(struct sr_buf *out, const char *text);

/* "application/grpc", alone or with a +suffix or ;parameter. */
bool grpc_is_content_type(struct sr_bytes text);

/* 32 hexadecimal digits of either case. */
bool grpc_parse_request_id(struct sr_bytes text, uint8_t ret_id[16]);

#endif
