/* SPDX-License-Identifier: Apache-2.0
 *
 * Whom the core speaks to. Four lists are told apart:
 *
 *   wish           the cluster record as the state has applied it, or, before there is one, the
 *                  members of the options
 *   configuration  libraft's, from the log: the fact; only it counts votes
 *   heard          a newer record than ours, as another member told it
 *   peers          everybody in any of them, less ourselves: who is heard and sent to
 *
 * A peer comes and goes between turns only, never while libraft runs. What still refers to one
 * that went (tasks, batches, guests) does so by id, and finds nobody.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "node/consensus/internal.h"

struct sr_core_peer *sr_core_peer(struct sr_core *core, uint64_t member)
{
    for (size_t i = 0; i < core->peer_count; i++) {
        if (core->peers[i].id == member) {
            return &core->peers[i];
        }
    }
    return NULL;
}

/* Not the network address: that may change, and differ in how members spell it. */
void sr_core_address(uint64_t member, char ret_address[24])
{
    snprintf(ret_address, 24, "m%" PRIu64, member);
}

/* ---- the configuration ---- */

const struct raft_server *sr_core_server(const struct sr_core *core, uint64_t member)
{
    const struct raft_configuration *conf = &core->raft.configuration;
    for (unsigned i = 0; i < conf->n; i++) {
        if (conf->servers[i].id == member) {
            return &conf->servers[i];
        }
    }
    return NULL;
}

enum sr_role sr_core_role(const struct sr_core *core, uint64_t member)
{
    const struct raft_server *server = sr_core_server(core, member);
    return server == NULL               ? SR_ROLE_NONE
           : server->role == RAFT_VOTER ? SR_ROLE_VOTER
                                        : SR_ROLE_LEARNER;
}

bool sr_core_is_voter(const struct sr_core *core, uint64_t member)
{
    const struct raft_server *server = sr_core_server(core, member);
    return server != NULL && server->role == RAFT_VOTER;
}

unsigned sr_core_voters(const struct raft_configuration *conf)
{
    unsigned voters = 0;
    for (unsigned i = 0; i < conf->n; i++) {
        voters += conf->servers[i].role == RAFT_VOTER;
    }
    return voters;
}

/* ---- the wish ---- */

const struct sr_core_member *sr_core_wished(const struct sr_core *core, uint64_t member)
{
    const struct sr_core_members *members = &core->members;
    for (size_t i = 0; i < members->wish_count; i++) {
        if (members->wish[i].id == member) {
            return &members->wish[i];
        }
    }
    return NULL;
}

/* ---- peers ---- */

static void make_peer(struct sr_core *core, uint64_t member)
{
    if (member == core->options.self || sr_core_peer(core, member) != NULL) {
        return;
    }
    sr_check(core->peer_count < SR_CORE_PEERS_MAX);
    struct sr_core_peer *peer = &core->peers[core->peer_count++];
    *peer = (struct sr_core_peer){.id = member};
    peer->up = core->env.is_up(core->env.arg, member);
    sr_core_address(member, peer->address);
}

static void forget_peer(struct sr_core *core, struct sr_core_peer *peer)
{
    uint64_t member = peer->id;
    sr_core_feed_stop(peer);
    *peer = core->peers[--core->peer_count];
    sr_core_lost_link(core, member);
    sr_core_reads_link_lost(core, member);
}

static bool wanted(const struct sr_core *core, uint64_t member)
{
    bool heard = false;
    for (size_t i = 0; i < core->members.heard_count; i++) {
        heard = heard || core->members.heard[i] == member;
    }
    return heard || sr_core_wished(core, member) != NULL || sr_core_server(core, member) != NULL;
}

void sr_core_members_update(struct sr_core *core)
{
    const struct raft_configuration *conf = &core->raft.configuration;
    size_t i = 0;
    while (i < core->peer_count) {
        if (wanted(core, core->peers[i].id)) {
            i++;
        } else {
            forget_peer(core, &core->peers[i]);
        }
    }
    for (i = 0; i < core->members.wish_count; i++) {
        make_peer(core, core->members.wish[i].id);
    }
    for (i = 0; i < core->members.heard_count; i++) {
        make_peer(core, core->members.heard[i]);
    }
    for (i = 0; i < conf->n; i++) {
        make_peer(core, conf->servers[i].id);
    }
}

void sr_core_members_init(struct sr_core *core, const uint64_t *ids, size_t count)
{
    sr_check(count <= SR_MEMBERS_MAX);
    core->members.wish_count = count;
    for (size_t i = 0; i < count; i++) {
        core->members.wish[i] = (struct sr_core_member){.id = ids[i], .voter = true};
    }
}

void sr_core_set_members(struct sr_core *core, const struct sr_core_member *members, size_t count)
{
    sr_check(count <= SR_MEMBERS_MAX);
    memcpy(core->members.wish, members, count * sizeof(*members));
    core->members.wish_count = count;
    core->members.heard_count = 0;
    core->members.recorded = true;
    core->retiring = false;
    core->members.retry_ms = 0;
    sr_core_members_update(core);
}

void sr_core_set_heard(struct sr_core *core, const uint64_t *members, size_t count)
{
    sr_check(count <= SR_MEMBERS_MAX);
    memcpy(core->members.heard, members, count * sizeof(*members));
    core->members.heard_count = count;
    sr_core_members_update(core);
}

/* Every change of libraft's configuration moves one of its two indexes. */
void sr_core_members_turn(struct sr_core *core)
{
    struct sr_core_members *members = &core->members;
    const struct raft *raft = &core->raft;
    if (members->seen_committed != raft->configuration_committed_index ||
        members->seen_uncommitted != raft->configuration_uncommitted_index ||
        members->seen_count != raft->configuration.n) {
        members->seen_committed = raft->configuration_committed_index;
        members->seen_uncommitted = raft->configuration_uncommitted_index;
        members->seen_count = raft->configuration.n;
        sr_core_members_update(core);
    }
    for (size_t i = 0; i < core->peer_count; i++) {
        struct sr_core_peer *peer = &core->peers[i];
        if (peer->went_down) {
            peer->went_down = false;
            peer->sent_last = 0;
            peer->hinted = false; /* it may come back with another log */
            sr_core_feed_stop(peer);
            sr_core_lost_link(core, peer->id);
            sr_core_reads_link_lost(core, peer->id);
        }
    }
}

/* Only noted: links may break while libraft is sending. */
void sr_core_link(struct sr_core *core, uint64_t member, bool up)
{
    struct sr_core_peer *peer = sr_core_peer(core, member);
    if (peer != NULL) {
        peer->went_down = peer->went_down || (peer->up && !up);
        peer->up = up;
    }
}
