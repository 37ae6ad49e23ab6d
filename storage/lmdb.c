/* SPDX-License-Identifier: Apache-2.0
 *
 * Opening goes from what can be trusted to what must be: the format value in the clear says whose
 * file this is and under which data key its names are; the check box proves that the keyring at
 * hand is the one, and binds that value; only then is the index opened, whose order depends on
 * the key.
 *
 *   format  magic "SRDB", format u32, compatible and incompatible features u32 each, cluster u64,
 *           member u64, DEK id of names u32
 *   check   box of nothing, bound to the bytes of format
 */
#include "storage/lmdb.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "storage/pages.h"
#include "storage/verify.h"

#define TABLES_MAX       8
#define FORMAT_BYTES     36
#define FORMAT_DEK_AT    32
#define MAP_BYTES        ((size_t)1 << 40)
#define MAP_BYTES_ASAN   ((size_t)1 << 34)
#define READERS_MAX      (SR_VIEWS_MAX + 10) /* the writer view, open and a spare few */
#define CHECK_AAD_PREFIX "check"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define MAP_BYTES_DEFAULT MAP_BYTES_ASAN
#else
#define MAP_BYTES_DEFAULT MAP_BYTES
#endif

static const uint8_t magic[4] = {'S', 'R', 'D', 'B'};

static _Thread_local const struct sr_keycodec *thread_codec;

void sr_lmdb_enter(const struct sr_lmdb *lmdb)
{
    thread_codec = lmdb->codec;
}

static int idx_compare(const MDB_val *a, const MDB_val *b)
{
    return sr_key_compare(thread_codec, a->mv_data, a->mv_size, b->mv_data, b->mv_size);
}

int sr_lmdb_failed(int code, const char *what, struct sr_err *err)
{
    sr_check(code != 0);
    switch (code) {
    case MDB_MAP_FULL:
    case ENOSPC:
    case EDQUOT:
        return sr_err_set(err, SR_NO_SPACE, "%s: %s", what, mdb_strerror(code));
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_PANIC:
    case MDB_INVALID:
    case MDB_CURSOR_FULL:
    case MDB_KEYEXIST:
    case MDB_NOTFOUND:
    case MDB_INCOMPATIBLE:
        return sr_err_set(err, SR_CORRUPT, "%s: %s", what, mdb_strerror(code));
    case MDB_VERSION_MISMATCH:
        return sr_err_set(err, SR_FORMAT, "%s: %s", what, mdb_strerror(code));
    case MDB_READERS_FULL:
        return sr_err_set(err, SR_LIMIT, "%s: %s", what, mdb_strerror(code));
    default:
        /* LMDB's own codes are negative; what is left of them means wrong use of it. */
        return sr_err_set(err, code < 0 ? SR_INTERNAL : SR_IO, "%s: %s", what, mdb_strerror(code));
    }
}

static int meta_get(const struct sr_lmdb *lmdb, MDB_txn *txn, const char *name, MDB_val *ret,
                    struct sr_err *err)
{
    MDB_val key = sr_lmdb_val(sr_bytes_of(name));
    int rc = mdb_get(txn, lmdb->meta, &key, ret);

    if (rc == MDB_NOTFOUND) {
        return sr_err_set(err, SR_CORRUPT, "meta: no %s", name);
    }
    return rc == 0 ? SR_OK : sr_lmdb_failed(rc, "read meta", err);
}

static int meta_put(struct sr_lmdb *lmdb, MDB_txn *txn, const char *name, struct sr_bytes value,
                    struct sr_err *err)
{
    MDB_val key = sr_lmdb_val(sr_bytes_of(name));
    MDB_val data = sr_lmdb_val(value);
    int rc = mdb_put(txn, lmdb->meta, &key, &data, 0);

    return rc == 0 ? SR_OK : sr_lmdb_failed(rc, "write meta", err);
}

int sr_meta_put_box(struct sr_lmdb *lmdb, MDB_txn *txn, const char *name, struct sr_bytes plain,
                    struct sr_err *err)
{
    struct sr_buf box = {0};
    int rc = sr_box_seal(lmdb, txn, SR_DOMAIN_META, sr_bytes_of(name), plain, &box, err);

    if (rc == SR_OK) {
        rc = meta_put(lmdb, txn, name, (struct sr_bytes){box.data, box.size}, err);
    }
    sr_buf_close(&box);
    return rc;
}

int sr_meta_box_size(const struct sr_lmdb *lmdb, MDB_txn *txn, const char *name, size_t *ret_size,
                     struct sr_err *err)
{
    MDB_val key = sr_lmdb_val(sr_bytes_of(name));
    MDB_val box;
    int rc = mdb_get(txn, lmdb->meta, &key, &box);

    if (rc == MDB_NOTFOUND) {
        return SR_NOT_FOUND;
    }
    if (rc != 0) {
        return sr_lmdb_failed(rc, "read meta", err);
    }
    if (box.mv_size < SR_BOX_OVERHEAD_BYTES) {
        return sr_err_set(err, SR_CORRUPT, "meta: %s has %zu bytes", name, box.mv_size);
    }
    *ret_size = box.mv_size - SR_BOX_OVERHEAD_BYTES;
    return SR_OK;
}

int sr_meta_get_box(struct sr_opener *opener, MDB_txn *txn, const char *name, uint8_t *out,
                    size_t size, struct sr_err *err)
{
    MDB_val box;
    int rc = meta_get(opener->lmdb, txn, name, &box, err);

    if (rc != SR_OK) {
        return rc;
    }
    if (box.mv_size != size + SR_BOX_OVERHEAD_BYTES) {
        return sr_err_set(err, SR_CORRUPT, "meta: %s has %zu bytes", name, box.mv_size);
    }
    rc = sr_box_open(opener, txn, SR_DOMAIN_META, sr_bytes_of(name),
                     (struct sr_bytes){box.mv_data, box.mv_size}, out, err);
    return rc == SR_OK ? SR_OK : sr_err_prefix(err, "meta: %s", name);
}

static size_t check_aad(uint8_t out[sizeof(CHECK_AAD_PREFIX) + FORMAT_BYTES],
                        const uint8_t format[FORMAT_BYTES])
{
    memcpy(out, CHECK_AAD_PREFIX, sizeof(CHECK_AAD_PREFIX));
    memcpy(out + sizeof(CHECK_AAD_PREFIX), format, FORMAT_BYTES);
    return sizeof(CHECK_AAD_PREFIX) + FORMAT_BYTES;
}

/* Open the tables; @flags is MDB_CREATE or 0. */
static int open_tables(struct sr_lmdb *lmdb, MDB_txn *txn, unsigned flags, struct sr_err *err)
{
    int rc = mdb_dbi_open(txn, "meta", flags, &lmdb->meta);

    if (rc == 0) {
        rc = mdb_dbi_open(txn, "epoch", flags, &lmdb->epoch);
    }
    if (rc == 0) {
        rc = mdb_dbi_open(txn, "log", flags, &lmdb->log);
    }
    if (rc == 0) {
        rc = mdb_dbi_open(txn, "request", flags, &lmdb->request);
    }
    return rc == 0 ? SR_OK : sr_lmdb_failed(rc, "open tables", err);
}

/* The codec must be there: LMDB compares names from now on. */
static int open_idx(struct sr_lmdb *lmdb, MDB_txn *txn, unsigned flags, struct sr_err *err)
{
    int rc = mdb_dbi_open(txn, "idx", flags, &lmdb->idx);

    if (rc == 0) {
        rc = mdb_set_compare(txn, lmdb->idx, idx_compare);
    }
    sr_lmdb_enter(lmdb);
    return rc == 0 ? SR_OK : sr_lmdb_failed(rc, "open index", err);
}

static int create(struct sr_lmdb *lmdb, MDB_txn *txn, const struct sr_store_options *options,
                  struct sr_err *err)
{
    uint32_t dek_id = sr_keyring_active_id(options->keyring);
    uint8_t format[FORMAT_BYTES];
    uint8_t aad[sizeof(CHECK_AAD_PREFIX) + FORMAT_BYTES];
    struct sr_buf box = {0};
    int rc = open_tables(lmdb, txn, MDB_CREATE, err);

    if (rc != SR_OK) {
        return rc;
    }
    memcpy(format, magic, sizeof(magic));
    sr_put_u32(format + 4, SR_STORE_FORMAT);
    sr_put_u32(format + 8, 0);  /* compatible features: whoever does not know them goes on */
    sr_put_u32(format + 12, 0); /* incompatible ones: whoever does not know them must not */
    sr_put_u64(format + 16, options->cluster_id);
    sr_put_u64(format + 24, options->member_id);
    sr_put_u32(format + FORMAT_DEK_AT, dek_id);
    rc = meta_put(lmdb, txn, "format", (struct sr_bytes){format, sizeof(format)}, err);
    if (rc == SR_OK) {
        rc = sr_box_seal(lmdb, txn, SR_DOMAIN_META, (struct sr_bytes){aad, check_aad(aad, format)},
                         (struct sr_bytes){0}, &box, err);
    }
    if (rc == SR_OK) {
        rc = meta_put(lmdb, txn, "check", (struct sr_bytes){box.data, box.size}, err);
    }
    sr_buf_close(&box);
    if (rc == SR_OK) {
        rc = sr_keycodec_new(options->keyring, dek_id, &lmdb->codec, err);
    }
    if (rc == SR_OK) {
        rc = open_idx(lmdb, txn, MDB_CREATE, err);
    }
    return rc;
}

/* Whose file is this, and can we read it? */
static int check_format(struct sr_lmdb *lmdb, MDB_txn *txn, const struct sr_store_options *options,
                        uint8_t ret_format[FORMAT_BYTES], struct sr_err *err)
{
    MDB_val value;
    struct sr_reader reader;
    uint32_t incompatible;
    uint32_t number;
    int rc = meta_get(lmdb, txn, "format", &value, err);

    if (rc != SR_OK) {
        return rc;
    }
    if (value.mv_size < 8 || memcmp(value.mv_data, magic, sizeof(magic)) != 0) {
        return sr_err_set(err, SR_CORRUPT, "meta: not a database of Strongroom");
    }
    reader = sr_reader_of(value.mv_data, value.mv_size);
    (void)sr_read_u32(&reader);
    number = sr_read_u32(&reader);
    if (number != SR_STORE_FORMAT) {
        return sr_err_set(err, SR_FORMAT, "database has format %u, this version knows %u",
                          (unsigned)number, (unsigned)SR_STORE_FORMAT);
    }
    if (value.mv_size != FORMAT_BYTES) {
        return sr_err_set(err, SR_CORRUPT, "meta: format has %zu bytes", value.mv_size);
    }
    (void)sr_read_u32(&reader); /* compatible features stay as they are, and are bound by "check" */
    incompatible = sr_read_u32(&reader);
    if (incompatible != 0) {
        return sr_err_set(err, SR_FORMAT,
                          "database uses features %#x that this version does not know",
                          (unsigned)incompatible);
    }
    if (sr_read_u64(&reader) != options->cluster_id) {
        return sr_err_set(err, SR_REFUSED, "database belongs to another cluster");
    }
    if (sr_read_u64(&reader) != options->member_id) {
        return sr_err_set(err, SR_REFUSED, "database belongs to another member");
    }
    memcpy(ret_format, value.mv_data, FORMAT_BYTES);
    return SR_OK;
}

/* Whether the keyring is the one that the database was made with. */
static int check_key(struct sr_lmdb *lmdb, MDB_txn *txn, const uint8_t format[FORMAT_BYTES],
                     struct sr_err *err)
{
    uint8_t aad[sizeof(CHECK_AAD_PREFIX) + FORMAT_BYTES];
    struct sr_opener opener;
    uint8_t nothing[1];
    MDB_val value;
    int rc = meta_get(lmdb, txn, "check", &value, err);

    if (rc != SR_OK) {
        return rc;
    }
    if (value.mv_size != SR_BOX_OVERHEAD_BYTES) {
        return sr_err_set(err, SR_CORRUPT, "meta: check has %zu bytes", value.mv_size);
    }
    sr_opener_init(&opener, lmdb);
    rc = sr_box_open(&opener, txn, SR_DOMAIN_META, (struct sr_bytes){aad, check_aad(aad, format)},
                     (struct sr_bytes){value.mv_data, value.mv_size}, nothing, err);
    sr_opener_close(&opener);
    if (rc == SR_CORRUPT) {
        return sr_err_set(err, SR_KEY,
                          "the keyring does not fit the database, or the "
                          "database was altered");
    }
    return rc;
}

static int open_existing(struct sr_lmdb *lmdb, MDB_txn *txn, const struct sr_store_options *options,
                         const char *path, struct sr_err *err)
{
    uint8_t format[FORMAT_BYTES];
    int rc = open_tables(lmdb, txn, 0, err);

    if (rc == SR_OK) {
        rc = check_format(lmdb, txn, options, format, err);
    }
    if (rc == SR_OK) {
        rc = check_key(lmdb, txn, format, err);
    }
    if (rc == SR_OK) {
        rc = sr_keycodec_new(options->keyring, sr_get_u32(format + FORMAT_DEK_AT), &lmdb->codec,
                             err);
        if (rc == SR_NOT_FOUND) {
            rc = sr_err_set(err, SR_KEY, "the keyring does not have the data key of the names");
        }
    }
    if (rc == SR_OK) {
        rc = open_idx(lmdb, txn, 0, err);
    }
    if (rc == SR_OK) {
        rc = sr_verify_index(lmdb, txn, path, err);
    }
    return rc;
}

/* LMDB syncs its file but not the directory that names it. */
static int sync_dir(const char *dir, struct sr_err *err)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = SR_OK;

    if (fd < 0) {
        return sr_err_errno(err, SR_IO, errno, "open %s", dir);
    }
    if (fsync(fd) != 0) {
        rc = sr_err_errno(err, SR_IO, errno, "sync %s", dir);
    }
    (void)close(fd);
    return rc;
}

static int open_env(const struct sr_store_options *options, struct sr_lmdb *lmdb,
                    struct sr_err *err)
{
    size_t map_bytes = options->map_bytes != 0 ? options->map_bytes : MAP_BYTES_DEFAULT;
    int rc = mdb_env_create(&lmdb->env);

    if (rc == 0) {
        rc = mdb_env_set_mapsize(lmdb->env, map_bytes);
    }
    if (rc == 0) {
        rc = mdb_env_set_maxdbs(lmdb->env, TABLES_MAX);
    }
    if (rc == 0) {
        rc = mdb_env_set_maxreaders(lmdb->env, READERS_MAX);
    }
    if (rc == 0) {
        rc = mdb_env_open(lmdb->env, options->dir, MDB_NOTLS | MDB_NORDAHEAD, 0600);
    }
    if (rc != 0) {
        return sr_lmdb_failed(rc, "open database", err);
    }
    /* A key of ours must fit: 511 bytes in every build of LMDB but a custom one. */
    if (mdb_env_get_maxkeysize(lmdb->env) < SR_EK_BYTES_MAX + 8) {
        return sr_err_set(err, SR_INTERNAL, "this LMDB takes keys of %d bytes only",
                          mdb_env_get_maxkeysize(lmdb->env));
    }
    return SR_OK;
}

/* Whether nothing was ever committed to the file. */
static int is_empty(struct sr_lmdb *lmdb, bool must_exist, bool *ret, struct sr_err *err)
{
    MDB_stat stat;
    int rc = mdb_env_stat(lmdb->env, &stat);

    if (rc != 0) {
        return sr_lmdb_failed(rc, "open database", err);
    }
    lmdb->page_bytes = stat.ms_psize;
    *ret = stat.ms_entries == 0;
    return *ret && must_exist ? sr_err_set(err, SR_CORRUPT, "the database has lost its content")
                              : SR_OK;
}

/* Before LMDB sees it. */
static int check_pages(const struct sr_store_options *options, char path[PATH_MAX],
                       struct sr_err *err)
{
    bool empty = false;

    if (snprintf(path, PATH_MAX, "%s/data.mdb", options->dir) >= PATH_MAX) {
        return sr_err_set(err, SR_INVALID, "path is too long");
    }
    return sr_pages_check(path, "idx", &empty, err);
}

int sr_lmdb_open(const struct sr_store_options *options, struct sr_bytes initial,
                 struct sr_lmdb *ret, struct sr_err *err)
{
    struct sr_lmdb lmdb = {.keyring = options->keyring};
    MDB_txn *txn = NULL;
    char path[PATH_MAX];
    bool empty = false;
    int rc = check_pages(options, path, err);

    if (rc == SR_OK) {
        rc = open_env(options, &lmdb, err);
    }
    if (rc == SR_OK) {
        rc = is_empty(&lmdb, options->must_exist, &empty, err);
    }
    if (rc != SR_OK) {
        goto out;
    }
    rc = mdb_txn_begin(lmdb.env, NULL, empty ? 0 : MDB_RDONLY, &txn);
    if (rc != 0) {
        rc = sr_lmdb_failed(rc, "open database", err);
        goto out;
    }
    rc = empty ? create(&lmdb, txn, options, err) : open_existing(&lmdb, txn, options, path, err);
    if (rc == SR_OK && empty) {
        rc = sr_meta_put_box(&lmdb, txn, "state", initial, err);
    }
    if (rc != SR_OK) {
        goto out;
    }
    rc = mdb_txn_commit(txn);
    txn = NULL;
    if (rc != 0) {
        rc = sr_lmdb_failed(rc, "create database", err);
        goto out;
    }
    sr_box_end(&lmdb, true);
    if (empty) {
        rc = sync_dir(options->dir, err);
    }
out:
    if (txn != NULL) {
        mdb_txn_abort(txn);
    }
    if (rc != SR_OK) {
        sr_lmdb_close(&lmdb);
    } else {
        *ret = lmdb;
    }
    return rc;
}

void sr_lmdb_close(struct sr_lmdb *lmdb)
{
    if (lmdb->env != NULL) {
        mdb_env_close(lmdb->env);
    }
    if (thread_codec == lmdb->codec) {
        thread_codec = NULL;
    }
    sr_keycodec_free(lmdb->codec);
    sr_sealer_free(lmdb->session.sealer);
    memset(lmdb, 0, sizeof(*lmdb));
}
