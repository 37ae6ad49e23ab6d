/* SPDX-License-Identifier: Apache-2.0
 *
 * Who ships, and when. What a shipment is: shipment.c; how it ends: lane_ship.c.
 */
#include "node/offsite/lane.h"

#include <inttypes.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "node/offsite/lane_internal.h"
#include "storage/seal.h"

/* ---- The target ---- */

int sr_lane_open(struct sr_lane *lane, const struct sr_ship *ship,
                 const struct sr_config_target *config, enum sr_archive_kind kind,
                 struct sr_err *err)
{
    struct sr_target_config target = sr_config_target_of(ship->config, config);
    *lane = (struct sr_lane){.ship = ship, .config = config, .kind = kind};
    sr_random_bytes(&lane->token, sizeof(lane->token));
    lane->token |= 1; /* 0 is nobody's */
    int status = sr_target_open(&target, &lane->target, err);
    if (status != SR_OK) {
        sr_err_prefix(err, "offsite target %s", config->name);
    }
    return status;
}

void sr_lane_close(struct sr_lane *lane)
{
    sr_target_close(lane->target);
    lane->target = NULL;
}

/* ---- Is anything due? ---- */

static uint64_t now_ns(const struct sr_lane *lane)
{
    return lane->ship->env.monotonic_ns(lane->ship->env.arg);
}

static uint64_t timeout_ns(const struct sr_lane *lane)
{
    return lane->ship->config->claim_timeout_ms * UINT64_C(1000000);
}

bool lane_since(const struct sr_lane *lane, const Strongroom__OffsiteRecord *record,
                int64_t *ret_since)
{
    const char *name = lane->config->name;
    const Strongroom__OffsiteEntry *newest = sr_offsite_newest(record, name, false);
    const Strongroom__OffsiteChain *chain = sr_offsite_chain(record, name, SR_ARCHIVE_CHANGES);
    if (newest == NULL) {
        return false;
    }
    bool goes_on = chain != NULL && chain->last_sequence > 0 &&
                   !(atomic_load(&lane->compacted) && newest->revision > chain->until_revision);
    *ret_since = goes_on ? chain->until_revision : newest->revision;
    return true;
}

/* Whether @newest has been known here for as long as lies between two of the schedule, although by
 * this clock it is yet to be begun: a clock was wrong when it was, or is now. It is due then, as
 * otherwise nothing would be for as long as the clock was ahead. */
static bool is_due_by_patience(struct sr_lane *lane, const Strongroom__OffsiteEntry *newest,
                               uint64_t wall_ms)
{
    const struct sr_schedule *schedule = &lane->ship->schedule;
    uint64_t apart_ms = sr_schedule_next(schedule, wall_ms) - sr_schedule_last(schedule, wall_ms);
    if (newest->sequence != lane->seen_sequence) {
        lane->seen_sequence = newest->sequence;
        lane->seen_ns = now_ns(lane);
    }
    return newest->begun_ms > wall_ms &&
           now_ns(lane) - lane->seen_ns >= apart_ms * UINT64_C(1000000);
}

static bool is_full_due(struct sr_lane *lane, const Strongroom__OffsiteRecord *record)
{
    const struct sr_ship *ship = lane->ship;
    const Strongroom__OffsiteEntry *newest = sr_offsite_newest(record, lane->config->name, false);
    uint64_t wall_ms = ship->env.wall_ms(ship->env.arg);
    bool patient = newest != NULL && is_due_by_patience(lane, newest, wall_ms);
    return atomic_load(&lane->wanted) || patient ||
           (newest != NULL && newest->revision <= atomic_load(&lane->needed_beyond)) ||
           sr_schedule_due(&ship->schedule, newest == NULL ? 0 : newest->begun_ms, wall_ms);
}

static bool are_changes_due(struct sr_lane *lane, const Strongroom__OffsiteRecord *record)
{
    int64_t since = 0;
    uint64_t every_ns = lane->ship->config->changes_every_ms * UINT64_C(1000000);
    return lane_since(lane, record, &since) && sr_store_revision(lane->ship->store) > since &&
           (lane->last_look_ns == 0 || now_ns(lane) - lane->last_look_ns >= every_ns);
}

static bool is_due(struct sr_lane *lane, const Strongroom__OffsiteRecord *record)
{
    bool due =
        lane->kind == SR_ARCHIVE_FULL ? is_full_due(lane, record) : are_changes_due(lane, record);
    if (!due) {
        lane->due_since_ns = 0;
    } else if (lane->due_since_ns == 0) {
        lane->due_since_ns = now_ns(lane);
    }
    return due;
}

/* ---- Whose is it? ---- */

static bool holds(const struct sr_lane *lane, const Strongroom__OffsiteClaim *claim)
{
    return claim != NULL && claim->member_id == lane->ship->member_id &&
           claim->token == lane->token;
}

/* Whether we may claim now, and in whose place: of nobody, of a member that is gone, of ourselves
 * before a restart, or of one that does not renew its claim. */
static bool may_claim(struct sr_lane *lane, const Strongroom__OffsiteClaim *claim,
                      enum sr_ship_rank rank)
{
    const struct sr_ship *ship = lane->ship;
    bool patient = rank == SR_RANK_LEADER && !atomic_load(&lane->wanted);
    uint64_t patience_ns = patient ? timeout_ns(lane) / 2 : 0;
    bool abandoned =
        sr_offsite_watch_look(&lane->watch, claim, now_ns(lane), timeout_ns(lane) + patience_ns);
    if (claim == NULL) {
        return lane->due_since_ns != 0 && now_ns(lane) - lane->due_since_ns >= patience_ns;
    }
    return abandoned || claim->member_id == ship->member_id ||
           !ship->env.is_member(ship->env.arg, claim->member_id);
}

enum sr_api_error lane_propose(const struct sr_lane *lane, Strongroom__OffsiteChange *change)
{
    return lane->ship->env.change(lane->ship->env.arg, change);
}

static enum sr_api_error propose_claim(struct sr_lane *lane, const Strongroom__OffsiteClaim *before)
{
    const struct sr_ship *ship = lane->ship;
    Strongroom__OffsiteChange change = STRONGROOM__OFFSITE_CHANGE__INIT;
    Strongroom__OffsiteClaimChange claim = STRONGROOM__OFFSITE_CLAIM_CHANGE__INIT;
    change.change_case = STRONGROOM__OFFSITE_CHANGE__CHANGE_CLAIM;
    change.claim = &claim;
    claim.target = lane->config->name;
    claim.kind = lane->kind;
    claim.member_id = ship->member_id;
    claim.token = lane->token;
    claim.now_ms = ship->env.wall_ms(ship->env.arg);
    if (before != NULL) {
        claim.replaces_number = before->number;
        claim.replaces_renewals = before->renewals;
    }
    return lane_propose(lane, &change);
}

/* Claim in the place of @before (NULL: nobody's). */
static bool claim(struct sr_lane *lane, const Strongroom__OffsiteClaim *before)
{
    enum sr_api_error error = propose_claim(lane, before);
    if (error == SR_API_OFFSITE_FULL) {
        lane_back_off(lane, SR_SHIP_RECORD, sr_api_error_text(error));
        sr_lane_prune(lane);
        return false;
    }
    if (error != SR_API_NONE) {
        sr_log(SR_LOG_DEBUG, "offsite", "no claim", "target=%s kind=%c reason=\"%s\"",
               lane->config->name, lane->kind, sr_api_error_text(error));
        return false;
    }
    if (before != NULL) {
        sr_count(&lane->metrics.took_over, 1);
        sr_log(SR_LOG_WARN, "offsite", "took over",
               "target=%s kind=%c from=%016" PRIx64 " sequence=%" PRIu64, lane->config->name,
               lane->kind, before->member_id, before->sequence);
    }
    return true;
}

/* ---- A round ---- */

static Strongroom__OffsiteRecord *record_of(const struct sr_lane *lane)
{
    struct sr_err err = {0};
    Strongroom__OffsiteRecord *record = NULL;
    if (sr_store_offsite_epoch(lane->ship->store) == 0 ||
        sr_store_offsite(lane->ship->store, &record, &err) != SR_OK) {
        return NULL;
    }
    return record;
}

/* Ship with the claim that the record has. */
static void ship_claimed(struct sr_lane *lane)
{
    Strongroom__OffsiteRecord *record = record_of(lane);
    const Strongroom__OffsiteClaim *held =
        record == NULL ? NULL : sr_offsite_claim(record, lane->config->name, lane->kind);
    if (holds(lane, held)) {
        atomic_store(&lane->lost, false);
        atomic_store(&lane->claim_number, held->number);
        lane_ship(lane, record, held);
    }
    if (record != NULL) {
        strongroom__offsite_record__free_unpacked(record, NULL);
    }
}

static void look(struct sr_lane *lane, const Strongroom__OffsiteRecord *record)
{
    const struct sr_ship *ship = lane->ship;
    const Strongroom__OffsiteClaim *found =
        sr_offsite_claim(record, lane->config->name, lane->kind);
    enum sr_ship_rank rank = ship->env.rank(ship->env.arg);
    bool ours = holds(lane, found);
    bool due = is_due(lane, record);
    bool may = !ours && may_claim(lane, found, rank);
    if (!due || rank == SR_RANK_NONE || now_ns(lane) < lane->not_before_ns) {
        return;
    }
    if (ours || (may && claim(lane, found))) {
        ship_claimed(lane);
    }
}

void sr_lane_step(struct sr_lane *lane)
{
    Strongroom__OffsiteRecord *record = record_of(lane);
    if (record == NULL) {
        return;
    }
    look(lane, record);
    strongroom__offsite_record__free_unpacked(record, NULL);
}

/* A lane may hang where nothing here can end it: in a system call, on a mount whose server is gone.
 * Its claim is not renewed then; should it go on one day, it finds that it has lost it. */
static bool gets_on(struct sr_lane *lane, bool idle)
{
    unsigned long long bytes = sr_target_moved_bytes(lane->target);
    if (idle) {
        lane->moved_ns = 0;
        return true;
    }
    if (lane->moved_ns == 0 || bytes != lane->moved_bytes) {
        lane->moved_bytes = bytes;
        lane->moved_ns = now_ns(lane);
    }
    return now_ns(lane) - lane->moved_ns < SR_LANE_STALL_MS * UINT64_C(1000000);
}

static void leave_to_others(struct sr_lane *lane)
{
    atomic_store(&lane->claim_number, 0);
    atomic_store(&lane->lost, true);
    sr_log(SR_LOG_ERROR, "offsite", "a shipment does not get on, and is left to other members",
           "target=%s kind=%c minutes=%" PRIu64, lane->config->name, lane->kind,
           SR_LANE_STALL_MS / 60000);
}

void sr_lane_renew(struct sr_lane *lane)
{
    unsigned long long number = atomic_load(&lane->claim_number);
    bool idle = sr_gauge_read(&lane->metrics.shipping) == 0;
    bool stuck = !gets_on(lane, idle);
    /* Who has a claim from one shipment to the next, and may not ship any more, lets it go. */
    if (number == 0 || (idle && lane->ship->env.rank(lane->ship->env.arg) == SR_RANK_NONE)) {
        return;
    }
    if (stuck) {
        leave_to_others(lane);
        return;
    }
    Strongroom__OffsiteChange change = STRONGROOM__OFFSITE_CHANGE__INIT;
    Strongroom__OffsiteRenew renew = STRONGROOM__OFFSITE_RENEW__INIT;
    change.change_case = STRONGROOM__OFFSITE_CHANGE__CHANGE_RENEW;
    change.renew = &renew;
    renew.number = number;
    /* When the lane itself has ended it meanwhile, the number is another one. */
    if (lane_propose(lane, &change) == SR_API_OFFSITE_LOST &&
        atomic_compare_exchange_strong(&lane->claim_number, &number, 0)) {
        atomic_store(&lane->lost, true);
    }
}

/* ---- How far it is ---- */

static uint64_t chain_end(const Strongroom__OffsiteRecord *record, const char *name,
                          enum sr_archive_kind kind)
{
    const Strongroom__OffsiteChain *chain = sr_offsite_chain(record, name, kind);
    return chain == NULL ? 0 : chain->ended_ms;
}

static void measure_lag(struct sr_lane *lane, const Strongroom__OffsiteRecord *record)
{
    const struct sr_ship *ship = lane->ship;
    int64_t since = 0;
    if (!lane_since(lane, record, &since)) {
        sr_gauge_set(&lane->metrics.lag_ms, -1);
        sr_gauge_set(&lane->metrics.lag_revisions, -1);
        return;
    }
    int64_t behind = sr_store_revision(ship->store) - since;
    uint64_t now_ms = ship->env.wall_ms(ship->env.arg);
    uint64_t came_ms = sr_marks_time_after(ship->marks, since);
    if (came_ms == 0 || !sr_marks_saw(ship->marks, since)) {
        /* Before this node looked: not before the last shipment. */
        uint64_t changes_ms = chain_end(record, lane->config->name, SR_ARCHIVE_CHANGES);
        came_ms =
            changes_ms > 0 ? changes_ms : chain_end(record, lane->config->name, SR_ARCHIVE_FULL);
    }
    sr_gauge_set(&lane->metrics.lag_revisions, behind > 0 ? behind : 0);
    sr_gauge_set(&lane->metrics.lag_ms,
                 behind > 0 && now_ms > came_ms ? (int64_t)(now_ms - came_ms) : 0);
}

void sr_lane_measure(struct sr_lane *lane, const Strongroom__OffsiteRecord *record)
{
    sr_gauge_set(&lane->metrics.last_success_ms,
                 (int64_t)chain_end(record, lane->config->name, lane->kind));
    if (lane->kind == SR_ARCHIVE_CHANGES) {
        measure_lag(lane, record);
    }
}
