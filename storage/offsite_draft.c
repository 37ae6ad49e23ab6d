/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/offsite_draft.h"

#include <string.h>

#include "base/check.h"
#include "storage/offsite_change.h"

void sr_offsite_draft_init(struct sr_offsite_draft *draft, const Strongroom__OffsiteRecord *record)
{
    sr_check(sr_offsite_is_in_bounds(record));
    draft->record = *record;
    draft->record.claim = draft->claims;
    draft->record.chain = draft->chains;
    draft->record.entry = draft->entries;
    for (size_t i = 0; i < record->n_claim; i++) {
        draft->claims[i] = record->claim[i];
    }
    for (size_t i = 0; i < record->n_chain; i++) {
        draft->chains[i] = record->chain[i];
    }
    for (size_t i = 0; i < record->n_entry; i++) {
        draft->entries[i] = record->entry[i];
    }
    draft->changed = false;
}

char *sr_offsite_reason(struct sr_offsite_draft *draft, const char *reason)
{
    size_t size = strnlen(reason, sizeof(draft->reason));
    if (size > SR_OFFSITE_REASON_BYTES_MAX) {
        size = SR_OFFSITE_REASON_BYTES_MAX;
        while (size > 0 && ((unsigned char)reason[size] & 0xc0u) == 0x80u) {
            size--;
        }
    }
    memcpy(draft->reason, reason, size);
    draft->reason[size] = 0;
    return draft->reason;
}

int sr_offsite_compare(const char *target, uint32_t kind, const char *other, uint32_t other_kind)
{
    int order = strcmp(target, other);
    return order != 0 ? order : (kind > other_kind) - (kind < other_kind);
}

size_t sr_offsite_place_claim(const struct sr_offsite_draft *draft, const char *target,
                              uint32_t kind)
{
    size_t at = 0;
    while (at < draft->record.n_claim &&
           sr_offsite_compare(draft->claims[at]->target, draft->claims[at]->kind, target, kind) <
               0) {
        at++;
    }
    return at;
}

size_t sr_offsite_place_chain(const struct sr_offsite_draft *draft, const char *target,
                              uint32_t kind)
{
    size_t at = 0;
    while (at < draft->record.n_chain &&
           sr_offsite_compare(draft->chains[at]->target, draft->chains[at]->kind, target, kind) <
               0) {
        at++;
    }
    return at;
}

static bool has_chain(const struct sr_offsite_draft *draft, size_t at, const char *target,
                      uint32_t kind)
{
    return at < draft->record.n_chain &&
           sr_offsite_compare(draft->chains[at]->target, draft->chains[at]->kind, target, kind) ==
               0;
}

bool sr_offsite_edit_chain(struct sr_offsite_draft *draft, const char *target, uint32_t kind)
{
    size_t at = sr_offsite_place_chain(draft, target, kind);
    if (!has_chain(draft, at, target, kind)) {
        return false;
    }
    draft->chain = *draft->chains[at];
    draft->chains[at] = &draft->chain;
    return true;
}

size_t sr_offsite_place_entry(const struct sr_offsite_draft *draft, const char *target,
                              uint64_t sequence)
{
    size_t at = 0;
    while (at < draft->record.n_entry) {
        int order = strcmp(draft->entries[at]->target, target);
        if (order > 0 || (order == 0 && draft->entries[at]->sequence >= sequence)) {
            break;
        }
        at++;
    }
    return at;
}
