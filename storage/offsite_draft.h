/* SPDX-License-Identifier: Apache-2.0
 *
 * The off-site record that follows, in the making: pointers into the one before and into the
 * change; what differs has a struct of its own in the draft, until it is packed. Inside storage/
 * only; no function here fails.
 */
#ifndef SR_STORAGE_OFFSITE_DRAFT_H
#define SR_STORAGE_OFFSITE_DRAFT_H

#include <stdbool.h>
#include <stddef.h>

#include "proto/api_error.h"
#include "proto/limits.h"
#include "proto/offsite.pb-c.h"

#define SR_OFFSITE_CHAINS_MAX ((size_t)2 * SR_OFFSITE_TARGETS_MAX) /* one for each kind */

struct sr_offsite_draft {
    Strongroom__OffsiteRecord record;
    Strongroom__OffsiteClaim *claims[SR_OFFSITE_CHAINS_MAX];
    Strongroom__OffsiteChain *chains[SR_OFFSITE_CHAINS_MAX];
    Strongroom__OffsiteEntry *entries[SR_OFFSITE_ENTRIES_MAX];
    Strongroom__OffsiteClaim claim; /* what becomes of the one that the change is about */
    Strongroom__OffsiteChain chain;
    Strongroom__OffsiteEntry entry;
    char reason[SR_OFFSITE_REASON_BYTES_MAX + 1];
    bool changed;
};

/* @record must outlive @draft, and be within its bounds. */
void sr_offsite_draft_init(struct sr_offsite_draft *draft, const Strongroom__OffsiteRecord *record);

/* By target, then by kind. */
int sr_offsite_compare(const char *target, uint32_t kind, const char *other, uint32_t other_kind);
/* Where it is, or would be. */
size_t sr_offsite_place_claim(const struct sr_offsite_draft *draft, const char *target,
                              uint32_t kind);
size_t sr_offsite_place_chain(const struct sr_offsite_draft *draft, const char *target,
                              uint32_t kind);
size_t sr_offsite_place_entry(const struct sr_offsite_draft *draft, const char *target,
                              uint64_t sequence);
/* Make draft->chain that of @target and @kind, to be changed. false: there is none. */
bool sr_offsite_edit_chain(struct sr_offsite_draft *draft, const char *target, uint32_t kind);
/* A copy of @reason, cut if it is too long, not in the middle of a character. */
char *sr_offsite_reason(struct sr_offsite_draft *draft, const char *reason);

/* What becomes of the catalogue (offsite_catalogue.c). */
enum sr_api_error sr_offsite_prune(struct sr_offsite_draft *draft,
                                   const Strongroom__OffsitePrune *prune);
enum sr_api_error sr_offsite_proven(struct sr_offsite_draft *draft,
                                    const Strongroom__OffsiteProven *proven);
enum sr_api_error sr_offsite_forget(struct sr_offsite_draft *draft,
                                    const Strongroom__OffsiteForget *forget);

#endif
