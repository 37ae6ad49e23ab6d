/* SPDX-License-Identifier: Apache-2.0
 *
 * AES-256 by the processor's own instructions (FIPS 197; Intel's AES-NI). Constant time, as there
 * are no tables. Elsewhere than on x86-64, OpenSSL does the work.
 */
#include "storage/keycodec_impl.h"

#include "base/check.h"

#if defined(__x86_64__)

#include <immintrin.h>

#define NATIVE __attribute__((target("aes,sse2")))
#define LAST   (SR_AES_ROUND_KEYS - 1)

bool sr_keycodec_native_possible(void)
{
    return __builtin_cpu_supports("aes") != 0;
}

NATIVE static inline __m128i load(const uint8_t *at)
{
    return _mm_loadu_si128((const __m128i *)(const void *)at);
}

NATIVE static inline void store(uint8_t *at, __m128i block)
{
    _mm_storeu_si128((__m128i *)(void *)at, block);
}

/* Each word of a round key is the XOR of all words before it in the last but one round key, and
 * of the mixed word that @mixed has in all four places. */
NATIVE static inline __m128i expand(__m128i key, __m128i mixed)
{
    key = _mm_xor_si128(key, _mm_slli_si128(key, 4));
    key = _mm_xor_si128(key, _mm_slli_si128(key, 8));
    return _mm_xor_si128(key, mixed);
}

/* Two round keys a step; the round constant must be an immediate. */
#define EXPAND_EVEN(n, constant)                                                                   \
    keys[n] = expand(keys[(n)-2],                                                                  \
                     _mm_shuffle_epi32(_mm_aeskeygenassist_si128(keys[(n)-1], constant), 0xff))
#define EXPAND_ODD(n)                                                                              \
    keys[n] =                                                                                      \
        expand(keys[(n)-2], _mm_shuffle_epi32(_mm_aeskeygenassist_si128(keys[(n)-1], 0), 0xaa))

NATIVE void sr_keycodec_native_init(struct sr_keycodec *codec, const uint8_t key[SR_KEY_BYTES])
{
    __m128i *keys = (__m128i *)(void *)codec->encrypt_keys;
    __m128i *inverse = (__m128i *)(void *)codec->decrypt_keys;

    keys[0] = load(key);
    keys[1] = load(key + SR_EK_BLOCK_BYTES);
    EXPAND_EVEN(2, 0x01);
    EXPAND_ODD(3);
    EXPAND_EVEN(4, 0x02);
    EXPAND_ODD(5);
    EXPAND_EVEN(6, 0x04);
    EXPAND_ODD(7);
    EXPAND_EVEN(8, 0x08);
    EXPAND_ODD(9);
    EXPAND_EVEN(10, 0x10);
    EXPAND_ODD(11);
    EXPAND_EVEN(12, 0x20);
    EXPAND_ODD(13);
    EXPAND_EVEN(14, 0x40);
    inverse[0] = keys[LAST];
    for (int i = 1; i < LAST; i++) {
        inverse[i] = _mm_aesimc_si128(keys[LAST - i]);
    }
    inverse[LAST] = keys[0];
}

NATIVE void sr_keycodec_native_encrypt(const struct sr_keycodec *codec, uint8_t *data,
                                       size_t blocks)
{
    const __m128i *keys = (const __m128i *)(const void *)codec->encrypt_keys;
    __m128i chain = load(codec->iv);

    for (size_t i = 0; i < blocks; i++, data += SR_EK_BLOCK_BYTES) {
        chain = _mm_xor_si128(_mm_xor_si128(chain, load(data)), keys[0]);
        for (int round = 1; round < LAST; round++) {
            chain = _mm_aesenc_si128(chain, keys[round]);
        }
        chain = _mm_aesenclast_si128(chain, keys[LAST]);
        store(data, chain);
    }
}

NATIVE void sr_keycodec_native_decrypt(const struct sr_keycodec *codec, uint8_t *data,
                                       size_t blocks)
{
    const __m128i *keys = (const __m128i *)(const void *)codec->decrypt_keys;
    __m128i chain = load(codec->iv);

    for (size_t i = 0; i < blocks; i++, data += SR_EK_BLOCK_BYTES) {
        __m128i sealed = load(data);
        __m128i block = _mm_xor_si128(sealed, keys[0]);
        for (int round = 1; round < LAST; round++) {
            block = _mm_aesdec_si128(block, keys[round]);
        }
        block = _mm_aesdeclast_si128(block, keys[LAST]);
        store(data, _mm_xor_si128(block, chain));
        chain = sealed;
    }
}

/* Both blocks in step: the second one's rounds fill the first one's latency. */
NATIVE void sr_keycodec_native_pair(const struct sr_keycodec *codec, const uint8_t *a,
                                    const uint8_t *b, uint8_t out[2 * SR_EK_BLOCK_BYTES])
{
    const __m128i *keys = (const __m128i *)(const void *)codec->decrypt_keys;
    __m128i x = _mm_xor_si128(load(a), keys[0]);
    __m128i y = _mm_xor_si128(load(b), keys[0]);

#pragma GCC unroll 16
    for (int round = 1; round < LAST; round++) {
        x = _mm_aesdec_si128(x, keys[round]);
        y = _mm_aesdec_si128(y, keys[round]);
    }
    store(out, _mm_aesdeclast_si128(x, keys[LAST]));
    store(out + SR_EK_BLOCK_BYTES, _mm_aesdeclast_si128(y, keys[LAST]));
}

#else

bool sr_keycodec_native_possible(void)
{
    return false;
}

void sr_keycodec_native_init(struct sr_keycodec *codec, const uint8_t key[SR_KEY_BYTES])
{
    sr_check(codec == NULL && key == NULL);
}

void sr_keycodec_native_encrypt(const struct sr_keycodec *codec, uint8_t *data, size_t blocks)
{
    sr_check(codec == NULL && data == NULL && blocks == 0);
}

void sr_keycodec_native_decrypt(const struct sr_keycodec *codec, uint8_t *data, size_t blocks)
{
    sr_check(codec == NULL && data == NULL && blocks == 0);
}

void sr_keycodec_native_pair(const struct sr_keycodec *codec, const uint8_t *a, const uint8_t *b,
                             uint8_t out[2 * SR_EK_BLOCK_BYTES])
{
    sr_check(codec == NULL && a == NULL && b == NULL && out == NULL);
}

#endif
