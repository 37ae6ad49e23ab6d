/* SPDX-License-Identifier: Apache-2.0
 *
 * The log against a model: random work, opened again and again.
 */
#include "tests/unit/raftlog/fixture.h"

#include <dirent.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"

#define SEGMENT_BYTES 16384

static struct sr_err err;

static void start_empty(void)
{
    struct fx_image nothing = {0};
    fx_image_write(&nothing, fx_dir);
}

static struct sr_raftlog *open_log(size_t segment_bytes, struct sr_raftlog_state *state)
{
    struct sr_raftlog *log = NULL;
    int status = fx_open(&fx_disk_fast, segment_bytes, &log, state, &err);
    if (status != SR_OK) {
        fail_msg("open: %s", err.text);
    }
    return log;
}

static void expect(struct sr_raftlog *log, const struct sr_raftlog_state *state,
                   const struct fx_model *model)
{
    char why[128] = "";
    if (!fx_matches(log, state, model, why)) {
        fail_msg("%s", why);
    }
}

static void sync_log(struct sr_raftlog *log)
{
    if (sr_raftlog_sync(log, &err) != SR_OK) {
        fail_msg("sync: %s", err.text);
    }
}

static void set_term(struct sr_raftlog *log, struct fx_model *model, uint64_t term, uint64_t vote)
{
    assert_int_equal(sr_raftlog_set_vote(log, term, vote, &err), SR_OK);
    model->term = term;
    model->voted_for = vote;
}

static void an_empty_log_opens(void **state)
{
    (void)state;
    start_empty();
    static struct fx_model model = {.first = 1};
    for (int i = 0; i < 3; i++) {
        struct sr_raftlog_state found;
        struct sr_raftlog *log = open_log(SEGMENT_BYTES, &found);
        expect(log, &found, &model);
        assert_int_equal(found.first_index, 1);
        assert_int_equal(found.dropped_bytes, 0);
        sr_raftlog_close(log);
    }
}

static void what_is_not_synced_is_not_there(void **state)
{
    (void)state;
    start_empty();
    static struct fx_model model = {.first = 1};
    struct sr_raftlog_state found;
    struct sr_raftlog *log = open_log(SEGMENT_BYTES, &found);
    set_term(log, &model, 3, 7);
    fx_append(log, &model, 100);
    sync_log(log);
    struct fx_model synced = model;
    fx_append(log, &model, 100);
    struct sr_log_entry entry;
    struct sr_buf scratch = {0};
    assert_int_equal(sr_raftlog_read(log, 2, &scratch, &entry, &err), SR_NOT_FOUND);
    sr_raftlog_close(log);
    log = open_log(SEGMENT_BYTES, &found);
    expect(log, &found, &synced);
    sr_raftlog_close(log);
    sr_buf_close(&scratch);
}

/* Truncations in every order with appends, in one group and over several. */
static void truncation_is_in_order(void **state)
{
    (void)state;
    for (unsigned plan = 0; plan < 64; plan++) {
        start_empty();
        static struct fx_model model;
        memset(&model, 0, sizeof(model));
        model.first = 1;
        struct sr_raftlog_state found;
        struct sr_raftlog *log = open_log(SEGMENT_BYTES, &found);
        set_term(log, &model, 1, 1);
        for (unsigned step = 0; step < 6; step++) {
            for (unsigned i = 0; i < 4; i++) {
                fx_append(log, &model, 10 + 200 * i);
            }
            if ((plan >> step & 1) != 0) {
                sync_log(log);
            }
            fx_truncate(log, &model, model.last + 2 - (plan + step) % 5);
            if (model.last > 1) {
                fx_truncate(log, &model, model.last - (plan + step) % 2);
            }
        }
        sync_log(log);
        found.first_index = 1;
        found.last_index = model.last;
        found.term = 1;
        found.voted_for = 1;
        expect(log, &found, &model);
        sr_raftlog_close(log);
        log = open_log(SEGMENT_BYTES, &found);
        expect(log, &found, &model);
        sr_raftlog_close(log);
    }
}

static size_t random_size(void)
{
    switch (fx_random() % 8) {
    case 0:
        return 0;
    case 1:
        return fx_random() % 6000;
    case 2:
        return fx_random() % 30000; /* some are larger than a segment */
    default:
        return fx_random() % 300;
    }
}

struct walk {
    struct sr_raftlog *log;
    struct sr_raftlog_state found;
    struct fx_model model; /* with what waits */
    struct fx_model synced;
};

static void walk_sync(struct walk *walk)
{
    sync_log(walk->log);
    uint32_t manifest = walk->synced.manifest;
    walk->synced = walk->model;
    walk->synced.manifest = walk->model.manifest = manifest;
}

static void walk_vote(struct walk *walk)
{
    uint64_t term = walk->model.term + fx_random() % 2;
    set_term(walk->log, &walk->model, term, fx_random() % 5);
    walk->synced.term = term;
    walk->synced.voted_for = walk->model.voted_for;
}

static void walk_reopen(struct walk *walk)
{
    sr_raftlog_close(walk->log);
    walk->log = open_log(SEGMENT_BYTES, &walk->found);
    expect(walk->log, &walk->found, &walk->synced);
    walk->synced.first = walk->found.first_index;
    walk->model = walk->synced;
}

static void walk_release(struct walk *walk)
{
    uint64_t span = walk->synced.last + 1 - walk->synced.first;
    uint64_t index = walk->synced.first + fx_random() % (span + 1);
    if (index > walk->synced.last || walk->model.last < walk->synced.last) {
        return;
    }
    assert_int_equal(sr_raftlog_release(walk->log, index, &err), SR_OK);
    /* Entries above index must stay; which ones below do is the log's business. */
    walk->model.first = walk->synced.first = index + 1;
}

static void walk_step(struct walk *walk)
{
    int status;
    switch (fx_random() % 20) {
    case 0:
        walk_vote(walk);
        break;
    case 1:
        walk_reopen(walk);
        break;
    case 2:
        if (walk->model.last >= walk->model.first) {
            uint64_t span = walk->model.last + 1 - walk->model.first;
            fx_truncate(walk->log, &walk->model, walk->model.last + 1 - fx_random() % (span + 1));
        }
        break;
    case 3:
        walk_release(walk);
        break;
    case 4:
        if (fx_random() % 8 == 0) {
            uint64_t index = walk->model.last + fx_random() % 5;
            assert_int_equal(sr_raftlog_reset(walk->log, index, &err), SR_OK);
            walk->model.last = index;
            walk->model.first = index + 1;
            walk->synced = walk->model;
        }
        break;
    case 5:
        fx_put_manifest(walk->log, &walk->model, &err, &status);
        assert_int_equal(status, SR_OK);
        walk->synced.manifest = walk->model.manifest;
        break;
    case 6:
        assert_int_equal(sr_raftlog_prepare(walk->log, &err), SR_OK);
        break;
    case 7:
    case 8:
    case 9:
    case 10:
        walk_sync(walk);
        break;
    default:
        fx_append(walk->log, &walk->model, random_size());
        break;
    }
}

static void random_work_matches_the_model(void **state)
{
    (void)state;
    static struct walk walk;
    for (uint64_t seed = 1; seed <= 12; seed++) {
        fx_seed(seed);
        start_empty();
        memset(&walk, 0, sizeof(walk));
        walk.model.first = walk.synced.first = 1;
        walk.log = open_log(SEGMENT_BYTES, &walk.found);
        for (int i = 0; i < 600; i++) {
            walk_step(&walk);
        }
        walk_sync(&walk);
        walk_reopen(&walk);
        sr_raftlog_close(walk.log);
    }
}

static size_t count_segments(void)
{
    size_t count = 0;
    DIR *dir = opendir(fx_dir);
    struct dirent *entry;
    while ((entry = readdir(dir)) != NULL) {
        count += strstr(entry->d_name, ".seg") != NULL;
    }
    closedir(dir);
    return count;
}

static void released_segments_give_their_disk_back(void **state)
{
    (void)state;
    start_empty();
    static struct fx_model model = {.first = 1};
    struct sr_raftlog_state found;
    struct sr_raftlog *log = open_log(SEGMENT_BYTES, &found);
    set_term(log, &model, 1, 1);
    for (int i = 0; i < 100; i++) {
        fx_append(log, &model, 1500);
        sync_log(log);
    }
    uint64_t before = sr_raftlog_disk_bytes(log);
    assert_int_equal(count_segments(), 15);
    assert_int_equal(before, count_segments() * SEGMENT_BYTES);
    assert_int_equal(sr_raftlog_release(log, 50, &err), SR_OK);
    assert_int_equal(count_segments(), 8);
    assert_int_equal(sr_raftlog_disk_bytes(log), count_segments() * SEGMENT_BYTES);
    assert_int_equal(sr_raftlog_release(log, 100, &err), SR_OK);
    assert_int_equal(count_segments(), 1);
    assert_int_equal(sr_raftlog_disk_bytes(log), SEGMENT_BYTES);
    model.first = 101;
    sr_raftlog_close(log);
    log = open_log(SEGMENT_BYTES, &found);
    expect(log, &found, &model);
    sr_raftlog_close(log);
}

/* Opening again and again, without or with little work between, does not fill the disk. */
static void restarts_do_not_fill_the_disk(void **state)
{
    (void)state;
    start_empty();
    static struct fx_model model = {.first = 1};
    struct sr_raftlog_state found;
    struct sr_raftlog *log = open_log(1 << 20, &found);
    set_term(log, &model, 1, 1);
    sr_raftlog_close(log);
    for (int i = 0; i < 10; i++) {
        log = open_log(1 << 20, &found);
        expect(log, &found, &model);
        assert_int_equal(sr_raftlog_disk_bytes(log), 1 << 20);
        sr_raftlog_close(log);
    }
    assert_int_equal(count_segments(), 1);
    for (int i = 0; i < 10; i++) {
        log = open_log(1 << 20, &found);
        expect(log, &found, &model);
        fx_append(log, &model, 3000);
        sync_log(log);
        sr_raftlog_close(log);
    }
    log = open_log(1 << 20, &found);
    expect(log, &found, &model);
    assert_in_range(sr_raftlog_disk_bytes(log), 1 << 20, (1 << 20) + 10 * 8192);
    sr_raftlog_close(log);
}

static void a_group_larger_than_a_frame_is_cut(void **state)
{
    (void)state;
    start_empty();
    static struct fx_model model = {.first = 1};
    struct sr_raftlog_state found;
    struct sr_raftlog *log = open_log(1 << 20, &found);
    set_term(log, &model, 1, 1);
    for (int i = 0; i < 7; i++) {
        fx_append(log, &model, (size_t)1700 * 1024);
    }
    fx_append(log, &model, (size_t)9 * 1024 * 1024);
    fx_append(log, &model, 5);
    sync_log(log);
    sr_raftlog_close(log);
    log = open_log(1 << 20, &found);
    expect(log, &found, &model);
    sr_raftlog_close(log);
}

static void one_process_at_a_time(void **state)
{
    (void)state;
    start_empty();
    struct sr_raftlog_state found;
    struct sr_raftlog *log = open_log(SEGMENT_BYTES, &found);
    struct sr_raftlog *second = NULL;
    assert_int_equal(fx_open(&fx_disk_fast, SEGMENT_BYTES, &second, &found, &err), SR_REFUSED);
    assert_null(second);
    sr_raftlog_close(log);
}

static void metrics_count(void **state)
{
    (void)state;
    start_empty();
    static struct fx_model model = {.first = 1};
    struct sr_raftlog_state found;
    struct sr_raftlog *log = open_log(1 << 16, &found);
    set_term(log, &model, 1, 1);
    const struct sr_raftlog_metrics *metrics = sr_raftlog_metrics(log);
    uint64_t bytes = sr_counter_read(&metrics->bytes_written);
    uint64_t syncs = sr_counter_read(&metrics->syncs);
    fx_append(log, &model, 100);
    fx_append(log, &model, 100);
    sync_log(log);
    assert_int_equal(sr_counter_read(&metrics->bytes_written), bytes + 512);
    assert_int_equal(sr_counter_read(&metrics->syncs), syncs + 1);
    sync_log(log); /* nothing waits: nothing is written */
    assert_int_equal(sr_counter_read(&metrics->syncs), syncs + 1);
    sr_raftlog_close(log);
}

/* ---- Threads ---- */

struct beside {
    struct sr_raftlog *log;
    const struct fx_model *model; /* its entries do not change once synced */
    atomic_uint_fast64_t synced;
    atomic_uint_fast64_t released;
    atomic_bool stop;
    atomic_uint_fast64_t reads;
    atomic_uint_fast64_t releases;
};

static void *read_beside(void *arg)
{
    struct beside *beside = arg;
    struct sr_buf scratch = {0};
    uint64_t turn = 0;
    while (!atomic_load(&beside->stop)) {
        uint64_t last = atomic_load(&beside->synced);
        struct sr_log_entry entry;
        for (uint64_t i = turn++ % 3 == 0 || last < 10 ? 1 : last - 9; i <= last; i++) {
            int status = sr_raftlog_read(beside->log, i, &scratch, &entry, NULL);
            if (status == SR_NOT_FOUND) {
                assert_true(i <= atomic_load(&beside->released));
                continue;
            }
            assert_int_equal(status, SR_OK);
            assert_int_equal(entry.data.size, beside->model->entries[i].size);
            atomic_fetch_add(&beside->reads, 1);
        }
    }
    sr_buf_close(&scratch);
    return NULL;
}

static void *vote_beside(void *arg)
{
    struct beside *beside = arg;
    for (uint64_t vote = 0; !atomic_load(&beside->stop); vote++) {
        assert_int_equal(sr_raftlog_set_vote(beside->log, 5 + vote / 4, vote, NULL), SR_OK);
        assert_int_equal(sr_raftlog_prepare(beside->log, NULL), SR_OK);
        assert_int_equal(sr_raftlog_put_manifest(beside->log, &vote, sizeof(vote), NULL), SR_OK);
        uint64_t synced = atomic_load(&beside->synced);
        if (vote % 8 == 0 && synced > 200) {
            atomic_store(&beside->released, synced - 100);
            assert_int_equal(sr_raftlog_release(beside->log, synced - 100, NULL), SR_OK);
            atomic_fetch_add(&beside->releases, 1);
        }
    }
    return NULL;
}

static void others_may_read_vote_and_release_beside(void **state)
{
    (void)state;
    start_empty();
    static struct fx_model model = {.first = 1};
    static struct beside beside = {.model = &model};
    struct sr_raftlog_state found;
    pthread_t threads[3];
    beside.log = open_log(SEGMENT_BYTES, &found);
    set_term(beside.log, &model, 5, 0);
    assert_int_equal(pthread_create(&threads[0], NULL, read_beside, &beside), 0);
    assert_int_equal(pthread_create(&threads[1], NULL, read_beside, &beside), 0);
    assert_int_equal(pthread_create(&threads[2], NULL, vote_beside, &beside), 0);
    for (int i = 0; i < 1000; i++) {
        fx_append(beside.log, &model, 300);
        fx_append(beside.log, &model, 30);
        sync_log(beside.log);
        atomic_store(&beside.synced, model.last);
    }
    while (atomic_load(&beside.reads) < 1000 || atomic_load(&beside.releases) == 0) {
        sched_yield();
    }
    atomic_store(&beside.stop, true);
    for (int i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
    }
    sr_raftlog_close(beside.log);
    beside.log = open_log(SEGMENT_BYTES, &found);
    assert_int_equal(found.last_index, model.last);
    assert_true(found.first_index > 1);
    assert_true(found.first_index <= atomic_load(&beside.released) + 1);
    sr_raftlog_close(beside.log);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_log_opens),
        cmocka_unit_test(what_is_not_synced_is_not_there),
        cmocka_unit_test(truncation_is_in_order),
        cmocka_unit_test(random_work_matches_the_model),
        cmocka_unit_test(released_segments_give_their_disk_back),
        cmocka_unit_test(restarts_do_not_fill_the_disk),
        cmocka_unit_test(a_group_larger_than_a_frame_is_cut),
        cmocka_unit_test(one_process_at_a_time),
        cmocka_unit_test(metrics_count),
        cmocka_unit_test(others_may_read_vote_and_release_beside),
    };
    return cmocka_run_group_tests(tests, fx_set_up, fx_tear_down);
}
