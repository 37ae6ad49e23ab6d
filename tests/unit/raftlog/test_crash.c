/* SPDX-License-Identifier: Apache-2.0
 *
 * Power cuts, played through: every write, sync, rename and deletion of a run is recorded. Then,
 * for the moment after each of them, the disk is put together as a power cut may leave it: what
 * was synced is there; of what was not, any sectors, any names. The log must open, hold all that
 * it had promised and nothing else, and go on working, which is then cut again.
 */
#include "tests/unit/raftlog/fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/check.h"

#define SEGMENT_BYTES 8192
#define SECTOR        512
#define OPS_MAX       4096
#define MARKS_MAX     1024

enum op_kind { OP_WRITE, OP_SYNC, OP_SYNC_DIR, OP_RENAME, OP_UNLINK };

struct op {
    enum op_kind kind;
    char name[32];
    char to[32];
    uint64_t offset;
    uint8_t *data;
    size_t size;
};

/* What the log had promised when so many operations were done. */
struct mark {
    size_t ops;
    struct fx_model model;
};

struct recording {
    struct fx_image start; /* durable before the first operation */
    struct op ops[OPS_MAX];
    size_t op_count;
    struct mark *marks;
    size_t mark_count;
};

static struct sr_err err;

/* ---- The recording disk ---- */

static struct op *add_op(struct recording *recording, enum op_kind kind)
{
    sr_check(recording->op_count < OPS_MAX);
    struct op *op = &recording->ops[recording->op_count++];
    memset(op, 0, sizeof(*op));
    op->kind = kind;
    return op;
}

static void name_of(int fd, char name[32])
{
    char link[64];
    char path[256];
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, sizeof(path) - 1);
    sr_check(size > 0);
    path[size] = '\0';
    snprintf(name, 32, "%.31s", strrchr(path, '/') + 1);
}

static int record_write(void *arg, int fd, const void *data, size_t size, uint64_t offset)
{
    struct op *op = add_op(arg, OP_WRITE);
    name_of(fd, op->name);
    op->offset = offset;
    op->size = size;
    op->data = sr_memdup(data, size);
    return sr_log_disk_real.write(NULL, fd, data, size, offset);
}

static int record_sync(void *arg, int fd)
{
    struct stat stat_;
    sr_check(fstat(fd, &stat_) == 0);
    struct op *op = add_op(arg, S_ISDIR(stat_.st_mode) ? OP_SYNC_DIR : OP_SYNC);
    name_of(fd, op->name);
    return 0;
}

static int record_rename(void *arg, int dir_fd, const char *from, const char *to)
{
    struct op *op = add_op(arg, OP_RENAME);
    snprintf(op->name, sizeof(op->name), "%s", from);
    snprintf(op->to, sizeof(op->to), "%s", to);
    return sr_log_disk_real.rename(NULL, dir_fd, from, to);
}

static int record_unlink(void *arg, int dir_fd, const char *name)
{
    struct op *op = add_op(arg, OP_UNLINK);
    snprintf(op->name, sizeof(op->name), "%s", name);
    return sr_log_disk_real.unlink(NULL, dir_fd, name);
}

static struct sr_log_disk recording_disk(struct recording *recording)
{
    return (struct sr_log_disk){.write = record_write,
                                .sync = record_sync,
                                .rename = record_rename,
                                .unlink = record_unlink,
                                .arg = recording};
}

static void mark(struct recording *recording, const struct fx_model *model)
{
    if (recording->marks == NULL) {
        recording->marks = sr_calloc(MARKS_MAX, sizeof(*recording->marks));
    }
    sr_check(recording->mark_count < MARKS_MAX);
    recording->marks[recording->mark_count++] =
        (struct mark){.ops = recording->op_count, .model = *model};
}

static void recording_close(struct recording *recording)
{
    for (size_t i = 0; i < recording->op_count; i++) {
        sr_free(recording->ops[i].data);
    }
    fx_image_close(&recording->start);
    sr_free(recording->marks);
    memset(recording, 0, sizeof(*recording));
}

/* ---- The disk after a cut ---- */

/* How much of what was not synced survives. */
enum luck { LUCK_NONE, LUCK_ALL, LUCK_RANDOM, LUCK_NAMES_ONLY, LUCK_DATA_ONLY };

static bool lucky(enum luck luck, bool name)
{
    switch (luck) {
    case LUCK_NONE:
        return false;
    case LUCK_ALL:
        return true;
    case LUCK_NAMES_ONLY:
        return name;
    case LUCK_DATA_ONLY:
        return !name;
    default:
        return fx_random() % 2 == 0;
    }
}

/* Whether the write or name change @at was synced before operation @cut. */
static bool was_synced(const struct recording *recording, size_t at, size_t cut)
{
    const struct op *op = &recording->ops[at];
    for (size_t i = at + 1; i < cut; i++) {
        const struct op *later = &recording->ops[i];
        if (op->kind == OP_WRITE && later->kind == OP_SYNC && strcmp(later->name, op->name) == 0) {
            return true;
        }
        if (op->kind != OP_WRITE && later->kind == OP_SYNC_DIR) {
            return true;
        }
    }
    return false;
}

/* Apply a write that may have reached the disk in part, by whole sectors. */
static void apply_write(struct fx_file *file, const struct op *op, enum luck luck, bool synced)
{
    static const uint8_t zeros[SECTOR];
    size_t at = 0;
    while (at < op->size) {
        size_t room = SECTOR - (op->offset + at) % SECTOR;
        size_t part = op->size - at < room ? op->size - at : room;
        if (synced || lucky(luck, false)) {
            fx_file_write(file, op->offset + at, op->data + at, part);
        } else if (op->offset + at + part > file->size) {
            /* The size may be there without the data. */
            if (lucky(luck, true)) {
                fx_file_write(file, op->offset + at, zeros, part);
            }
        }
        at += part;
    }
}

/* The image as a cut after @cut operations may leave it. The start of a file's life and the
 * deletion of its name are one with what else happens to names: durable by a directory's sync. */
static void build(const struct recording *recording, size_t cut, enum luck luck,
                  struct fx_image *ret)
{
    fx_image_copy(ret, &recording->start);
    for (size_t i = 0; i < cut; i++) {
        const struct op *op = &recording->ops[i];
        bool synced = was_synced(recording, i, cut);
        struct fx_file *file = fx_image_find(ret, op->name);
        if (op->kind == OP_WRITE) {
            file = file != NULL ? file : fx_image_add(ret, op->name);
            apply_write(file, op, luck, synced);
        } else if (op->kind == OP_UNLINK && file != NULL && (synced || lucky(luck, true))) {
            fx_image_remove(ret, op->name);
        } else if (op->kind == OP_UNLINK && file != NULL) {
            /* The name stays, and with it the file; a new one of that name replaces it. */
            continue;
        } else if (op->kind == OP_RENAME && file != NULL && (synced || lucky(luck, true))) {
            fx_image_remove(ret, op->to);
            file = fx_image_find(ret, op->name);
            snprintf(file->name, sizeof(file->name), "%s", op->to);
        }
    }
}

/* A file whose first write and name were never synced may be missing as a whole. */
static void lose_new_names(const struct recording *recording, size_t cut, enum luck luck,
                           struct fx_image *image)
{
    size_t since = 0;
    for (size_t i = 0; i < cut; i++) {
        since = recording->ops[i].kind == OP_SYNC_DIR ? i : since;
    }
    for (size_t i = 0; i < cut; i++) {
        const struct op *op = &recording->ops[i];
        bool first = op->kind == OP_WRITE && op->offset == 0 && i >= since;
        for (size_t k = 0; k < i && first; k++) {
            first = strcmp(recording->ops[k].name, op->name) != 0 ||
                    recording->ops[k].kind == OP_UNLINK;
        }
        for (size_t k = 0; k < recording->start.count && first; k++) {
            first = strcmp(recording->start.files[k].name, op->name) != 0;
        }
        if (first && !lucky(luck, true)) {
            fx_image_remove(image, op->name);
        }
    }
}

/* ---- What must be there ---- */

static const struct mark *mark_before(const struct recording *recording, size_t cut)
{
    const struct mark *found = &recording->marks[0];
    for (size_t i = 0; i < recording->mark_count && recording->marks[i].ops <= cut; i++) {
        found = &recording->marks[i];
    }
    return found;
}

/* After a cut the log must be as it was promised last, or as the call in flight would make it. */
static const struct fx_model *expect_one_of(struct sr_raftlog *log,
                                            const struct sr_raftlog_state *state,
                                            const struct recording *recording, size_t cut)
{
    char why[2][128] = {"", ""};
    const struct mark *before = mark_before(recording, cut);
    const struct mark *after = before + 1;
    if (fx_matches(log, state, &before->model, why[0])) {
        return &before->model;
    }
    if (after < recording->marks + recording->mark_count &&
        fx_matches(log, state, &after->model, why[1])) {
        return &after->model;
    }
    fail_msg("cut after %zu: neither as before (%s) nor as after (%s)", cut, why[0], why[1]);
    return NULL;
}

/* Go on with the log that was opened, with the recording disk, and close it. */
static void go_on(struct sr_raftlog *log, struct fx_model *model, struct recording *recording)
{
    model->term++;
    assert_int_equal(sr_raftlog_set_vote(log, model->term, 9, &err), SR_OK);
    model->voted_for = 9;
    if (recording != NULL) {
        mark(recording, model);
    }
    for (int i = 0; i < 3; i++) {
        fx_append(log, model, 700);
        assert_int_equal(sr_raftlog_sync(log, &err), SR_OK);
        if (recording != NULL) {
            mark(recording, model);
        }
    }
    sr_raftlog_close(log);
}

static struct fx_model *open_after_cut(const struct recording *recording, size_t cut,
                                       enum luck luck, struct recording *again,
                                       struct sr_raftlog **ret_log)
{
    struct fx_image image;
    struct sr_raftlog_state state;
    struct sr_log_disk disk = again != NULL ? recording_disk(again) : fx_disk_fast;

    build(recording, cut, luck, &image);
    lose_new_names(recording, cut, luck, &image);
    fx_image_write(&image, fx_dir);
    if (again != NULL) {
        again->start = image;
    } else {
        fx_image_close(&image);
    }
    int status = fx_open(&disk, SEGMENT_BYTES, ret_log, &state, &err);
    if (status != SR_OK) {
        fail_msg("cut after %zu of %zu operations, luck %d: %s", cut, recording->op_count, luck,
                 err.text);
    }
    struct fx_model *model =
        sr_memdup(expect_one_of(*ret_log, &state, recording, cut), sizeof(*model));
    model->first = state.first_index;
    return model;
}

static void reopen_and_expect(const struct fx_model *model)
{
    char why[128] = "";
    struct sr_raftlog *log = NULL;
    struct sr_raftlog_state state;
    assert_int_equal(fx_open(&fx_disk_fast, SEGMENT_BYTES, &log, &state, &err), SR_OK);
    if (!fx_matches(log, &state, model, why)) {
        fail_msg("after going on: %s", why);
    }
    sr_raftlog_close(log);
}

/* Cut @recording after @cut operations; when @deep, cut the recovery again, everywhere. */
static void cut_once(const struct recording *recording, size_t cut, enum luck luck, bool deep)
{
    struct sr_raftlog *log = NULL;
    static struct recording again;
    struct recording *record = deep ? &again : NULL;
    struct fx_model *model = open_after_cut(recording, cut, luck, record, &log);

    if (deep) {
        mark(record, model); /* what is found at open is promised from then on */
        record->marks[0].ops = 0;
    }
    go_on(log, model, record);
    reopen_and_expect(model);
    sr_free(model);
    for (size_t second = 0; deep && second <= again.op_count; second++) {
        cut_once(&again, second, LUCK_RANDOM, false);
    }
    if (deep) {
        recording_close(&again);
    }
}

/* ---- The run that is cut ---- */

struct run {
    struct recording recording;
    struct sr_raftlog *log;
    struct fx_model model;
};

static void run_sync(struct run *run)
{
    assert_int_equal(sr_raftlog_sync(run->log, &err), SR_OK);
    mark(&run->recording, &run->model);
}

static void run_step(struct run *run, int step)
{
    int status = SR_OK;
    struct fx_model *model = &run->model;
    for (uint64_t i = fx_random() % 4; i > 0; i--) {
        fx_append(run->log, model, fx_random() % 1800);
    }
    if (step % 5 == 4 && model->last > model->first) {
        fx_truncate(run->log, model, model->last - fx_random() % 2);
        fx_append(run->log, model, 40);
    }
    run_sync(run);
    if (step % 3 == 1) {
        model->term++;
        model->voted_for = fx_random() % 5;
        status = sr_raftlog_set_vote(run->log, model->term, model->voted_for, &err);
        mark(&run->recording, model);
    } else if (step % 7 == 3) {
        fx_put_manifest(run->log, model, &err, &status);
        mark(&run->recording, model);
    } else if (step % 7 == 5) {
        status = sr_raftlog_prepare(run->log, &err);
        mark(&run->recording, model);
    } else if (step % 7 == 6) {
        model->first = model->last > model->first + 3 ? model->last - 2 : model->first;
        mark(&run->recording, model); /* from here on the earlier ones may be gone */
        status = sr_raftlog_release(run->log, model->first - 1, &err);
        mark(&run->recording, model);
    }
    assert_int_equal(status, SR_OK);
}

static void run_reset(struct run *run)
{
    uint64_t index = run->model.last + 10;
    assert_int_equal(sr_raftlog_reset(run->log, index, &err), SR_OK);
    run->model.last = index;
    run->model.first = index + 1;
    mark(&run->recording, &run->model);
}

static void record_run(struct run *run, uint64_t seed, int steps)
{
    struct fx_image nothing = {0};
    struct sr_raftlog_state state;
    struct sr_log_disk disk = recording_disk(&run->recording);

    memset(run, 0, sizeof(*run));
    fx_seed(seed);
    fx_image_write(&nothing, fx_dir);
    run->model.first = 1;
    mark(&run->recording, &run->model);
    assert_int_equal(fx_open(&disk, SEGMENT_BYTES, &run->log, &state, &err), SR_OK);
    mark(&run->recording, &run->model);
    for (int step = 0; step < steps; step++) {
        run_step(run, step);
        if (step == steps * 3 / 4) {
            run_reset(run);
        }
        if (step == steps / 2) { /* recovery is part of the run */
            sr_raftlog_close(run->log);
            assert_int_equal(fx_open(&disk, SEGMENT_BYTES, &run->log, &state, &err), SR_OK);
            mark(&run->recording, &run->model);
        }
    }
    sr_raftlog_close(run->log);
}

static void every_cut_leaves_what_was_promised(void **state)
{
    (void)state;
    static struct run run;
    for (uint64_t seed = 1; seed <= 2; seed++) {
        record_run(&run, seed, 40);
        assert_true(run.recording.op_count > 150);
        for (size_t cut = 0; cut <= run.recording.op_count; cut++) {
            cut_once(&run.recording, cut, LUCK_NONE, false);
            cut_once(&run.recording, cut, LUCK_ALL, false);
            cut_once(&run.recording, cut, LUCK_NAMES_ONLY, false);
            cut_once(&run.recording, cut, LUCK_DATA_ONLY, false);
            for (int i = 0; i < 4; i++) {
                cut_once(&run.recording, cut, LUCK_RANDOM, false);
            }
        }
        recording_close(&run.recording);
    }
}

static void a_recovery_may_be_cut_too(void **state)
{
    (void)state;
    static struct run run;
    record_run(&run, 7, 24);
    for (size_t cut = 0; cut <= run.recording.op_count; cut += 3) {
        cut_once(&run.recording, cut, cut % 2 == 0 ? LUCK_RANDOM : LUCK_NONE, true);
    }
    recording_close(&run.recording);
}

/* One frame of 7 sectors, and all 128 subsets of them. */
static void every_subset_of_a_torn_frame(void **state)
{
    (void)state;
    static struct run run;
    struct fx_image nothing = {0};
    struct sr_raftlog_state found;
    struct sr_log_disk disk = recording_disk(&run.recording);

    memset(&run, 0, sizeof(run));
    fx_image_write(&nothing, fx_dir);
    run.model.first = 1;
    assert_int_equal(fx_open(&disk, SEGMENT_BYTES, &run.log, &found, &err), SR_OK);
    run.model.term = 1;
    assert_int_equal(sr_raftlog_set_vote(run.log, 1, 0, &err), SR_OK);
    fx_append(run.log, &run.model, 600);
    run_sync(&run);
    size_t before = run.recording.op_count;
    fx_append(run.log, &run.model, 7 * SECTOR - 200);
    run_sync(&run);
    const struct op *frame = &run.recording.ops[before];
    assert_int_equal(frame->kind, OP_WRITE);
    assert_int_equal(frame->size, 7 * SECTOR);
    sr_raftlog_close(run.log);
    for (unsigned subset = 0; subset < 128; subset++) {
        struct fx_image image;
        build(&run.recording, before, LUCK_ALL, &image);
        struct fx_file *file = fx_image_find(&image, frame->name);
        for (unsigned i = 0; i < 7; i++) {
            if ((subset >> i & 1) != 0) {
                fx_file_write(file, frame->offset + i * SECTOR, frame->data + i * SECTOR, SECTOR);
            }
        }
        fx_image_write(&image, fx_dir);
        fx_image_close(&image);
        assert_int_equal(fx_open(&fx_disk_fast, SEGMENT_BYTES, &run.log, &found, &err), SR_OK);
        struct fx_model *model = &run.recording.marks[subset == 127].model;
        char why[128] = "";
        if (!fx_matches(run.log, &found, model, why)) {
            fail_msg("subset %x: %s", subset, why);
        }
        assert_int_equal(found.dropped_bytes > 0, subset != 0 && subset != 127);
        go_on(run.log, model, NULL);
        reopen_and_expect(model);
        model->term--; /* the next subset begins where this one did */
        model->voted_for = 0;
        model->last -= 3;
    }
    recording_close(&run.recording);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_cut_leaves_what_was_promised),
        cmocka_unit_test(a_recovery_may_be_cut_too),
        cmocka_unit_test(every_subset_of_a_torn_frame),
    };
    return cmocka_run_group_tests(tests, fx_set_up, fx_tear_down);
}
