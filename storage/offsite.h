/* SPDX-License-Identifier: Apache-2.0
 *
 * The off-site record in the store: who ships, what has been shipped, what of it is proven
 * (proto/offsite.proto, decision 0018), and the archive secret. Changed by commands of the log
 * only, of feature level 3; covered by the state hash; stored by the flush that stores the applied
 * index; carried by images, but not by archives.
 *
 * A change is proposed as a Command with an OffsiteChange. Its outcome is SR_API_NONE, or
 *   OFFSITE_UNKNOWN    there is no record yet (an Init founds it)
 *   OFFSITE_CLAIMED    another one has the claim, or has renewed it
 *   OFFSITE_LOST       the claim is not there any more: stop, what was put is worthless
 *   OFFSITE_FULL       too many entries or targets: prune, or forget
 *   OFFSITE_NOT_FOUND  no such entry
 *   OFFSITE_INVALID    a field is missing or impossible
 */
#ifndef SR_STORAGE_OFFSITE_H
#define SR_STORAGE_OFFSITE_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/offsite.pb-c.h"
#include "storage/archive_key.h"
#include "storage/store.h"

/* Any thread, one atomic: the epoch of the record as applied; 0: there is none yet. */
uint64_t sr_store_offsite_epoch(const struct sr_store *store);

/* Any thread: a copy of the record as applied, to be freed with
 * strongroom__offsite_record__free_unpacked(*ret, NULL). While there is none it has epoch 0 and
 * nothing else. Nothing in it is secret. SR_CORRUPT only by a defect of memory. */
int sr_store_offsite(struct sr_store *store, Strongroom__OffsiteRecord **ret, struct sr_err *err);

/* Any thread: a copy of the archive secret, to be released with sr_archive_secret_free.
 * SR_NOT_FOUND, with a text, while there is no record. */
int sr_store_archive_secret(struct sr_store *store, struct sr_archive_secret **ret,
                            struct sr_err *err);

/* NULL: there is none. @kind: enum sr_archive_kind. They point into @record. */
const Strongroom__OffsiteClaim *sr_offsite_claim(const Strongroom__OffsiteRecord *record,
                                                 const char *target, uint32_t kind);
const Strongroom__OffsiteChain *sr_offsite_chain(const Strongroom__OffsiteRecord *record,
                                                 const char *target, uint32_t kind);
const Strongroom__OffsiteEntry *sr_offsite_entry(const Strongroom__OffsiteRecord *record,
                                                 const char *target, uint64_t sequence);
/* The newest; the newest that is proven. */
const Strongroom__OffsiteEntry *sr_offsite_newest(const Strongroom__OffsiteRecord *record,
                                                  const char *target, bool proven);

/* Whether a claim is abandoned, as one node sees it: one for each target and kind that it looks
 * at, zeros at first. */
struct sr_offsite_watch {
    uint64_t number; /* as they were seen */
    uint64_t renewals;
    uint64_t since_ns; /* by the monotonic clock of this node */
};
/* Look at @claim (NULL: there is none) at @now_ns. Returns whether it has not been renewed for
 * @ttl_ns, that is, whether it may be taken over with (watch->number, watch->renewals) as what is
 * replaced. A claim whose member is not in the cluster any more may be taken over at once: that is
 * the caller's to see. */
bool sr_offsite_watch_look(struct sr_offsite_watch *watch, const Strongroom__OffsiteClaim *claim,
                           uint64_t now_ns, uint64_t ttl_ns);

#endif
