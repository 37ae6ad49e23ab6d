/* SPDX-License-Identifier: Apache-2.0
 *
 * A disk that fails: the 1st call, then the 2nd, and so on until the whole run passes unharmed.
 */
#include "tests/unit/raftlog/fixture.h"

#include <errno.h>
#include <string.h>

#define SEGMENT_BYTES 8192

/* Fails its @nth call. */
struct faulty {
    unsigned calls;
    unsigned nth;
    unsigned failures; /* how many calls fail from then on */
    int error;
    bool only_writes;
    bool torn; /* a failing write has written a part */
};

static struct sr_err err;

static bool fails(struct faulty *faulty)
{
    faulty->calls++;
    return faulty->calls >= faulty->nth && faulty->calls < faulty->nth + faulty->failures;
}

static int faulty_write(void *arg, int fd, const void *data, size_t size, uint64_t offset)
{
    struct faulty *faulty = arg;
    if (fails(faulty)) {
        if (faulty->torn) {
            sr_log_disk_real.write(NULL, fd, data, size * 2 / 3, offset);
        }
        return -faulty->error;
    }
    return sr_log_disk_real.write(NULL, fd, data, size, offset);
}

static int faulty_sync(void *arg, int fd)
{
    struct faulty *faulty = arg;
    (void)fd;
    return !faulty->only_writes && fails(faulty) ? -faulty->error : 0;
}

static int faulty_rename(void *arg, int dir_fd, const char *from, const char *to)
{
    struct faulty *faulty = arg;
    if (!faulty->only_writes && fails(faulty)) {
        return -faulty->error;
    }
    return sr_log_disk_real.rename(NULL, dir_fd, from, to);
}

static int faulty_unlink(void *arg, int dir_fd, const char *name)
{
    struct faulty *faulty = arg;
    if (!faulty->only_writes && fails(faulty)) {
        return -faulty->error;
    }
    return sr_log_disk_real.unlink(NULL, dir_fd, name);
}

static struct sr_log_disk disk_of(struct faulty *faulty)
{
    return (struct sr_log_disk){.write = faulty_write,
                                .sync = faulty_sync,
                                .rename = faulty_rename,
                                .unlink = faulty_unlink,
                                .arg = faulty};
}

/* ---- The run ---- */

struct run {
    struct sr_raftlog *log;
    struct fx_model model; /* with what waits, and what a failed call was to do */
    struct fx_model promised;
    unsigned no_space; /* calls that said so */
    bool retry;
};

/* Do @call until there is room. */
#define TRY(run, call)                                                                             \
    do {                                                                                           \
        status = (call);                                                                           \
        (run)->no_space += status == SR_NO_SPACE;                                                  \
    } while ((run)->retry && status == SR_NO_SPACE)

static int run_group(struct run *run, int step)
{
    int status = SR_OK;
    fx_append(run->log, &run->model, 900);
    if (step % 4 == 3) {
        fx_truncate(run->log, &run->model, run->promised.last);
    }
    fx_append(run->log, &run->model, 100);
    TRY(run, sr_raftlog_sync(run->log, &err));
    return status;
}

static int run_step(struct run *run, int step)
{
    int status = run_group(run, step);
    if (status != SR_OK) {
        return status;
    }
    run->promised = run->model;
    if (step % 5 == 2) {
        run->model.term++;
        TRY(run, sr_raftlog_set_vote(run->log, run->model.term, 1, &err));
        run->model.voted_for = 1;
    } else if (step % 5 == 3) {
        fx_put_manifest(run->log, &run->model, &err, &status);
        while (run->retry && status == SR_NO_SPACE) {
            run->no_space++;
            fx_put_manifest(run->log, &run->model, &err, &status);
        }
    } else if (step == 10) {
        run->promised.first = run->model.first = 6;
        TRY(run, sr_raftlog_release(run->log, 5, &err));
    } else if (step == 6) {
        TRY(run, sr_raftlog_prepare(run->log, &err));
    } else if (step == 14) {
        TRY(run, sr_raftlog_reset(run->log, 100, &err));
        run->model.last = 100;
        run->model.first = 101;
    }
    if (status == SR_OK) {
        run->promised = run->model;
    }
    return status;
}

static int run_all(struct run *run, const struct sr_log_disk *disk)
{
    struct sr_raftlog_state state;
    int status;
    memset(&run->model, 0, sizeof(run->model));
    run->log = NULL;
    run->no_space = 0;
    run->model.first = 1;
    run->promised = run->model;
    TRY(run, fx_open(disk, SEGMENT_BYTES, &run->log, &state, &err));
    if (status != SR_OK) {
        return status;
    }
    run->model.term = 1;
    TRY(run, sr_raftlog_set_vote(run->log, 1, 0, &err));
    if (status == SR_OK) {
        run->promised = run->model;
    }
    for (int step = 0; step < 18 && status == SR_OK; step++) {
        status = run_step(run, step);
    }
    return status;
}

static void start_empty(void)
{
    struct fx_image nothing = {0};
    fx_image_write(&nothing, fx_dir);
    fx_seed(5);
}

/* The failed call may or may not have taken effect; everything before it has. */
static void expect_promised(struct run *run, unsigned nth)
{
    struct sr_raftlog *log = NULL;
    struct sr_raftlog_state state;
    char why[2][128] = {"", ""};
    if (fx_open(&fx_disk_fast, SEGMENT_BYTES, &log, &state, &err) != SR_OK) {
        fail_msg("failure of call %u: %s", nth, err.text);
    }
    if (!fx_matches(log, &state, &run->promised, why[0]) &&
        !fx_matches(log, &state, &run->model, why[1])) {
        fail_msg("failure of call %u: %s; %s", nth, why[0], why[1]);
    }
    sr_raftlog_close(log);
}

/* After a failure nothing works any more, whatever the disk would do. */
static void expect_stopped(struct run *run)
{
    struct sr_buf scratch = {0};
    struct sr_log_entry entry = {.term = run->model.term};
    if (run->log == NULL) {
        return; /* it failed to open */
    }
    sr_raftlog_append(run->log, &entry, 1);
    assert_int_equal(sr_raftlog_sync(run->log, &err), SR_IO);
    assert_int_equal(sr_raftlog_set_vote(run->log, run->model.term + 1, 1, &err), SR_IO);
    assert_int_equal(sr_raftlog_release(run->log, 1, &err), SR_IO);
    assert_int_equal(sr_raftlog_reset(run->log, 1000, &err), SR_IO);
    assert_int_equal(sr_raftlog_prepare(run->log, &err), SR_IO);
    assert_int_equal(sr_raftlog_put_manifest(run->log, "x", 1, &err), SR_IO);
    assert_int_equal(sr_raftlog_read(run->log, run->promised.first, &scratch, &entry, &err), SR_IO);
    sr_buf_close(&scratch);
}

static void every_call_fails_once(void **state)
{
    (void)state;
    static struct run run;
    unsigned nth = 1;
    for (;; nth++) {
        struct faulty faulty = {.nth = nth, .failures = 1, .error = EIO};
        struct sr_log_disk disk = disk_of(&faulty);
        start_empty();
        int status = run_all(&run, &disk);
        if (faulty.calls < nth) {
            assert_int_equal(status, SR_OK);
            sr_raftlog_close(run.log);
            break;
        }
        assert_int_equal(status, SR_IO);
        assert_non_null(strstr(err.text, "Input/output error"));
        expect_stopped(&run);
        sr_raftlog_close(run.log);
        expect_promised(&run, nth);
    }
    assert_true(nth > 80);
}

/* A disk that is full for one call, or for three, having written a part of it or nothing: the
 * call says so and works when it is made again, or the log stops; nothing is lost or half there.*/
static void every_write_finds_no_space(void **state)
{
    (void)state;
    static struct run run;
    unsigned tried_again = 0;
    for (unsigned variant = 0; variant < 4; variant++) {
        for (unsigned nth = 1;; nth++) {
            struct faulty faulty = {.nth = nth,
                                    .failures = variant % 2 == 0 ? 1 : 3,
                                    .error = ENOSPC,
                                    .only_writes = true,
                                    .torn = variant >= 2};
            struct sr_log_disk disk = disk_of(&faulty);
            start_empty();
            run.retry = true;
            int status = run_all(&run, &disk);
            tried_again += run.no_space;
            if (status == SR_OK) {
                run.promised = run.model;
            } else {
                assert_int_equal(status, SR_IO);
                expect_stopped(&run);
            }
            sr_raftlog_close(run.log);
            if (status == SR_OK || !faulty.torn) {
                expect_promised(&run, nth);
            }
            if (faulty.calls < nth) {
                break;
            }
        }
    }
    assert_true(tried_again > 40);
}

/* A sync that reports a full disk has lost something: no second chance. */
static void a_full_disk_at_sync_is_final(void **state)
{
    (void)state;
    static struct run run;
    for (unsigned nth = 1;; nth++) {
        struct faulty faulty = {.nth = nth, .failures = 1, .error = ENOSPC};
        struct sr_log_disk disk = disk_of(&faulty);
        disk.write = fx_disk_fast.write;
        start_empty();
        run.retry = true;
        int status = run_all(&run, &disk);
        assert_int_equal(status, faulty.calls < nth ? SR_OK : SR_IO);
        assert_int_equal(run.no_space, 0);
        sr_raftlog_close(run.log);
        expect_promised(&run, nth);
        if (faulty.calls < nth) {
            break;
        }
    }
}

/* Nothing of a large group that found no space may be left behind a smaller one. */
static void a_smaller_group_follows_one_without_space(void **state)
{
    (void)state;
    static struct fx_model model = {.first = 1, .term = 1};
    struct faulty faulty = {.nth = UINT32_MAX, .failures = 1, .error = ENOSPC, .torn = true};
    struct sr_log_disk disk = disk_of(&faulty);
    struct sr_raftlog_state found;
    struct sr_raftlog *log = NULL;
    char why[128] = "";

    start_empty();
    assert_int_equal(fx_open(&disk, SEGMENT_BYTES, &log, &found, &err), SR_OK);
    assert_int_equal(sr_raftlog_set_vote(log, 1, 0, &err), SR_OK);
    fx_append(log, &model, 3000);
    faulty.nth = faulty.calls + 1;
    assert_int_equal(sr_raftlog_sync(log, &err), SR_NO_SPACE);
    fx_truncate(log, &model, 1);
    fx_append(log, &model, 10);
    assert_int_equal(sr_raftlog_sync(log, &err), SR_OK);
    sr_raftlog_close(log);
    if (fx_open(&fx_disk_fast, SEGMENT_BYTES, &log, &found, &err) != SR_OK) {
        fail_msg("%s", err.text);
    }
    if (!fx_matches(log, &found, &model, why)) {
        fail_msg("%s", why);
    }
    assert_int_equal(found.dropped_bytes, 0);
    sr_raftlog_close(log);
}

/* Room for a small segment only. */
static int small_write(void *arg, int fd, const void *data, size_t size, uint64_t offset)
{
    (void)arg;
    if (offset + size > (size_t)400 * 1024) {
        return -ENOSPC;
    }
    return sr_log_disk_real.write(NULL, fd, data, size, offset);
}

/* A node must be able to start on a full disk, or it could never be told to free some. */
static void an_almost_full_disk_gets_a_small_segment(void **state)
{
    (void)state;
    static struct fx_model model = {.first = 1, .term = 1};
    struct sr_log_disk disk = fx_disk_fast;
    struct sr_raftlog_state found;
    struct sr_raftlog *log = NULL;
    char why[128] = "";

    disk.write = small_write;
    start_empty();
    assert_int_equal(fx_open(&disk, 1 << 20, &log, &found, &err), SR_OK);
    assert_in_range(sr_raftlog_disk_bytes(log), 4096, 400 * 1024);
    assert_int_equal(sr_raftlog_set_vote(log, 1, 0, &err), SR_OK);
    int status = SR_OK;
    while (status == SR_OK) {
        struct fx_model durable = model;
        fx_append(log, &model, 10000);
        status = sr_raftlog_sync(log, &err);
        model = status == SR_OK ? model : durable;
    }
    assert_int_equal(status, SR_NO_SPACE); /* only once that one is full */
    assert_in_range(model.last, 5, 40);
    sr_raftlog_close(log);
    assert_int_equal(fx_open(&fx_disk_fast, 1 << 20, &log, &found, &err), SR_OK);
    if (!fx_matches(log, &found, &model, why)) {
        fail_msg("%s", why);
    }
    sr_raftlog_close(log);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_call_fails_once),
        cmocka_unit_test(every_write_finds_no_space),
        cmocka_unit_test(a_full_disk_at_sync_is_final),
        cmocka_unit_test(a_smaller_group_follows_one_without_space),
        cmocka_unit_test(an_almost_full_disk_gets_a_small_segment),
    };
    return cmocka_run_group_tests(tests, fx_set_up, fx_tear_down);
}
