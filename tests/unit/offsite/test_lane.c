/* SPDX-License-Identifier: Apache-2.0
 *
 * Who ships what, and when: three members, a directory, and time that belongs to the test.
 */
#include "tests/unit/offsite/world.h"

static void put_some(struct world *world, unsigned count)
{
    static unsigned made;
    for (unsigned i = 0; i < count; i++) {
        char key[32];
        (void)snprintf(key, sizeof(key), "key-%u", made++);
        applied(&world->fixture, put_text(key, "value"));
        sr_arena_reset(&commands_arena);
    }
    fixture_flush(&world->fixture);
}

static size_t entries(struct world *world)
{
    Strongroom__OffsiteRecord *record = world_record(world);
    size_t count = record->n_entry;
    world_record_free(record);
    return count;
}

/* A day, a look each five seconds, something written each ten minutes: five snapshots are made, and
 * the member that makes them is killed during three of them. */
static void test_five_in_a_day_and_three_kills(void **state)
{
    struct world *world = world_open(DAY / 5);
    uint64_t slots[5];
    static const enum kill_at kills[5] = {KILL_NEVER, KILL_AFTER_CLAIM, KILL_BEFORE_COMPLETE,
                                          KILL_NEVER, KILL_AFTER_COMPLETE};
    (void)state;
    world_run(world, MINUTE, SECOND); /* the first one of all */
    assert_int_equal(entries(world), 1);
    for (size_t i = 0; i < 5; i++) {
        slots[i] = sr_schedule_next(&world->members[0].ship.schedule, world->now_ms);
        for (unsigned k = 0; k < 3; k++) {
            world->members[k].kill_at = kills[i];
        }
        unsigned kills_before = world->kills;
        while (world->now_ms < slots[i] + HOUR) {
            put_some(world, 3);
            world_run(world, 10 * MINUTE, 5 * SECOND);
        }
        assert_int_equal(world->kills - kills_before, kills[i] == KILL_NEVER ? 0 : 1);
        for (unsigned number = 1; number <= 3; number++) {
            if (world->members[number - 1].dead) {
                world_restart(world, number);
            }
        }
    }
    Strongroom__OffsiteRecord *record = world_record(world);
    assert_int_equal(record->n_entry, 6);
    for (size_t i = 0; i < 5; i++) { /* each in its time: a kill delays it by a claim's timeout */
        assert_in_range(record->entry[i + 1]->begun_ms, slots[i], slots[i] + 2 * MINUTE);
    }
    assert_int_equal(world->claims, 6 + 2); /* the third kill was not noticed by anybody */
    const Strongroom__OffsiteChain *changes = sr_offsite_chain(record, "far", SR_ARCHIVE_CHANGES);
    assert_int_equal(changes->until_revision, sr_store_revision(world->fixture.store));
    size_t chained = 0;
    assert_int_equal(world_check_manifests(world, SR_ARCHIVE_FULL, &chained), 6);
    assert_int_equal(chained, 6);
    assert_int_equal(world_check_manifests(world, SR_ARCHIVE_CHANGES, &chained),
                     changes->completed);
    assert_int_equal(chained, changes->completed);
    world_record_free(record);
    world_close(world);
}

static void test_a_follower_ships_before_the_leader(void **state)
{
    struct world *world = world_open(HOUR);
    (void)state;
    world->leader = 1;
    world_run(world, MINUTE, SECOND);
    Strongroom__OffsiteRecord *record = world_record(world);
    assert_int_equal(record->n_entry, 1);
    assert_int_not_equal(record->entry[0]->member_id, 1);
    world_record_free(record);
    /* Alone, the leader does it: a moment later. */
    world->members[1].dead = true;
    world->members[2].dead = true;
    uint64_t due_ms = sr_schedule_next(&world->members[0].ship.schedule, world->now_ms);
    world_run(world, due_ms - world->now_ms + 14 * SECOND, SECOND);
    assert_int_equal(entries(world), 1);
    world_run(world, 3 * SECOND, SECOND);
    record = world_record(world);
    assert_int_equal(record->n_entry, 2);
    assert_int_equal(record->entry[1]->member_id, 1);
    world_record_free(record);
    world_close(world);
}

static void test_without_a_leader_nobody_ships(void **state)
{
    struct world *world = world_open(HOUR);
    (void)state;
    world->leader = 0;
    world_run(world, MINUTE, SECOND);
    assert_int_equal(world->claims, 0);
    world->leader = 2;
    world_run(world, 2 * SECOND, SECOND);
    assert_int_equal(entries(world), 1);
    world_close(world);
}

static void test_now_does_not_wait_for_the_schedule(void **state)
{
    struct world *world = world_open(DAY);
    (void)state;
    world_run(world, MINUTE, SECOND);
    assert_int_equal(entries(world), 1);
    atomic_store(&world->members[0].full.wanted, true); /* of the leader */
    world_run(world, 2 * SECOND, SECOND);
    assert_int_equal(entries(world), 2);
    assert_false(atomic_load(&world->members[0].full.wanted));
    world_run(world, MINUTE, SECOND);
    assert_int_equal(entries(world), 2);
    world_close(world);
}

/* Its claim passes on while it ships: what it put does not count, and is removed. */
static void test_who_has_lost_its_claim_takes_back_what_it_put(void **state)
{
    struct world *world = world_open(DAY);
    struct member *slow = &world->members[1];
    (void)state;
    world->members[0].dead = true;
    world->members[2].dead = true;
    slow->kill_at = KILL_BEFORE_COMPLETE;
    world_run(world, 2 * SECOND, SECOND);
    assert_true(slow->dead);
    world->members[2].dead = false;
    world_run(world, 40 * SECOND, SECOND);
    assert_int_equal(entries(world), 1);
    /* Both have a manifest; the first is older than what counts, and a stray. */
    size_t chained = 0;
    size_t there = world_check_manifests(world, SR_ARCHIVE_FULL, &chained);
    assert_int_equal(there, 1);
    assert_int_equal(chained, 1);
    Strongroom__OffsiteRecord *record = world_record(world);
    assert_int_equal(record->entry[0]->sequence, 2);
    assert_int_equal(record->entry[0]->member_id, 3);
    assert_int_equal(sr_counter_read(&world->members[2].full.metrics.took_over), 1);
    world_record_free(record);
    world_close(world);
}

static void test_a_member_that_was_removed_is_succeeded_at_once(void **state)
{
    struct world *world = world_open(DAY);
    (void)state;
    world->members[2].dead = true;
    world->members[1].kill_at = KILL_AFTER_CLAIM;
    world_run(world, 2 * SECOND, SECOND);
    assert_true(world->members[1].dead);
    world->members[2].dead = false;
    world->gone = 2;
    world_run(world, 2 * SECOND, SECOND);
    assert_int_equal(entries(world), 1);
    world_close(world);
}

static void test_a_restart_takes_up_its_own_claim(void **state)
{
    struct world *world = world_open(DAY);
    (void)state;
    world->members[2].dead = true;
    world->members[1].kill_at = KILL_AFTER_CLAIM;
    world_run(world, 2 * SECOND, SECOND);
    assert_true(world->members[1].dead);
    world_restart(world, 2);
    world_run(world, 2 * SECOND, SECOND);
    assert_int_equal(entries(world), 1);
    world_close(world);
}

/* The directory is gone for a while: it is said why, tried again, and made up for. */
static void test_a_target_that_is_gone_and_comes_back(void **state)
{
    struct world *world = world_open(DAY);
    char away[80];
    (void)state;
    (void)snprintf(away, sizeof(away), "%s-away", world->dir);
    assert_int_equal(rename(world->dir, away), 0);
    world_run(world, MINUTE, SECOND);
    Strongroom__OffsiteRecord *record = world_record(world);
    const Strongroom__OffsiteChain *chain = sr_offsite_chain(record, "far", SR_ARCHIVE_FULL);
    assert_int_equal(record->n_entry, 0);
    assert_non_null(chain);
    assert_in_range(chain->failed, 3, 30);
    assert_non_null(strstr(chain->failure, world->dir));
    world_record_free(record);
    uint64_t failures = 0;
    for (unsigned i = 0; i < 3; i++) {
        for (int reason = 0; reason < SR_SHIP_REASON_COUNT; reason++) {
            failures += sr_counter_read(&world->members[i].full.metrics.failed[reason]);
        }
    }
    assert_true(failures >= 3);
    assert_int_equal(rename(away, world->dir), 0);
    world_run(world, 10 * MINUTE, SECOND);
    record = world_record(world);
    assert_int_equal(record->n_entry, 1);
    assert_string_equal(sr_offsite_chain(record, "far", SR_ARCHIVE_FULL)->failure, "");
    world_record_free(record);
    world_close(world);
}

static void test_what_need_not_be_kept_goes(void **state)
{
    struct world *world = world_open(HOUR);
    (void)state;
    world->config.retention.last = 3;
    for (unsigned i = 0; i < 8; i++) {
        put_some(world, 2);
        world_run(world, HOUR, 20 * SECOND);
    }
    Strongroom__OffsiteRecord *record = world_record(world);
    assert_int_equal(record->n_entry, 3);
    size_t chained = 0;
    assert_int_equal(world_check_manifests(world, SR_ARCHIVE_FULL, &chained), 3);
    struct objects objects = world_objects(world, SR_ARCHIVE_FULL);
    assert_int_equal(objects.count, 6);
    sr_free(objects.names);
    world_record_free(record);
    world_close(world);
}

/* Changes come in order, none is missing, and the lag says how far they are. */
static void test_changes_follow_within_seconds(void **state)
{
    struct world *world = world_open(DAY);
    (void)state;
    world_run(world, MINUTE, SECOND);
    for (unsigned i = 0; i < 20; i++) {
        put_some(world, 5);
        world_run(world, 12 * SECOND, SECOND);
        Strongroom__OffsiteRecord *record = world_record(world);
        const Strongroom__OffsiteChain *chain = sr_offsite_chain(record, "far", SR_ARCHIVE_CHANGES);
        assert_int_equal(chain->until_revision, sr_store_revision(world->fixture.store));
        assert_int_equal(chain->completed, i + 1);
        sr_lane_measure(&world->members[0].changes, record);
        assert_int_equal(sr_gauge_read(&world->members[0].changes.metrics.lag_revisions), 0);
        world_record_free(record);
    }
    /* Nothing new: nothing is shipped. */
    world_run(world, HOUR, 10 * SECOND);
    size_t chained = 0;
    assert_int_equal(world_check_manifests(world, SR_ARCHIVE_CHANGES, &chained), 20);
    assert_int_equal(chained, 20);
    put_some(world, 5);
    world->leader = 0;
    world_run(world, MINUTE, SECOND);
    Strongroom__OffsiteRecord *record = world_record(world);
    sr_lane_measure(&world->members[0].changes, record);
    assert_int_equal(sr_gauge_read(&world->members[0].changes.metrics.lag_revisions), 5);
    assert_in_range(sr_gauge_read(&world->members[0].changes.metrics.lag_ms), 55 * SECOND,
                    60 * SECOND);
    world_record_free(record);
    world_close(world);
}

/* Compaction has removed what follows the last changes: a snapshot, and they go
 * on from there. */
static void test_changes_that_were_compacted_begin_anew(void **state)
{
    struct world *world = world_open(DAY);
    (void)state;
    put_some(world, 5);
    world_run(world, MINUTE, SECOND);
    put_some(world, 5);
    world_run(world, MINUTE, SECOND);
    world->leader = 0; /* nobody ships for a while */
    for (unsigned i = 0; i < 50; i++) {
        applied(&world->fixture, put_text("again", "and again"));
    }
    applied(&world->fixture, compact(sr_store_revision(world->fixture.store)));
    put_some(world, 5);
    fixture_settle(&world->fixture);
    world->leader = 1;
    world_run(world, 10 * MINUTE, SECOND);
    put_some(world, 5);
    world_run(world, MINUTE, SECOND);
    Strongroom__OffsiteRecord *record = world_record(world);
    assert_int_equal(record->n_entry, 2);
    const Strongroom__OffsiteChain *chain = sr_offsite_chain(record, "far", SR_ARCHIVE_CHANGES);
    assert_int_equal(chain->until_revision, sr_store_revision(world->fixture.store));
    size_t chained = 0;
    size_t there = world_check_manifests(world, SR_ARCHIVE_CHANGES, &chained);
    assert_int_equal(chained, there); /* it says what it leaves out, and is one chain */
    assert_int_equal(there, 2);
    world_record_free(record);
    world_close(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_five_in_a_day_and_three_kills),
        cmocka_unit_test(test_a_follower_ships_before_the_leader),
        cmocka_unit_test(test_without_a_leader_nobody_ships),
        cmocka_unit_test(test_now_does_not_wait_for_the_schedule),
        cmocka_unit_test(test_who_has_lost_its_claim_takes_back_what_it_put),
        cmocka_unit_test(test_a_member_that_was_removed_is_succeeded_at_once),
        cmocka_unit_test(test_a_restart_takes_up_its_own_claim),
        cmocka_unit_test(test_a_target_that_is_gone_and_comes_back),
        cmocka_unit_test(test_what_need_not_be_kept_goes),
        cmocka_unit_test(test_changes_follow_within_seconds),
        cmocka_unit_test(test_changes_that_were_compacted_begin_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
