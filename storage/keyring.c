/* SPDX-License-Identifier: Apache-2.0
 *
 * The keyring file:
 *
 *   header, 80 bytes, in the clear: magic, format version, flags, cluster id, member id, size of
 *   the list, salt
 *   list of data keys, sealed under HKDF(KEK, salt), the whole header as what is authenticated
 *
 * A fresh salt with every write makes a fresh key, so that its one nonce may be 0. The ids are in
 * the clear to tell a keyring of another member from a wrong key.
 */
#include "storage/keyring.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/secret.h"
#include "storage/file.h"
#include "storage/hkdf.h"
#include "storage/seal.h"

#define MAGIC        "SRKEYS\r\n"
#define MAGIC_BYTES  8
#define VERSION      1
#define HEADER_BYTES (MAGIC_BYTES + 4 * 4 + 2 * 8 + 8 + SR_SALT_BYTES)
#define DEKS_MAX     64
#define DEK_BYTES    (4 + 1 + 8 + SR_KEY_BYTES)
#define LIST_BYTES   (4 + 4 + DEKS_MAX * DEK_BYTES) /* at most; in secret memory */
#define FILE_BYTES   (HEADER_BYTES + LIST_BYTES + SR_SEAL_TAG_BYTES)

enum dek_state { DEK_ACTIVE = 1, DEK_DECRYPT_ONLY = 2 };

struct dek {
    uint32_t id;
    uint8_t state;
    uint64_t created_ms;
    uint8_t key[SR_KEY_BYTES];
};

/* Lives in secret memory as a whole. */
struct sr_keyring {
    uint32_t active_id;
    uint32_t count;
    struct dek deks[DEKS_MAX];
};

static int hkdf(const uint8_t key[SR_KEY_BYTES], const uint8_t *salt, size_t salt_size,
                const char *label, uint8_t ret_key[SR_KEY_BYTES])
{
    return sr_hkdf((struct sr_bytes){key, SR_KEY_BYTES}, (struct sr_bytes){salt, salt_size},
                   sr_bytes_of(label), ret_key, NULL) == SR_OK;
}

/* The sealer of a keyring file, from the KEK and the file's salt; NULL when crypto fails. */
static struct sr_sealer *file_sealer(const uint8_t *kek, const uint8_t *salt)
{
    uint8_t key[SR_KEY_BYTES];
    struct sr_sealer *sealer = NULL;
    if (hkdf(kek, salt, SR_SALT_BYTES, "strongroom keyring", key)) {
        sealer = sr_sealer_new(key);
    }
    sr_secret_wipe(key, sizeof(key));
    return sealer;
}

/* ---- The list, as bytes ---- */

static size_t pack_list(const struct sr_keyring *keyring, uint8_t *out)
{
    uint8_t *at = out;
    sr_put_u32(at, keyring->active_id);
    sr_put_u32(at + 4, keyring->count);
    at += 8;
    for (uint32_t i = 0; i < keyring->count; i++) {
        const struct dek *dek = &keyring->deks[i];
        sr_put_u32(at, dek->id);
        at[4] = dek->state;
        sr_put_u64(at + 5, dek->created_ms);
        memcpy(at + 13, dek->key, SR_KEY_BYTES);
        at += DEK_BYTES;
    }
    return (size_t)(at - out);
}

static int unpack_list(const uint8_t *list, size_t size, struct sr_keyring *keyring)
{
    struct sr_reader reader = sr_reader_of(list, size);
    int found_active = 0;

    keyring->active_id = sr_read_u32(&reader);
    keyring->count = sr_read_u32(&reader);
    if (keyring->count > DEKS_MAX) {
        return 0;
    }
    for (uint32_t i = 0; i < keyring->count; i++) {
        struct dek *dek = &keyring->deks[i];
        dek->id = sr_read_u32(&reader);
        dek->state = sr_read_u8(&reader);
        dek->created_ms = sr_read_u64(&reader);
        sr_read_copy(&reader, dek->key, SR_KEY_BYTES);
        found_active |= dek->id == keyring->active_id && dek->state == DEK_ACTIVE;
    }
    return found_active && !reader.failed && sr_reader_left(&reader) == 0;
}

/* ---- Writing ---- */

static int pack_file(const struct sr_keyring *keyring, const uint8_t *kek, uint64_t cluster_id,
                     uint64_t member_id, struct sr_buf *ret_file, struct sr_err *err)
{
    uint8_t salt[SR_SALT_BYTES];
    sr_random_bytes(salt, sizeof(salt));
    uint8_t *list = sr_secret_alloc(LIST_BYTES);
    size_t size = pack_list(keyring, list);

    sr_buf_append(ret_file, MAGIC, MAGIC_BYTES);
    sr_buf_append_u32(ret_file, VERSION);
    sr_buf_append_u32(ret_file, 0); /* compatible features */
    sr_buf_append_u32(ret_file, 0); /* incompatible features */
    sr_buf_append_u32(ret_file, 0);
    sr_buf_append_u64(ret_file, cluster_id);
    sr_buf_append_u64(ret_file, member_id);
    sr_buf_append_u64(ret_file, size);
    sr_buf_append(ret_file, salt, sizeof(salt));
    sr_check(ret_file->size == HEADER_BYTES);
    sr_buf_extend(ret_file, size + SR_SEAL_TAG_BYTES);

    int status = SR_CRYPTO;
    struct sr_sealer *sealer = file_sealer(kek, salt);
    if (sealer == NULL) {
        sr_err_set(err, SR_CRYPTO, "HKDF failed");
    } else {
        status = sr_seal(sealer, SR_DOMAIN_KEYRING, sr_sealer_next(sealer), ret_file->data,
                         HEADER_BYTES, list, size, ret_file->data + HEADER_BYTES, err);
    }
    sr_sealer_free(sealer);
    sr_secret_free(list, LIST_BYTES);
    return status;
}

/* Put @file to @path: the old or the new content at any crash, never a mixture. */
static int replace_file(const char *path, const struct sr_buf *file, struct sr_err *err)
{
    size_t size = strlen(path) + sizeof(".tmp");
    char *temporary = sr_alloc(size);
    int status = SR_OK;
    int failed = 0;

    snprintf(temporary, size, "%s.tmp", path);
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        status = sr_err_errno(err, SR_IO, errno, "create %s", temporary);
        goto out;
    }
    failed = sr_file_pwrite(fd, file->data, file->size, 0);
    if (failed == 0 && fsync(fd) != 0) {
        failed = -errno;
    }
    if (close(fd) != 0 && failed == 0) {
        failed = -errno;
    }
    if (failed == 0 && rename(temporary, path) != 0) {
        failed = -errno;
    }
    if (failed != 0) {
        status = sr_err_errno(err, SR_IO, -failed, "write %s", path);
        unlink(temporary);
        goto out;
    }
    status = sr_file_sync_parent(path, err);
out:
    sr_free(temporary);
    return status;
}

int sr_keyring_create(const char *path, const uint8_t kek[SR_KEY_BYTES], uint64_t cluster_id,
                      uint64_t member_id, struct sr_err *err)
{
    struct sr_buf file = {0};
    struct stat stat;

    if (lstat(path, &stat) == 0) {
        return sr_err_set(err, SR_EXISTS, "keyring %s exists already", path);
    }
    struct sr_keyring *keyring = sr_secret_alloc(sizeof(*keyring));
    keyring->active_id = 1;
    keyring->count = 1;
    keyring->deks[0].id = 1;
    keyring->deks[0].state = DEK_ACTIVE;
    keyring->deks[0].created_ms = sr_clock_wall_ms();
    sr_random_bytes(keyring->deks[0].key, SR_KEY_BYTES);

    int status = pack_file(keyring, kek, cluster_id, member_id, &file, err);
    if (status == SR_OK) {
        status = replace_file(path, &file, err);
    }
    sr_buf_close(&file);
    sr_keyring_close(keyring);
    return status;
}

/* ---- Reading ---- */

/* Read the file at @path to @file (FILE_BYTES). */
static int read_file(const char *path, uint8_t *file, size_t *ret_size, struct sr_err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return sr_err_errno(err, errno == ENOENT ? SR_NOT_FOUND : SR_IO, errno, "keyring %s", path);
    }
    int64_t size = sr_file_pread(fd, file, FILE_BYTES, 0);
    close(fd);
    if (size < 0) {
        return sr_err_errno(err, SR_IO, (int)-size, "keyring %s", path);
    }
    *ret_size = (size_t)size;
    return SR_OK;
}

/* What the header says in the clear. The list's size goes to @ret_list. */
static int check_header(const char *path, const uint8_t *file, size_t size, uint64_t cluster_id,
                        uint64_t member_id, size_t *ret_list, struct sr_err *err)
{
    if (size < HEADER_BYTES) {
        return sr_err_set(err, SR_CORRUPT, "keyring %s: cut to %zu bytes", path, size);
    }
    struct sr_reader reader = sr_reader_of(file, HEADER_BYTES);
    struct sr_bytes magic = sr_read_bytes(&reader, MAGIC_BYTES);
    uint32_t version = sr_read_u32(&reader);
    sr_read_u32(&reader); /* compatible features may be ignored */
    uint32_t incompatible = sr_read_u32(&reader);
    sr_read_u32(&reader);
    uint64_t cluster = sr_read_u64(&reader);
    uint64_t member = sr_read_u64(&reader);
    uint64_t list = sr_read_u64(&reader);

    if (memcmp(magic.data, MAGIC, MAGIC_BYTES) != 0) {
        return sr_err_set(err, SR_FORMAT, "keyring %s: not a keyring", path);
    }
    if (version != VERSION || incompatible != 0) {
        return sr_err_set(err, SR_FORMAT,
                          "keyring %s: format version %u, features %#x: written by a newer version",
                          path, version, incompatible);
    }
    if (cluster != cluster_id || member != member_id) {
        return sr_err_set(err, SR_REFUSED,
                          "keyring %s belongs to member %016llx of cluster %016llx, "
                          "this is member %016llx of cluster %016llx",
                          path, (unsigned long long)member, (unsigned long long)cluster,
                          (unsigned long long)member_id, (unsigned long long)cluster_id);
    }
    if (list > LIST_BYTES || size != HEADER_BYTES + list + SR_SEAL_TAG_BYTES) {
        return sr_err_set(err, SR_CORRUPT, "keyring %s: %zu bytes do not fit its header", path,
                          size);
    }
    *ret_list = (size_t)list;
    return SR_OK;
}

int sr_keyring_open(const char *path, const uint8_t kek[SR_KEY_BYTES], uint64_t cluster_id,
                    uint64_t member_id, struct sr_keyring **ret, struct sr_err *err)
{
    uint8_t file[FILE_BYTES + 1];
    size_t size = 0;
    size_t list_size = 0;
    struct sr_sealer *sealer = NULL;
    uint8_t *list = NULL;
    struct sr_keyring *keyring = NULL;

    int status = read_file(path, file, &size, err);
    if (status == SR_OK) {
        status = check_header(path, file, size, cluster_id, member_id, &list_size, err);
    }
    if (status != SR_OK) {
        return status;
    }
    sealer = file_sealer(kek, file + HEADER_BYTES - SR_SALT_BYTES);
    if (sealer == NULL) {
        return sr_err_set(err, SR_CRYPTO, "keyring %s: HKDF failed", path);
    }
    list = sr_secret_alloc(LIST_BYTES);
    keyring = sr_secret_alloc(sizeof(*keyring));
    status = sr_unseal(sealer, SR_DOMAIN_KEYRING, 0, file, HEADER_BYTES, file + HEADER_BYTES,
                       list_size, list, err);
    if (status != SR_OK) {
        status = sr_err_set(err, SR_KEY,
                            "keyring %s does not open: the master key is not its key, or the "
                            "file was altered (the two cannot be told apart)",
                            path);
        goto out;
    }
    if (!unpack_list(list, list_size, keyring)) {
        status = sr_err_set(err, SR_FORMAT, "keyring %s: unknown list of keys", path);
        goto out;
    }
    *ret = keyring;
    keyring = NULL;
out:
    sr_keyring_close(keyring);
    sr_secret_free(list, LIST_BYTES);
    sr_sealer_free(sealer);
    return status;
}

void sr_keyring_close(struct sr_keyring *keyring)
{
    sr_secret_free(keyring, sizeof(*keyring));
}

/* ---- Use ---- */

uint32_t sr_keyring_active_id(const struct sr_keyring *keyring)
{
    return keyring->active_id;
}

int sr_keyring_derive(const struct sr_keyring *keyring, uint32_t dek_id, const char *label,
                      const uint8_t *salt, size_t salt_size, uint8_t ret_key[SR_KEY_BYTES],
                      struct sr_err *err)
{
    for (uint32_t i = 0; i < keyring->count; i++) {
        const struct dek *dek = &keyring->deks[i];
        if (dek->id != dek_id) {
            continue;
        }
        if (!hkdf(dek->key, salt, salt_size, label, ret_key)) {
            return sr_err_set(err, SR_CRYPTO, "HKDF failed");
        }
        return SR_OK;
    }
    return sr_err_set(err, SR_NOT_FOUND, "the keyring has no data key %u", dek_id);
}
