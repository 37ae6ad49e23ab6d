/* SPDX-License-Identifier: Apache-2.0
 *
 * A data directory is born once, belongs to one member, and never begins anew.
 */
#include "tests/unit/cmocka.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/crc32.h"
#include "node/datadir.h"

struct fixture {
    char dir[64];
    char data_dir[96];
    char kek_file[96];
    struct sr_config_member member;
    struct sr_config config;
};

static void write_file(const char *path, const char *text, mode_t mode)
{
    unlink(path);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, mode);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

static void write_in(const struct fixture *fixture, const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", fixture->data_dir, name);
    write_file(path, text, 0600);
}

static void read_in(const struct fixture *fixture, const char *name, char *out, size_t size)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", fixture->data_dir, name);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    size_t got = fread(out, 1, size - 1, file);
    out[got] = '\0';
    fclose(file);
}

static int set_up(void **state)
{
    struct fixture *fixture = sr_zalloc(sizeof(*fixture));
    snprintf(fixture->dir, sizeof(fixture->dir), "/tmp/datadir-XXXXXX");
    assert_non_null(mkdtemp(fixture->dir));
    snprintf(fixture->data_dir, sizeof(fixture->data_dir), "%s/data", fixture->dir);
    snprintf(fixture->kek_file, sizeof(fixture->kek_file), "%s/kek", fixture->dir);
    write_file(fixture->kek_file,
               "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n", 0400);
    fixture->member = (struct sr_config_member){.name = (char *)"n1", .id = 11};
    fixture->config = (struct sr_config){
        .name = (char *)"n1", .data_dir = fixture->data_dir, .kek_file = fixture->kek_file};
    fixture->config.cluster.id = 77;
    fixture->config.cluster.members = &fixture->member;
    fixture->config.cluster.members_count = 1;
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    char command[128];
    snprintf(command, sizeof(command), "rm -rf '%s'", fixture->dir);
    assert_int_equal(system(command), 0);
    sr_free(fixture);
    return 0;
}

static void open_and_close(struct fixture *fixture, bool mark)
{
    struct sr_datadir dir;
    struct sr_err err = {0};
    if (sr_datadir_open(&fixture->config, &dir, &err) != SR_OK) {
        fail_msg("%s", err.text);
    }
    if (mark) {
        assert_int_equal(sr_datadir_mark_started(&dir, &err), SR_OK);
        write_in(fixture, "log/vote", "x");
        write_in(fixture, "state/data.mdb", "x");
    }
    sr_datadir_close(&dir);
}

static void refused(struct fixture *fixture, int status, const char *words)
{
    struct sr_datadir dir;
    struct sr_err err = {0};
    assert_int_equal(sr_datadir_open(&fixture->config, &dir, &err), status);
    if (strstr(err.text, words) == NULL) {
        fail_msg("'%s' is not in: %s", words, err.text);
    }
}

static void one_of_a_removed_member_stays_closed(void **state)
{
    struct fixture *fixture = *state;
    struct sr_datadir dir;
    struct sr_err err = {0};
    open_and_close(fixture, true);
    assert_int_equal(sr_datadir_open(&fixture->config, &dir, &err), SR_OK);
    assert_int_equal(sr_datadir_mark_removed(&dir, &err), SR_OK);
    sr_datadir_close(&dir);
    refused(fixture, SR_REMOVED, "was removed from the cluster");
    refused(fixture, SR_REMOVED, "empty data_dir");
}

static void it_is_born_and_opens_again(void **state)
{
    struct fixture *fixture = *state;
    open_and_close(fixture, false);
    open_and_close(fixture, true);
    struct sr_datadir dir;
    struct sr_err err = {0};
    assert_int_equal(sr_datadir_open(&fixture->config, &dir, &err), SR_OK);
    assert_true(dir.started);
    struct stat info;
    assert_int_equal(stat(fixture->data_dir, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0700);
    sr_datadir_close(&dir);
}

static void it_is_used_by_one_node_at_a_time(void **state)
{
    struct fixture *fixture = *state;
    struct sr_datadir dir;
    struct sr_err err = {0};
    assert_int_equal(sr_datadir_open(&fixture->config, &dir, &err), SR_OK);
    refused(fixture, SR_REFUSED, "in use by another strongroomd");
    sr_datadir_close(&dir);
    open_and_close(fixture, false);
}

static void it_belongs_to_one_cluster_and_member(void **state)
{
    struct fixture *fixture = *state;
    open_and_close(fixture, false);
    fixture->config.cluster.id = 78;
    refused(fixture, SR_REFUSED, "belongs to another cluster");
    fixture->config.cluster.id = 77;
    fixture->member.id = 12;
    refused(fixture, SR_REFUSED, "belongs to another member");
}

/* @lines with their checksum. */
static void write_format(const struct fixture *fixture, const char *lines)
{
    char text[512];
    snprintf(text, sizeof(text), "%scrc32=%08x\n", lines, sr_crc32(lines, strlen(lines)));
    write_in(fixture, "format", text);
}

static void a_newer_format_is_refused(void **state)
{
    struct fixture *fixture = *state;
    open_and_close(fixture, false);
    write_in(fixture, "format", "strongroom data directory\nformat=2\nnew things\n");
    refused(fixture, SR_FORMAT, "written by a newer version");
    write_format(fixture, "strongroom data directory\nformat=1\ncompatible=9\nincompatible=4\n"
                          "cluster=4d\nmember=b\nstarted=1\n");
    refused(fixture, SR_FORMAT, "features 0x4");
    write_in(fixture, "format", "something else\n");
    refused(fixture, SR_FORMAT, "is not a Strongroom format file");
}

/* A newer version may write what this one may pass over; it is not lost by going back and forth. */
static void compatible_features_are_kept(void **state)
{
    struct fixture *fixture = *state;
    char text[512];
    open_and_close(fixture, false);
    write_format(fixture, "strongroom data directory\nformat=1\ncompatible=a9\nincompatible=0\n"
                          "cluster=4d\nmember=b\nstarted=0\n");
    open_and_close(fixture, true);
    read_in(fixture, "format", text, sizeof(text));
    assert_non_null(strstr(text, "\ncompatible=a9\n"));
    assert_non_null(strstr(text, "\nstarted=1\n"));
}

/* One bit of any byte: never taken for what it was, nor for a new beginning. */
static void a_flipped_format_file_is_refused(void **state)
{
    struct fixture *fixture = *state;
    char text[512];
    open_and_close(fixture, true);
    read_in(fixture, "format", text, sizeof(text));
    for (size_t at = 0; text[at] != '\0'; at++) {
        for (int bit = 0; bit < 7; bit++) {
            struct sr_datadir dir;
            struct sr_err err = {0};
            text[at] ^= (char)(1 << bit);
            write_in(fixture, "format", text);
            int status = sr_datadir_open(&fixture->config, &dir, &err);
            assert_true(status == SR_FORMAT || status == SR_CORRUPT);
            text[at] ^= (char)(1 << bit);
        }
    }
    write_in(fixture, "format", text);
    open_and_close(fixture, true);
}

/* Cut anywhere, the format file is an error and never a new beginning. */
static void a_cut_format_file_is_refused(void **state)
{
    struct fixture *fixture = *state;
    char text[512];
    open_and_close(fixture, true);
    read_in(fixture, "format", text, sizeof(text));
    size_t whole = strlen(text);
    for (size_t size = 0; size < whole; size++) {
        char cut[512];
        memcpy(cut, text, size);
        cut[size] = '\0';
        write_in(fixture, "format", cut);
        struct sr_datadir dir;
        struct sr_err err = {0};
        int status = sr_datadir_open(&fixture->config, &dir, &err);
        assert_true(status == SR_FORMAT || status == SR_CORRUPT || status == SR_REFUSED);
    }
}

static void a_lost_part_is_a_loss(void **state)
{
    static const char *const parts[] = {"keyring", "log/vote", "state/data.mdb", "format"};
    struct fixture *fixture = *state;
    open_and_close(fixture, true);
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        char path[256];
        char aside[256];
        snprintf(path, sizeof(path), "%s/%s", fixture->data_dir, parts[i]);
        snprintf(aside, sizeof(aside), "%s/aside", fixture->dir);
        assert_int_equal(rename(path, aside), 0);
        refused(fixture, SR_CORRUPT, i < 3 ? parts[i] : "no format file");
        assert_int_equal(rename(aside, path), 0);
    }
    open_and_close(fixture, true);
}

static void a_birth_that_was_cut_short_is_begun_again(void **state)
{
    struct fixture *fixture = *state;
    char path[256];
    open_and_close(fixture, false);
    snprintf(path, sizeof(path), "%s/format", fixture->data_dir);
    assert_int_equal(unlink(path), 0);
    open_and_close(fixture, false);
}

static void the_kek_must_fit_and_be_private(void **state)
{
    struct fixture *fixture = *state;
    open_and_close(fixture, true);
    assert_int_equal(chmod(fixture->kek_file, 0440), 0);
    refused(fixture, SR_KEY, "kek_file");
    write_file(fixture->kek_file,
               "ff0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n", 0400);
    refused(fixture, SR_KEY, "the master key is not its key");
    unlink(fixture->kek_file);
    refused(fixture, SR_NOT_FOUND, "kek_file");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(it_is_born_and_opens_again),
        TEST(it_is_used_by_one_node_at_a_time),
        TEST(it_belongs_to_one_cluster_and_member),
        TEST(one_of_a_removed_member_stays_closed),
        TEST(a_newer_format_is_refused),
        TEST(compatible_features_are_kept),
        TEST(a_flipped_format_file_is_refused),
        TEST(a_cut_format_file_is_refused),
        TEST(a_lost_part_is_a_loss),
        TEST(a_birth_that_was_cut_short_is_begun_again),
        TEST(the_kek_must_fit_and_be_private),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
