/* SPDX-License-Identifier: Apache-2.0
 *
 * What need not be kept: first the catalogue says that it is gone, then go its proof, the manifest,
 * and what the manifest is about, each only after the one before. So whatever a crash leaves is
 * either whole, or known to nobody: the next one finds the latter and removes it.
 *
 *   full archives   those that the retention does not keep
 *   changes         the oldest ones, up to what a restore can still need (retention.h), once they
 *                   are also older than changes_days
 *   strays          full archives that are in no catalogue: of claims that were lost
 */
#include <inttypes.h>
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "node/offsite/lane_internal.h"
#include "node/offsite/retention.h"

#define DAY_MS             UINT64_C(86400000)
#define BATCH_MAX          512
#define MANIFEST_BYTES_MAX ((size_t)4 * 1024 * 1024)

struct prune {
    struct sr_lane *lane;
    const Strongroom__OffsiteRecord *record;
    uint64_t now_ms; /* see bound_now */
    struct sr_retained *list;
    size_t count;
    /* Changes that go. */
    int64_t changes_until;
    uint64_t changes_before; /* sequence; 0: none */
    uint64_t changes_objects;
    uint64_t changes_bytes;
};

struct batch {
    const struct prune *prune;
    struct sr_object_parts archives[BATCH_MAX];
    size_t count;
};

/* ---- Removing ---- */

/* Whether it is gone now. */
static bool remove_object(const struct prune *prune, const char *name)
{
    struct sr_err err = {0};
    int status = sr_target_remove(prune->lane->target, name, &err);
    if (status == SR_OK) {
        sr_count(&prune->lane->metrics.pruned, 1);
    } else if (status != SR_NOT_FOUND) {
        sr_log(SR_LOG_WARN, "offsite", "cannot remove, ignoring", "target=%s reason=\"%s\"",
               prune->lane->config->name, err.text);
    }
    return status == SR_OK || status == SR_NOT_FOUND;
}

/* One archive with what is said of it. An archive never goes while its manifest cannot: a restore
 * would take it for lost. */
static void remove_archive(const struct prune *prune, const struct sr_object_parts *parts)
{
    char name[SR_OBJECT_NAME_BYTES_MAX];
    sr_proof_name(parts->cluster_id, parts->sequence, name);
    if (parts->kind == SR_ARCHIVE_FULL && !remove_object(prune, name)) {
        return;
    }
    sr_object_name(parts->cluster_id, parts->kind, parts->sequence, parts->revision,
                   SR_OBJECT_MANIFEST, name);
    if (!remove_object(prune, name)) {
        return;
    }
    sr_object_name(parts->cluster_id, parts->kind, parts->sequence, parts->revision,
                   SR_OBJECT_ARCHIVE, name);
    (void)remove_object(prune, name);
}

/* Whether the manifest of a stray says that it was meant for another target, which lies at the same
 * place under another name, or did: that is not ours to remove. Nor is what does not let us see. */
static bool is_of_another(const struct prune *prune, const struct sr_object_parts *parts)
{
    const struct sr_lane *lane = prune->lane;
    struct sr_err ignored = {0};
    struct sr_manifest *manifest = NULL;
    uint8_t *data = NULL;
    size_t size = 0;
    char name[SR_OBJECT_NAME_BYTES_MAX];
    sr_object_name(parts->cluster_id, parts->kind, parts->sequence, parts->revision,
                   SR_OBJECT_MANIFEST, name);
    int status =
        sr_target_get_bytes(lane->target, name, MANIFEST_BYTES_MAX, &data, &size, &ignored);
    if (status == SR_NOT_FOUND) {
        return false; /* it never got one */
    }
    if (status == SR_OK) {
        const struct sr_manifest_expect expect = {.name = name, .cluster_id = parts->cluster_id};
        status = sr_manifest_open((struct sr_bytes){data, size}, &expect, &manifest, &ignored);
    }
    bool is = status != SR_OK || strcmp(manifest->said->target, lane->config->name) != 0;
    sr_manifest_free(manifest);
    sr_free(data);
    return is;
}

/* Remove what @each puts into a batch; once for as long as batches are full. */
static void remove_listed(const struct prune *prune, enum sr_archive_kind kind,
                          sr_target_each_cb each)
{
    struct sr_err err = {0};
    char prefix[SR_OBJECT_NAME_BYTES_MAX];
    struct batch *batch = sr_zalloc(sizeof(*batch));
    uint64_t removed = 0;
    batch->prune = prune;
    sr_object_prefix(prune->lane->ship->cluster_id, kind, prefix);
    do {
        uint64_t before = sr_counter_read(&prune->lane->metrics.pruned);
        batch->count = 0;
        (void)sr_target_list(prune->lane->target, prefix, each, batch, &err);
        for (size_t i = 0; i < batch->count; i++) {
            if (kind == SR_ARCHIVE_CHANGES || !is_of_another(prune, &batch->archives[i])) {
                remove_archive(prune, &batch->archives[i]);
            }
        }
        removed = sr_counter_read(&prune->lane->metrics.pruned) - before;
    } while (batch->count == BATCH_MAX && removed > 0 &&
             !atomic_load(&prune->lane->ship->stopping));
    sr_free(batch);
}

static bool is_same(const struct sr_object_parts *a, const struct sr_object_parts *b)
{
    return a->sequence == b->sequence && a->revision == b->revision;
}

/* Into the batch; an archive and its manifest, which is next to it, count as one. */
static int take(struct batch *batch, const struct sr_object_parts *parts)
{
    if (batch->count == 0 || !is_same(&batch->archives[batch->count - 1], parts)) {
        batch->archives[batch->count++] = *parts;
    }
    return batch->count == BATCH_MAX ? SR_LIMIT : SR_OK; /* ends the listing */
}

/* ---- What time it is ---- */

static int each_newest(void *arg, const struct sr_target_object *object, struct sr_err *err)
{
    uint64_t *newest_ms = arg;
    (void)err;
    *newest_ms = object->modified_ms > *newest_ms ? object->modified_ms : *newest_ms;
    return SR_OK;
}

/* A clock of ours that is ahead must not make old what is not: at the target it is not later than
 * when its newest snapshot came, by its own clock, as that is why one prunes. */
static void bound_now(struct prune *prune)
{
    struct sr_err err = {0};
    uint64_t newest_ms = 0;
    char prefix[SR_OBJECT_NAME_BYTES_MAX];
    sr_object_prefix(prune->lane->ship->cluster_id, SR_ARCHIVE_FULL, prefix);
    (void)sr_target_list(prune->lane->target, prefix, each_newest, &newest_ms, &err);
    if (newest_ms > 0 && newest_ms < prune->now_ms) {
        prune->now_ms = newest_ms;
    }
}

/* ---- Full archives ---- */

static void decide(struct prune *prune)
{
    const char *target = prune->lane->config->name;
    for (size_t i = 0; i < prune->record->n_entry; i++) {
        const Strongroom__OffsiteEntry *entry = prune->record->entry[i];
        if (strcmp(entry->target, target) == 0) {
            prune->list[prune->count++] = (struct sr_retained){
                .sequence = entry->sequence,
                .revision = entry->revision,
                .begun_ms = entry->begun_ms,
                .locked_until_ms = entry->locked_until_ms,
                .proven = entry->proven,
            };
        }
    }
    (void)sr_retention_decide(prune->lane->ship->config, prune->list, prune->count, prune->now_ms);
}

/* What the target does not let us remove yet. */
static bool is_locked(const struct prune *prune, const struct sr_target_object *object)
{
    const struct sr_config_target *config = prune->lane->config;
    return config->lock != SR_TARGET_LOCK_NONE &&
           object->modified_ms + config->lock_days * DAY_MS >= prune->now_ms;
}

/* In no catalogue, and older than what is: nobody will ever complete it. */
static int each_stray(void *arg, const struct sr_target_object *object, struct sr_err *err)
{
    (void)err;
    struct batch *batch = arg;
    const struct prune *prune = batch->prune;
    const char *target = prune->lane->config->name;
    const Strongroom__OffsiteChain *chain =
        sr_offsite_chain(prune->record, target, SR_ARCHIVE_FULL);
    struct sr_object_parts parts;
    bool is_stray = chain != NULL && sr_object_parse(object->name, &parts) &&
                    parts.cluster_id == prune->lane->ship->cluster_id &&
                    parts.kind == SR_ARCHIVE_FULL && parts.sequence < chain->last_sequence &&
                    sr_offsite_entry(prune->record, target, parts.sequence) == NULL;
    return is_stray && !is_locked(prune, object) ? take(batch, &parts) : SR_OK;
}

/* ---- Changes ---- */

static bool is_old(const struct prune *prune, const struct sr_target_object *object)
{
    uint64_t days = prune->lane->ship->config->retention.changes_days;
    return object->modified_ms > 0 && object->modified_ms + days * DAY_MS < prune->now_ms &&
           !is_locked(prune, object);
}

/* The oldest come first: the first one that stays ends the listing. */
static int each_change(void *arg, const struct sr_target_object *object, struct sr_err *err)
{
    (void)err;
    struct prune *prune = arg;
    const Strongroom__OffsiteChain *chain =
        sr_offsite_chain(prune->record, prune->lane->config->name, SR_ARCHIVE_CHANGES);
    struct sr_object_parts parts;
    if (!sr_object_parse(object->name, &parts) || parts.kind != SR_ARCHIVE_CHANGES) {
        return SR_OK;
    }
    if (chain == NULL || parts.sequence >= chain->last_sequence ||
        parts.revision > prune->changes_until || !is_old(prune, object)) {
        return SR_LIMIT;
    }
    prune->changes_before = parts.sequence + 1;
    /* Older ones have been told of as gone, by one that was killed before they were. */
    if (parts.type == SR_OBJECT_ARCHIVE && parts.sequence >= chain->oldest_sequence) {
        prune->changes_objects++;
        prune->changes_bytes += object->size;
    }
    return SR_OK;
}

static int each_old_change(void *arg, const struct sr_target_object *object, struct sr_err *err)
{
    (void)err;
    struct batch *batch = arg;
    struct sr_object_parts parts;
    if (!sr_object_parse(object->name, &parts) || parts.kind != SR_ARCHIVE_CHANGES) {
        return SR_OK;
    }
    return parts.sequence < batch->prune->changes_before ? take(batch, &parts) : SR_LIMIT;
}

static void find_changes(struct prune *prune)
{
    struct sr_err err = {0};
    char prefix[SR_OBJECT_NAME_BYTES_MAX];
    prune->changes_until = sr_retention_changes(prune->list, prune->count);
    sr_object_prefix(prune->lane->ship->cluster_id, SR_ARCHIVE_CHANGES, prefix);
    (void)sr_target_list(prune->lane->target, prefix, each_change, prune, &err);
}

/* ---- Both ---- */

/* Say that they are gone; false: nothing is to be removed. */
static bool announce(const struct prune *prune)
{
    uint64_t *sequences = sr_alloc((prune->count + 1) * sizeof(*sequences));
    Strongroom__OffsiteChange change = STRONGROOM__OFFSITE_CHANGE__INIT;
    Strongroom__OffsitePrune gone = STRONGROOM__OFFSITE_PRUNE__INIT;
    change.change_case = STRONGROOM__OFFSITE_CHANGE__CHANGE_PRUNE;
    change.prune = &gone;
    gone.target = prune->lane->config->name;
    gone.sequence = sequences;
    for (size_t i = 0; i < prune->count; i++) {
        if (!prune->list[i].keep) {
            sequences[gone.n_sequence++] = prune->list[i].sequence;
        }
    }
    gone.changes_before = prune->changes_before;
    gone.changes_objects = prune->changes_objects;
    gone.changes_bytes = prune->changes_bytes;
    bool any = gone.n_sequence > 0 || gone.changes_before > 0;
    enum sr_api_error error = any ? lane_propose(prune->lane, &change) : SR_API_NONE;
    if (error != SR_API_NONE) {
        sr_log(SR_LOG_WARN, "offsite", "nothing is pruned, ignoring", "target=%s reason=\"%s\"",
               prune->lane->config->name, sr_api_error_text(error));
    } else if (any) {
        sr_log(SR_LOG_INFO, "offsite", "pruned", "target=%s full=%zu changes=%" PRIu64,
               prune->lane->config->name, gone.n_sequence, gone.changes_objects);
    }
    sr_free(sequences);
    return any && error == SR_API_NONE;
}

static void prune_all(struct prune *prune)
{
    bound_now(prune);
    decide(prune);
    find_changes(prune);
    remove_listed(prune, SR_ARCHIVE_FULL, each_stray);
    if (!announce(prune)) {
        return;
    }
    for (size_t i = 0; i < prune->count; i++) {
        struct sr_object_parts parts = {.cluster_id = prune->lane->ship->cluster_id,
                                        .kind = SR_ARCHIVE_FULL,
                                        .sequence = prune->list[i].sequence,
                                        .revision = prune->list[i].revision};
        if (!prune->list[i].keep && prune->list[i].locked_until_ms <= prune->now_ms) {
            remove_archive(prune, &parts);
        }
    }
    if (prune->changes_before > 0) {
        remove_listed(prune, SR_ARCHIVE_CHANGES, each_old_change);
    }
}

void sr_lane_prune(struct sr_lane *lane)
{
    const struct sr_ship *ship = lane->ship;
    struct sr_err err = {0};
    Strongroom__OffsiteRecord *record = NULL;
    if (sr_store_offsite(ship->store, &record, &err) != SR_OK) {
        return;
    }
    struct prune prune = {
        .lane = lane, .record = record, .now_ms = ship->env.wall_ms(ship->env.arg)};
    prune.list = sr_zalloc((record->n_entry + 1) * sizeof(*prune.list));
    prune_all(&prune);
    sr_free(prune.list);
    strongroom__offsite_record__free_unpacked(record, NULL);
}
