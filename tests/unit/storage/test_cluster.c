/* SPDX-License-Identifier: Apache-2.0
 *
 * The cluster record: what each change does and refuses, alarms, replica checks, and that all of
 * it survives a restart, is counted by the state hash and is the same on two nodes.
 */
#include "tests/unit/storage/cluster_commands.h"

#include "proto/limits.h"

enum { NO_SPACE = 1, CORRUPT = 2 };

static void there_is_no_record_at_first(void **state)
{
    struct fixture *fixture = *state;
    assert_record(fixture, "epoch 0:");
    apply_fails(fixture, add_member(vacant(4, true)), SR_API_CLUSTER_UNKNOWN);
    apply_fails(fixture, remove_member(1), SR_API_CLUSTER_UNKNOWN);
    apply_fails(fixture, raise_alarm(1, CORRUPT), SR_API_CLUSTER_UNKNOWN);
    applied(fixture, init_voters(3));
    assert_record(fixture, "epoch 1: 1 n1/a V2, 2 n2/b V2, 3 n3/c V2");
}

static void only_the_first_init_counts(void **state)
{
    struct fixture *fixture = *state;
    applied(fixture, init_voters(3));
    apply_fails(fixture, init_voters(5), SR_API_CLUSTER_CHANGED);
    assert_record(fixture, "epoch 1: 1 n1/a V2, 2 n2/b V2, 3 n3/c V2");
}

static void an_init_is_checked_whole(void **state)
{
    struct fixture *fixture = *state;
    Strongroom__MemberRecord *two[2] = {member(2, "a", true, 2), member(1, "b", true, 2)};
    apply_fails(fixture, init_members(2, two), SR_API_MEMBER_INVALID); /* not by id */
    two[0] = member(1, "a", true, 2);
    apply_fails(fixture, init_members(2, two), SR_API_MEMBER_INVALID); /* an id twice */
    two[1] = member(2, "b", true, 2);
    two[1]->name = two[0]->name;
    apply_fails(fixture, init_members(2, two), SR_API_MEMBER_INVALID);
    two[1] = member(2, "b", true, 2);
    two[1]->peer_address = two[0]->peer_address;
    apply_fails(fixture, init_members(2, two), SR_API_MEMBER_INVALID);
    two[1] = member(2, "Not a zone", true, 2);
    apply_fails(fixture, init_members(2, two), SR_API_MEMBER_INVALID);
    Strongroom__MemberRecord *learner[1] = {member(1, "a", false, 2)};
    apply_fails(fixture, init_members(1, learner), SR_API_MEMBER_INVALID); /* nobody votes */
    apply_fails(fixture, init_members(0, NULL), SR_API_MEMBER_INVALID);
    apply_fails(fixture, init_voters(SR_MEMBERS_MAX + 1), SR_API_MEMBER_INVALID);
    applied(fixture, init_voters(SR_MEMBERS_MAX));
}

static void a_change_at_another_epoch_has_no_effect(void **state)
{
    struct fixture *fixture = *state;
    applied(fixture, init_voters(3));
    apply_fails(fixture, expecting(remove_member(3), 2), SR_API_CLUSTER_CHANGED);
    applied(fixture, expecting(remove_member(3), 1));
    apply_fails(fixture, expecting(remove_member(2), 1), SR_API_CLUSTER_CHANGED);
    assert_record(fixture, "epoch 2: 1 n1/a V2, 2 n2/b V2; removed 3");
}

static void a_member_is_added_in_its_place(void **state)
{
    struct fixture *fixture = *state;
    Strongroom__MemberRecord *ends[2] = {member(1, "a", true, 2), member(9, "b", true, 2)};
    applied(fixture, init_members(2, ends));
    applied(fixture, add_member(vacant(5, true)));
    Etcdserverpb__MemberAddResponse *response =
        answer(&outcomes.list[0].body, &etcdserverpb__member_add_response__descriptor);
    assert_int_equal(response->member->id, 5);
    assert_string_equal(response->member->name, "");
    assert_string_equal(response->member->peerurls[0], "https://n5.example:2380");
    assert_false(response->member->islearner);
    assert_int_equal(response->n_members, 3);
    assert_string_equal(response->members[0]->name, "n1");
    assert_string_equal(response->members[0]->clienturls[0], "https://n1.example:2379");
    assert_record(fixture, "epoch 2: 1 n1/a V2, 5 ?/? V0, 9 n9/b V2");
}

static void a_prepared_place_has_no_name_for_clients_until_it_is_taken(void **state)
{
    struct fixture *fixture = *state;
    Strongroom__MemberRecord *place = member(4, "d", true, 0);
    uint8_t hash[SR_TOKEN_HASH_BYTES] = {1};
    place->token_hash = (ProtobufCBinaryData){sizeof(hash), hash};
    applied(fixture, init_voters(3));
    applied(fixture, add_member(place));
    Etcdserverpb__MemberAddResponse *response =
        answer(&outcomes.list[0].body, &etcdserverpb__member_add_response__descriptor);
    assert_string_equal(response->member->name, "");
    assert_int_equal(response->member->n_clienturls, 0);
    assert_record(fixture, "epoch 2: 1 n1/a V2, 2 n2/b V2, 3 n3/c V2, 4 n4/d V0 token");
    applied(fixture, claim_member(member(4, "d", true, 2)));
    assert_record(fixture, "epoch 3: 1 n1/a V2, 2 n2/b V2, 3 n3/c V2, 4 n4/d V2");
    apply_fails(fixture, claim_member(member(4, "d", true, 2)), SR_API_MEMBER_CLAIMED);
}

static void a_place_is_claimed_once_and_only_in_its_name(void **state)
{
    struct fixture *fixture = *state;
    applied(fixture, init_voters(2));
    applied(fixture, add_member(vacant(4, false)));
    apply_fails(fixture, claim_member(member(5, "d", true, 2)), SR_API_MEMBER_NOT_FOUND);
    apply_fails(fixture, claim_member(member(4, "d", true, 0)), SR_API_MEMBER_INVALID);
    Strongroom__MemberRecord *thief = member(4, "d", true, 2);
    thief->name = text_of("n1");
    apply_fails(fixture, claim_member(thief), SR_API_MEMBER_NAME_EXISTS);
    Strongroom__MemberRecord *taker = member(4, "d", true, 2);
    taker->peer_address = text_of("elsewhere.example:1");
    applied(fixture, claim_member(taker));
    /* It votes only when somebody says so, and stands where it was told. */
    assert_record(fixture, "epoch 3: 1 n1/a V2, 2 n2/b V2, 4 n4/d L2");
    apply_fails(fixture, update_member(1, "n4.example:2380"), SR_API_PEER_URL_EXISTS);
}

/* The answer may be lost: until it has published, whoever has taken a place may say so again. */
static void a_claim_can_be_repeated_by_whoever_made_it(void **state)
{
    struct fixture *fixture = *state;
    uint8_t hashes[2][SR_TOKEN_HASH_BYTES] = {{1}, {2}};
    Strongroom__MemberRecord *mine = member(4, "d", true, 2);
    Strongroom__MemberRecord *other = member(4, "d", true, 2);
    mine->token_hash = (ProtobufCBinaryData){SR_TOKEN_HASH_BYTES, hashes[0]};
    other->token_hash = (ProtobufCBinaryData){SR_TOKEN_HASH_BYTES, hashes[1]};
    applied(fixture, init_voters(2));
    applied(fixture, add_member(vacant(4, true)));
    applied(fixture, claim_member(mine));
    assert_record(fixture, "epoch 3: 1 n1/a V2, 2 n2/b V2, 4 n4/d V2 token");
    applied(fixture, claim_member(mine));
    assert_record(fixture, "epoch 3: 1 n1/a V2, 2 n2/b V2, 4 n4/d V2 token");
    apply_fails(fixture, claim_member(other), SR_API_MEMBER_CLAIMED);
    apply_fails(fixture, claim_member(member(4, "d", true, 2)), SR_API_MEMBER_CLAIMED);
    applied(fixture, publish_member(member(4, "d", true, 2)));
    assert_record(fixture, "epoch 4: 1 n1/a V2, 2 n2/b V2, 4 n4/d V2");
    apply_fails(fixture, claim_member(mine), SR_API_MEMBER_CLAIMED);
}

static void an_addition_is_refused(void **state)
{
    struct fixture *fixture = *state;
    Strongroom__MemberRecord *bad = vacant(4, true);
    applied(fixture, init_voters(3));
    apply_fails(fixture, add_member(vacant(3, true)), SR_API_MEMBER_EXISTS);
    bad->peer_address = text_of("n1.example:2380");
    apply_fails(fixture, add_member(bad), SR_API_PEER_URL_EXISTS);
    bad = member(4, "d", true, 0);
    bad->name = text_of("n1");
    apply_fails(fixture, add_member(bad), SR_API_MEMBER_NAME_EXISTS);
    apply_fails(fixture, add_member(vacant(0, true)), SR_API_MEMBER_INVALID);
    apply_fails(fixture, add_member(member(4, "d", true, 2)), SR_API_MEMBER_INVALID);
    bad = vacant(4, true);
    bad->peer_address = text_of("no-port");
    apply_fails(fixture, add_member(bad), SR_API_MEMBER_INVALID);
    bad = vacant(4, true);
    bad->token_hash = data_of("short");
    apply_fails(fixture, add_member(bad), SR_API_MEMBER_INVALID);
    applied(fixture, remove_member(2));
    apply_fails(fixture, add_member(vacant(2, true)), SR_API_MEMBER_REMOVED);
}

static void the_counts_are_bounded(void **state)
{
    struct fixture *fixture = *state;
    applied(fixture, init_voters(3));
    applied(fixture, add_member(vacant(10, false)));
    apply_fails(fixture, add_member(vacant(11, false)), SR_API_TOO_MANY_LEARNERS);
    for (uint64_t id = 20; sr_store_cluster_epoch(fixture->store) < SR_MEMBERS_MAX - 2; id++) {
        applied(fixture, add_member(vacant(id, true)));
    }
    apply_fails(fixture, add_member(vacant(40, true)), SR_API_TOO_MANY_MEMBERS);
    applied(fixture, remove_member(10));
    applied(fixture, add_member(vacant(40, true)));
}

static void the_last_voter_stays(void **state)
{
    struct fixture *fixture = *state;
    applied(fixture, init_voters(2));
    applied(fixture, add_member(vacant(4, false)));
    apply_fails(fixture, remove_member(9), SR_API_MEMBER_NOT_FOUND);
    applied(fixture, remove_member(1));
    apply_fails(fixture, remove_member(1), SR_API_MEMBER_NOT_FOUND);
    apply_fails(fixture, remove_member(2), SR_API_NOT_ENOUGH_STARTED);
    applied(fixture, promote_member(4));
    applied(fixture, remove_member(2));
    Etcdserverpb__MemberRemoveResponse *response =
        answer(&outcomes.list[0].body, &etcdserverpb__member_remove_response__descriptor);
    assert_int_equal(response->n_members, 1);
    assert_int_equal(response->members[0]->id, 4);
    assert_record(fixture, "epoch 5: 4 ?/? V0; removed 1 2");
}

static void promotion_is_for_learners(void **state)
{
    struct fixture *fixture = *state;
    applied(fixture, init_voters(1));
    apply_fails(fixture, promote_member(1), SR_API_NOT_A_LEARNER);
    apply_fails(fixture, promote_member(2), SR_API_MEMBER_NOT_FOUND);
    applied(fixture, add_member(vacant(4, false)));
    applied(fixture, promote_member(4));
    Etcdserverpb__MemberPromoteResponse *response =
        answer(&outcomes.list[0].body, &etcdserverpb__member_promote_response__descriptor);
    assert_false(response->members[1]->islearner);
    apply_fails(fixture, promote_member(4), SR_API_NOT_A_LEARNER);
}

static void an_address_is_changed(void **state)
{
    struct fixture *fixture = *state;
    applied(fixture, init_voters(2));
    apply_fails(fixture, update_member(3, "a:1"), SR_API_MEMBER_NOT_FOUND);
    apply_fails(fixture, update_member(1, "a:0"), SR_API_MEMBER_URLS_INVALID);
    apply_fails(fixture, update_member(1, "n2.example:2380"), SR_API_PEER_URL_EXISTS);
    applied(fixture, update_member(1, "[fd00::1]:2380"));
    Etcdserverpb__MemberUpdateResponse *response =
        answer(&outcomes.list[0].body, &etcdserverpb__member_update_response__descriptor);
    assert_string_equal(response->members[0]->peerurls[0], "https://[fd00::1]:2380");
    assert_true(sr_store_cluster_epoch(fixture->store) == 2);
    applied(fixture, update_member(1, "[fd00::1]:2380"));
    assert_true(sr_store_cluster_epoch(fixture->store) == 2); /* it was there already */
}

static void a_member_publishes_what_it_is(void **state)
{
    struct fixture *fixture = *state;
    applied(fixture, init_voters(2));
    applied(fixture, publish_member(member(1, "a", true, 2)));
    assert_true(sr_store_cluster_epoch(fixture->store) == 1); /* nothing new */
    applied(fixture, publish_member(member(1, "z", false, 3)));
    /* Whether it votes is not its own to say. */
    assert_record(fixture, "epoch 2: 1 n1/z V3, 2 n2/b V2");
    Strongroom__MemberRecord *renamed = member(1, "z", true, 3);
    renamed->name = text_of("other");
    apply_fails(fixture, publish_member(renamed), SR_API_MEMBER_INVALID);
    apply_fails(fixture, publish_member(member(1, "z", true, 0)), SR_API_MEMBER_INVALID);
    apply_fails(fixture, publish_member(member(7, "z", true, 2)), SR_API_MEMBER_NOT_FOUND);
    Strongroom__MemberRecord *moved = member(1, "z", true, 3);
    moved->client_urls[0] = text_of("https://new.example:2379");
    applied(fixture, publish_member(moved));
    assert_true(sr_store_cluster_epoch(fixture->store) == 3);
}

static void old_removed_ids_make_room(void **state)
{
    struct fixture *fixture = *state;
    applied(fixture, init_voters(1));
    for (uint64_t id = 100; id < 100 + SR_REMOVED_MAX + 2; id++) {
        applied(fixture, add_member(vacant(id, true)));
        applied(fixture, remove_member(id));
    }
    Strongroom__ClusterRecord *record = NULL;
    struct sr_err err = {0};
    fixture_ok(sr_store_cluster(fixture->store, &record, &err), &err);
    assert_int_equal(record->n_removed, SR_REMOVED_MAX);
    assert_int_equal(record->removed[0], 102);
    assert_int_equal(record->removed[SR_REMOVED_MAX - 1], 100 + SR_REMOVED_MAX + 1);
    strongroom__cluster_record__free_unpacked(record, NULL);
    fixture_flush(fixture);
    fixture_reopen(fixture);
    apply_fails(fixture, add_member(vacant(102, true)), SR_API_MEMBER_REMOVED);
}

/* ---- Alarms ---- */

static const Etcdserverpb__AlarmResponse *alarms_answered(void)
{
    return answer(&outcomes.list[0].body, &etcdserverpb__alarm_response__descriptor);
}

static void alarms_are_raised_and_cleared(void **state)
{
    struct fixture *fixture = *state;
    applied(fixture, init_voters(3));
    applied(fixture, raise_alarm(2, CORRUPT));
    assert_int_equal(alarms_answered()->n_alarms, 1);
    assert_int_equal(alarms_answered()->alarms[0]->memberid, 2);
    applied(fixture, raise_alarm(2, CORRUPT));
    assert_int_equal(alarms_answered()->n_alarms, 1);
    applied(fixture, raise_alarm(1, NO_SPACE));
    applied(fixture, raise_alarm(2, NO_SPACE));
    assert_record(fixture, "epoch 4: 1 n1/a V2, 2 n2/b V2, 3 n3/c V2; alarms 1:1@4 2:1@5 2:2@2");
    applied(fixture, clear_alarm(2, CORRUPT));
    assert_int_equal(alarms_answered()->n_alarms, 1);
    applied(fixture, clear_alarm(2, CORRUPT));
    assert_null(alarms_answered()->alarms);
    apply_fails(fixture, raise_alarm(1, 3), SR_API_ALARM_INVALID);
    apply_fails(fixture, raise_alarm(1, 0), SR_API_ALARM_INVALID);
    apply_fails(fixture, clear_alarm(1, 9), SR_API_ALARM_INVALID);
    apply_fails(fixture, raise_alarm(7, CORRUPT), SR_API_MEMBER_NOT_FOUND);
    applied(fixture, remove_member(2));
    assert_record(fixture, "epoch 6: 1 n1/a V2, 3 n3/c V2; removed 2; alarms 1:1@4");
}

static void an_index_in_an_alarm_is_kept(void **state)
{
    struct fixture *fixture = *state;
    Strongroom__Command *command = raise_alarm(1, CORRUPT);
    command->cluster->raise->index = 77;
    applied(fixture, init_voters(1));
    applied(fixture, command);
    assert_record(fixture, "epoch 2: 1 n1/a V2; alarms 1:2@77");
}

static void corruption_stops_all_changes(void **state)
{
    struct fixture *fixture = *state;
    applied(fixture, init_voters(3));
    applied(fixture, put_text("k", "v"));
    applied(fixture, raise_alarm(2, CORRUPT));
    assert_int_equal(sr_store_alarms(fixture->store), SR_ALARM_CORRUPT);
    apply_fails(fixture, put_text("k", "w"), SR_API_CORRUPT);
    apply_fails(fixture, del(delete_request("k", "")), SR_API_CORRUPT);
    apply_fails(fixture, txn(txn_request()), SR_API_CORRUPT);
    apply_fails(fixture, compact(1), SR_API_CORRUPT);
    assert_string_equal(pair_of(fixture, "k"), "k=v 2/2/1");
    applied(fixture, remove_member(2)); /* which is how it ends well */
    assert_int_equal(sr_store_alarms(fixture->store), 0);
    applied(fixture, put_text("k", "w"));
}

static void no_space_of_a_majority_stops_puts(void **state)
{
    struct fixture *fixture = *state;
    applied(fixture, init_voters(3));
    applied(fixture, put_text("k", "v"));
    applied(fixture, raise_alarm(3, NO_SPACE));
    applied(fixture, put_text("k", "w")); /* the others have room */
    applied(fixture, raise_alarm(1, NO_SPACE));
    assert_int_equal(sr_store_alarms(fixture->store), SR_ALARM_NO_SPACE | SR_ALARM_NO_PUTS);
    apply_fails(fixture, put_text("k", "w"), SR_API_NO_SPACE);
    apply_fails(fixture, txn(otherwise(txn_request(), op_put(put_request("k", "w")))),
                SR_API_NO_SPACE);
    applied(fixture, del(delete_request("k", "")));
    applied(fixture, compact(2));
    applied(fixture, clear_alarm(3, NO_SPACE));
    assert_int_equal(sr_store_alarms(fixture->store), SR_ALARM_NO_SPACE);
    applied(fixture, put_text("k", "w"));
}

/* Refused while there is an alarm, not for ever. */
static void an_alarm_is_not_remembered_as_an_answer(void **state)
{
    struct fixture *fixture = *state;
    applied(fixture, init_voters(1));
    int64_t first = applied(fixture, with_id(put_text("a", "1"), 1));
    applied(fixture, raise_alarm(1, CORRUPT));
    apply_fails(fixture, with_id(put_text("b", "1"), 2), SR_API_CORRUPT);
    assert_int_equal(applied(fixture, with_id(put_text("a", "1"), 1)), first); /* it happened */
    applied(fixture, clear_alarm(1, CORRUPT));
    applied(fixture, with_id(put_text("b", "1"), 2));
    assert_string_equal(pair_of(fixture, "b"), "b=1 3/3/1");
}

static void the_accused_member_knows(void **state)
{
    struct fixture *fixture = *state;
    Strongroom__MemberRecord *two[2] = {member(FIXTURE_MEMBER, "a", true, 2),
                                        member(0xa2, "b", true, 2)};
    applied(fixture, init_members(2, two));
    applied(fixture, raise_alarm(FIXTURE_MEMBER, CORRUPT));
    assert_int_equal(sr_store_alarms(fixture->store), SR_ALARM_CORRUPT | SR_ALARM_CORRUPT_HERE);
    fixture_flush(fixture);
    fixture_reopen(fixture);
    assert_int_equal(sr_store_alarms(fixture->store), SR_ALARM_CORRUPT | SR_ALARM_CORRUPT_HERE);
}

/* ---- Replica check ---- */

static void a_check_notes_the_hash_of_what_is_before_it(void **state)
{
    struct fixture *fixture = *state;
    struct sr_store_check check;
    struct sr_buf batch = {0};
    struct sr_err err = {0};
    uint8_t hash[32];
    int64_t revision = 0;
    uint64_t index = 0;
    sr_store_last_check(fixture->store, &check);
    assert_int_equal(check.index, 0);
    applied(fixture, put_text("a", "1"));
    sr_store_state_hash(fixture->store, hash, &revision, &index);
    batch_add(&batch, check_replicas());
    batch_add(&batch, put_text("b", "2"));
    fixture_ok(apply_batch(fixture, &batch, &err), &err);
    sr_buf_close(&batch);
    sr_store_last_check(fixture->store, &check);
    assert_int_equal(check.index, index + 1);
    assert_int_equal(check.revision, revision);
    assert_memory_equal(check.hash, hash, sizeof(hash));
    /* The check itself changed nothing. */
    assert_record(fixture, "epoch 0:");
}

/* ---- Disk, hash, other nodes ---- */

static void the_record_survives(void **state)
{
    struct fixture *fixture = *state;
    applied(fixture, init_voters(3));
    fixture_flush(fixture);
    applied(fixture, add_member(vacant(4, true)));
    assert_true(sr_store_freeze(fixture->store, true));
    applied(fixture, remove_member(1)); /* in the next table: not to be flushed with this one */
    struct sr_err err = {0};
    fixture_ok(sr_store_flush(fixture->store, &err), &err);
    fixture_reopen(fixture);
    assert_record(fixture, "epoch 2: 1 n1/a V2, 2 n2/b V2, 3 n3/c V2, 4 ?/? V0");
    applied(fixture, remove_member(1));
    fixture_flush(fixture);
    fixture_reopen(fixture);
    assert_record(fixture, "epoch 3: 2 n2/b V2, 3 n3/c V2, 4 ?/? V0; removed 1");
}

/* The state hash after a put and @command. */
static void hash_with(const Strongroom__Command *command, uint8_t ret_hash[32])
{
    struct fixture fixture;
    int64_t revision = 0;
    uint64_t index = 0;
    fixture_init(&fixture);
    fixture_open(&fixture);
    (void)apply(&fixture, init_voters(3));
    (void)apply(&fixture, put_text("k", "v"));
    (void)apply(&fixture, command);
    sr_store_state_hash(fixture.store, ret_hash, &revision, &index);
    assert_int_equal(revision, 2); /* no revision is made */
    fixture_close(&fixture);
}

static void the_state_hash_covers_the_record(void **state)
{
    (void)state;
    uint8_t removed[32];
    uint8_t again[32];
    uint8_t other[32];
    uint8_t none[32];
    hash_with(remove_member(1), removed);
    hash_with(remove_member(1), again);
    hash_with(remove_member(2), other);
    hash_with(check_replicas(), none);
    assert_memory_equal(removed, again, 32);
    assert_memory_not_equal(removed, other, 32);
    assert_memory_not_equal(removed, none, 32);
    commands_reset();
}

/* ---- Versions ---- */

static void a_lower_level_refuses_rather_than_skips(void **state)
{
    struct fixture *fixture = *state;
    struct sr_buf batch = {0};
    struct sr_err err = {0};
    sr_store_close(fixture->store);
    fixture->options.feature_level = 1;
    fixture_open(fixture);
    applied(fixture, put_text("a", "1"));
    batch_add(&batch, init_voters(3));
    assert_int_equal(apply_batch(fixture, &batch, &err), SR_FORMAT);
    assert_non_null(strstr(err.text, "feature level 2"));
    assert_int_equal(sr_store_failure(fixture->store, &err), SR_FORMAT);
    sr_buf_close(&batch);
}

static void a_change_of_a_newer_version_is_not_half_understood(void **state)
{
    struct fixture *fixture = *state;
    Strongroom__Command *command = remove_member(3);
    uint8_t value[] = {1};
    ProtobufCMessageUnknownField unknown = {
        .tag = 99, .wire_type = PROTOBUF_C_WIRE_TYPE_VARINT, .len = 1, .data = value};
    struct sr_buf batch = {0};
    struct sr_err err = {0};
    applied(fixture, init_voters(3));
    command->cluster->base.n_unknown_fields = 1;
    command->cluster->base.unknown_fields = &unknown;
    batch_add(&batch, command);
    assert_int_equal(apply_batch(fixture, &batch, &err), SR_FORMAT);
    assert_non_null(strstr(err.text, "does not know"));
    sr_buf_close(&batch);
}

static void a_change_that_says_nothing_is_refused(void **state)
{
    struct fixture *fixture = *state;
    struct sr_buf batch = {0};
    struct sr_err err = {0};
    batch_add(&batch, change(STRONGROOM__CLUSTER_CHANGE__CHANGE__NOT_SET));
    assert_int_equal(apply_batch(fixture, &batch, &err), SR_FORMAT);
    sr_buf_close(&batch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        commands_test(there_is_no_record_at_first),
        commands_test(only_the_first_init_counts),
        commands_test(an_init_is_checked_whole),
        commands_test(a_change_at_another_epoch_has_no_effect),
        commands_test(a_member_is_added_in_its_place),
        commands_test(a_prepared_place_has_no_name_for_clients_until_it_is_taken),
        commands_test(a_place_is_claimed_once_and_only_in_its_name),
        commands_test(a_claim_can_be_repeated_by_whoever_made_it),
        commands_test(an_addition_is_refused),
        commands_test(the_counts_are_bounded),
        commands_test(the_last_voter_stays),
        commands_test(promotion_is_for_learners),
        commands_test(an_address_is_changed),
        commands_test(a_member_publishes_what_it_is),
        commands_test(old_removed_ids_make_room),
        commands_test(alarms_are_raised_and_cleared),
        commands_test(an_index_in_an_alarm_is_kept),
        commands_test(corruption_stops_all_changes),
        commands_test(no_space_of_a_majority_stops_puts),
        commands_test(an_alarm_is_not_remembered_as_an_answer),
        commands_test(the_accused_member_knows),
        commands_test(a_check_notes_the_hash_of_what_is_before_it),
        commands_test(the_record_survives),
        cmocka_unit_test(the_state_hash_covers_the_record),
        commands_test(a_lower_level_refuses_rather_than_skips),
        commands_test(a_change_of_a_newer_version_is_not_half_understood),
        commands_test(a_change_that_says_nothing_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
