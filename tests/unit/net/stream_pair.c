/* SPDX-License-Identifier: Apache-2.0 */
#include "stream_pair.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "test_pki.h"

#define PATIENCE_MS 120000

static char pki_dir[64];

int fixture_make_pki(void **state)
{
    (void)state;
    const char *base = getenv("TMPDIR");
    snprintf(pki_dir, sizeof(pki_dir), "%.30s/sr-net-XXXXXX", base == NULL ? "/tmp" : base);
    if (mkdtemp(pki_dir) == NULL) {
        return -1;
    }
    test_pki_make(pki_dir);
    test_pki_make_ca(pki_dir, "other-ca");
    test_pki_issue(pki_dir, "other-ca", "other", "node-2", "node-2", NULL);
    test_pki_issue_expired(pki_dir, "ca", "expired", "node-2", "node-2", NULL);
    return 0;
}

int fixture_remove_pki(void **state)
{
    (void)state;
    DIR *dir = opendir(pki_dir);
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        char path[512];
        snprintf(path, sizeof(path), "%s/%s", pki_dir, entry->d_name);
        unlink(path);
    }
    closedir(dir);
    return rmdir(pki_dir);
}

const char *fixture_path(const char *stem, const char *ending)
{
    static char paths[4][512];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, 512, "%s/%s.%s", pki_dir, stem, ending);
    return path;
}

static void side_on_open(void *arg, struct sr_stream *stream)
{
    struct side *side = arg;
    assert_false(side->is_open);
    side->is_open = true;
    snprintf(side->peer_name, sizeof(side->peer_name), "%s", sr_stream_peer_name(stream));
}

static void side_on_data(void *arg, struct sr_stream *stream, const uint8_t *data, size_t size)
{
    struct side *side = arg;
    assert_true(side->is_open);
    assert_false(side->is_closed);
    side->pieces++;
    sr_buf_append(&side->received, data, size);
    if (side->is_echo) {
        sr_stream_write(stream, data, size);
        sr_stream_flush(stream);
    }
    if (side->pauses_on_data) {
        sr_stream_pause(stream);
    }
    if (side->closes_on_data) {
        sr_stream_close(stream, false);
    }
}

static void side_on_drain(void *arg, struct sr_stream *stream)
{
    struct side *side = arg;
    assert_true(sr_stream_pending(stream) <= SR_STREAM_LOW_BYTES);
    side->drains++;
}

static void side_on_close(void *arg, struct sr_stream *stream, const struct sr_err *reason)
{
    struct side *side = arg;
    (void)stream;
    assert_false(side->is_closed);
    side->is_closed = true;
    side->stream = NULL;
    side->reason = *reason;
}

static const struct sr_stream_events side_events = {.on_open = side_on_open,
                                                    .on_data = side_on_data,
                                                    .on_drain = side_on_drain,
                                                    .on_close = side_on_close};

static void on_accept(void *arg, uv_os_sock_t fd)
{
    struct fixture *fixture = arg;
    assert_true(fixture->accepted_count < SIDES_MAX);
    struct side *side = &fixture->accepted[fixture->accepted_count++];
    side->fixture = fixture;
    side->is_echo = fixture->accept_echo;
    side->stream = sr_stream_accept(&fixture->loop, fd, fixture->server_tls, fixture->timeout_ms,
                                    &side_events, side, NULL);
    assert_non_null(side->stream);
    if (fixture->accept_paused) {
        sr_stream_pause(side->stream);
    }
}

void fixture_open(struct fixture *fixture, const char *alpn, bool resumption)
{
    memset(fixture, 0, sizeof(*fixture));
    fixture->timeout_ms = PATIENCE_MS;
    assert_int_equal(uv_loop_init(&fixture->loop), 0);
    struct sr_tls_files files = {fixture_path("node-1", "crt"), fixture_path("node-1", "key"),
                                 fixture_path("ca", "crt")};
    struct sr_err err = {0};
    int status = sr_tls_server_new(&files, alpn, resumption, &fixture->server_tls, &err);
    assert_string_equal(err.text, "");
    assert_int_equal(status, SR_OK);
    struct sr_listener_options options = {
        .loop = &fixture->loop, .address = "127.0.0.1:0", .on_accept = on_accept, .arg = fixture};
    assert_int_equal(sr_listener_open(&options, &fixture->listener, &err), SR_OK);
    fixture->port = sr_listener_port(fixture->listener);
}

void fixture_close(struct fixture *fixture)
{
    if (fixture->listener != NULL) {
        sr_listener_close(fixture->listener, NULL, NULL);
    }
    for (size_t i = 0; i < fixture->accepted_count; i++) {
        if (fixture->accepted[i].stream != NULL) {
            sr_stream_close(fixture->accepted[i].stream, true);
        }
    }
    uv_run(&fixture->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&fixture->loop), 0);
    for (size_t i = 0; i < fixture->accepted_count; i++) {
        assert_true(fixture->accepted[i].is_closed);
        sr_buf_close(&fixture->accepted[i].received);
    }
    sr_tls_free(fixture->server_tls);
}

struct sr_tls *fixture_client_tls(const char *stem, const char *ca, const char *alpn)
{
    struct sr_tls_files files = {fixture_path(stem, "crt"), fixture_path(stem, "key"),
                                 fixture_path(ca, "crt")};
    struct sr_tls *tls = NULL;
    assert_int_equal(sr_tls_client_new(&files, alpn, &tls, NULL), SR_OK);
    return tls;
}

static struct sockaddr_in address_of(const struct fixture *fixture)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(fixture->port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

void side_connect(struct fixture *fixture, struct side *side, struct sr_tls *tls,
                  const char *server_name)
{
    struct sockaddr_in address = address_of(fixture);
    side->fixture = fixture;
    struct sr_stream_target target = {(struct sockaddr *)&address, server_name};
    side->stream = sr_stream_connect(&fixture->loop, &target, tls, fixture->timeout_ms,
                                     &side_events, side, NULL);
    assert_non_null(side->stream);
}

int fixture_dial(const struct fixture *fixture)
{
    struct sockaddr_in address = address_of(fixture);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

static void on_impatience(uv_timer_t *timer)
{
    (void)timer;
    fail_msg("waited too long");
}

void fixture_run(struct fixture *fixture, bool (*condition)(void *arg), void *arg)
{
    uv_timer_t impatience;
    uv_timer_init(&fixture->loop, &impatience);
    uv_timer_start(&impatience, on_impatience, PATIENCE_MS, 0);
    while (!condition(arg)) {
        uv_run(&fixture->loop, UV_RUN_ONCE);
    }
    uv_close((uv_handle_t *)&impatience, NULL);
    uv_run(&fixture->loop, UV_RUN_NOWAIT);
}

bool side_is_open(void *side)
{
    return ((struct side *)side)->is_open || ((struct side *)side)->is_closed;
}

bool side_is_closed(void *side)
{
    return ((struct side *)side)->is_closed;
}

bool both_are_closed(void *arg)
{
    struct side *side = arg;
    return side->is_closed && side->fixture->accepted_count > 0 &&
           side->fixture->accepted[0].is_closed;
}
