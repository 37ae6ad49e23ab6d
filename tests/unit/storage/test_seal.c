/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/cmocka.h"

#include <string.h>

#include "storage/seal.h"

static const uint8_t key[SR_KEY_BYTES] = {1, 2, 3, 4, 5};
static const char aad[] = "table, key and revision";

/* NIST's GCM test case 13 and 14 (256-bit key of zeros): with the counter as the nonce's last
 * bytes, domain 0 and counter 0 are their nonce of zeros. */
static void known_answers_of_gcm(void **state)
{
    (void)state;
    static const uint8_t zeros[SR_KEY_BYTES];
    static const uint8_t tag_empty[] = {0x53, 0x0f, 0x8a, 0xfb, 0xc7, 0x45, 0x36, 0xb9,
                                        0xa9, 0x63, 0xb4, 0xf1, 0xc4, 0xcb, 0x73, 0x8b};
    static const uint8_t block[] = {0xce, 0xa7, 0x40, 0x3d, 0x4d, 0x60, 0x6b, 0x6e,
                                    0x07, 0x4e, 0xc5, 0xd3, 0xba, 0xf3, 0x9d, 0x18,
                                    0xd0, 0xd1, 0xc8, 0xa7, 0x99, 0x99, 0x6b, 0xf0,
                                    0x26, 0x5b, 0x98, 0xb5, 0xd4, 0x8a, 0xb9, 0x19};
    uint8_t out[32];
    struct sr_sealer *sealer = sr_sealer_new(zeros);
    assert_int_equal(sr_seal(sealer, 0, 0, "", 0, "", 0, out, NULL), 0);
    assert_memory_equal(out, tag_empty, sizeof(tag_empty));
    assert_int_equal(sr_seal(sealer, 0, 0, "", 0, zeros, 16, out, NULL), 0);
    assert_memory_equal(out, block, sizeof(block));
    sr_sealer_free(sealer);
}

static void what_is_sealed_opens_in_any_order_and_in_place(void **state)
{
    (void)state;
    struct sr_sealer *sealer = sr_sealer_new(key);
    static uint8_t plain[300];
    static uint8_t sealed[300][300 + SR_SEAL_TAG_BYTES];
    uint64_t counters[300];
    memset(plain, 0x5a, sizeof(plain));
    for (size_t size = 0; size < 300; size++) {
        counters[size] = sr_sealer_next(sealer);
        memcpy(sealed[size], plain, size);
        assert_int_equal(sr_seal(sealer, SR_DOMAIN_RECORD, counters[size], aad, sizeof(aad),
                                 sealed[size], size, sealed[size], NULL),
                         0);
    }
    for (size_t size = 300; size-- > 0;) {
        assert_int_equal(sr_unseal(sealer, SR_DOMAIN_RECORD, counters[size], aad, sizeof(aad),
                                   sealed[size], size, sealed[size], NULL),
                         0);
        assert_memory_equal(sealed[size], plain, size);
    }
    sr_sealer_free(sealer);
}

static void nothing_else_opens(void **state)
{
    (void)state;
    struct sr_sealer *sealer = sr_sealer_new(key);
    uint8_t other_key[SR_KEY_BYTES] = {1, 2, 3, 4, 6};
    struct sr_sealer *other = sr_sealer_new(other_key);
    uint8_t plain[40] = "forty bytes of something to protect";
    uint8_t sealed[sizeof(plain) + SR_SEAL_TAG_BYTES];
    uint8_t zeros[sizeof(plain)] = {0};
    uint8_t out[sizeof(plain)];
    struct sr_err err;

    assert_int_equal(sr_seal(sealer, 1, 7, aad, sizeof(aad), plain, sizeof(plain), sealed, NULL),
                     0);
    for (size_t bit = 0; bit < sizeof(sealed) * 8; bit++) {
        sealed[bit / 8] ^= (uint8_t)(1U << (bit % 8));
        memset(out, 0xee, sizeof(out));
        assert_int_equal(
            sr_unseal(sealer, 1, 7, aad, sizeof(aad), sealed, sizeof(plain), out, &err),
            SR_CORRUPT);
        assert_memory_equal(out, zeros, sizeof(out));
        sealed[bit / 8] ^= (uint8_t)(1U << (bit % 8));
    }
    assert_int_equal(sr_unseal(sealer, 2, 7, aad, sizeof(aad), sealed, sizeof(plain), out, &err),
                     SR_CORRUPT);
    assert_int_equal(sr_unseal(sealer, 1, 8, aad, sizeof(aad), sealed, sizeof(plain), out, &err),
                     SR_CORRUPT);
    assert_int_equal(
        sr_unseal(sealer, 1, 7, aad, sizeof(aad) - 1, sealed, sizeof(plain), out, &err),
        SR_CORRUPT);
    assert_int_equal(sr_unseal(other, 1, 7, aad, sizeof(aad), sealed, sizeof(plain), out, &err),
                     SR_CORRUPT);
    /* The context is as good as new after failures. */
    assert_int_equal(sr_unseal(sealer, 1, 7, aad, sizeof(aad), sealed, sizeof(plain), out, &err),
                     0);
    assert_memory_equal(out, plain, sizeof(plain));
    sr_sealer_free(sealer);
    sr_sealer_free(other);
}

static void counters_do_not_repeat(void **state)
{
    (void)state;
    struct sr_sealer *sealer = sr_sealer_new(key);
    for (uint64_t i = 0; i < 1000; i++) {
        assert_int_equal(sr_sealer_next(sealer), i);
    }
    assert_false(sr_sealer_spent(sealer));
    sr_sealer_free(sealer);
}

static void random_bytes_fill_everything(void **state)
{
    (void)state;
    static uint8_t a[100000];
    static uint8_t b[100000];
    sr_random_bytes(a, sizeof(a));
    sr_random_bytes(b, sizeof(b));
    for (size_t at = 0; at < sizeof(a); at += 1000) {
        assert_memory_not_equal(a + at, b + at, 1000);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_answers_of_gcm),
        cmocka_unit_test(what_is_sealed_opens_in_any_order_and_in_place),
        cmocka_unit_test(nothing_else_opens),
        cmocka_unit_test(counters_do_not_repeat),
        cmocka_unit_test(random_bytes_fill_everything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
