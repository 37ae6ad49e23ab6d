/* SPDX-License-Identifier: Apache-2.0
 *
 * All that is there is looked at: nothing is at fault as long as nothing is, and whatever is done
 * to it is told.
 */
#include "tests/unit/restore/shipped.h"

#include "node/restore/verify.h"

#define TARGETS_MAX 4
#define FAULTS_MAX  64

/* Two snapshots, changes before, between and behind them. */
struct far {
    struct world *world;
    struct sr_target *targets[TARGETS_MAX];
    size_t snapshots;
    size_t changes;
    uint64_t versions; /* in all of them */
    /* What the last look told. */
    struct sr_verified verified;
    size_t looked;
    size_t bad;
    char faults[FAULTS_MAX][SR_ERR_TEXT_MAX];
    void (*meanwhile)(struct far *far, const struct sr_manifest *manifest);
};

static struct far *far_make(struct world *world)
{
    struct far *far = sr_zalloc(sizeof(*far));
    far->world = world;
    for (size_t i = 0; i < TARGETS_MAX; i++) {
        far->targets[i] = shipped_target(world);
    }
    struct objects full = world_objects(world, SR_ARCHIVE_FULL);
    struct objects changes = world_objects(world, SR_ARCHIVE_CHANGES);
    far->snapshots = full.count / 2;
    far->changes = changes.count / 2;
    sr_free(full.names);
    sr_free(changes.names);
    return far;
}

static void far_free(struct far *far)
{
    sr_plan_free(far->verified.plan);
    for (size_t i = 0; i < TARGETS_MAX; i++) {
        sr_target_close(far->targets[i]);
    }
    world_close(far->world);
    sr_free(far);
}

static int far_open(void **state)
{
    struct far *far = far_make(ship_world());
    assert_int_equal(far->snapshots, 2);
    assert_in_range(far->changes, 8, 40);
    *state = far;
    return 0;
}

static int far_close(void **state)
{
    far_free(*state);
    return 0;
}

/* ---- Looking ---- */

static void on_each(void *arg, const struct sr_manifest *manifest, const char *fault)
{
    struct far *far = arg;
    far->looked++;
    if (fault != NULL && far->bad < FAULTS_MAX) {
        (void)snprintf(far->faults[far->bad++], SR_ERR_TEXT_MAX, "%s: %s", manifest->said->object,
                       fault);
    }
    if (far->meanwhile != NULL) {
        far->meanwhile(far, manifest);
    }
}

static struct sr_verify looking(struct far *far, size_t targets)
{
    return (struct sr_verify){.targets = {far->targets, targets},
                              .key = far->world->recovery,
                              .each = on_each,
                              .arg = far};
}

static int look(struct far *far, const struct sr_verify *verify, struct sr_err *err)
{
    sr_plan_free(far->verified.plan);
    far->looked = 0;
    far->bad = 0;
    return sr_verify_all(verify, &far->verified, err);
}

static void look_ok(struct far *far, const struct sr_verify *verify)
{
    struct sr_err err = {0};
    fixture_ok(look(far, verify, &err), &err);
}

static void expect_good(struct far *far)
{
    if (far->verified.faults > 0) {
        fail_msg("%llu faults: %s %s", (unsigned long long)far->verified.faults, far->faults[0],
                 far->verified.plan->note_count > 0 ? far->verified.plan->notes[0] : "");
    }
    assert_int_equal(far->verified.snapshots, far->snapshots);
    assert_int_equal(far->verified.changes, far->changes);
    assert_int_equal(far->looked, far->snapshots + far->changes);
}

/* It is told, of an archive or in a note, with @sentence in it; by whatever way one looks. */
static void expect_fault(struct far *far, const char *sentence)
{
    for (int closed = 0; closed < 2; closed++) {
        struct sr_verify verify = looking(far, closed == 1 ? 1 : TARGETS_MAX);
        verify.key = closed == 1 ? NULL : verify.key;
        look_ok(far, &verify);
        bool told = shipped_has_note(far->verified.plan, sentence);
        for (size_t i = 0; i < far->bad; i++) {
            told = told || strstr(far->faults[i], sentence) != NULL;
        }
        if (far->verified.faults == 0 || !told) {
            fail_msg("not told: %s, but %llu faults: %s", sentence,
                     (unsigned long long)far->verified.faults, far->faults[0]);
        }
    }
}

/* ---- All is well ---- */

static void test_all_is_well(void **state)
{
    struct far *far = *state;
    struct sr_verify verify = looking(far, 1);
    look_ok(far, &verify);
    expect_good(far);
    uint64_t versions = far->verified.versions;
    uint64_t bytes = far->verified.bytes;
    assert_true(versions > 60);
    assert_int_equal(far->verified.closed, 0);
    assert_int_equal(strlen(far->verified.plan->fingerprint), SR_FINGERPRINT_CHARS);
    verify = looking(far, TARGETS_MAX);
    look_ok(far, &verify);
    expect_good(far);
    assert_int_equal(far->verified.versions, versions);
    assert_int_equal(far->verified.bytes, bytes);
}

/* Without a key, or with another one, bytes are all that can be compared. */
static void test_who_has_no_key(void **state)
{
    struct far *far = *state;
    struct sr_verify verify = looking(far, 2);
    struct sr_recovery_private *other = NULL;
    struct sr_err err = {0};
    verify.key = NULL;
    look_ok(far, &verify);
    expect_good(far);
    assert_int_equal(far->verified.versions, 0);
    assert_int_equal(far->verified.closed, 0);
    fixture_ok(sr_recovery_draw(&other, &err), &err);
    verify.key = other;
    look_ok(far, &verify);
    expect_good(far);
    assert_int_equal(far->verified.versions, 0);
    assert_int_equal(far->verified.closed, far->snapshots + far->changes);
    sr_recovery_private_free(other);
}

static void test_who_signed_and_how_far(void **state)
{
    struct far *far = *state;
    struct sr_verify verify = looking(far, 2);
    verify.wish.signed_by =
        "SHA256:0000000000000000000000000000000000000000000000000000000000000000";
    look_ok(far, &verify);
    assert_int_equal(far->verified.faults, far->snapshots + far->changes);
    assert_true(shipped_has_note(far->verified.plan, "foreign: it is signed by"));
    verify = looking(far, 2);
    verify.wish.revision_min = sr_store_revision(far->world->fixture.store);
    look_ok(far, &verify);
    expect_good(far);
    verify.wish.revision_min++;
    look_ok(far, &verify);
    assert_int_equal(far->verified.faults, 1);
    assert_true(shipped_has_note(far->verified.plan, "stale: all that is there ends at"));
    struct sr_err err = {0};
    verify.wish.cluster_id = FIXTURE_CLUSTER + 1;
    assert_int_equal(look(far, &verify, &err), SR_NOT_FOUND);
}

/* ---- Something is not ---- */

static void name_of(struct far *far, enum sr_archive_kind kind, enum sr_object_type type, int at,
                    char out[SR_OBJECT_NAME_BYTES_MAX])
{
    shipped_name(far->world, kind, type, at, out);
}

static void flip(struct far *far, const char *name, size_t at)
{
    struct sr_buf file = shipped_read(far->world, name);
    file.data[at] ^= 4;
    shipped_write(far->world, name, file.data, file.size);
    sr_buf_close(&file);
}

/* Each object, at both ends and within: other bytes, fewer, more. */
static void test_any_object(void **state)
{
    struct far *far = *state;
    for (int i = 0; i < 8; i++) {
        char name[SR_OBJECT_NAME_BYTES_MAX];
        name_of(far, i % 2 == 0 ? SR_ARCHIVE_FULL : SR_ARCHIVE_CHANGES,
                i % 4 < 2 ? SR_OBJECT_ARCHIVE : SR_OBJECT_MANIFEST, i / 4 == 0 ? 0 : -2, name);
        struct sr_buf file = shipped_read(far->world, name);
        const size_t places[] = {0, file.size / 2, file.size - 1};
        for (size_t k = 0; k < 3; k++) {
            flip(far, name, places[k]);
            expect_fault(far, i % 4 < 2 ? "edited: " : "left out: manifest");
            shipped_write(far->world, name, file.data, places[k]);
            expect_fault(far, i % 4 < 2 ? "truncated: " : "left out: manifest");
            shipped_write(far->world, name, file.data, file.size);
        }
        sr_buf_append_u8(&file, 0);
        shipped_write(far->world, name, file.data, file.size);
        expect_fault(far, "edited: ");
        shipped_write(far->world, name, file.data, file.size - 1);
        sr_buf_close(&file);
    }
    struct sr_verify verify = looking(far, 2);
    look_ok(far, &verify);
    expect_good(far);
}

/* A snapshot of three groups. */
static struct far *make_large(void)
{
    struct world *world = world_open(365 * DAY);
    uint64_t seed = 7;
    for (unsigned i = 0; i < 34; i++) {
        applied(&world->fixture, archive_large(&seed, 600000));
        sr_arena_reset(&commands_arena);
    }
    fixture_flush(&world->fixture);
    world_run(world, MINUTE, SECOND);
    return far_make(world);
}

/* Which of them differs is told. */
static void test_a_group_within(void **state)
{
    struct far *far = make_large();
    struct sr_verify verify = looking(far, 1);
    char name[SR_OBJECT_NAME_BYTES_MAX];
    (void)state;
    look_ok(far, &verify);
    expect_good(far);
    name_of(far, SR_ARCHIVE_FULL, SR_OBJECT_ARCHIVE, -1, name);
    flip(far, name, SR_ARCHIVE_GROUP_BYTES + 5);
    expect_fault(far, "other bytes between 8388608 and 16777216");
    flip(far, name, SR_ARCHIVE_GROUP_BYTES + 5);
    struct sr_buf file = shipped_read(far->world, name);
    assert_true(file.size > 2 * SR_ARCHIVE_GROUP_BYTES);
    const size_t sizes[] = {SR_ARCHIVE_GROUP_BYTES - 1, SR_ARCHIVE_GROUP_BYTES,
                            2 * SR_ARCHIVE_GROUP_BYTES};
    for (size_t i = 0; i < 3; i++) {
        shipped_write(far->world, name, file.data, sizes[i]);
        expect_fault(far, "truncated: ");
    }
    sr_buf_close(&file);
    far_free(far);
}

static void move(struct far *far, const char *from, const char *to)
{
    struct sr_buf file = shipped_read(far->world, from);
    shipped_remove(far->world, from);
    shipped_write(far->world, to, file.data, file.size);
    sr_buf_close(&file);
}

static void test_what_is_missing_or_swapped(void **state)
{
    struct far *far = *state;
    char one[SR_OBJECT_NAME_BYTES_MAX];
    char other[SR_OBJECT_NAME_BYTES_MAX];
    name_of(far, SR_ARCHIVE_CHANGES, SR_OBJECT_ARCHIVE, 2, one);
    name_of(far, SR_ARCHIVE_CHANGES, SR_OBJECT_ARCHIVE, 3, other);
    move(far, one, "away");
    expect_fault(far, "truncated: it is not there, although its manifest is");
    move(far, other, one); /* in its place */
    expect_fault(far, one);
    move(far, one, other);
    move(far, "away", one);
    struct sr_verify verify = looking(far, 2);
    look_ok(far, &verify);
    expect_good(far);
}

/* What is pruned while one looks is no fault, whether its archive has gone already or both. */
static void prune_next(struct far *far, const struct sr_manifest *manifest)
{
    static char name[SR_OBJECT_NAME_BYTES_MAX];
    (void)manifest;
    if (far->looked == 1) {
        name_of(far, SR_ARCHIVE_FULL, SR_OBJECT_MANIFEST, 1, name);
        move(far, name, "manifest-away");
        name_of(far, SR_ARCHIVE_FULL, SR_OBJECT_ARCHIVE, 1, name);
        move(far, name, "archive-away");
    } else if (far->looked == 2) {
        move(far, "archive-away", name);
        memcpy(name + strlen(name) - 1, "m", 1);
        move(far, "manifest-away", name);
    }
}

static void test_what_is_pruned_meanwhile(void **state)
{
    struct far *far = *state;
    struct sr_verify verify = looking(far, 1);
    far->meanwhile = prune_next;
    look_ok(far, &verify);
    far->meanwhile = NULL;
    assert_int_equal(far->verified.faults, 0);
    assert_int_equal(far->verified.snapshots, far->snapshots - 1);
    assert_int_equal(far->verified.changes, far->changes);
}

/* ---- By slices ---- */

static void test_slices_show_the_same(void **state)
{
    struct far *far = *state;
    struct sr_verify verify = looking(far, 2);
    for (size_t slice = 1; slice <= far->changes + 1; slice++) {
        verify.slice = slice;
        look_ok(far, &verify);
        expect_good(far);
    }
}

/* One that is missing between two is missed, wherever slices meet. The oldest may have been pruned,
 * and whether the newest were the last, only who knows what was shipped can tell. */
static void test_slices_miss_what_is_missing(void **state)
{
    struct far *far = *state;
    struct sr_verify verify = looking(far, 2);
    for (size_t at = 0; at < far->changes; at++) {
        char name[SR_OBJECT_NAME_BYTES_MAX];
        name_of(far, SR_ARCHIVE_CHANGES, SR_OBJECT_MANIFEST, (int)at, name);
        move(far, name, "away");
        for (size_t slice = 1; slice <= 5; slice++) {
            verify.slice = slice;
            verify.wish.revision_min = 0;
            look_ok(far, &verify);
            assert_int_equal(far->verified.faults > 0, at > 0 && at + 1 < far->changes);
            assert_int_equal(shipped_has_note(far->verified.plan, "pruned since, or taken away"),
                             at == 0);
        }
        move(far, "away", name);
    }
}

static void test_it_can_be_stopped(void **state)
{
    struct far *far = *state;
    struct sr_verify verify = looking(far, 2);
    atomic_bool stopping = true;
    struct sr_err err = {0};
    verify.stopping = &stopping;
    assert_int_equal(look(far, &verify, &err), SR_CLOSED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_is_well),
        cmocka_unit_test(test_who_has_no_key),
        cmocka_unit_test(test_who_signed_and_how_far),
        cmocka_unit_test(test_any_object),
        cmocka_unit_test(test_a_group_within),
        cmocka_unit_test(test_what_is_missing_or_swapped),
        cmocka_unit_test(test_what_is_pruned_meanwhile),
        cmocka_unit_test(test_slices_show_the_same),
        cmocka_unit_test(test_slices_miss_what_is_missing),
        cmocka_unit_test(test_it_can_be_stopped),
    };
    return cmocka_run_group_tests(tests, far_open, far_close);
}
