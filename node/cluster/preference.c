/* SPDX-License-Identifier: Apache-2.0 */
#include "node/cluster/preference.h"

#include <string.h>

#define LEAD_MS_MIN    UINT64_C(10000)    /* a new leader has other things to do */
#define HEALTHY_MS_MIN UINT64_C(10000)    /* of the voter to hand over to */
#define HEALTHY_MS_MAX UINT64_C(3600000)  /* what that may double up to */
#define FORGIVEN_MS    UINT64_C(86400000) /* healthy this long, what was before is forgotten */

static size_t rank_of(const struct sr_preference *preference, const char *zone)
{
    size_t rank = 0;
    while (rank < preference->zone_count && strcmp(preference->zones[rank], zone) != 0) {
        rank++;
    }
    return rank;
}

static const struct sr_zone_member *find(const struct sr_zone_member *members, size_t count,
                                         uint64_t id)
{
    for (size_t i = 0; i < count; i++) {
        if (members[i].id == id) {
            return &members[i];
        }
    }
    return NULL;
}

static bool is_candidate(const struct sr_zone_member *member)
{
    return member->voter && member->healthy;
}

static size_t place_of(const struct sr_preference *preference, uint64_t id)
{
    size_t at = 0;
    while (at < preference->seen_count && preference->seen[at].id != id) {
        at++;
    }
    return at;
}

/* Nothing is known of anybody: that makes nobody steady, and forgives nobody. */
static void lose_sight(struct sr_preference *preference)
{
    for (size_t i = 0; i < preference->seen_count; i++) {
        preference->seen[i].healthy_since_ms = 0;
    }
}

/* Forget who is no member, learn who is new, and note since when each is healthy. */
static void watch(struct sr_preference *preference, uint64_t now_ms,
                  const struct sr_zone_member *members, size_t count)
{
    size_t kept = 0;
    if (count == 0) {
        lose_sight(preference);
        return;
    }
    for (size_t i = 0; i < preference->seen_count; i++) {
        if (find(members, count, preference->seen[i].id) != NULL) {
            preference->seen[kept++] = preference->seen[i];
        }
    }
    preference->seen_count = kept;
    for (size_t i = 0; i < count && i < SR_MEMBERS_MAX; i++) {
        size_t at = place_of(preference, members[i].id);
        if (at == preference->seen_count) {
            memset(&preference->seen[at], 0, sizeof(preference->seen[at]));
            preference->seen[at].id = members[i].id;
            preference->seen_count++;
        }
        if (!is_candidate(&members[i])) {
            preference->seen[at].healthy_since_ms = 0;
        } else if (preference->seen[at].healthy_since_ms == 0) {
            preference->seen[at].healthy_since_ms = now_ms;
        } else if (now_ms - preference->seen[at].healthy_since_ms >= FORGIVEN_MS) {
            preference->seen[at].hand_overs = 0;
        }
    }
}

static bool is_steady(const struct sr_preference *preference, uint64_t now_ms, uint64_t id)
{
    size_t at = place_of(preference, id);
    uint64_t needed_ms = HEALTHY_MS_MIN;
    for (unsigned i = 0; i < preference->seen[at].hand_overs && needed_ms < HEALTHY_MS_MAX; i++) {
        needed_ms *= 2;
    }
    needed_ms = needed_ms < HEALTHY_MS_MAX ? needed_ms : HEALTHY_MS_MAX;
    return preference->seen[at].healthy_since_ms != 0 &&
           now_ms - preference->seen[at].healthy_since_ms >= needed_ms;
}

/* The steady candidate of the best rank below @rank. */
static uint64_t choose(const struct sr_preference *preference, uint64_t now_ms, size_t rank,
                       const struct sr_zone_member *members, size_t count)
{
    uint64_t chosen = 0;
    for (size_t i = 0; i < count; i++) {
        size_t other = rank_of(preference, members[i].zone);
        if (is_candidate(&members[i]) && other < rank &&
            is_steady(preference, now_ms, members[i].id)) {
            chosen = members[i].id;
            rank = other;
        }
    }
    return chosen;
}

uint64_t sr_preference_tick(struct sr_preference *preference, uint64_t now_ms, uint64_t self,
                            bool leads, const struct sr_zone_member *members, size_t count)
{
    const struct sr_zone_member *own = find(members, count, self);
    watch(preference, now_ms, members, count);
    if (!leads || own == NULL) {
        preference->led_since_ms = 0;
        return 0;
    }
    if (preference->led_since_ms == 0) {
        preference->led_since_ms = now_ms;
    }
    if (now_ms - preference->led_since_ms < LEAD_MS_MIN) {
        return 0;
    }
    uint64_t chosen = choose(preference, now_ms, rank_of(preference, own->zone), members, count);
    if (chosen != 0) {
        size_t at = place_of(preference, chosen);
        preference->seen[at].hand_overs++;
        preference->seen[at].healthy_since_ms = now_ms; /* it earns the next one anew */
    }
    return chosen;
}
