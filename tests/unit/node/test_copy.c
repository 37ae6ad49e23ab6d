/* SPDX-License-Identifier: Apache-2.0
 *
 * Copying what a member has left: all of it, or an error.
 */
#include "tests/unit/cmocka.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/recover/copy.h"

static char dir[64];
static unsigned calls_left; /* of readdir until one fails; 0: none does */

static bool fails_now(void)
{
    if (calls_left == 0 || --calls_left > 0) {
        return false;
    }
    errno = EIO;
    return true;
}

struct dirent *__real_readdir(DIR *stream);
struct dirent *__wrap_readdir(DIR *stream);
struct dirent64 *__real_readdir64(DIR *stream);
struct dirent64 *__wrap_readdir64(DIR *stream);

struct dirent *__wrap_readdir(DIR *stream)
{
    return fails_now() ? NULL : __real_readdir(stream);
}

struct dirent64 *__wrap_readdir64(DIR *stream)
{
    return fails_now() ? NULL : __real_readdir64(stream);
}

static const char *in_dir(const char *name)
{
    static char path[256];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    return path;
}

static void write_file(const char *name)
{
    int fd = open(in_dir(name), O_WRONLY | O_CREAT | O_EXCL, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, name, strlen(name)), strlen(name));
    close(fd);
}

static int setup(void **state)
{
    (void)state;
    snprintf(dir, sizeof(dir), "/tmp/copy-XXXXXX");
    assert_non_null(mkdtemp(dir));
    assert_int_equal(mkdir(in_dir("from"), 0700), 0);
    assert_int_equal(mkdir(in_dir("from/log"), 0700), 0);
    assert_int_equal(mkdir(in_dir("from/state"), 0700), 0);
    write_file("from/keyring");
    write_file("from/log/1.seg");
    write_file("from/log/2.seg");
    write_file("from/state/data.mdb");
    calls_left = 0;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    calls_left = 0;
    return sr_copy_remove(dir, NULL);
}

static int copy(struct sr_err *err)
{
    char from[256];
    uint64_t changed_ms = 0;
    snprintf(from, sizeof(from), "%s", in_dir("from"));
    return sr_copy_datadir(from, in_dir("to"), &changed_ms, err);
}

static void everything_is_copied(void **state)
{
    (void)state;
    struct sr_err err = {0};
    assert_int_equal(copy(&err), SR_OK);
    static const char *const files[] = {"to/keyring", "to/log/1.seg", "to/log/2.seg",
                                        "to/state/data.mdb"};
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        assert_int_equal(access(in_dir(files[i]), R_OK), 0);
    }
}

/* A disk that is dying shows some of a directory and then fails: that is not all there is. */
static void a_directory_that_cannot_be_read_is_an_error(void **state)
{
    (void)state;
    unsigned failures = 0;
    for (unsigned nth = 1; nth < 20; nth++) {
        struct sr_err err = {0};
        calls_left = nth;
        int status = copy(&err);
        if (calls_left > 0) { /* it was not called as often */
            break;
        }
        assert_int_equal(status, SR_IO);
        assert_non_null(strstr(err.text, "read "));
        failures++;
        assert_int_equal(sr_copy_remove(in_dir("to"), NULL), SR_OK);
    }
    assert_true(failures >= 7); /* four names in log, three in state, and both ends */
}

#define LARGE ((off_t)100 * 1024 * 1024)

/* A tree with a large file, of which a link elsewhere shows what is done to it, and with a link to
 * a file that is none of its own. */
static void make_tree(void)
{
    char link_path[256];
    write_file("none-of-its-own");
    assert_int_equal(truncate(in_dir("none-of-its-own"), LARGE), 0);
    snprintf(link_path, sizeof(link_path), "%s", in_dir("none-of-its-own"));
    assert_int_equal(symlink(link_path, in_dir("from/log/link")), 0);
    assert_int_equal(truncate(in_dir("from/state/data.mdb"), LARGE), 0);
    snprintf(link_path, sizeof(link_path), "%s", in_dir("from/state/data.mdb"));
    assert_int_equal(link(link_path, in_dir("shown")), 0);
}

static off_t size_of(const char *name)
{
    struct stat info;
    assert_int_equal(stat(in_dir(name), &info), 0);
    return info.st_size;
}

static void slowly_is_by_and_by(void **state)
{
    struct sr_err err = {0};
    (void)state;
    make_tree();
    assert_int_equal(sr_copy_remove_slowly(in_dir("from"), NULL, &err), SR_OK);
    assert_int_equal(access(in_dir("from"), F_OK), -1);
    assert_in_range(size_of("shown"), 1, LARGE / 4);
    assert_int_equal(size_of("none-of-its-own"), LARGE);
    assert_int_equal(sr_copy_remove_slowly(in_dir("from"), NULL, &err), SR_OK); /* nothing there */
}

static void slowly_until_it_is_stopped(void **state)
{
    struct sr_err err = {0};
    atomic_bool stop = true;
    (void)state;
    make_tree();
    assert_int_equal(sr_copy_remove_slowly(in_dir("from"), &stop, &err), SR_OK);
    assert_int_equal(access(in_dir("from"), F_OK), -1);
    assert_int_equal(size_of("shown"), LARGE);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(everything_is_copied),
        TEST(a_directory_that_cannot_be_read_is_an_error),
        TEST(slowly_is_by_and_by),
        TEST(slowly_until_it_is_stopped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
