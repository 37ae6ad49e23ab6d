/* SPDX-License-Identifier: Apache-2.0
 *
 * How a node goes: what the others need comes first.
 */
#ifndef SR_NODE_LEAVE_H
#define SR_NODE_LEAVE_H

#include "node/config/config.h"
#include "node/consensus/consensus.h"
#include "node/rpc/rpc.h"
#include "storage/store.h"

/* What a node that is asked to stop does. A stop is never refused: what speaks against it is
 * logged. Leadership goes first, while this node still serves: writes wait for the transfer and
 * for nothing else. Then the clients, whose open calls go through the new leader. Blocks; no
 * loop's thread. */
void sr_leave(const struct sr_config *config, uint64_t self, struct sr_store *store,
              struct sr_consensus *consensus, struct sr_rpc *rpc);

/* What a node does that is about to start anew in this process. So far behind, it does not lead. */
void sr_leave_for_restart(struct sr_rpc *rpc);

/* What a node that failed does. It has nothing to offer to clients; but who had it removed, through
 * this very node, gets an answer. */
void sr_leave_failed(struct sr_rpc *rpc, const struct sr_err *failure);

#endif
