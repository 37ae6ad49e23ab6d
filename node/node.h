/* SPDX-License-Identifier: Apache-2.0
 *
 * One node, put together: data directory, keys, log, store, consensus, services, admin port.
 */
#ifndef SR_NODE_NODE_H
#define SR_NODE_NODE_H

#include "node/config/config.h"

struct sr_node;

/* Bring everything up, in order; on failure everything that was up is down again. */
int sr_node_start(const struct sr_config *config, struct sr_node **ret, struct sr_err *err);
/* Block until @signals_fd-style stop is asked for (sr_node_ask_stop) or the node failed.
 * SR_OK for a requested stop, otherwise what failed. */
int sr_node_wait(struct sr_node *node, struct sr_err *err);
/* Async-signal-safe. */
void sr_node_ask_stop(struct sr_node *node);
/* Drain, hand over leadership, close everything, free. */
void sr_node_stop(struct sr_node *node);

#endif
