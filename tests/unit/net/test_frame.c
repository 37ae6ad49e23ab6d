/* SPDX-License-Identifier: Apache-2.0
 *
 * Frames there and back, cut anywhere, and every lie that a length can tell.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "node/peer/frame.h"
#include "node/peer/peers_internal.h"
#include "proto/limits.h"

static struct sr_arena arena;

static int set_up(void **state)
{
    (void)state;
    sr_arena_init(&arena, SR_UNPACK_BYTES_MAX);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    sr_arena_close(&arena);
    return 0;
}

/* An AppendEntries of entries with 3 and 5 bytes. */
static void append_sample(struct sr_buf *out)
{
    Strongroom__Entry entries[2] = {STRONGROOM__ENTRY__INIT, STRONGROOM__ENTRY__INIT};
    entries[0].term = 7;
    entries[0].type = 1;
    entries[0].length = 3;
    entries[1].term = 8;
    entries[1].length = 5;
    Strongroom__Entry *pointers[2] = {&entries[0], &entries[1]};
    Strongroom__AppendEntries append = STRONGROOM__APPEND_ENTRIES__INIT;
    append.term = 8;
    append.prev_log_index = 41;
    append.leader_commit = 40;
    append.n_entries = 2;
    append.entries = pointers;
    Strongroom__Envelope envelope = STRONGROOM__ENVELOPE__INIT;
    envelope.message_case = STRONGROOM__ENVELOPE__MESSAGE_APPEND_ENTRIES;
    envelope.append_entries = &append;
    struct sr_bytes payload[2] = {sr_bytes_of("abc"), sr_bytes_of("defgh")};
    sr_frame_append(out, &envelope, payload, 2);
}

static void append_ping(struct sr_buf *out, uint64_t sent_ns)
{
    Strongroom__Ping ping = STRONGROOM__PING__INIT;
    ping.sent_ns = sent_ns;
    Strongroom__Envelope envelope = STRONGROOM__ENVELOPE__INIT;
    envelope.message_case = STRONGROOM__ENVELOPE__MESSAGE_PING;
    envelope.ping = &ping;
    sr_frame_append(out, &envelope, NULL, 0);
}

static int take(const void *data, size_t size, struct sr_frame *ret, size_t *ret_used)
{
    struct sr_err err = {0};
    sr_arena_reset(&arena);
    int status = sr_frame_take(data, size, &arena, ret, ret_used, &err);
    if (status != SR_OK && status != SR_AGAIN) {
        assert_int_equal(err.status, status);
        assert_true(err.text[0] != '\0');
    }
    return status;
}

/* Every byte in a heap block of its own size, so that a read beyond it is seen. */
static int take_exact(const uint8_t *data, size_t size)
{
    struct sr_frame frame;
    size_t used = 0;
    uint8_t *copy = sr_memdup(data, size);
    int status = take(copy, size, &frame, &used);
    sr_free(copy);
    return status;
}

static void a_frame_comes_back_as_it_was(void **state)
{
    (void)state;
    struct sr_buf out = {0};
    append_sample(&out);
    size_t first = out.size;
    append_ping(&out, 99);
    struct sr_frame frame;
    size_t used = 0;
    assert_int_equal(take(out.data, out.size, &frame, &used), SR_OK);
    assert_int_equal(used, first);
    assert_int_equal(frame.envelope->append_entries->term, 8);
    assert_int_equal(frame.envelope->append_entries->prev_log_index, 41);
    assert_int_equal(frame.envelope->append_entries->entries[1]->length, 5);
    assert_int_equal(frame.payload.size, 8);
    assert_memory_equal(frame.payload.data, "abcdefgh", 8);
    assert_true(frame.payload.data == out.data + first - 8); /* in place */
    assert_int_equal(take(out.data + first, out.size - first, &frame, &used), SR_OK);
    assert_int_equal(used, out.size - first);
    assert_int_equal(frame.envelope->ping->sent_ns, 99);
    sr_buf_close(&out);
}

static void every_truncation_asks_for_more(void **state)
{
    (void)state;
    struct sr_buf out = {0};
    append_sample(&out);
    for (size_t size = 0; size < out.size; size++) {
        assert_int_equal(take_exact(out.data, size), SR_AGAIN);
    }
    assert_int_equal(take_exact(out.data, out.size), SR_OK);
    sr_buf_close(&out);
}

static void every_flipped_bit_is_survived(void **state)
{
    (void)state;
    struct sr_buf out = {0};
    append_sample(&out);
    unsigned refused = 0;
    for (size_t bit = 0; bit < out.size * 8; bit++) {
        out.data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        refused += take_exact(out.data, out.size) != SR_OK;
        out.data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
    }
    assert_true(refused > 0);
    sr_buf_close(&out);
}

static int take_lengths(uint32_t total, uint32_t envelope)
{
    uint8_t head[8];
    sr_put_u32(head, total);
    sr_put_u32(head + 4, envelope);
    return take_exact(head, sizeof(head));
}

static void lengths_that_cannot_be_are_refused_at_once(void **state)
{
    (void)state;
    uint8_t head[4];
    sr_put_u32(head, SR_PEER_FRAME_BYTES_MAX + 1);
    assert_int_equal(take_exact(head, sizeof(head)), SR_LIMIT);
    sr_put_u32(head, SR_PEER_FRAME_BYTES_MAX);
    assert_int_equal(take_exact(head, sizeof(head)), SR_AGAIN);
    sr_put_u32(head, 3);
    assert_int_equal(take_exact(head, sizeof(head)), SR_INVALID);
    assert_int_equal(take_lengths(0, 0), SR_INVALID);
    assert_int_equal(take_lengths(UINT32_MAX, 0), SR_LIMIT);
    assert_int_equal(take_lengths(100, UINT32_MAX), SR_INVALID);
    assert_int_equal(take_lengths(100, 97), SR_INVALID);
    assert_int_equal(take_lengths(100, 96), SR_AGAIN);
    assert_int_equal(take_lengths(SR_PEER_FRAME_BYTES_MAX, SR_PEER_ENVELOPE_BYTES_MAX + 1),
                     SR_LIMIT);
    assert_int_equal(take_lengths(SR_PEER_FRAME_BYTES_MAX, SR_PEER_ENVELOPE_BYTES_MAX), SR_AGAIN);
    /* Whole, but with nothing in it. */
    assert_int_equal(take_lengths(4, 0), SR_INVALID);
}

/* Change the total and the payload of the sample by @difference bytes. */
static int take_with_payload_off_by(int difference)
{
    struct sr_buf out = {0};
    append_sample(&out);
    sr_put_u32(out.data, (uint32_t)((int)sr_get_u32(out.data) + difference));
    if (difference > 0) {
        memset(sr_buf_extend(&out, (size_t)difference), 'x', (size_t)difference);
    }
    int status = take_exact(out.data, out.size + (size_t)(difference < 0 ? difference : 0));
    sr_buf_close(&out);
    return status;
}

static void the_payload_must_be_what_the_envelope_lists(void **state)
{
    (void)state;
    assert_int_equal(take_with_payload_off_by(0), SR_OK);
    assert_int_equal(take_with_payload_off_by(1), SR_INVALID);
    assert_int_equal(take_with_payload_off_by(-1), SR_INVALID);
    /* Messages that list nothing carry nothing. */
    struct sr_buf out = {0};
    append_ping(&out, 1);
    sr_put_u32(out.data, sr_get_u32(out.data) + 1);
    sr_buf_append_u8(&out, 0);
    assert_int_equal(take_exact(out.data, out.size), SR_INVALID);
    sr_buf_close(&out);
}

static void forwarded_commands_are_counted(void **state)
{
    (void)state;
    uint32_t lengths[3] = {2, 0, 4};
    Strongroom__Forward forward = STRONGROOM__FORWARD__INIT;
    forward.batch = 5;
    forward.n_lengths = 3;
    forward.lengths = lengths;
    Strongroom__Envelope envelope = STRONGROOM__ENVELOPE__INIT;
    envelope.message_case = STRONGROOM__ENVELOPE__MESSAGE_FORWARD;
    envelope.forward = &forward;
    struct sr_bytes payload = sr_bytes_of("aabbbb");
    struct sr_buf out = {0};
    sr_frame_append(&out, &envelope, &payload, 1);
    assert_int_equal(take_exact(out.data, out.size), SR_OK);
    sr_buf_clear(&out);
    payload = sr_bytes_of("aabbb");
    sr_frame_append(&out, &envelope, &payload, 1);
    assert_int_equal(take_exact(out.data, out.size), SR_INVALID);
    sr_buf_close(&out);
}

static void unpacking_is_bounded_by_the_arena(void **state)
{
    (void)state;
    struct sr_buf out = {0};
    append_sample(&out);
    struct sr_arena small;
    struct sr_frame frame;
    size_t used = 0;
    struct sr_err err = {0};
    sr_arena_init(&small, 64);
    assert_int_equal(sr_frame_take(out.data, out.size, &small, &frame, &used, &err), SR_LIMIT);
    sr_arena_close(&small);
    sr_buf_close(&out);
}

/* ---- frames out of a stream that is cut anywhere ---- */

struct seen {
    unsigned count;
    uint64_t pings[8];
    unsigned samples;
    unsigned stop_after; /* 0: never */
};

static bool see(void *arg, const struct sr_frame *frame)
{
    struct seen *seen = arg;
    if (frame->envelope->message_case == STRONGROOM__ENVELOPE__MESSAGE_PING) {
        seen->pings[seen->count] = frame->envelope->ping->sent_ns;
    } else {
        assert_memory_equal(frame->payload.data, "abcdefgh", 8);
        seen->samples++;
    }
    seen->count++;
    return seen->count != seen->stop_after;
}

static void feed(struct link_input *input, struct seen *seen, const uint8_t *data, size_t size)
{
    uint8_t *copy = sr_memdup(data, size);
    struct sr_err err = {0};
    int status = link_input_feed(input, (struct sr_bytes){copy, size}, see, seen, &err);
    sr_free(copy);
    assert_string_equal(err.text, "");
    assert_int_equal(status, SR_OK);
}

static void frames_are_found_wherever_reads_cut_them(void **state)
{
    (void)state;
    struct sr_buf out = {0};
    append_ping(&out, 1);
    append_sample(&out);
    append_ping(&out, 3);
    for (size_t a = 0; a <= out.size; a++) {
        for (size_t b = a; b <= out.size; b++) {
            struct link_input input;
            struct seen seen = {0};
            link_input_init(&input);
            feed(&input, &seen, out.data, a);
            feed(&input, &seen, out.data + a, b - a);
            feed(&input, &seen, out.data + b, out.size - b);
            assert_int_equal(seen.count, 3);
            assert_int_equal(seen.samples, 1);
            assert_int_equal(seen.pings[0], 1);
            assert_int_equal(seen.pings[2], 3);
            assert_int_equal(input.partial.size, 0);
            link_input_close(&input);
        }
    }
    sr_buf_close(&out);
}

static void nothing_is_taken_after_a_callback_says_stop(void **state)
{
    (void)state;
    struct sr_buf out = {0};
    append_ping(&out, 1);
    append_ping(&out, 2);
    append_ping(&out, 3);
    struct link_input input;
    struct seen seen = {.stop_after = 2};
    link_input_init(&input);
    feed(&input, &seen, out.data, 3);
    feed(&input, &seen, out.data + 3, out.size - 3);
    assert_int_equal(seen.count, 2);
    link_input_close(&input);
    sr_buf_close(&out);
}

static void an_announced_frame_above_the_limit_ends_it(void **state)
{
    (void)state;
    for (size_t cut = 1; cut <= 4; cut++) {
        uint8_t head[4];
        struct link_input input;
        struct seen seen = {0};
        struct sr_err err = {0};
        link_input_init(&input);
        sr_put_u32(head, HELLO_FRAME_BYTES_MAX + 1);
        if (cut < 4) {
            feed(&input, &seen, head, cut);
        }
        struct sr_bytes rest = {head + cut % 4, 4 - cut % 4};
        assert_int_equal(link_input_feed(&input, rest, see, &seen, &err), SR_LIMIT);
        assert_true(input.partial.capacity <= HELLO_FRAME_BYTES_MAX);
        link_input_close(&input);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_frame_comes_back_as_it_was),
        cmocka_unit_test(every_truncation_asks_for_more),
        cmocka_unit_test(every_flipped_bit_is_survived),
        cmocka_unit_test(lengths_that_cannot_be_are_refused_at_once),
        cmocka_unit_test(the_payload_must_be_what_the_envelope_lists),
        cmocka_unit_test(forwarded_commands_are_counted),
        cmocka_unit_test(unpacking_is_bounded_by_the_arena),
        cmocka_unit_test(frames_are_found_wherever_reads_cut_them),
        cmocka_unit_test(nothing_is_taken_after_a_callback_says_stop),
        cmocka_unit_test(an_announced_frame_above_the_limit_ends_it),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
