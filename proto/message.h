/* SPDX-License-Identifier: Apache-2.0
 *
 * Unpacking protobuf messages from outside. protobuf-c recurses without a limit and keeps unknown
 * fields, so depth is checked before, and memory is bounded by an arena.
 */
#ifndef SR_PROTO_MESSAGE_H
#define SR_PROTO_MESSAGE_H

#include <protobuf-c/protobuf-c.h>
#include <stddef.h>
#include <stdint.h>

#include "base/alloc.h"
#include "base/err.h"

/* Walk the wire format of @data along @descriptor without recursion: fields well formed, nesting
 * at most SR_MESSAGE_DEPTH_MAX. SR_INVALID names what is wrong. Any thread. */
int sr_message_check(const ProtobufCMessageDescriptor *descriptor, const uint8_t *data, size_t size,
                     struct sr_err *err);

/* Check, then unpack into @arena: the message and all that it points to live until the arena is
 * reset, and nothing is freed one by one. Unknown fields are ignored. NULL with @err set:
 * SR_INVALID for a malformed message, SR_LIMIT when the arena's limit is reached. */
ProtobufCMessage *sr_message_unpack(const ProtobufCMessageDescriptor *descriptor,
                                    struct sr_arena *arena, const uint8_t *data, size_t size,
                                    struct sr_err *err);
/* The same, but SR_FORMAT when there is a field that the descriptor does not have: what a newer
 * version wrote is never half understood. */
ProtobufCMessage *sr_message_unpack_known(const ProtobufCMessageDescriptor *descriptor,
                                          struct sr_arena *arena, const uint8_t *data, size_t size,
                                          struct sr_err *err);

#endif
