/* SPDX-License-Identifier: Apache-2.0
 *
 * What log and state owe each other and the cluster, whatever befell the node.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/check.h"
#include "tests/simulation/check.h"
#include "tests/simulation/world.h"

static struct check_member *kept_of(struct member *member)
{
    return &member->world->check.members[member->at];
}

void check_storage_voted(struct member *member, uint64_t term, uint64_t voted_for)
{
    struct check_member *kept = kept_of(member);
    bool twice = term == kept->term && kept->voted_for != 0 && kept->voted_for != voted_for;
    if (term < kept->term || twice) {
        world_violate(member->world, "member %zu votes for %llu in term %llu, after %llu in %llu",
                      member->at + 1, (unsigned long long)voted_for, (unsigned long long)term,
                      (unsigned long long)kept->voted_for, (unsigned long long)kept->term);
    }
    kept->term = term;
    kept->voted_for = voted_for;
}

/* What the log held beyond the image, if anything, was of no leader that could commit it: if it
 * was, what it held is missing at the end. */
void check_storage_adopts(struct member *member)
{
    kept_of(member)->written = 0;
}

/* Entries @index .. @index + @count - 1 are durable, and nothing is after them; @count 0: what is
 * from @index on is void. */
void check_storage_written(struct member *member, uint64_t index, unsigned count)
{
    kept_of(member)->written = index + count - 1;
}

void check_storage_truncates(struct member *member, uint64_t index)
{
    struct check_member *kept = kept_of(member);
    kept->written = kept->written < index ? kept->written : index - 1;
}

void check_storage_handed_over(struct member *member, uint64_t index)
{
    if (member->posted != 0 && index != member->posted + 1) {
        world_violate(member->world, "member %zu hands over entry %llu after %llu", member->at + 1,
                      (unsigned long long)index, (unsigned long long)member->posted);
    }
    if (index > kept_of(member)->written) {
        world_violate(member->world,
                      "member %zu applies entry %llu, but its log holds %llu durably",
                      member->at + 1, (unsigned long long)index,
                      (unsigned long long)kept_of(member)->written);
    }
}

/* ---- at a start ---- */

static void check_entries(struct member *member, const struct sr_raftlog_state *state)
{
    struct world *world = member->world;
    struct sr_buf scratch = {0};
    struct sr_err err;
    for (uint64_t index = state->first_index; index <= state->last_index; index++) {
        struct sr_log_entry entry;
        if (sr_raftlog_read(member->log, index, &scratch, &entry, &err) != SR_OK) {
            world_violate(world, "member %zu cannot read entry %llu: %.200s", member->at + 1,
                          (unsigned long long)index, err.text);
            break;
        }
        uint64_t known = check_at(&world->check, index)->entry;
        uint64_t hash = check_hash(entry.term * 8 + entry.type,
                                   entry.type == SR_ENTRY_BARRIER ? NULL : entry.data.data,
                                   entry.type == SR_ENTRY_BARRIER ? 0 : entry.data.size);
        /* One that was applied somewhere, and that this member may not have had yet. */
        bool replaced = known != 0 && hash != known;
        if (replaced && index <= sr_store_durable_index(member->store)) {
            world_violate(world, "member %zu starts with another entry at %llu", member->at + 1,
                          (unsigned long long)index);
        }
    }
    sr_buf_close(&scratch);
}

static void check_opened_state(struct member *member, const struct sr_raftlog_state *state)
{
    struct world *world = member->world;
    uint8_t hash[32];
    int64_t revision = 0;
    uint64_t index = 0;
    sr_store_state_hash(member->store, hash, &revision, &index);
    uint64_t found = check_hash((uint64_t)revision, hash, sizeof(hash));
    if (index != sr_store_durable_index(member->store) || index > state->last_index) {
        world_violate(world, "member %zu starts with a state at %llu and a log up to %llu",
                      member->at + 1, (unsigned long long)index,
                      (unsigned long long)state->last_index);
    } else if (index != 0 && check_at(&world->check, index)->state != found) {
        world_violate(world, "P5: member %zu starts with another state at %llu", member->at + 1,
                      (unsigned long long)index);
    }
}

void check_storage_opened(struct member *member, const struct sr_raftlog_state *state)
{
    struct check_member *kept = kept_of(member);
    if (state->term < kept->term || (state->term == kept->term && kept->voted_for != 0 &&
                                     state->voted_for != kept->voted_for)) {
        world_violate(member->world, "member %zu voted for %llu in term %llu, but starts with %llu",
                      member->at + 1, (unsigned long long)kept->voted_for,
                      (unsigned long long)kept->term, (unsigned long long)state->term);
    }
    if (state->last_index < kept->written) {
        world_violate(member->world, "P1: member %zu had entries up to %llu, but starts with %llu",
                      member->at + 1, (unsigned long long)kept->written,
                      (unsigned long long)state->last_index);
    }
    kept->term = state->term;
    kept->voted_for = state->voted_for;
    /* What was written and not heard of is durable as well; the first entry of a founder's log will
     * be, once its core has started. */
    bool founder = member->at < member->world->roster.founders;
    kept->written = founder && state->last_index == 0 ? 1 : state->last_index;
    check_opened_state(member, state);
    check_entries(member, state);
}

/* ---- as it runs ---- */

static void check_leader(struct member *member, uint64_t term)
{
    struct check *check = &member->world->check;
    if (term >= check->leader_count) {
        size_t count = (size_t)term + 64;
        check->leaders = sr_realloc(check->leaders, count * sizeof(*check->leaders));
        memset(check->leaders + check->leader_count, 0,
               (count - check->leader_count) * sizeof(*check->leaders));
        check->leader_count = count;
    }
    if (check->leaders[term] == 0) {
        check->leaders[term] = member->id;
        check->reigns++;
        world_trace(member->world, "member %zu leads in term %llu", member->at + 1,
                    (unsigned long long)term);
    } else if (check->leaders[term] != member->id) {
        world_violate(member->world, "term %llu has two leaders: %llu and %zu",
                      (unsigned long long)term, (unsigned long long)check->leaders[term],
                      member->at + 1);
    }
}

void check_member(struct member *member)
{
    struct sr_consensus_info info;
    sr_core_info(member->core, &info);
    if (info.is_leader) {
        check_leader(member, info.term);
    }
    if (sr_store_durable_index(member->store) > sr_store_applied_index(member->store) ||
        sr_store_durable_index(member->store) > kept_of(member)->written) {
        world_violate(member->world, "member %zu: state durable at %llu, log at %llu",
                      member->at + 1, (unsigned long long)sr_store_durable_index(member->store),
                      (unsigned long long)kept_of(member)->written);
    }
}
