/* SPDX-License-Identifier: Apache-2.0
 *
 * The payload of a log entry: a batch of packed commands.
 *
 *   magic u8 = 0xB1, format u8 = 1, compatible u8, incompatible u8, count u32, term u64,
 *   then per command: length u32, packed strongroom.Command
 *
 * Integers are big-endian. The term is that of the leader which made the batch (libraft does not
 * tell it to apply). Commands beyond the known format, or under an incompatible
 * feature that is not known, are refused, never skipped; compatible features are passed over.
 */
#ifndef SR_PROTO_BATCH_H
#define SR_PROTO_BATCH_H

#include "base/buf.h"
#include "base/err.h"

#define SR_BATCH_HEADER_BYTES 16

/* Start a batch in the empty @buf. */
void sr_batch_begin(struct sr_buf *buf, uint64_t term);
/* Add one packed command. */
void sr_batch_add(struct sr_buf *buf, const uint8_t *command, size_t size);
/* The term of a batch of at least SR_BATCH_HEADER_BYTES, unchecked. */
static inline uint64_t sr_batch_term(const uint8_t *data)
{
    return sr_get_u64(data + 8);
}
/* Number of commands so far. */
uint32_t sr_batch_count(const struct sr_buf *buf);

struct sr_batch_reader {
    struct sr_reader reader;
    uint64_t term;
    uint32_t left;
};

/* SR_FORMAT when it is not a batch that this version understands, SR_CORRUPT when it is cut.
 * The whole batch is walked here, so that sr_batch_next cannot fail half way through. */
int sr_batch_open(struct sr_batch_reader *batch, const uint8_t *data, size_t size,
                  struct sr_err *err);
/* The next packed command in place; false at the end. */
bool sr_batch_next(struct sr_batch_reader *batch, struct sr_bytes *ret_command);

#endif
