/* SPDX-License-Identifier: Apache-2.0
 *
 * AES-256-GCM over EVP. Each direction has a context of its own that keeps its key schedule, so
 * that a message costs only its nonce: set-up by far outweighs the cipher for small records.
 * The nonce is `domain u32 || counter u64`, 96 bits, big-endian.
 */
#include "storage/seal.h"

#include <errno.h>
#include <limits.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <sys/random.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/check.h"
#include "base/secret.h"

#define NONCE_BYTES 12

struct sr_sealer {
    EVP_CIPHER_CTX *seal;
    EVP_CIPHER_CTX *open;
    uint64_t counter;
};

static EVP_CIPHER *gcm;
static pthread_once_t gcm_once = PTHREAD_ONCE_INIT;

static void fetch_gcm(void)
{
    gcm = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
    sr_check(gcm != NULL);
}

struct sr_sealer *sr_sealer_new(const uint8_t key[SR_KEY_BYTES])
{
    sr_check(pthread_once(&gcm_once, fetch_gcm) == 0);
    struct sr_sealer *sealer = sr_zalloc(sizeof(*sealer));
    sealer->seal = EVP_CIPHER_CTX_new();
    sealer->open = EVP_CIPHER_CTX_new();
    sr_check(sealer->seal != NULL && sealer->open != NULL);
    sr_check(EVP_EncryptInit_ex2(sealer->seal, gcm, key, NULL, NULL) == 1);
    sr_check(EVP_DecryptInit_ex2(sealer->open, gcm, key, NULL, NULL) == 1);
    return sealer;
}

void sr_sealer_free(struct sr_sealer *sealer)
{
    if (sealer == NULL) {
        return;
    }
    EVP_CIPHER_CTX_free(sealer->seal); /* wipes the key schedule */
    EVP_CIPHER_CTX_free(sealer->open);
    sr_secret_wipe(sealer, sizeof(*sealer));
    sr_free(sealer);
}

uint64_t sr_sealer_next(struct sr_sealer *sealer)
{
    sr_check(sealer->counter < SR_SEAL_COUNTER_MAX);
    return sealer->counter++;
}

int sr_sealer_spent(const struct sr_sealer *sealer)
{
    return sealer->counter >= SR_SEAL_COUNTER_MAX / 2;
}

static void make_nonce(uint8_t nonce[NONCE_BYTES], uint32_t domain, uint64_t counter)
{
    sr_put_u32(nonce, domain);
    sr_put_u64(nonce + 4, counter);
}

/* What a sealed message is made of is what it is: NOLINTNEXTLINE(readability-function-size) */
int sr_seal(struct sr_sealer *sealer, uint32_t domain, uint64_t counter, const void *aad,
            size_t aad_size, const void *plain, size_t size, uint8_t *out, struct sr_err *err)
{
    EVP_CIPHER_CTX *ctx = sealer->seal;
    uint8_t nonce[NONCE_BYTES];
    int written = 0;

    sr_check(aad_size <= INT_MAX && size <= INT_MAX);
    make_nonce(nonce, domain, counter);
    if (EVP_EncryptInit_ex2(ctx, NULL, NULL, nonce, NULL) != 1) {
        goto failed;
    }
    if (aad_size > 0 && EVP_EncryptUpdate(ctx, NULL, &written, aad, (int)aad_size) != 1) {
        goto failed;
    }
    if (size > 0 && EVP_EncryptUpdate(ctx, out, &written, plain, (int)size) != 1) {
        goto failed;
    }
    if (EVP_EncryptFinal_ex(ctx, out + size, &written) != 1 ||
        EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, SR_SEAL_TAG_BYTES, out + size) != 1) {
        goto failed;
    }
    return SR_OK;
failed:
    return sr_err_set(err, SR_CRYPTO, "AES-256-GCM refused to seal %zu bytes", size);
}

/* NOLINTNEXTLINE(readability-function-size) */
int sr_unseal(struct sr_sealer *sealer, uint32_t domain, uint64_t counter, const void *aad,
              size_t aad_size, const uint8_t *sealed, size_t size, uint8_t *out, struct sr_err *err)
{
    EVP_CIPHER_CTX *ctx = sealer->open;
    uint8_t nonce[NONCE_BYTES];
    uint8_t tag[SR_SEAL_TAG_BYTES];
    uint8_t none;
    int written = 0;

    sr_check(aad_size <= INT_MAX && size <= INT_MAX);
    make_nonce(nonce, domain, counter);
    __builtin_memcpy(tag, sealed + size, sizeof(tag)); /* @out may overlap @sealed */
    if (EVP_DecryptInit_ex2(ctx, NULL, NULL, nonce, NULL) != 1 ||
        (aad_size > 0 && EVP_DecryptUpdate(ctx, NULL, &written, aad, (int)aad_size) != 1) ||
        (size > 0 && EVP_DecryptUpdate(ctx, out, &written, sealed, (int)size) != 1) ||
        EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, SR_SEAL_TAG_BYTES, tag) != 1) {
        sr_secret_wipe(out, size);
        return sr_err_set(err, SR_CRYPTO, "AES-256-GCM refused to open %zu bytes", size);
    }
    if (EVP_DecryptFinal_ex(ctx, &none, &written) != 1) {
        sr_secret_wipe(out, size);
        return sr_err_set(err, SR_CORRUPT, "authentication failed");
    }
    return SR_OK;
}

void sr_random_bytes(void *out, size_t size)
{
    uint8_t *at = out;
    while (size > 0) {
        ssize_t got = getrandom(at, size, 0);
        sr_check(got > 0 || errno == EINTR);
        if (got > 0) {
            at += got;
            size -= (size_t)got;
        }
    }
}
