/* SPDX-License-Identifier: Apache-2.0
 *
 * Streams that must not open: what the other side shows, says or fails to say decides, and both
 * sides get to know why as far as TLS lets them.
 */
#include "stream_pair.h"

#include <openssl/ssl.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void expect_reason(const struct side *side, int status, const char *text)
{
    assert_true(side->is_closed);
    if (side->reason.status != status || strstr(side->reason.text, text) == NULL) {
        fail_msg("expected status %d with \"%s\", got %d \"%s\"", status, text, side->reason.status,
                 side->reason.text);
    }
}

/* Connect with @tls and run until both ends are closed. */
static void run_refused(struct fixture *fixture, struct side *side, struct sr_tls *tls,
                        const char *name)
{
    side_connect(fixture, side, tls, name);
    sr_tls_free(tls);
    fixture_run(fixture, both_are_closed, side);
    assert_int_equal(side->received.size, 0);
    assert_int_equal(fixture->accepted[0].received.size, 0);
}

static void a_client_of_another_ca_is_refused(void **state)
{
    (void)state;
    struct fixture fixture;
    struct side side = {0};
    fixture_open(&fixture, NULL, false);
    run_refused(&fixture, &side, fixture_client_tls("other", "ca", NULL), "node-1");
    expect_reason(&fixture.accepted[0], SR_REFUSED, "certificate of the other side");
    expect_reason(&side, SR_REFUSED, "the other side refused");
    assert_false(fixture.accepted[0].is_open);
    fixture_close(&fixture);
}

static void an_expired_certificate_is_refused(void **state)
{
    (void)state;
    struct fixture fixture;
    struct side side = {0};
    fixture_open(&fixture, NULL, false);
    run_refused(&fixture, &side, fixture_client_tls("expired", "ca", NULL), "node-1");
    expect_reason(&fixture.accepted[0], SR_REFUSED, "expired");
    expect_reason(&side, SR_REFUSED, "certificate expired");
    fixture_close(&fixture);
}

static void a_server_of_another_ca_is_refused(void **state)
{
    (void)state;
    struct fixture fixture;
    struct side side = {0};
    fixture_open(&fixture, NULL, false);
    run_refused(&fixture, &side, fixture_client_tls("node-2", "other-ca", NULL), "node-1");
    expect_reason(&side, SR_REFUSED, "certificate of the other side");
    expect_reason(&fixture.accepted[0], SR_REFUSED, "unknown ca");
    assert_false(side.is_open);
    fixture_close(&fixture);
}

static void a_server_of_another_name_is_refused(void **state)
{
    (void)state;
    struct fixture fixture;
    struct side side = {0};
    fixture_open(&fixture, NULL, false);
    run_refused(&fixture, &side, fixture_client_tls("node-2", "ca", NULL), "node-3");
    expect_reason(&side, SR_REFUSED, "does not carry the name node-3");
    expect_reason(&fixture.accepted[0], SR_REFUSED, "the other side refused");
    assert_false(side.is_open);
    fixture_close(&fixture);
}

static void protocols_must_agree(void **state)
{
    (void)state;
    struct fixture fixture;
    struct side wrong = {0};
    struct side none = {0};
    fixture_open(&fixture, "h2", false);
    run_refused(&fixture, &wrong, fixture_client_tls("node-2", "ca", "http/1.1"), "node-1");
    expect_reason(&wrong, SR_REFUSED, "no application protocol");
    expect_reason(&fixture.accepted[0], SR_REFUSED, "TLS");
    struct sr_tls *tls = fixture_client_tls("node-2", "ca", NULL);
    side_connect(&fixture, &none, tls, "node-1");
    sr_tls_free(tls);
    fixture_run(&fixture, side_is_closed, &none);
    expect_reason(&none, SR_REFUSED, "no application protocol");
    fixture_close(&fixture);
}

/* A server that ignores ALPN: the client sees to it itself. */
static void a_server_without_the_protocol_is_refused(void **state)
{
    (void)state;
    struct fixture fixture;
    struct side side = {0};
    fixture_open(&fixture, NULL, false);
    run_refused(&fixture, &side, fixture_client_tls("node-2", "ca", "h2"), "node-1");
    expect_reason(&side, SR_REFUSED, "does not speak h2");
    fixture_close(&fixture);
}

static void nobody_listens(void **state)
{
    (void)state;
    struct fixture fixture;
    struct side side = {0};
    fixture_open(&fixture, NULL, false);
    sr_listener_close(fixture.listener, NULL, NULL);
    fixture.listener = NULL;
    struct sr_tls *tls = fixture_client_tls("node-2", "ca", NULL);
    side_connect(&fixture, &side, tls, "node-1");
    sr_tls_free(tls);
    assert_false(side.is_closed); /* never from inside the call */
    fixture_run(&fixture, side_is_closed, &side);
    expect_reason(&side, SR_NETWORK, "connection refused");
    fixture_close(&fixture);
}

static bool first_is_closed(void *arg)
{
    struct fixture *fixture = arg;
    return fixture->accepted_count > 0 && fixture->accepted[0].is_closed;
}

static bool first_is_accepted(void *arg)
{
    return ((struct fixture *)arg)->accepted_count > 0;
}

/* Send @bytes instead of a handshake, and see how the accepting side ends. */
static void say(const char *bytes, size_t size, bool hang_up, int status, const char *text)
{
    struct fixture fixture;
    fixture_open(&fixture, "h2", false);
    int fd = fixture_dial(&fixture);
    assert_int_equal(send(fd, bytes, size, MSG_NOSIGNAL), size);
    if (hang_up) {
        shutdown(fd, SHUT_WR);
    }
    fixture_run(&fixture, first_is_closed, &fixture);
    assert_false(fixture.accepted[0].is_open);
    expect_reason(&fixture.accepted[0], status, text);
    close(fd);
    fixture_close(&fixture);
}

static void what_is_not_tls_is_refused(void **state)
{
    (void)state;
    static const char http[] = "GET /health HTTP/1.1\r\nHost: strongroom\r\n\r\n";
    static const char h2c[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    static const char noise[] = "\x9d\x01\xfe\xff\x00 not TLS at all, not in the least \x80\x81";
    static const char half[] = "\x16\x03\x01\x02\x00\x01\x00";
    static const char bad[] = "\x16\x03\x01\x00\x04\x01\xff\xff\xff";
    say(http, sizeof(http) - 1, false, SR_REFUSED, "http request");
    say(h2c, sizeof(h2c) - 1, false, SR_REFUSED, "TLS: ");
    say(noise, sizeof(noise) - 1, false, SR_REFUSED, "TLS: ");
    say(bad, sizeof(bad) - 1, false, SR_REFUSED, "TLS: ");
    say(half, sizeof(half) - 1, true, SR_NETWORK, "hung up during the TLS handshake");
    say("", 0, true, SR_NETWORK, "hung up during the TLS handshake");
}

static void half_a_handshake_times_out(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_open(&fixture, NULL, false);
    fixture.timeout_ms = 50;
    int fd = fixture_dial(&fixture);
    assert_int_equal(send(fd, "\x16\x03\x01\x02", 4, MSG_NOSIGNAL), 4);
    fixture_run(&fixture, first_is_closed, &fixture);
    expect_reason(&fixture.accepted[0], SR_TIMEOUT, "no TLS handshake in time");
    close(fd);
    fixture_close(&fixture);
}

static void a_silent_server_times_out(void **state)
{
    (void)state;
    struct fixture fixture;
    struct side side = {0};
    fixture_open(&fixture, NULL, false);
    /* The kernel accepts, nobody else does. */
    uv_loop_t other;
    struct sr_listener *deaf = NULL;
    struct sr_listener_options options = {.loop = &other, .address = "127.0.0.1:0"};
    assert_int_equal(uv_loop_init(&other), 0);
    assert_int_equal(sr_listener_open(&options, &deaf, NULL), SR_OK);
    fixture.port = sr_listener_port(deaf);
    fixture.timeout_ms = 50;
    struct sr_tls *tls = fixture_client_tls("node-2", "ca", NULL);
    side_connect(&fixture, &side, tls, "node-1");
    sr_tls_free(tls);
    fixture_run(&fixture, side_is_closed, &side);
    expect_reason(&side, SR_TIMEOUT, "in time");
    sr_listener_close(deaf, NULL, NULL);
    uv_run(&other, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&other), 0);
    fixture_close(&fixture);
}

static void a_reset_during_the_handshake_is_a_network_failure(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_open(&fixture, NULL, false);
    int fd = fixture_dial(&fixture);
    fixture_run(&fixture, first_is_accepted, &fixture);
    struct linger hard = {.l_onoff = 1, .l_linger = 0};
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard)), 0);
    close(fd);
    fixture_run(&fixture, first_is_closed, &fixture);
    expect_reason(&fixture.accepted[0], SR_NETWORK, "reset");
    fixture_close(&fixture);
}

static void a_name_that_is_none_is_refused_at_once(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_open(&fixture, NULL, false);
    char long_name[400];
    memset(long_name, 'a', sizeof(long_name) - 1);
    long_name[sizeof(long_name) - 1] = '\0';
    const char *const names[] = {"", ".zone", long_name};
    struct sockaddr_in address = {.sin_family = AF_INET};
    struct sr_tls *tls = fixture_client_tls("node-2", "ca", NULL);
    struct sr_stream_events events = {0};
    for (size_t i = 0; i < 3; i++) {
        struct sr_err err = {0};
        struct sr_stream_target target = {(struct sockaddr *)&address, names[i]};
        assert_null(sr_stream_connect(&fixture.loop, &target, tls, 1000, &events, NULL, &err));
        assert_int_equal(err.status, SR_INVALID);
    }
    sr_tls_free(tls);
    fixture_close(&fixture);
}

/* ---- clients that are not ours: OpenSSL in a thread, as a stranger would use it ---- */

struct stranger {
    int fd;
    int version;
    const char *stem; /* NULL: shows no certificate */
    SSL_SESSION *resume;
    bool updates_keys;
    bool is_resumed;
    bool is_greeted; /* got the byte that the server sends when it let us in */
    SSL_SESSION *ticket;
};

static int keep_ticket(SSL *ssl, SSL_SESSION *session)
{
    struct stranger *stranger = SSL_get_app_data(ssl);
    SSL_SESSION_free(stranger->ticket);
    stranger->ticket = session;
    return 1;
}

static void *be_a_stranger(void *arg)
{
    struct stranger *stranger = arg;
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_max_proto_version(ctx, stranger->version);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(ctx, keep_ticket);
    if (stranger->stem != NULL) {
        SSL_CTX_use_certificate_chain_file(ctx, fixture_path(stranger->stem, "crt"));
        SSL_CTX_use_PrivateKey_file(ctx, fixture_path(stranger->stem, "key"), SSL_FILETYPE_PEM);
    }
    SSL *ssl = SSL_new(ctx);
    SSL_set_app_data(ssl, stranger);
    SSL_set_fd(ssl, stranger->fd);
    if (stranger->resume != NULL) {
        SSL_set_session(ssl, stranger->resume);
    }
    char byte = 'x';
    bool is_let_in = SSL_connect(ssl) == 1;
    if (is_let_in && stranger->updates_keys) {
        SSL_key_update(ssl, SSL_KEY_UPDATE_REQUESTED);
    }
    if (is_let_in && SSL_write(ssl, &byte, 1) == 1) {
        stranger->is_resumed = SSL_session_reused(ssl) == 1;
        stranger->is_greeted = SSL_read(ssl, &byte, 1) == 1;
        SSL_shutdown(ssl);
    }
    SSL_free(ssl);
    SSL_CTX_free(ctx);
    shutdown(stranger->fd, SHUT_WR);
    return NULL;
}

static void run_stranger(struct fixture *fixture, struct stranger *stranger)
{
    pthread_t thread;
    fixture->accept_echo = true;
    stranger->fd = fixture_dial(fixture);
    assert_int_equal(pthread_create(&thread, NULL, be_a_stranger, stranger), 0);
    fixture_run(fixture, first_is_closed, fixture);
    assert_int_equal(pthread_join(thread, NULL), 0);
    close(stranger->fd);
}

static void tls_1_2_is_refused(void **state)
{
    (void)state;
    struct fixture fixture;
    struct stranger stranger = {.version = TLS1_2_VERSION, .stem = "client"};
    fixture_open(&fixture, NULL, false);
    run_stranger(&fixture, &stranger);
    expect_reason(&fixture.accepted[0], SR_REFUSED, "protocol");
    assert_false(stranger.is_greeted);
    fixture_close(&fixture);
}

static void a_client_without_a_certificate_is_refused(void **state)
{
    (void)state;
    struct fixture fixture;
    struct stranger stranger = {.version = TLS1_3_VERSION};
    fixture_open(&fixture, NULL, false);
    run_stranger(&fixture, &stranger);
    expect_reason(&fixture.accepted[0], SR_REFUSED, "did not return a certificate");
    assert_false(fixture.accepted[0].is_open);
    assert_false(stranger.is_greeted);
    fixture_close(&fixture);
}

/* A resumed session shows no certificate again, but the stream knows whose it is. */
static void a_resumed_session_keeps_its_identity(void **state)
{
    (void)state;
    struct fixture fixture;
    struct stranger first = {.version = TLS1_3_VERSION, .stem = "node-2"};
    fixture_open(&fixture, NULL, true);
    run_stranger(&fixture, &first);
    assert_true(first.is_greeted);
    assert_false(first.is_resumed);
    assert_non_null(first.ticket);
    struct stranger second = {.version = TLS1_3_VERSION, .resume = first.ticket};
    sr_buf_close(&fixture.accepted[0].received);
    memset(&fixture.accepted[0], 0, sizeof(fixture.accepted[0]));
    fixture.accepted_count = 0;
    run_stranger(&fixture, &second);
    assert_true(second.is_greeted);
    assert_true(second.is_resumed);
    assert_string_equal(fixture.accepted[0].peer_name, "node-2");
    SSL_SESSION_free(first.ticket);
    SSL_SESSION_free(second.ticket);
    fixture_close(&fixture);
}

static void without_resumption_there_are_no_tickets(void **state)
{
    (void)state;
    struct fixture fixture;
    struct stranger stranger = {.version = TLS1_3_VERSION, .stem = "client"};
    fixture_open(&fixture, NULL, false);
    run_stranger(&fixture, &stranger);
    assert_true(stranger.is_greeted);
    assert_null(stranger.ticket);
    assert_int_equal(fixture.accepted[0].reason.status, SR_OK);
    fixture_close(&fixture);
}

static void keys_are_updated_on_request(void **state)
{
    (void)state;
    struct fixture fixture;
    struct stranger stranger = {.version = TLS1_3_VERSION, .stem = "client", .updates_keys = true};
    fixture_open(&fixture, NULL, false);
    run_stranger(&fixture, &stranger);
    assert_true(stranger.is_greeted); /* echoed under the new keys of both */
    assert_int_equal(fixture.accepted[0].reason.status, SR_OK);
    fixture_close(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_client_of_another_ca_is_refused),
        cmocka_unit_test(an_expired_certificate_is_refused),
        cmocka_unit_test(a_server_of_another_ca_is_refused),
        cmocka_unit_test(a_server_of_another_name_is_refused),
        cmocka_unit_test(protocols_must_agree),
        cmocka_unit_test(a_server_without_the_protocol_is_refused),
        cmocka_unit_test(nobody_listens),
        cmocka_unit_test(what_is_not_tls_is_refused),
        cmocka_unit_test(half_a_handshake_times_out),
        cmocka_unit_test(a_silent_server_times_out),
        cmocka_unit_test(a_reset_during_the_handshake_is_a_network_failure),
        cmocka_unit_test(a_name_that_is_none_is_refused_at_once),
        cmocka_unit_test(tls_1_2_is_refused),
        cmocka_unit_test(a_client_without_a_certificate_is_refused),
        cmocka_unit_test(a_resumed_session_keeps_its_identity),
        cmocka_unit_test(without_resumption_there_are_no_tickets),
        cmocka_unit_test(keys_are_updated_on_request),
    };
    return cmocka_run_group_tests(tests, fixture_make_pki, fixture_remove_pki);
}
