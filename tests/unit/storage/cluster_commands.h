/* SPDX-License-Identifier: Apache-2.0
 *
 * Changes of the cluster record, written as expressions like those of commands.h.
 */
#ifndef SR_TESTS_STORAGE_CLUSTER_COMMANDS_H
#define SR_TESTS_STORAGE_CLUSTER_COMMANDS_H

#include "tests/unit/storage/commands.h"

#include "storage/cluster.h"

static inline char *text_of(const char *text)
{
    char *copy = commands_alloc(strlen(text) + 1);
    memcpy(copy, text, strlen(text) + 1);
    return copy;
}

/* A member with id @id, named "n<id>" in zone @zone at "n<id>.example:2380". */
static inline Strongroom__MemberRecord *member(uint64_t id, const char *zone, bool voter,
                                               uint32_t feature_level)
{
    Strongroom__MemberRecord *record = commands_alloc(sizeof(*record));
    char text[64];
    strongroom__member_record__init(record);
    record->id = id;
    (void)snprintf(text, sizeof(text), "n%u", (unsigned)id);
    record->name = text_of(text);
    record->zone = text_of(zone);
    (void)snprintf(text, sizeof(text), "n%u.example:2380", (unsigned)id);
    record->peer_address = text_of(text);
    (void)snprintf(text, sizeof(text), "https://n%u.example:2379", (unsigned)id);
    record->client_urls = commands_alloc(sizeof(char *));
    record->client_urls[0] = text_of(text);
    record->n_client_urls = 1;
    record->voter = voter;
    record->feature_level = feature_level;
    return record;
}

/* As etcdctl's member add makes it: an address and nothing else. */
static inline Strongroom__MemberRecord *vacant(uint64_t id, bool voter)
{
    Strongroom__MemberRecord *record = member(id, "x", voter, 0);
    record->name = text_of("");
    record->zone = text_of("");
    record->n_client_urls = 0;
    return record;
}

static inline Strongroom__Command *change(Strongroom__ClusterChange__ChangeCase kind)
{
    Strongroom__Command *command = command_new();
    command->operation_case = STRONGROOM__COMMAND__OPERATION_CLUSTER;
    command->cluster = commands_alloc(sizeof(*command->cluster));
    strongroom__cluster_change__init(command->cluster);
    command->cluster->change_case = kind;
    return command;
}

static inline Strongroom__Command *expecting(Strongroom__Command *command, uint64_t epoch)
{
    command->cluster->expected_epoch = epoch;
    return command;
}

static inline Strongroom__Command *init_members(size_t count, Strongroom__MemberRecord **members)
{
    Strongroom__Command *command = change(STRONGROOM__CLUSTER_CHANGE__CHANGE_INIT);
    command->cluster->init = commands_alloc(sizeof(*command->cluster->init));
    strongroom__cluster_record__init(command->cluster->init);
    command->cluster->init->members = members;
    command->cluster->init->n_members = count;
    return command;
}

/* Voters 1 to @count, one in each of zones a, b, c and again. */
static inline Strongroom__Command *init_voters(size_t count)
{
    Strongroom__MemberRecord **members = commands_alloc(count * sizeof(*members));
    for (size_t i = 0; i < count; i++) {
        char zone[2] = {(char)('a' + i % 3)};
        members[i] = member(i + 1, zone, true, 2);
    }
    return init_members(count, members);
}

static inline Strongroom__Command *add_member(Strongroom__MemberRecord *record)
{
    Strongroom__Command *command = change(STRONGROOM__CLUSTER_CHANGE__CHANGE_ADD);
    command->cluster->add = record;
    return command;
}

static inline Strongroom__Command *publish_member(Strongroom__MemberRecord *record)
{
    Strongroom__Command *command = change(STRONGROOM__CLUSTER_CHANGE__CHANGE_PUBLISH);
    command->cluster->publish = record;
    return command;
}

static inline Strongroom__Command *claim_member(Strongroom__MemberRecord *record)
{
    Strongroom__Command *command = change(STRONGROOM__CLUSTER_CHANGE__CHANGE_CLAIM);
    command->cluster->claim = record;
    return command;
}

static inline Strongroom__Command *remove_member(uint64_t id)
{
    Strongroom__Command *command = change(STRONGROOM__CLUSTER_CHANGE__CHANGE_REMOVE);
    command->cluster->remove = id;
    return command;
}

static inline Strongroom__Command *promote_member(uint64_t id)
{
    Strongroom__Command *command = change(STRONGROOM__CLUSTER_CHANGE__CHANGE_PROMOTE);
    command->cluster->promote = id;
    return command;
}

static inline Strongroom__Command *update_member(uint64_t id, const char *address)
{
    Strongroom__Command *command = change(STRONGROOM__CLUSTER_CHANGE__CHANGE_UPDATE);
    command->cluster->update = commands_alloc(sizeof(*command->cluster->update));
    strongroom__member_address__init(command->cluster->update);
    command->cluster->update->id = id;
    command->cluster->update->peer_address = text_of(address);
    return command;
}

static inline Strongroom__AlarmRecord *alarm_of(uint64_t member_id, uint32_t alarm)
{
    Strongroom__AlarmRecord *record = commands_alloc(sizeof(*record));
    strongroom__alarm_record__init(record);
    record->member_id = member_id;
    record->alarm = alarm;
    return record;
}

static inline Strongroom__Command *raise_alarm(uint64_t member_id, uint32_t alarm)
{
    Strongroom__Command *command = change(STRONGROOM__CLUSTER_CHANGE__CHANGE_RAISE);
    command->cluster->raise = alarm_of(member_id, alarm);
    return command;
}

static inline Strongroom__Command *clear_alarm(uint64_t member_id, uint32_t alarm)
{
    Strongroom__Command *command = change(STRONGROOM__CLUSTER_CHANGE__CHANGE_CLEAR);
    command->cluster->clear = alarm_of(member_id, alarm);
    return command;
}

static inline Strongroom__Command *check_replicas(void)
{
    Strongroom__Command *command = change(STRONGROOM__CLUSTER_CHANGE__CHANGE_CHECK);
    command->cluster->check = commands_alloc(sizeof(*command->cluster->check));
    strongroom__check__init(command->cluster->check);
    return command;
}

/* The record as text: "epoch 2: 1 n1/a V2, 4 ?/? L0; removed 3; alarms 1:2@7". Valid until the
 * next call. */
static inline const char *record_text(struct fixture *fixture)
{
    static char text[2048];
    size_t used = 0;
    Strongroom__ClusterRecord *record = NULL;
    struct sr_err err = {0};
    fixture_ok(sr_store_cluster(fixture->store, &record, &err), &err);
    assert_true(sr_store_cluster_epoch(fixture->store) == record->epoch);
#define ADD(...) used += (size_t)snprintf(text + used, sizeof(text) - used, __VA_ARGS__)
    ADD("epoch %u:", (unsigned)record->epoch);
    for (size_t i = 0; i < record->n_members; i++) {
        const Strongroom__MemberRecord *one = record->members[i];
        ADD("%s %u %s/%s %c%u%s", i == 0 ? "" : ",", (unsigned)one->id,
            one->name[0] == 0 ? "?" : one->name, one->zone[0] == 0 ? "?" : one->zone,
            one->voter ? 'V' : 'L', (unsigned)one->feature_level,
            one->token_hash.len > 0 ? " token" : "");
    }
    for (size_t i = 0; i < record->n_removed; i++) {
        ADD("%s %u", i == 0 ? "; removed" : "", (unsigned)record->removed[i]);
    }
    for (size_t i = 0; i < record->n_alarms; i++) {
        ADD("%s %u:%u@%u", i == 0 ? "; alarms" : "", (unsigned)record->alarms[i]->member_id,
            (unsigned)record->alarms[i]->alarm, (unsigned)record->alarms[i]->index);
    }
#undef ADD
    strongroom__cluster_record__free_unpacked(record, NULL);
    return text;
}

#define assert_record(fixture, expected) assert_string_equal(record_text(fixture), expected)

#endif
