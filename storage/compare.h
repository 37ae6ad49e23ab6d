/* SPDX-License-Identifier: Apache-2.0
 *
 * The guards of a transaction.
 */
#ifndef SR_STORAGE_COMPARE_H
#define SR_STORAGE_COMPARE_H

#include "storage/mvcc.h"

/* Whether all of @txn's own compares hold at @revision of @view. */
int sr_compares_hold(const Etcdserverpb__TxnRequest *txn, struct sr_view *view, int64_t revision,
                     bool *ret_hold, struct sr_err *err);

#endif
