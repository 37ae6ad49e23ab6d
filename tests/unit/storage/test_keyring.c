/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/cmocka.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/secret.h"
#include "storage/keyring.h"

#define CLUSTER UINT64_C(0x1111)
#define MEMBER  UINT64_C(0x2222)

static char dir[64];
static char path[128];
static const uint8_t kek[SR_KEY_BYTES] = "an operator's master key, 32 byt";

static int make_dir(void **state)
{
    (void)state;
    const char *base = getenv("TMPDIR");
    snprintf(dir, sizeof(dir), "%.32s/keyring-XXXXXX", base != NULL ? base : "/tmp");
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/file", dir);
    return 0;
}

static int drop_dir(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(dir);
}

static void put_file(const void *data, size_t size, mode_t mode)
{
    unlink(path);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, size), size);
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
}

static int read_kek(uint8_t out[SR_KEY_BYTES], struct sr_err *err)
{
    uint8_t *read = NULL;
    int status = sr_kek_read(path, &read, err);
    if (status == SR_OK) {
        memcpy(out, read, SR_KEY_BYTES);
        sr_secret_free(read, SR_KEY_BYTES);
    } else {
        assert_null(read);
    }
    return status;
}

static void a_kek_is_32_bytes_or_64_digits(void **state)
{
    (void)state;
    static const char digits[] =
        "00112233445566778899aAbBcCdDeEfF00112233445566778899aabbccddeeff\n!";
    uint8_t out[SR_KEY_BYTES];
    struct sr_err err;
    put_file(kek, 32, 0400);
    assert_int_equal(read_kek(out, &err), SR_OK);
    assert_memory_equal(out, kek, 32);
    for (size_t size = 0; size <= 66; size++) {
        put_file(digits, size, 0600);
        bool good = size == 32 || size == 64 || size == 65;
        assert_int_equal(read_kek(out, &err), good ? SR_OK : SR_KEY);
        if (size >= 64 && good) {
            assert_memory_equal(out, "\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb", 12);
            assert_int_equal(out[15], 0xff);
        }
    }
    char bad[64];
    memcpy(bad, digits, 64);
    bad[63] = 'g';
    put_file(bad, 64, 0600);
    assert_int_equal(read_kek(out, &err), SR_KEY);
    assert_non_null(strstr(err.text, "hexadecimal"));
}

static void a_kek_file_is_the_owners_alone(void **state)
{
    (void)state;
    uint8_t out[SR_KEY_BYTES];
    struct sr_err err;
    static const mode_t open_modes[] = {0440, 0404, 0420, 0410, 0401, 0402, 0777};
    for (size_t i = 0; i < sizeof(open_modes) / sizeof(open_modes[0]); i++) {
        put_file(kek, 32, open_modes[i]);
        assert_int_equal(read_kek(out, &err), SR_KEY);
        assert_non_null(strstr(err.text, path));
        assert_non_null(strstr(err.text, "mode"));
    }
    unlink(path);
    assert_int_equal(read_kek(out, &err), SR_NOT_FOUND);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(read_kek(out, &err), SR_KEY);
    unlink(path);
}

static struct sr_keyring *open_keyring(void)
{
    struct sr_keyring *keyring = NULL;
    struct sr_err err;
    assert_int_equal(sr_keyring_open(path, kek, CLUSTER, MEMBER, &keyring, &err), SR_OK);
    return keyring;
}

static void a_keyring_gives_the_same_keys_each_time(void **state)
{
    (void)state;
    uint8_t a[SR_KEY_BYTES];
    uint8_t b[SR_KEY_BYTES];
    struct sr_err err;
    struct stat stat_;
    unlink(path);
    assert_int_equal(sr_keyring_create(path, kek, CLUSTER, MEMBER, &err), SR_OK);
    assert_int_equal(stat(path, &stat_), 0);
    assert_int_equal(stat_.st_mode & 0777, 0600);
    assert_int_equal(sr_keyring_create(path, kek, CLUSTER, MEMBER, &err), SR_EXISTS);

    struct sr_keyring *first = open_keyring();
    struct sr_keyring *second = open_keyring();
    uint32_t id = sr_keyring_active_id(first);
    assert_int_equal(sr_keyring_derive(first, id, "x", (const uint8_t *)"s", 1, a, &err), 0);
    assert_int_equal(sr_keyring_derive(second, id, "x", (const uint8_t *)"s", 1, b, &err), 0);
    assert_memory_equal(a, b, sizeof(a));
    assert_int_equal(sr_keyring_derive(second, id, "y", (const uint8_t *)"s", 1, b, &err), 0);
    assert_memory_not_equal(a, b, sizeof(a));
    assert_int_equal(sr_keyring_derive(second, id, "x", (const uint8_t *)"t", 1, b, &err), 0);
    assert_memory_not_equal(a, b, sizeof(a));
    assert_int_equal(sr_keyring_derive(second, id, "x", (const uint8_t *)"", 0, b, &err), 0);
    assert_memory_not_equal(a, b, sizeof(a));
    assert_int_equal(sr_keyring_derive(second, id + 1, "x", (const uint8_t *)"", 0, b, &err),
                     SR_NOT_FOUND);
    sr_keyring_close(first);
    sr_keyring_close(second);
}

static void a_keyring_opens_for_its_owner_only(void **state)
{
    (void)state;
    struct sr_keyring *keyring = NULL;
    struct sr_err err;
    uint8_t other[SR_KEY_BYTES];
    memcpy(other, kek, sizeof(other));
    other[31] ^= 1;
    unlink(path);
    assert_int_equal(sr_keyring_open(path, kek, CLUSTER, MEMBER, &keyring, &err), SR_NOT_FOUND);
    assert_int_equal(sr_keyring_create(path, kek, CLUSTER, MEMBER, &err), SR_OK);
    assert_int_equal(sr_keyring_open(path, other, CLUSTER, MEMBER, &keyring, &err), SR_KEY);
    assert_int_equal(sr_keyring_open(path, kek, CLUSTER + 1, MEMBER, &keyring, &err), SR_REFUSED);
    assert_int_equal(sr_keyring_open(path, kek, CLUSTER, MEMBER + 1, &keyring, &err), SR_REFUSED);
    assert_null(keyring);
}

/* Any byte changed, any byte missing, any byte more: an error that fits, and no keyring. */
static void an_altered_keyring_does_not_open(void **state)
{
    (void)state;
    static uint8_t file[4096];
    struct sr_keyring *keyring = NULL;
    struct sr_err err;
    unlink(path);
    assert_int_equal(sr_keyring_create(path, kek, CLUSTER, MEMBER, &err), SR_OK);
    int fd = open(path, O_RDONLY);
    ssize_t size = read(fd, file, sizeof(file));
    close(fd);
    assert_in_range(size, 100, 4000);
    for (ssize_t i = 0; i < size; i++) {
        file[i] ^= 0x10;
        put_file(file, (size_t)size, 0600);
        int status = sr_keyring_open(path, kek, CLUSTER, MEMBER, &keyring, &err);
        assert_true(status == SR_KEY || status == SR_FORMAT || status == SR_REFUSED ||
                    status == SR_CORRUPT);
        assert_null(keyring);
        file[i] ^= 0x10;
    }
    for (ssize_t cut = 0; cut < size; cut++) {
        put_file(file, (size_t)cut, 0600);
        assert_int_equal(sr_keyring_open(path, kek, CLUSTER, MEMBER, &keyring, &err), SR_CORRUPT);
    }
    put_file(file, (size_t)size + 1, 0600);
    assert_int_equal(sr_keyring_open(path, kek, CLUSTER, MEMBER, &keyring, &err), SR_CORRUPT);
    put_file(file, (size_t)size, 0600);
    sr_keyring_close(open_keyring());
}

/* No derived key, and so no data key, may be found in the file. */
static void two_keyrings_share_nothing(void **state)
{
    (void)state;
    uint8_t a[SR_KEY_BYTES];
    uint8_t b[SR_KEY_BYTES];
    struct sr_err err;
    uint8_t *keys[] = {a, b};
    for (size_t i = 0; i < 2; i++) {
        unlink(path);
        assert_int_equal(sr_keyring_create(path, kek, CLUSTER, MEMBER, &err), SR_OK);
        struct sr_keyring *keyring = open_keyring();
        assert_int_equal(sr_keyring_derive(keyring, sr_keyring_active_id(keyring), "x",
                                           (const uint8_t *)"", 0, keys[i], &err),
                         SR_OK);
        sr_keyring_close(keyring);
    }
    assert_memory_not_equal(a, b, sizeof(a));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_kek_is_32_bytes_or_64_digits),
        cmocka_unit_test(a_kek_file_is_the_owners_alone),
        cmocka_unit_test(a_keyring_gives_the_same_keys_each_time),
        cmocka_unit_test(a_keyring_opens_for_its_owner_only),
        cmocka_unit_test(an_altered_keyring_does_not_open),
        cmocka_unit_test(two_keyrings_share_nothing),
    };
    return cmocka_run_group_tests(tests, make_dir, drop_dir);
}
