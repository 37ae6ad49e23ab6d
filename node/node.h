/* SPDX-License-Identifier: Apache-2.0
 *
 * One node, put together: data directory, keys, log, store, consensus, services, admin port.
 */
#ifndef SR_NODE_NODE_H
#define SR_NODE_NODE_H

#include <stdbool.h>

#include "node/config/config.h"

struct sr_node;

/* Bring everything up, in order; on failure everything that was up is down again. */
int sr_node_start(const struct sr_config *config, struct sr_node **ret, struct sr_err *err);
/* Block until a stop is asked for (sr_node_ask_stop), the node failed, or it has to start anew,
 * because that is when a fetched image is adopted. SR_OK for the first and the last, which
 * @ret_restart tells apart: stop it, and start again; otherwise what failed. */
int sr_node_wait(struct sr_node *node, bool *ret_restart, struct sr_err *err);
/* Async-signal-safe. */
void sr_node_ask_stop(struct sr_node *node);
/* Drain, hand over leadership, close everything, free. */
void sr_node_stop(struct sr_node *node);

#endif
