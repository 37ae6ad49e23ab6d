/* SPDX-License-Identifier: Apache-2.0
 *
 * One drill of a node, from the catalogue back into it:
 *
 *   prove (node/restore/prove.h) ──► proof beside the manifest ──► OffsiteProven
 *     └──► could not be looked at: later
 */
#include <inttypes.h>
#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "node/offsite/drill_internal.h"
#include "node/restore/prove.h"

#define SHIFT_MAX 6

/* ---- Failing ---- */

static enum sr_drill_reason reason_of(int status)
{
    switch (status) {
    case SR_NETWORK:
        return SR_DRILL_NETWORK;
    case SR_TIMEOUT:
        return SR_DRILL_TIMEOUT;
    case SR_AGAIN:
        return SR_DRILL_OVERLOADED;
    case SR_REFUSED:
        return SR_DRILL_REFUSED;
    case SR_NOT_FOUND:
        return SR_DRILL_NOT_FOUND;
    case SR_NO_SPACE:
    case SR_IO:
        return SR_DRILL_DISK;
    default:
        return SR_DRILL_OTHER;
    }
}

/* Later, and later each time. */
static void rest(struct drill_lane *lane)
{
    const struct sr_drill_options *options = &lane->drill->options;
    uint64_t wait_ns = options->config->claim_timeout_ms * UINT64_C(1000000);
    lane->not_before_ns =
        options->env.monotonic_ns(options->env.arg) + (wait_ns << lane->failures_in_row);
    lane->failures_in_row += lane->failures_in_row < SHIFT_MAX ? 1 : 0;
}

/* It could not be looked at. */
static void put_off(struct drill_lane *lane, enum sr_drill_reason reason, const char *text)
{
    rest(lane);
    sr_count(&lane->metrics.failed[reason], 1);
    sr_log(SR_LOG_WARN, "offsite", "a drill could not be made",
           "target=%s sequence=%" PRIu64 " class=%s reason=\"%s\"", lane->config->name,
           lane->seen_sequence, sr_drill_reason_text(reason), text);
}

/* ---- The result ---- */

static void publish(struct drill_lane *lane, const Strongroom__OffsiteEntry *entry,
                    const struct sr_proved *proved)
{
    const Strongroom__Proof *said = &proved->said;
    struct sr_err err = {0};
    Strongroom__OffsiteProven proven = STRONGROOM__OFFSITE_PROVEN__INIT;
    if (sr_proved_put(proved, lane->target, &err) != SR_OK &&
        !atomic_load(&lane->drill->stopping)) {
        sr_count(&lane->metrics.failed[SR_DRILL_PROOF], 1);
        sr_log(SR_LOG_WARN, "offsite", "the result of a drill cannot be put, ignoring",
               "target=%s sequence=%" PRIu64 " reason=\"%s\"", lane->config->name, entry->sequence,
               err.text);
    }
    proven.target = lane->config->name;
    proven.sequence = entry->sequence;
    proven.archive_id = entry->archive_id;
    proven.now_ms = said->ended_ms;
    proven.duration_ms = said->ended_ms > said->begun_ms ? said->ended_ms - said->begun_ms : 0;
    proven.good = said->good;
    proven.reason = said->reason;
    if (drill_publish(lane, &proven)) {
        lane->failures_in_row = 0;
    } else {
        rest(lane); /* then the proof that was put is read, if it was */
    }
}

static void note(struct drill_lane *lane, const struct sr_proved *proved)
{
    const Strongroom__Proof *said = &proved->said;
    sr_count(&lane->metrics.fetched_bytes, said->bytes);
    if (said->good) {
        sr_count(&lane->metrics.proven, 1);
        sr_log(SR_LOG_INFO, "offsite", "a drill restored a snapshot",
               "target=%s sequence=%" PRIu64 " revision=%" PRId64 " versions=%" PRIu64
               " bytes=%" PRIu64 " duration_ms=%" PRIu64,
               lane->config->name, said->sequence, said->revision, proved->versions, said->bytes,
               said->ended_ms > said->begun_ms ? said->ended_ms - said->begun_ms : 0);
    } else {
        sr_count(&lane->metrics.failed[SR_DRILL_BAD], 1);
        sr_log(SR_LOG_ERROR, "offsite", "a snapshot cannot be restored",
               "target=%s sequence=%" PRIu64 " reason=\"%s\"", lane->config->name, said->sequence,
               said->reason);
    }
}

/* ---- All of it ---- */

static int prove(struct drill_lane *lane, const Strongroom__OffsiteRecord *record,
                 const Strongroom__OffsiteEntry *entry, struct sr_proved **ret, struct sr_err *err)
{
    const struct sr_drill *drill = lane->drill;
    const struct sr_drill_options *options = &drill->options;
    struct sr_archive_secret *secret = NULL;
    int status = sr_store_archive_secret(options->store, &secret, err);
    if (status != SR_OK) {
        return status;
    }
    struct sr_prove_options wanted = {
        .target = lane->target,
        .cluster_id = options->cluster_id,
        .target_name = lane->config->name,
        .public_key = record->public_key.data,
        .sequence = entry->sequence,
        .archive_id = entry->archive_id.data,
        .manifest_sha256 = entry->manifest_sha256.data,
        .keys = {.secret = secret},
        .work = drill->path,
        .disk_reserve_bytes = options->disk_reserve_bytes,
        .state_bytes = (uint64_t)sr_gauge_read(&sr_store_metrics(options->store)->in_use_bytes),
        .signing_seed = secret->signing_seed,
        .prover = options->member_name,
        .wall_ms = options->env.wall_ms,
        .arg = options->env.arg,
        .stop = &drill->stopping,
    };
    status = sr_prove(&wanted, ret, err);
    sr_archive_secret_free(secret);
    return status;
}

void drill_run(struct drill_lane *lane, const Strongroom__OffsiteRecord *record,
               const Strongroom__OffsiteEntry *entry)
{
    struct sr_err err = {0};
    struct sr_proved *proved = NULL;
    if (drill_adopt(lane, entry)) {
        return;
    }
    sr_gauge_set(&lane->metrics.drilling, 1);
    int status = prove(lane, record, entry, &proved, &err);
    sr_gauge_set(&lane->metrics.drilling, 0);
    if (status == SR_OK) {
        note(lane, proved);
        publish(lane, entry, proved);
    } else if (!atomic_load(&lane->drill->stopping)) {
        put_off(lane, reason_of(status), err.text);
    }
    sr_proved_close(proved);
}
