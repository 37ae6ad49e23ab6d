/* SPDX-License-Identifier: Apache-2.0
 *
 * Three members that ship to a directory, with one store for the state that they share, and time
 * that the test owns. A change goes through the log at once; a member can be killed around one.
 */
#ifndef SR_TESTS_UNIT_OFFSITE_WORLD_H
#define SR_TESTS_UNIT_OFFSITE_WORLD_H

#include "tests/unit/storage/commands.h"

#include <sys/stat.h>

#include "node/offsite/lane.h"
#include "storage/manifest.h"

#define SECOND   UINT64_C(1000)
#define MINUTE   (60 * SECOND)
#define HOUR     (60 * MINUTE)
#define DAY      (24 * HOUR)
#define MIDNIGHT (UINT64_C(20600) * DAY)

enum kill_at {
    KILL_NEVER,
    KILL_AFTER_CLAIM,     /* nothing of it is there */
    KILL_BEFORE_COMPLETE, /* all of it is there, and nobody knows */
    KILL_AFTER_COMPLETE,  /* it counts, and the member does not know */
    KILL_AFTER_PRUNE      /* the catalogue says what is gone, and all of it is there */
};

struct member {
    struct world *world;
    unsigned number; /* 1 to 3: its id */
    struct sr_ship ship;
    struct sr_lane full;
    struct sr_lane changes;
    enum kill_at kill_at;
    bool dead;
    bool learns;             /* may not ship */
    uint64_t clock_ahead_ms; /* its wall clock is wrong by */
    /* Stands in the way of what it proposes; true: that is all, *ret is what it hears. NULL: no. */
    bool (*intercept)(struct member *member, const Strongroom__OffsiteChange *change,
                      enum sr_api_error *ret);
};

struct world {
    struct fixture fixture;
    char dir[64];
    char url[96];
    struct sr_config_target target;
    struct sr_config_offsite config;
    struct sr_recovery_private *recovery;
    struct member members[3];
    unsigned leader; /* number; 0: none */
    unsigned gone;   /* number of one that was removed from the cluster; 0: none */
    uint64_t now_ms;
    uint64_t locked_until_ms; /* of what is shipped, as if the target had locked it */
    unsigned claims;          /* full ones that were granted */
    unsigned kills;
};

/* ---- A member's world ---- */

static inline uint64_t world_wall_ms(void *arg)
{
    const struct member *member = arg;
    return member->world->now_ms + member->clock_ahead_ms;
}

static inline uint64_t world_monotonic_ns(void *arg)
{
    return ((struct member *)arg)->world->now_ms * 1000000;
}

static inline enum sr_ship_rank world_rank(void *arg)
{
    const struct member *member = arg;
    return member->world->leader == 0 || member->learns ? SR_RANK_NONE
           : member->world->leader == member->number    ? SR_RANK_LEADER
                                                        : SR_RANK_FOLLOWER;
}

static inline bool world_is_member(void *arg, uint64_t member)
{
    return ((struct member *)arg)->world->gone != member;
}

static inline void world_kill(struct member *member)
{
    member->dead = true;
    member->world->kills++;
    for (unsigned i = 0; i < 3; i++) { /* one is enough */
        member->world->members[i].kill_at = KILL_NEVER;
    }
    atomic_store(&member->ship.stopping, true);
}

static inline enum sr_api_error world_apply(struct world *world,
                                            const Strongroom__OffsiteChange *change)
{
    union {
        const Strongroom__OffsiteChange *in;
        Strongroom__OffsiteChange *out;
    } cast = {.in = change};
    Strongroom__Command *command = command_new();
    command->operation_case = STRONGROOM__COMMAND__OPERATION_OFFSITE;
    command->offsite = cast.out;
    enum sr_api_error error = apply(&world->fixture, command)->error;
    sr_arena_reset(&commands_arena);
    return error;
}

static inline enum sr_api_error world_change(void *arg, const Strongroom__OffsiteChange *change)
{
    struct member *member = arg;
    bool is_claim = change->change_case == STRONGROOM__OFFSITE_CHANGE__CHANGE_CLAIM &&
                    change->claim->kind == SR_ARCHIVE_FULL;
    bool is_complete = change->change_case == STRONGROOM__OFFSITE_CHANGE__CHANGE_COMPLETE &&
                       !change->complete->go_on;
    bool is_prune = change->change_case == STRONGROOM__OFFSITE_CHANGE__CHANGE_PRUNE;
    if (is_complete && member->kill_at == KILL_BEFORE_COMPLETE) {
        world_kill(member);
    }
    if (member->dead) {
        return SR_API_STOPPED;
    }
    if (is_complete) {
        change->complete->locked_until_ms = member->world->locked_until_ms;
    }
    enum sr_api_error intercepted = SR_API_NONE;
    if (member->intercept != NULL && member->intercept(member, change, &intercepted)) {
        return intercepted;
    }
    enum sr_api_error error = world_apply(member->world, change);
    fixture_flush(&member->world->fixture);
    member->world->claims += is_claim && error == SR_API_NONE ? 1 : 0;
    if (error == SR_API_NONE && is_claim && member->kill_at == KILL_AFTER_CLAIM) {
        world_kill(member);
    } else if (error == SR_API_NONE && is_complete && member->kill_at == KILL_AFTER_COMPLETE) {
        world_kill(member);
        return SR_API_STOPPED;
    } else if (error == SR_API_NONE && is_prune && member->kill_at == KILL_AFTER_PRUNE) {
        world_kill(member);
        return SR_API_STOPPED;
    }
    return error;
}

/* ---- Members ---- */

static inline void world_start(struct world *world, unsigned number)
{
    struct member *member = &world->members[number - 1];
    struct sr_err err = {0};
    *member = (struct member){.world = world, .number = number};
    struct sr_ship *ship = &member->ship;
    ship->config = &world->config;
    ship->cluster_name = "records";
    ship->member_name = "n";
    ship->cluster_id = FIXTURE_CLUSTER;
    ship->member_id = number;
    ship->store = world->fixture.store;
    ship->env = (struct sr_ship_env){.wall_ms = world_wall_ms,
                                     .monotonic_ns = world_monotonic_ns,
                                     .rank = world_rank,
                                     .is_member = world_is_member,
                                     .change = world_change,
                                     .arg = member};
    ship->recovery[0] = world->recovery->public_half;
    ship->recovery_count = 1;
    ship->marks = sr_marks_new();
    sr_schedule_init(&ship->schedule, &world->config, FIXTURE_CLUSTER);
    fixture_ok(sr_lane_open(&member->full, ship, &world->target, SR_ARCHIVE_FULL, &err), &err);
    fixture_ok(sr_lane_open(&member->changes, ship, &world->target, SR_ARCHIVE_CHANGES, &err),
               &err);
    member->changes.full = &member->full;
}

static inline void world_stop(struct world *world, unsigned number)
{
    struct member *member = &world->members[number - 1];
    sr_lane_close(&member->full);
    sr_lane_close(&member->changes);
    sr_marks_free(member->ship.marks);
    member->ship.marks = NULL;
    member->dead = true;
}

static inline void world_restart(struct world *world, unsigned number)
{
    world_stop(world, number);
    world_start(world, number);
}

/* ---- All of it ---- */

static inline struct world *world_open(uint64_t every_ms)
{
    struct world *world = sr_zalloc(sizeof(*world));
    struct sr_err err = {0};
    const char *base = getenv("TMPDIR");
    fixture_init(&world->fixture);
    fixture_open(&world->fixture);
    (void)snprintf(world->dir, sizeof(world->dir), "%.32s/target-XXXXXX",
                   base != NULL ? base : "/tmp");
    assert_non_null(mkdtemp(world->dir));
    (void)snprintf(world->url, sizeof(world->url), "file://%s", world->dir);
    static char name[] = "far";
    world->target = (struct sr_config_target){.name = name, .url = world->url};
    world->config = (struct sr_config_offsite){.targets = &world->target,
                                               .targets_count = 1,
                                               .every_ms = every_ms,
                                               .changes_every_ms = 10 * SECOND,
                                               .claim_timeout_ms = 30 * SECOND};
    world->config.retention.last = 100;
    world->config.retention.changes_days = 35;
    world->leader = 1;
    world->now_ms = MIDNIGHT;
    fixture_ok(sr_recovery_draw(&world->recovery, &err), &err);
    Strongroom__OffsiteChange change = STRONGROOM__OFFSITE_CHANGE__INIT;
    Strongroom__OffsiteInit init = STRONGROOM__OFFSITE_INIT__INIT;
    uint8_t secret[SR_ARCHIVE_SECRET_BYTES];
    memset(secret, 7, sizeof(secret));
    init.secret = (ProtobufCBinaryData){sizeof(secret), secret};
    change.change_case = STRONGROOM__OFFSITE_CHANGE__CHANGE_INIT;
    change.init = &init;
    assert_int_equal(world_apply(world, &change), SR_API_NONE);
    applied(&world->fixture, put_text("first", "value"));
    fixture_flush(&world->fixture);
    for (unsigned number = 1; number <= 3; number++) {
        world_start(world, number);
    }
    return world;
}

static inline void world_close(struct world *world)
{
    char command[128];
    for (unsigned number = 1; number <= 3; number++) {
        world_stop(world, number);
    }
    sr_recovery_private_free(world->recovery);
    fixture_close(&world->fixture);
    outcomes_clear();
    sr_arena_close(&commands_arena);
    (void)snprintf(command, sizeof(command), "rm -r '%s'", world->dir);
    assert_int_equal(system(command), 0);
    sr_free(world);
}

/* Let @span_ms go by, a look each @step_ms. */
static inline void world_run(struct world *world, uint64_t span_ms, uint64_t step_ms)
{
    uint64_t end_ms = world->now_ms + span_ms;
    while (world->now_ms < end_ms) {
        world->now_ms += step_ms;
        for (unsigned i = 0; i < 3; i++) {
            struct member *member = &world->members[i];
            if (!member->dead) {
                sr_marks_note(member->ship.marks, sr_store_revision(world->fixture.store),
                              world->now_ms);
                sr_lane_renew(&member->full);
                sr_lane_renew(&member->changes);
                sr_lane_step(&member->full);
            }
            if (!member->dead) {
                sr_lane_step(&member->changes);
            }
        }
    }
}

static inline Strongroom__OffsiteRecord *world_record(struct world *world)
{
    Strongroom__OffsiteRecord *record = NULL;
    struct sr_err err = {0};
    fixture_ok(sr_store_offsite(world->fixture.store, &record, &err), &err);
    return record;
}

static inline void world_record_free(Strongroom__OffsiteRecord *record)
{
    strongroom__offsite_record__free_unpacked(record, NULL);
}

/* ---- What is at the target ---- */

#define WORLD_OBJECTS_MAX 4096

struct objects {
    char (*names)[SR_OBJECT_NAME_BYTES_MAX];
    size_t count;
};

static inline int objects_take(void *arg, const struct sr_target_object *object, struct sr_err *err)
{
    struct objects *objects = arg;
    (void)err;
    assert_true(objects->count < WORLD_OBJECTS_MAX);
    assert_in_range(strlen(object->name), 1, SR_OBJECT_NAME_BYTES_MAX - 1);
    strcpy(objects->names[objects->count++], object->name);
    return SR_OK;
}

/* All of @kind, with the names in order. */
static inline struct objects world_objects(struct world *world, enum sr_archive_kind kind)
{
    struct objects objects = {.names = sr_alloc(WORLD_OBJECTS_MAX * SR_OBJECT_NAME_BYTES_MAX)};
    struct sr_target_config config = {.url = world->url};
    struct sr_target *target = NULL;
    struct sr_err err = {0};
    char prefix[SR_OBJECT_NAME_BYTES_MAX];
    sr_object_prefix(FIXTURE_CLUSTER, kind, prefix);
    fixture_ok(sr_target_open(&config, &target, &err), &err);
    fixture_ok(sr_target_list(target, prefix, objects_take, &objects, &err), &err);
    sr_target_close(target);
    return objects;
}

/* How many archives of @kind are there that have a manifest; each that has one is checked, and that
 * those on the chain of the newest are linked. @ret_chained: how many these are. */
static inline size_t world_check_manifests(struct world *world, enum sr_archive_kind kind,
                                           size_t *ret_chained)
{
    struct objects objects = world_objects(world, kind);
    struct sr_manifest **list = sr_zalloc((objects.count + 1) * sizeof(struct sr_manifest *));
    struct sr_target_config config = {.url = world->url};
    struct sr_target *target = NULL;
    struct sr_err err = {0};
    size_t count = 0;
    fixture_ok(sr_target_open(&config, &target, &err), &err);
    for (size_t i = 0; i < objects.count; i++) {
        struct sr_object_parts parts;
        assert_true(sr_object_parse(objects.names[i], &parts));
        if (parts.type == SR_OBJECT_MANIFEST) {
            struct sr_manifest_expect expect = {
                .name = objects.names[i], .cluster_id = FIXTURE_CLUSTER, .target = "far"};
            struct sr_target_object object;
            uint8_t *data = NULL;
            size_t size = 0;
            fixture_ok(sr_target_get_bytes(target, objects.names[i], 1 << 22, &data, &size, &err),
                       &err);
            fixture_ok(sr_manifest_open((struct sr_bytes){data, size}, &expect, &list[count], &err),
                       &err);
            fixture_ok(sr_target_head(target, list[count]->said->object, &object, &err), &err);
            assert_int_equal(object.size, list[count]->said->size);
            sr_free(data);
            count++;
        }
    }
    struct sr_manifest_chain chain = {0};
    if (count > 0) {
        fixture_ok(sr_manifest_chain_check(list, count, &chain, &err), &err);
    }
    for (size_t i = 0; i < count; i++) {
        sr_manifest_free(list[i]);
    }
    sr_target_close(target);
    sr_free(list);
    sr_free(objects.names);
    *ret_chained = chain.count;
    return count;
}

#endif
