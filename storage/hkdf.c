/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/hkdf.h"

#include <openssl/core_names.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

/* OSSL_PARAM has no const members; the KDF only reads them. */
static void *as_param(struct sr_bytes bytes)
{
    union {
        const uint8_t *in;
        void *out;
    } data = {.in = bytes.data};

    return data.out;
}

int sr_hkdf(struct sr_bytes key, struct sr_bytes salt, struct sr_bytes info,
            uint8_t ret_key[SR_KEY_BYTES], struct sr_err *err)
{
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
    EVP_KDF_CTX *context = kdf != NULL ? EVP_KDF_CTX_new(kdf) : NULL;
    OSSL_PARAM params[5];
    size_t count = 0;
    char digest[] = "SHA256";
    bool done;

    params[count++] = OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0);
    params[count++] =
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, as_param(key), key.size);
    params[count++] =
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, as_param(info), info.size);
    if (salt.size > 0) {
        params[count++] =
            OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, as_param(salt), salt.size);
    }
    params[count] = OSSL_PARAM_construct_end();
    done = context != NULL && EVP_KDF_derive(context, ret_key, SR_KEY_BYTES, params) == 1;
    EVP_KDF_CTX_free(context);
    EVP_KDF_free(kdf);
    return done ? SR_OK : sr_err_set(err, SR_CRYPTO, "HKDF failed");
}
