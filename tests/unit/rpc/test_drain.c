/* SPDX-License-Identifier: Apache-2.0
 *
 * The end of a server, graceful and not.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "client.h"
#include "server.h"

struct fixture {
    struct test_server server;
    struct test_client client;
};

static int setup(void **state)
{
    struct fixture *fixture = sr_zalloc(sizeof(*fixture));
    test_server_start(&fixture->server, 2, 0);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    test_server_stop(&fixture->server);
    sr_free(fixture);
    return 0;
}

static void open_client(struct fixture *fixture, uint32_t window)
{
    test_client_open(&fixture->client, fixture->server.port, fixture->server.dir, window);
}

static void wait_for_calls(struct fixture *fixture, unsigned count)
{
    test_wait_until(
        (test_client_pump(&fixture->client, 1), atomic_load(&fixture->server.calls) >= count));
}

static void *drain_thread(void *arg)
{
    struct fixture *fixture = arg;
    sr_rpc_drain(fixture->server.rpc, 20000);
    return NULL;
}

static void drain(void **state)
{
    struct fixture *fixture = *state;
    struct test_client late = {0};
    pthread_t thread;
    open_client(fixture, 0);
    int32_t id = test_client_call(&fixture->client, "/test.S/Hold", "x", 1);
    wait_for_calls(fixture, 1);
    assert_int_equal(pthread_create(&thread, NULL, drain_thread, fixture), 0);
    test_wait_until((test_client_pump(&fixture->client, 1), fixture->client.is_goaway));
    assert_false(test_client_answer(&fixture->client, id)->closed);
    assert_false(test_client_connect(&late, fixture->server.port, fixture->server.dir));
    test_client_close(&late);

    test_server_release(&fixture->server);
    assert_int_equal(test_client_finish(&fixture->client, id)->grpc_status, 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    test_client_finish(&fixture->client, 0); /* the server says goodbye */
    assert_int_equal(fixture->client.goaway_last_id, id);
    test_client_close(&fixture->client);
}

/* A call that was on its way when the notice went out. */
static void drain_serves_what_crosses(void **state)
{
    struct fixture *fixture = *state;
    pthread_t thread;
    open_client(fixture, 0);
    assert_int_equal(pthread_create(&thread, NULL, drain_thread, fixture), 0);
    /* The notice is out once new connections are refused: without reading it (nor answering the
     * ping behind it), start a call. */
    struct test_client late = {0};
    while (test_client_connect(&late, fixture->server.port, fixture->server.dir)) {
        test_client_close(&late);
        test_nap();
    }
    test_client_close(&late);
    int32_t id = test_client_call(&fixture->client, "/test.S/Echo", "x", 1);
    const struct test_answer *answer = test_client_finish(&fixture->client, id);
    if (fixture->client.goaway_last_id >= id) {
        assert_int_equal(answer->grpc_status, 0);
    } else { /* the server's patience was over first: the client knows that nothing happened */
        assert_int_equal(answer->grpc_status, -1);
    }
    assert_int_equal(pthread_join(thread, NULL), 0);
    test_client_close(&fixture->client);
}

static void drain_gives_up(void **state)
{
    struct fixture *fixture = *state;
    open_client(fixture, 0);
    test_client_call(&fixture->client, "/test.S/Hold", "x", 1);
    wait_for_calls(fixture, 1);
    sr_rpc_drain(fixture->server.rpc, 30);
    assert_int_equal(atomic_load(&fixture->server.cancelled), 0);
    sr_rpc_stop(fixture->server.rpc);
    assert_int_equal(atomic_load(&fixture->server.cancelled), 1);
    test_client_finish(&fixture->client, 0);
    test_client_close(&fixture->client);
}

/* Answers may still come when the loops have stopped. */
static void late_mail(void **state)
{
    struct test_server server;
    (void)state;
    test_server_start(&server, 2, 0);
    sr_rpc_stop(server.rpc);
    assert_int_equal(atomic_load(&server.mails), 0);
    test_server_release(&server);
    test_server_stop(&server);
    assert_int_equal(atomic_load(&server.mails), 2);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(drain),
        TEST(drain_serves_what_crosses),
        TEST(drain_gives_up),
        cmocka_unit_test(late_mail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
