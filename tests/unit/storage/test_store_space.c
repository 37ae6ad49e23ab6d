/* SPDX-License-Identifier: Apache-2.0
 *
 * Writes that a disk cuts short: because it is full, or because it is broken.
 */
#include <dlfcn.h>
#include <sys/statvfs.h>
#include <sys/uio.h>

#include "tests/unit/storage/store_fixture.h"

static bool cuts_writes;
static bool is_full;
static unsigned cut;

/* In place of libc's for all of the program, LMDB included. */
int statvfs(const char *path, struct statvfs *ret)
{
    int (*real)(const char *, struct statvfs *) =
        (int (*)(const char *, struct statvfs *))dlsym(RTLD_NEXT, "statvfs");
    int rc = real(path, ret);

    if (is_full) {
        ret->f_bavail = 0;
    }
    return rc;
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset)
{
    ssize_t (*real)(int, const void *, size_t, off_t) =
        (ssize_t(*)(int, const void *, size_t, off_t))dlsym(RTLD_NEXT, "pwrite");

    if (!cuts_writes) {
        return real(fd, data, size, offset);
    }
    cut++;
    return real(fd, data, size / 2, offset);
}

ssize_t writev(int fd, const struct iovec *pieces, int count)
{
    ssize_t (*real)(int, const struct iovec *, int) =
        (ssize_t(*)(int, const struct iovec *, int))dlsym(RTLD_NEXT, "writev");

    if (!cuts_writes) {
        return real(fd, pieces, count);
    }
    cut++;
    return real(fd, pieces, count / 2);
}

static int try_flush(struct fixture *fixture, struct sr_err *err)
{
    (void)sr_store_freeze(fixture->store, true);
    cut = 0;
    cuts_writes = true;
    int rc = sr_store_flush(fixture->store, err);
    cuts_writes = false;
    assert_true(cut > 0);
    return rc;
}

static void a_full_disk_that_cuts_a_write_short_is_waited_for(void **state)
{
    (void)state;
    struct fixture fixture;
    struct sr_err err = {0};

    fixture_init(&fixture);
    fixture_open(&fixture);
    fixture_put(&fixture, "a", "1");
    fixture_flush(&fixture);
    fixture_put(&fixture, "b", "2");
    is_full = true;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(try_flush(&fixture, &err), SR_NO_SPACE);
        assert_int_equal(sr_store_failure(fixture.store, NULL), SR_OK);
        assert_false(sr_store_has_space(fixture.store));
        assert_string_equal(fixture_get(&fixture, "b", INT64_MAX), "2");
    }
    is_full = false;
    fixture_flush(&fixture);
    fixture_reopen(&fixture);
    assert_string_equal(fixture_get(&fixture, "a", INT64_MAX), "1");
    assert_string_equal(fixture_get(&fixture, "b", INT64_MAX), "2");
    fixture_close(&fixture);
}

static void a_disk_with_room_that_cuts_a_write_short_is_broken(void **state)
{
    (void)state;
    struct fixture fixture;
    struct sr_err err = {0};

    fixture_init(&fixture);
    fixture_open(&fixture);
    fixture_put(&fixture, "a", "1");
    assert_int_equal(try_flush(&fixture, &err), SR_IO);
    assert_int_equal(sr_store_failure(fixture.store, NULL), SR_IO);
    fixture_close(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_full_disk_that_cuts_a_write_short_is_waited_for),
        cmocka_unit_test(a_disk_with_room_that_cuts_a_write_short_is_broken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
