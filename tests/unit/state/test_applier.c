/* SPDX-License-Identifier: Apache-2.0
 *
 * The two storage threads over a store of the test's own, which counts, blocks and fails as told.
 */
#include "tests/unit/cmocka.h"

#include <string.h>

#include "base/alloc.h"
#include "node/state/applier.h"

#define TERM 3

/* ---- A store that does as it is told ---- */

struct sr_store {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    uint64_t applied;
    uint64_t frozen; /* what the next flush makes durable; 0: nothing is frozen */
    uint64_t durable;
    uint64_t room;    /* entries that fit before it is full */
    int flush_status; /* what flushes return */
    uint64_t fail_apply_at;
    uint64_t origin; /* whose command each entry carries */
};

int sr_store_apply(struct sr_store *store, uint64_t index, const uint8_t *data, size_t size,
                   const struct sr_outcome_sink *sink, struct sr_err *err)
{
    assert_int_equal(size, sizeof(index));
    assert_memory_equal(data, &index, sizeof(index)); /* the bytes are those of this entry */
    pthread_mutex_lock(&store->mutex);
    assert_int_equal(index, store->applied + 1);
    bool fails = index == store->fail_apply_at;
    if (!fails) {
        store->applied = index;
    }
    pthread_cond_broadcast(&store->changed);
    pthread_mutex_unlock(&store->mutex);
    if (fails) {
        return sr_err_set(err, SR_CORRUPT, "told to fail");
    }
    if (sink->wanted(sink->arg, store->origin)) {
        struct sr_outcome outcome = {
            .origin = store->origin, .sequence = index, .revision = (int64_t)index + 1};
        sr_buf_append(&outcome.body, "body", 4);
        sink->deliver(sink->arg, &outcome);
        sr_buf_close(&outcome.body);
    }
    return SR_OK;
}

int sr_store_apply_empty(struct sr_store *store, uint64_t index, uint64_t term, struct sr_err *err)
{
    (void)err;
    assert_int_equal(term, TERM);
    pthread_mutex_lock(&store->mutex);
    assert_int_equal(index, store->applied + 1);
    store->applied = index;
    pthread_cond_broadcast(&store->changed);
    pthread_mutex_unlock(&store->mutex);
    return SR_OK;
}

int sr_store_apply_configuration(struct sr_store *store, uint64_t index, uint64_t term,
                                 const uint8_t *data, size_t size, struct sr_err *err)
{
    assert_int_equal(size, 3);
    assert_memory_equal(data, "who", size);
    return sr_store_apply_empty(store, index, term, err);
}

bool sr_store_is_full(const struct sr_store *constant)
{
    struct sr_store *store = (struct sr_store *)(uintptr_t)constant;
    pthread_mutex_lock(&store->mutex);
    bool full = store->applied - store->durable >= store->room && store->frozen != 0;
    pthread_mutex_unlock(&store->mutex);
    return full;
}

bool sr_store_freeze(struct sr_store *store, bool force)
{
    pthread_mutex_lock(&store->mutex);
    bool due = force || store->applied - store->durable >= store->room;
    bool freezes = due && store->frozen == 0 && store->applied > store->durable;
    if (freezes) {
        store->frozen = store->applied;
    }
    bool something = store->frozen != 0;
    pthread_mutex_unlock(&store->mutex);
    return something;
}

int sr_store_flush(struct sr_store *store, struct sr_err *err)
{
    pthread_mutex_lock(&store->mutex);
    int status = store->frozen == 0 ? SR_OK : store->flush_status;
    if (status == SR_OK && store->frozen != 0) {
        store->durable = store->frozen;
        store->frozen = 0;
    }
    pthread_cond_broadcast(&store->changed);
    pthread_mutex_unlock(&store->mutex);
    return status == SR_OK ? SR_OK : sr_err_set(err, status, "told to fail");
}

bool sr_store_compaction_pending(const struct sr_store *store)
{
    (void)store;
    return false;
}

/* ---- The fixture ---- */

struct fixture {
    struct sr_store store;
    struct sr_origins origins;
    struct sr_mailbox answers;
    struct sr_applier *applier;
    atomic_uint applied_calls;
    atomic_uint failures;
};

static void on_applied(void *arg)
{
    atomic_fetch_add(&((struct fixture *)arg)->applied_calls, 1);
}

static void on_durable(void *arg)
{
    (void)arg;
}

static void on_failure(void *arg, const struct sr_err *err)
{
    struct fixture *fixture = arg;
    assert_non_null(strstr(err->text, "told to fail"));
    pthread_mutex_lock(&fixture->store.mutex);
    atomic_fetch_add(&fixture->failures, 1);
    pthread_cond_broadcast(&fixture->store.changed);
    pthread_mutex_unlock(&fixture->store.mutex);
}

static int set_up(void **state)
{
    struct fixture *fixture = sr_zalloc(sizeof(*fixture));
    pthread_mutex_init(&fixture->store.mutex, NULL);
    pthread_cond_init(&fixture->store.changed, NULL);
    fixture->store.room = 10;
    sr_mailbox_init(&fixture->answers, 100000, NULL, NULL);
    fixture->store.origin = sr_origins_add(&fixture->origins, &fixture->answers);
    struct sr_applier_options options = {.store = &fixture->store,
                                         .origins = &fixture->origins,
                                         .on_applied = on_applied,
                                         .on_durable = on_durable,
                                         .on_failure = on_failure,
                                         .arg = fixture};
    fixture->applier = sr_applier_start(&options);
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    struct sr_mail *mail = sr_mailbox_take(&fixture->answers);
    while (mail != NULL) {
        struct sr_answer *answer = sr_container(mail, struct sr_answer, mail);
        mail = mail->next;
        sr_answer_free(answer);
    }
    sr_mailbox_close(&fixture->answers);
    pthread_cond_destroy(&fixture->store.changed);
    pthread_mutex_destroy(&fixture->store.mutex);
    sr_free(fixture);
    return 0;
}

static void post(struct fixture *fixture, uint64_t first, uint64_t last)
{
    for (uint64_t index = first; index <= last; index++) {
        sr_applier_post(fixture->applier, index, TERM, SR_ENTRY_COMMAND, (const uint8_t *)&index,
                        sizeof(index));
    }
}

static void wait_for_applied(struct fixture *fixture, uint64_t index)
{
    pthread_mutex_lock(&fixture->store.mutex);
    while (fixture->store.applied < index) {
        pthread_cond_wait(&fixture->store.changed, &fixture->store.mutex);
    }
    pthread_mutex_unlock(&fixture->store.mutex);
}

/* ---- Tests ---- */

static void entries_are_applied_in_order_and_answered(void **state)
{
    struct fixture *fixture = *state;
    post(fixture, 1, 500);
    sr_applier_post(fixture->applier, 501, TERM, SR_ENTRY_BARRIER, NULL, 0);
    post(fixture, 502, 600);
    sr_applier_post(fixture->applier, 601, TERM, SR_ENTRY_CONFIGURATION, (const uint8_t *)"who", 3);
    post(fixture, 602, 1000);
    sr_applier_stop(fixture->applier);

    assert_int_equal(fixture->store.applied, 1000);
    assert_int_equal(fixture->store.durable, 1000); /* a clean stop leaves nothing to replay */
    assert_true(atomic_load(&fixture->applied_calls) > 0);
    uint64_t sequence = 0;
    struct sr_mail *mail = sr_mailbox_take(&fixture->answers);
    while (mail != NULL) {
        struct sr_answer *answer = sr_container(mail, struct sr_answer, mail);
        mail = mail->next;
        /* Entries 501 and 601 carry no command. */
        sequence += sequence == 500 || sequence == 600 ? 2 : 1;
        assert_int_equal(answer->sequence, sequence);
        assert_int_equal(answer->revision, sequence + 1);
        assert_int_equal(answer->body.size, 4);
        sr_answer_free(answer);
    }
    assert_int_equal(sequence, 1000);
}

static void outcomes_of_other_nodes_are_not_delivered(void **state)
{
    struct fixture *fixture = *state;
    fixture->store.origin++;
    post(fixture, 1, 10);
    sr_applier_stop(fixture->applier);
    assert_int_equal(fixture->store.applied, 10);
    assert_null(sr_mailbox_take(&fixture->answers));
}

static void a_full_disk_holds_entries_back_and_loses_none(void **state)
{
    struct fixture *fixture = *state;
    pthread_mutex_lock(&fixture->store.mutex);
    fixture->store.flush_status = SR_NO_SPACE;
    pthread_mutex_unlock(&fixture->store.mutex);
    post(fixture, 1, 100);
    wait_for_applied(fixture, 10);
    size_t entries = 0;
    size_t bytes = 0;
    sr_applier_backlog(fixture->applier, &entries, &bytes);
    assert_true(entries > 0 && entries <= 90 + 1);
    assert_int_equal(bytes, entries * sizeof(uint64_t));

    pthread_mutex_lock(&fixture->store.mutex);
    assert_true(fixture->store.applied < 100);
    fixture->store.flush_status = SR_OK; /* somebody made room */
    pthread_mutex_unlock(&fixture->store.mutex);
    wait_for_applied(fixture, 100);
    sr_applier_stop(fixture->applier);
    assert_int_equal(atomic_load(&fixture->failures), 0);
    assert_int_equal(fixture->store.durable, 100);
}

static void a_failed_apply_is_told_once_and_nothing_follows_it(void **state)
{
    struct fixture *fixture = *state;
    fixture->store.fail_apply_at = 5;
    post(fixture, 1, 50);
    sr_applier_stop(fixture->applier);
    assert_int_equal(atomic_load(&fixture->failures), 1);
    assert_int_equal(fixture->store.applied, 4);
}

static void a_failed_flush_is_told_once(void **state)
{
    struct fixture *fixture = *state;
    pthread_mutex_lock(&fixture->store.mutex);
    fixture->store.flush_status = SR_IO;
    pthread_mutex_unlock(&fixture->store.mutex);
    post(fixture, 1, 100);
    pthread_mutex_lock(&fixture->store.mutex);
    while (atomic_load(&fixture->failures) == 0) {
        pthread_cond_wait(&fixture->store.changed, &fixture->store.mutex);
    }
    pthread_mutex_unlock(&fixture->store.mutex);
    sr_applier_stop(fixture->applier);
    assert_int_equal(atomic_load(&fixture->failures), 1);
    assert_int_equal(fixture->store.durable, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(entries_are_applied_in_order_and_answered, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(outcomes_of_other_nodes_are_not_delivered, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_full_disk_holds_entries_back_and_loses_none, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_failed_apply_is_told_once_and_nothing_follows_it, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_failed_flush_is_told_once, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
