/* SPDX-License-Identifier: Apache-2.0
 *
 * What goes from a target, in which order, and what never does: one member that ships each hour.
 */
#include "tests/unit/offsite/world.h"

#include <fcntl.h>
#include <unistd.h>

/* Files get the time of the test; this says of one that it has it. */
#define STAMPED_NS 1

static void path_of(const struct world *world, const char *name, char path[256])
{
    (void)snprintf(path, 256, "%s/%s", world->dir, name);
}

static void set_time(const char *path, uint64_t time_ms)
{
    struct timespec moment = {.tv_sec = (time_t)(time_ms / 1000), .tv_nsec = STAMPED_NS};
    const struct timespec both[2] = {moment, moment};
    assert_int_equal(utimensat(AT_FDCWD, path, both, 0), 0);
}

static void stamp(struct world *world, enum sr_archive_kind kind)
{
    struct objects objects = world_objects(world, kind);
    for (size_t i = 0; i < objects.count; i++) {
        struct stat info;
        char path[256];
        path_of(world, objects.names[i], path);
        assert_int_equal(stat(path, &info), 0);
        if (info.st_mtim.tv_nsec != STAMPED_NS) {
            set_time(path, world->now_ms);
        }
    }
    sr_free(objects.names);
}

/* Half an hour after the first snapshot. */
static struct world *open_alone(unsigned last)
{
    struct world *world = world_open(HOUR);
    world->config.retention.last = last;
    world->config.retention.changes_days = 1;
    world->leader = 2; /* nobody leaves it to the others */
    world->members[1].dead = true;
    world->members[2].dead = true;
    world_run(world, 30 * MINUTE, MINUTE);
    stamp(world, SR_ARCHIVE_FULL);
    return world;
}

/* Something is written, and shipped as changes; then an hour goes by, and a snapshot is made. */
static void live(struct world *world, unsigned hours)
{
    static unsigned made;
    for (unsigned i = 0; i < hours; i++) {
        char key[32];
        (void)snprintf(key, sizeof(key), "key-%u", made++);
        applied(&world->fixture, put_text(key, "value"));
        sr_arena_reset(&commands_arena);
        fixture_flush(&world->fixture);
        world_run(world, MINUTE, 10 * SECOND);
        stamp(world, SR_ARCHIVE_CHANGES);
        world_run(world, 59 * MINUTE, MINUTE);
        stamp(world, SR_ARCHIVE_FULL);
    }
}

/* A drill has restored it. */
static void prove(struct world *world, uint64_t sequence)
{
    Strongroom__OffsiteRecord *record = world_record(world);
    const Strongroom__OffsiteEntry *entry = sr_offsite_entry(record, "far", sequence);
    Strongroom__OffsiteChange change = STRONGROOM__OFFSITE_CHANGE__INIT;
    Strongroom__OffsiteProven proven = STRONGROOM__OFFSITE_PROVEN__INIT;
    static char none[] = "";
    assert_non_null(entry);
    change.change_case = STRONGROOM__OFFSITE_CHANGE__CHANGE_PROVEN;
    change.proven = &proven;
    proven.target = entry->target;
    proven.sequence = sequence;
    proven.archive_id = entry->archive_id;
    proven.now_ms = world->now_ms;
    proven.duration_ms = 1;
    proven.good = true;
    proven.reason = none;
    assert_int_equal(world_apply(world, &change), SR_API_NONE);
    fixture_flush(&world->fixture);
    world_record_free(record);
}

/* That the catalogue has exactly these full archives, and so has the target, whole. */
static void expect_full(struct world *world, const uint64_t *sequences, size_t count)
{
    Strongroom__OffsiteRecord *record = world_record(world);
    struct objects objects = world_objects(world, SR_ARCHIVE_FULL);
    assert_int_equal(record->n_entry, count);
    assert_int_equal(objects.count, 2 * count);
    for (size_t i = 0; i < count; i++) {
        struct sr_object_parts parts[2];
        assert_int_equal(record->entry[i]->sequence, sequences[i]);
        for (size_t k = 0; k < 2; k++) {
            assert_true(sr_object_parse(objects.names[2 * i + k], &parts[k]));
            assert_int_equal(parts[k].sequence, sequences[i]);
        }
        assert_int_not_equal(parts[0].type, parts[1].type);
    }
    sr_free(objects.names);
    world_record_free(record);
}

static void test_the_last_proven_stays(void **state)
{
    struct world *world = open_alone(2);
    (void)state;
    live(world, 1);
    prove(world, 1);
    live(world, 4);
    expect_full(world, (uint64_t[]){1, 5, 6}, 3);
    prove(world, 5); /* makes up for it */
    live(world, 3);
    expect_full(world, (uint64_t[]){5, 8, 9}, 3);
    world_close(world);
}

static void test_what_is_locked_stays_until_then(void **state)
{
    struct world *world = open_alone(1);
    (void)state;
    world->locked_until_ms = world->now_ms + 6 * HOUR;
    live(world, 3);
    world->locked_until_ms = 0;
    live(world, 2);
    expect_full(world, (uint64_t[]){2, 3, 4, 6}, 4);
    live(world, 3);
    expect_full(world, (uint64_t[]){9}, 1);
    world_close(world);
}

/* One is killed when the catalogue says what is gone, and nothing is yet: the next one finds it. */
static void test_the_catalogue_comes_first(void **state)
{
    struct world *world = open_alone(2);
    (void)state;
    live(world, 1);
    world->members[0].kill_at = KILL_AFTER_PRUNE;
    live(world, 1);
    assert_int_equal(world->kills, 1);
    Strongroom__OffsiteRecord *record = world_record(world);
    struct objects objects = world_objects(world, SR_ARCHIVE_FULL);
    assert_int_equal(record->n_entry, 2);
    assert_int_equal(objects.count, 6);
    sr_free(objects.names);
    world_record_free(record);
    world_restart(world, 1);
    live(world, 1);
    expect_full(world, (uint64_t[]){3, 4}, 2);
    world_close(world);
}

/* A manifest that cannot be removed: what it is about stays too, and both are tried again. */
static void test_an_archive_never_goes_before_its_manifest(void **state)
{
    struct world *world = open_alone(1);
    char manifest[SR_OBJECT_NAME_BYTES_MAX];
    char path[256];
    char away[256];
    (void)state;
    Strongroom__OffsiteRecord *record = world_record(world);
    sr_object_name(FIXTURE_CLUSTER, SR_ARCHIVE_FULL, 1, record->entry[0]->revision,
                   SR_OBJECT_MANIFEST, manifest);
    world_record_free(record);
    path_of(world, manifest, path);
    path_of(world, "manifest-away", away);
    assert_int_equal(rename(path, away), 0);
    assert_int_equal(mkdir(path, 0700), 0);
    live(world, 1);
    struct objects objects = world_objects(world, SR_ARCHIVE_FULL);
    assert_int_equal(objects.count, 3); /* a directory is no object */
    sr_free(objects.names);
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(rename(away, path), 0);
    live(world, 1);
    expect_full(world, (uint64_t[]){3}, 1);
    world_close(world);
}

/* That the target has as many changes as the record says, in one chain. */
static size_t expect_changes(struct world *world)
{
    Strongroom__OffsiteRecord *record = world_record(world);
    const Strongroom__OffsiteChain *chain = sr_offsite_chain(record, "far", SR_ARCHIVE_CHANGES);
    size_t chained = 0;
    size_t there = world_check_manifests(world, SR_ARCHIVE_CHANGES, &chained);
    assert_int_equal(there, chained);
    assert_int_equal(chain->objects, there);
    world_record_free(record);
    return there;
}

static void test_changes_go_when_they_are_old_and_not_needed(void **state)
{
    struct world *world = open_alone(100);
    (void)state;
    live(world, 30);
    assert_int_equal(expect_changes(world), 30); /* none is proven: a restore may need them all */
    prove(world, 4);
    live(world, 1); /* those that the fourth one makes up for are older than a day */
    assert_int_equal(expect_changes(world), 31 - 3);
    prove(world, 31);
    live(world, 1); /* of the others, those that are older than a day */
    assert_int_equal(expect_changes(world), 32 - 8);
    world->members[0].kill_at = KILL_AFTER_PRUNE;
    live(world, 1);
    assert_int_equal(world->kills, 1);
    world_restart(world, 1);
    live(world, 3);
    assert_int_equal(expect_changes(world), 36 - 12);
    world_close(world);
}

/* By the time that it is at the target. */
static bool stamp_at_once(struct member *member, const Strongroom__OffsiteChange *change,
                          enum sr_api_error *ret)
{
    (void)ret;
    if (change->change_case == STRONGROOM__OFFSITE_CHANGE__CHANGE_COMPLETE) {
        stamp(member->world, SR_ARCHIVE_FULL);
    }
    return false;
}

/* The clock of who ships is more than a year ahead: no lock has ended, and no change is old. */
static void test_a_clock_that_is_ahead_makes_nothing_old(void **state)
{
    struct world *world = open_alone(1);
    (void)state;
    world->members[0].intercept = stamp_at_once;
    world->locked_until_ms = world->now_ms + 6 * HOUR;
    live(world, 3);
    world->locked_until_ms = 0;
    prove(world, 4);
    world->members[0].clock_ahead_ms = 400 * DAY;
    live(world, 1);
    expect_full(world, (uint64_t[]){2, 3, 4, 6}, 4);
    assert_int_equal(expect_changes(world), 4);
    world_close(world);
}

/* What a killed process has begun to write goes after a day: not only when a node starts. */
static void test_what_nobody_finishes_goes(void **state)
{
    struct world *world = open_alone(3);
    char old[256];
    char young[256];
    (void)state;
    live(world, 1);
    path_of(world, ".incoming-old", old);
    path_of(world, ".incoming-young", young);
    close(open(old, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    close(open(young, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    set_time(old, ((uint64_t)time(NULL) - 2 * 86400) * 1000); /* the target's clock is not ours */
    live(world, 1);
    assert_int_equal(access(old, F_OK), -1);
    assert_int_equal(access(young, F_OK), 0);
    world_close(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_last_proven_stays),
        cmocka_unit_test(test_what_is_locked_stays_until_then),
        cmocka_unit_test(test_the_catalogue_comes_first),
        cmocka_unit_test(test_an_archive_never_goes_before_its_manifest),
        cmocka_unit_test(test_changes_go_when_they_are_old_and_not_needed),
        cmocka_unit_test(test_a_clock_that_is_ahead_makes_nothing_old),
        cmocka_unit_test(test_what_nobody_finishes_goes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
