/* SPDX-License-Identifier: Apache-2.0 */
#include "storage/manifest_rules.h"

#include <string.h>

#include "proto/limits.h"
#include "storage/signature.h"

static int wrong(struct sr_err *err, const char *what)
{
    return sr_err_set(err, SR_INVALID, "%s", what);
}

static bool is_hash(const ProtobufCBinaryData *data)
{
    return data->len == SR_SHA256_BYTES;
}

static bool is_hash_or_none(const ProtobufCBinaryData *data)
{
    return data->len == 0 || is_hash(data);
}

static bool is_id_or_none(const ProtobufCBinaryData *data)
{
    return data->len == 0 || data->len == SR_ARCHIVE_ID_BYTES;
}

/* Printable ASCII without blanks. */
static bool is_name(const char *name, size_t max)
{
    size_t size = strlen(name);
    for (size_t i = 0; i < size; i++) {
        if (name[i] <= ' ' || name[i] > '~') {
            return false;
        }
    }
    return size > 0 && size <= max;
}

/* Not the first 32, delete, and those from U+0080 on, which some terminals take as one byte. */
bool sr_manifest_text_may_have(unsigned char before, unsigned char byte)
{
    bool is_second = byte >= 0x80 && byte < 0xa0;
    return byte >= ' ' && byte != 0x7f && !(is_second && (before < 0x80 || before == 0xc2));
}

/* No control characters: it is shown to people. */
static bool is_text(const char *text)
{
    size_t size = strlen(text);
    unsigned char before = 0;
    for (size_t i = 0; i < size; i++) {
        unsigned char byte = (unsigned char)text[i];
        if (!sr_manifest_text_may_have(before, byte)) {
            return false;
        }
        before = byte;
    }
    return size <= SR_MANIFEST_TEXT_CHARS_MAX;
}

static int check_format(uint32_t format, uint32_t incompatible, struct sr_err *err)
{
    if (format != SR_MANIFEST_FORMAT || incompatible != 0) {
        return sr_err_set(err, SR_FORMAT,
                          "it is of format %u with features 0x%x, which this "
                          "version does not know",
                          (unsigned)format, (unsigned)incompatible);
    }
    return SR_OK;
}

static int check_names(const Strongroom__Manifest *manifest, struct sr_err *err)
{
    if (!is_name(manifest->target, SR_OFFSITE_NAME_BYTES_MAX)) {
        return wrong(err, "it names no target");
    }
    if (!is_text(manifest->cluster_name) || !is_text(manifest->region)) {
        return wrong(err, "the cluster's name or the region is no text");
    }
    return SR_OK;
}

static int check_revisions(const Strongroom__Manifest *manifest, struct sr_err *err)
{
    bool full = manifest->kind == SR_ARCHIVE_FULL;
    if (!full && manifest->kind != SR_ARCHIVE_CHANGES) {
        return wrong(err, "it is of an unknown kind");
    }
    if (manifest->until_revision < 1 || manifest->since_revision < 0 ||
        manifest->since_revision > manifest->until_revision ||
        (full && manifest->since_revision != 0)) {
        return wrong(err, "its revisions are impossible");
    }
    if ((full && (manifest->base_archive_id.len != 0 || manifest->oldest_sequence != 0)) ||
        (!full && manifest->n_kept != 0) || manifest->oldest_sequence > manifest->sequence) {
        return wrong(err, "it says what belongs to another kind");
    }
    if (manifest->begun_ms > manifest->ended_ms) {
        return wrong(err, "it ended before it began");
    }
    return SR_OK;
}

static int check_object(const Strongroom__Manifest *manifest, struct sr_err *err)
{
    struct sr_object_parts parts;
    if (!sr_object_parse(manifest->object, &parts) || parts.type != SR_OBJECT_ARCHIVE ||
        parts.cluster_id != manifest->cluster_id || (uint32_t)parts.kind != manifest->kind ||
        parts.sequence != manifest->sequence || parts.revision != manifest->until_revision) {
        return wrong(err, "its object has a name that is not its own");
    }
    uint64_t groups = manifest->size / SR_ARCHIVE_GROUP_BYTES +
                      (manifest->size % SR_ARCHIVE_GROUP_BYTES > 0 ? 1 : 0);
    if (manifest->size == 0 || manifest->n_groups != groups || groups > SR_MANIFEST_GROUPS_MAX) {
        return wrong(err, "the size and the digests of its object do not fit");
    }
    for (size_t i = 0; i < manifest->n_groups; i++) {
        if (!is_hash(&manifest->groups[i])) {
            return wrong(err, "a digest of its object has a wrong length");
        }
    }
    return SR_OK;
}

static int check_hashes(const Strongroom__Manifest *manifest, struct sr_err *err)
{
    if (manifest->archive_id.len != SR_ARCHIVE_ID_BYTES ||
        !is_id_or_none(&manifest->base_archive_id) || !is_hash_or_none(&manifest->state_hash) ||
        !is_hash(&manifest->content_hash) || !is_hash(&manifest->sha256)) {
        return wrong(err, "a hash or an id is missing or has a wrong length");
    }
    if (manifest->archive_kek_id.len + manifest->n_recovery_key_ids == 0 ||
        (manifest->archive_kek_id.len != 0 && manifest->archive_kek_id.len != SR_KEY_ID_BYTES) ||
        manifest->n_recovery_key_ids > SR_RECOVERY_KEYS_MAX) {
        return wrong(err, "it does not say who can open the archive");
    }
    for (size_t i = 0; i < manifest->n_recovery_key_ids; i++) {
        if (manifest->recovery_key_ids[i].len != SR_KEY_ID_BYTES) {
            return wrong(err, "the id of a recovery key has a wrong length");
        }
    }
    return SR_OK;
}

/* Each before the next, `previous` after all that were kept, and all of them before itself. */
static int check_links(const Strongroom__Manifest *manifest, struct sr_err *err)
{
    uint64_t before = 0;
    if (manifest->n_kept > SR_MANIFEST_KEPT_MAX) {
        return wrong(err, "it names too many earlier ones");
    }
    for (size_t i = 0; i <= manifest->n_kept; i++) {
        const Strongroom__ManifestLink *link =
            i < manifest->n_kept ? manifest->kept[i] : manifest->previous;
        if (link == NULL && manifest->n_kept == 0) {
            break; /* the first of all */
        }
        if (link == NULL || link->sequence <= before || link->sequence >= manifest->sequence ||
            !is_hash(&link->sha256)) {
            return wrong(err, "the earlier ones that it names are not in order");
        }
        before = link->sequence;
    }
    return SR_OK;
}

int sr_manifest_validate(const Strongroom__Manifest *manifest, struct sr_err *err)
{
    int rc = check_format(manifest->format, manifest->incompatible, err);
    if (rc == SR_OK) {
        rc = check_names(manifest, err);
    }
    if (rc == SR_OK) {
        rc = check_revisions(manifest, err);
    }
    if (rc == SR_OK) {
        rc = check_object(manifest, err);
    }
    if (rc == SR_OK) {
        rc = check_hashes(manifest, err);
    }
    return rc == SR_OK ? check_links(manifest, err) : rc;
}

int sr_proof_validate(const Strongroom__Proof *proof, struct sr_err *err)
{
    int rc = check_format(proof->format, proof->incompatible, err);
    if (rc != SR_OK) {
        return rc;
    }
    if (!is_name(proof->target, SR_OFFSITE_NAME_BYTES_MAX) || !is_text(proof->prover) ||
        !is_text(proof->reason) || proof->cluster_id == 0 || proof->sequence == 0) {
        return wrong(err, "it does not say what was proven, and by whom");
    }
    if (proof->archive_id.len != SR_ARCHIVE_ID_BYTES || !is_hash(&proof->manifest_sha256) ||
        !is_hash_or_none(&proof->state_hash)) {
        return wrong(err, "a hash or an id is missing or has a wrong length");
    }
    if (proof->begun_ms > proof->ended_ms || (!proof->good && proof->reason[0] == 0)) {
        return wrong(err, "it ended before it began, or failed without a reason");
    }
    return SR_OK;
}
