/* SPDX-License-Identifier: Apache-2.0
 *
 * What the world of tests/unit/offsite has shipped to its directory, to be looked at, harmed and
 * restored.
 */
#ifndef SR_TESTS_UNIT_RESTORE_SHIPPED_H
#define SR_TESTS_UNIT_RESTORE_SHIPPED_H

#include "tests/unit/offsite/world.h"
#include "tests/unit/storage/archive_fixture.h"

#include <fcntl.h>

#include "node/restore/fetch.h"
#include "node/restore/plan.h"
#include "node/restore/stage.h"

static inline void ship_some(struct world *world, unsigned count)
{
    static unsigned made;
    for (unsigned i = 0; i < count; i++) {
        char key[32];
        (void)snprintf(key, sizeof(key), "key-%u", made++ % 40);
        if (made % 7 == 0) {
            applied(&world->fixture, del(delete_request(key, "")));
        } else {
            applied(&world->fixture, put_text(key, "value"));
        }
        sr_arena_reset(&commands_arena);
    }
    fixture_flush(&world->fixture);
}

/* Changes are shipped each ten seconds. */
static inline void ship_changes(struct world *world, unsigned count)
{
    ship_some(world, count);
    world_run(world, 12 * SECOND, SECOND);
}

static inline void ship_full(struct world *world)
{
    for (unsigned i = 0; i < 3; i++) {
        atomic_store(&world->members[i].full.wanted, world->leader == i + 1);
    }
    world_run(world, 2 * SECOND, SECOND);
}

/* Two snapshots with changes before, between and behind them. */
static inline struct world *ship_world(void)
{
    struct world *world = world_open(365 * DAY);
    ship_some(world, 5);
    world_run(world, MINUTE, SECOND);
    for (unsigned i = 0; i < 4; i++) {
        ship_changes(world, 5);
    }
    ship_some(world, 5); /* so that this one ends in the middle of changes */
    ship_full(world);
    world_run(world, MINUTE, SECOND);
    for (unsigned i = 0; i < 4; i++) {
        ship_changes(world, 5);
    }
    return world;
}

static inline struct sr_target *shipped_target(const struct world *world)
{
    struct sr_target_config config = {.url = world->url};
    struct sr_target *target = NULL;
    struct sr_err err = {0};
    fixture_ok(sr_target_open(&config, &target, &err), &err);
    return target;
}

/* ---- Objects, as files ---- */

static inline void shipped_path(const struct world *world, const char *name, char out[256])
{
    (void)snprintf(out, 256, "%s/%s", world->dir, name);
}

static inline struct sr_buf shipped_read(const struct world *world, const char *name)
{
    char path[256];
    uint8_t piece[65536];
    struct sr_buf buf = {0};
    size_t got;
    shipped_path(world, name, path);
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    while ((got = fread(piece, 1, sizeof(piece), file)) > 0) {
        sr_buf_append(&buf, piece, got);
    }
    (void)fclose(file);
    return buf;
}

static inline void shipped_write(const struct world *world, const char *name, const void *data,
                                 size_t size)
{
    char path[256];
    shipped_path(world, name, path);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static inline void shipped_remove(const struct world *world, const char *name)
{
    char path[256];
    shipped_path(world, name, path);
    assert_int_equal(unlink(path), 0);
}

/* Of manifests or archives of @kind, the one at @at: from the oldest, or, below 0, the newest. */
static inline void shipped_name(struct world *world, enum sr_archive_kind kind,
                                enum sr_object_type type, int at,
                                char out[SR_OBJECT_NAME_BYTES_MAX])
{
    struct objects objects = world_objects(world, kind);
    size_t count = 0;
    for (size_t i = 0; i < objects.count; i++) {
        struct sr_object_parts parts;
        assert_true(sr_object_parse(objects.names[i], &parts));
        if (parts.type == type) {
            memcpy(objects.names[count++], objects.names[i], SR_OBJECT_NAME_BYTES_MAX);
        }
    }
    size_t index = at < 0 ? count - (size_t)-at : (size_t)at;
    assert_in_range(index, 0, count - 1);
    strcpy(out, objects.names[index]);
    sr_free(objects.names);
}

/* ---- Plans ---- */

static inline int shipped_plan(const struct world *world, const struct sr_plan_wish *wish,
                               struct sr_plan **ret, struct sr_err *err)
{
    struct sr_target *target = shipped_target(world);
    int status = sr_plan_make(target, wish, ret, err);
    sr_target_close(target);
    return status;
}

static inline struct sr_plan *shipped_plan_ok(const struct world *world,
                                              const struct sr_plan_wish *wish)
{
    struct sr_plan *plan = NULL;
    struct sr_err err = {0};
    fixture_ok(shipped_plan(world, wish, &plan, &err), &err);
    return plan;
}

/* It is refused with @status and a text that has @sentence in it. */
static inline void shipped_refused(const struct world *world, const struct sr_plan_wish *wish,
                                   int status, const char *sentence)
{
    struct sr_plan *plan = NULL;
    struct sr_err err = {0};
    int found = shipped_plan(world, wish, &plan, &err);
    if (found != status || strstr(err.text, sentence) == NULL) {
        fail_msg("%s: %s, not: %s: %s", sr_status_text(found), err.text, sr_status_text(status),
                 sentence);
    }
    sr_plan_free(plan);
}

static inline bool shipped_has_note(const struct sr_plan *plan, const char *text)
{
    for (size_t i = 0; i < plan->note_count; i++) {
        if (strstr(plan->notes[i], text) != NULL) {
            return true;
        }
    }
    return false;
}

/* ---- A directory to fetch to ---- */

static inline void shipped_work(char out[64])
{
    const char *base = getenv("TMPDIR");
    (void)snprintf(out, 64, "%.32s/restore-XXXXXX", base != NULL ? base : "/tmp");
    assert_non_null(mkdtemp(out));
}

static inline void shipped_clear(const char *dir)
{
    char command[128];
    (void)snprintf(command, sizeof(command), "rm -r '%s'", dir);
    assert_int_equal(system(command), 0);
}

#endif
