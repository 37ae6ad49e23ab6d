/* SPDX-License-Identifier: Apache-2.0
 *
 * Commands written as expressions, applied one by one to the store of a fixture, and their answers
 * unpacked. All requests live in one arena until commands_reset.
 */
#ifndef SR_TESTS_STORAGE_COMMANDS_H
#define SR_TESTS_STORAGE_COMMANDS_H

#include "tests/unit/storage/store_fixture.h"

#include "base/alloc.h"
#include "proto/batch.h"
#include "proto/command.pb-c.h"

#define COMMANDS_TERM   5
#define COMMANDS_ORIGIN 77

static struct sr_arena commands_arena = {.limit_bytes = SIZE_MAX};

static inline void *commands_alloc(size_t size)
{
    void *memory = sr_arena_alloc(&commands_arena, size);
    assert_non_null(memory);
    memset(memory, 0, size);
    return memory;
}

static inline ProtobufCBinaryData data_of(const char *text)
{
    size_t size = strlen(text);
    uint8_t *copy = commands_alloc(size + 1);
    memcpy(copy, text, size);
    return (ProtobufCBinaryData){size, copy};
}

/* "\0": from the key on, without end. */
static inline ProtobufCBinaryData no_end(void)
{
    static uint8_t zero;
    return (ProtobufCBinaryData){1, &zero};
}

/* ---- requests ---- */

static inline Etcdserverpb__PutRequest *put_request(const char *key, const char *value)
{
    Etcdserverpb__PutRequest *request = commands_alloc(sizeof(*request));
    etcdserverpb__put_request__init(request);
    request->key = data_of(key);
    request->value = data_of(value);
    return request;
}

static inline Etcdserverpb__DeleteRangeRequest *delete_request(const char *key, const char *end)
{
    Etcdserverpb__DeleteRangeRequest *request = commands_alloc(sizeof(*request));
    etcdserverpb__delete_range_request__init(request);
    request->key = data_of(key);
    request->range_end = data_of(end);
    return request;
}

static inline Etcdserverpb__RangeRequest *range_request(const char *key, const char *end)
{
    Etcdserverpb__RangeRequest *request = commands_alloc(sizeof(*request));
    etcdserverpb__range_request__init(request);
    request->key = data_of(key);
    request->range_end = data_of(end);
    return request;
}

static inline Etcdserverpb__TxnRequest *txn_request(void)
{
    Etcdserverpb__TxnRequest *request = commands_alloc(sizeof(*request));
    etcdserverpb__txn_request__init(request);
    return request;
}

static inline Etcdserverpb__RequestOp *op_new(void)
{
    Etcdserverpb__RequestOp *op = commands_alloc(sizeof(*op));
    etcdserverpb__request_op__init(op);
    return op;
}

static inline Etcdserverpb__RequestOp *op_put(Etcdserverpb__PutRequest *request)
{
    Etcdserverpb__RequestOp *op = op_new();
    op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
    op->request_put = request;
    return op;
}

static inline Etcdserverpb__RequestOp *op_delete(Etcdserverpb__DeleteRangeRequest *request)
{
    Etcdserverpb__RequestOp *op = op_new();
    op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE;
    op->request_delete_range = request;
    return op;
}

static inline Etcdserverpb__RequestOp *op_range(Etcdserverpb__RangeRequest *request)
{
    Etcdserverpb__RequestOp *op = op_new();
    op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE;
    op->request_range = request;
    return op;
}

static inline Etcdserverpb__RequestOp *op_txn(Etcdserverpb__TxnRequest *request)
{
    Etcdserverpb__RequestOp *op = op_new();
    op->request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN;
    op->request_txn = request;
    return op;
}

static inline void *list_add(void *list, size_t *count, void *item)
{
    void **more = commands_alloc((*count + 1) * sizeof(*more));
    if (*count > 0) {
        memcpy(more, list, *count * sizeof(*more));
    }
    more[(*count)++] = item;
    return more;
}

static inline Etcdserverpb__TxnRequest *then(Etcdserverpb__TxnRequest *txn,
                                             Etcdserverpb__RequestOp *op)
{
    txn->success = list_add(txn->success, &txn->n_success, op);
    return txn;
}

static inline Etcdserverpb__TxnRequest *otherwise(Etcdserverpb__TxnRequest *txn,
                                                  Etcdserverpb__RequestOp *op)
{
    txn->failure = list_add(txn->failure, &txn->n_failure, op);
    return txn;
}

static inline Etcdserverpb__Compare *compare_new(const char *key, const char *end, int target,
                                                 int result)
{
    Etcdserverpb__Compare *compare = commands_alloc(sizeof(*compare));
    etcdserverpb__compare__init(compare);
    compare->key = data_of(key);
    compare->range_end = data_of(end);
    compare->target = (Etcdserverpb__Compare__CompareTarget)target;
    compare->result = (Etcdserverpb__Compare__CompareResult)result;
    return compare;
}

static inline Etcdserverpb__Compare *compare_number(const char *key, int target, int result,
                                                    int64_t number)
{
    Etcdserverpb__Compare *compare = compare_new(key, "", target, result);
    switch (target) {
    case ETCDSERVERPB__COMPARE__COMPARE_TARGET__VERSION:
        compare->target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_VERSION;
        break;
    case ETCDSERVERPB__COMPARE__COMPARE_TARGET__CREATE:
        compare->target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_CREATE_REVISION;
        break;
    case ETCDSERVERPB__COMPARE__COMPARE_TARGET__LEASE:
        compare->target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_LEASE;
        break;
    default:
        compare->target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_MOD_REVISION;
        break;
    }
    compare->version = number; /* a union: all of its numbers are in one place */
    return compare;
}

static inline Etcdserverpb__Compare *compare_value(const char *key, int result, const char *value)
{
    Etcdserverpb__Compare *compare =
        compare_new(key, "", ETCDSERVERPB__COMPARE__COMPARE_TARGET__VALUE, result);
    compare->target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_VALUE;
    compare->value = data_of(value);
    return compare;
}

static inline Etcdserverpb__TxnRequest *when(Etcdserverpb__TxnRequest *txn,
                                             Etcdserverpb__Compare *compare)
{
    txn->compare = list_add(txn->compare, &txn->n_compare, compare);
    return txn;
}

/* ---- commands ---- */

static inline Strongroom__Command *command_new(void)
{
    static uint64_t sequence;
    static char actor[] = "tester";
    Strongroom__Command *command = commands_alloc(sizeof(*command));
    strongroom__command__init(command);
    command->origin = COMMANDS_ORIGIN;
    command->sequence = ++sequence;
    command->actor = actor;
    return command;
}

static inline Strongroom__Command *put(Etcdserverpb__PutRequest *request)
{
    Strongroom__Command *command = command_new();
    command->operation_case = STRONGROOM__COMMAND__OPERATION_PUT;
    command->put = request;
    return command;
}

static inline Strongroom__Command *put_text(const char *key, const char *value)
{
    return put(put_request(key, value));
}

static inline Strongroom__Command *del(Etcdserverpb__DeleteRangeRequest *request)
{
    Strongroom__Command *command = command_new();
    command->operation_case = STRONGROOM__COMMAND__OPERATION_DELETE_RANGE;
    command->delete_range = request;
    return command;
}

static inline Strongroom__Command *txn(Etcdserverpb__TxnRequest *request)
{
    Strongroom__Command *command = command_new();
    command->operation_case = STRONGROOM__COMMAND__OPERATION_TXN;
    command->txn = request;
    return command;
}

static inline Strongroom__Command *compact(int64_t revision)
{
    Strongroom__Command *command = command_new();
    command->operation_case = STRONGROOM__COMMAND__OPERATION_COMPACTION;
    command->compaction = commands_alloc(sizeof(*command->compaction));
    etcdserverpb__compaction_request__init(command->compaction);
    command->compaction->revision = revision;
    return command;
}

/* With the request id that begins with @number. */
static inline Strongroom__Command *with_id(Strongroom__Command *command, uint64_t number)
{
    command->request_id.data = commands_alloc(16);
    command->request_id.len = 16;
    memcpy(command->request_id.data, &number, sizeof(number));
    return command;
}

/* ---- entries ---- */

static inline void batch_add(struct sr_buf *batch, const Strongroom__Command *command)
{
    size_t size = strongroom__command__get_packed_size(command);
    uint8_t *packed = sr_alloc(size);
    strongroom__command__pack(command, packed);
    if (batch->size == 0) {
        sr_batch_begin(batch, COMMANDS_TERM);
    }
    sr_batch_add(batch, packed, size);
    sr_free(packed);
}

/* The answers of the last entry, in order. */
#define COMMANDS_OUTCOMES_MAX 256
static struct {
    struct sr_outcome list[COMMANDS_OUTCOMES_MAX];
    size_t count;
    bool unwanted; /* as on a node where nobody waits */
} outcomes;

static inline void outcomes_clear(void)
{
    for (size_t i = 0; i < outcomes.count; i++) {
        sr_buf_close(&outcomes.list[i].body);
    }
    outcomes.count = 0;
}

static inline bool outcomes_wanted(void *arg, uint64_t origin)
{
    (void)arg;
    return !outcomes.unwanted && origin == COMMANDS_ORIGIN;
}

static inline void outcomes_deliver(void *arg, struct sr_outcome *outcome)
{
    struct fixture *fixture = arg;
    /* Visible before anybody is told. */
    assert_true(sr_store_revision(fixture->store) >= outcome->revision);
    assert_true(outcomes.count < COMMANDS_OUTCOMES_MAX);
    outcomes.list[outcomes.count++] = *outcome;
    outcome->body = (struct sr_buf){0};
}

static inline int apply_batch(struct fixture *fixture, const struct sr_buf *batch,
                              struct sr_err *err)
{
    struct sr_outcome_sink sink = {
        .wanted = outcomes_wanted, .deliver = outcomes_deliver, .arg = fixture};
    uint64_t index = sr_store_applied_index(fixture->store) + 1;
    outcomes_clear();
    return sr_store_apply(fixture->store, index, batch->data, batch->size, &sink, err);
}

/* Apply @command as an entry of its own. The outcome is valid until the next one. */
static inline const struct sr_outcome *apply(struct fixture *fixture,
                                             const Strongroom__Command *command)
{
    struct sr_buf batch = {0};
    struct sr_err err = {0};
    batch_add(&batch, command);
    fixture_ok(apply_batch(fixture, &batch, &err), &err);
    sr_buf_close(&batch);
    if (outcomes.unwanted) {
        return NULL;
    }
    assert_int_equal(outcomes.count, 1);
    assert_true(outcomes.list[0].sequence == command->sequence);
    assert_true(outcomes.list[0].term == COMMANDS_TERM);
    return &outcomes.list[0];
}

/* Apply what is to succeed; its revision. */
static inline int64_t applied(struct fixture *fixture, const Strongroom__Command *command)
{
    const struct sr_outcome *outcome = apply(fixture, command);
    if (outcome->error != SR_API_NONE) {
        print_error("%s\n", sr_api_error_text(outcome->error));
    }
    assert_int_equal(outcome->error, SR_API_NONE);
    return outcome->revision;
}

/* Apply what is to fail without effect. */
static inline void apply_fails(struct fixture *fixture, const Strongroom__Command *command,
                               enum sr_api_error error)
{
    uint8_t before[32];
    uint8_t after[32];
    int64_t revision = 0;
    int64_t revision_after = 0;
    uint64_t index = 0;
    sr_store_state_hash(fixture->store, before, &revision, &index);
    const struct sr_outcome *outcome = apply(fixture, command);
    if (outcome->error != error) {
        print_error("%s\n", sr_api_error_text(outcome->error));
    }
    assert_int_equal(outcome->error, error);
    assert_int_equal(outcome->body.size, 0);
    assert_int_equal(outcome->revision, revision);
    sr_store_state_hash(fixture->store, after, &revision_after, &index);
    assert_int_equal(revision_after, revision);
    assert_memory_equal(after, before, sizeof(before));
}

/* ---- answers ---- */

static inline void *answer(const struct sr_buf *body, const ProtobufCMessageDescriptor *type)
{
    static ProtobufCMessage *last;
    if (last != NULL) {
        protobuf_c_message_free_unpacked(last, NULL);
        last = NULL;
    }
    if (type == NULL) {
        return NULL;
    }
    last = protobuf_c_message_unpack(type, NULL, body->size, body->data);
    assert_non_null(last);
    assert_int_equal(last->n_unknown_fields, 0);
    return last;
}

/* The unpacked answer of the last command; valid until the next call. */
static inline Etcdserverpb__TxnResponse *txn_answer(void)
{
    return answer(&outcomes.list[0].body, &etcdserverpb__txn_response__descriptor);
}

static inline Etcdserverpb__PutResponse *put_answer(void)
{
    return answer(&outcomes.list[0].body, &etcdserverpb__put_response__descriptor);
}

static inline Etcdserverpb__DeleteRangeResponse *delete_answer(void)
{
    return answer(&outcomes.list[0].body, &etcdserverpb__delete_range_response__descriptor);
}

/* "key=value create/mod/version" of a pair; valid for the next few calls. */
static inline const char *pair_text(const Mvccpb__KeyValue *kv)
{
    static char texts[8][256];
    static unsigned next;
    char *out = texts[next++ % 8];
    if (kv == NULL) {
        return "none";
    }
    (void)snprintf(out, sizeof(texts[0]), "%.*s=%.*s %d/%d/%d", (int)kv->key.len,
                   (const char *)kv->key.data, (int)kv->value.len, (const char *)kv->value.data,
                   (int)kv->create_revision, (int)kv->mod_revision, (int)kv->version);
    return out;
}

/* What a client would be answered now: slices of @keys_max keys, each with a view of its own.
 * SR_API_NONE, and *@ret_response until the next answer; or the error. */
static inline enum sr_api_error
read_sliced(struct fixture *fixture, const Etcdserverpb__RangeRequest *request, size_t keys_max,
            Etcdserverpb__RangeResponse **ret_response, int64_t *ret_revision)
{
    struct sr_range *range = sr_range_new(request);
    enum sr_api_error error = SR_API_NONE;
    struct sr_err err = {0};
    struct sr_buf body = {0};
    int rc = SR_AGAIN;
    while (rc == SR_AGAIN) {
        struct sr_view *view = NULL;
        fixture_ok(sr_view_open(fixture->store, &view, &err), &err);
        rc = sr_range_step(range, view, keys_max, &error, &err);
        sr_view_close(view);
    }
    if (rc != SR_INVALID) {
        fixture_ok(rc, &err);
        sr_range_pack(range, &body);
        *ret_response = answer(&body, &etcdserverpb__range_response__descriptor);
        *ret_revision = sr_range_header_revision(range);
    }
    sr_range_free(range);
    sr_buf_close(&body);
    return error;
}

static inline Etcdserverpb__RangeResponse *read_range(struct fixture *fixture,
                                                      const Etcdserverpb__RangeRequest *request)
{
    Etcdserverpb__RangeResponse *response = NULL;
    int64_t revision = 0;
    enum sr_api_error error = read_sliced(fixture, request, 1000, &response, &revision);
    assert_int_equal(error, SR_API_NONE);
    assert_int_equal(revision, sr_store_revision(fixture->store));
    return response;
}

/* The pair of @key as of now. */
static inline const char *pair_of(struct fixture *fixture, const char *key)
{
    Etcdserverpb__RangeResponse *response = read_range(fixture, range_request(key, ""));
    return response->n_kvs == 0 ? "none" : pair_text(response->kvs[0]);
}

/* ---- fixture ---- */

static struct fixture commands_fixture;

static inline int commands_setup(void **state)
{
    fixture_init(&commands_fixture);
    fixture_open(&commands_fixture);
    outcomes.unwanted = false;
    *state = &commands_fixture;
    return 0;
}

static inline void commands_reset(void)
{
    outcomes_clear();
    (void)answer(NULL, NULL);
    sr_arena_close(&commands_arena);
}

static inline int commands_teardown(void **state)
{
    fixture_close(*state);
    commands_reset();
    return 0;
}

#define commands_test(function)                                                                    \
    cmocka_unit_test_setup_teardown(function, commands_setup, commands_teardown)

#endif
