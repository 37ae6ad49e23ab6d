/* SPDX-License-Identifier: Apache-2.0
 *
 * What a member may send us: frames, whole and through the cutter that puts partial ones together.
 * Both must see the same frames, wherever the reads cut the stream.
 */
#include <stdbool.h>
#include <string.h>

#include "base/check.h"
#include "node/peer/peers_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct seen {
    size_t frames;
    uint64_t digest;
};

static bool see(void *arg, const struct sr_frame *frame)
{
    struct seen *seen = arg;
    seen->frames++;
    seen->digest = seen->digest * 31 + (uint64_t)frame->envelope->message_case;
    for (size_t i = 0; i < frame->payload.size; i++) {
        seen->digest = seen->digest * 31 + frame->payload.data[i];
    }
    /* What was taken can be packed again. */
    sr_check(strongroom__envelope__get_packed_size(frame->envelope) > 0);
    return true;
}

/* Feed @data in pieces of @piece bytes. */
static int feed(const uint8_t *data, size_t size, size_t piece, struct seen *seen)
{
    struct link_input input;
    struct sr_err err;
    int status = SR_OK;
    link_input_init(&input);
    input.frame_bytes_max = SR_PEER_FRAME_BYTES_MAX;
    for (size_t at = 0; at < size && status == SR_OK; at += piece) {
        size_t taken = size - at < piece ? size - at : piece;
        uint8_t *copy = sr_memdup(data + at, taken);
        status = link_input_feed(&input, (struct sr_bytes){copy, taken}, see, seen, &err);
        sr_free(copy);
    }
    link_input_close(&input);
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    struct seen whole = {0};
    struct seen cut = {0};
    size_t piece = 1 + data[0] % 64;
    data++;
    size--;
    int whole_status = feed(data, size, size + 1, &whole);
    int cut_status = feed(data, size, piece, &cut);
    sr_check(whole.frames == cut.frames && whole.digest == cut.digest);
    /* A cut stream may end before the lengths that are wrong have come in, never the reverse. */
    sr_check(whole_status == cut_status || cut_status == SR_OK);
    return 0;
}
