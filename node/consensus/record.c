/* SPDX-License-Identifier: Apache-2.0
 *
 * Who is linked, and whom the core wants as members, follows from the cluster record that the state
 * has applied. Before there is one, those are the members that this node was started with.
 *
 * A member that was removed stays linked until libraft's committed configuration is without it:
 * until then its vote may be needed to commit that very change. Only then it is told, by refusing
 * its hello; and this node, if it is the one, ends by itself no sooner either.
 */
#include <inttypes.h>
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "node/consensus/loop.h"
#include "storage/cluster.h"

static void forget(struct sr_consensus_link *link)
{
    sr_free(link->name);
    sr_free(link->address);
}

static void learn(struct sr_consensus_record *to, uint64_t id, const char *name,
                  const char *address)
{
    to->links[to->link_count++] = (struct sr_consensus_link){
        .id = id, .name = sr_strdup(name), .address = sr_strdup(address)};
}

static bool is_linked(const struct sr_consensus_record *record, uint64_t id)
{
    for (size_t i = 0; i < record->link_count; i++) {
        if (record->links[i].id == id) {
            return true;
        }
    }
    return false;
}

static void relocate(struct sr_consensus_record *record, const Strongroom__MemberRecord *member)
{
    for (size_t i = 0; i < record->link_count; i++) {
        struct sr_consensus_link *link = &record->links[i];
        if (link->id == member->id) {
            forget(link);
            link->name = sr_strdup(member->name);
            link->address = sr_strdup(member->peer_address);
        }
    }
}

static bool is_removed(const struct sr_consensus_record *record, uint64_t id)
{
    for (size_t i = 0; i < record->removed_count; i++) {
        if (record->removed[i] == id) {
            return true;
        }
    }
    return false;
}

/* Whether @id may still be asked for its vote. */
static bool is_configured(struct sr_consensus *consensus, uint64_t id)
{
    const struct raft *raft = sr_core_raft(consensus->core);
    if (raft->configuration_uncommitted_index != 0) {
        return true;
    }
    for (unsigned i = 0; i < raft->configuration.n; i++) {
        if (raft->configuration.servers[i].id == id) {
            return true;
        }
    }
    return false;
}

/* A node that has taken its place, and has not published yet, may still be told its identity again,
 * and begin anew with it. So it has no vote yet that it could forget. */
static bool may_vote(const Strongroom__MemberRecord *member)
{
    return member->voter && member->token_hash.len == 0;
}

static void tell_core(struct sr_consensus *consensus, const Strongroom__ClusterRecord *from)
{
    struct sr_core_member members[SR_MEMBERS_MAX];
    size_t count = 0;
    for (; count < from->n_members && count < SR_MEMBERS_MAX; count++) {
        members[count] = (struct sr_core_member){.id = from->members[count]->id,
                                                 .voter = may_vote(from->members[count])};
    }
    sr_core_set_members(consensus->core, members, count);
    uint64_t heard[SR_MEMBERS_MAX];
    count = 0;
    for (size_t i = 0; i < consensus->record.link_count; i++) {
        if (consensus->record.links[i].is_heard) {
            heard[count++] = consensus->record.links[i].id;
        }
    }
    sr_core_set_heard(consensus->core, heard, count);
}

static void tell_peers(struct sr_consensus *consensus)
{
    const struct sr_consensus_record *record = &consensus->record;
    struct sr_peer_member members[SR_MEMBERS_MAX];
    for (size_t i = 0; i < record->link_count; i++) {
        members[i] = (struct sr_peer_member){.id = record->links[i].id,
                                             .name = record->links[i].name,
                                             .address = record->links[i].address};
    }
    sr_peers_set_members(consensus->peers, members, record->link_count,
                         (struct sr_peer_removed){record->removed, record->removed_count});
}

/* The links that the record wants, and those of before that may not go yet. */
static void relink(struct sr_consensus *consensus, const Strongroom__ClusterRecord *from)
{
    struct sr_consensus_record *record = &consensus->record;
    struct sr_consensus_record old = *record;
    *record = (struct sr_consensus_record){.epoch = from->epoch, .heard_epoch = old.heard_epoch};
    for (size_t i = 0; i < from->n_members && record->link_count < SR_MEMBERS_MAX; i++) {
        const Strongroom__MemberRecord *member = from->members[i];
        learn(record, member->id, member->name, member->peer_address);
    }
    for (size_t i = 0; i < old.link_count; i++) {
        const struct sr_consensus_link *link = &old.links[i];
        bool is_stale = link->is_heard && old.heard_epoch <= from->epoch;
        if (!is_stale && !is_linked(record, link->id) && record->link_count < SR_MEMBERS_MAX) {
            learn(record, link->id, link->name, link->address);
            record->links[record->link_count - 1].is_heard = link->is_heard;
            record->links[record->link_count - 1].is_leaving = !link->is_heard;
            record->leaving_count += !link->is_heard;
        }
        forget(&old.links[i]);
    }
    sr_free(old.removed);
    record->removed_count = from->n_removed;
    record->removed = sr_calloc(from->n_removed, sizeof(uint64_t));
    if (from->n_removed > 0) {
        memcpy(record->removed, from->removed, from->n_removed * sizeof(uint64_t));
    }
    record->is_self_removed = is_removed(record, consensus->options.self);
    tell_core(consensus, from);
    tell_peers(consensus);
}

/* Let those go whom nobody needs any more. */
static void release(struct sr_consensus *consensus)
{
    struct sr_consensus_record *record = &consensus->record;
    size_t kept = 0;
    for (size_t i = 0; i < record->link_count; i++) {
        struct sr_consensus_link *link = &record->links[i];
        if (link->is_leaving && !is_configured(consensus, link->id)) {
            forget(link);
            record->leaving_count--;
        } else {
            record->links[kept++] = *link;
        }
    }
    if (kept != record->link_count) {
        record->link_count = kept;
        tell_peers(consensus);
    }
}

static void end_if_removed(struct sr_consensus *consensus)
{
    struct sr_err err;
    if (consensus->record.is_self_removed && !is_configured(consensus, consensus->options.self)) {
        sr_err_set(&err, SR_REMOVED, "this member was removed from the cluster");
        sr_consensus_fail(consensus, &err);
    }
}

void sr_consensus_record_init(struct sr_consensus *consensus,
                              const struct sr_consensus_member *members, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        learn(&consensus->record, members[i].id, members[i].name, members[i].peer_address);
    }
}

void sr_consensus_record_close(struct sr_consensus *consensus)
{
    for (size_t i = 0; i < consensus->record.link_count; i++) {
        forget(&consensus->record.links[i]);
    }
    sr_free(consensus->record.removed);
}

void sr_consensus_record_tell(struct sr_consensus *consensus, uint64_t member)
{
    Strongroom__ClusterRecord *record = NULL;
    struct sr_err err;
    if (consensus->record.epoch == 0 || consensus->peers == NULL ||
        sr_store_cluster(consensus->options.store, &record, &err) != SR_OK) {
        return;
    }
    Strongroom__Members message = STRONGROOM__MEMBERS__INIT;
    message.record = record;
    Strongroom__Envelope envelope = STRONGROOM__ENVELOPE__INIT;
    envelope.message_case = STRONGROOM__ENVELOPE__MESSAGE_MEMBERS;
    envelope.members = &message;
    sr_peers_send(consensus->peers, member, &envelope, NULL, 0);
    strongroom__cluster_record__free_unpacked(record, NULL);
}

static void tell_all(struct sr_consensus *consensus)
{
    for (size_t i = 0; i < consensus->record.link_count; i++) {
        uint64_t id = consensus->record.links[i].id;
        if (id != consensus->options.self && sr_peers_is_up(consensus->peers, id)) {
            sr_consensus_record_tell(consensus, id);
        }
    }
}

/* Who is in a newer record than ours may speak to us, at the address that it says. This node may
 * be the one that lacks the entries, and the leader one that it does not know. */
void sr_consensus_record_heard(struct sr_consensus *consensus,
                               const Strongroom__ClusterRecord *from)
{
    struct sr_consensus_record *record = &consensus->record;
    uint64_t ids[SR_MEMBERS_MAX];
    if (from == NULL || from->n_members > SR_MEMBERS_MAX || consensus->peers == NULL ||
        from->epoch <= record->epoch || from->epoch <= record->heard_epoch) {
        return;
    }
    record->heard_epoch = from->epoch;
    for (size_t i = 0; i < from->n_members; i++) {
        const Strongroom__MemberRecord *member = from->members[i];
        ids[i] = member->id;
        if (is_linked(record, member->id)) {
            relocate(record, member);
        } else if (record->link_count < SR_MEMBERS_MAX) {
            learn(record, member->id, member->name, member->peer_address);
            record->links[record->link_count - 1].is_heard = true;
        }
    }
    sr_log(SR_LOG_INFO, "consensus", "hears of newer members",
           "epoch=%" PRIu64 " own_epoch=%" PRIu64, from->epoch, record->epoch);
    sr_core_set_heard(consensus->core, ids, from->n_members);
    tell_peers(consensus);
}

void sr_consensus_record_sync(struct sr_consensus *consensus)
{
    struct sr_err err = {0};
    if (sr_store_cluster_epoch(consensus->options.store) != consensus->record.epoch) {
        Strongroom__ClusterRecord *record = NULL;
        if (sr_store_cluster(consensus->options.store, &record, &err) != SR_OK) {
            sr_consensus_fail(consensus, &err);
            return;
        }
        relink(consensus, record);
        tell_all(consensus);
        strongroom__cluster_record__free_unpacked(record, NULL);
    }
    if (consensus->record.leaving_count > 0) {
        release(consensus);
    }
    end_if_removed(consensus);
}
