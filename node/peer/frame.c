/* SPDX-License-Identifier: Apache-2.0 */
#include "node/peer/frame.h"

#include "base/check.h"
#include "proto/limits.h"
#include "proto/message.h"

#define LENGTH_BYTES ((size_t)4)

void sr_frame_append(struct sr_buf *out, const Strongroom__Envelope *envelope,
                     const struct sr_bytes *payload, size_t payload_count)
{
    size_t envelope_size = strongroom__envelope__get_packed_size(envelope);
    size_t payload_size = 0;
    for (size_t i = 0; i < payload_count; i++) {
        payload_size += payload[i].size;
    }
    size_t total = LENGTH_BYTES + envelope_size + payload_size;
    sr_check(envelope_size <= SR_PEER_ENVELOPE_BYTES_MAX);
    sr_check(total <= SR_PEER_FRAME_BYTES_MAX);

    sr_buf_reserve(out, LENGTH_BYTES + total);
    sr_buf_append_u32(out, (uint32_t)total);
    sr_buf_append_u32(out, (uint32_t)envelope_size);
    size_t packed = strongroom__envelope__pack(envelope, sr_buf_extend(out, envelope_size));
    sr_check(packed == envelope_size);
    for (size_t i = 0; i < payload_count; i++) {
        sr_buf_append(out, payload[i].data, payload[i].size);
    }
}

/* What the envelope says of the bytes that follow it. */
static uint64_t listed_bytes(const Strongroom__Envelope *envelope)
{
    uint64_t sum = 0;
    if (envelope->message_case == STRONGROOM__ENVELOPE__MESSAGE_APPEND_ENTRIES) {
        const Strongroom__AppendEntries *append = envelope->append_entries;
        for (size_t i = 0; i < append->n_entries; i++) {
            sum += append->entries[i]->length;
        }
    }
    if (envelope->message_case == STRONGROOM__ENVELOPE__MESSAGE_IMAGE_CHUNK) {
        sum += envelope->image_chunk->length;
    }
    if (envelope->message_case == STRONGROOM__ENVELOPE__MESSAGE_FORWARD) {
        const Strongroom__Forward *forward = envelope->forward;
        for (size_t i = 0; i < forward->n_lengths; i++) {
            sum += forward->lengths[i];
        }
    }
    return sum;
}

static int check_lengths(size_t total, size_t envelope_size, struct sr_err *err)
{
    if (total > SR_PEER_FRAME_BYTES_MAX) {
        return sr_err_set(err, SR_LIMIT, "frame of %zu bytes, at most %d are allowed", total,
                          SR_PEER_FRAME_BYTES_MAX);
    }
    if (total < LENGTH_BYTES || envelope_size > total - LENGTH_BYTES) {
        return sr_err_set(err, SR_INVALID, "frame of %zu bytes with an envelope of %zu", total,
                          envelope_size);
    }
    if (envelope_size > SR_PEER_ENVELOPE_BYTES_MAX) {
        return sr_err_set(err, SR_LIMIT, "envelope of %zu bytes, at most %d are allowed",
                          envelope_size, SR_PEER_ENVELOPE_BYTES_MAX);
    }
    return SR_OK;
}

int sr_frame_take(const uint8_t *data, size_t size, struct sr_arena *arena,
                  struct sr_frame *ret_frame, size_t *ret_used, struct sr_err *err)
{
    struct sr_reader reader = sr_reader_of(data, size);
    size_t total = sr_read_u32(&reader);
    if (reader.failed) {
        return SR_AGAIN;
    }
    /* Without the second length, the first is judged as if that were 0. */
    size_t envelope_size = sr_reader_left(&reader) >= LENGTH_BYTES ? sr_read_u32(&reader) : 0;
    int status = check_lengths(total, envelope_size, err);
    if (status != SR_OK) {
        return status;
    }
    if (size - LENGTH_BYTES < total) {
        return SR_AGAIN;
    }
    struct sr_bytes packed = sr_read_bytes(&reader, envelope_size);
    struct sr_bytes payload = sr_read_bytes(&reader, total - LENGTH_BYTES - envelope_size);
    sr_check(!reader.failed);

    struct sr_err inner = {0};
    ProtobufCMessage *message = sr_message_unpack(&strongroom__envelope__descriptor, arena,
                                                  packed.data, packed.size, &inner);
    if (message == NULL) {
        return sr_err_set(err, inner.status, "envelope: %s", inner.text);
    }
    Strongroom__Envelope *envelope = (Strongroom__Envelope *)message;
    if (envelope->message_case == STRONGROOM__ENVELOPE__MESSAGE__NOT_SET) {
        return sr_err_set(err, SR_INVALID, "envelope without a message that is known here");
    }
    if (listed_bytes(envelope) != payload.size) {
        return sr_err_set(err, SR_INVALID, "payload of %zu bytes, the envelope lists %llu",
                          payload.size, (unsigned long long)listed_bytes(envelope));
    }
    *ret_frame = (struct sr_frame){.envelope = envelope, .payload = payload};
    *ret_used = LENGTH_BYTES + total;
    return SR_OK;
}
