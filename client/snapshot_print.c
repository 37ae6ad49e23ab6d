/* SPDX-License-Identifier: Apache-2.0 */
#include "client/snapshot_print.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "client/output.h"

#define TIME_CHARS sizeof("2026-12-31T23:59:59Z")

/* @time_ms as UTC; "never" for 0. */
static const char *time_text(char out[TIME_CHARS], uint64_t time_ms)
{
    time_t seconds = (time_t)(time_ms / 1000);
    struct tm parts;
    (void)snprintf(out, TIME_CHARS, "never");
    if (time_ms > 0 && gmtime_r(&seconds, &parts) != NULL) {
        (void)strftime(out, TIME_CHARS, "%Y-%m-%dT%H:%M:%SZ", &parts);
    }
    return out;
}

const Strongroom__OffsiteChain *snapshot_chain(const Strongroom__OffsiteRecord *record,
                                               const char *target, char kind)
{
    for (size_t i = 0; record != NULL && i < record->n_chain; i++) {
        if (strcmp(record->chain[i]->target, target) == 0 &&
            record->chain[i]->kind == (uint32_t)kind) {
            return record->chain[i];
        }
    }
    return NULL;
}

static const Strongroom__OffsiteClaim *claim_of(const Strongroom__OffsiteRecord *record,
                                                const char *target, char kind)
{
    for (size_t i = 0; i < record->n_claim; i++) {
        if (strcmp(record->claim[i]->target, target) == 0 &&
            record->claim[i]->kind == (uint32_t)kind) {
            return record->claim[i];
        }
    }
    return NULL;
}

/* ---- Snapshots ---- */

static const char *proof_text(const Strongroom__OffsiteEntry *entry)
{
    return entry->proven ? "proven" : entry->drilled_ms > 0 ? "FAILED" : "not yet";
}

void snapshot_print_list(const Offsite *offsite, const char *target)
{
    static const char *const titles[] = {"TARGET", "SEQUENCE", "REVISION",    "TAKEN",
                                         "BYTES",  "RESTORED", "LOCKED UNTIL"};
    struct output_table table;
    output_table_open(&table, titles, sizeof(titles) / sizeof(titles[0]));
    for (size_t i = 0; i < offsite->record->n_entry; i++) {
        const Strongroom__OffsiteEntry *entry = offsite->record->entry[i];
        char text[TIME_CHARS];
        if (target != NULL && strcmp(entry->target, target) != 0) {
            continue;
        }
        output_table_row(&table);
        output_table_set(&table, 0, "%s", entry->target);
        output_table_set(&table, 1, "%" PRIu64, entry->sequence);
        output_table_set(&table, 2, "%" PRId64, entry->revision);
        output_table_set(&table, 3, "%s", time_text(text, entry->begun_ms));
        output_table_set(&table, 4, "%" PRIu64, entry->size);
        output_table_set(&table, 5, "%s", proof_text(entry));
        output_table_set(&table, 6, "%s",
                         entry->locked_until_ms == 0 ? "-"
                                                     : time_text(text, entry->locked_until_ms));
    }
    output_table_close(&table);
}

static void put_hex(struct output_json *json, const char *name, const ProtobufCBinaryData *data)
{
    char text[2 * 32 + 1] = "";
    for (size_t i = 0; i < data->len && i < 32; i++) {
        (void)snprintf(text + 2 * i, 3, "%02x", data->data[i]);
    }
    output_json_text(json, name, text);
}

static void put_entry(struct output_json *json, const Strongroom__OffsiteEntry *entry)
{
    output_json_begin(json, NULL, '{');
    output_json_text(json, "target", entry->target);
    output_json_number(json, "sequence", entry->sequence);
    output_json_id(json, "member", entry->member_id);
    output_json_integer(json, "revision", entry->revision);
    output_json_number(json, "index", entry->index);
    output_json_number(json, "bytes", entry->size);
    output_json_number(json, "begun_ms", entry->begun_ms);
    output_json_number(json, "ended_ms", entry->ended_ms);
    output_json_number(json, "locked_until_ms", entry->locked_until_ms);
    output_json_bool(json, "proven", entry->proven);
    output_json_number(json, "drilled_ms", entry->drilled_ms);
    output_json_number(json, "drill_duration_ms", entry->drill_duration_ms);
    output_json_text(json, "drill_failure", entry->drill_failure);
    put_hex(json, "archive_id", &entry->archive_id);
    put_hex(json, "manifest_sha256", &entry->manifest_sha256);
    put_hex(json, "state_hash", &entry->state_hash);
    output_json_end(json, '}');
}

void snapshot_print_list_json(const Offsite *offsite, const char *target)
{
    struct output_json json = {0};
    output_json_begin(&json, NULL, '[');
    for (size_t i = 0; i < offsite->record->n_entry; i++) {
        if (target == NULL || strcmp(offsite->record->entry[i]->target, target) == 0) {
            put_entry(&json, offsite->record->entry[i]);
        }
    }
    output_json_end(&json, ']');
    puts("");
}

/* ---- Status ---- */

static void print_chain(const Offsite *offsite, const char *target, char kind)
{
    const Strongroom__OffsiteChain *chain = snapshot_chain(offsite->record, target, kind);
    const Strongroom__OffsiteClaim *claim = claim_of(offsite->record, target, kind);
    char text[TIME_CHARS];
    printf("  %s: ", kind == 'F' ? "snapshots" : "changes");
    if (chain == NULL || chain->completed == 0) {
        printf("none yet");
    } else {
        printf("last %s, at revision %" PRId64 "; %" PRIu64 " shipped, %" PRIu64 " failed",
               time_text(text, chain->ended_ms), chain->until_revision, chain->completed,
               chain->failed);
    }
    if (claim != NULL && kind == 'F') {
        printf("; member %" PRIx64 " ships number %" PRIu64 " now", claim->member_id,
               claim->sequence);
    }
    puts("");
    if (chain != NULL && *chain->failure != 0) {
        printf("    failed %s: %s\n", time_text(text, chain->failed_ms), chain->failure);
    }
}

/* What a drill looked at last; NULL: none has looked at anything. */
static const Strongroom__OffsiteEntry *last_drilled(const Strongroom__OffsiteRecord *record,
                                                    const char *target)
{
    const Strongroom__OffsiteEntry *found = NULL;
    for (size_t i = 0; i < record->n_entry; i++) {
        const Strongroom__OffsiteEntry *entry = record->entry[i];
        if (strcmp(entry->target, target) == 0 && entry->drilled_ms > 0 &&
            (found == NULL || entry->drilled_ms >= found->drilled_ms)) {
            found = entry;
        }
    }
    return found;
}

static void print_drill(const Offsite *offsite, const char *target)
{
    const Strongroom__OffsiteEntry *last = last_drilled(offsite->record, target);
    char text[TIME_CHARS];
    if (last == NULL) {
        puts("  drill: none yet");
    } else if (last->proven) {
        printf("  drill: snapshot %" PRIu64 " was restored %s, in %.1f s\n", last->sequence,
               time_text(text, last->drilled_ms), (double)last->drill_duration_ms / 1000);
    } else {
        printf("  drill: snapshot %" PRIu64 " COULD NOT BE RESTORED %s: %s\n", last->sequence,
               time_text(text, last->drilled_ms), last->drill_failure);
    }
}

static void print_target(const Offsite *offsite, const Strongroom__V1__OffsiteTarget *target)
{
    size_t count = 0;
    size_t proven = 0;
    for (size_t i = 0; i < offsite->record->n_entry; i++) {
        const Strongroom__OffsiteEntry *entry = offsite->record->entry[i];
        if (strcmp(entry->target, target->name) == 0) {
            count++;
            proven += entry->proven ? 1 : 0;
        }
    }
    printf("\n%s: %s%s%s\n", target->name, target->url, *target->region == 0 ? "" : ", in ",
           target->region);
    printf("  kept: %zu snapshots, %zu of them restored by a drill\n", count, proven);
    print_chain(offsite, target->name, 'F');
    print_chain(offsite, target->name, 'C');
    if (target->lag_ms < 0) {
        puts("  behind: nothing is there yet");
    } else {
        printf("  behind: %" PRId64 " revisions, %.1f s\n", target->lag_revisions,
               (double)target->lag_ms / 1000);
    }
    print_drill(offsite, target->name);
}

void snapshot_print_status(const Offsite *offsite)
{
    char text[TIME_CHARS];
    if (offsite->n_targets == 0) {
        puts("this node ships nothing: its configuration has no offsite section");
        return;
    }
    if (offsite->record->epoch == 0) {
        puts("the cluster has no off-site record yet");
        return;
    }
    printf("signed by: %s\nnext snapshot: %s\n", offsite->fingerprint,
           time_text(text, offsite->next_ms));
    for (size_t i = 0; i < offsite->n_targets; i++) {
        print_target(offsite, offsite->targets[i]);
    }
}

static void put_chain(struct output_json *json, const Offsite *offsite, const char *target,
                      char kind)
{
    const Strongroom__OffsiteChain *chain = snapshot_chain(offsite->record, target, kind);
    const Strongroom__OffsiteClaim *claim = claim_of(offsite->record, target, kind);
    output_json_begin(json, kind == 'F' ? "snapshots" : "changes", '{');
    if (chain != NULL) {
        output_json_number(json, "last_sequence", chain->last_sequence);
        output_json_integer(json, "revision", chain->until_revision);
        output_json_number(json, "ended_ms", chain->ended_ms);
        output_json_number(json, "completed", chain->completed);
        output_json_number(json, "failed", chain->failed);
        output_json_number(json, "failed_ms", chain->failed_ms);
        output_json_text(json, "failure", chain->failure);
    }
    if (claim != NULL) {
        output_json_id(json, "claimed_by", claim->member_id);
        output_json_number(json, "claimed_sequence", claim->sequence);
    }
    output_json_end(json, '}');
}

static void put_drill(struct output_json *json, const Strongroom__OffsiteEntry *last)
{
    output_json_begin(json, "drill", '{');
    if (last != NULL) {
        output_json_number(json, "sequence", last->sequence);
        output_json_bool(json, "good", last->proven);
        output_json_number(json, "ended_ms", last->drilled_ms);
        output_json_number(json, "duration_ms", last->drill_duration_ms);
        output_json_text(json, "failure", last->drill_failure);
    }
    output_json_end(json, '}');
}

void snapshot_print_status_json(const Offsite *offsite)
{
    struct output_json json = {0};
    output_json_begin(&json, NULL, '{');
    output_json_number(&json, "epoch", offsite->record->epoch);
    output_json_text(&json, "fingerprint", offsite->fingerprint);
    output_json_number(&json, "next_ms", offsite->next_ms);
    output_json_begin(&json, "targets", '[');
    for (size_t i = 0; i < offsite->n_targets; i++) {
        const Strongroom__V1__OffsiteTarget *target = offsite->targets[i];
        output_json_begin(&json, NULL, '{');
        output_json_text(&json, "name", target->name);
        output_json_text(&json, "url", target->url);
        output_json_text(&json, "region", target->region);
        output_json_integer(&json, "lag_ms", target->lag_ms);
        output_json_integer(&json, "lag_revisions", target->lag_revisions);
        put_drill(&json, last_drilled(offsite->record, target->name));
        put_chain(&json, offsite, target->name, 'F');
        put_chain(&json, offsite, target->name, 'C');
        output_json_end(&json, '}');
    }
    output_json_end(&json, ']');
    output_json_end(&json, '}');
    puts("");
}
