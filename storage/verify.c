/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/verify.h"

#include "storage/pages.h"
#include "storage/record.h"

struct index {
    const struct sr_lmdb *lmdb;
    MDB_txn *txn;
    struct sr_opener opener;
};

static int compare(void *arg, struct sr_bytes a, struct sr_bytes b)
{
    const struct index *index = arg;

    return sr_key_compare(index->lmdb->codec, a.data, a.size, b.data, b.size);
}

static int check_entry(void *arg, struct sr_bytes key, struct sr_bytes value, struct sr_err *err)
{
    struct index *index = arg;
    MDB_val name = sr_lmdb_val(key);
    MDB_val box = sr_lmdb_val(value);
    struct sr_version version;
    struct sr_bytes ek;
    int64_t revision = 0;
    int rc = sr_idx_key_parse(&name, &ek, &revision, err);

    if (rc == SR_OK) {
        rc = sr_header_open(&index->opener, index->txn, ek, revision, &box, &version, err);
    }
    return rc;
}

int sr_verify_index(const struct sr_lmdb *lmdb, MDB_txn *txn, const char *path, struct sr_err *err)
{
    struct index index = {.lmdb = lmdb, .txn = txn};
    struct sr_pages_visitor visitor = {.compare = compare, .entry = check_entry, .arg = &index};
    int rc;

    sr_opener_init(&index.opener, lmdb);
    rc = sr_pages_check_table(path, "idx", &visitor, err);
    sr_opener_close(&index.opener);
    return rc;
}
