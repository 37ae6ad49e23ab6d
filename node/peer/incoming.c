/* SPDX-License-Identifier: Apache-2.0
 *
 * A connection that a member opened to us, and that we receive on. We answer its hello and its
 * pings, nothing else goes out on it.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/log.h"
#include "node/peer/peers_internal.h"

/* Strangers can try as often as they like: not more than one line in this time. */
#define STRANGER_LOG_INTERVAL_NS ((uint64_t)1000 * 1000 * 1000)

static void report_stranger(struct sr_peers *peers, const char *address, const char *reason)
{
    char text[REASON_MAX];
    uint64_t now_ns = sr_clock_monotonic_ns();
    link_copy_printable(text, sizeof(text), reason);
    if (strcmp(text, peers->stranger_reported) == 0 ||
        now_ns - peers->stranger_reported_ns < STRANGER_LOG_INTERVAL_NS) {
        return;
    }
    memcpy(peers->stranger_reported, text, sizeof(text));
    peers->stranger_reported_ns = now_ns;
    sr_log(SR_LOG_WARN, "peer", "link refused", "address=%s direction=in reason=\"%s\"", address,
           text);
}

/* Of one who says it is @member: log once a reason. */
static void report_refusal(struct member *member, const char *address, const char *reason)
{
    sr_count(&member->metrics.refused_links, 1);
    char text[REASON_MAX];
    link_copy_printable(text, sizeof(text), reason);
    if (strcmp(text, member->refused) == 0) {
        return;
    }
    memcpy(member->refused, text, sizeof(text));
    sr_log(SR_LOG_WARN, "peer", "link refused", "member=%s direction=in address=%s reason=\"%s\"",
           member->name, address, text);
}

/* No frame of it is delivered from here on. */
static void detach(struct incoming *incoming)
{
    incoming->is_ending = true;
    if (incoming->member != NULL && incoming->member->current == incoming) {
        incoming->member->current = NULL;
    }
}

void incoming_close(struct incoming *incoming, bool abort)
{
    detach(incoming);
    sr_stream_close(incoming->stream, abort);
}

static void end_with_warning(struct incoming *incoming, const char *reason)
{
    char text[REASON_MAX];
    link_copy_printable(text, sizeof(text), reason);
    if (incoming->member == NULL) {
        report_stranger(incoming->peers, sr_stream_peer_address(incoming->stream), text);
    } else {
        sr_log(SR_LOG_WARN, "peer", "link closed", "member=%s direction=in reason=\"%s\"",
               incoming->member->name, text);
    }
    incoming_close(incoming, true);
}

static void refuse(struct incoming *incoming, const Strongroom__Hello *hello,
                   const struct refusal *refusal)
{
    struct sr_peers *peers = incoming->peers;
    const char *address = sr_stream_peer_address(incoming->stream);
    struct member *claimed = members_find(peers, hello->member_id);
    if (claimed == NULL) {
        report_stranger(peers, address, refusal->text);
    } else {
        report_refusal(claimed, address, refusal->text);
    }
    link_answer_hello(peers, incoming->stream, hello, refusal);
    incoming_close(incoming, false);
}

/* A connection that is for something else than consensus. */
static void greet_bulk(struct incoming *incoming, const Strongroom__Hello *hello)
{
    struct sr_peers *peers = incoming->peers;
    struct refusal refusal;
    bool is_join = hello->purpose == STRONGROOM__HELLO__PURPOSE__JOIN;
    bool is_welcome = is_join ? link_check_format(hello, &refusal)
                              : link_check_hello(peers, hello, incoming->stream, &refusal) != NULL;
    if (is_welcome && (peers->events.on_bulk == NULL ||
                       (!is_join && hello->purpose != STRONGROOM__HELLO__PURPOSE__IMAGE))) {
        is_welcome = false;
        link_refuse(&refusal, STRONGROOM__HELLO__REFUSAL__FORMAT, "purpose %d is not known here",
                    (int)hello->purpose);
    }
    if (is_welcome && bulk_is_busy(peers)) {
        is_welcome = false;
        link_refuse(&refusal, STRONGROOM__HELLO__REFUSAL__BUSY,
                    "%d bulk connections are served already, try later", SR_PEER_BULK_MAX);
    }
    if (!is_welcome) {
        refuse(incoming, hello, &refusal);
    } else if (!incoming->input.has_more && bulk_serve(peers, incoming->stream, hello)) {
        detach(incoming); /* on_close does the rest */
    } else {
        end_with_warning(incoming, "more than a hello before its answer");
    }
}

static void greet(struct incoming *incoming, const Strongroom__Hello *hello)
{
    if (hello->purpose != STRONGROOM__HELLO__PURPOSE__LINK) {
        greet_bulk(incoming, hello);
        return;
    }
    struct sr_peers *peers = incoming->peers;
    struct refusal refusal;
    struct member *member = link_check_hello(peers, hello, incoming->stream, &refusal);
    if (member == NULL) {
        refuse(incoming, hello, &refusal);
        return;
    }
    if (member->current != NULL && member->current->sequence > incoming->sequence) {
        /* A member opens a connection only when it has given up the one before. */
        link_refuse(&refusal, STRONGROOM__HELLO__REFUSAL__SUPERSEDED,
                    "superseded by a newer connection");
        refuse(incoming, hello, &refusal);
        return;
    }
    if (member->current != NULL) {
        incoming_close(member->current, true);
    }
    member->current = incoming;
    incoming->member = member;
    link_note_hello(member, hello);
    member->refused[0] = '\0';
    incoming->input.frame_bytes_max = SR_PEER_FRAME_BYTES_MAX;
    sr_log(SR_LOG_INFO, "peer", "link up", "member=%s direction=in address=%s features=%u",
           member->name, sr_stream_peer_address(incoming->stream), hello->feature_level);
    link_answer_hello(peers, incoming->stream, hello, &refusal);
    outgoing_hurry(&member->outgoing);
}

static void answer_ping(struct incoming *incoming, const Strongroom__Ping *ping)
{
    Strongroom__Pong pong = STRONGROOM__PONG__INIT;
    pong.sent_ns = ping->sent_ns;
    Strongroom__Envelope envelope = STRONGROOM__ENVELOPE__INIT;
    envelope.message_case = STRONGROOM__ENVELOPE__MESSAGE_PONG;
    envelope.pong = &pong;
    /* One that asks and does not read gets no more answers: its pings are bounded by that. */
    struct sr_buf *out = sr_stream_gather(incoming->stream);
    if (out != NULL && sr_stream_pending(incoming->stream) < HELLO_FRAME_BYTES_MAX) {
        sr_frame_append(out, &envelope, NULL, 0);
        sr_stream_flush(incoming->stream);
    }
}

static bool on_frame(void *arg, const struct sr_frame *frame)
{
    struct incoming *incoming = arg;
    struct sr_peers *peers = incoming->peers;
    Strongroom__Envelope__MessageCase kind = frame->envelope->message_case;
    bool is_hello = kind == STRONGROOM__ENVELOPE__MESSAGE_HELLO;
    if (is_hello != (incoming->member == NULL) || kind == STRONGROOM__ENVELOPE__MESSAGE_PONG) {
        end_with_warning(incoming, is_hello ? "a second hello"
                                            : "a message where none of its kind is expected");
    } else if (is_hello) {
        greet(incoming, frame->envelope->hello);
    } else if (kind == STRONGROOM__ENVELOPE__MESSAGE_PING) {
        answer_ping(incoming, frame->envelope->ping);
    } else {
        peers->events.on_frame(peers->arg, incoming->member->id, frame);
    }
    return !incoming->is_ending;
}

static void on_open(void *arg, struct sr_stream *stream)
{
    (void)arg;
    (void)stream; /* the hello is theirs to say */
}

static void on_data(void *arg, struct sr_stream *stream, const uint8_t *data, size_t size)
{
    struct incoming *incoming = arg;
    (void)stream;
    if (incoming->is_ending) {
        return;
    }
    struct sr_err err = {0};
    incoming->heard_ns = sr_clock_monotonic_ns();
    if (incoming->member != NULL) {
        sr_count(&incoming->member->metrics.received_bytes, size);
    }
    int status =
        link_input_feed(&incoming->input, (struct sr_bytes){data, size}, on_frame, incoming, &err);
    if (status != SR_OK && !incoming->is_ending) {
        sr_err_prefix(&err, "malformed frame");
        end_with_warning(incoming, err.text);
    }
}

static void on_close(void *arg, struct sr_stream *stream, const struct sr_err *reason)
{
    struct incoming *incoming = arg;
    struct sr_peers *peers = incoming->peers;
    if (!incoming->is_ending && incoming->member == NULL && reason->status != SR_OK) {
        report_stranger(peers, sr_stream_peer_address(stream), reason->text);
    } else if (!incoming->is_ending && incoming->member != NULL) {
        sr_log(SR_LOG_INFO, "peer", "link closed", "member=%s direction=in reason=\"%s\"",
               incoming->member->name, reason->text);
    }
    detach(incoming);
    struct incoming **at = &peers->incoming;
    while (*at != incoming) {
        at = &(*at)->next;
    }
    *at = incoming->next;
    peers->incoming_count--;
    link_input_close(&incoming->input);
    sr_free(incoming);
    peers_unreference(peers);
}

static const struct sr_stream_events stream_events = {
    .on_open = on_open, .on_data = on_data, .on_close = on_close};

/* The oldest that has not said who it is goes, so that idle strangers cannot keep members out. */
static void make_room(struct sr_peers *peers)
{
    struct incoming *oldest = NULL;
    for (struct incoming *at = peers->incoming; at != NULL; at = at->next) {
        if (at->member == NULL && !at->is_ending) {
            oldest = at;
        }
    }
    if (oldest != NULL) {
        end_with_warning(oldest, "too many connections at once");
    }
}

void incoming_accept(void *arg, uv_os_sock_t fd)
{
    struct sr_peers *peers = arg;
    struct incoming *incoming = sr_zalloc(sizeof(*incoming));
    struct sr_err err = {0};
    incoming->stream = sr_stream_accept(peers->loop, fd, peers->server_tls, SR_HANDSHAKE_TIMEOUT_MS,
                                        &stream_events, incoming, &err);
    if (incoming->stream == NULL) {
        report_stranger(peers, "?", err.text);
        sr_free(incoming);
        return;
    }
    link_input_init(&incoming->input);
    incoming->peers = peers;
    incoming->sequence = ++peers->accepted;
    incoming->heard_ns = sr_clock_monotonic_ns();
    incoming->next = peers->incoming;
    peers->incoming = incoming;
    peers->incoming_count++;
    peers->references++;
    if (peers->incoming_count > INCOMING_MAX) {
        make_room(peers);
    }
}

void incoming_tick(struct incoming *incoming, uint64_t now_ns)
{
    link_input_trim(&incoming->input);
    if (!incoming->is_ending && now_ns - incoming->heard_ns > SILENCE_MAX_NS) {
        end_with_warning(incoming, "silent for too long");
    }
}
