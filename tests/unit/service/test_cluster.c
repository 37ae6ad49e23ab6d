/* SPDX-License-Identifier: Apache-2.0
 *
 * The Cluster service on a record of three members in three zones (5 is "a", 7 is "c", this node
 * is "b"), alarms, and what learners and accused nodes refuse.
 */
#include "tests/unit/service/harness.h"

#include <stdio.h>

#include "base/clock.h"
#include "proto/health.pb-c.h"
#include "proto/strongroom.pb-c.h"
#include "storage/cluster.h"

#define ADD     "/etcdserverpb.Cluster/MemberAdd"
#define REMOVE  "/etcdserverpb.Cluster/MemberRemove"
#define UPDATE  "/etcdserverpb.Cluster/MemberUpdate"
#define PROMOTE "/etcdserverpb.Cluster/MemberPromote"
#define LIST    "/etcdserverpb.Cluster/MemberList"
#define ALARM   "/etcdserverpb.Maintenance/Alarm"
#define STATUS  "/etcdserverpb.Maintenance/Status"

enum { NO_ALARM = 0, NO_SPACE = 1, CORRUPT = 2 };

static void release(void *message)
{
    protobuf_c_message_free_unpacked(message, NULL);
}

static Strongroom__MemberRecord *record_of(uint64_t id, const char *name, const char *zone)
{
    static Strongroom__MemberRecord records[4];
    static size_t next;
    static char addresses[4][32];
    size_t i = next++ % 4;
    union {
        const char *in;
        char *out;
    } name_cast = {.in = name}, zone_cast = {.in = zone};
    strongroom__member_record__init(&records[i]);
    records[i].id = id;
    records[i].name = name_cast.out;
    records[i].zone = zone_cast.out;
    snprintf(addresses[i], sizeof(addresses[i]), "%s.example:2380", name);
    records[i].peer_address = addresses[i];
    records[i].voter = true;
    records[i].feature_level = 2;
    return &records[i];
}

static void set_progress(uint64_t id, enum sr_role role, bool healthy)
{
    struct sr_member_progress *one = &consensus.progress[0];
    while (one < &consensus.progress[consensus.progress_count] && one->id != id) {
        one++;
    }
    if (one == &consensus.progress[consensus.progress_count]) {
        consensus.progress_count++;
    }
    *one = (struct sr_member_progress){.id = id, .role = role, .up = healthy, .caught_up = healthy};
}

static void found_cluster(struct world *world)
{
    Strongroom__ClusterRecord init = STRONGROOM__CLUSTER_RECORD__INIT;
    Strongroom__ClusterChange change = STRONGROOM__CLUSTER_CHANGE__INIT;
    Strongroom__MemberRecord *members[] = {record_of(5, "a", "z1"), record_of(7, "c", "z3"),
                                           record_of(MEMBER_ID, "b", "z2")};
    init.members = members;
    init.n_members = 3;
    change.change_case = STRONGROOM__CLUSTER_CHANGE__CHANGE_INIT;
    change.init = &init;
    apply_change(world, &change);
    assert_true(sr_store_cluster_epoch(world->store) == 1);
    set_progress(5, SR_ROLE_VOTER, true);
    set_progress(7, SR_ROLE_VOTER, true);
    set_progress(MEMBER_ID, SR_ROLE_VOTER, true);
}

static struct test_call *member_add(struct world *world, const char *url, bool learner)
{
    char copy[64];
    char *urls[] = {copy};
    Etcdserverpb__MemberAddRequest request = ETCDSERVERPB__MEMBER_ADD_REQUEST__INIT;
    snprintf(copy, sizeof(copy), "%s", url);
    request.peerurls = urls;
    request.n_peerurls = 1;
    request.islearner = learner;
    return call(world, ADD, &request.base);
}

static struct test_call *member_remove(struct world *world, uint64_t id)
{
    Etcdserverpb__MemberRemoveRequest request = ETCDSERVERPB__MEMBER_REMOVE_REQUEST__INIT;
    request.id = id;
    return call(world, REMOVE, &request.base);
}

static struct test_call *member_promote(struct world *world, uint64_t id)
{
    Etcdserverpb__MemberPromoteRequest request = ETCDSERVERPB__MEMBER_PROMOTE_REQUEST__INIT;
    request.id = id;
    return call(world, PROMOTE, &request.base);
}

static struct test_call *member_update(struct world *world, uint64_t id, const char *url)
{
    char copy[64];
    char *urls[] = {copy};
    Etcdserverpb__MemberUpdateRequest request = ETCDSERVERPB__MEMBER_UPDATE_REQUEST__INIT;
    snprintf(copy, sizeof(copy), "%s", url);
    request.id = id;
    request.peerurls = urls;
    request.n_peerurls = 1;
    return call(world, UPDATE, &request.base);
}

static Etcdserverpb__MemberListResponse *list(struct world *world)
{
    Etcdserverpb__MemberListRequest request = ETCDSERVERPB__MEMBER_LIST_REQUEST__INIT;
    return expect_reply(call(world, LIST, &request.base),
                        &etcdserverpb__member_list_response__descriptor);
}

static void tick(struct world *world)
{
    world->handler.on_tick(world->handler.arg, sr_clock_monotonic_ns());
}

/* Commit what was proposed and deliver the answers. */
static void settle(struct world *world)
{
    commit(world);
    turns(world);
}

/* The id of a member added at @url. */
static uint64_t added(struct world *world, const char *url, bool learner)
{
    struct test_call *test = member_add(world, url, learner);
    settle(world);
    Etcdserverpb__MemberAddResponse *response =
        expect_reply(test, &etcdserverpb__member_add_response__descriptor);
    uint64_t id = response->member->id;
    assert_string_equal(response->member->name, "");
    assert_string_equal(response->member->peerurls[0], url);
    assert_int_equal(response->member->islearner, learner);
    assert_int_equal(response->header->revision, 0);
    assert_int_equal(response->header->raft_term, TERM);
    release(response);
    return id;
}

/* ---- Before the record ---- */

static void members_cannot_be_changed_before_there_is_a_record(void **state)
{
    struct world *world = *state;
    expect_error(member_remove(world, 5), SR_API_CLUSTER_UNKNOWN);
    expect_error(member_add(world, "https://d:1", false), SR_API_CLUSTER_UNKNOWN);
    consensus.feature_level = 1;
    expect_error(member_remove(world, 5), SR_API_CLUSTER_LEVEL);
    consensus.feature_level = 0; /* somebody has not been seen */
    expect_error(member_promote(world, 5), SR_API_CLUSTER_LEVEL);
    expect_error(member_update(world, 5, "https://d:1"), SR_API_CLUSTER_LEVEL);
    assert_int_equal(consensus.proposal_count, 0);
}

/* ---- List ---- */

static void the_record_is_listed(void **state)
{
    struct world *world = *state;
    found_cluster(world);
    uint64_t id = added(world, "https://d.example:2380", false);
    Etcdserverpb__MemberListResponse *response = list(world);
    assert_int_equal(response->n_members, 4);
    assert_int_equal(response->header->revision, 0);
    for (size_t i = 0; i < response->n_members; i++) {
        const Etcdserverpb__Member *member = response->members[i];
        assert_true(i == 0 || response->members[i - 1]->id < member->id);
        /* It is to vote, but does not yet. */
        assert_int_equal(member->islearner, member->id == id);
        assert_string_equal(member->name, member->id == 5           ? "a"
                                          : member->id == 7         ? "c"
                                          : member->id == MEMBER_ID ? "b"
                                                                    : "");
    }
    release(response);
    set_progress(id, SR_ROLE_VOTER, true);
    response = list(world);
    for (size_t i = 0; i < response->n_members; i++) {
        assert_false(response->members[i]->islearner);
    }
    release(response);
}

static void without_news_the_wish_is_listed(void **state)
{
    struct world *world = *state;
    found_cluster(world);
    uint64_t id = added(world, "https://d.example:2380", true);
    consensus.progress_age_ms = 60000;
    Etcdserverpb__MemberListResponse *response = list(world);
    for (size_t i = 0; i < response->n_members; i++) {
        assert_int_equal(response->members[i]->islearner, response->members[i]->id == id);
    }
    release(response);
}

/* ---- Add ---- */

static void urls_are_checked(void **state)
{
    struct world *world = *state;
    found_cluster(world);
    expect_error(member_add(world, "d.example:2380", false), SR_API_MEMBER_URLS_INVALID);
    expect_error(member_add(world, "https://d.example", false), SR_API_MEMBER_URLS_INVALID);
    expect_error(member_add(world, "https://d.example:2380/x", false), SR_API_MEMBER_URLS_INVALID);
    expect_error(member_update(world, 5, ""), SR_API_MEMBER_URLS_INVALID);
    Etcdserverpb__MemberAddRequest none = ETCDSERVERPB__MEMBER_ADD_REQUEST__INIT;
    expect_error(call(world, ADD, &none.base), SR_API_MEMBER_URLS_INVALID);
    struct test_call *taken = member_add(world, "http://a.example:2380", false);
    settle(world);
    expect_error(taken, SR_API_PEER_URL_EXISTS);
}

static void one_learner_at_a_time(void **state)
{
    struct world *world = *state;
    found_cluster(world);
    (void)added(world, "https://d.example:2380", true);
    struct test_call *second = member_add(world, "https://e.example:2380", true);
    settle(world);
    expect_error(second, SR_API_TOO_MANY_LEARNERS);
    (void)added(world, "https://e.example:2380", false);
}

/* ---- Remove ---- */

static void who_is_needed_stays(void **state)
{
    struct world *world = *state;
    found_cluster(world);
    expect_error(member_remove(world, 6), SR_API_MEMBER_NOT_FOUND);
    expect_status(member_remove(world, 7), SR_GRPC_FAILED_PRECONDITION,
                  "strongroom: removing c would leave 2 voters so spread that the loss of 1 zone "
                  "is fatal: add a voter in zone z3 first");
    set_progress(5, SR_ROLE_VOTER, false);
    expect_status(member_remove(world, 7), SR_GRPC_FAILED_PRECONDITION,
                  "strongroom: removing c would leave 1 of 2 voters working, which is no majority: "
                  "add a voter in zone z3 first");
    consensus.progress_count = 0;
    expect_error(member_remove(world, 7), SR_API_UNHEALTHY);
    assert_int_equal(consensus.proposal_count, 0);
}

static void a_removal_is_answered_when_it_is_a_fact(void **state)
{
    struct world *world = *state;
    found_cluster(world);
    set_progress(7, SR_ROLE_VOTER, false);
    struct test_call *test = member_remove(world, 7);
    settle(world);
    tick(world);
    expect_open(test);
    assert_true(sr_store_cluster_epoch(world->store) == 2);
    set_progress(7, SR_ROLE_NONE, false);
    tick(world);
    Etcdserverpb__MemberRemoveResponse *response =
        expect_reply(test, &etcdserverpb__member_remove_response__descriptor);
    assert_int_equal(response->n_members, 2);
    assert_int_equal(response->header->revision, 0);
    release(response);
}

static void a_removal_that_takes_long_is_answered_too(void **state)
{
    struct world *world = *state;
    found_cluster(world);
    set_progress(7, SR_ROLE_VOTER, false);
    struct test_call *test = member_remove(world, 7);
    struct test_call *gone = member_update(world, 5, "https://x.example:1");
    settle(world); /* the update meets the next epoch and is made again */
    settle(world);
    release(expect_reply(gone, &etcdserverpb__member_update_response__descriptor));
    expect_open(test);
    world->handler.on_tick(world->handler.arg, sr_clock_monotonic_ns() + 3 * SECOND_NS);
    release(expect_reply(test, &etcdserverpb__member_remove_response__descriptor));
}

static void a_caller_may_leave_while_it_settles(void **state)
{
    struct world *world = *state;
    found_cluster(world);
    set_progress(7, SR_ROLE_VOTER, false);
    struct test_call *test = member_remove(world, 7);
    settle(world);
    call_cancel(world, test);
    set_progress(7, SR_ROLE_NONE, false);
    tick(world);
}

/* ---- Epochs ---- */

static void a_change_that_met_another_epoch_is_judged_anew(void **state)
{
    struct world *world = *state;
    found_cluster(world);
    set_progress(7, SR_ROLE_VOTER, false);
    struct test_call *first = member_remove(world, 7);
    struct test_call *second = member_remove(world, 7);
    settle(world);
    /* By now it is not there any more. */
    expect_error(second, SR_API_MEMBER_NOT_FOUND);
    set_progress(7, SR_ROLE_NONE, false);
    tick(world);
    release(expect_reply(first, &etcdserverpb__member_remove_response__descriptor));
}

static void it_is_not_tried_for_ever(void **state)
{
    struct world *world = *state;
    found_cluster(world);
    struct test_call *test = member_update(world, 5, "https://x.example:1");
    unsigned tries = 0;
    while (!test->answered) {
        assert_true(++tries < 20);
        refuse_proposals(world, SR_API_CLUSTER_CHANGED);
        turns(world);
    }
    expect_error(test, SR_API_CLUSTER_CHANGED);
    assert_int_equal(tries, 6);
}

static void a_request_id_does_not_keep_an_epoch(void **state)
{
    struct world *world = *state;
    found_cluster(world);
    char url[] = "https://d.example:2380";
    char *urls[] = {url};
    Etcdserverpb__MemberAddRequest request = ETCDSERVERPB__MEMBER_ADD_REQUEST__INIT;
    request.peerurls = urls;
    request.n_peerurls = 1;
    struct test_call *test = call_new(ADD, &request.base);
    test->call.has_request_id = true;
    test->call.request_id[0] = 9;
    struct test_call *before = member_update(world, 5, "https://x.example:1");
    call_make(world, test);
    settle(world);
    settle(world);
    release(expect_reply(before, &etcdserverpb__member_update_response__descriptor));
    release(expect_reply(test, &etcdserverpb__member_add_response__descriptor));
}

/* ---- Update and promote ---- */

static void an_address_is_changed(void **state)
{
    struct world *world = *state;
    found_cluster(world);
    struct test_call *test = member_update(world, 5, "https://new.example:2380");
    settle(world);
    Etcdserverpb__MemberUpdateResponse *response =
        expect_reply(test, &etcdserverpb__member_update_response__descriptor);
    assert_string_equal(response->members[0]->peerurls[0], "https://new.example:2380");
    release(response);
    test = member_update(world, 6, "https://y.example:2380");
    settle(world);
    expect_error(test, SR_API_MEMBER_NOT_FOUND);
}

static void only_a_learner_in_sync_is_promoted(void **state)
{
    struct world *world = *state;
    found_cluster(world);
    uint64_t id = added(world, "https://d.example:2380", true);
    expect_error(member_promote(world, 5), SR_API_NOT_A_LEARNER);
    expect_error(member_promote(world, 6), SR_API_MEMBER_NOT_FOUND);
    expect_error(member_promote(world, id), SR_API_LEARNER_NOT_READY);
    set_progress(id, SR_ROLE_LEARNER, false);
    expect_error(member_promote(world, id), SR_API_LEARNER_NOT_READY);
    set_progress(id, SR_ROLE_LEARNER, true);
    struct test_call *test = member_promote(world, id);
    settle(world);
    expect_open(test);
    set_progress(id, SR_ROLE_VOTER, true);
    tick(world);
    release(expect_reply(test, &etcdserverpb__member_promote_response__descriptor));
    expect_error(member_promote(world, id), SR_API_NOT_A_LEARNER);
}

/* ---- Alarms ---- */

static struct test_call *alarm_call(struct world *world, int action, uint64_t member, int type)
{
    Etcdserverpb__AlarmRequest request = ETCDSERVERPB__ALARM_REQUEST__INIT;
    request.action = (Etcdserverpb__AlarmRequest__AlarmAction)action;
    request.memberid = member;
    request.alarm = (Etcdserverpb__AlarmType)type;
    return call(world, ALARM, &request.base);
}

enum { GET, ACTIVATE, DEACTIVATE };

/* How many alarms the answer has; the first one is of @member, if any. */
static size_t alarms_in(struct test_call *test, uint64_t member)
{
    Etcdserverpb__AlarmResponse *response =
        expect_reply(test, &etcdserverpb__alarm_response__descriptor);
    size_t count = response->n_alarms;
    assert_int_equal(response->header->revision, 1);
    assert_true(count == 0 || response->alarms[0]->memberid == member);
    release(response);
    return count;
}

static void alarms_are_set_and_cleared(void **state)
{
    struct world *world = *state;
    expect_error(alarm_call(world, ACTIVATE, 5, CORRUPT), SR_API_CLUSTER_UNKNOWN);
    found_cluster(world);
    struct test_call *test = alarm_call(world, ACTIVATE, 5, CORRUPT);
    settle(world);
    assert_int_equal(alarms_in(test, 5), 1);
    assert_int_equal(alarms_in(alarm_call(world, GET, 0, NO_ALARM), 5), 1);
    assert_int_equal(alarms_in(alarm_call(world, GET, 0, NO_SPACE), 5), 0);
    assert_int_equal(alarms_in(alarm_call(world, ACTIVATE, 5, NO_ALARM), 5), 0);
    Etcdserverpb__StatusRequest request = ETCDSERVERPB__STATUS_REQUEST__INIT;
    Etcdserverpb__StatusResponse *status = expect_reply(call(world, STATUS, &request.base),
                                                        &etcdserverpb__status_response__descriptor);
    assert_int_equal(status->n_errors, 1);
    assert_string_equal(status->errors[0], "memberID:5 alarm:CORRUPT ");
    release(status);
    struct test_call *write = call_put(world, "k", "v");
    settle(world);
    expect_error(write, SR_API_CORRUPT);
    test = alarm_call(world, DEACTIVATE, 5, CORRUPT);
    settle(world);
    assert_int_equal(alarms_in(test, 5), 1);
    test = alarm_call(world, DEACTIVATE, 5, CORRUPT);
    settle(world);
    assert_int_equal(alarms_in(test, 5), 0);
    put(world, "k", "v");
    expect_status(alarm_call(world, 9, 5, CORRUPT), SR_GRPC_INVALID_ARGUMENT,
                  "strongroom: unknown alarm action");
}

static void an_alarm_stops_puts(void **state)
{
    struct world *world = *state;
    found_cluster(world);
    struct test_call *test = alarm_call(world, ACTIVATE, 5, NO_SPACE);
    settle(world);
    assert_int_equal(alarms_in(test, 5), 1);
    test = alarm_call(world, ACTIVATE, 7, NO_SPACE);
    settle(world);
    assert_int_equal(alarms_in(test, 7), 1);
    struct test_call *write = call_put(world, "k", "v");
    settle(world);
    expect_error(write, SR_API_NO_SPACE);
    test = alarm_call(world, DEACTIVATE, 7, NO_SPACE);
    settle(world);
    assert_int_equal(alarms_in(test, 7), 1);
    put(world, "k", "v"); /* a majority has room */
    test = alarm_call(world, ACTIVATE, 6, NO_SPACE);
    settle(world);
    expect_error(test, SR_API_MEMBER_NOT_FOUND);
}

/* ---- Who does not serve ---- */

static int health(struct world *world)
{
    Grpc__Health__V1__HealthCheckRequest request = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
    Grpc__Health__V1__HealthCheckResponse *response =
        expect_reply(call(world, "/grpc.health.v1.Health/Check", &request.base),
                     &grpc__health__v1__health_check_response__descriptor);
    int status = response->status;
    release(response);
    return status;
}

static void an_accused_node_does_not_serve(void **state)
{
    struct world *world = *state;
    found_cluster(world);
    assert_int_equal(health(world), 1);
    struct test_call *test = alarm_call(world, ACTIVATE, MEMBER_ID, CORRUPT);
    settle(world);
    assert_int_equal(alarms_in(test, MEMBER_ID), 1);
    assert_int_equal(health(world), 2);
    expect_error(call_range(world, "k", "", true), SR_API_ACCUSED);
    expect_error(call_put(world, "k", "v"), SR_API_ACCUSED);
    expect_error(member_remove(world, 5), SR_API_ACCUSED);
    Strongroom__V1__MemberStatusRequest request = STRONGROOM__V1__MEMBER_STATUS_REQUEST__INIT;
    release(expect_reply(call(world, "/strongroom.v1.Cluster/MemberStatus", &request.base),
                         &strongroom__v1__member_status_response__descriptor));
    assert_int_equal(alarms_in(alarm_call(world, GET, 0, NO_ALARM), MEMBER_ID), 1);
    test = alarm_call(world, DEACTIVATE, MEMBER_ID, CORRUPT);
    settle(world);
    assert_int_equal(alarms_in(test, MEMBER_ID), 1);
    put(world, "k", "v");
}

static bool status_is_learner(struct world *world)
{
    Etcdserverpb__StatusRequest request = ETCDSERVERPB__STATUS_REQUEST__INIT;
    Etcdserverpb__StatusResponse *status = expect_reply(call(world, STATUS, &request.base),
                                                        &etcdserverpb__status_response__descriptor);
    bool is_learner = status->islearner;
    release(status);
    return is_learner;
}

static void a_learner_serves_little(void **state)
{
    struct world *world = *state;
    found_cluster(world);
    assert_false(status_is_learner(world));
    set_progress(MEMBER_ID, SR_ROLE_LEARNER, true);
    tick(world);
    assert_true(status_is_learner(world));
    expect_error(call_put(world, "k", "v"), SR_API_NOT_FOR_LEARNER);
    expect_error(call_range(world, "k", "", false), SR_API_NOT_FOR_LEARNER);
    expect_error(alarm_call(world, GET, 0, NO_ALARM), SR_API_NOT_FOR_LEARNER);
    expect_error(member_remove(world, 5), SR_API_NOT_FOR_LEARNER);
    Etcdserverpb__MemberListRequest request = ETCDSERVERPB__MEMBER_LIST_REQUEST__INIT;
    expect_error(call(world, LIST, &request.base), SR_API_NOT_FOR_LEARNER);
    struct test_call *read = call_range(world, "k", "", true);
    turns(world);
    release(expect_reply(read, &etcdserverpb__range_response__descriptor));
    set_progress(MEMBER_ID, SR_ROLE_VOTER, true);
    tick(world);
    put(world, "k", "v");
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, world_open, world_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(members_cannot_be_changed_before_there_is_a_record),
        TEST(the_record_is_listed),
        TEST(without_news_the_wish_is_listed),
        TEST(urls_are_checked),
        TEST(one_learner_at_a_time),
        TEST(who_is_needed_stays),
        TEST(a_removal_is_answered_when_it_is_a_fact),
        TEST(a_removal_that_takes_long_is_answered_too),
        TEST(a_caller_may_leave_while_it_settles),
        TEST(a_change_that_met_another_epoch_is_judged_anew),
        TEST(it_is_not_tried_for_ever),
        TEST(a_request_id_does_not_keep_an_epoch),
        TEST(an_address_is_changed),
        TEST(only_a_learner_in_sync_is_promoted),
        TEST(alarms_are_set_and_cleared),
        TEST(an_alarm_stops_puts),
        TEST(an_accused_node_does_not_serve),
        TEST(a_learner_serves_little),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
