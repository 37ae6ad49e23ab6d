/* SPDX-License-Identifier: Apache-2.0
 *
 * Drills, on both pages: what the record says of the last one is told by every node; what a node
 * has done itself, by that one.
 */
#include <inttypes.h>
#include <string.h>

#include "node/admin/exposition.h"
#include "node/admin/json.h"
#include "node/admin/offsite_page.h"

/* The snapshot of @target that a drill looked at last; NULL: none has. */
static const Strongroom__OffsiteEntry *last_drilled(const struct sr_offsite_page *offsite,
                                                    const char *target)
{
    const Strongroom__OffsiteEntry *found = NULL;
    for (size_t i = 0; i < offsite->record->n_entry; i++) {
        const Strongroom__OffsiteEntry *entry = offsite->record->entry[i];
        if (strcmp(entry->target, target) == 0 && entry->drilled_ms > 0 &&
            (found == NULL || entry->drilled_ms >= found->drilled_ms)) {
            found = entry;
        }
    }
    return found;
}

typedef bool (*drill_value)(const struct sr_offsite_page *offsite,
                            const struct sr_shipper_target *target, long long *ret);

static bool last_drill_good(const struct sr_offsite_page *offsite,
                            const struct sr_shipper_target *target, long long *ret)
{
    const Strongroom__OffsiteEntry *last = last_drilled(offsite, target->name);
    *ret = last != NULL && last->proven ? 1 : 0;
    return last != NULL;
}

static bool drilling(const struct sr_offsite_page *offsite, const struct sr_shipper_target *target,
                     long long *ret)
{
    (void)offsite;
    *ret = target->drill == NULL ? 0 : (long long)sr_gauge_read(&target->drill->drilling);
    return target->drill != NULL;
}

static bool drills(const struct sr_offsite_page *offsite, const struct sr_shipper_target *target,
                   long long *ret)
{
    (void)offsite;
    *ret = target->drill == NULL ? 0 : (long long)sr_counter_read(&target->drill->proven);
    return target->drill != NULL;
}

static bool drills_adopted(const struct sr_offsite_page *offsite,
                           const struct sr_shipper_target *target, long long *ret)
{
    (void)offsite;
    *ret = target->drill == NULL ? 0 : (long long)sr_counter_read(&target->drill->adopted);
    return target->drill != NULL;
}

static bool drill_bytes(const struct sr_offsite_page *offsite,
                        const struct sr_shipper_target *target, long long *ret)
{
    (void)offsite;
    *ret = target->drill == NULL ? 0 : (long long)sr_counter_read(&target->drill->fetched_bytes);
    return target->drill != NULL;
}

static const struct {
    const char *name;
    const char *help;
    enum sr_family_kind family;
    drill_value value;
} drill_families[] = {
    {"offsite_last_drill_good",
     "Whether the snapshot that was looked at last could be restored: 0 is an emergency.",
     SR_FAMILY_GAUGE, last_drill_good},
    {"offsite_drilling", "Whether this node is restoring one now.", SR_FAMILY_GAUGE, drilling},
    {"offsite_drills_total", "Snapshots that this node restored well.", SR_FAMILY_COUNTER, drills},
    {"offsite_drills_adopted_total", "Results of drills elsewhere that this node took over.",
     SR_FAMILY_COUNTER, drills_adopted},
    {"offsite_drill_fetched_bytes_total", "Bytes that drills of this node fetched.",
     SR_FAMILY_COUNTER, drill_bytes},
};

#define DRILL_FAILURES "offsite_drill_failures_total"

static void put_drill_failures(const struct sr_offsite_page *offsite, struct sr_buf *page)
{
    sr_exposition_header(page, DRILL_FAILURES,
                         "Drills of this node that restored nothing, by reason.",
                         SR_FAMILY_COUNTER);
    for (unsigned i = 0; i < offsite->view.count; i++) {
        const struct sr_shipper_target *target = &offsite->view.targets[i];
        for (int reason = 0; target->drill != NULL && reason < SR_DRILL_REASON_COUNT; reason++) {
            struct sr_buf labels = {0};
            sr_labels_add(&labels, "target", target->name);
            sr_labels_add(&labels, "reason", sr_drill_reason_text((enum sr_drill_reason)reason));
            sr_exposition_integer(page, DRILL_FAILURES, (const char *)labels.data,
                                  (long long)sr_counter_read(&target->drill->failed[reason]));
            sr_buf_close(&labels);
        }
    }
}

void sr_offsite_drill_metrics(const struct sr_offsite_page *offsite, struct sr_buf *page)
{
    for (size_t k = 0; k < sizeof(drill_families) / sizeof(drill_families[0]); k++) {
        sr_exposition_header(page, drill_families[k].name, drill_families[k].help,
                             drill_families[k].family);
        for (unsigned i = 0; i < offsite->view.count; i++) {
            const struct sr_shipper_target *target = &offsite->view.targets[i];
            struct sr_buf labels = {0};
            long long value = 0;
            sr_labels_add(&labels, "target", target->name);
            if (drill_families[k].value(offsite, target, &value)) {
                sr_exposition_integer(page, drill_families[k].name, (const char *)labels.data,
                                      value);
            }
            sr_buf_close(&labels);
        }
    }
    put_drill_failures(offsite, page);
}

void sr_offsite_drill_page(const struct sr_offsite_page *offsite,
                           const struct sr_shipper_target *target, struct sr_buf *page)
{
    const Strongroom__OffsiteEntry *last = last_drilled(offsite, target->name);
    bool now = target->drill != NULL && sr_gauge_read(&target->drill->drilling) != 0;
    sr_json_put(page, "\"drill\":{\"drilling\":%s", now ? "true" : "false");
    if (last != NULL) {
        sr_json_put(page,
                    ",\"sequence\":%" PRIu64 ",\"good\":%s,\"ended_ms\":%" PRIu64
                    ",\"duration_ms\":%" PRIu64 ",",
                    last->sequence, last->proven ? "true" : "false", last->drilled_ms,
                    last->drill_duration_ms);
        sr_json_field(page, "failure", last->drill_failure);
    }
    sr_json_put(page, "},\n   ");
}
