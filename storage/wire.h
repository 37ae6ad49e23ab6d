/* SPDX-License-Identifier: Apache-2.0
 *
 * Writing answers straight into their buffer, in protobuf's wire format: reads are the hot path,
 * and building structs for protobuf-c to pack would copy every value twice. Numbers that are 0 and
 * bytes that are empty are left out, as proto3 does.
 */
#ifndef SR_STORAGE_WIRE_H
#define SR_STORAGE_WIRE_H

#include "storage/mvcc.h"

/* The first byte of a field: numbers up to 15 only. */
#define SR_WIRE_NUMBER(field) ((uint8_t)((field) << 3))
#define SR_WIRE_BYTES(field)  ((uint8_t)((field) << 3 | 2))

void sr_wire_number(struct sr_buf *buf, uint8_t tag, int64_t value);

/* A nested message whose size is known only at its end: write its fields in between, and give the
 * result of begin to end. */
size_t sr_wire_begin(struct sr_buf *buf, uint8_t tag);
void sr_wire_end(struct sr_buf *buf, size_t content);

/* A mvccpb.KeyValue as the field @tag. With @value it is read through @view, otherwise left out. */
int sr_wire_key_value(struct sr_buf *buf, uint8_t tag, struct sr_view *view, struct sr_bytes key,
                      const struct sr_version *version, bool with_value, struct sr_err *err);
/* How many bytes of @buf that takes. */
size_t sr_wire_key_value_size(struct sr_bytes key, const struct sr_version *version,
                              bool with_value);

#endif
