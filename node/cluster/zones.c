/* SPDX-License-Identifier: Apache-2.0 */
#include "node/cluster/zones.h"

#include <string.h>

#include "base/check.h"
#include "proto/limits.h"

/* One more than members: rules look at a cluster with somebody added. */
#define ZONES_MAX (SR_MEMBERS_MAX + 2)

struct zone {
    const char *name;
    int healthy;
};

struct census {
    struct zone zones[ZONES_MAX];
    size_t zone_count;
    int voters;
    int healthy;
};

static struct zone *find_zone(struct census *census, const char *name)
{
    for (size_t i = 0; i < census->zone_count; i++) {
        if (strcmp(census->zones[i].name, name) == 0) {
            return &census->zones[i];
        }
    }
    sr_check(census->zone_count < ZONES_MAX);
    census->zones[census->zone_count] = (struct zone){.name = name};
    return &census->zones[census->zone_count++];
}

static struct census count_voters(const struct sr_zone_member *members, size_t count, bool at_best)
{
    struct census census = {0};
    for (size_t i = 0; i < count; i++) {
        if (!members[i].voter) {
            continue;
        }
        census.voters++;
        if (members[i].healthy || at_best) {
            census.healthy++;
            find_zone(&census, members[i].zone)->healthy++;
        }
    }
    return census;
}

/* The zone whose loss costs the most, taken out. */
static int lose_largest(struct census *census)
{
    struct zone *largest = &census->zones[0];
    for (size_t i = 1; i < census->zone_count; i++) {
        if (census->zones[i].healthy > largest->healthy) {
            largest = &census->zones[i];
        }
    }
    int lost = largest->healthy;
    *largest = census->zones[--census->zone_count];
    return lost;
}

static int survivable(struct census census)
{
    int majority = census.voters / 2 + 1;
    int healthy = census.healthy;
    int lost_zones = -1;
    while (healthy >= majority) {
        lost_zones++;
        healthy -= lose_largest(&census); /* a healthy voter is in one of them */
    }
    return lost_zones;
}

int sr_zones_survivable(const struct sr_zone_member *members, size_t count)
{
    return survivable(count_voters(members, count, false));
}

int sr_zones_survivable_at_best(const struct sr_zone_member *members, size_t count)
{
    return survivable(count_voters(members, count, true));
}
