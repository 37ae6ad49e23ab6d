/* SPDX-License-Identifier: Apache-2.0
 *
 * Transactions: decide the whole path through all branches on the state before, check what the
 * path asks for, then execute it. view.h has the one for transactions that only read.
 */
#ifndef SR_STORAGE_TXN_H
#define SR_STORAGE_TXN_H

#include "storage/change.h"

/* Execute @request, which is valid (proto/validate.h), as part of @change, and write the fields
 * of its TxnResponse except the header. With *ret_error set nothing has happened. Fails only with
 * the store. */
int sr_txn_execute(struct sr_change *change, const Etcdserverpb__TxnRequest *request,
                   struct sr_reply *reply, enum sr_api_error *ret_error, struct sr_err *err);

#endif
