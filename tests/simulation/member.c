/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/simulation/member.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/check.h"
#include "tests/simulation/files.h"
#include "tests/simulation/keys.h"
#include "tests/simulation/world.h"

#define TICK_NS      (25 * WORLD_MS)
#define ELECTION_MS  300
#define STOP_NS      (2000 * WORLD_MS)
#define KEEP_FOREVER (UINT64_MAX / 2)

/* ---- environment of the core ---- */

static uint64_t env_now(void *arg)
{
    const struct member *member = arg;
    uint64_t now_ns = member->world->now_ns;
    int64_t drift = (int64_t)(now_ns / 1000000) * member->clock_drift_ppm;
    return now_ns + member->clock_offset_ns + (uint64_t)drift;
}

static uint32_t env_random(void *arg)
{
    const struct member *member = arg;
    return (uint32_t)world_random(member->world, (uint64_t)1 << 32);
}

void member_fail(void *arg, const struct sr_err *err)
{
    struct member *member = arg;
    if (!member->failed) {
        member->failed = true;
        member->failure = *err;
    }
}

static void env_answer(void *arg, uint64_t origin, uint64_t sequence, enum sr_api_error error,
                       uint64_t index)
{
    struct member *member = arg;
    if (!member->alive || origin != member->origin) {
        return; /* whom a dying process answers, nobody hears */
    }
    clients_answered(member, sequence, error, index);
}

static void env_proposal_done(void *arg, struct sr_proposal *proposal)
{
    (void)arg;
    sr_buf_close(&proposal->command);
    sr_free(proposal);
}

static void env_read_done(void *arg, struct sr_read *read)
{
    (void)arg;
    sr_free(read);
}

/* ---- life ---- */

/* Small enough that everything which happens once in a gigabyte happens here all the time. */
static void draw_sizes(struct member *member)
{
    struct world *world = member->world;
    member->sizes.segment_bytes = (size_t)world_skewed(world, 8192, 256 * 1024);
    member->sizes.snapshot_bytes = (size_t)world_skewed(world, 500, 200000);
    member->sizes.trailing_bytes = (size_t)world_skewed(world, 64, 50000);
    member->sizes.memtable_entries = (size_t)world_skewed(world, 4, 2000);
    member->sizes.unindexed_entries = (size_t)world_skewed(world, 4, 1000);
    member->sizes.keep_bytes = KEEP_FOREVER;
    member->sizes.keep_entries = KEEP_FOREVER;
    if (world->images_wanted) {
        member->sizes.segment_bytes = (size_t)world_skewed(world, 8192, 20000);
        member->sizes.snapshot_bytes = (size_t)world_skewed(world, 500, 10000);
        member->sizes.trailing_bytes = (size_t)world_skewed(world, 64, 3000);
        member->sizes.keep_bytes = world_skewed(world, 0, 10000);
        member->sizes.keep_entries = world_skewed(world, 1, 200);
    }
}

void member_init(struct member *member, struct world *world, size_t at)
{
    *member = (struct member){.world = world, .at = at, .id = at + 1};
    snprintf(member->dir, sizeof(member->dir), "%.48s/n%zu", world->options.dir, at + 1);
    member->keyring = keys_of(world->options.dir, at);
    char path[80];
    files_make_dir(member->dir);
    snprintf(path, sizeof(path), "%s/state", member->dir);
    files_make_dir(path);
    disk_init(&member->disk, world, member->dir);
    member->clock_offset_ns = 1000 * WORLD_MS + world_random(world, (uint64_t)1 << 50);
    member->clock_drift_ppm = (int64_t)world_random(world, 10000) - 5000;
    member->pace = (struct member_pace){.write_min_ns = 20000,
                                        .write_max_ns = world_skewed(world, 100000, 8 * WORLD_MS),
                                        .apply_max_ns = world_skewed(world, 10000, 5 * WORLD_MS),
                                        .flush_max_ns = world_skewed(world, 100000, 60 * WORLD_MS)};
    draw_sizes(member);
    member_image_init(member);
    member_log_reset(member);
    member_state_reset(member);
}

/* What was staged takes the place of the state, then both are opened. */
static bool open_storage(struct member *member, struct sr_raftlog_state *ret, struct sr_err *err)
{
    struct sr_raftlog_options log = {.dir = member->disk.dir,
                                     .keyring = member->keyring,
                                     .cluster_id = WORLD_CLUSTER,
                                     .member_id = member->id,
                                     .segment_bytes = member->sizes.segment_bytes,
                                     .disk = &member->disk.io};
    struct sr_store_options store = {.dir = member->place.state_path,
                                     .keyring = member->keyring,
                                     .cluster_id = WORLD_CLUSTER,
                                     .member_id = member->id,
                                     .map_bytes = MEMBER_MAP_BYTES,
                                     .memtable_entries_max = member->sizes.memtable_entries,
                                     .unindexed_entries_max = member->sizes.unindexed_entries};
    return member_image_adopt(member, &store, &log, err) == SR_OK &&
           sr_raftlog_open(&log, &member->log, ret, err) == SR_OK &&
           sr_store_open(&store, &member->store, err) == SR_OK;
}

static bool start_core(struct member *member, const struct sr_raftlog_state *state,
                       struct sr_err *err)
{
    struct world *world = member->world;
    uint64_t ids[WORLD_MEMBERS_MAX];
    struct sr_core_options options = {
        .self = member->id,
        .members = ids,
        .member_count = roster_known(world, member->at, ids),
        .joins = member->at >= world->roster.founders,
        .election_timeout_ms = ELECTION_MS,
        .log_state = *state,
        .log_bytes = sr_raftlog_disk_bytes(member->log),
        .log_keep_bytes = member->sizes.keep_bytes,
        .log_keep_entries = member->sizes.keep_entries,
        .snapshot_bytes = member->sizes.snapshot_bytes,
        .trailing_bytes = member->sizes.trailing_bytes,
        .metrics = &member->metrics,
        .env = {.now_ns = env_now,
                .random = env_random,
                .send = network_send,
                .is_up = network_is_up,
                .answer = env_answer,
                .proposal_done = env_proposal_done,
                .read_done = env_read_done,
                .fail = member_fail,
                .arg = member},
        .guards_off = world->options.guards_off,
    };
    member_log_env(&options.env);
    member_state_env(&options.env);
    member_image_env(&options.env);
    return sr_core_start(&options, &member->core, err) == SR_OK;
}

static void close_storage(struct member *member)
{
    sr_store_close(member->store);
    sr_raftlog_close(member->log);
    member->store = NULL;
    member->log = NULL;
}

/* Only a disk that is full or broken just now excuses a node that does not start. */
static void refused(struct member *member, const struct sr_err *err)
{
    struct world *world = member->world;
    close_storage(member);
    world_trace(world, "member %zu does not start: status %d", member->at + 1, err->status);
    if (member->disk.cut_came) {
        disk_cut(&member->disk);
    } else if (err->status != SR_NO_SPACE) {
        world_violate(world, "member %zu does not start: %.300s", member->at + 1, err->text);
    }
    member->start_at_ns = world->now_ns + 200 * WORLD_MS + world_random(world, 1000 * WORLD_MS);
}

bool member_start(struct member *member)
{
    struct world *world = member->world;
    struct sr_raftlog_state state = {0};
    struct sr_err err = {0};
    sr_check(!member->alive);
    disk_revive(&member->disk);
    member->failed = false;
    member->stopping = false;
    member->image_due = false;
    member->image_at_ns = WORLD_NEVER;
    member->paused = false;
    member->runs++;
    member->origin = member->id << 32 | member->runs;
    member->record = (struct roster_record){0};
    member->heard = (struct roster_record){0};
    member->curious = world_chance(world, 2);
    member_log_reset(member);
    member_state_reset(member);
    bool good = open_storage(member, &state, &err);
    if (good) {
        check_storage_opened(member, &state);
        good = start_core(member, &state, &err);
    }
    if (!good) {
        refused(member, &err);
        return false;
    }
    member->alive = true;
    member->tick_at_ns = world->now_ns + world_random(world, TICK_NS);
    world_trace(
        world, "member %zu starts: entries %llu to %llu, state at %llu, term %llu", member->at + 1,
        (unsigned long long)state.first_index, (unsigned long long)state.last_index,
        (unsigned long long)sr_store_durable_index(member->store), (unsigned long long)state.term);
    roster_applied(member);
    sr_core_turn_end(member->core);
    return true;
}

/* Everything of the process is gone. */
static void vanish(struct member *member)
{
    struct world *world = member->world;
    member->alive = false; /* first: what the core says now, nobody hears */
    clients_member_gone(world, member);
    member_log_crash(member);
    sr_core_stop(member->core);
    member->core = NULL;
    member_state_crash(member);
    network_leave(world, member->at);
    close_storage(member);
    uint64_t longest = world->images_wanted ? 6000 * WORLD_MS : 2000 * WORLD_MS;
    member->start_at_ns = world->now_ns + world_skewed(world, 50 * WORLD_MS, longest);
}

void member_crash(struct member *member, bool power)
{
    struct world *world = member->world;
    sr_check(member->alive);
    power = power || member->disk.cut_came;
    world_trace(world, "member %zu %s", member->at + 1, power ? "loses power" : "is killed");
    /* The disk may be done with what the core has not heard of. */
    if (member->group != NULL && !member->disk.dead && world_chance(world, 3)) {
        member_log_write(member, false);
        power = power || member->disk.cut_came;
    }
    vanish(member);
    if (power) {
        disk_cut(&member->disk);
    }
}

void member_stop(struct member *member)
{
    world_trace(member->world, "member %zu is to stop", member->at + 1);
    sr_core_step_down(member->core);
    sr_core_turn_end(member->core);
    member->stopping = true;
    member->stop_at_ns = member->world->now_ns + STOP_NS;
}

static void end_stop(struct member *member)
{
    world_trace(member->world, "member %zu stops", member->at + 1);
    /* As consensus.c: first the core, then the applier, which finishes what it has. */
    member_state_flush_all(member);
    vanish(member);
}

void member_close(struct member *member)
{
    char path[80];
    if (member->alive) {
        vanish(member);
    }
    disk_close(&member->disk);
    member_image_close(member);
    snprintf(path, sizeof(path), "%s/state", member->dir);
    files_remove_dir(path);
    files_remove_dir(member->dir);
}

/* ---- inputs ---- */

void member_receive(struct member *member, uint64_t from, const struct sr_frame *frame)
{
    sr_core_receive(member->core, from, frame);
    sr_core_turn_end(member->core);
}

void member_link(struct member *member, uint64_t to, bool up)
{
    sr_core_link(member->core, to, up);
    sr_core_turn_end(member->core);
}

void member_propose(struct member *member, struct sr_proposal *proposal)
{
    sr_core_propose(member->core, proposal);
    sr_core_turn_end(member->core);
}

void member_read(struct member *member, struct sr_read *read)
{
    sr_core_read(member->core, read);
    sr_core_turn_end(member->core);
}

void member_move_leader(struct member *member, uint64_t to)
{
    sr_core_move_leader(member->core, to);
    sr_core_turn_end(member->core);
}

bool member_info(const struct member *member, struct sr_consensus_info *ret)
{
    if (member->alive) {
        sr_core_info(member->core, ret);
    }
    return member->alive;
}

/* ---- time ---- */

uint64_t member_next(const struct member *member)
{
    if (!member->alive) {
        return member->start_at_ns;
    }
    if (member->failed || member->disk.cut_came) {
        return member->world->now_ns;
    }
    if (member->paused) {
        return WORLD_NEVER;
    }
    uint64_t next = member->tick_at_ns;
    world_earlier(&next, member->write_at_ns);
    world_earlier(&next, member->work_at_ns);
    world_earlier(&next, member->apply_at_ns);
    world_earlier(&next, member->freeze_at_ns);
    world_earlier(&next, member->flush_at_ns);
    world_earlier(&next, member->image_at_ns);
    return next;
}

static void tick(struct member *member)
{
    /* As libuv's: a timer that is late fires once. */
    member->tick_at_ns = member->world->now_ns + TICK_NS;
    sr_core_tick(member->core);
}

static bool wants_end(const struct member *member)
{
    struct sr_consensus_info info;
    sr_core_info(member->core, &info);
    return member->image_due ||
           (member->stopping && (!info.is_leader || member->stop_at_ns <= member->world->now_ns));
}

/* A node that says it must stop, is stopped; the reason must be its disk. */
static void end_failed(struct member *member)
{
    if (!member->disk.cut_came) {
        world_violate(member->world, "member %zu fails: %.300s", member->at + 1,
                      member->failure.text);
    }
    member_crash(member, true);
}

static void run_due(struct member *member)
{
    uint64_t now_ns = member->world->now_ns;
    if (member->tick_at_ns <= now_ns) {
        tick(member);
    }
    if (member->write_at_ns <= now_ns) {
        member_log_write(member, true);
    }
    if (member->work_at_ns <= now_ns) {
        member_log_work(member);
    }
    if (member->apply_at_ns <= now_ns) {
        member_state_apply(member);
    }
    if (member->freeze_at_ns <= now_ns) {
        member_state_freeze(member);
    }
    if (member->flush_at_ns <= now_ns) {
        member_state_flush(member);
    }
    if (member->image_at_ns <= now_ns) {
        member_image_fetch(member);
    }
}

void member_step(struct member *member)
{
    uint64_t now_ns = member->world->now_ns;
    if (!member->alive) {
        if (member->start_at_ns <= now_ns) {
            member_start(member);
        }
        return;
    }
    if (member->failed || member->disk.cut_came) {
        end_failed(member);
        return;
    }
    if (member->paused || member_next(member) > now_ns) {
        return;
    }
    run_due(member);
    sr_core_turn_end(member->core);
    if (!member->failed && !member->disk.cut_came) {
        check_member(member);
        if (wants_end(member)) {
            end_stop(member);
        }
    }
}
