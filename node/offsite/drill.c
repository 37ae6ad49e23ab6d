/* SPDX-License-Identifier: Apache-2.0
 *
 * Who drills what, and when. What a drill is: drill_run.c; results of others: drill_proofs.c.
 *
 *     looking ──newest snapshot is new, and ours──► drilling ──good or bad──► looking, published
 *        ▲                                             │
 *        └────── could not be looked at: later ◄───────┘
 */
#include "node/offsite/drill.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/background.h"
#include "base/check.h"
#include "base/log.h"
#include "node/offsite/drill_internal.h"
#include "node/recover/copy.h"
#include "storage/archive_key.h"

#define TICK_MS 500
/* In times of claim_timeout_ms: how long a member that shipped has to begin its drill, beside the
 * time that it takes; and how often results of others are looked for. */
#define PATIENCE 10

static uint64_t now_ns(const struct sr_drill *drill)
{
    return drill->options.env.monotonic_ns(drill->options.env.arg);
}

static uint64_t timeout_ns(const struct sr_drill *drill)
{
    return drill->options.config->claim_timeout_ms * UINT64_C(1000000);
}

/* ---- Is anything to be drilled, and by us? ---- */

static void note_newest(struct drill_lane *lane, const Strongroom__OffsiteEntry *newest)
{
    if (lane->seen_sequence != newest->sequence) {
        lane->seen_sequence = newest->sequence;
        lane->seen_ns = now_ns(lane->drill);
        lane->not_before_ns = 0;
        lane->failures_in_row = 0;
    }
}

static bool is_ours(const struct drill_lane *lane, const Strongroom__OffsiteEntry *newest)
{
    return newest->member_id == lane->drill->options.member_id;
}

/* How long to wait for the member that shipped @newest: what it took to ship, and what the last
 * drill took, several times over; the leader for longer, and not all at the same moment. */
static uint64_t patience_ns(const struct drill_lane *lane, const Strongroom__OffsiteRecord *record,
                            const Strongroom__OffsiteEntry *newest, enum sr_ship_rank rank)
{
    const struct sr_drill_options *options = &lane->drill->options;
    const Strongroom__OffsiteEntry *proven = sr_offsite_newest(record, lane->config->name, true);
    uint64_t shipped_ms =
        newest->ended_ms > newest->begun_ms ? newest->ended_ms - newest->begun_ms : 0;
    uint64_t drilled_ms = proven == NULL ? 0 : proven->drill_duration_ms;
    uint64_t least_ns = PATIENCE * timeout_ns(lane->drill);
    uint64_t patience = least_ns + 4 * (shipped_ms + drilled_ms) * UINT64_C(1000000);
    patience += patience / 8 * (options->member_id % 8);
    return rank == SR_RANK_LEADER ? 2 * patience : patience;
}

/* A drill that is yet to come was made by a clock that was wrong: it does not count, as otherwise
 * there would be none for as long as that clock was ahead. */
static bool has_rested(const struct drill_lane *lane, const Strongroom__OffsiteRecord *record)
{
    const struct sr_drill_options *options = &lane->drill->options;
    uint64_t now_ms = options->env.wall_ms(options->env.arg);
    uint64_t last_ms = 0;
    for (size_t i = 0; i < record->n_entry; i++) {
        const Strongroom__OffsiteEntry *entry = record->entry[i];
        if (strcmp(entry->target, lane->config->name) == 0 && entry->drilled_ms > last_ms &&
            entry->drilled_ms <= now_ms) {
            last_ms = entry->drilled_ms;
        }
    }
    return last_ms + options->config->drill_every_ms <= now_ms;
}

static bool is_due(const struct drill_lane *lane, const Strongroom__OffsiteRecord *record,
                   const Strongroom__OffsiteEntry *newest, enum sr_ship_rank rank)
{
    const struct sr_drill *drill = lane->drill;
    bool is_turn = is_ours(lane, newest) ||
                   now_ns(drill) - lane->seen_ns >= patience_ns(lane, record, newest, rank);
    return drill->options.config->drill && newest->drilled_ms == 0 && is_turn &&
           now_ns(drill) >= lane->not_before_ns && has_rested(lane, record);
}

/* Results of machines elsewhere: by the member that shipped last, and, as it may be gone, by the
 * others from time to time. */
static bool are_proofs_due(const struct drill_lane *lane, const Strongroom__OffsiteEntry *newest)
{
    uint64_t every_ns = PATIENCE * timeout_ns(lane->drill) * (is_ours(lane, newest) ? 1 : 4);
    return lane->proofs_ns == 0 || now_ns(lane->drill) - lane->proofs_ns >= every_ns;
}

/* ---- A round ---- */

static void look(struct drill_lane *lane, const Strongroom__OffsiteRecord *record)
{
    const struct sr_drill *drill = lane->drill;
    const Strongroom__OffsiteEntry *newest = sr_offsite_newest(record, lane->config->name, false);
    enum sr_ship_rank rank = drill->options.env.rank(drill->options.env.arg);
    if (newest == NULL || rank == SR_RANK_NONE) {
        return;
    }
    note_newest(lane, newest);
    if (are_proofs_due(lane, newest)) {
        lane->proofs_ns = now_ns(drill);
        drill_adopt_all(lane, record);
    } else if (is_due(lane, record, newest, rank)) {
        drill_run(lane, record, newest);
    }
}

void sr_drill_step(struct sr_drill *drill)
{
    for (unsigned i = 0; i < drill->lane_count && !atomic_load(&drill->stopping); i++) {
        struct sr_err err = {0};
        Strongroom__OffsiteRecord *record = NULL;
        if (sr_store_offsite_epoch(drill->options.store) == 0 ||
            sr_store_offsite(drill->options.store, &record, &err) != SR_OK) {
            return;
        }
        if (record->public_key.len == SR_SIGNING_BYTES) {
            memcpy(drill->proof_keys[0], record->public_key.data, SR_SIGNING_BYTES);
            look(&drill->lanes[i], record);
        }
        strongroom__offsite_record__free_unpacked(record, NULL);
    }
}

/* ---- The thread ---- */

/* False: there is no next round. */
static bool wait_a_round(struct sr_drill *drill)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    at.tv_nsec += TICK_MS * 1000000L;
    at.tv_sec += at.tv_nsec / 1000000000;
    at.tv_nsec %= 1000000000;
    pthread_mutex_lock(&drill->mutex);
    if (!atomic_load(&drill->stopping) && !drill->woken) {
        int waited = pthread_cond_timedwait(&drill->changed, &drill->mutex, &at);
        sr_check(waited == 0 || waited == ETIMEDOUT);
    }
    drill->woken = false;
    pthread_mutex_unlock(&drill->mutex);
    return !atomic_load(&drill->stopping);
}

static void *run(void *arg)
{
    struct sr_drill *drill = arg;
    sr_background_thread();
    while (wait_a_round(drill)) {
        sr_drill_step(drill);
    }
    return NULL;
}

void sr_drill_start(struct sr_drill *drill)
{
    drill->running = true;
    sr_check(pthread_create(&drill->thread, NULL, run, drill) == 0);
}

void sr_drill_wake(struct sr_drill *drill)
{
    if (drill != NULL) {
        pthread_mutex_lock(&drill->mutex);
        drill->woken = true;
        pthread_cond_broadcast(&drill->changed);
        pthread_mutex_unlock(&drill->mutex);
    }
}

void sr_drill_stop(struct sr_drill *drill)
{
    if (drill == NULL) {
        return;
    }
    pthread_mutex_lock(&drill->mutex);
    atomic_store(&drill->stopping, true);
    pthread_cond_broadcast(&drill->changed);
    pthread_mutex_unlock(&drill->mutex);
    for (unsigned i = 0; i < drill->lane_count; i++) {
        sr_target_cancel(drill->lanes[i].target);
    }
    if (drill->running) {
        pthread_join(drill->thread, NULL);
        drill->running = false;
    }
}

/* ---- Open and close ---- */

static int read_keys(struct sr_drill *drill, struct sr_err *err)
{
    const struct sr_config_offsite *config = drill->options.config;
    drill->proof_key_count = 1; /* that of the cluster, which the record tells */
    for (unsigned i = 0; i < config->recovery_keys_count; i++) {
        struct sr_recovery_public key;
        int status = sr_recovery_public_read(config->recovery_keys[i], &key, err);
        if (status != SR_OK) {
            return status;
        }
        memcpy(drill->proof_keys[drill->proof_key_count++], key.proof, SR_SIGNING_BYTES);
    }
    return SR_OK;
}

static int open_lanes(struct sr_drill *drill, struct sr_err *err)
{
    const struct sr_config_offsite *config = drill->options.config;
    for (unsigned i = 0; i < config->targets_count; i++) {
        struct drill_lane *lane = &drill->lanes[i];
        struct sr_target_config target = sr_config_target_of(config, &config->targets[i]);
        *lane = (struct drill_lane){.drill = drill, .config = &config->targets[i]};
        int status = sr_target_open(&target, &lane->target, err);
        if (status != SR_OK) {
            sr_err_prefix(err, "offsite target %s", lane->config->name);
            return status;
        }
        drill->lane_count++;
    }
    return SR_OK;
}

static int prepare(struct sr_drill *drill, struct sr_err *err)
{
    const struct sr_drill_options *options = &drill->options;
    if (snprintf(drill->path, sizeof(drill->path), "%s/drill", options->data_dir) >=
        (int)sizeof(drill->path)) {
        return sr_err_set(err, SR_INVALID, "data_dir: path is too long");
    }
    int status = sr_copy_remove(drill->path, err);
    if (status == SR_OK) {
        status = read_keys(drill, err);
    }
    return status == SR_OK ? open_lanes(drill, err) : status;
}

int sr_drill_open(const struct sr_drill_options *options, struct sr_drill **ret, struct sr_err *err)
{
    struct sr_drill *drill = sr_zalloc(sizeof(*drill));
    pthread_condattr_t attributes;
    sr_check(pthread_condattr_init(&attributes) == 0);
    sr_check(pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0);
    sr_check(pthread_cond_init(&drill->changed, &attributes) == 0);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&drill->mutex, NULL);
    drill->options = *options;
    int status = prepare(drill, err);
    if (status != SR_OK) {
        sr_drill_free(drill);
        return status;
    }
    *ret = drill;
    return SR_OK;
}

void sr_drill_free(struct sr_drill *drill)
{
    if (drill == NULL) {
        return;
    }
    sr_drill_stop(drill);
    for (unsigned i = 0; i < drill->lane_count; i++) {
        sr_target_close(drill->lanes[i].target);
    }
    pthread_cond_destroy(&drill->changed);
    pthread_mutex_destroy(&drill->mutex);
    sr_free(drill);
}

/* ---- Any thread ---- */

void sr_drill_view(const struct sr_drill *drill, struct sr_shipper_view *view)
{
    for (unsigned i = 0; drill != NULL && i < drill->lane_count && i < view->count; i++) {
        view->targets[i].drill = &drill->lanes[i].metrics;
    }
}
