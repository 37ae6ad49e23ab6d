/* SPDX-License-Identifier: Apache-2.0
 *
 * Authenticated encryption: AES-256-GCM (NIST SP 800-38D) by OpenSSL, contexts reused.
 *
 * Nonces never repeat, by construction: a sealer stands for one *epoch*, that is one key derived
 * from a fresh random salt, and counts its nonces from 0. A process start, an image install and
 * every 2^32 uses open a new epoch; its salt is stored before or with the first thing sealed
 * under it. A nonce made from a revision or a log index alone would repeat after a restore.
 */
#ifndef SR_STORAGE_SEAL_H
#define SR_STORAGE_SEAL_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "storage/keyring.h"

#define SR_SEAL_TAG_BYTES   16
#define SR_SEAL_COUNTER_MAX (UINT64_C(1) << 32)

/* One key, one thread at a time. */
struct sr_sealer;

struct sr_sealer *sr_sealer_new(const uint8_t key[SR_KEY_BYTES]);
void sr_sealer_free(struct sr_sealer *sealer); /* wipes; NULL is fine */

/* Take the next counter value of this epoch for sealing. Aborts at SR_SEAL_COUNTER_MAX: the owner
 * opens a new epoch long before (sr_sealer_spent). */
uint64_t sr_sealer_next(struct sr_sealer *sealer);
/* Whether it is time to open a new epoch. */
int sr_sealer_spent(const struct sr_sealer *sealer);

/* Seal @size bytes of @plain to @out (@size + SR_SEAL_TAG_BYTES, may be @plain itself), with
 * @domain (the kind of thing) and @counter (from sr_sealer_next, once) as the nonce and @aad as
 * what is authenticated beside it. Fails only with SR_CRYPTO. */
int sr_seal(struct sr_sealer *sealer, uint32_t domain, uint64_t counter, const void *aad,
            size_t aad_size, const void *plain, size_t size, uint8_t *out, struct sr_err *err);

/* Open what sr_seal made: @sealed has @size + SR_SEAL_TAG_BYTES bytes, @out gets @size.
 * SR_CORRUPT when it does not authenticate; @out is then wiped. */
int sr_unseal(struct sr_sealer *sealer, uint32_t domain, uint64_t counter, const void *aad,
              size_t aad_size, const uint8_t *sealed, size_t size, uint8_t *out,
              struct sr_err *err);

/* Domains, one for each kind of sealed thing. */
enum {
    SR_DOMAIN_RECORD = 1,  /* values in the log table */
    SR_DOMAIN_HEADER = 2,  /* headers in the idx table */
    SR_DOMAIN_META = 3,    /* values in the meta table */
    SR_DOMAIN_REQUEST = 4, /* remembered answers */
    SR_DOMAIN_FRAME = 5,   /* frames of the raft log */
    SR_DOMAIN_VOTE = 6,    /* term and vote */
    SR_DOMAIN_KEYRING = 7,
    SR_DOMAIN_MANIFEST = 8,
    SR_DOMAIN_ARCHIVE = 9,      /* pieces of an archive */
    SR_DOMAIN_ARCHIVE_KEY = 10, /* keys of archives, wrapped */
};

/* @size random bytes from the system; aborts if there are none. */
void sr_random_bytes(void *out, size_t size);

#endif
