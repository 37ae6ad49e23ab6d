/* SPDX-License-Identifier: Apache-2.0
 *
 * What node/images.c does with threads and connections: a follower that its leader's log can no
 * longer bring up to date stages an image of the leader's state, and starts anew with it. Image,
 * staging and adoption are the real ones; the bytes pass in a moment, or are cut off and gone on
 * with at the next attempt.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "storage/image.h"
#include "tests/simulation/files.h"
#include "tests/simulation/world.h"

static void env_image_needed(void *arg, uint64_t leader)
{
    struct member *member = arg;
    if (member->image_at_ns == WORLD_NEVER) {
        member->image_from = (size_t)leader - 1;
        member->image_at_ns = member->world->now_ns + world_random(member->world, 300 * WORLD_MS);
    }
}

void member_image_env(struct sr_core_env *env)
{
    env->image_needed = env_image_needed;
}

void member_image_init(struct member *member)
{
    struct sr_datadir *place = &member->place;
    snprintf(place->path, sizeof(place->path), "%s", member->dir);
    snprintf(place->log_path, sizeof(place->log_path), "%s", member->disk.dir);
    snprintf(place->state_path, sizeof(place->state_path), "%s/state", member->dir);
    place->cluster_id = WORLD_CLUSTER;
    place->member_id = member->id;
    place->keyring = member->keyring;
}

void member_image_close(struct member *member)
{
    char path[80];
    struct sr_err err;
    sr_check(sr_incoming_discard(&member->place, &err) == SR_OK);
    snprintf(path, sizeof(path), "%s/replaced", member->dir);
    if (access(path, F_OK) == 0) {
        files_remove_dir(path);
    }
}

static bool reachable(const struct member *member)
{
    const struct member *from = &member->world->members[member->image_from];
    const struct network *network = &member->world->network;
    return from->alive && !from->paused && !from->failed && !from->disk.cut_came &&
           network->links[member->at][from->at].up && network->links[from->at][member->at].up;
}

/* Chunks from @reader to @writer, from where the writer is; some of them if it is cut off. */
static int transfer(struct member *member, struct sr_image_reader *reader,
                    struct sr_image_writer *writer, bool cut_off, struct sr_err *err)
{
    struct sr_image_position position;
    struct sr_image_chunk chunk;
    uint64_t left = cut_off ? world_random(member->world, 3) : UINT64_MAX;
    sr_image_writer_position(writer, &position);
    int status = sr_image_reader_seek(reader, &position, err);
    if (status == SR_NOT_FOUND) {
        return SR_REFUSED; /* what is staged is of another image */
    }
    while (status == SR_OK && left-- > 0) {
        status = sr_image_reader_next(reader, &chunk, err);
        if (status == SR_OK) {
            status = sr_image_writer_put(writer, &chunk, err);
        }
    }
    if (status == SR_OK) {
        return SR_AGAIN;
    }
    return status == SR_NOT_FOUND ? sr_image_writer_finish(writer, err) : status;
}

static int stage(struct member *member, struct sr_image_reader *reader, struct sr_err *err)
{
    char path[PATH_MAX];
    struct sr_image_writer *writer = NULL;
    int status = sr_incoming_open(&member->place, path, err);
    if (status == SR_OK) {
        struct sr_image_writer_options options = {.dir = path,
                                                  .keyring = member->keyring,
                                                  .cluster_id = WORLD_CLUSTER,
                                                  .member_id = member->id,
                                                  .map_bytes = MEMBER_MAP_BYTES,
                                                  .staged_entries_max = 50};
        status = sr_image_writer_open(&options, &writer, err);
    }
    if (status == SR_OK) {
        status = transfer(member, reader, writer, world_chance(member->world, 4), err);
    }
    sr_image_writer_close(writer);
    return status == SR_OK ? sr_incoming_complete(&member->place, err) : status;
}

void member_image_fetch(struct member *member)
{
    struct sr_image_reader *reader = NULL;
    struct sr_err err = {0};
    struct world *world = member->world;
    member->image_at_ns = WORLD_NEVER;
    if (!reachable(member)) {
        return; /* the leader will say so again */
    }
    int status = sr_image_reader_open(world->members[member->image_from].store, &reader, &err);
    if (status == SR_OK) {
        status = stage(member, reader, &err);
        sr_image_reader_close(reader);
    }
    world_trace(world, "member %zu takes an image of member %zu: %d", member->at + 1,
                member->image_from + 1, status);
    if (status == SR_OK) {
        member->image_due = true;
    } else if (status == SR_REFUSED) {
        sr_check(sr_incoming_discard(&member->place, &err) == SR_OK);
    } else if (status != SR_AGAIN && status != SR_NOT_FOUND && status != SR_LIMIT) {
        world_violate(world, "member %zu cannot take an image: %.300s", member->at + 1, err.text);
    }
}

int member_image_adopt(struct member *member, const struct sr_store_options *store,
                       const struct sr_raftlog_options *log, struct sr_err *err)
{
    struct sr_adopt_options options = {.store = *store, .log = *log};
    bool waits = sr_incoming_is_complete(&member->place);
    int status = sr_adopt(&member->place, &options, err);
    if (waits) {
        world_trace(member->world, "member %zu adopts an image: %d", member->at + 1, status);
        member->world->images += status == SR_OK;
        check_storage_adopts(member);
    }
    return status;
}
