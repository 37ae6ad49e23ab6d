/* SPDX-License-Identifier: Apache-2.0
 *
 * Off-site, on both pages. What the record says is told by every node, so that it is known as long
 * as one of them is; what a node has done itself, by that one.
 */
#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "node/admin/exposition.h"
#include "node/admin/json.h"
#include "node/admin/offsite_page.h"
#include "storage/offsite.h"

static bool get(const struct sr_admin_options *node, struct sr_offsite_page *ret)
{
    *ret = (struct sr_offsite_page){.now_ms = sr_clock_wall_ms()};
    if (node->offsite != NULL) {
        node->offsite(node->arg, &ret->view);
    }
    if (ret->view.count > 0 && sr_store_offsite(node->store, &ret->record, NULL) != SR_OK) {
        ret->record = NULL;
    }
    return ret->record != NULL;
}

static void release(struct sr_offsite_page *offsite)
{
    if (offsite->record != NULL) {
        strongroom__offsite_record__free_unpacked(offsite->record, NULL);
    }
}

static const struct sr_lane_metrics *lane_of(const struct sr_shipper_target *target,
                                             enum sr_archive_kind kind)
{
    return kind == SR_ARCHIVE_FULL ? target->full : target->changes;
}

/* How many snapshots a target has, and how many of them no drill has restored well. */
static void count_entries(const struct sr_offsite_page *offsite, const char *target,
                          size_t *ret_count, size_t *ret_unproven)
{
    *ret_count = 0;
    *ret_unproven = 0;
    for (size_t i = 0; i < offsite->record->n_entry; i++) {
        const Strongroom__OffsiteEntry *entry = offsite->record->entry[i];
        if (strcmp(entry->target, target) == 0) {
            (*ret_count)++;
            *ret_unproven += entry->proven ? 0 : 1;
        }
    }
}

/* ---- Metrics ---- */

static const enum sr_archive_kind kinds[] = {SR_ARCHIVE_FULL, SR_ARCHIVE_CHANGES};
#define KIND_COUNT (sizeof(kinds) / sizeof(kinds[0]))

static void add_labels(struct sr_buf *labels, const struct sr_shipper_target *target,
                       enum sr_archive_kind kind)
{
    sr_labels_add(labels, "target", target->name);
    sr_labels_add(labels, "kind", kind == SR_ARCHIVE_FULL ? "snapshot" : "changes");
}

/* A value for each target and kind; NULL: not known. */
typedef bool (*lane_value)(const struct sr_offsite_page *offsite,
                           const struct sr_shipper_target *target, enum sr_archive_kind kind,
                           double *ret);

static void put_lanes(const struct sr_offsite_page *offsite, const char *name, const char *help,
                      enum sr_family_kind family, lane_value value_of, struct sr_buf *page)
{
    sr_exposition_header(page, name, help, family);
    for (unsigned i = 0; i < offsite->view.count; i++) {
        for (size_t k = 0; k < KIND_COUNT; k++) {
            struct sr_buf labels = {0};
            double value = 0;
            if (value_of(offsite, &offsite->view.targets[i], kinds[k], &value)) {
                add_labels(&labels, &offsite->view.targets[i], kinds[k]);
                sr_exposition_real(page, name, (const char *)labels.data, value);
            }
            sr_buf_close(&labels);
        }
    }
}

static const Strongroom__OffsiteChain *chain_of(const struct sr_offsite_page *offsite,
                                                const struct sr_shipper_target *target,
                                                enum sr_archive_kind kind)
{
    return sr_offsite_chain(offsite->record, target->name, kind);
}

static bool last_success(const struct sr_offsite_page *offsite,
                         const struct sr_shipper_target *target, enum sr_archive_kind kind,
                         double *ret)
{
    const Strongroom__OffsiteChain *chain = chain_of(offsite, target, kind);
    *ret = chain == NULL ? 0 : (double)chain->ended_ms / 1000;
    return true;
}

static bool age(const struct sr_offsite_page *offsite, const struct sr_shipper_target *target,
                enum sr_archive_kind kind, double *ret)
{
    const Strongroom__OffsiteChain *chain = chain_of(offsite, target, kind);
    bool known = chain != NULL && chain->ended_ms > 0;
    *ret = known && offsite->now_ms > chain->ended_ms
               ? (double)(offsite->now_ms - chain->ended_ms) / 1000
               : 0;
    return known;
}

static bool bytes(const struct sr_offsite_page *offsite, const struct sr_shipper_target *target,
                  enum sr_archive_kind kind, double *ret)
{
    const Strongroom__OffsiteEntry *newest =
        kind == SR_ARCHIVE_FULL ? sr_offsite_newest(offsite->record, target->name, false) : NULL;
    *ret = newest != NULL ? (double)newest->size
                          : (double)sr_gauge_read(&lane_of(target, kind)->last_bytes);
    return true;
}

static bool duration(const struct sr_offsite_page *offsite, const struct sr_shipper_target *target,
                     enum sr_archive_kind kind, double *ret)
{
    const Strongroom__OffsiteEntry *newest =
        kind == SR_ARCHIVE_FULL ? sr_offsite_newest(offsite->record, target->name, false) : NULL;
    int64_t own = sr_gauge_read(&lane_of(target, kind)->last_duration_ms);
    bool told = newest != NULL && newest->ended_ms > newest->begun_ms;
    *ret = (told ? (double)(newest->ended_ms - newest->begun_ms) : (double)own) / 1000;
    return true;
}

static bool shipping(const struct sr_offsite_page *offsite, const struct sr_shipper_target *target,
                     enum sr_archive_kind kind, double *ret)
{
    (void)offsite;
    *ret = (double)sr_gauge_read(&lane_of(target, kind)->shipping);
    return true;
}

static bool shipped(const struct sr_offsite_page *offsite, const struct sr_shipper_target *target,
                    enum sr_archive_kind kind, double *ret)
{
    (void)offsite;
    *ret = (double)sr_counter_read(&lane_of(target, kind)->shipped);
    return true;
}

static bool shipped_bytes(const struct sr_offsite_page *offsite,
                          const struct sr_shipper_target *target, enum sr_archive_kind kind,
                          double *ret)
{
    (void)offsite;
    *ret = (double)sr_counter_read(&lane_of(target, kind)->shipped_bytes);
    return true;
}

static bool took_over(const struct sr_offsite_page *offsite, const struct sr_shipper_target *target,
                      enum sr_archive_kind kind, double *ret)
{
    (void)offsite;
    *ret = (double)sr_counter_read(&lane_of(target, kind)->took_over);
    return true;
}

static bool lag_seconds(const struct sr_offsite_page *offsite,
                        const struct sr_shipper_target *target, enum sr_archive_kind kind,
                        double *ret)
{
    (void)offsite;
    int64_t value = sr_gauge_read(&target->changes->lag_ms);
    *ret = (double)value / 1000;
    return kind == SR_ARCHIVE_CHANGES && value >= 0;
}

static bool lag_revisions(const struct sr_offsite_page *offsite,
                          const struct sr_shipper_target *target, enum sr_archive_kind kind,
                          double *ret)
{
    (void)offsite;
    int64_t value = sr_gauge_read(&target->changes->lag_revisions);
    *ret = (double)value;
    return kind == SR_ARCHIVE_CHANGES && value >= 0;
}

static bool snapshots(const struct sr_offsite_page *offsite, const struct sr_shipper_target *target,
                      enum sr_archive_kind kind, double *ret)
{
    size_t count = 0;
    size_t unproven = 0;
    count_entries(offsite, target->name, &count, &unproven);
    *ret = (double)count;
    return kind == SR_ARCHIVE_FULL;
}

static bool unproven_snapshots(const struct sr_offsite_page *offsite,
                               const struct sr_shipper_target *target, enum sr_archive_kind kind,
                               double *ret)
{
    size_t count = 0;
    size_t unproven = 0;
    count_entries(offsite, target->name, &count, &unproven);
    *ret = (double)unproven;
    return kind == SR_ARCHIVE_FULL;
}

static bool last_proven(const struct sr_offsite_page *offsite,
                        const struct sr_shipper_target *target, enum sr_archive_kind kind,
                        double *ret)
{
    const Strongroom__OffsiteEntry *entry = sr_offsite_newest(offsite->record, target->name, true);
    *ret = entry == NULL ? 0 : (double)entry->drilled_ms / 1000;
    return kind == SR_ARCHIVE_FULL;
}

static bool drill_duration(const struct sr_offsite_page *offsite,
                           const struct sr_shipper_target *target, enum sr_archive_kind kind,
                           double *ret)
{
    const Strongroom__OffsiteEntry *entry = sr_offsite_newest(offsite->record, target->name, true);
    *ret = entry == NULL ? 0 : (double)entry->drill_duration_ms / 1000;
    return kind == SR_ARCHIVE_FULL && entry != NULL;
}

static const struct {
    const char *name;
    const char *help;
    enum sr_family_kind family;
    lane_value value;
} lane_families[] = {
    {"offsite_last_success_timestamp_seconds", "When something was last shipped; 0: never.",
     SR_FAMILY_GAUGE, last_success},
    {"offsite_age_seconds", "How long ago that was.", SR_FAMILY_GAUGE, age},
    {"offsite_last_bytes", "Size of the last one.", SR_FAMILY_GAUGE, bytes},
    {"offsite_last_duration_seconds", "How long it took to ship it.", SR_FAMILY_GAUGE, duration},
    {"offsite_shipping", "Whether this node is shipping now.", SR_FAMILY_GAUGE, shipping},
    {"offsite_shipped_total", "Archives that this node shipped.", SR_FAMILY_COUNTER, shipped},
    {"offsite_shipped_bytes_total", "Bytes of them.", SR_FAMILY_COUNTER, shipped_bytes},
    {"offsite_takeovers_total", "Shipments taken over from members that were gone.",
     SR_FAMILY_COUNTER, took_over},
    {"offsite_lag_seconds", "Age of the oldest change that is not there yet; 0: all is.",
     SR_FAMILY_GAUGE, lag_seconds},
    {"offsite_lag_revisions", "Revisions that are not there yet.", SR_FAMILY_GAUGE, lag_revisions},
    {"offsite_snapshots", "Snapshots that are there.", SR_FAMILY_GAUGE, snapshots},
    {"offsite_unproven_snapshots", "Of them, those that no drill has restored well.",
     SR_FAMILY_GAUGE, unproven_snapshots},
    {"offsite_last_proven_restore_timestamp_seconds",
     "When a drill last restored one well; 0: never.", SR_FAMILY_GAUGE, last_proven},
    {"offsite_drill_duration_seconds", "How long that took.", SR_FAMILY_GAUGE, drill_duration},
};

#define FAILURES "offsite_failures_total"

static void put_failures(const struct sr_offsite_page *offsite, struct sr_buf *page)
{
    sr_exposition_header(page, FAILURES, "Shipments of this node that failed, by reason.",
                         SR_FAMILY_COUNTER);
    for (unsigned i = 0; i < offsite->view.count; i++) {
        const struct sr_shipper_target *target = &offsite->view.targets[i];
        for (size_t k = 0; k < KIND_COUNT; k++) {
            for (int reason = 0; reason < SR_SHIP_REASON_COUNT; reason++) {
                struct sr_buf labels = {0};
                add_labels(&labels, target, kinds[k]);
                sr_labels_add(&labels, "reason", sr_ship_reason_text((enum sr_ship_reason)reason));
                sr_exposition_integer(
                    page, FAILURES, (const char *)labels.data,
                    (long long)sr_counter_read(&lane_of(target, kinds[k])->failed[reason]));
                sr_buf_close(&labels);
            }
        }
    }
}

void sr_offsite_metrics(const struct sr_admin_options *node, struct sr_buf *page)
{
    struct sr_offsite_page offsite;
    if (get(node, &offsite)) {
        for (size_t i = 0; i < sizeof(lane_families) / sizeof(lane_families[0]); i++) {
            put_lanes(&offsite, lane_families[i].name, lane_families[i].help,
                      lane_families[i].family, lane_families[i].value, page);
        }
        put_failures(&offsite, page);
        sr_offsite_drill_metrics(&offsite, page);
        sr_exposition_header(page, "offsite_next_timestamp_seconds",
                             "When the schedule has the next snapshot.", SR_FAMILY_GAUGE);
        sr_exposition_real(page, "offsite_next_timestamp_seconds", "",
                           (double)offsite.view.next_ms / 1000);
    }
    release(&offsite);
}

/* ---- /status ---- */

static void put_chain(const struct sr_offsite_page *offsite, const struct sr_shipper_target *target,
                      enum sr_archive_kind kind, struct sr_buf *page)
{
    const Strongroom__OffsiteChain *chain = chain_of(offsite, target, kind);
    const Strongroom__OffsiteClaim *claim = sr_offsite_claim(offsite->record, target->name, kind);
    sr_json_put(page, "\"%s\":{", kind == SR_ARCHIVE_FULL ? "snapshots" : "changes");
    sr_json_put(page, claim == NULL ? "\"shipping\":null" : "\"shipping\":\"%016" PRIx64 "\"",
                claim == NULL ? 0 : claim->member_id);
    if (chain == NULL) {
        sr_json_put(page, ",\"last_sequence\":0}");
        return;
    }
    sr_json_put(page,
                ",\"last_sequence\":%" PRIu64 ",\"revision\":%" PRId64 ",\"ended_ms\":%" PRIu64
                ",\"completed\":%" PRIu64 ",\"failed\":%" PRIu64 ",",
                chain->last_sequence, chain->until_revision, chain->ended_ms, chain->completed,
                chain->failed);
    sr_json_field(page, "failure", chain->failure);
    sr_json_put(page, "}");
}

static void put_target(const struct sr_offsite_page *offsite,
                       const struct sr_shipper_target *target, struct sr_buf *page)
{
    const Strongroom__OffsiteEntry *proven = sr_offsite_newest(offsite->record, target->name, true);
    size_t count = 0;
    size_t unproven = 0;
    count_entries(offsite, target->name, &count, &unproven);
    sr_json_put(page, "{");
    sr_json_field(page, "name", target->name);
    sr_json_put(page, ",");
    sr_json_field(page, "region", target->region);
    sr_json_put(page,
                ",\"count\":%zu,\"unproven\":%zu,\"last_proven_restore_ms\":%" PRIu64
                ",\"lag_ms\":%" PRId64 ",\"lag_revisions\":%" PRId64 ",\n   ",
                count, unproven, proven == NULL ? 0 : proven->drilled_ms,
                (int64_t)sr_gauge_read(&target->changes->lag_ms),
                (int64_t)sr_gauge_read(&target->changes->lag_revisions));
    sr_offsite_drill_page(offsite, target, page);
    put_chain(offsite, target, SR_ARCHIVE_FULL, page);
    sr_json_put(page, ",\n   ");
    put_chain(offsite, target, SR_ARCHIVE_CHANGES, page);
    sr_json_put(page, "}");
}

void sr_offsite_page(const struct sr_admin_options *node, struct sr_buf *page)
{
    struct sr_offsite_page offsite;
    if (!get(node, &offsite)) {
        sr_json_put(page, ",\n \"offsite\":null");
        release(&offsite);
        return;
    }
    sr_json_put(page,
                ",\n \"offsite\":{\"epoch\":%" PRIu64 ",\"next_ms\":%" PRIu64 ",\"targets\":[",
                offsite.record->epoch, offsite.view.next_ms);
    for (unsigned i = 0; i < offsite.view.count; i++) {
        sr_json_put(page, "%s\n  ", i == 0 ? "" : ",");
        put_target(&offsite, &offsite.view.targets[i], page);
    }
    sr_json_put(page, "]}");
    release(&offsite);
}
