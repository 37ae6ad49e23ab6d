/* SPDX-License-Identifier: Apache-2.0
 *
 * Downloads that were cut anywhere, and what they do when the target has something else.
 */
#include "tests/unit/restore/shipped.h"

#define GROUP SR_ARCHIVE_GROUP_BYTES

/* A snapshot of two whole groups and part of a third. */
struct large {
    struct world *world;
    struct sr_target *target;
    struct sr_plan *plan;
    const struct sr_manifest *manifest;
    const char *name;
    uint64_t size;
    struct sr_buf file; /* as it is on the target */
    char dir[64];
    char path[PATH_MAX];
    char part[PATH_MAX + 8];
    struct sr_fetch fetch;
};

static int large_open(void **state)
{
    struct large *large = sr_zalloc(sizeof(*large));
    const struct sr_plan_wish anything = {0};
    struct sr_err err = {0};
    uint64_t seed = 5;
    *large = (struct large){.world = world_open(365 * DAY)};
    for (unsigned i = 0; i < 34; i++) {
        applied(&large->world->fixture, archive_large(&seed, 600000));
        sr_arena_reset(&commands_arena);
    }
    fixture_flush(&large->world->fixture);
    world_run(large->world, MINUTE, SECOND);
    large->plan = shipped_plan_ok(large->world, &anything);
    large->manifest = sr_plan_base(large->plan);
    large->name = large->manifest->said->object;
    large->size = large->manifest->said->size;
    assert_in_range(large->size, 2 * GROUP + 1, 3 * GROUP - 1);
    large->file = shipped_read(large->world, large->name);
    large->target = shipped_target(large->world);
    shipped_work(large->dir);
    large->fetch = (struct sr_fetch){.target = large->target, .dir = large->dir, .can_wait = true};
    fixture_ok(sr_fetch_path(&large->fetch, large->manifest, large->path, &err), &err);
    (void)snprintf(large->part, sizeof(large->part), "%s.part", large->path);
    *state = large;
    return 0;
}

static int large_close(void **state)
{
    struct large *large = *state;
    sr_target_close(large->target);
    sr_plan_free(large->plan);
    sr_buf_close(&large->file);
    shipped_clear(large->dir);
    world_close(large->world);
    sr_free(large);
    return 0;
}

/* The target is as it was, and nothing is fetched yet. */
static void reset(struct large *large)
{
    shipped_write(large->world, large->name, large->file.data, large->file.size);
    (void)unlink(large->path);
    (void)unlink(large->part);
    large->fetch.fetched_bytes = 0;
    large->fetch.kept_bytes = 0;
    large->fetch.stopping = NULL;
    large->fetch.progress = NULL;
}

static void write_file(const char *path, const uint8_t *data, size_t size)
{
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static void check_fetched(struct large *large, uint64_t fetched)
{
    struct sr_err err = {0};
    uint8_t *piece = sr_alloc(GROUP);
    uint64_t at = 0;
    size_t got;
    fixture_ok(sr_fetch_archive(&large->fetch, large->manifest, &err), &err);
    FILE *file = fopen(large->path, "re");
    assert_non_null(file);
    while ((got = fread(piece, 1, GROUP, file)) > 0) {
        assert_memory_equal(piece, large->file.data + at, got);
        at += got;
    }
    (void)fclose(file);
    sr_free(piece);
    assert_int_equal(at, large->size);
    assert_int_equal(access(large->part, F_OK), -1);
    assert_int_equal(large->fetch.fetched_bytes, fetched);
    assert_int_equal(large->fetch.kept_bytes + fetched, large->size);
}

static void check_refused(struct large *large, int status, const char *sentence)
{
    struct sr_err err = {0};
    int found = sr_fetch_archive(&large->fetch, large->manifest, &err);
    if (found != status || strstr(err.text, sentence) == NULL) {
        fail_msg("%s: %s, not: %s: %s", sr_status_text(found), err.text, sr_status_text(status),
                 sentence);
    }
    assert_int_equal(access(large->path, F_OK), -1); /* never whole */
}

/* ---- Taking up ---- */

static void test_it_goes_on_from_any_byte(void **state)
{
    struct large *large = *state;
    const size_t sizes[] = {0,
                            1,
                            GROUP - 1,
                            GROUP,
                            GROUP + 1,
                            2 * GROUP - 1,
                            2 * GROUP,
                            2 * GROUP + 1,
                            (size_t)large->size - 1,
                            (size_t)large->size};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        bool whole = sizes[i] == large->size;
        reset(large);
        write_file(large->part, large->file.data, sizes[i]);
        check_fetched(large, whole ? 0 : large->size - sizes[i] / GROUP * GROUP);
    }
    large->fetch.kept_bytes = 0;
    check_fetched(large, 0); /* it is there, and looked at once more */
}

static void test_what_is_there_but_differs_is_fetched_again(void **state)
{
    struct large *large = *state;
    static const size_t flips[] = {0, GROUP - 1, GROUP, 2 * GROUP + 5};
    for (size_t i = 0; i < sizeof(flips) / sizeof(flips[0]); i++) {
        for (int whole = 0; whole < 2; whole++) { /* under either of its names */
            reset(large);
            large->file.data[flips[i]] ^= 0x10;
            write_file(whole ? large->path : large->part, large->file.data, large->file.size);
            large->file.data[flips[i]] ^= 0x10;
            check_fetched(large, large->size - flips[i] / GROUP * GROUP);
        }
    }
    reset(large);
    struct sr_buf longer = {0};
    sr_buf_append(&longer, large->file.data, large->file.size);
    sr_buf_append(&longer, "more", 4);
    write_file(large->part, longer.data, longer.size);
    check_fetched(large, 0);
    sr_buf_close(&longer);
}

static void test_a_link_in_its_place_is_not_followed(void **state)
{
    struct large *large = *state;
    struct sr_err err = {0};
    char elsewhere[PATH_MAX + 16];
    reset(large);
    (void)snprintf(elsewhere, sizeof(elsewhere), "%s.elsewhere", large->path);
    write_file(elsewhere, (const uint8_t *)"mine", 4);
    assert_int_equal(symlink(elsewhere, large->part), 0);
    assert_int_equal(sr_fetch_archive(&large->fetch, large->manifest, &err), SR_IO);
    struct stat info;
    assert_int_equal(stat(elsewhere, &info), 0);
    assert_int_equal(info.st_size, 4);
}

/* ---- What the target has ---- */

static void test_a_flipped_bit_on_the_target_is_refused(void **state)
{
    struct large *large = *state;
    const size_t flips[] = {0, GROUP - 1, GROUP, 2 * GROUP, (size_t)large->size - 1};
    for (size_t i = 0; i < sizeof(flips) / sizeof(flips[0]); i++) {
        reset(large);
        large->file.data[flips[i]] ^= 1;
        shipped_write(large->world, large->name, large->file.data, large->file.size);
        check_refused(large, SR_CORRUPT, "edited: ");
        large->file.data[flips[i]] ^= 1;
        /* It comes right again: the groups before are kept, the others are not believed. */
        large->fetch.fetched_bytes = 0;
        large->fetch.kept_bytes = 0;
        shipped_write(large->world, large->name, large->file.data, large->file.size);
        check_fetched(large, large->size - flips[i] / GROUP * GROUP);
    }
}

static void test_another_length_on_the_target_is_refused(void **state)
{
    struct large *large = *state;
    struct sr_buf longer = {0};
    const size_t sizes[] = {0, 1, GROUP, GROUP + 1, (size_t)large->size - 1};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        reset(large);
        shipped_write(large->world, large->name, large->file.data, sizes[i]);
        check_refused(large, SR_CORRUPT, "truncated: ");
        reset(large); /* also when more is here than there */
        shipped_write(large->world, large->name, large->file.data, sizes[i]);
        write_file(large->part, large->file.data, 2 * GROUP);
        check_refused(large, SR_CORRUPT, "truncated: ");
    }
    reset(large);
    sr_buf_append(&longer, large->file.data, large->file.size);
    sr_buf_append_u8(&longer, 0);
    shipped_write(large->world, large->name, longer.data, longer.size);
    check_refused(large, SR_CORRUPT, "edited: ");
    reset(large);
    shipped_remove(large->world, large->name);
    check_refused(large, SR_NOT_FOUND, "is not there, although its manifest is");
    sr_buf_close(&longer);
}

/* Once the second group has begun to come, the target is whole again. */
static void mend(void *arg, const struct sr_manifest *manifest, uint64_t bytes)
{
    struct large *large = arg;
    if (bytes > GROUP && bytes < 2 * GROUP && large->fetch.progress != NULL) {
        assert_ptr_equal(manifest, large->manifest);
        char path[256];
        shipped_path(large->world, large->name, path);
        int fd = open(path, O_WRONLY | O_CLOEXEC);
        assert_int_equal(pwrite(fd, large->file.data + GROUP, 1, GROUP), 1);
        (void)close(fd);
        large->fetch.progress = NULL;
    }
}

static void test_what_was_harmed_on_the_way_is_fetched_once_more(void **state)
{
    struct large *large = *state;
    struct sr_err err = {0};
    reset(large);
    large->fetch.progress = mend;
    large->fetch.arg = large;
    large->file.data[GROUP] ^= 1;
    shipped_write(large->world, large->name, large->file.data, large->file.size);
    large->file.data[GROUP] ^= 1;
    fixture_ok(sr_fetch_archive(&large->fetch, large->manifest, &err), &err);
    assert_null(large->fetch.progress);
    assert_in_range(large->fetch.fetched_bytes, large->size + 1, large->size + GROUP);
    large->fetch.fetched_bytes = 0;
    large->fetch.kept_bytes = 0;
    check_fetched(large, 0);
}

/* ---- Stopping, and room ---- */

static atomic_bool stopping;

static void stop(void *arg, const struct sr_manifest *manifest, uint64_t bytes)
{
    (void)manifest;
    if (bytes > *(const uint64_t *)arg) {
        atomic_store(&stopping, true);
    }
}

static void test_it_stops_when_told_to_and_goes_on(void **state)
{
    struct large *large = *state;
    uint64_t at = GROUP + GROUP / 2;
    reset(large);
    atomic_store(&stopping, false);
    large->fetch.stopping = &stopping;
    large->fetch.progress = stop;
    large->fetch.arg = &at;
    check_refused(large, SR_CLOSED, "it is to stop");
    assert_in_range(large->fetch.fetched_bytes, at, 2 * GROUP);
    large->fetch.fetched_bytes = 0;
    large->fetch.kept_bytes = 0;
    large->fetch.stopping = NULL;
    large->fetch.progress = NULL;
    check_fetched(large, large->size - GROUP);
}

static void test_room(void **state)
{
    struct large *large = *state;
    struct sr_err err = {0};
    uint64_t wanted = 0;
    uint64_t room = 0;
    reset(large);
    fixture_ok(sr_fetch_room(&large->fetch, large->plan->steps, large->plan->step_count, &wanted,
                             &room, &err),
               &err);
    assert_int_equal(wanted, large->plan->bytes);
    assert_true(room > 0);
    write_file(large->part, large->file.data, GROUP);
    fixture_ok(sr_fetch_room(&large->fetch, large->plan->steps, large->plan->step_count, &wanted,
                             &room, &err),
               &err);
    assert_int_equal(wanted, large->plan->bytes - GROUP);
    large->fetch.dir = "/nowhere";
    assert_int_equal(sr_fetch_room(&large->fetch, large->plan->steps, 1, &wanted, &room, &err),
                     SR_IO);
    large->fetch.dir = large->dir;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_goes_on_from_any_byte),
        cmocka_unit_test(test_what_is_there_but_differs_is_fetched_again),
        cmocka_unit_test(test_a_link_in_its_place_is_not_followed),
        cmocka_unit_test(test_a_flipped_bit_on_the_target_is_refused),
        cmocka_unit_test(test_another_length_on_the_target_is_refused),
        cmocka_unit_test(test_what_was_harmed_on_the_way_is_fetched_once_more),
        cmocka_unit_test(test_it_stops_when_told_to_and_goes_on),
        cmocka_unit_test(test_room),
    };
    return cmocka_run_group_tests(tests, large_open, large_close);
}
