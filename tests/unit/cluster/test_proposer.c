/* SPDX-License-Identifier: Apache-2.0
 *
 * The proposer with consensus played by the test, on a thread of its own.
 */
#include "tests/unit/cmocka.h"

#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "node/cluster/proposer.h"
#include "proto/command.pb-c.h"

static struct sr_origins origins;
static bool is_full;
static bool is_silent;
static size_t proposed;
static enum sr_api_error answer_with;
static char last_actor[32];

bool sr_consensus_propose(struct sr_consensus *consensus, struct sr_proposal *proposal)
{
    (void)consensus;
    proposed++;
    if (is_full) {
        return false;
    }
    Strongroom__Command *command =
        strongroom__command__unpack(NULL, proposal->command.size, proposal->command.data);
    assert_non_null(command);
    assert_true(command->origin == proposal->origin && command->sequence == proposal->sequence);
    if (command->operation_case == STRONGROOM__COMMAND__OPERATION_OFFSITE) {
        assert_int_equal(command->offsite->renew->number, 9);
    } else {
        assert_int_equal(command->cluster->remove, 7);
    }
    strncpy(last_actor, command->actor, sizeof(last_actor) - 1);
    strongroom__command__free_unpacked(command, NULL);
    /* An answer to an earlier one is not taken for this one's. */
    sr_origins_answer(&origins, proposal->origin, proposal->sequence - 1, SR_API_CORRUPT, 0);
    if (!is_silent) {
        sr_origins_answer(&origins, proposal->origin, proposal->sequence, answer_with, 0);
    }
    sr_proposal_free(proposal);
    return true;
}

void sr_proposal_free(struct sr_proposal *proposal)
{
    sr_buf_close(&proposal->command);
    sr_free(proposal);
}

static enum sr_api_error remove_seven(struct sr_proposer *proposer, unsigned timeout_ms)
{
    Strongroom__ClusterChange change = STRONGROOM__CLUSTER_CHANGE__INIT;
    change.change_case = STRONGROOM__CLUSTER_CHANGE__CHANGE_REMOVE;
    change.remove = 7;
    return sr_proposer_change(proposer, &change, "n1", timeout_ms);
}

static struct sr_consensus *some_consensus(void)
{
    static int place;
    return (struct sr_consensus *)(void *)&place; /* never looked into */
}

static int setup(void **state)
{
    memset(&origins, 0, sizeof(origins));
    is_full = false;
    is_silent = false;
    proposed = 0;
    answer_with = SR_API_NONE;
    *state = sr_proposer_new(&origins);
    return 0;
}

static int teardown(void **state)
{
    sr_proposer_free(*state);
    return 0;
}

static void outcomes_are_told(void **state)
{
    sr_proposer_start(*state, some_consensus());
    assert_int_equal(remove_seven(*state, 10000), SR_API_NONE);
    assert_string_equal(last_actor, "n1");
    answer_with = SR_API_MEMBER_NOT_FOUND;
    assert_int_equal(remove_seven(*state, 10000), SR_API_MEMBER_NOT_FOUND);
    is_full = true;
    assert_int_equal(remove_seven(*state, 10000), SR_API_TOO_MANY_REQUESTS);
}

static void nothing_happens_before_the_start_and_after_the_stop(void **state)
{
    assert_int_equal(remove_seven(*state, 10000), SR_API_STOPPED);
    sr_proposer_start(*state, some_consensus());
    sr_proposer_stop(*state);
    assert_int_equal(remove_seven(*state, 10000), SR_API_STOPPED);
    assert_int_equal(proposed, 0);
}

/* A member that does not know it would have to stop. */
static void offsite_changes_wait_for_the_last_member(void **state)
{
    Strongroom__OffsiteChange change = STRONGROOM__OFFSITE_CHANGE__INIT;
    Strongroom__OffsiteRenew renew = STRONGROOM__OFFSITE_RENEW__INIT;
    change.change_case = STRONGROOM__OFFSITE_CHANGE__CHANGE_RENEW;
    change.renew = &renew;
    renew.number = 9;
    sr_proposer_start(*state, some_consensus());
    assert_int_equal(sr_proposer_offsite(*state, &change, "n1", 10000), SR_API_OFFSITE_LEVEL);
    sr_proposer_set_level(*state, 2);
    assert_int_equal(sr_proposer_offsite(*state, &change, "n1", 10000), SR_API_OFFSITE_LEVEL);
    assert_int_equal(proposed, 0);
    assert_int_equal(remove_seven(*state, 10000), SR_API_NONE);
    sr_proposer_set_level(*state, 3);
    assert_int_equal(sr_proposer_offsite(*state, &change, "n2", 10000), SR_API_NONE);
    assert_string_equal(last_actor, "n2");
    answer_with = SR_API_OFFSITE_LOST;
    assert_int_equal(sr_proposer_offsite(*state, &change, "n2", 10000), SR_API_OFFSITE_LOST);
    sr_proposer_set_level(*state, 0); /* a place was taken by an older one */
    assert_int_equal(sr_proposer_offsite(*state, &change, "n2", 10000), SR_API_OFFSITE_LEVEL);
    assert_int_equal(proposed, 3);
}

static void patience_has_an_end(void **state)
{
    sr_proposer_start(*state, some_consensus());
    is_silent = true;
    assert_int_equal(remove_seven(*state, 20), SR_API_TIMED_OUT);
    is_silent = false;
    assert_int_equal(remove_seven(*state, 10000), SR_API_NONE);
}

static void *wait_long(void *arg)
{
    enum sr_api_error *error = sr_alloc(sizeof(*error));
    *error = remove_seven(arg, 600000);
    return error;
}

static void a_stop_wakes_who_waits(void **state)
{
    pthread_t thread;
    void *result = NULL;
    is_silent = true;
    sr_proposer_start(*state, some_consensus());
    assert_int_equal(pthread_create(&thread, NULL, wait_long, *state), 0);
    usleep(20000); /* inside by now, or not yet: both must end */
    sr_proposer_stop(*state);
    assert_int_equal(pthread_join(thread, &result), 0);
    assert_int_equal(*(enum sr_api_error *)result, SR_API_STOPPED);
    sr_free(result);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(outcomes_are_told, setup, teardown),
        cmocka_unit_test_setup_teardown(nothing_happens_before_the_start_and_after_the_stop, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(offsite_changes_wait_for_the_last_member, setup, teardown),
        cmocka_unit_test_setup_teardown(patience_has_an_end, setup, teardown),
        cmocka_unit_test_setup_teardown(a_stop_wakes_who_waits, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
