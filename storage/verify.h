/* SPDX-License-Identifier: Apache-2.0
 *
 * What is authenticated when a database is opened, beyond the structure of its pages: the index. A
 * name that was altered would not be found where it is looked for, and would so seem to be absent;
 * records are looked for because the index has them, and are authenticated when they are read.
 */
#ifndef SR_STORAGE_VERIFY_H
#define SR_STORAGE_VERIFY_H

#include "storage/lmdb.h"

/* Check order, names and headers of the index in the file @path, which passed sr_pages_check;
 * @txn: a read transaction on it. SR_CORRUPT, SR_KEY, SR_IO. */
int sr_verify_index(const struct sr_lmdb *lmdb, MDB_txn *txn, const char *path, struct sr_err *err);

#endif
