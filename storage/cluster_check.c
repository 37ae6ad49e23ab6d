/* SPDX-License-Identifier: Apache-2.0
 *
 * What every change keeps to. A record that comes from elsewhere, in an image or from disk, is
 * held to the same: changes rely on it.
 */
#include <string.h>

#include "proto/limits.h"
#include "proto/member.h"
#include "proto/rpc.pb-c.h"
#include "storage/cluster_change.h"

/* Whether member @i is in its place, and is told from those before it. */
static bool has_sane_member(const Strongroom__ClusterRecord *record, size_t i)
{
    const Strongroom__MemberRecord *member = record->members[i];
    if (!sr_is_member(member, true) || (i > 0 && record->members[i - 1]->id >= member->id)) {
        return false;
    }
    for (size_t k = 0; k < i; k++) {
        const Strongroom__MemberRecord *other = record->members[k];
        if (strcmp(other->peer_address, member->peer_address) == 0 ||
            (member->name[0] != 0 && strcmp(other->name, member->name) == 0)) {
            return false;
        }
    }
    return true;
}

/* Likewise alarm @i, which is of a member. */
static bool has_sane_alarm(const Strongroom__ClusterRecord *record, size_t i)
{
    const Strongroom__AlarmRecord *alarm = record->alarms[i];
    return sr_cluster_is_alarm(alarm->alarm) &&
           sr_cluster_member(record, alarm->member_id) != NULL &&
           (i == 0 || sr_cluster_alarm_is_before(record->alarms[i - 1], alarm));
}

bool sr_cluster_is_record(const Strongroom__ClusterRecord *record)
{
    size_t voters = 0;
    if (record->epoch == 0 || record->n_members > SR_MEMBERS_MAX ||
        record->n_removed > SR_REMOVED_MAX || record->n_alarms > SR_ALARMS_MAX) {
        return false;
    }
    for (size_t i = 0; i < record->n_members; i++) {
        if (!has_sane_member(record, i)) {
            return false;
        }
        voters += record->members[i]->voter;
    }
    for (size_t i = 0; i < record->n_removed; i++) {
        if (sr_cluster_member(record, record->removed[i]) != NULL) {
            return false;
        }
    }
    for (size_t i = 0; i < record->n_alarms; i++) {
        if (!has_sane_alarm(record, i)) {
            return false;
        }
    }
    return voters > 0;
}
