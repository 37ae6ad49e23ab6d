/* SPDX-License-Identifier: Apache-2.0
 *
 * Damage: every byte flipped, every sector lost, files missing, exchanged, repeated, cut, or put
 * back from earlier. The log either refuses to open, says why and changes nothing, or holds
 * exactly what was synced. It never holds less in silence.
 */
#include "tests/unit/raftlog/fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/check.h"

#define SEGMENT_BYTES 8192
#define SECTOR        512

static struct sr_err err;
static struct fx_image good; /* a log of a few segments */
static struct fx_model model;
static struct fx_image earlier; /* the same log, some entries and an opening before */
static char newest[32];
static size_t last_frame; /* offset of it in the newest segment */
static size_t last_frame_end;

static struct sr_raftlog *must_open(struct sr_raftlog_state *state)
{
    struct sr_raftlog *log = NULL;
    if (fx_open(&fx_disk_fast, SEGMENT_BYTES, &log, state, &err) != SR_OK) {
        fail_msg("open: %s", err.text);
    }
    return log;
}

static void append(struct sr_raftlog *log, int frames)
{
    for (int i = 0; i < frames; i++) {
        fx_append(log, &model, 300 + fx_random() % 700);
        fx_append(log, &model, 20);
        sr_check(sr_raftlog_sync(log, &err) == SR_OK);
    }
}

/* The end of what was written to @file, in whole sectors. */
static size_t end_of(const struct fx_file *file)
{
    size_t end = file->size;
    while (end > 0 && file->data[end - 1] == 0) {
        end--;
    }
    return (end + SECTOR - 1) / SECTOR * SECTOR;
}

static int make_log(void **state)
{
    struct sr_raftlog_state found;
    struct fx_image nothing = {0};
    struct fx_image before_last;
    int status = 0;

    fx_set_up(state);
    fx_image_write(&nothing, fx_dir);
    model.first = 1;
    struct sr_raftlog *log = must_open(&found);
    model.term = 3;
    model.voted_for = 2;
    sr_check(sr_raftlog_set_vote(log, 3, 2, &err) == SR_OK);
    append(log, 24);
    sr_raftlog_close(log);
    fx_image_read(&earlier, fx_dir);
    log = must_open(&found);
    fx_truncate(log, &model, model.last - 2);
    append(log, 3);
    sr_check(sr_raftlog_release(log, 20, &err) == SR_OK);
    model.first = 21;
    fx_put_manifest(log, &model, &err, &status);
    sr_check(status == SR_OK);
    append(log, 1);
    fx_image_read(&before_last, fx_dir);
    fx_append(log, &model, 1300);
    sr_check(sr_raftlog_sync(log, &err) == SR_OK);
    model.term = 4; /* so that the slots of the vote differ */
    model.voted_for = 1;
    sr_check(sr_raftlog_set_vote(log, 4, 1, &err) == SR_OK);
    sr_raftlog_close(log);
    fx_image_read(&good, fx_dir);
    for (size_t i = 0; i < good.count; i++) {
        struct fx_file *file = &good.files[i];
        if (strstr(file->name, ".seg") != NULL && strcmp(file->name, newest) > 0) {
            snprintf(newest, sizeof(newest), "%s", file->name);
        }
    }
    last_frame = end_of(fx_image_find(&before_last, newest));
    last_frame_end = end_of(fx_image_find(&good, newest));
    sr_check(last_frame_end - last_frame == 3 * SECTOR);
    fx_image_close(&before_last);
    return 0;
}

static int drop_log(void **state)
{
    fx_image_close(&good);
    fx_image_close(&earlier);
    return fx_tear_down(state);
}

/* ---- What may happen ---- */

static bool is_refusal(int status)
{
    return status == SR_CORRUPT || status == SR_FORMAT || status == SR_KEY;
}

/* @image NULL: not to be checked. */
static void expect_unchanged(const struct fx_image *image, const char *what)
{
    struct fx_image now;
    if (image == NULL) {
        return;
    }
    fx_image_read(&now, fx_dir);
    bool equal = fx_image_equal(&now, image);
    fx_image_close(&now);
    if (!equal) {
        fail_msg("%s: refused, but changed the disk", what);
    }
}

/* Open the log with one file of it damaged. Returns whether it was refused; otherwise it holds
 * what was synced. @may_lack_last: or lacks the last frame. */
static bool refused(const struct fx_image *damaged, bool may_lack_last, const char *what)
{
    struct sr_raftlog *log = NULL;
    struct sr_raftlog_state found;
    struct sr_buf manifest = {0};
    char why[128] = "";

    int status = fx_open(&fx_disk_fast, SEGMENT_BYTES, &log, &found, &err);
    if (status != SR_OK) {
        if (!is_refusal(status) || strlen(err.text) < 20) {
            fail_msg("%s: status %d, %s", what, status, err.text);
        }
        expect_unchanged(damaged, what);
        return true;
    }
    status = sr_raftlog_get_manifest(log, &manifest, &err);
    sr_buf_close(&manifest);
    if (is_refusal(status)) {
        sr_raftlog_close(log);
        return true;
    }
    bool matches = fx_matches(log, &found, &model, why);
    if (!matches && may_lack_last && found.last_index + 1 == model.last) {
        model.last--;
        matches = fx_matches(log, &found, &model, why);
        model.last++;
    }
    sr_raftlog_close(log);
    if (!matches) {
        fail_msg("%s: opened, but: %s", what, why);
    }
    return false;
}

static void put_bytes(const char *name, size_t offset, const uint8_t *data, size_t size)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/%s", fx_dir, name);
    int fd = open(path, O_WRONLY);
    sr_check(fd >= 0 && pwrite(fd, data, size, (off_t)offset) == (ssize_t)size);
    close(fd);
}

/* ---- Bytes and sectors ---- */

static void flip(const struct fx_file *file, size_t at)
{
    char what[96];
    uint8_t byte = file->data[at] ^ (uint8_t)(1U << (fx_random() % 8));
    snprintf(what, sizeof(what), "%s: flipped byte %zu", file->name, at);
    put_bytes(file->name, at, &byte, 1);
    bool was_refused = refused(NULL, false, what);
    if (!was_refused && (strstr(file->name, ".seg") == NULL ||
                         (strcmp(file->name, newest) == 0 && at < last_frame_end + SECTOR))) {
        /* Only what a successor has declared over may change unseen, or what looks like the
         * remains of a write that was never synced. */
        fail_msg("%s: not noticed", what);
    }
    if (was_refused && strcmp(file->name, "manifest") != 0) {
        put_bytes(file->name, at, &file->data[at], 1);
    } else {
        fx_image_write(&good, fx_dir);
    }
}

static void every_byte_flipped(void **state)
{
    (void)state;
    fx_image_write(&good, fx_dir);
    for (size_t i = 0; i < good.count; i++) {
        const struct fx_file *file = &good.files[i];
        size_t used = end_of(file);
        for (size_t at = 0; at < file->size; at += at < used ? 1 : 13) {
            flip(file, at);
        }
    }
    assert_false(refused(NULL, false, "put right again"));
}

static void every_sector_lost(void **state)
{
    (void)state;
    static const uint8_t zeros[SECTOR];
    for (size_t i = 0; i < good.count; i++) {
        const struct fx_file *file = &good.files[i];
        for (size_t at = 0; at < end_of(file); at += SECTOR) {
            char what[96];
            bool last = strcmp(file->name, newest) == 0 && at >= last_frame;
            size_t size = file->size - at < SECTOR ? file->size - at : SECTOR;
            fx_image_write(&good, fx_dir);
            put_bytes(file->name, at, zeros, size);
            snprintf(what, sizeof(what), "%s: lost sector at %zu", file->name, at);
            bool was_refused = refused(NULL, last, what);
            if (strcmp(file->name, newest) == 0) {
                /* The last frame without a sector is what a power cut leaves. */
                assert_int_equal(was_refused, !last);
            }
        }
    }
}

/* Two sectors exchanged, anywhere in a segment. */
static void sectors_exchanged(void **state)
{
    (void)state;
    for (size_t i = 0; i < good.count; i++) {
        const struct fx_file *file = &good.files[i];
        for (size_t a = 0; a + SECTOR < end_of(file); a += SECTOR) {
            size_t b = a + SECTOR * (1 + fx_random() % ((end_of(file) - a) / SECTOR - 1));
            char what[96];
            if (end_of(file) > file->size) {
                continue; /* the manifest is not made of sectors */
            }
            fx_image_write(&good, fx_dir);
            put_bytes(file->name, a, file->data + b, SECTOR);
            put_bytes(file->name, b, file->data + a, SECTOR);
            snprintf(what, sizeof(what), "%s: exchanged %zu and %zu", file->name, a, b);
            assert_true(refused(NULL, false, what));
        }
    }
}

/* ---- Files ---- */

static void try_image(struct fx_image *image, const char *what, bool must_refuse)
{
    fx_image_write(image, fx_dir);
    bool was_refused = refused(image, false, what);
    if (must_refuse && !was_refused) {
        fail_msg("%s: not noticed", what);
    }
    fx_image_close(image);
}

static void a_file_is_missing(void **state)
{
    (void)state;
    for (size_t i = 0; i < good.count; i++) {
        struct fx_image image;
        char what[64];
        if (strcmp(good.files[i].name, "manifest") == 0) {
            continue; /* SR_NOT_FOUND: whether there must be one is for the caller to know */
        }
        fx_image_copy(&image, &good);
        snprintf(what, sizeof(what), "without %s", good.files[i].name);
        fx_image_remove(&image, good.files[i].name);
        try_image(&image, what, true);
    }
}

static void a_file_is_cut_or_longer(void **state)
{
    (void)state;
    static const uint8_t more[SECTOR] = {1};
    for (size_t i = 0; i < good.count; i++) {
        for (size_t size = 0; size < good.files[i].size; size += 128) {
            struct fx_image image;
            char what[64];
            fx_image_copy(&image, &good);
            struct fx_file *file = fx_image_find(&image, good.files[i].name);
            file->size = size;
            snprintf(what, sizeof(what), "%s cut to %zu", file->name, size);
            /* An older segment may lack what is after its end. */
            bool past = strstr(file->name, ".seg") != NULL && strcmp(file->name, newest) != 0 &&
                        size >= end_of(&good.files[i]);
            try_image(&image, what, !past);
        }
        struct fx_image image;
        fx_image_copy(&image, &good);
        struct fx_file *file = fx_image_find(&image, good.files[i].name);
        bool old_segment = strstr(file->name, ".seg") != NULL && strcmp(file->name, newest) != 0;
        fx_file_write(file, file->size, more, sizeof(more));
        try_image(&image, "a file that is longer", !old_segment);
    }
}

static void segments_are_exchanged_or_repeated(void **state)
{
    (void)state;
    for (size_t i = 0; i < good.count; i++) {
        for (size_t k = 0; k < good.count; k++) {
            struct fx_image image;
            char what[96];
            if (i == k || strcmp(good.files[k].name, "manifest") == 0) {
                continue;
            }
            fx_image_copy(&image, &good);
            struct fx_file *target = &image.files[k];
            target->size = 0;
            fx_file_write(target, 0, good.files[i].data, good.files[i].size);
            snprintf(what, sizeof(what), "%s in place of %s", good.files[i].name, target->name);
            try_image(&image, what, true);
        }
    }
}

/* The newest segment again as the next one, and a stranger far beyond. */
static void there_is_a_segment_too_many(void **state)
{
    (void)state;
    unsigned long long number = strtoull(newest, NULL, 16);
    for (unsigned long long more = 1; more < 3; more++) {
        struct fx_image image;
        char name[32];
        fx_image_copy(&image, &good);
        snprintf(name, sizeof(name), "%016llx.seg", number + more);
        struct fx_file *copy = fx_image_add(&image, name);
        const struct fx_file *from = fx_image_find(&good, newest);
        fx_file_write(copy, 0, from->data, from->size);
        try_image(&image, "a segment too many", true);
    }
}

static void files_are_put_back_from_earlier(void **state)
{
    (void)state;
    for (size_t i = 0; i < earlier.count; i++) {
        struct fx_file *now = fx_image_find(&good, earlier.files[i].name);
        struct fx_image image;
        char what[64];
        if (now == NULL || (now->size == earlier.files[i].size &&
                            memcmp(now->data, earlier.files[i].data, now->size) == 0)) {
            continue;
        }
        fx_image_copy(&image, &good);
        struct fx_file *file = fx_image_find(&image, earlier.files[i].name);
        file->size = 0;
        fx_file_write(file, 0, earlier.files[i].data, earlier.files[i].size);
        snprintf(what, sizeof(what), "an earlier %s", file->name);
        try_image(&image, what, true);
    }
}

/* Within one run only the terms of entries tell that a vote was forgotten. */
static void a_vote_is_put_back_from_before_the_last_entry(void **state)
{
    (void)state;
    struct sr_raftlog_state found;
    struct fx_image before;
    struct fx_image after;
    struct fx_model saved = model;

    fx_image_write(&good, fx_dir);
    struct sr_raftlog *log = must_open(&found);
    fx_image_read(&before, fx_dir);
    model.term++;
    assert_int_equal(sr_raftlog_set_vote(log, model.term, model.voted_for, &err), SR_OK);
    append(log, 1);
    sr_raftlog_close(log);
    fx_image_read(&after, fx_dir);
    fx_file_write(fx_image_find(&after, "vote"), 0, fx_image_find(&before, "vote")->data,
                  (size_t)2 * SECTOR);
    try_image(&after, "an earlier vote", true);
    assert_non_null(strstr(err.text, "term"));
    fx_image_close(&before);
    model = saved;
}

/* Two runs that went apart from one state, as after a restore: their segments are alike in all
 * but what they hold, and in the value of the chain. */
static void a_segment_comes_from_another_history(void **state)
{
    (void)state;
    struct sr_raftlog_state found;
    struct fx_image histories[2];
    char name[32] = "";
    struct fx_model saved = model;

    for (int i = 0; i < 2; i++) {
        fx_image_write(&good, fx_dir);
        model = saved;
        struct sr_raftlog *log = must_open(&found);
        for (int k = 0; k < 3; k++) {
            fx_append(log, &model, 400);
            assert_int_equal(sr_raftlog_sync(log, &err), SR_OK);
        }
        sr_raftlog_close(log);
        sr_raftlog_close(must_open(&found)); /* the segment is over */
        fx_image_read(&histories[i], fx_dir);
    }
    snprintf(name, sizeof(name), "%016llx.seg", strtoull(newest, NULL, 16) + 1);
    struct fx_file *one = fx_image_find(&histories[0], name);
    struct fx_file *other = fx_image_find(&histories[1], name);
    assert_non_null(one);
    assert_non_null(other);
    assert_int_equal(one->size, other->size);
    fx_file_write(other, 0, one->data, one->size);
    fx_image_close(&histories[0]);
    try_image(&histories[1], "a segment of another history", true);
    model = saved;
}

/* ---- A frame that was given up ---- */

/* Writes a frame whole, keeps a copy, and says that there was no space. */
struct liar {
    bool armed;
    uint64_t offset;
    size_t size;
    uint8_t data[4096];
};

static int lying_write(void *arg, int fd, const void *data, size_t size, uint64_t offset)
{
    struct liar *liar = arg;
    int result = sr_log_disk_real.write(NULL, fd, data, size, offset);
    if (!liar->armed) {
        return result;
    }
    liar->armed = false;
    liar->offset = offset;
    liar->size = size;
    memcpy(liar->data, data, size);
    return -ENOSPC;
}

/* It is valid, for its place and in its epoch; only the frame after it knows that it was another
 * one that came before. */
static void a_frame_that_was_given_up_is_put_back(void **state)
{
    (void)state;
    static struct liar liar;
    struct sr_log_disk disk = fx_disk_fast;
    struct sr_raftlog_state found;
    struct sr_raftlog *log = NULL;
    struct fx_image image;
    struct fx_model before = model;

    disk.write = lying_write;
    disk.arg = &liar;
    fx_image_write(&good, fx_dir);
    assert_int_equal(fx_open(&disk, SEGMENT_BYTES, &log, &found, &err), SR_OK);
    append(log, 1);
    liar.armed = true;
    fx_append(log, &model, 700);
    assert_int_equal(sr_raftlog_sync(log, &err), SR_NO_SPACE);
    fx_truncate(log, &model, model.last);
    fx_append(log, &model, 700);
    assert_int_equal(sr_raftlog_sync(log, &err), SR_OK);
    append(log, 1);
    sr_raftlog_close(log);
    assert_int_equal(liar.size, 1024);
    fx_image_read(&image, fx_dir);
    assert_false(refused(NULL, false, "nothing put back"));
    struct fx_file *last = NULL;
    for (size_t i = 0; i < image.count; i++) {
        struct fx_file *file = &image.files[i];
        if (strstr(file->name, ".seg") != NULL &&
            (last == NULL || strcmp(file->name, last->name) > 0)) {
            last = file;
        }
    }
    assert_non_null(last);
    fx_file_write(last, liar.offset, liar.data, liar.size);
    try_image(&image, "a frame that was given up", true);
    assert_non_null(strstr(err.text, "does not follow"));
    model = before;
}

/* ---- Keys ---- */

static int open_as(const struct sr_keyring *keyring, uint64_t cluster_id, uint64_t member_id)
{
    struct sr_raftlog_options options = {.dir = fx_dir,
                                         .keyring = keyring,
                                         .cluster_id = cluster_id,
                                         .member_id = member_id,
                                         .segment_bytes = SEGMENT_BYTES,
                                         .disk = &fx_disk_fast};
    struct sr_raftlog *log = NULL;
    struct sr_raftlog_state found;
    int status = sr_raftlog_open(&options, &log, &found, &err);
    sr_raftlog_close(log);
    return status;
}

static void others_do_not_open_it(void **state)
{
    (void)state;
    static const uint8_t kek[SR_KEY_BYTES] = "another node's master key......";
    struct sr_keyring *other = NULL;
    char path[96];
    fx_image_write(&good, fx_dir);
    assert_int_equal(open_as(fx_keyring, CLUSTER + 1, MEMBER), SR_KEY);
    assert_int_equal(open_as(fx_keyring, CLUSTER, MEMBER + 1), SR_KEY);
    snprintf(path, sizeof(path), "%s.other", fx_dir);
    assert_int_equal(sr_keyring_create(path, kek, CLUSTER, MEMBER, &err), SR_OK);
    assert_int_equal(sr_keyring_open(path, kek, CLUSTER, MEMBER, &other, &err), SR_OK);
    assert_int_equal(open_as(other, CLUSTER, MEMBER), SR_KEY);
    sr_keyring_close(other);
    unlink(path);
    assert_int_equal(open_as(fx_keyring, CLUSTER, MEMBER), SR_OK);
}

/* Nothing of the entries is on disk in the clear. */
static void nothing_is_in_the_clear(void **state)
{
    (void)state;
    static const char text[] = "correct horse battery staple";
    struct fx_image image;
    struct fx_image nothing = {0};
    struct sr_raftlog_state found;
    fx_image_write(&nothing, fx_dir);
    struct sr_raftlog *log = must_open(&found);
    struct sr_log_entry entry = {
        .term = 1, .type = 1, .data = {(const uint8_t *)text, sizeof(text)}};
    assert_int_equal(sr_raftlog_set_vote(log, 1, 1, &err), SR_OK);
    sr_raftlog_append(log, &entry, 1);
    assert_int_equal(sr_raftlog_sync(log, &err), SR_OK);
    assert_int_equal(sr_raftlog_put_manifest(log, text, sizeof(text), &err), SR_OK);
    sr_raftlog_close(log);
    fx_image_read(&image, fx_dir);
    for (size_t i = 0; i < image.count; i++) {
        assert_null(memmem(image.files[i].data, image.files[i].size, "battery", 7));
    }
    fx_image_close(&image);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_byte_flipped),
        cmocka_unit_test(every_sector_lost),
        cmocka_unit_test(sectors_exchanged),
        cmocka_unit_test(a_file_is_missing),
        cmocka_unit_test(a_file_is_cut_or_longer),
        cmocka_unit_test(segments_are_exchanged_or_repeated),
        cmocka_unit_test(there_is_a_segment_too_many),
        cmocka_unit_test(files_are_put_back_from_earlier),
        cmocka_unit_test(a_vote_is_put_back_from_before_the_last_entry),
        cmocka_unit_test(a_segment_comes_from_another_history),
        cmocka_unit_test(a_frame_that_was_given_up_is_put_back),
        cmocka_unit_test(others_do_not_open_it),
        cmocka_unit_test(nothing_is_in_the_clear),
    };
    return cmocka_run_group_tests(tests, make_log, drop_log);
}
