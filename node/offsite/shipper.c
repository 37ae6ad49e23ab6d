/* SPDX-License-Identifier: Apache-2.0 */
#include "node/offsite/shipper.h"

#include <errno.h>
#include <pthread.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/check.h"
#include "node/offsite/lane.h"
#include "storage/changes.h"

#define LANES_MAX      (2 * SR_OFFSITE_TARGETS_MAX)
#define LANE_TICK_MS   500
#define KEEPER_TICK_MS 500
#define LANE_NICE      10
/* A target that is behind for longer gets a full archive instead of all changes since. */
#define KEEP_MS_MAX UINT64_C(86400000)

struct thread {
    struct sr_shipper *shipper;
    struct sr_lane *lane; /* NULL: the keeper */
    pthread_t id;
};

struct sr_shipper {
    struct sr_ship ship;
    struct sr_lane lanes[LANES_MAX];
    unsigned lane_count;
    struct thread threads[LANES_MAX + 1];
    unsigned thread_count;
    pthread_mutex_t mutex;  /* guards what changed says */
    pthread_cond_t changed; /* ship.stopping, or a lane's wanted */
};

/* ---- Threads ---- */

/* Wait for the next round, or until something changed; false: there is none. */
static bool wait_a_round(struct sr_shipper *shipper, uint64_t tick_ms)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    at.tv_nsec += (long)(tick_ms % 1000) * 1000000;
    at.tv_sec += (time_t)(tick_ms / 1000) + at.tv_nsec / 1000000000;
    at.tv_nsec %= 1000000000;
    pthread_mutex_lock(&shipper->mutex);
    if (!atomic_load(&shipper->ship.stopping)) {
        int waited = pthread_cond_timedwait(&shipper->changed, &shipper->mutex, &at);
        sr_check(waited == 0 || waited == ETIMEDOUT);
    }
    pthread_mutex_unlock(&shipper->mutex);
    return !atomic_load(&shipper->ship.stopping);
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static void run_lane(struct sr_shipper *shipper, struct sr_lane *lane)
{
    /* Compressing takes a core: only one that nobody else wants. Where that cannot be, so be it. */
    (void)setpriority(PRIO_PROCESS, (id_t)gettid(), LANE_NICE);
    uint64_t tick_ms = LANE_TICK_MS;
    if (lane->kind == SR_ARCHIVE_CHANGES) {
        tick_ms = least(tick_ms, shipper->ship.config->changes_every_ms);
    }
    while (wait_a_round(shipper, tick_ms)) {
        sr_lane_step(lane);
    }
}

/* Everything after this revision has yet to be shipped to some target; INT64_MAX: nothing, or it
 * is given up. */
static int64_t needed_after(const struct sr_shipper *shipper,
                            const Strongroom__OffsiteRecord *record)
{
    const struct sr_ship *ship = &shipper->ship;
    uint64_t now_ms = ship->env.wall_ms(ship->env.arg);
    int64_t least_revision = INT64_MAX;
    for (unsigned i = 0; i < ship->config->targets_count; i++) {
        const char *name = ship->config->targets[i].name;
        const Strongroom__OffsiteEntry *newest = sr_offsite_newest(record, name, false);
        const Strongroom__OffsiteChain *chain = sr_offsite_chain(record, name, SR_ARCHIVE_CHANGES);
        bool chained = chain != NULL && chain->last_sequence > 0;
        if (newest == NULL) {
            continue;
        }
        int64_t revision = chained ? chain->until_revision : newest->revision;
        uint64_t ended_ms = chained ? chain->ended_ms : newest->ended_ms;
        uint64_t came_ms = sr_marks_time_after(ship->marks, revision);
        uint64_t behind_since_ms = came_ms > ended_ms ? came_ms : ended_ms;
        bool behind = sr_store_revision(ship->store) > revision;
        if (!behind || behind_since_ms + KEEP_MS_MAX > now_ms) {
            least_revision = revision < least_revision ? revision : least_revision;
        }
    }
    return least_revision;
}

static void keep(struct sr_shipper *shipper)
{
    const struct sr_ship *ship = &shipper->ship;
    struct sr_err err = {0};
    Strongroom__OffsiteRecord *record = NULL;
    sr_marks_note(ship->marks, sr_store_revision(ship->store), ship->env.wall_ms(ship->env.arg));
    if (sr_store_offsite_epoch(ship->store) == 0 ||
        sr_store_offsite(ship->store, &record, &err) != SR_OK) {
        return;
    }
    sr_store_keep_after(ship->store, needed_after(shipper, record));
    for (unsigned i = 0; i < shipper->lane_count; i++) {
        sr_lane_measure(&shipper->lanes[i], record);
    }
    strongroom__offsite_record__free_unpacked(record, NULL);
}

static void run_keeper(struct sr_shipper *shipper)
{
    const struct sr_ship *ship = &shipper->ship;
    uint64_t renew_ns = ship->config->claim_timeout_ms * UINT64_C(1000000) / 5;
    uint64_t tick_ms = least(KEEPER_TICK_MS, ship->config->claim_timeout_ms / 10);
    uint64_t renewed_ns = 0;
    while (wait_a_round(shipper, tick_ms)) {
        uint64_t now_ns = ship->env.monotonic_ns(ship->env.arg);
        keep(shipper);
        if (now_ns - renewed_ns < renew_ns) {
            continue;
        }
        renewed_ns = now_ns;
        for (unsigned i = 0; i < shipper->lane_count; i++) {
            sr_lane_renew(&shipper->lanes[i]);
        }
    }
    sr_store_keep_after(ship->store, INT64_MAX);
}

static void *run(void *arg)
{
    struct thread *thread = arg;
    if (thread->lane == NULL) {
        run_keeper(thread->shipper);
    } else {
        run_lane(thread->shipper, thread->lane);
    }
    return NULL;
}

static void start_thread(struct sr_shipper *shipper, struct sr_lane *lane)
{
    struct thread *thread = &shipper->threads[shipper->thread_count++];
    *thread = (struct thread){.shipper = shipper, .lane = lane};
    sr_check(pthread_create(&thread->id, NULL, run, thread) == 0);
}

void sr_shipper_start(struct sr_shipper *shipper)
{
    start_thread(shipper, NULL);
    for (unsigned i = 0; i < shipper->lane_count; i++) {
        start_thread(shipper, &shipper->lanes[i]);
    }
}

void sr_shipper_stop(struct sr_shipper *shipper)
{
    if (shipper == NULL) {
        return;
    }
    pthread_mutex_lock(&shipper->mutex);
    atomic_store(&shipper->ship.stopping, true);
    pthread_cond_broadcast(&shipper->changed);
    pthread_mutex_unlock(&shipper->mutex);
    for (unsigned i = 0; i < shipper->lane_count; i++) {
        sr_target_cancel(shipper->lanes[i].target);
    }
    for (unsigned i = 0; i < shipper->thread_count; i++) {
        pthread_join(shipper->threads[i].id, NULL);
    }
    shipper->thread_count = 0;
}

/* ---- Open and close ---- */

static int open_lanes(struct sr_shipper *shipper, struct sr_err *err)
{
    const struct sr_config_offsite *config = shipper->ship.config;
    for (unsigned i = 0; i < config->targets_count; i++) {
        struct sr_lane *full = &shipper->lanes[2 * i];
        struct sr_lane *changes = &shipper->lanes[2 * i + 1];
        int status = sr_lane_open(full, &shipper->ship, &config->targets[i], SR_ARCHIVE_FULL, err);
        if (status != SR_OK) {
            return status;
        }
        shipper->lane_count++;
        status =
            sr_lane_open(changes, &shipper->ship, &config->targets[i], SR_ARCHIVE_CHANGES, err);
        if (status != SR_OK) {
            return status;
        }
        changes->full = full;
        shipper->lane_count++;
    }
    return SR_OK;
}

static int read_keys(struct sr_ship *ship, struct sr_err *err)
{
    for (unsigned i = 0; i < ship->config->recovery_keys_count; i++) {
        int status = sr_recovery_public_read(ship->config->recovery_keys[i],
                                             &ship->recovery[ship->recovery_count++], err);
        if (status != SR_OK) {
            return status;
        }
    }
    return SR_OK;
}

int sr_shipper_open(const struct sr_shipper_options *options, struct sr_shipper **ret,
                    struct sr_err *err)
{
    struct sr_shipper *shipper = sr_zalloc(sizeof(*shipper));
    struct sr_ship *ship = &shipper->ship;
    pthread_condattr_t attributes;
    sr_check(pthread_condattr_init(&attributes) == 0);
    sr_check(pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0);
    sr_check(pthread_cond_init(&shipper->changed, &attributes) == 0);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&shipper->mutex, NULL);
    ship->config = options->config;
    ship->cluster_name = options->cluster_name;
    ship->member_name = options->member_name;
    ship->cluster_id = options->cluster_id;
    ship->member_id = options->member_id;
    ship->store = options->store;
    ship->env = options->env;
    ship->marks = sr_marks_new();
    sr_schedule_init(&ship->schedule, options->config, options->cluster_id);
    int status = read_keys(ship, err);
    if (status == SR_OK) {
        status = open_lanes(shipper, err);
    }
    if (status != SR_OK) {
        sr_shipper_free(shipper);
        return status;
    }
    *ret = shipper;
    return SR_OK;
}

void sr_shipper_free(struct sr_shipper *shipper)
{
    if (shipper == NULL) {
        return;
    }
    sr_shipper_stop(shipper);
    for (unsigned i = 0; i < LANES_MAX; i++) {
        sr_lane_close(&shipper->lanes[i]);
    }
    sr_marks_free(shipper->ship.marks);
    pthread_cond_destroy(&shipper->changed);
    pthread_mutex_destroy(&shipper->mutex);
    sr_free(shipper);
}

/* ---- Any thread ---- */

unsigned sr_shipper_ship_now(struct sr_shipper *shipper)
{
    pthread_mutex_lock(&shipper->mutex);
    for (unsigned i = 0; i < shipper->lane_count; i += 2) {
        atomic_store(&shipper->lanes[i].wanted, true);
    }
    pthread_cond_broadcast(&shipper->changed);
    pthread_mutex_unlock(&shipper->mutex);
    return shipper->lane_count / 2;
}

void sr_shipper_view(const struct sr_shipper *shipper, struct sr_shipper_view *ret)
{
    *ret = (struct sr_shipper_view){0};
    if (shipper == NULL) {
        return;
    }
    const struct sr_ship *ship = &shipper->ship;
    for (unsigned i = 0; i < shipper->lane_count; i += 2) {
        const struct sr_lane *lane = &shipper->lanes[i];
        ret->targets[ret->count++] = (struct sr_shipper_target){
            .name = lane->config->name,
            .url = lane->config->url,
            .region = lane->config->region == NULL ? "" : lane->config->region,
            .full = &lane->metrics,
            .changes = &shipper->lanes[i + 1].metrics,
        };
    }
    ret->next_ms = sr_schedule_next(&ship->schedule, ship->env.wall_ms(ship->env.arg));
}
