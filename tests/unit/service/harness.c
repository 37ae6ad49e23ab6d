/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/service/harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "proto/batch.h"
#include "proto/level.h"

struct test_consensus consensus;

/* ---- Doubles of rpc's and consensus's functions ---- */

static void answer(struct sr_call *call, enum sr_grpc_code code, const char *text)
{
    struct test_call *test = sr_container(call, struct test_call, call);
    assert_false(test->answered);
    assert_null(call->state); /* nothing of it is kept */
    test->answered = true;
    test->code = code;
    snprintf(test->text, sizeof(test->text), "%s", text);
}

void sr_call_reply(struct sr_call *call, struct sr_buf *message)
{
    answer(call, SR_GRPC_OK, "");
    sr_buf_append(&sr_container(call, struct test_call, call)->reply, message->data, message->size);
}

void sr_call_fail(struct sr_call *call, enum sr_grpc_code code, const char *text)
{
    assert_int_not_equal(code, SR_GRPC_OK);
    answer(call, code, text);
}

void sr_call_fail_api(struct sr_call *call, enum sr_api_error error)
{
    sr_call_fail(call, sr_api_error_code(error), sr_api_error_text(error));
}

bool sr_consensus_propose(struct sr_consensus *consensus_unused, struct sr_proposal *proposal)
{
    (void)consensus_unused;
    if (consensus.refuse) {
        return false;
    }
    proposal->mail.next = consensus.proposals;
    consensus.proposals = &proposal->mail;
    consensus.proposal_count++;
    return true;
}

bool sr_consensus_read(struct sr_consensus *consensus_unused, struct sr_read *read)
{
    (void)consensus_unused;
    if (consensus.refuse) {
        return false;
    }
    read->mail.next = consensus.reads;
    consensus.reads = &read->mail;
    consensus.read_count++;
    return true;
}

void sr_consensus_move_leader(struct sr_consensus *consensus_unused, uint64_t member)
{
    (void)consensus_unused;
    consensus.moved_to = member;
}

void sr_consensus_info(const struct sr_consensus *consensus_unused,
                       struct sr_consensus_info *ret_info)
{
    (void)consensus_unused;
    *ret_info = consensus.info;
}

void sr_proposal_free(struct sr_proposal *proposal)
{
    if (proposal != NULL) {
        sr_buf_close(&proposal->command);
        sr_free(proposal);
    }
}

static size_t progress(void *arg, struct sr_member_progress out[SR_MEMBERS_MAX],
                       uint64_t *ret_age_ms)
{
    (void)arg;
    memcpy(out, consensus.progress, sizeof(consensus.progress));
    *ret_age_ms = consensus.progress_age_ms;
    return consensus.progress_count;
}

static unsigned feature_level(void *arg)
{
    (void)arg;
    return consensus.feature_level;
}

/* ---- The world ---- */

static void on_wake(void *arg)
{
    ((struct world *)arg)->wakes++;
}

static const char *const client_urls[] = {"https://127.0.0.1:2379", "https://a.example:2379"};
static const struct sr_service_member members[] = {
    {.id = 5,
     .name = "a",
     .zone = "z1",
     .peer_url = "https://127.0.0.1:2380",
     .client_urls = client_urls,
     .client_url_count = 2},
    {.id = MEMBER_ID,
     .name = "b",
     .zone = "z2",
     .peer_url = "https://127.0.0.1:2390",
     .client_urls = client_urls,
     .client_url_count = 1},
};

static void open_store(struct world *world, uint64_t disk_reserve_bytes)
{
    struct sr_err err = {0};
    uint8_t kek[SR_KEY_BYTES] = {1, 2, 3};
    char path[80];
    snprintf(path, sizeof(path), "%s/keyring", world->dir);
    assert_int_equal(sr_keyring_create(path, kek, CLUSTER_ID, MEMBER_ID, &err), SR_OK);
    assert_int_equal(sr_keyring_open(path, kek, CLUSTER_ID, MEMBER_ID, &world->keyring, &err),
                     SR_OK);
    struct sr_store_options options = {.dir = world->dir,
                                       .keyring = world->keyring,
                                       .cluster_id = CLUSTER_ID,
                                       .member_id = MEMBER_ID,
                                       .map_bytes = (size_t)1 << 30,
                                       .disk_reserve_bytes = disk_reserve_bytes};
    int status = sr_store_open(&options, &world->store, &err);
    assert_string_equal(err.text, "");
    assert_int_equal(status, SR_OK);
}

static int open_world(void **state, uint64_t disk_reserve_bytes)
{
    struct world *world = sr_zalloc(sizeof(*world));
    const char *tmp = getenv("TMPDIR");
    snprintf(world->dir, sizeof(world->dir), "%.40s/service.XXXXXX", tmp == NULL ? "/tmp" : tmp);
    assert_non_null(mkdtemp(world->dir));
    open_store(world, disk_reserve_bytes);
    consensus = (struct test_consensus){
        .feature_level = SR_FEATURE_LEVEL,
        .info = {
            .term = TERM, .leader = 5, .last_index = 9, .commit_index = 9, .applied_index = 9}};
    sr_mailbox_init(&world->mailbox, 16, on_wake, world);
    world->origin = sr_origins_add(&world->origins, &world->mailbox);
    world->context = (struct sr_service_context){.cluster_id = CLUSTER_ID,
                                                 .member_id = MEMBER_ID,
                                                 .members = members,
                                                 .member_count = 2,
                                                 .store = world->store,
                                                 .request_timeout_ms = TIMEOUT_MS,
                                                 .zones_min = 1,
                                                 .progress = progress,
                                                 .feature_level = feature_level};
    world->service = sr_service_new(&world->context, world->origin, &world->mailbox);
    world->handler = sr_service_handler(world->service);
    *state = world;
    return 0;
}

int world_open(void **state)
{
    return open_world(state, 0);
}

int world_open_without_space(void **state)
{
    return open_world(state, UINT64_MAX / 2);
}

/* Newest first to oldest first: taking the oldest off a long list one by one would be slow. */
static struct sr_mail *take_all(struct sr_mail **list)
{
    struct sr_mail *oldest_first = NULL;
    while (*list != NULL) {
        struct sr_mail *mail = *list;
        *list = mail->next;
        mail->next = oldest_first;
        oldest_first = mail;
    }
    return oldest_first;
}

static void free_asked(void)
{
    struct sr_mail *list = take_all(&consensus.proposals);
    while (list != NULL) {
        struct sr_proposal *proposal = sr_container(list, struct sr_proposal, mail);
        list = list->next;
        sr_proposal_free(proposal);
    }
    while (consensus.reads != NULL) {
        struct sr_read *read = sr_container(consensus.reads, struct sr_read, mail);
        consensus.reads = consensus.reads->next;
        sr_free(read);
    }
}

int world_close(void **state)
{
    struct world *world = *state;
    turns(world); /* as rpc does: the last mail is delivered, to whom it may concern */
    sr_service_free(world->service);
    sr_mailbox_close(&world->mailbox);
    free_asked();
    sr_store_close(world->store);
    sr_keyring_close(world->keyring);
    char command[128];
    snprintf(command, sizeof(command), "rm -rf '%s'", world->dir);
    int status = system(command); /* NOLINT(cert-env33-c) */
    sr_free(world);
    return status;
}

/* ---- Calls ---- */

struct test_call *call_new_raw(const char *path, const void *message, size_t size)
{
    struct test_call *test = sr_zalloc(sizeof(*test));
    test->message = sr_memdup(message, size);
    test->call = (struct sr_call){.path = path,
                                  .message = {.data = test->message, .size = size},
                                  .actor = "tester",
                                  .started_ns = sr_clock_monotonic_ns(),
                                  .deadline_ns = UINT64_MAX};
    return test;
}

struct test_call *call_new(const char *path, const ProtobufCMessage *request)
{
    size_t size = protobuf_c_message_get_packed_size(request);
    uint8_t *packed = sr_alloc(size + 1);
    protobuf_c_message_pack(request, packed);
    struct test_call *test = call_new_raw(path, packed, size);
    sr_free(packed);
    return test;
}

void call_make(struct world *world, struct test_call *test)
{
    world->handler.on_call(world->handler.arg, &test->call);
}

void call_free(struct test_call *test)
{
    sr_buf_close(&test->reply);
    sr_free(test->message);
    sr_free(test);
}

void call_cancel(struct world *world, struct test_call *test)
{
    assert_false(test->answered);
    world->handler.on_cancel(world->handler.arg, &test->call);
    assert_false(test->answered);
    call_free(test);
}

struct test_call *call(struct world *world, const char *path, const ProtobufCMessage *request)
{
    struct test_call *test = call_new(path, request);
    call_make(world, test);
    return test;
}

struct test_call *call_put(struct world *world, const char *key, const char *value)
{
    Etcdserverpb__PutRequest request = ETCDSERVERPB__PUT_REQUEST__INIT;
    request.key = bytes(key);
    request.value = bytes(value);
    return call(world, "/etcdserverpb.KV/Put", &request.base);
}

struct test_call *call_range(struct world *world, const char *key, const char *end,
                             bool serializable)
{
    Etcdserverpb__RangeRequest request = ETCDSERVERPB__RANGE_REQUEST__INIT;
    request.key = bytes(key);
    request.range_end = bytes(end);
    request.serializable = serializable;
    return call(world, "/etcdserverpb.KV/Range", &request.base);
}

void expect_status(struct test_call *test, enum sr_grpc_code code, const char *text)
{
    assert_true(test->answered);
    assert_string_equal(test->text, text);
    assert_int_equal(test->code, code);
    call_free(test);
}

void expect_error(struct test_call *test, enum sr_api_error error)
{
    expect_status(test, sr_api_error_code(error), sr_api_error_text(error));
}

void expect_open(const struct test_call *test)
{
    assert_string_equal(test->text, "");
    assert_false(test->answered);
}

void *expect_reply(struct test_call *test, const ProtobufCMessageDescriptor *descriptor)
{
    assert_true(test->answered);
    assert_string_equal(test->text, "");
    assert_int_equal(test->code, SR_GRPC_OK);
    ProtobufCMessage *message =
        protobuf_c_message_unpack(descriptor, NULL, test->reply.size, test->reply.data);
    assert_non_null(message);
    call_free(test);
    return message;
}

/* ---- Consensus and the loop ---- */

bool turn(struct world *world)
{
    struct sr_mail *mail = sr_mailbox_take(&world->mailbox);
    if (mail == NULL) {
        return false;
    }
    world->handler.on_mail(world->handler.arg, mail);
    return true;
}

void turns(struct world *world)
{
    while (turn(world)) {
    }
}

static struct sr_mail *pop_oldest(struct sr_mail **list)
{
    assert_non_null(*list);
    while ((*list)->next != NULL) {
        list = &(*list)->next;
    }
    struct sr_mail *oldest = *list;
    *list = NULL;
    return oldest;
}

struct sr_proposal *take_proposal(void)
{
    return sr_container(pop_oldest(&consensus.proposals), struct sr_proposal, mail);
}

static bool wanted(void *arg, uint64_t origin)
{
    return origin == ((struct world *)arg)->origin;
}

static void deliver(void *arg, struct sr_outcome *outcome)
{
    struct world *world = arg;
    struct sr_answer *mail = sr_zalloc(sizeof(*mail));
    mail->sequence = outcome->sequence;
    mail->error = outcome->error;
    mail->revision = outcome->revision;
    mail->term = outcome->term;
    mail->body = outcome->body;
    outcome->body = (struct sr_buf){0};
    sr_mailbox_post_always(&world->mailbox, &mail->mail);
}

void commit(struct world *world)
{
    struct sr_buf batch = {0};
    sr_batch_begin(&batch, TERM);
    struct sr_mail *list = take_all(&consensus.proposals);
    while (list != NULL) {
        struct sr_proposal *proposal = sr_container(list, struct sr_proposal, mail);
        list = list->next;
        sr_batch_add(&batch, proposal->command.data, proposal->command.size);
        sr_proposal_free(proposal);
    }
    struct sr_outcome_sink sink = {.wanted = wanted, .deliver = deliver, .arg = world};
    struct sr_err err = {0};
    int status = sr_store_apply(world->store, ++world->index, batch.data, batch.size, &sink, &err);
    assert_string_equal(err.text, "");
    assert_int_equal(status, SR_OK);
    sr_buf_close(&batch);
}

void apply_change(struct world *world, Strongroom__ClusterChange *change)
{
    Strongroom__Command command = STRONGROOM__COMMAND__INIT;
    struct sr_buf batch = {0};
    struct sr_buf packed = {0};
    struct sr_err err = {0};
    command.operation_case = STRONGROOM__COMMAND__OPERATION_CLUSTER;
    command.cluster = change;
    size_t size = strongroom__command__get_packed_size(&command);
    strongroom__command__pack(&command, sr_buf_extend(&packed, size));
    sr_batch_begin(&batch, TERM);
    sr_batch_add(&batch, packed.data, packed.size);
    assert_int_equal(
        sr_store_apply(world->store, ++world->index, batch.data, batch.size, NULL, &err), SR_OK);
    sr_buf_close(&batch);
    sr_buf_close(&packed);
}

void refuse_proposals(struct world *world, enum sr_api_error error)
{
    struct sr_mail *list = take_all(&consensus.proposals);
    while (list != NULL) {
        struct sr_proposal *proposal = sr_container(list, struct sr_proposal, mail);
        list = list->next;
        sr_origins_answer(&world->origins, proposal->origin, proposal->sequence, error, 0);
        sr_proposal_free(proposal);
    }
}

void answer_reads(struct world *world, enum sr_api_error error)
{
    struct sr_mail *list = take_all(&consensus.reads);
    while (list != NULL) {
        struct sr_read *read = sr_container(list, struct sr_read, mail);
        list = list->next;
        sr_origins_answer(&world->origins, read->origin, read->sequence, error, world->index);
        sr_free(read);
    }
}

void put(struct world *world, const char *key, const char *value)
{
    struct test_call *test = call_put(world, key, value);
    commit(world);
    turns(world);
    protobuf_c_message_free_unpacked(expect_reply(test, &etcdserverpb__put_response__descriptor),
                                     NULL);
}

void put_many(struct world *world, const char *prefix, size_t count)
{
    enum { BATCH = 500 };
    struct test_call *calls[BATCH];
    for (size_t done = 0; done < count;) {
        size_t size = 0;
        while (size < BATCH && done < count) {
            char key[32];
            snprintf(key, sizeof(key), "%s%05zu", prefix, done++);
            calls[size++] = call_put(world, key, "value");
        }
        commit(world);
        turns(world);
        for (size_t i = 0; i < size; i++) {
            assert_true(calls[i]->answered);
            assert_int_equal(calls[i]->code, SR_GRPC_OK);
            call_free(calls[i]);
        }
    }
}
