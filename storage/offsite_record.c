/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/offsite_record.h"

#include <string.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/secret.h"
#include "proto/level.h"
#include "proto/message.h"
#include "storage/offsite_change.h"
#include "storage/signature.h"

#define META_NAME   "offsite"
#define SECRET_NAME "offsite-secret"
#define HASH_LABEL  "strongroom archive secret"

struct sr_offsite_secret {
    atomic_uint references;
    struct sr_archive_secret *secret;
};

/* ---- The secret ---- */

static struct sr_offsite_secret *secret_new(struct sr_archive_secret *secret)
{
    struct sr_offsite_secret *shared = sr_alloc(sizeof(*shared));
    atomic_init(&shared->references, 1);
    shared->secret = secret;
    return shared;
}

static struct sr_offsite_secret *secret_ref(struct sr_offsite_secret *shared)
{
    atomic_fetch_add_explicit(&shared->references, 1, memory_order_relaxed);
    return shared;
}

static void secret_unref(struct sr_offsite_secret *shared)
{
    if (shared != NULL &&
        atomic_fetch_sub_explicit(&shared->references, 1, memory_order_acq_rel) == 1) {
        sr_archive_secret_free(shared->secret);
        sr_free(shared);
    }
}

/* What the record, and with it the state hash, says of the secret. */
static int secret_digest(struct sr_bytes packed, uint8_t ret[SR_SHA256_BYTES], struct sr_err *err)
{
    uint8_t message[sizeof(HASH_LABEL) + SR_ARCHIVE_SECRET_BYTES];
    memcpy(message, HASH_LABEL, sizeof(HASH_LABEL));
    memcpy(message + sizeof(HASH_LABEL), packed.data, SR_ARCHIVE_SECRET_BYTES);
    int rc = sr_sha256((struct sr_bytes){message, sizeof(message)}, ret, err);
    sr_secret_wipe(message, sizeof(message));
    return rc;
}

/* The secret of @packed, which must be the one that @record speaks of. */
static int secret_open(const Strongroom__OffsiteRecord *record, struct sr_bytes packed,
                       struct sr_offsite_secret **ret, struct sr_err *err)
{
    uint8_t digest[SR_SHA256_BYTES];
    struct sr_archive_secret *secret = NULL;
    if (packed.size != SR_ARCHIVE_SECRET_BYTES) {
        return sr_err_set(err, SR_CORRUPT, "archive secret: %zu bytes", packed.size);
    }
    int rc = secret_digest(packed, digest, err);
    if (rc == SR_OK && memcmp(digest, record->secret_sha256.data, sizeof(digest)) != 0) {
        return sr_err_set(err, SR_CORRUPT, "archive secret: not that of the record");
    }
    if (rc == SR_OK) {
        rc = sr_archive_secret_unpack(packed.data, &secret, err);
    }
    if (rc == SR_OK) {
        *ret = secret_new(secret);
    }
    return rc;
}

/* ---- One record ---- */

static struct sr_offsite *offsite_make(uint64_t epoch, struct sr_bytes packed,
                                       struct sr_offsite_secret *secret)
{
    struct sr_offsite *offsite = sr_alloc(sizeof(*offsite) + packed.size);
    atomic_init(&offsite->references, 1);
    offsite->epoch = epoch;
    offsite->secret = secret;
    offsite->size = packed.size;
    memcpy(offsite->packed, packed.data, packed.size);
    return offsite;
}

/* Of what comes from a disk or an image. SR_CORRUPT when @packed is no record. */
static int offsite_open(struct sr_bytes packed, struct sr_bytes secret, struct sr_offsite **ret,
                        struct sr_err *err)
{
    struct sr_offsite_secret *shared = NULL;
    Strongroom__OffsiteRecord *record = NULL;
    int rc =
        sr_message_check(&strongroom__offsite_record__descriptor, packed.data, packed.size, NULL);
    if (rc == SR_OK) {
        record = strongroom__offsite_record__unpack(NULL, packed.size, packed.data);
    }
    rc = record != NULL && sr_offsite_is_in_bounds(record)
             ? secret_open(record, secret, &shared, err)
             : sr_err_set(err, SR_CORRUPT, "off-site record: malformed");
    if (rc == SR_OK) {
        *ret = offsite_make(record->epoch, packed, shared);
    }
    strongroom__offsite_record__free_unpacked(record, NULL);
    return rc;
}

struct sr_offsite *sr_offsite_ref(struct sr_offsite *offsite)
{
    if (offsite != NULL) {
        atomic_fetch_add_explicit(&offsite->references, 1, memory_order_relaxed);
    }
    return offsite;
}

void sr_offsite_unref(struct sr_offsite *offsite)
{
    if (offsite != NULL &&
        atomic_fetch_sub_explicit(&offsite->references, 1, memory_order_acq_rel) == 1) {
        secret_unref(offsite->secret);
        sr_free(offsite);
    }
}

static Strongroom__OffsiteRecord *unpack(const struct sr_offsite *offsite)
{
    return strongroom__offsite_record__unpack(NULL, offsite == NULL ? 0 : offsite->size,
                                              offsite == NULL ? NULL : offsite->packed);
}

/* ---- Disk ---- */

/* Append the box @name of `meta`, if there is one. */
static int read_box(struct sr_opener *opener, MDB_txn *txn, const char *name, struct sr_buf *out,
                    struct sr_err *err)
{
    size_t size = 0;
    size_t before = out->size;
    int rc = sr_meta_box_size(opener->lmdb, txn, name, &size, err);
    if (rc == SR_NOT_FOUND) {
        return SR_OK;
    }
    if (rc == SR_OK) {
        rc = sr_meta_get_box(opener, txn, name, sr_buf_extend(out, size), size, err);
    }
    if (rc != SR_OK) {
        out->size = before;
    }
    return rc;
}

int sr_offsite_read(struct sr_opener *opener, MDB_txn *txn, struct sr_buf *ret_packed,
                    struct sr_buf *ret_secret, struct sr_err *err)
{
    int rc = read_box(opener, txn, META_NAME, ret_packed, err);
    return rc == SR_OK ? read_box(opener, txn, SECRET_NAME, ret_secret, err) : rc;
}

static void close_secret(struct sr_buf *secret)
{
    if (secret->data != NULL) {
        sr_secret_wipe(secret->data, secret->capacity);
    }
    sr_buf_close(secret);
}

int sr_offsite_load(struct sr_store *store, MDB_txn *txn, struct sr_err *err)
{
    struct sr_buf packed = {0};
    struct sr_buf secret = {0};
    struct sr_offsite *offsite = NULL;
    int rc = sr_offsite_read(&store->opener, txn, &packed, &secret, err);
    if (rc == SR_OK && packed.size > 0) {
        rc = offsite_open((struct sr_bytes){packed.data, packed.size},
                          (struct sr_bytes){secret.data, secret.size}, &offsite, err);
    }
    sr_buf_close(&packed);
    close_secret(&secret);
    if (rc != SR_OK || offsite == NULL) {
        return rc;
    }
    store->offsite = offsite;
    store->offsite_published = sr_offsite_ref(offsite);
    store->offsite_durable = sr_offsite_ref(offsite);
    atomic_store(&store->offsite_epoch, offsite->epoch);
    return SR_OK;
}

static int write_secret(struct sr_store *store, MDB_txn *txn,
                        const struct sr_offsite_secret *shared, struct sr_err *err)
{
    uint8_t packed[SR_ARCHIVE_SECRET_BYTES];
    sr_archive_secret_pack(shared->secret, packed);
    int rc = sr_meta_put_box(&store->lmdb, txn, SECRET_NAME,
                             (struct sr_bytes){packed, sizeof(packed)}, err);
    sr_secret_wipe(packed, sizeof(packed));
    return rc;
}

int sr_offsite_write(struct sr_store *store, MDB_txn *txn, const struct sr_offsite *offsite,
                     struct sr_err *err)
{
    const struct sr_offsite *durable = store->offsite_durable;
    if (offsite == NULL || offsite == durable) {
        return SR_OK;
    }
    int rc = sr_meta_put_box(&store->lmdb, txn, META_NAME,
                             (struct sr_bytes){offsite->packed, offsite->size}, err);
    if (rc == SR_OK && (durable == NULL || durable->secret != offsite->secret)) {
        rc = write_secret(store, txn, offsite->secret, err);
    }
    return rc;
}

int sr_offsite_import(struct sr_store *store, struct sr_bytes packed, struct sr_bytes secret,
                      struct sr_err *err)
{
    struct sr_offsite *offsite = NULL;
    int rc = packed.size == 0 ? SR_OK : offsite_open(packed, secret, &offsite, err);
    if (rc == SR_OK) {
        sr_offsite_unref(store->offsite);
        store->offsite = offsite;
    }
    return rc;
}

/* ---- Apply ---- */

/* Take over the record that follows, and link it into the state hash. @secret: a reference. */
static int adopt(struct sr_store *store, struct sr_statehash *hash, struct sr_bytes packed,
                 struct sr_offsite_secret *secret, struct sr_err *err)
{
    uint64_t epoch = store->offsite == NULL ? 1 : store->offsite->epoch + 1;
    struct sr_offsite *next = offsite_make(epoch, packed, secret);
    sr_offsite_unref(store->offsite);
    store->offsite = next;
    sr_statehash_begin(hash, store->apply.hash, store->apply.revision);
    sr_statehash_offsite(hash, packed);
    return sr_statehash_end(hash, store->apply.hash, err);
}

/* The first record, of the secret that an Init brings. */
static int found(struct sr_store *store, struct sr_statehash *hash, struct sr_bytes packed,
                 struct sr_err *err)
{
    Strongroom__OffsiteRecord record = STRONGROOM__OFFSITE_RECORD__INIT;
    struct sr_archive_secret *secret = NULL;
    struct sr_buf out = {0};
    uint8_t digest[SR_SHA256_BYTES];
    int rc = secret_digest(packed, digest, err);
    if (rc == SR_OK) {
        rc = sr_archive_secret_unpack(packed.data, &secret, err);
    }
    if (rc != SR_OK) {
        return rc;
    }
    record.epoch = 1;
    record.public_key = (ProtobufCBinaryData){SR_SIGNING_BYTES, secret->public_key};
    record.archive_kek_id = (ProtobufCBinaryData){SR_KEY_ID_BYTES, secret->kek_id};
    record.secret_sha256 = (ProtobufCBinaryData){sizeof(digest), digest};
    size_t size = strongroom__offsite_record__get_packed_size(&record);
    (void)strongroom__offsite_record__pack(&record, sr_buf_extend(&out, size));
    rc = adopt(store, hash, (struct sr_bytes){out.data, out.size}, secret_new(secret), err);
    sr_buf_close(&out);
    return rc;
}

static int apply_init(struct sr_store *store, struct sr_statehash *hash,
                      const Strongroom__OffsiteInit *init, enum sr_api_error *ret_error,
                      struct sr_err *err)
{
    struct sr_bytes packed = {init->secret.data, init->secret.len};
    int rc = SR_OK;
    *ret_error = packed.size == SR_ARCHIVE_SECRET_BYTES ? SR_API_NONE : SR_API_OFFSITE_INVALID;
    if (*ret_error == SR_API_NONE && store->offsite == NULL) {
        rc = found(store, hash, packed, err);
    }
    if (packed.size > 0) {
        sr_secret_wipe(init->secret.data, init->secret.len);
    }
    return rc;
}

static int apply_other(struct sr_store *store, struct sr_statehash *hash,
                       const Strongroom__OffsiteChange *change, enum sr_api_error *ret_error,
                       struct sr_err *err)
{
    struct sr_buf packed = {0};
    if (store->offsite == NULL) {
        *ret_error = SR_API_OFFSITE_UNKNOWN;
        return SR_OK;
    }
    Strongroom__OffsiteRecord *before = unpack(store->offsite);
    sr_check(before != NULL); /* it was unpacked, or packed, when it was taken over */
    *ret_error = sr_offsite_change(before, change, &packed);
    int rc = SR_OK;
    if (packed.size > 0) {
        rc = adopt(store, hash, (struct sr_bytes){packed.data, packed.size},
                   secret_ref(store->offsite->secret), err);
    }
    strongroom__offsite_record__free_unpacked(before, NULL);
    sr_buf_close(&packed);
    return rc;
}

int sr_offsite_apply(struct sr_store *store, struct sr_statehash *hash,
                     const Strongroom__OffsiteChange *change, enum sr_api_error *ret_error,
                     struct sr_err *err)
{
    if (store->options.feature_level < SR_FEATURE_LEVEL_OFFSITE) {
        return sr_err_set(err, SR_FORMAT,
                          "a command of feature level %d, but this node acts at level %u",
                          SR_FEATURE_LEVEL_OFFSITE, store->options.feature_level);
    }
    if (change->change_case == STRONGROOM__OFFSITE_CHANGE__CHANGE__NOT_SET) {
        return sr_err_set(err, SR_FORMAT, "an off-site change that says nothing");
    }
    if (change->change_case == STRONGROOM__OFFSITE_CHANGE__CHANGE_INIT) {
        return apply_init(store, hash, change->init, ret_error, err);
    }
    return apply_other(store, hash, change, ret_error, err);
}

/* ---- Any thread ---- */

static struct sr_offsite *published(struct sr_store *store)
{
    struct sr_offsite *offsite;
    pthread_mutex_lock(&store->mutex);
    offsite = sr_offsite_ref(store->offsite_published);
    pthread_mutex_unlock(&store->mutex);
    return offsite;
}

uint64_t sr_store_offsite_epoch(const struct sr_store *store)
{
    return atomic_load(&store->offsite_epoch);
}

int sr_store_offsite(struct sr_store *store, Strongroom__OffsiteRecord **ret, struct sr_err *err)
{
    struct sr_offsite *offsite = published(store);
    Strongroom__OffsiteRecord *record = unpack(offsite);
    sr_offsite_unref(offsite);
    if (record == NULL) {
        return sr_err_set(err, SR_CORRUPT, "off-site record: malformed in memory");
    }
    *ret = record;
    return SR_OK;
}

int sr_store_archive_secret(struct sr_store *store, struct sr_archive_secret **ret,
                            struct sr_err *err)
{
    struct sr_offsite *offsite = published(store);
    if (offsite == NULL) {
        return sr_err_set(err, SR_NOT_FOUND, "the cluster has no archive secret yet");
    }
    struct sr_archive_secret *copy = sr_secret_alloc(sizeof(*copy));
    *copy = *offsite->secret->secret;
    sr_offsite_unref(offsite);
    *ret = copy;
    return SR_OK;
}
