/* SPDX-License-Identifier: Apache-2.0
 *
 * The rule that one branch of a transaction gives no key twice: no two puts of a key, no put of a
 * key that a delete of the same branch covers, nested transactions included.
 */
#ifndef SR_PROTO_TXN_KEYS_H
#define SR_PROTO_TXN_KEYS_H

#include <stdbool.h>
#include <stddef.h>

#include "proto/rpc.pb-c.h"

/* Whether the operations of one branch break the rule. They must be valid one by one. */
bool sr_txn_keys_given_twice(Etcdserverpb__RequestOp *const *ops, size_t count);

#endif
