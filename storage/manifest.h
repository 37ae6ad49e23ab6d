/* SPDX-License-Identifier: Apache-2.0
 *
 * Manifests: what a cluster says of each archive that it has shipped, signed and chained, and the
 * proofs of drills. docs/formats/manifest.md has the bytes and the rules.
 *
 * Refusals have a word in front that says of which kind they are, and then a sentence:
 *
 *   truncated   the file is cut, or archives are missing that newer ones say are there
 *   edited      the signature does not fit
 *   foreign     another cluster's or target's, or signed by another key than was asked for
 *   swapped     it stands under the name of another one, or its archive is another
 *   stale       it is older than what is known to exist
 *   reordered   it does not follow the one before
 *
 * Any thread; nothing here reads files or the network.
 */
#ifndef SR_STORAGE_MANIFEST_H
#define SR_STORAGE_MANIFEST_H

#include "base/buf.h"
#include "base/err.h"
#include "proto/archive.pb-c.h"
#include "storage/archive.h"
#include "storage/archive_digest.h"
#include "storage/archive_key.h"

#define SR_MANIFEST_FORMAT         1
#define SR_MANIFEST_HASH_BYTES     32
#define SR_MANIFEST_KEPT_MAX       1024  /* links to earlier full archives */
#define SR_MANIFEST_GROUPS_MAX     65536 /* 512 GiB in groups of 8 MiB */
#define SR_MANIFEST_TEXT_CHARS_MAX 255   /* of each name in it */

/* Whether a text for people in a manifest or a proof may have @byte after @before (0: none): no
 * control characters, also not those that terminals know beyond ASCII. */
bool sr_manifest_text_may_have(unsigned char before, unsigned char byte);

/* ---- Names under a target's prefix ---- */

#define SR_OBJECT_NAME_BYTES_MAX 96
enum sr_object_type { SR_OBJECT_ARCHIVE, SR_OBJECT_MANIFEST };
/* CLUSTERID16HEX/snapshots/SEQUENCE10-REVISION.sra, .srm; for changes "changes" and until. */
void sr_object_name(uint64_t cluster_id, enum sr_archive_kind kind, uint64_t sequence,
                    int64_t revision, enum sr_object_type type,
                    char ret_name[SR_OBJECT_NAME_BYTES_MAX]);
/* CLUSTERID16HEX/snapshots/, CLUSTERID16HEX/changes/: what to list. */
void sr_object_prefix(uint64_t cluster_id, enum sr_archive_kind kind,
                      char ret_prefix[SR_OBJECT_NAME_BYTES_MAX]);
/* CLUSTERID16HEX/proofs/SEQUENCE10.srp */
void sr_proof_name(uint64_t cluster_id, uint64_t sequence, char ret_name[SR_OBJECT_NAME_BYTES_MAX]);

struct sr_object_parts {
    uint64_t cluster_id;
    enum sr_archive_kind kind;
    enum sr_object_type type;
    uint64_t sequence;
    int64_t revision;
};
/* Whether @name is exactly one that sr_object_name makes. */
bool sr_object_parse(const char *name, struct sr_object_parts *ret);

/* ---- One manifest ---- */

/* A manifest in the making. */
struct sr_manifest_draft {
    Strongroom__Manifest manifest;
    Strongroom__ManifestLink previous;
    char object[SR_OBJECT_NAME_BYTES_MAX];
    uint8_t state_hash[32];
    ProtobufCBinaryData recovery_ids[SR_RECOVERY_KEYS_MAX];
    struct sr_archive_info info;
    ProtobufCBinaryData *groups; /* freed by sr_manifest_draft_close */
};
/* Fill it with what the archive says of itself: format, kind, ids, revisions, hashes, size,
 * digests, object name, and the key ids of @ring. @digests and @ring are borrowed until close. Left
 * to the caller, in draft->manifest: cluster_name, member_id, target, base_archive_id, kept,
 * oldest_sequence, region, begun_ms, ended_ms, newest_change_ms if it knows better. */
void sr_manifest_draft_init(struct sr_manifest_draft *draft, uint64_t sequence,
                            const struct sr_archive_info *info,
                            const struct sr_archive_digests *digests,
                            const struct sr_archive_keyring *ring);
/* The one before it on its target and kind; not called for the first. @sha256 is borrowed. */
void sr_manifest_draft_follow(struct sr_manifest_draft *draft, uint64_t sequence,
                              const uint8_t sha256[SR_MANIFEST_HASH_BYTES]);
void sr_manifest_draft_close(struct sr_manifest_draft *draft);

/* Check @manifest, sign it with the Ed25519 key of @seed, append the file to @ret_file.
 * @ret_sha256 is what the next one is chained to. SR_INVALID: a field is missing or impossible;
 * SR_CRYPTO. */
int sr_manifest_sign(const Strongroom__Manifest *manifest, const uint8_t seed[SR_SIGNING_BYTES],
                     struct sr_buf *ret_file, uint8_t ret_sha256[SR_MANIFEST_HASH_BYTES],
                     struct sr_err *err);

/* What the reader of a manifest knows beforehand. Zeros and NULLs: nothing. */
struct sr_manifest_expect {
    const char *name;    /* the object that it was fetched as */
    uint64_t cluster_id; /* 0: any */
    const char *target;
    const uint8_t *public_key; /* who must have signed */
    const char *fingerprint;   /* the same, as people give it */
    uint64_t sequence_min;     /* one that is known to have existed, of this kind */
    int64_t revision_min;      /* likewise */
    const uint8_t *sha256;     /* of the file, by the replicated catalogue or a later manifest */
};

struct sr_manifest {
    Strongroom__Manifest *said;
    uint8_t public_key[SR_SIGNING_BYTES];
    uint8_t sha256[SR_MANIFEST_HASH_BYTES]; /* of the file */
};

/* Check the file @file and unpack it. Release it with sr_manifest_free. SR_CORRUPT (truncated,
 * edited, or impossible), SR_REFUSED (foreign, swapped, stale), SR_FORMAT (of a newer version),
 * SR_CRYPTO. */
int sr_manifest_open(struct sr_bytes file, const struct sr_manifest_expect *expect,
                     struct sr_manifest **ret, struct sr_err *err);
void sr_manifest_free(struct sr_manifest *manifest); /* NULL is fine */

/* Whether an archive is the one that @manifest is about: its header (sr_archive_reader_header or
 * sr_archive_peek), and, at the end, its info; the digests of its bytes. NULL: not checked.
 * SR_REFUSED: swapped; SR_CORRUPT: truncated, or edited. */
int sr_manifest_check_header(const struct sr_manifest *manifest,
                             const struct sr_archive_header *header, struct sr_err *err);
int sr_manifest_check_info(const struct sr_manifest *manifest, const struct sr_archive_info *info,
                           struct sr_err *err);
int sr_manifest_check_object(const struct sr_manifest *manifest, uint64_t size,
                             const uint8_t sha256[SR_MANIFEST_HASH_BYTES], struct sr_err *err);

/* ---- Many ---- */

struct sr_manifest_chain {
    size_t count;   /* that belong to it */
    size_t missing; /* named by the newest one, but not there: pruned since, or taken away */
    uint64_t missing_sequence; /* the newest of these; 0: none */
};
/* What is on a target, of one kind: @count manifests in any order. Sorts @list by sequence and puts
 * in front, in order, those that belong to the chain of the newest one. The others, behind, are of
 * claims that were taken over: each is good, none is on the chain.
 *
 *   changes    each is chained to the one before it and begins where that ended; nothing is missing
 *              between two, only before the first
 *   full       those that the newest one names, and itself
 *
 * SR_CORRUPT: truncated, reordered; SR_REFUSED: foreign (two clusters, targets, kinds or keys),
 * swapped (two of one sequence). SR_NOT_FOUND: @count is 0. */
int sr_manifest_chain_check(struct sr_manifest **list, size_t count, struct sr_manifest_chain *ret,
                            struct sr_err *err);

/* ---- Proofs ---- */

int sr_proof_sign(const Strongroom__Proof *proof, const uint8_t seed[SR_SIGNING_BYTES],
                  struct sr_buf *ret_file, struct sr_err *err);
/* Unpack @file; free it with strongroom__proof__free_unpacked(*ret, NULL). It must be of
 * @cluster_id (0: any) and signed by one of the @key_count keys of SR_SIGNING_BYTES each: that of
 * the cluster, those of its recovery keys. SR_CORRUPT, SR_REFUSED, SR_FORMAT, SR_CRYPTO. */
int sr_proof_open(struct sr_bytes file, uint64_t cluster_id,
                  const uint8_t (*keys)[SR_SIGNING_BYTES], size_t key_count,
                  Strongroom__Proof **ret, struct sr_err *err);

#endif
