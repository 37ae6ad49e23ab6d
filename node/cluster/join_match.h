/* SPDX-License-Identifier: Apache-2.0
 *
 * Which place in the cluster record is meant for a node that asks to be let in. Pure.
 */
#ifndef SR_NODE_CLUSTER_JOIN_MATCH_H
#define SR_NODE_CLUSTER_JOIN_MATCH_H

#include <stdbool.h>

#include "base/err.h"
#include "node/cluster/token.h"
#include "proto/peer.pb-c.h"

/* Who asks, as TLS has proved it. */
struct sr_join_asker {
    bool has_name;                      /* its certificate carries the name that it gives */
    uint8_t claim[SR_TOKEN_HASH_BYTES]; /* sr_token_claim of its key and the token */
};

/* The index in @record of the place for @request, or its n_members with a sentence in @err. A place
 * that @asker has taken itself, and not published since, is its own still. */
size_t sr_join_match(const Strongroom__ClusterRecord *record,
                     const Strongroom__JoinRequest *request, const struct sr_join_asker *asker,
                     struct sr_err *err);

#endif
