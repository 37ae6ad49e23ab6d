/* SPDX-License-Identifier: Apache-2.0
 *
 * Commands with an id: once, with the first answer again, through flushes and restarts (P3).
 */
#include "tests/unit/storage/commands.h"

#include <sched.h>

#include "proto/limits.h"
#include "storage/requests.h"

/* Everything that can happen to an answer between its two deliveries. */
enum { FRESH, FROZEN, FLUSHED, REOPENED, WAYS };

static void let_happen(struct fixture *fixture, int way)
{
    switch (way) {
    case FROZEN:
        assert_true(sr_store_freeze(fixture->store, true));
        break;
    case FLUSHED:
        fixture_flush(fixture);
        break;
    case REOPENED:
        fixture_flush(fixture);
        fixture_reopen(fixture);
        break;
    default:
        break;
    }
}

static void a_retry_takes_effect_once(void **state)
{
    struct fixture *fixture = *state;
    for (int way = FRESH; way < WAYS; way++) {
        char key[8] = {(char)('a' + way)};
        int64_t first = applied(fixture, with_id(put_text(key, "once"), (uint64_t)way));
        applied(fixture, put_text(key, "then"));
        let_happen(fixture, way);
        int64_t now = sr_store_revision(fixture->store);
        assert_int_equal(applied(fixture, with_id(put_text(key, "once"), (uint64_t)way)), first);
        assert_int_equal(sr_store_revision(fixture->store), now);
        assert_non_null(strstr(pair_of(fixture, key), "=then"));
    }
    assert_int_equal(sr_requests_count(fixture->store), WAYS);
}

static void a_retry_gets_the_first_answer(void **state)
{
    struct fixture *fixture = *state;
    Etcdserverpb__PutRequest *request = put_request("k", "v");
    request->prev_kv = true;
    for (int way = FRESH; way < WAYS; way++) {
        uint64_t id = 100 + (uint64_t)way;
        int64_t before = applied(fixture, put_text("k", "before"));
        applied(fixture, with_id(put(request), id));
        struct sr_buf first = outcomes.list[0].body;
        outcomes.list[0].body = (struct sr_buf){0};
        assert_true(first.size > 0);
        let_happen(fixture, way);
        applied(fixture, with_id(put(request), id));
        assert_int_equal(outcomes.list[0].revision, before + 1);
        assert_int_equal(outcomes.list[0].body.size, first.size);
        assert_memory_equal(outcomes.list[0].body.data, first.data, first.size);
        sr_buf_close(&first);
    }
}

static void a_refusal_is_an_answer_too(void **state)
{
    struct fixture *fixture = *state;
    Etcdserverpb__PutRequest *keep = put_request("k", "");
    keep->ignore_value = true;
    for (int way = FRESH; way < WAYS; way++) {
        uint64_t id = 200 + (uint64_t)way;
        apply_fails(fixture, with_id(put(keep), id), SR_API_KEY_NOT_FOUND);
        int64_t revision = outcomes.list[0].revision;
        applied(fixture, put_text("k", "now it is there"));
        let_happen(fixture, way);
        const struct sr_outcome *outcome = apply(fixture, with_id(put(keep), id));
        assert_int_equal(outcome->error, SR_API_KEY_NOT_FOUND);
        assert_int_equal(outcome->revision, revision);
        applied(fixture, del(delete_request("k", "")));
    }
}

static void large_answers_are_remembered_without_content(void **state)
{
    struct fixture *fixture = *state;
    Etcdserverpb__PutRequest *request = put_request("k", "");
    request->prev_kv = true;
    request->value.len = SR_REMEMBERED_ANSWER_BYTES_MAX;
    request->value.data = commands_alloc(request->value.len);
    applied(fixture, put(request));
    for (int way = FRESH; way < WAYS; way++) {
        uint64_t id = 300 + (uint64_t)way;
        int64_t first = applied(fixture, with_id(put(request), id));
        assert_true(outcomes.list[0].body.size > SR_REMEMBERED_ANSWER_BYTES_MAX);
        let_happen(fixture, way);
        int64_t now = sr_store_revision(fixture->store);
        const struct sr_outcome *outcome = apply(fixture, with_id(put(request), id));
        assert_int_equal(outcome->error, SR_API_ANSWER_FORGOTTEN);
        assert_int_equal(outcome->revision, first);
        assert_int_equal(outcome->body.size, 0);
        assert_int_equal(sr_store_revision(fixture->store), now);
    }
}

static void an_id_belongs_to_an_actor_and_a_kind(void **state)
{
    struct fixture *fixture = *state;
    char other[] = "somebody else";
    assert_int_equal(applied(fixture, with_id(put_text("k", "1"), 1)), 2);
    Strongroom__Command *command = with_id(put_text("k", "2"), 1);
    command->actor = other;
    assert_int_equal(applied(fixture, command), 3);
    assert_int_equal(applied(fixture, with_id(del(delete_request("k", "")), 1)), 4);
    assert_int_equal(delete_answer()->deleted, 1);
    assert_int_equal(applied(fixture, with_id(txn(txn_request()), 1)), 4);
    assert_int_equal(sr_requests_count(fixture->store), 4);
    assert_int_equal(applied(fixture, with_id(put_text("k", "1"), 1)), 2);
}

static void a_retry_in_the_same_entry(void **state)
{
    struct fixture *fixture = *state;
    struct sr_buf batch = {0};
    struct sr_err err = {0};
    batch_add(&batch, with_id(put_text("k", "v"), 1));
    batch_add(&batch, with_id(put_text("k", "v"), 1));
    fixture_ok(apply_batch(fixture, &batch, &err), &err);
    assert_int_equal(outcomes.count, 2);
    assert_int_equal(outcomes.list[1].revision, 2);
    assert_int_equal(sr_store_revision(fixture->store), 2);
    sr_buf_close(&batch);
}

/* What a node that nobody waits on remembers is the same. */
static void answers_are_remembered_unasked(void **state)
{
    struct fixture *fixture = *state;
    Etcdserverpb__PutRequest *request = put_request("k", "v");
    request->prev_kv = true;
    applied(fixture, put_text("k", "before"));
    outcomes.unwanted = true;
    assert_null(apply(fixture, with_id(put(request), 1)));
    outcomes.unwanted = false;
    assert_int_equal(applied(fixture, with_id(put(request), 1)), 3);
    assert_string_equal(pair_text(put_answer()->prev_kv), "k=before 2/2/1");
}

/* Nor does what is remembered depend on who waits, however near an answer is to the bound: one
 * that is nested deeply is a little larger while it is written than in the end. */
static void the_bound_is_the_same_for_all(void **state)
{
    struct fixture *asked = *state;
    struct fixture unasked;
    size_t kept = 0;
    enum { SWEEP = 1200 };
    fixture_init(&unasked);
    fixture_open(&unasked);
    for (uint64_t id = 0; id < SWEEP; id++) {
        Etcdserverpb__PutRequest *request = put_request("k", "");
        request->value.len = SR_REMEMBERED_ANSWER_BYTES_MAX - SWEEP + (size_t)id;
        request->value.data = commands_alloc(request->value.len);
        Etcdserverpb__TxnRequest *nested = then(txn_request(), op_range(range_request("k", "")));
        for (int level = 0; level < 100; level++) {
            nested = then(txn_request(), op_txn(nested));
        }
        Strongroom__Command *write = put(request);
        Strongroom__Command *read = with_id(txn(nested), id);
        outcomes.unwanted = true;
        (void)apply(&unasked, write);
        (void)apply(&unasked, read);
        outcomes.unwanted = false;
        applied(asked, write);
        applied(asked, read);
        enum sr_api_error error = apply(asked, read)->error;
        size_t size = outcomes.list[0].body.size;
        assert_int_equal(apply(&unasked, read)->error, error);
        assert_int_equal(outcomes.list[0].body.size, size);
        kept += error == SR_API_NONE;
        assert_true(error == SR_API_NONE || error == SR_API_ANSWER_FORGOTTEN);
        sr_arena_reset(&commands_arena);
    }
    assert_true(kept > 0 && kept < SWEEP);
    fixture_close(&unasked);
}

/* Apply ids @from to @to, many to an entry. */
static void apply_ids(struct fixture *fixture, uint64_t from, uint64_t to)
{
    struct sr_err err = {0};
    outcomes.unwanted = true;
    while (from < to) {
        struct sr_buf batch = {0};
        for (int i = 0; i < 512 && from < to; i++) {
            batch_add(&batch, with_id(put_text("k", "v"), from++));
        }
        fixture_ok(apply_batch(fixture, &batch, &err), &err);
        sr_buf_close(&batch);
        sr_arena_reset(&commands_arena);
    }
    outcomes.unwanted = false;
}

static size_t rows_on_disk(struct fixture *fixture)
{
    MDB_txn *read = NULL;
    MDB_stat stat;
    sr_lmdb_enter(&fixture->store->lmdb);
    assert_int_equal(mdb_txn_begin(fixture->store->lmdb.env, NULL, MDB_RDONLY, &read), 0);
    assert_int_equal(mdb_stat(read, fixture->store->lmdb.request, &stat), 0);
    mdb_txn_abort(read);
    return stat.ms_entries;
}

/* The oldest are forgotten first, in memory and on disk, and the number never grows beyond. */
static void the_oldest_are_forgotten_first(void **state)
{
    struct fixture *fixture = *state;
    const uint64_t max = SR_REMEMBERED_REQUESTS_MAX;
    apply_ids(fixture, 0, 1000);
    fixture_flush(fixture);
    apply_ids(fixture, 1000, max);
    fixture_flush(fixture);
    assert_int_equal(sr_requests_count(fixture->store), max);
    assert_int_equal(rows_on_disk(fixture), max);
    int64_t revision = sr_store_revision(fixture->store);
    assert_int_equal(applied(fixture, with_id(put_text("k", "v"), 0)), 2); /* the oldest */
    apply_ids(fixture, max, max + 1500);
    revision += 1500;
    assert_int_equal(sr_store_revision(fixture->store), revision);
    assert_int_equal(sr_requests_count(fixture->store), max);
    assert_int_equal(applied(fixture, with_id(put_text("k", "v"), 1500)), 1502);
    /* What was forgotten is new, and pushes out the next one. */
    assert_int_equal(applied(fixture, with_id(put_text("k", "v"), 0)), revision + 1);
    assert_int_equal(applied(fixture, with_id(put_text("k", "v"), 1501)), 1503);
    assert_int_equal(applied(fixture, with_id(put_text("k", "v"), 1500)), revision + 2);
    assert_int_equal(applied(fixture, with_id(put_text("k", "v"), 1502)), 1504);
    fixture_flush(fixture);
    assert_int_equal(rows_on_disk(fixture), max);
    assert_int_equal(sr_requests_count(fixture->store), max);
}

static void what_is_remembered_survives_restarts(void **state)
{
    struct fixture *fixture = *state;
    const uint64_t max = SR_REMEMBERED_REQUESTS_MAX;
    apply_ids(fixture, 0, max + 100);
    fixture_flush(fixture);
    fixture_reopen(fixture);
    assert_int_equal(sr_requests_count(fixture->store), max);
    assert_int_equal(rows_on_disk(fixture), max);
    assert_int_equal(applied(fixture, with_id(put_text("k", "v"), 100)), 102);
    assert_int_equal(applied(fixture, with_id(put_text("k", "v"), max + 99)), (int64_t)max + 101);
    int64_t revision = sr_store_revision(fixture->store);
    assert_int_equal(applied(fixture, with_id(put_text("k", "v"), 99)), revision + 1);
    assert_int_equal(applied(fixture, with_id(put_text("k", "v"), 100)), revision + 2);
    assert_int_equal(applied(fixture, with_id(put_text("k", "v"), 102)), 104);
}

/* An answer that was moved to another place is not taken for the right one. */
static void swapped_answers_are_found_out(void **state)
{
    struct fixture *fixture = *state;
    struct sr_lmdb *lmdb = &fixture->store->lmdb;
    struct sr_err err = {0};
    apply_ids(fixture, 0, 2);
    fixture_flush(fixture);
    MDB_txn *write = NULL;
    uint8_t keys[2][8] = {{0}, {0, 0, 0, 0, 0, 0, 0, 1}};
    MDB_val first = {8, keys[0]};
    MDB_val second = {8, keys[1]};
    MDB_val value;
    uint8_t copy[512];
    sr_lmdb_enter(lmdb);
    assert_int_equal(mdb_txn_begin(lmdb->env, NULL, 0, &write), 0);
    assert_int_equal(mdb_get(write, lmdb->request, &first, &value), 0);
    assert_true(value.mv_size <= sizeof(copy));
    memcpy(copy, value.mv_data, value.mv_size);
    value.mv_data = copy;
    assert_int_equal(mdb_put(write, lmdb->request, &second, &value, 0), 0);
    assert_int_equal(mdb_txn_commit(write), 0);

    struct sr_buf batch = {0};
    batch_add(&batch, with_id(put_text("k", "v"), 1));
    assert_int_equal(apply_batch(fixture, &batch, &err), SR_CORRUPT);
    assert_int_equal(sr_store_failure(fixture->store, &err), SR_CORRUPT);
    sr_buf_close(&batch);
    sr_store_close(fixture->store);
    fixture->store = NULL;
    assert_int_equal(sr_store_open(&fixture->options, &fixture->store, &err), SR_CORRUPT);
}

static atomic_bool flusher_stops;

static void *flusher(void *arg)
{
    struct fixture *fixture = arg;
    struct sr_err err = {0};
    int rc = SR_OK;
    while (rc == SR_OK && !atomic_load(&flusher_stops)) {
        rc = sr_store_flush(fixture->store, &err);
        (void)sched_yield();
    }
    return rc == SR_OK ? NULL : fixture;
}

/* Answers pass from the memory to the disk while they are asked for. */
static void flushing_beside_retries(void **state)
{
    struct fixture *fixture = *state;
    pthread_t thread;
    void *failed = NULL;
    uint64_t seed = 0x1d5;
    atomic_store(&flusher_stops, false);
    assert_int_equal(pthread_create(&thread, NULL, flusher, fixture), 0);
    for (uint64_t id = 0; id < 3000; id++) {
        applied(fixture, with_id(put_text("k", "v"), id));
        uint64_t earlier = id - fixture_random(&seed) % (id < 200 ? id + 1 : 200);
        assert_int_equal(applied(fixture, with_id(put_text("k", "v"), earlier)),
                         (int64_t)earlier + 2);
        (void)sr_store_freeze(fixture->store, id % 50 == 0);
        sr_arena_reset(&commands_arena);
    }
    atomic_store(&flusher_stops, true);
    assert_int_equal(pthread_join(thread, &failed), 0);
    assert_null(failed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        commands_test(a_retry_takes_effect_once),
        commands_test(a_retry_gets_the_first_answer),
        commands_test(a_refusal_is_an_answer_too),
        commands_test(large_answers_are_remembered_without_content),
        commands_test(an_id_belongs_to_an_actor_and_a_kind),
        commands_test(a_retry_in_the_same_entry),
        commands_test(answers_are_remembered_unasked),
        commands_test(the_bound_is_the_same_for_all),
        commands_test(the_oldest_are_forgotten_first),
        commands_test(what_is_remembered_survives_restarts),
        commands_test(swapped_answers_are_found_out),
        commands_test(flushing_beside_retries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
