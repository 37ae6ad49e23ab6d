/* SPDX-License-Identifier: Apache-2.0
 *
 * Tokens to join with.
 */
#include "tests/unit/cmocka.h"

#include <string.h>

#include "node/cluster/token.h"

static void token_is_of_secret_and_member(void **state)
{
    uint8_t secret[SR_TOKEN_SECRET_BYTES] = {1};
    uint8_t other[SR_TOKEN_SECRET_BYTES] = {2};
    char a[SR_TOKEN_TEXT_BYTES + 1];
    char b[SR_TOKEN_TEXT_BYTES + 1];
    (void)state;
    sr_token_make(secret, 7, a);
    sr_token_make(secret, 7, b);
    assert_string_equal(a, b);
    assert_int_equal(strspn(a, "0123456789abcdef"), SR_TOKEN_TEXT_BYTES);
    sr_token_make(secret, 8, b);
    assert_string_not_equal(a, b);
    sr_token_make(other, 7, b);
    assert_string_not_equal(a, b);
}

/* FIPS 180-2, B.1. */
static void hash_is_sha256_of_the_text(void **state)
{
    static const uint8_t expected[SR_TOKEN_HASH_BYTES] = {
        0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea, 0x41, 0x41, 0x40,
        0xde, 0x5d, 0xae, 0x22, 0x23, 0xb0, 0x03, 0x61, 0xa3, 0x96, 0x17,
        0x7a, 0x9c, 0xb4, 0x10, 0xff, 0x61, 0xf2, 0x00, 0x15, 0xad};
    uint8_t hash[SR_TOKEN_HASH_BYTES];
    (void)state;
    sr_token_hash("abc", 3, hash);
    assert_memory_equal(hash, expected, sizeof(hash));
}

/* What a claim leaves is of the key and of the token, and opens no place as a token would. */
static void claim_is_of_key_and_token(void **state)
{
    uint8_t key[SR_TOKEN_KEY_BYTES] = {1};
    uint8_t other[SR_TOKEN_KEY_BYTES] = {2};
    uint8_t hash[SR_TOKEN_HASH_BYTES];
    uint8_t again[SR_TOKEN_HASH_BYTES];
    (void)state;
    sr_token_claim(key, "abc", 3, hash);
    sr_token_claim(key, "abc", 3, again);
    assert_memory_equal(hash, again, sizeof(hash));
    sr_token_claim(other, "abc", 3, again);
    assert_memory_not_equal(hash, again, sizeof(hash));
    sr_token_claim(key, "abd", 3, again);
    assert_memory_not_equal(hash, again, sizeof(hash));
    sr_token_claim(key, NULL, 0, again);
    assert_memory_not_equal(hash, again, sizeof(hash));
    sr_token_hash("abc", 3, again);
    assert_memory_not_equal(hash, again, sizeof(hash));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(token_is_of_secret_and_member),
        cmocka_unit_test(hash_is_sha256_of_the_text),
        cmocka_unit_test(claim_is_of_key_and_token),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
