/* SPDX-License-Identifier: Apache-2.0
 *
 * One shipment of a lane, from claim to catalogue:
 *
 *   probe (once) ──► shipment ──► complete ──► tidy (full)
 *       └──────────────┴────────────┴──► fail: the claim ends, and others may try at once
 */
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "base/check.h"
#include "base/log.h"
#include "node/offsite/lane_internal.h"

/* Unfinished uploads that are older have nobody any more. */
#define CLEAN_AGE_MS UINT64_C(86400000)
/* A full archive has what was there when it was asked for, if the flush comes within this. */
#define FLUSH_WAIT_MS 15000
#define PAUSE_MS      100

static enum sr_ship_reason reason_of(int status)
{
    switch (status) {
    case SR_NETWORK:
        return SR_SHIP_NETWORK;
    case SR_TIMEOUT:
        return SR_SHIP_TIMEOUT;
    case SR_AGAIN:
        return SR_SHIP_OVERLOADED;
    case SR_REFUSED:
        return SR_SHIP_REFUSED;
    case SR_NOT_FOUND:
        return SR_SHIP_NOT_FOUND;
    case SR_NO_SPACE:
        return SR_SHIP_FULL;
    case SR_CORRUPT:
        return SR_SHIP_DAMAGED;
    default:
        return SR_SHIP_TARGET;
    }
}

static void pause_a_little(void)
{
    struct timespec span = {.tv_nsec = PAUSE_MS * 1000000L};
    (void)nanosleep(&span, NULL);
}

static bool is_stopping(const struct sr_lane *lane)
{
    return atomic_load(&lane->ship->stopping);
}

/* ---- Failing ---- */

/* The longest prefix of @text that is not cut within a character. */
static void cut(char *out, size_t size, const char *text)
{
    size_t length = strnlen(text, size - 1);
    while (length > 0 && ((unsigned char)text[length] & 0xc0) == 0x80) {
        length--;
    }
    memcpy(out, text, length);
    out[length] = 0;
}

/* End the claim, so that another member may try at once. */
static void give_back(struct sr_lane *lane, uint64_t number, const char *reason)
{
    const struct sr_ship *ship = lane->ship;
    char text[SR_OFFSITE_REASON_BYTES_MAX];
    Strongroom__OffsiteChange change = STRONGROOM__OFFSITE_CHANGE__INIT;
    Strongroom__OffsiteFail failed = STRONGROOM__OFFSITE_FAIL__INIT;
    atomic_store(&lane->claim_number, 0);
    cut(text, sizeof(text), reason);
    change.change_case = STRONGROOM__OFFSITE_CHANGE__CHANGE_FAIL;
    change.fail = &failed;
    failed.number = number;
    failed.now_ms = ship->env.wall_ms(ship->env.arg);
    failed.reason = text;
    (void)lane_propose(lane, &change); /* otherwise it ends by not being renewed */
}

void lane_back_off(struct sr_lane *lane, enum sr_ship_reason reason, const char *text)
{
    const struct sr_ship *ship = lane->ship;
    uint64_t wait_ns = ship->config->claim_timeout_ms * UINT64_C(1000000) / 6;
    sr_count(&lane->metrics.failed[reason], 1);
    lane->not_before_ns =
        ship->env.monotonic_ns(ship->env.arg) + (wait_ns << lane->failures_in_row);
    lane->failures_in_row += lane->failures_in_row < 6 ? 1 : 0;
    sr_log(SR_LOG_WARN, "offsite", "shipment failed", "target=%s kind=%c class=%s reason=\"%s\"",
           lane->config->name, lane->kind, sr_ship_reason_text(reason), text);
}

static void fail(struct sr_lane *lane, const struct sr_shipment *shipment, uint64_t number,
                 enum sr_ship_reason reason, const struct sr_err *err)
{
    lane->spent_sequence = shipment->sequence;
    lane_back_off(lane, reason, err->text);
    give_back(lane, number, err->text);
}

/* ---- Into the catalogue ---- */

/* What the record, as applied here, says of a shipment. */
enum fate {
    NOT_IN_IT, /* nothing of its sequence, or of a later one, was completed */
    IN_IT,     /* it counts */
    PASSED     /* others came after it: whether it was completed before them does not show */
};

static bool is_hash(const struct sr_shipment *shipment, const ProtobufCBinaryData *hash)
{
    return hash->len == SR_MANIFEST_HASH_BYTES &&
           memcmp(hash->data, shipment->manifest_sha256, SR_MANIFEST_HASH_BYTES) == 0;
}

static enum fate fate_in(const struct sr_lane *lane, const struct sr_shipment *shipment,
                         const Strongroom__OffsiteRecord *record)
{
    const char *name = lane->config->name;
    const Strongroom__OffsiteChain *chain = sr_offsite_chain(record, name, lane->kind);
    const Strongroom__OffsiteEntry *entry = sr_offsite_entry(record, name, shipment->sequence);
    if (lane->kind == SR_ARCHIVE_FULL && entry != NULL &&
        is_hash(shipment, &entry->manifest_sha256)) {
        return IN_IT;
    }
    if (chain == NULL || chain->last_sequence < shipment->sequence) {
        return NOT_IN_IT;
    }
    return chain->last_sequence == shipment->sequence &&
                   is_hash(shipment, &chain->last_manifest_sha256)
               ? IN_IT
               : PASSED;
}

static enum fate fate_of(const struct sr_lane *lane, const struct sr_shipment *shipment)
{
    struct sr_err err = {0};
    Strongroom__OffsiteRecord *record = NULL;
    if (sr_store_offsite(lane->ship->store, &record, &err) != SR_OK) {
        return PASSED;
    }
    enum fate fate = fate_in(lane, shipment, record);
    strongroom__offsite_record__free_unpacked(record, NULL);
    return fate;
}

static bool is_decided(enum sr_api_error error)
{
    return error == SR_API_OFFSITE_LOST || error == SR_API_OFFSITE_FULL ||
           error == SR_API_OFFSITE_INVALID || error == SR_API_OFFSITE_UNKNOWN ||
           error == SR_API_OFFSITE_LEVEL;
}

static ProtobufCBinaryData bytes_of(uint8_t *data, size_t size)
{
    return (ProtobufCBinaryData){.data = data, .len = size};
}

/* SR_REFUSED: it will not be in the catalogue any more; whether it ever was, fate_of says.
 * SR_CLOSED: the node stops, nobody knows. */
static int complete(const struct sr_lane *lane, struct sr_shipment *shipment, uint64_t number,
                    bool go_on, struct sr_err *err)
{
    Strongroom__OffsiteChange change = STRONGROOM__OFFSITE_CHANGE__INIT;
    Strongroom__OffsiteComplete done = STRONGROOM__OFFSITE_COMPLETE__INIT;
    change.change_case = STRONGROOM__OFFSITE_CHANGE__CHANGE_COMPLETE;
    change.complete = &done;
    done.number = number;
    done.archive_id = bytes_of(shipment->info.header.id, SR_ARCHIVE_ID_BYTES);
    done.manifest_sha256 = bytes_of(shipment->manifest_sha256, SR_MANIFEST_HASH_BYTES);
    done.until_revision = shipment->info.header.revision;
    done.index = shipment->info.header.index;
    done.size = shipment->info.bytes;
    done.ended_ms = shipment->ended_ms;
    done.newest_change_ms = shipment->newest_change_ms;
    done.locked_until_ms = shipment->locked_until_ms;
    done.state_hash = bytes_of(shipment->info.state_hash, sizeof(shipment->info.state_hash));
    done.go_on = go_on;
    for (;;) {
        enum sr_api_error error = lane_propose(lane, &change);
        if (error == SR_API_NONE || fate_of(lane, shipment) == IN_IT) {
            return SR_OK;
        }
        if (is_decided(error)) {
            return sr_err_set(err, SR_REFUSED, "%s", sr_api_error_text(error));
        }
        if (error == SR_API_STOPPED || is_stopping(lane)) {
            return sr_err_set(err, SR_CLOSED, "the node stops");
        }
        pause_a_little();
    }
}

/* ---- Before it ---- */

/* Once: is the target what it is said to be? */
static int probe(struct sr_lane *lane, struct sr_err *err)
{
    if (lane->probed) {
        return SR_OK;
    }
    int status = sr_target_probe(lane->target, true, err);
    lane->probed = status == SR_OK;
    return status;
}

/* An archive has what has been flushed: wait until that is what has been applied by now. */
static void await_flush(const struct sr_lane *lane)
{
    uint64_t wanted = sr_store_applied_index(lane->ship->store);
    for (unsigned waited_ms = 0; waited_ms < FLUSH_WAIT_MS && !is_stopping(lane) &&
                                 sr_store_durable_index(lane->ship->store) < wanted;
         waited_ms += PAUSE_MS) {
        pause_a_little();
    }
}

/* ---- After it ---- */

/* What is there without need: uploads that a killed process has begun, and what need not be kept.
 * Before anything else can be shipped, if the target is full. */
static void tidy(struct sr_lane *lane)
{
    const char *name = lane->config->name;
    struct sr_err err = {0};
    uint64_t count = 0;
    char prefix[SR_OBJECT_NAME_BYTES_MAX];
    sr_object_prefix(lane->ship->cluster_id, lane->kind, prefix);
    prefix[strcspn(prefix, "/") + 1] = 0; /* of both kinds */
    if (sr_target_clean(lane->target, prefix, CLEAN_AGE_MS, &count, &err) != SR_OK) {
        sr_log(SR_LOG_WARN, "offsite", "cannot clean, ignoring", "target=%s reason=\"%s\"", name,
               err.text);
    } else if (count > 0) {
        sr_log(SR_LOG_INFO, "offsite", "unfinished uploads ended", "target=%s count=%" PRIu64, name,
               count);
    }
    sr_lane_prune(lane);
}

/* ---- All of it ---- */

static void note_success(struct sr_lane *lane, const struct sr_shipment *shipment)
{
    uint64_t duration_ms = shipment->ended_ms - shipment->begun_ms;
    sr_count(&lane->metrics.shipped, 1);
    sr_count(&lane->metrics.shipped_bytes, shipment->info.bytes);
    sr_gauge_set(&lane->metrics.last_bytes, (int64_t)shipment->info.bytes);
    sr_gauge_set(&lane->metrics.last_duration_ms, (int64_t)duration_ms);
    lane->failures_in_row = 0;
    atomic_store(&lane->compacted, false);
    sr_log(lane->kind == SR_ARCHIVE_FULL ? SR_LOG_INFO : SR_LOG_DEBUG, "offsite", "shipped",
           "target=%s kind=%c sequence=%" PRIu64 " since=%" PRId64 " revision=%" PRId64
           " bytes=%" PRIu64 " duration_ms=%" PRIu64,
           lane->config->name, lane->kind, shipment->sequence, shipment->info.header.since,
           shipment->info.header.revision, shipment->info.bytes, duration_ms);
}

/* Put it into the catalogue. What is not in there is removed, unless an earlier proposal of ours,
 * whose outcome we did not hear, may have put it there before others went on: they build on it. */
static int finish(struct sr_lane *lane, struct sr_shipment *shipment, uint64_t number)
{
    const struct sr_ship *ship = lane->ship;
    struct sr_err err = {0};
    bool go_on =
        lane->kind == SR_ARCHIVE_CHANGES && ship->env.rank(ship->env.arg) == SR_RANK_FOLLOWER;
    int status = complete(lane, shipment, number, go_on, &err);
    if (status == SR_OK) {
        if (!go_on) {
            atomic_store(&lane->claim_number, 0);
        }
        note_success(lane, shipment);
    } else if (status == SR_REFUSED) {
        if (fate_of(lane, shipment) == NOT_IN_IT) {
            sr_shipment_undo(shipment);
        }
        fail(lane, shipment, number, SR_SHIP_RECORD, &err);
        sr_lane_prune(lane); /* it may have been full */
    } else {
        atomic_store(&lane->claim_number, 0);
    }
    return status;
}

static bool is_compacted(const struct sr_lane *lane, const struct sr_shipment *shipment, int status)
{
    return lane->kind == SR_ARCHIVE_CHANGES && status == SR_REFUSED && !shipment->blames_put;
}

/* It has failed before it was in the catalogue. */
static void give_up(struct sr_lane *lane, const struct sr_shipment *shipment, uint64_t number,
                    int status, const struct sr_err *err)
{
    if (is_stopping(lane)) {
        give_back(lane, number, "the member that shipped it stops");
    } else if (atomic_load(&lane->lost)) {
        fail(lane, shipment, number, SR_SHIP_CLAIM, err);
    } else if (is_compacted(lane, shipment, status)) {
        atomic_store(&lane->full->needed_beyond, shipment->since);
        fail(lane, shipment, number, SR_SHIP_COMPACTED, err);
    } else {
        fail(lane, shipment, number, shipment->blames_put ? reason_of(status) : SR_SHIP_STORE, err);
        if (status == SR_NO_SPACE && shipment->blames_put && lane->kind == SR_ARCHIVE_FULL) {
            tidy(lane);
        }
    }
}

static bool has_nothing(const struct sr_lane *lane, const struct sr_shipment *shipment, int status)
{
    return lane->kind == SR_ARCHIVE_CHANGES && !shipment->blames_put &&
           (status == SR_NOT_FOUND || status == SR_INVALID); /* not flushed yet */
}

/* What follows the last changes is not there any more: begin a chain at the newest full archive,
 * if that is newer. */
static bool begins_anew(struct sr_lane *lane, struct sr_shipment *shipment, int status)
{
    int64_t refused = shipment->since;
    if (!is_compacted(lane, shipment, status)) {
        return false;
    }
    atomic_store(&lane->compacted, true);
    return lane_since(lane, shipment->record, &shipment->since) && shipment->since > refused;
}

static int ship_it(struct sr_lane *lane, struct sr_shipment *shipment, uint64_t number)
{
    struct sr_err err = {0};
    int status = probe(lane, &err);
    shipment->blames_put = status != SR_OK;
    if (status == SR_OK) {
        status = sr_shipment_make(shipment, &err);
    }
    if (begins_anew(lane, shipment, status)) {
        status = sr_shipment_make(shipment, &err);
    }
    if (status == SR_OK) {
        return finish(lane, shipment, number);
    }
    if (!has_nothing(lane, shipment, status)) {
        give_up(lane, shipment, number, status, &err);
    }
    return status;
}

/* Who asks for a snapshot gets one that has what was there when it was asked for. */
static int ship_what_is_wanted(struct sr_lane *lane, struct sr_shipment *shipment, uint64_t number)
{
    bool wanted = atomic_exchange(&lane->wanted, false);
    int64_t revision = sr_store_revision(lane->ship->store);
    await_flush(lane);
    int status = ship_it(lane, shipment, number);
    if (wanted && (status != SR_OK || shipment->info.header.revision < revision)) {
        atomic_store(&lane->wanted, true);
    }
    return status;
}

void lane_ship(struct sr_lane *lane, const Strongroom__OffsiteRecord *record,
               const Strongroom__OffsiteClaim *claim)
{
    const struct sr_ship *ship = lane->ship;
    struct sr_shipment shipment = {
        .ship = ship,
        .config = lane->config,
        .target = lane->target,
        .record = record,
        .kind = lane->kind,
        .sequence = claim->sequence,
        .lost = &lane->lost,
        .put = &lane->metrics.put_bytes,
    };
    lane->last_look_ns = ship->env.monotonic_ns(ship->env.arg);
    if (lane->kind == SR_ARCHIVE_CHANGES && !lane_since(lane, record, &shipment.since)) {
        return;
    }
    if (claim->sequence == lane->spent_sequence) {
        give_back(lane, claim->number, "what it shipped failed, and the claim was not given back");
        return;
    }
    atomic_store(&lane->metrics.put_bytes, 0);
    sr_gauge_set(&lane->metrics.shipping, 1);
    int status = lane->kind == SR_ARCHIVE_FULL ? ship_what_is_wanted(lane, &shipment, claim->number)
                                               : ship_it(lane, &shipment, claim->number);
    sr_gauge_set(&lane->metrics.shipping, 0);
    if (lane->kind == SR_ARCHIVE_FULL && status == SR_OK) {
        tidy(lane);
        if (ship->env.shipped != NULL) {
            ship->env.shipped(ship->env.arg, lane->config->name, shipment.sequence);
        }
    }
}
