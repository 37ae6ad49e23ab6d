/* SPDX-License-Identifier: Apache-2.0
 *
 * Ranges: etcd's pipeline, rule by rule, then against a naive model in slices of every size.
 */
#include "tests/unit/storage/commands.h"

#define NONE    ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__NONE
#define ASCEND  ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__ASCEND
#define DESCEND ETCDSERVERPB__RANGE_REQUEST__SORT_ORDER__DESCEND
#define KEY     ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__KEY
#define VERSION ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__VERSION
#define CREATE  ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__CREATE
#define MOD     ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__MOD
#define VALUE   ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__VALUE

/* The keys of an answer, with "+" when there is more and the count: "a b + /3". */
static const char *keys_text(const Etcdserverpb__RangeResponse *response)
{
    static char text[1024];
    size_t size = 0;
    for (size_t i = 0; i < response->n_kvs; i++) {
        size += (size_t)snprintf(text + size, sizeof(text) - size, "%.*s ",
                                 (int)response->kvs[i]->key.len,
                                 (const char *)response->kvs[i]->key.data);
    }
    (void)snprintf(text + size, sizeof(text) - size, "%s/%d", response->more ? "+" : "",
                   (int)response->count);
    return text;
}

static const char *keys_of(struct fixture *fixture, const Etcdserverpb__RangeRequest *request)
{
    return keys_text(read_range(fixture, request));
}

static enum sr_api_error error_of(struct fixture *fixture,
                                  const Etcdserverpb__RangeRequest *request)
{
    Etcdserverpb__RangeResponse *response = NULL;
    int64_t revision = 0;
    return read_sliced(fixture, request, 1000, &response, &revision);
}

/* Revisions 2 to 8; a, b, c, d live. By mod: d c a b; by create: c a b d; by version: b and d
 * have 1, c 2, a 3; by value: b a d c. */
static void some_keys(struct fixture *fixture)
{
    applied(fixture, put_text("c", "x"));
    applied(fixture, put_text("a", "0"));
    applied(fixture, put_text("a", "1"));
    applied(fixture, put_text("gone", "1"));
    applied(fixture, put_text("b", "0"));
    applied(fixture, put_text("d", "2"));
    applied(fixture, del(delete_request("gone", "")));
    applied(fixture, put_text("c", "3"));
    applied(fixture, put_text("a", "1"));
}

static void intervals(void **state)
{
    struct fixture *fixture = *state;
    some_keys(fixture);
    assert_string_equal(keys_of(fixture, range_request("b", "")), "b /1");
    assert_string_equal(keys_of(fixture, range_request("gone", "")), "/0");
    assert_string_equal(keys_of(fixture, range_request("a", "c")), "a b /2");
    assert_string_equal(keys_of(fixture, range_request("a", "cc")), "a b c /3");
    assert_string_equal(keys_of(fixture, range_request("c", "a")), "/0");
    assert_string_equal(keys_of(fixture, range_request("c", "c")), "/0");
    Etcdserverpb__RangeRequest *request = range_request("b", "");
    request->range_end = no_end();
    assert_string_equal(keys_of(fixture, request), "b c d /3");
    request->key = no_end(); /* key "\0" */
    assert_string_equal(keys_of(fixture, request), "a b c d /4");
}

static void pairs_are_whole(void **state)
{
    struct fixture *fixture = *state;
    some_keys(fixture);
    const Etcdserverpb__RangeResponse *response = read_range(fixture, range_request("a", "z"));
    assert_null(response->header);
    assert_string_equal(pair_text(response->kvs[0]), "a=1 3/10/3");
    assert_string_equal(pair_text(response->kvs[1]), "b=0 6/6/1");
    assert_string_equal(pair_text(response->kvs[2]), "c=3 2/9/2");
    assert_string_equal(pair_text(response->kvs[3]), "d=2 7/7/1");
    assert_int_equal(response->kvs[0]->lease, 0);
}

static void revisions_are_readable_between_compaction_and_now(void **state)
{
    struct fixture *fixture = *state;
    some_keys(fixture);
    Etcdserverpb__RangeRequest *request = range_request("a", "z");
    request->revision = 11;
    assert_int_equal(error_of(fixture, request), SR_API_FUTURE_REVISION);
    request->revision = 7;
    assert_string_equal(keys_of(fixture, request), "a b c d gone /5");
    request->revision = 4;
    assert_string_equal(pair_text(read_range(fixture, request)->kvs[0]), "a=1 3/4/2");
    request->revision = 1;
    assert_string_equal(keys_of(fixture, request), "/0");
    request->revision = -7; /* the latest */
    assert_string_equal(keys_of(fixture, request), "a b c d /4");
    applied(fixture, compact(7));
    for (int settled = 0; settled < 2; settled++) {
        request->revision = 6;
        assert_int_equal(error_of(fixture, request), SR_API_COMPACTED);
        request->revision = 7;
        assert_string_equal(keys_of(fixture, request), "a b c d gone /5");
        request->revision = -7;
        assert_string_equal(keys_of(fixture, request), "a b c d /4");
        fixture_settle(fixture);
    }
}

static void the_count_ignores_everything(void **state)
{
    struct fixture *fixture = *state;
    some_keys(fixture);
    Etcdserverpb__RangeRequest *request = range_request("a", "z");
    request->limit = 2;
    assert_string_equal(keys_of(fixture, request), "a b +/4");
    request->limit = 4;
    assert_string_equal(keys_of(fixture, request), "a b c d /4");
    request->limit = -1;
    assert_string_equal(keys_of(fixture, request), "a b c d /4");
    request->limit = 1;
    request->count_only = true;
    assert_string_equal(keys_of(fixture, request), "/4");
    request->count_only = false;
    request->limit = 0;
    request->min_mod_revision = 9;
    assert_string_equal(keys_of(fixture, request), "a c /4");
    request->limit = 1; /* more is that of the filtered list */
    assert_string_equal(keys_of(fixture, request), "a +/4");
    request->min_mod_revision = 10;
    assert_string_equal(keys_of(fixture, request), "a /4");
}

static void filters_are_inclusive(void **state)
{
    struct fixture *fixture = *state;
    some_keys(fixture);
    Etcdserverpb__RangeRequest *request = range_request("a", "z");
    request->min_mod_revision = 7;
    request->max_mod_revision = 9;
    assert_string_equal(keys_of(fixture, request), "c d /4");
    request = range_request("a", "z");
    request->min_create_revision = 3;
    request->max_create_revision = 6;
    assert_string_equal(keys_of(fixture, request), "a b /4");
    request->max_mod_revision = 6;
    assert_string_equal(keys_of(fixture, request), "b /4");
    request->revision = 4; /* on the metadata as of then */
    assert_string_equal(keys_of(fixture, request), "a /2");
    request = range_request("b", "");
    request->min_mod_revision = 7;
    assert_string_equal(keys_of(fixture, request), "/1");
}

static const char *sorted(struct fixture *fixture, Etcdserverpb__RangeRequest__SortOrder order,
                          Etcdserverpb__RangeRequest__SortTarget target, int64_t limit)
{
    Etcdserverpb__RangeRequest *request = range_request("a", "z");
    request->sort_order = order;
    request->sort_target = target;
    request->limit = limit;
    return keys_of(fixture, request);
}

static void sorting(void **state)
{
    struct fixture *fixture = *state;
    some_keys(fixture);
    assert_string_equal(sorted(fixture, ASCEND, KEY, 0), "a b c d /4");
    assert_string_equal(sorted(fixture, DESCEND, KEY, 0), "d c b a /4");
    assert_string_equal(sorted(fixture, ASCEND, MOD, 0), "b d c a /4");
    assert_string_equal(sorted(fixture, DESCEND, MOD, 0), "a c d b /4");
    assert_string_equal(sorted(fixture, ASCEND, CREATE, 0), "c a b d /4");
    assert_string_equal(sorted(fixture, DESCEND, CREATE, 0), "d b a c /4");
    assert_string_equal(sorted(fixture, ASCEND, VERSION, 0), "b d c a /4");
    assert_string_equal(sorted(fixture, DESCEND, VERSION, 0), "a c b d /4");
    assert_string_equal(sorted(fixture, ASCEND, VALUE, 0), "b a d c /4");
    assert_string_equal(sorted(fixture, DESCEND, VALUE, 0), "c d a b /4");
    assert_string_equal(sorted(fixture, DESCEND, MOD, 1), "a +/4");
    assert_string_equal(sorted(fixture, DESCEND, KEY, 3), "d c b +/4");
    assert_string_equal(sorted(fixture, ASCEND, VALUE, 4), "b a d c /4");
}

/* A target without an order means ascending; with a limit too, only the first limit + 1 keys are
 * sorted, unless there is a filter. */
static void the_quirk_of_unordered_targets(void **state)
{
    struct fixture *fixture = *state;
    some_keys(fixture);
    assert_string_equal(sorted(fixture, NONE, MOD, 0), "b d c a /4");
    assert_string_equal(sorted(fixture, NONE, CREATE, 1), "a +/4"); /* of a and b */
    assert_string_equal(sorted(fixture, ASCEND, CREATE, 1), "c +/4");
    assert_string_equal(sorted(fixture, NONE, CREATE, 2), "c a +/4"); /* of a, b and c */
    assert_string_equal(sorted(fixture, NONE, MOD, 3), "b d c +/4");
    assert_string_equal(sorted(fixture, NONE, KEY, 3), "a b c +/4");
    Etcdserverpb__RangeRequest *request = range_request("a", "z");
    request->sort_target = CREATE;
    request->limit = 1;
    request->min_mod_revision = 1;
    assert_string_equal(keys_of(fixture, request), "c +/4");
}

static void keys_only_leaves_out_values(void **state)
{
    struct fixture *fixture = *state;
    some_keys(fixture);
    Etcdserverpb__RangeRequest *request = range_request("a", "z");
    request->keys_only = true;
    const Etcdserverpb__RangeResponse *response = read_range(fixture, request);
    assert_string_equal(pair_text(response->kvs[0]), "a= 3/10/3");
    request->sort_target = VALUE;
    request->sort_order = DESCEND;
    response = read_range(fixture, request); /* sorted all the same */
    assert_string_equal(keys_text(response), "c d a b /4");
    assert_int_equal(response->kvs[0]->value.len, 0);
}

static void large_values_come_back_whole(void **state)
{
    struct fixture *fixture = *state;
    static uint8_t value[1000000];
    for (size_t i = 0; i < sizeof(value); i++) {
        value[i] = (uint8_t)(i * 31 >> 3);
    }
    Etcdserverpb__PutRequest *request = put_request("big", "");
    request->value = (ProtobufCBinaryData){sizeof(value), value};
    applied(fixture, put(request));
    for (int flushed = 0; flushed < 2; flushed++) {
        const Etcdserverpb__RangeResponse *response = read_range(fixture, range_request("big", ""));
        assert_int_equal(response->kvs[0]->value.len, sizeof(value));
        assert_memory_equal(response->kvs[0]->value.data, value, sizeof(value));
        fixture_flush(fixture);
    }
}

/* 200 keys of 1.4 MB are more than one answer may carry. */
static void answers_have_their_limit(void **state)
{
    struct fixture *fixture = *state;
    enum { VALUE_BYTES = 1400 * 1000, KEYS = 200 };
    uint8_t *value = sr_zalloc(VALUE_BYTES);
    char key[16];
    for (int i = 0; i < KEYS; i++) {
        (void)snprintf(key, sizeof(key), "k%03d", i);
        Etcdserverpb__PutRequest *request = put_request(key, "");
        request->value = (ProtobufCBinaryData){VALUE_BYTES, value};
        applied(fixture, put(request));
        if (sr_store_freeze(fixture->store, i % 20 == 0)) {
            struct sr_err err = {0};
            fixture_ok(sr_store_flush(fixture->store, &err), &err);
        }
    }
    sr_free(value);
    Etcdserverpb__RangeRequest *request = range_request("k", "l");
    assert_int_equal(error_of(fixture, request), SR_API_RESPONSE_TOO_LARGE);
    request->sort_target = VALUE;
    request->sort_order = DESCEND;
    assert_int_equal(error_of(fixture, request), SR_API_RESPONSE_TOO_LARGE);
    request->limit = 3; /* sorting may not hold them all either, but need not */
    request->sort_target = MOD;
    assert_string_equal(keys_of(fixture, request), "k199 k198 k197 +/200");
    request->limit = 0;
    request->keys_only = true;
    assert_int_equal(read_range(fixture, request)->n_kvs, KEYS);
}

/* ---- slices ---- */

static int step(struct fixture *fixture, struct sr_range *range, enum sr_api_error *ret_error)
{
    struct sr_err err = {0};
    struct sr_view *view = NULL;
    fixture_ok(sr_view_open(fixture->store, &view, &err), &err);
    int rc = sr_range_step(range, view, 2, ret_error, &err);
    sr_view_close(view);
    return rc;
}

static const char *finish(struct fixture *fixture, struct sr_range *range)
{
    enum sr_api_error error = SR_API_NONE;
    struct sr_buf body = {0};
    int rc = SR_AGAIN;
    while (rc == SR_AGAIN) {
        rc = step(fixture, range, &error);
    }
    assert_int_equal(rc, SR_OK);
    sr_range_pack(range, &body);
    const char *text = keys_text(answer(&body, &etcdserverpb__range_response__descriptor));
    sr_buf_close(&body);
    return text;
}

static void slices_read_one_revision(void **state)
{
    struct fixture *fixture = *state;
    some_keys(fixture);
    enum sr_api_error error = SR_API_NONE;
    struct sr_range *range = sr_range_new(range_request("a", "z"));
    assert_int_equal(step(fixture, range, &error), SR_AGAIN);
    applied(fixture, put_text("bb", "new"));
    applied(fixture, put_text("cc", "new"));
    applied(fixture, del(delete_request("d", "")));
    fixture_flush(fixture);
    assert_string_equal(finish(fixture, range), "a b c d /4");
    assert_int_equal(sr_range_header_revision(range), 10);
    sr_range_free(range);
}

static void a_range_overtaken_by_compaction(void **state)
{
    struct fixture *fixture = *state;
    some_keys(fixture);
    enum sr_api_error error = SR_API_NONE;
    Etcdserverpb__RangeRequest *at_7 = range_request("a", "z");
    at_7->revision = 7;
    Etcdserverpb__RangeRequest *backwards = range_request("a", "z");
    backwards->sort_order = DESCEND;
    struct sr_range *old = sr_range_new(at_7);
    struct sr_range *latest = sr_range_new(range_request("a", "z"));
    struct sr_range *sorting = sr_range_new(backwards);
    assert_int_equal(step(fixture, old, &error), SR_AGAIN);
    assert_int_equal(step(fixture, latest, &error), SR_AGAIN);
    for (int i = 0; i < 3; i++) { /* four candidates, and into the packing */
        assert_int_equal(step(fixture, sorting, &error), SR_AGAIN);
    }
    applied(fixture, del(delete_request("b", "d")));
    applied(fixture, compact(11));
    fixture_settle(fixture);
    assert_int_equal(step(fixture, old, &error), SR_INVALID);
    assert_int_equal(error, SR_API_COMPACTED);
    assert_string_equal(finish(fixture, latest), "a d /2"); /* begun again */
    assert_int_equal(sr_range_header_revision(latest), 11);
    assert_string_equal(finish(fixture, sorting), "d a /2");
    sr_range_free(old);
    sr_range_free(latest);
    sr_range_free(sorting);
}

static void a_range_overtaken_for_ever_gives_up(void **state)
{
    struct fixture *fixture = *state;
    some_keys(fixture);
    enum sr_api_error error = SR_API_NONE;
    struct sr_range *range = sr_range_new(range_request("a", "z"));
    int rc = step(fixture, range, &error);
    int rounds = 0;
    for (; rc == SR_AGAIN && rounds < 100; rounds++) {
        int64_t revision = applied(fixture, put_text("a", "more"));
        applied(fixture, compact(revision));
        rc = step(fixture, range, &error);
    }
    assert_int_equal(rc, SR_INVALID);
    assert_int_equal(error, SR_API_COMPACTED);
    assert_true(rounds > 1);
    sr_range_free(range);
}

/* ---- against a model ---- */

enum { MODEL_KEYS = 60 };

struct model_pair {
    char key[8];
    char value[8];
    int64_t numbers[5]; /* by sort target: -, version, create, mod, - */
};

static const Etcdserverpb__RangeRequest *model_request;

static int model_order(const void *left, const void *right)
{
    const struct model_pair *a = left;
    const struct model_pair *b = right;
    int target = (int)model_request->sort_target;
    int order = target == VALUE ? strcmp(a->value, b->value)
                : target == KEY ? strcmp(a->key, b->key)
                                : (a->numbers[target] > b->numbers[target]) -
                                      (a->numbers[target] < b->numbers[target]);
    if (model_request->sort_order == DESCEND) {
        order = -order;
    }
    return order != 0 ? order : strcmp(a->key, b->key);
}

/* The pipeline, word for word. */
static const char *model_answer(const struct model_pair *live, size_t count,
                                const Etcdserverpb__RangeRequest *request)
{
    static char text[1024];
    struct model_pair list[MODEL_KEYS];
    size_t left = 0;
    size_t candidates = count;
    bool filtered = request->min_mod_revision != 0 || request->max_create_revision != 0;
    if (request->sort_order == NONE && !filtered && request->limit > 0 &&
        candidates > (size_t)request->limit + 1) {
        candidates = (size_t)request->limit + 1;
    }
    for (size_t i = 0; i < candidates && !request->count_only; i++) {
        if ((request->min_mod_revision == 0 || live[i].numbers[MOD] >= request->min_mod_revision) &&
            (request->max_create_revision == 0 ||
             live[i].numbers[CREATE] <= request->max_create_revision)) {
            list[left++] = live[i];
        }
    }
    model_request = request;
    qsort(list, left, sizeof(list[0]), model_order);
    bool more = request->limit > 0 && left > (size_t)request->limit;
    left = more ? (size_t)request->limit : left;
    size_t size = 0;
    for (size_t i = 0; i < left; i++) {
        size += (size_t)snprintf(text + size, sizeof(text) - size, "%s ", list[i].key);
    }
    (void)snprintf(text + size, sizeof(text) - size, "%s/%zu", more ? "+" : "", count);
    return text;
}

static void any_request_is_answered_as_the_model_says(void **state)
{
    struct fixture *fixture = *state;
    static struct model_pair pairs[MODEL_KEYS];
    uint64_t seed = 0x5eed1;
    for (int i = 0; i < 400; i++) {
        struct model_pair *pair = &pairs[fixture_random(&seed) % MODEL_KEYS];
        (void)snprintf(pair->key, sizeof(pair->key), "k%03d", (int)(pair - pairs));
        if (pair->numbers[VERSION] > 0 && fixture_random(&seed) % 4 == 0) {
            applied(fixture, del(delete_request(pair->key, "")));
            pair->numbers[VERSION] = 0;
            continue;
        }
        (void)snprintf(pair->value, sizeof(pair->value), "%d", (int)(fixture_random(&seed) % 20));
        int64_t revision = applied(fixture, put_text(pair->key, pair->value));
        pair->numbers[CREATE] = pair->numbers[VERSION] == 0 ? revision : pair->numbers[CREATE];
        pair->numbers[VERSION]++;
        pair->numbers[MOD] = revision;
        if (i == 150 || i == 300) {
            fixture_flush(fixture);
        }
    }
    struct model_pair live[MODEL_KEYS];
    size_t count = 0;
    for (size_t i = 0; i < MODEL_KEYS; i++) {
        if (pairs[i].numbers[VERSION] > 0) {
            live[count++] = pairs[i];
        }
    }
    for (int i = 0; i < 3000; i++) {
        Etcdserverpb__RangeRequest *request = range_request("k", "l");
        request->sort_order = (Etcdserverpb__RangeRequest__SortOrder)(fixture_random(&seed) % 3);
        request->sort_target = (Etcdserverpb__RangeRequest__SortTarget)(fixture_random(&seed) % 5);
        request->limit = (int64_t)(fixture_random(&seed) % 3 * (fixture_random(&seed) % 30));
        request->count_only = fixture_random(&seed) % 10 == 0;
        request->keys_only = fixture_random(&seed) % 2 == 0;
        request->min_mod_revision =
            fixture_random(&seed) % 3 == 0 ? (int64_t)(fixture_random(&seed) % 400) : 0;
        request->max_create_revision =
            fixture_random(&seed) % 3 == 0 ? (int64_t)(fixture_random(&seed) % 400) : 0;
        Etcdserverpb__RangeResponse *response = NULL;
        int64_t revision = 0;
        size_t slice = 1 + fixture_random(&seed) % 70;
        assert_int_equal(read_sliced(fixture, request, slice, &response, &revision), SR_API_NONE);
        assert_string_equal(keys_text(response), model_answer(live, count, request));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        commands_test(intervals),
        commands_test(pairs_are_whole),
        commands_test(revisions_are_readable_between_compaction_and_now),
        commands_test(the_count_ignores_everything),
        commands_test(filters_are_inclusive),
        commands_test(sorting),
        commands_test(the_quirk_of_unordered_targets),
        commands_test(keys_only_leaves_out_values),
        commands_test(large_values_come_back_whole),
        commands_test(answers_have_their_limit),
        commands_test(slices_read_one_revision),
        commands_test(a_range_overtaken_by_compaction),
        commands_test(a_range_overtaken_for_ever_gives_up),
        commands_test(any_request_is_answered_as_the_model_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
