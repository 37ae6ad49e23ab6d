/* SPDX-License-Identifier: Apache-2.0
 *
 * Applying a log entry. Each command makes at most one revision; all of the entry becomes visible
 * at once, and only then is anybody answered. Nothing here looks at a clock (but for metrics), at
 * random numbers or at who this node is.
 *
 *   unpack ──► remembered? ──yes──► the first answer again
 *                  └──no──► alarm? ──no──► validate ──► execute ──► remember, if it has an id
 */
#include <string.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/clock.h"
#include "proto/batch.h"
#include "proto/limits.h"
#include "proto/message.h"
#include "proto/validate.h"
#include "storage/change.h"
#include "storage/cluster_record.h"
#include "storage/offsite_record.h"
#include "storage/requests.h"
#include "storage/txn.h"

/* What the apply thread keeps from entry to entry. */
struct sr_applying {
    struct sr_arena arena; /* one command, unpacked */
    struct sr_statehash *hash;
    struct sr_outcome *outcomes; /* wanted ones of the entry, until it is visible */
    size_t outcome_count;
    size_t outcome_capacity;
    size_t body_bytes; /* of all of them */
};

static struct sr_applying *applying_of(struct sr_store *store)
{
    if (store->applying == NULL) {
        store->applying = sr_zalloc(sizeof(*store->applying));
        store->applying->hash = sr_statehash_new();
        sr_arena_init(&store->applying->arena, SR_UNPACK_BYTES_MAX);
    }
    return store->applying;
}

static void drop_outcomes(struct sr_applying *applying)
{
    for (size_t i = 0; i < applying->outcome_count; i++) {
        sr_buf_close(&applying->outcomes[i].body);
    }
    applying->outcome_count = 0;
    applying->body_bytes = 0;
}

void sr_applying_free(struct sr_applying *applying)
{
    if (applying == NULL) {
        return;
    }
    drop_outcomes(applying);
    sr_arena_close(&applying->arena);
    sr_statehash_free(applying->hash);
    sr_free(applying->outcomes);
    sr_free(applying);
}

static int apply_put(struct sr_change *change, const Etcdserverpb__PutRequest *request,
                     struct sr_reply *reply, enum sr_api_error *ret_error, struct sr_err *err)
{
    *ret_error = sr_validate_put(request);
    if (*ret_error == SR_API_NONE && request->lease != 0) {
        *ret_error = SR_API_LEASE_NOT_FOUND; /* before the key is looked for, as in etcd */
    }
    if (*ret_error == SR_API_NONE && (request->ignore_value || request->ignore_lease)) {
        struct sr_version version;
        int rc = sr_range_get(change->view, sr_bytes_from(request->key), INT64_MAX, &version, err);
        if (rc == SR_NOT_FOUND) {
            *ret_error = SR_API_KEY_NOT_FOUND;
        } else if (rc != SR_OK) {
            return rc;
        }
    }
    return *ret_error == SR_API_NONE ? sr_change_put(change, request, reply, err) : SR_OK;
}

static int apply_compaction(struct sr_store *store, struct sr_statehash *hash,
                            const Etcdserverpb__CompactionRequest *request,
                            enum sr_api_error *ret_error, struct sr_err *err)
{
    *ret_error = sr_validate_compaction(request);
    if (*ret_error == SR_API_NONE && request->revision <= store->apply.compact_revision) {
        *ret_error = SR_API_COMPACTED;
    } else if (*ret_error == SR_API_NONE && request->revision > store->apply.revision) {
        *ret_error = SR_API_FUTURE_REVISION;
    }
    if (*ret_error != SR_API_NONE) {
        return SR_OK;
    }
    store->apply.compact_revision = request->revision;
    sr_statehash_begin(hash, store->apply.hash, store->apply.revision);
    sr_statehash_compaction(hash, request->revision);
    return sr_statehash_end(hash, store->apply.hash, err);
}

/* Execute @command. Sets error and revision of @outcome and writes @reply; fails only with the
 * store, or with SR_FORMAT for an operation that this version does not know. */
static int execute(struct sr_store *store, const Strongroom__Command *command,
                   struct sr_outcome *outcome, struct sr_reply *reply, struct sr_err *err)
{
    struct sr_change change = sr_change_begin(store, store->applying->hash);
    int rc = SR_OK;
    switch (command->operation_case) {
    case STRONGROOM__COMMAND__OPERATION_PUT:
        rc = apply_put(&change, command->put, reply, &outcome->error, err);
        break;
    case STRONGROOM__COMMAND__OPERATION_DELETE_RANGE:
        outcome->error = sr_validate_delete_range(command->delete_range);
        if (outcome->error == SR_API_NONE) {
            rc = sr_change_delete_range(&change, command->delete_range, reply, err);
        }
        break;
    case STRONGROOM__COMMAND__OPERATION_TXN:
        outcome->error = sr_validate_txn(command->txn);
        if (outcome->error == SR_API_NONE) {
            rc = sr_txn_execute(&change, command->txn, reply, &outcome->error, err);
        }
        sr_count(&store->metrics.txns, 1);
        break;
    case STRONGROOM__COMMAND__OPERATION_COMPACTION:
        rc = apply_compaction(store, store->applying->hash, command->compaction, &outcome->error,
                              err);
        break;
    case STRONGROOM__COMMAND__OPERATION_CLUSTER:
        rc = sr_cluster_apply(store, store->applying->hash, command->cluster, reply,
                              &outcome->error, err);
        break;
    case STRONGROOM__COMMAND__OPERATION_OFFSITE:
        rc = sr_offsite_apply(store, store->applying->hash, command->offsite, &outcome->error, err);
        break;
    default:
        return sr_err_set(err, SR_FORMAT, "an operation that this version does not know");
    }
    if (rc == SR_OK) {
        rc = sr_change_end(&change, err);
    }
    outcome->revision = store->apply.revision;
    return rc;
}

/* What an answer may take. Answers to nobody are built only to be remembered. With @wanted it is
 * what those of the same entry that wait have left, but never so little that it would decide what
 * is remembered: while it is built, an answer is a little larger than in the end, hence twice. */
static size_t body_limit(const struct sr_applying *applying, bool wanted)
{
    const size_t least = (size_t)2 * SR_REMEMBERED_ANSWER_BYTES_MAX;
    const size_t most = SR_RESPONSE_BYTES_MAX;
    size_t left = most > applying->body_bytes ? most - applying->body_bytes : 0;
    return wanted && left > least ? left : least;
}

static int execute_once(struct sr_store *store, const Strongroom__Command *command, bool wanted,
                        struct sr_outcome *outcome, struct sr_err *err)
{
    bool has_id = command->request_id.len > 0;
    struct sr_request_name name;
    if (has_id) {
        int rc = sr_request_name(command, &name, err);
        if (rc == SR_OK) {
            rc = sr_requests_find(store, &name, outcome, err);
        }
        if (rc != SR_NOT_FOUND) {
            return rc;
        }
    }
    outcome->error = sr_cluster_refuses(store, command);
    if (outcome->error != SR_API_NONE) {
        outcome->revision = store->apply.revision;
        return SR_OK; /* not remembered: when the alarm is gone, the same request may succeed */
    }
    struct sr_reply reply = {.wanted = wanted || has_id,
                             .limit = body_limit(store->applying, wanted)};
    int64_t before = store->apply.revision;
    int rc = execute(store, command, outcome, &reply, err);
    if (rc == SR_OK && outcome->error == SR_API_NONE) {
        (void)sr_reply_fits(&reply);
        outcome->body = reply.buf;
        reply.buf = (struct sr_buf){0};
    }
    sr_buf_close(&reply.buf);
    /* A change of members that met another epoch is made again, maybe under the same id. */
    if (rc == SR_OK && has_id && outcome->error != SR_API_CLUSTER_CHANGED) {
        sr_requests_remember(store, &name, outcome, reply.too_large);
    }
    if (rc == SR_OK && reply.too_large) {
        outcome->error =
            outcome->revision > before ? SR_API_ANSWER_FORGOTTEN : SR_API_RESPONSE_TOO_LARGE;
    }
    return rc;
}

static void keep_outcome(struct sr_applying *applying, const struct sr_outcome *outcome)
{
    if (applying->outcome_count == applying->outcome_capacity) {
        applying->outcome_capacity =
            applying->outcome_capacity == 0 ? 64 : applying->outcome_capacity * 2;
        applying->outcomes =
            sr_realloc(applying->outcomes, applying->outcome_capacity * sizeof(*outcome));
    }
    applying->outcomes[applying->outcome_count++] = *outcome;
    applying->body_bytes += outcome->body.size;
}

static int apply_command(struct sr_store *store, struct sr_bytes packed, uint64_t term,
                         const struct sr_outcome_sink *sink, struct sr_err *err)
{
    struct sr_applying *applying = store->applying;
    sr_arena_reset(&applying->arena);
    const Strongroom__Command *command = (const Strongroom__Command *)sr_message_unpack_known(
        &strongroom__command__descriptor, &applying->arena, packed.data, packed.size, err);
    if (command == NULL) {
        return err->status == SR_FORMAT ? SR_FORMAT : sr_err_set(err, SR_FORMAT, "not a command");
    }
    if (command->request_id.len != 0 && command->request_id.len != SR_REQUEST_ID_BYTES) {
        return sr_err_set(err, SR_FORMAT, "a request id of %zu bytes", command->request_id.len);
    }
    bool wanted = sink != NULL && sink->wanted(sink->arg, command->origin);
    struct sr_outcome outcome = {
        .origin = command->origin, .sequence = command->sequence, .term = term};
    int rc = execute_once(store, command, wanted, &outcome, err);
    if (rc == SR_OK && wanted) {
        keep_outcome(applying, &outcome);
    } else {
        sr_buf_close(&outcome.body);
    }
    return rc;
}

/* Raft never goes back to an earlier term: an entry that does is not of this log. */
static int enter_term(struct sr_store *store, uint64_t term, struct sr_err *err)
{
    if (term < store->apply.term) {
        return sr_err_set(err, SR_CORRUPT, "term %llu after term %llu", (unsigned long long)term,
                          (unsigned long long)store->apply.term);
    }
    store->apply.term = term;
    return SR_OK;
}

static int apply_batch(struct sr_store *store, const uint8_t *data, size_t size,
                       const struct sr_outcome_sink *sink, struct sr_err *err)
{
    struct sr_batch_reader batch;
    struct sr_bytes packed;
    int rc = sr_batch_open(&batch, data, size, err);
    if (rc == SR_OK) {
        rc = enter_term(store, batch.term, err);
    }
    while (rc == SR_OK && sr_batch_next(&batch, &packed)) {
        rc = apply_command(store, packed, batch.term, sink, err);
    }
    return rc;
}

/* Whatever stops an entry half way leaves a state that no other node has: the store is failed, by
 * errors too that would pass elsewhere. */
static int fail(struct sr_store *store, uint64_t index, struct sr_err *local, struct sr_err *err)
{
    if (store->applying != NULL) {
        drop_outcomes(store->applying);
    }
    (void)sr_err_prefix(local, "apply entry %llu", (unsigned long long)index);
    if (local->status == SR_NO_SPACE || local->status == SR_LIMIT ||
        local->status == SR_NOT_FOUND) {
        local->status = SR_INTERNAL;
    }
    if (err != NULL) {
        *err = *local;
    }
    return sr_store_fail(store, local);
}

/* Whether @index is the next one; otherwise *ret_status is what to answer. */
static bool is_next(struct sr_store *store, uint64_t index, int *ret_status, struct sr_err *err)
{
    *ret_status = sr_store_failure(store, err);
    if (*ret_status != SR_OK || index <= store->apply.applied_index) {
        return false;
    }
    sr_check(index == store->apply.applied_index + 1);
    return true;
}

int sr_store_apply(struct sr_store *store, uint64_t index, const uint8_t *data, size_t size,
                   const struct sr_outcome_sink *sink, struct sr_err *err)
{
    int rc = SR_OK;
    if (!is_next(store, index, &rc, err)) {
        return rc;
    }
    uint64_t start_ns = sr_clock_monotonic_ns();
    struct sr_applying *applying = applying_of(store);
    struct sr_err local = {0};
    rc = apply_batch(store, data, size, sink, &local);
    if (rc != SR_OK) {
        return fail(store, index, &local, err);
    }
    sr_store_publish(store, index);
    sr_histogram_observe(&store->metrics.apply_duration, sr_clock_monotonic_ns() - start_ns);
    for (size_t i = 0; i < applying->outcome_count; i++) {
        sink->deliver(sink->arg, &applying->outcomes[i]);
    }
    drop_outcomes(applying);
    return SR_OK;
}

int sr_store_apply_empty(struct sr_store *store, uint64_t index, uint64_t term, struct sr_err *err)
{
    struct sr_err local = {0};
    int rc = SR_OK;
    if (!is_next(store, index, &rc, err)) {
        return rc;
    }
    if (enter_term(store, term, &local) != SR_OK) {
        return fail(store, index, &local, err);
    }
    sr_store_publish(store, index);
    return SR_OK;
}

int sr_store_apply_configuration(struct sr_store *store, uint64_t index, uint64_t term,
                                 const uint8_t *data, size_t size, struct sr_err *err)
{
    struct sr_err local = {0};
    int rc = SR_OK;
    if (!is_next(store, index, &rc, err)) {
        return rc;
    }
    rc = enter_term(store, term, &local);
    if (rc == SR_OK && (size == 0 || size > SR_CONFIGURATION_BYTES_MAX)) {
        rc = sr_err_set(&local, SR_FORMAT, "a configuration of %zu bytes", size);
    }
    if (rc != SR_OK) {
        return fail(store, index, &local, err);
    }
    store->apply.configuration_index = index;
    store->apply.configuration_size = (uint16_t)size;
    memcpy(store->apply.configuration, data, size);
    sr_store_publish(store, index);
    return SR_OK;
}
