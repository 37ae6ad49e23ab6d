/* SPDX-License-Identifier: Apache-2.0
 *
 * The same entries give the same state and the same answers on every node (P5): whatever keys it
 * seals with, however large its memtables are, whenever it flushes, and from wherever its log is
 * replayed after a crash.
 */
#include "tests/unit/storage/random_commands.h"

enum { ENTRIES = 400 };

struct script {
    struct sr_buf entries[ENTRIES];
};

/* Entries of one to eight commands; the revision that they aim at is a guess, as a client's. */
static void script_write(struct script *script, uint64_t seed)
{
    for (int i = 0; i < ENTRIES; i++) {
        script->entries[i] = (struct sr_buf){0};
        for (uint64_t left = 1 + below(&seed, 8); left > 0; left--) {
            batch_add(&script->entries[i], random_command(&seed, 1 + i * 2));
        }
        sr_arena_reset(&commands_arena);
    }
}

static void script_close(struct script *script)
{
    for (int i = 0; i < ENTRIES; i++) {
        sr_buf_close(&script->entries[i]);
    }
}

static void check_answers(const struct sr_outcome *expected, size_t count)
{
    assert_int_equal(outcomes.count, count);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(outcomes.list[i].error, expected[i].error);
        assert_int_equal(outcomes.list[i].revision, expected[i].revision);
        assert_int_equal(outcomes.list[i].body.size, expected[i].body.size);
        if (expected[i].body.size > 0) {
            assert_memory_equal(outcomes.list[i].body.data, expected[i].body.data,
                                expected[i].body.size);
        }
    }
}

static void check_same_state(struct fixture *a, struct fixture *b)
{
    uint8_t hash_a[32];
    uint8_t hash_b[32];
    int64_t revision_a = 0;
    int64_t revision_b = 0;
    uint64_t index_a = 0;
    uint64_t index_b = 0;
    sr_store_state_hash(a->store, hash_a, &revision_a, &index_a);
    sr_store_state_hash(b->store, hash_b, &revision_b, &index_b);
    assert_int_equal(index_a, index_b);
    assert_int_equal(revision_a, revision_b);
    assert_memory_equal(hash_a, hash_b, sizeof(hash_a));
    assert_int_equal(sr_store_compact_revision(a->store), sr_store_compact_revision(b->store));
}

static void apply_entry(struct fixture *fixture, const struct script *script, int entry)
{
    struct sr_err err = {0};
    fixture_ok(apply_batch(fixture, &script->entries[entry], &err), &err);
}

/* Everything readable: all live keys, packed. */
static struct sr_buf dump(struct fixture *fixture)
{
    struct sr_buf body = {0};
    struct sr_view *view = NULL;
    struct sr_err err = {0};
    enum sr_api_error error = SR_API_NONE;
    Etcdserverpb__RangeRequest *request = range_request("a", "");
    request->range_end = no_end();
    struct sr_range *range = sr_range_new(request);
    fixture_ok(sr_view_open(fixture->store, &view, &err), &err);
    fixture_ok(sr_range_step(range, view, 1000000, &error, &err), &err);
    sr_range_pack(range, &body);
    sr_range_free(range);
    sr_view_close(view);
    return body;
}

static void check_same_content(struct fixture *a, struct fixture *b)
{
    struct sr_buf in_a = dump(a);
    struct sr_buf in_b = dump(b);
    assert_int_equal(in_a.size, in_b.size);
    assert_memory_equal(in_a.data, in_b.data, in_a.size);
    sr_buf_close(&in_a);
    sr_buf_close(&in_b);
}

static void two_nodes_agree_after_every_entry(void **state)
{
    (void)state;
    struct fixture calm;
    struct fixture busy;
    struct script script;
    uint64_t seed = 0xbead;
    script_write(&script, 0x5eed);
    fixture_init(&calm); /* one memtable, never flushed */
    fixture_open(&calm);
    fixture_init(&busy); /* other keys; flushes and compacts all the time */
    busy.options.memtable_entries_max = 16;
    busy.options.unindexed_entries_max = 24;
    fixture_open(&busy);
    for (int entry = 0; entry < ENTRIES; entry++) {
        apply_entry(&calm, &script, entry);
        struct sr_outcome expected[COMMANDS_OUTCOMES_MAX];
        size_t count = outcomes.count;
        memcpy(expected, outcomes.list, sizeof(expected));
        outcomes.count = 0; /* they are ours now */
        apply_entry(&busy, &script, entry);
        check_answers(expected, count);
        check_same_state(&calm, &busy);
        for (size_t i = 0; i < count; i++) {
            sr_buf_close(&expected[i].body);
        }
        struct sr_err err = {0};
        if (sr_store_freeze(busy.store, below(&seed, 5) == 0)) {
            fixture_ok(sr_store_flush(busy.store, &err), &err);
        }
        if (below(&seed, 20) == 0) {
            check_same_content(&calm, &busy);
        }
    }
    assert_true(sr_store_revision(calm.store) > ENTRIES / 2);
    fixture_settle(&busy);
    check_same_content(&calm, &busy);
    fixture_close(&calm);
    fixture_close(&busy);
    script_close(&script);
}

/* Crash after any entry, with any part of it flushed, and replay the log from what is durable. */
static void replay_from_anywhere_gives_the_same(void **state)
{
    (void)state;
    struct fixture steady;
    struct fixture crashing;
    struct script script;
    uint64_t seed = 0xfeed;
    script_write(&script, 0xcafe);
    fixture_init(&steady);
    fixture_open(&steady);
    fixture_init(&crashing);
    fixture_open(&crashing);
    for (int entry = 0; entry < ENTRIES; entry++) {
        apply_entry(&steady, &script, entry);
        apply_entry(&crashing, &script, entry);
        struct sr_err err = {0};
        if (below(&seed, 6) == 0 && sr_store_freeze(crashing.store, true)) {
            fixture_ok(sr_store_flush(crashing.store, &err), &err);
        }
        if (below(&seed, 10) > 0) {
            continue;
        }
        fixture_reopen(&crashing);
        int durable = (int)sr_store_applied_index(crashing.store);
        assert_true(durable <= entry + 1);
        for (int again = durable; again <= entry; again++) {
            apply_entry(&crashing, &script, again);
        }
        check_same_state(&steady, &crashing);
        check_same_content(&steady, &crashing);
    }
    check_same_state(&steady, &crashing);
    fixture_close(&steady);
    fixture_close(&crashing);
    script_close(&script);
}

/* The hash tells states apart that read the same. */
static void different_histories_have_different_hashes(void **state)
{
    (void)state;
    struct fixture a;
    struct fixture b;
    uint8_t hash_a[32];
    uint8_t hash_b[32];
    int64_t revision = 0;
    uint64_t index = 0;
    fixture_init(&a);
    fixture_open(&a);
    fixture_init(&b);
    fixture_open(&b);
    applied(&a, put_text("k", "1"));
    applied(&b, put_text("k", "2"));
    applied(&a, put_text("k", "2"));
    applied(&b, put_text("k", "2"));
    check_same_content(&a, &b);
    sr_store_state_hash(a.store, hash_a, &revision, &index);
    sr_store_state_hash(b.store, hash_b, &revision, &index);
    assert_memory_not_equal(hash_a, hash_b, sizeof(hash_a));
    /* And a compaction changes it, though no revision. */
    applied(&a, compact(2));
    sr_store_state_hash(a.store, hash_b, &revision, &index);
    assert_int_equal(revision, 3);
    assert_memory_not_equal(hash_a, hash_b, sizeof(hash_a));
    fixture_close(&a);
    fixture_close(&b);
}

static int reset(void **state)
{
    (void)state;
    commands_reset();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(two_nodes_agree_after_every_entry, reset),
        cmocka_unit_test_teardown(replay_from_anywhere_gives_the_same, reset),
        cmocka_unit_test_teardown(different_histories_have_different_hashes, reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
