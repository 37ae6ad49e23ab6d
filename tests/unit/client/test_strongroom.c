/* SPDX-License-Identifier: Apache-2.0
 *
 * The strongroom command, run as an operator would, and its files read back by OpenSSL.
 */
#include <openssl/pem.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "storage/archive_key.h"
#include "tests/unit/cmocka.h"

static char dir[256];
static char output[8192]; /* of the last run, both streams */

static const char *in_dir(const char *name)
{
    static char paths[4][512];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof(paths[0]), "%s/%s", dir, name);
    return path;
}

/* `strongroom` with @format as its arguments, in the test's directory; returns its exit code. */
static int run(const char *format, ...) __attribute__((format(printf, 1, 2)));

static int run(const char *format, ...)
{
    char words[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(words, sizeof(words), format, arguments);
    va_end(arguments);
    char command[2048];
    snprintf(command, sizeof(command), "cd '%s' && %s %s 2>&1", dir, STRONGROOM, words);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    size_t size = fread(output, 1, sizeof(output) - 1, pipe);
    output[size] = 0;
    int status = pclose(pipe);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static mode_t mode_of(const char *name)
{
    struct stat status;
    assert_int_equal(stat(in_dir(name), &status), 0);
    return status.st_mode & 07777;
}

static size_t read_file(const char *name, char *out, size_t max)
{
    FILE *file = fopen(in_dir(name), "r");
    assert_non_null(file);
    size_t size = fread(out, 1, max, file);
    fclose(file);
    return size;
}

static int setup(void **state)
{
    (void)state;
    const char *base = getenv("TMPDIR");
    snprintf(dir, sizeof(dir), "%s/strongroom-client-XXXXXX", base == NULL ? "/tmp" : base);
    return mkdtemp(dir) == NULL ? -1 : 0;
}

static int teardown(void **state)
{
    (void)state;
    char command[512];
    snprintf(command, sizeof(command), "rm -rf '%s'", dir);
    return system(command);
}

/* ---- keygen ---- */

static void test_keygen(void **state)
{
    (void)state;
    char first[128];
    char second[128];
    assert_int_equal(run("keygen --out a"), 0);
    assert_int_equal(run("keygen --out b"), 0);
    assert_int_equal(mode_of("a"), 0400);
    assert_int_equal(read_file("a", first, sizeof(first)), 65);
    assert_int_equal(read_file("b", second, sizeof(second)), 65);
    assert_int_equal(strspn(first, "0123456789abcdef"), 64);
    assert_int_equal(first[64], '\n');
    assert_memory_not_equal(first, second, 64);
}

static void test_keygen_never_prints_the_key(void **state)
{
    (void)state;
    char key[128];
    assert_int_equal(run("keygen"), 0);
    read_file("kek", key, sizeof(key));
    key[16] = 0; /* even a piece of it */
    assert_null(strstr(output, key));
}

static void test_keygen_never_overwrites(void **state)
{
    (void)state;
    char before[128] = {0};
    char after[128] = {0};
    assert_int_equal(run("keygen --out a"), 0);
    read_file("a", before, sizeof(before));
    assert_int_equal(run("keygen --out a"), 1);
    assert_non_null(strstr(output, "a: exists already, and is not overwritten"));
    read_file("a", after, sizeof(after));
    assert_string_equal(before, after);
    assert_int_equal(run("keygen --out no/such/a"), 1);
    assert_non_null(strstr(output, "No such file or directory"));
}

/* ---- keygen --recovery ---- */

static void test_recovery_keys_come_in_halves(void **state)
{
    (void)state;
    struct sr_recovery_private *private_half = NULL;
    struct sr_recovery_public public_half;
    struct sr_err err = {0};
    char file[512] = {0};
    assert_int_equal(run("keygen --recovery --out r.pub"), 0);
    assert_int_equal(mode_of("r.pub"), 0444);
    char *line = strstr(output, "strongroom-recovery-private-1 ");
    assert_non_null(line);
    size_t size = strcspn(line, "\n");
    assert_int_equal(sr_recovery_private_parse(line, size, &private_half, &err), SR_OK);
    assert_int_equal(sr_recovery_public_read(in_dir("r.pub"), &public_half, &err), SR_OK);
    assert_memory_equal(public_half.id, private_half->public_half.id, SR_KEY_ID_BYTES);
    sr_recovery_private_free(private_half);
    /* It is printed once, and is in no file. */
    assert_null(strstr(line + size, "strongroom-recovery-private-1"));
    (void)read_file("r.pub", file, sizeof(file) - 1);
    char first[SR_RECOVERY_TEXT_CHARS_MAX + 1];
    assert_true(size < sizeof(first));
    (void)snprintf(first, sizeof(first), "%.*s", (int)size, line);
    assert_null(strstr(file, first + strlen("strongroom-recovery-private-1 ")));
    assert_int_equal(run("keygen --recovery"), 0);
    assert_int_equal(mode_of("recovery.pub"), 0444);
    assert_non_null(strstr(output, "strongroom-recovery-private-1 "));
    assert_null(strstr(output, first)); /* another one */
}

static void test_a_recovery_key_that_is_not_seen_is_not_made(void **state)
{
    (void)state;
    struct stat status;
    assert_int_equal(run("keygen --recovery --out r.pub >/dev/full"), 1);
    assert_int_equal(stat(in_dir("r.pub"), &status), -1);
    assert_int_equal(run("keygen --recovery --out r.pub"), 0);
    assert_int_equal(run("keygen --recovery --out r.pub"), 1);
    assert_non_null(strstr(output, "r.pub: exists already, and is not overwritten"));
    assert_null(strstr(output, "strongroom-recovery-private-1"));
}

/* ---- pki ---- */

static X509 *certificate(const char *name)
{
    FILE *file = fopen(in_dir(name), "r");
    assert_non_null(file);
    X509 *found = PEM_read_X509(file, NULL, NULL, NULL);
    fclose(file);
    assert_non_null(found);
    return found;
}

/* Whether @name is good for @purpose under @ca, by the strict rules of RFC 5280. */
static bool is_valid(const char *name, const char *ca, int purpose)
{
    X509 *leaf = certificate(name);
    X509 *root = certificate(ca);
    X509_STORE *store = X509_STORE_new();
    X509_STORE_CTX *context = X509_STORE_CTX_new();
    assert_int_equal(X509_STORE_add_cert(store, root), 1);
    assert_int_equal(X509_STORE_CTX_init(context, store, leaf, NULL), 1);
    X509_STORE_CTX_set_flags(context, X509_V_FLAG_X509_STRICT);
    X509_STORE_CTX_set_purpose(context, purpose);
    bool valid = X509_verify_cert(context) == 1;
    X509_STORE_CTX_free(context);
    X509_STORE_free(store);
    X509_free(root);
    X509_free(leaf);
    return valid;
}

static void test_pki_chain(void **state)
{
    (void)state;
    assert_int_equal(run("pki ca --dir pki"), 0);
    assert_int_equal(run("pki node n1 --dir pki --dns localhost --ip 127.0.0.1 --ip ::1"), 0);
    assert_int_equal(run("pki --dir pki client alice"), 0);
    assert_int_equal(mode_of("pki"), 0700);
    assert_int_equal(mode_of("pki/ca.key"), 0600);
    assert_int_equal(mode_of("pki/n1.key"), 0600);
    assert_true(is_valid("pki/n1.crt", "pki/ca.crt", X509_PURPOSE_SSL_SERVER));
    assert_true(is_valid("pki/n1.crt", "pki/ca.crt", X509_PURPOSE_SSL_CLIENT));
    assert_true(is_valid("pki/alice.crt", "pki/ca.crt", X509_PURPOSE_SSL_CLIENT));
    assert_false(is_valid("pki/alice.crt", "pki/ca.crt", X509_PURPOSE_SSL_SERVER));

    assert_int_equal(run("pki ca --dir other"), 0);
    assert_false(is_valid("pki/n1.crt", "other/ca.crt", X509_PURPOSE_SSL_SERVER));
}

static void test_pki_names(void **state)
{
    (void)state;
    assert_int_equal(run("pki ca --dir pki"), 0);
    assert_int_equal(run("pki node n1 --dir pki --dns db.example --ip 10.1.2.3 --ip fd00::1"), 0);
    assert_int_equal(run("pki client alice@home --dir pki"), 0);
    X509 *node = certificate("pki/n1.crt");
    unsigned strict = X509_CHECK_FLAG_NEVER_CHECK_SUBJECT;
    assert_int_equal(X509_check_host(node, "n1", 0, strict, NULL), 1);
    assert_int_equal(X509_check_host(node, "db.example", 0, strict, NULL), 1);
    assert_int_equal(X509_check_host(node, "n2", 0, strict, NULL), 0);
    assert_int_equal(X509_check_ip_asc(node, "10.1.2.3", 0), 1);
    assert_int_equal(X509_check_ip_asc(node, "fd00::1", 0), 1);
    assert_int_equal(X509_check_ip_asc(node, "10.1.2.4", 0), 0);
    X509_free(node);

    X509 *client = certificate("pki/alice@home.crt");
    char name[128];
    X509_NAME_get_text_by_NID(X509_get_subject_name(client), NID_commonName, name, sizeof(name));
    assert_string_equal(name, "alice@home");
    X509_free(client);
}

static void test_pki_days(void **state)
{
    (void)state;
    assert_int_equal(run("pki ca --dir pki"), 0);
    assert_int_equal(run("pki client alice --dir pki --days 3"), 0);
    X509 *client = certificate("pki/alice.crt");
    int days = 0;
    int seconds = 0;
    assert_int_equal(ASN1_TIME_diff(&days, &seconds, NULL, X509_get0_notAfter(client)), 1);
    assert_true(days == 2 || (days == 3 && seconds <= 0));
    assert_true(X509_cmp_current_time(X509_get0_notBefore(client)) < 0);
    X509_free(client);
}

static void test_pki_never_overwrites(void **state)
{
    (void)state;
    char before[2048] = {0};
    char after[2048] = {0};
    assert_int_equal(run("pki ca --dir pki"), 0);
    read_file("pki/ca.crt", before, sizeof(before) - 1);
    assert_int_equal(run("pki ca --dir pki"), 1);
    assert_non_null(strstr(output, "exists already"));
    read_file("pki/ca.crt", after, sizeof(after) - 1);
    assert_string_equal(before, after);

    /* A key without its certificate: neither is touched, no certificate appears. */
    assert_int_equal(run("pki client alice --dir pki"), 0);
    assert_int_equal(unlink(in_dir("pki/alice.crt")), 0);
    assert_int_equal(run("pki client alice --dir pki"), 1);
    assert_int_equal(access(in_dir("pki/alice.crt"), F_OK), -1);
    assert_int_equal(access(in_dir("pki/alice.key"), F_OK), 0);
}

static void test_pki_wants_its_authority(void **state)
{
    (void)state;
    assert_int_equal(run("pki node n1 --dir pki"), 1);
    assert_non_null(strstr(output, "`strongroom pki ca` makes one"));
    assert_int_equal(run("pki ca --dir pki"), 0);
    assert_int_equal(chmod(in_dir("pki/ca.key"), 0644), 0);
    assert_int_equal(run("pki node n1 --dir pki"), 1);
    assert_non_null(strstr(output, "others than its owner may read it"));
    assert_int_equal(run("pki ca --dir other"), 0);
    assert_int_equal(rename(in_dir("other/ca.key"), in_dir("pki/ca.key")), 0);
    assert_int_equal(run("pki node n1 --dir pki"), 1);
    assert_non_null(strstr(output, "are not a certificate and its key"));
    assert_int_equal(access(in_dir("pki/n1.key"), F_OK), -1);
}

/* ---- Usage ---- */

static void test_usage(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "",
        "keygn",
        "keygen a",
        "keygen --colour red",
        "version 2",
        "pki",
        "pki ca",
        "pki ca extra --dir pki",
        "pki node --dir pki",
        "pki node N1 --dir pki",
        "pki node -- -n1 --dir pki",
        "pki node ca --dir pki",
        "pki node n1 --dir pki --dns 'a,DNS:b'",
        "pki node n1 --dir pki --days 0",
        "pki node n1 --dir pki --days 3x",
        "pki node n1 --dir pki --days 4294967297",
        "pki client 'a/b' --dir pki",
        "pki client alice --dir pki --ip 127.0.0.1",
        "pki ca --dir pki --dns a",
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        int code = run("%s", wrong[i]);
        if (code != 2 || output[0] == 0) {
            fail_msg("strongroom %s: exit code %d: %s", wrong[i], code, output);
        }
    }
    assert_int_equal(access(in_dir("pki"), F_OK), -1); /* nothing was made */
    assert_int_equal(run("pki ca --dir pki"), 0);
    assert_int_equal(run("pki node n1 --dir pki --ip 1.2.3"), 1);
    assert_non_null(strstr(output, "1.2.3: not an IP address"));
}

static void test_help_and_version(void **state)
{
    (void)state;
    static const char *const helps[] = {"--help", "keygen --help", "pki --help"};
    for (size_t i = 0; i < sizeof(helps) / sizeof(helps[0]); i++) {
        assert_int_equal(run("%s", helps[i]), 0);
        assert_memory_equal(output, "usage: strongroom", strlen("usage: strongroom"));
    }
    assert_int_equal(run("version"), 0);
    assert_string_equal(output, "strongroom " STRONGROOM_VERSION "\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_keygen, setup, teardown),
        cmocka_unit_test_setup_teardown(test_keygen_never_prints_the_key, setup, teardown),
        cmocka_unit_test_setup_teardown(test_keygen_never_overwrites, setup, teardown),
        cmocka_unit_test_setup_teardown(test_recovery_keys_come_in_halves, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_recovery_key_that_is_not_seen_is_not_made, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_pki_chain, setup, teardown),
        cmocka_unit_test_setup_teardown(test_pki_names, setup, teardown),
        cmocka_unit_test_setup_teardown(test_pki_days, setup, teardown),
        cmocka_unit_test_setup_teardown(test_pki_never_overwrites, setup, teardown),
        cmocka_unit_test_setup_teardown(test_pki_wants_its_authority, setup, teardown),
        cmocka_unit_test_setup_teardown(test_usage, setup, teardown),
        cmocka_unit_test_setup_teardown(test_help_and_version, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
