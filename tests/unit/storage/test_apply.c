/* SPDX-License-Identifier: Apache-2.0
 *
 * Puts, deletes, compaction, and what holds for whole entries. The rules are etcd's.
 */
#include "tests/unit/storage/commands.h"

static void revisions_begin_at_1_and_count_changes(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(sr_store_revision(fixture->store), 1);
    assert_int_equal(applied(fixture, put_text("k", "v")), 2);
    assert_int_equal(applied(fixture, put_text("k", "v")), 3);
    assert_int_equal(applied(fixture, del(delete_request("other", ""))), 3);
    assert_int_equal(applied(fixture, del(delete_request("k", ""))), 4);
    assert_int_equal(applied(fixture, compact(2)), 4);
    assert_int_equal(applied(fixture, put_text("l", "")), 5);
}

static void a_put_counts_versions_and_a_delete_begins_anew(void **state)
{
    struct fixture *fixture = *state;
    applied(fixture, put_text("k", "a"));
    assert_string_equal(pair_of(fixture, "k"), "k=a 2/2/1");
    applied(fixture, put_text("k", "a")); /* the same value counts too */
    assert_string_equal(pair_of(fixture, "k"), "k=a 2/3/2");
    applied(fixture, del(delete_request("k", "")));
    assert_string_equal(pair_of(fixture, "k"), "none");
    applied(fixture, put_text("k", ""));
    assert_string_equal(pair_of(fixture, "k"), "k= 5/5/1");
}

static void a_put_answers_with_the_pair_before(void **state)
{
    struct fixture *fixture = *state;
    Etcdserverpb__PutRequest *request = put_request("k", "first");
    request->prev_kv = true;
    applied(fixture, put(request));
    assert_null(put_answer()->header);
    assert_null(put_answer()->prev_kv);
    request->value = data_of("second");
    applied(fixture, put(request));
    assert_string_equal(pair_text(put_answer()->prev_kv), "k=first 2/2/1");
    applied(fixture, put_text("k", "third")); /* not asked for */
    assert_int_equal(outcomes.list[0].body.size, 0);
    applied(fixture, del(delete_request("k", "")));
    applied(fixture, put(request));
    assert_null(put_answer()->prev_kv);
}

static void a_put_may_keep_the_value(void **state)
{
    struct fixture *fixture = *state;
    Etcdserverpb__PutRequest *request = put_request("k", "");
    request->ignore_value = true;
    apply_fails(fixture, put(request), SR_API_KEY_NOT_FOUND);
    applied(fixture, put_text("k", "kept"));
    request->prev_kv = true;
    applied(fixture, put(request));
    assert_string_equal(pair_text(put_answer()->prev_kv), "k=kept 2/2/1");
    assert_string_equal(pair_of(fixture, "k"), "k=kept 2/3/2");
    request->value = data_of("v");
    apply_fails(fixture, put(request), SR_API_VALUE_PROVIDED);
    applied(fixture, del(delete_request("k", "")));
    request->value.len = 0;
    apply_fails(fixture, put(request), SR_API_KEY_NOT_FOUND);
}

static void there_are_no_leases_yet(void **state)
{
    struct fixture *fixture = *state;
    Etcdserverpb__PutRequest *request = put_request("k", "v");
    request->lease = -5;
    apply_fails(fixture, put(request), SR_API_LEASE_NOT_FOUND);
    request->ignore_lease = true;
    apply_fails(fixture, put(request), SR_API_LEASE_PROVIDED);
    request->lease = 0;
    apply_fails(fixture, put(request), SR_API_KEY_NOT_FOUND);
    applied(fixture, put_text("k", "a"));
    applied(fixture, put(request));
    assert_string_equal(pair_of(fixture, "k"), "k=v 2/3/2");
    /* The lease is looked for before the key. */
    request = put_request("missing", "");
    request->lease = 9;
    request->ignore_value = true;
    apply_fails(fixture, put(request), SR_API_LEASE_NOT_FOUND);
}

static void keys_have_their_limit(void **state)
{
    struct fixture *fixture = *state;
    static char longest[SR_KEY_BYTES_MAX + 2];
    memset(longest, 'k', SR_KEY_BYTES_MAX + 1);
    apply_fails(fixture, put_text(longest, "v"), SR_API_KEY_TOO_LONG);
    apply_fails(fixture, put_text("", "v"), SR_API_KEY_NOT_PROVIDED);
    assert_int_equal(applied(fixture, del(delete_request(longest, ""))), 1);
    applied(fixture, put_text(longest + 1, "v")); /* just fits */
    assert_int_equal(read_range(fixture, range_request(longest + 1, ""))->count, 1);
    assert_int_equal(read_range(fixture, range_request(longest, ""))->count, 0);
    assert_int_equal(read_range(fixture, range_request("a", longest))->count, 1);
    assert_int_equal(applied(fixture, del(delete_request("a", longest))), 3);
    assert_int_equal(delete_answer()->deleted, 1);
}

static void three_keys(struct fixture *fixture)
{
    applied(fixture, put_text("a", "1"));
    applied(fixture, put_text("b", "2"));
    applied(fixture, put_text("c", "3"));
}

static void a_delete_takes_an_interval(void **state)
{
    struct fixture *fixture = *state;
    three_keys(fixture);
    apply_fails(fixture, del(delete_request("", "z")), SR_API_KEY_NOT_PROVIDED);
    assert_int_equal(applied(fixture, del(delete_request("b", "a"))), 4); /* empty */
    assert_int_equal(delete_answer()->deleted, 0);
    assert_int_equal(applied(fixture, del(delete_request("b", "b"))), 4);
    assert_int_equal(applied(fixture, del(delete_request("a", "c"))), 5);
    assert_int_equal(delete_answer()->deleted, 2);
    assert_int_equal(delete_answer()->n_prev_kvs, 0);
    assert_int_equal(read_range(fixture, range_request("a", "z"))->count, 1);
    assert_int_equal(applied(fixture, del(delete_request("a", "c"))), 5); /* gone already */
    Etcdserverpb__DeleteRangeRequest *request = delete_request("b", "");
    request->range_end = no_end();
    assert_int_equal(applied(fixture, del(request)), 6);
    assert_int_equal(delete_answer()->deleted, 1);
    assert_int_equal(read_range(fixture, range_request("a", "z"))->count, 0);
}

static void a_delete_answers_with_the_pairs_before(void **state)
{
    struct fixture *fixture = *state;
    three_keys(fixture);
    Etcdserverpb__DeleteRangeRequest *request = delete_request("a", "c");
    request->prev_kv = true;
    applied(fixture, del(request));
    const Etcdserverpb__DeleteRangeResponse *response = delete_answer();
    assert_null(response->header);
    assert_int_equal(response->deleted, 2);
    assert_int_equal(response->n_prev_kvs, 2);
    assert_string_equal(pair_text(response->prev_kvs[0]), "a=1 2/2/1");
    assert_string_equal(pair_text(response->prev_kvs[1]), "b=2 3/3/1");
    request = delete_request("c", "");
    request->prev_kv = true;
    applied(fixture, del(request));
    assert_string_equal(pair_text(delete_answer()->prev_kvs[0]), "c=3 4/4/1");
    applied(fixture, del(request));
    assert_int_equal(delete_answer()->n_prev_kvs, 0);
}

/* More than is collected at a time, from memory and disk, in one revision. */
static void a_large_delete_is_one_revision(void **state)
{
    struct fixture *fixture = *state;
    char key[32];
    for (int i = 0; i < 1200; i++) {
        (void)snprintf(key, sizeof(key), "key-%05d", (i * 7) % 1200);
        applied(fixture, put_text(key, key));
        if (i == 500) {
            fixture_flush(fixture);
        }
    }
    Etcdserverpb__DeleteRangeRequest *request = delete_request("key-00100", "key-01100");
    request->prev_kv = true;
    assert_int_equal(applied(fixture, del(request)), 1202);
    const Etcdserverpb__DeleteRangeResponse *response = delete_answer();
    assert_int_equal(response->deleted, 1000);
    assert_int_equal(response->n_prev_kvs, 1000);
    for (int i = 0; i < 1000; i++) {
        (void)snprintf(key, sizeof(key), "key-%05d", 100 + i);
        assert_int_equal(response->prev_kvs[i]->key.len, strlen(key));
        assert_memory_equal(response->prev_kvs[i]->key.data, key, strlen(key));
        assert_memory_equal(response->prev_kvs[i]->value.data, key, strlen(key));
    }
    assert_int_equal(read_range(fixture, range_request("k", "l"))->count, 200);
    fixture_settle(fixture);
    assert_int_equal(read_range(fixture, range_request("k", "l"))->count, 200);
}

static void compaction_has_its_bounds(void **state)
{
    struct fixture *fixture = *state;
    apply_fails(fixture, compact(-1), SR_API_COMPACTED);
    apply_fails(fixture, compact(2), SR_API_FUTURE_REVISION);
    assert_int_equal(applied(fixture, compact(0)), 1);
    apply_fails(fixture, compact(0), SR_API_COMPACTED);
    three_keys(fixture);
    assert_int_equal(applied(fixture, compact(3)), 4);
    assert_int_equal(outcomes.list[0].body.size, 0);
    assert_int_equal(sr_store_compact_revision(fixture->store), 3);
    apply_fails(fixture, compact(3), SR_API_COMPACTED);
    apply_fails(fixture, compact(2), SR_API_COMPACTED);
    apply_fails(fixture, compact(5), SR_API_FUTURE_REVISION);
    assert_int_equal(applied(fixture, compact(4)), 4);
    fixture_settle(fixture);
    assert_int_equal(read_range(fixture, range_request("a", "z"))->count, 3);
}

/* ---- entries ---- */

static void an_entry_is_answered_in_order(void **state)
{
    struct fixture *fixture = *state;
    struct sr_buf batch = {0};
    struct sr_err err = {0};
    Etcdserverpb__PutRequest *keep = put_request("k", "");
    keep->ignore_value = true;
    batch_add(&batch, put(keep));
    batch_add(&batch, put_text("k", "v"));
    Strongroom__Command *foreign = put_text("k", "w");
    foreign->origin = COMMANDS_ORIGIN + 1; /* nobody here waits for it */
    batch_add(&batch, foreign);
    batch_add(&batch, put(keep));
    fixture_ok(apply_batch(fixture, &batch, &err), &err);
    assert_int_equal(outcomes.count, 3);
    assert_int_equal(outcomes.list[0].error, SR_API_KEY_NOT_FOUND);
    assert_int_equal(outcomes.list[0].revision, 1);
    assert_int_equal(outcomes.list[1].revision, 2);
    assert_int_equal(outcomes.list[2].revision, 4);
    assert_string_equal(pair_of(fixture, "k"), "k=w 2/4/3");
    sr_buf_close(&batch);
}

static void an_entry_is_applied_once(void **state)
{
    struct fixture *fixture = *state;
    struct sr_buf batch = {0};
    struct sr_err err = {0};
    batch_add(&batch, put_text("k", "v"));
    fixture_ok(apply_batch(fixture, &batch, &err), &err);
    assert_int_equal(sr_store_applied_index(fixture->store), 1);
    fixture_ok(sr_store_apply(fixture->store, 1, batch.data, batch.size, NULL, &err), &err);
    assert_int_equal(sr_store_revision(fixture->store), 2);
    fixture_ok(sr_store_apply_empty(fixture->store, 2, COMMANDS_TERM, &err), &err);
    fixture_ok(sr_store_apply_empty(fixture->store, 2, COMMANDS_TERM, &err), &err);
    assert_int_equal(sr_store_applied_index(fixture->store), 2);
    fixture_ok(sr_store_apply(fixture->store, 3, batch.data, batch.size, NULL, &err), &err);
    assert_int_equal(sr_store_revision(fixture->store), 3);
    fixture_flush(fixture);
    fixture_reopen(fixture);
    assert_int_equal(sr_store_applied_index(fixture->store), 3);
    fixture_ok(sr_store_apply(fixture->store, 2, batch.data, batch.size, NULL, &err), &err);
    assert_int_equal(sr_store_revision(fixture->store), 3);
    sr_buf_close(&batch);
}

/* The store is failed by it, keeps its state, and says why. */
static void is_refused(struct fixture *fixture, const struct sr_buf *batch, int status)
{
    struct sr_err err = {0};
    uint64_t index = sr_store_applied_index(fixture->store);
    assert_int_equal(apply_batch(fixture, batch, &err), status);
    assert_int_equal(err.status, status);
    assert_int_equal(outcomes.count, 0);
    assert_int_equal(sr_store_applied_index(fixture->store), index);
    assert_int_equal(sr_store_failure(fixture->store, &err), status);
    assert_int_equal(sr_store_apply_empty(fixture->store, index + 1, COMMANDS_TERM, &err), status);
    fixture_reopen(fixture);
    assert_int_equal(sr_store_failure(fixture->store, &err), SR_OK);
}

static void what_is_not_understood_stops_the_store(void **state)
{
    struct fixture *fixture = *state;
    struct sr_buf batch = {0};
    batch_add(&batch, put_text("k", "v"));
    batch_add(&batch, command_new()); /* no operation, or one that is newer */
    is_refused(fixture, &batch, SR_FORMAT);
    assert_string_equal(pair_of(fixture, "k"), "none");

    sr_buf_clear(&batch);
    batch_add(&batch, put_text("k", "v"));
    sr_batch_add(&batch, (const uint8_t *)"\xff", 1);
    is_refused(fixture, &batch, SR_FORMAT);

    sr_buf_clear(&batch);
    Strongroom__Command *odd_id = with_id(put_text("k", "v"), 1);
    odd_id->request_id.len = 15;
    batch_add(&batch, odd_id);
    is_refused(fixture, &batch, SR_FORMAT);

    sr_buf_clear(&batch);
    batch_add(&batch, put_text("k", "v"));
    batch.data[1]++;
    is_refused(fixture, &batch, SR_FORMAT);
    batch.data[1]--;
    batch.size--;
    is_refused(fixture, &batch, SR_CORRUPT);
    batch.size++;
    struct sr_err err = {0};
    fixture_ok(apply_batch(fixture, &batch, &err), &err);
    assert_string_equal(pair_of(fixture, "k"), "k=v 2/2/1");
    sr_buf_close(&batch);
}

static void is_point(struct fixture *fixture, uint64_t index, uint64_t term,
                     uint64_t configuration_index, const char *configuration)
{
    struct sr_store_point point;
    sr_store_point(fixture->store, &point);
    assert_int_equal(point.index, index);
    assert_int_equal(point.term, term);
    assert_int_equal(point.configuration_index, configuration_index);
    assert_int_equal(point.configuration.size, strlen(configuration));
    assert_memory_equal(point.configuration.data, configuration, point.configuration.size);
    assert_int_equal(point.revision, sr_store_revision(fixture->store));
    uint8_t hash[32];
    int64_t revision = 0;
    uint64_t applied = 0;
    sr_store_state_hash(fixture->store, hash, &revision, &applied);
    assert_memory_equal(point.state_hash, hash, sizeof(hash));
    sr_buf_close(&point.configuration);
}

static int configure(struct fixture *fixture, uint64_t index, uint64_t term, const char *text)
{
    struct sr_err err = {0};
    return sr_store_apply_configuration(fixture->store, index, term, (const uint8_t *)text,
                                        strlen(text), &err);
}

static void the_state_knows_its_place_in_the_log(void **state)
{
    struct fixture *fixture = *state;
    struct sr_buf batch = {0};
    struct sr_err err = {0};
    is_point(fixture, 0, 0, 0, "");
    assert_int_equal(configure(fixture, 1, 1, "abc"), SR_OK);
    is_point(fixture, 1, 1, 1, "abc");
    assert_int_equal(configure(fixture, 1, 1, "again"), SR_OK); /* applied once */
    is_point(fixture, 1, 1, 1, "abc");
    batch_add(&batch, put_text("k", "v"));
    fixture_ok(apply_batch(fixture, &batch, &err), &err);
    is_point(fixture, 2, COMMANDS_TERM, 1, "abc");
    fixture_flush(fixture);
    assert_int_equal(configure(fixture, 3, COMMANDS_TERM, "a longer one"), SR_OK);
    fixture_ok(sr_store_apply_empty(fixture->store, 4, COMMANDS_TERM + 1, &err), &err);
    is_point(fixture, 4, COMMANDS_TERM + 1, 3, "a longer one");
    fixture_reopen(fixture);
    is_point(fixture, 2, COMMANDS_TERM, 1, "abc");
    assert_int_equal(configure(fixture, 3, COMMANDS_TERM, "a longer one"), SR_OK);
    fixture_flush(fixture);
    fixture_reopen(fixture);
    is_point(fixture, 3, COMMANDS_TERM, 3, "a longer one");
    assert_int_equal(sr_store_apply_empty(fixture->store, 4, COMMANDS_TERM - 1, &err), SR_CORRUPT);
    fixture_reopen(fixture);
    char *long_text = sr_zalloc(SR_CONFIGURATION_BYTES_MAX + 2);
    memset(long_text, 'x', SR_CONFIGURATION_BYTES_MAX + 1);
    assert_int_equal(configure(fixture, 4, COMMANDS_TERM, long_text), SR_FORMAT);
    fixture_reopen(fixture);
    long_text[SR_CONFIGURATION_BYTES_MAX] = '\0';
    assert_int_equal(configure(fixture, 4, COMMANDS_TERM, long_text), SR_OK);
    fixture_flush(fixture);
    fixture_reopen(fixture);
    is_point(fixture, 4, COMMANDS_TERM, 4, long_text);
    sr_free(long_text);
    sr_buf_close(&batch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        commands_test(revisions_begin_at_1_and_count_changes),
        commands_test(a_put_counts_versions_and_a_delete_begins_anew),
        commands_test(a_put_answers_with_the_pair_before),
        commands_test(a_put_may_keep_the_value),
        commands_test(there_are_no_leases_yet),
        commands_test(keys_have_their_limit),
        commands_test(a_delete_takes_an_interval),
        commands_test(a_delete_answers_with_the_pairs_before),
        commands_test(a_large_delete_is_one_revision),
        commands_test(compaction_has_its_bounds),
        commands_test(an_entry_is_answered_in_order),
        commands_test(an_entry_is_applied_once),
        commands_test(what_is_not_understood_stops_the_store),
        commands_test(the_state_knows_its_place_in_the_log),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
