/* SPDX-License-Identifier: Apache-2.0
 *
 * Connections that leave the loop after their hello, and who may have one.
 */
#include "peer_cluster.h"

#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"
#include "node/peer/bulk.h"
#include "stream_pair.h"

#define PIECE_BYTES ((size_t)1024 * 1024)

/* The served side: it sends back what it gets. */
struct server {
    struct cluster cluster;
    struct sr_peers *peers;
    atomic_uint served;
    atomic_uint ended;
    _Atomic uint64_t member;
    atomic_bool has_name;
    bool is_done;
};

static void echo(void *arg, struct sr_bulk *bulk, Strongroom__Hello__Purpose purpose,
                 uint64_t member)
{
    struct server *server = arg;
    struct sr_err err = {0};
    struct sr_frame frame;
    atomic_store(&server->member, member);
    atomic_store(&server->has_name, sr_bulk_has_dns_name(bulk, "node-2"));
    assert_true(member == 0 || purpose == STRONGROOM__HELLO__PURPOSE__IMAGE);
    atomic_fetch_add(&server->served, 1);
    while (sr_bulk_receive(bulk, &frame, &err) == SR_OK &&
           sr_bulk_send(bulk, frame.envelope, frame.payload, &err) == SR_OK) {
    }
    atomic_fetch_add(&server->ended, 1);
}

static void ignore_link(void *arg, uint64_t member, bool up)
{
    (void)arg;
    (void)member;
    (void)up;
}

static void server_open(struct server *server)
{
    memset(server, 0, sizeof(*server));
    cluster_init(&server->cluster);
    struct sr_listener *probe = NULL; /* the certificate has this number */
    struct sr_listener_options options = {.loop = &server->cluster.loop, .address = "127.0.0.1:0"};
    assert_int_equal(sr_listener_open(&options, &probe, NULL), SR_OK);
    snprintf(server->cluster.addresses[0], sizeof(server->cluster.addresses[0]), "127.0.0.1:%u",
             sr_listener_port(probe));
    sr_listener_close(probe, NULL, NULL);
    uv_run(&server->cluster.loop, UV_RUN_DEFAULT);
    struct sr_tls_files files = {fixture_path("node-1", "crt"), fixture_path("node-1", "key"),
                                 fixture_path("ca", "crt")};
    struct sr_peers_options peers = {.loop = &server->cluster.loop,
                                     .cluster_id = CLUSTER_ID,
                                     .self = ID_OF(0),
                                     .members = server->cluster.members,
                                     .member_count = MEMBERS,
                                     .listen = server->cluster.addresses[0],
                                     .tls = &files,
                                     .events = {.on_link = ignore_link, .on_bulk = echo},
                                     .arg = server};
    assert_int_equal(sr_peers_open(&peers, &server->peers, NULL), SR_OK);
}

static void on_done(void *arg)
{
    ((struct server *)arg)->is_done = true;
}

static void server_close(struct server *server)
{
    sr_peers_close(server->peers, on_done, server);
    uv_run(&server->cluster.loop, UV_RUN_DEFAULT);
    assert_true(server->is_done);
    assert_int_equal(atomic_load(&server->served), atomic_load(&server->ended));
    cluster_close(&server->cluster);
}

/* The paths of a fixture stay only for a moment. */
struct files {
    char certificate[128];
    char private_key[128];
    char ca[128];
    struct sr_tls_files tls;
};

static const struct sr_tls_files *files_of(struct files *files, const char *stem)
{
    snprintf(files->certificate, sizeof(files->certificate), "%s", fixture_path(stem, "crt"));
    snprintf(files->private_key, sizeof(files->private_key), "%s", fixture_path(stem, "key"));
    snprintf(files->ca, sizeof(files->ca), "%s", fixture_path("ca", "crt"));
    files->tls = (struct sr_tls_files){files->certificate, files->private_key, files->ca};
    return &files->tls;
}

static atomic_bool never;

static struct sr_bulk_options to_first(const struct server *server,
                                       const struct sr_tls_files *files)
{
    return (struct sr_bulk_options){.cluster_id = CLUSTER_ID,
                                    .self = ID_OF(1),
                                    .target = ID_OF(0),
                                    .target_name = "node-1",
                                    .address = server->cluster.addresses[0],
                                    .purpose = STRONGROOM__HELLO__PURPOSE__IMAGE,
                                    .tls = files,
                                    .stop = &never};
}

/* The asking side, on a thread while the test runs the server's loop. */
struct client {
    struct sr_bulk_options options;
    size_t pieces;
    int status;
    struct sr_err err;
    atomic_bool is_done;
};

static void exchange(struct client *client, struct sr_bulk *bulk)
{
    struct sr_buf piece = {0};
    memset(sr_buf_extend(&piece, PIECE_BYTES), 'p', PIECE_BYTES);
    Strongroom__Forward forward = STRONGROOM__FORWARD__INIT;
    uint32_t length = (uint32_t)PIECE_BYTES;
    forward.n_lengths = 1;
    forward.lengths = &length;
    Strongroom__Envelope envelope = STRONGROOM__ENVELOPE__INIT;
    envelope.message_case = STRONGROOM__ENVELOPE__MESSAGE_FORWARD;
    envelope.forward = &forward;
    for (size_t i = 0; i < client->pieces && client->status == SR_OK; i++) {
        struct sr_frame frame;
        forward.batch = i;
        struct sr_bytes payload = {piece.data, piece.size};
        client->status = sr_bulk_send(bulk, &envelope, payload, &client->err);
        if (client->status == SR_OK) {
            client->status = sr_bulk_receive(bulk, &frame, &client->err);
        }
        if (client->status == SR_OK && (frame.envelope->forward->batch != i ||
                                        memcmp(frame.payload.data, piece.data, piece.size) != 0)) {
            client->status = SR_INTERNAL;
        }
    }
    sr_buf_close(&piece);
}

static void *run_client(void *arg)
{
    struct client *client = arg;
    struct sr_bulk *bulk = NULL;
    client->status = sr_bulk_connect(&client->options, &bulk, &client->err);
    if (client->status == SR_OK) {
        exchange(client, bulk);
    }
    sr_bulk_close(bulk);
    atomic_store(&client->is_done, true);
    return NULL;
}

static bool client_is_done(void *arg)
{
    return atomic_load(&((struct client *)arg)->is_done);
}

static void nudge(uv_timer_t *timer)
{
    (void)timer;
}

static void run_until(struct server *server, bool (*condition)(void *arg), void *arg)
{
    uv_timer_t timer; /* what we wait for happens elsewhere */
    uv_timer_init(&server->cluster.loop, &timer);
    uv_timer_start(&timer, nudge, 5, 5);
    cluster_run(&server->cluster, condition, arg);
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(&server->cluster.loop, UV_RUN_NOWAIT);
}

static void run_clients(struct server *server, struct client *clients, size_t count)
{
    pthread_t threads[16];
    assert_true(count <= 16);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, run_client, &clients[i]), 0);
    }
    for (size_t i = 0; i < count; i++) {
        run_until(server, client_is_done, &clients[i]);
        pthread_join(threads[i], NULL);
    }
}

static void much_is_carried_off_the_loop(void **state)
{
    (void)state;
    struct server server;
    server_open(&server);
    struct files storage;
    const struct sr_tls_files *files = files_of(&storage, "node-2");
    struct client clients[2] = {{.options = to_first(&server, files), .pieces = 8},
                                {.options = to_first(&server, files), .pieces = 8}};
    run_clients(&server, clients, 2);
    for (size_t i = 0; i < 2; i++) {
        assert_string_equal(clients[i].err.text, "");
        assert_int_equal(clients[i].status, SR_OK);
    }
    assert_int_equal(atomic_load(&server.member), ID_OF(1));
    server_close(&server);
}

static void who_joins_needs_only_a_certificate(void **state)
{
    (void)state;
    struct server server;
    server_open(&server);
    struct files storage;
    const struct sr_tls_files *files = files_of(&storage, "node-2");
    struct client client = {.options = {.address = server.cluster.addresses[0],
                                        .purpose = STRONGROOM__HELLO__PURPOSE__JOIN,
                                        .tls = files,
                                        .stop = &never},
                            .pieces = 1};
    run_clients(&server, &client, 1);
    assert_string_equal(client.err.text, "");
    assert_int_equal(atomic_load(&server.member), 0);
    assert_true(atomic_load(&server.has_name));

    struct files other;
    struct client stranger = {.options = client.options};
    stranger.options.tls = files_of(&other, "other");
    run_clients(&server, &stranger, 1);
    assert_int_equal(stranger.status, SR_REFUSED);
    assert_non_null(strstr(stranger.err.text, "the other side refused"));
    server_close(&server);
}

static void refused(struct server *server, struct sr_bulk_options options, int status,
                    const char *words)
{
    struct client client = {.options = options, .pieces = 1};
    run_clients(server, &client, 1);
    if (client.status != status || strstr(client.err.text, words) == NULL) {
        fail_msg("expected %d \"%s\", got %d \"%s\"", status, words, client.status,
                 client.err.text);
    }
}

static void the_reason_of_a_refusal_is_told(void **state)
{
    (void)state;
    struct server server;
    server_open(&server);
    struct files storage;
    const struct sr_tls_files *files = files_of(&storage, "node-2");
    struct sr_bulk_options good = to_first(&server, files);
    struct sr_bulk_options bad = good;
    bad.cluster_id++;
    refused(&server, bad, SR_REFUSED, "here it is 00000000000000c1");
    bad = good;
    bad.self = ID_OF(2);
    refused(&server, bad, SR_REFUSED, "certificate does not name");
    bad = good;
    bad.target_name = "node-3";
    refused(&server, bad, SR_REFUSED, "does not carry the name node-3");
    bad = good;
    bad.purpose = (Strongroom__Hello__Purpose)9;
    refused(&server, bad, SR_REFUSED, "purpose 9");
    bad = good;
    bad.address = server.cluster.addresses[2]; /* nobody */
    refused(&server, bad, SR_NETWORK, "refused");
    struct files expired;
    bad = good;
    bad.tls = files_of(&expired, "expired");
    refused(&server, bad, SR_REFUSED, "certificate expired");

    const uint64_t removed[] = {ID_OF(1)};
    sr_peers_set_members(server.peers, server.cluster.members, 1,
                         (struct sr_peer_removed){removed, 1});
    refused(&server, good, SR_REMOVED, "was removed");
    assert_int_equal(atomic_load(&server.served), 0);
    server_close(&server);
}

/* ---- A name with two addresses ---- */

static char silent_address[32];
static char *second_port;

int __real_getaddrinfo(const char *host, const char *port, const struct addrinfo *hints,
                       struct addrinfo **found);
int __wrap_getaddrinfo(const char *host, const char *port, const struct addrinfo *hints,
                       struct addrinfo **found);

/* "two.test" is where nobody accepts, and 127.0.0.1. */
int __wrap_getaddrinfo(const char *host, const char *port, const struct addrinfo *hints,
                       struct addrinfo **found)
{
    if (host == NULL || strcmp(host, "two.test") != 0) {
        return __real_getaddrinfo(host, port, hints, found);
    }
    int failed = __real_getaddrinfo("127.0.0.1", silent_address, hints, found);
    return failed != 0 ? failed
                       : __real_getaddrinfo("127.0.0.1", second_port, hints, &(*found)->ai_next);
}

/* A listener whose queue is full: who connects to it gets no answer at all. */
static void open_silent(int fds[4])
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    fds[0] = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fds[0], (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(fds[0], 0), 0);
    assert_int_equal(getsockname(fds[0], (struct sockaddr *)&address, &size), 0);
    snprintf(silent_address, sizeof(silent_address), "%u", ntohs(address.sin_port));
    for (size_t i = 1; i < 4; i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)connect(fds[i], (struct sockaddr *)&address, size);
    }
}

static void a_silent_address_leaves_time_for_the_next(void **state)
{
    (void)state;
    struct server server;
    int fds[4];
    server_open(&server);
    open_silent(fds);
    struct files storage;
    char address[48];
    second_port = strrchr(server.cluster.addresses[0], ':') + 1;
    snprintf(address, sizeof(address), "two.test:%s", second_port);
    struct client client = {.options = to_first(&server, files_of(&storage, "node-2")),
                            .pieces = 1};
    client.options.address = address;
    run_clients(&server, &client, 1);
    assert_int_equal(client.status, SR_OK); /* the text is that of the first try */
    for (size_t i = 0; i < 4; i++) {
        close(fds[i]);
    }
    server_close(&server);
}

struct count {
    struct server *server;
    unsigned served;
};

static bool are_served(void *arg)
{
    struct count *count = arg;
    return atomic_load(&count->server->served) >= count->served;
}

static void their_number_is_bounded_and_a_stop_ends_them(void **state)
{
    (void)state;
    struct server server;
    server_open(&server);
    struct files storage;
    const struct sr_tls_files *files = files_of(&storage, "node-2");
    atomic_bool stop = false;
    struct client clients[SR_PEER_BULK_MAX];
    pthread_t threads[SR_PEER_BULK_MAX];
    memset(clients, 0, sizeof(clients));
    for (size_t i = 0; i < SR_PEER_BULK_MAX; i++) {
        clients[i].options = to_first(&server, files);
        clients[i].options.stop = &stop;
        clients[i].pieces = 1000000; /* until it is stopped */
        assert_int_equal(pthread_create(&threads[i], NULL, run_client, &clients[i]), 0);
    }
    struct count count = {&server, SR_PEER_BULK_MAX};
    run_until(&server, are_served, &count);
    refused(&server, to_first(&server, files), SR_LIMIT, "try later");
    atomic_store(&stop, true);
    for (size_t i = 0; i < SR_PEER_BULK_MAX; i++) {
        run_until(&server, client_is_done, &clients[i]);
        pthread_join(threads[i], NULL);
        assert_int_equal(clients[i].status, SR_CLOSED);
    }
    server_close(&server);
}

static void a_node_that_closes_does_not_wait_for_them(void **state)
{
    (void)state;
    struct server server;
    server_open(&server);
    struct files storage;
    const struct sr_tls_files *files = files_of(&storage, "node-2");
    struct client client = {.options = to_first(&server, files), .pieces = 1000000};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, run_client, &client), 0);
    struct count count = {&server, 1};
    run_until(&server, are_served, &count);
    server_close(&server);
    pthread_join(thread, NULL);
    assert_int_equal(client.status, SR_NETWORK);
}

/* The answer must be awaited: what comes with the hello would be lost. */
static void haste_is_refused(void **state)
{
    (void)state;
    struct server server;
    server_open(&server);
    struct puppet puppet = {0};
    puppet_connect(&server.cluster, &puppet, 0, "node-2");
    Strongroom__Hello hello;
    strongroom__hello__init(&hello);
    hello.format = SR_PEER_FORMAT;
    hello.purpose = STRONGROOM__HELLO__PURPOSE__JOIN;
    Strongroom__Envelope envelope = STRONGROOM__ENVELOPE__INIT;
    envelope.message_case = STRONGROOM__ENVELOPE__MESSAGE_HELLO;
    envelope.hello = &hello;
    struct sr_buf out = {0};
    sr_frame_append(&out, &envelope, NULL, 0);
    for (int i = 0; i < 20000; i++) { /* more than one read takes */
        sr_buf_append(&out, "more", 4);
    }
    puppet_send_raw(&puppet, out.data, out.size);
    sr_buf_close(&out);
    cluster_run(&server.cluster, puppet_is_closed, &puppet);
    assert_int_equal(puppet.hellos, 0);
    puppet_free(&puppet);
    server_close(&server);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(much_is_carried_off_the_loop),
        cmocka_unit_test(who_joins_needs_only_a_certificate),
        cmocka_unit_test(the_reason_of_a_refusal_is_told),
        cmocka_unit_test(a_silent_address_leaves_time_for_the_next),
        cmocka_unit_test(their_number_is_bounded_and_a_stop_ends_them),
        cmocka_unit_test(a_node_that_closes_does_not_wait_for_them),
        cmocka_unit_test(haste_is_refused),
    };
    return cmocka_run_group_tests(tests, cluster_make_pki, cluster_remove_pki);
}
