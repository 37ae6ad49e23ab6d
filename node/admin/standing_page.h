/* SPDX-License-Identifier: Apache-2.0
 *
 * The cluster as this node knows it: who the members are (the record that it has applied) and how
 * far they are (what the leader last told), as JSON for people and programs and as metrics.
 */
#ifndef SR_NODE_ADMIN_STANDING_PAGE_H
#define SR_NODE_ADMIN_STANDING_PAGE_H

#include "base/buf.h"
#include "node/admin/admin.h"

/* Append GET /status: one JSON object. docs/operations has its fields. */
void sr_status_page(const struct sr_admin_options *node, struct sr_buf *page);
/* Append the same as families of metrics, and those of images. */
void sr_standing_metrics(const struct sr_admin_options *node, struct sr_buf *page);
/* Append what is shipped off-site: as a member of the object of /status, and as metrics. */
void sr_offsite_page(const struct sr_admin_options *node, struct sr_buf *page);
void sr_offsite_metrics(const struct sr_admin_options *node, struct sr_buf *page);

#endif
