/* SPDX-License-Identifier: Apache-2.0
 *
 * Many calls on a few threads: each once, each target for one thread at a time, and the failure
 * that is told does not depend on who was faster.
 */
#include "tests/unit/cmocka.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "node/restore/many.h"

#define TARGETS_MAX 8
#define CALLS_MAX   300

/* What the calls do, and what they have seen. A call asserts nothing: it may be on any thread. */
struct calls {
    char places[TARGETS_MAX]; /* their addresses stand for targets, which nobody looks into */
    struct sr_target *targets[TARGETS_MAX];
    atomic_bool taken[TARGETS_MAX];
    atomic_uint called[CALLS_MAX];
    bool fails[CALLS_MAX];
    atomic_uint shared;    /* times that a target was with two */
    atomic_uint elsewhere; /* calls on another thread than the test's */
    atomic_uint last;      /* that was called */
    atomic_uint disorder;  /* calls with a lower index than the one before */
    atomic_bool stopping;
    unsigned stop_at;
    pthread_barrier_t *meeting;
    pthread_t test;
};

static void prepare(struct calls *calls)
{
    memset(calls, 0, sizeof(*calls));
    calls->test = pthread_self();
    calls->stop_at = CALLS_MAX;
    for (size_t i = 0; i < TARGETS_MAX; i++) {
        calls->targets[i] = (struct sr_target *)(void *)&calls->places[i];
    }
}

static int call(void *arg, struct sr_target *target, size_t index, struct sr_err *err)
{
    struct calls *calls = arg;
    size_t place = (size_t)((char *)(void *)target - calls->places);
    atomic_fetch_add(&calls->shared, atomic_exchange(&calls->taken[place], true) ? 1 : 0);
    atomic_fetch_add(&calls->elsewhere, pthread_equal(calls->test, pthread_self()) ? 0 : 1);
    atomic_fetch_add(&calls->disorder,
                     atomic_exchange(&calls->last, (unsigned)index) > index ? 1 : 0);
    atomic_fetch_add(&calls->called[index], 1);
    if (calls->meeting != NULL) {
        pthread_barrier_wait(calls->meeting);
    }
    if (index == calls->stop_at) {
        atomic_store(&calls->stopping, true);
    }
    while (index > calls->stop_at && !atomic_load(&calls->stopping)) {
        sched_yield();
    }
    atomic_store(&calls->taken[place], false);
    return calls->fails[index] ? sr_err_set(err, SR_CORRUPT, "call %zu", index) : SR_OK;
}

static int run(struct calls *calls, size_t target_count, size_t count, size_t *ret_failed,
               struct sr_err *err)
{
    struct sr_many many = {.targets = {calls->targets, target_count},
                           .stopping = &calls->stopping,
                           .call = call,
                           .arg = calls};
    int status = sr_many_run(&many, count, ret_failed, err);
    assert_int_equal(atomic_load(&calls->shared), 0);
    return status;
}

static void test_each_is_called_once(void **state)
{
    static const size_t counts[] = {0, 1, 2, 7, 8, 9, CALLS_MAX};
    (void)state;
    for (size_t targets = 1; targets <= TARGETS_MAX; targets++) {
        for (size_t c = 0; c < sizeof(counts) / sizeof(counts[0]); c++) {
            struct calls calls;
            struct sr_err err = {0};
            size_t failed = 0;
            prepare(&calls);
            assert_int_equal(run(&calls, targets, counts[c], &failed, &err), SR_OK);
            assert_int_equal(failed, counts[c]);
            for (size_t i = 0; i < CALLS_MAX; i++) {
                assert_int_equal(atomic_load(&calls.called[i]), i < counts[c] ? 1 : 0);
            }
        }
    }
}

static void test_one_target_stays_on_the_thread_and_in_order(void **state)
{
    struct calls calls;
    struct sr_err err = {0};
    size_t failed = 0;
    (void)state;
    prepare(&calls);
    calls.fails[50] = true;
    assert_int_equal(run(&calls, 1, CALLS_MAX, &failed, &err), SR_CORRUPT);
    assert_int_equal(failed, 50);
    assert_int_equal(atomic_load(&calls.elsewhere), 0);
    assert_int_equal(atomic_load(&calls.disorder), 0);
    for (size_t i = 0; i < CALLS_MAX; i++) {
        assert_int_equal(atomic_load(&calls.called[i]), i <= 50 ? 1 : 0);
    }
}

/* Each waits for the others: one after the other, they would never end. */
static void test_as_many_at_a_time_as_there_are_targets(void **state)
{
    pthread_barrier_t meeting;
    struct calls calls;
    struct sr_err err = {0};
    (void)state;
    assert_int_equal(pthread_barrier_init(&meeting, NULL, TARGETS_MAX), 0);
    prepare(&calls);
    calls.meeting = &meeting;
    assert_int_equal(run(&calls, TARGETS_MAX, 3 * TARGETS_MAX, NULL, &err), SR_OK);
    assert_true(atomic_load(&calls.elsewhere) > 0);
    pthread_barrier_destroy(&meeting);
}

static void test_the_lowest_failure_is_told(void **state)
{
    uint64_t seed = 11;
    (void)state;
    for (unsigned round = 0; round < 200; round++) {
        struct calls calls;
        struct sr_err err = {0};
        size_t lowest = CALLS_MAX;
        size_t failed = 0;
        char text[32];
        prepare(&calls);
        for (unsigned i = 0; i < 1 + round % 5; i++) {
            seed = seed * UINT64_C(6364136223846793005) + 1;
            size_t index = (size_t)(seed >> 33) % CALLS_MAX;
            calls.fails[index] = true;
            lowest = index < lowest ? index : lowest;
        }
        assert_int_equal(run(&calls, 2 + round % 7, CALLS_MAX, &failed, &err), SR_CORRUPT);
        assert_int_equal(failed, lowest);
        (void)snprintf(text, sizeof(text), "call %zu", lowest);
        assert_string_equal(err.text, text);
        for (size_t i = 0; i < CALLS_MAX; i++) {
            assert_in_range(atomic_load(&calls.called[i]), i <= lowest ? 1 : 0, 1);
        }
    }
}

static void test_it_stops_when_told_to(void **state)
{
    (void)state;
    for (size_t targets = 1; targets <= TARGETS_MAX; targets++) {
        struct calls calls;
        struct sr_err err = {0};
        size_t failed = 0;
        size_t begun = 0;
        prepare(&calls);
        calls.stop_at = 10;
        assert_int_equal(run(&calls, targets, CALLS_MAX, &failed, &err), SR_CLOSED);
        assert_string_equal(err.text, "it is to stop");
        assert_int_equal(failed, CALLS_MAX);
        while (begun < CALLS_MAX && atomic_load(&calls.called[begun]) == 1) {
            begun++;
        }
        assert_in_range(begun, 11, 10 + targets); /* those that had begun, and no more */
        for (size_t i = begun; i < CALLS_MAX; i++) {
            assert_int_equal(atomic_load(&calls.called[i]), 0);
        }
    }
}

static void test_stopped_before_it_began(void **state)
{
    struct calls calls;
    struct sr_err err = {0};
    size_t failed = 0;
    (void)state;
    prepare(&calls);
    atomic_store(&calls.stopping, true);
    assert_int_equal(run(&calls, 4, CALLS_MAX, &failed, &err), SR_CLOSED);
    for (size_t i = 0; i < CALLS_MAX; i++) {
        assert_int_equal(atomic_load(&calls.called[i]), 0);
    }
}

static void test_a_failure_counts_for_more_than_the_stop(void **state)
{
    struct calls calls;
    struct sr_err err = {0};
    size_t failed = 0;
    (void)state;
    prepare(&calls);
    calls.stop_at = 10;
    calls.fails[10] = true;
    assert_int_equal(run(&calls, 4, CALLS_MAX, &failed, &err), SR_CORRUPT);
    assert_int_equal(failed, 10);
    assert_string_equal(err.text, "call 10");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_is_called_once),
        cmocka_unit_test(test_one_target_stays_on_the_thread_and_in_order),
        cmocka_unit_test(test_as_many_at_a_time_as_there_are_targets),
        cmocka_unit_test(test_the_lowest_failure_is_told),
        cmocka_unit_test(test_it_stops_when_told_to),
        cmocka_unit_test(test_stopped_before_it_began),
        cmocka_unit_test(test_a_failure_counts_for_more_than_the_stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
