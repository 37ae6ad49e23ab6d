/* SPDX-License-Identifier: Apache-2.0
 *
 * The connection that we open to a member, and send on. Nothing but the answer to our hello and
 * pongs comes back on it.
 */
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "node/net/address.h"
#include "node/peer/peers_internal.h"

static uint64_t draw(void)
{
    uint64_t number = 0;
    sr_check(getrandom(&number, sizeof(number), 0) == (ssize_t)sizeof(number));
    return number;
}

/* Log once a reason, not once an attempt. */
static void report(struct outgoing *outgoing, const struct sr_err *reason)
{
    char text[REASON_MAX];
    link_copy_printable(text, sizeof(text),
                        reason->status == SR_OK ? "the member closed the link" : reason->text);
    if (reason->status == SR_REFUSED) {
        sr_count(&outgoing->member->metrics.refused_links, 1);
    }
    if (strcmp(text, outgoing->reported) == 0) {
        return;
    }
    memcpy(outgoing->reported, text, sizeof(text));
    sr_log(SR_LOG_WARN, "peer", reason->status == SR_REFUSED ? "link refused" : "no link",
           "member=%s direction=out reason=\"%s\"", outgoing->member->name, text);
}

static void on_timer(uv_timer_t *timer);

static void wait_before_next(struct outgoing *outgoing)
{
    /* Between half and all of the back-off: members that lost the same peer do not march in step.
     */
    uint64_t delay_ms = outgoing->backoff_ms / 2 + draw() % (outgoing->backoff_ms / 2 + 1);
    outgoing->backoff_ms *= 2;
    if (outgoing->backoff_ms > BACKOFF_MAX_MS) {
        outgoing->backoff_ms = BACKOFF_MAX_MS;
    }
    outgoing->state = OUTGOING_WAITING;
    uv_timer_start(&outgoing->timer, on_timer, delay_ms, 0);
}

static void failed(struct outgoing *outgoing, const struct sr_err *reason)
{
    report(outgoing, reason);
    wait_before_next(outgoing);
}

/* End the connection for a reason that the stream does not know. */
static void drop(struct outgoing *outgoing, const struct sr_err *reason)
{
    bool was_up = outgoing->state == OUTGOING_UP;
    outgoing->state = OUTGOING_ENDING;
    outgoing->problem = *reason;
    uv_timer_stop(&outgoing->timer);
    sr_stream_close(outgoing->stream, true);
    if (was_up) {
        sr_gauge_set(&outgoing->member->metrics.up, 0);
        outgoing->peers->events.on_link(outgoing->peers->arg, outgoing->member->id, false);
    }
}

static void on_open(void *arg, struct sr_stream *stream)
{
    struct outgoing *outgoing = arg;
    outgoing->state = OUTGOING_GREETING;
    outgoing->session = draw();
    uv_timer_start(&outgoing->timer, on_timer, GREET_TIMEOUT_MS, 0);
    link_send_hello(outgoing->peers, stream, outgoing->member->id, outgoing->session);
}

static void send_ping(struct outgoing *outgoing, uint64_t now_ns)
{
    Strongroom__Ping ping = STRONGROOM__PING__INIT;
    ping.sent_ns = now_ns;
    Strongroom__Envelope envelope = STRONGROOM__ENVELOPE__INIT;
    envelope.message_case = STRONGROOM__ENVELOPE__MESSAGE_PING;
    envelope.ping = &ping;
    struct sr_buf *out = sr_stream_gather(outgoing->stream);
    if (out == NULL) {
        return;
    }
    sr_frame_append(out, &envelope, NULL, 0);
    sr_stream_flush(outgoing->stream);
    outgoing->ping_ns = now_ns;
    outgoing->sent_bytes_at_ping = sr_stream_sent(outgoing->stream);
    outgoing->has_backlog_at_ping = sr_stream_pending(outgoing->stream) > 0;
    outgoing->pings_unanswered++;
}

/* TLS has proved that it is @outgoing's member who says so; that it means us is in its answer. */
static bool is_told_removed(const struct outgoing *outgoing, const Strongroom__Hello *hello)
{
    return hello->refusal_code == STRONGROOM__HELLO__REFUSAL__REMOVED &&
           hello->cluster_id == outgoing->peers->cluster_id &&
           hello->member_id == outgoing->member->id && hello->target_id == outgoing->peers->self &&
           hello->session == outgoing->session;
}

static bool take_answer(struct outgoing *outgoing, const Strongroom__Hello *hello,
                        struct sr_err *err)
{
    if (hello->refusal[0] != '\0') {
        sr_err_set(err, SR_REFUSED, "the member says: %.200s", hello->refusal);
        return false;
    }
    struct refusal refusal;
    struct member *member = link_check_hello(outgoing->peers, hello, outgoing->stream, &refusal);
    if (member == NULL) {
        sr_err_set(err, SR_REFUSED, "%s", refusal.text);
        return false;
    }
    if (member != outgoing->member || hello->session != outgoing->session) {
        sr_err_set(err, SR_REFUSED, "the answer is of another member or to another hello");
        return false;
    }
    return true;
}

static void come_up(struct outgoing *outgoing, const Strongroom__Hello *hello)
{
    outgoing->state = OUTGOING_UP;
    outgoing->input.frame_bytes_max = HELLO_FRAME_BYTES_MAX; /* pongs are small too */
    outgoing->up_since_ns = sr_clock_monotonic_ns();
    outgoing->pings_unanswered = 0;
    uv_timer_stop(&outgoing->timer);
    sr_gauge_set(&outgoing->member->metrics.up, 1);
    link_note_hello(outgoing->member, hello);
    sr_log(SR_LOG_INFO, "peer", "link up", "member=%s direction=out address=%s features=%u",
           outgoing->member->name, sr_stream_peer_address(outgoing->stream), hello->feature_level);
    outgoing->peers->events.on_link(outgoing->peers->arg, outgoing->member->id, true);
    if (outgoing->state == OUTGOING_UP) {
        send_ping(outgoing, sr_clock_monotonic_ns());
    }
}

static void take_pong(struct outgoing *outgoing, const Strongroom__Pong *pong)
{
    if (pong->sent_ns < outgoing->up_since_ns || pong->sent_ns > outgoing->ping_ns) {
        return; /* not of this connection: it tells nothing */
    }
    sr_histogram_observe(&outgoing->member->metrics.round_trip,
                         sr_clock_monotonic_ns() - pong->sent_ns);
    outgoing->pings_unanswered = 0;
    /* Only now is the link proved; one that comes up and falls at once keeps its back-off. */
    outgoing->backoff_ms = BACKOFF_MIN_MS;
    outgoing->reported[0] = '\0';
}

static bool on_frame(void *arg, const struct sr_frame *frame)
{
    struct outgoing *outgoing = arg;
    Strongroom__Envelope__MessageCase kind = frame->envelope->message_case;
    struct sr_err err = {0};
    if (outgoing->state == OUTGOING_GREETING && kind == STRONGROOM__ENVELOPE__MESSAGE_HELLO) {
        if (take_answer(outgoing, frame->envelope->hello, &err)) {
            come_up(outgoing, frame->envelope->hello);
        } else {
            bool is_removed = is_told_removed(outgoing, frame->envelope->hello);
            struct sr_peers *peers = outgoing->peers;
            drop(outgoing, &err);
            if (is_removed && peers->events.on_removed != NULL) {
                peers->events.on_removed(peers->arg, outgoing->member->id);
            }
        }
    } else if (outgoing->state == OUTGOING_UP && kind == STRONGROOM__ENVELOPE__MESSAGE_PONG) {
        take_pong(outgoing, frame->envelope->pong);
    } else {
        sr_err_set(&err, SR_INVALID, "a message of kind %d where none is expected", (int)kind);
        drop(outgoing, &err);
    }
    return outgoing->state == OUTGOING_GREETING || outgoing->state == OUTGOING_UP;
}

static void on_data(void *arg, struct sr_stream *stream, const uint8_t *data, size_t size)
{
    struct outgoing *outgoing = arg;
    (void)stream;
    if (outgoing->state == OUTGOING_ENDING) {
        return;
    }
    struct sr_err err = {0};
    int status =
        link_input_feed(&outgoing->input, (struct sr_bytes){data, size}, on_frame, outgoing, &err);
    if (status != SR_OK && outgoing->state != OUTGOING_ENDING) {
        sr_err_prefix(&err, "malformed frame");
        drop(outgoing, &err);
    }
}

static void on_close(void *arg, struct sr_stream *stream, const struct sr_err *reason)
{
    struct outgoing *outgoing = arg;
    struct sr_peers *peers = outgoing->peers;
    (void)stream;
    bool was_up = outgoing->state == OUTGOING_UP;
    struct sr_err why = outgoing->problem.status == SR_OK ? *reason : outgoing->problem;
    outgoing->problem = (struct sr_err){0};
    outgoing->stream = NULL;
    link_input_close(&outgoing->input);
    if (!peers->is_closing && !outgoing->member->is_leaving) {
        uv_timer_stop(&outgoing->timer);
        failed(outgoing, &why);
        if (was_up) {
            sr_gauge_set(&outgoing->member->metrics.up, 0);
            peers->events.on_link(peers->arg, outgoing->member->id, false);
        }
    }
    members_unreference(outgoing->member);
}

static const struct sr_stream_events stream_events = {
    .on_open = on_open, .on_data = on_data, .on_close = on_close};

static void connect_to(struct outgoing *outgoing, const struct sockaddr *address)
{
    struct sr_err err = {0};
    struct sr_peers *peers = outgoing->peers;
    struct sr_stream_target target = {address, outgoing->member->name};
    outgoing->stream = sr_stream_connect(peers->loop, &target, peers->client_tls,
                                         CONNECT_TIMEOUT_MS, &stream_events, outgoing, &err);
    if (outgoing->stream == NULL) {
        failed(outgoing, &err);
        return;
    }
    outgoing->state = OUTGOING_CONNECTING;
    outgoing->member->references++;
    link_input_init(&outgoing->input);
}

/* A name may have several addresses: each attempt takes the next one. */
static const struct sockaddr *choose(const struct addrinfo *found, unsigned attempt)
{
    unsigned count = 0;
    for (const struct addrinfo *at = found; at != NULL; at = at->ai_next) {
        count++;
    }
    sr_check(count > 0);
    for (unsigned skip = attempt % count; skip > 0; skip--) {
        found = found->ai_next;
    }
    return found->ai_addr;
}

static void on_resolved(uv_getaddrinfo_t *lookup, int status, struct addrinfo *found)
{
    struct outgoing *outgoing = lookup->data;
    struct sr_peers *peers = outgoing->peers;
    bool is_wanted = !peers->is_closing && !outgoing->member->is_leaving;
    if (is_wanted && outgoing->is_moved) {
        wait_before_next(outgoing);
    } else if (is_wanted && status == 0) {
        connect_to(outgoing, choose(found, outgoing->attempts));
    } else if (is_wanted) {
        struct sr_err err;
        sr_err_set(&err, SR_NETWORK, "look up %.255s: %s", outgoing->member->address,
                   uv_strerror(status));
        failed(outgoing, &err);
    }
    uv_freeaddrinfo(found);
    members_unreference(outgoing->member);
}

static void look_up(struct outgoing *outgoing)
{
    char host[SR_HOST_TEXT_MAX];
    char port[6];
    sr_check(sr_address_split(outgoing->member->address, host, port, NULL) == SR_OK);
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    hints.ai_flags = AI_NUMERICSERV;
    outgoing->state = OUTGOING_RESOLVING;
    outgoing->is_moved = false;
    int failure =
        uv_getaddrinfo(outgoing->peers->loop, &outgoing->lookup, on_resolved, host, port, &hints);
    if (failure != 0) {
        struct sr_err err;
        sr_err_set(&err, SR_NETWORK, "look up %s: %s", host, uv_strerror(failure));
        failed(outgoing, &err);
        return;
    }
    outgoing->member->references++;
}

void outgoing_start(struct outgoing *outgoing)
{
    struct sockaddr_storage address;
    outgoing->attempts++;
    if (sr_address_numeric(outgoing->member->address, &address, NULL) == SR_OK) {
        connect_to(outgoing, (struct sockaddr *)&address);
    } else {
        look_up(outgoing);
    }
}

static void on_timer(uv_timer_t *timer)
{
    struct outgoing *outgoing = timer->data;
    if (outgoing->state == OUTGOING_WAITING) {
        outgoing_start(outgoing);
        return;
    }
    struct sr_err err;
    sr_err_set(&err, SR_TIMEOUT, "no answer to the hello in time");
    drop(outgoing, &err);
}

void outgoing_hurry(struct outgoing *outgoing)
{
    if (outgoing->state == OUTGOING_WAITING && !outgoing->peers->is_closing) {
        uv_timer_stop(&outgoing->timer);
        outgoing_start(outgoing);
    }
}

void outgoing_tick(struct outgoing *outgoing, uint64_t now_ns)
{
    if (outgoing->state != OUTGOING_UP) {
        return;
    }
    /* A slow line with much to carry answers late. Without a backlog the kernel's buffer may take
     * bytes for long after the other side is gone: that proves nothing. */
    bool is_moving = outgoing->has_backlog_at_ping &&
                     sr_stream_sent(outgoing->stream) != outgoing->sent_bytes_at_ping;
    if (outgoing->pings_unanswered >= PINGS_UNANSWERED_MAX && !is_moving) {
        struct sr_err err;
        sr_err_set(&err, SR_TIMEOUT, "no answer to %u pings", outgoing->pings_unanswered);
        drop(outgoing, &err);
        return;
    }
    send_ping(outgoing, now_ns);
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct outgoing *outgoing = handle->data;
    members_unreference(outgoing->member);
}

void outgoing_init(struct outgoing *outgoing, struct sr_peers *peers, struct member *member)
{
    outgoing->peers = peers;
    outgoing->member = member;
    outgoing->backoff_ms = BACKOFF_MIN_MS;
    sr_check(uv_timer_init(peers->loop, &outgoing->timer) == 0);
    outgoing->timer.data = outgoing;
    outgoing->lookup.data = outgoing;
    member->references++;
}

void outgoing_move(struct outgoing *outgoing)
{
    outgoing->backoff_ms = BACKOFF_MIN_MS;
    if (outgoing->state == OUTGOING_WAITING) {
        outgoing_hurry(outgoing);
    } else if (outgoing->state == OUTGOING_RESOLVING) {
        outgoing->is_moved = true;
    } else if (outgoing->state != OUTGOING_ENDING) {
        struct sr_err err;
        sr_err_set(&err, SR_NETWORK, "the member's address is another now");
        drop(outgoing, &err);
    }
}

void outgoing_close(struct outgoing *outgoing, bool abort)
{
    if (!uv_is_closing((uv_handle_t *)&outgoing->timer)) {
        uv_close((uv_handle_t *)&outgoing->timer, on_timer_closed);
    }
    if (outgoing->state == OUTGOING_RESOLVING) {
        uv_cancel((uv_req_t *)&outgoing->lookup); /* calls back either way */
    }
    if (outgoing->stream != NULL) {
        outgoing->state = OUTGOING_ENDING;
        sr_gauge_set(&outgoing->member->metrics.up, 0);
        sr_stream_close(outgoing->stream, abort);
    }
}
