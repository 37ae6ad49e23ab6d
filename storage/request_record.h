/* SPDX-License-Identifier: Apache-2.0
 *
 * How a remembered answer is kept in table `request`: sealed, bound to its number.
 *
 *   format u8 = 1, flags u8 (1: without body), revision u64, name 16, size of error text u16,
 *   error text, body
 *
 * The error is kept as its text, because the numbers of enum sr_api_error may change.
 */
#ifndef SR_STORAGE_REQUEST_RECORD_H
#define SR_STORAGE_REQUEST_RECORD_H

#include "storage/requests.h"

#define SR_REQUEST_KEY_BYTES 8

/* Append the record of @item in the clear to @out, and make an item of one, to be released with
 * sr_free. SR_FORMAT. */
void sr_request_record_pack(const struct sr_remembered *item, struct sr_buf *out);
int sr_request_record_parse(uint64_t number, struct sr_bytes plain, struct sr_remembered **ret,
                            struct sr_err *err);
/* Replace the content of @ret_box by the sealed record of @item. */
int sr_request_record_seal(struct sr_lmdb *lmdb, MDB_txn *txn, const struct sr_remembered *item,
                           struct sr_buf *ret_box, struct sr_err *err);
/* Open a record; *@ret is to be released with sr_free. SR_CORRUPT, SR_FORMAT. */
int sr_request_record_open(struct sr_opener *opener, MDB_txn *txn, const MDB_val *key,
                           const MDB_val *box, struct sr_remembered **ret, struct sr_err *err);

#endif
