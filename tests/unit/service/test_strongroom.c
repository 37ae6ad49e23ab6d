/* SPDX-License-Identifier: Apache-2.0
 *
 * strongroom.v1.Cluster: what members are told to be, and a node that is asked to leave.
 */
#include "tests/unit/service/harness.h"

#include "proto/strongroom.pb-c.h"

#define STATUS "/strongroom.v1.Cluster/MemberStatus"
#define DRAIN  "/strongroom.v1.Cluster/Drain"

static unsigned stops;

static void count_stop(void *arg)
{
    (void)arg;
    stops++;
}

static Strongroom__V1__MemberStatusResponse *status_of(struct world *world)
{
    Strongroom__V1__MemberStatusRequest request = STRONGROOM__V1__MEMBER_STATUS_REQUEST__INIT;
    return expect_reply(call(world, STATUS, &request.base),
                        &strongroom__v1__member_status_response__descriptor);
}

static void release(void *message)
{
    protobuf_c_message_free_unpacked(message, NULL);
}

/* Before there is a record: those of the configuration. */
static void founders_are_told(void **state)
{
    struct world *world = *state;
    Strongroom__V1__MemberStatusResponse *response = status_of(world);
    assert_int_equal(response->n_members, 2);
    assert_true(response->header->member_id == MEMBER_ID);
    assert_true(response->members[1]->id == MEMBER_ID);
    assert_string_equal(response->members[1]->name, "b");
    assert_string_equal(response->members[1]->zone, "z2");
    assert_string_equal(response->members[1]->peer_address, "127.0.0.1:2390");
    assert_int_equal(response->members[0]->n_client_urls, 2);
    assert_int_equal(response->members[1]->role, STRONGROOM__V1__ROLE__VOTER);
    assert_int_equal(response->leader, consensus.info.leader);
    assert_int_equal(response->epoch, 0);
    assert_int_equal(response->n_alarms, 0);
    release(response);
}

static Strongroom__MemberRecord member_of(uint64_t id, char *name, char *address, uint32_t level)
{
    static char zone[] = "z";
    static char url[] = "https://m.example:2379";
    static char *urls[] = {url};
    Strongroom__MemberRecord member = STRONGROOM__MEMBER_RECORD__INIT;
    member.id = id;
    member.name = name;
    member.zone = zone;
    member.peer_address = address;
    member.client_urls = urls;
    member.n_client_urls = 1;
    member.voter = level != 0;
    member.feature_level = level;
    return member;
}

static void record_is_told(void **state)
{
    struct world *world = *state;
    char first[] = "first";
    char second[] = "second";
    char addresses[][16] = {"a.example:2380", "b.example:2380"};
    Strongroom__MemberRecord members[] = {member_of(5, first, addresses[0], 2),
                                          member_of(9, second, addresses[1], 0)};
    Strongroom__MemberRecord *pointers[] = {&members[0], &members[1]};
    Strongroom__ClusterRecord record = STRONGROOM__CLUSTER_RECORD__INIT;
    record.members = pointers;
    record.n_members = 2;
    Strongroom__ClusterChange change = STRONGROOM__CLUSTER_CHANGE__INIT;
    change.change_case = STRONGROOM__CLUSTER_CHANGE__CHANGE_INIT;
    change.init = &record;
    apply_change(world, &change);
    Strongroom__AlarmRecord alarm = STRONGROOM__ALARM_RECORD__INIT;
    alarm.member_id = 9;
    alarm.alarm = ETCDSERVERPB__ALARM_TYPE__CORRUPT;
    change.change_case = STRONGROOM__CLUSTER_CHANGE__CHANGE_RAISE;
    change.raise = &alarm;
    apply_change(world, &change);

    Strongroom__V1__MemberStatusResponse *response = status_of(world);
    assert_int_equal(response->epoch, 2);
    assert_int_equal(response->n_members, 2);
    assert_string_equal(response->members[0]->name, "first");
    assert_int_equal(response->members[0]->wanted, STRONGROOM__V1__ROLE__VOTER);
    assert_true(response->members[0]->started);
    assert_int_equal(response->members[1]->wanted, STRONGROOM__V1__ROLE__LEARNER);
    assert_false(response->members[1]->started);
    assert_int_equal(response->n_alarms, 1);
    assert_int_equal(response->alarms[0]->member_id, 9);
    assert_int_equal(response->alarms[0]->alarm, ETCDSERVERPB__ALARM_TYPE__CORRUPT);
    release(response);
}

static struct test_call *drain(struct world *world, uint64_t member_id)
{
    Strongroom__V1__DrainRequest request = STRONGROOM__V1__DRAIN_REQUEST__INIT;
    world->context.ask_stop = count_stop;
    stops = 0;
    request.member_id = member_id;
    return call(world, DRAIN, &request.base);
}

static void drain_begins(void **state)
{
    release(expect_reply(drain(*state, MEMBER_ID), &strongroom__v1__drain_response__descriptor));
    assert_int_equal(stops, 1);
    release(expect_reply(drain(*state, 0), &strongroom__v1__drain_response__descriptor));
    assert_int_equal(stops, 1);
}

static void another_node_is_not_drained(void **state)
{
    expect_status(drain(*state, 5), SR_GRPC_FAILED_PRECONDITION,
                  "strongroom: this is member fedcba9876543210, not 5");
    assert_int_equal(stops, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, world_open, world_close)
    const struct CMUnitTest tests[] = {
        TEST(founders_are_told),
        TEST(record_is_told),
        TEST(drain_begins),
        TEST(another_node_is_not_drained),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
