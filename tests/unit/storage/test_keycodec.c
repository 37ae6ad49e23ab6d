/* SPDX-License-Identifier: Apache-2.0
 *
 * The order of encrypted names, against memcmp over names chosen to be awkward; the processor's
 * AES against OpenSSL's.
 */
#include "tests/unit/cmocka.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "storage/keycodec_impl.h"

#define NAMES_MAX 2000

struct name {
    size_t size;
    size_t ek_size;
    uint8_t bytes[SR_KEY_BYTES_MAX];
    uint8_t ek[SR_EK_BYTES_MAX + 8];
};

static const uint8_t key[SR_KEY_BYTES] = "thirty-two bytes make an AES key";
static const uint8_t iv[SR_EK_BLOCK_BYTES] = "sixteen an iv...";
static struct name *names;
static size_t name_count;
static struct sr_keycodec *codecs[2]; /* OpenSSL's, and the processor's where it can */
static size_t codec_count;
static uint64_t seed = 88172645463325252U;

static uint64_t random_u64(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

static void add_name(const void *bytes, size_t size)
{
    if (name_count == NAMES_MAX) {
        return;
    }
    struct name *name = &names[name_count++];
    name->size = size;
    memcpy(name->bytes, bytes, size);
    name->ek_size = sr_key_encode(codecs[0], name->bytes, size, name->ek);
    assert_int_equal(name->ek_size, sr_ek_size(size));
}

static void add_awkward_names(void)
{
    static const uint8_t fills[] = {0x00, 0x01, 0x02, 0x0e, 0x0f, 0x10,
                                    0x11, 0x7f, 0x80, 0xfe, 0xff};
    uint8_t bytes[SR_KEY_BYTES_MAX];
    for (size_t f = 0; f < sizeof(fills); f++) {
        memset(bytes, fills[f], sizeof(bytes));
        for (size_t size = 0; size <= 64; size++) {
            add_name(bytes, size);
        }
    }
    memset(bytes, 'k', sizeof(bytes));
    for (size_t size = SR_KEY_BYTES_MAX - 20; size <= SR_KEY_BYTES_MAX; size++) {
        add_name(bytes, size);
    }
    for (size_t size = 13; size <= 50; size++) { /* markers as content at the edges of blocks */
        for (uint8_t last = 14; last <= 17; last++) {
            bytes[size - 1] = last;
            add_name(bytes, size);
            bytes[size - 1] = 'k';
        }
    }
    for (unsigned i = 0; i < 300; i++) {
        char text[64];
        add_name(text, (size_t)snprintf(text, sizeof(text), "/registry/pods/ns-%03u/pod-%016x",
                                        i % 17, (unsigned)random_u64()));
    }
    while (name_count < NAMES_MAX) { /* few letters, so that prefixes are shared */
        size_t size = random_u64() % 70;
        for (size_t i = 0; i < size; i++) {
            bytes[i] = fills[random_u64() % 3];
        }
        add_name(bytes, size);
    }
}

static int set_up(void **state)
{
    (void)state;
    codecs[codec_count++] = sr_keycodec_from(key, iv, false);
    if (sr_keycodec_native_possible()) {
        codecs[codec_count++] = sr_keycodec_from(key, iv, true);
    } else {
        print_message("this processor has no AES instructions: only OpenSSL's path is tested\n");
    }
    names = sr_calloc(NAMES_MAX, sizeof(*names));
    add_awkward_names();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    for (size_t i = 0; i < codec_count; i++) {
        sr_keycodec_free(codecs[i]);
    }
    sr_free(names);
    return 0;
}

static void both_ways_compute_the_same(void **state)
{
    (void)state;
    for (size_t i = 0; i < name_count; i++) {
        for (size_t c = 0; c < codec_count; c++) {
            uint8_t ek[SR_EK_BYTES_MAX];
            uint8_t back[SR_KEY_BYTES_MAX];
            size_t size = 0;
            assert_int_equal(sr_key_encode(codecs[c], names[i].bytes, names[i].size, ek),
                             names[i].ek_size);
            assert_memory_equal(ek, names[i].ek, names[i].ek_size);
            assert_int_equal(sr_key_decode(codecs[c], ek, names[i].ek_size, back, &size, NULL), 0);
            assert_int_equal(size, names[i].size);
            assert_memory_equal(back, names[i].bytes, size);
        }
    }
}

/* FIPS 197, appendix C.3: with an IV that turns enc15's block into the standard's plaintext. */
static void the_cipher_is_aes(void **state)
{
    (void)state;
    uint8_t aes_key[SR_KEY_BYTES];
    uint8_t aes_iv[SR_EK_BLOCK_BYTES];
    uint8_t ek[SR_EK_BYTES_MAX];
    static const uint8_t expected[] = {0x8e, 0xa2, 0xb7, 0xca, 0x51, 0x67, 0x45, 0xbf,
                                       0xea, 0xfc, 0x49, 0x90, 0x4b, 0x49, 0x60, 0x89};
    for (size_t i = 0; i < sizeof(aes_key); i++) {
        aes_key[i] = (uint8_t)i;
    }
    for (size_t i = 0; i < sizeof(aes_iv); i++) {
        aes_iv[i] = (uint8_t)(i * 0x11); /* the empty name is a block of zeros */
    }
    for (size_t c = 0; c < codec_count; c++) {
        struct sr_keycodec *codec = sr_keycodec_from(aes_key, aes_iv, c == 1);
        assert_int_equal(sr_key_encode(codec, (const uint8_t *)"", 0, ek), 16);
        assert_memory_equal(ek, expected, 16);
        sr_keycodec_free(codec);
    }
}

static int sign(int value)
{
    return (value > 0) - (value < 0);
}

static void names_order_as_memcmp(void **state)
{
    (void)state;
    size_t wrong = 0;
    for (size_t i = 0; i < name_count; i++) {
        for (size_t k = 0; k < name_count; k++) {
            struct name *a = &names[i];
            struct name *b = &names[k];
            int expected = sr_bytes_compare((struct sr_bytes){a->bytes, a->size},
                                            (struct sr_bytes){b->bytes, b->size});
            for (size_t c = 0; c < codec_count; c++) {
                int order = sr_key_compare(codecs[c], a->ek, a->ek_size + 8, b->ek, b->ek_size + 8);
                wrong += sign(order) != sign(expected);
            }
        }
    }
    assert_int_equal(wrong, 0);
}

static void equal_names_order_by_suffix(void **state)
{
    (void)state;
    for (size_t i = 0; i < name_count; i += 7) {
        uint8_t a[SR_EK_BYTES_MAX + 8];
        uint8_t b[SR_EK_BYTES_MAX + 8];
        size_t size = names[i].ek_size + 8;
        memcpy(a, names[i].ek, size);
        memcpy(b, names[i].ek, size);
        uint64_t x = random_u64();
        uint64_t y = random_u64() % 2 == 0 ? x : random_u64();
        sr_put_u64(a + size - 8, x);
        sr_put_u64(b + size - 8, y);
        for (size_t c = 0; c < codec_count; c++) {
            assert_int_equal(sign(sr_key_compare(codecs[c], a, size, b, size)), (x > y) - (x < y));
        }
    }
}

/* On bytes of any content and size the comparator is a total order: antisymmetric, transitive. */
static void garbage_has_an_order_too(void **state)
{
    (void)state;
    enum { COUNT = 90 };
    static uint8_t bytes[COUNT][64];
    size_t sizes[COUNT];
    int order[COUNT][COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        sizes[i] = i % 3 == 0 ? 8 + 16 * (random_u64() % 4) : random_u64() % 64;
        for (size_t k = 0; k < sizeof(bytes[i]); k++) {
            bytes[i][k] = (uint8_t)(random_u64() % 2);
        }
    }
    for (size_t i = 0; i < COUNT; i++) {
        for (size_t k = 0; k < COUNT; k++) {
            order[i][k] = sign(
                sr_key_compare(codecs[codec_count - 1], bytes[i], sizes[i], bytes[k], sizes[k]));
            assert_int_equal(order[i][k], sign(sr_key_compare(codecs[0], bytes[i], sizes[i],
                                                              bytes[k], sizes[k])));
        }
    }
    for (size_t i = 0; i < COUNT; i++) {
        for (size_t k = 0; k < COUNT; k++) {
            assert_int_equal(order[i][k], -order[k][i]);
            for (size_t m = 0; m < COUNT; m++) {
                assert_false(order[i][k] <= 0 && order[k][m] <= 0 && order[i][m] > 0);
            }
        }
    }
}

static void what_is_no_name_does_not_decode(void **state)
{
    (void)state;
    uint8_t out[SR_KEY_BYTES_MAX];
    uint8_t ek[SR_EK_BYTES_MAX + 16];
    size_t size = 0;
    struct sr_err err;
    for (size_t i = 0; i < name_count; i += 3) {
        size_t ek_size = names[i].ek_size;
        memcpy(ek, names[i].ek, ek_size);
        ek[ek_size - 1] ^= 1; /* scrambles the last block */
        int status = sr_key_decode(codecs[0], ek, ek_size, out, &size, &err);
        if (status == SR_OK) { /* then it must be another name's one encoding */
            uint8_t again[SR_EK_BYTES_MAX];
            assert_int_equal(sr_key_encode(codecs[0], out, size, again), ek_size);
            assert_memory_equal(again, ek, ek_size);
        } else {
            assert_int_equal(status, SR_CORRUPT);
        }
        if (ek_size > 16) { /* cut at a block: the last one says that more follows */
            assert_int_equal(sr_key_decode(codecs[0], names[i].ek, ek_size - 16, out, &size, &err),
                             SR_CORRUPT);
        }
        assert_int_equal(sr_key_decode(codecs[0], names[i].ek, ek_size - 1, out, &size, &err),
                         SR_CORRUPT);
    }
    memset(ek, 0, sizeof(ek));
    assert_int_equal(sr_key_decode(codecs[0], ek, 0, out, &size, &err), SR_CORRUPT);
    assert_int_equal(sr_key_decode(codecs[0], ek, sizeof(ek), out, &size, &err), SR_CORRUPT);
}

static void *compare_in_a_thread(void *arg)
{
    size_t *wrong = arg;
    for (size_t i = 0; i + 1 < name_count; i++) {
        const struct name *a = &names[i];
        const struct name *b = &names[i + 1];
        int expected = sr_bytes_compare((struct sr_bytes){a->bytes, a->size},
                                        (struct sr_bytes){b->bytes, b->size});
        for (size_t c = 0; c < codec_count; c++) {
            *wrong += sign(sr_key_compare(codecs[c], a->ek, a->ek_size + 8, b->ek,
                                          b->ek_size + 8)) != sign(expected);
        }
    }
    return NULL;
}

static void threads_share_a_codec(void **state)
{
    (void)state;
    pthread_t threads[4];
    size_t wrong[4] = {0};
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, compare_in_a_thread, &wrong[i]), 0);
    }
    for (size_t i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(wrong[i], 0);
    }
}

/* Prints what a comparison costs; asserts nothing about time. */
static void cost_of_a_comparison(void **state)
{
    (void)state;
    const struct name *a = &names[name_count / 2];
    for (size_t c = 0; c < codec_count; c++) {
        int sum = 0;
        uint64_t start = sr_clock_monotonic_ns();
        for (size_t i = 0; i < 200000; i++) {
            const struct name *b = &names[i % name_count];
            sum += sr_key_compare(codecs[c], a->ek, a->ek_size + 8, b->ek, b->ek_size + 8);
        }
        uint64_t each = (sr_clock_monotonic_ns() - start) / 200000;
        print_message("comparison by %s: %llu ns (%d)\n", c == 0 ? "OpenSSL" : "AES-NI",
                      (unsigned long long)each, sum);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_cipher_is_aes),
        cmocka_unit_test(both_ways_compute_the_same),
        cmocka_unit_test(names_order_as_memcmp),
        cmocka_unit_test(equal_names_order_by_suffix),
        cmocka_unit_test(garbage_has_an_order_too),
        cmocka_unit_test(what_is_no_name_does_not_decode),
        cmocka_unit_test(threads_share_a_codec),
        cmocka_unit_test(cost_of_a_comparison),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
