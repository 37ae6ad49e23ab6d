/* SPDX-License-Identifier: Apache-2.0
 *
 * AES-256 by OpenSSL. A codec is used by many threads and a context by one at a time, so there is
 * a stack of idle contexts, as many as there were ever threads at once; freeing the codec wipes
 * all of them, which contexts local to threads would not allow.
 */
#include "storage/keycodec_impl.h"

#include <openssl/evp.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/secret.h"

struct contexts {
    struct contexts *next;
    EVP_CIPHER_CTX *encrypt; /* CBC */
    EVP_CIPHER_CTX *decrypt; /* CBC */
    EVP_CIPHER_CTX *single;  /* decrypts blocks without chaining */
};

struct sr_keycodec_evp {
    pthread_mutex_t mutex; /* protects idle */
    struct contexts *idle;
    uint8_t *key; /* secret memory */
};

static EVP_CIPHER_CTX *new_context(const char *cipher, const uint8_t *key, int encrypt)
{
    static const uint8_t zeros[SR_EK_BLOCK_BYTES];
    EVP_CIPHER *fetched = EVP_CIPHER_fetch(NULL, cipher, NULL);
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    sr_check(fetched != NULL && ctx != NULL);
    sr_check(EVP_CipherInit_ex2(ctx, fetched, key, zeros, encrypt, NULL) == 1);
    sr_check(EVP_CIPHER_CTX_set_padding(ctx, 0) == 1);
    EVP_CIPHER_free(fetched);
    return ctx;
}

static struct contexts *take(struct sr_keycodec_evp *evp)
{
    sr_check(pthread_mutex_lock(&evp->mutex) == 0);
    struct contexts *taken = evp->idle;
    if (taken != NULL) {
        evp->idle = taken->next;
    }
    pthread_mutex_unlock(&evp->mutex);
    if (taken == NULL) {
        taken = sr_zalloc(sizeof(*taken));
        taken->encrypt = new_context("AES-256-CBC", evp->key, 1);
        taken->decrypt = new_context("AES-256-CBC", evp->key, 0);
        taken->single = new_context("AES-256-ECB", evp->key, 0);
    }
    return taken;
}

static void give_back(struct sr_keycodec_evp *evp, struct contexts *contexts)
{
    sr_check(pthread_mutex_lock(&evp->mutex) == 0);
    contexts->next = evp->idle;
    evp->idle = contexts;
    pthread_mutex_unlock(&evp->mutex);
}

struct sr_keycodec_evp *sr_keycodec_evp_new(const uint8_t key[SR_KEY_BYTES])
{
    struct sr_keycodec_evp *evp = sr_zalloc(sizeof(*evp));
    sr_check(pthread_mutex_init(&evp->mutex, NULL) == 0);
    evp->key = sr_secret_alloc(SR_KEY_BYTES);
    __builtin_memcpy(evp->key, key, SR_KEY_BYTES);
    return evp;
}

void sr_keycodec_evp_free(struct sr_keycodec_evp *evp)
{
    if (evp == NULL) {
        return;
    }
    while (evp->idle != NULL) {
        struct contexts *next = evp->idle->next;
        EVP_CIPHER_CTX_free(evp->idle->encrypt);
        EVP_CIPHER_CTX_free(evp->idle->decrypt);
        EVP_CIPHER_CTX_free(evp->idle->single);
        sr_free(evp->idle);
        evp->idle = next;
    }
    pthread_mutex_destroy(&evp->mutex);
    sr_secret_free(evp->key, SR_KEY_BYTES);
    sr_free(evp);
}

/* Chain from @iv over @size bytes of @data, in place. */
static void run_cbc(EVP_CIPHER_CTX *ctx, const uint8_t *iv, uint8_t *data, size_t size)
{
    int written = 0;
    sr_check(EVP_CipherInit_ex2(ctx, NULL, NULL, iv, -1, NULL) == 1);
    sr_check(EVP_CipherUpdate(ctx, data, &written, data, (int)size) == 1);
    sr_check((size_t)written == size);
}

void sr_keycodec_evp_encrypt(const struct sr_keycodec *codec, uint8_t *data, size_t blocks)
{
    struct contexts *contexts = take(codec->evp);
    run_cbc(contexts->encrypt, codec->iv, data, blocks * SR_EK_BLOCK_BYTES);
    give_back(codec->evp, contexts);
}

void sr_keycodec_evp_decrypt(const struct sr_keycodec *codec, uint8_t *data, size_t blocks)
{
    struct contexts *contexts = take(codec->evp);
    run_cbc(contexts->decrypt, codec->iv, data, blocks * SR_EK_BLOCK_BYTES);
    give_back(codec->evp, contexts);
}

void sr_keycodec_evp_pair(const struct sr_keycodec *codec, const uint8_t *a, const uint8_t *b,
                          uint8_t out[2 * SR_EK_BLOCK_BYTES])
{
    struct contexts *contexts = take(codec->evp);
    int written = 0;
    __builtin_memcpy(out, a, SR_EK_BLOCK_BYTES);
    __builtin_memcpy(out + SR_EK_BLOCK_BYTES, b, SR_EK_BLOCK_BYTES);
    sr_check(EVP_CipherUpdate(contexts->single, out, &written, out, 2 * SR_EK_BLOCK_BYTES) == 1);
    sr_check(written == 2 * SR_EK_BLOCK_BYTES);
    give_back(codec->evp, contexts);
}
