/* SPDX-License-Identifier: Apache-2.0 */
#include "node/cluster/token.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>

#include "base/buf.h"
#include "base/check.h"

void sr_token_make(const uint8_t secret[SR_TOKEN_SECRET_BYTES], uint64_t member,
                   char ret_text[SR_TOKEN_TEXT_BYTES + 1])
{
    static const char digits[] = "0123456789abcdef";
    uint8_t id[sizeof(member)];
    uint8_t code[SR_TOKEN_TEXT_BYTES / 2];
    unsigned size = 0;
    sr_put_u64(id, member);
    sr_check(HMAC(EVP_sha256(), secret, SR_TOKEN_SECRET_BYTES, id, sizeof(id), code, &size) !=
                 NULL &&
             size == sizeof(code));
    for (size_t i = 0; i < sizeof(code); i++) {
        ret_text[2 * i] = digits[code[i] >> 4];
        ret_text[2 * i + 1] = digits[code[i] & 15];
    }
    ret_text[SR_TOKEN_TEXT_BYTES] = 0;
    explicit_bzero(code, sizeof(code));
}

void sr_token_claim(const uint8_t key[SR_TOKEN_KEY_BYTES], const char *text, size_t size,
                    uint8_t ret_hash[SR_TOKEN_HASH_BYTES])
{
    static const char purpose[] = "strongroom claim"; /* never the hash of a token alone */
    struct sr_buf both = {0};
    sr_buf_append(&both, purpose, sizeof(purpose));
    sr_buf_append(&both, key, SR_TOKEN_KEY_BYTES);
    sr_token_hash(text, size, sr_buf_extend(&both, SR_TOKEN_HASH_BYTES));
    sr_token_hash((const char *)both.data, both.size, ret_hash);
    explicit_bzero(both.data, both.size);
    sr_buf_close(&both);
}

void sr_token_hash(const char *text, size_t size, uint8_t ret_hash[SR_TOKEN_HASH_BYTES])
{
    size_t written = 0;
    sr_check(EVP_Q_digest(NULL, "SHA256", NULL, text, size, ret_hash, &written) == 1 &&
             written == SR_TOKEN_HASH_BYTES);
}
