/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/manifest.h"

#include <inttypes.h>
#include <string.h>

#include "base/alloc.h"
#include "base/check.h"
#include "proto/message.h"
#include "storage/manifest_rules.h"
#include "storage/signature.h"
#include "storage/signed.h"

#define MANIFEST_LABEL "strongroom manifest 1"
#define PROOF_LABEL    "strongroom proof 1"

/* protobuf-c only reads what it packs. */
static ProtobufCBinaryData lend(const uint8_t *bytes, size_t size)
{
    union {
        const uint8_t *in;
        uint8_t *out;
    } data = {.in = bytes};
    return (ProtobufCBinaryData){size, data.out};
}

/* ---- Making ---- */

static void add_keys(struct sr_manifest_draft *draft, const struct sr_archive_keyring *ring)
{
    Strongroom__Manifest *manifest = &draft->manifest;
    sr_check(ring->recovery_count <= SR_RECOVERY_KEYS_MAX);
    if (ring->secret != NULL) {
        manifest->archive_kek_id = lend(ring->secret->kek_id, SR_KEY_ID_BYTES);
    }
    for (size_t i = 0; i < ring->recovery_count; i++) {
        draft->recovery_ids[i] = lend(ring->recovery[i].id, SR_KEY_ID_BYTES);
    }
    manifest->recovery_key_ids = draft->recovery_ids;
    manifest->n_recovery_key_ids = ring->recovery_count;
}

static void add_digests(struct sr_manifest_draft *draft, const struct sr_archive_digests *digests)
{
    Strongroom__Manifest *manifest = &draft->manifest;
    draft->groups = sr_calloc(digests->group_count, sizeof(*draft->groups));
    for (size_t i = 0; i < digests->group_count; i++) {
        draft->groups[i] =
            lend(digests->groups + i * SR_ARCHIVE_DIGEST_BYTES, SR_ARCHIVE_DIGEST_BYTES);
    }
    manifest->groups = draft->groups;
    manifest->n_groups = digests->group_count;
    manifest->size = digests->bytes;
    manifest->sha256 = lend(digests->sha256, SR_ARCHIVE_DIGEST_BYTES);
}

static void add_info(struct sr_manifest_draft *draft)
{
    static const uint8_t unknown[32];
    Strongroom__Manifest *manifest = &draft->manifest;
    const struct sr_archive_info *info = &draft->info;
    const struct sr_archive_header *header = &info->header;
    manifest->cluster_id = header->cluster_id;
    manifest->kind = (uint32_t)header->kind;
    manifest->archive_id = lend(header->id, SR_ARCHIVE_ID_BYTES);
    manifest->since_revision = header->since;
    manifest->until_revision = header->revision;
    manifest->index = header->index;
    manifest->term = header->term;
    if (memcmp(info->state_hash, unknown, sizeof(unknown)) != 0) {
        manifest->state_hash = lend(info->state_hash, sizeof(info->state_hash));
    }
    manifest->content_hash = lend(info->content, SR_IMAGE_HASH_BYTES);
    manifest->newest_change_ms = info->newest_time_ms;
    manifest->compact_revision = info->compact_revision;
    manifest->versions = info->versions;
}

void sr_manifest_draft_init(struct sr_manifest_draft *draft, uint64_t sequence,
                            const struct sr_archive_info *info,
                            const struct sr_archive_digests *digests,
                            const struct sr_archive_keyring *ring)
{
    memset(draft, 0, sizeof(*draft));
    strongroom__manifest__init(&draft->manifest);
    draft->info = *info;
    draft->manifest.format = SR_MANIFEST_FORMAT;
    draft->manifest.sequence = sequence;
    add_info(draft);
    add_digests(draft, digests);
    add_keys(draft, ring);
    sr_object_name(info->header.cluster_id, info->header.kind, sequence, info->header.revision,
                   SR_OBJECT_ARCHIVE, draft->object);
    draft->manifest.object = draft->object;
}

void sr_manifest_draft_follow(struct sr_manifest_draft *draft, uint64_t sequence,
                              const uint8_t sha256[SR_MANIFEST_HASH_BYTES])
{
    strongroom__manifest_link__init(&draft->previous);
    draft->previous.sequence = sequence;
    draft->previous.sha256 = lend(sha256, SR_MANIFEST_HASH_BYTES);
    draft->manifest.previous = &draft->previous;
}

void sr_manifest_draft_close(struct sr_manifest_draft *draft)
{
    sr_free(draft->groups);
    draft->groups = NULL;
    draft->manifest.groups = NULL;
    draft->manifest.n_groups = 0;
}

static int sign(const char *label, const ProtobufCMessage *message,
                const uint8_t seed[SR_SIGNING_BYTES], struct sr_buf *ret_file, struct sr_err *err)
{
    struct sr_buf payload = {0};
    size_t size = protobuf_c_message_get_packed_size(message);
    (void)protobuf_c_message_pack(message, sr_buf_extend(&payload, size));
    int rc =
        sr_signed_pack(label, seed, (struct sr_bytes){payload.data, payload.size}, ret_file, err);
    sr_buf_close(&payload);
    return rc;
}

int sr_manifest_sign(const Strongroom__Manifest *manifest, const uint8_t seed[SR_SIGNING_BYTES],
                     struct sr_buf *ret_file, uint8_t ret_sha256[SR_MANIFEST_HASH_BYTES],
                     struct sr_err *err)
{
    size_t before = ret_file->size;
    int rc = sr_manifest_validate(manifest, err);
    if (rc == SR_OK) {
        rc = sign(MANIFEST_LABEL, &manifest->base, seed, ret_file, err);
    }
    if (rc == SR_OK) {
        rc = sr_sha256((struct sr_bytes){ret_file->data + before, ret_file->size - before},
                       ret_sha256, err);
    }
    return rc == SR_OK ? SR_OK : sr_err_prefix(err, "sign a manifest");
}

/* ---- Reading ---- */

/* What sr_manifest_open gives is the first member. */
struct opened {
    struct sr_manifest manifest;
    struct sr_arena arena;
};

static int check_key(const struct sr_manifest *manifest, const struct sr_manifest_expect *expect,
                     struct sr_err *err)
{
    char by[SR_FINGERPRINT_CHARS + 1];
    char wanted[SR_FINGERPRINT_CHARS + 1];
    sr_fingerprint(manifest->public_key, by);
    if (expect->public_key != NULL &&
        memcmp(expect->public_key, manifest->public_key, SR_SIGNING_BYTES) != 0) {
        sr_fingerprint(expect->public_key, wanted);
        return sr_err_set(err, SR_REFUSED, "foreign: it is signed by %s, not by %s", by, wanted);
    }
    if (expect->fingerprint != NULL &&
        !sr_fingerprint_matches(expect->fingerprint, manifest->public_key)) {
        return sr_err_set(err, SR_REFUSED, "foreign: it is signed by %s, not by %.80s", by,
                          expect->fingerprint);
    }
    return SR_OK;
}

static int unpack(struct opened *opened, struct sr_bytes payload, struct sr_err *err)
{
    Strongroom__Manifest *said = (Strongroom__Manifest *)sr_message_unpack_known(
        &strongroom__manifest__descriptor, &opened->arena, payload.data, payload.size, err);
    if (said == NULL && err != NULL && err->status == SR_FORMAT) {
        return sr_err_set(err, SR_FORMAT, "it has a field that this version does not know");
    }
    if (said == NULL) {
        return sr_err_set(err, SR_CORRUPT, "impossible: what is signed is no manifest");
    }
    opened->manifest.said = said;
    int rc = sr_manifest_validate(said, err);
    if (rc != SR_INVALID) {
        return rc;
    }
    if (err != NULL) {
        err->status = SR_CORRUPT;
    }
    (void)sr_err_prefix(err, "impossible");
    return SR_CORRUPT;
}

static int check_origin(const Strongroom__Manifest *said, const struct sr_manifest_expect *expect,
                        struct sr_err *err)
{
    if (expect->cluster_id != 0 && said->cluster_id != expect->cluster_id) {
        return sr_err_set(err, SR_REFUSED,
                          "foreign: it is of cluster %016" PRIx64 ", not of %016" PRIx64,
                          said->cluster_id, expect->cluster_id);
    }
    if (expect->target != NULL && strcmp(said->target, expect->target) != 0) {
        return sr_err_set(err, SR_REFUSED, "foreign: it was made for target %s, not for %.64s",
                          said->target, expect->target);
    }
    return SR_OK;
}

static int check_name(const Strongroom__Manifest *said, const char *name, struct sr_err *err)
{
    char own[SR_OBJECT_NAME_BYTES_MAX];
    struct sr_object_parts parts;
    sr_object_name(said->cluster_id, (enum sr_archive_kind)said->kind, said->sequence,
                   said->until_revision, SR_OBJECT_MANIFEST, own);
    if (strcmp(name, own) == 0) {
        return SR_OK;
    }
    if (sr_object_parse(name, &parts) && parts.cluster_id == said->cluster_id &&
        (uint32_t)parts.kind == said->kind && parts.sequence > said->sequence) {
        return sr_err_set(err, SR_REFUSED, "stale: it is the older %s, put in the place of %.95s",
                          own, name);
    }
    return sr_err_set(err, SR_REFUSED, "swapped: it is %s, put in the place of %.95s", own, name);
}

static int check_age(const Strongroom__Manifest *said, const struct sr_manifest_expect *expect,
                     struct sr_err *err)
{
    if (said->sequence < expect->sequence_min) {
        return sr_err_set(err, SR_REFUSED,
                          "stale: its sequence is %" PRIu64 ", and %" PRIu64 " is known to exist",
                          said->sequence, expect->sequence_min);
    }
    if (said->until_revision < expect->revision_min) {
        return sr_err_set(err, SR_REFUSED,
                          "stale: it ends at revision %" PRId64 ", and %" PRId64
                          " is known to have been shipped",
                          said->until_revision, expect->revision_min);
    }
    return SR_OK;
}

static int check_expected(const struct sr_manifest *manifest,
                          const struct sr_manifest_expect *expect, struct sr_err *err)
{
    int rc = check_origin(manifest->said, expect, err);
    if (rc == SR_OK && expect->name != NULL) {
        rc = check_name(manifest->said, expect->name, err);
    }
    if (rc == SR_OK) {
        rc = check_age(manifest->said, expect, err);
    }
    if (rc == SR_OK && expect->sha256 != NULL &&
        memcmp(expect->sha256, manifest->sha256, SR_MANIFEST_HASH_BYTES) != 0) {
        rc = sr_err_set(err, SR_REFUSED,
                        "swapped: it is another one of sequence %" PRIu64 " than the one that is "
                        "known",
                        manifest->said->sequence);
    }
    return rc;
}

static int open_file(struct opened *opened, struct sr_bytes file,
                     const struct sr_manifest_expect *expect, struct sr_err *err)
{
    struct sr_manifest *manifest = &opened->manifest;
    uint8_t *payload = NULL;
    size_t size = 0;
    int rc = sr_signed_open(MANIFEST_LABEL, file, &payload, &size, manifest->public_key, err);
    if (rc == SR_OK) {
        rc = sr_sha256(file, manifest->sha256, err);
    }
    if (rc == SR_OK) {
        rc = check_key(manifest, expect, err);
    }
    if (rc == SR_OK) {
        rc = unpack(opened, (struct sr_bytes){payload, size}, err);
    }
    sr_free(payload);
    return rc == SR_OK ? check_expected(manifest, expect, err) : rc;
}

int sr_manifest_open(struct sr_bytes file, const struct sr_manifest_expect *expect,
                     struct sr_manifest **ret, struct sr_err *err)
{
    struct opened *opened = sr_zalloc(sizeof(*opened));
    struct sr_err local = {0};
    sr_arena_init(&opened->arena, 4 * SR_SIGNED_BYTES_MAX);
    int rc = open_file(opened, file, expect, &local);
    if (rc != SR_OK) {
        sr_manifest_free(&opened->manifest);
        return sr_err_set(err, rc, "manifest%s%.95s: %.380s", expect->name != NULL ? " " : "",
                          expect->name != NULL ? expect->name : "", local.text);
    }
    *ret = &opened->manifest;
    return SR_OK;
}

void sr_manifest_free(struct sr_manifest *manifest)
{
    if (manifest == NULL) {
        return;
    }
    struct opened *opened = (struct opened *)(void *)manifest;
    sr_arena_close(&opened->arena);
    sr_free(opened);
}

/* ---- Proofs ---- */

int sr_proof_sign(const Strongroom__Proof *proof, const uint8_t seed[SR_SIGNING_BYTES],
                  struct sr_buf *ret_file, struct sr_err *err)
{
    int rc = sr_proof_validate(proof, err);
    if (rc == SR_OK) {
        rc = sign(PROOF_LABEL, &proof->base, seed, ret_file, err);
    }
    return rc == SR_OK ? SR_OK : sr_err_prefix(err, "sign a proof");
}

static int check_prover(const uint8_t key[SR_SIGNING_BYTES],
                        const uint8_t (*keys)[SR_SIGNING_BYTES], size_t key_count,
                        struct sr_err *err)
{
    char by[SR_FINGERPRINT_CHARS + 1];
    for (size_t i = 0; i < key_count; i++) {
        if (memcmp(keys[i], key, SR_SIGNING_BYTES) == 0) {
            return SR_OK;
        }
    }
    sr_fingerprint(key, by);
    return sr_err_set(err, SR_REFUSED, "foreign: it is signed by %s, which is not asked to prove",
                      by);
}

static int unpack_proof(struct sr_bytes payload, uint64_t cluster_id, Strongroom__Proof **ret,
                        struct sr_err *err)
{
    int rc = sr_message_check(&strongroom__proof__descriptor, payload.data, payload.size, err);
    Strongroom__Proof *proof =
        rc == SR_OK ? strongroom__proof__unpack(NULL, payload.size, payload.data) : NULL;
    if (proof == NULL) {
        return sr_err_set(err, SR_CORRUPT, "impossible: what is signed is no proof");
    }
    rc = proof->base.n_unknown_fields > 0
             ? sr_err_set(err, SR_FORMAT, "it has a field that this version does not know")
             : sr_proof_validate(proof, err);
    if (rc == SR_INVALID) {
        rc = SR_CORRUPT;
        (void)sr_err_prefix(err, "impossible");
    }
    if (rc == SR_OK && cluster_id != 0 && proof->cluster_id != cluster_id) {
        rc = sr_err_set(err, SR_REFUSED,
                        "foreign: it is of cluster %016" PRIx64 ", not of %016" PRIx64,
                        proof->cluster_id, cluster_id);
    }
    if (rc != SR_OK) {
        strongroom__proof__free_unpacked(proof, NULL);
        return rc;
    }
    *ret = proof;
    return SR_OK;
}

int sr_proof_open(struct sr_bytes file, uint64_t cluster_id,
                  const uint8_t (*keys)[SR_SIGNING_BYTES], size_t key_count,
                  Strongroom__Proof **ret, struct sr_err *err)
{
    uint8_t key[SR_SIGNING_BYTES];
    uint8_t *payload = NULL;
    size_t size = 0;
    struct sr_err local = {0};
    int rc = sr_signed_open(PROOF_LABEL, file, &payload, &size, key, &local);
    if (rc == SR_OK) {
        rc = check_prover(key, keys, key_count, &local);
    }
    if (rc == SR_OK) {
        rc = unpack_proof((struct sr_bytes){payload, size}, cluster_id, ret, &local);
    }
    sr_free(payload);
    return rc == SR_OK ? SR_OK : sr_err_set(err, rc, "proof: %.480s", local.text);
}
