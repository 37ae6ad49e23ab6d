/* SPDX-License-Identifier: Apache-2.0
 *
 * The LMDB environment of a store: its tables, its key order, and sealing in and out of it.
 *
 *   meta     name                      "format": clear; "check", the others: boxes
 *   epoch    number u32                salt 32, DEK id u32
 *   idx      ek, ~revision u64         box of the header; ordered by name, newest first
 *   log      revision u64, sub u32,    ek and box of header and value, cut into pieces of
 *            piece u16                 SR_RECORD_CHUNK_BYTES; only ever appended to
 *   request  see requests.c
 *
 * A box is: epoch u32, counter u64, ciphertext, tag. Its key is derived from the DEK and the salt
 * of its epoch; the salt is stored in the transaction that commits the first box under it.
 *
 * LMDB gives a comparator no context, and one process may have several stores. Whoever calls into
 * LMDB on a thread first says for which environment: sr_lmdb_enter.
 */
#ifndef SR_STORAGE_LMDB_H
#define SR_STORAGE_LMDB_H

#include <lmdb.h>

#include "base/buf.h"
#include "storage/keycodec.h"
#include "storage/seal.h"
#include "storage/store.h"

#define SR_STORE_FORMAT       1

#define SR_BOX_PREFIX_BYTES   12
#define SR_BOX_OVERHEAD_BYTES (SR_BOX_PREFIX_BYTES + SR_SEAL_TAG_BYTES)

/* The epoch that this process seals under; flush thread only. */
struct sr_session {
    struct sr_sealer *sealer; /* NULL: the next box opens an epoch */
    uint32_t epoch;
    uint32_t dek_id;
    uint8_t salt[SR_SALT_BYTES];
    const MDB_txn *stored_in; /* the salt is in this transaction */
    bool committed;           /* the salt is in a committed one */
};

struct sr_lmdb {
    MDB_env *env;
    size_t page_bytes;
    MDB_dbi meta;
    MDB_dbi epoch;
    MDB_dbi idx;
    MDB_dbi log;
    MDB_dbi request;
    const struct sr_keyring *keyring;
    struct sr_keycodec *codec;
    struct sr_session session;
};

/* Open or create the environment. The checks of sr_store_open, in its order. A new one starts
 * with @initial as "state" in `meta`. */
int sr_lmdb_open(const struct sr_store_options *options, struct sr_bytes initial,
                 struct sr_lmdb *ret, struct sr_err *err);
void sr_lmdb_close(struct sr_lmdb *lmdb); /* a zeroed one is fine */

/* From now on this thread's calls into LMDB are for @lmdb. */
void sr_lmdb_enter(const struct sr_lmdb *lmdb);

/* @bytes as LMDB takes what it will only read. */
static inline MDB_val sr_lmdb_val(struct sr_bytes bytes)
{
    MDB_val val = {.mv_size = bytes.size};

    __builtin_memcpy(&val.mv_data, &bytes.data, sizeof(val.mv_data));
    return val;
}

/* What an LMDB return code means, as a status of ours, with @what and its text in @err. */
int sr_lmdb_failed(int code, const char *what, struct sr_err *err);

/* ---- Sealing: flush thread, inside a write transaction ---- */

/* Append a box of @plain to @out. Opens an epoch, and stores its salt through @txn, if needed. */
int sr_box_seal(struct sr_lmdb *lmdb, MDB_txn *txn, uint32_t domain, struct sr_bytes aad,
                struct sr_bytes plain, struct sr_buf *out, struct sr_err *err);
/* The transaction that boxes were sealed for has ended. */
void sr_box_end(struct sr_lmdb *lmdb, bool committed);

/* Seal @plain into value @name of `meta`. */
int sr_meta_put_box(struct sr_lmdb *lmdb, MDB_txn *txn, const char *name, struct sr_bytes plain,
                    struct sr_err *err);

/* ---- Opening: one opener a thread or view ---- */

#define SR_OPENER_SLOTS 16

struct sr_opener {
    const struct sr_lmdb *lmdb;
    struct {
        struct sr_sealer *sealer; /* NULL: empty */
        uint32_t epoch;
    } slots[SR_OPENER_SLOTS];
};

void sr_opener_init(struct sr_opener *opener, const struct sr_lmdb *lmdb);
void sr_opener_close(struct sr_opener *opener);

/* Open @box to @out, which takes box.size - SR_BOX_OVERHEAD_BYTES bytes. SR_CORRUPT when it is no
 * box or does not authenticate. */
int sr_box_open(struct sr_opener *opener, MDB_txn *txn, uint32_t domain, struct sr_bytes aad,
                struct sr_bytes box, uint8_t *out, struct sr_err *err);
/* How many bytes value @name of `meta` holds; SR_NOT_FOUND without @err. */
int sr_meta_box_size(const struct sr_lmdb *lmdb, MDB_txn *txn, const char *name, size_t *ret_size,
                     struct sr_err *err);
/* Open value @name of `meta`, which must hold @size bytes. */
int sr_meta_get_box(struct sr_opener *opener, MDB_txn *txn, const char *name, uint8_t *out,
                    size_t size, struct sr_err *err);

#endif
