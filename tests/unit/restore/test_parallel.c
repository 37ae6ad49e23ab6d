/* SPDX-License-Identifier: Apache-2.0
 *
 * Several targets at a time make the same plan as one, say the same of what is wrong, and fetch the
 * same.
 */
#include "tests/unit/restore/shipped.h"

#include "node/offsite/target_impl.h"
#include "node/restore/fetch_all.h"

#define TARGETS_MAX 8
#define CHANGES     45 /* more than are fetched ahead by two */
#define LARGE       18 /* more than are kept in memory, if each is as large as can be */

/* ---- Targets that count, and that fail ---- */

static struct {
    char name[SR_OBJECT_NAME_BYTES_MAX]; /* of an object that the network does not let through */
    atomic_uint gets;
} net;

struct over_net {
    struct sr_target target;
    struct sr_target *there;
};

static struct sr_target *there(struct sr_target *target)
{
    return ((struct over_net *)(void *)target)->there;
}

static void net_close(struct sr_target *target)
{
    sr_target_close(there(target));
    sr_free(target);
}

static int net_get(struct sr_target *target, const char *name, uint64_t offset, uint64_t size,
                   sr_target_take_cb take, void *arg, struct sr_err *err)
{
    atomic_fetch_add(&net.gets, 1);
    if (strcmp(name, net.name) == 0) {
        return sr_err_set(err, SR_NETWORK, "the connection broke");
    }
    return there(target)->kind->get(there(target), name, offset, size, take, arg, err);
}

static int net_head(struct sr_target *target, const char *name, struct sr_target_object *ret,
                    struct sr_err *err)
{
    return there(target)->kind->head(there(target), name, ret, err);
}

static int net_list(struct sr_target *target, const char *prefix, sr_target_each_cb each, void *arg,
                    struct sr_err *err)
{
    return there(target)->kind->list(there(target), prefix, each, arg, err);
}

static const struct sr_target_kind net_kind = {
    .close = net_close, .get = net_get, .head = net_head, .list = net_list};

static struct sr_target *net_open(const struct world *world)
{
    struct over_net *over = sr_zalloc(sizeof(*over));
    over->there = shipped_target(world);
    over->target.kind = &net_kind;
    (void)snprintf(over->target.title, sizeof(over->target.title), "%s",
                   sr_target_title(over->there));
    return &over->target;
}

/* ---- A long way ---- */

struct far {
    struct world *world;
    struct sr_target *targets[TARGETS_MAX];
    struct sr_plan *all; /* of one target */
};

static const struct sr_plan_wish anything = {0};

static struct sr_targets some(struct far *far, size_t count)
{
    return (struct sr_targets){far->targets, count};
}

static int far_open(void **state)
{
    struct far *far = sr_zalloc(sizeof(*far));
    struct sr_err err = {0};
    far->world = ship_world();
    for (unsigned i = 0; i < CHANGES; i++) {
        ship_changes(far->world, 2);
    }
    for (size_t i = 0; i < TARGETS_MAX; i++) {
        far->targets[i] = net_open(far->world);
    }
    fixture_ok(sr_plan_make_with(some(far, 1), &anything, &far->all, &err), &err);
    assert_true(far->all->step_count > CHANGES);
    *state = far;
    return 0;
}

static int far_close(void **state)
{
    struct far *far = *state;
    sr_plan_free(far->all);
    for (size_t i = 0; i < TARGETS_MAX; i++) {
        sr_target_close(far->targets[i]);
    }
    world_close(far->world);
    sr_free(far);
    return 0;
}

/* ---- Plans ---- */

static void check_manifests(const struct sr_manifest *const *a, const struct sr_manifest *const *b,
                            size_t count)
{
    for (size_t i = 0; i < count; i++) {
        assert_memory_equal(a[i]->sha256, b[i]->sha256, SR_MANIFEST_HASH_BYTES);
    }
}

static void check_same_plan(const struct sr_plan *a, const struct sr_plan *b)
{
    assert_int_equal(a->full_count, b->full_count);
    assert_int_equal(a->full_opened, b->full_opened);
    assert_int_equal(a->changes_count, b->changes_count);
    assert_int_equal(a->changes_opened, b->changes_opened);
    assert_int_equal(a->step_count, b->step_count);
    assert_int_equal(a->note_count, b->note_count);
    assert_int_equal(a->bytes, b->bytes);
    assert_int_equal(a->revision, b->revision);
    assert_int_equal(a->reach_revision, b->reach_revision);
    assert_int_equal(a->reach_ms, b->reach_ms);
    check_manifests((const struct sr_manifest *const *)a->full,
                    (const struct sr_manifest *const *)b->full, a->full_opened);
    check_manifests((const struct sr_manifest *const *)a->changes,
                    (const struct sr_manifest *const *)b->changes, a->changes_opened);
    check_manifests(a->steps, b->steps, a->step_count);
    for (size_t i = 0; i < a->note_count; i++) {
        assert_string_equal(a->notes[i], b->notes[i]);
    }
}

/* Of @wish, one target and several find the same, and say the same. Returns its status. */
static int check_same(struct far *far, const struct sr_plan_wish *wish, const char *sentence)
{
    static const size_t counts[] = {2, 3, TARGETS_MAX};
    struct sr_plan *one = NULL;
    struct sr_err why = {0};
    int status = sr_plan_make_with(some(far, 1), wish, &one, &why);
    if (strstr(why.text, sentence) == NULL) {
        fail_msg("%s: %s, not: %s", sr_status_text(status), why.text, sentence);
    }
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        struct sr_plan *several = NULL;
        struct sr_err err = {0};
        assert_int_equal(sr_plan_make_with(some(far, counts[i]), wish, &several, &err), status);
        assert_string_equal(err.text, why.text);
        check_same_plan(one, several);
        sr_plan_free(several);
    }
    sr_plan_free(one);
    return status;
}

static void test_the_same_plan(void **state)
{
    struct far *far = *state;
    const struct sr_plan *all = far->all;
    assert_int_equal(check_same(far, &anything, ""), SR_OK);
    for (size_t i = 0; i < all->step_count; i += 9) {
        struct sr_plan_wish revision = {.revision = all->steps[i]->said->until_revision};
        assert_int_equal(check_same(far, &revision, ""), SR_OK);
        struct sr_plan_wish time = {.time_ms = sr_plan_time(all->steps[i])};
        assert_int_equal(check_same(far, &time, ""), SR_OK);
    }
    struct sr_plan_wish first = {.sequence = 1};
    assert_int_equal(check_same(far, &first, ""), SR_OK);
    struct sr_plan_wish beyond = {.revision = all->revision + 1};
    assert_int_equal(check_same(far, &beyond, "is not there: what is there"), SR_NOT_FOUND);
}

/* What is behind the end is not fetched: at most what is ahead, and none that a name excludes. */
static void test_it_ends_where_the_bound_is(void **state)
{
    struct far *far = *state;
    const struct sr_manifest *third = far->all->steps[3];
    struct sr_plan_wish revision = {.revision = third->said->until_revision};
    struct sr_plan_wish time = {.time_ms = sr_plan_time(third) - 1};
    struct sr_plan *plan = NULL;
    struct sr_err err = {0};
    atomic_store(&net.gets, 0);
    fixture_ok(sr_plan_make_with(some(far, TARGETS_MAX), &revision, &plan, &err), &err);
    /* Two snapshots, three changes, and the newest changes, which tell how far all of it goes. */
    assert_int_equal(plan->changes_opened, 3);
    assert_int_equal(atomic_load(&net.gets), 2 + 3 + 1);
    sr_plan_free(plan);
    atomic_store(&net.gets, 0);
    fixture_ok(sr_plan_make_with(some(far, 2), &time, &plan, &err), &err);
    assert_int_equal(plan->changes_opened, 3);
    assert_in_range(atomic_load(&net.gets), 2 + 3 + 1, 2 + 32 + 1);
    sr_plan_free(plan);
}

static void flip(struct far *far, const char *name)
{
    struct sr_buf file = shipped_read(far->world, name);
    file.data[file.size / 2] ^= 1;
    shipped_write(far->world, name, file.data, file.size);
    sr_buf_close(&file);
}

/* Of the manifest of changes, from the oldest of all. */
static void name_at(struct far *far, int at, char out[SR_OBJECT_NAME_BYTES_MAX])
{
    shipped_name(far->world, SR_ARCHIVE_CHANGES, SR_OBJECT_MANIFEST, at, out);
}

static void test_the_same_is_said_of_what_is_wrong(void **state)
{
    struct far *far = *state;
    struct sr_plan_wish salvage = {.salvage = true};
    char early[SR_OBJECT_NAME_BYTES_MAX];
    char late[SR_OBJECT_NAME_BYTES_MAX];
    name_at(far, 20, early);
    name_at(far, 22, late);
    for (int i = 0; i < 2; i++) { /* the first of two is told, whichever is fetched sooner */
        flip(far, late);
        assert_int_equal(check_same(far, &anything, late), SR_CORRUPT);
        flip(far, early);
        assert_int_equal(check_same(far, &anything, early), SR_CORRUPT);
        assert_int_equal(check_same(far, &salvage, ""), SR_OK);
        flip(far, late);
        flip(far, early);
        name_at(far, -20, late);
    }
    struct sr_buf gone = shipped_read(far->world, early);
    shipped_remove(far->world, early);
    assert_int_equal(check_same(far, &anything, "truncated: changes"), SR_CORRUPT);
    assert_int_equal(check_same(far, &salvage, ""), SR_OK);
    shipped_write(far->world, early, gone.data, gone.size);
    sr_buf_close(&gone);
    assert_int_equal(check_same(far, &anything, ""), SR_OK);
}

static void test_what_is_damaged_is_left_out(void **state)
{
    struct far *far = *state;
    struct sr_plan_without without[] = {
        {SR_ARCHIVE_FULL, far->all->full[1]->said->sequence},
        {SR_ARCHIVE_CHANGES, far->all->steps[30]->said->sequence},
    };
    struct sr_plan_wish salvage = {.salvage = true, .without = without, .without_count = 2};
    assert_int_equal(check_same(far, &salvage, ""), SR_OK);
}

/* One that could not be fetched ends the plan when it is its turn, not before, and is not taken for
 * one that is damaged. */
static void test_a_network_that_fails(void **state)
{
    struct far *far = *state;
    struct sr_plan_wish salvage = {.salvage = true};
    char damaged[SR_OBJECT_NAME_BYTES_MAX];
    name_at(far, 20, damaged);
    name_at(far, 23, net.name);
    assert_int_equal(check_same(far, &anything, net.name), SR_NETWORK);
    assert_int_equal(check_same(far, &salvage, "the connection broke"), SR_NETWORK);
    flip(far, damaged);
    assert_int_equal(check_same(far, &anything, damaged), SR_CORRUPT);
    assert_int_equal(check_same(far, &salvage, net.name), SR_NETWORK);
    flip(far, damaged);
    name_at(far, 17, net.name);
    flip(far, damaged);
    assert_int_equal(check_same(far, &anything, net.name), SR_NETWORK);
    flip(far, damaged);
    net.name[0] = 0;
}

/* As large as a manifest can be, and larger: so many are not kept in memory at a time, and each is
 * judged all the same. */
static void test_large_ones(void **state)
{
    struct far *far = *state;
    struct sr_plan_wish salvage = {.salvage = true};
    static uint8_t large[4 * 1024 * 1024 + 1];
    struct sr_buf kept[LARGE] = {{0}};
    char name[SR_OBJECT_NAME_BYTES_MAX];
    for (int i = 0; i < LARGE; i++) {
        name_at(far, 10 + i, name);
        kept[i] = shipped_read(far->world, name);
        shipped_write(far->world, name, large, sizeof(large) - (i % 4 == 0 ? 0 : 1));
    }
    name_at(far, 10, name);
    assert_int_equal(check_same(far, &anything, "edited: it is larger than any"), SR_CORRUPT);
    assert_int_equal(check_same(far, &salvage, ""), SR_OK);
    for (int i = 0; i < LARGE; i++) {
        name_at(far, 10 + i, name);
        shipped_write(far->world, name, kept[i].data, kept[i].size);
        sr_buf_close(&kept[i]);
    }
    assert_int_equal(check_same(far, &anything, ""), SR_OK);
}

/* ---- Archives ---- */

struct watched {
    atomic_bool busy;
    atomic_uint crossed; /* two calls at a time */
    size_t whole;
    uint64_t bytes;
    uint64_t stop_at; /* once so many bytes are there; 0: never */
    atomic_bool stopping;
};

static void watch(void *arg, size_t whole, uint64_t bytes)
{
    struct watched *watched = arg;
    atomic_fetch_add(&watched->crossed, atomic_exchange(&watched->busy, true) ? 1 : 0);
    atomic_fetch_add(&watched->crossed, whole < watched->whole ? 1 : 0);
    watched->whole = whole;
    watched->bytes = bytes;
    if (watched->stop_at != 0 && bytes >= watched->stop_at) {
        atomic_store(&watched->stopping, true);
    }
    atomic_store(&watched->busy, false);
}

static int fetch_all(struct far *far, size_t targets, const char *dir, struct watched *watched,
                     struct sr_fetch *ret_fetch, size_t *ret_failed, struct sr_err *err)
{
    struct sr_fetch_all all = {
        .targets = some(far, targets), .fetch = ret_fetch, .progress = watch, .arg = watched};
    *ret_fetch = (struct sr_fetch){.dir = dir, .stopping = &watched->stopping};
    int status = sr_fetch_all(&all, far->all->steps, far->all->step_count, ret_failed, err);
    assert_int_equal(atomic_load(&watched->crossed), 0);
    return status;
}

/* All archives are in @dir, as they are on the target. */
static void check_there(struct far *far, const struct sr_fetch *fetch)
{
    for (size_t i = 0; i < far->all->step_count; i++) {
        char path[PATH_MAX];
        struct sr_err err = {0};
        struct sr_buf there = shipped_read(far->world, far->all->steps[i]->said->object);
        uint8_t *here = sr_alloc(there.size + 1);
        fixture_ok(sr_fetch_path(fetch, far->all->steps[i], path, &err), &err);
        FILE *file = fopen(path, "re");
        assert_non_null(file);
        assert_int_equal(fread(here, 1, there.size + 1, file), there.size);
        assert_memory_equal(here, there.data, there.size);
        (void)fclose(file);
        sr_free(here);
        sr_buf_close(&there);
    }
}

static void fetch_all_ok(struct far *far, size_t targets, const char *dir, struct sr_fetch *fetch)
{
    struct watched watched = {0};
    struct sr_err err = {0};
    size_t failed = 0;
    fixture_ok(fetch_all(far, targets, dir, &watched, fetch, &failed, &err), &err);
    assert_int_equal(failed, far->all->step_count);
    assert_int_equal(watched.whole, far->all->step_count);
    assert_int_equal(watched.bytes, far->all->bytes);
    assert_int_equal(fetch->fetched_bytes + fetch->kept_bytes, far->all->bytes);
    check_there(far, fetch);
}

static void test_all_archives_are_fetched(void **state)
{
    static const size_t counts[] = {1, 2, TARGETS_MAX};
    struct far *far = *state;
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        struct sr_fetch fetch;
        char dir[64];
        shipped_work(dir);
        fetch_all_ok(far, counts[i], dir, &fetch);
        assert_int_equal(fetch.kept_bytes, 0);
        fetch_all_ok(far, counts[i], dir, &fetch);
        assert_int_equal(fetch.fetched_bytes, 0);
        shipped_clear(dir);
    }
}

static void test_it_stops_and_goes_on(void **state)
{
    struct far *far = *state;
    struct watched watched = {.stop_at = far->all->bytes / 2};
    struct sr_fetch first;
    struct sr_fetch second;
    struct sr_err err = {0};
    size_t failed = 0;
    char dir[64];
    shipped_work(dir);
    assert_int_equal(fetch_all(far, 4, dir, &watched, &first, &failed, &err), SR_CLOSED);
    assert_in_range(watched.whole, 1, far->all->step_count - 1);
    fetch_all_ok(far, 4, dir, &second);
    assert_true(second.kept_bytes > 0);
    assert_true(second.fetched_bytes > 0);
    shipped_clear(dir);
}

static void test_the_first_archive_that_is_damaged_is_told(void **state)
{
    static const size_t at[] = {40, 20, 23};
    struct far *far = *state;
    size_t lowest = SIZE_MAX;
    for (size_t i = 0; i < 3; i++) {
        struct watched watched = {0};
        struct sr_fetch fetch;
        struct sr_err err = {0};
        size_t failed = 0;
        char dir[64];
        shipped_work(dir);
        flip(far, far->all->steps[at[i]]->said->object);
        lowest = at[i] < lowest ? at[i] : lowest;
        assert_int_equal(fetch_all(far, TARGETS_MAX, dir, &watched, &fetch, &failed, &err),
                         SR_CORRUPT);
        assert_int_equal(failed, lowest);
        assert_non_null(strstr(err.text, far->all->steps[lowest]->said->object));
        assert_int_equal(strncmp(err.text, "edited: ", 8), 0);
        shipped_clear(dir);
    }
    for (size_t i = 0; i < 3; i++) {
        flip(far, far->all->steps[at[i]]->said->object);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_same_plan),
        cmocka_unit_test(test_it_ends_where_the_bound_is),
        cmocka_unit_test(test_the_same_is_said_of_what_is_wrong),
        cmocka_unit_test(test_what_is_damaged_is_left_out),
        cmocka_unit_test(test_a_network_that_fails),
        cmocka_unit_test(test_large_ones),
        cmocka_unit_test(test_all_archives_are_fetched),
        cmocka_unit_test(test_it_stops_and_goes_on),
        cmocka_unit_test(test_the_first_archive_that_is_damaged_is_told),
    };
    return cmocka_run_group_tests(tests, far_open, far_close);
}
