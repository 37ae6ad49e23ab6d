/* SPDX-License-Identifier: Apache-2.0
 *
 * Random commands against a state machine of arrays and linear search, written from the rules
 * alone. Every answer is compared as text, every error by its name.
 */
#include "tests/unit/storage/random_commands.h"

#include "proto/validate.h"

#define REVISIONS_MAX 8192

struct item {
    bool lives;
    char value[16];
    int64_t create;
    int64_t mod;
    int64_t version;
};

struct keys {
    struct item items[RANDOM_KEYS];
};

/* keys[r]: as of revision r. */
static struct {
    int64_t revision;
    int64_t compacted;
    struct keys *keys;
    struct keys now; /* of the command in the making */
    bool changed;
} model;

struct writer {
    char text[1 << 18];
    size_t size;
};

static struct writer expected;
static struct writer actual;

static void said(struct writer *writer, int count)
{
    writer->size += (size_t)count;
    assert_true(writer->size < sizeof(writer->text));
}

#define say(writer, ...)                                                                           \
    said((writer), snprintf((writer)->text + (writer)->size,                                       \
                            sizeof((writer)->text) - (writer)->size, __VA_ARGS__))

/* ---- what the store answers, as text ---- */

static void say_pair(struct writer *writer, const Mvccpb__KeyValue *kv)
{
    say(writer, "(%s)", pair_text(kv));
}

static void say_txn(struct writer *writer, const Etcdserverpb__TxnResponse *response)
{
    say(writer, "T%d[", response->succeeded);
    for (size_t i = 0; i < response->n_responses; i++) {
        const Etcdserverpb__ResponseOp *op = response->responses[i];
        switch (op->response_case) {
        case ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_PUT:
            say(writer, "P@%d", (int)op->response_put->header->revision);
            if (op->response_put->prev_kv != NULL) {
                say_pair(writer, op->response_put->prev_kv);
            }
            break;
        case ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_DELETE_RANGE:
            say(writer, "D@%d %d", (int)op->response_delete_range->header->revision,
                (int)op->response_delete_range->deleted);
            for (size_t j = 0; j < op->response_delete_range->n_prev_kvs; j++) {
                say_pair(writer, op->response_delete_range->prev_kvs[j]);
            }
            break;
        case ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_RANGE:
            say(writer, "R@%d %d", (int)op->response_range->header->revision,
                (int)op->response_range->count);
            for (size_t j = 0; j < op->response_range->n_kvs; j++) {
                say_pair(writer, op->response_range->kvs[j]);
            }
            say(writer, "%s", op->response_range->more ? "+" : "");
            break;
        default:
            say_txn(writer, op->response_txn);
            break;
        }
        say(writer, ";");
    }
    say(writer, "]");
}

/* ---- what the model answers ---- */

static int index_of(ProtobufCBinaryData key)
{
    assert_int_equal(key.len, 2);
    return key.data[1] - 'a';
}

static bool covers(ProtobufCBinaryData key, ProtobufCBinaryData end, int index)
{
    if (end.len == 0) {
        return index == index_of(key);
    }
    return index >= index_of(key) && (end.len == 1 || index < index_of(end));
}

static void model_pair(int index, const struct item *item, bool with_value)
{
    say(&expected, "(k%c=%s %d/%d/%d)", 'a' + index, with_value ? item->value : "",
        (int)item->create, (int)item->mod, (int)item->version);
}

static int64_t revision_so_far(void)
{
    return model.revision + model.changed;
}

static void model_put(const Etcdserverpb__PutRequest *request)
{
    int index = index_of(request->key);
    struct item *item = &model.now.items[index];
    model.changed = true;
    say(&expected, "P@%d", (int)revision_so_far());
    if (item->lives && request->prev_kv) {
        model_pair(index, item, true);
    }
    if (!item->lives) {
        *item = (struct item){.lives = true, .create = model.revision + 1};
    }
    item->version++;
    item->mod = model.revision + 1;
    if (!request->ignore_value) {
        (void)snprintf(item->value, sizeof(item->value), "%.*s", (int)request->value.len,
                       (const char *)request->value.data);
    }
}

static void model_delete(const Etcdserverpb__DeleteRangeRequest *request)
{
    struct keys before = model.now;
    int deleted = 0;
    for (int i = 0; i < RANDOM_KEYS; i++) {
        if (model.now.items[i].lives && covers(request->key, request->range_end, i)) {
            model.now.items[i] = (struct item){0};
            model.changed = true;
            deleted++;
        }
    }
    say(&expected, "D@%d %d", (int)revision_so_far(), deleted);
    for (int i = 0; i < RANDOM_KEYS && request->prev_kv; i++) {
        if (before.items[i].lives && !model.now.items[i].lives) {
            model_pair(i, &before.items[i], true);
        }
    }
}

static void model_range(const Etcdserverpb__RangeRequest *request)
{
    const struct keys *keys = request->revision > 0 ? &model.keys[request->revision] : &model.now;
    int count = 0;
    for (int i = 0; i < RANDOM_KEYS; i++) {
        count += keys->items[i].lives && covers(request->key, request->range_end, i);
    }
    say(&expected, "R@%d %d", (int)revision_so_far(), count);
    int left = request->limit > 0 ? (int)request->limit : RANDOM_KEYS;
    for (int i = 0; i < RANDOM_KEYS && !request->count_only; i++) {
        if (keys->items[i].lives && covers(request->key, request->range_end, i) && left-- > 0) {
            model_pair(i, &keys->items[i], !request->keys_only);
        }
    }
    say(&expected, "%s", left < 0 && !request->count_only ? "+" : "");
}

static bool result_is(int result, int order)
{
    return result == 0   ? order == 0
           : result == 1 ? order > 0
           : result == 2 ? order < 0
                         : order != 0;
}

static bool item_holds(const Etcdserverpb__Compare *compare, const struct item *item)
{
    if (compare->target == ETCDSERVERPB__COMPARE__COMPARE_TARGET__VALUE) {
        char value[16];
        (void)snprintf(value, sizeof(value), "%.*s", (int)compare->value.len,
                       (const char *)compare->value.data);
        return item->lives && result_is((int)compare->result, strcmp(item->value, value));
    }
    int64_t number = compare->target == 0   ? item->version
                     : compare->target == 1 ? item->create
                                            : item->mod;
    return result_is((int)compare->result, number < compare->version    ? -1
                                           : number == compare->version ? 0
                                                                        : 1);
}

static bool compare_holds(const Etcdserverpb__Compare *compare)
{
    static const struct item nothing;
    const struct keys *before = &model.keys[model.revision];
    bool any = false;
    for (int i = 0; i < RANDOM_KEYS; i++) {
        if (!before->items[i].lives || !covers(compare->key, compare->range_end, i)) {
            continue;
        }
        any = true;
        if (!item_holds(compare, &before->items[i])) {
            return false;
        }
    }
    return any || item_holds(compare, &nothing);
}

static bool model_holds(const Etcdserverpb__TxnRequest *request)
{
    for (size_t i = 0; i < request->n_compare; i++) {
        if (!compare_holds(request->compare[i])) {
            return false;
        }
    }
    return true;
}

static enum sr_api_error put_error(const Etcdserverpb__PutRequest *put, bool lease_first)
{
    bool missing = (put->ignore_value || put->ignore_lease) &&
                   !model.keys[model.revision].items[index_of(put->key)].lives;
    if (missing && !(lease_first && put->lease != 0)) {
        return SR_API_KEY_NOT_FOUND;
    }
    return put->lease != 0 ? SR_API_LEASE_NOT_FOUND : SR_API_NONE;
}

static enum sr_api_error range_error(const Etcdserverpb__RangeRequest *range)
{
    if (range->revision > model.revision) {
        return SR_API_FUTURE_REVISION;
    }
    return range->revision != 0 && range->revision < model.compacted ? SR_API_COMPACTED
                                                                     : SR_API_NONE;
}

static enum sr_api_error ops_error(const Etcdserverpb__TxnRequest *request, bool puts)
{
    bool succeeded = model_holds(request);
    size_t count = succeeded ? request->n_success : request->n_failure;
    Etcdserverpb__RequestOp **ops = succeeded ? request->success : request->failure;
    enum sr_api_error error = SR_API_NONE;
    for (size_t i = 0; i < count && error == SR_API_NONE; i++) {
        if (ops[i]->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN) {
            error = ops_error(ops[i]->request_txn, puts);
        } else if (puts && ops[i]->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT) {
            error = put_error(ops[i]->request_put, false);
        } else if (!puts &&
                   ops[i]->request_case == ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE) {
            error = range_error(ops[i]->request_range);
        }
    }
    return error;
}

static void model_txn(const Etcdserverpb__TxnRequest *request)
{
    bool succeeded = model_holds(request);
    size_t count = succeeded ? request->n_success : request->n_failure;
    Etcdserverpb__RequestOp **ops = succeeded ? request->success : request->failure;
    say(&expected, "T%d[", succeeded);
    for (size_t i = 0; i < count; i++) {
        switch (ops[i]->request_case) {
        case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT:
            model_put(ops[i]->request_put);
            break;
        case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE:
            model_delete(ops[i]->request_delete_range);
            break;
        case ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE:
            model_range(ops[i]->request_range);
            break;
        default:
            model_txn(ops[i]->request_txn);
            break;
        }
        say(&expected, ";");
    }
    say(&expected, "]");
}

static enum sr_api_error model_compact(int64_t revision)
{
    if (revision <= model.compacted) {
        return SR_API_COMPACTED;
    }
    if (revision > model.revision) {
        return SR_API_FUTURE_REVISION;
    }
    model.compacted = revision;
    return SR_API_NONE;
}

static enum sr_api_error model_apply(const Strongroom__Command *command)
{
    enum sr_api_error error = SR_API_NONE;
    model.now = model.keys[model.revision];
    model.changed = false;
    expected.size = 0;
    expected.text[0] = 0;
    switch (command->operation_case) {
    case STRONGROOM__COMMAND__OPERATION_PUT:
        error = sr_validate_put(command->put);
        error = error != SR_API_NONE ? error : put_error(command->put, true);
        if (error == SR_API_NONE) {
            model_put(command->put);
        }
        break;
    case STRONGROOM__COMMAND__OPERATION_DELETE_RANGE:
        model_delete(command->delete_range);
        break;
    case STRONGROOM__COMMAND__OPERATION_COMPACTION:
        error = model_compact(command->compaction->revision);
        break;
    default:
        error = sr_validate_txn(command->txn);
        error = error != SR_API_NONE ? error : ops_error(command->txn, true);
        error = error != SR_API_NONE ? error : ops_error(command->txn, false);
        if (error == SR_API_NONE) {
            model_txn(command->txn);
        }
        break;
    }
    if (model.changed) {
        model.revision++;
        assert_true(model.revision < REVISIONS_MAX);
        model.keys[model.revision] = model.now;
    }
    return error;
}

/* ---- side by side ---- */

static size_t errors_seen[SR_API_ERROR_COUNT];

static void check_command(struct fixture *fixture, const Strongroom__Command *command)
{
    enum sr_api_error error = model_apply(command);
    const struct sr_outcome *outcome = apply(fixture, command);
    if (outcome->error != error) {
        print_error("expected \"%s\", got \"%s\"\n", sr_api_error_text(error),
                    sr_api_error_text(outcome->error));
    }
    assert_int_equal(outcome->error, error);
    assert_int_equal(outcome->revision, model.revision);
    errors_seen[error]++;
    if (error == SR_API_NONE && command->operation_case == STRONGROOM__COMMAND__OPERATION_TXN) {
        actual.size = 0;
        say_txn(&actual, txn_answer());
        assert_string_equal(actual.text, expected.text);
    }
}

/* The whole state at a revision that is still there. */
static void check_state(struct fixture *fixture, int64_t revision)
{
    Etcdserverpb__RangeRequest *request = range_request("k", "l");
    request->revision = revision;
    const Etcdserverpb__RangeResponse *response = read_range(fixture, request);
    expected.size = actual.size = 0;
    for (size_t i = 0; i < response->n_kvs; i++) {
        say_pair(&actual, response->kvs[i]);
    }
    for (int i = 0; i < RANDOM_KEYS; i++) {
        if (model.keys[revision].items[i].lives) {
            model_pair(i, &model.keys[revision].items[i], true);
        }
    }
    say(&actual, ".");
    say(&expected, ".");
    assert_string_equal(actual.text, expected.text);
}

static void random_commands_do_what_the_model_does(void **state)
{
    struct fixture *fixture = *state;
    uint64_t seed = 0x7e57;
    model.keys = sr_calloc(REVISIONS_MAX, sizeof(*model.keys));
    model.revision = 1;
    model.compacted = -1;
    for (int i = 0; i < 6000; i++) {
        Strongroom__Command *command = random_command(&seed, model.revision);
        command->request_id.len = 0;
        check_command(fixture, command);
        struct sr_err err = {0};
        if (below(&seed, 30) == 0 && sr_store_freeze(fixture->store, true)) {
            fixture_ok(sr_store_flush(fixture->store, &err), &err);
        }
        int64_t oldest = model.compacted > 1 ? model.compacted : 1;
        check_state(fixture,
                    oldest + (int64_t)below(&seed, (uint64_t)(model.revision - oldest + 1)));
        if (i % 64 == 0) {
            sr_arena_reset(&commands_arena);
        }
        if (below(&seed, 500) == 0) {
            fixture_settle(fixture);
            fixture_reopen(fixture);
        }
    }
    /* The commands were of all kinds. */
    static const enum sr_api_error kinds[] = {
        SR_API_NONE,           SR_API_KEY_NOT_FOUND,   SR_API_DUPLICATE_KEY, SR_API_LEASE_NOT_FOUND,
        SR_API_LEASE_PROVIDED, SR_API_FUTURE_REVISION, SR_API_COMPACTED};
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        assert_true(errors_seen[kinds[i]] >= 10);
    }
    assert_true(model.revision > 2000);
    sr_free(model.keys);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        commands_test(random_commands_do_what_the_model_does),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
