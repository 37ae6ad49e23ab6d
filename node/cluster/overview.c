/* SPDX-License-Identifier: Apache-2.0 */
#include "node/cluster/overview.h"

#include "proto/rpc.pb-c.h"

/* The leader tells each second. */
#define PROGRESS_AGE_MS_MAX 10000

static const char *zone_of(const Strongroom__ClusterRecord *record, uint64_t id)
{
    for (size_t i = 0; i < record->n_members; i++) {
        if (record->members[i]->id == id) {
            return record->members[i]->zone;
        }
    }
    return ""; /* on its way out */
}

static void count_voters(const Strongroom__ClusterRecord *record,
                         const struct sr_member_progress *progress, size_t count,
                         struct sr_cluster_overview *ret)
{
    struct sr_zone_member members[SR_MEMBERS_MAX];
    for (size_t i = 0; i < count; i++) {
        members[i] = (struct sr_zone_member){.id = progress[i].id,
                                             .name = "",
                                             .zone = zone_of(record, progress[i].id),
                                             .voter = progress[i].role == SR_ROLE_VOTER,
                                             .healthy = progress[i].up && progress[i].caught_up};
        ret->voters += members[i].voter;
        ret->healthy_voters += members[i].voter && members[i].healthy;
    }
    ret->zones_survivable = sr_zones_survivable(members, count);
}

void sr_cluster_overview(struct sr_store *store, const struct sr_steward *steward,
                         const struct sr_member_progress *progress, size_t progress_count,
                         uint64_t age_ms, struct sr_cluster_overview *ret)
{
    Strongroom__ClusterRecord *record = NULL;
    struct sr_err err = {0};
    *ret = (struct sr_cluster_overview){.zones_survivable = -1,
                                        .feature_level = sr_steward_feature_level(steward)};
    sr_steward_counts(steward, &ret->steward);
    ret->accused = (sr_store_alarms(store) & SR_ALARM_CORRUPT_HERE) != 0;
    if (sr_store_cluster(store, &record, &err) != SR_OK) {
        return;
    }
    ret->epoch = record->epoch;
    ret->members = record->n_members;
    for (size_t i = 0; i < record->n_alarms; i++) {
        bool corrupt = record->alarms[i]->alarm == ETCDSERVERPB__ALARM_TYPE__CORRUPT;
        ret->alarms_corrupt += corrupt;
        ret->alarms_no_space += !corrupt;
    }
    if (record->epoch > 0 && age_ms <= PROGRESS_AGE_MS_MAX) {
        count_voters(record, progress, progress_count, ret);
    }
    strongroom__cluster_record__free_unpacked(record, NULL);
}
