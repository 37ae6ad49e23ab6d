/* SPDX-License-Identifier: Apache-2.0
 *
 * The walk keeps an explicit stack of the messages that it is inside of: a hostile message costs
 * a bounded amount of stack here, and is refused before protobuf-c, which recurses, sees it.
 */
#include "proto/message.h"

#include <stdbool.h>

#include "base/check.h"
#include "proto/limits.h"

enum wire_type { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

#define VARINT_BYTES_MAX 10
/* protobuf-c reads no longer ones for tags and lengths. */
#define SHORT_VARINT_BYTES_MAX 5
#define FIELD_NUMBER_MAX       ((UINT64_C(1) << 29) - 1)
/* protobuf-c counts in int. */
#define MESSAGE_BYTES_MAX ((size_t)INT32_MAX)

struct level {
    const ProtobufCMessageDescriptor *descriptor;
    const uint8_t *end;
};

struct walk {
    const uint8_t *at;
    size_t depth; /* levels in use */
    bool unknown; /* a field was seen that the descriptor does not have */
    struct level levels[SR_MESSAGE_DEPTH_MAX];
};

static bool read_varint(struct walk *walk, unsigned bytes_max, uint64_t *ret)
{
    const uint8_t *end = walk->levels[walk->depth - 1].end;
    uint64_t value = 0;
    for (unsigned i = 0; i < bytes_max && walk->at < end; i++) {
        uint8_t byte = *walk->at++;
        value |= (uint64_t)(byte & 0x7f) << (7 * i);
        if ((byte & 0x80) == 0) {
            *ret = value;
            return true;
        }
    }
    return false;
}

static bool skip(struct walk *walk, uint64_t size)
{
    const uint8_t *end = walk->levels[walk->depth - 1].end;
    if (size > (uint64_t)(end - walk->at)) {
        return false;
    }
    walk->at += size;
    return true;
}

static enum wire_type wire_type_of(const ProtobufCFieldDescriptor *field)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_FLOAT:
        return WIRE_FIXED32;
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return WIRE_FIXED64;
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_BYTES:
    case PROTOBUF_C_TYPE_MESSAGE:
        return WIRE_BYTES;
    default:
        return WIRE_VARINT;
    }
}

/* Repeated numbers come one by one or packed, whatever the .proto file says. */
static bool wire_type_fits(const ProtobufCFieldDescriptor *field, unsigned wire_type)
{
    enum wire_type expected = wire_type_of(field);
    return wire_type == expected || (wire_type == WIRE_BYTES && expected != WIRE_BYTES &&
                                     field->label == PROTOBUF_C_LABEL_REPEATED);
}

/* A field with a length: skip it, or go down into it when it is a message that we know. */
static int walk_bytes(struct walk *walk, const ProtobufCFieldDescriptor *field, struct sr_err *err)
{
    uint64_t size = 0;
    if (!read_varint(walk, SHORT_VARINT_BYTES_MAX, &size)) {
        return sr_err_set(err, SR_INVALID, "message: bad length of a field");
    }
    const uint8_t *start = walk->at;
    if (!skip(walk, size)) {
        return sr_err_set(err, SR_INVALID, "message: a field goes beyond its message");
    }
    if (field == NULL || field->type != PROTOBUF_C_TYPE_MESSAGE) {
        return SR_OK;
    }
    if (walk->depth == SR_MESSAGE_DEPTH_MAX) {
        return sr_err_set(err, SR_INVALID, "message: nested deeper than %d levels",
                          SR_MESSAGE_DEPTH_MAX);
    }
    walk->levels[walk->depth++] = (struct level){.descriptor = field->descriptor, .end = walk->at};
    walk->at = start;
    return SR_OK;
}

static int walk_field(struct walk *walk, struct sr_err *err)
{
    uint64_t key = 0;
    uint64_t ignored = 0;
    if (!read_varint(walk, SHORT_VARINT_BYTES_MAX, &key) || key >> 3 == 0 ||
        key >> 3 > FIELD_NUMBER_MAX) {
        return sr_err_set(err, SR_INVALID, "message: bad field number");
    }
    unsigned wire_type = (unsigned)(key & 7);
    const ProtobufCFieldDescriptor *field = protobuf_c_message_descriptor_get_field(
        walk->levels[walk->depth - 1].descriptor, (unsigned)(key >> 3));
    if (field == NULL) {
        walk->unknown = true;
    } else if (!wire_type_fits(field, wire_type)) {
        return sr_err_set(err, SR_INVALID, "message: wrong wire type of a field");
    }
    switch (wire_type) {
    case WIRE_VARINT:
        return read_varint(walk, VARINT_BYTES_MAX, &ignored)
                   ? SR_OK
                   : sr_err_set(err, SR_INVALID, "message: bad number");
    case WIRE_FIXED64:
        return skip(walk, 8) ? SR_OK : sr_err_set(err, SR_INVALID, "message: cut short");
    case WIRE_FIXED32:
        return skip(walk, 4) ? SR_OK : sr_err_set(err, SR_INVALID, "message: cut short");
    case WIRE_BYTES:
        return walk_bytes(walk, field, err);
    default:
        return sr_err_set(err, SR_INVALID, "message: unknown wire type");
    }
}

static int check(const ProtobufCMessageDescriptor *descriptor, const uint8_t *data, size_t size,
                 bool *ret_unknown, struct sr_err *err)
{
    if (size > MESSAGE_BYTES_MAX) {
        return sr_err_set(err, SR_INVALID, "message: too large");
    }
    struct walk walk; /* the levels are set as they are entered */
    walk.at = data;
    walk.unknown = false;
    walk.depth = 0;
    if (size > 0) {
        walk.levels[walk.depth++] = (struct level){.descriptor = descriptor, .end = data + size};
    }
    while (walk.depth > 0) {
        if (walk.at == walk.levels[walk.depth - 1].end) {
            walk.depth--;
            continue;
        }
        int rc = walk_field(&walk, err);
        if (rc != SR_OK) {
            return rc;
        }
    }
    *ret_unknown = walk.unknown;
    return SR_OK;
}

int sr_message_check(const ProtobufCMessageDescriptor *descriptor, const uint8_t *data, size_t size,
                     struct sr_err *err)
{
    bool unknown = false;
    return check(descriptor, data, size, &unknown, err);
}

struct arena_source {
    struct sr_arena *arena;
    bool exhausted;
};

static void *arena_alloc(void *arg, size_t size)
{
    struct arena_source *source = arg;
    void *memory = sr_arena_alloc(source->arena, size);
    source->exhausted = source->exhausted || memory == NULL;
    return memory;
}

static void arena_free(void *arg, void *memory)
{
    (void)arg;
    (void)memory;
}

static void forget_unknown(ProtobufCMessage *message);

static void forget_unknown_in_field(ProtobufCMessage *message,
                                    const ProtobufCFieldDescriptor *field)
{
    uint8_t *base = (uint8_t *)message;
    void *member = base + field->offset;
    if (field->label == PROTOBUF_C_LABEL_REPEATED) {
        size_t count = *(size_t *)(void *)(base + field->quantifier_offset);
        ProtobufCMessage **items = *(ProtobufCMessage ***)member;
        for (size_t i = 0; i < count; i++) {
            forget_unknown(items[i]);
        }
        return;
    }
    bool is_oneof = (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0;
    if (is_oneof && *(uint32_t *)(void *)(base + field->quantifier_offset) != field->id) {
        return;
    }
    ProtobufCMessage *item = *(ProtobufCMessage **)member;
    if (item != NULL) {
        forget_unknown(item);
    }
}

/* protobuf-c would pack them again: what a client smuggles in must not reach the log. Recursive,
 * no deeper than what was checked before. */
static void forget_unknown(ProtobufCMessage *message)
{
    message->n_unknown_fields = 0;
    message->unknown_fields = NULL;
    const ProtobufCMessageDescriptor *descriptor = message->descriptor;
    for (unsigned i = 0; i < descriptor->n_fields; i++) {
        if (descriptor->fields[i].type == PROTOBUF_C_TYPE_MESSAGE) {
            forget_unknown_in_field(message, &descriptor->fields[i]);
        }
    }
}

static ProtobufCMessage *unpack_checked(const ProtobufCMessageDescriptor *descriptor,
                                        struct sr_arena *arena, const uint8_t *data, size_t size,
                                        struct sr_err *err)
{
    struct arena_source source = {.arena = arena};
    ProtobufCAllocator allocator = {
        .alloc = arena_alloc, .free = arena_free, .allocator_data = &source};
    ProtobufCMessage *message = protobuf_c_message_unpack(descriptor, &allocator, size, data);
    if (message == NULL) {
        (void)(source.exhausted
                   ? sr_err_set(err, SR_LIMIT, "message: takes too much memory to unpack")
                   : sr_err_set(err, SR_INVALID, "message: malformed"));
        return NULL;
    }
    return message;
}

ProtobufCMessage *sr_message_unpack(const ProtobufCMessageDescriptor *descriptor,
                                    struct sr_arena *arena, const uint8_t *data, size_t size,
                                    struct sr_err *err)
{
    bool unknown = false;
    if (check(descriptor, data, size, &unknown, err) != SR_OK) {
        return NULL;
    }
    ProtobufCMessage *message = unpack_checked(descriptor, arena, data, size, err);
    if (message != NULL && unknown) {
        forget_unknown(message);
    }
    return message;
}

ProtobufCMessage *sr_message_unpack_known(const ProtobufCMessageDescriptor *descriptor,
                                          struct sr_arena *arena, const uint8_t *data, size_t size,
                                          struct sr_err *err)
{
    bool unknown = false;
    if (check(descriptor, data, size, &unknown, err) != SR_OK) {
        return NULL;
    }
    if (unknown) {
        (void)sr_err_set(err, SR_FORMAT, "message: a field that this version does not know");
        return NULL;
    }
    return unpack_checked(descriptor, arena, data, size, err);
}
