/* SPDX-License-Identifier: Apache-2.0
 *
 * Links that must not come up, or not stay: the wrong cluster, somebody else's certificate, a
 * connection that a newer one supersedes, frames that lie.
 */
#include "peer_cluster.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"

struct wait {
    struct cluster *cluster;
    size_t at;
    size_t from;
    uint64_t count;
};

static bool has_frames(void *arg)
{
    struct wait *wait = arg;
    return wait->cluster->nodes[wait->at].frames[wait->from] >= wait->count;
}

static bool has_refused(void *arg)
{
    struct wait *wait = arg;
    const struct sr_peer_metrics *metrics = cluster_metrics(wait->cluster, wait->at, wait->from);
    return sr_counter_read(&metrics->refused_links) >= wait->count;
}

static bool is_down(void *arg)
{
    struct wait *wait = arg;
    return wait->cluster->nodes[wait->at].downs[wait->from] >= wait->count;
}

static bool is_up(void *arg)
{
    struct wait *wait = arg;
    return sr_peers_is_up(wait->cluster->nodes[wait->at].peers, ID_OF(wait->from));
}

static void expect_refusals(struct cluster *cluster)
{
    struct wait first = {cluster, 0, 1, 3};
    struct wait second = {cluster, 1, 0, 3};
    cluster_run(cluster, has_refused, &first);
    cluster_run(cluster, has_refused, &second);
    assert_int_equal(cluster->nodes[0].ups[1], 0);
    assert_int_equal(cluster->nodes[1].ups[0], 0);
    cluster_close(cluster);
}

static void another_cluster_is_refused(void **state)
{
    (void)state;
    struct cluster cluster;
    cluster_init(&cluster);
    cluster_open_node(&cluster, 0, "node-1", CLUSTER_ID);
    cluster_open_node(&cluster, 1, "node-2", CLUSTER_ID + 1);
    expect_refusals(&cluster);
}

/* Both ways: TLS refuses the server that it is, the hello refuses the client. */
static void the_certificate_of_another_member_is_refused(void **state)
{
    (void)state;
    struct cluster cluster;
    cluster_init(&cluster);
    cluster_open_node(&cluster, 0, "node-1", CLUSTER_ID);
    cluster_open_node(&cluster, 1, "node-3", CLUSTER_ID);
    expect_refusals(&cluster);
}

/* One member, whose links to the others never come up: what puppets speak to. */
static void open_first(struct cluster *cluster)
{
    cluster_init(cluster);
    cluster_open_node(cluster, 0, "node-1", CLUSTER_ID);
}

#define REFUSED(name) STRONGROOM__HELLO__REFUSAL__##name

static void set_cluster(Strongroom__Hello *hello)
{
    hello->cluster_id++;
}

static void set_target(Strongroom__Hello *hello)
{
    hello->target_id = ID_OF(1);
}

static void set_stranger(Strongroom__Hello *hello)
{
    hello->member_id = 4;
}

static void set_self(Strongroom__Hello *hello)
{
    hello->member_id = ID_OF(0);
}

static void set_other(Strongroom__Hello *hello)
{
    hello->member_id = ID_OF(2);
}

static void set_format(Strongroom__Hello *hello)
{
    hello->format = SR_PEER_FORMAT + 1;
}

static void set_incompatible(Strongroom__Hello *hello)
{
    hello->incompatible = 4;
}

static void refuse_hello(struct cluster *cluster, void (*spoil)(Strongroom__Hello *hello),
                         Strongroom__Hello__Refusal code, const char *reason)
{
    struct puppet puppet = {0};
    puppet_connect(cluster, &puppet, 0, "node-2");
    Strongroom__Hello hello;
    strongroom__hello__init(&hello);
    hello.cluster_id = CLUSTER_ID;
    hello.member_id = ID_OF(1);
    hello.target_id = ID_OF(0);
    hello.format = SR_PEER_FORMAT;
    hello.session = 5;
    spoil(&hello);
    Strongroom__Envelope envelope = STRONGROOM__ENVELOPE__INIT;
    envelope.message_case = STRONGROOM__ENVELOPE__MESSAGE_HELLO;
    envelope.hello = &hello;
    puppet_send(&puppet, &envelope);
    puppet_send_term(&puppet, 1); /* must not get through */
    cluster_run(cluster, puppet_is_closed, &puppet);
    assert_int_equal(puppet.hellos, 1);
    assert_non_null(strstr(puppet.refusal, reason));
    assert_int_equal(puppet.refusal_code, code);
    assert_int_equal(puppet.session, 5);
    assert_int_equal(puppet.reason.status, SR_OK);
    assert_int_equal(cluster->nodes[0].frames[1] + cluster->nodes[0].frames[2], 0);
    puppet_free(&puppet);
}

static void greet(struct cluster *cluster, struct puppet *puppet)
{
    puppet_send_hello(puppet, 1, 0);
    cluster_run(cluster, puppet_is_greeted, puppet);
    assert_int_equal(puppet->hellos, 1);
    assert_string_equal(puppet->refusal, "");
}

static void a_hello_that_does_not_fit_is_answered_with_the_reason(void **state)
{
    (void)state;
    struct cluster cluster;
    open_first(&cluster);
    refuse_hello(&cluster, set_cluster, REFUSED(WRONG_CLUSTER), "cluster id");
    refuse_hello(&cluster, set_target, REFUSED(WRONG_MEMBER), "meant for");
    refuse_hello(&cluster, set_stranger, REFUSED(WRONG_MEMBER), "not another member");
    refuse_hello(&cluster, set_self, REFUSED(WRONG_MEMBER), "not another member");
    refuse_hello(&cluster, set_other, REFUSED(CERTIFICATE), "certificate does not name");
    refuse_hello(&cluster, set_format, REFUSED(FORMAT), "peer format 2");
    refuse_hello(&cluster, set_incompatible, REFUSED(FORMAT), "peer features 0x4");
    /* What may be ignored is. */
    struct puppet puppet = {.compatible = UINT64_MAX};
    puppet_connect(&cluster, &puppet, 0, "node-2");
    greet(&cluster, &puppet);
    puppet_free(&puppet);
    cluster_close(&cluster);
}

static void a_member_that_lost_its_data_is_refused(void **state)
{
    (void)state;
    struct cluster cluster;
    struct puppet before = {.incarnation = 1};
    struct puppet again = {.incarnation = 1};
    struct puppet wiped = {.incarnation = 2};
    open_first(&cluster);
    puppet_connect(&cluster, &before, 0, "node-2");
    greet(&cluster, &before);
    puppet_connect(&cluster, &again, 0, "node-2");
    greet(&cluster, &again);
    puppet_connect(&cluster, &wiped, 0, "node-2");
    puppet_send_hello(&wiped, 1, 0);
    cluster_run(&cluster, puppet_is_closed, &wiped);
    assert_int_equal(wiped.refusal_code, REFUSED(REUSED_ID));
    assert_non_null(strstr(wiped.refusal, "another data directory than before"));
    assert_false(again.is_closed); /* who is up is not disturbed */
    puppet_free(&before);
    puppet_free(&again);
    puppet_free(&wiped);
    cluster_close(&cluster);
}

static void a_newer_connection_supersedes_the_older(void **state)
{
    (void)state;
    struct cluster cluster;
    struct puppet older = {0};
    struct puppet newer = {0};
    open_first(&cluster);
    puppet_connect(&cluster, &older, 0, "node-2");
    greet(&cluster, &older);
    puppet_send_term(&older, 1);
    struct wait wait = {&cluster, 0, 1, 1};
    cluster_run(&cluster, has_frames, &wait);

    puppet_connect(&cluster, &newer, 0, "node-2");
    greet(&cluster, &newer);
    puppet_send_term(&older, 2); /* written before the older end knows */
    puppet_send_term(&newer, 3);
    wait.count = 2;
    cluster_run(&cluster, has_frames, &wait);
    cluster_run(&cluster, puppet_is_closed, &older);
    assert_int_equal(cluster.nodes[0].frames[1], 2);
    assert_int_equal(cluster.nodes[0].last_term[1], 3);
    assert_false(newer.is_closed);
    puppet_free(&older);
    puppet_free(&newer);
    cluster_close(&cluster);
}

static void a_hello_on_an_older_connection_comes_too_late(void **state)
{
    (void)state;
    struct cluster cluster;
    struct puppet older = {0};
    struct puppet newer = {0};
    open_first(&cluster);
    puppet_connect(&cluster, &older, 0, "node-2");
    puppet_connect(&cluster, &newer, 0, "node-2");
    greet(&cluster, &newer);
    puppet_send_hello(&older, 1, 0);
    cluster_run(&cluster, puppet_is_closed, &older);
    assert_non_null(strstr(older.refusal, "superseded"));
    puppet_send_term(&newer, 3);
    struct wait wait = {&cluster, 0, 1, 1};
    cluster_run(&cluster, has_frames, &wait);
    puppet_free(&older);
    puppet_free(&newer);
    cluster_close(&cluster);
}

typedef void misbehave(struct puppet *puppet);

static void speak_before_hello(struct puppet *puppet)
{
    puppet_send_term(puppet, 1);
}

static void announce_too_much_before_hello(struct puppet *puppet)
{
    uint8_t head[4];
    sr_put_u32(head, HELLO_FRAME_BYTES_MAX + 1);
    puppet_send_raw(puppet, head, sizeof(head));
}

static void greet_twice(struct puppet *puppet)
{
    puppet_send_hello(puppet, 1, 0);
    puppet_send_hello(puppet, 1, 0);
}

static void send_pong(struct puppet *puppet)
{
    Strongroom__Pong pong = STRONGROOM__PONG__INIT;
    Strongroom__Envelope envelope = STRONGROOM__ENVELOPE__INIT;
    envelope.message_case = STRONGROOM__ENVELOPE__MESSAGE_PONG;
    envelope.pong = &pong;
    puppet_send_hello(puppet, 1, 0);
    puppet_send(puppet, &envelope);
}

static void announce_too_much(struct puppet *puppet)
{
    uint8_t head[4];
    puppet_send_hello(puppet, 1, 0);
    sr_put_u32(head, SR_PEER_FRAME_BYTES_MAX + 1);
    puppet_send_raw(puppet, head, sizeof(head));
}

static void send_garbage(struct puppet *puppet)
{
    puppet_send_hello(puppet, 1, 0);
    puppet_send_raw(puppet, "\0\0\0\x08\0\0\0\x04\xff\xff\xff\xff", 12);
}

static void what_breaks_the_rules_ends_the_link(void **state)
{
    (void)state;
    misbehave *const ways[] = {speak_before_hello, announce_too_much_before_hello,
                               greet_twice,        send_pong,
                               announce_too_much,  send_garbage};
    struct cluster cluster;
    open_first(&cluster);
    for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
        struct puppet puppet = {0};
        puppet_connect(&cluster, &puppet, 0, "node-2");
        ways[i](&puppet);
        cluster_run(&cluster, puppet_is_closed, &puppet);
        assert_int_equal(cluster.nodes[0].frames[1], 0);
        puppet_free(&puppet);
    }
    cluster_close(&cluster);
}

/* A frame of which only a part came is as if it had never been sent. */
static void every_truncated_frame_is_dropped(void **state)
{
    (void)state;
    struct cluster cluster;
    open_first(&cluster);
    Strongroom__AppendEntries append = STRONGROOM__APPEND_ENTRIES__INIT;
    append.term = 1;
    Strongroom__Envelope envelope = STRONGROOM__ENVELOPE__INIT;
    envelope.message_case = STRONGROOM__ENVELOPE__MESSAGE_APPEND_ENTRIES;
    envelope.append_entries = &append;
    struct sr_buf frame = {0};
    sr_frame_append(&frame, &envelope, NULL, 0);
    for (size_t size = 0; size <= frame.size; size++) {
        struct puppet puppet = {0};
        puppet_connect(&cluster, &puppet, 0, "node-2");
        greet(&cluster, &puppet);
        puppet_send_raw(&puppet, frame.data, size);
        sr_stream_close(puppet.stream, false);
        cluster_run(&cluster, puppet_is_closed, &puppet);
        assert_int_equal(cluster.nodes[0].frames[1], size == frame.size);
        puppet_free(&puppet);
    }
    sr_buf_close(&frame);
    cluster_close(&cluster);
}

static void a_member_that_does_not_read_bounds_what_waits(void **state)
{
    (void)state;
    struct cluster cluster;
    struct puppet puppet = {.answers_hello = true, .pauses_after_hello = true};
    cluster_init(&cluster);
    struct sr_listener *listener = puppet_listen(&cluster, &puppet, 1);
    cluster_open_node(&cluster, 0, "node-1", CLUSTER_ID);
    struct wait wait = {&cluster, 0, 1, 1};
    cluster_run(&cluster, is_up, &wait);
    sr_listener_close(listener, NULL, NULL); /* it does not come back */

    size_t size = 1024 * 1024;
    char *payload = sr_alloc(size + 1);
    memset(payload, 'p', size);
    payload[size] = '\0';
    size_t taken = 0;
    while (cluster_send(&cluster, 0, 1, taken + 1, payload)) {
        taken++;
        sr_peers_flush(cluster.nodes[0].peers);
        assert_true(taken < 1000);
    }
    sr_free(payload);
    assert_true(taken * size >= SR_PEER_WRITE_BYTES_MAX);
    const struct sr_peer_metrics *metrics = cluster_metrics(&cluster, 0, 1);
    assert_int_equal(sr_counter_read(&metrics->dropped_messages), 1);
    assert_true(sr_peers_is_up(cluster.nodes[0].peers, ID_OF(1)));
    /* It answers no ping either, and is given up. */
    cluster_run(&cluster, is_down, &wait);
    puppet_free(&puppet);
    cluster_close(&cluster);
}

static void strangers_cannot_keep_members_out(void **state)
{
    (void)state;
    enum { STRANGERS = INCOMING_MAX + 20 };
    struct cluster cluster;
    struct puppet strangers[STRANGERS] = {0};
    struct puppet member = {0};
    open_first(&cluster);
    puppet_connect(&cluster, &member, 0, "node-2");
    greet(&cluster, &member);
    for (size_t i = 0; i < STRANGERS; i++) {
        puppet_connect(&cluster, &strangers[i], 0, "client");
        puppet_send_term(&member, 1); /* or it would be closed for its silence */
    }
    for (size_t i = 0; i < STRANGERS - INCOMING_MAX; i++) {
        cluster_run(&cluster, puppet_is_closed, &strangers[i]);
    }
    assert_false(strangers[STRANGERS - 1].is_closed);
    puppet_send_term(&member, 1);
    struct wait wait = {&cluster, 0, 1, STRANGERS + 1};
    cluster_run(&cluster, has_frames, &wait);
    for (size_t i = 0; i < STRANGERS; i++) {
        puppet_free(&strangers[i]);
    }
    puppet_free(&member);
    cluster_close(&cluster);
}

static void an_address_in_use_is_an_error(void **state)
{
    (void)state;
    struct cluster cluster;
    struct puppet puppet = {0};
    cluster_init(&cluster);
    struct sr_listener *listener = puppet_listen(&cluster, &puppet, 0);
    struct sr_listener_options options = {.loop = &cluster.loop, .address = cluster.addresses[0]};
    struct sr_listener *second = NULL;
    struct sr_err err = {0};
    assert_int_equal(sr_listener_open(&options, &second, &err), SR_NETWORK);
    assert_non_null(strstr(err.text, cluster.addresses[0]));
    sr_listener_close(listener, NULL, NULL);
    link_input_close(&puppet.input);
    cluster_close(&cluster);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(another_cluster_is_refused),
        cmocka_unit_test(the_certificate_of_another_member_is_refused),
        cmocka_unit_test(a_hello_that_does_not_fit_is_answered_with_the_reason),
        cmocka_unit_test(a_member_that_lost_its_data_is_refused),
        cmocka_unit_test(a_newer_connection_supersedes_the_older),
        cmocka_unit_test(a_hello_on_an_older_connection_comes_too_late),
        cmocka_unit_test(what_breaks_the_rules_ends_the_link),
        cmocka_unit_test(every_truncated_frame_is_dropped),
        cmocka_unit_test(a_member_that_does_not_read_bounds_what_waits),
        cmocka_unit_test(strangers_cannot_keep_members_out),
        cmocka_unit_test(an_address_in_use_is_an_error),
    };
    return cmocka_run_group_tests(tests, cluster_make_pki, cluster_remove_pki);
}
