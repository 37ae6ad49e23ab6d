/* SPDX-License-Identifier: Apache-2.0
 *
 * The shipper with its threads, and a log that is a mutex: starts, ships, ships at once when asked,
 * stops in the middle.
 */
#include <pthread.h>
#include <time.h>

#include "base/clock.h"
#include "node/offsite/shipper.h"
#include "tests/unit/offsite/world.h"

struct threads {
    struct world *world;
    pthread_mutex_t log;
    struct sr_shipper *shipper;
    char key_path[96];
    char *key_paths[1];
};

static uint64_t wall_ms(void *arg)
{
    (void)arg;
    return sr_clock_wall_ms();
}

static uint64_t monotonic_ns(void *arg)
{
    (void)arg;
    return sr_clock_monotonic_ns();
}

static enum sr_ship_rank rank(void *arg)
{
    (void)arg;
    return SR_RANK_FOLLOWER;
}

static bool is_member(void *arg, uint64_t member)
{
    (void)arg;
    (void)member;
    return true;
}

static enum sr_api_error change(void *arg, const Strongroom__OffsiteChange *wanted)
{
    struct threads *threads = arg;
    pthread_mutex_lock(&threads->log);
    enum sr_api_error error = world_apply(threads->world, wanted);
    fixture_flush(&threads->world->fixture);
    pthread_mutex_unlock(&threads->log);
    return error;
}

static void write_key(struct threads *threads)
{
    char text[SR_RECOVERY_TEXT_CHARS_MAX];
    sr_recovery_public_format(&threads->world->recovery->public_half, text);
    (void)snprintf(threads->key_path, sizeof(threads->key_path), "%s/recovery.pub",
                   threads->world->dir);
    FILE *out = fopen(threads->key_path, "w");
    assert_non_null(out);
    fprintf(out, "%s\n", text);
    fclose(out);
    threads->key_paths[0] = threads->key_path;
    threads->world->config.recovery_keys = threads->key_paths;
    threads->world->config.recovery_keys_count = 1;
}

static void start(struct threads *threads)
{
    struct sr_err err = {0};
    *threads = (struct threads){.world = world_open(DAY)};
    threads->world->config.changes_every_ms = 200;
    threads->world->config.claim_timeout_ms = 1000;
    pthread_mutex_init(&threads->log, NULL);
    write_key(threads);
    struct sr_shipper_options options = {
        .config = &threads->world->config,
        .cluster_name = "records",
        .member_name = "n9",
        .cluster_id = FIXTURE_CLUSTER,
        .member_id = 9,
        .store = threads->world->fixture.store,
        .env = {.wall_ms = wall_ms,
                .monotonic_ns = monotonic_ns,
                .rank = rank,
                .is_member = is_member,
                .change = change,
                .arg = threads},
    };
    fixture_ok(sr_shipper_open(&options, &threads->shipper, &err), &err);
    sr_shipper_start(threads->shipper);
}

static void stop(struct threads *threads)
{
    sr_shipper_stop(threads->shipper);
    sr_shipper_free(threads->shipper);
    pthread_mutex_destroy(&threads->log);
    world_close(threads->world);
}

/* Wait until as many snapshots are there, and all changes. */
static void await(struct threads *threads, size_t snapshots)
{
    struct timespec pause = {.tv_nsec = 20000000};
    for (bool there = false; !there; nanosleep(&pause, NULL)) {
        Strongroom__OffsiteRecord *record = world_record(threads->world);
        const Strongroom__OffsiteChain *chain = sr_offsite_chain(record, "far", SR_ARCHIVE_CHANGES);
        int64_t revision = sr_store_revision(threads->world->fixture.store);
        bool all = (chain != NULL && chain->until_revision == revision) ||
                   (record->n_entry > 0 && record->entry[0]->revision == revision);
        there = record->n_entry >= snapshots && all;
        world_record_free(record);
    }
}

static void test_ships_with_threads(void **state)
{
    struct threads threads;
    struct sr_shipper_view view;
    (void)state;
    start(&threads);
    await(&threads, 1);
    for (unsigned i = 0; i < 5; i++) {
        pthread_mutex_lock(&threads.log);
        applied(&threads.world->fixture, put_text("key", "value"));
        fixture_flush(&threads.world->fixture);
        pthread_mutex_unlock(&threads.log);
        await(&threads, 1);
    }
    assert_int_equal(sr_shipper_ship_now(threads.shipper), 1);
    await(&threads, 2);
    sr_shipper_view(threads.shipper, &view);
    assert_int_equal(view.count, 1);
    assert_string_equal(view.targets[0].name, "far");
    assert_true(view.next_ms > sr_clock_wall_ms());
    stop(&threads);
}

static void test_stops_whenever_it_is_told_to(void **state)
{
    (void)state;
    for (long i = 0; i < 6; i++) {
        struct threads threads;
        struct timespec moment = {.tv_nsec = i * 97000000};
        start(&threads);
        nanosleep(&moment, NULL);
        stop(&threads);
    }
}

static void test_without_a_shipper_there_is_nothing_to_see(void **state)
{
    struct sr_shipper_view view;
    (void)state;
    sr_shipper_view(NULL, &view);
    assert_int_equal(view.count, 0);
    sr_shipper_stop(NULL);
    sr_shipper_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ships_with_threads),
        cmocka_unit_test(test_stops_whenever_it_is_told_to),
        cmocka_unit_test(test_without_a_shipper_there_is_nothing_to_see),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
