/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "proto/limits.h"
#include "storage/offsite.h"
#include "storage/offsite_change.h"
#include "storage/offsite_draft.h"
#include "storage/signature.h"

/* ---- Bounds ---- */

static bool is_list_of_chains(const Strongroom__OffsiteRecord *record)
{
    for (size_t i = 1; i < record->n_chain; i++) {
        if (sr_offsite_compare(record->chain[i - 1]->target, record->chain[i - 1]->kind,
                               record->chain[i]->target, record->chain[i]->kind) >= 0) {
            return false;
        }
    }
    return record->n_chain <= SR_OFFSITE_CHAINS_MAX;
}

/* In order, and each with a chain: there are never more claims than chains. */
static bool is_list_of_claims(const Strongroom__OffsiteRecord *record)
{
    size_t at = 0;
    for (size_t i = 0; i < record->n_claim; i++, at++) {
        const Strongroom__OffsiteClaim *claim = record->claim[i];
        while (at < record->n_chain &&
               sr_offsite_compare(record->chain[at]->target, record->chain[at]->kind, claim->target,
                                  claim->kind) < 0) {
            at++;
        }
        if (at == record->n_chain ||
            sr_offsite_compare(record->chain[at]->target, record->chain[at]->kind, claim->target,
                               claim->kind) != 0) {
            return false;
        }
    }
    return true;
}

static bool is_list_of_entries(const Strongroom__OffsiteRecord *record)
{
    for (size_t i = 1; i < record->n_entry; i++) {
        const Strongroom__OffsiteEntry *before = record->entry[i - 1];
        const Strongroom__OffsiteEntry *entry = record->entry[i];
        int order = strcmp(before->target, entry->target);
        if (order > 0 || (order == 0 && before->sequence >= entry->sequence)) {
            return false;
        }
    }
    return record->n_entry <= SR_OFFSITE_ENTRIES_MAX;
}

bool sr_offsite_is_in_bounds(const Strongroom__OffsiteRecord *record)
{
    return record->epoch > 0 && record->public_key.len == SR_SIGNING_BYTES &&
           record->archive_kek_id.len == SR_KEY_ID_BYTES &&
           record->secret_sha256.len == SR_SHA256_BYTES && is_list_of_chains(record) &&
           is_list_of_claims(record) && is_list_of_entries(record);
}

/* ---- Looking things up ---- */

const Strongroom__OffsiteClaim *sr_offsite_claim(const Strongroom__OffsiteRecord *record,
                                                 const char *target, uint32_t kind)
{
    for (size_t i = 0; i < record->n_claim; i++) {
        if (sr_offsite_compare(record->claim[i]->target, record->claim[i]->kind, target, kind) ==
            0) {
            return record->claim[i];
        }
    }
    return NULL;
}

const Strongroom__OffsiteChain *sr_offsite_chain(const Strongroom__OffsiteRecord *record,
                                                 const char *target, uint32_t kind)
{
    for (size_t i = 0; i < record->n_chain; i++) {
        if (sr_offsite_compare(record->chain[i]->target, record->chain[i]->kind, target, kind) ==
            0) {
            return record->chain[i];
        }
    }
    return NULL;
}

const Strongroom__OffsiteEntry *sr_offsite_entry(const Strongroom__OffsiteRecord *record,
                                                 const char *target, uint64_t sequence)
{
    for (size_t i = 0; i < record->n_entry; i++) {
        if (record->entry[i]->sequence == sequence &&
            strcmp(record->entry[i]->target, target) == 0) {
            return record->entry[i];
        }
    }
    return NULL;
}

const Strongroom__OffsiteEntry *sr_offsite_newest(const Strongroom__OffsiteRecord *record,
                                                  const char *target, bool proven)
{
    for (size_t i = record->n_entry; i > 0; i--) {
        const Strongroom__OffsiteEntry *entry = record->entry[i - 1];
        if (strcmp(entry->target, target) == 0 && (entry->proven || !proven)) {
            return entry;
        }
    }
    return NULL;
}

bool sr_offsite_watch_look(struct sr_offsite_watch *watch, const Strongroom__OffsiteClaim *claim,
                           uint64_t now_ns, uint64_t ttl_ns)
{
    if (claim == NULL) {
        *watch = (struct sr_offsite_watch){0};
        return false;
    }
    if (watch->number != claim->number || watch->renewals != claim->renewals) {
        *watch = (struct sr_offsite_watch){
            .number = claim->number, .renewals = claim->renewals, .since_ns = now_ns};
        return false;
    }
    return now_ns - watch->since_ns >= ttl_ns;
}
