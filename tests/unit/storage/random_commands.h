/* SPDX-License-Identifier: Apache-2.0
 *
 * Commands drawn from a seed, over few keys so that they meet: valid ones and invalid ones.
 */
#ifndef SR_TESTS_STORAGE_RANDOM_COMMANDS_H
#define SR_TESTS_STORAGE_RANDOM_COMMANDS_H

#include "tests/unit/storage/commands.h"

#define RANDOM_KEYS 12

static inline uint64_t below(uint64_t *seed, uint64_t bound)
{
    return fixture_random(seed) % bound;
}

static inline const char *random_key(uint64_t *seed)
{
    char *key = commands_alloc(4);
    key[0] = 'k';
    key[1] = (char)('a' + below(seed, RANDOM_KEYS));
    return key;
}

static inline ProtobufCBinaryData random_end(uint64_t *seed)
{
    switch (below(seed, 6)) {
    case 0:
    case 1:
        return data_of(random_key(seed)); /* may be before the beginning */
    case 2:
        return no_end();
    default:
        return data_of("");
    }
}

static inline const char *random_value(uint64_t *seed)
{
    char *value = commands_alloc(16);
    (void)snprintf(value, 16, "%d", (int)below(seed, 5));
    return value;
}

static inline Etcdserverpb__PutRequest *random_put(uint64_t *seed)
{
    Etcdserverpb__PutRequest *request = put_request(random_key(seed), random_value(seed));
    request->prev_kv = below(seed, 3) == 0;
    request->ignore_lease = below(seed, 8) == 0;
    request->lease = below(seed, 40) == 0 ? 5 : 0;
    if (below(seed, 6) == 0) {
        request->ignore_value = true;
        request->value = data_of("");
    }
    return request;
}

static inline Etcdserverpb__DeleteRangeRequest *random_delete(uint64_t *seed)
{
    Etcdserverpb__DeleteRangeRequest *request = delete_request(random_key(seed), "");
    request->range_end = random_end(seed);
    request->prev_kv = below(seed, 2) == 0;
    return request;
}

static inline Etcdserverpb__RangeRequest *random_range(uint64_t *seed, int64_t revision)
{
    Etcdserverpb__RangeRequest *request = range_request(random_key(seed), "");
    request->range_end = random_end(seed);
    request->count_only = below(seed, 5) == 0;
    request->keys_only = below(seed, 5) == 0;
    request->limit = (int64_t)below(seed, 4);
    if (below(seed, 4) == 0) {
        request->revision = revision + 1 - (int64_t)below(seed, 12);
    }
    return request;
}

static inline Etcdserverpb__Compare *random_compare(uint64_t *seed, int64_t revision)
{
    Etcdserverpb__Compare *compare = NULL;
    int result = (int)below(seed, 4);
    switch (below(seed, 4)) {
    case 0:
        compare = compare_value(random_key(seed), result, random_value(seed));
        break;
    case 1:
        compare = compare_number(random_key(seed), 0, result, (int64_t)below(seed, 4));
        break;
    default: /* created, modified */
        compare = compare_number(random_key(seed), 1 + (int)below(seed, 2), result,
                                 revision - (int64_t)below(seed, 20));
        break;
    }
    compare->range_end = random_end(seed);
    return compare;
}

static inline Etcdserverpb__TxnRequest *random_txn(uint64_t *seed, int64_t revision, int depth);

static inline Etcdserverpb__RequestOp *random_op(uint64_t *seed, int64_t revision, int depth)
{
    switch (below(seed, depth > 0 ? 8 : 6)) {
    case 0:
    case 1:
    case 2:
        return op_put(random_put(seed));
    case 3:
        return op_delete(random_delete(seed));
    case 4:
    case 5:
        return op_range(random_range(seed, revision));
    default:
        return op_txn(random_txn(seed, revision, depth - 1));
    }
}

static inline Etcdserverpb__TxnRequest *random_txn(uint64_t *seed, int64_t revision, int depth)
{
    Etcdserverpb__TxnRequest *request = txn_request();
    for (uint64_t left = below(seed, 3); left > 0; left--) {
        when(request, random_compare(seed, revision));
    }
    for (uint64_t left = below(seed, 4); left > 0; left--) {
        then(request, random_op(seed, revision, depth));
    }
    for (uint64_t left = below(seed, 4); left > 0; left--) {
        otherwise(request, random_op(seed, revision, depth));
    }
    return request;
}

/* @revision: about where the store is, so that revisions in the command are near. */
static inline Strongroom__Command *random_command(uint64_t *seed, int64_t revision)
{
    Strongroom__Command *command = NULL;
    switch (below(seed, 12)) {
    case 0:
    case 1:
    case 2:
        command = put(random_put(seed));
        break;
    case 3:
        command = del(random_delete(seed));
        break;
    case 4:
        command = compact(revision - (int64_t)below(seed, 12));
        break;
    default:
        command = txn(random_txn(seed, revision, 3));
        break;
    }
    return below(seed, 4) == 0 ? with_id(command, below(seed, 50)) : command;
}

#endif
