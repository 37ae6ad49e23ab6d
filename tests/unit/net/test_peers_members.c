/* SPDX-License-Identifier: Apache-2.0
 *
 * Members that change while links are up: they come, go, move, and are told that they are gone.
 */
#include "peer_cluster.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"

struct wait {
    struct cluster *cluster;
    size_t at;
    size_t from;
    unsigned count;
};

static bool is_linked(void *arg)
{
    struct wait *wait = arg;
    return sr_peers_is_up(wait->cluster->nodes[wait->at].peers, ID_OF(wait->from)) &&
           sr_peers_is_up(wait->cluster->nodes[wait->from].peers, ID_OF(wait->at));
}

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

static bool is_told(void *arg)
{
    struct wait *wait = arg;
    return wait->cluster->nodes[wait->at].removed_by == ID_OF(wait->from);
}

static bool is_refused(void *arg)
{
    struct wait *wait = arg;
    const struct sr_peer_metrics *metrics = cluster_metrics(wait->cluster, wait->at, wait->from);
    return sr_counter_read(&metrics->refused_links) >= wait->count;
}

static void set_members(struct cluster *cluster, size_t of, size_t count)
{
    sr_peers_set_members(cluster->nodes[of].peers, cluster->members, count,
                         (struct sr_peer_removed){0});
}

static size_t count_metrics(struct cluster *cluster, size_t of)
{
    const struct sr_peer_metrics *metrics[SR_MEMBERS_MAX];
    size_t count = sr_peers_metrics(cluster->nodes[of].peers, metrics);
    sr_peers_metrics_done(cluster->nodes[of].peers);
    return count;
}

/* Two members, the third known to nobody yet; its node runs and knows them. */
static void open_two_of_three(struct cluster *cluster)
{
    cluster_init(cluster);
    cluster_open_node(cluster, 0, "node-1", CLUSTER_ID);
    cluster_open_node(cluster, 1, "node-2", CLUSTER_ID);
    set_members(cluster, 0, 2);
    set_members(cluster, 1, 2);
    cluster_open_node(cluster, 2, "node-3", CLUSTER_ID);
}

static void a_new_member_is_linked(void **state)
{
    (void)state;
    struct cluster cluster;
    open_two_of_three(&cluster);
    struct wait refused = {&cluster, 2, 0, 1};
    cluster_run(&cluster, is_refused, &refused);
    assert_int_equal(count_metrics(&cluster, 0), 1);
    assert_false(cluster_send(&cluster, 0, 2, 1, "x"));

    set_members(&cluster, 0, 3);
    set_members(&cluster, 1, 3);
    cluster_run(&cluster, all_up, &cluster);
    assert_int_equal(count_metrics(&cluster, 0), 2);
    assert_true(cluster_send(&cluster, 0, 2, 1, "welcome"));
    struct wait wait = {&cluster, 2, 0, 1};
    cluster_run(&cluster, has_frames, &wait);
    assert_int_equal(cluster.nodes[0].downs[1], 0); /* who stays is not disturbed */
    assert_int_equal(cluster.nodes[2].removed_by, 0);
    cluster_close(&cluster);
}

static void a_member_that_goes_gets_what_was_queued_and_no_more(void **state)
{
    (void)state;
    struct cluster cluster;
    cluster_open(&cluster);
    cluster_run(&cluster, all_up, &cluster);
    for (uint64_t i = 1; i <= 1000; i++) {
        assert_true(cluster_send(&cluster, 0, 2, i, "last words"));
    }
    set_members(&cluster, 0, 2);
    assert_int_equal(cluster.nodes[0].downs[2], 1);
    assert_int_equal(count_metrics(&cluster, 0), 1);
    assert_false(cluster_send(&cluster, 0, 2, 1, "too late"));
    struct wait wait = {&cluster, 2, 0, 1000};
    cluster_run(&cluster, has_frames, &wait);
    struct wait refused = {&cluster, 2, 0, 2};
    cluster_run(&cluster, is_refused, &refused);
    assert_int_equal(cluster.nodes[2].frames[0], 1000);
    assert_int_equal(cluster.nodes[0].downs[1], 0);
    assert_int_equal(cluster.nodes[2].removed_by, 0); /* it is not known to have been one */

    /* And comes back under the same id. */
    set_members(&cluster, 0, 3);
    cluster_run(&cluster, all_up, &cluster);
    assert_int_equal(cluster.nodes[0].ups[2], 2);
    cluster_close(&cluster);
}

static void a_member_that_was_removed_is_told(void **state)
{
    (void)state;
    struct cluster cluster;
    cluster_open(&cluster);
    cluster_run(&cluster, all_up, &cluster);
    const uint64_t removed[] = {7, ID_OF(2)};
    sr_peers_set_members(cluster.nodes[0].peers, cluster.members, 2,
                         (struct sr_peer_removed){removed, 2});
    struct wait told = {&cluster, 2, 0, 0};
    cluster_run(&cluster, is_told, &told);
    assert_int_equal(cluster.nodes[0].removed_by, 0);
    assert_int_equal(cluster.nodes[1].removed_by, 0);
    assert_true(sr_peers_is_up(cluster.nodes[1].peers, ID_OF(0)));
    cluster_close(&cluster);
}

/* Only a member of our own cluster, about us, in answer to what we asked. */
static void not_everybody_can_tell_that(void **state)
{
    (void)state;
    struct cluster cluster;
    cluster_init(&cluster);
    cluster_open_node(&cluster, 0, "node-1", CLUSTER_ID + 1);
    cluster_open_node(&cluster, 2, "node-3", CLUSTER_ID);
    const uint64_t removed[] = {ID_OF(2)};
    sr_peers_set_members(cluster.nodes[0].peers, cluster.members, 2,
                         (struct sr_peer_removed){removed, 1});
    struct wait refused = {&cluster, 2, 0, 3};
    cluster_run(&cluster, is_refused, &refused);
    assert_int_equal(cluster.nodes[2].removed_by, 0);
    cluster_close(&cluster);
}

static void a_member_that_moves_is_found_again(void **state)
{
    (void)state;
    struct cluster cluster;
    cluster_open(&cluster);
    cluster_run(&cluster, all_up, &cluster);
    char elsewhere[32];
    memcpy(elsewhere, cluster.addresses[1], sizeof(elsewhere));
    elsewhere[strlen(elsewhere) - 1] = '1'; /* another port */
    cluster_close_node(&cluster, 1);
    struct wait down = {&cluster, 0, 1, 1};
    cluster_run(&cluster, has_downs, &down);

    memcpy(cluster.addresses[1], elsewhere, sizeof(elsewhere));
    cluster_open_node(&cluster, 1, "node-2", CLUSTER_ID);
    set_members(&cluster, 0, 3); /* the others learn it, in the order in which it pleases them */
    set_members(&cluster, 2, 3);
    cluster_run(&cluster, all_up, &cluster);

    /* One that is up and said to be elsewhere is connected to there. */
    unsigned ups = cluster.nodes[0].ups[1];
    struct sr_peer_member members[MEMBERS];
    char by_name[48];
    memcpy(members, cluster.members, sizeof(members));
    snprintf(by_name, sizeof(by_name), "%s", cluster.addresses[1]);
    by_name[strlen(by_name) - 1] = '9'; /* nobody is there */
    members[1].address = by_name;
    sr_peers_set_members(cluster.nodes[0].peers, members, MEMBERS, (struct sr_peer_removed){0});
    assert_false(sr_peers_is_up(cluster.nodes[0].peers, ID_OF(1)));
    members[1].address = cluster.addresses[1];
    sr_peers_set_members(cluster.nodes[0].peers, members, MEMBERS, (struct sr_peer_removed){0});
    cluster_run(&cluster, all_up, &cluster);
    assert_int_equal(cluster.nodes[0].ups[1], ups + 1);
    cluster_close(&cluster);
}

/* Added by its address alone: it gets its name when it joins. */
static void a_member_without_a_name_waits_for_it(void **state)
{
    (void)state;
    struct cluster cluster;
    open_two_of_three(&cluster);
    struct sr_peer_member members[MEMBERS];
    memcpy(members, cluster.members, sizeof(members));
    members[2].name = "";
    sr_peers_set_members(cluster.nodes[0].peers, members, MEMBERS, (struct sr_peer_removed){0});
    assert_int_equal(count_metrics(&cluster, 0), 1);
    members[2].name = "node-3";
    sr_peers_set_members(cluster.nodes[0].peers, members, MEMBERS, (struct sr_peer_removed){0});
    struct wait wait = {&cluster, 0, 2, 0};
    cluster_run(&cluster, is_linked, &wait);
    cluster_close(&cluster);
}

struct reader {
    const struct sr_peers *peers;
    atomic_bool stop;
};

static void *read_metrics(void *arg)
{
    struct reader *reader = arg;
    while (!atomic_load(&reader->stop)) {
        const struct sr_peer_metrics *metrics[SR_MEMBERS_MAX];
        size_t count = sr_peers_metrics(reader->peers, metrics);
        for (size_t i = 0; i < count; i++) {
            assert_int_equal(strncmp(metrics[i]->name, "node-", 5), 0);
            (void)sr_gauge_read(&metrics[i]->up);
        }
        sr_peers_metrics_done(reader->peers);
    }
    return NULL;
}

static void changes_at_any_moment_are_clean(void **state)
{
    (void)state;
    struct cluster cluster;
    cluster_open(&cluster);
    struct reader reader = {.peers = cluster.nodes[0].peers};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, read_metrics, &reader), 0);
    for (int turn = 0; turn < 200; turn++) {
        set_members(&cluster, (size_t)turn % MEMBERS, (size_t)(turn / 7) % (MEMBERS + 1));
        for (int i = 0; i < turn % 5; i++) {
            uv_run(&cluster.loop, UV_RUN_NOWAIT);
        }
    }
    for (size_t i = 0; i < MEMBERS; i++) {
        set_members(&cluster, i, MEMBERS);
    }
    cluster_run(&cluster, all_up, &cluster);
    atomic_store(&reader.stop, true);
    pthread_join(thread, NULL);
    set_members(&cluster, 0, 0); /* what is leaving when all is closed */
    cluster_close(&cluster);
}

/* A node that was away may learn that all others have changed. */
static void a_whole_cluster_may_be_replaced(void **state)
{
    (void)state;
    struct cluster cluster;
    cluster_open(&cluster);
    struct reader reader = {.peers = cluster.nodes[0].peers};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, read_metrics, &reader), 0);
    for (uint64_t turn = 0; turn < 60; turn++) {
        struct sr_peer_member members[SR_MEMBERS_MAX];
        char names[SR_MEMBERS_MAX][16];
        members[0] = cluster.members[0];
        for (uint64_t i = 1; i < SR_MEMBERS_MAX; i++) {
            snprintf(names[i], sizeof(names[i]), "node-%u", (unsigned)(100 + i + 10 * (turn % 2)));
            members[i] = (struct sr_peer_member){.id = 1000 + 100 * (turn % 2) + i,
                                                 .name = names[i],
                                                 .address = cluster.addresses[2]};
        }
        sr_peers_set_members(cluster.nodes[0].peers, members, SR_MEMBERS_MAX,
                             (struct sr_peer_removed){0});
        assert_int_equal(count_metrics(&cluster, 0), SR_MEMBERS_MAX - 1);
        uv_run(&cluster.loop, UV_RUN_NOWAIT);
    }
    atomic_store(&reader.stop, true);
    pthread_join(thread, NULL);
    set_members(&cluster, 0, MEMBERS);
    cluster_run(&cluster, all_up, &cluster);
    cluster_close(&cluster);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_member_is_linked),
        cmocka_unit_test(a_member_that_goes_gets_what_was_queued_and_no_more),
        cmocka_unit_test(a_member_that_was_removed_is_told),
        cmocka_unit_test(not_everybody_can_tell_that),
        cmocka_unit_test(a_member_that_moves_is_found_again),
        cmocka_unit_test(a_member_without_a_name_waits_for_it),
        cmocka_unit_test(changes_at_any_moment_are_clean),
        cmocka_unit_test(a_whole_cluster_may_be_replaced),
    };
    return cmocka_run_group_tests(tests, cluster_make_pki, cluster_remove_pki);
}
