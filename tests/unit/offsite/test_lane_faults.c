/* SPDX-License-Identifier: Apache-2.0
 *
 * What lanes do when the log answers late, or not at all, and when clocks are wrong: what counts is
 * never taken back, and no number is used twice.
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

static bool is_of(const Strongroom__OffsiteChange *change, enum sr_archive_kind kind)
{
    return change->change_case == STRONGROOM__OFFSITE_CHANGE__CHANGE_CLAIM &&
           change->claim->kind == (uint32_t)kind;
}

/* The only one alive is @number, who does not lead. */
static struct member *alone(struct world *world, unsigned number)
{
    for (unsigned i = 0; i < 3; i++) {
        world->members[i].dead = i + 1 != number;
    }
    world->leader = number == 1 ? 2 : 1;
    return &world->members[number - 1];
}

static size_t manifests(struct world *world, enum sr_archive_kind kind, size_t *ret_chained)
{
    return world_check_manifests(world, kind, ret_chained);
}

static size_t entries(struct world *world)
{
    Strongroom__OffsiteRecord *record = world_record(world);
    size_t count = record->n_entry;
    world_record_free(record);
    return count;
}

/* ---- Completions whose outcome is not heard ---- */

static Strongroom__OffsiteChange *kept; /* proposed, on its way */

static void keep_for_later(const Strongroom__OffsiteChange *change)
{
    size_t size = strongroom__offsite_change__get_packed_size(change);
    uint8_t *packed = sr_alloc(size);
    (void)strongroom__offsite_change__pack(change, packed);
    kept = strongroom__offsite_change__unpack(NULL, size, packed);
    assert_non_null(kept);
    sr_free(packed);
}

static void apply_kept(struct world *world)
{
    assert_int_equal(world_apply(world, kept), SR_API_NONE);
    fixture_flush(&world->fixture);
    strongroom__offsite_change__free_unpacked(kept, NULL);
    kept = NULL;
}

/* The first completion is in the log when the second is proposed. */
static bool complete_late(struct member *member, const Strongroom__OffsiteChange *change,
                          enum sr_api_error *ret)
{
    if (change->change_case != STRONGROOM__OFFSITE_CHANGE__CHANGE_COMPLETE) {
        return false;
    }
    if (kept != NULL) {
        apply_kept(member->world);
        member->intercept = NULL;
        return false;
    }
    keep_for_later(change);
    *ret = SR_API_TIMED_OUT;
    return true;
}

static void test_a_completion_that_is_proposed_twice_counts_once(void **state)
{
    struct world *world = world_open(DAY);
    struct member *member = alone(world, 2);
    (void)state;
    world_run(world, 5 * SECOND, SECOND);
    for (unsigned i = 0; i < 3; i++) {
        put_some(world, 2);
        member->intercept = complete_late;
        world_run(world, 15 * SECOND, SECOND);
        assert_null(member->intercept);
    }
    size_t chained = 0;
    assert_int_equal(manifests(world, SR_ARCHIVE_CHANGES, &chained), 3);
    assert_int_equal(chained, 3);
    Strongroom__OffsiteRecord *record = world_record(world);
    const Strongroom__OffsiteChain *chain = sr_offsite_chain(record, "far", SR_ARCHIVE_CHANGES);
    assert_int_equal(chain->completed, 3);
    assert_int_equal(chain->last_sequence, 3);
    world_record_free(record);
    world_close(world);
}

/* The first completion is applied, and then others take over and go on, before the second. */
static bool complete_and_be_succeeded(struct member *member,
                                      const Strongroom__OffsiteChange *change,
                                      enum sr_api_error *ret)
{
    struct world *world = member->world;
    if (change->change_case != STRONGROOM__OFFSITE_CHANGE__CHANGE_COMPLETE) {
        return false;
    }
    if (kept == NULL) {
        keep_for_later(change);
        *ret = SR_API_TIMED_OUT;
        return true;
    }
    member->intercept = NULL;
    apply_kept(world);
    member->dead = true;
    world->members[2].dead = false;
    world->members[2].full.wanted = true;
    for (unsigned i = 0; i < 6; i++) {
        put_some(world, 2);
        world_run(world, 15 * SECOND, SECOND);
    }
    member->dead = false;
    return false;
}

static void check_succeeded(enum sr_archive_kind kind, unsigned completions)
{
    struct world *world = world_open(DAY);
    struct member *member = alone(world, 2);
    size_t chained = 0;
    if (kind == SR_ARCHIVE_CHANGES) {
        world_run(world, 5 * SECOND, SECOND);
        put_some(world, 2);
    }
    member->intercept = complete_and_be_succeeded;
    world_run(world, 15 * SECOND, SECOND);
    assert_null(member->intercept);
    world_run(world, MINUTE, SECOND);
    size_t there = manifests(world, kind, &chained);
    assert_true(there >= completions);
    assert_int_equal(chained, there); /* nothing is missing, from the first one on */
    Strongroom__OffsiteRecord *record = world_record(world);
    assert_int_equal(sr_offsite_chain(record, "far", kind)->completed, there);
    world_record_free(record);
    world_close(world);
}

static void test_what_counts_is_not_taken_back_by_who_did_not_hear_of_it(void **state)
{
    (void)state;
    check_succeeded(SR_ARCHIVE_FULL, 2);
    check_succeeded(SR_ARCHIVE_CHANGES, 3);
}

/* ---- Claims that cannot be given back ---- */

static unsigned refused;

/* The claim cannot be given back, and the manifest of what failed cannot be removed. */
static bool lose_failures(struct member *member, const Strongroom__OffsiteChange *change,
                          enum sr_api_error *ret)
{
    (void)member;
    *ret = SR_API_TIMED_OUT;
    if (change->change_case == STRONGROOM__OFFSITE_CHANGE__CHANGE_FAIL && refused < 3) {
        refused++;
        return true;
    }
    return false;
}

static void test_nothing_is_shipped_twice_under_one_number(void **state)
{
    struct world *world = world_open(DAY);
    struct member *member = alone(world, 2);
    char away[80];
    (void)state;
    (void)snprintf(away, sizeof(away), "%s-away", world->dir);
    refused = 0;
    member->intercept = lose_failures;
    assert_int_equal(rename(world->dir, away), 0);
    world_run(world, 2 * SECOND, SECOND);
    assert_int_equal(refused, 1);
    assert_int_equal(rename(away, world->dir), 0);
    world_run(world, MINUTE, SECOND);
    assert_int_equal(refused, 3);
    Strongroom__OffsiteRecord *record = world_record(world);
    assert_int_equal(record->n_entry, 1);
    assert_int_equal(record->entry[0]->sequence, 2);
    world_record_free(record);
    world_close(world);
}

/* A member that has the claim for changes only learns from now on. */
static void test_who_may_not_ship_any_more_lets_its_claim_go(void **state)
{
    struct world *world = world_open(DAY);
    struct member *member = alone(world, 2);
    (void)state;
    world_run(world, 5 * SECOND, SECOND);
    put_some(world, 2);
    world_run(world, 15 * SECOND, SECOND);
    Strongroom__OffsiteRecord *record = world_record(world);
    assert_int_equal(sr_offsite_claim(record, "far", SR_ARCHIVE_CHANGES)->member_id, 2);
    world_record_free(record);
    member->learns = true;
    world->members[2].dead = false;
    put_some(world, 2);
    world_run(world, MINUTE, SECOND);
    record = world_record(world);
    const Strongroom__OffsiteChain *chain = sr_offsite_chain(record, "far", SR_ARCHIVE_CHANGES);
    assert_int_equal(chain->until_revision, sr_store_revision(world->fixture.store));
    assert_int_equal(sr_offsite_claim(record, "far", SR_ARCHIVE_CHANGES)->member_id, 3);
    world_record_free(record);
    world_close(world);
}

/* The time that passes for the others, and for the keeper of @member, while its lane hangs. */
static void hang(struct member *member, uint64_t span_ms)
{
    struct world *world = member->world;
    world->members[2].dead = false;
    for (uint64_t gone_ms = 0; gone_ms < span_ms; gone_ms += 5 * SECOND) {
        world->now_ms += 5 * SECOND;
        sr_lane_renew(&member->full);
        sr_lane_renew(&world->members[2].full);
        sr_lane_step(&world->members[2].full);
    }
    world->members[2].dead = true;
}

static bool hang_before_completion(struct member *member, const Strongroom__OffsiteChange *change,
                                   enum sr_api_error *ret)
{
    (void)ret;
    if (change->change_case == STRONGROOM__OFFSITE_CHANGE__CHANGE_COMPLETE) {
        member->intercept = NULL;
        hang(member, SR_LANE_STALL_MS - MINUTE);
        assert_int_equal(sr_gauge_read(&member->world->members[2].full.metrics.shipping), 0);
        assert_int_equal(entries(member->world), 0);
        hang(member, 2 * MINUTE);
        assert_int_equal(entries(member->world), 1);
    }
    return false;
}

/* It hangs for half an hour, on a mount say, with all that it put; then it goes on. */
static void test_who_hangs_is_succeeded(void **state)
{
    struct world *world = world_open(DAY);
    struct member *member = alone(world, 2);
    size_t chained = 0;
    (void)state;
    member->intercept = hang_before_completion;
    world_run(world, 2 * SECOND, SECOND);
    assert_null(member->intercept);
    Strongroom__OffsiteRecord *record = world_record(world);
    assert_int_equal(record->n_entry, 1);
    assert_int_equal(record->entry[0]->member_id, 3);
    assert_int_equal(record->entry[0]->sequence, 2);
    world_record_free(record);
    assert_int_equal(sr_counter_read(&member->full.metrics.shipped), 0);
    assert_int_equal(manifests(world, SR_ARCHIVE_FULL, &chained), 1);
    assert_int_equal(chained, 1);
    world_close(world);
}

/* ---- Clocks ---- */

/* One was shipped by a clock that was a year ahead, and is right now. */
static void test_a_clock_that_was_ahead_does_not_end_the_shipping(void **state)
{
    struct world *world = world_open(4 * HOUR);
    struct member *member = alone(world, 2);
    (void)state;
    member->clock_ahead_ms = 365 * DAY;
    world_run(world, MINUTE, SECOND);
    assert_int_equal(entries(world), 1);
    member->clock_ahead_ms = 0;
    for (unsigned i = 0; i < 3; i++) {
        world->members[i].dead = false;
    }
    world_run(world, 4 * HOUR - MINUTE, 10 * SECOND);
    assert_int_equal(entries(world), 1); /* no hurry: there is one */
    world_run(world, 2 * MINUTE, SECOND);
    assert_int_equal(entries(world), 2);
    world_run(world, DAY, 10 * SECOND);
    assert_int_equal(entries(world), 2 + 6);
    world_close(world);
}

/* While it is ahead, what it ships is not answered by shipping at once. */
static void test_two_clocks_do_not_drive_each_other(void **state)
{
    struct world *world = world_open(4 * HOUR);
    (void)state;
    world->members[1].clock_ahead_ms = 365 * DAY;
    world_run(world, DAY, 10 * SECOND);
    assert_in_range(entries(world), 6, 14);
    world_close(world);
}

/* What it did not see come has been there since the last shipment, as far as it can know. */
static void test_a_restart_does_not_make_what_is_behind_young(void **state)
{
    struct world *world = world_open(DAY);
    (void)state;
    (void)alone(world, 2);
    world_run(world, 5 * SECOND, SECOND);
    put_some(world, 2);
    world_run(world, 15 * SECOND, SECOND);
    world->leader = 0; /* nobody ships any more */
    put_some(world, 2);
    world_run(world, HOUR, MINUTE);
    world_restart(world, 2);
    world_run(world, 5 * MINUTE, MINUTE);
    Strongroom__OffsiteRecord *record = world_record(world);
    sr_lane_measure(&world->members[1].changes, record);
    assert_in_range(sr_gauge_read(&world->members[1].changes.metrics.lag_ms), 65 * MINUTE,
                    66 * MINUTE);
    world_record_free(record);
    world_close(world);
}

static uint64_t set_back_ms;

/* Set back by an hour each time that somebody looks at it. */
static uint64_t falling_wall_ms(void *arg)
{
    set_back_ms += HOUR;
    return world_wall_ms(arg) - set_back_ms;
}

static void test_a_clock_that_is_set_back_meanwhile_hinders_nothing(void **state)
{
    struct world *world = world_open(DAY);
    struct member *member = alone(world, 2);
    (void)state;
    set_back_ms = 0;
    member->ship.env.wall_ms = falling_wall_ms;
    world_run(world, 5 * SECOND, SECOND);
    assert_int_equal(entries(world), 1);
    put_some(world, 2);
    world_run(world, 15 * SECOND, SECOND);
    size_t chained = 0;
    assert_int_equal(manifests(world, SR_ARCHIVE_FULL, &chained), 1);
    assert_int_equal(manifests(world, SR_ARCHIVE_CHANGES, &chained), 1);
    assert_int_equal(sr_gauge_read(&member->full.metrics.last_duration_ms), 0);
    world_close(world);
}

/* ---- What cannot be removed ---- */

/* It is lost, and in the place of its manifest there is what no removal takes. */
static bool lose_what_stays(struct member *member, const Strongroom__OffsiteChange *change,
                            enum sr_api_error *ret)
{
    if (change->change_case != STRONGROOM__OFFSITE_CHANGE__CHANGE_COMPLETE) {
        return false;
    }
    struct objects objects = world_objects(member->world, SR_ARCHIVE_FULL);
    char path[256];
    assert_int_equal(objects.count, 2);
    (void)snprintf(path, sizeof(path), "%s/%s", member->world->dir, objects.names[1]);
    assert_non_null(strstr(path, ".srm"));
    assert_int_equal(remove(path), 0);
    assert_int_equal(mkdir(path, 0700), 0);
    sr_free(objects.names);
    member->dead = true;
    *ret = SR_API_OFFSITE_LOST;
    return true;
}

static void test_an_archive_is_not_taken_back_before_its_manifest(void **state)
{
    struct world *world = world_open(DAY);
    (void)state;
    alone(world, 2)->intercept = lose_what_stays;
    world_run(world, SECOND, SECOND);
    struct objects objects = world_objects(world, SR_ARCHIVE_FULL);
    assert_int_equal(objects.count, 1); /* directories are not listed */
    assert_non_null(strstr(objects.names[0], ".sra"));
    sr_free(objects.names);
    world_close(world);
}

/* ---- A catalogue that is full ---- */

static unsigned claims_refused;

static bool refuse_claims(struct member *member, const Strongroom__OffsiteChange *change,
                          enum sr_api_error *ret)
{
    (void)member;
    *ret = SR_API_OFFSITE_FULL;
    claims_refused += is_of(change, SR_ARCHIVE_FULL);
    return is_of(change, SR_ARCHIVE_FULL);
}

static void test_a_full_catalogue_is_said_and_pruned(void **state)
{
    struct world *world = world_open(HOUR);
    struct member *member = alone(world, 2);
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        world_run(world, HOUR, 20 * SECOND);
    }
    assert_in_range(entries(world), 4, 5);
    world->config.retention.last = 2;
    claims_refused = 0;
    member->intercept = refuse_claims;
    world_run(world, 2 * HOUR, 10 * SECOND);
    assert_int_equal(entries(world), 2);
    assert_in_range(claims_refused, 2, 40); /* later each time */
    assert_int_equal(sr_counter_read(&member->full.metrics.failed[SR_SHIP_RECORD]), claims_refused);
    world_close(world);
}

/* ---- Two targets in one place ---- */

static bool is_there(const struct objects *objects, const char *name)
{
    for (size_t i = 0; i < objects->count; i++) {
        if (strcmp(objects->names[i], name) == 0) {
            return true;
        }
    }
    return false;
}

/* The configuration calls it something else now, and numbers begin again: what was shipped under
 * the name before is not taken for strays, and what this one does not keep goes. */
static void test_what_was_shipped_under_another_name_stays(void **state)
{
    struct world *world = world_open(HOUR);
    static char name[] = "near";
    (void)state;
    (void)alone(world, 2);
    for (unsigned i = 0; i < 3; i++) {
        put_some(world, 1);
        world_run(world, HOUR, MINUTE);
    }
    struct objects before = world_objects(world, SR_ARCHIVE_FULL);
    assert_in_range(before.count, 6, 8);
    world->target.name = name;
    world->config.retention.last = 2;
    for (unsigned i = 0; i < 8; i++) {
        put_some(world, 1);
        world_run(world, HOUR, MINUTE);
    }
    struct objects after = world_objects(world, SR_ARCHIVE_FULL);
    for (size_t i = 0; i < before.count; i++) {
        assert_true(is_there(&after, before.names[i]));
    }
    assert_int_equal(after.count, before.count + 4);
    sr_free(before.names);
    sr_free(after.names);
    world_close(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_completion_that_is_proposed_twice_counts_once),
        cmocka_unit_test(test_what_counts_is_not_taken_back_by_who_did_not_hear_of_it),
        cmocka_unit_test(test_nothing_is_shipped_twice_under_one_number),
        cmocka_unit_test(test_who_may_not_ship_any_more_lets_its_claim_go),
        cmocka_unit_test(test_who_hangs_is_succeeded),
        cmocka_unit_test(test_a_clock_that_was_ahead_does_not_end_the_shipping),
        cmocka_unit_test(test_two_clocks_do_not_drive_each_other),
        cmocka_unit_test(test_a_restart_does_not_make_what_is_behind_young),
        cmocka_unit_test(test_a_clock_that_is_set_back_meanwhile_hinders_nothing),
        cmocka_unit_test(test_an_archive_is_not_taken_back_before_its_manifest),
        cmocka_unit_test(test_a_full_catalogue_is_said_and_pruned),
        cmocka_unit_test(test_what_was_shipped_under_another_name_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
