/* SPDX-License-Identifier: Apache-2.0
 *
 * The archive secret, and how the key of an archive is wrapped. What is wrapped is one entry for
 * each who may open it, in a row:
 *
 *   kind u8, key id 8, then
 *   'K' archive KEK   salt 32, box 48       key = HKDF(KEK, salt, label || digest)
 *   'R' recovery key  public key 32, box 48 key = HKDF(X25519(ephemeral, recovery key),
 *                                                      ephemeral || recovery public key,
 *                                                      label || digest)
 *
 * digest: SHA-256 of the archive's context, so that a wrapped key opens in this archive alone.
 * box: AES-256-GCM of the 32 bytes, with the nonce (10, 0) of storage/seal.h and the head as what
 * is authenticated beside it; each of these keys seals one box in its life.
 */
#include "storage/archive_key.h"

#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/secret.h"
#include "storage/hkdf.h"
#include "storage/seal.h"
#include "storage/signature.h"

#define KEK_LABEL      "strongroom archive key 1"
#define RECOVERY_LABEL "strongroom recovery 1"
#define KEK_ID_LABEL   "strongroom archive kek id"

enum { FOR_CLUSTER = 'K', FOR_RECOVERY = 'R' };

#define HEAD_BYTES  (1 + SR_KEY_ID_BYTES)
#define SALT_BYTES  32 /* or the ephemeral public key */
#define BOX_BYTES   (SR_KEY_BYTES + SR_SEAL_TAG_BYTES)
#define ENTRY_BYTES (HEAD_BYTES + SALT_BYTES + BOX_BYTES)

/* ---- The archive secret ---- */

int sr_archive_secret_unpack(const uint8_t packed[SR_ARCHIVE_SECRET_BYTES],
                             struct sr_archive_secret **ret, struct sr_err *err)
{
    struct sr_archive_secret *secret = sr_secret_alloc(sizeof(*secret));
    uint8_t id[SR_KEY_BYTES];
    memcpy(secret->signing_seed, packed, SR_SIGNING_BYTES);
    memcpy(secret->kek, packed + SR_SIGNING_BYTES, SR_KEY_BYTES);
    int rc = sr_ed25519_public(secret->signing_seed, secret->public_key, err);
    if (rc == SR_OK) {
        rc = sr_hkdf((struct sr_bytes){secret->kek, SR_KEY_BYTES}, (struct sr_bytes){0},
                     sr_bytes_of(KEK_ID_LABEL), id, err);
    }
    if (rc != SR_OK) {
        sr_archive_secret_free(secret);
        return sr_err_prefix(err, "archive secret");
    }
    memcpy(secret->kek_id, id, SR_KEY_ID_BYTES);
    *ret = secret;
    return SR_OK;
}

int sr_archive_secret_draw(struct sr_archive_secret **ret, struct sr_err *err)
{
    uint8_t packed[SR_ARCHIVE_SECRET_BYTES];
    sr_random_bytes(packed, sizeof(packed));
    int rc = sr_archive_secret_unpack(packed, ret, err);
    sr_secret_wipe(packed, sizeof(packed));
    return rc;
}

void sr_archive_secret_pack(const struct sr_archive_secret *secret,
                            uint8_t out[SR_ARCHIVE_SECRET_BYTES])
{
    memcpy(out, secret->signing_seed, SR_SIGNING_BYTES);
    memcpy(out + SR_SIGNING_BYTES, secret->kek, SR_KEY_BYTES);
}

void sr_archive_secret_free(struct sr_archive_secret *secret)
{
    sr_secret_free(secret, sizeof(*secret));
}

/* ---- Wrapping ---- */

/* label || SHA-256(context) */
struct info {
    uint8_t bytes[64];
    size_t size;
};

static int make_info(struct info *info, const char *label, struct sr_bytes context,
                     struct sr_err *err)
{
    size_t size = strlen(label);
    sr_check(size + SR_SHA256_BYTES <= sizeof(info->bytes));
    memcpy(info->bytes, label, size);
    info->size = size + SR_SHA256_BYTES;
    return sr_sha256(context, info->bytes + size, err);
}

/* What wraps for the cluster. @ret_key is to be wiped, as those of the next two. */
static int cluster_key(const struct sr_archive_secret *secret, const uint8_t salt[SALT_BYTES],
                       struct sr_bytes context, uint8_t ret_key[SR_KEY_BYTES], struct sr_err *err)
{
    struct info info;
    int rc = make_info(&info, KEK_LABEL, context, err);
    if (rc != SR_OK) {
        return rc;
    }
    return sr_hkdf((struct sr_bytes){secret->kek, SR_KEY_BYTES},
                   (struct sr_bytes){salt, SALT_BYTES}, (struct sr_bytes){info.bytes, info.size},
                   ret_key, err);
}

/* What wraps between the key of @own_private and that of @other, one of them ephemeral. */
static int recovery_key(const uint8_t own_private[SR_KEY_BYTES], const uint8_t other[SR_KEY_BYTES],
                        const uint8_t ephemeral[SALT_BYTES], const uint8_t recovery[SR_KEY_BYTES],
                        struct sr_bytes context, uint8_t ret_key[SR_KEY_BYTES], struct sr_err *err)
{
    uint8_t shared[SR_CURVE_KEY_BYTES];
    uint8_t both[2 * SR_CURVE_KEY_BYTES];
    struct info info;
    int rc = make_info(&info, RECOVERY_LABEL, context, err);
    if (rc == SR_OK) {
        rc = sr_x25519(own_private, other, shared, err);
    }
    if (rc != SR_OK) {
        return rc;
    }
    memcpy(both, ephemeral, SR_CURVE_KEY_BYTES);
    memcpy(both + SR_CURVE_KEY_BYTES, recovery, SR_CURVE_KEY_BYTES);
    rc = sr_hkdf((struct sr_bytes){shared, sizeof(shared)}, (struct sr_bytes){both, sizeof(both)},
                 (struct sr_bytes){info.bytes, info.size}, ret_key, err);
    sr_secret_wipe(shared, sizeof(shared));
    return rc;
}

static int box_seal(uint8_t key[SR_KEY_BYTES], struct sr_bytes head,
                    const uint8_t dek[SR_KEY_BYTES], uint8_t out[BOX_BYTES], struct sr_err *err)
{
    struct sr_sealer *sealer = sr_sealer_new(key);
    int rc = sr_seal(sealer, SR_DOMAIN_ARCHIVE_KEY, sr_sealer_next(sealer), head.data, head.size,
                     dek, SR_KEY_BYTES, out, err);
    sr_sealer_free(sealer);
    return rc;
}

static int wrap_cluster(const struct sr_archive_secret *secret, const uint8_t dek[SR_KEY_BYTES],
                        struct sr_bytes context, uint8_t entry[ENTRY_BYTES], struct sr_err *err)
{
    uint8_t key[SR_KEY_BYTES];
    uint8_t *salt = entry + HEAD_BYTES;
    entry[0] = FOR_CLUSTER;
    memcpy(entry + 1, secret->kek_id, SR_KEY_ID_BYTES);
    sr_random_bytes(salt, SALT_BYTES);
    int rc = cluster_key(secret, salt, context, key, err);
    if (rc == SR_OK) {
        rc = box_seal(key, (struct sr_bytes){entry, HEAD_BYTES}, dek, salt + SALT_BYTES, err);
    }
    sr_secret_wipe(key, sizeof(key));
    return rc;
}

static int wrap_recovery(const struct sr_recovery_public *recovery, const uint8_t dek[SR_KEY_BYTES],
                         struct sr_bytes context, uint8_t entry[ENTRY_BYTES], struct sr_err *err)
{
    uint8_t key[SR_KEY_BYTES];
    uint8_t own[SR_CURVE_KEY_BYTES];
    uint8_t *ephemeral = entry + HEAD_BYTES;
    entry[0] = FOR_RECOVERY;
    memcpy(entry + 1, recovery->id, SR_KEY_ID_BYTES);
    sr_random_bytes(own, sizeof(own));
    int rc = sr_x25519_public(own, ephemeral, err);
    if (rc == SR_OK) {
        rc = recovery_key(own, recovery->x25519, ephemeral, recovery->x25519, context, key, err);
    }
    sr_secret_wipe(own, sizeof(own));
    if (rc == SR_OK) {
        rc = box_seal(key, (struct sr_bytes){entry, HEAD_BYTES}, dek, ephemeral + SALT_BYTES, err);
        sr_secret_wipe(key, sizeof(key));
    }
    return rc;
}

static int wrap(void *arg, const uint8_t dek[SR_KEY_BYTES], struct sr_bytes context,
                struct sr_buf *wrapped, struct sr_err *err)
{
    const struct sr_archive_keyring *ring = arg;
    size_t before = wrapped->size;
    int rc = SR_OK;
    if (ring->secret == NULL && ring->recovery_count == 0) {
        return sr_err_set(err, SR_INVALID, "there is no key to seal an archive for");
    }
    sr_check(ring->recovery_count <= SR_RECOVERY_KEYS_MAX);
    if (ring->secret != NULL) {
        rc = wrap_cluster(ring->secret, dek, context, sr_buf_extend(wrapped, ENTRY_BYTES), err);
    }
    for (size_t i = 0; rc == SR_OK && i < ring->recovery_count; i++) {
        rc = wrap_recovery(&ring->recovery[i], dek, context, sr_buf_extend(wrapped, ENTRY_BYTES),
                           err);
    }
    if (rc != SR_OK) {
        wrapped->size = before;
        return sr_err_prefix(err, "wrap the key of an archive");
    }
    return SR_OK;
}

/* ---- Unwrapping ---- */

/* The key that opens @entry, if it is at hand: *ret_has. */
static int entry_key(const struct sr_archive_keyring *ring, const uint8_t *entry,
                     struct sr_bytes context, uint8_t ret_key[SR_KEY_BYTES], bool *ret_has,
                     struct sr_err *err)
{
    const struct sr_recovery_private *own = ring->recovery_private;
    const uint8_t *id = entry + 1;
    const uint8_t *salt = entry + HEAD_BYTES;
    *ret_has = true;
    if (entry[0] == FOR_CLUSTER && ring->secret != NULL &&
        memcmp(id, ring->secret->kek_id, SR_KEY_ID_BYTES) == 0) {
        return cluster_key(ring->secret, salt, context, ret_key, err);
    }
    if (entry[0] == FOR_RECOVERY && own != NULL &&
        memcmp(id, own->public_half.id, SR_KEY_ID_BYTES) == 0) {
        int rc =
            recovery_key(own->x25519, salt, salt, own->public_half.x25519, context, ret_key, err);
        return rc == SR_KEY ? sr_err_set(err, SR_CORRUPT, "an ephemeral key is damaged") : rc;
    }
    *ret_has = false;
    return SR_OK;
}

static int open_entry(const uint8_t *entry, const uint8_t key[SR_KEY_BYTES],
                      uint8_t ret_dek[SR_KEY_BYTES], struct sr_err *err)
{
    struct sr_sealer *sealer = sr_sealer_new(key);
    int rc = sr_unseal(sealer, SR_DOMAIN_ARCHIVE_KEY, 0, entry, HEAD_BYTES,
                       entry + HEAD_BYTES + SALT_BYTES, SR_KEY_BYTES, ret_dek, err);
    sr_sealer_free(sealer);
    return rc == SR_CORRUPT
               ? sr_err_set(err, SR_CORRUPT,
                            "the wrapped key is damaged, or was wrapped for another archive")
               : rc;
}

/* "cluster 1122334455667788, recovery key 99...": for whom an archive is sealed. */
static void list_entries(struct sr_bytes wrapped, char *text, size_t size)
{
    size_t used = 0;
    text[0] = 0;
    for (size_t at = 0; at < wrapped.size && used < size; at += ENTRY_BYTES) {
        int n = snprintf(text + used, size - used, "%s%s %016llx", at == 0 ? "" : ", ",
                         wrapped.data[at] == FOR_CLUSTER ? "archive key" : "recovery key",
                         (unsigned long long)sr_get_u64(wrapped.data + at + 1));
        used += n > 0 ? (size_t)n : 0;
    }
}

static int none_fits(const struct sr_archive_keyring *ring, struct sr_bytes wrapped,
                     struct sr_err *err)
{
    char sealed_for[256];
    list_entries(wrapped, sealed_for, sizeof(sealed_for));
    if (ring->recovery_private != NULL) {
        return sr_err_set(err, SR_KEY, "recovery key %016llx does not open it: it is sealed for %s",
                          (unsigned long long)sr_get_u64(ring->recovery_private->public_half.id),
                          sealed_for);
    }
    if (ring->secret != NULL) {
        return sr_err_set(err, SR_KEY, "archive key %016llx does not open it: it is sealed for %s",
                          (unsigned long long)sr_get_u64(ring->secret->kek_id), sealed_for);
    }
    return sr_err_set(err, SR_KEY, "no key is at hand: it is sealed for %s", sealed_for);
}

static int check_entries(struct sr_bytes wrapped, struct sr_err *err)
{
    if (wrapped.size == 0 || wrapped.size % ENTRY_BYTES != 0 ||
        wrapped.size > SR_ARCHIVE_WRAPPED_BYTES_MAX) {
        return sr_err_set(err, SR_CORRUPT, "the wrapped keys have %zu bytes", wrapped.size);
    }
    for (size_t at = 0; at < wrapped.size; at += ENTRY_BYTES) {
        if (wrapped.data[at] != FOR_CLUSTER && wrapped.data[at] != FOR_RECOVERY) {
            return sr_err_set(err, SR_CORRUPT, "a key that is wrapped in an unknown way");
        }
    }
    return SR_OK;
}

static int unwrap(void *arg, struct sr_bytes wrapped, struct sr_bytes context,
                  uint8_t ret_dek[SR_KEY_BYTES], struct sr_err *err)
{
    const struct sr_archive_keyring *ring = arg;
    int rc = check_entries(wrapped, err);
    for (size_t at = 0; rc == SR_OK && at < wrapped.size; at += ENTRY_BYTES) {
        uint8_t key[SR_KEY_BYTES];
        bool has = false;
        rc = entry_key(ring, wrapped.data + at, context, key, &has, err);
        if (rc == SR_OK && has) {
            rc = open_entry(wrapped.data + at, key, ret_dek, err);
            sr_secret_wipe(key, sizeof(key));
            return rc;
        }
    }
    return rc == SR_OK ? none_fits(ring, wrapped, err) : rc;
}

/* The table of functions has one argument for reading and writing, and it is not const. */
struct sr_archive_keys sr_archive_keys_of(const struct sr_archive_keyring *ring)
{
    union {
        const struct sr_archive_keyring *in;
        void *out;
    } arg = {.in = ring};
    return (struct sr_archive_keys){.wrap = wrap, .unwrap = unwrap, .arg = arg.out};
}
