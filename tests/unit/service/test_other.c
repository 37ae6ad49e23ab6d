/* SPDX-License-Identifier: Apache-2.0
 *
 * Everything beside reads and writes: which method a path means, Cluster, Maintenance, health, and
 * a node whose store has failed.
 */
#include "tests/unit/service/harness.h"

#include <stdio.h>
#include <string.h>

#include "proto/health.pb-c.h"

#define MEMBER_LIST "/etcdserverpb.Cluster/MemberList"
#define STATUS      "/etcdserverpb.Maintenance/Status"
#define ALARM       "/etcdserverpb.Maintenance/Alarm"
#define MOVE_LEADER "/etcdserverpb.Maintenance/MoveLeader"
#define HEALTH      "/grpc.health.v1.Health/Check"

static void release(void *message)
{
    protobuf_c_message_free_unpacked(message, NULL);
}

static struct test_call *call_raw(struct world *world, const char *path, const void *message,
                                  size_t size)
{
    struct test_call *test = call_new_raw(path, message, size);
    call_make(world, test);
    return test;
}

static void expect_header(const Etcdserverpb__ResponseHeader *header, int64_t revision)
{
    assert_non_null(header);
    assert_true(header->cluster_id == CLUSTER_ID);
    assert_true(header->member_id == MEMBER_ID);
    assert_int_equal(header->raft_term, TERM);
    assert_int_equal(header->revision, revision);
}

/* ---- Paths and messages ---- */

static void unknown_paths_are_named(void **state)
{
    struct world *world = *state;
    static const struct {
        const char *path;
        const char *text;
    } cases[] = {
        {"/etcdserverpb.Watch/Watch", "unknown service etcdserverpb.Watch"},
        {"/etcdserverpb.Lease/LeaseGrant", "unknown service etcdserverpb.Lease"},
        {"/etcdserverpb.KV/Nothing", "unknown method Nothing for service etcdserverpb.KV"},
        {"/etcdserverpb.KV/", "unknown method  for service etcdserverpb.KV"},
        {"/etcdserverpb.K/Range", "unknown service etcdserverpb.K"},
        {"/etcdserverpb.KVX/Range", "unknown service etcdserverpb.KVX"},
        {"/etcdserverpb.KV/Range/x", "unknown service etcdserverpb.KV/Range"},
        {"/etcdserverpb.Maintenance/Snapshot",
         "unknown method Snapshot for service etcdserverpb.Maintenance"},
        {"/grpc.health.v1.Health/Watch", "unknown method Watch for service grpc.health.v1.Health"},
        {"/nothing", "malformed method name: \"/nothing\""},
        {"", "malformed method name: \"\""},
        {"//", "unknown service "},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        expect_status(call_raw(world, cases[i].path, "", 0), SR_GRPC_UNIMPLEMENTED, cases[i].text);
    }
}

static void long_unknown_path_is_cut(void **state)
{
    struct world *world = *state;
    char path[4096];
    memset(path, 's', sizeof(path));
    path[0] = '/';
    path[4000] = '/';
    path[sizeof(path) - 1] = '\0';
    struct test_call *test = call_raw(world, path, "", 0);
    assert_true(test->answered);
    assert_int_equal(test->code, SR_GRPC_UNIMPLEMENTED);
    call_free(test);
}

static void garbage_is_refused(void **state)
{
    struct world *world = *state;
    static const char prefix[] = "grpc: error unmarshalling request: ";
    static const uint8_t cut[] = {0x0a, 0x7f, 'x'};
    struct test_call *test = call_raw(world, "/etcdserverpb.KV/Put", cut, sizeof(cut));
    assert_true(test->answered);
    assert_int_equal(test->code, SR_GRPC_INTERNAL);
    assert_memory_equal(test->text, prefix, sizeof(prefix) - 1);
    assert_true(strlen(test->text) >= sizeof(prefix));
    call_free(test);
    assert_int_equal(consensus.proposal_count, 0);
}

/* A transaction inside a transaction, 10,000 times: TxnRequest.success is field 2 and
 * RequestOp.request_txn field 4, each with a length. Built from the inside out. */
static void nesting_is_bounded(void **state)
{
    struct world *world = *state;
    enum { DEPTH = 10000, ROOM = DEPTH * 10 };
    uint8_t *message = sr_alloc(ROOM);
    size_t start = ROOM;
    for (size_t i = 0; i < (size_t)2 * DEPTH; i++) {
        size_t size = ROOM - start;
        uint8_t varint[4];
        size_t varint_size = 0;
        do {
            varint[varint_size++] = (uint8_t)((size & 0x7f) | (size >= 0x80 ? 0x80 : 0));
            size >>= 7;
        } while (size > 0);
        start -= varint_size;
        memcpy(message + start, varint, varint_size);
        message[--start] = i % 2 == 0 ? 0x22 : 0x12;
    }
    struct test_call *test = call_raw(world, "/etcdserverpb.KV/Txn", message + start, ROOM - start);
    assert_true(test->answered);
    assert_int_equal(test->code, SR_GRPC_INTERNAL);
    call_free(test);
    sr_free(message);
}

/* ---- Cluster ---- */

static void expect_members(struct test_call *test)
{
    Etcdserverpb__MemberListResponse *response =
        expect_reply(test, &etcdserverpb__member_list_response__descriptor);
    expect_header(response->header, 0);
    assert_int_equal(response->n_members, 2);
    assert_int_equal(response->members[0]->id, 5);
    assert_string_equal(response->members[0]->name, "a");
    assert_int_equal(response->members[0]->n_peerurls, 1);
    assert_string_equal(response->members[0]->peerurls[0], "https://127.0.0.1:2380");
    assert_int_equal(response->members[0]->n_clienturls, 2);
    assert_string_equal(response->members[0]->clienturls[1], "https://a.example:2379");
    assert_false(response->members[0]->islearner);
    assert_true(response->members[1]->id == MEMBER_ID);
    assert_int_equal(response->members[1]->n_clienturls, 1);
    release(response);
}

static void members_are_listed(void **state)
{
    struct world *world = *state;
    put(world, "k", "v");
    expect_members(call_raw(world, MEMBER_LIST, "", 0));
    Etcdserverpb__MemberListRequest request = ETCDSERVERPB__MEMBER_LIST_REQUEST__INIT;
    request.linearizable = 1;
    struct test_call *waits = call(world, MEMBER_LIST, &request.base);
    struct test_call *fails = call(world, MEMBER_LIST, &request.base);
    expect_open(waits);
    call_cancel(world, fails);
    answer_reads(world, SR_API_NONE);
    turns(world);
    expect_members(waits);
    fails = call(world, MEMBER_LIST, &request.base);
    answer_reads(world, SR_API_NO_LEADER);
    turns(world);
    expect_error(fails, SR_API_NO_LEADER);
}

/* ---- Maintenance ---- */

static void status_tells_consensus_and_sizes(void **state)
{
    struct world *world = *state;
    put(world, "k", "v");
    consensus.info.commit_index = 1234;
    consensus.info.applied_index = 1200;
    Etcdserverpb__StatusResponse *response =
        expect_reply(call_raw(world, STATUS, "", 0), &etcdserverpb__status_response__descriptor);
    expect_header(response->header, 2);
    assert_string_equal(response->version, "3.5.0");
    assert_int_equal(response->leader, 5);
    assert_int_equal(response->raftindex, 1234);
    assert_int_equal(response->raftappliedindex, 1200);
    assert_int_equal(response->raftterm, TERM);
    assert_true(response->dbsize >= response->dbsizeinuse);
    assert_int_equal(response->n_errors, 0);
    assert_false(response->islearner);
    release(response);

    consensus.info.leader = 0;
    response =
        expect_reply(call_raw(world, STATUS, "", 0), &etcdserverpb__status_response__descriptor);
    assert_int_equal(response->leader, 0);
    assert_int_equal(response->n_errors, 1);
    assert_string_equal(response->errors[0], "etcdserver: no leader");
    release(response);
}

static void full_disk_is_an_alarm(void **state)
{
    struct world *world = *state;
    struct sr_err err;
    assert_int_equal(sr_store_flush(world->store, &err), SR_OK); /* looks at the disk */
    Etcdserverpb__StatusResponse *status =
        expect_reply(call_raw(world, STATUS, "", 0), &etcdserverpb__status_response__descriptor);
    assert_int_equal(status->n_errors, 1);
    assert_string_equal(status->errors[0], "memberID:18364758544493064720 alarm:NOSPACE ");
    release(status);
    Etcdserverpb__AlarmResponse *response =
        expect_reply(call_raw(world, ALARM, "", 0), &etcdserverpb__alarm_response__descriptor);
    expect_header(response->header, 1);
    assert_int_equal(response->n_alarms, 1);
    assert_true(response->alarms[0]->memberid == MEMBER_ID);
    assert_int_equal(response->alarms[0]->alarm, ETCDSERVERPB__ALARM_TYPE__NOSPACE);
    release(response);

    Etcdserverpb__AlarmRequest request = ETCDSERVERPB__ALARM_REQUEST__INIT;
    request.alarm = ETCDSERVERPB__ALARM_TYPE__CORRUPT;
    response =
        expect_reply(call(world, ALARM, &request.base), &etcdserverpb__alarm_response__descriptor);
    assert_int_equal(response->n_alarms, 0);
    release(response);
}

static void there_are_no_alarms_at_first(void **state)
{
    struct world *world = *state;
    Etcdserverpb__AlarmResponse *response =
        expect_reply(call_raw(world, ALARM, "", 0), &etcdserverpb__alarm_response__descriptor);
    expect_header(response->header, 1);
    assert_int_equal(response->n_alarms, 0);
    release(response);
    static const uint8_t unknown[] = {0x08, 0x09};
    expect_status(call_raw(world, ALARM, unknown, sizeof(unknown)), SR_GRPC_INVALID_ARGUMENT,
                  "strongroom: unknown alarm action");
}

/* ---- Leadership ---- */

static struct test_call *move_to(struct world *world, uint64_t member)
{
    Etcdserverpb__MoveLeaderRequest request = ETCDSERVERPB__MOVE_LEADER_REQUEST__INIT;
    request.targetid = member;
    return call(world, MOVE_LEADER, &request.base);
}

static void expect_empty_reply(struct test_call *test)
{
    assert_true(test->answered);
    assert_int_equal(test->code, SR_GRPC_OK);
    assert_int_equal(test->reply.size, 0);
    call_free(test);
}

static void leader_is_moved(void **state)
{
    struct world *world = *state;
    consensus.info.is_leader = true;
    consensus.info.leader = MEMBER_ID;
    consensus.moved_to = 0;
    expect_empty_reply(move_to(world, MEMBER_ID));
    assert_int_equal(consensus.moved_to, 0);

    struct test_call *moving = move_to(world, 5);
    assert_int_equal(consensus.moved_to, 5);
    world->handler.on_tick(world->handler.arg, 1);
    assert_false(moving->answered);
    consensus.info.is_leader = false;
    consensus.info.leader = 0;
    world->handler.on_tick(world->handler.arg, 2);
    assert_false(moving->answered);
    consensus.info.leader = 5;
    world->handler.on_tick(world->handler.arg, 3);
    expect_empty_reply(moving);
}

static void leader_is_not_moved(void **state)
{
    struct world *world = *state;
    consensus.info.is_leader = false;
    expect_error(move_to(world, 5), SR_API_NOT_LEADER);
    consensus.info.is_leader = true;
    consensus.info.leader = MEMBER_ID;
    consensus.moved_to = 0;
    expect_error(move_to(world, 6), SR_API_BAD_TRANSFEREE);
    expect_error(move_to(world, 0), SR_API_BAD_TRANSFEREE);
    assert_int_equal(consensus.moved_to, 0);

    struct test_call *late = move_to(world, 5);
    struct test_call *gone = move_to(world, 5);
    call_cancel(world, gone);
    world->handler.on_tick(world->handler.arg, UINT64_MAX);
    expect_error(late, SR_API_TRANSFER_TIMED_OUT);
}

/* ---- Health, and a failed store ---- */

static int health(struct world *world)
{
    Grpc__Health__V1__HealthCheckResponse *response = expect_reply(
        call_raw(world, HEALTH, "", 0), &grpc__health__v1__health_check_response__descriptor);
    int status = response->status;
    release(response);
    return status;
}

static void health_is_of_the_whole_server(void **state)
{
    struct world *world = *state;
    assert_int_equal(health(world),
                     GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING);
    static const uint8_t other[] = {0x0a, 0x01, 'x'};
    expect_status(call_raw(world, HEALTH, other, sizeof(other)), SR_GRPC_NOT_FOUND,
                  "unknown service");
}

static void failed_store_refuses_everything(void **state)
{
    struct world *world = *state;
    put(world, "k", "v");
    struct test_call *write = call_put(world, "k", "v");
    struct test_call *read = call_range(world, "k", "", false);
    struct test_call *ready = call_range(world, "k", "", true);
    struct sr_err err = {0};
    /* A batch that is cut: nobody may have changed the log like that. */
    static const uint8_t cut[] = {0xb1, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 7};
    struct sr_outcome_sink sink = {0};
    assert_int_not_equal(
        sr_store_apply(world->store, ++world->index, cut, sizeof(cut), &sink, &err), SR_OK);
    assert_int_not_equal(sr_store_failure(world->store, &err), SR_OK);

    turns(world);
    expect_error(ready, SR_API_STORE_FAILED);
    world->handler.on_tick(world->handler.arg, 1);
    expect_error(write, SR_API_STORE_FAILED);
    expect_error(read, SR_API_STORE_FAILED);
    expect_error(call_put(world, "k", "v"), SR_API_STORE_FAILED);
    expect_error(call_range(world, "k", "", true), SR_API_STORE_FAILED);
    expect_error(call_raw(world, STATUS, "", 0), SR_API_STORE_FAILED);
    assert_int_equal(health(world),
                     GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__NOT_SERVING);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, world_open, world_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(unknown_paths_are_named),
        TEST(long_unknown_path_is_cut),
        TEST(garbage_is_refused),
        TEST(nesting_is_bounded),
        TEST(members_are_listed),
        TEST(status_tells_consensus_and_sizes),
        cmocka_unit_test_setup_teardown(full_disk_is_an_alarm, world_open_without_space,
                                        world_close),
        TEST(there_are_no_alarms_at_first),
        TEST(leader_is_moved),
        TEST(leader_is_not_moved),
        TEST(health_is_of_the_whole_server),
        TEST(failed_store_refuses_everything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
