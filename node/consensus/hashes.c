/* SPDX-License-Identifier: Apache-2.0
 *
 * The reports of a replica check on their way to the leader. Best effort: what is lost on the way
 * is missing from one check, and another one comes.
 */
#include <string.h>

#include "node/consensus/loop.h"

/* Keep the newest report of each member; whoever is new takes the place of the oldest. */
static void note(struct sr_consensus *consensus, const struct sr_replica_report *report)
{
    struct sr_consensus_hashes *hashes = &consensus->hashes;
    size_t at = 0;
    pthread_mutex_lock(consensus->info_mutex);
    while (at < hashes->count && hashes->reports[at].member != report->member) {
        at++;
    }
    if (at == SR_MEMBERS_MAX) {
        at = 0;
        for (size_t i = 1; i < SR_MEMBERS_MAX; i++) {
            at = hashes->reports[i].index < hashes->reports[at].index ? i : at;
        }
    }
    hashes->count += at == hashes->count;
    hashes->reports[at] = *report;
    pthread_mutex_unlock(consensus->info_mutex);
}

void sr_consensus_hashes_received(struct sr_consensus *consensus, uint64_t member,
                                  const Strongroom__HashReport *message)
{
    struct sr_replica_report report = {
        .member = member, .index = message->index, .revision = message->revision};
    if (message->hash.len == sizeof(report.hash)) {
        memcpy(report.hash, message->hash.data, sizeof(report.hash));
        note(consensus, &report);
    }
}

void sr_consensus_hashes_send(struct sr_consensus *consensus)
{
    struct sr_consensus_hashes *hashes = &consensus->hashes;
    Strongroom__Envelope envelope = STRONGROOM__ENVELOPE__INIT;
    Strongroom__HashReport message = STRONGROOM__HASH_REPORT__INIT;
    struct sr_consensus_info info;
    pthread_mutex_lock(consensus->info_mutex);
    struct sr_replica_report report = hashes->own;
    bool wanted = hashes->own_waits;
    hashes->own_waits = false;
    pthread_mutex_unlock(consensus->info_mutex);
    if (!wanted) {
        return;
    }
    sr_core_info(consensus->core, &info);
    if (info.is_leader) {
        note(consensus, &report);
    } else if (info.leader != 0 && consensus->peers != NULL) {
        message.index = report.index;
        message.revision = report.revision;
        message.hash = (ProtobufCBinaryData){.len = sizeof(report.hash), .data = report.hash};
        envelope.message_case = STRONGROOM__ENVELOPE__MESSAGE_HASH_REPORT;
        envelope.hash_report = &message;
        (void)sr_peers_send(consensus->peers, info.leader, &envelope, NULL, 0);
    }
}

/* ---- any thread ---- */

void sr_consensus_report_hash(struct sr_consensus *consensus, uint64_t index, int64_t revision,
                              const uint8_t hash[32])
{
    struct sr_replica_report *own = &consensus->hashes.own;
    pthread_mutex_lock(consensus->info_mutex);
    *own = (struct sr_replica_report){
        .member = consensus->options.self, .index = index, .revision = revision};
    memcpy(own->hash, hash, sizeof(own->hash));
    consensus->hashes.own_waits = true;
    pthread_mutex_unlock(consensus->info_mutex);
    sr_consensus_wake(consensus);
}

size_t sr_consensus_hash_reports(const struct sr_consensus *consensus,
                                 struct sr_replica_report out[SR_MEMBERS_MAX])
{
    pthread_mutex_lock(consensus->info_mutex);
    size_t count = consensus->hashes.count;
    memcpy(out, consensus->hashes.reports, count * sizeof(out[0]));
    pthread_mutex_unlock(consensus->info_mutex);
    return count;
}
