/* SPDX-License-Identifier: Apache-2.0
 *
 * The blocks of a name, and the order of encrypted names. The comparator runs some twenty times
 * for each look-up in LMDB, so it decrypts two blocks and nothing more.
 */
#include "storage/keycodec.h"

#include <string.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/secret.h"
#include "storage/keycodec_impl.h"

#define DATA_BYTES   15 /* of a name in a block */
#define MARKER_MORE  16
#define SUFFIX_BYTES 8

struct sr_keycodec *sr_keycodec_from(const uint8_t key[SR_KEY_BYTES],
                                     const uint8_t iv[SR_EK_BLOCK_BYTES], bool native)
{
    struct sr_keycodec *codec = sr_secret_alloc(sizeof(*codec));
    codec->native = native;
    memcpy(codec->iv, iv, SR_EK_BLOCK_BYTES);
    if (native) {
        sr_keycodec_native_init(codec, key);
    } else {
        codec->evp = sr_keycodec_evp_new(key);
    }
    return codec;
}

int sr_keycodec_new(const struct sr_keyring *keyring, uint32_t dek_id, struct sr_keycodec **ret,
                    struct sr_err *err)
{
    uint8_t key[SR_KEY_BYTES];
    uint8_t iv[SR_KEY_BYTES];

    int status =
        sr_keyring_derive(keyring, dek_id, "strongroom names", (const uint8_t *)"", 0, key, err);
    if (status == SR_OK) {
        status = sr_keyring_derive(keyring, dek_id, "strongroom names iv", (const uint8_t *)"", 0,
                                   iv, err);
    }
    if (status == SR_OK) {
        *ret = sr_keycodec_from(key, iv, sr_keycodec_native_possible());
    }
    sr_secret_wipe(key, sizeof(key));
    sr_secret_wipe(iv, sizeof(iv));
    return status;
}

void sr_keycodec_free(struct sr_keycodec *codec)
{
    if (codec == NULL) {
        return;
    }
    sr_keycodec_evp_free(codec->evp);
    sr_secret_free(codec, sizeof(*codec));
}

static size_t block_count(size_t size)
{
    return size == 0 ? 1 : (size + DATA_BYTES - 1) / DATA_BYTES;
}

size_t sr_ek_size(size_t size)
{
    return block_count(size) * SR_EK_BLOCK_BYTES;
}

size_t sr_key_encode(const struct sr_keycodec *codec, const uint8_t *name, size_t size,
                     uint8_t ret_ek[SR_EK_BYTES_MAX])
{
    sr_check(size <= SR_KEY_BYTES_MAX);
    size_t blocks = block_count(size);
    uint8_t *block = ret_ek;

    for (size_t i = 0; i + 1 < blocks; i++, block += SR_EK_BLOCK_BYTES) {
        memcpy(block, name + i * DATA_BYTES, DATA_BYTES);
        block[DATA_BYTES] = MARKER_MORE;
    }
    size_t rest = size - (blocks - 1) * DATA_BYTES;
    memset(block, 0, SR_EK_BLOCK_BYTES);
    if (rest > 0) {
        memcpy(block, name + (blocks - 1) * DATA_BYTES, rest);
    }
    block[DATA_BYTES] = (uint8_t)rest;
    if (codec->native) {
        sr_keycodec_native_encrypt(codec, ret_ek, blocks);
    } else {
        sr_keycodec_evp_encrypt(codec, ret_ek, blocks);
    }
    return blocks * SR_EK_BLOCK_BYTES;
}

/* Put the blocks of a decrypted name together, in place of its first bytes. Exactly what encoding
 * makes is accepted, so that no two eks have one name. */
static int join_blocks(const uint8_t *plain, size_t blocks, uint8_t *ret_name, size_t *ret_size)
{
    size_t size = 0;
    for (size_t i = 0; i < blocks; i++) {
        const uint8_t *block = plain + i * SR_EK_BLOCK_BYTES;
        uint8_t marker = block[DATA_BYTES];
        bool last = i + 1 == blocks;
        size_t used = last ? marker : DATA_BYTES;
        if (last ? marker > DATA_BYTES || (marker == 0 && i > 0) : marker != MARKER_MORE) {
            return 0;
        }
        for (size_t k = used; k < DATA_BYTES; k++) {
            if (block[k] != 0) {
                return 0;
            }
        }
        memcpy(ret_name + size, block, used);
        size += used;
    }
    *ret_size = size;
    return 1;
}

int sr_key_decode(const struct sr_keycodec *codec, const uint8_t *ek, size_t ek_size,
                  uint8_t ret_name[SR_KEY_BYTES_MAX], size_t *ret_size, struct sr_err *err)
{
    uint8_t plain[SR_EK_BYTES_MAX];
    size_t blocks = ek_size / SR_EK_BLOCK_BYTES;

    if (ek_size == 0 || ek_size > sizeof(plain) || ek_size % SR_EK_BLOCK_BYTES != 0) {
        return sr_err_set(err, SR_CORRUPT, "encrypted name of %zu bytes", ek_size);
    }
    memcpy(plain, ek, ek_size);
    if (codec->native) {
        sr_keycodec_native_decrypt(codec, plain, blocks);
    } else {
        sr_keycodec_evp_decrypt(codec, plain, blocks);
    }
    if (!join_blocks(plain, blocks, ret_name, ret_size)) {
        return sr_err_set(err, SR_CORRUPT, "encrypted name does not decrypt to one");
    }
    return SR_OK;
}

/* ---- Order ---- */

static int compare_u64(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

/* Blocks that differ, of two names that are equal up to here; @before is the block before. */
static int compare_blocks(const struct sr_keycodec *codec, const uint8_t *a, const uint8_t *b,
                          const uint8_t *before)
{
    uint8_t plain[2 * SR_EK_BLOCK_BYTES];
    if (codec->native) {
        sr_keycodec_native_pair(codec, a, b, plain);
    } else {
        sr_keycodec_evp_pair(codec, a, b, plain);
    }
    uint64_t chain = sr_get_u64(before);
    int order =
        compare_u64(sr_get_u64(plain) ^ chain, sr_get_u64(plain + SR_EK_BLOCK_BYTES) ^ chain);
    if (order != 0) {
        return order;
    }
    chain = sr_get_u64(before + 8);
    return compare_u64(sr_get_u64(plain + 8) ^ chain,
                       sr_get_u64(plain + SR_EK_BLOCK_BYTES + 8) ^ chain);
}

static bool is_index_key(size_t size)
{
    return size % SR_EK_BLOCK_BYTES == SUFFIX_BYTES;
}

static bool blocks_equal(const uint8_t *a, const uint8_t *b)
{
    uint64_t x[2];
    uint64_t y[2];
    __builtin_memcpy(x, a, sizeof(x));
    __builtin_memcpy(y, b, sizeof(y));
    return ((x[0] ^ y[0]) | (x[1] ^ y[1])) == 0;
}

int sr_key_compare(const struct sr_keycodec *codec, const uint8_t *a, size_t a_size,
                   const uint8_t *b, size_t b_size)
{
    if (!is_index_key(a_size) || !is_index_key(b_size)) {
        /* Garbage goes last, so that the order stays one. */
        if (is_index_key(a_size) != is_index_key(b_size)) {
            return is_index_key(a_size) ? -1 : 1;
        }
        return sr_bytes_compare((struct sr_bytes){a, a_size}, (struct sr_bytes){b, b_size});
    }
    size_t common = (a_size < b_size ? a_size : b_size) - SUFFIX_BYTES;
    for (size_t at = 0; at < common; at += SR_EK_BLOCK_BYTES) {
        if (!blocks_equal(a + at, b + at)) {
            return compare_blocks(codec, a + at, b + at,
                                  at == 0 ? codec->iv : a + at - SR_EK_BLOCK_BYTES);
        }
    }
    if (a_size != b_size) {
        return a_size < b_size ? -1 : 1;
    }
    return compare_u64(sr_get_u64(a + common), sr_get_u64(b + common));
}
