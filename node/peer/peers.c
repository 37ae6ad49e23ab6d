/* SPDX-License-Identifier: Apache-2.0
 *
 * All links of a member together: opening and closing them, finding them by id, and the tick that
 * sends pings and looks for silence.
 */
#include "node/peer/peers.h"

#include <string.h>
#include <strings.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/clock.h"
#include "node/net/address.h"
#include "node/peer/peers_internal.h"
#include "proto/level.h"

static int check_member(const struct sr_peers_options *options, size_t index, struct sr_err *err)
{
    const struct sr_peer_member *member = &options->members[index];
    char host[SR_HOST_TEXT_MAX];
    char port[6];
    if (member->id == 0 || member->name[0] == '\0' || member->name[0] == '.' ||
        strlen(member->name) >= SR_HOST_TEXT_MAX) {
        return sr_err_set(err, SR_INVALID, "member %zu: needs an id and a DNS name", index);
    }
    for (size_t i = 0; i < index; i++) {
        if (options->members[i].id == member->id ||
            strcasecmp(options->members[i].name, member->name) == 0) {
            return sr_err_set(err, SR_INVALID, "member %s: id and name must be its own",
                              member->name);
        }
    }
    if (sr_address_split(member->address, host, port, err) != SR_OK) {
        return sr_err_prefix(err, "member %s", member->name);
    }
    return SR_OK;
}

static int check_options(const struct sr_peers_options *options, struct sr_err *err)
{
    bool has_self = false;
    if (options->member_count > SR_MEMBERS_MAX) {
        return sr_err_set(err, SR_INVALID, "%zu members, at most %d are allowed",
                          options->member_count, SR_MEMBERS_MAX);
    }
    for (size_t i = 0; i < options->member_count; i++) {
        int status = check_member(options, i, err);
        if (status != SR_OK) {
            return status;
        }
        has_self = has_self || options->members[i].id == options->self;
    }
    return has_self ? SR_OK : sr_err_set(err, SR_INVALID, "this node is not one of the members");
}

static struct sr_peers *peers_new(const struct sr_peers_options *options)
{
    struct sr_peers *peers = sr_zalloc(sizeof(*peers));
    peers->loop = options->loop;
    peers->cluster_id = options->cluster_id;
    peers->self = options->self;
    peers->feature_level = options->feature_level;
    peers->incarnation = options->incarnation;
    peers->events = options->events;
    peers->arg = options->arg;
    peers->metrics_mutex = sr_alloc(sizeof(*peers->metrics_mutex));
    sr_check(pthread_mutex_init(peers->metrics_mutex, NULL) == 0);
    return peers;
}

static void peers_free(struct sr_peers *peers)
{
    sr_check(peers->members == NULL && peers->incoming == NULL);
    sr_tls_free(peers->server_tls);
    sr_tls_free(peers->client_tls);
    pthread_mutex_destroy(peers->metrics_mutex);
    sr_free(peers->metrics_mutex);
    sr_free(peers->removed);
    sr_free(peers);
}

static void on_tick(uv_timer_t *timer)
{
    struct sr_peers *peers = timer->data;
    uint64_t now_ns = sr_clock_monotonic_ns();
    for (struct member *at = peers->members; at != NULL; at = at->next) {
        outgoing_tick(&at->outgoing, now_ns);
    }
    for (struct incoming *at = peers->incoming; at != NULL; at = at->next) {
        incoming_tick(at, now_ns);
    }
    bulk_reap(peers, false);
}

static int open_network(struct sr_peers *peers, const struct sr_peers_options *options,
                        struct sr_err *err)
{
    int status = sr_tls_server_new(options->tls, SR_PEER_ALPN, false, &peers->server_tls, err);
    if (status != SR_OK) {
        return status;
    }
    status = sr_tls_client_new(options->tls, SR_PEER_ALPN, &peers->client_tls, err);
    if (status != SR_OK) {
        return status;
    }
    struct sr_listener_options listen = {.loop = options->loop,
                                         .address = options->listen,
                                         .on_accept = incoming_accept,
                                         .arg = peers};
    return sr_listener_open(&listen, &peers->listener, err);
}

int sr_peers_open(const struct sr_peers_options *options, struct sr_peers **ret, struct sr_err *err)
{
    int status = check_options(options, err);
    if (status != SR_OK) {
        return status;
    }
    struct sr_peers *peers = peers_new(options);
    status = open_network(peers, options, err);
    if (status != SR_OK) {
        peers_free(peers);
        return status;
    }
    peers->references = 1; /* the listener */
    sr_check(uv_timer_init(peers->loop, &peers->tick) == 0);
    peers->tick.data = peers;
    sr_check(uv_timer_start(&peers->tick, on_tick, PING_INTERVAL_MS, PING_INTERVAL_MS) == 0);
    sr_peers_set_members(peers, options->members, options->member_count, options->removed);
    *ret = peers;
    return SR_OK;
}

static void close_links(struct sr_peers *peers, bool abort)
{
    for (struct member *at = peers->members; at != NULL; at = at->next) {
        outgoing_close(&at->outgoing, abort);
    }
    for (struct incoming *at = peers->incoming; at != NULL; at = at->next) {
        incoming_close(at, abort);
    }
}

static void on_farewell_over(uv_timer_t *timer)
{
    close_links(timer->data, true);
}

static void on_tick_closed(uv_handle_t *handle)
{
    struct sr_peers *peers = handle->data;
    bulk_reap(peers, true);
    void (*done)(void *arg) = peers->done;
    void *arg = peers->done_arg;
    peers_free(peers);
    done(arg);
}

void peers_unreference(struct sr_peers *peers)
{
    sr_check(peers->references > 0);
    peers->references--;
    if (peers->references == 0) {
        sr_check(peers->is_closing);
        uv_close((uv_handle_t *)&peers->tick, on_tick_closed);
    }
}

static void on_listener_closed(void *arg)
{
    peers_unreference(arg);
}

void sr_peers_close(struct sr_peers *peers, void (*done)(void *arg), void *arg)
{
    sr_check(!peers->is_closing);
    peers->is_closing = true;
    atomic_store(&peers->is_bulk_stopped, true);
    peers->done = done;
    peers->done_arg = arg;
    sr_listener_close(peers->listener, on_listener_closed, peers);
    close_links(peers, false);
    uv_timer_start(&peers->tick, on_farewell_over, FAREWELL_MS, 0);
}

/* What came with a later feature level, a member of an earlier one would take for damage. */
static bool is_known_to(const struct member *to, const Strongroom__Envelope *envelope)
{
    switch (envelope->message_case) {
    case STRONGROOM__ENVELOPE__MESSAGE_MEMBERS:
    case STRONGROOM__ENVELOPE__MESSAGE_PROGRESS:
    case STRONGROOM__ENVELOPE__MESSAGE_IMAGE_NEEDED:
    case STRONGROOM__ENVELOPE__MESSAGE_HASH_REPORT:
        return sr_gauge_read(&to->metrics.feature_level) >= SR_FEATURE_LEVEL_CLUSTER;
    default:
        return true;
    }
}

bool sr_peers_send(struct sr_peers *peers, uint64_t member, const Strongroom__Envelope *envelope,
                   const struct sr_bytes *payload, size_t payload_count)
{
    struct member *to = members_find(peers, member);
    if (to == NULL || !is_known_to(to, envelope)) {
        return false;
    }
    struct outgoing *outgoing = &to->outgoing;
    struct sr_buf *out = NULL;
    if (outgoing->state == OUTGOING_UP &&
        sr_stream_pending(outgoing->stream) < SR_PEER_WRITE_BYTES_MAX) {
        out = sr_stream_gather(outgoing->stream);
    }
    if (out == NULL) {
        sr_count(&to->metrics.dropped_messages, 1);
        return false;
    }
    size_t before = out->size;
    sr_frame_append(out, envelope, payload, payload_count);
    sr_count(&to->metrics.sent_bytes, out->size - before);
    return true;
}

void sr_peers_flush(struct sr_peers *peers)
{
    for (struct member *at = peers->members; at != NULL; at = at->next) {
        if (at->outgoing.state == OUTGOING_UP) {
            sr_stream_flush(at->outgoing.stream);
        }
    }
}

bool sr_peers_is_up(const struct sr_peers *peers, uint64_t member)
{
    const struct member *to = members_find(peers, member);
    return to != NULL && to->outgoing.state == OUTGOING_UP;
}

size_t sr_peers_metrics(const struct sr_peers *peers,
                        const struct sr_peer_metrics *ret[SR_MEMBERS_MAX])
{
    size_t count = 0;
    pthread_mutex_lock(peers->metrics_mutex);
    for (const struct member *at = peers->members; at != NULL; at = at->next) {
        if (!at->is_leaving) {
            sr_check(count < SR_MEMBERS_MAX);
            ret[count++] = &at->metrics;
        }
    }
    return count;
}

void sr_peers_metrics_done(const struct sr_peers *peers)
{
    pthread_mutex_unlock(peers->metrics_mutex);
}
