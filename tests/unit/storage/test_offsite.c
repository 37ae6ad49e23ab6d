/* SPDX-License-Identifier: Apache-2.0
 *
 * The off-site record: what each change does and refuses, and that all of it survives a restart, is
 * counted by the state hash, is the same on two nodes, and goes through images, but not through
 * those that leave the cluster. The archive secret is shown by nothing that shows the record.
 */
#include "tests/unit/storage/offsite_commands.h"

#include <sys/stat.h>

#include "proto/level.h"
#include "proto/limits.h"
#include "storage/image.h"
#include "storage/image_rebirth.h"

/* ---- Founding ---- */

static void there_is_no_record_at_first(void **state)
{
    struct fixture *fixture = *state;
    struct sr_archive_secret *secret = NULL;
    struct sr_err err = {0};
    assert_offsite(fixture, "epoch 0:");
    assert_int_equal(sr_store_archive_secret(fixture->store, &secret, &err), SR_NOT_FOUND);
    apply_fails(fixture, claim("a", FULL, 1, 1), SR_API_OFFSITE_UNKNOWN);
    apply_fails(fixture, renew(1), SR_API_OFFSITE_UNKNOWN);
    apply_fails(fixture, forget("a"), SR_API_OFFSITE_UNKNOWN);
    applied(fixture, init_offsite(3));
    assert_offsite(fixture, "epoch 1:");
}

static void the_first_secret_counts(void **state)
{
    struct fixture *fixture = *state;
    struct sr_archive_secret *secret = NULL;
    Strongroom__OffsiteRecord *record = NULL;
    Strongroom__Command *bad = init_offsite(9);
    struct sr_err err = {0};
    bad->offsite->init->secret.len--;
    apply_fails(fixture, bad, SR_API_OFFSITE_INVALID);
    applied(fixture, init_offsite(3));
    applied(fixture, init_offsite(4)); /* another leader's, too late */
    assert_offsite(fixture, "epoch 1:");
    fixture_ok(sr_store_archive_secret(fixture->store, &secret, &err), &err);
    fixture_ok(sr_store_offsite(fixture->store, &record, &err), &err);
    assert_int_equal(secret->signing_seed[0], 3);
    assert_int_equal(secret->kek[31], 3);
    assert_memory_equal(record->public_key.data, secret->public_key, SR_SIGNING_BYTES);
    assert_memory_equal(record->archive_kek_id.data, secret->kek_id, SR_KEY_ID_BYTES);
    strongroom__offsite_record__free_unpacked(record, NULL);
    sr_archive_secret_free(secret);
}

static bool has_run(const uint8_t *data, size_t size, uint8_t fill, size_t length)
{
    size_t run = 0;
    for (size_t i = 0; i < size; i++) {
        run = data[i] == fill ? run + 1 : 0;
        if (run == length) {
            return true;
        }
    }
    return false;
}

static struct sr_buf file_content(const char *path)
{
    struct sr_buf content = {0};
    uint8_t piece[4096];
    size_t n;
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    while ((n = fread(piece, 1, sizeof(piece), file)) > 0) {
        sr_buf_append(&content, piece, n);
    }
    assert_int_equal(fclose(file), 0);
    return content;
}

/* The secret is 64 times 0xa7: what has eight of these in a row has a part of it. */
static void the_secret_is_in_nothing_that_is_shown_or_stored(void **state)
{
    struct fixture *fixture = *state;
    Strongroom__Command *command = init_offsite(0xa7);
    Strongroom__OffsiteRecord *record = NULL;
    struct sr_err err = {0};
    char path[128];
    applied(fixture, command);
    fixture_ok(sr_store_offsite(fixture->store, &record, &err), &err);
    uint8_t packed[1024];
    size_t size = strongroom__offsite_record__pack(record, packed);
    assert_false(has_run(packed, size, 0xa7, 8));
    strongroom__offsite_record__free_unpacked(record, NULL);
    fixture_flush(fixture);
    fixture_path(fixture, "data.mdb", path);
    struct sr_buf content = file_content(path);
    assert_true(content.size > 4096);
    assert_false(has_run(content.data, content.size, 0xa7, 8));
    sr_buf_close(&content);
}

/* ---- Claims ---- */

static void one_ships_at_a_time(void **state)
{
    struct fixture *fixture = *state;
    applied(fixture, init_offsite(3));
    applied(fixture, claim("a", FULL, 5, 77));
    assert_offsite(fixture, "epoch 2: claim a/F 1 by 5 r0 s1; chain a/F claimed 1 last 0@0;");
    applied(fixture, claim("a", FULL, 5, 77)); /* the same proposal once more */
    apply_fails(fixture, claim("a", FULL, 5, 78), SR_API_OFFSITE_CLAIMED);
    apply_fails(fixture, claim("a", FULL, 6, 77), SR_API_OFFSITE_CLAIMED);
    applied(fixture, claim("a", CHANGES, 6, 79)); /* another kind, another target: at once */
    applied(fixture, claim("B", FULL, 6, 80));
    assert_offsite(fixture, "epoch 4: claim B/F 3 by 6 r0 s1; claim a/C 2 by 6 r0 s1;"
                            " claim a/F 1 by 5 r0 s1; chain B/F claimed 1 last 0@0;"
                            " chain a/C claimed 1 last 0@0 from 0, 0 of 0 B;"
                            " chain a/F claimed 1 last 0@0;");
}

static void an_abandoned_claim_is_taken_over_as_it_was_seen(void **state)
{
    struct fixture *fixture = *state;
    applied(fixture, init_offsite(3));
    applied(fixture, claim("a", FULL, 5, 77));
    applied(fixture, renew(1));
    apply_fails(fixture, replacing(claim("a", FULL, 6, 1), 1, 0), SR_API_OFFSITE_CLAIMED);
    apply_fails(fixture, replacing(claim("a", FULL, 6, 1), 2, 1), SR_API_OFFSITE_CLAIMED);
    applied(fixture, replacing(claim("a", FULL, 6, 1), 1, 1));
    assert_offsite(fixture, "epoch 4: claim a/F 2 by 6 r0 s2; chain a/F claimed 2 last 0@0"
                            " failed: the member that shipped went away;");
    /* The first one comes back, and is told. */
    apply_fails(fixture, renew(1), SR_API_OFFSITE_LOST);
    apply_fails(fixture, complete(1, 9), SR_API_OFFSITE_LOST);
    apply_fails(fixture, fail_claim(1, "late"), SR_API_OFFSITE_LOST);
    applied(fixture, complete(2, 9));
    assert_offsite(fixture, "epoch 5: chain a/F claimed 2 last 2@9; entry a 2@9;");
    /* What is to be replaced has ended. */
    apply_fails(fixture, replacing(claim("a", FULL, 6, 2), 2, 0), SR_API_OFFSITE_CLAIMED);
}

static void claims_are_checked(void **state)
{
    struct fixture *fixture = *state;
    char long_name[SR_OFFSITE_NAME_BYTES_MAX + 2];
    memset(long_name, 'x', sizeof(long_name) - 1);
    long_name[sizeof(long_name) - 1] = 0;
    applied(fixture, init_offsite(3));
    apply_fails(fixture, claim("", FULL, 5, 1), SR_API_OFFSITE_INVALID);
    apply_fails(fixture, claim("a b", FULL, 5, 1), SR_API_OFFSITE_INVALID);
    apply_fails(fixture, claim("caf\xc3\xa9", FULL, 5, 1), SR_API_OFFSITE_INVALID);
    apply_fails(fixture, claim(long_name, FULL, 5, 1), SR_API_OFFSITE_INVALID);
    apply_fails(fixture, claim("a", 'X', 5, 1), SR_API_OFFSITE_INVALID);
    apply_fails(fixture, claim("a", FULL, 0, 1), SR_API_OFFSITE_INVALID);
    assert_offsite(fixture, "epoch 1:");
    long_name[SR_OFFSITE_NAME_BYTES_MAX] = 0;
    applied(fixture, claim(long_name, FULL, 5, 1));
}

static void targets_are_bounded(void **state)
{
    struct fixture *fixture = *state;
    char name[2] = "a";
    applied(fixture, init_offsite(3));
    for (int i = 0; i < SR_OFFSITE_TARGETS_MAX; i++, name[0]++) {
        applied(fixture, claim(name, FULL, 5, 1));
        applied(fixture, claim(name, CHANGES, 5, 1));
    }
    apply_fails(fixture, claim("z", FULL, 5, 1), SR_API_OFFSITE_FULL);
    applied(fixture, forget("a"));
    applied(fixture, claim("z", FULL, 5, 1));
}

static void a_watch_tells_an_abandoned_claim(void **state)
{
    (void)state;
    struct sr_offsite_watch watch = {0};
    Strongroom__OffsiteClaim seen = STRONGROOM__OFFSITE_CLAIM__INIT;
    seen.number = 4;
    assert_false(sr_offsite_watch_look(&watch, NULL, 500, 100));
    assert_false(sr_offsite_watch_look(&watch, &seen, 1000, 100));
    assert_false(sr_offsite_watch_look(&watch, &seen, 1099, 100));
    assert_true(sr_offsite_watch_look(&watch, &seen, 1100, 100));
    seen.renewals++;
    assert_false(sr_offsite_watch_look(&watch, &seen, 1200, 100));
    assert_true(sr_offsite_watch_look(&watch, &seen, 1300, 100));
    assert_int_equal(watch.number, 4);
    assert_int_equal(watch.renewals, 1);
    assert_false(sr_offsite_watch_look(&watch, NULL, 1400, 100));
    assert_false(sr_offsite_watch_look(&watch, &seen, 1500, 100));
}

/* ---- Shipments ---- */

static void changes_go_on_under_one_claim(void **state)
{
    struct fixture *fixture = *state;
    applied(fixture, init_offsite(3));
    applied(fixture, claim("a", CHANGES, 5, 1));
    applied(fixture, going_on(complete(1, 10)));
    applied(fixture, going_on(complete(1, 20)));
    assert_offsite(fixture, "epoch 4: claim a/C 1 by 5 r2 s3;"
                            " chain a/C claimed 3 last 2@20 from 1, 2 of 200 B;");
    apply_fails(fixture, going_on(complete(1, 19)), SR_API_OFFSITE_INVALID); /* backwards */
    applied(fixture, complete(1, 30));
    assert_offsite(fixture, "epoch 5: chain a/C claimed 3 last 3@30 from 1, 3 of 300 B;");
    applied(fixture, prune("a", 0, 0, 3));
    assert_offsite(fixture, "epoch 6: chain a/C claimed 3 last 3@30 from 3, 2 of 200 B;");
    applied(fixture, prune("a", 0, 0, 2)); /* it was further already */
    applied(fixture, prune("a", 0, 0, 4));
    assert_offsite(fixture, "epoch 7: chain a/C claimed 3 last 3@30 from 0, 0 of 0 B;");
    applied(fixture, claim("a", CHANGES, 5, 2));
    applied(fixture, complete(2, 31));
    assert_offsite(fixture, "epoch 9: chain a/C claimed 4 last 4@31 from 4, 1 of 100 B;");
}

/* A member that did not hear of the first proposes it again: with go_on the claim is still there,
 * and has moved on to the sequence of what comes next. */
static void a_completion_that_comes_twice_counts_once(void **state)
{
    struct fixture *fixture = *state;
    char before[4096];
    applied(fixture, init_offsite(3));
    applied(fixture, claim("a", CHANGES, 5, 1));
    applied(fixture, going_on(complete(1, 10)));
    (void)snprintf(before, sizeof(before), "%s", offsite_text(fixture));
    assert_non_null(strstr(before, "claim a/C 1 by 5 r1 s2; chain a/C claimed 2 last 1@10"));
    applied(fixture, going_on(complete(1, 10)));
    assert_offsite(fixture, before);
    applied(fixture, complete(1, 10));
    assert_offsite(fixture, before);
}

static void a_shipment_is_checked(void **state)
{
    struct fixture *fixture = *state;
    Strongroom__Command *bad = complete(1, 9);
    applied(fixture, init_offsite(3));
    applied(fixture, claim("a", FULL, 5, 1));
    bad->offsite->complete->archive_id.len--;
    apply_fails(fixture, bad, SR_API_OFFSITE_INVALID);
    bad = complete(1, 9);
    bad->offsite->complete->manifest_sha256.len--;
    apply_fails(fixture, bad, SR_API_OFFSITE_INVALID);
    bad = complete(1, 9);
    bad->offsite->complete->state_hash.len--;
    apply_fails(fixture, bad, SR_API_OFFSITE_INVALID);
    bad = complete(1, 9);
    bad->offsite->complete->size = 0;
    apply_fails(fixture, bad, SR_API_OFFSITE_INVALID);
    apply_fails(fixture, complete(1, 0), SR_API_OFFSITE_INVALID);
    apply_fails(fixture, complete(2, 9), SR_API_OFFSITE_LOST);
    assert_offsite(fixture, "epoch 2: claim a/F 1 by 5 r0 s1; chain a/F claimed 1 last 0@0;");
}

static void a_failure_is_noted_until_the_next_success(void **state)
{
    struct fixture *fixture = *state;
    char reason[SR_OFFSITE_REASON_BYTES_MAX + 8];
    applied(fixture, init_offsite(3));
    applied(fixture, claim("a", FULL, 5, 1));
    apply_fails(fixture, fail_claim(1, ""), SR_API_OFFSITE_INVALID);
    applied(fixture, fail_claim(1, "the bucket is not there"));
    assert_offsite(fixture,
                   "epoch 3: chain a/F claimed 1 last 0@0 failed: the bucket is not there;");
    applied(fixture, claim("a", FULL, 5, 2));
    applied(fixture, complete(2, 9));
    assert_offsite(fixture, "epoch 5: chain a/F claimed 2 last 2@9; entry a 2@9;");
    /* One that is too long is cut, between two characters. */
    memset(reason, 'r', sizeof(reason));
    memcpy(reason + SR_OFFSITE_REASON_BYTES_MAX - 1, "\xc3\xa9zz", 5);
    applied(fixture, claim("a", FULL, 5, 3));
    applied(fixture, fail_claim(3, reason));
    Strongroom__OffsiteRecord *record = NULL;
    struct sr_err err = {0};
    fixture_ok(sr_store_offsite(fixture->store, &record, &err), &err);
    assert_int_equal(strlen(record->chain[0]->failure), SR_OFFSITE_REASON_BYTES_MAX - 1);
    assert_int_equal(record->chain[0]->failed, 2);
    assert_int_equal(record->chain[0]->failed_ms, 3000);
    strongroom__offsite_record__free_unpacked(record, NULL);
}

/* ---- The catalogue ---- */

/* Full archives 1 to @count on @target, at revisions 10, 20 and so on. */
static void ship(struct fixture *fixture, const char *target, int count, uint64_t first_claim)
{
    for (int i = 1; i <= count; i++) {
        applied(fixture, claim(target, FULL, 5, (uint64_t)i));
        applied(fixture, complete(first_claim + (uint64_t)i - 1, 10 * i));
    }
}

static void drills_are_noted(void **state)
{
    struct fixture *fixture = *state;
    applied(fixture, init_offsite(3));
    ship(fixture, "a", 2, 1);
    apply_fails(fixture, proven("a", 3, 1, ""), SR_API_OFFSITE_NOT_FOUND);
    apply_fails(fixture, proven("b", 1, 1, ""), SR_API_OFFSITE_NOT_FOUND);
    apply_fails(fixture, proven("a", 1, 9, ""), SR_API_OFFSITE_NOT_FOUND); /* another archive */
    applied(fixture, proven("a", 1, 1, ""));
    applied(fixture, proven("a", 2, 2, "the state hash differs"));
    assert_offsite(fixture, "epoch 7: chain a/F claimed 2 last 2@20; entry a 1@10 proven;"
                            " entry a 2@20 not: the state hash differs;");
    applied(fixture, proven("a", 2, 2, "")); /* the next drill was good */
    assert_offsite(fixture, "epoch 8: chain a/F claimed 2 last 2@20; entry a 1@10 proven;"
                            " entry a 2@20 proven;");
}

static void the_last_proven_one_is_not_pruned(void **state)
{
    struct fixture *fixture = *state;
    applied(fixture, init_offsite(3));
    ship(fixture, "a", 3, 1);
    ship(fixture, "b", 1, 4);
    applied(fixture, proven("a", 1, 1, ""));
    apply_fails(fixture, prune("a", 1, 2, 0), SR_API_OFFSITE_INVALID);
    applied(fixture, proven("a", 2, 2, ""));
    applied(fixture, prune("a", 1, 7, 0));
    applied(fixture, prune("a", 1, 7, 0)); /* they are not there any more */
    assert_offsite(fixture, "epoch 12: chain a/F claimed 3 last 3@30; chain b/F claimed 1 last"
                            " 1@10; entry a 2@20 proven; entry a 3@30; entry b 1@10;");
    Strongroom__OffsiteRecord *record = NULL;
    struct sr_err err = {0};
    fixture_ok(sr_store_offsite(fixture->store, &record, &err), &err);
    assert_int_equal(sr_offsite_newest(record, "a", false)->sequence, 3);
    assert_int_equal(sr_offsite_newest(record, "a", true)->sequence, 2);
    assert_null(sr_offsite_newest(record, "b", true));
    assert_null(sr_offsite_entry(record, "a", 1));
    assert_int_equal(sr_offsite_entry(record, "b", 1)->revision, 10);
    assert_int_equal(sr_offsite_chain(record, "b", FULL)->last_sequence, 1);
    assert_null(sr_offsite_chain(record, "b", CHANGES));
    assert_null(sr_offsite_claim(record, "a", FULL));
    strongroom__offsite_record__free_unpacked(record, NULL);
}

static void the_numbers_of_a_forgotten_target_never_come_back(void **state)
{
    struct fixture *fixture = *state;
    applied(fixture, init_offsite(3));
    ship(fixture, "a", 3, 1);
    apply_fails(fixture, forget("b"), SR_API_OFFSITE_NOT_FOUND);
    applied(fixture, claim("a", CHANGES, 5, 1));
    applied(fixture, forget("a"));
    assert_offsite(fixture, "epoch 9:");
    applied(fixture, claim("a", FULL, 5, 1));
    assert_offsite(fixture, "epoch 10: claim a/F 5 by 5 r0 s4; chain a/F claimed 4 last 0@0;");
}

static void the_catalogue_is_bounded(void **state)
{
    struct fixture *fixture = *state;
    applied(fixture, init_offsite(3));
    for (uint64_t i = 1; i <= SR_OFFSITE_ENTRIES_MAX; i++) {
        applied(fixture, claim("a", FULL, 5, i));
        if (i == SR_OFFSITE_ENTRIES_MAX) {
            applied(fixture, claim("b", FULL, 5, 1));
        }
        applied(fixture, complete(i, 10));
        commands_reset();
    }
    apply_fails(fixture, claim("a", FULL, 5, 9999), SR_API_OFFSITE_FULL);
    apply_fails(fixture, complete(SR_OFFSITE_ENTRIES_MAX + 1, 10), SR_API_OFFSITE_FULL);
    applied(fixture, prune("a", 5, 0, 0));
    applied(fixture, complete(SR_OFFSITE_ENTRIES_MAX + 1, 10));
    fixture_flush(fixture);
    fixture_reopen(fixture);
    apply_fails(fixture, claim("a", FULL, 5, 9999), SR_API_OFFSITE_FULL);
}

/* ---- Disk, hash, other nodes ---- */

static void the_record_survives(void **state)
{
    struct fixture *fixture = *state;
    struct sr_archive_secret *secret = NULL;
    struct sr_err err = {0};
    applied(fixture, init_offsite(3));
    fixture_flush(fixture);
    applied(fixture, claim("a", FULL, 5, 1));
    assert_true(sr_store_freeze(fixture->store, true));
    applied(fixture, complete(1, 9)); /* in the next table: not to be flushed with this one */
    fixture_ok(sr_store_flush(fixture->store, &err), &err);
    fixture_reopen(fixture);
    assert_offsite(fixture, "epoch 2: claim a/F 1 by 5 r0 s1; chain a/F claimed 1 last 0@0;");
    applied(fixture, complete(1, 9));
    fixture_flush(fixture);
    fixture_reopen(fixture);
    assert_offsite(fixture, "epoch 3: chain a/F claimed 1 last 1@9; entry a 1@9;");
    fixture_ok(sr_store_archive_secret(fixture->store, &secret, &err), &err);
    assert_int_equal(secret->kek[0], 3);
    sr_archive_secret_free(secret);
}

static void hash_with(const Strongroom__Command *first, const Strongroom__Command *second,
                      uint8_t ret_hash[32])
{
    struct fixture fixture;
    int64_t revision = 0;
    uint64_t index = 0;
    fixture_init(&fixture);
    fixture_open(&fixture);
    applied(&fixture, put_text("k", "v"));
    (void)apply(&fixture, first);
    (void)apply(&fixture, second);
    sr_store_state_hash(fixture.store, ret_hash, &revision, &index);
    assert_int_equal(revision, 2); /* no revision is made */
    fixture_close(&fixture);
}

static void the_state_hash_covers_record_and_secret(void **state)
{
    (void)state;
    uint8_t one[32];
    uint8_t again[32];
    uint8_t other_secret[32];
    uint8_t other_claim[32];
    hash_with(init_offsite(3), claim("a", FULL, 5, 1), one);
    hash_with(init_offsite(3), claim("a", FULL, 5, 1), again);
    hash_with(init_offsite(4), claim("a", FULL, 5, 1), other_secret);
    hash_with(init_offsite(3), claim("a", FULL, 5, 2), other_claim);
    assert_memory_equal(one, again, 32);
    assert_memory_not_equal(one, other_secret, 32);
    assert_memory_not_equal(one, other_claim, 32);
    commands_reset();
}

static void check_same_state(struct fixture *a, struct fixture *b)
{
    uint8_t hash_a[32];
    uint8_t hash_b[32];
    int64_t revision = 0;
    uint64_t index_a = 0;
    uint64_t index_b = 0;
    char text[4096];
    sr_store_state_hash(a->store, hash_a, &revision, &index_a);
    sr_store_state_hash(b->store, hash_b, &revision, &index_b);
    assert_int_equal(index_a, index_b);
    assert_memory_equal(hash_a, hash_b, 32);
    (void)snprintf(text, sizeof(text), "%s", offsite_text(a));
    assert_string_equal(text, offsite_text(b));
}

/* Puts among them; one node never flushes, the other flushes and starts again as it goes. */
static void two_nodes_come_to_the_same(void **state)
{
    struct fixture *fixture = *state;
    struct fixture other;
    uint64_t seed = 20;
    size_t good = 0;
    fixture_init(&other);
    fixture_open(&other);
    for (int i = 0; i < 1500; i++) {
        Strongroom__Command *command =
            below(&seed, 4) == 0 ? random_command(&seed, 1 + i) : random_offsite(&seed, 1 + i);
        struct sr_buf batch = {0};
        struct sr_err err = {0};
        batch_add(&batch, command);
        fixture_ok(apply_batch(fixture, &batch, &err), &err);
        enum sr_api_error error = outcomes.list[0].error;
        fixture_ok(apply_batch(&other, &batch, &err), &err);
        assert_int_equal(outcomes.list[0].error, error);
        good += error == SR_API_NONE && command->offsite != NULL;
        sr_buf_close(&batch);
        if (i % 50 == 0) {
            fixture_flush(&other);
            fixture_reopen(&other);
            check_same_state(fixture, &other);
        }
        commands_reset();
    }
    check_same_state(fixture, &other);
    assert_true(good > 100);
    assert_true(sr_store_offsite_epoch(fixture->store) > 100);
    fixture_close(&other);
}

/* ---- Images ---- */

/* Put all chunks of @reader into a store at @target. Returns the size of the first. */
static size_t stage(struct sr_image_reader *reader, struct fixture *target,
                    const struct sr_image_rebirth *rebirth)
{
    struct sr_image_writer_options options = {.dir = target->dir,
                                              .keyring = target->keyring,
                                              .cluster_id = target->options.cluster_id,
                                              .member_id = target->options.member_id};
    struct sr_image_writer *writer = NULL;
    struct sr_image_chunk chunk;
    struct sr_err err = {0};
    size_t first = 0;
    fixture_ok(rebirth == NULL ? sr_image_writer_open(&options, &writer, &err)
                               : sr_image_writer_open_rebirth(&options, rebirth, &writer, &err),
               &err);
    while (sr_image_reader_next(reader, &chunk, &err) == SR_OK) {
        first = first == 0 ? chunk.data.size : first;
        fixture_ok(sr_image_writer_put(writer, &chunk, &err), &err);
    }
    fixture_ok(sr_image_writer_finish(writer, &err), &err);
    sr_image_writer_close(writer);
    sr_image_reader_close(reader);
    fixture_open(target);
    return first;
}

static struct sr_image_reader *reader_of(struct fixture *fixture, bool bare)
{
    struct sr_image_reader *reader = NULL;
    struct sr_err err = {0};
    fixture_ok(bare ? sr_image_reader_open_bare(fixture->store, &reader, &err)
                    : sr_image_reader_open(fixture->store, &reader, &err),
               &err);
    return reader;
}

static uint32_t features_of(struct sr_image_reader *reader)
{
    struct sr_image_chunk chunk;
    struct sr_err err = {0};
    fixture_ok(sr_image_reader_next(reader, &chunk, &err), &err);
    uint32_t features = sr_get_u32(chunk.data.data + 1 + 8 + 4 + 4);
    sr_image_reader_close(reader);
    return features;
}

static void configure(struct fixture *fixture)
{
    struct sr_err err = {0};
    uint64_t index = sr_store_applied_index(fixture->store) + 1;
    fixture_ok(sr_store_apply_configuration(fixture->store, index, COMMANDS_TERM,
                                            (const uint8_t *)"who votes", 9, &err),
               &err);
}

static void images_carry_it(void **state)
{
    struct fixture *fixture = *state;
    struct fixture target;
    struct sr_archive_secret *secret = NULL;
    struct sr_err err = {0};
    configure(fixture);
    applied(fixture, put_text("k", "v"));
    fixture_flush(fixture);
    assert_int_equal(features_of(reader_of(fixture, false)), 0); /* as an old node knows it */
    applied(fixture, init_offsite(3));
    ship(fixture, "a", 2, 1);
    fixture_flush(fixture);
    assert_int_equal(features_of(reader_of(fixture, false)), 1);
    fixture_init(&target);
    (void)stage(reader_of(fixture, false), &target, NULL);
    check_same_state(fixture, &target);
    fixture_ok(sr_store_archive_secret(target.store, &secret, &err), &err);
    assert_int_equal(secret->kek[0], 3);
    sr_archive_secret_free(secret);
    /* And the other way on, from what was staged. */
    applied(fixture, claim("a", FULL, 5, 3));
    applied(&target, claim("a", FULL, 5, 3));
    check_same_state(fixture, &target);
    fixture_close(&target);
}

static void an_image_with_another_secret_is_refused(void **state)
{
    struct fixture *fixture = *state;
    struct fixture target;
    struct sr_image_writer *writer = NULL;
    struct sr_image_chunk chunk;
    struct sr_err err = {0};
    configure(fixture);
    applied(fixture, init_offsite(3));
    fixture_flush(fixture);
    fixture_init(&target);
    struct sr_image_writer_options options = {.dir = target.dir,
                                              .keyring = target.keyring,
                                              .cluster_id = FIXTURE_CLUSTER,
                                              .member_id = FIXTURE_MEMBER};
    struct sr_image_reader *reader = reader_of(fixture, false);
    fixture_ok(sr_image_writer_open(&options, &writer, &err), &err);
    int rc = sr_image_reader_next(reader, &chunk, &err);
    assert_int_equal(rc, SR_OK);
    /* The secret is at the end of the header; the chunk's own hash is made to fit. */
    uint8_t *forged = sr_memdup(chunk.data.data, chunk.data.size);
    forged[chunk.data.size - 1] ^= 1;
    chunk.data.data = forged;
    memset(chunk.content, 0, sizeof(chunk.content));
    fixture_ok(sr_image_content_add(chunk.content, 0, chunk.data, &err), &err);
    rc = sr_image_writer_put(writer, &chunk, &err);
    while (rc == SR_OK && sr_image_reader_next(reader, &chunk, &err) == SR_OK) {
        rc = sr_image_writer_put(writer, &chunk, &err);
    }
    if (rc == SR_OK) {
        rc = sr_image_writer_finish(writer, &err);
    }
    assert_int_equal(rc, SR_CORRUPT);
    sr_free(forged);
    sr_image_writer_close(writer);
    sr_image_reader_close(reader);
    fixture_open(&target);
    assert_int_equal(sr_store_applied_index(target.store), 0);
    fixture_close(&target);
}

static void what_leaves_the_cluster_has_nothing_of_it(void **state)
{
    struct fixture *fixture = *state;
    struct fixture target;
    struct sr_image_chunk chunk;
    struct sr_err err = {0};
    configure(fixture);
    applied(fixture, put_text("k", "v"));
    applied(fixture, init_offsite(0xa7));
    ship(fixture, "a", 2, 1);
    fixture_flush(fixture);
    assert_int_equal(features_of(reader_of(fixture, true)), 0);
    struct sr_image_reader *reader = reader_of(fixture, true);
    while (sr_image_reader_next(reader, &chunk, &err) == SR_OK) {
        assert_false(has_run(chunk.data.data, chunk.data.size, 0xa7, 8));
    }
    sr_image_reader_close(reader);
    /* A new cluster made of either has none, and can have one of its own. */
    for (int bare = 0; bare < 2; bare++) {
        struct sr_image_rebirth rebirth = {.from_cluster_id = FIXTURE_CLUSTER,
                                           .configuration = sr_bytes_of("one alone")};
        fixture_init(&target);
        (void)stage(reader_of(fixture, bare == 1), &target, &rebirth);
        assert_offsite(&target, "epoch 0:");
        assert_string_equal(pair_of(&target, "k"), "k=v 2/2/1");
        applied(&target, init_offsite(5));
        applied(&target, claim("a", FULL, 5, 1));
        assert_offsite(&target, "epoch 2: claim a/F 1 by 5 r0 s1; chain a/F claimed 1 last 0@0;");
        fixture_close(&target);
    }
}

/* ---- Versions, alarms ---- */

static void a_lower_level_refuses_rather_than_skips(void **state)
{
    struct fixture *fixture = *state;
    struct sr_buf batch = {0};
    struct sr_err err = {0};
    sr_store_close(fixture->store);
    fixture->options.feature_level = SR_FEATURE_LEVEL_OFFSITE - 1;
    fixture_open(fixture);
    applied(fixture, init_voters(3));
    applied(fixture, put_text("a", "1"));
    batch_add(&batch, init_offsite(3));
    assert_int_equal(apply_batch(fixture, &batch, &err), SR_FORMAT);
    assert_non_null(strstr(err.text, "feature level 3"));
    assert_int_equal(sr_store_failure(fixture->store, &err), SR_FORMAT);
    sr_buf_close(&batch);
}

static void a_change_of_a_newer_version_is_not_half_understood(void **state)
{
    struct fixture *fixture = *state;
    Strongroom__Command *command = claim("a", FULL, 5, 1);
    uint8_t value[] = {1};
    ProtobufCMessageUnknownField unknown = {
        .tag = 99, .wire_type = PROTOBUF_C_WIRE_TYPE_VARINT, .len = 1, .data = value};
    struct sr_buf batch = {0};
    struct sr_err err = {0};
    applied(fixture, init_offsite(3));
    command->offsite->claim->base.n_unknown_fields = 1;
    command->offsite->claim->base.unknown_fields = &unknown;
    batch_add(&batch, command);
    assert_int_equal(apply_batch(fixture, &batch, &err), SR_FORMAT);
    assert_non_null(strstr(err.text, "does not know"));
    sr_buf_close(&batch);
}

static void a_change_that_says_nothing_is_refused(void **state)
{
    struct fixture *fixture = *state;
    struct sr_buf batch = {0};
    struct sr_err err = {0};
    batch_add(&batch, offsite(STRONGROOM__OFFSITE_CHANGE__CHANGE__NOT_SET));
    assert_int_equal(apply_batch(fixture, &batch, &err), SR_FORMAT);
    sr_buf_close(&batch);
}

/* What is known of archives stays true whatever the alarm. */
static void alarms_do_not_stop_it(void **state)
{
    struct fixture *fixture = *state;
    applied(fixture, init_voters(1));
    applied(fixture, init_offsite(3));
    applied(fixture, raise_alarm(1, 2));
    apply_fails(fixture, put_text("k", "v"), SR_API_CORRUPT);
    applied(fixture, claim("a", FULL, 5, 1));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, commands_setup, commands_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(there_is_no_record_at_first),
        TEST(the_first_secret_counts),
        TEST(the_secret_is_in_nothing_that_is_shown_or_stored),
        TEST(one_ships_at_a_time),
        TEST(an_abandoned_claim_is_taken_over_as_it_was_seen),
        TEST(claims_are_checked),
        TEST(targets_are_bounded),
        cmocka_unit_test(a_watch_tells_an_abandoned_claim),
        TEST(changes_go_on_under_one_claim),
        TEST(a_completion_that_comes_twice_counts_once),
        TEST(a_shipment_is_checked),
        TEST(a_failure_is_noted_until_the_next_success),
        TEST(drills_are_noted),
        TEST(the_last_proven_one_is_not_pruned),
        TEST(the_numbers_of_a_forgotten_target_never_come_back),
        TEST(the_catalogue_is_bounded),
        TEST(the_record_survives),
        TEST(the_state_hash_covers_record_and_secret),
        TEST(two_nodes_come_to_the_same),
        TEST(images_carry_it),
        TEST(an_image_with_another_secret_is_refused),
        TEST(what_leaves_the_cluster_has_nothing_of_it),
        TEST(a_lower_level_refuses_rather_than_skips),
        TEST(a_change_of_a_newer_version_is_not_half_understood),
        TEST(a_change_that_says_nothing_is_refused),
        TEST(alarms_do_not_stop_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
