/* SPDX-License-Identifier: Apache-2.0
 *
 * The pages for probes. Each is a pure function of what is known about the node, so that they
 * agree with each other and with their tests.
 */
#ifndef SR_NODE_ADMIN_HEALTH_H
#define SR_NODE_ADMIN_HEALTH_H

#include <stdbool.h>

#include "base/buf.h"

struct sr_health {
    int store_status;       /* SR_OK, or the store's sticky error */
    const char *store_text; /* that error's own text; "" without one */
    bool has_leader;
    bool has_space;
    bool log_full;
    bool accused;       /* of a state that differs from the other members' */
    bool alarm_corrupt; /* against any member: nothing can be written */
    bool alarm_no_space;
    bool stopping;
};

/* Each appends its page to @page and returns the HTTP status: 200 or 503. */

/* Is a restart of no use? Only a failed store says no. */
unsigned sr_health_livez(const struct sr_health *health, bool verbose, struct sr_buf *page);
/* May clients be sent here? */
unsigned sr_health_readyz(const struct sr_health *health, bool verbose, struct sr_buf *page);
/* etcd's shape: {"health":"true","reason":""}. @serializable skips the leader, @exclude_no_space
 * the disk, as etcd's query parameters do. */
unsigned sr_health_health(const struct sr_health *health, bool serializable, bool exclude_no_space,
                          struct sr_buf *page);

#endif
