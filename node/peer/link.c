/* SPDX-License-Identifier: Apache-2.0
 *
 * What both kinds of links have: cutting a stream into frames, and saying hello.
 */
#include <inttypes.h>
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

/* Take one frame from @data; SR_AGAIN when it is not whole. */
static int take(struct link_input *input, struct sr_bytes data, link_frame_cb *on_frame, void *arg,
                size_t *ret_used, bool *ret_go_on, struct sr_err *err)
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
        status = take(input, frame, on_frame, arg, &used, &go_on, err);
        sr_check(status != SR_AGAIN);
        if (status != SR_OK) {
            return status;
        }
        sr_buf_clear(&input->partial);
    }
    while (go_on && data.size > 0) {
        int status = take(input, data, on_frame, arg, &used, &go_on, err);
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

void link_send_hello(const struct sr_peers *peers, struct sr_stream *stream, uint64_t target,
                     uint64_t session, const char *refusal)
{
    char text[REASON_MAX];
    snprintf(text, sizeof(text), "%s", refusal);
    Strongroom__Hello hello;
    strongroom__hello__init(&hello);
    hello.cluster_id = peers->cluster_id;
    hello.member_id = peers->self;
    hello.target_id = target;
    hello.format = SR_PEER_FORMAT;
    hello.feature_level = peers->feature_level;
    hello.refusal = text;
    hello.session = session;
    Strongroom__Envelope envelope = STRONGROOM__ENVELOPE__INIT;
    envelope.message_case = STRONGROOM__ENVELOPE__MESSAGE_HELLO;
    envelope.hello = &hello;
    struct sr_buf *out = sr_stream_gather(stream);
    if (out != NULL) {
        sr_frame_append(out, &envelope, NULL, 0);
        sr_stream_flush(stream);
    }
}

int link_check_hello(const struct sr_peers *peers, const Strongroom__Hello *hello,
                     const struct sr_stream *stream, struct member **ret_member, struct sr_err *err)
{
    if (hello->format != SR_PEER_FORMAT) {
        return sr_err_set(err, SR_REFUSED, "peer format %" PRIu32 ", here it is %d", hello->format,
                          SR_PEER_FORMAT);
    }
    if (hello->cluster_id != peers->cluster_id) {
        return sr_err_set(err, SR_REFUSED, "cluster id %016" PRIx64 ", here it is %016" PRIx64,
                          hello->cluster_id, peers->cluster_id);
    }
    struct member *member = peers_find(peers, hello->member_id);
    if (member == NULL || member->id == peers->self) {
        return sr_err_set(err, SR_REFUSED, "member id %016" PRIx64 " is not another member here",
                          hello->member_id);
    }
    if (!sr_stream_peer_has_dns_name(stream, member->name)) {
        return sr_err_set(err, SR_REFUSED,
                          "member id %016" PRIx64 " is %s, which the certificate does not name",
                          member->id, member->name);
    }
    if (hello->target_id != peers->self) {
        return sr_err_set(err, SR_REFUSED,
                          "meant for member id %016" PRIx64 ", this is %016" PRIx64,
                          hello->target_id, peers->self);
    }
    *ret_member = member;
    return SR_OK;
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
