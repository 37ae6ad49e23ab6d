/* SPDX-License-Identifier: Apache-2.0
 *
 * From a store to another over real connections, which a proxy in between cuts.
 */
#include "tests/unit/cmocka.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <uv.h>

#include "node/image/receiver.h"
#include "node/image/sender.h"
#include "node/peer/peers.h"
#include "storage/image.h"
#include "test_pki.h"
#include "tests/unit/storage/commands.h"

#define PATIENCE_MS 60000
#define SOURCE_ID   ((uint64_t)101)
#define TARGET_ID   FIXTURE_MEMBER /* of both stores */
#define VALUE_BYTES 60000

static char pki[64];

/* ---- A proxy that cuts ---- */

struct proxy {
    int listener;
    unsigned port;
    unsigned to_port;
    atomic_size_t cut_after; /* bytes towards the receiver; 0: never */
    atomic_uint cuts;
    atomic_size_t stall_after; /* likewise: nothing is passed on any more; 0: never */
    atomic_bool is_stalled;
    atomic_bool stop;
    pthread_t thread;
};

static int on_loopback(unsigned port, bool listening)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    if (listening) {
        assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
        assert_int_equal(listen(fd, 8), 0);
    } else if (connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static unsigned port_of(int fd)
{
    struct sockaddr_in address;
    socklen_t size = sizeof(address);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    return ntohs(address.sin_port);
}

/* False: that was the end. */
static bool pass(int from, int to, size_t *ret_bytes)
{
    char data[16384];
    ssize_t got = recv(from, data, sizeof(data), 0);
    for (ssize_t sent = 0; got > 0 && sent < got;) {
        ssize_t taken = send(to, data + sent, (size_t)(got - sent), MSG_NOSIGNAL);
        if (taken <= 0) {
            return false;
        }
        sent += taken;
    }
    *ret_bytes += got > 0 ? (size_t)got : 0;
    return got > 0;
}

static void serve_one(struct proxy *proxy, int client)
{
    size_t down = 0;
    size_t up = 0;
    int server = on_loopback(proxy->to_port, false);
    while (server >= 0 && !atomic_load(&proxy->stop)) {
        size_t stall = atomic_load(&proxy->stall_after);
        atomic_store(&proxy->is_stalled, stall != 0 && down > stall);
        if (atomic_load(&proxy->is_stalled)) {
            usleep(10000);
            continue;
        }
        struct pollfd both[2] = {{.fd = client, .events = POLLIN},
                                 {.fd = server, .events = POLLIN}};
        if (poll(both, 2, 50) <= 0) {
            continue;
        }
        if ((both[0].revents != 0 && !pass(client, server, &up)) ||
            (both[1].revents != 0 && !pass(server, client, &down))) {
            break;
        }
        size_t limit = atomic_load(&proxy->cut_after);
        if (limit != 0 && down > limit) {
            atomic_fetch_add(&proxy->cuts, 1);
            break;
        }
    }
    close(client);
    if (server >= 0) {
        close(server);
    }
}

static void *run_proxy(void *arg)
{
    struct proxy *proxy = arg;
    while (!atomic_load(&proxy->stop)) {
        struct pollfd one = {.fd = proxy->listener, .events = POLLIN};
        if (poll(&one, 1, 50) > 0) {
            int client = accept(proxy->listener, NULL, NULL);
            if (client >= 0) {
                serve_one(proxy, client);
            }
        }
    }
    return NULL;
}

/* ---- Two nodes ---- */

struct world {
    struct fixture source;
    struct fixture target;
    char incoming[160];
    uv_loop_t loop;
    uv_async_t wake;
    pthread_t loop_thread;
    struct sr_peers *peers;
    struct sr_image_sender *sender;
    struct sr_image_receiver *receiver;
    struct proxy proxy;
    char files[5][128];
    struct sr_tls_files target_tls;
    _Atomic uint64_t progress_max;
    atomic_bool is_progress_over;
    atomic_bool is_complete; /* the mark: sr_incoming_complete's file */
    atomic_uint completed;
    atomic_uint discarded;
};

static struct world *world_of(void *arg)
{
    return arg;
}

static void on_bulk(void *arg, struct sr_bulk *bulk, Strongroom__Hello__Purpose purpose,
                    uint64_t member)
{
    assert_int_equal(purpose, STRONGROOM__HELLO__PURPOSE__IMAGE);
    assert_int_equal(member, TARGET_ID);
    sr_image_sender_serve(world_of(arg)->sender, bulk, member);
}

static void on_link(void *arg, uint64_t member, bool up)
{
    (void)arg;
    (void)member;
    (void)up;
}

static void on_progress(void *arg, uint64_t member, uint64_t bytes, uint64_t total)
{
    struct world *world = arg;
    assert_int_equal(member, TARGET_ID);
    atomic_store(&world->is_progress_over, total == 0);
    if (bytes > atomic_load(&world->progress_max)) {
        atomic_store(&world->progress_max, bytes);
    }
}

static int stage(void *arg, char ret_path[PATH_MAX], struct sr_err *err)
{
    struct world *world = arg;
    if (atomic_load(&world->is_complete)) {
        return sr_err_set(err, SR_EXISTS, "complete");
    }
    (void)mkdir(world->incoming, 0700);
    snprintf(ret_path, PATH_MAX, "%s", world->incoming);
    return SR_OK;
}

static int complete(void *arg, struct sr_err *err)
{
    (void)err;
    atomic_store(&world_of(arg)->is_complete, true);
    return SR_OK;
}

static void clear(const char *dir)
{
    char path[512];
    DIR *open = opendir(dir);
    if (open == NULL) {
        return;
    }
    for (struct dirent *entry = readdir(open); entry != NULL; entry = readdir(open)) {
        snprintf(path, sizeof(path), "%s/%s", dir, entry->d_name);
        unlink(path);
    }
    closedir(open);
    rmdir(dir);
}

static int discard(void *arg, struct sr_err *err)
{
    (void)err;
    atomic_fetch_add(&world_of(arg)->discarded, 1);
    clear(world_of(arg)->incoming);
    return SR_OK;
}

static bool find(void *arg, uint64_t member, struct sr_image_source *ret)
{
    if (member != SOURCE_ID) {
        return false;
    }
    snprintf(ret->name, sizeof(ret->name), "node-1");
    snprintf(ret->address, sizeof(ret->address), "127.0.0.1:%u", world_of(arg)->proxy.port);
    return true;
}

static void on_complete(void *arg)
{
    atomic_fetch_add(&world_of(arg)->completed, 1);
}

static void on_failure(void *arg, const struct sr_err *err)
{
    (void)arg;
    fail_msg("%s", err->text);
}

static void on_closed(void *arg)
{
    uv_close((uv_handle_t *)&world_of(arg)->wake, NULL);
}

static void on_wake(uv_async_t *wake)
{
    struct world *world = wake->data;
    sr_peers_close(world->peers, on_closed, world);
}

static void *run_loop(void *arg)
{
    uv_run(&world_of(arg)->loop, UV_RUN_DEFAULT);
    return NULL;
}

static const char *file(struct world *world, int slot, const char *name)
{
    snprintf(world->files[slot], sizeof(world->files[slot]), "%s/%s", pki, name);
    return world->files[slot];
}

static void open_peers(struct world *world)
{
    char address[32];
    int probe = on_loopback(0, true);
    world->proxy.to_port = port_of(probe);
    close(probe);
    snprintf(address, sizeof(address), "127.0.0.1:%u", world->proxy.to_port);
    struct sr_peer_member members[] = {
        {.id = SOURCE_ID, .name = "node-1", .address = address},
        {.id = TARGET_ID, .name = "node-2", .address = "127.0.0.1:1"}};
    struct sr_tls_files tls = {file(world, 0, "node-1.crt"), file(world, 1, "node-1.key"),
                               file(world, 2, "ca.crt")};
    struct sr_peers_options options = {.loop = &world->loop,
                                       .cluster_id = FIXTURE_CLUSTER,
                                       .self = SOURCE_ID,
                                       .members = members,
                                       .member_count = 2,
                                       .listen = address,
                                       .tls = &tls,
                                       .events = {.on_link = on_link, .on_bulk = on_bulk},
                                       .arg = world};
    assert_int_equal(uv_loop_init(&world->loop), 0);
    assert_int_equal(uv_async_init(&world->loop, &world->wake, on_wake), 0);
    world->wake.data = world;
    assert_int_equal(sr_peers_open(&options, &world->peers, NULL), SR_OK);
    assert_int_equal(pthread_create(&world->loop_thread, NULL, run_loop, world), 0);
}

static void start_receiver(struct world *world)
{
    world->target_tls = (struct sr_tls_files){file(world, 3, "node-2.crt"),
                                              file(world, 4, "node-2.key"), world->files[2]};
    struct sr_image_receiver_options options = {.cluster_id = FIXTURE_CLUSTER,
                                                .member_id = TARGET_ID,
                                                .keyring = world->target.keyring,
                                                .store = world->target.store,
                                                .staged_entries_max = 16,
                                                .tls = &world->target_tls,
                                                .stage = stage,
                                                .complete = complete,
                                                .discard = discard,
                                                .find = find,
                                                .on_complete = on_complete,
                                                .on_failure = on_failure,
                                                .arg = world};
    world->receiver = sr_image_receiver_start(&options);
}

static void fill(struct fixture *fixture, int entries)
{
    static char value[VALUE_BYTES + 1];
    for (int i = 0; i < entries; i++) {
        char key[32];
        snprintf(key, sizeof(key), "key-%d", i);
        memset(value, 'a' + i % 26, VALUE_BYTES);
        (void)apply(fixture, put_text(key, value));
        commands_reset();
    }
    fixture_flush(fixture);
}

static void open_world(struct world *world, int entries, unsigned keep_ms, uint64_t rate)
{
    memset(world, 0, sizeof(*world));
    fixture_init(&world->source);
    fixture_open(&world->source);
    fill(&world->source, entries);
    fixture_init(&world->target);
    fixture_open(&world->target);
    snprintf(world->incoming, sizeof(world->incoming), "%s/incoming", world->target.dir);
    struct sr_image_sender_options sender = {.store = world->source.store,
                                             .bytes_per_second = rate,
                                             .keep_ms = keep_ms,
                                             .on_progress = on_progress,
                                             .arg = world};
    world->sender = sr_image_sender_start(&sender);
    open_peers(world);
    world->proxy.listener = on_loopback(0, true);
    world->proxy.port = port_of(world->proxy.listener);
    assert_int_equal(pthread_create(&world->proxy.thread, NULL, run_proxy, &world->proxy), 0);
    start_receiver(world);
}

static void close_world(struct world *world)
{
    sr_image_receiver_free(world->receiver);
    atomic_store(&world->proxy.stop, true);
    pthread_join(world->proxy.thread, NULL);
    close(world->proxy.listener);
    uv_async_send(&world->wake);
    pthread_join(world->loop_thread, NULL);
    assert_int_equal(uv_loop_close(&world->loop), 0);
    sr_image_sender_stop(world->sender);
    clear(world->incoming);
    fixture_close(&world->source);
    fixture_close(&world->target);
}

/* ---- Waiting ---- */

static void wait_until(struct world *world, bool (*condition)(struct world *world))
{
    for (int waited = 0; !condition(world); waited += 10) {
        assert_true(waited < PATIENCE_MS);
        sr_image_receiver_want(world->receiver, SOURCE_ID);
        usleep(10000);
    }
}

static bool is_complete(struct world *world)
{
    return atomic_load(&world->completed) > 0;
}

static bool is_cut(struct world *world)
{
    return atomic_load(&world->proxy.cuts) > 0;
}

static bool is_stalled(struct world *world)
{
    return atomic_load(&world->proxy.is_stalled);
}

static bool has_received_much(struct world *world)
{
    return sr_counter_read(&sr_image_receiver_metrics(world->receiver)->received_bytes) > 3000000;
}

/* ---- Checking ---- */

static void check_equal(struct world *world)
{
    struct sr_store *store = NULL;
    struct sr_err err = {0};
    struct sr_store_point in_source;
    struct sr_store_point in_target;
    struct sr_store_options options = world->target.options;
    options.dir = world->incoming;
    fixture_ok(sr_store_open(&options, &store, &err), &err);
    sr_store_point(world->source.store, &in_source);
    sr_store_point(store, &in_target);
    assert_int_equal(in_source.index, in_target.index);
    assert_int_equal(in_source.revision, in_target.revision);
    assert_memory_equal(in_source.state_hash, in_target.state_hash, sizeof(in_source.state_hash));
    sr_buf_close(&in_source.configuration);
    sr_buf_close(&in_target.configuration);
    sr_store_close(store);
}

static void an_image_arrives_whole(void **state)
{
    (void)state;
    struct world world;
    open_world(&world, 100, 0, 0);
    wait_until(&world, is_complete);
    const struct sr_image_receiver_metrics *got = sr_image_receiver_metrics(world.receiver);
    assert_int_equal(sr_counter_read(&got->images_received), 1);
    assert_int_equal(sr_counter_read(&got->failures), 0);
    assert_true(sr_counter_read(&got->received_bytes) > (uint64_t)100 * VALUE_BYTES);
    assert_true(atomic_load(&world.progress_max) > (uint64_t)100 * VALUE_BYTES);
    check_equal(&world);
    close_world(&world);
}

static void a_broken_connection_costs_little(void **state)
{
    (void)state;
    struct world world;
    open_world(&world, 200, 0, 0);
    atomic_store(&world.proxy.cut_after, 5000000);
    wait_until(&world, is_complete);
    const struct sr_image_receiver_metrics *got = sr_image_receiver_metrics(world.receiver);
    assert_true(atomic_load(&world.proxy.cuts) >= 2);
    assert_int_equal(sr_counter_read(&got->failures), atomic_load(&world.proxy.cuts));
    assert_int_equal(atomic_load(&world.discarded), 0);
    assert_true(sr_counter_read(&sr_image_sender_metrics(world.sender)->images_sent) >= 1);
    check_equal(&world);
    close_world(&world);
}

static void a_forgotten_image_is_begun_anew(void **state)
{
    (void)state;
    struct world world;
    open_world(&world, 150, 1, 0);
    atomic_store(&world.proxy.cut_after, 5000000);
    wait_until(&world, is_cut);
    atomic_store(&world.proxy.cut_after, 1); /* nothing gets through while it is forgotten */
    usleep(2500000);
    atomic_store(&world.proxy.cut_after, 0);
    wait_until(&world, is_complete);
    assert_int_equal(atomic_load(&world.discarded), 1);
    check_equal(&world);
    close_world(&world);
}

static void a_receiver_that_stops_goes_on_at_its_next_start(void **state)
{
    (void)state;
    struct world world;
    open_world(&world, 150, 0, 4 * 1024 * 1024);
    wait_until(&world, has_received_much);
    sr_image_receiver_free(world.receiver);
    start_receiver(&world);
    wait_until(&world, is_complete);
    const struct sr_image_receiver_metrics *got = sr_image_receiver_metrics(world.receiver);
    assert_true(sr_counter_read(&got->received_bytes) < (uint64_t)130 * VALUE_BYTES);
    assert_int_equal(atomic_load(&world.discarded), 0);
    check_equal(&world);
    close_world(&world);
}

/* The receiver has everything, and dies before it has seen that. */
static void receive_all_but_the_mark(struct world *world)
{
    wait_until(world, is_complete);
    sr_image_receiver_free(world->receiver);
    atomic_store(&world->is_complete, false);
    atomic_store(&world->completed, 0);
}

static void a_receiver_that_has_everything_asks_for_nothing(void **state)
{
    (void)state;
    struct world world;
    open_world(&world, 100, 0, 0);
    receive_all_but_the_mark(&world);
    start_receiver(&world);
    wait_until(&world, is_complete);
    const struct sr_image_receiver_metrics *got = sr_image_receiver_metrics(world.receiver);
    assert_int_equal(sr_counter_read(&got->received_bytes), 0);
    assert_int_equal(sr_counter_read(&got->failures), 0);
    assert_int_equal(sr_counter_read(&got->images_received), 1);
    assert_int_equal(atomic_load(&world.discarded), 0);
    assert_int_equal(sr_counter_read(&sr_image_sender_metrics(world.sender)->images_sent), 1);
    check_equal(&world);
    close_world(&world);
}

static bool is_discarded(struct world *world)
{
    return atomic_load(&world->discarded) > 0;
}

static void everything_that_came_is_checked_again(void **state)
{
    (void)state;
    struct world world;
    char path[256];
    uint8_t bytes[512] = {0};
    open_world(&world, 100, 0, 0);
    receive_all_but_the_mark(&world);
    snprintf(path, sizeof(path), "%s/data.mdb", world.incoming);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    for (off_t at = 1024 * 1024; at < 4 * 1024 * 1024; at += 4096) {
        assert_int_equal(pwrite(fd, bytes, sizeof(bytes), at + 1024), sizeof(bytes));
    }
    close(fd);
    start_receiver(&world);
    wait_until(&world, is_discarded);
    wait_until(&world, is_complete);
    const struct sr_image_receiver_metrics *got = sr_image_receiver_metrics(world.receiver);
    assert_true(sr_counter_read(&got->received_bytes) > (uint64_t)100 * VALUE_BYTES);
    check_equal(&world);
    close_world(&world);
}

static void everything_that_came_too_late_is_thrown_away(void **state)
{
    (void)state;
    struct world world;
    open_world(&world, 20, 0, 0);
    receive_all_but_the_mark(&world);
    fill(&world.target, 50);
    start_receiver(&world);
    wait_until(&world, is_discarded);
    assert_int_equal(atomic_load(&world.completed), 0);
    close_world(&world);
}

static bool has_some(struct world *world)
{
    return sr_counter_read(&sr_image_receiver_metrics(world->receiver)->received_bytes) > 0;
}

/* A leader whose log reaches further brings it up to date meanwhile: it stays as it is. */
static void what_is_overtaken_is_thrown_away(void **state)
{
    (void)state;
    struct world world;
    open_world(&world, 400, 0, 1024 * 1024);
    wait_until(&world, has_some);
    fill(&world.target, 450);
    wait_until(&world, is_discarded);
    assert_int_equal(atomic_load(&world.completed), 0);
    close_world(&world);
}

static bool is_sending(struct world *world)
{
    return sr_gauge_read(&sr_image_sender_metrics(world->sender)->sending) > 0 &&
           sr_counter_read(&sr_image_sender_metrics(world->sender)->sent_bytes) > 0;
}

static size_t views_open(struct world *world)
{
    struct sr_store *store = world->source.store;
    pthread_mutex_lock(&store->mutex);
    size_t count = store->views_open;
    pthread_mutex_unlock(&store->mutex);
    return count;
}

static bool is_held(struct world *world)
{
    struct sr_store *store = world->source.store;
    pthread_mutex_lock(&store->mutex);
    bool held = store->holds != NULL;
    pthread_mutex_unlock(&store->mutex);
    return held;
}

static bool is_sent_to_nobody(struct world *world)
{
    return sr_gauge_read(&sr_image_sender_metrics(world->sender)->sending) == 0 && !is_held(world);
}

/* A receiver that takes nothing more holds no view meanwhile, and in the end nothing. */
static void a_receiver_that_stands_still_is_given_up(void **state)
{
    (void)state;
    struct world world;
    open_world(&world, 400, 1, 0);
    atomic_store(&world.proxy.stall_after, 2000000);
    wait_until(&world, is_stalled);
    assert_true(is_sending(&world) && is_held(&world));
    for (int waited = 0; views_open(&world) > 0; waited += 10) {
        assert_true(waited < PATIENCE_MS);
        usleep(10000);
    }
    assert_true(is_sending(&world));
    for (int waited = 0; !is_sent_to_nobody(&world); waited += 10) {
        assert_true(waited < PATIENCE_MS);
        usleep(10000);
    }
    assert_true(sr_counter_read(&sr_image_sender_metrics(world.sender)->failures) >= 1);
    assert_false(is_complete(&world));
    close_world(&world);
}

static void what_is_not_ahead_is_not_taken(void **state)
{
    (void)state;
    struct world world;
    open_world(&world, 5, 0, 0);
    fill(&world.target, 50);
    for (int i = 0; i < 20; i++) {
        sr_image_receiver_want(world.receiver, SOURCE_ID);
        usleep(100000);
    }
    const struct sr_image_receiver_metrics *got = sr_image_receiver_metrics(world.receiver);
    assert_true(sr_counter_read(&got->failures) >= 1);
    assert_int_equal(sr_counter_read(&got->received_bytes), 0);
    assert_int_equal(atomic_load(&world.completed), 0);
    close_world(&world);
}

static int make_pki(void **state)
{
    (void)state;
    snprintf(pki, sizeof(pki), "/tmp/sr-image-XXXXXX");
    assert_non_null(mkdtemp(pki));
    test_pki_make(pki);
    return 0;
}

static int remove_pki(void **state)
{
    (void)state;
    clear(pki);
    return 0;
}

/* Without an argument: all but the one that takes as long as the others together. */
int main(int argc, char **argv)
{
    (void)argv;
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_image_arrives_whole),
        cmocka_unit_test(a_broken_connection_costs_little),
        cmocka_unit_test(a_forgotten_image_is_begun_anew),
        cmocka_unit_test(a_receiver_that_stops_goes_on_at_its_next_start),
        cmocka_unit_test(a_receiver_that_has_everything_asks_for_nothing),
        cmocka_unit_test(everything_that_came_is_checked_again),
        cmocka_unit_test(everything_that_came_too_late_is_thrown_away),
        cmocka_unit_test(what_is_overtaken_is_thrown_away),
        cmocka_unit_test(what_is_not_ahead_is_not_taken),
    };
    const struct CMUnitTest long_one[] = {
        cmocka_unit_test(a_receiver_that_stands_still_is_given_up),
    };
    return argc > 1 ? cmocka_run_group_tests(long_one, make_pki, remove_pki)
                    : cmocka_run_group_tests(tests, make_pki, remove_pki);
}
