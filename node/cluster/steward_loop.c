/* SPDX-License-Identifier: Apache-2.0 */
#include "node/cluster/steward_loop.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/clock.h"

#define TICK_MS 1000
/* While there is no record: members cannot be changed before, so it should be there soon. */
#define FOUNDING_TICK_MS 100
/* A change that takes longer is looked at again at a later round. */
#define CHANGE_TIMEOUT_MS 10000

struct sr_steward_loop {
    struct sr_steward_loop_options options;
    struct sr_steward *steward;
    Strongroom__ClusterRecord founders;
    Strongroom__MemberRecord members[SR_MEMBERS_MAX];
    Strongroom__MemberRecord *pointers[SR_MEMBERS_MAX];
    pthread_t thread;
    pthread_mutex_t mutex; /* guards stopping */
    pthread_cond_t changed;
    bool stopping;
};

/* ---- The steward's world ---- */

static uint64_t now_ms(void *arg)
{
    (void)arg;
    return sr_clock_monotonic_ns() / 1000000 + 1;
}

static bool leads(void *arg)
{
    const struct sr_steward_loop *loop = arg;
    struct sr_consensus_info info;
    sr_consensus_info(loop->options.consensus, &info);
    return info.is_leader;
}

static unsigned level_of(void *arg, uint64_t member)
{
    const struct sr_steward_loop *loop = arg;
    const struct sr_peers *peers = sr_consensus_peers(loop->options.consensus);
    const struct sr_peer_metrics *metrics[SR_MEMBERS_MAX];
    unsigned level = 0;
    size_t count = sr_peers_metrics(peers, metrics);
    for (size_t i = 0; i < count; i++) {
        if (metrics[i]->member == member) {
            level = (unsigned)sr_gauge_read(&metrics[i]->feature_level);
        }
    }
    sr_peers_metrics_done(peers);
    return level;
}

static size_t progress(void *arg, struct sr_member_progress out[SR_MEMBERS_MAX],
                       uint64_t *ret_age_ms)
{
    const struct sr_steward_loop *loop = arg;
    return loop->options.progress == NULL
               ? 0
               : loop->options.progress(loop->options.arg, out, ret_age_ms);
}

static enum sr_api_error change(void *arg, const Strongroom__ClusterChange *change_wanted)
{
    const struct sr_steward_loop *loop = arg;
    return sr_proposer_change(loop->options.proposer, change_wanted, loop->options.config->name,
                              CHANGE_TIMEOUT_MS);
}

static enum sr_api_error offsite(void *arg, const Strongroom__OffsiteChange *change_wanted)
{
    const struct sr_steward_loop *loop = arg;
    return sr_proposer_offsite(loop->options.proposer, change_wanted, loop->options.config->name,
                               CHANGE_TIMEOUT_MS);
}

static void tell_level(void *arg, unsigned level)
{
    const struct sr_steward_loop *loop = arg;
    sr_proposer_set_level(loop->options.proposer, level);
}

static void report(void *arg, const struct sr_store_check *check)
{
    const struct sr_steward_loop *loop = arg;
    sr_consensus_report_hash(loop->options.consensus, check->index, check->revision, check->hash);
}

static size_t reports(void *arg, struct sr_replica_report out[SR_MEMBERS_MAX])
{
    const struct sr_steward_loop *loop = arg;
    return sr_consensus_hash_reports(loop->options.consensus, out);
}

static void move_leader(void *arg, uint64_t member)
{
    const struct sr_steward_loop *loop = arg;
    sr_consensus_move_leader(loop->options.consensus, member);
}

static bool lacks_space(void *arg)
{
    const struct sr_steward_loop *loop = arg;
    struct sr_consensus_info info;
    sr_consensus_info(loop->options.consensus, &info);
    return info.log_full || !sr_store_has_space(loop->options.store);
}

/* ---- What the configuration says ---- */

static int compare_ids(const void *a, const void *b)
{
    uint64_t first = (*(Strongroom__MemberRecord *const *)a)->id;
    uint64_t second = (*(Strongroom__MemberRecord *const *)b)->id;
    return first < second ? -1 : first > second;
}

static void describe_founders(struct sr_steward_loop *loop)
{
    const struct sr_config *config = loop->options.config;
    strongroom__cluster_record__init(&loop->founders);
    loop->founders.members = loop->pointers;
    loop->founders.n_members = config->cluster.members_count;
    for (unsigned i = 0; i < config->cluster.members_count; i++) {
        const struct sr_config_member *from = &config->cluster.members[i];
        Strongroom__MemberRecord *to = &loop->members[i];
        strongroom__member_record__init(to);
        to->id = from->id;
        to->name = from->name;
        to->zone = from->zone;
        to->peer_address = from->peer_address;
        to->client_urls = from->client_urls;
        to->n_client_urls = from->client_urls_count;
        to->voter = true;
        loop->pointers[i] = to;
    }
    qsort(loop->pointers, loop->founders.n_members, sizeof(loop->pointers[0]), compare_ids);
}

/* ---- The thread ---- */

/* Wait for the next round; false when there is none. */
static bool wait_a_round(struct sr_steward_loop *loop, unsigned tick_ms)
{
    struct timespec at;
    int waited = 0;
    clock_gettime(CLOCK_MONOTONIC, &at);
    at.tv_nsec += (long)tick_ms * 1000000;
    at.tv_sec += at.tv_nsec / 1000000000;
    at.tv_nsec %= 1000000000;
    pthread_mutex_lock(&loop->mutex);
    while (!loop->stopping && waited != ETIMEDOUT) {
        waited = pthread_cond_timedwait(&loop->changed, &loop->mutex, &at);
    }
    bool goes_on = !loop->stopping;
    pthread_mutex_unlock(&loop->mutex);
    return goes_on;
}

static void *run(void *arg)
{
    struct sr_steward_loop *loop = arg;
    unsigned tick_ms = 0;
    while (wait_a_round(loop, tick_ms)) {
        tick_ms = sr_steward_tick(loop->steward) ? TICK_MS : FOUNDING_TICK_MS;
    }
    return NULL;
}

struct sr_steward_loop *sr_steward_loop_start(const struct sr_steward_loop_options *options)
{
    struct sr_steward_loop *loop = sr_zalloc(sizeof(*loop));
    const struct sr_config *config = options->config;
    pthread_condattr_t attributes;
    loop->options = *options;
    describe_founders(loop);
    struct sr_steward_options steward = {
        .self = options->self,
        .founders = &loop->founders,
        .store = options->store,
        .feature_level = config->cluster.feature_level,
        .offsite = config->offsite != NULL,
        .check_interval_ms = config->cluster.replica_check_ms,
        .preferred_zones = (const char *const *)config->cluster.preferred_zones,
        .preferred_zone_count = config->cluster.preferred_zones_count,
        .env = {.now_ms = now_ms,
                .leads = leads,
                .level_of = level_of,
                .progress = progress,
                .change = change,
                .offsite = offsite,
                .tell_level = tell_level,
                .report = report,
                .reports = reports,
                .move_leader = move_leader,
                .lacks_space = lacks_space,
                .arg = loop},
    };
    loop->steward = sr_steward_new(&steward);
    sr_check(pthread_condattr_init(&attributes) == 0);
    sr_check(pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0);
    sr_check(pthread_cond_init(&loop->changed, &attributes) == 0);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&loop->mutex, NULL);
    sr_check(pthread_create(&loop->thread, NULL, run, loop) == 0);
    return loop;
}

void sr_steward_loop_stop(struct sr_steward_loop *loop)
{
    if (loop == NULL) {
        return;
    }
    pthread_mutex_lock(&loop->mutex);
    loop->stopping = true;
    pthread_cond_signal(&loop->changed);
    pthread_mutex_unlock(&loop->mutex);
    pthread_join(loop->thread, NULL);
    pthread_cond_destroy(&loop->changed);
    pthread_mutex_destroy(&loop->mutex);
    sr_steward_free(loop->steward);
    sr_free(loop);
}

const struct sr_steward *sr_steward_loop_steward(const struct sr_steward_loop *loop)
{
    return loop->steward;
}
