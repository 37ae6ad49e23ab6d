/* SPDX-License-Identifier: Apache-2.0
 *
 * One shipment: an archive is made and put while it is made, then its manifest, which is what makes
 * it exist. Inside node/offsite only; blocks.
 *
 *   store ──► archive ──► digests ──► target ......... NAME.sra
 *                 └── info ─────► manifest, signed ──► NAME.srm
 */
#ifndef SR_NODE_OFFSITE_SHIPMENT_H
#define SR_NODE_OFFSITE_SHIPMENT_H

#include "node/offsite/ship.h"
#include "storage/manifest.h"

struct sr_shipment {
    /* What is to be shipped; all borrowed. */
    const struct sr_ship *ship;
    const struct sr_config_target *config;
    struct sr_target *target;
    const Strongroom__OffsiteRecord *record; /* as of the claim */
    enum sr_archive_kind kind;
    uint64_t sequence;
    int64_t since;      /* changes */
    atomic_bool *lost;  /* the claim has gone to somebody else: stop */
    atomic_ullong *put; /* bytes, counted as they go; may be NULL */

    /* What became of it. */
    struct sr_archive_info info;
    uint8_t manifest_sha256[SR_MANIFEST_HASH_BYTES];
    char archive_name[SR_OBJECT_NAME_BYTES_MAX]; /* "": not begun to be put */
    char manifest_name[SR_OBJECT_NAME_BYTES_MAX];
    uint64_t begun_ms;
    uint64_t ended_ms;
    uint64_t newest_change_ms;
    uint64_t locked_until_ms;
    bool is_put;     /* the archive is there */
    bool blames_put; /* it failed at the target, not here */
};

/* Begins with zeros in the second part. SR_NOT_FOUND, nothing put: there is nothing to ship.
 * SR_REFUSED and !blames_put: changes that are needed have been compacted away. SR_CLOSED: the node
 * stops, or the claim is lost. On failure what was put has been removed, as far as possible. */
int sr_shipment_make(struct sr_shipment *shipment, struct sr_err *err);

/* It was put, but may not count: remove it, the manifest first. Best effort. */
void sr_shipment_undo(const struct sr_shipment *shipment);

#endif
