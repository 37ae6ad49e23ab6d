/* SPDX-License-Identifier: Apache-2.0
 *
 * What a request says wrongly all by itself, whatever the state: etcd's checks before anything is
 * proposed or read, with its answers, in its order. Pure functions for any thread. The messages
 * must have come through sr_message_unpack, which bounds their nesting.
 */
#ifndef SR_PROTO_VALIDATE_H
#define SR_PROTO_VALIDATE_H

#include <stdbool.h>
#include <stddef.h>

#include "proto/api_error.h"
#include "proto/rpc.pb-c.h"

/* All return SR_API_NONE when there is nothing to object to. */
enum sr_api_error sr_validate_range(const Etcdserverpb__RangeRequest *request);
enum sr_api_error sr_validate_put(const Etcdserverpb__PutRequest *request);
enum sr_api_error sr_validate_delete_range(const Etcdserverpb__DeleteRangeRequest *request);
/* Budget of operations, compares and operations one by one, then keys given twice. */
enum sr_api_error sr_validate_txn(const Etcdserverpb__TxnRequest *request);
enum sr_api_error sr_validate_compaction(const Etcdserverpb__CompactionRequest *request);

/* @size: of the packed Command. */
enum sr_api_error sr_validate_size(size_t size);

/* Whether every operation of both branches is directly a Range: then it needs no consensus, but a
 * read index, unless it is serializable too. A nested transaction goes through the log. An empty
 * one is both read-only and serializable. */
bool sr_txn_is_read_only(const Etcdserverpb__TxnRequest *request);
bool sr_txn_is_serializable(const Etcdserverpb__TxnRequest *request);
/* Whether a put is in it anywhere, in the branch that is not taken as well: such a transaction is
 * refused when the disk is full, as etcd does. */
bool sr_txn_has_put(const Etcdserverpb__TxnRequest *request);

#endif
