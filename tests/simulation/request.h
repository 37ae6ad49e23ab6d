/* SPDX-License-Identifier: Apache-2.0
 *
 * Operations as packed commands, and answers unpacked.
 */
#ifndef SR_TESTS_SIMULATION_REQUEST_H
#define SR_TESTS_SIMULATION_REQUEST_H

#include "base/buf.h"
#include "proto/rpc.pb-c.h"
#include "tests/simulation/history.h"

struct request_source {
    uint64_t origin;
    uint64_t sequence;
    bool with_id; /* the operation's number is the id */
    size_t value_bytes;
    int64_t revision; /* of a compaction */
};

/* Append the command of @op to @ret. */
void request_pack(const struct op *op, const struct request_source *source, struct sr_buf *ret);
/* The body of an answer without error: sets wrote and found of @op. False when it is not what
 * that operation is answered with. */
bool request_unpack(struct op *op, struct sr_bytes body);
/* A key as found, or not found: @kv NULL. */
struct found request_found(const Mvccpb__KeyValue *kv);

#endif
