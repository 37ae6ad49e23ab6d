/* SPDX-License-Identifier: Apache-2.0
 *
 * The admin port over real sockets: paths, methods, health in every state, and who is let in
 * when TLS is on.
 */
#include <gnutls/gnutls.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include "client/certificate.h"
#include "tests/unit/admin/fakes.h"
#include "tests/unit/cmocka.h"

static struct sr_admin *admin;
static char answer[256 * 1024];

/* ---- Plain HTTP ---- */

static int connect_to_admin(void)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    struct timeval limit = {.tv_sec = 30};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)sr_admin_port(admin)),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

static int status_of_answer(void)
{
    int status = 0;
    assert_int_equal(sscanf(answer, "HTTP/1.1 %d", &status), 1);
    return status;
}

static int request(const char *method, const char *path)
{
    int fd = connect_to_admin();
    char text[256];
    int size = snprintf(text, sizeof(text),
                        "%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                        "Content-Length: 0\r\n\r\n",
                        method, path);
    assert_int_equal(send(fd, text, (size_t)size, MSG_NOSIGNAL), size);
    size_t used = 0;
    ssize_t n = 0;
    while ((n = recv(fd, answer + used, sizeof(answer) - 1 - used, 0)) > 0) {
        used += (size_t)n;
    }
    answer[used] = 0;
    close(fd);
    return status_of_answer();
}

static const char *body(void)
{
    const char *end = strstr(answer, "\r\n\r\n");
    assert_non_null(end);
    return end + 4;
}

static int start(void **state)
{
    (void)state;
    fake_reset();
    struct sr_admin_options options = fake_options();
    struct sr_err err = {0};
    if (sr_admin_start(&options, &admin, &err) != SR_OK) {
        print_error("%s\n", err.text);
        return -1;
    }
    return 0;
}

static int stop(void **state)
{
    (void)state;
    sr_admin_stop(admin);
    admin = NULL;
    return 0;
}

static void test_healthy(void **state)
{
    (void)state;
    assert_int_equal(request("GET", "/livez"), 200);
    assert_string_equal(body(), "ok\n");
    assert_int_equal(request("GET", "/readyz"), 200);
    assert_string_equal(body(), "ok\n");
    assert_int_equal(request("GET", "/readyz?verbose"), 200);
    assert_string_equal(
        body(), "[+]store ok\n[+]leader ok\n[+]disk ok\n[+]replica ok\n[+]serving ok\nok\n");
    assert_int_equal(request("GET", "/health"), 200);
    assert_string_equal(body(), "{\"health\":\"true\",\"reason\":\"\"}");
}

static void test_without_leader(void **state)
{
    (void)state;
    fake.info.leader = 0;
    assert_int_equal(request("GET", "/livez"), 200);
    assert_int_equal(request("GET", "/readyz"), 503);
    assert_string_equal(body(), "[-]leader failed: no leader is known\n");
    assert_int_equal(request("GET", "/readyz?verbose"), 503);
    assert_string_equal(body(), "[+]store ok\n[-]leader failed: no leader is known\n[+]disk "
                                "ok\n[+]replica ok\n[+]serving ok\n");
    assert_int_equal(request("GET", "/health"), 503);
    assert_string_equal(body(), "{\"health\":\"false\",\"reason\":\"RAFT NO LEADER\"}\n");
    assert_int_equal(request("GET", "/health?serializable=true"), 200);
}

static void test_stopping(void **state)
{
    (void)state;
    atomic_store(&fake.stopping, true);
    assert_int_equal(request("GET", "/livez"), 200);
    assert_int_equal(request("GET", "/readyz"), 503);
    assert_string_equal(body(), "[-]serving failed: the node is stopping\n");
    assert_int_equal(request("GET", "/health"), 503);
}

static void test_failed_store(void **state)
{
    (void)state;
    fake.store_status = SR_CORRUPT;
    assert_int_equal(request("GET", "/livez"), 503);
    assert_string_equal(body(), "[-]store failed: page 7 is damaged\n");
    assert_int_equal(request("GET", "/readyz"), 503);
    assert_int_equal(request("GET", "/health"), 503);
    assert_string_equal(body(), "{\"health\":\"false\",\"reason\":\"ALARM CORRUPT\"}\n");
    assert_int_equal(request("GET", "/metrics"), 200);
}

static void test_full_disk(void **state)
{
    (void)state;
    fake.has_space = false;
    assert_int_equal(request("GET", "/readyz"), 200); /* reads and deletes go on */
    assert_int_equal(request("GET", "/health"), 503);
    assert_string_equal(body(), "{\"health\":\"false\",\"reason\":\"ALARM NOSPACE\"}\n");
    assert_int_equal(request("GET", "/health?exclude=NOSPACE"), 200);
}

static void test_accused(void **state)
{
    (void)state;
    fake.overview.accused = true;
    fake.overview.alarms_corrupt = 1;
    assert_int_equal(request("GET", "/livez"), 200);
    assert_int_equal(request("GET", "/readyz"), 503);
    assert_string_equal(body(),
                        "[-]replica failed: its state differs from that of the other members\n");
    assert_int_equal(request("GET", "/health"), 503);
    assert_string_equal(body(), "{\"health\":\"false\",\"reason\":\"ALARM CORRUPT\"}\n");
    fake.overview.accused = false; /* somebody else is */
    assert_int_equal(request("GET", "/readyz"), 200);
    assert_int_equal(request("GET", "/health"), 503);
    fake.overview.alarms_corrupt = 0;
    fake.overview.alarms_no_space = 1;
    assert_int_equal(request("GET", "/readyz"), 200);
    assert_int_equal(request("GET", "/health"), 503);
    assert_string_equal(body(), "{\"health\":\"false\",\"reason\":\"ALARM NOSPACE\"}\n");
    assert_int_equal(request("GET", "/health?exclude=NOSPACE"), 200);
}

static void test_routes(void **state)
{
    (void)state;
    assert_int_equal(request("GET", "/"), 404);
    assert_int_equal(request("GET", "/metrics/"), 404);
    assert_int_equal(request("POST", "/nothing"), 404);
    assert_int_equal(request("POST", "/livez"), 405);
    assert_non_null(strstr(answer, "\r\nAllow: GET, HEAD\r\n"));
    assert_int_equal(request("DELETE", "/metrics"), 405);
    assert_int_equal(request("HEAD", "/livez"), 200);
    assert_string_equal(body(), "");
}

static void test_metrics_type(void **state)
{
    (void)state;
    assert_int_equal(request("GET", "/metrics"), 200);
    assert_non_null(
        strstr(answer, "\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
    assert_non_null(strstr(body(), "\nstrongroom_term 7\n"));
}

static void test_address_taken(void **state)
{
    (void)state;
    char listen_on[64];
    snprintf(listen_on, sizeof(listen_on), "127.0.0.1:%u", sr_admin_port(admin));
    struct sr_admin_options options = fake_options();
    options.listen = listen_on;
    struct sr_admin *second = NULL;
    struct sr_err err = {0};
    assert_int_equal(sr_admin_start(&options, &second, &err), SR_NETWORK);
    assert_non_null(strstr(err.text, listen_on));
    assert_null(second);
}

/* ---- TLS ---- */

static char dir[256];

/* Two authorities in directories of their own; the admin port believes the first. */
static void make_certificates(const char *authority)
{
    char at[2][512];
    char ca[2][512];
    struct sr_err err = {0};
    snprintf(at[0], sizeof(at[0]), "%s/%s", dir, authority);
    assert_int_equal(mkdir(at[0], 0700), 0);
    snprintf(ca[0], sizeof(ca[0]), "%s/%s/ca.crt", dir, authority);
    snprintf(ca[1], sizeof(ca[1]), "%s/%s/ca.key", dir, authority);
    struct sr_certificate_request request_ca = {
        .kind = SR_CERTIFICATE_CA, .common_name = authority, .days = 2};
    assert_int_equal(sr_certificate_make(&request_ca, ca[0], ca[1], &err), SR_OK);

    static const char *const names[] = {"n1", "alice"};
    for (size_t i = 0; i < 2; i++) {
        struct sr_certificate_request leaf = {.kind = i == 0 ? SR_CERTIFICATE_NODE
                                                             : SR_CERTIFICATE_CLIENT,
                                              .common_name = names[i],
                                              .days = 1,
                                              .addresses = {"127.0.0.1"},
                                              .address_count = i == 0,
                                              .ca_certificate = ca[0],
                                              .ca_key = ca[1]};
        snprintf(at[0], sizeof(at[0]), "%s/%s/%s.crt", dir, authority, names[i]);
        snprintf(at[1], sizeof(at[1]), "%s/%s/%s.key", dir, authority, names[i]);
        assert_int_equal(sr_certificate_make(&leaf, at[0], at[1], &err), SR_OK);
    }
}

static const char *file(const char *name)
{
    static char paths[4][512];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof(paths[0]), "%s/%s", dir, name);
    return path;
}

static int start_with_tls(void **state)
{
    (void)state;
    fake_reset();
    const char *base = getenv("TMPDIR");
    snprintf(dir, sizeof(dir), "%s/strongroom-admin-XXXXXX", base == NULL ? "/tmp" : base);
    assert_non_null(mkdtemp(dir));
    make_certificates("ours");
    make_certificates("theirs");
    struct sr_tls_files files = {.certificate = file("ours/n1.crt"),
                                 .private_key = file("ours/n1.key"),
                                 .ca = file("ours/ca.crt")};
    struct sr_admin_options options = fake_options();
    options.tls = &files;
    struct sr_err err = {0};
    if (sr_admin_start(&options, &admin, &err) != SR_OK) {
        print_error("%s\n", err.text);
        return -1;
    }
    return 0;
}

static int stop_with_tls(void **state)
{
    stop(state);
    static const char *const made[] = {"ca.crt", "ca.key",    "n1.crt",
                                       "n1.key", "alice.crt", "alice.key"};
    for (size_t i = 0; i < 2; i++) {
        char name[64];
        const char *authority = i == 0 ? "ours" : "theirs";
        for (size_t k = 0; k < sizeof(made) / sizeof(made[0]); k++) {
            snprintf(name, sizeof(name), "%s/%s", authority, made[k]);
            unlink(file(name));
        }
        rmdir(file(authority));
    }
    return rmdir(dir);
}

/* GET /livez over TLS with the certificate of @who ("ours/alice"; NULL: none), under
 * @priorities. The HTTP status, or 0 when the connection failed. */
static int request_tls(const char *who, const char *priorities)
{
    gnutls_certificate_credentials_t credentials = NULL;
    assert_int_equal(gnutls_certificate_allocate_credentials(&credentials), 0);
    assert_int_equal(gnutls_certificate_set_x509_trust_file(credentials, file("ours/ca.crt"),
                                                            GNUTLS_X509_FMT_PEM),
                     1);
    if (who != NULL) {
        char names[2][64];
        snprintf(names[0], sizeof(names[0]), "%s.crt", who);
        snprintf(names[1], sizeof(names[1]), "%s.key", who);
        assert_int_equal(gnutls_certificate_set_x509_key_file(credentials, file(names[0]),
                                                              file(names[1]), GNUTLS_X509_FMT_PEM),
                         0);
    }
    gnutls_session_t session = NULL;
    /* Send what we have even if the server's list of authorities does not name its own. */
    assert_int_equal(gnutls_init(&session, GNUTLS_CLIENT | GNUTLS_FORCE_CLIENT_CERT), 0);
    assert_int_equal(gnutls_priority_set_direct(session, priorities, NULL), 0);
    assert_int_equal(gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, credentials), 0);
    int fd = connect_to_admin();
    gnutls_transport_set_int(session, fd);
    static const char text[] = "GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    int status = 0;
    if (gnutls_handshake(session) == 0 && gnutls_record_send(session, text, sizeof(text) - 1) > 0) {
        ssize_t n = gnutls_record_recv(session, answer, sizeof(answer) - 1);
        answer[n > 0 ? n : 0] = 0;
        status = n > 0 ? status_of_answer() : 0;
    }
    gnutls_deinit(session);
    gnutls_certificate_free_credentials(credentials);
    close(fd);
    return status;
}

#define TLS_1_3 "NORMAL:-VERS-ALL:+VERS-TLS1.3"
#define TLS_1_2 "NORMAL:-VERS-ALL:+VERS-TLS1.2"

static void test_tls(void **state)
{
    (void)state;
    assert_int_equal(request_tls("ours/alice", TLS_1_3), 200);
    assert_int_equal(request_tls("ours/n1", TLS_1_3), 200); /* a node may look at another */
}

static void test_tls_refuses(void **state)
{
    (void)state;
    assert_int_equal(request_tls(NULL, TLS_1_3), 0);
    assert_int_equal(request_tls("theirs/alice", TLS_1_3), 403);
    assert_int_equal(request_tls("ours/alice", TLS_1_2), 0);
}

static void test_tls_files(void **state)
{
    (void)state;
    struct sr_tls_files files = {.certificate = file("ours/n1.crt"),
                                 .private_key = file("ours/n1.key"),
                                 .ca = file("ours/ca.crt")};
    struct sr_admin_options options = fake_options();
    options.tls = &files;
    struct sr_admin *second = NULL;
    struct sr_err err = {0};
    assert_int_equal(chmod(files.private_key, 0640), 0);
    assert_int_equal(sr_admin_start(&options, &second, &err), SR_KEY);
    assert_non_null(strstr(err.text, "ours/n1.key"));
    assert_int_equal(chmod(files.private_key, 0600), 0);
    files.ca = file("none");
    assert_int_equal(sr_admin_start(&options, &second, &err), SR_NOT_FOUND);
    files.ca = file("ours/ca.crt");
    files.certificate = file("ours/alice.key"); /* PEM, but no certificate */
    assert_int_equal(sr_admin_start(&options, &second, &err), SR_INVALID);
    assert_null(second);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_healthy, start, stop),
        cmocka_unit_test_setup_teardown(test_without_leader, start, stop),
        cmocka_unit_test_setup_teardown(test_stopping, start, stop),
        cmocka_unit_test_setup_teardown(test_failed_store, start, stop),
        cmocka_unit_test_setup_teardown(test_full_disk, start, stop),
        cmocka_unit_test_setup_teardown(test_accused, start, stop),
        cmocka_unit_test_setup_teardown(test_routes, start, stop),
        cmocka_unit_test_setup_teardown(test_metrics_type, start, stop),
        cmocka_unit_test_setup_teardown(test_address_taken, start, stop),
        cmocka_unit_test_setup_teardown(test_tls, start_with_tls, stop_with_tls),
        cmocka_unit_test_setup_teardown(test_tls_refuses, start_with_tls, stop_with_tls),
        cmocka_unit_test_setup_teardown(test_tls_files, start_with_tls, stop_with_tls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
