/* SPDX-License-Identifier: Apache-2.0 */
#include "node/cluster/standing.h"

static const struct sr_member_progress *find(const struct sr_member_progress *progress,
                                             size_t count, uint64_t id)
{
    for (size_t i = 0; i < count; i++) {
        if (progress[i].id == id) {
            return &progress[i];
        }
    }
    return NULL;
}

void sr_standing(const Strongroom__ClusterRecord *record, const struct sr_member_progress *progress,
                 size_t count, struct sr_zone_member *out)
{
    for (size_t i = 0; i < record->n_members; i++) {
        const Strongroom__MemberRecord *member = record->members[i];
        const struct sr_member_progress *one = find(progress, count, member->id);
        out[i] = (struct sr_zone_member){.id = member->id,
                                         .name = member->name,
                                         .zone = member->zone,
                                         .voter = one != NULL && one->role == SR_ROLE_VOTER,
                                         .healthy = one != NULL && one->up && one->caught_up};
    }
}
