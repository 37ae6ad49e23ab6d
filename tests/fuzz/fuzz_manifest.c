/* SPDX-License-Identifier: Apache-2.0
 *
 * What comes back from a target, or from people. The first byte says as what the rest is read:
 *
 *   0  a file of a manifest        1  a payload, signed well: what opens could have been signed
 *   2  a payload of a proof        3  a line with a recovery key        4  a wrapped key
 *   5  the name of an object
 */
#include <string.h>

#include "base/alloc.h"
#include "base/check.h"
#include "storage/manifest.h"
#include "storage/signature.h"
#include "storage/signed.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t seed[SR_SIGNING_BYTES] = "the signing key of these inputs";

static void read_file(struct sr_bytes file)
{
    struct sr_manifest_expect nothing = {0};
    struct sr_manifest *manifest = NULL;
    struct sr_buf again = {0};
    uint8_t sha256[SR_MANIFEST_HASH_BYTES];
    struct sr_err err;
    if (sr_manifest_open(file, &nothing, &manifest, &err) == SR_OK) {
        struct sr_manifest_chain chain;
        sr_check(sr_manifest_sign(manifest->said, seed, &again, sha256, &err) == SR_OK);
        sr_check(sr_manifest_chain_check(&manifest, 1, &chain, &err) == SR_OK && chain.count == 1);
        sr_buf_close(&again);
    }
    sr_manifest_free(manifest);
}

static void read_signed(const char *label, struct sr_bytes payload, bool proof)
{
    struct sr_buf file = {0};
    uint8_t key[1][SR_SIGNING_BYTES];
    Strongroom__Proof *read = NULL;
    struct sr_err err;
    sr_check(sr_ed25519_public(seed, key[0], &err) == SR_OK);
    sr_check(sr_signed_pack(label, seed, payload, &file, &err) == SR_OK);
    struct sr_bytes bytes = {file.data, file.size};
    if (!proof) {
        read_file(bytes);
    } else if (sr_proof_open(bytes, 0, (const uint8_t(*)[SR_SIGNING_BYTES])key, 1, &read, &err) ==
               SR_OK) {
        strongroom__proof__free_unpacked(read, NULL);
    }
    sr_buf_close(&file);
}

static void read_key(struct sr_bytes text)
{
    struct sr_recovery_public public_half;
    struct sr_recovery_private *private_half = NULL;
    char line[SR_RECOVERY_TEXT_CHARS_MAX];
    struct sr_err err;
    if (sr_recovery_public_parse((const char *)text.data, text.size, &public_half, &err) == SR_OK) {
        sr_recovery_public_format(&public_half, line);
        sr_check(memmem(text.data, text.size, line, strlen(line)) != NULL);
    }
    if (sr_recovery_private_parse((const char *)text.data, text.size, &private_half, &err) ==
        SR_OK) {
        sr_recovery_private_format(private_half, line);
        sr_check(memmem(text.data, text.size, line, strlen(line)) != NULL);
        sr_recovery_private_free(private_half);
    }
}

static void unwrap(struct sr_bytes wrapped)
{
    static struct sr_archive_secret *secret;
    uint8_t packed[SR_ARCHIVE_SECRET_BYTES] = {1};
    uint8_t dek[SR_KEY_BYTES];
    struct sr_err err;
    if (secret == NULL) {
        sr_check(sr_archive_secret_unpack(packed, &secret, &err) == SR_OK);
    }
    struct sr_archive_keyring ring = {.secret = secret};
    struct sr_archive_keys keys = sr_archive_keys_of(&ring);
    (void)keys.unwrap(keys.arg, wrapped, (struct sr_bytes){0}, dek, &err);
}

static void read_name(struct sr_bytes text)
{
    struct sr_object_parts parts;
    char again[SR_OBJECT_NAME_BYTES_MAX];
    char *name = sr_zalloc(text.size + 1);
    memcpy(name, text.data, text.size);
    if (sr_object_parse(name, &parts)) {
        sr_object_name(parts.cluster_id, parts.kind, parts.sequence, parts.revision, parts.type,
                       again);
        sr_check(strcmp(name, again) == 0);
    }
    sr_free(name);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) {
        return 0;
    }
    struct sr_bytes rest = {data + 1, size - 1};
    switch (data[0] % 6) {
    case 0:
        read_file(rest);
        break;
    case 1:
        read_signed("strongroom manifest 1", rest, false);
        break;
    case 2:
        read_signed("strongroom proof 1", rest, true);
        break;
    case 3:
        read_key(rest);
        break;
    case 4:
        unwrap(rest);
        break;
    default:
        read_name(rest);
        break;
    }
    return 0;
}
