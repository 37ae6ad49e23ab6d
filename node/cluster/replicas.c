/* SPDX-License-Identifier: Apache-2.0 */
#include "node/cluster/replicas.h"

#include <string.h>

static const struct sr_replica_report *report_of(const struct sr_replica_report *reports,
                                                 size_t count, uint64_t index, uint64_t member)
{
    for (size_t i = 0; i < count; i++) {
        if (reports[i].member == member && reports[i].index == index) {
            return &reports[i];
        }
    }
    return NULL;
}

static bool same(const struct sr_replica_report *a, const struct sr_replica_report *b)
{
    return a->revision == b->revision && memcmp(a->hash, b->hash, sizeof(a->hash)) == 0;
}

/* The reports on one index, one of each member that has made one. */
struct reported {
    const struct sr_replica_report *list[SR_MEMBERS_MAX];
    size_t count;
};

static struct reported collect(const struct sr_replica_report *reports, size_t count,
                               uint64_t index, const uint64_t *members, size_t member_count)
{
    struct reported reported = {0};
    for (size_t i = 0; i < member_count && i < SR_MEMBERS_MAX; i++) {
        const struct sr_replica_report *one = report_of(reports, count, index, members[i]);
        if (one != NULL) {
            reported.list[reported.count++] = one;
        }
    }
    return reported;
}

static size_t followers_of(const struct reported *reported, const struct sr_replica_report *report)
{
    size_t followers = 0;
    for (size_t i = 0; i < reported->count; i++) {
        followers += same(reported->list[i], report);
    }
    return followers;
}

enum sr_replicas sr_replicas_judge(const struct sr_replica_report *reports, size_t count,
                                   uint64_t index, const uint64_t *members, size_t member_count,
                                   bool complete, uint64_t ret_odd[SR_MEMBERS_MAX],
                                   size_t *ret_odd_count)
{
    struct reported reported = collect(reports, count, index, members, member_count);
    const struct sr_replica_report *right = NULL;
    size_t odd = 0;
    complete = complete || reported.count == member_count;
    for (size_t i = 0; i < reported.count; i++) {
        if (followers_of(&reported, reported.list[i]) > member_count / 2) {
            right = reported.list[i];
        }
    }
    if (right == NULL) {
        bool differ =
            reported.count > 0 && followers_of(&reported, reported.list[0]) < reported.count;
        return complete && differ ? SR_REPLICAS_UNCLEAR : SR_REPLICAS_WAIT;
    }
    for (size_t i = 0; i < reported.count; i++) {
        if (!same(reported.list[i], right)) {
            ret_odd[odd++] = reported.list[i]->member;
        }
    }
    *ret_odd_count = odd;
    if (odd > 0) {
        return SR_REPLICAS_ODD;
    }
    return complete ? SR_REPLICAS_EQUAL : SR_REPLICAS_WAIT;
}
