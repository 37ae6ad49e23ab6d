/* SPDX-License-Identifier: Apache-2.0 */
#include "node/offsite/shipment.h"

#include <string.h>

#include "base/alloc.h"
#include "base/check.h"

#define DAY_MS UINT64_C(86400000)

/* ---- Where the bytes go ---- */

/* The name of the archive has its revision in it, which its own header is the first to tell. */
struct put {
    struct sr_shipment *shipment;
    struct sr_target_put *open;
    struct sr_buf head; /* until there is enough of it */
};

static int begin(struct put *put, struct sr_err *err)
{
    struct sr_shipment *shipment = put->shipment;
    struct sr_archive_header header;
    int status = sr_archive_peek(put->head.data, put->head.size, &header, err);
    if (status != SR_OK) {
        return status;
    }
    sr_object_name(shipment->ship->cluster_id, shipment->kind, shipment->sequence, header.revision,
                   SR_OBJECT_ARCHIVE, shipment->archive_name);
    sr_object_name(shipment->ship->cluster_id, shipment->kind, shipment->sequence, header.revision,
                   SR_OBJECT_MANIFEST, shipment->manifest_name);
    struct sr_target_put_options options = {.retain_until_ms = shipment->locked_until_ms};
    shipment->blames_put = true;
    status =
        sr_target_put_begin(shipment->target, shipment->archive_name, &options, &put->open, err);
    if (status == SR_OK) {
        status = sr_target_put_write(put->open, put->head.data, put->head.size, err);
    }
    shipment->blames_put = status != SR_OK;
    return status;
}

static int put_bytes(void *arg, const void *data, size_t size, struct sr_err *err)
{
    struct put *put = arg;
    struct sr_shipment *shipment = put->shipment;
    if (atomic_load(shipment->lost) || atomic_load(&shipment->ship->stopping)) {
        return sr_err_set(err, SR_CLOSED, "%s",
                          atomic_load(shipment->lost) ? "the claim is another member's by now"
                                                      : "the node stops");
    }
    if (shipment->put != NULL) {
        atomic_fetch_add_explicit(shipment->put, size, memory_order_relaxed);
    }
    if (put->open == NULL) {
        sr_buf_append(&put->head, data, size);
        return put->head.size < SR_ARCHIVE_HEADER_BYTES ? SR_OK : begin(put, err);
    }
    int status = sr_target_put_write(put->open, data, size, err);
    shipment->blames_put = status != SR_OK;
    return status;
}

/* ---- The archive ---- */

static int write_archive(struct sr_shipment *shipment, const struct sr_archive_keys *keys,
                         const struct sr_archive_sink *sink, struct sr_err *err)
{
    const struct sr_ship *ship = shipment->ship;
    struct sr_archive_options options = {.keys = keys, .time_ms = shipment->begun_ms};
    if (shipment->kind == SR_ARCHIVE_FULL) {
        return sr_archive_write_full(ship->store, &options, sink, &shipment->info, err);
    }
    struct sr_archive_mark *marks =
        sr_marks_after(ship->marks, shipment->since, &options.mark_count);
    options.marks = marks;
    int status = sr_archive_write_changes(ship->store, shipment->since, 0, &options, sink,
                                          &shipment->info, err);
    sr_free(marks);
    return status;
}

static int put_archive(struct sr_shipment *shipment, const struct sr_archive_keys *keys,
                       const struct sr_archive_sink *sink, struct put *put, struct sr_err *err)
{
    int status = write_archive(shipment, keys, sink, err);
    if (status == SR_OK) {
        sr_check(put->open != NULL);
        status = sr_target_put_finish(put->open, NULL, err);
        put->open = NULL;
        shipment->is_put = status == SR_OK;
        shipment->blames_put = status != SR_OK;
    }
    return status;
}

/* ---- The manifest ---- */

/* All full archives that are there, but for the one before, which is named apart. */
static void fill_kept(const struct sr_shipment *shipment, uint64_t previous,
                      Strongroom__ManifestLink *links, Strongroom__ManifestLink **pointers,
                      Strongroom__Manifest *manifest)
{
    const Strongroom__OffsiteRecord *record = shipment->record;
    for (size_t i = 0; i < record->n_entry; i++) {
        const Strongroom__OffsiteEntry *entry = record->entry[i];
        if (strcmp(entry->target, shipment->config->name) == 0 && entry->sequence != previous &&
            manifest->n_kept < SR_MANIFEST_KEPT_MAX) {
            Strongroom__ManifestLink *link = &links[manifest->n_kept];
            strongroom__manifest_link__init(link);
            link->sequence = entry->sequence;
            link->sha256 = entry->manifest_sha256;
            pointers[manifest->n_kept++] = link;
        }
    }
    manifest->kept = pointers;
}

/* The full archive that changes are put on: the newest that is not beyond their beginning. */
static const Strongroom__OffsiteEntry *base_of(const struct sr_shipment *shipment)
{
    const Strongroom__OffsiteEntry *found = NULL;
    for (size_t i = 0; i < shipment->record->n_entry; i++) {
        const Strongroom__OffsiteEntry *entry = shipment->record->entry[i];
        bool is_ours = strcmp(entry->target, shipment->config->name) == 0;
        if (is_ours && (found == NULL || entry->revision <= shipment->since)) {
            found = entry;
        }
    }
    return found;
}

static void fill_times(struct sr_shipment *shipment, Strongroom__Manifest *manifest)
{
    const struct sr_ship *ship = shipment->ship;
    uint64_t seen_ms = sr_marks_time_of(ship->marks, shipment->info.header.revision);
    shipment->newest_change_ms =
        seen_ms > 0 && seen_ms < shipment->begun_ms ? seen_ms : shipment->begun_ms;
    if (shipment->kind == SR_ARCHIVE_CHANGES && shipment->info.newest_time_ms > 0) {
        shipment->newest_change_ms = shipment->info.newest_time_ms;
    }
    shipment->ended_ms = ship->env.wall_ms(ship->env.arg);
    if (shipment->ended_ms < shipment->begun_ms) { /* the clock was set back meanwhile */
        shipment->ended_ms = shipment->begun_ms;
    }
    manifest->begun_ms = shipment->begun_ms;
    manifest->ended_ms = shipment->ended_ms;
    manifest->newest_change_ms = shipment->newest_change_ms;
}

/* For protobuf-c, which has no const but does not write when it packs. */
static char *unconst(const char *text)
{
    union {
        const char *in;
        char *out;
    } cast = {.in = text};
    return cast.out;
}

static int put_manifest(struct sr_shipment *shipment, const struct sr_archive_digests *digests,
                        const struct sr_archive_keyring *ring, struct sr_err *err)
{
    const struct sr_ship *ship = shipment->ship;
    const Strongroom__OffsiteChain *chain =
        sr_offsite_chain(shipment->record, shipment->config->name, shipment->kind);
    size_t entries = shipment->record->n_entry + 1;
    Strongroom__ManifestLink *links = sr_zalloc(entries * sizeof(*links));
    Strongroom__ManifestLink **pointers = sr_zalloc(entries * sizeof(*pointers));
    struct sr_manifest_draft draft;
    struct sr_buf file = {0};
    bool follows = chain != NULL && chain->last_sequence > 0;

    sr_manifest_draft_init(&draft, shipment->sequence, &shipment->info, digests, ring);
    Strongroom__Manifest *manifest = &draft.manifest;
    manifest->cluster_name = unconst(ship->cluster_name);
    manifest->member_id = ship->member_id;
    manifest->target = shipment->config->name;
    manifest->region = unconst(sr_target_region(shipment->target));
    fill_times(shipment, manifest);
    if (shipment->kind == SR_ARCHIVE_FULL) {
        fill_kept(shipment, follows ? chain->last_sequence : 0, links, pointers, manifest);
    } else {
        const Strongroom__OffsiteEntry *base = base_of(shipment);
        sr_check(base != NULL);
        manifest->base_archive_id = base->archive_id;
        manifest->oldest_sequence =
            follows && chain->oldest_sequence > 0 ? chain->oldest_sequence : shipment->sequence;
    }
    if (follows) {
        sr_manifest_draft_follow(&draft, chain->last_sequence, chain->last_manifest_sha256.data);
    }
    int status = sr_manifest_sign(manifest, ring->secret->signing_seed, &file,
                                  shipment->manifest_sha256, err);
    if (status == SR_OK) {
        struct sr_target_put_options options = {.retain_until_ms = shipment->locked_until_ms};
        status = sr_target_put_bytes(shipment->target, shipment->manifest_name, file.data,
                                     file.size, &options, err);
        shipment->blames_put = status != SR_OK;
    }
    sr_buf_close(&file);
    sr_manifest_draft_close(&draft);
    sr_free(pointers);
    sr_free(links);
    return status;
}

/* ---- Both ---- */

static int make(struct sr_shipment *shipment, const struct sr_archive_secret *secret,
                struct sr_err *err)
{
    const struct sr_ship *ship = shipment->ship;
    struct sr_archive_keyring ring = {
        .secret = secret, .recovery = ship->recovery, .recovery_count = ship->recovery_count};
    struct sr_archive_keys keys = sr_archive_keys_of(&ring);
    struct put put = {.shipment = shipment};
    struct sr_archive_sink sink = {.put = put_bytes, .arg = &put};
    struct sr_archive_digest *digest = sr_archive_digest_new(&sink);
    struct sr_archive_digests digests;
    int status = put_archive(shipment, &keys, sr_archive_digest_sink(digest), &put, err);
    if (status == SR_OK) {
        status = sr_archive_digest_end(digest, &digests, err);
    }
    if (status == SR_OK && atomic_load(shipment->lost)) {
        status = sr_err_set(err, SR_CLOSED, "the claim is another member's by now");
    }
    if (status == SR_OK) {
        status = put_manifest(shipment, &digests, &ring, err);
    }
    sr_target_put_abort(put.open);
    sr_buf_close(&put.head);
    sr_archive_digest_free(digest);
    return status;
}

int sr_shipment_make(struct sr_shipment *shipment, struct sr_err *err)
{
    const struct sr_ship *ship = shipment->ship;
    struct sr_archive_secret *secret = NULL;
    int status = sr_store_archive_secret(ship->store, &secret, err);
    if (status != SR_OK) {
        return sr_err_set(err, SR_AGAIN, "the cluster has no archive secret yet");
    }
    shipment->begun_ms = ship->env.wall_ms(ship->env.arg);
    if (shipment->config->lock != SR_TARGET_LOCK_NONE) {
        shipment->locked_until_ms = shipment->begun_ms + shipment->config->lock_days * DAY_MS;
    }
    status = make(shipment, secret, err);
    sr_archive_secret_free(secret);
    if (status != SR_OK && shipment->is_put) {
        sr_shipment_undo(shipment);
    }
    return status;
}

void sr_shipment_undo(const struct sr_shipment *shipment)
{
    struct sr_err ignored = {0};
    int status = sr_target_remove(shipment->target, shipment->manifest_name, &ignored);
    /* A manifest that stays is not to speak of an archive that is gone: pruning takes both. */
    if (status == SR_OK || status == SR_NOT_FOUND) {
        (void)sr_target_remove(shipment->target, shipment->archive_name, &ignored);
    }
}
