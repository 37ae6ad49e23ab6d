/* SPDX-License-Identifier: Apache-2.0
 *
 * Results of drills, as they lie beside the manifests: of machines elsewhere, and of members of
 * this cluster that could not publish them any more. Only what is signed by the cluster or by one
 * of its recovery keys counts, and only for the very archive that the catalogue has.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/log.h"
#include "node/offsite/drill_internal.h"

#define PROOF_BYTES_MAX ((size_t)64 * 1024)
/* By so much the clock of who drilled may be ahead of ours. */
#define AHEAD_MS     UINT64_C(300000)
#define ATTEMPTS_MAX 20
#define PAUSE_MS     100
#define LIST_MAX     64 /* results that are read in one round: of the newest snapshots */

/* ---- Publishing ---- */

static bool is_decided(enum sr_api_error error)
{
    return error == SR_API_OFFSITE_NOT_FOUND || error == SR_API_OFFSITE_INVALID ||
           error == SR_API_OFFSITE_UNKNOWN || error == SR_API_OFFSITE_LEVEL ||
           error == SR_API_STOPPED;
}

bool drill_publish(struct drill_lane *lane, const Strongroom__OffsiteProven *proven)
{
    union {
        const Strongroom__OffsiteProven *in;
        Strongroom__OffsiteProven *out;
    } cast = {.in = proven}; /* protobuf-c has no const, and does not write when it packs */
    const struct sr_drill *drill = lane->drill;
    struct timespec pause = {.tv_nsec = PAUSE_MS * 1000000L};
    enum sr_api_error error = SR_API_STOPPED;
    Strongroom__OffsiteChange change = STRONGROOM__OFFSITE_CHANGE__INIT;
    change.change_case = STRONGROOM__OFFSITE_CHANGE__CHANGE_PROVEN;
    change.proven = cast.out;
    for (unsigned i = 0; i < ATTEMPTS_MAX && !atomic_load(&drill->stopping); i++) {
        error = drill->options.env.change(drill->options.env.arg, &change);
        if (error == SR_API_NONE || is_decided(error)) {
            break;
        }
        (void)nanosleep(&pause, NULL);
    }
    if (error != SR_API_NONE && !atomic_load(&drill->stopping)) {
        sr_count(&lane->metrics.failed[SR_DRILL_RECORD], 1);
        sr_log(SR_LOG_WARN, "offsite", "the result of a drill is not taken",
               "target=%s sequence=%" PRIu64 " reason=\"%s\"", lane->config->name, proven->sequence,
               sr_api_error_text(error));
    }
    return error == SR_API_NONE;
}

/* ---- One result ---- */

static bool equal(const ProtobufCBinaryData *a, const ProtobufCBinaryData *b)
{
    return a->len == b->len && memcmp(a->data, b->data, a->len) == 0;
}

/* Whether it is about @entry, and newer than what is known of it. */
static bool is_news(const struct drill_lane *lane, const Strongroom__OffsiteEntry *entry,
                    const Strongroom__Proof *proof)
{
    const struct sr_drill_options *options = &lane->drill->options;
    uint64_t now_ms = options->env.wall_ms(options->env.arg);
    return proof->sequence == entry->sequence && equal(&proof->archive_id, &entry->archive_id) &&
           equal(&proof->manifest_sha256, &entry->manifest_sha256) &&
           strcmp(proof->target, lane->config->name) == 0 && proof->ended_ms > entry->drilled_ms &&
           proof->ended_ms <= now_ms + AHEAD_MS;
}

static bool adopt(struct drill_lane *lane, const Strongroom__OffsiteEntry *entry,
                  const Strongroom__Proof *proof)
{
    Strongroom__OffsiteProven proven = STRONGROOM__OFFSITE_PROVEN__INIT;
    proven.target = lane->config->name;
    proven.sequence = entry->sequence;
    proven.archive_id = entry->archive_id;
    proven.now_ms = proof->ended_ms;
    proven.duration_ms = proof->ended_ms > proof->begun_ms ? proof->ended_ms - proof->begun_ms : 0;
    proven.good = proof->good;
    proven.reason = proof->reason;
    if (!drill_publish(lane, &proven)) {
        return false;
    }
    sr_count(&lane->metrics.adopted, 1);
    sr_log(proof->good ? SR_LOG_INFO : SR_LOG_ERROR, "offsite", "took over the result of a drill",
           "target=%s sequence=%" PRIu64 " by=\"%s\" good=%s reason=\"%s\"", lane->config->name,
           entry->sequence, proof->prover, proof->good ? "true" : "false", proof->reason);
    return true;
}

bool drill_adopt(struct drill_lane *lane, const Strongroom__OffsiteEntry *entry)
{
    const struct sr_drill *drill = lane->drill;
    struct sr_err err = {0};
    Strongroom__Proof *proof = NULL;
    char name[SR_OBJECT_NAME_BYTES_MAX];
    uint8_t *data = NULL;
    size_t size = 0;
    sr_proof_name(drill->options.cluster_id, entry->sequence, name);
    int status = sr_target_get_bytes(lane->target, name, PROOF_BYTES_MAX, &data, &size, &err);
    if (status != SR_OK) {
        return false;
    }
    status = sr_proof_open((struct sr_bytes){data, size}, drill->options.cluster_id,
                           drill->proof_keys, drill->proof_key_count, &proof, &err);
    sr_free(data);
    if (status != SR_OK) {
        sr_log(SR_LOG_WARN, "offsite", "the result of a drill is not to be believed, ignoring",
               "target=%s sequence=%" PRIu64 " reason=\"%s\"", lane->config->name, entry->sequence,
               err.text);
        return false;
    }
    bool adopted = is_news(lane, entry, proof) && adopt(lane, entry, proof);
    strongroom__proof__free_unpacked(proof, NULL);
    return adopted;
}

/* ---- All of a target ---- */

struct found {
    const char *prefix;
    uint64_t sequences[LIST_MAX]; /* the highest, as a ring */
    size_t count;
};

static int each_proof(void *arg, const struct sr_target_object *object, struct sr_err *err)
{
    struct found *found = arg;
    char *end = NULL;
    (void)err;
    uint64_t sequence = strtoull(object->name + strlen(found->prefix), &end, 10);
    if (strcmp(end, ".srp") == 0) {
        found->sequences[found->count++ % LIST_MAX] = sequence;
    }
    return SR_OK;
}

void drill_adopt_all(struct drill_lane *lane, const Strongroom__OffsiteRecord *record)
{
    const Strongroom__OffsiteEntry *newest = sr_offsite_newest(record, lane->config->name, false);
    struct sr_err err = {0};
    char prefix[SR_OBJECT_NAME_BYTES_MAX];
    struct found found = {.prefix = prefix};
    sr_proof_name(lane->drill->options.cluster_id, 0, prefix);
    *(strrchr(prefix, '/') + 1) = 0;
    if (sr_target_list(lane->target, prefix, each_proof, &found, &err) != SR_OK) {
        return; /* the lanes that ship say what is the matter with it */
    }
    size_t count = found.count < LIST_MAX ? found.count : LIST_MAX;
    for (size_t i = 0; i < count && !atomic_load(&lane->drill->stopping); i++) {
        const Strongroom__OffsiteEntry *entry =
            sr_offsite_entry(record, lane->config->name, found.sequences[i]);
        if (entry != NULL && (!entry->proven || entry == newest)) {
            (void)drill_adopt(lane, entry);
        }
    }
}
