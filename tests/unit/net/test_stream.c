/* SPDX-License-Identifier: Apache-2.0
 *
 * Streams that are let in: data both ways, back-pressure, and every way to end.
 */
#include "stream_pair.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

struct goal {
    struct side *side;
    size_t size;
};

static bool has_received(void *arg)
{
    struct goal *goal = arg;
    return goal->side->received.size >= goal->size || goal->side->is_closed;
}

static bool first_accepted_open(void *arg)
{
    struct fixture *fixture = arg;
    return fixture->accepted_count > 0 && fixture->accepted[0].is_open;
}

static uint8_t pattern(size_t at)
{
    return (uint8_t)(at * 31 + (at >> 8) * 7 + (at >> 16));
}

static uint8_t *make_pattern(size_t size)
{
    uint8_t *data = sr_alloc(size);
    for (size_t i = 0; i < size; i++) {
        data[i] = pattern(i);
    }
    return data;
}

static void check_pattern(const struct sr_buf *received, size_t size)
{
    assert_int_equal(received->size, size);
    for (size_t i = 0; i < size; i++) {
        if (received->data[i] != pattern(i)) {
            fail_msg("byte %zu differs", i);
        }
    }
}

static void open_pair(struct fixture *fixture, struct side *side)
{
    struct sr_tls *tls = fixture_client_tls("node-2", "ca", NULL);
    side_connect(fixture, side, tls, "node-1");
    sr_tls_free(tls); /* the stream keeps its own reference */
    fixture_run(fixture, side_is_open, side);
    fixture_run(fixture, first_accepted_open, fixture);
    assert_true(side->is_open);
}

static void close_pair(struct fixture *fixture, struct side *side)
{
    if (side->stream != NULL) {
        sr_stream_close(side->stream, false);
    }
    fixture_run(fixture, both_are_closed, side);
    sr_buf_close(&side->received);
    fixture_close(fixture);
}

static void identities_are_known(void **state)
{
    (void)state;
    struct fixture fixture;
    struct side side = {0};
    fixture_open(&fixture, NULL, false);
    open_pair(&fixture, &side);
    struct sr_stream *server = fixture.accepted[0].stream;
    assert_string_equal(side.peer_name, "node-1");
    assert_string_equal(fixture.accepted[0].peer_name, "node-2");
    assert_true(sr_stream_peer_has_dns_name(server, "node-2"));
    assert_true(sr_stream_peer_has_dns_name(server, "localhost"));
    assert_false(sr_stream_peer_has_dns_name(server, "node-1"));
    assert_false(sr_stream_peer_has_dns_name(server, "node-"));
    assert_false(sr_stream_peer_has_dns_name(server, ""));
    assert_false(sr_stream_peer_has_dns_name(server, ".localhost"));
    assert_memory_equal(sr_stream_peer_address(server), "127.0.0.1:", 10);
    close_pair(&fixture, &side);
    assert_int_equal(side.reason.status, SR_OK);
    assert_int_equal(fixture.accepted[0].reason.status, SR_OK);
}

static void megabytes_come_back_in_order(void **state)
{
    (void)state;
    const size_t size = 8 * 1024 * 1024 + 12345;
    struct fixture fixture;
    struct side side = {0};
    fixture_open(&fixture, NULL, false);
    fixture.accept_echo = true;
    open_pair(&fixture, &side);
    uint8_t *data = make_pattern(size);
    for (size_t at = 0; at < size;) {
        size_t piece = 1 + (at * 2654435761u) % 40000;
        piece = piece < size - at ? piece : size - at;
        sr_stream_write(side.stream, data + at, piece);
        sr_stream_flush(side.stream);
        at += piece;
    }
    sr_free(data);
    struct goal goal = {&side, size};
    fixture_run(&fixture, has_received, &goal);
    check_pattern(&side.received, size);
    assert_true(side.drains > 0);
    assert_int_equal(sr_stream_pending(side.stream), 0);
    assert_true(sr_stream_sent(side.stream) > size);
    close_pair(&fixture, &side);
}

/* Many small messages of one turn become few records: that is what gathering is for. */
static void small_messages_travel_together(void **state)
{
    (void)state;
    struct fixture fixture;
    struct side side = {0};
    fixture_open(&fixture, NULL, false);
    open_pair(&fixture, &side);
    uint64_t before = sr_stream_sent(side.stream);
    for (size_t i = 0; i < 1000; i++) {
        sr_stream_write(side.stream, "ten bytes.", 10);
    }
    assert_int_equal(sr_stream_sent(side.stream), before); /* nothing before the flush */
    assert_int_equal(sr_stream_pending(side.stream), 10000);
    sr_stream_flush(side.stream);
    assert_true(sr_stream_sent(side.stream) - before < 10000 + 100);
    struct goal goal = {&fixture.accepted[0], 10000};
    fixture_run(&fixture, has_received, &goal);
    assert_int_equal(fixture.accepted[0].received.size, 10000);
    assert_int_equal(fixture.accepted[0].pieces, 1);
    close_pair(&fixture, &side);
}

static bool is_stuck(void *arg)
{
    /* The socket takes no more: what is pending stays the same over some turns. */
    struct side *side = arg;
    size_t before = sr_stream_pending(side->stream);
    for (int i = 0; i < 20; i++) {
        uv_run(&side->fixture->loop, UV_RUN_NOWAIT);
    }
    return before > 0 && sr_stream_pending(side->stream) == before;
}

static void a_paused_reader_holds_the_writer_back(void **state)
{
    (void)state;
    const size_t size = 24 * 1024 * 1024; /* more than the kernel buffers of both ends */
    struct fixture fixture;
    struct side side = {0};
    fixture_open(&fixture, NULL, false);
    open_pair(&fixture, &side);
    sr_stream_pause(fixture.accepted[0].stream);
    uint8_t *data = make_pattern(size);
    sr_stream_write(side.stream, data, size);
    sr_free(data);
    sr_stream_flush(side.stream);
    fixture_run(&fixture, is_stuck, &side);
    assert_int_equal(fixture.accepted[0].received.size, 0);
    assert_int_equal(side.drains, 0);
    sr_stream_resume(fixture.accepted[0].stream);
    assert_int_equal(fixture.accepted[0].received.size, 0); /* never from inside the call */
    struct goal goal = {&fixture.accepted[0], size};
    fixture_run(&fixture, has_received, &goal);
    check_pattern(&fixture.accepted[0].received, size);
    assert_true(side.drains > 0);
    close_pair(&fixture, &side);
}

/* Pausing in the middle of a read keeps the rest, in order, until resume. */
static void a_pause_within_a_read_loses_nothing(void **state)
{
    (void)state;
    const size_t size = 1024 * 1024;
    struct fixture fixture;
    struct side side = {0};
    fixture_open(&fixture, NULL, false);
    open_pair(&fixture, &side);
    struct side *reader = &fixture.accepted[0];
    reader->pauses_on_data = true;
    uint8_t *data = make_pattern(size);
    sr_stream_write(side.stream, data, size);
    sr_free(data);
    sr_stream_flush(side.stream);
    while (reader->received.size < size) {
        struct goal goal = {reader, reader->received.size + 1};
        fixture_run(&fixture, has_received, &goal);
        unsigned pieces = reader->pieces;
        for (int i = 0; i < 5; i++) {
            uv_run(&fixture.loop, UV_RUN_NOWAIT);
        }
        assert_int_equal(reader->pieces, pieces); /* paused means silent */
        sr_stream_resume(reader->stream);
    }
    check_pattern(&reader->received, size);
    close_pair(&fixture, &side);
    assert_int_equal(reader->reason.status, SR_OK);
}

static void a_stream_accepted_paused_opens_but_stays_silent(void **state)
{
    (void)state;
    struct fixture fixture;
    struct side side = {0};
    fixture_open(&fixture, NULL, false);
    fixture.accept_paused = true;
    open_pair(&fixture, &side);
    sr_stream_write(side.stream, "hello", 5);
    sr_stream_flush(side.stream);
    for (int i = 0; i < 50; i++) {
        uv_run(&fixture.loop, UV_RUN_NOWAIT);
    }
    assert_int_equal(fixture.accepted[0].received.size, 0);
    sr_stream_resume(fixture.accepted[0].stream);
    struct goal goal = {&fixture.accepted[0], 5};
    fixture_run(&fixture, has_received, &goal);
    assert_int_equal(fixture.accepted[0].received.size, 5);
    close_pair(&fixture, &side);
}

static void a_graceful_close_delivers_what_was_queued(void **state)
{
    (void)state;
    const size_t size = 6 * 1024 * 1024;
    struct fixture fixture;
    struct side side = {0};
    fixture_open(&fixture, NULL, false);
    open_pair(&fixture, &side);
    uint8_t *data = make_pattern(size);
    sr_stream_write(side.stream, data, size / 2);
    sr_stream_flush(side.stream);
    sr_stream_write(side.stream, data + size / 2, size - size / 2);
    sr_free(data);
    sr_stream_close(side.stream, false); /* while writing, and with more queued */
    assert_false(side.is_closed);        /* never from inside the call */
    sr_stream_write(side.stream, "late", 4);
    assert_null(sr_stream_gather(side.stream));
    sr_stream_close(side.stream, false);
    fixture_run(&fixture, both_are_closed, &side);
    check_pattern(&fixture.accepted[0].received, size);
    assert_int_equal(side.reason.status, SR_OK);
    assert_int_equal(fixture.accepted[0].reason.status, SR_OK);
    close_pair(&fixture, &side);
}

static void an_abrupt_close_is_a_network_failure_for_the_other(void **state)
{
    (void)state;
    struct fixture fixture;
    struct side side = {0};
    fixture_open(&fixture, NULL, false);
    open_pair(&fixture, &side);
    sr_stream_close(side.stream, true);
    sr_stream_close(side.stream, true);
    fixture_run(&fixture, both_are_closed, &side);
    assert_int_equal(side.reason.status, SR_OK);
    assert_int_equal(fixture.accepted[0].reason.status, SR_NETWORK);
    assert_non_null(strstr(fixture.accepted[0].reason.text, "without a TLS close"));
    close_pair(&fixture, &side);
}

static void an_abort_while_writing_drops_the_rest(void **state)
{
    (void)state;
    const size_t size = 24 * 1024 * 1024;
    struct fixture fixture;
    struct side side = {0};
    fixture_open(&fixture, NULL, false);
    open_pair(&fixture, &side);
    sr_stream_pause(fixture.accepted[0].stream);
    uint8_t *data = make_pattern(size);
    sr_stream_write(side.stream, data, size);
    sr_free(data);
    sr_stream_flush(side.stream);
    fixture_run(&fixture, is_stuck, &side);
    sr_stream_close(side.stream, true);
    fixture_run(&fixture, side_is_closed, &side);
    sr_stream_resume(fixture.accepted[0].stream);
    fixture_run(&fixture, both_are_closed, &side);
    assert_true(fixture.accepted[0].received.size < size);
    assert_int_equal(fixture.accepted[0].reason.status, SR_NETWORK);
    close_pair(&fixture, &side);
}

static void the_owner_may_close_from_within_on_data(void **state)
{
    (void)state;
    struct fixture fixture;
    struct side side = {0};
    fixture_open(&fixture, NULL, false);
    fixture.accept_echo = true;
    open_pair(&fixture, &side);
    fixture.accepted[0].closes_on_data = true;
    uint8_t *data = make_pattern(200000);
    sr_stream_write(side.stream, data, 200000);
    sr_free(data);
    sr_stream_flush(side.stream);
    fixture_run(&fixture, both_are_closed, &side);
    assert_int_equal(fixture.accepted[0].pieces, 1);
    assert_int_equal(fixture.accepted[0].reason.status, SR_OK);
    /* What was echoed before the close arrived whole. */
    check_pattern(&side.received, fixture.accepted[0].received.size);
    assert_int_equal(side.reason.status, SR_OK);
    close_pair(&fixture, &side);
}

/* Both speak and hang up at once: each gets the other's last words. */
static void crossing_closes_are_clean(void **state)
{
    (void)state;
    struct fixture fixture;
    struct side side = {0};
    fixture_open(&fixture, NULL, false);
    open_pair(&fixture, &side);
    sr_stream_close(side.stream, false);
    sr_stream_close(fixture.accepted[0].stream, false);
    fixture_run(&fixture, both_are_closed, &side);
    assert_int_equal(side.reason.status, SR_OK);
    assert_int_equal(fixture.accepted[0].reason.status, SR_OK);
    close_pair(&fixture, &side);
}

static void several_streams_share_a_loop(void **state)
{
    (void)state;
    struct fixture fixture;
    struct side sides[SIDES_MAX] = {0};
    fixture_open(&fixture, "strongroom-test", false);
    fixture.accept_echo = true;
    struct sr_tls *tls = fixture_client_tls("client", "ca", "strongroom-test");
    uint8_t *data = make_pattern(300000);
    for (size_t i = 0; i < SIDES_MAX; i++) {
        side_connect(&fixture, &sides[i], tls, "localhost");
        sr_stream_write(sides[i].stream, data, 300000); /* gathers before it is open */
    }
    sr_tls_free(tls);
    sr_free(data);
    for (size_t i = 0; i < SIDES_MAX; i++) {
        fixture_run(&fixture, side_is_open, &sides[i]);
        sr_stream_flush(sides[i].stream);
    }
    for (size_t i = 0; i < SIDES_MAX; i++) {
        struct goal goal = {&sides[i], 300000};
        fixture_run(&fixture, has_received, &goal);
        check_pattern(&sides[i].received, 300000);
        sr_stream_close(sides[i].stream, false);
        fixture_run(&fixture, side_is_closed, &sides[i]);
        sr_buf_close(&sides[i].received);
    }
    fixture_close(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(identities_are_known),
        cmocka_unit_test(megabytes_come_back_in_order),
        cmocka_unit_test(small_messages_travel_together),
        cmocka_unit_test(a_paused_reader_holds_the_writer_back),
        cmocka_unit_test(a_pause_within_a_read_loses_nothing),
        cmocka_unit_test(a_stream_accepted_paused_opens_but_stays_silent),
        cmocka_unit_test(a_graceful_close_delivers_what_was_queued),
        cmocka_unit_test(an_abrupt_close_is_a_network_failure_for_the_other),
        cmocka_unit_test(an_abort_while_writing_drops_the_rest),
        cmocka_unit_test(the_owner_may_close_from_within_on_data),
        cmocka_unit_test(crossing_closes_are_clean),
        cmocka_unit_test(several_streams_share_a_loop),
    };
    return cmocka_run_group_tests(tests, fixture_make_pki, fixture_remove_pki);
}
