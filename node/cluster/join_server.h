/* SPDX-License-Identifier: Apache-2.0
 *
 * The member that a node asks to be let in (node/cluster/join.h): any, on the thread of the bulk
 * connection. It looks for the place in the record, checks that it is meant for whom it speaks to,
 * and claims it through the log, so that of two who come at once one is told no. Whoever has taken
 * a place may ask for it again, with the same key and token, until it has published: an answer that
 * was lost costs nothing.
 */
#ifndef SR_NODE_CLUSTER_JOIN_SERVER_H
#define SR_NODE_CLUSTER_JOIN_SERVER_H

#include "node/consensus/consensus.h"
#include "node/peer/bulk.h"
#include "node/state/answer.h"

struct sr_join_server;

/* Before consensus starts: @origins gets SR_PEER_BULK_MAX more, one for each claim at a time. */
struct sr_join_server *sr_join_server_new(struct sr_origins *origins, struct sr_store *store,
                                          uint64_t cluster_id);
/* Before the first connection comes. */
void sr_join_server_set_consensus(struct sr_join_server *server, struct sr_consensus *consensus);
/* After consensus has stopped. NULL is fine. */
void sr_join_server_free(struct sr_join_server *server);

/* The thread of a bulk connection, of which there are at most SR_PEER_BULK_MAX: answer its
 * request. */
void sr_join_server_serve(struct sr_join_server *server, struct sr_bulk *bulk);

#endif
