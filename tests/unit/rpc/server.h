/* SPDX-License-Identifier: Apache-2.0
 *
 * A server for the tests of node/rpc: certificates, one or two loops, and a service whose methods
 * do what the tests need.
 *
 *   /test.S/Echo   answers with the request, at once
 *   /test.S/Hold   keeps the call until test_server_release
 *   /test.S/Big    answers with as many bytes as the request says (32 bits)
 *   /test.S/Fail   NOT_FOUND with the request as text
 *   /test.S/Who    "actor|has_leader|request id in hex or -"
 *   others         UNIMPLEMENTED
 */
#ifndef SR_TESTS_UNIT_RPC_SERVER_H
#define SR_TESTS_UNIT_RPC_SERVER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "node/rpc/rpc.h"

struct test_server {
    char dir[64];
    struct sr_rpc *rpc;
    unsigned port;
    unsigned loop_count;
    struct test_loop *loops;
    atomic_uint calls;     /* on_call so far */
    atomic_uint cancelled; /* on_cancel so far */
    atomic_uint mails;     /* on_mail so far */
    atomic_uint ticks;
};

/* @connections_max 0: the default. Aborts the test when it does not come up. */
void test_server_start(struct test_server *server, unsigned loop_count, size_t connections_max);
/* Answer all held calls with their own request. */
void test_server_release(struct test_server *server);
void test_server_stop(struct test_server *server);

/* Wait until @condition holds; fails the test after 20 s. */
#define test_wait_until(condition)                                                                 \
    do {                                                                                           \
        for (unsigned test_spins = 0; !(condition); test_spins++) {                                \
            assert_true(test_spins < 20000);                                                       \
            test_nap();                                                                            \
        }                                                                                          \
    } while (0)
void test_nap(void); /* a millisecond */

#endif
