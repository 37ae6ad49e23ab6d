/* SPDX-License-Identifier: Apache-2.0
 *
 * What becomes of claims and of what they ship.
 *
 *   claim ──► claimed ──renew──► claimed ──complete──► chain, entry    fail ──► chain
 *                 └──── claim that replaces (number, renewals) ────► claimed by another
 *
 * A claim that was taken over is gone: its complete or fail comes too late and changes nothing.
 */
#include "storage/offsite_change.h"

#include <string.h>

#include "base/check.h"
#include "storage/archive.h"
#include "storage/offsite_draft.h"
#include "storage/signature.h"

/* ---- What may be said ---- */

static bool is_target(const char *name)
{
    size_t size = strlen(name);
    for (size_t i = 0; i < size; i++) {
        if (name[i] <= ' ' || name[i] > '~') {
            return false;
        }
    }
    return size > 0 && size <= SR_OFFSITE_NAME_BYTES_MAX;
}

static bool is_kind(uint32_t kind)
{
    return kind == SR_ARCHIVE_FULL || kind == SR_ARCHIVE_CHANGES;
}

static char *no_text(void)
{
    static char none[1];
    return none;
}

/* ---- Finding, editing ---- */

static size_t find_claim(const struct sr_offsite_draft *draft, uint64_t number)
{
    size_t at = 0;
    while (at < draft->record.n_claim && draft->claims[at]->number != number) {
        at++;
    }
    return at;
}

static void edit_claim(struct sr_offsite_draft *draft, size_t at)
{
    draft->claim = *draft->claims[at];
    draft->claims[at] = &draft->claim;
}

static void drop_claim(struct sr_offsite_draft *draft, size_t at)
{
    draft->record.n_claim--;
    memmove(&draft->claims[at], &draft->claims[at + 1],
            (draft->record.n_claim - at) * sizeof(draft->claims[0]));
}

/* Whether the record, with @target, names more targets than it may. */
static bool is_one_target_too_many(const struct sr_offsite_draft *draft, const char *target)
{
    size_t targets = 0;
    for (size_t i = 0; i < draft->record.n_chain; i++) {
        const char *own = draft->chains[i]->target;
        if (strcmp(own, target) == 0) {
            return false;
        }
        targets += i == 0 || strcmp(own, draft->chains[i - 1]->target) != 0;
    }
    return targets >= SR_OFFSITE_TARGETS_MAX;
}

static void add_chain(struct sr_offsite_draft *draft, char *target, uint32_t kind)
{
    size_t at = sr_offsite_place_chain(draft, target, kind);
    sr_check(draft->record.n_chain < SR_OFFSITE_CHAINS_MAX);
    memmove(&draft->chains[at + 1], &draft->chains[at],
            (draft->record.n_chain - at) * sizeof(draft->chains[0]));
    strongroom__offsite_chain__init(&draft->chain);
    draft->chain.target = target;
    draft->chain.kind = kind;
    draft->chain.claimed_sequence = draft->record.forgotten_sequence;
    draft->chains[at] = &draft->chain;
    draft->record.n_chain++;
}

/* ---- Claims ---- */

static void note_failure(struct sr_offsite_draft *draft, uint64_t now_ms, char *reason)
{
    draft->chain.failed++;
    draft->chain.failed_ms = now_ms;
    draft->chain.failure = reason;
}

static void fill_claim(struct sr_offsite_draft *draft, const Strongroom__OffsiteClaimChange *wanted)
{
    strongroom__offsite_claim__init(&draft->claim);
    draft->claim.target = wanted->target;
    draft->claim.kind = wanted->kind;
    draft->claim.number = ++draft->record.claims;
    draft->claim.member_id = wanted->member_id;
    draft->claim.token = wanted->token;
    draft->claim.sequence = ++draft->chain.claimed_sequence;
    draft->claim.begun_ms = wanted->now_ms;
    draft->changed = true;
}

static enum sr_api_error take_over(struct sr_offsite_draft *draft, size_t at,
                                   const Strongroom__OffsiteClaimChange *wanted)
{
    static const char reason[] = "the member that shipped went away";
    const Strongroom__OffsiteClaim *before = draft->claims[at];
    if (before->member_id == wanted->member_id && before->token == wanted->token) {
        return SR_API_NONE; /* the same proposal once more */
    }
    if (before->number != wanted->replaces_number ||
        before->renewals != wanted->replaces_renewals) {
        return SR_API_OFFSITE_CLAIMED;
    }
    if (!sr_offsite_edit_chain(draft, wanted->target, wanted->kind)) {
        return SR_API_OFFSITE_INVALID;
    }
    note_failure(draft, wanted->now_ms, sr_offsite_reason(draft, reason));
    fill_claim(draft, wanted);
    draft->claims[at] = &draft->claim;
    return SR_API_NONE;
}

static enum sr_api_error change_claim(struct sr_offsite_draft *draft,
                                      const Strongroom__OffsiteClaimChange *wanted)
{
    if (!is_target(wanted->target) || !is_kind(wanted->kind) || wanted->member_id == 0) {
        return SR_API_OFFSITE_INVALID;
    }
    size_t at = sr_offsite_place_claim(draft, wanted->target, wanted->kind);
    if (at < draft->record.n_claim &&
        sr_offsite_compare(draft->claims[at]->target, draft->claims[at]->kind, wanted->target,
                           wanted->kind) == 0) {
        return take_over(draft, at, wanted);
    }
    if (wanted->replaces_number != 0) {
        return SR_API_OFFSITE_CLAIMED; /* it has ended meanwhile */
    }
    if (is_one_target_too_many(draft, wanted->target) ||
        (wanted->kind == SR_ARCHIVE_FULL && draft->record.n_entry == SR_OFFSITE_ENTRIES_MAX)) {
        return SR_API_OFFSITE_FULL;
    }
    if (!sr_offsite_edit_chain(draft, wanted->target, wanted->kind)) {
        add_chain(draft, wanted->target, wanted->kind);
    }
    memmove(&draft->claims[at + 1], &draft->claims[at],
            (draft->record.n_claim - at) * sizeof(draft->claims[0]));
    draft->record.n_claim++;
    fill_claim(draft, wanted);
    draft->claims[at] = &draft->claim;
    return SR_API_NONE;
}

static enum sr_api_error change_renew(struct sr_offsite_draft *draft,
                                      const Strongroom__OffsiteRenew *renew)
{
    size_t at = find_claim(draft, renew->number);
    if (at == draft->record.n_claim) {
        return SR_API_OFFSITE_LOST;
    }
    edit_claim(draft, at);
    draft->claim.renewals++;
    draft->changed = true;
    return SR_API_NONE;
}

/* ---- Shipments ---- */

static void add_entry(struct sr_offsite_draft *draft, const Strongroom__OffsiteComplete *done)
{
    const Strongroom__OffsiteClaim *claim = &draft->claim;
    size_t at = sr_offsite_place_entry(draft, claim->target, claim->sequence);
    memmove(&draft->entries[at + 1], &draft->entries[at],
            (draft->record.n_entry - at) * sizeof(draft->entries[0]));
    strongroom__offsite_entry__init(&draft->entry);
    draft->entry.target = claim->target;
    draft->entry.sequence = claim->sequence;
    draft->entry.member_id = claim->member_id;
    draft->entry.archive_id = done->archive_id;
    draft->entry.manifest_sha256 = done->manifest_sha256;
    draft->entry.revision = done->until_revision;
    draft->entry.index = done->index;
    draft->entry.size = done->size;
    draft->entry.begun_ms = claim->begun_ms;
    draft->entry.ended_ms = done->ended_ms;
    draft->entry.locked_until_ms = done->locked_until_ms;
    draft->entry.state_hash = done->state_hash;
    draft->entries[at] = &draft->entry;
    draft->record.n_entry++;
}

static void advance_chain(struct sr_offsite_draft *draft, const Strongroom__OffsiteComplete *done)
{
    Strongroom__OffsiteChain *chain = &draft->chain;
    chain->last_sequence = draft->claim.sequence;
    chain->last_manifest_sha256 = done->manifest_sha256;
    chain->until_revision = done->until_revision;
    chain->ended_ms = done->ended_ms;
    chain->newest_change_ms = done->newest_change_ms;
    chain->completed++;
    chain->failure = no_text();
    if (chain->kind == SR_ARCHIVE_CHANGES) {
        chain->oldest_sequence =
            chain->oldest_sequence == 0 ? chain->last_sequence : chain->oldest_sequence;
        chain->objects++;
        chain->bytes += done->size;
    }
}

static bool is_complete(const Strongroom__OffsiteComplete *done)
{
    return done->archive_id.len == SR_ARCHIVE_ID_BYTES &&
           done->manifest_sha256.len == SR_SHA256_BYTES && done->until_revision >= 1 &&
           done->size > 0 && (done->state_hash.len == 0 || done->state_hash.len == SR_SHA256_BYTES);
}

/* Whether @done is in the chain already: the same proposal once more, by a member that did not
 * hear of the first. With go_on the claim still exists and has moved on to the next sequence,
 * which is not what @done is about. */
static bool is_repeated(const Strongroom__OffsiteChain *chain,
                        const Strongroom__OffsiteComplete *done)
{
    return chain->last_manifest_sha256.len == done->manifest_sha256.len &&
           memcmp(chain->last_manifest_sha256.data, done->manifest_sha256.data,
                  done->manifest_sha256.len) == 0;
}

static enum sr_api_error change_complete(struct sr_offsite_draft *draft,
                                         const Strongroom__OffsiteComplete *done)
{
    size_t at = find_claim(draft, done->number);
    if (at == draft->record.n_claim) {
        return SR_API_OFFSITE_LOST;
    }
    edit_claim(draft, at);
    if (!is_complete(done) ||
        !sr_offsite_edit_chain(draft, draft->claim.target, draft->claim.kind) ||
        done->until_revision < draft->chain.until_revision) {
        return SR_API_OFFSITE_INVALID;
    }
    if (is_repeated(&draft->chain, done)) {
        return SR_API_NONE;
    }
    if (draft->claim.kind == SR_ARCHIVE_FULL && draft->record.n_entry == SR_OFFSITE_ENTRIES_MAX) {
        return SR_API_OFFSITE_FULL;
    }
    if (draft->claim.kind == SR_ARCHIVE_FULL) {
        add_entry(draft, done);
    }
    advance_chain(draft, done);
    if (done->go_on) {
        draft->claim.sequence = ++draft->chain.claimed_sequence;
        draft->claim.begun_ms = done->ended_ms;
        draft->claim.renewals++;
    } else {
        drop_claim(draft, at);
    }
    draft->changed = true;
    return SR_API_NONE;
}

static enum sr_api_error change_fail(struct sr_offsite_draft *draft,
                                     const Strongroom__OffsiteFail *fail)
{
    size_t at = find_claim(draft, fail->number);
    if (at == draft->record.n_claim) {
        return SR_API_OFFSITE_LOST;
    }
    if (fail->reason[0] == 0 ||
        !sr_offsite_edit_chain(draft, draft->claims[at]->target, draft->claims[at]->kind)) {
        return SR_API_OFFSITE_INVALID;
    }
    note_failure(draft, fail->now_ms, sr_offsite_reason(draft, fail->reason));
    drop_claim(draft, at);
    draft->changed = true;
    return SR_API_NONE;
}

/* ---- All of it ---- */

static enum sr_api_error change_draft(struct sr_offsite_draft *draft,
                                      const Strongroom__OffsiteChange *change)
{
    switch (change->change_case) {
    case STRONGROOM__OFFSITE_CHANGE__CHANGE_CLAIM:
        return change_claim(draft, change->claim);
    case STRONGROOM__OFFSITE_CHANGE__CHANGE_RENEW:
        return change_renew(draft, change->renew);
    case STRONGROOM__OFFSITE_CHANGE__CHANGE_COMPLETE:
        return change_complete(draft, change->complete);
    case STRONGROOM__OFFSITE_CHANGE__CHANGE_FAIL:
        return change_fail(draft, change->fail);
    case STRONGROOM__OFFSITE_CHANGE__CHANGE_PRUNE:
        return sr_offsite_prune(draft, change->prune);
    case STRONGROOM__OFFSITE_CHANGE__CHANGE_PROVEN:
        return sr_offsite_proven(draft, change->proven);
    case STRONGROOM__OFFSITE_CHANGE__CHANGE_FORGET:
        return sr_offsite_forget(draft, change->forget);
    default:
        return SR_API_OFFSITE_INVALID;
    }
}

enum sr_api_error sr_offsite_change(const Strongroom__OffsiteRecord *record,
                                    const Strongroom__OffsiteChange *change,
                                    struct sr_buf *ret_packed)
{
    sr_check(ret_packed->size == 0);
    struct sr_offsite_draft draft;
    sr_offsite_draft_init(&draft, record);
    enum sr_api_error error = change_draft(&draft, change);
    if (error == SR_API_NONE && draft.changed) {
        draft.record.epoch++;
        size_t size = strongroom__offsite_record__get_packed_size(&draft.record);
        (void)strongroom__offsite_record__pack(&draft.record, sr_buf_extend(ret_packed, size));
    }
    return error;
}
