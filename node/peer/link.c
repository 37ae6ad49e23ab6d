/* SPDX-License-Identifier: Apache-2.0
 *
 * What both kinds of links have: cutting a stream into frames, and saying hello.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "node/peer/peers_internal.h"

#define LENGTH_BYTES ((size_t)4)
/* A partial frame may leave a buffer of up to the frame limit behind; an idle link needs less. */
#define PARTIAL_KEEP_BYTES ((size_t)1024 * 1024)

void link_input_init(struct link_input *input)
{
    *input = (struct link_input){.frame_bytes_max = HELLO_FRAME_BYTES_MAX};
    sr_arena_init(&input->arena, SR_UNPACK_BYTES_MAX);
}

void link_input_close(struct link_input *input)
{
    sr_buf_close(&input->partial);
    sr_arena_close(&input->arena);
}

void link_input_trim(struct link_input *input)
{
    if (input->partial.size == 0 && input->partial.capacity > PARTIAL_KEEP_BYTES) {
        sr_buf_close(&input->partial);
    }
}

static int check_announced(const struct link_input *input, const uint8_t *frame, struct sr_err *err)
{
    size_t announced = sr_get_u32(frame);
    if (announced > input->frame_bytes_max) {
        return sr_err_set(err, SR_LIMIT, "frame of %zu bytes, at most %zu are allowed now",
                          announced, input->frame_bytes_max);
    }
    return SR_OK;
}

/* Move from *data into partial what is missing of the frame that is in there. */
static int complete(struct link_input *input, struct sr_bytes *data, bool *ret_whole,
                    struct sr_err *err)
{
    size_t wanted = LENGTH_BYTES;
    *ret_whole = false;
    for (;;) {
        if (input->partial.size >= LENGTH_BYTES) {
            int status = check_announced(input, input->partial.data, err);
            if (status != SR_OK) {
                return status;
            }
            wanted = LENGTH_BYTES + sr_get_u32(input->partial.data);
        }
        if (input->partial.size >= wanted && wanted > LENGTH_BYTES) {
            *ret_whole = true;
            return SR_OK;
        }
        size_t missing = wanted - input->partial.size;
        size_t moved = missing < data->size ? missing : data->size;
        if (moved == 0) {
            *ret_whole = missing == 0; /* a frame of no bytes: sr_frame_take will refuse it */
            return SR_OK;
        }
        sr_buf_append(&input->partial, data->data, moved);
        data->data += moved;
        data->size -= moved;
    }
}

/* Take one frame from @data; SR_AGAIN when it is not whole. @has_more: something follows @data. */
static int take(struct link_input *input, struct sr_bytes data, bool has_more,
                link_frame_cb *on_frame, void *arg, size_t *ret_used, bool *ret_go_on,
                struct sr_err *err)
{
    if (data.size >= LENGTH_BYTES) {
        int status = check_announced(input, data.data, err);
        if (status != SR_OK) {
            return status;
        }
    }
    struct sr_frame frame;
    sr_arena_reset(&input->arena);
    int status = sr_frame_take(data.data, data.size, &input->arena, &frame, ret_used, err);
    if (status == SR_OK) {
        input->has_more = has_more || *ret_used < data.size;
        *ret_go_on = on_frame(arg, &frame);
    }
    return status;
}

int link_input_feed(struct link_input *input, struct sr_bytes data, link_frame_cb *on_frame,
                    void *arg, struct sr_err *err)
{
    bool go_on = true;
    size_t used = 0;
    if (input->partial.size > 0) {
        bool whole = false;
        int status = complete(input, &data, &whole, err);
        if (status != SR_OK || !whole) {
            return status;
        }
        struct sr_bytes frame = {input->partial.data, input->partial.size};
        status = take(input, frame, data.size > 0, on_frame, arg, &used, &go_on, err);
        sr_check(status != SR_AGAIN);
        if (status != SR_OK) {
            return status;
        }
        sr_buf_clear(&input->partial);
    }
    while (go_on && data.size > 0) {
        int status = take(input, data, false, on_frame, arg, &used, &go_on, err);
        if (status == SR_AGAIN) {
            sr_buf_append(&input->partial, data.data, data.size);
            return SR_OK;
        }
        if (status != SR_OK) {
            return status;
        }
        data.data += used;
        data.size -= used;
    }
    return SR_OK;
}

static void fill_hello(const struct sr_peers *peers, Strongroom__Hello *hello, uint64_t target,
                       uint64_t session)
{
    strongroom__hello__init(hello);
    hello->cluster_id = peers->cluster_id;
    hello->member_id = peers->self;
    hello->target_id = target;
    hello->format = SR_PEER_FORMAT;
    hello->feature_level = peers->feature_level;
    hello->session = session;
    hello->incarnation = peers->incarnation;
    hello->compatible = SR_PEER_COMPATIBLE;
    hello->incompatible = SR_PEER_INCOMPATIBLE;
}

static void send_hello(struct sr_stream *stream, Strongroom__Hello *hello)
{
    Strongroom__Envelope envelope = STRONGROOM__ENVELOPE__INIT;
    envelope.message_case = STRONGROOM__ENVELOPE__MESSAGE_HELLO;
    envelope.hello = hello;
    struct sr_buf *out = sr_stream_gather(stream);
    if (out != NULL) {
        sr_frame_append(out, &envelope, NULL, 0);
        sr_stream_flush(stream);
    }
}

void link_send_hello(const struct sr_peers *peers, struct sr_stream *stream, uint64_t target,
                     uint64_t session)
{
    Strongroom__Hello hello;
    fill_hello(peers, &hello, target, session);
    send_hello(stream, &hello);
}

void link_fill_answer(const struct sr_peers *peers, Strongroom__Hello *answer,
                      const Strongroom__Hello *asked)
{
    fill_hello(peers, answer, asked->member_id, asked->session);
    answer->purpose = asked->purpose;
}

void link_answer_hello(const struct sr_peers *peers, struct sr_stream *stream,
                       const Strongroom__Hello *asked, const struct refusal *refusal)
{
    Strongroom__Hello hello;
    char text[REASON_MAX];
    memcpy(text, refusal->text, sizeof(text));
    link_fill_answer(peers, &hello, asked);
    hello.refusal_code = refusal->code;
    hello.refusal = text;
    send_hello(stream, &hello);
}

void link_refuse(struct refusal *refusal, Strongroom__Hello__Refusal code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(refusal->text, sizeof(refusal->text), format, args); /* NOLINT: it is */
    va_end(args);
    refusal->code = code;
}

bool link_check_format(const Strongroom__Hello *hello, struct refusal *refusal)
{
    *refusal = (struct refusal){0};
    if (hello->format != SR_PEER_FORMAT) {
        link_refuse(refusal, STRONGROOM__HELLO__REFUSAL__FORMAT,
                    "peer format %" PRIu32 ", here it is %d", hello->format, SR_PEER_FORMAT);
        return false;
    }
    if ((hello->incompatible & ~SR_PEER_INCOMPATIBLE) != 0) {
        link_refuse(refusal, STRONGROOM__HELLO__REFUSAL__FORMAT,
                    "peer features 0x%" PRIx64 ", which this version does not know",
                    hello->incompatible & ~SR_PEER_INCOMPATIBLE);
        return false;
    }
    return true;
}

struct member *link_check_hello(const struct sr_peers *peers, const Strongroom__Hello *hello,
                                const struct sr_stream *stream, struct refusal *refusal)
{
    if (!link_check_format(hello, refusal)) {
        return NULL;
    }
    if (hello->cluster_id != peers->cluster_id) {
        link_refuse(refusal, STRONGROOM__HELLO__REFUSAL__WRONG_CLUSTER,
                    "cluster id %016" PRIx64 ", here it is %016" PRIx64, hello->cluster_id,
                    peers->cluster_id);
        return NULL;
    }
    struct member *member = members_find(peers, hello->member_id);
    if (member == NULL && members_is_removed(peers, hello->member_id)) {
        link_refuse(refusal, STRONGROOM__HELLO__REFUSAL__REMOVED,
                    "member id %016" PRIx64 " was removed from the cluster", hello->member_id);
        return NULL;
    }
    if (member == NULL) {
        link_refuse(refusal, STRONGROOM__HELLO__REFUSAL__WRONG_MEMBER,
                    "member id %016" PRIx64 " is not another member here", hello->member_id);
        return NULL;
    }
    if (!sr_stream_peer_has_dns_name(stream, member->name)) {
        link_refuse(refusal, STRONGROOM__HELLO__REFUSAL__CERTIFICATE,
                    "member id %016" PRIx64 " is %.100s, which the certificate does not name",
                    member->id, member->name);
        return NULL;
    }
    if (hello->incarnation != 0 && member->incarnation != 0 &&
        hello->incarnation != member->incarnation) {
        link_refuse(refusal, STRONGROOM__HELLO__REFUSAL__REUSED_ID,
                    "member id %016" PRIx64 " came with another data directory than before: a node "
                    "that has lost its data must be rebuilt as a new member",
                    member->id);
        return NULL;
    }
    if (hello->target_id != peers->self) {
        link_refuse(refusal, STRONGROOM__HELLO__REFUSAL__WRONG_MEMBER,
                    "meant for member id %016" PRIx64 ", this is %016" PRIx64, hello->target_id,
                    peers->self);
        return NULL;
    }
    return member;
}

void link_note_hello(struct member *member, const Strongroom__Hello *hello)
{
    sr_gauge_set(&member->metrics.feature_level, hello->feature_level);
    if (hello->incarnation != 0) {
        member->incarnation = hello->incarnation;
    }
}

void link_copy_printable(char *out, size_t size, const char *text)
{
    size_t used = 0;
    for (; used + 1 < size && text[used] != '\0'; used++) {
        unsigned char c = (unsigned char)text[used];
        bool is_plain = c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
        out[used] = (char)(is_plain ? c : '?');
    }
    out[used] = '\0';
}
