/* SPDX-License-Identifier: Apache-2.0
 *
 * How far each member is. Only the leader knows; each second it tells everybody, so that any node
 * can say it to an operator.
 */
#include "node/consensus/internal.h"

#define PERIOD_MS 1000

static void add(struct sr_core *core, uint64_t member)
{
    struct sr_core_progress *progress = &core->progress;
    for (size_t i = 0; i < progress->count; i++) {
        if (progress->members[i].id == member) {
            return;
        }
    }
    if (progress->count == SR_MEMBERS_MAX) {
        return; /* one on its way out, and as many as may be */
    }
    struct sr_member_progress *one = &progress->members[progress->count++];
    const struct sr_core_peer *peer = sr_core_peer(core, member);
    raft_index match = 0;
    *one = (struct sr_member_progress){.id = member, .role = sr_core_role(core, member)};
    one->up = sr_core_responds(core, member);
    one->caught_up = sr_core_caught_up(core, member);
    one->match_index = raft_match_index(&core->raft, member, &match) == 0 ? match : 0;
    if (peer != NULL) {
        one->image_bytes = peer->image_bytes;
        one->image_total = peer->image_total;
    }
}

static void gather(struct sr_core *core)
{
    const struct raft_configuration *conf = &core->raft.configuration;
    core->progress.count = 0;
    for (unsigned i = 0; i < conf->n; i++) {
        add(core, conf->servers[i].id);
    }
    for (size_t i = 0; i < core->members.wish_count; i++) {
        add(core, core->members.wish[i].id);
    }
    core->progress.at_ms = core->now_ms;
    core->progress.known = true;
}

static void tell_all(struct sr_core *core)
{
    Strongroom__MemberProgress members[SR_MEMBERS_MAX];
    Strongroom__MemberProgress *pointers[SR_MEMBERS_MAX];
    Strongroom__Progress message = STRONGROOM__PROGRESS__INIT;
    for (size_t i = 0; i < core->progress.count; i++) {
        const struct sr_member_progress *one = &core->progress.members[i];
        strongroom__member_progress__init(&members[i]);
        members[i].id = one->id;
        members[i].role = (uint32_t)one->role;
        members[i].up = one->up;
        members[i].caught_up = one->caught_up;
        members[i].match_index = one->match_index;
        members[i].image_bytes = one->image_bytes;
        members[i].image_total = one->image_total;
        pointers[i] = &members[i];
    }
    message.term = raft_current_term(&core->raft);
    message.n_members = core->progress.count;
    message.members = pointers;
    Strongroom__Envelope envelope = STRONGROOM__ENVELOPE__INIT;
    envelope.message_case = STRONGROOM__ENVELOPE__MESSAGE_PROGRESS;
    envelope.progress = &message;
    for (size_t i = 0; i < core->peer_count; i++) {
        sr_core_send(core, &core->peers[i], &envelope, NULL, 0);
    }
}

void sr_core_progress_turn(struct sr_core *core)
{
    if (core->state == RAFT_LEADER && sr_core_leads(core) &&
        core->now_ms - core->progress.told_ms >= PERIOD_MS) {
        core->progress.told_ms = core->now_ms;
        gather(core);
        tell_all(core);
    }
}

void sr_core_progress_told(struct sr_core *core, const struct sr_core_peer *peer,
                           const Strongroom__Progress *message)
{
    struct sr_core_progress *progress = &core->progress;
    if (message->term != raft_current_term(&core->raft) || core->leader != peer->id ||
        sr_core_leads(core) || message->n_members > SR_MEMBERS_MAX) {
        return;
    }
    for (size_t i = 0; i < message->n_members; i++) {
        const Strongroom__MemberProgress *one = message->members[i];
        progress->members[i] = (struct sr_member_progress){
            .id = one->id,
            .role = one->role <= SR_ROLE_VOTER ? (enum sr_role)one->role : SR_ROLE_NONE,
            .up = one->up,
            .caught_up = one->caught_up,
            .match_index = one->match_index,
            .image_bytes = one->image_bytes,
            .image_total = one->image_total,
        };
    }
    progress->count = message->n_members;
    progress->at_ms = core->now_ms;
    progress->known = true;
}

void sr_core_image_progress(struct sr_core *core, uint64_t member, uint64_t bytes, uint64_t total)
{
    struct sr_core_peer *peer = sr_core_peer(core, member);
    if (peer != NULL) {
        peer->image_bytes = bytes;
        peer->image_total = total;
    }
}

size_t sr_core_progress(const struct sr_core *core, struct sr_member_progress out[SR_MEMBERS_MAX],
                        uint64_t *ret_at_ms)
{
    const struct sr_core_progress *progress = &core->progress;
    for (size_t i = 0; i < progress->count; i++) {
        out[i] = progress->members[i];
    }
    *ret_at_ms = progress->known ? progress->at_ms : 0;
    return progress->count;
}
