/* SPDX-License-Identifier: Apache-2.0
 *
 * What a target has, what of it is chosen, and how what is wrong is told.
 */
#include "tests/unit/restore/shipped.h"

static const struct sr_plan_wish anything = {0};

static int64_t until_of(const struct sr_manifest *manifest)
{
    return manifest->said->until_revision;
}

/* Each step begins where what is before it ended, or earlier, and leads further. */
static void check_steps(const struct sr_plan *plan)
{
    uint64_t bytes = 0;
    assert_true(plan->step_count > 0);
    assert_int_equal(plan->steps[0]->said->kind, SR_ARCHIVE_FULL);
    for (size_t i = 1; i < plan->step_count; i++) {
        assert_int_equal(plan->steps[i]->said->kind, SR_ARCHIVE_CHANGES);
        assert_true(plan->steps[i]->said->since_revision <= until_of(plan->steps[i - 1]));
        assert_true(until_of(plan->steps[i]) > until_of(plan->steps[i - 1]));
    }
    for (size_t i = 0; i < plan->step_count; i++) {
        bytes += plan->steps[i]->said->size;
    }
    assert_int_equal(plan->bytes, bytes);
}

static void test_all_there_is(void **state)
{
    struct world *world = ship_world();
    int64_t revision = sr_store_revision(world->fixture.store);
    (void)state;
    struct sr_plan *plan = shipped_plan_ok(world, &anything);
    check_steps(plan);
    assert_int_equal(plan->cluster_count, 1);
    assert_int_equal(plan->cluster_id, FIXTURE_CLUSTER);
    assert_int_equal(plan->clusters[0].snapshots, 2);
    assert_int_equal(plan->clusters[0].newest_revision, revision);
    assert_int_equal(plan->full_count, 2);
    assert_ptr_equal(plan->steps[0], plan->full[1]);
    assert_int_equal(plan->revision, revision);
    assert_int_equal(plan->reach_revision, revision);
    assert_int_equal(plan->reach_ms, sr_plan_time(sr_plan_last(plan)));
    assert_int_equal(plan->note_count, 0);
    assert_true(sr_is_fingerprint(plan->fingerprint));
    assert_false(sr_plan_stops_within(plan));
    sr_plan_free(plan);
    world_close(world);
}

static void test_every_revision_has_a_way(void **state)
{
    struct world *world = ship_world();
    struct sr_plan *all = shipped_plan_ok(world, &anything);
    int64_t first = until_of(all->full[0]);
    (void)state;
    for (int64_t revision = first; revision <= all->revision; revision++) {
        struct sr_plan_wish wish = {.revision = revision};
        struct sr_plan *plan = shipped_plan_ok(world, &wish);
        check_steps(plan);
        bool second = revision >= until_of(plan->full[1]);
        assert_ptr_equal(plan->steps[0], plan->full[second ? 1 : 0]);
        assert_int_equal(plan->revision, revision);
        assert_true(until_of(sr_plan_last(plan)) >= revision);
        if (plan->step_count > 1) { /* none that is not needed */
            assert_true(until_of(plan->steps[plan->step_count - 2]) < revision);
        }
        assert_int_equal(sr_plan_stops_within(plan), until_of(sr_plan_last(plan)) > revision);
        assert_int_equal(plan->reach_revision, all->revision);
        sr_plan_free(plan);
    }
    struct sr_plan_wish before = {.revision = first - 1};
    shipped_refused(world, &before, SR_NOT_FOUND,
                    "that revision is before the oldest snapshot that is there");
    struct sr_plan_wish beyond = {.revision = all->revision + 1};
    shipped_refused(world, &beyond, SR_NOT_FOUND, "is not there: what is there ends at");
    sr_plan_free(all);
    world_close(world);
}

static void test_every_second_has_a_way(void **state)
{
    struct world *world = ship_world();
    struct sr_plan *all = shipped_plan_ok(world, &anything);
    uint64_t first = sr_plan_time(all->full[0]);
    (void)state;
    for (uint64_t ms = first; ms <= all->reach_ms; ms += 500) {
        struct sr_plan_wish wish = {.time_ms = ms};
        struct sr_plan *plan = shipped_plan_ok(world, &wish);
        check_steps(plan);
        assert_true(sr_plan_time(plan->steps[0]) <= ms);
        assert_true(sr_plan_time(sr_plan_last(plan)) >= ms);
        if (plan->step_count > 1) {
            assert_true(sr_plan_time(plan->steps[plan->step_count - 2]) <= ms);
        }
        sr_plan_free(plan);
    }
    struct sr_plan_wish before = {.time_ms = first - 1};
    shipped_refused(world, &before, SR_NOT_FOUND, "is before the oldest snapshot that is there");
    struct sr_plan_wish later = {.time_ms = all->reach_ms + HOUR};
    struct sr_plan *plan = shipped_plan_ok(world, &later);
    assert_int_equal(plan->revision, all->revision);
    assert_true(shipped_has_note(plan, "nothing was shipped between"));
    sr_plan_free(plan);
    sr_plan_free(all);
    world_close(world);
}

static void test_one_snapshot_is_asked_for(void **state)
{
    struct world *world = ship_world();
    struct sr_plan_wish wish = {.sequence = 1, .target = "far"};
    (void)state;
    struct sr_plan *plan = shipped_plan_ok(world, &wish);
    check_steps(plan);
    assert_int_equal(plan->steps[0]->said->sequence, 1);
    assert_int_equal(plan->revision, sr_store_revision(world->fixture.store));
    sr_plan_free(plan);
    wish.sequence = 9;
    shipped_refused(world, &wish, SR_NOT_FOUND, "snapshot 9 is not there");
    world_close(world);
}

static void test_nothing_is_there(void **state)
{
    struct world *world = world_open(DAY);
    struct sr_plan_wish wish = {.cluster_id = 0xaa};
    char name[SR_OBJECT_NAME_BYTES_MAX];
    (void)state;
    shipped_refused(world, &anything, SR_NOT_FOUND, "there is nothing that a cluster has shipped");
    shipped_refused(world, &wish, SR_NOT_FOUND, "there is nothing of cluster 00000000000000aa");
    world_run(world, MINUTE, SECOND);
    ship_changes(world, 3);
    shipped_name(world, SR_ARCHIVE_FULL, SR_OBJECT_MANIFEST, 0, name);
    shipped_remove(world, name);
    shipped_refused(world, &anything, SR_NOT_FOUND, "there is no snapshot of cluster");
    world_close(world);
}

/* ---- What is foreign ---- */

static void copy_as(const struct world *world, const char *from, const char *to)
{
    struct sr_buf file = shipped_read(world, from);
    shipped_write(world, to, file.data, file.size);
    sr_buf_close(&file);
}

static void test_several_clusters(void **state)
{
    struct world *world = ship_world();
    char name[SR_OBJECT_NAME_BYTES_MAX];
    char copy[SR_OBJECT_NAME_BYTES_MAX];
    char path[256];
    (void)state;
    shipped_path(world, "00000000000000aa", path);
    assert_int_equal(mkdir(path, 0700), 0);
    shipped_path(world, "00000000000000aa/snapshots", path);
    assert_int_equal(mkdir(path, 0700), 0);
    shipped_name(world, SR_ARCHIVE_FULL, SR_OBJECT_MANIFEST, 0, name);
    (void)snprintf(copy, sizeof(copy), "00000000000000aa%s", strchr(name, '/'));
    copy_as(world, name, copy);
    shipped_refused(world, &anything, SR_INVALID, "there are 2 clusters: say which one is meant");
    struct sr_plan_wish wish = {.cluster_id = FIXTURE_CLUSTER};
    struct sr_plan *plan = shipped_plan_ok(world, &wish);
    assert_int_equal(plan->full_count, 2);
    sr_plan_free(plan);
    wish.cluster_id = 0xaa;
    shipped_refused(world, &wish, SR_REFUSED, "foreign: it is of cluster 00000000000000c1");
    world_close(world);
}

static void test_who_has_signed(void **state)
{
    struct world *world = ship_world();
    struct sr_plan *all = shipped_plan_ok(world, &anything);
    struct sr_plan_wish wish = {.signed_by = all->fingerprint};
    uint8_t other[SR_SIGNING_BYTES] = {1};
    char fingerprint[SR_FINGERPRINT_CHARS + 1];
    (void)state;
    sr_plan_free(shipped_plan_ok(world, &wish));
    sr_fingerprint(other, fingerprint);
    wish.signed_by = fingerprint;
    shipped_refused(world, &wish, SR_REFUSED, "foreign: ");
    wish = (struct sr_plan_wish){.public_key = other};
    shipped_refused(world, &wish, SR_REFUSED, "foreign: ");
    wish = (struct sr_plan_wish){.target = "near"};
    shipped_refused(world, &wish, SR_REFUSED, "foreign: it was made for target far");
    wish = (struct sr_plan_wish){.revision_min = all->revision};
    sr_plan_free(shipped_plan_ok(world, &wish));
    wish.revision_min++;
    shipped_refused(world, &wish, SR_REFUSED, "stale: all that is there ends at revision");
    sr_plan_free(all);
    world_close(world);
}

/* What a key of somebody else has signed, with all that is public as it was. */
static void test_a_forged_manifest(void **state)
{
    struct world *world = ship_world();
    struct sr_plan *all = shipped_plan_ok(world, &anything);
    uint8_t seed[SR_SIGNING_BYTES] = {3};
    uint8_t sha256[SR_MANIFEST_HASH_BYTES];
    char name[SR_OBJECT_NAME_BYTES_MAX];
    struct sr_buf file = {0};
    struct sr_err err = {0};
    (void)state;
    fixture_ok(sr_manifest_sign(all->full[1]->said, seed, &file, sha256, &err), &err);
    shipped_name(world, SR_ARCHIVE_FULL, SR_OBJECT_MANIFEST, 1, name);
    shipped_write(world, name, file.data, file.size);
    shipped_refused(world, &anything, SR_REFUSED, "foreign: ");
    sr_buf_clear(&file);
    fixture_ok(sr_manifest_sign(sr_plan_last(all)->said, seed, &file, sha256, &err), &err);
    struct sr_buf good = {0};
    memset(seed, 7, sizeof(seed)); /* the cluster's own */
    fixture_ok(sr_manifest_sign(all->full[1]->said, seed, &good, sha256, &err), &err);
    shipped_write(world, name, good.data, good.size);
    sr_plan_free(shipped_plan_ok(world, &anything));
    shipped_name(world, SR_ARCHIVE_CHANGES, SR_OBJECT_MANIFEST, -1, name);
    shipped_write(world, name, file.data, file.size);
    shipped_refused(world, &anything, SR_REFUSED, "foreign: ");
    sr_buf_close(&file);
    sr_buf_close(&good);
    sr_plan_free(all);
    world_close(world);
}

/* ---- What is damaged ---- */

static void test_every_flip_of_a_manifest_is_refused(void **state)
{
    struct world *world = ship_world();
    static const enum sr_archive_kind kinds[] = {SR_ARCHIVE_FULL, SR_ARCHIVE_CHANGES};
    (void)state;
    for (size_t k = 0; k < 2; k++) {
        char name[SR_OBJECT_NAME_BYTES_MAX];
        shipped_name(world, kinds[k], SR_OBJECT_MANIFEST, -1, name);
        struct sr_buf file = shipped_read(world, name);
        for (size_t i = 0; i < file.size; i++) {
            struct sr_plan *plan = NULL;
            struct sr_err err = {0};
            file.data[i] ^= (uint8_t)(1U << (i % 8));
            shipped_write(world, name, file.data, file.size);
            int status = shipped_plan(world, &anything, &plan, &err);
            if (status != SR_CORRUPT && status != SR_REFUSED && status != SR_FORMAT) {
                fail_msg("a flip at %zu of %s: %s", i, name, sr_status_text(status));
            }
            sr_plan_free(plan);
            file.data[i] ^= (uint8_t)(1U << (i % 8));
        }
        for (size_t size = 0; size < file.size; size += 17) {
            shipped_write(world, name, file.data, size);
            shipped_refused(world, &anything, SR_CORRUPT, "truncated: ");
        }
        shipped_write(world, name, file.data, file.size);
        sr_plan_free(shipped_plan_ok(world, &anything));
        sr_buf_close(&file);
    }
    world_close(world);
}

static void test_another_one_in_its_place(void **state)
{
    struct world *world = ship_world();
    char first[SR_OBJECT_NAME_BYTES_MAX];
    char second[SR_OBJECT_NAME_BYTES_MAX];
    (void)state;
    shipped_name(world, SR_ARCHIVE_FULL, SR_OBJECT_MANIFEST, 0, first);
    shipped_name(world, SR_ARCHIVE_FULL, SR_OBJECT_MANIFEST, 1, second);
    struct sr_buf old = shipped_read(world, first);
    struct sr_buf young = shipped_read(world, second);
    shipped_write(world, first, young.data, young.size);
    shipped_refused(world, &anything, SR_REFUSED, "swapped: ");
    shipped_write(world, first, old.data, old.size);
    shipped_write(world, second, old.data, old.size);
    shipped_refused(world, &anything, SR_REFUSED, "stale: ");
    sr_buf_close(&old);
    sr_buf_close(&young);
    world_close(world);
}

/* Also what is not needed for the newest state is told, if it is a snapshot: it is one less. */
static void test_a_snapshot_that_is_gone(void **state)
{
    struct world *world = ship_world();
    char name[SR_OBJECT_NAME_BYTES_MAX];
    (void)state;
    shipped_name(world, SR_ARCHIVE_FULL, SR_OBJECT_MANIFEST, 0, name);
    shipped_remove(world, name);
    struct sr_plan *plan = shipped_plan_ok(world, &anything);
    assert_true(shipped_has_note(plan, "pruned since, or taken away"));
    assert_int_equal(plan->full_count, 1);
    sr_plan_free(plan);
    world_close(world);
}

static void test_changes_that_are_gone(void **state)
{
    struct world *world = ship_world();
    struct sr_plan_wish salvage = {.salvage = true};
    char name[SR_OBJECT_NAME_BYTES_MAX];
    (void)state;
    struct sr_plan *all = shipped_plan_ok(world, &anything);
    assert_true(all->step_count > 3);
    int64_t left = until_of(all->steps[all->step_count - 3]);
    shipped_name(world, SR_ARCHIVE_CHANGES, SR_OBJECT_MANIFEST, -2, name);
    shipped_remove(world, name);
    shipped_refused(world, &anything, SR_CORRUPT, "truncated: changes");
    struct sr_plan *plan = shipped_plan_ok(world, &salvage);
    check_steps(plan);
    assert_int_equal(plan->revision, left);
    assert_int_equal(plan->reach_revision, all->revision);
    assert_true(shipped_has_note(plan, "are missing"));
    sr_plan_free(plan);
    struct sr_plan_wish before = {.revision = left}; /* what is behind it does not matter */
    plan = shipped_plan_ok(world, &before);
    assert_int_equal(plan->revision, left);
    sr_plan_free(plan);
    sr_plan_free(all);
    world_close(world);
}

static void test_salvage_leaves_out_what_is_damaged(void **state)
{
    struct world *world = ship_world();
    struct sr_plan_wish salvage = {.salvage = true};
    char name[SR_OBJECT_NAME_BYTES_MAX];
    (void)state;
    shipped_name(world, SR_ARCHIVE_FULL, SR_OBJECT_MANIFEST, 1, name);
    struct sr_buf file = shipped_read(world, name);
    file.data[file.size / 2] ^= 1;
    shipped_write(world, name, file.data, file.size);
    shipped_refused(world, &anything, SR_CORRUPT, "edited: ");
    struct sr_plan *plan = shipped_plan_ok(world, &salvage);
    check_steps(plan); /* from the first snapshot on, nothing is lost */
    assert_int_equal(plan->steps[0]->said->sequence, 1);
    assert_int_equal(plan->revision, sr_store_revision(world->fixture.store));
    assert_true(shipped_has_note(plan, "left out: manifest"));
    sr_plan_free(plan);
    sr_buf_close(&file);
    world_close(world);
}

static void test_salvage_goes_without_damaged_archives(void **state)
{
    struct world *world = ship_world();
    struct sr_plan *all = shipped_plan_ok(world, &anything);
    struct sr_plan_without without[] = {
        {SR_ARCHIVE_FULL, all->full[1]->said->sequence},
        {SR_ARCHIVE_CHANGES, sr_plan_last(all)->said->sequence},
    };
    struct sr_plan_wish salvage = {.salvage = true, .without = without, .without_count = 1};
    (void)state;
    struct sr_plan *plan = shipped_plan_ok(world, &salvage);
    check_steps(plan);
    assert_int_equal(plan->steps[0]->said->sequence, 1);
    assert_int_equal(plan->revision, all->revision);
    assert_true(shipped_has_note(plan, "is damaged"));
    sr_plan_free(plan);
    salvage.without_count = 2;
    plan = shipped_plan_ok(world, &salvage);
    check_steps(plan);
    assert_int_equal(plan->revision, sr_plan_last(all)->said->since_revision);
    sr_plan_free(plan);
    salvage.salvage = false; /* nothing is left out unless it was asked for */
    plan = shipped_plan_ok(world, &salvage);
    assert_int_equal(plan->revision, all->revision);
    sr_plan_free(plan);
    sr_plan_free(all);
    world_close(world);
}

/* Compaction has removed what was yet to be shipped: nobody can have a revision in between. */
static void test_a_gap_that_a_snapshot_has_closed(void **state)
{
    struct world *world = world_open(365 * DAY);
    (void)state;
    ship_some(world, 5);
    world_run(world, MINUTE, SECOND);
    ship_changes(world, 5);
    int64_t before = sr_store_revision(world->fixture.store);
    uint64_t before_ms = world->now_ms;
    world->leader = 0;
    for (unsigned i = 0; i < 50; i++) {
        applied(&world->fixture, put_text("again", "and again"));
    }
    applied(&world->fixture, compact(sr_store_revision(world->fixture.store)));
    ship_some(world, 5);
    fixture_settle(&world->fixture);
    world->leader = 1;
    world_run(world, 10 * MINUTE, SECOND);
    ship_changes(world, 5);
    ship_changes(world, 5);

    struct sr_plan *plan = shipped_plan_ok(world, &anything);
    check_steps(plan);
    assert_int_equal(plan->full_count, 2);
    assert_int_equal(plan->note_count, 0);
    assert_int_equal(plan->revision, sr_store_revision(world->fixture.store));
    int64_t second = until_of(plan->full[1]);
    assert_true(second > before + 50);
    sr_plan_free(plan);
    struct sr_plan_wish wish = {.revision = before};
    plan = shipped_plan_ok(world, &wish);
    assert_int_equal(plan->revision, before);
    sr_plan_free(plan);
    wish.revision = before + 20;
    shipped_refused(world, &wish, SR_NOT_FOUND, "were never shipped, or are gone");
    wish = (struct sr_plan_wish){.time_ms = before_ms + SECOND / 2};
    shipped_refused(world, &wish, SR_NOT_FOUND, "were never shipped, or are gone");
    wish = (struct sr_plan_wish){.sequence = 1}; /* a drill of it goes as far as it can */
    plan = shipped_plan_ok(world, &wish);
    assert_int_equal(plan->revision, before);
    assert_true(shipped_has_note(plan, "are missing"));
    sr_plan_free(plan);
    world_close(world);
}

/* ---- Keys ---- */

static void test_for_whom_it_is_sealed(void **state)
{
    struct world *world = ship_world();
    struct sr_plan *plan = shipped_plan_ok(world, &anything);
    struct sr_recovery_private *other = NULL;
    struct sr_err err = {0};
    (void)state;
    fixture_ok(sr_recovery_draw(&other, &err), &err);
    fixture_ok(sr_plan_check_key(plan, &world->recovery->public_half, &err), &err);
    assert_int_equal(sr_plan_check_key(plan, &other->public_half, &err), SR_KEY);
    assert_non_null(strstr(err.text, "is not sealed for recovery key"));
    sr_recovery_private_free(other);
    sr_plan_free(plan);
    world_close(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_there_is),
        cmocka_unit_test(test_every_revision_has_a_way),
        cmocka_unit_test(test_every_second_has_a_way),
        cmocka_unit_test(test_one_snapshot_is_asked_for),
        cmocka_unit_test(test_nothing_is_there),
        cmocka_unit_test(test_several_clusters),
        cmocka_unit_test(test_who_has_signed),
        cmocka_unit_test(test_a_forged_manifest),
        cmocka_unit_test(test_every_flip_of_a_manifest_is_refused),
        cmocka_unit_test(test_another_one_in_its_place),
        cmocka_unit_test(test_a_snapshot_that_is_gone),
        cmocka_unit_test(test_changes_that_are_gone),
        cmocka_unit_test(test_salvage_leaves_out_what_is_damaged),
        cmocka_unit_test(test_salvage_goes_without_damaged_archives),
        cmocka_unit_test(test_a_gap_that_a_snapshot_has_closed),
        cmocka_unit_test(test_for_whom_it_is_sealed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
