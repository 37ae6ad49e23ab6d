/* SPDX-License-Identifier: Apache-2.0
 *
 * Between the files of the off-site page.
 */
#ifndef SR_NODE_ADMIN_OFFSITE_PAGE_H
#define SR_NODE_ADMIN_OFFSITE_PAGE_H

#include "node/admin/standing_page.h"
#include "proto/offsite.pb-c.h"

/* What both pages are made of, read once. */
struct sr_offsite_page {
    struct sr_shipper_view view;
    Strongroom__OffsiteRecord *record; /* NULL: it could not be read */
    uint64_t now_ms;
};

/* offsite_drills.c: what is known of drills, as metrics, and as a member of a target of /status. */
void sr_offsite_drill_metrics(const struct sr_offsite_page *offsite, struct sr_buf *page);
void sr_offsite_drill_page(const struct sr_offsite_page *offsite,
                           const struct sr_shipper_target *target, struct sr_buf *page);

#endif
