/* SPDX-License-Identifier: Apache-2.0
 *
 * Members that belong together: links come up, carry frames in order, fall and come back.
 */
#include "peer_cluster.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

struct wait {
    struct cluster *cluster;
    size_t at;
    size_t from;
    unsigned count;
};

static bool has_frames(void *arg)
{
    struct wait *wait = arg;
    return wait->cluster->nodes[wait->at].frames[wait->from] >= wait->count;
}

static bool has_downs(void *arg)
{
    struct wait *wait = arg;
    return wait->cluster->nodes[wait->at].downs[wait->from] >= wait->count;
}

static bool has_round_trips(void *arg)
{
    struct wait *wait = arg;
    const struct sr_peer_metrics *metrics = cluster_metrics(wait->cluster, wait->at, wait->from);
    uint64_t count = 0;
    for (size_t i = 0; i < SR_HISTOGRAM_BUCKETS; i++) {
        count += metrics->round_trip.buckets[i];
    }
    return count >= wait->count;
}

static void frames_reach_whom_they_are_for(void **state)
{
    (void)state;
    struct cluster cluster;
    cluster_open(&cluster);
    cluster_run(&cluster, all_up, &cluster);
    assert_true(cluster_send(&cluster, 0, 1, 1, "to the second"));
    assert_true(cluster_send(&cluster, 0, 2, 1, "to the third"));
    struct wait second = {&cluster, 1, 0, 1};
    struct wait third = {&cluster, 2, 0, 1};
    cluster_run(&cluster, has_frames, &second);
    cluster_run(&cluster, has_frames, &third);
    assert_memory_equal(cluster.nodes[1].last_payload.data, "to the second", 13);
    assert_memory_equal(cluster.nodes[2].last_payload.data, "to the third", 12);
    for (size_t i = 0; i < MEMBERS; i++) {
        assert_int_equal(cluster.nodes[i].frames[1] + cluster.nodes[i].frames[2], 0);
        for (size_t j = 0; j < MEMBERS; j++) {
            assert_int_equal(cluster.nodes[i].ups[j], i != j);
            assert_int_equal(sr_gauge_read(&cluster_metrics(&cluster, i, j)->up), i != j);
            assert_int_equal(sr_counter_read(&cluster_metrics(&cluster, i, j)->refused_links), 0);
        }
    }
    /* To nobody: not ourselves, not a stranger. */
    assert_false(cluster_send(&cluster, 0, 0, 1, "x"));
    assert_false(cluster_send(&cluster, 0, 7, 1, "x"));
    assert_false(sr_peers_is_up(cluster.nodes[0].peers, ID_OF(0)));
    cluster_close(&cluster);
}

static void who_would_not_understand_is_not_told(void **state)
{
    (void)state;
    struct cluster cluster;
    Strongroom__Envelope envelope = STRONGROOM__ENVELOPE__INIT;
    Strongroom__Progress progress = STRONGROOM__PROGRESS__INIT;
    envelope.message_case = STRONGROOM__ENVELOPE__MESSAGE_PROGRESS;
    envelope.progress = &progress;
    cluster_init(&cluster);
    cluster.levels[2] = 1;
    for (size_t i = 0; i < MEMBERS; i++) {
        cluster_open_node(&cluster, i, cluster.members[i].name, CLUSTER_ID);
    }
    cluster_run(&cluster, all_up, &cluster);
    assert_true(sr_peers_send(cluster.nodes[0].peers, ID_OF(1), &envelope, NULL, 0));
    assert_false(sr_peers_send(cluster.nodes[0].peers, ID_OF(2), &envelope, NULL, 0));
    assert_true(cluster_send(&cluster, 0, 2, 1, "what it always knew"));
    struct wait third = {&cluster, 2, 0, 1};
    cluster_run(&cluster, has_frames, &third);
    cluster_close(&cluster);
}

static void many_frames_arrive_in_order(void **state)
{
    (void)state;
    enum { COUNT = 20000 };
    struct cluster cluster;
    cluster_open(&cluster);
    cluster_run(&cluster, all_up, &cluster);
    for (uint64_t i = 1; i <= COUNT; i++) {
        assert_true(cluster_send(&cluster, 0, 1, i, "a payload of some bytes"));
        assert_true(cluster_send(&cluster, 1, 0, i, "another one"));
        if (i % 100 == 0) {
            sr_peers_flush(cluster.nodes[0].peers);
            uv_run(&cluster.loop, UV_RUN_NOWAIT);
        }
    }
    struct wait there = {&cluster, 1, 0, COUNT};
    struct wait back = {&cluster, 0, 1, COUNT};
    cluster_run(&cluster, has_frames, &there);
    cluster_run(&cluster, has_frames, &back);
    assert_false(cluster.nodes[0].is_order_broken);
    assert_false(cluster.nodes[1].is_order_broken);
    assert_int_equal(cluster.nodes[1].last_term[0], COUNT);
    assert_int_equal(cluster.nodes[1].frames[0], COUNT);
    assert_true(sr_counter_read(&cluster_metrics(&cluster, 0, 1)->sent_bytes) > COUNT * 23);
    assert_true(sr_counter_read(&cluster_metrics(&cluster, 1, 0)->received_bytes) > COUNT * 23);
    cluster_close(&cluster);
}

static void a_frame_of_the_largest_size_passes(void **state)
{
    (void)state;
    struct cluster cluster;
    cluster_open(&cluster);
    cluster_run(&cluster, all_up, &cluster);
    size_t size = SR_PEER_FRAME_BYTES_MAX - 64;
    char *payload = sr_alloc(size + 1);
    memset(payload, 'p', size);
    payload[size] = '\0';
    assert_true(cluster_send(&cluster, 2, 1, 5, payload));
    assert_true(cluster_send(&cluster, 2, 1, 6, "small"));
    struct wait wait = {&cluster, 1, 2, 1};
    cluster_run(&cluster, has_frames, &wait);
    wait.count = 2;
    cluster_run(&cluster, has_frames, &wait);
    assert_memory_equal(cluster.nodes[1].last_payload.data, "small", 5);
    sr_free(payload);
    cluster_close(&cluster);
}

static void pings_measure_the_round_trip(void **state)
{
    (void)state;
    struct cluster cluster;
    cluster_open(&cluster);
    struct wait wait = {&cluster, 0, 1, 2}; /* the first at once, the second after a second */
    cluster_run(&cluster, has_round_trips, &wait);
    assert_true(cluster_metrics(&cluster, 0, 1)->round_trip.sum_ns > 0);
    assert_true(cluster_metrics(&cluster, 0, 0)->round_trip.sum_ns == 0);
    cluster_close(&cluster);
}

static void a_member_that_leaves_and_returns_is_linked_again(void **state)
{
    (void)state;
    struct cluster cluster;
    cluster_open(&cluster);
    cluster_run(&cluster, all_up, &cluster);
    cluster_close_node(&cluster, 2);
    struct wait first = {&cluster, 0, 2, 1};
    struct wait second = {&cluster, 1, 2, 1};
    cluster_run(&cluster, has_downs, &first);
    cluster_run(&cluster, has_downs, &second);
    assert_false(sr_peers_is_up(cluster.nodes[0].peers, ID_OF(2)));
    assert_false(cluster_send(&cluster, 0, 2, 1, "lost"));
    assert_int_equal(sr_counter_read(&cluster_metrics(&cluster, 0, 2)->dropped_messages), 1);
    assert_true(sr_peers_is_up(cluster.nodes[0].peers, ID_OF(1)));

    cluster_open_node(&cluster, 2, "node-3", CLUSTER_ID);
    cluster_run(&cluster, all_up, &cluster);
    assert_true(cluster_send(&cluster, 0, 2, 2, "found"));
    struct wait wait = {&cluster, 2, 0, 1};
    cluster_run(&cluster, has_frames, &wait);
    assert_memory_equal(cluster.nodes[2].last_payload.data, "found", 5);
    cluster_close(&cluster);
}

static void what_was_queued_before_a_close_arrives(void **state)
{
    (void)state;
    struct cluster cluster;
    cluster_open(&cluster);
    cluster_run(&cluster, all_up, &cluster);
    for (uint64_t i = 1; i <= 1000; i++) {
        assert_true(cluster_send(&cluster, 0, 1, i, "last words"));
    }
    cluster_close_node(&cluster, 0);
    struct wait wait = {&cluster, 1, 0, 1000};
    cluster_run(&cluster, has_frames, &wait);
    assert_int_equal(cluster.nodes[1].frames[0], 1000);
    cluster_close(&cluster);
}

static void closing_at_any_moment_is_clean(void **state)
{
    (void)state;
    for (int turns = 0; turns < 40; turns += 3) {
        struct cluster cluster;
        cluster_open(&cluster);
        for (int i = 0; i < turns; i++) {
            uv_run(&cluster.loop, UV_RUN_NOWAIT);
        }
        cluster_close(&cluster);
    }
}

static bool is_up_to_second(void *arg)
{
    struct cluster *cluster = arg;
    return sr_peers_is_up(cluster->nodes[0].peers, ID_OF(1));
}

/* Names are looked up off the loop; several addresses are tried in turn. */
static void members_are_found_by_name(void **state)
{
    (void)state;
    struct cluster cluster;
    struct sr_listener *probe = NULL;
    cluster_init(&cluster);
    struct sr_listener_options options = {.loop = &cluster.loop, .address = "127.0.0.1:0"};
    assert_int_equal(sr_listener_open(&options, &probe, NULL), SR_OK);
    unsigned port = sr_listener_port(probe);
    sr_listener_close(probe, NULL, NULL);
    uv_run(&cluster.loop, UV_RUN_DEFAULT);

    char by_name[32];
    snprintf(cluster.addresses[1], sizeof(cluster.addresses[1]), "127.0.0.1:%u", port);
    snprintf(by_name, sizeof(by_name), "localhost:%u", port);
    cluster.members[1].address = by_name;
    cluster.members[2].address = "no-such-host.invalid:7380";
    cluster_open_node(&cluster, 0, "node-1", CLUSTER_ID);
    cluster_open_node(&cluster, 1, "node-2", CLUSTER_ID);
    cluster_run(&cluster, is_up_to_second, &cluster);
    assert_false(sr_peers_is_up(cluster.nodes[0].peers, ID_OF(2)));
    cluster_close(&cluster);
}

static int open_with(struct cluster *cluster, const struct sr_peer_member *members, size_t count,
                     const char *listen)
{
    struct sr_tls_files files = {"/nonexistent.crt", "/nonexistent.key", "/nonexistent.crt"};
    struct sr_peers_options options = {.loop = &cluster->loop,
                                       .cluster_id = CLUSTER_ID,
                                       .self = ID_OF(0),
                                       .members = members,
                                       .member_count = count,
                                       .listen = listen,
                                       .tls = &files};
    struct sr_peers *peers = NULL;
    struct sr_err err = {0};
    int status = sr_peers_open(&options, &peers, &err);
    assert_int_not_equal(status, SR_OK);
    assert_int_equal(err.status, status);
    assert_true(err.text[0] != '\0');
    return status;
}

static void what_cannot_be_opened_is_explained(void **state)
{
    (void)state;
    struct cluster cluster;
    cluster_init(&cluster);
    struct sr_peer_member members[MEMBERS];
    memcpy(members, cluster.members, sizeof(members));
    assert_int_equal(open_with(&cluster, members, MEMBERS, "127.0.0.1:0"), SR_NOT_FOUND);
    assert_int_equal(open_with(&cluster, members + 1, 2, "127.0.0.1:0"), SR_INVALID);
    assert_int_equal(open_with(&cluster, members, 100, "127.0.0.1:0"), SR_INVALID);
    members[1].name = "node-1";
    assert_int_equal(open_with(&cluster, members, MEMBERS, "127.0.0.1:0"), SR_INVALID);
    members[1].name = ".zone";
    assert_int_equal(open_with(&cluster, members, MEMBERS, "127.0.0.1:0"), SR_INVALID);
    members[1].name = "node-2";
    members[1].address = "node-2";
    assert_int_equal(open_with(&cluster, members, MEMBERS, "127.0.0.1:0"), SR_INVALID);
    cluster_close(&cluster);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_reach_whom_they_are_for),
        cmocka_unit_test(who_would_not_understand_is_not_told),
        cmocka_unit_test(many_frames_arrive_in_order),
        cmocka_unit_test(a_frame_of_the_largest_size_passes),
        cmocka_unit_test(pings_measure_the_round_trip),
        cmocka_unit_test(a_member_that_leaves_and_returns_is_linked_again),
        cmocka_unit_test(what_was_queued_before_a_close_arrives),
        cmocka_unit_test(closing_at_any_moment_is_clean),
        cmocka_unit_test(members_are_found_by_name),
        cmocka_unit_test(what_cannot_be_opened_is_explained),
    };
    return cmocka_run_group_tests(tests, cluster_make_pki, cluster_remove_pki);
}
