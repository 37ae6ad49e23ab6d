/* SPDX-License-Identifier: Apache-2.0
 *
 * What `strongroom rebuild` leaves in a data directory that is otherwise empty: where to ask for
 * the new place, and the token for it.
 *
 *   DIR/join-token   the token
 *   DIR/join-peers   addresses, a line each; written last: without it nothing was left
 */
#ifndef SR_NODE_CLUSTER_REJOIN_H
#define SR_NODE_CLUSTER_REJOIN_H

#include "node/config/config.h"

/* If something was left: make it cluster.join of @config, whatever that was. SR_CORRUPT for what
 * no rebuild leaves, SR_IO. */
int sr_rejoin_take(struct sr_config *config, struct sr_err *err);
/* The place is taken: remove both files, if they are there. */
void sr_rejoin_forget(const struct sr_config *config);

#endif
