/* SPDX-License-Identifier: Apache-2.0
 *
 * DIR/joined: what the cluster told a node that came later. Inside node/cluster, and for
 * node/recover, which makes one.
 */
#ifndef SR_NODE_CLUSTER_JOINED_H
#define SR_NODE_CLUSTER_JOINED_H

#include "node/config/config.h"
#include "proto/peer.pb-c.h"

/* Whether @joined is complete: ids, and a record of well-formed members, with the one that it is
 * about. SR_INVALID. */
int sr_joined_check(const Strongroom__JoinReply *joined, struct sr_err *err);
/* Read and check @dir/joined. SR_NOT_FOUND (without @err), SR_CORRUPT, SR_IO. Free it with
 * strongroom__join_reply__free_unpacked. */
int sr_joined_read(const char *dir, Strongroom__JoinReply **ret, struct sr_err *err);
/* Create @dir if it is missing, and the file in it, synced. */
int sr_joined_write(const char *dir, const Strongroom__JoinReply *joined, struct sr_err *err);
/* Put ids and members into @config. SR_INVALID when it is of another node. */
int sr_joined_take(struct sr_config *config, const Strongroom__JoinReply *joined,
                   struct sr_err *err);

#endif
