/* SPDX-License-Identifier: Apache-2.0
 *
 * Which place in the cluster record is meant for a node that asks to be let in. Pure.
 */
#ifndef SR_NODE_CLUSTER_JOIN_MATCH_H
#define SR_NODE_CLUSTER_JOIN_MATCH_H

#include <stdbool.h>

#include "base/err.h"
#include "proto/peer.pb-c.h"

/* The index in @record of the place for @request, or its n_members with a sentence in @err.
 * @has_name: the certificate of the other side carries the name that it gives. */
size_t sr_join_match(const Strongroom__ClusterRecord *record,
                     const Strongroom__JoinRequest *request, bool has_name, struct sr_err *err);

#endif
