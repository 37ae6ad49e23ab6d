/* SPDX-License-Identifier: Apache-2.0
 *
 * From what was shipped to a state: at every revision and time, and never from anything else.
 */
#include "tests/unit/restore/shipped.h"

struct staging {
    struct sr_plan *plan;
    struct sr_target *target;
    char dir[64];
    struct sr_fetch fetch;
    struct fixture to;
    struct sr_archive_keyring keys;
    struct sr_stage stage;
};

static void staging_open(struct staging *staging, const struct world *world,
                         const struct sr_plan_wish *wish)
{
    struct sr_err err = {0};
    *staging = (struct staging){.plan = shipped_plan_ok(world, wish)};
    staging->target = shipped_target(world);
    shipped_work(staging->dir);
    staging->fetch = (struct sr_fetch){.target = staging->target, .dir = staging->dir};
    for (size_t i = 0; i < staging->plan->step_count; i++) {
        fixture_ok(sr_fetch_archive(&staging->fetch, staging->plan->steps[i], &err), &err);
    }
    fixture_init(&staging->to);
    staging->keys = (struct sr_archive_keyring){.recovery_private = world->recovery};
    staging->stage = (struct sr_stage){.plan = staging->plan,
                                       .fetch = &staging->fetch,
                                       .keys = &staging->keys,
                                       .staged = archive_staged_options(&staging->to)};
    staging->stage.staged.from_cluster_id = 0; /* the plan knows */
}

static void staging_close(struct staging *staging)
{
    sr_plan_free(staging->plan);
    sr_target_close(staging->target);
    shipped_clear(staging->dir);
    fixture_close(&staging->to);
}

static struct sr_stage_result staging_run(struct staging *staging)
{
    struct sr_stage_result result = {0};
    struct sr_err err = {0};
    fixture_ok(sr_stage_run(&staging->stage, &result, &err), &err);
    staging->to.options.cluster_id = ARCHIVE_NEW_CLUSTER;
    staging->to.options.member_id = ARCHIVE_NEW_MEMBER;
    fixture_open(&staging->to);
    return result;
}

static void check_refused(struct staging *staging, int status, const char *sentence)
{
    struct sr_stage_result result;
    struct sr_err err = {0};
    int found = sr_stage_run(&staging->stage, &result, &err);
    if (found != status || strstr(err.text, sentence) == NULL) {
        fail_msg("%s: %s, not: %s: %s", sr_status_text(found), err.text, sr_status_text(status),
                 sentence);
    }
}

static void test_all_there_is(void **state)
{
    const struct sr_plan_wish anything = {0};
    struct world *world = ship_world();
    struct staging staging;
    struct sr_store_point point = {0};
    (void)state;
    staging_open(&staging, world, &anything);
    struct sr_stage_result result = staging_run(&staging);
    sr_store_point(world->fixture.store, &point);
    sr_buf_close(&point.configuration);
    assert_int_equal(result.staged.revision, point.revision);
    assert_true(result.state_hash_is_proven);
    assert_memory_equal(result.staged.state_hash, sr_plan_last(staging.plan)->said->state_hash.data,
                        32);
    archive_check_same(&world->fixture, &staging.to, 2, point.revision);
    staging_close(&staging);
    world_close(world);
}

/* With the cluster's own secret, as a drill on a node has it. */
static void test_with_the_secret_of_the_cluster(void **state)
{
    const struct sr_plan_wish anything = {0};
    struct world *world = ship_world();
    struct sr_archive_secret *secret = NULL;
    struct sr_err err = {0};
    struct staging staging;
    (void)state;
    fixture_ok(sr_store_archive_secret(world->fixture.store, &secret, &err), &err);
    staging_open(&staging, world, &anything);
    staging.keys = (struct sr_archive_keyring){.secret = secret};
    assert_true(staging_run(&staging).state_hash_is_proven);
    staging_close(&staging);
    sr_archive_secret_free(secret);
    world_close(world);
}

static void test_every_revision(void **state)
{
    const struct sr_plan_wish anything = {0};
    struct world *world = ship_world();
    struct sr_plan *all = shipped_plan_ok(world, &anything);
    (void)state;
    for (int64_t revision = all->full[0]->said->until_revision; revision <= all->revision;
         revision++) {
        struct sr_plan_wish wish = {.revision = revision};
        struct staging staging;
        staging_open(&staging, world, &wish);
        struct sr_stage_result result = staging_run(&staging);
        assert_int_equal(result.staged.revision, revision);
        assert_int_equal(sr_store_revision(staging.to.store), revision);
        assert_true(result.state_hash_is_proven || sr_plan_stops_within(staging.plan));
        archive_check_same_at(&world->fixture, &staging.to, revision);
        staging_close(&staging);
    }
    sr_plan_free(all);
    world_close(world);
}

/* At a time the state is what there was: all that was written before, nothing of what came later.
 */
static void test_every_few_seconds(void **state)
{
    struct world *world = world_open(365 * DAY);
    int64_t revisions[200];
    uint64_t times[200];
    size_t count = 0;
    (void)state;
    ship_some(world, 5);
    world_run(world, MINUTE, SECOND);
    for (unsigned i = 0; i < 120; i++) {
        ship_some(world, i % 3);
        world_run(world, SECOND, SECOND);
        revisions[count] = sr_store_revision(world->fixture.store);
        times[count++] = world->now_ms;
    }
    world_run(world, MINUTE, SECOND);
    for (size_t i = 0; i < count; i += 7) {
        struct sr_plan_wish wish = {.time_ms = times[i] + 300};
        struct staging staging;
        staging_open(&staging, world, &wish);
        struct sr_stage_result result = staging_run(&staging);
        assert_int_equal(result.staged.revision, revisions[i]);
        assert_true(result.staged.time_ms <= wish.time_ms);
        archive_check_same_at(&world->fixture, &staging.to, revisions[i]);
        staging_close(&staging);
    }
    world_close(world);
}

static void test_revisions_go_on_later(void **state)
{
    const struct sr_plan_wish anything = {0};
    struct world *world = ship_world();
    struct staging staging;
    enum sr_api_error error = SR_API_NONE;
    (void)state;
    staging_open(&staging, world, &anything);
    staging.stage.staged.revision_bump = 1000000;
    staging.stage.staged.mark_compacted = true;
    struct sr_stage_result result = staging_run(&staging);
    assert_true(result.state_hash_is_proven);
    assert_int_equal(result.staged.final_revision, result.staged.revision + 1000000);
    assert_int_equal(sr_store_revision(staging.to.store), result.staged.final_revision);
    struct sr_buf old = archive_dump(&staging.to, result.staged.revision, &error);
    assert_int_equal(error, SR_API_COMPACTED);
    sr_buf_close(&old);
    staging_close(&staging);
    world_close(world);
}

/* ---- What is refused ---- */

static void test_keys_that_do_not_fit(void **state)
{
    const struct sr_plan_wish anything = {0};
    struct world *world = ship_world();
    struct sr_recovery_private *other = NULL;
    struct sr_archive_secret *secret = NULL;
    struct sr_err err = {0};
    struct staging staging;
    (void)state;
    fixture_ok(sr_recovery_draw(&other, &err), &err);
    fixture_ok(sr_archive_secret_draw(&secret, &err), &err);
    staging_open(&staging, world, &anything);
    staging.keys = (struct sr_archive_keyring){.recovery_private = other};
    check_refused(&staging, SR_KEY, "key");
    staging.keys = (struct sr_archive_keyring){.secret = secret};
    check_refused(&staging, SR_KEY, "key");
    staging.keys = (struct sr_archive_keyring){0};
    check_refused(&staging, SR_KEY, "key");
    staging_close(&staging);
    sr_archive_secret_free(secret);
    sr_recovery_private_free(other);
    world_close(world);
}

static void copy(const char *from, const char *to)
{
    char command[2 * PATH_MAX + 16];
    (void)snprintf(command, sizeof(command), "cp '%s' '%s'", from, to);
    assert_int_equal(system(command), 0);
}

/* Behind the back of what compared it when it was fetched. */
static void test_another_archive_in_its_place(void **state)
{
    struct sr_plan_wish first = {.sequence = 1};
    struct world *world = ship_world();
    struct sr_err err = {0};
    struct staging staging;
    char one[PATH_MAX];
    char two[PATH_MAX];
    (void)state;
    staging_open(&staging, world, &first);
    fixture_ok(sr_fetch_path(&staging.fetch, staging.plan->steps[1], one, &err), &err);
    fixture_ok(sr_fetch_path(&staging.fetch, staging.plan->steps[2], two, &err), &err);
    copy(two, one);
    check_refused(&staging, SR_REFUSED, "swapped: ");
    staging_close(&staging);

    staging_open(&staging, world, &first);
    fixture_ok(sr_fetch_archive(&staging.fetch, staging.plan->full[1], &err), &err);
    fixture_ok(sr_fetch_path(&staging.fetch, staging.plan->full[1], two, &err), &err);
    fixture_ok(sr_fetch_path(&staging.fetch, staging.plan->full[0], one, &err), &err);
    copy(two, one);
    check_refused(&staging, SR_REFUSED, "swapped: ");
    staging_close(&staging);
    world_close(world);
}

static void test_an_archive_that_is_harmed(void **state)
{
    const struct sr_plan_wish anything = {0};
    struct world *world = ship_world();
    struct sr_err err = {0};
    struct stat info;
    (void)state;
    for (unsigned i = 0; i < 40; i++) {
        struct staging staging;
        char path[PATH_MAX];
        uint8_t byte = 0;
        staging_open(&staging, world, &anything);
        fixture_ok(sr_fetch_path(&staging.fetch, staging.plan->steps[i % 2], path, &err), &err);
        assert_int_equal(stat(path, &info), 0);
        int fd = open(path, O_RDWR | O_CLOEXEC);
        off_t at = info.st_size * i / 40;
        if (i % 4 == 3) {
            assert_int_equal(ftruncate(fd, at), 0);
        } else {
            assert_int_equal(pread(fd, &byte, 1, at), 1);
            byte ^= (uint8_t)(1U << (i % 8));
            assert_int_equal(pwrite(fd, &byte, 1, at), 1);
        }
        (void)close(fd);
        struct sr_stage_result result;
        int status = sr_stage_run(&staging.stage, &result, &err);
        assert_true(status == SR_CORRUPT || status == SR_REFUSED || status == SR_FORMAT ||
                    status == SR_KEY);
        staging_close(&staging);
    }
    world_close(world);
}

static atomic_bool stopping;

static void stop(void *arg, size_t number, uint64_t bytes)
{
    (void)bytes;
    atomic_store(&stopping, number == *(const size_t *)arg);
}

static void test_it_stops_when_told_to(void **state)
{
    const struct sr_plan_wish anything = {0};
    struct world *world = ship_world();
    struct staging staging;
    (void)state;
    for (size_t number = 0; number < 2; number++) {
        staging_open(&staging, world, &anything);
        atomic_store(&stopping, false);
        staging.stage.stopping = &stopping;
        staging.stage.progress = stop;
        staging.stage.arg = &number;
        check_refused(&staging, SR_CLOSED, "it is to stop");
        staging_close(&staging);
    }
    world_close(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_there_is),
        cmocka_unit_test(test_with_the_secret_of_the_cluster),
        cmocka_unit_test(test_every_revision),
        cmocka_unit_test(test_every_few_seconds),
        cmocka_unit_test(test_revisions_go_on_later),
        cmocka_unit_test(test_keys_that_do_not_fit),
        cmocka_unit_test(test_another_archive_in_its_place),
        cmocka_unit_test(test_an_archive_that_is_harmed),
        cmocka_unit_test(test_it_stops_when_told_to),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
