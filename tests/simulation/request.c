/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/simulation/request.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/check.h"
#include "proto/command.pb-c.h"
#include "storage/requests.h"

static ProtobufCBinaryData text_of(char *text)
{
    return (ProtobufCBinaryData){strlen(text), (uint8_t *)text};
}

static ProtobufCBinaryData key_of(size_t key, char buffer[8])
{
    snprintf(buffer, 8, "%s", history_key(key));
    return text_of(buffer);
}

/* The number, and as much behind it as asked for. */
static char *value_of(const struct op *op, size_t bytes)
{
    char *text = sr_zalloc(bytes + 32);
    int size = snprintf(text, 32, "%llu:", (unsigned long long)op->number);
    memset(text + size, 'x', bytes);
    return text;
}

static void pack(const Strongroom__Command *command, struct sr_buf *ret)
{
    size_t size = strongroom__command__get_packed_size(command);
    strongroom__command__pack(command, sr_buf_extend(ret, size));
}

static void pack_put(const struct op *op, Strongroom__Command *command, char *value,
                     struct sr_buf *ret)
{
    char key[8];
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
    put.key = key_of(op->key, key);
    put.value = text_of(value);
    command->operation_case = STRONGROOM__COMMAND__OPERATION_PUT;
    command->put = &put;
    pack(command, ret);
}

static void pack_delete(const struct op *op, Strongroom__Command *command, struct sr_buf *ret)
{
    char key[8];
    Etcdserverpb__DeleteRangeRequest request = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
    request.key = key_of(op->key, key);
    command->operation_case = STRONGROOM__COMMAND__OPERATION_DELETE_RANGE;
    command->delete_range = &request;
    pack(command, ret);
}

static void pack_compact(const struct request_source *source, Strongroom__Command *command,
                         struct sr_buf *ret)
{
    Etcdserverpb__CompactionRequest request = ETCDSERVERPB__COMPACTION_REQUEST__INIT;
    request.revision = source->revision;
    command->operation_case = STRONGROOM__COMMAND__OPERATION_COMPACTION;
    command->compaction = &request;
    pack(command, ret);
}

static void pack_cas(const struct op *op, Strongroom__Command *command, char *value,
                     struct sr_buf *ret)
{
    char key[8];
    Etcdserverpb__Compare compare = ETCDSERVERPB__COMPARE__INIT;
    compare.result = ETCDSERVERPB__COMPARE__COMPARE_RESULT__EQUAL;
    compare.target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__MOD;
    compare.key = key_of(op->key, key);
    compare.target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_MOD_REVISION;
    compare.mod_revision = op->expected;
    Etcdserverpb__PutRequest put = ETCDSERVERPB__PUT_REQUEST__INIT;
    put.key = compare.key;
    put.value = text_of(value);
    Etcdserverpb__RangeRequest range = ETCDSERVERPB__RANGE_REQUEST__INIT;
    range.key = compare.key;
    Etcdserverpb__RequestOp then = ETCDSERVERPB__REQUEST_OP__INIT;
    then.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
    then.request_put = &put;
    Etcdserverpb__RequestOp otherwise = ETCDSERVERPB__REQUEST_OP__INIT;
    otherwise.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE;
    otherwise.request_range = &range;
    Etcdserverpb__Compare *compares[] = {&compare};
    Etcdserverpb__RequestOp *success[] = {&then};
    Etcdserverpb__RequestOp *failure[] = {&otherwise};
    Etcdserverpb__TxnRequest txn = ETCDSERVERPB__TXN_REQUEST__INIT;
    txn.compare = compares;
    txn.success = success;
    txn.failure = failure;
    txn.n_compare = txn.n_success = txn.n_failure = 1;
    command->operation_case = STRONGROOM__COMMAND__OPERATION_TXN;
    command->txn = &txn;
    pack(command, ret);
}

static void pack_pair(Strongroom__Command *command, char *value, struct sr_buf *ret)
{
    char keys[2][8];
    Etcdserverpb__PutRequest puts[2];
    Etcdserverpb__RequestOp ops[2];
    Etcdserverpb__RequestOp *success[2];
    for (size_t i = 0; i < 2; i++) {
        etcdserverpb__put_request__init(&puts[i]);
        puts[i].key = key_of(HISTORY_PAIR + i, keys[i]);
        puts[i].value = text_of(value);
        etcdserverpb__request_op__init(&ops[i]);
        ops[i].request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
        ops[i].request_put = &puts[i];
        success[i] = &ops[i];
    }
    Etcdserverpb__TxnRequest txn = ETCDSERVERPB__TXN_REQUEST__INIT;
    txn.success = success;
    txn.n_success = 2;
    command->operation_case = STRONGROOM__COMMAND__OPERATION_TXN;
    command->txn = &txn;
    pack(command, ret);
}

void request_pack(const struct op *op, const struct request_source *source, struct sr_buf *ret)
{
    char actor[] = "client";
    uint8_t id[SR_REQUEST_ID_BYTES] = {0};
    Strongroom__Command command = STRONGROOM__COMMAND__INIT;
    command.origin = source->origin;
    command.sequence = source->sequence;
    command.actor = actor;
    sr_put_u64(id, op->number);
    if (source->with_id) {
        command.request_id = (ProtobufCBinaryData){sizeof(id), id};
    }
    char *value = value_of(op, source->value_bytes);
    switch (op->kind) {
    case OP_PUT:
    case OP_COUNT:
        pack_put(op, &command, value, ret);
        break;
    case OP_DELETE:
        pack_delete(op, &command, ret);
        break;
    case OP_CAS:
        pack_cas(op, &command, value, ret);
        break;
    case OP_PAIR:
        pack_pair(&command, value, ret);
        break;
    default:
        sr_check(op->kind == OP_COMPACT);
        pack_compact(source, &command, ret);
        break;
    }
    sr_free(value);
}

/* ---- answers ---- */

struct found request_found(const Mvccpb__KeyValue *kv)
{
    struct found found = {0};
    char text[32] = {0};
    if (kv == NULL) {
        return found;
    }
    memcpy(text, kv->value.data, kv->value.len < 31 ? kv->value.len : 31);
    found.exists = true;
    found.value = strtoull(text, NULL, 10);
    found.mod_revision = kv->mod_revision;
    found.version = kv->version;
    return found;
}

static bool unpack_delete(struct op *op, struct sr_bytes body)
{
    Etcdserverpb__DeleteRangeResponse *response =
        etcdserverpb__delete_range_response__unpack(NULL, body.size, body.data);
    if (response == NULL) {
        return false;
    }
    op->wrote = response->deleted == 1;
    bool good = response->deleted == 0 || response->deleted == 1;
    etcdserverpb__delete_range_response__free_unpacked(response, NULL);
    return good;
}

static bool unpack_txn(struct op *op, struct sr_bytes body)
{
    Etcdserverpb__TxnResponse *response =
        etcdserverpb__txn_response__unpack(NULL, body.size, body.data);
    if (response == NULL) {
        return false;
    }
    bool good = response->n_responses == (op->kind == OP_PAIR ? 2 : 1);
    op->wrote = response->succeeded;
    if (good && !op->wrote) {
        const Etcdserverpb__ResponseOp *first = response->responses[0];
        good = op->kind == OP_CAS &&
               first->response_case == ETCDSERVERPB__RESPONSE_OP__RESPONSE_RESPONSE_RANGE &&
               first->response_range->n_kvs <= 1;
        if (good) {
            const Etcdserverpb__RangeResponse *range = first->response_range;
            op->found = request_found(range->n_kvs == 0 ? NULL : range->kvs[0]);
        }
    }
    etcdserverpb__txn_response__free_unpacked(response, NULL);
    return good;
}

bool request_unpack(struct op *op, struct sr_bytes body)
{
    switch (op->kind) {
    case OP_PUT:
    case OP_COUNT:
        op->wrote = true;
        return true;
    case OP_DELETE:
        return unpack_delete(op, body);
    case OP_CAS:
    case OP_PAIR:
        return unpack_txn(op, body);
    default:
        return op->kind == OP_COMPACT;
    }
}
