/* SPDX-License-Identifier: Apache-2.0
 *
 * Sealing in and out of LMDB. A process seals under epochs of its own: a file that was rolled
 * back, copied or restored can never meet a nonce of its past again, because whoever writes to it
 * next draws a new salt.
 */
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/secret.h"
#include "storage/lmdb.h"

#define EPOCH_KEY_BYTES   4
#define EPOCH_VALUE_BYTES (SR_SALT_BYTES + 4)

static int derive(const struct sr_lmdb *lmdb, uint32_t epoch, uint32_t dek_id,
                  const uint8_t salt[SR_SALT_BYTES], struct sr_sealer **ret, struct sr_err *err)
{
    uint8_t key[SR_KEY_BYTES];
    char label[48];
    int rc;

    (void)snprintf(label, sizeof(label), "strongroom record %u", (unsigned)epoch);
    rc = sr_keyring_derive(lmdb->keyring, dek_id, label, salt, SR_SALT_BYTES, key, err);
    if (rc == SR_NOT_FOUND) {
        return sr_err_set(err, SR_KEY,
                          "epoch %u was sealed under data key %u, which the keyring "
                          "does not have",
                          (unsigned)epoch, (unsigned)dek_id);
    }
    if (rc != SR_OK) {
        return rc;
    }
    *ret = sr_sealer_new(key);
    sr_secret_wipe(key, sizeof(key));
    return SR_OK;
}

/* The number after the newest epoch in the file. */
static int next_epoch(const struct sr_lmdb *lmdb, MDB_txn *txn, uint32_t *ret_epoch,
                      struct sr_err *err)
{
    MDB_cursor *cursor = NULL;
    MDB_val key;
    MDB_val value;
    int rc = mdb_cursor_open(txn, lmdb->epoch, &cursor);

    if (rc == 0) {
        rc = mdb_cursor_get(cursor, &key, &value, MDB_LAST);
    }
    if (cursor != NULL) {
        mdb_cursor_close(cursor);
    }
    if (rc == MDB_NOTFOUND) {
        *ret_epoch = 1;
        return SR_OK;
    }
    if (rc != 0) {
        return sr_lmdb_failed(rc, "read epochs", err);
    }
    if (key.mv_size != EPOCH_KEY_BYTES) {
        return sr_err_set(err, SR_CORRUPT, "epochs: a key of %zu bytes", key.mv_size);
    }
    *ret_epoch = sr_get_u32(key.mv_data) + 1;
    return SR_OK;
}

static int session_begin(struct sr_lmdb *lmdb, MDB_txn *txn, struct sr_err *err)
{
    struct sr_session *session = &lmdb->session;
    struct sr_session fresh = {.dek_id = sr_keyring_active_id(lmdb->keyring)};
    int rc = next_epoch(lmdb, txn, &fresh.epoch, err);

    if (rc != SR_OK) {
        return rc;
    }
    sr_random_bytes(fresh.salt, sizeof(fresh.salt));
    rc = derive(lmdb, fresh.epoch, fresh.dek_id, fresh.salt, &fresh.sealer, err);
    if (rc != SR_OK) {
        return rc;
    }
    sr_sealer_free(session->sealer);
    *session = fresh;
    return SR_OK;
}

/* Put the salt beside the first box. Repeated by each transaction until one has committed. */
static int session_store(struct sr_lmdb *lmdb, MDB_txn *txn, struct sr_err *err)
{
    struct sr_session *session = &lmdb->session;
    uint8_t key_bytes[EPOCH_KEY_BYTES];
    uint8_t value_bytes[EPOCH_VALUE_BYTES];
    MDB_val key = {sizeof(key_bytes), key_bytes};
    MDB_val value = {sizeof(value_bytes), value_bytes};
    int rc;

    sr_put_u32(key_bytes, session->epoch);
    memcpy(value_bytes, session->salt, SR_SALT_BYTES);
    sr_put_u32(value_bytes + SR_SALT_BYTES, session->dek_id);
    rc = mdb_put(txn, lmdb->epoch, &key, &value, 0);
    if (rc != 0) {
        return sr_lmdb_failed(rc, "write epoch", err);
    }
    session->stored_in = txn;
    return SR_OK;
}

int sr_box_seal(struct sr_lmdb *lmdb, MDB_txn *txn, uint32_t domain, struct sr_bytes aad,
                struct sr_bytes plain, struct sr_buf *out, struct sr_err *err)
{
    struct sr_session *session = &lmdb->session;
    uint64_t counter;
    uint8_t *box;
    int rc = SR_OK;

    if (session->sealer == NULL || sr_sealer_spent(session->sealer)) {
        rc = session_begin(lmdb, txn, err);
    }
    if (rc == SR_OK && !session->committed && session->stored_in != txn) {
        rc = session_store(lmdb, txn, err);
    }
    if (rc != SR_OK) {
        return rc;
    }
    counter = sr_sealer_next(session->sealer);
    box = sr_buf_extend(out, plain.size + SR_BOX_OVERHEAD_BYTES);
    sr_put_u32(box, session->epoch);
    sr_put_u64(box + 4, counter);
    rc = sr_seal(session->sealer, domain, counter, aad.data, aad.size, plain.data, plain.size,
                 box + SR_BOX_PREFIX_BYTES, err);
    if (rc != SR_OK) {
        out->size -= plain.size + SR_BOX_OVERHEAD_BYTES;
    }
    return rc;
}

void sr_box_end(struct sr_lmdb *lmdb, bool committed)
{
    struct sr_session *session = &lmdb->session;

    if (committed && session->stored_in != NULL) {
        session->committed = true;
    }
    session->stored_in = NULL;
}

void sr_opener_init(struct sr_opener *opener, const struct sr_lmdb *lmdb)
{
    memset(opener, 0, sizeof(*opener));
    opener->lmdb = lmdb;
}

void sr_opener_close(struct sr_opener *opener)
{
    for (size_t i = 0; i < SR_OPENER_SLOTS; i++) {
        sr_sealer_free(opener->slots[i].sealer);
    }
    memset(opener, 0, sizeof(*opener));
}

/* The sealer of @epoch: kept, or derived from its salt. */
static int opener_find(struct sr_opener *opener, MDB_txn *txn, uint32_t epoch,
                       struct sr_sealer **ret, struct sr_err *err)
{
    const struct sr_lmdb *lmdb = opener->lmdb;
    size_t slot = epoch % SR_OPENER_SLOTS;
    struct sr_sealer *sealer = opener->slots[slot].sealer;
    uint8_t key_bytes[EPOCH_KEY_BYTES];
    MDB_val key = {sizeof(key_bytes), key_bytes};
    MDB_val value;
    int rc;

    if (sealer != NULL && opener->slots[slot].epoch == epoch) {
        *ret = sealer;
        return SR_OK;
    }
    sr_put_u32(key_bytes, epoch);
    rc = mdb_get(txn, lmdb->epoch, &key, &value);
    if (rc == MDB_NOTFOUND) {
        return sr_err_set(err, SR_CORRUPT, "epoch %u is not known", (unsigned)epoch);
    }
    if (rc != 0) {
        return sr_lmdb_failed(rc, "read epoch", err);
    }
    if (value.mv_size != EPOCH_VALUE_BYTES) {
        return sr_err_set(err, SR_CORRUPT, "epoch %u: %zu bytes", (unsigned)epoch, value.mv_size);
    }
    const uint8_t *bytes = value.mv_data;
    rc = derive(lmdb, epoch, sr_get_u32(bytes + SR_SALT_BYTES), bytes, &sealer, err);
    if (rc != SR_OK) {
        return rc;
    }
    sr_sealer_free(opener->slots[slot].sealer);
    opener->slots[slot].sealer = sealer;
    opener->slots[slot].epoch = epoch;
    *ret = sealer;
    return SR_OK;
}

int sr_box_open(struct sr_opener *opener, MDB_txn *txn, uint32_t domain, struct sr_bytes aad,
                struct sr_bytes box, uint8_t *out, struct sr_err *err)
{
    struct sr_sealer *sealer = NULL;
    int rc;

    if (box.size < SR_BOX_OVERHEAD_BYTES) {
        return sr_err_set(err, SR_CORRUPT, "a box of %zu bytes", box.size);
    }
    rc = opener_find(opener, txn, sr_get_u32(box.data), &sealer, err);
    if (rc != SR_OK) {
        return rc;
    }
    return sr_unseal(sealer, domain, sr_get_u64(box.data + 4), aad.data, aad.size,
                     box.data + SR_BOX_PREFIX_BYTES, box.size - SR_BOX_OVERHEAD_BYTES, out, err);
}
