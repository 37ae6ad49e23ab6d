/* SPDX-License-Identifier: Apache-2.0 */
#include "node/admin/standing.h"

#include "node/cluster/standing.h"
#include "proto/rpc.pb-c.h"
#include "storage/cluster.h"

/* The leader tells each second: after this long, what it told says nothing of now. */
#define PROGRESS_AGE_MAX_MS 10000

void sr_admin_standing_get(const struct sr_admin_options *node, struct sr_admin_standing *ret)
{
    struct sr_zone_member zones[SR_MEMBERS_MAX];
    *ret = (struct sr_admin_standing){0};
    sr_consensus_info(node->consensus, &ret->info);
    if (sr_store_cluster(node->store, &ret->record, NULL) != SR_OK) {
        ret->record = NULL;
    }
    ret->progress_count =
        sr_consensus_progress(node->consensus, ret->progress, &ret->progress_age_ms);
    ret->has_zones = ret->record != NULL && ret->record->epoch > 0 && ret->progress_count > 0 &&
                     ret->record->n_members <= SR_MEMBERS_MAX &&
                     ret->progress_age_ms <= PROGRESS_AGE_MAX_MS;
    if (ret->has_zones) {
        sr_standing(ret->record, ret->progress, ret->progress_count, zones);
        ret->zones_survivable = sr_zones_survivable(zones, ret->record->n_members);
    }
}

void sr_admin_standing_free(struct sr_admin_standing *standing)
{
    if (standing->record != NULL) {
        strongroom__cluster_record__free_unpacked(standing->record, NULL);
    }
}

const struct sr_member_progress *sr_admin_progress(const struct sr_admin_standing *standing,
                                                   uint64_t member)
{
    for (size_t i = 0; i < standing->progress_count; i++) {
        if (standing->progress[i].id == member) {
            return &standing->progress[i];
        }
    }
    return NULL;
}

uint64_t sr_admin_lag(const struct sr_admin_standing *standing,
                      const struct sr_member_progress *progress)
{
    uint64_t most = 0;
    for (size_t i = 0; i < standing->progress_count; i++) {
        uint64_t match = standing->progress[i].match_index;
        most = match > most ? match : most;
    }
    return most - progress->match_index;
}

const char *sr_admin_role_name(const struct sr_member_progress *progress)
{
    static const char *const names[] = {
        [SR_ROLE_NONE] = "none", [SR_ROLE_LEARNER] = "learner", [SR_ROLE_VOTER] = "voter"};
    return progress == NULL ? "unknown" : names[progress->role];
}

const char *sr_admin_alarm_name(uint32_t alarm)
{
    return alarm == ETCDSERVERPB__ALARM_TYPE__NOSPACE   ? "NOSPACE"
           : alarm == ETCDSERVERPB__ALARM_TYPE__CORRUPT ? "CORRUPT"
                                                        : "UNKNOWN";
}
