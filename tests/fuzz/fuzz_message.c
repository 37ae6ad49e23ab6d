/* SPDX-License-Identifier: Apache-2.0
 *
 * What a client may send: a request, by the first byte of the input. Whatever unpacks must be
 * valid or refused, and must come back the same when it is packed and unpacked again.
 */
#include "base/buf.h"
#include "base/check.h"
#include "proto/command.pb-c.h"
#include "proto/limits.h"
#include "proto/message.h"
#include "proto/validate.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const ProtobufCMessageDescriptor *const types[] = {
    &etcdserverpb__range_request__descriptor,
    &etcdserverpb__put_request__descriptor,
    &etcdserverpb__delete_range_request__descriptor,
    &etcdserverpb__txn_request__descriptor,
    &strongroom__command__descriptor,
};

static void validate(const ProtobufCMessage *message)
{
    if (message->descriptor == types[0]) {
        (void)sr_validate_range((const void *)message);
    } else if (message->descriptor == types[1]) {
        (void)sr_validate_put((const void *)message);
    } else if (message->descriptor == types[2]) {
        (void)sr_validate_delete_range((const void *)message);
    } else if (message->descriptor == types[3]) {
        (void)sr_validate_txn((const void *)message);
        sr_check(!sr_txn_is_read_only((const void *)message) ||
                 !sr_txn_has_put((const void *)message));
    }
}

static struct sr_buf pack(const ProtobufCMessage *message)
{
    struct sr_buf buf = {0};
    size_t size = protobuf_c_message_get_packed_size(message);
    sr_check(protobuf_c_message_pack(message, sr_buf_extend(&buf, size)) == size);
    return buf;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    const ProtobufCMessageDescriptor *type = types[data[0] % (sizeof(types) / sizeof(types[0]))];
    struct sr_arena arena;
    struct sr_err err;
    sr_arena_init(&arena, SR_UNPACK_BYTES_MAX);
    ProtobufCMessage *message = sr_message_unpack(type, &arena, data + 1, size - 1, &err);
    if (message != NULL) {
        validate(message);
        struct sr_buf first = pack(message);
        message = sr_message_unpack(type, &arena, first.data, first.size, &err);
        sr_check(message != NULL);
        struct sr_buf second = pack(message);
        sr_check(sr_bytes_equal((struct sr_bytes){first.data, first.size},
                                (struct sr_bytes){second.data, second.size}));
        sr_buf_close(&first);
        sr_buf_close(&second);
    }
    sr_arena_close(&arena);
    return 0;
}
