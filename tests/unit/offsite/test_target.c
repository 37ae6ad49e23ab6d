/* SPDX-License-Identifier: Apache-2.0
 *
 * Opening targets, and everything about a directory as one. S3 is tested against a real server:
 * tests/offsite.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "node/offsite/target.h"
#include "tests/unit/cmocka.h"

static char dir[] = "/tmp/strongroom-target-XXXXXX";
static char url[64];
static struct sr_err err;
static struct sr_target *target;

static int setup(void **state)
{
    (void)state;
    strcpy(dir + strlen(dir) - 6, "XXXXXX");
    if (mkdtemp(dir) == NULL) {
        return -1;
    }
    snprintf(url, sizeof(url), "file://%s/", dir);
    const struct sr_target_config config = {.url = url, .region = "here"};
    return sr_target_open(&config, &target, &err);
}

static int teardown(void **state)
{
    char command[64];
    (void)state;
    sr_target_close(target);
    snprintf(command, sizeof(command), "rm -r %s", dir);
    return system(command);
}

static int put(const char *name, const char *content, bool replace)
{
    const struct sr_target_put_options options = {.replace = replace};
    return sr_target_put_bytes(target, name, content, strlen(content), &options, &err);
}

static void assert_content(const char *name, const char *content)
{
    uint8_t *data = NULL;
    size_t size = 0;
    assert_int_equal(sr_target_get_bytes(target, name, 1000000, &data, &size, &err), SR_OK);
    assert_string_equal((char *)data, content);
    assert_int_equal(size, strlen(content));
    sr_free(data);
}

/* How many entries the directory itself has. */
static unsigned count_entries(void)
{
    unsigned count = 0;
    DIR *listing = opendir(dir);
    assert_non_null(listing);
    for (struct dirent *entry = readdir(listing); entry != NULL; entry = readdir(listing)) {
        count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    }
    closedir(listing);
    return count;
}

static void test_put_and_get(void **state)
{
    struct sr_target_put *begun = NULL;
    struct sr_target_object object;
    (void)state;
    assert_string_equal(sr_target_region(target), "here");
    assert_int_equal(sr_target_put_begin(target, "a/b/c.sra", NULL, &begun, &err), SR_OK);
    assert_int_equal(sr_target_put_write(begun, "12345", 5, &err), SR_OK);
    assert_int_equal(sr_target_put_write(begun, "", 0, &err), SR_OK);
    assert_int_equal(sr_target_put_write(begun, "6789", 4, &err), SR_OK);
    /* Not there before it is complete. */
    assert_int_equal(access(dir, F_OK), 0);
    assert_int_equal(sr_target_head(target, "a/b/c.sra", &object, &err), SR_NOT_FOUND);
    assert_int_equal(sr_target_put_finish(begun, &object, &err), SR_OK);
    assert_string_equal(object.name, "a/b/c.sra");
    assert_int_equal(object.size, 9);
    assert_true(object.modified_ms > 0);
    assert_content("a/b/c.sra", "123456789");
    assert_int_equal(count_entries(), 1);
    assert_int_equal(put("empty", "", false), SR_OK);
    assert_content("empty", "");
}

static void test_taken(void **state)
{
    struct sr_target_put *begun = NULL;
    (void)state;
    assert_int_equal(put("a", "one", false), SR_OK);
    assert_int_equal(put("a", "two", false), SR_EXISTS);
    assert_content("a", "one");
    assert_int_equal(put("a", "two", true), SR_OK);
    assert_content("a", "two");
    /* Somebody else was faster. */
    assert_int_equal(sr_target_put_begin(target, "b", NULL, &begun, &err), SR_OK);
    char path[64];
    snprintf(path, sizeof(path), "%s/b", dir);
    int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(sr_target_put_finish(begun, NULL, &err), SR_EXISTS);
    assert_content("b", "");
    assert_int_equal(count_entries(), 2);
}

static void test_abort_and_clean(void **state)
{
    struct sr_target_put *begun = NULL;
    uint64_t count = 0;
    char path[64];
    (void)state;
    assert_int_equal(sr_target_put_begin(target, "a", NULL, &begun, &err), SR_OK);
    assert_int_equal(count_entries(), 1);
    sr_target_put_abort(begun);
    assert_int_equal(count_entries(), 0);
    /* What a process leaves that is killed. */
    snprintf(path, sizeof(path), "%s/.incoming-0123", dir);
    int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    const struct timespec hour_ago[2] = {{.tv_sec = time(NULL) - 3600},
                                         {.tv_sec = time(NULL) - 3600}};
    assert_int_equal(futimens(fd, hour_ago), 0);
    close(fd);
    assert_int_equal(sr_target_clean(target, "a/", 7200 * 1000, &count, &err), SR_OK);
    assert_int_equal(count, 0);
    assert_int_equal(sr_target_clean(target, "a/", 1800 * 1000, &count, &err), SR_OK);
    assert_int_equal(count, 1);
    assert_int_equal(count_entries(), 0);
}

static int take(void *arg, const void *data, size_t size, struct sr_err *error)
{
    (void)error;
    strncat(arg, data, size);
    return SR_OK;
}

static void test_ranges(void **state)
{
    char got[32] = "";
    (void)state;
    assert_int_equal(put("a", "0123456789", false), SR_OK);
    assert_int_equal(sr_target_get(target, "a", 4, 3, take, got, &err), SR_OK);
    assert_string_equal(got, "456");
    assert_int_equal(sr_target_get(target, "a", 8, 0, take, got, &err), SR_OK);
    assert_string_equal(got, "45689");
    assert_int_equal(sr_target_get(target, "a", 10, 0, take, got, &err), SR_OK);
    assert_int_equal(sr_target_get(target, "a", 11, 0, take, got, &err), SR_INVALID);
    assert_int_equal(sr_target_get(target, "a", 9, 2, take, got, &err), SR_INVALID);
    assert_int_equal(sr_target_get(target, "a", UINT64_MAX, 2, take, got, &err), SR_INVALID);
    assert_string_equal(got, "45689");
    uint8_t *data = NULL;
    size_t size = 0;
    assert_int_equal(sr_target_get_bytes(target, "a", 9, &data, &size, &err), SR_LIMIT);
}

static int collect(void *arg, const struct sr_target_object *object, struct sr_err *error)
{
    (void)error;
    strcat(strcat(arg, object->name), " ");
    return strcmp(object->name, "stop") == 0 ? SR_LIMIT : SR_OK;
}

static void test_list(void **state)
{
    static const char *const names[] = {"b/2", "b/1/x", "b-", "a", "b/10", "c/d/e/f"};
    char listed[256] = "";
    char path[64];
    (void)state;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        assert_int_equal(put(names[i], "x", false), SR_OK);
    }
    snprintf(path, sizeof(path), "%s/b/white space", dir);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(path, sizeof(path), "%s/link", dir);
    assert_int_equal(symlink("/etc/passwd", path), 0);
    assert_int_equal(sr_target_list(target, "", collect, listed, &err), SR_OK);
    assert_string_equal(listed, "a b- b/1/x b/10 b/2 c/d/e/f ");
    listed[0] = 0;
    assert_int_equal(sr_target_list(target, "b/1", collect, listed, &err), SR_OK);
    assert_string_equal(listed, "b/1/x b/10 ");
    listed[0] = 0;
    assert_int_equal(sr_target_list(target, "c/d/", collect, listed, &err), SR_OK);
    assert_string_equal(listed, "c/d/e/f ");
    assert_int_equal(put("stop", "x", false), SR_OK);
    assert_int_equal(put("stop-not", "x", false), SR_OK);
    listed[0] = 0;
    assert_int_equal(sr_target_list(target, "s", collect, listed, &err), SR_LIMIT);
    assert_string_equal(listed, "stop ");
}

static void test_remove(void **state)
{
    struct sr_target_object object;
    (void)state;
    assert_int_equal(put("a/b", "x", false), SR_OK);
    assert_int_equal(sr_target_remove(target, "a/b", &err), SR_OK);
    assert_int_equal(sr_target_head(target, "a/b", &object, &err), SR_NOT_FOUND);
    assert_int_equal(sr_target_head(target, "a", &object, &err), SR_NOT_FOUND);
    assert_int_equal(sr_target_remove(target, "a/b", &err), SR_NOT_FOUND);
    char expected[128];
    snprintf(expected, sizeof(expected), "file://%s: remove a/b: ", dir);
    assert_memory_equal(err.text, expected, strlen(expected));
}

static void test_probe(void **state)
{
    char away[64];
    (void)state;
    assert_int_equal(sr_target_probe(target, true, &err), SR_OK);
    assert_int_equal(count_entries(), 0);
    /* A mount that goes: nothing is made in its place. */
    snprintf(away, sizeof(away), "%s.away", dir);
    assert_int_equal(rename(dir, away), 0);
    assert_int_equal(sr_target_probe(target, false, &err), SR_NOT_FOUND);
    assert_int_equal(put("a", "x", false), SR_NOT_FOUND);
    assert_int_equal(access(dir, F_OK), -1);
    assert_int_equal(rename(away, dir), 0);
    assert_int_equal(put("a", "x", false), SR_OK);
}

/* A file system that takes no more: what was written of it goes away. */
static void test_too_large(void **state)
{
    struct rlimit before, small;
    char content[8192];
    (void)state;
    memset(content, 'x', sizeof(content));
    content[sizeof(content) - 1] = 0;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = (struct rlimit){.rlim_cur = 4096, .rlim_max = before.rlim_max};
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    int status = put("a", content, false);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(status, SR_LIMIT);
    assert_int_equal(count_entries(), 0);
}

static void test_cancel(void **state)
{
    struct sr_target_put *begun = NULL;
    char listed[64] = "";
    (void)state;
    assert_int_equal(put("a", "x", false), SR_OK);
    assert_int_equal(sr_target_put_begin(target, "b", NULL, &begun, &err), SR_OK);
    sr_target_cancel(target);
    assert_int_equal(sr_target_put_write(begun, "x", 1, &err), SR_CLOSED);
    sr_target_put_abort(begun);
    assert_int_equal(sr_target_list(target, "", collect, listed, &err), SR_CLOSED);
    assert_int_equal(sr_target_get(target, "a", 0, 0, take, listed, &err), SR_CLOSED);
    assert_int_equal(count_entries(), 1);
}

static void test_names(void **state)
{
    static const char *const bad[] = {"",     "/",    "/a",  "a/",   "a//b", ".",   "..",      ".a",
                                      "a/.b", "a/..", "a b", "a\nb", "a\\b", "a:b", "\xc3\xa4"};
    struct sr_target_object object;
    char longest[SR_TARGET_NAME_MAX + 1];
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(put(bad[i], "x", false), SR_INVALID);
        assert_int_equal(sr_target_head(target, bad[i], &object, &err), SR_INVALID);
        assert_int_equal(sr_target_remove(target, bad[i], &err), SR_INVALID);
    }
    memset(longest, 'a', sizeof(longest));
    longest[SR_TARGET_NAME_MAX] = 0;
    assert_int_equal(put(longest, "x", false), SR_INVALID);
    longest[SR_TARGET_NAME_MAX - 1] = 0;
    assert_int_equal(put(longest, "x", false), SR_OK);
    assert_int_equal(count_entries(), 1);
}

/* ---- Opening ---- */

static void assert_refused(const struct sr_target_config *config, int status, const char *part)
{
    struct sr_target *none = NULL;
    memset(&err, 0, sizeof(err));
    assert_int_equal(sr_target_open(config, &none, &err), status);
    assert_null(none);
    assert_non_null(strstr(err.text, part));
}

#define REFUSED(status, part, ...)                                                                 \
    assert_refused(&(const struct sr_target_config){__VA_ARGS__}, status, part)

static void test_refusals(void **state)
{
    (void)state;
    REFUSED(SR_INVALID, "s3://BUCKET/PREFIX", .url = "ftp://x/y");
    REFUSED(SR_INVALID, "absolute", .url = "file://x/y");
    REFUSED(SR_NOT_FOUND, "No such file", .url = "file:///nowhere/at/all");
    REFUSED(SR_INVALID, "no directory", .url = "file:///etc/passwd");
    REFUSED(SR_INVALID, "only an s3://", .url = "file:///tmp", .lock = SR_TARGET_LOCK_COMPLIANCE);
    REFUSED(SR_INVALID, "only an s3://", .url = "file:///tmp", .endpoint = "https://x");
    REFUSED(SR_INVALID, "name of a bucket", .url = "s3://a");
    REFUSED(SR_INVALID, "name of a bucket", .url = "s3://Bucket/x");
    REFUSED(SR_INVALID, "prefix", .url = "s3://bucket/a//b");
    REFUSED(SR_INVALID, "prefix", .url = "s3://bucket/../b");
    REFUSED(SR_INVALID, "endpoint", .url = "s3://bucket", .endpoint = "ftp://x");
    REFUSED(SR_INVALID, "endpoint", .url = "s3://bucket", .endpoint = "https://");
    REFUSED(SR_INVALID, "endpoint", .url = "s3://bucket", .endpoint = "https://u:p@host");
    REFUSED(SR_INVALID, "endpoint", .url = "s3://bucket", .endpoint = "https://host/path");
    REFUSED(SR_REFUSED, "without TLS", .url = "s3://bucket", .endpoint = "http://10.0.0.1:80");
    REFUSED(SR_REFUSED, "without TLS", .url = "s3://bucket", .endpoint = "http://localhost.x.org");
    REFUSED(SR_INVALID, "dot in its name", .url = "s3://a.bucket", .virtual_host = true);
    REFUSED(SR_INVALID, "region", .url = "s3://bucket", .region = "eu west");
    REFUSED(SR_INVALID, "region", .url = "file:///tmp", .region = "here\nlevel=fatal");
    REFUSED(SR_INVALID, "region", .url = "file:///tmp", .region = "");
    REFUSED(SR_INVALID, "storage_class", .url = "s3://bucket", .storage_class = "a\r\nb: c");
    REFUSED(SR_INVALID, "sse_kms_key", .url = "s3://bucket", .sse_kms_key = "k");
    REFUSED(SR_INVALID, "from a file or from a command", .url = "s3://bucket",
            .credentials_file = "x", .credentials_command = "y");
    REFUSED(SR_INVALID, "no credentials", .url = "s3://bucket", .proxy = "http://u:p@h:1");
    REFUSED(SR_INVALID, "part_bytes", .url = "s3://bucket", .part_bytes = 1000);
    REFUSED(SR_INVALID, "parts_parallel", .url = "s3://bucket", .parts_parallel = 9);
    REFUSED(SR_INVALID, "attempts", .url = "s3://bucket", .attempts = 101);
}

static void test_residency(void **state)
{
    static const char *const allowed[] = {"eu-west-1", "eu-central-1"};
    struct sr_target *good = NULL;
    (void)state;
    REFUSED(SR_REFUSED, "us-east-1", .url = "s3://bucket", .region = "us-east-1",
            .regions_allowed = allowed, .regions_allowed_count = 2);
    REFUSED(SR_REFUSED, "not the region", .url = "s3://bucket", .regions_allowed = allowed,
            .regions_allowed_count = 2);
    REFUSED(SR_REFUSED, "not the region", .url = "file:///tmp", .regions_allowed = allowed,
            .regions_allowed_count = 2);
    const struct sr_target_config config = {.url = "s3://bucket/a/b/",
                                            .region = "eu-central-1",
                                            .regions_allowed = allowed,
                                            .regions_allowed_count = 2};
    assert_int_equal(sr_target_open(&config, &good, &err), SR_OK);
    assert_string_equal(sr_target_title(good), "s3://bucket/a/b");
    assert_string_equal(sr_target_region(good), "eu-central-1");
    sr_target_close(good);
}

int main(void)
{
#define WITH_TARGET(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        WITH_TARGET(test_put_and_get),
        WITH_TARGET(test_taken),
        WITH_TARGET(test_abort_and_clean),
        WITH_TARGET(test_ranges),
        WITH_TARGET(test_list),
        WITH_TARGET(test_remove),
        WITH_TARGET(test_probe),
        WITH_TARGET(test_too_large),
        WITH_TARGET(test_cancel),
        WITH_TARGET(test_names),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_residency),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
