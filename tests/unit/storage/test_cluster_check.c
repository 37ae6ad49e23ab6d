/* SPDX-License-Identifier: Apache-2.0
 *
 * A cluster record that no change can have made, as an image or a disk may bring one: it is told
 * from a good one, and a store does not take it over.
 */
#include "tests/unit/storage/store_fixture.h"

#include "proto/limits.h"
#include "storage/cluster_change.h"
#include "storage/cluster_record.h"

enum { NO_SPACE = 1, CORRUPT = 2, UNKNOWN = 3 };

/* A good one: two voters, a place that waits, an alarm, an id that was removed. */
static Strongroom__MemberRecord a, b, c;
static Strongroom__MemberRecord *members[SR_MEMBERS_MAX + 1];
static Strongroom__AlarmRecord full, worse;
static Strongroom__AlarmRecord *alarms[SR_ALARMS_MAX + 1];
static uint64_t removed[SR_REMOVED_MAX + 1];
static char *urls[] = {(char *)(uintptr_t) "https://a:1"};
static Strongroom__ClusterRecord record;

static Strongroom__MemberRecord member(uint64_t id, const char *name, const char *address)
{
    Strongroom__MemberRecord made = STRONGROOM__MEMBER_RECORD__INIT;
    made.id = id;
    made.name = made.zone = (char *)(uintptr_t)name;
    made.peer_address = (char *)(uintptr_t)address;
    made.client_urls = urls;
    made.n_client_urls = 1;
    made.feature_level = 2;
    made.voter = true;
    return made;
}

static int set_up(void **state)
{
    (void)state;
    a = member(1, "a", "a:1");
    b = member(2, "b", "b:1");
    c = member(3, "", "c:1");
    c.voter = false;
    c.feature_level = 0;
    strongroom__alarm_record__init(&full);
    full.member_id = 1;
    full.alarm = NO_SPACE;
    worse = full;
    worse.alarm = CORRUPT;
    strongroom__cluster_record__init(&record);
    members[0] = &a;
    members[1] = &b;
    for (size_t i = 2; i <= SR_MEMBERS_MAX; i++) {
        members[i] = &c;
    }
    for (size_t i = 0; i <= SR_ALARMS_MAX; i++) {
        alarms[i] = i == 0 ? &full : &worse;
    }
    memset(removed, 0xff, sizeof(removed));
    record.epoch = 3;
    record.members = members;
    record.n_members = 3;
    record.alarms = alarms;
    record.n_alarms = 2;
    record.removed = removed;
    record.n_removed = 1;
    return 0;
}

static void a_good_one_is_good(void **state)
{
    (void)state;
    assert_true(sr_cluster_is_record(&record));
}

static void counts_are_bounded(void **state)
{
    (void)state;
    record.n_members = SR_MEMBERS_MAX + 1;
    assert_false(sr_cluster_is_record(&record));
    record.n_members = 0;
    assert_false(sr_cluster_is_record(&record));
    record.n_members = 3;
    record.n_alarms = SR_ALARMS_MAX + 1;
    assert_false(sr_cluster_is_record(&record));
    record.n_alarms = 2;
    record.n_removed = SR_REMOVED_MAX;
    assert_true(sr_cluster_is_record(&record));
    record.n_removed = SR_REMOVED_MAX + 1;
    assert_false(sr_cluster_is_record(&record));
    record.n_removed = 1;
    record.epoch = 0;
    assert_false(sr_cluster_is_record(&record));
}

static void members_are_well_formed_and_told_apart(void **state)
{
    (void)state;
    a.voter = b.voter = false;
    assert_false(sr_cluster_is_record(&record)); /* nobody votes */
    a.voter = b.voter = true;
    b.id = 1;
    assert_false(sr_cluster_is_record(&record));
    b.id = 4; /* not by id */
    assert_false(sr_cluster_is_record(&record));
    b.id = 2;
    b.name = a.name;
    assert_false(sr_cluster_is_record(&record));
    b.name = (char *)(uintptr_t) "Not a name";
    assert_false(sr_cluster_is_record(&record));
    b.name = (char *)(uintptr_t) "b";
    c.peer_address = a.peer_address;
    assert_false(sr_cluster_is_record(&record));
    c.peer_address = (char *)(uintptr_t) "nowhere";
    assert_false(sr_cluster_is_record(&record));
    c.peer_address = (char *)(uintptr_t) "c:1";
    removed[0] = 3;
    assert_false(sr_cluster_is_record(&record)); /* it is there, and cannot come back */
    removed[0] = 4;
    assert_true(sr_cluster_is_record(&record));
}

static void alarms_are_of_members_and_there_once(void **state)
{
    (void)state;
    worse.alarm = NO_SPACE;
    assert_false(sr_cluster_is_record(&record));
    worse.alarm = UNKNOWN;
    assert_false(sr_cluster_is_record(&record));
    worse.alarm = NO_SPACE;
    worse.member_id = 2;
    assert_true(sr_cluster_is_record(&record));
    worse.member_id = 4;
    assert_false(sr_cluster_is_record(&record));
    worse.member_id = 2;
    full.member_id = 3; /* not in order */
    assert_false(sr_cluster_is_record(&record));
}

static int import(struct fixture *fixture)
{
    struct sr_buf packed = {0};
    struct sr_err err = {0};
    size_t size = strongroom__cluster_record__get_packed_size(&record);
    strongroom__cluster_record__pack(&record, sr_buf_extend(&packed, size));
    int status =
        sr_cluster_import(fixture->store, (struct sr_bytes){packed.data, packed.size}, &err);
    sr_buf_close(&packed);
    return status;
}

static void a_store_takes_over_a_good_one_only(void **state)
{
    struct fixture fixture;
    (void)state;
    fixture_init(&fixture);
    fixture_open(&fixture);
    assert_int_equal(import(&fixture), SR_OK);
    /* Room for alarms that nobody has: the next one that is raised would be one too many. */
    record.n_alarms = SR_ALARMS_MAX;
    assert_int_equal(import(&fixture), SR_CORRUPT);
    record.n_alarms = 2;
    b.id = 1;
    assert_int_equal(import(&fixture), SR_CORRUPT);
    fixture_close(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_good_one_is_good, set_up),
        cmocka_unit_test_setup(counts_are_bounded, set_up),
        cmocka_unit_test_setup(members_are_well_formed_and_told_apart, set_up),
        cmocka_unit_test_setup(alarms_are_of_members_and_there_once, set_up),
        cmocka_unit_test_setup(a_store_takes_over_a_good_one_only, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
