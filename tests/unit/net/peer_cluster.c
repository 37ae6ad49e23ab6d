/* SPDX-License-Identifier: Apache-2.0 */
#include "peer_cluster.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/alloc.h"
#include "node/net/address.h"
#include "stream_pair.h"

#define PATIENCE_MS 120000

int cluster_make_pki(void **state)
{
    return fixture_make_pki(state);
}

int cluster_remove_pki(void **state)
{
    return fixture_remove_pki(state);
}

void cluster_init(struct cluster *cluster)
{
    static const char *const names[MEMBERS] = {"node-1", "node-2", "node-3"};
    uint8_t net[2];
    memset(cluster, 0, sizeof(*cluster));
    assert_int_equal(uv_loop_init(&cluster->loop), 0);
    assert_int_equal(getrandom(net, sizeof(net), 0), sizeof(net));
    for (size_t i = 0; i < MEMBERS; i++) {
        /* A network of our own: tests that run beside this one cannot meet it. */
        snprintf(cluster->addresses[i], sizeof(cluster->addresses[i]), "127.%d.%d.%zu:7380",
                 net[0] % 200 + 20, net[1], i + 1);
        cluster->members[i] = (struct sr_peer_member){
            .id = ID_OF(i), .name = names[i], .address = cluster->addresses[i]};
    }
    for (size_t i = 0; i < MEMBERS; i++) {
        cluster->levels[i] = 2;
    }
}

static struct node *node_of(void *arg)
{
    return arg;
}

static void on_frame(void *arg, uint64_t member, const struct sr_frame *frame)
{
    struct node *node = node_of(arg);
    size_t from = member - ID_OF(0);
    assert_true(from < MEMBERS);
    node->frames[from]++;
    if (frame->envelope->message_case == STRONGROOM__ENVELOPE__MESSAGE_PROGRESS) {
        return; /* that it comes at all is what its test is about */
    }
    assert_int_equal(frame->envelope->message_case, STRONGROOM__ENVELOPE__MESSAGE_APPEND_ENTRIES);
    uint64_t term = frame->envelope->append_entries->term;
    node->is_order_broken = node->is_order_broken || term < node->last_term[from];
    node->last_term[from] = term;
    sr_buf_clear(&node->last_payload);
    sr_buf_append(&node->last_payload, frame->payload.data, frame->payload.size);
}

static void on_link(void *arg, uint64_t member, bool up)
{
    struct node *node = node_of(arg);
    size_t to = member - ID_OF(0);
    assert_true(to < MEMBERS);
    if (node->peers != NULL) { /* NULL while sr_peers_open has not returned */
        assert_int_equal(sr_peers_is_up(node->peers, member), up);
    }
    if (up) {
        node->ups[to]++;
    } else {
        node->downs[to]++;
        assert_true(node->downs[to] <= node->ups[to]);
    }
}

static void on_removed(void *arg, uint64_t member)
{
    node_of(arg)->removed_by = member;
}

void cluster_open_node(struct cluster *cluster, size_t index, const char *stem, uint64_t cluster_id)
{
    struct sr_tls_files files = {fixture_path(stem, "crt"), fixture_path(stem, "key"),
                                 fixture_path("ca", "crt")};
    struct sr_peers_options options = {
        .loop = &cluster->loop,
        .cluster_id = cluster_id,
        .self = ID_OF(index),
        .members = cluster->members,
        .member_count = MEMBERS,
        .listen = cluster->addresses[index],
        .tls = &files,
        .feature_level = cluster->levels[index],
        .events = {.on_frame = on_frame, .on_link = on_link, .on_removed = on_removed},
        .arg = &cluster->nodes[index]};
    struct sr_err err = {0};
    cluster->nodes[index].is_done = false;
    int status = sr_peers_open(&options, &cluster->nodes[index].peers, &err);
    assert_string_equal(err.text, "");
    assert_int_equal(status, SR_OK);
}

void cluster_open(struct cluster *cluster)
{
    cluster_init(cluster);
    for (size_t i = 0; i < MEMBERS; i++) {
        cluster_open_node(cluster, i, cluster->members[i].name, CLUSTER_ID);
    }
}

static void on_done(void *arg)
{
    node_of(arg)->is_done = true;
    node_of(arg)->peers = NULL;
}

static bool is_done(void *arg)
{
    return node_of(arg)->is_done;
}

void cluster_close_node(struct cluster *cluster, size_t index)
{
    struct node *node = &cluster->nodes[index];
    sr_peers_close(node->peers, on_done, node);
    cluster_run(cluster, is_done, node);
}

void cluster_close(struct cluster *cluster)
{
    for (size_t i = 0; i < MEMBERS; i++) {
        if (cluster->nodes[i].peers != NULL) {
            sr_peers_close(cluster->nodes[i].peers, on_done, &cluster->nodes[i]);
        }
    }
    uv_run(&cluster->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&cluster->loop), 0);
    for (size_t i = 0; i < MEMBERS; i++) {
        assert_null(cluster->nodes[i].peers);
        sr_buf_close(&cluster->nodes[i].last_payload);
    }
}

static void on_impatience(uv_timer_t *timer)
{
    (void)timer;
    fail_msg("waited too long");
}

void cluster_run(struct cluster *cluster, bool (*condition)(void *arg), void *arg)
{
    uv_timer_t impatience;
    uv_timer_init(&cluster->loop, &impatience);
    uv_timer_start(&impatience, on_impatience, PATIENCE_MS, 0);
    while (!condition(arg)) {
        uv_run(&cluster->loop, UV_RUN_ONCE);
        for (size_t i = 0; i < MEMBERS; i++) {
            if (cluster->nodes[i].peers != NULL) {
                sr_peers_flush(cluster->nodes[i].peers);
            }
        }
    }
    uv_close((uv_handle_t *)&impatience, NULL);
    uv_run(&cluster->loop, UV_RUN_NOWAIT);
}

bool all_up(void *arg)
{
    struct cluster *cluster = arg;
    for (size_t i = 0; i < MEMBERS; i++) {
        for (size_t j = 0; j < MEMBERS; j++) {
            if (i != j && !sr_peers_is_up(cluster->nodes[i].peers, ID_OF(j))) {
                return false;
            }
        }
    }
    return true;
}

static void with_append(uint64_t term, size_t payload_size,
                        void (*use)(void *arg, const Strongroom__Envelope *envelope), void *arg)
{
    Strongroom__Entry entry = STRONGROOM__ENTRY__INIT;
    Strongroom__Entry *entries[1] = {&entry};
    entry.length = (uint32_t)payload_size;
    Strongroom__AppendEntries append = STRONGROOM__APPEND_ENTRIES__INIT;
    append.term = term;
    append.n_entries = 1;
    append.entries = entries;
    Strongroom__Envelope envelope = STRONGROOM__ENVELOPE__INIT;
    envelope.message_case = STRONGROOM__ENVELOPE__MESSAGE_APPEND_ENTRIES;
    envelope.append_entries = &append;
    use(arg, &envelope);
}

struct sending {
    struct sr_peers *peers;
    uint64_t to;
    struct sr_bytes payload;
    bool is_taken;
};

static void send_append(void *arg, const Strongroom__Envelope *envelope)
{
    struct sending *sending = arg;
    sending->is_taken = sr_peers_send(sending->peers, sending->to, envelope, &sending->payload, 1);
}

bool cluster_send(struct cluster *cluster, size_t from, size_t to, uint64_t term,
                  const char *payload)
{
    struct sending sending = {
        .peers = cluster->nodes[from].peers, .to = ID_OF(to), .payload = sr_bytes_of(payload)};
    with_append(term, sending.payload.size, send_append, &sending);
    return sending.is_taken;
}

struct sr_tls *cluster_tls(const char *stem, bool server)
{
    struct sr_tls_files files = {fixture_path(stem, "crt"), fixture_path(stem, "key"),
                                 fixture_path("ca", "crt")};
    struct sr_tls *tls = NULL;
    int status = server ? sr_tls_server_new(&files, "strongroom-peer", false, &tls, NULL)
                        : sr_tls_client_new(&files, "strongroom-peer", &tls, NULL);
    assert_int_equal(status, SR_OK);
    return tls;
}

const struct sr_peer_metrics *cluster_metrics(struct cluster *cluster, size_t of, size_t about)
{
    static const struct sr_peer_metrics none; /* there is no link to ourselves */
    const struct sr_peer_metrics *metrics[SR_MEMBERS_MAX];
    const struct sr_peer_metrics *found = &none;
    size_t count = sr_peers_metrics(cluster->nodes[of].peers, metrics);
    for (size_t i = 0; i < count; i++) {
        found = metrics[i]->member == ID_OF(about) ? metrics[i] : found;
    }
    sr_peers_metrics_done(cluster->nodes[of].peers); /* tests have one thread */
    assert_true((found == &none) == (of == about));
    return found;
}

/* ---- puppets ---- */

static void puppet_answer(struct puppet *puppet, const Strongroom__Hello *asked)
{
    Strongroom__Hello hello;
    strongroom__hello__init(&hello);
    hello.cluster_id = asked->cluster_id;
    hello.member_id = asked->target_id;
    hello.target_id = asked->member_id;
    hello.format = SR_PEER_FORMAT;
    hello.session = asked->session;
    Strongroom__Envelope envelope = STRONGROOM__ENVELOPE__INIT;
    envelope.message_case = STRONGROOM__ENVELOPE__MESSAGE_HELLO;
    envelope.hello = &hello;
    puppet_send(puppet, &envelope);
}

static bool puppet_on_frame(void *arg, const struct sr_frame *frame)
{
    struct puppet *puppet = arg;
    const Strongroom__Envelope *envelope = frame->envelope;
    switch (envelope->message_case) {
    case STRONGROOM__ENVELOPE__MESSAGE_HELLO:
        puppet->hellos++;
        puppet->session = envelope->hello->session;
        puppet->refusal_code = envelope->hello->refusal_code;
        snprintf(puppet->refusal, sizeof(puppet->refusal), "%s", envelope->hello->refusal);
        if (puppet->answers_hello) {
            puppet_answer(puppet, envelope->hello);
        }
        if (puppet->pauses_after_hello) {
            sr_stream_pause(puppet->stream);
        }
        break;
    case STRONGROOM__ENVELOPE__MESSAGE_PONG:
        puppet->pongs++;
        break;
    default:
        puppet->others++;
    }
    return true;
}

static void puppet_on_open(void *arg, struct sr_stream *stream)
{
    struct puppet *puppet = arg;
    (void)stream;
    puppet->is_open = true;
}

static void puppet_on_data(void *arg, struct sr_stream *stream, const uint8_t *data, size_t size)
{
    struct puppet *puppet = arg;
    (void)stream;
    assert_int_equal(link_input_feed(&puppet->input, (struct sr_bytes){data, size}, puppet_on_frame,
                                     puppet, NULL),
                     SR_OK);
}

static void puppet_on_close(void *arg, struct sr_stream *stream, const struct sr_err *reason)
{
    struct puppet *puppet = arg;
    (void)stream;
    puppet->is_closed = true;
    puppet->stream = NULL;
    puppet->reason = *reason;
}

static const struct sr_stream_events puppet_events = {
    .on_open = puppet_on_open, .on_data = puppet_on_data, .on_close = puppet_on_close};

static void puppet_init(struct puppet *puppet, struct cluster *cluster)
{
    puppet->cluster = cluster;
    link_input_init(&puppet->input);
    puppet->input.frame_bytes_max = SR_PEER_FRAME_BYTES_MAX;
}

static bool puppet_is_open(void *arg)
{
    struct puppet *puppet = arg;
    return puppet->is_open || puppet->is_closed;
}

void puppet_connect(struct cluster *cluster, struct puppet *puppet, size_t to, const char *stem)
{
    struct sockaddr_storage address;
    puppet_init(puppet, cluster);
    assert_int_equal(sr_address_numeric(cluster->addresses[to], &address, NULL), SR_OK);
    struct sr_tls *tls = cluster_tls(stem, false);
    struct sr_stream_target target = {(struct sockaddr *)&address, cluster->members[to].name};
    puppet->stream =
        sr_stream_connect(&cluster->loop, &target, tls, PATIENCE_MS, &puppet_events, puppet, NULL);
    sr_tls_free(tls);
    assert_non_null(puppet->stream);
    cluster_run(cluster, puppet_is_open, puppet);
    assert_true(puppet->is_open);
}

static void puppet_on_accept(void *arg, uv_os_sock_t fd)
{
    struct puppet *puppet = arg;
    struct sr_tls *tls = cluster_tls("node-2", true);
    assert_null(puppet->stream);
    puppet->stream = sr_stream_accept(&puppet->cluster->loop, fd, tls, PATIENCE_MS, &puppet_events,
                                      puppet, NULL);
    assert_non_null(puppet->stream);
    sr_tls_free(tls);
}

struct sr_listener *puppet_listen(struct cluster *cluster, struct puppet *puppet, size_t index)
{
    struct sr_listener *listener = NULL;
    struct sr_listener_options options = {.loop = &cluster->loop,
                                          .address = cluster->addresses[index],
                                          .on_accept = puppet_on_accept,
                                          .arg = puppet};
    puppet_init(puppet, cluster);
    assert_int_equal(sr_listener_open(&options, &listener, NULL), SR_OK);
    return listener;
}

void puppet_send(struct puppet *puppet, const Strongroom__Envelope *envelope)
{
    struct sr_buf out = {0};
    sr_frame_append(&out, envelope, NULL, 0);
    puppet_send_raw(puppet, out.data, out.size);
    sr_buf_close(&out);
}

void puppet_send_raw(struct puppet *puppet, const void *data, size_t size)
{
    if (puppet->stream != NULL) {
        sr_stream_write(puppet->stream, data, size);
        sr_stream_flush(puppet->stream);
    }
}

void puppet_send_hello(struct puppet *puppet, size_t from, size_t to)
{
    Strongroom__Hello hello;
    strongroom__hello__init(&hello);
    hello.cluster_id = CLUSTER_ID;
    hello.member_id = ID_OF(from);
    hello.target_id = ID_OF(to);
    hello.format = SR_PEER_FORMAT;
    hello.session = 4711;
    hello.compatible = puppet->compatible;
    hello.incarnation = puppet->incarnation;
    Strongroom__Envelope envelope = STRONGROOM__ENVELOPE__INIT;
    envelope.message_case = STRONGROOM__ENVELOPE__MESSAGE_HELLO;
    envelope.hello = &hello;
    puppet_send(puppet, &envelope);
}

static void send_by_hand(void *arg, const Strongroom__Envelope *envelope)
{
    puppet_send(arg, envelope);
}

void puppet_send_term(struct puppet *puppet, uint64_t term)
{
    with_append(term, 0, send_by_hand, puppet);
}

bool puppet_is_greeted(void *arg)
{
    struct puppet *puppet = arg;
    return puppet->hellos > 0 || puppet->is_closed;
}

bool puppet_is_closed(void *arg)
{
    return ((struct puppet *)arg)->is_closed;
}

void puppet_free(struct puppet *puppet)
{
    if (puppet->stream != NULL) {
        sr_stream_close(puppet->stream, true);
        cluster_run(puppet->cluster, puppet_is_closed, puppet);
    }
    link_input_close(&puppet->input);
}
