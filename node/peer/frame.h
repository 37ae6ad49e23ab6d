/* SPDX-License-Identifier: Apache-2.0
 *
 * The frame between members, inside TLS:
 *
 *   total u32      bytes after this field, at most SR_PEER_FRAME_BYTES_MAX
 *   envelope u32   bytes of the packed strongroom.Envelope, at most SR_PEER_ENVELOPE_BYTES_MAX
 *   envelope       which message it is (proto/peer.proto)
 *   payload        the rest: raw bytes of entries or commands, as the envelope lists them
 */
#ifndef SR_NODE_PEER_FRAME_H
#define SR_NODE_PEER_FRAME_H

#include "base/alloc.h"
#include "base/buf.h"
#include "base/err.h"
#include "proto/peer.pb-c.h"

#define SR_PEER_FORMAT 1
/* So that a client of the API that takes the wrong port is told so by TLS. */
#define SR_PEER_ALPN "strongroom-peer"
/* Flags of the hello: none yet. A change that old versions may ignore gets a bit in the first, one
 * that they would misunderstand a bit in the second. */
#define SR_PEER_COMPATIBLE   ((uint64_t)0)
#define SR_PEER_INCOMPATIBLE ((uint64_t)0)

/* Append one frame to @out. @payload may be split in @payload_count pieces. The whole must be
 * within the limits: the caller cuts batches before. */
void sr_frame_append(struct sr_buf *out, const Strongroom__Envelope *envelope,
                     const struct sr_bytes *payload, size_t payload_count);

struct sr_frame {
    Strongroom__Envelope *envelope; /* in the caller's arena */
    struct sr_bytes payload;        /* in place */
};

/* Take one frame from the start of @data. Returns SR_OK and *ret_used, SR_AGAIN when more bytes
 * are needed, SR_INVALID or SR_LIMIT when the stream is not to be trusted any more (close it).
 * Lengths listed in the envelope are checked to add up to the payload. Nothing is copied out of
 * @data but what unpacking puts into @arena. */
int sr_frame_take(const uint8_t *data, size_t size, struct sr_arena *arena,
                  struct sr_frame *ret_frame, size_t *ret_used, struct sr_err *err);

#endif
