/* SPDX-License-Identifier: Apache-2.0
 *
 * What becomes of what has been shipped: pruned, proven, forgotten.
 */
#include <string.h>

#include "storage/archive.h"
#include "storage/offsite_draft.h"

/* The newest proven one of @target: what a disaster is survived by. 0: none. */
static uint64_t last_proven(const struct sr_offsite_draft *draft, const char *target)
{
    uint64_t sequence = 0;
    for (size_t i = 0; i < draft->record.n_entry; i++) {
        if (draft->entries[i]->proven && strcmp(draft->entries[i]->target, target) == 0) {
            sequence = draft->entries[i]->sequence; /* they are in order */
        }
    }
    return sequence;
}

static bool is_listed(const Strongroom__OffsitePrune *prune, uint64_t sequence)
{
    for (size_t i = 0; i < prune->n_sequence; i++) {
        if (prune->sequence[i] == sequence) {
            return true;
        }
    }
    return false;
}

static void prune_entries(struct sr_offsite_draft *draft, const Strongroom__OffsitePrune *prune)
{
    size_t kept = 0;
    for (size_t i = 0; i < draft->record.n_entry; i++) {
        if (strcmp(draft->entries[i]->target, prune->target) == 0 &&
            is_listed(prune, draft->entries[i]->sequence)) {
            draft->changed = true;
        } else {
            draft->entries[kept++] = draft->entries[i];
        }
    }
    draft->record.n_entry = kept;
}

static uint64_t less(uint64_t from, uint64_t by)
{
    return from > by ? from - by : 0;
}

static void prune_changes(struct sr_offsite_draft *draft, const Strongroom__OffsitePrune *prune)
{
    Strongroom__OffsiteChain *chain = &draft->chain;
    if (!sr_offsite_edit_chain(draft, prune->target, SR_ARCHIVE_CHANGES) ||
        chain->oldest_sequence == 0 || prune->changes_before <= chain->oldest_sequence) {
        return;
    }
    if (prune->changes_before > chain->last_sequence) {
        chain->oldest_sequence = 0; /* none is left */
        chain->objects = 0;
        chain->bytes = 0;
    } else {
        chain->oldest_sequence = prune->changes_before;
        chain->objects = less(chain->objects, prune->changes_objects);
        chain->bytes = less(chain->bytes, prune->changes_bytes);
    }
    draft->changed = true;
}

enum sr_api_error sr_offsite_prune(struct sr_offsite_draft *draft,
                                   const Strongroom__OffsitePrune *prune)
{
    uint64_t proven = last_proven(draft, prune->target);
    if (proven != 0 && is_listed(prune, proven)) {
        return SR_API_OFFSITE_INVALID;
    }
    prune_entries(draft, prune);
    if (prune->changes_before > 0) {
        prune_changes(draft, prune);
    }
    return SR_API_NONE;
}

enum sr_api_error sr_offsite_proven(struct sr_offsite_draft *draft,
                                    const Strongroom__OffsiteProven *proven)
{
    size_t at = sr_offsite_place_entry(draft, proven->target, proven->sequence);
    if (at == draft->record.n_entry || strcmp(draft->entries[at]->target, proven->target) != 0 ||
        draft->entries[at]->sequence != proven->sequence ||
        draft->entries[at]->archive_id.len != proven->archive_id.len ||
        memcmp(draft->entries[at]->archive_id.data, proven->archive_id.data,
               proven->archive_id.len) != 0) {
        return SR_API_OFFSITE_NOT_FOUND;
    }
    if (proven->now_ms == 0 || proven->good != (proven->reason[0] == 0)) {
        return SR_API_OFFSITE_INVALID;
    }
    draft->entry = *draft->entries[at];
    draft->entries[at] = &draft->entry;
    draft->entry.drilled_ms = proven->now_ms;
    draft->entry.drill_duration_ms = proven->duration_ms;
    draft->entry.proven = proven->good;
    draft->entry.drill_failure = sr_offsite_reason(draft, proven->reason);
    draft->changed = true;
    return SR_API_NONE;
}

/* Its numbers are never given out again: the objects may still be there. */
enum sr_api_error sr_offsite_forget(struct sr_offsite_draft *draft,
                                    const Strongroom__OffsiteForget *forget)
{
    Strongroom__OffsiteRecord *record = &draft->record;
    size_t claims = 0;
    size_t chains = 0;
    size_t entries = 0;
    for (size_t i = 0; i < record->n_claim; i++) {
        if (strcmp(draft->claims[i]->target, forget->target) != 0) {
            draft->claims[claims++] = draft->claims[i];
        }
    }
    for (size_t i = 0; i < record->n_chain; i++) {
        const Strongroom__OffsiteChain *chain = draft->chains[i];
        if (strcmp(chain->target, forget->target) != 0) {
            draft->chains[chains++] = draft->chains[i];
        } else if (chain->claimed_sequence > record->forgotten_sequence) {
            record->forgotten_sequence = chain->claimed_sequence;
        }
    }
    for (size_t i = 0; i < record->n_entry; i++) {
        if (strcmp(draft->entries[i]->target, forget->target) != 0) {
            draft->entries[entries++] = draft->entries[i];
        }
    }
    if (chains == record->n_chain) { /* claims and entries have one */
        return SR_API_OFFSITE_NOT_FOUND;
    }
    record->n_claim = claims;
    record->n_chain = chains;
    record->n_entry = entries;
    draft->changed = true;
    return SR_API_NONE;
}
