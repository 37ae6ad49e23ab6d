/* SPDX-License-Identifier: Apache-2.0
 *
 * The members of the configuration: who a node speaks to until there is a cluster record.
 */
#ifndef SR_NODE_FOUNDERS_H
#define SR_NODE_FOUNDERS_H

#include "node/config/config.h"
#include "node/service/service.h"

/* In the order of their ids, which is the same on all nodes; the order in the configuration need
 * not be. Returns how many; they stay those of @config. */
unsigned sr_founders_sort(const struct sr_config *config,
                          const struct sr_config_member *sorted[SR_MEMBERS_MAX]);

/* As the services tell them; texts are those of the configuration, but for the URLs. */
struct sr_founders {
    struct sr_service_member members[SR_MEMBERS_MAX];
    char *peer_urls[SR_MEMBERS_MAX];
};
void sr_founders_describe(const struct sr_config *config, struct sr_founders *ret);
void sr_founders_close(struct sr_founders *founders); /* a zeroed one is fine */

#endif
