/* SPDX-License-Identifier: Apache-2.0
 *
 * How a node comes to a cluster that is there already. An operator makes a place for it ("member
 * add"); the node asks any member for that place and is told its identity:
 *
 *   certificate of the CA, carrying the name       who asks
 *   one-time token, or the address of the place    that the place is meant for it
 *   ClusterChange.claim, through the log           that nobody else gets it
 *
 * What it was told is kept in DIR/joined, before there is anything else in the directory: from then
 * on the node is that member, with or without cluster.join. Its log begins with what the leader
 * sends; it takes no part in elections until it is told.
 */
#ifndef SR_NODE_CLUSTER_JOIN_H
#define SR_NODE_CLUSTER_JOIN_H

#include "node/config/config.h"

/* If DIR/joined is there, or cluster.join is given (or what `strongroom rebuild` left,
 * node/cluster/rejoin.h) for a directory without data: replace the ids and members of @config by
 * what the cluster told; otherwise leave it as it is. Blocks until a member answers, and logs whom
 * it waits for. SR_REFUSED: every member that was reached said no, with the words of the last;
 * SR_CORRUPT, SR_IO, SR_KEY (the token file may be read by others), SR_INVALID. */
int sr_join(struct sr_config *config, struct sr_err *err);

#endif
