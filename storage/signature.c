/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/signature.h"

#include <openssl/evp.h>
#include <stdbool.h>
#include <string.h>

static int crypto_failed(struct sr_err *err, const char *what)
{
    return sr_err_set(err, SR_CRYPTO, "%s failed", what);
}

int sr_sha256(struct sr_bytes data, uint8_t ret_digest[SR_SHA256_BYTES], struct sr_err *err)
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    if (EVP_Digest(data.data, data.size, digest, NULL, EVP_sha256(), NULL) != 1) {
        return crypto_failed(err, "SHA-256");
    }
    memcpy(ret_digest, digest, SR_SHA256_BYTES);
    return SR_OK;
}

/* ---- Both curves ---- */

static int public_of(int type, const uint8_t private_key[SR_CURVE_KEY_BYTES],
                     uint8_t ret_public[SR_CURVE_KEY_BYTES], struct sr_err *err)
{
    size_t size = SR_CURVE_KEY_BYTES;
    EVP_PKEY *key = EVP_PKEY_new_raw_private_key(type, NULL, private_key, SR_CURVE_KEY_BYTES);
    bool done = key != NULL && EVP_PKEY_get_raw_public_key(key, ret_public, &size) == 1 &&
                size == SR_CURVE_KEY_BYTES;
    EVP_PKEY_free(key);
    return done ? SR_OK : crypto_failed(err, "making a public key");
}

int sr_ed25519_public(const uint8_t seed[SR_CURVE_KEY_BYTES],
                      uint8_t ret_public[SR_CURVE_KEY_BYTES], struct sr_err *err)
{
    return public_of(EVP_PKEY_ED25519, seed, ret_public, err);
}

int sr_x25519_public(const uint8_t private_key[SR_CURVE_KEY_BYTES],
                     uint8_t ret_public[SR_CURVE_KEY_BYTES], struct sr_err *err)
{
    return public_of(EVP_PKEY_X25519, private_key, ret_public, err);
}

/* ---- Ed25519 ---- */

int sr_ed25519_sign(const uint8_t seed[SR_CURVE_KEY_BYTES], struct sr_bytes message,
                    uint8_t ret_signature[SR_SIGNATURE_BYTES], struct sr_err *err)
{
    size_t size = SR_SIGNATURE_BYTES;
    EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, SR_CURVE_KEY_BYTES);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool done = key != NULL && context != NULL &&
                EVP_DigestSignInit(context, NULL, NULL, NULL, key) == 1 &&
                EVP_DigestSign(context, ret_signature, &size, message.data, message.size) == 1 &&
                size == SR_SIGNATURE_BYTES;
    EVP_MD_CTX_free(context);
    EVP_PKEY_free(key);
    return done ? SR_OK : crypto_failed(err, "signing");
}

int sr_ed25519_verify(const uint8_t public_key[SR_CURVE_KEY_BYTES], struct sr_bytes message,
                      const uint8_t signature[SR_SIGNATURE_BYTES], struct sr_err *err)
{
    EVP_PKEY *key =
        EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, public_key, SR_CURVE_KEY_BYTES);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool ready =
        key != NULL && context != NULL && EVP_DigestVerifyInit(context, NULL, NULL, NULL, key) == 1;
    /* Whatever it says but "yes" is a no: a key that is no point of the curve too. */
    bool fits = ready && EVP_DigestVerify(context, signature, SR_SIGNATURE_BYTES, message.data,
                                          message.size) == 1;
    EVP_MD_CTX_free(context);
    EVP_PKEY_free(key);
    if (!ready) {
        return crypto_failed(err, "checking a signature");
    }
    return fits ? SR_OK : sr_err_set(err, SR_CORRUPT, "the signature does not fit");
}

/* ---- X25519 ---- */

int sr_x25519(const uint8_t private_key[SR_CURVE_KEY_BYTES],
              const uint8_t public_key[SR_CURVE_KEY_BYTES], uint8_t ret_shared[SR_CURVE_KEY_BYTES],
              struct sr_err *err)
{
    size_t size = SR_CURVE_KEY_BYTES;
    EVP_PKEY *own =
        EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, NULL, private_key, SR_CURVE_KEY_BYTES);
    EVP_PKEY *other =
        EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, NULL, public_key, SR_CURVE_KEY_BYTES);
    EVP_PKEY_CTX *context = own != NULL ? EVP_PKEY_CTX_new(own, NULL) : NULL;
    bool ready = other != NULL && context != NULL && EVP_PKEY_derive_init(context) == 1 &&
                 EVP_PKEY_derive_set_peer(context, other) == 1;
    /* OpenSSL refuses a result of zeros, which all keys of small order give. */
    bool done =
        ready && EVP_PKEY_derive(context, ret_shared, &size) == 1 && size == SR_CURVE_KEY_BYTES;
    EVP_PKEY_CTX_free(context);
    EVP_PKEY_free(other);
    EVP_PKEY_free(own);
    if (!ready) {
        return crypto_failed(err, "key agreement");
    }
    return done ? SR_OK : sr_err_set(err, SR_KEY, "a public key that gives no secret");
}
