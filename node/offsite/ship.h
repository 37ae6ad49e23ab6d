/* SPDX-License-Identifier: Apache-2.0
 *
 * What all that ships on one node shares: who we are, how we ship, and our world, as a table of
 * functions, so that tests own time and the log. Inside node/offsite only.
 */
#ifndef SR_NODE_OFFSITE_SHIP_H
#define SR_NODE_OFFSITE_SHIP_H

#include <stdatomic.h>

#include "node/config/offsite.h"
#include "node/offsite/marks.h"
#include "node/offsite/schedule.h"
#include "storage/archive_key.h"
#include "storage/offsite.h"

enum sr_ship_rank {
    SR_RANK_NONE,     /* learns, or knows of no leader: does not ship */
    SR_RANK_FOLLOWER, /* ships */
    SR_RANK_LEADER    /* ships when no follower does, for it has enough to do */
};

/* Any thread. */
struct sr_ship_env {
    uint64_t (*wall_ms)(void *arg);
    uint64_t (*monotonic_ns)(void *arg);
    enum sr_ship_rank (*rank)(void *arg);
    bool (*is_member)(void *arg, uint64_t member);
    /* Propose and wait until this node has applied it. */
    enum sr_api_error (*change)(void *arg, const Strongroom__OffsiteChange *change);
    /* A full archive is in the catalogue; may block. NULL: nobody asks. */
    void (*shipped)(void *arg, const char *target, uint64_t sequence);
    void *arg;
};

struct sr_ship {
    const struct sr_config_offsite *config;
    const char *cluster_name;
    const char *member_name;
    uint64_t cluster_id;
    uint64_t member_id;
    struct sr_store *store;
    struct sr_ship_env env;
    struct sr_schedule schedule;
    struct sr_recovery_public recovery[SR_RECOVERY_KEYS_MAX];
    size_t recovery_count;
    struct sr_marks *marks;
    atomic_bool stopping;
};

#endif
