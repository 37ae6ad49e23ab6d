/* SPDX-License-Identifier: Apache-2.0
 *
 * Credentials in their two forms, from a file, a command and the environment; and that no sentence
 * about them shows any.
 */
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/secret.h"
#include "node/offsite/credentials.h"
#include "tests/unit/cmocka.h"

static struct sr_credentials *got;
static struct sr_err err;

static int parse(const char *text, const char *profile)
{
    memset(&err, 0, sizeof(err));
    return sr_credentials_parse(text, strlen(text), profile, got, &err);
}

static void assert_got(const char *access_key, const char *secret_key, const char *token)
{
    assert_string_equal(got->access_key, access_key);
    assert_string_equal(got->secret_key, secret_key);
    assert_string_equal(got->session_token, token);
}

static void test_lines(void **state)
{
    static const char text[] = "# a comment\n"
                               "[default]\n"
                               "aws_access_key_id = AKIA1\n"
                               "aws_secret_access_key=abc/d+e=\r\n"
                               "region = eu-west-1\n"
                               "\n"
                               "[ other ]\n"
                               "aws_secret_access_key = zzz\n"
                               "aws_access_key_id=AKIA2\n"
                               "aws_session_token = t/o+k==";
    (void)state;
    assert_int_equal(parse(text, "default"), SR_OK);
    assert_got("AKIA1", "abc/d+e=", "");
    assert_int_equal(parse(text, "other"), SR_OK);
    assert_got("AKIA2", "zzz", "t/o+k==");
    assert_int_equal(parse(text, "third"), SR_NOT_FOUND);
    assert_string_equal(err.text, "there is no profile [third]");
    /* What a command prints may go without a section. */
    assert_int_equal(parse("aws_access_key_id=a\naws_secret_access_key=b\n", "default"), SR_OK);
    assert_got("a", "b", "");
}

static void test_json(void **state)
{
    (void)state;
    assert_int_equal(parse(" {\"Version\": 1, \"AccessKeyId\" : \"ASIA\",\n"
                           "\"SecretAccessKey\":\"a\\/b\\u002bc\", \"SessionToken\": \"tok\","
                           "\"Other\": null, \"Expiration\": \"2026-11-23T10:00:00.5Z\"}\n",
                           "default"),
                     SR_OK);
    assert_got("ASIA", "a/b+c", "tok");
    assert_int_equal(got->expires_ms, 1795428000000);
}

static void test_refusals(void **state)
{
    static const char *const texts[] = {
        "",
        "aws_access_key_id = SECRETWORD\n",
        "[default]\naws_access_key_id = SECRETWORD\nSECRETWORD\n",
        "aws_access_key_id = a\naws_secret_access_key = SECRETWORD with blanks\n",
        "aws_access_key_id = a\naws_secret_access_key = SECRET\001WORD\n",
        "{\"AccessKeyId\": \"SECRETWORD\"}",
        "{\"AccessKeyId\": \"a\", \"SecretAccessKey\": \"SECRETWORD\"",
        "{\"AccessKeyId\": \"a\", \"SecretAccessKey\": \"SECRETWORD\"} more",
        "{\"AccessKeyId\": \"a\", \"SecretAccessKey\": {\"x\": \"SECRETWORD\"}}",
        "{\"AccessKeyId\": \"a\", \"SecretAccessKey\": \"SECRETWORD\\n\"}",
        "{\"AccessKeyId\": \"a\", \"SecretAccessKey\": \"SECRETWORD\\",
        "{\"AccessKeyId\": \"a\", \"SecretAccessKey\": \"SECRETWORD\", \"Expiration\": \"soon\"}",
        "{\"AccessKeyId\" \"SECRETWORD\"}",
        "{",
        "{\"",
        "{}",
    };
    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        assert_int_not_equal(parse(texts[i], "default"), SR_OK);
        assert_null(strstr(err.text, "SECRETWORD"));
        assert_int_equal(got->secret_key[0], 0);
    }
}

/* Whatever the bytes: no crash, no read behind the end (AddressSanitizer looks on). */
static void test_every_prefix(void **state)
{
    static const char json[] = "{\"AccessKeyId\":\"ASIA\",\"SecretAccessKey\":\"a\\u002fb\"}";
    static const char lines[] = "[default]\naws_access_key_id=a\naws_secret_access_key=b";
    (void)state;
    for (size_t size = 0; size < sizeof(json) - 1; size++) {
        char *copy = malloc(size + (size == 0));
        memcpy(copy, json, size);
        assert_int_not_equal(sr_credentials_parse(copy, size, "default", got, NULL), SR_OK);
        free(copy);
    }
    for (size_t size = 0; size < sizeof(lines) - 2; size++) {
        char *copy = malloc(size + (size == 0));
        memcpy(copy, lines, size);
        assert_int_not_equal(sr_credentials_parse(copy, size, "default", got, NULL), SR_OK);
        free(copy);
    }
}

static void test_file(void **state)
{
    static const char text[] = "[default]\naws_access_key_id=a\naws_secret_access_key=b\n";
    char path[] = "/tmp/strongroom-credentials-XXXXXX";
    struct sr_credentials_source source = {.file = path};
    (void)state;
    int fd = mkstemp(path);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
    assert_int_equal(sr_credentials_load(&source, got, &err), SR_OK);
    assert_got("a", "b", "");
    assert_int_equal(chmod(path, 0604), 0);
    assert_int_equal(sr_credentials_load(&source, got, &err), SR_REFUSED);
    assert_non_null(strstr(err.text, "mode 0604 lets others at it"));
    unlink(path);
    assert_int_equal(sr_credentials_load(&source, got, &err), SR_NOT_FOUND);
    source.file = "/tmp";
    assert_int_equal(sr_credentials_load(&source, got, &err), SR_INVALID);
}

static void test_command(void **state)
{
    atomic_bool cancelled = false;
    struct sr_credentials_source source = {
        .command = "echo complaint >&2; printf 'aws_access_key_id=x\\naws_secret_access_key=y'",
        .cancelled = &cancelled};
    (void)state;
    assert_int_equal(sr_credentials_load(&source, got, &err), SR_OK);
    assert_got("x", "y", "");
    source.command = "exit 7";
    assert_int_equal(sr_credentials_load(&source, got, &err), SR_REFUSED);
    assert_non_null(strstr(err.text, "exit code 7"));
    source.command = "kill -9 $$";
    assert_int_equal(sr_credentials_load(&source, got, &err), SR_REFUSED);
    assert_non_null(strstr(err.text, "signal 9"));
    (void)signal(SIGPIPE, SIG_IGN); /* as a node does */
    source.command = "kill -PIPE $$";
    assert_int_equal(sr_credentials_load(&source, got, &err), SR_REFUSED);
    assert_non_null(strstr(err.text, "signal 13"));
    source.command = "cat /dev/zero";
    assert_int_equal(sr_credentials_load(&source, got, &err), SR_LIMIT);
    /* One that never ends, with its output closed or not, is not waited for by a node that stops.*/
    atomic_store(&cancelled, true);
    source.command = "sleep 1000";
    assert_int_equal(sr_credentials_load(&source, got, &err), SR_CLOSED);
    source.command = "exec >&-; sleep 1000";
    assert_int_equal(sr_credentials_load(&source, got, &err), SR_CLOSED);
}

static void test_environment(void **state)
{
    struct sr_credentials_source source = {0};
    (void)state;
    unsetenv("AWS_ACCESS_KEY_ID");
    unsetenv("AWS_SECRET_ACCESS_KEY");
    unsetenv("AWS_SESSION_TOKEN");
    assert_int_equal(sr_credentials_load(&source, got, &err), SR_NOT_FOUND);
    setenv("AWS_ACCESS_KEY_ID", "k", 1);
    assert_int_equal(sr_credentials_load(&source, got, &err), SR_NOT_FOUND);
    setenv("AWS_SECRET_ACCESS_KEY", "s", 1);
    setenv("AWS_SESSION_TOKEN", "t", 1);
    assert_int_equal(sr_credentials_load(&source, got, &err), SR_OK);
    assert_got("k", "s", "t");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines),       cmocka_unit_test(test_json),
        cmocka_unit_test(test_refusals),    cmocka_unit_test(test_every_prefix),
        cmocka_unit_test(test_file),        cmocka_unit_test(test_command),
        cmocka_unit_test(test_environment),
    };
    got = sr_secret_alloc(sizeof(*got));
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    sr_secret_free(got, sizeof(*got));
    return failed;
}
