/* SPDX-License-Identifier: Apache-2.0
 *
 * /metrics: every number of the node, by name.
 */
#ifndef SR_NODE_ADMIN_METRICS_PAGE_H
#define SR_NODE_ADMIN_METRICS_PAGE_H

#include "base/buf.h"
#include "node/admin/admin.h"

void sr_metrics_page(const struct sr_admin_options *node, struct sr_buf *page);

/* The part about the process: CPU, memory, file descriptors, from /proc. */
void sr_process_metrics(struct sr_buf *page);

#endif
