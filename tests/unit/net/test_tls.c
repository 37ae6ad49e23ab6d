/* SPDX-License-Identifier: Apache-2.0
 *
 * Certificate and key files that cannot be used, each with a text that names the file; addresses.
 */
#include "stream_pair.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/evp.h>
#include <openssl/pem.h>

#include "node/net/address.h"

static void expect_failure(const char *certificate, const char *key, const char *ca, int status,
                           const char *text)
{
    struct sr_tls_files files = {certificate, key, ca};
    for (int server = 0; server < 2; server++) {
        struct sr_tls *tls = NULL;
        struct sr_err err = {0};
        int got = server ? sr_tls_server_new(&files, "h2", true, &tls, &err)
                         : sr_tls_client_new(&files, "h2", &tls, &err);
        assert_null(tls);
        assert_int_equal(err.status, got);
        if (got != status || strstr(err.text, text) == NULL) {
            fail_msg("expected status %d with \"%s\", got %d \"%s\"", status, text, got, err.text);
        }
    }
}

static void files_that_are_not_there(void **state)
{
    (void)state;
    const char *crt = fixture_path("node-1", "crt");
    const char *key = fixture_path("node-1", "key");
    const char *ca = fixture_path("ca", "crt");
    expect_failure("/nowhere/a.crt", key, ca, SR_NOT_FOUND, "certificate /nowhere/a.crt");
    expect_failure(crt, "/nowhere/a.key", ca, SR_NOT_FOUND, "private key /nowhere/a.key");
    expect_failure(crt, key, "/nowhere/ca.crt", SR_NOT_FOUND, "CA certificate /nowhere/ca.crt");
}

static void files_that_are_something_else(void **state)
{
    (void)state;
    const char *crt = fixture_path("node-1", "crt");
    const char *key = fixture_path("node-1", "key");
    const char *ca = fixture_path("ca", "crt");
    expect_failure(key, key, ca, SR_INVALID, "certificate ");
    expect_failure(crt, key, key, SR_INVALID, "CA certificate ");
    assert_int_equal(chmod(crt, 0600), 0);
    expect_failure(crt, crt, ca, SR_INVALID, "private key ");
}

static void a_key_must_fit_its_certificate(void **state)
{
    (void)state;
    expect_failure(fixture_path("node-1", "crt"), fixture_path("node-2", "key"),
                   fixture_path("ca", "crt"), SR_INVALID, "does not fit the certificate");
}

static void a_key_that_others_can_read_is_refused(void **state)
{
    (void)state;
    static const mode_t modes[] = {0640, 0604, 0610, 0620, 0644, 0666, 0777};
    char key[512];
    snprintf(key, sizeof(key), "%s", fixture_path("node-3", "key"));
    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        assert_int_equal(chmod(key, modes[i]), 0);
        expect_failure(fixture_path("node-3", "crt"), key, fixture_path("ca", "crt"), SR_KEY,
                       "chmod 0600");
    }
    assert_int_equal(chmod(key, 0400), 0);
    sr_tls_free(fixture_client_tls("node-3", "ca", NULL));
    assert_int_equal(chmod(key, 0600), 0);
}

static void save_key(const char *path, const EVP_CIPHER *cipher)
{
    char phrase[] = "pass phrase";
    FILE *file = fopen(path, "w");
    EVP_PKEY *pair = EVP_EC_gen("P-256");
    assert_int_equal(
        PEM_write_PKCS8PrivateKey(file, pair, cipher, phrase, (int)strlen(phrase), NULL, NULL), 1);
    EVP_PKEY_free(pair);
    fclose(file);
    assert_int_equal(chmod(path, 0600), 0);
}

/* It must not ask on the terminal either. */
static void a_key_under_a_pass_phrase_is_refused(void **state)
{
    (void)state;
    const char *path = fixture_path("locked", "key");
    save_key(path, EVP_aes_256_cbc());
    expect_failure(fixture_path("node-1", "crt"), path, fixture_path("ca", "crt"), SR_INVALID,
                   "not an unencrypted PEM key");
}

/* A certificate that says that it is under one is refused, too, and nobody is asked for it. */
static void nobody_is_asked_for_a_pass_phrase(void **state)
{
    static const char pem[] = "-----BEGIN CERTIFICATE-----\n"
                              "Proc-Type: 4,ENCRYPTED\n"
                              "DEK-Info: AES-256-CBC,00112233445566778899AABBCCDDEEFF\n\n"
                              "MAAwADAAMAAwADAAMAAwADAAMAAwADAAMAAwADAAMAA=\n"
                              "-----END CERTIFICATE-----\n";
    const char *crt = fixture_path("node-1", "crt");
    const char *key = fixture_path("node-1", "key");
    const char *ca = fixture_path("ca", "crt");
    const char *sealed = fixture_path("sealed", "crt");
    char left[8] = "";
    int ends[2];
    int input = dup(STDIN_FILENO);
    FILE *file = fopen(sealed, "w");
    (void)state;
    assert_non_null(file);
    assert_true(fputs(pem, file) >= 0 && fclose(file) == 0);
    /* Without a terminal OpenSSL would read here. */
    assert_true(pipe(ends) == 0 && dup2(ends[0], STDIN_FILENO) == STDIN_FILENO);
    assert_int_equal(write(ends[1], "phrase\n", 7), 7);
    close(ends[1]);
    expect_failure(sealed, key, ca, SR_INVALID, "certificate ");
    expect_failure(crt, key, sealed, SR_INVALID, "CA certificate ");
    assert_int_equal(read(ends[0], left, sizeof(left)), 7);
    close(ends[0]);
    assert_int_equal(dup2(input, STDIN_FILENO), STDIN_FILENO);
    close(input);
    assert_int_equal(remove(sealed), 0);
}

static void a_file_larger_than_any_key_is_refused(void **state)
{
    (void)state;
    const char *path = fixture_path("large", "key");
    FILE *file = fopen(path, "w");
    for (int i = 0; i < 70000; i++) {
        fputc('x', file);
    }
    fclose(file);
    assert_int_equal(chmod(path, 0600), 0);
    expect_failure(fixture_path("node-1", "crt"), path, fixture_path("ca", "crt"), SR_INVALID,
                   "larger than a key");
}

static void addresses_are_cut_at_the_last_colon(void **state)
{
    (void)state;
    char host[SR_HOST_TEXT_MAX];
    char port[6];
    assert_int_equal(sr_address_split("db-1.zone-a:2380", host, port, NULL), SR_OK);
    assert_string_equal(host, "db-1.zone-a");
    assert_string_equal(port, "2380");
    assert_int_equal(sr_address_split("[fe80::1]:65535", host, port, NULL), SR_OK);
    assert_string_equal(host, "fe80::1");
    assert_string_equal(port, "65535");

    static const char *const bad[] = {
        "",           "host",      ":2379",       "[]:2379", "host:",
        "host:65536", "host:-1",   "host:+1",     "host: 1", "::1:1",
        "host:1a",    "host:0x10", "host:999999", "[::1]",   "host:1:2",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct sr_err err = {0};
        assert_int_equal(sr_address_split(bad[i], host, port, &err), SR_INVALID);
        assert_true(err.text[0] != '\0');
    }
    char long_host[400];
    memset(long_host, 'h', sizeof(long_host));
    memcpy(long_host + 380, ":1", 3);
    assert_int_equal(sr_address_split(long_host, host, port, NULL), SR_INVALID);
}

static void expect_address(const char *text, const char *formatted)
{
    struct sockaddr_storage address;
    char out[SR_ADDRESS_TEXT_MAX];
    assert_int_equal(sr_address_numeric(text, &address, NULL), SR_OK);
    sr_address_format((struct sockaddr *)&address, out);
    assert_string_equal(out, formatted);
    assert_int_equal(sr_address_resolve(text, &address, NULL), SR_OK);
}

static void addresses_are_resolved(void **state)
{
    (void)state;
    struct sockaddr_storage address;
    struct sr_err err = {0};
    expect_address("127.0.0.1:2379", "127.0.0.1:2379");
    expect_address("[::1]:0", "[::1]:0");
    expect_address("[2001:db8:0:0::7]:443", "[2001:db8::7]:443");
    assert_int_equal(sr_address_numeric("localhost:1", &address, &err), SR_NOT_FOUND);
    assert_int_equal(sr_address_resolve("localhost:1", &address, &err), SR_OK);
    assert_int_equal(sr_address_resolve("no-such-host.invalid:1", &address, &err), SR_NETWORK);
    assert_non_null(strstr(err.text, "no-such-host.invalid"));
    struct sockaddr_storage other = {.ss_family = AF_UNIX};
    char out[SR_ADDRESS_TEXT_MAX];
    sr_address_format((struct sockaddr *)&other, out);
    assert_string_equal(out, "?");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_that_are_not_there),
        cmocka_unit_test(files_that_are_something_else),
        cmocka_unit_test(a_key_must_fit_its_certificate),
        cmocka_unit_test(a_key_that_others_can_read_is_refused),
        cmocka_unit_test(a_key_under_a_pass_phrase_is_refused),
        cmocka_unit_test(nobody_is_asked_for_a_pass_phrase),
        cmocka_unit_test(a_file_larger_than_any_key_is_refused),
        cmocka_unit_test(addresses_are_cut_at_the_last_colon),
        cmocka_unit_test(addresses_are_resolved),
    };
    return cmocka_run_group_tests(tests, fixture_make_pki, fixture_remove_pki);
}
