/* SPDX-License-Identifier: Apache-2.0
 *
 * The keys of what leaves the cluster (decision 0018).
 *
 *   archive secret    replicated, one for each cluster: an Ed25519 seed that signs manifests and
 *                     proofs, and the archive KEK
 *   recovery key      of people, kept off the machines: whoever has the private half restores
 *                     without any node. Its public half is in the configuration of the nodes.
 *   key of an archive drawn for it, wrapped by the archive KEK and to each recovery key
 *
 * From the root of a recovery key, 32 random bytes, two keys are derived: an X25519 key, to which
 * archives are wrapped, and an Ed25519 key, which signs the proofs of a drill on a machine that has
 * nothing else. Bytes: docs/formats/manifest.md.
 *
 * Any thread. Objects that hold secrets are in secret memory; nothing secret is in an error.
 */
#ifndef SR_STORAGE_ARCHIVE_KEY_H
#define SR_STORAGE_ARCHIVE_KEY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "storage/archive.h"

#define SR_SIGNING_BYTES        32 /* seed, and public key, of Ed25519 */
#define SR_KEY_ID_BYTES         8
#define SR_ARCHIVE_SECRET_BYTES 64

/* ---- The archive secret ---- */

struct sr_archive_secret {
    uint8_t signing_seed[SR_SIGNING_BYTES];
    uint8_t kek[SR_KEY_BYTES];
    /* Public, derived from the above. */
    uint8_t public_key[SR_SIGNING_BYTES];
    uint8_t kek_id[SR_KEY_ID_BYTES];
};

/* Draw one, or make it again of its packed bytes (seed, then KEK). Release it with
 * sr_archive_secret_free. SR_CRYPTO. */
int sr_archive_secret_draw(struct sr_archive_secret **ret, struct sr_err *err);
int sr_archive_secret_unpack(const uint8_t packed[SR_ARCHIVE_SECRET_BYTES],
                             struct sr_archive_secret **ret, struct sr_err *err);
/* @out is to be wiped by the caller. */
void sr_archive_secret_pack(const struct sr_archive_secret *secret,
                            uint8_t out[SR_ARCHIVE_SECRET_BYTES]);
void sr_archive_secret_free(struct sr_archive_secret *secret); /* wipes; NULL is fine */

/* What people compare: SHA-256 of an Ed25519 public key, "SHA256:" and 64 hexadecimal digits. */
#define SR_FINGERPRINT_CHARS (7 + 64)
void sr_fingerprint(const uint8_t public_key[SR_SIGNING_BYTES],
                    char ret_text[SR_FINGERPRINT_CHARS + 1]);
/* Whether @text, as people give it ("SHA256:" may be left out, case does not matter), is the
 * fingerprint of @public_key. */
bool sr_fingerprint_matches(const char *text, const uint8_t public_key[SR_SIGNING_BYTES]);
/* Whether @text is a fingerprint at all. */
bool sr_is_fingerprint(const char *text);

/* ---- Recovery keys ---- */

#define SR_RECOVERY_KEYS_MAX 8

struct sr_recovery_public {
    uint8_t x25519[32];
    uint8_t proof[SR_SIGNING_BYTES]; /* Ed25519 public key, of proofs */
    uint8_t id[SR_KEY_ID_BYTES];     /* of the two */
};

struct sr_recovery_private {
    uint8_t root[32];
    uint8_t x25519[32];
    uint8_t proof_seed[SR_SIGNING_BYTES];
    struct sr_recovery_public public_half;
};

/* Release them with sr_recovery_private_free. SR_CRYPTO. */
int sr_recovery_draw(struct sr_recovery_private **ret, struct sr_err *err);
void sr_recovery_private_free(struct sr_recovery_private *key); /* wipes; NULL is fine */

/* As text, one line without its newline: "strongroom-recovery-public-1 BASE64", and
 * "strongroom-recovery-private-1 BASE64". Both carry a checksum, so that a slip of who copies them
 * from paper is noticed. */
#define SR_RECOVERY_TEXT_CHARS_MAX 160
void sr_recovery_public_format(const struct sr_recovery_public *key,
                               char ret_text[SR_RECOVERY_TEXT_CHARS_MAX]);
/* @ret_text is to be wiped by the caller. */
void sr_recovery_private_format(const struct sr_recovery_private *key,
                                char ret_text[SR_RECOVERY_TEXT_CHARS_MAX]);
/* White space at both ends is passed over. SR_KEY says what is wrong with it, without showing
 * anything of it: among others, that it is the other half. */
int sr_recovery_public_parse(const char *text, size_t size, struct sr_recovery_public *ret,
                             struct sr_err *err);
int sr_recovery_private_parse(const char *text, size_t size, struct sr_recovery_private **ret,
                              struct sr_err *err);

/* Files with such a line; lines that begin with # are passed over. That of a private key must be
 * readable by its owner only. SR_NOT_FOUND, SR_KEY, SR_IO; the text names the file. */
int sr_recovery_public_read(const char *path, struct sr_recovery_public *ret, struct sr_err *err);
int sr_recovery_private_read(const char *path, struct sr_recovery_private **ret,
                             struct sr_err *err);

/* ---- Wrapping the key of an archive ---- */

/* Who is to open an archive, or what it is opened with. All borrowed. */
struct sr_archive_keyring {
    const struct sr_archive_secret *secret;             /* NULL: not the cluster */
    const struct sr_recovery_public *recovery;          /* writing */
    size_t recovery_count;                              /* at most SR_RECOVERY_KEYS_MAX */
    const struct sr_recovery_private *recovery_private; /* reading; NULL: none */
};

/* For sr_archive_write_* and sr_archive_reader_open. @ring must outlive what it returns. wrap:
 * SR_INVALID when the ring names nobody. unwrap: SR_KEY says for whom the archive is sealed, and
 * what was at hand; SR_CORRUPT when the wrapped key is damaged, or of another archive. */
struct sr_archive_keys sr_archive_keys_of(const struct sr_archive_keyring *ring);

#endif
