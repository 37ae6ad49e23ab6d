/* SPDX-License-Identifier: Apache-2.0
 *
 * strongroom.v1.Cluster: what members are told to be, changes of them, and a node that is asked to
 * leave.
 */
#include "tests/unit/service/harness.h"

#include "node/cluster/token.h"
#include "proto/strongroom.pb-c.h"
#include "storage/cluster.h"

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

/* Three voters in three zones: 5 in z1, 7 in z3, and this node in z2. */
static void found(struct world *world)
{
    static char names[3][2] = {"a", "c", "b"};
    static char zones[3][3] = {"z1", "z3", "z2"};
    static char addresses[3][16] = {"a.example:2380", "c.example:2380", "b.example:2380"};
    static const uint64_t ids[3] = {5, 7, MEMBER_ID};
    Strongroom__MemberRecord members[3];
    Strongroom__MemberRecord *pointers[3];
    Strongroom__ClusterRecord record = STRONGROOM__CLUSTER_RECORD__INIT;
    Strongroom__ClusterChange change = STRONGROOM__CLUSTER_CHANGE__INIT;
    for (size_t i = 0; i < 3; i++) {
        members[i] = member_of(ids[i], names[i], addresses[i], 2);
        members[i].zone = zones[i];
        pointers[i] = &members[i];
        consensus.progress[i] = (struct sr_member_progress){
            .id = ids[i], .role = SR_ROLE_VOTER, .up = true, .caught_up = true, .match_index = 9};
    }
    consensus.progress_count = 3;
    record.members = pointers;
    record.n_members = 3;
    change.change_case = STRONGROOM__CLUSTER_CHANGE__CHANGE_INIT;
    change.init = &record;
    apply_change(world, &change);
}

static void break_member(size_t i)
{
    consensus.progress[i].up = false;
    consensus.progress[i].caught_up = false;
    consensus.progress[i].match_index = 4;
}

static void progress_is_told(void **state)
{
    struct world *world = *state;
    found(world);
    consensus.progress_age_ms = 700;
    Strongroom__V1__MemberStatusResponse *response = status_of(world);
    assert_true(response->has_progress);
    assert_int_equal(response->progress_age_ms, 700);
    assert_int_equal(response->zones_survivable, 1);
    release(response);

    break_member(1);
    response = status_of(world);
    assert_int_equal(response->zones_survivable, 0);
    assert_false(response->members[1]->up);
    assert_int_equal(response->members[1]->lag_entries, 5);
    assert_int_equal(response->members[0]->lag_entries, 0);
    assert_int_equal(response->members[0]->role, STRONGROOM__V1__ROLE__VOTER);
    release(response);
}

static struct test_call *drain(struct world *world, uint64_t member_id, bool force)
{
    Strongroom__V1__DrainRequest request = STRONGROOM__V1__DRAIN_REQUEST__INIT;
    world->context.ask_stop = count_stop;
    stops = 0;
    request.member_id = member_id;
    request.force = force;
    return call(world, DRAIN, &request.base);
}

static void expect_drained(struct test_call *test)
{
    release(expect_reply(test, &strongroom__v1__drain_response__descriptor));
    assert_int_equal(stops, 1);
}

static void drain_begins(void **state)
{
    found(*state);
    expect_drained(drain(*state, MEMBER_ID, false));
    expect_drained(drain(*state, 0, false));
}

static void drain_that_costs_the_majority_is_refused(void **state)
{
    found(*state);
    break_member(0);
    struct test_call *refused = drain(*state, MEMBER_ID, false);
    assert_int_equal(refused->code, SR_GRPC_FAILED_PRECONDITION);
    assert_int_equal(stops, 0);
    call_free(refused);
    expect_drained(drain(*state, MEMBER_ID, true));
}

static void another_node_is_not_drained(void **state)
{
    found(*state);
    expect_status(drain(*state, 5, true), SR_GRPC_FAILED_PRECONDITION,
                  "strongroom: this is member fedcba9876543210, not 5");
    assert_int_equal(stops, 0);
}

/* ---- Changes ---- */

static struct test_call *add(struct world *world, char *name, char *zone, bool learner)
{
    static char address[] = "new.example:2380";
    Strongroom__V1__MemberAddRequest request = STRONGROOM__V1__MEMBER_ADD_REQUEST__INIT;
    request.name = name;
    request.zone = zone;
    request.peer_address = address;
    request.learner = learner;
    return call(world, "/strongroom.v1.Cluster/MemberAdd", &request.base);
}

static void settle(struct world *world)
{
    commit(world);
    turns(world);
}

static void token_is_told_once_and_its_hash_is_kept(void **state)
{
    struct world *world = *state;
    char name[] = "new";
    char zone[] = "z1";
    uint8_t hash[SR_TOKEN_HASH_BYTES];
    struct sr_err err = {0};
    found(world);
    struct test_call *test = add(world, name, zone, false);
    settle(world);
    Strongroom__V1__MemberAddResponse *response =
        expect_reply(test, &strongroom__v1__member_add_response__descriptor);
    assert_int_equal(strlen(response->token), SR_TOKEN_TEXT_BYTES);
    assert_string_equal(response->member->name, "new");
    assert_int_equal(response->member->wanted, STRONGROOM__V1__ROLE__VOTER);
    sr_token_hash(response->token, strlen(response->token), hash);

    Strongroom__ClusterRecord *record = NULL;
    assert_int_equal(sr_store_cluster(world->store, &record, &err), SR_OK);
    assert_int_equal(record->n_members, 4);
    for (size_t i = 0; i < record->n_members; i++) {
        const Strongroom__MemberRecord *member = record->members[i];
        if (member->id == response->member->id) {
            assert_int_equal(member->token_hash.len, sizeof(hash));
            assert_memory_equal(member->token_hash.data, hash, sizeof(hash));
        } else {
            assert_int_equal(member->token_hash.len, 0);
        }
    }
    strongroom__cluster_record__free_unpacked(record, NULL);
    release(response);
}

static void incomplete_member_is_not_added(void **state)
{
    char name[] = "new";
    char zone[] = "z1";
    char nothing[] = "";
    char bad[] = "New";
    found(*state);
    expect_error(add(*state, nothing, zone, false), SR_API_MEMBER_INVALID);
    expect_error(add(*state, name, nothing, false), SR_API_MEMBER_INVALID);
    expect_error(add(*state, bad, zone, false), SR_API_MEMBER_INVALID);
    assert_int_equal(consensus.proposal_count, 0);
}

static void member_is_removed_by_name(void **state)
{
    struct world *world = *state;
    char name[] = "c";
    char nobody[] = "nobody";
    Strongroom__V1__MemberRemoveRequest request = STRONGROOM__V1__MEMBER_REMOVE_REQUEST__INIT;
    found(world);
    request.name = nobody;
    expect_error(call(world, "/strongroom.v1.Cluster/MemberRemove", &request.base),
                 SR_API_MEMBER_NOT_FOUND);
    request.name = name;
    struct test_call *test = call(world, "/strongroom.v1.Cluster/MemberRemove", &request.base);
    assert_int_equal(test->code, SR_GRPC_FAILED_PRECONDITION); /* no zone could be lost then */
    call_free(test);
    request.force = true;
    test = call(world, "/strongroom.v1.Cluster/MemberRemove", &request.base);
    consensus.progress_count = 2; /* libraft's configuration follows */
    consensus.progress[1] = consensus.progress[2];
    settle(world);
    Strongroom__V1__MemberRemoveResponse *response =
        expect_reply(test, &strongroom__v1__member_remove_response__descriptor);
    assert_int_equal(response->member->id, 7);
    release(response);
}

static void address_is_updated(void **state)
{
    struct world *world = *state;
    char address[] = "moved.example:2380";
    Strongroom__V1__MemberUpdateRequest request = STRONGROOM__V1__MEMBER_UPDATE_REQUEST__INIT;
    found(world);
    request.id = 7;
    request.peer_address = address;
    struct test_call *test = call(world, "/strongroom.v1.Cluster/MemberUpdate", &request.base);
    settle(world);
    Strongroom__V1__MemberUpdateResponse *response =
        expect_reply(test, &strongroom__v1__member_update_response__descriptor);
    assert_string_equal(response->member->peer_address, "moved.example:2380");
    release(response);
}

static void learner_is_promoted(void **state)
{
    struct world *world = *state;
    char name[] = "new";
    char zone[] = "z1";
    Strongroom__V1__MemberPromoteRequest request = STRONGROOM__V1__MEMBER_PROMOTE_REQUEST__INIT;
    found(world);
    struct test_call *test = add(world, name, zone, true);
    settle(world);
    release(expect_reply(test, &strongroom__v1__member_add_response__descriptor));
    request.name = name;
    expect_error(call(world, "/strongroom.v1.Cluster/MemberPromote", &request.base),
                 SR_API_LEARNER_NOT_READY);
    Strongroom__V1__MemberStatusResponse *status = status_of(world);
    uint64_t id = 0;
    for (size_t i = 0; i < status->n_members; i++) {
        id = strcmp(status->members[i]->name, name) == 0 ? status->members[i]->id : id;
    }
    release(status);
    consensus.progress[3] = (struct sr_member_progress){
        .id = id, .role = SR_ROLE_LEARNER, .up = true, .caught_up = true, .match_index = 9};
    consensus.progress_count = 4;
    test = call(world, "/strongroom.v1.Cluster/MemberPromote", &request.base);
    consensus.progress[3].role = SR_ROLE_VOTER;
    settle(world);
    Strongroom__V1__MemberPromoteResponse *response =
        expect_reply(test, &strongroom__v1__member_promote_response__descriptor);
    assert_int_equal(response->member->wanted, STRONGROOM__V1__ROLE__VOTER);
    release(response);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, world_open, world_close)
    const struct CMUnitTest tests[] = {
        TEST(founders_are_told),
        TEST(record_is_told),
        TEST(progress_is_told),
        TEST(drain_begins),
        TEST(drain_that_costs_the_majority_is_refused),
        TEST(another_node_is_not_drained),
        TEST(token_is_told_once_and_its_hash_is_kept),
        TEST(incomplete_member_is_not_added),
        TEST(member_is_removed_by_name),
        TEST(address_is_updated),
        TEST(learner_is_promoted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
