/* SPDX-License-Identifier: Apache-2.0
 *
 * The two ways to run AES-256 under storage/keycodec: the processor's instructions, and OpenSSL.
 * Both compute the same. Single blocks cost EVP more in calls than in AES, hence the first.
 */
#ifndef SR_STORAGE_KEYCODEC_IMPL_H
#define SR_STORAGE_KEYCODEC_IMPL_H

#include <pthread.h>
#include <stdbool.h>

#include "storage/keycodec.h"

#define SR_AES_ROUND_KEYS 15

struct sr_keycodec_evp;

/* Lives in secret memory as a whole: page aligned, hence the round keys too. */
struct sr_keycodec {
    uint8_t encrypt_keys[SR_AES_ROUND_KEYS][SR_EK_BLOCK_BYTES];
    uint8_t decrypt_keys[SR_AES_ROUND_KEYS][SR_EK_BLOCK_BYTES];
    uint8_t iv[SR_EK_BLOCK_BYTES];
    bool native;
    struct sr_keycodec_evp *evp; /* when not native */
};

/* As sr_keycodec_new, from the key itself; @native must be false where the processor cannot. */
struct sr_keycodec *sr_keycodec_from(const uint8_t key[SR_KEY_BYTES],
                                     const uint8_t iv[SR_EK_BLOCK_BYTES], bool native);
bool sr_keycodec_native_possible(void);

/* CBC over @blocks blocks in place. */
void sr_keycodec_native_init(struct sr_keycodec *codec, const uint8_t key[SR_KEY_BYTES]);
void sr_keycodec_native_encrypt(const struct sr_keycodec *codec, uint8_t *data, size_t blocks);
void sr_keycodec_native_decrypt(const struct sr_keycodec *codec, uint8_t *data, size_t blocks);
/* One block each, without chaining. */
void sr_keycodec_native_pair(const struct sr_keycodec *codec, const uint8_t *a, const uint8_t *b,
                             uint8_t out[2 * SR_EK_BLOCK_BYTES]);

struct sr_keycodec_evp *sr_keycodec_evp_new(const uint8_t key[SR_KEY_BYTES]);
void sr_keycodec_evp_free(struct sr_keycodec_evp *evp);
void sr_keycodec_evp_encrypt(const struct sr_keycodec *codec, uint8_t *data, size_t blocks);
void sr_keycodec_evp_decrypt(const struct sr_keycodec *codec, uint8_t *data, size_t blocks);
void sr_keycodec_evp_pair(const struct sr_keycodec *codec, const uint8_t *a, const uint8_t *b,
                          uint8_t out[2 * SR_EK_BLOCK_BYTES]);

#endif
