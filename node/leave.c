/* SPDX-License-Identifier: Apache-2.0 */
#include "node/leave.h"

#include <inttypes.h>

#include "base/log.h"
#include "node/cluster/rules.h"
#include "node/cluster/standing.h"
#include "storage/cluster.h"

/* A change of the members is answered within 2 s of being applied (node/service/change.c). */
#define REMOVED_DRAIN_MS 3000
#define RESTART_DRAIN_MS 1000

static void note_rules(const struct sr_config *config, uint64_t self, struct sr_store *store,
                       const struct sr_consensus *consensus)
{
    struct sr_member_progress progress[SR_MEMBERS_MAX];
    struct sr_zone_member members[SR_MEMBERS_MAX];
    char sentence[SR_RULE_TEXT_MAX];
    uint64_t age_ms = 0;
    struct sr_err err = {0};
    Strongroom__ClusterRecord *record = NULL;
    size_t count = sr_consensus_progress(consensus, progress, &age_ms);
    if (count == 0 || sr_store_cluster(store, &record, &err) != SR_OK) {
        return; /* nothing is known that could speak against it */
    }
    sr_standing(record, progress, count, members);
    enum sr_rule rule = SR_RULE_NONE;
    for (size_t i = 0; i < record->n_members; i++) {
        if (record->members[i]->id == self) {
            rule = sr_rules_judge(members, record->n_members, SR_ACTION_DRAIN, self, "",
                                  (int)config->cluster.zones_min, sentence);
        }
    }
    if (rule != SR_RULE_NONE) {
        sr_log(SR_LOG_WARN, "audit", "rule overridden",
               "actor=\"stop\" action=%s member=%016" PRIx64 " rule=%s reason=\"%s\"",
               sr_rule_action_name(SR_ACTION_DRAIN), self, sr_rule_name(rule), sentence);
    }
    strongroom__cluster_record__free_unpacked(record, NULL);
}

void sr_leave(const struct sr_config *config, uint64_t self, struct sr_store *store,
              struct sr_consensus *consensus, struct sr_rpc *rpc)
{
    unsigned patience_ms = 2 * config->peer.election_timeout_ms;
    note_rules(config, self, store, consensus);
    sr_log(SR_LOG_INFO, "node", "draining", "timeout_ms=%u", config->client.drain_timeout_ms);
    bool another_leads = sr_consensus_yield(consensus, patience_ms);
    sr_rpc_drain(rpc, config->client.drain_timeout_ms);
    sr_consensus_step_down(consensus, another_leads ? patience_ms : 0);
}

void sr_leave_for_restart(struct sr_rpc *rpc)
{
    sr_rpc_drain(rpc, RESTART_DRAIN_MS);
}

void sr_leave_failed(struct sr_rpc *rpc, const struct sr_err *failure)
{
    if (failure->status == SR_REMOVED) {
        sr_rpc_drain(rpc, REMOVED_DRAIN_MS);
    }
}
