/* SPDX-License-Identifier: Apache-2.0
 *
 * Changes of the off-site record, written as expressions like those of commands.h, and drawn from a
 * seed.
 */
#ifndef SR_TESTS_STORAGE_OFFSITE_COMMANDS_H
#define SR_TESTS_STORAGE_OFFSITE_COMMANDS_H

#include "tests/unit/storage/cluster_commands.h"
#include "tests/unit/storage/random_commands.h"

#include "storage/offsite.h"

enum { FULL = SR_ARCHIVE_FULL, CHANGES = SR_ARCHIVE_CHANGES };

static inline Strongroom__Command *offsite(Strongroom__OffsiteChange__ChangeCase kind)
{
    Strongroom__Command *command = command_new();
    command->operation_case = STRONGROOM__COMMAND__OPERATION_OFFSITE;
    command->offsite = commands_alloc(sizeof(*command->offsite));
    strongroom__offsite_change__init(command->offsite);
    command->offsite->change_case = kind;
    return command;
}

/* @count bytes of @fill. */
static inline ProtobufCBinaryData filled(uint8_t fill, size_t count)
{
    ProtobufCBinaryData data = {count, commands_alloc(count)};
    memset(data.data, fill, count);
    return data;
}

static inline Strongroom__Command *init_offsite(uint8_t fill)
{
    Strongroom__Command *command = offsite(STRONGROOM__OFFSITE_CHANGE__CHANGE_INIT);
    command->offsite->init = commands_alloc(sizeof(*command->offsite->init));
    strongroom__offsite_init__init(command->offsite->init);
    command->offsite->init->secret = filled(fill, SR_ARCHIVE_SECRET_BYTES);
    return command;
}

static inline Strongroom__Command *claim(const char *target, uint32_t kind, uint64_t member_id,
                                         uint64_t token)
{
    Strongroom__Command *command = offsite(STRONGROOM__OFFSITE_CHANGE__CHANGE_CLAIM);
    command->offsite->claim = commands_alloc(sizeof(*command->offsite->claim));
    strongroom__offsite_claim_change__init(command->offsite->claim);
    command->offsite->claim->target = text_of(target);
    command->offsite->claim->kind = kind;
    command->offsite->claim->member_id = member_id;
    command->offsite->claim->token = token;
    command->offsite->claim->now_ms = 1000;
    return command;
}

static inline Strongroom__Command *replacing(Strongroom__Command *command, uint64_t number,
                                             uint64_t renewals)
{
    command->offsite->claim->replaces_number = number;
    command->offsite->claim->replaces_renewals = renewals;
    return command;
}

static inline Strongroom__Command *renew(uint64_t number)
{
    Strongroom__Command *command = offsite(STRONGROOM__OFFSITE_CHANGE__CHANGE_RENEW);
    command->offsite->renew = commands_alloc(sizeof(*command->offsite->renew));
    strongroom__offsite_renew__init(command->offsite->renew);
    command->offsite->renew->number = number;
    return command;
}

static inline Strongroom__Command *complete(uint64_t number, int64_t revision)
{
    Strongroom__Command *command = offsite(STRONGROOM__OFFSITE_CHANGE__CHANGE_COMPLETE);
    Strongroom__OffsiteComplete *done = commands_alloc(sizeof(*done));
    strongroom__offsite_complete__init(done);
    done->number = number;
    done->archive_id = filled((uint8_t)number, SR_ARCHIVE_ID_BYTES);
    done->manifest_sha256 = filled((uint8_t)revision, 32); /* of no two the same */
    memcpy(done->manifest_sha256.data, &number, sizeof(number));
    done->until_revision = revision;
    done->index = (uint64_t)revision + 5;
    done->size = 100;
    done->ended_ms = 2000;
    done->newest_change_ms = 1900;
    done->state_hash = filled(7, 32);
    command->offsite->complete = done;
    return command;
}

static inline Strongroom__Command *going_on(Strongroom__Command *command)
{
    command->offsite->complete->go_on = true;
    return command;
}

static inline Strongroom__Command *fail_claim(uint64_t number, const char *reason)
{
    Strongroom__Command *command = offsite(STRONGROOM__OFFSITE_CHANGE__CHANGE_FAIL);
    command->offsite->fail = commands_alloc(sizeof(*command->offsite->fail));
    strongroom__offsite_fail__init(command->offsite->fail);
    command->offsite->fail->number = number;
    command->offsite->fail->now_ms = 3000;
    command->offsite->fail->reason = text_of(reason);
    return command;
}

/* Up to two full archives (0: none), and changes before @changes_before. */
static inline Strongroom__Command *prune(const char *target, uint64_t first, uint64_t second,
                                         uint64_t changes_before)
{
    Strongroom__Command *command = offsite(STRONGROOM__OFFSITE_CHANGE__CHANGE_PRUNE);
    Strongroom__OffsitePrune *wanted = commands_alloc(sizeof(*wanted));
    strongroom__offsite_prune__init(wanted);
    wanted->target = text_of(target);
    wanted->sequence = commands_alloc(2 * sizeof(uint64_t));
    wanted->sequence[0] = first;
    wanted->sequence[1] = second;
    wanted->n_sequence = (first != 0) + (size_t)(second != 0);
    wanted->changes_before = changes_before;
    wanted->changes_objects = 1;
    wanted->changes_bytes = 100;
    command->offsite->prune = wanted;
    return command;
}

static inline Strongroom__Command *proven(const char *target, uint64_t sequence, uint8_t id,
                                          const char *reason)
{
    Strongroom__Command *command = offsite(STRONGROOM__OFFSITE_CHANGE__CHANGE_PROVEN);
    Strongroom__OffsiteProven *result = commands_alloc(sizeof(*result));
    strongroom__offsite_proven__init(result);
    result->target = text_of(target);
    result->sequence = sequence;
    result->archive_id = filled(id, SR_ARCHIVE_ID_BYTES);
    result->now_ms = 4000;
    result->duration_ms = 10;
    result->good = reason[0] == 0;
    result->reason = text_of(reason);
    command->offsite->proven = result;
    return command;
}

static inline Strongroom__Command *forget(const char *target)
{
    Strongroom__Command *command = offsite(STRONGROOM__OFFSITE_CHANGE__CHANGE_FORGET);
    command->offsite->forget = commands_alloc(sizeof(*command->offsite->forget));
    strongroom__offsite_forget__init(command->offsite->forget);
    command->offsite->forget->target = text_of(target);
    return command;
}

/* Over three targets and numbers that are about to be, or were. */
static inline Strongroom__Command *random_offsite(uint64_t *seed, int64_t revision)
{
    static const char *const targets[] = {"a", "b", "c"};
    const char *target = targets[below(seed, 3)];
    uint32_t kind = below(seed, 2) == 0 ? FULL : CHANGES;
    uint64_t number = 1 + below(seed, 40);
    Strongroom__Command *command = NULL;
    switch (below(seed, 12)) {
    case 0:
    case 1:
        return claim(target, kind, 1 + below(seed, 3), below(seed, 4));
    case 2:
    case 3:
        return replacing(claim(target, kind, 1 + below(seed, 3), below(seed, 4)), number,
                         below(seed, 2));
    case 4:
        return renew(number);
    case 5:
    case 6:
    case 7:
        command = complete(number, revision);
        command->offsite->complete->go_on = below(seed, 2) == 0;
        return command;
    case 8:
        return fail_claim(number, random_value(seed));
    case 9:
        return prune(target, 1 + below(seed, 9), below(seed, 9), below(seed, 9));
    case 10:
        return proven(target, 1 + below(seed, 9), (uint8_t)number, below(seed, 2) == 0 ? "" : "no");
    default:
        return below(seed, 6) == 0 ? forget(target) : init_offsite((uint8_t)below(seed, 9));
    }
}

/* The record as text, valid until the next call:
 * "epoch 3: claim a/F 1 by 5 r0 s1; chain a/F claimed 1 last 0@0; entry a 1@9 proven". */
static inline const char *offsite_text(struct fixture *fixture)
{
    static char text[4096];
    size_t used = 0;
    Strongroom__OffsiteRecord *record = NULL;
    struct sr_err err = {0};
    fixture_ok(sr_store_offsite(fixture->store, &record, &err), &err);
    assert_true(sr_store_offsite_epoch(fixture->store) == record->epoch);
#define ADD(...) used += (size_t)snprintf(text + used, sizeof(text) - used, __VA_ARGS__)
    ADD("epoch %u:", (unsigned)record->epoch);
    for (size_t i = 0; i < record->n_claim; i++) {
        const Strongroom__OffsiteClaim *one = record->claim[i];
        ADD(" claim %s/%c %u by %u r%u s%u;", one->target, (int)one->kind, (unsigned)one->number,
            (unsigned)one->member_id, (unsigned)one->renewals, (unsigned)one->sequence);
    }
    for (size_t i = 0; i < record->n_chain; i++) {
        const Strongroom__OffsiteChain *one = record->chain[i];
        ADD(" chain %s/%c claimed %u last %u@%u", one->target, (int)one->kind,
            (unsigned)one->claimed_sequence, (unsigned)one->last_sequence,
            (unsigned)one->until_revision);
        if (one->kind == CHANGES) {
            ADD(" from %u, %u of %u B", (unsigned)one->oldest_sequence, (unsigned)one->objects,
                (unsigned)one->bytes);
        }
        ADD("%s%s;", one->failure[0] != 0 ? " failed: " : "", one->failure);
    }
    for (size_t i = 0; i < record->n_entry; i++) {
        const Strongroom__OffsiteEntry *one = record->entry[i];
        ADD(" entry %s %u@%u%s%s%s;", one->target, (unsigned)one->sequence, (unsigned)one->revision,
            one->proven ? " proven" : "", one->drill_failure[0] != 0 ? " not: " : "",
            one->drill_failure);
    }
#undef ADD
    strongroom__offsite_record__free_unpacked(record, NULL);
    return text;
}

#define assert_offsite(fixture, expected) assert_string_equal(offsite_text(fixture), expected)

#endif
