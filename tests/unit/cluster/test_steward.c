/* SPDX-License-Identifier: Apache-2.0
 *
 * A steward over a real store, with time, consensus and the other members played by the test.
 * The founders are member 5 in zone b, 6 in c and this node (FIXTURE_MEMBER, "self") in a.
 */
#include "tests/unit/storage/cluster_commands.h"

#include "node/cluster/steward.h"
#include "storage/offsite.h"

enum { CORRUPT = 2 };

static struct world {
    struct fixture *fixture;
    struct sr_steward *steward;
    Strongroom__ClusterRecord founders;
    Strongroom__MemberRecord *members[3];
    uint64_t now_ms;
    bool leads;
    unsigned levels[2]; /* of 5 and 6 */
    struct sr_member_progress progress[3];
    size_t progress_count;
    struct sr_replica_report reports[SR_MEMBERS_MAX];
    size_t report_count;
    struct sr_store_check reported;
    size_t changes;
    size_t offsite_changes;
    unsigned told_level;
    bool offsite;
    enum sr_api_error refuse; /* every change; NONE: apply it */
    uint64_t moved_to;
    bool lacks_space;
} world;

static uint64_t now_ms(void *arg)
{
    (void)arg;
    return world.now_ms;
}

static bool leads(void *arg)
{
    (void)arg;
    return world.leads;
}

static unsigned level_of(void *arg, uint64_t member)
{
    (void)arg;
    assert_true(member == 5 || member == 6);
    return world.levels[member - 5];
}

static size_t progress(void *arg, struct sr_member_progress out[SR_MEMBERS_MAX],
                       uint64_t *ret_age_ms)
{
    (void)arg;
    memcpy(out, world.progress, sizeof(world.progress));
    *ret_age_ms = 100;
    return world.progress_count;
}

static enum sr_api_error change_it(void *arg, const Strongroom__ClusterChange *change)
{
    (void)arg;
    union {
        const Strongroom__ClusterChange *in;
        Strongroom__ClusterChange *out;
    } cast = {.in = change};
    Strongroom__Command *command = command_new();
    world.changes++;
    if (world.refuse != SR_API_NONE) {
        return world.refuse;
    }
    command->operation_case = STRONGROOM__COMMAND__OPERATION_CLUSTER;
    command->cluster = cast.out;
    return apply(world.fixture, command)->error;
}

static enum sr_api_error offsite_it(void *arg, const Strongroom__OffsiteChange *change)
{
    (void)arg;
    union {
        const Strongroom__OffsiteChange *in;
        Strongroom__OffsiteChange *out;
    } cast = {.in = change};
    Strongroom__Command *command = command_new();
    world.offsite_changes++;
    if (world.refuse != SR_API_NONE) {
        return world.refuse;
    }
    command->operation_case = STRONGROOM__COMMAND__OPERATION_OFFSITE;
    command->offsite = cast.out;
    return apply(world.fixture, command)->error;
}

static void tell_level(void *arg, unsigned level)
{
    (void)arg;
    world.told_level = level;
}

static void report(void *arg, const struct sr_store_check *check)
{
    (void)arg;
    world.reported = *check;
}

static size_t reports(void *arg, struct sr_replica_report out[SR_MEMBERS_MAX])
{
    (void)arg;
    memcpy(out, world.reports, sizeof(world.reports));
    return world.report_count;
}

static void move_leader(void *arg, uint64_t member)
{
    (void)arg;
    world.moved_to = member;
}

static bool lacks_space(void *arg)
{
    (void)arg;
    return world.lacks_space;
}

static const char *const preferred[] = {"c"};

static void new_steward(unsigned feature_level)
{
    struct sr_steward_options options = {
        .self = FIXTURE_MEMBER,
        .founders = &world.founders,
        .store = world.fixture->store,
        .feature_level = feature_level,
        .offsite = world.offsite,
        .check_interval_ms = 60000,
        .preferred_zones = preferred,
        .preferred_zone_count = 1,
        .env = {.now_ms = now_ms,
                .leads = leads,
                .level_of = level_of,
                .progress = progress,
                .change = change_it,
                .offsite = offsite_it,
                .tell_level = tell_level,
                .report = report,
                .reports = reports,
                .move_leader = move_leader,
                .lacks_space = lacks_space},
    };
    sr_steward_free(world.steward);
    world.steward = sr_steward_new(&options);
}

static int setup(void **state)
{
    commands_setup(state);
    memset(&world, 0, sizeof(world));
    world.fixture = *state;
    strongroom__cluster_record__init(&world.founders);
    world.members[0] = member(5, "b", true, 0);
    world.members[1] = member(6, "c", true, 0);
    world.members[2] = member(FIXTURE_MEMBER, "a", true, 0);
    world.founders.members = world.members;
    world.founders.n_members = 3;
    world.now_ms = 1000;
    world.levels[0] = world.levels[1] = 2;
    uint64_t ids[] = {5, 6, FIXTURE_MEMBER};
    for (size_t i = 0; i < 3; i++) {
        world.progress[i] = (struct sr_member_progress){
            .id = ids[i], .role = SR_ROLE_VOTER, .up = true, .caught_up = true};
    }
    world.progress_count = 3;
    new_steward(2);
    return 0;
}

static int teardown(void **state)
{
    sr_steward_free(world.steward);
    return commands_teardown(state);
}

static void rounds(unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        world.now_ms += 1000;
        sr_steward_tick(world.steward);
    }
}

static struct sr_steward_counts counts(void)
{
    struct sr_steward_counts found;
    sr_steward_counts(world.steward, &found);
    return found;
}

/* ---- Founding and publishing ---- */

static void the_leader_founds_the_record(void **state)
{
    rounds(20);
    assert_int_equal(world.changes, 0); /* somebody else leads */
    world.leads = true;
    rounds(1);
    assert_int_equal(world.changes, 1);
    assert_record(*state, "epoch 1: 5 n5/b V2, 6 n6/c V2, 161 n161/a V2");
    rounds(20);
    assert_int_equal(world.changes, 1);
    assert_int_equal(sr_steward_feature_level(world.steward), 2);
}

static void nobody_is_taken_by_surprise(void **state)
{
    world.leads = true;
    world.levels[1] = 0; /* not seen yet */
    rounds(20);
    assert_int_equal(sr_steward_feature_level(world.steward), 0);
    world.levels[1] = 1; /* an old one */
    rounds(20);
    assert_int_equal(sr_steward_feature_level(world.steward), 1);
    assert_int_equal(world.changes, 0);
    world.levels[1] = 2; /* upgraded */
    rounds(1);
    assert_int_equal(world.changes, 1);
    assert_true(sr_store_cluster_epoch(((struct fixture *)*state)->store) == 1);
}

static void a_node_held_back_changes_nothing(void **state)
{
    (void)state;
    new_steward(1);
    world.leads = true;
    rounds(100);
    assert_int_equal(world.changes, 0);
    assert_int_equal(sr_steward_feature_level(world.steward), 1);
}

static void the_lowest_in_the_record_counts(void **state)
{
    Strongroom__MemberRecord *old = member(4, "d", true, 0);
    world.leads = true;
    rounds(1);
    new_steward(3);
    rounds(1); /* publishes 3 */
    assert_record(*state, "epoch 2: 5 n5/b V2, 6 n6/c V2, 161 n161/a V3");
    rounds(1);
    assert_int_equal(sr_steward_feature_level(world.steward), 2);
    applied(*state, publish_member(member(5, "b", true, 3)));
    applied(*state, publish_member(member(6, "c", true, 3)));
    applied(*state, add_member(old)); /* a place that nobody has taken */
    rounds(1);
    assert_int_equal(sr_steward_feature_level(world.steward), 3);
}

/* Only where it is wanted, and only when every member knows what it is. */
static void the_leader_founds_the_offsite_record(void **state)
{
    const struct sr_store *store = ((struct fixture *)*state)->store;
    world.levels[0] = world.levels[1] = 3;
    new_steward(3);
    world.leads = true;
    rounds(20);
    assert_int_equal(world.offsite_changes, 0); /* nothing is to be shipped */
    world.offsite = true;
    new_steward(3);
    world.leads = false;
    rounds(20);
    assert_int_equal(world.offsite_changes, 0);
    world.leads = true;
    rounds(1);
    assert_int_equal(world.offsite_changes, 1);
    assert_true(sr_store_offsite_epoch(store) == 1);
    rounds(20);
    assert_int_equal(world.offsite_changes, 1);
    assert_int_equal(world.told_level, 3);
}

static void no_offsite_record_while_one_member_is_older(void **state)
{
    const struct sr_store *store = ((struct fixture *)*state)->store;
    world.levels[0] = 3;
    world.levels[1] = 2;
    world.offsite = true;
    new_steward(3);
    world.leads = true;
    rounds(100);
    assert_int_equal(world.offsite_changes, 0);
    assert_int_equal(world.told_level, 2);
    assert_true(sr_store_cluster_epoch(store) >= 1); /* what the older one knows goes on */
    applied(*state, publish_member(member(6, "c", true, 3)));
    rounds(2);
    assert_int_equal(world.told_level, 3);
    assert_int_equal(world.offsite_changes, 1);
    assert_true(sr_store_offsite_epoch(store) == 1);
}

static void a_failed_founding_is_tried_again_later(void **state)
{
    const struct sr_store *store = ((struct fixture *)*state)->store;
    world.levels[0] = world.levels[1] = 3;
    world.leads = true;
    new_steward(3);
    rounds(1);
    world.offsite = true;
    new_steward(3);
    world.refuse = SR_API_NO_LEADER;
    rounds(5);
    assert_int_equal(world.offsite_changes, 1);
    assert_true(sr_store_offsite_epoch(store) == 0);
    world.refuse = SR_API_NONE;
    rounds(5);
    assert_int_equal(world.offsite_changes, 2);
    assert_true(sr_store_offsite_epoch(store) == 1);
}

static void a_failed_change_is_tried_again_later(void **state)
{
    (void)state;
    world.leads = true;
    world.refuse = SR_API_NO_LEADER;
    rounds(5);
    assert_int_equal(world.changes, 1);
    rounds(1);
    assert_int_equal(world.changes, 2);
    world.refuse = SR_API_NONE;
    rounds(6);
    assert_int_equal(world.changes, 3);
    assert_true(sr_store_cluster_epoch(world.fixture->store) == 1);
}

static void what_a_node_is_gets_published(void **state)
{
    world.leads = true;
    rounds(1);
    world.leads = false;
    world.members[2]->zone = text_of("z");
    rounds(6);
    assert_record(*state, "epoch 2: 5 n5/b V2, 6 n6/c V2, 161 n161/z V2");
    world.members[2]->client_urls[0] = text_of("https://other.example:1");
    rounds(6);
    assert_true(sr_store_cluster_epoch(world.fixture->store) == 3);
    world.members[2]->peer_address = text_of("elsewhere:1"); /* an operator says where it is */
    rounds(6);
    assert_true(sr_store_cluster_epoch(world.fixture->store) == 3);
    applied(*state, remove_member(FIXTURE_MEMBER));
    rounds(20); /* who is no member publishes nothing */
    assert_true(sr_store_cluster_epoch(world.fixture->store) == 4);
}

/* ---- Replica check ---- */

static void tell(uint64_t member_id, const struct sr_store_check *check, uint8_t flip)
{
    struct sr_replica_report *one = &world.reports[world.report_count++];
    *one = (struct sr_replica_report){
        .member = member_id, .index = check->index, .revision = check->revision};
    memcpy(one->hash, check->hash, sizeof(one->hash));
    one->hash[0] ^= flip;
}

/* Found the record, and let time pass until a check was asked for. */
static void begin_check(void)
{
    world.leads = true;
    rounds(1);
    applied(world.fixture, put_text("k", "v"));
    world.report_count = 0;
    while (world.reported.index == 0) {
        rounds(1);
        assert_true(world.now_ms < 100000);
    }
    tell(FIXTURE_MEMBER, &world.reported, 0);
}

static void equal_replicas_are_counted(void **state)
{
    begin_check();
    tell(5, &world.reported, 0);
    tell(6, &world.reported, 0);
    size_t changes = world.changes;
    rounds(1);
    assert_int_equal(counts().checks, 1);
    assert_int_equal(counts().odd, 0);
    assert_int_equal(world.changes, changes);
    assert_record(*state, "epoch 1: 5 n5/b V2, 6 n6/c V2, 161 n161/a V2");
    rounds(120); /* and again */
    assert_int_equal(world.changes, changes + 2);
}

static void a_member_that_is_down_does_not_stop_it(void **state)
{
    (void)state;
    begin_check();
    tell(5, &world.reported, 0);
    rounds(15);
    assert_int_equal(counts().checks, 0);
    rounds(10);
    assert_int_equal(counts().checks, 1);
}

static void the_odd_one_is_accused(void **state)
{
    begin_check();
    tell(5, &world.reported, 1);
    rounds(1);
    assert_int_equal(counts().odd, 0); /* who is it? */
    tell(6, &world.reported, 0);
    rounds(1);
    assert_int_equal(counts().odd, 1);
    char expected[128];
    snprintf(expected, sizeof(expected),
             "epoch 2: 5 n5/b V2, 6 n6/c V2, 161 n161/a V2; alarms 5:2@%u",
             (unsigned)world.reported.index);
    assert_record(*state, expected);
    assert_int_equal(sr_store_alarms(world.fixture->store), SR_ALARM_CORRUPT);
}

static void without_a_majority_nobody_is(void **state)
{
    begin_check();
    tell(5, &world.reported, 1);
    rounds(30);
    assert_int_equal(counts().unclear, 1);
    assert_int_equal(counts().odd, 0);
    assert_record(*state, "epoch 1: 5 n5/b V2, 6 n6/c V2, 161 n161/a V2");
}

static void followers_report_and_judge_nothing(void **state)
{
    world.leads = true;
    rounds(1);
    world.leads = false;
    size_t changes = world.changes;
    rounds(200);
    assert_int_equal(world.changes, changes);
    applied(*state, check_replicas());
    rounds(1);
    struct sr_store_check check;
    sr_store_last_check(world.fixture->store, &check);
    assert_int_equal(world.reported.index, check.index);
    assert_memory_equal(world.reported.hash, check.hash, 32);
    tell(FIXTURE_MEMBER, &check, 0);
    tell(5, &check, 1);
    tell(6, &check, 0);
    rounds(30);
    assert_int_equal(counts().odd, 0);
}

/* ---- Leadership ---- */

static void leadership_goes_to_the_preferred_zone(void **state)
{
    (void)state;
    world.leads = true;
    world.progress[1].caught_up = false;
    rounds(60);
    assert_int_equal(world.moved_to, 0);
    world.progress[1].caught_up = true;
    rounds(12);
    assert_int_equal(world.moved_to, 6);
    assert_int_equal(counts().hand_overs, 1);
}

static void the_accused_is_not_preferred(void **state)
{
    world.leads = true;
    rounds(1);
    applied(*state, raise_alarm(6, CORRUPT));
    rounds(60);
    assert_int_equal(world.moved_to, 0);
    applied(*state, clear_alarm(6, CORRUPT));
    rounds(12);
    assert_int_equal(world.moved_to, 6);
}

static void the_accused_does_not_lead(void **state)
{
    world.leads = true;
    rounds(1);
    applied(*state, raise_alarm(FIXTURE_MEMBER, CORRUPT));
    rounds(1);
    assert_int_equal(world.moved_to, 5);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

/* ---- Space ---- */

static size_t alarms_now(void)
{
    Strongroom__ClusterRecord *record = NULL;
    struct sr_err err;
    assert_int_equal(sr_store_cluster(world.fixture->store, &record, &err), SR_OK);
    size_t count = record->n_alarms;
    if (count > 0) {
        assert_int_equal(record->alarms[0]->member_id, FIXTURE_MEMBER);
        assert_int_equal(record->alarms[0]->alarm, ETCDSERVERPB__ALARM_TYPE__NOSPACE);
    }
    strongroom__cluster_record__free_unpacked(record, NULL);
    return count;
}

static void all_learn_that_the_disk_is_full(void **state)
{
    (void)state;
    world.leads = true;
    rounds(2);
    world.leads = false; /* each does it for itself */
    world.lacks_space = true;
    rounds(1);
    world.lacks_space = false; /* came and went */
    rounds(5);
    assert_int_equal(world.changes, 1);
    world.lacks_space = true;
    rounds(2);
    assert_int_equal(alarms_now(), 1);
    rounds(20);
    assert_int_equal(world.changes, 2);
    world.lacks_space = false;
    rounds(2);
    assert_int_equal(alarms_now(), 0);
    rounds(20);
    assert_int_equal(world.changes, 3);
}

static void an_alarm_that_is_not_heard_is_raised_again(void **state)
{
    (void)state;
    world.leads = true;
    rounds(2);
    world.refuse = SR_API_TIMED_OUT;
    world.lacks_space = true;
    rounds(12);
    assert_in_range(world.changes, 3, 4); /* not each second */
    world.refuse = SR_API_NONE;
    rounds(6);
    assert_int_equal(alarms_now(), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_leader_founds_the_record),
        TEST(all_learn_that_the_disk_is_full),
        TEST(an_alarm_that_is_not_heard_is_raised_again),
        TEST(nobody_is_taken_by_surprise),
        TEST(a_node_held_back_changes_nothing),
        TEST(the_lowest_in_the_record_counts),
        TEST(the_leader_founds_the_offsite_record),
        TEST(no_offsite_record_while_one_member_is_older),
        TEST(a_failed_founding_is_tried_again_later),
        TEST(a_failed_change_is_tried_again_later),
        TEST(what_a_node_is_gets_published),
        TEST(equal_replicas_are_counted),
        TEST(a_member_that_is_down_does_not_stop_it),
        TEST(the_odd_one_is_accused),
        TEST(without_a_majority_nobody_is),
        TEST(followers_report_and_judge_nothing),
        TEST(leadership_goes_to_the_preferred_zone),
        TEST(the_accused_is_not_preferred),
        TEST(the_accused_does_not_lead),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
