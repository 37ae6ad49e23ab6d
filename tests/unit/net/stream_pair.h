/* SPDX-License-Identifier: Apache-2.0
 *
 * A listening side and any number of connecting sides on one loop, each of which remembers what
 * happened to it.
 */
#ifndef SR_TESTS_UNIT_NET_STREAM_PAIR_H
#define SR_TESTS_UNIT_NET_STREAM_PAIR_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include "base/buf.h"
#include "node/net/listener.h"
#include "node/net/stream.h"
#include "node/net/tls.h"

#define SIDES_MAX 8

struct side {
    struct sr_stream *stream;
    struct fixture *fixture;
    struct sr_buf received;
    bool is_open;
    bool is_closed;
    bool is_echo; /* sends back what it gets */
    bool closes_on_data;
    bool pauses_on_data;
    unsigned drains;
    unsigned pieces; /* on_data calls */
    struct sr_err reason;
    char peer_name[65];
};

struct fixture {
    uv_loop_t loop;
    char dir[64]; /* as test_pki_make, and "other" by another CA, "expired" */
    struct sr_listener *listener;
    struct sr_tls *server_tls;
    uint64_t timeout_ms; /* of handshakes */
    struct side accepted[SIDES_MAX];
    size_t accepted_count;
    bool accept_echo;
    bool accept_paused;
    uint16_t port;
};

/* A directory with certificates, made once a program. */
int fixture_make_pki(void **state);
int fixture_remove_pki(void **state);

/* Listen on a port of the system's choice with node-1's certificate. */
void fixture_open(struct fixture *fixture, const char *alpn, bool resumption);
/* All streams must be closed or closing. Fails when handles are left. */
void fixture_close(struct fixture *fixture);

struct sr_tls *fixture_client_tls(const char *stem, const char *ca, const char *alpn);
const char *fixture_path(const char *stem, const char *ending);
void side_connect(struct fixture *fixture, struct side *side, struct sr_tls *tls,
                  const char *server_name);
/* Run the loop until @condition; fail after a generous time. */
void fixture_run(struct fixture *fixture, bool (*condition)(void *arg), void *arg);
bool side_is_open(void *side);
bool side_is_closed(void *side);
/* The first accepted side is closed too. */
bool both_are_closed(void *side);
/* A blocking TCP connection to the listener. */
int fixture_dial(const struct fixture *fixture);

#endif
