/* SPDX-License-Identifier: Apache-2.0
 *
 * One-time tokens, with which a node takes the place that was made for it in the cluster record.
 * Whoever makes the place tells the token once; the record holds its hash only. Pure functions for
 * any thread.
 */
#ifndef SR_NODE_CLUSTER_TOKEN_H
#define SR_NODE_CLUSTER_TOKEN_H

#include <stddef.h>
#include <stdint.h>

#define SR_TOKEN_SECRET_BYTES 32
#define SR_TOKEN_TEXT_BYTES   64 /* hexadecimal digits, without the 0 behind them */
#define SR_TOKEN_HASH_BYTES   32
#define SR_TOKEN_KEY_BYTES    32 /* SHA-256 of the public key of a node's certificate */

/* The token of the place @member, which is as secret as @secret, and the same whenever it is asked
 * for: so nothing needs to be kept until the place is there. */
void sr_token_make(const uint8_t secret[SR_TOKEN_SECRET_BYTES], uint64_t member,
                   char ret_text[SR_TOKEN_TEXT_BYTES + 1]);

/* What the record holds of a place that waits: SHA-256 of the @size bytes of the token's text. */
void sr_token_hash(const char *text, size_t size, uint8_t ret_hash[SR_TOKEN_HASH_BYTES]);

/* What it holds instead from the claim until the node has told that it is there: SHA-256 over the
 * node's @key and the token, which is empty where there is none. Whoever has both may ask again. */
void sr_token_claim(const uint8_t key[SR_TOKEN_KEY_BYTES], const char *text, size_t size,
                    uint8_t ret_hash[SR_TOKEN_HASH_BYTES]);

#endif
