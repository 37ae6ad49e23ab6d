/* SPDX-License-Identifier: Apache-2.0
 *
 * The response header. Storage packs a response without one, since only the node that answers
 * knows who it is; the header is field 1 of every response, so it is simply written in front.
 */
#include "base/check.h"
#include "node/service/internal.h"

#define FIELD_CLUSTER_ID 0x08
#define FIELD_MEMBER_ID  0x10
#define FIELD_REVISION   0x18
#define FIELD_RAFT_TERM  0x20
/* Field 1 of a response, a message. */
#define FIELD_HEADER 0x0a

/* A field and its number, at most. */
#define FIELD_BYTES_MAX ((size_t)11)
/* Above this the reply buffer is not kept for the next answer. */
#define REPLY_KEPT_BYTES_MAX ((size_t)256 * 1024)

/* A number field; nothing for 0, as proto3 has it. */
static size_t put_field(uint8_t *out, uint8_t field, uint64_t value)
{
    if (value == 0) {
        return 0;
    }
    size_t size = 0;
    out[size++] = field;
    while (value >= 0x80) {
        out[size++] = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    out[size++] = (uint8_t)value;
    return size;
}

void service_header_init(struct sr_service *service)
{
    const struct sr_service_context *context = service->context;
    _Static_assert(sizeof(service->identity) >= 2 * FIELD_BYTES_MAX, "room for two ids");
    size_t size = put_field(service->identity, FIELD_CLUSTER_ID, context->cluster_id);
    size += put_field(service->identity + size, FIELD_MEMBER_ID, context->member_id);
    service->identity_size = size;
}

void service_header_append(const struct sr_service *service, struct sr_buf *buf, int64_t revision,
                           uint64_t term)
{
    uint8_t numbers[2 * FIELD_BYTES_MAX];
    size_t size = put_field(numbers, FIELD_REVISION, (uint64_t)revision);
    size += put_field(numbers + size, FIELD_RAFT_TERM, term);
    /* Both ids and both numbers come to 44 bytes: one byte of length. */
    sr_check(service->identity_size + size < 0x80);
    sr_buf_append_u8(buf, FIELD_HEADER);
    sr_buf_append_u8(buf, (uint8_t)(service->identity_size + size));
    sr_buf_append(buf, service->identity, service->identity_size);
    sr_buf_append(buf, numbers, size);
}

struct sr_buf *service_reply_buffer(struct sr_service *service)
{
    if (service->reply.capacity > REPLY_KEPT_BYTES_MAX) {
        sr_buf_close(&service->reply);
    }
    sr_buf_clear(&service->reply);
    return &service->reply;
}

void service_reply_body(struct sr_service *service, struct sr_call *call, int64_t revision,
                        uint64_t term, struct sr_bytes body)
{
    struct sr_buf *reply = service_reply_buffer(service);
    service_header_append(service, reply, revision, term);
    sr_buf_append(reply, body.data, body.size);
    sr_call_reply(call, reply);
}

void service_reply(struct sr_service *service, struct sr_call *call, int64_t revision,
                   const ProtobufCMessage *response)
{
    struct sr_consensus_info info;
    sr_consensus_info(service->context->consensus, &info);
    struct sr_buf *reply = service_reply_buffer(service);
    service_header_append(service, reply, revision, info.term);
    size_t size = protobuf_c_message_get_packed_size(response);
    protobuf_c_message_pack(response, sr_buf_extend(reply, size));
    sr_call_reply(call, reply);
}
