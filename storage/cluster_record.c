/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/cluster_record.h"

#include <string.h>

#include "base/alloc.h"
#include "base/check.h"
#include "proto/level.h"
#include "proto/message.h"
#include "proto/validate.h"
#include "storage/cluster_change.h"

#define META_NAME "cluster"

/* ---- One record ---- */

/* Whether more than half of the voters' disks have room. */
static bool majority_has_space(const Strongroom__ClusterRecord *record)
{
    size_t voters = 0;
    size_t full = 0;
    for (size_t i = 0; i < record->n_members; i++) {
        voters += record->members[i]->voter;
        for (size_t k = 0; record->members[i]->voter && k < record->n_alarms; k++) {
            full += record->alarms[k]->member_id == record->members[i]->id &&
                    record->alarms[k]->alarm == ETCDSERVERPB__ALARM_TYPE__NOSPACE;
        }
    }
    return voters == 0 || voters - full > voters / 2;
}

static unsigned alarms_of(const Strongroom__ClusterRecord *record, uint64_t own_id)
{
    unsigned alarms = 0;
    for (size_t i = 0; i < record->n_alarms; i++) {
        const Strongroom__AlarmRecord *alarm = record->alarms[i];
        if (alarm->alarm == ETCDSERVERPB__ALARM_TYPE__NOSPACE) {
            alarms |= SR_ALARM_NO_SPACE;
        } else if (alarm->alarm == ETCDSERVERPB__ALARM_TYPE__CORRUPT) {
            alarms |= SR_ALARM_CORRUPT | (alarm->member_id == own_id ? SR_ALARM_CORRUPT_HERE : 0u);
        }
    }
    return majority_has_space(record) ? alarms : alarms | SR_ALARM_NO_PUTS;
}

/* NULL when @packed is no record. What protobuf-c keeps of a field that it does not know, it may
 * pack into what it cannot read again: an image is not believed without the walk. */
static Strongroom__ClusterRecord *unpack_strange(struct sr_bytes packed)
{
    int rc =
        sr_message_check(&strongroom__cluster_record__descriptor, packed.data, packed.size, NULL);
    Strongroom__ClusterRecord *record =
        rc == SR_OK ? strongroom__cluster_record__unpack(NULL, packed.size, packed.data) : NULL;
    if (record != NULL && !sr_cluster_is_record(record)) {
        strongroom__cluster_record__free_unpacked(record, NULL);
        record = NULL;
    }
    return record;
}

/* SR_CORRUPT when @packed is no record. */
static int cluster_new(const struct sr_store *store, struct sr_bytes packed,
                       struct sr_cluster **ret, struct sr_err *err)
{
    Strongroom__ClusterRecord *record = unpack_strange(packed);
    if (record == NULL) {
        return sr_err_set(err, SR_CORRUPT, "cluster record: malformed");
    }
    struct sr_cluster *cluster = sr_alloc(sizeof(*cluster) + packed.size);
    atomic_init(&cluster->references, 1);
    cluster->epoch = record->epoch;
    cluster->alarms = alarms_of(record, store->options.member_id);
    cluster->size = packed.size;
    memcpy(cluster->packed, packed.data, packed.size);
    strongroom__cluster_record__free_unpacked(record, NULL);
    *ret = cluster;
    return SR_OK;
}

struct sr_cluster *sr_cluster_ref(struct sr_cluster *cluster)
{
    if (cluster != NULL) {
        atomic_fetch_add_explicit(&cluster->references, 1, memory_order_relaxed);
    }
    return cluster;
}

void sr_cluster_unref(struct sr_cluster *cluster)
{
    if (cluster != NULL &&
        atomic_fetch_sub_explicit(&cluster->references, 1, memory_order_acq_rel) == 1) {
        sr_free(cluster);
    }
}

/* ---- Disk ---- */

int sr_cluster_read(struct sr_opener *opener, MDB_txn *txn, struct sr_buf *ret_packed,
                    struct sr_err *err)
{
    size_t size = 0;
    int rc = sr_meta_box_size(opener->lmdb, txn, META_NAME, &size, err);
    if (rc == SR_NOT_FOUND) {
        return SR_OK;
    }
    if (rc != SR_OK) {
        return rc;
    }
    size_t before = ret_packed->size;
    rc = sr_meta_get_box(opener, txn, META_NAME, sr_buf_extend(ret_packed, size), size, err);
    if (rc != SR_OK) {
        ret_packed->size = before;
    }
    return rc;
}

int sr_cluster_load(struct sr_store *store, MDB_txn *txn, struct sr_err *err)
{
    struct sr_buf packed = {0};
    struct sr_cluster *cluster = NULL;
    int rc = sr_cluster_read(&store->opener, txn, &packed, err);
    if (rc == SR_OK && packed.size > 0) {
        rc = cluster_new(store, (struct sr_bytes){packed.data, packed.size}, &cluster, err);
    }
    sr_buf_close(&packed);
    if (rc != SR_OK || cluster == NULL) {
        return rc;
    }
    store->cluster = cluster;
    store->cluster_published = sr_cluster_ref(cluster);
    store->cluster_durable = sr_cluster_ref(cluster);
    atomic_store(&store->cluster_epoch, cluster->epoch);
    atomic_store(&store->alarms, cluster->alarms);
    return SR_OK;
}

int sr_cluster_write(struct sr_store *store, MDB_txn *txn, const struct sr_cluster *cluster,
                     struct sr_err *err)
{
    if (cluster == NULL || cluster == store->cluster_durable) {
        return SR_OK;
    }
    return sr_meta_put_box(&store->lmdb, txn, META_NAME,
                           (struct sr_bytes){cluster->packed, cluster->size}, err);
}

int sr_cluster_import(struct sr_store *store, struct sr_bytes packed, struct sr_err *err)
{
    struct sr_cluster *cluster = NULL;
    int rc = packed.size == 0 ? SR_OK : cluster_new(store, packed, &cluster, err);
    if (rc == SR_OK) {
        sr_cluster_unref(store->cluster);
        store->cluster = cluster;
    }
    return rc;
}

/* ---- Apply ---- */

static void note_check(struct sr_store *store)
{
    struct sr_store_check check = {.index = store->apply.applied_index + 1,
                                   .revision = store->apply.revision};
    memcpy(check.hash, store->apply.hash, sizeof(check.hash));
    pthread_mutex_lock(&store->mutex);
    store->check = check;
    pthread_mutex_unlock(&store->mutex);
}

/* Take over the record that follows, and link it into the state hash. */
static int adopt(struct sr_store *store, struct sr_statehash *hash, struct sr_bytes packed,
                 struct sr_err *err)
{
    struct sr_cluster *next = NULL;
    int rc = cluster_new(store, packed, &next, err);
    if (rc != SR_OK) {
        return rc;
    }
    sr_cluster_unref(store->cluster);
    store->cluster = next;
    sr_statehash_begin(hash, store->apply.hash, store->apply.revision);
    sr_statehash_cluster(hash, packed);
    return sr_statehash_end(hash, store->apply.hash, err);
}

static Strongroom__ClusterRecord *unpack(const struct sr_cluster *cluster)
{
    return strongroom__cluster_record__unpack(NULL, cluster == NULL ? 0 : cluster->size,
                                              cluster == NULL ? NULL : cluster->packed);
}

static int change_record(struct sr_store *store, struct sr_statehash *hash,
                         const Strongroom__ClusterChange *change, struct sr_reply *reply,
                         enum sr_api_error *ret_error, struct sr_err *err)
{
    struct sr_buf packed = {0};
    Strongroom__ClusterRecord *before = unpack(store->cluster);
    Strongroom__ClusterRecord *after = NULL;
    sr_check(before != NULL); /* it was unpacked when it was taken over */
    int rc = SR_OK;
    *ret_error = sr_cluster_change(before, change, store->apply.applied_index + 1, &packed);
    if (packed.size > 0) {
        rc = adopt(store, hash, (struct sr_bytes){packed.data, packed.size}, err);
    }
    if (rc == SR_OK && *ret_error == SR_API_NONE && sr_reply_open(reply)) {
        after = unpack(store->cluster);
        sr_check(after != NULL);
        sr_cluster_answer(before, after, change, &reply->buf);
        strongroom__cluster_record__free_unpacked(after, NULL);
    }
    strongroom__cluster_record__free_unpacked(before, NULL);
    sr_buf_close(&packed);
    return rc;
}

int sr_cluster_apply(struct sr_store *store, struct sr_statehash *hash,
                     const Strongroom__ClusterChange *change, struct sr_reply *reply,
                     enum sr_api_error *ret_error, struct sr_err *err)
{
    if (store->options.feature_level < SR_FEATURE_LEVEL_CLUSTER) {
        return sr_err_set(err, SR_FORMAT,
                          "a command of feature level %d, but this node acts at level %u",
                          SR_FEATURE_LEVEL_CLUSTER, store->options.feature_level);
    }
    if (change->change_case == STRONGROOM__CLUSTER_CHANGE__CHANGE__NOT_SET) {
        return sr_err_set(err, SR_FORMAT, "a change of the cluster that says nothing");
    }
    if (change->change_case == STRONGROOM__CLUSTER_CHANGE__CHANGE_CHECK) {
        note_check(store);
    }
    return change_record(store, hash, change, reply, ret_error, err);
}

static bool has_put(const Strongroom__Command *command)
{
    return command->operation_case == STRONGROOM__COMMAND__OPERATION_PUT ||
           (command->operation_case == STRONGROOM__COMMAND__OPERATION_TXN &&
            sr_txn_has_put(command->txn));
}

enum sr_api_error sr_cluster_refuses(const struct sr_store *store,
                                     const Strongroom__Command *command)
{
    unsigned alarms = store->cluster == NULL ? 0 : store->cluster->alarms;
    if (command->operation_case == STRONGROOM__COMMAND__OPERATION_CLUSTER ||
        command->operation_case == STRONGROOM__COMMAND__OPERATION_OFFSITE) {
        return SR_API_NONE;
    }
    if ((alarms & SR_ALARM_CORRUPT) != 0) {
        return SR_API_CORRUPT;
    }
    return (alarms & SR_ALARM_NO_PUTS) != 0 && has_put(command) ? SR_API_NO_SPACE : SR_API_NONE;
}

/* ---- Any thread ---- */

struct sr_cluster *sr_cluster_published(struct sr_store *store)
{
    struct sr_cluster *cluster;
    pthread_mutex_lock(&store->mutex);
    cluster = sr_cluster_ref(store->cluster_published);
    pthread_mutex_unlock(&store->mutex);
    return cluster;
}

uint64_t sr_store_cluster_epoch(const struct sr_store *store)
{
    return atomic_load(&store->cluster_epoch);
}

unsigned sr_store_alarms(const struct sr_store *store)
{
    return atomic_load(&store->alarms);
}

int sr_store_cluster(struct sr_store *store, Strongroom__ClusterRecord **ret, struct sr_err *err)
{
    struct sr_cluster *cluster = sr_cluster_published(store);
    Strongroom__ClusterRecord *record = unpack(cluster);
    sr_cluster_unref(cluster);
    if (record == NULL) {
        return sr_err_set(err, SR_CORRUPT, "cluster record: malformed in memory");
    }
    *ret = record;
    return SR_OK;
}

void sr_store_last_check(struct sr_store *store, struct sr_store_check *ret)
{
    pthread_mutex_lock(&store->mutex);
    *ret = store->check;
    pthread_mutex_unlock(&store->mutex);
}
