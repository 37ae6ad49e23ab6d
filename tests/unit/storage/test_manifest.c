/* SPDX-License-Identifier: Apache-2.0
 *
 * Manifests: what is signed is read again, and whatever is wrong is refused with a sentence that
 * says of which kind it is: truncated, edited, foreign, swapped, stale, reordered.
 */
#include "tests/unit/cmocka.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "storage/manifest.h"
#include "storage/signature.h"
#include "storage/signed.h"

#define CLUSTER UINT64_C(0x1234abcd00000001)

static void good(int rc, const struct sr_err *err)
{
    if (rc != SR_OK) {
        print_error("%s: %s\n", sr_status_text(rc), err->text);
    }
    assert_int_equal(rc, SR_OK);
}

#define assert_text(err, part)                                                                     \
    do {                                                                                           \
        if (strstr((err).text, part) == NULL) {                                                    \
            print_error("\"%s\" is not in \"%s\"\n", part, (err).text);                            \
        }                                                                                          \
        assert_non_null(strstr((err).text, part));                                                 \
    } while (0)

/* ---- Making ---- */

static struct world {
    struct sr_archive_secret *secret;
    struct sr_archive_secret *stranger;
    struct sr_recovery_private *recovery;
    struct sr_archive_keyring ring;
    uint8_t groups[3 * SR_ARCHIVE_DIGEST_BYTES];
    struct sr_archive_info info;
    struct sr_archive_digests digests;
} world;

static int setup(void **state)
{
    (void)state;
    struct sr_err err = {0};
    memset(&world, 0, sizeof(world));
    good(sr_archive_secret_draw(&world.secret, &err), &err);
    good(sr_archive_secret_draw(&world.stranger, &err), &err);
    good(sr_recovery_draw(&world.recovery, &err), &err);
    world.ring = (struct sr_archive_keyring){
        .secret = world.secret, .recovery = &world.recovery->public_half, .recovery_count = 1};
    memset(world.groups, 0x67, sizeof(world.groups));
    world.digests = (struct sr_archive_digests){
        .bytes = 2 * SR_ARCHIVE_GROUP_BYTES + 5, .groups = world.groups, .group_count = 3};
    memset(world.digests.sha256, 0x5a, sizeof(world.digests.sha256));
    world.info = (struct sr_archive_info){.header = {.kind = SR_ARCHIVE_FULL,
                                                     .cluster_id = CLUSTER,
                                                     .revision = 70,
                                                     .index = 90,
                                                     .term = 3},
                                          .compact_revision = 20,
                                          .versions = 11,
                                          .newest_time_ms = 900};
    memset(world.info.header.id, 0x1d, sizeof(world.info.header.id));
    memset(world.info.content, 0xc0, sizeof(world.info.content));
    memset(world.info.state_hash, 0x5e, sizeof(world.info.state_hash));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    sr_archive_secret_free(world.secret);
    sr_archive_secret_free(world.stranger);
    sr_recovery_private_free(world.recovery);
    return 0;
}

struct file {
    struct sr_buf bytes;
    uint8_t sha256[SR_MANIFEST_HASH_BYTES];
    uint64_t sequence;
};

static void fill(struct sr_manifest_draft *draft, uint64_t sequence, const struct file *previous)
{
    static char name[] = "ward";
    static char target[] = "elsewhere";
    static char region[] = "eu-north-1";
    sr_manifest_draft_init(draft, sequence, &world.info, &world.digests, &world.ring);
    if (previous != NULL) {
        sr_manifest_draft_follow(draft, previous->sequence, previous->sha256);
    }
    draft->manifest.cluster_name = name;
    draft->manifest.member_id = 7;
    draft->manifest.target = target;
    draft->manifest.region = region;
    draft->manifest.begun_ms = 1000;
    draft->manifest.ended_ms = 2000;
}

static struct file signed_by(const struct sr_archive_secret *secret,
                             struct sr_manifest_draft *draft)
{
    struct file file = {.sequence = draft->manifest.sequence};
    struct sr_err err = {0};
    good(sr_manifest_sign(&draft->manifest, secret->signing_seed, &file.bytes, file.sha256, &err),
         &err);
    sr_manifest_draft_close(draft);
    return file;
}

/* A full archive at revision 10 * @sequence. */
static struct file full_of(uint64_t sequence, const struct file *previous)
{
    struct sr_manifest_draft draft;
    world.info.header.revision = (int64_t)sequence * 10;
    fill(&draft, sequence, previous);
    return signed_by(world.secret, &draft);
}

/* Changes in (10 * sequence - 10, 10 * sequence]. */
static struct file changes_of(uint64_t sequence, const struct file *previous, uint64_t oldest)
{
    struct sr_manifest_draft draft;
    world.info.header.kind = SR_ARCHIVE_CHANGES;
    world.info.header.since = (int64_t)sequence * 10 - 10;
    world.info.header.revision = (int64_t)sequence * 10;
    fill(&draft, sequence, previous);
    draft.manifest.base_archive_id = draft.manifest.archive_id;
    draft.manifest.oldest_sequence = oldest;
    struct file file = signed_by(world.secret, &draft);
    world.info.header.kind = SR_ARCHIVE_FULL;
    world.info.header.since = 0;
    return file;
}

static int open_bytes(const uint8_t *data, size_t size, const struct sr_manifest_expect *expect,
                      struct sr_err *err)
{
    struct sr_manifest *manifest = NULL;
    static const struct sr_manifest_expect nothing;
    memset(err, 0, sizeof(*err));
    int rc = sr_manifest_open((struct sr_bytes){data, size}, expect != NULL ? expect : &nothing,
                              &manifest, err);
    sr_manifest_free(manifest);
    return rc;
}

static int open_file(const struct file *file, const struct sr_manifest_expect *expect,
                     struct sr_err *err)
{
    return open_bytes(file->bytes.data, file->bytes.size, expect, err);
}

static struct sr_manifest *opened(const struct file *file)
{
    struct sr_manifest *manifest = NULL;
    struct sr_manifest_expect nothing = {0};
    struct sr_err err = {0};
    good(sr_manifest_open((struct sr_bytes){file->bytes.data, file->bytes.size}, &nothing,
                          &manifest, &err),
         &err);
    return manifest;
}

/* ---- One manifest ---- */

static void what_is_signed_is_read_again(void **state)
{
    (void)state;
    struct file first = full_of(4, NULL);
    struct file second = full_of(7, &first);
    char fingerprint[SR_FINGERPRINT_CHARS + 1];
    sr_fingerprint(world.secret->public_key, fingerprint);
    struct sr_manifest_expect all = {
        .name = "1234abcd00000001/snapshots/0000000007-70.srm",
        .cluster_id = CLUSTER,
        .target = "elsewhere",
        .public_key = world.secret->public_key,
        .fingerprint = fingerprint,
        .sequence_min = 7,
        .revision_min = 70,
        .sha256 = second.sha256,
    };
    struct sr_manifest *manifest = NULL;
    struct sr_err err = {0};
    good(sr_manifest_open((struct sr_bytes){second.bytes.data, second.bytes.size}, &all, &manifest,
                          &err),
         &err);
    const Strongroom__Manifest *said = manifest->said;
    assert_memory_equal(manifest->sha256, second.sha256, 32);
    assert_memory_equal(manifest->public_key, world.secret->public_key, 32);
    assert_string_equal(said->object, "1234abcd00000001/snapshots/0000000007-70.sra");
    assert_string_equal(said->cluster_name, "ward");
    assert_string_equal(said->region, "eu-north-1");
    assert_int_equal(said->previous->sequence, 4);
    assert_memory_equal(said->previous->sha256.data, first.sha256, 32);
    assert_int_equal(said->n_groups, 3);
    assert_int_equal(said->groups[2].data[31], 0x67);
    assert_int_equal(said->index, 90);
    assert_int_equal(said->term, 3);
    assert_int_equal(said->compact_revision, 20);
    assert_int_equal(said->newest_change_ms, 900);
    assert_memory_equal(said->archive_kek_id.data, world.secret->kek_id, 8);
    assert_memory_equal(said->recovery_key_ids[0].data, world.recovery->public_half.id, 8);
    assert_int_equal(said->state_hash.data[0], 0x5e);
    sr_manifest_free(manifest);
    sr_buf_close(&first.bytes);
    sr_buf_close(&second.bytes);
}

/* A file that another implementation of docs/formats/manifest.md made: among the fuzzer's inputs,
 * behind a byte that is the fuzzer's. */
static void what_others_signed_is_read(void **state)
{
    (void)state;
    uint8_t bytes[1024];
    struct sr_manifest *manifest = NULL;
    struct sr_err err = {0};
    struct sr_manifest_expect expect = {.name = "0000000000000001/snapshots/0000000005-50.srm"};
    FILE *file = fopen(CORPUS "/file", "rb");
    assert_non_null(file);
    size_t size = fread(bytes, 1, sizeof(bytes), file);
    assert_int_equal(fclose(file), 0);
    good(sr_manifest_open((struct sr_bytes){bytes + 1, size - 1}, &expect, &manifest, &err), &err);
    assert_string_equal(manifest->said->region, "eu");
    assert_int_equal(manifest->said->previous->sequence, 3);
    assert_int_equal(manifest->said->kept[0]->sequence, 1);
    assert_int_equal(manifest->said->size, 9000000);
    sr_manifest_free(manifest);
}

/* No flip of a single bit, wherever it is, is overlooked. */
static void two_thousand_flips_are_refused(void **state)
{
    (void)state;
    struct file first = full_of(4, NULL);
    struct file file = full_of(7, &first);
    size_t bits = file.bytes.size * 8;
    uint64_t seed = 1;
    for (int i = 0; i < 2000; i++) {
        struct sr_err err = {0};
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        /* The frame and the ends whole, the rest by chance. */
        size_t bit = i < 160   ? (size_t)i
                     : i < 320 ? bits - 1 - (size_t)(i - 160)
                               : (size_t)(seed >> 20) % bits;
        file.bytes.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(open_file(&file, NULL, &err), SR_CORRUPT);
        assert_true(strstr(err.text, "edited: ") != NULL ||
                    strstr(err.text, "truncated: ") != NULL ||
                    strstr(err.text, "not a signed document") != NULL);
        file.bytes.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    struct sr_err err = {0};
    good(open_file(&file, NULL, &err), &err);
    sr_buf_close(&first.bytes);
    sr_buf_close(&file.bytes);
}

static void every_cut_is_refused(void **state)
{
    (void)state;
    struct file file = full_of(4, NULL);
    for (size_t size = 0; size < file.bytes.size; size++) {
        struct sr_err err = {0};
        uint8_t *cut = sr_memdup(file.bytes.data, size); /* so that a sanitizer sees its end */
        assert_int_equal(open_bytes(cut, size, NULL, &err), SR_CORRUPT);
        assert_text(err, "truncated: ");
        sr_free(cut);
    }
    struct sr_err err = {0};
    sr_buf_append_u8(&file.bytes, 0);
    assert_int_equal(open_file(&file, NULL, &err), SR_CORRUPT);
    assert_text(err, "edited: 1 bytes stand behind its end");
    sr_buf_close(&file.bytes);
}

/* Another content under the old signature, and a signature of another kind of document. */
static void an_edited_one_is_refused(void **state)
{
    (void)state;
    struct file file = full_of(4, NULL);
    struct sr_err err = {0};
    uint8_t *place = memmem(file.bytes.data, file.bytes.size, "eu-north-1", 10);
    assert_non_null(place);
    memcpy(place, "us-east-1a", 10);
    assert_int_equal(open_file(&file, NULL, &err), SR_CORRUPT);
    assert_text(err, "edited: its signature does not fit its content");
    sr_buf_close(&file.bytes);

    struct sr_manifest_draft draft;
    uint8_t packed[4096];
    struct sr_buf other = {0};
    fill(&draft, 4, NULL);
    world.info.header.revision = 40;
    size_t size = strongroom__manifest__pack(&draft.manifest, packed);
    good(sr_signed_pack("strongroom proof 1", world.secret->signing_seed,
                        (struct sr_bytes){packed, size}, &other, &err),
         &err);
    assert_int_equal(open_bytes(other.data, other.size, NULL, &err), SR_CORRUPT);
    assert_text(err, "edited: its signature does not fit its content");
    sr_manifest_draft_close(&draft);
    sr_buf_close(&other);
}

static void a_foreign_one_is_refused(void **state)
{
    (void)state;
    struct file file = full_of(4, NULL);
    struct sr_manifest_draft draft;
    char fingerprint[SR_FINGERPRINT_CHARS + 1];
    struct sr_err err = {0};
    struct sr_manifest_expect expect = {.cluster_id = CLUSTER + 1};
    assert_int_equal(open_file(&file, &expect, &err), SR_REFUSED);
    assert_text(err, "foreign: it is of cluster 1234abcd00000001, not of 1234abcd00000002");
    expect = (struct sr_manifest_expect){.target = "here"};
    assert_int_equal(open_file(&file, &expect, &err), SR_REFUSED);
    assert_text(err, "foreign: it was made for target elsewhere, not for here");
    sr_buf_close(&file.bytes);

    /* The same content, signed by somebody else. */
    fill(&draft, 4, NULL);
    file = signed_by(world.stranger, &draft);
    expect = (struct sr_manifest_expect){.public_key = world.secret->public_key};
    assert_int_equal(open_file(&file, &expect, &err), SR_REFUSED);
    assert_text(err, "foreign: it is signed by SHA256:");
    sr_fingerprint(world.secret->public_key, fingerprint);
    expect = (struct sr_manifest_expect){.fingerprint = fingerprint};
    assert_int_equal(open_file(&file, &expect, &err), SR_REFUSED);
    assert_text(err, "foreign: it is signed by SHA256:");
    sr_fingerprint(world.stranger->public_key, fingerprint);
    good(open_file(&file, &expect, &err), &err);
    sr_buf_close(&file.bytes);
}

static void a_swapped_one_is_refused(void **state)
{
    (void)state;
    struct file file = full_of(4, NULL);
    struct file other = full_of(5, &file);
    struct sr_err err = {0};
    struct sr_manifest_expect expect = {.name = "1234abcd00000001/snapshots/0000000003-40.srm"};
    assert_int_equal(open_file(&file, &expect, &err), SR_REFUSED);
    assert_text(err, "swapped: it is 1234abcd00000001/snapshots/0000000004-40.srm, put in the");
    expect.name = "1234abcd00000001/changes/0000000004-40.srm";
    assert_int_equal(open_file(&file, &expect, &err), SR_REFUSED);
    assert_text(err, "swapped: ");
    expect = (struct sr_manifest_expect){.sha256 = other.sha256};
    assert_int_equal(open_file(&file, &expect, &err), SR_REFUSED);
    assert_text(err, "swapped: it is another one of sequence 4 than the one that is known");
    sr_buf_close(&file.bytes);
    sr_buf_close(&other.bytes);
}

static void a_stale_one_is_refused(void **state)
{
    (void)state;
    struct file file = full_of(4, NULL);
    struct sr_err err = {0};
    struct sr_manifest_expect expect = {.name = "1234abcd00000001/snapshots/0000000009-90.srm"};
    assert_int_equal(open_file(&file, &expect, &err), SR_REFUSED);
    assert_text(err, "stale: it is the older 1234abcd00000001/snapshots/0000000004-40.srm, put in");
    expect = (struct sr_manifest_expect){.sequence_min = 5};
    assert_int_equal(open_file(&file, &expect, &err), SR_REFUSED);
    assert_text(err, "stale: its sequence is 4, and 5 is known to exist");
    expect = (struct sr_manifest_expect){.revision_min = 41};
    assert_int_equal(open_file(&file, &expect, &err), SR_REFUSED);
    assert_text(err, "stale: it ends at revision 40, and 41 is known to have been shipped");
    sr_buf_close(&file.bytes);
}

static int sign_packed(const Strongroom__Manifest *manifest, struct sr_err *err)
{
    uint8_t packed[4096];
    struct sr_buf file = {0};
    size_t size = strongroom__manifest__pack(manifest, packed);
    good(sr_signed_pack("strongroom manifest 1", world.secret->signing_seed,
                        (struct sr_bytes){packed, size}, &file, err),
         err);
    int rc = open_bytes(file.data, file.size, NULL, err);
    sr_buf_close(&file);
    return rc;
}

/* It can be signed well and mean nothing all the same: neither made nor read. */
static void an_impossible_one_is_refused(void **state)
{
    (void)state;
    static char blank[] = "a b";
    static char wrong_name[] = "1234abcd00000001/snapshots/0000000005-40.sra";
    /* Terminals obey it: U+009B, as UTF-8 and as one byte. */
    static char control[] = "ward \xc2\x9b"
                            "31m";
    static char control_byte[] = "ward \x9b"
                                 "31m";
    for (int what = 0; what < 17; what++) {
        struct sr_manifest_draft draft;
        struct sr_buf out = {0};
        uint8_t sha256[32];
        struct sr_err err = {0};
        Strongroom__ManifestLink link = STRONGROOM__MANIFEST_LINK__INIT;
        link.sequence = 4;
        link.sha256 = (ProtobufCBinaryData){32, world.groups};
        world.info.header.revision = 40;
        fill(&draft, 4, NULL);
        Strongroom__Manifest *manifest = &draft.manifest;
        switch (what) {
        case 0:
            manifest->kind = 'X';
            break;
        case 1:
            manifest->target = blank;
            break;
        case 2:
            manifest->object = wrong_name;
            break;
        case 3:
            manifest->n_groups--;
            break;
        case 4:
            manifest->groups[1].len--;
            break;
        case 5:
            manifest->sha256.len--;
            break;
        case 6:
            manifest->archive_id.len--;
            break;
        case 7:
            manifest->content_hash.len = 0;
            break;
        case 8:
            manifest->archive_kek_id.len = 0;
            manifest->n_recovery_key_ids = 0;
            break;
        case 9:
            manifest->recovery_key_ids[0].len--;
            break;
        case 10:
            manifest->previous = &link; /* not before itself */
            break;
        case 11:
            manifest->since_revision = 1; /* a full one */
            break;
        case 12:
            manifest->ended_ms = 999;
            break;
        case 13:
            manifest->size = UINT64_MAX; /* so large that it has no groups at all */
            manifest->n_groups = 0;
            break;
        case 14:
            manifest->cluster_name = control;
            break;
        case 15:
            manifest->region = control_byte;
            break;
        default:
            manifest->size = 0;
            break;
        }
        assert_int_equal(sr_manifest_sign(manifest, world.secret->signing_seed, &out, sha256, &err),
                         SR_INVALID);
        assert_int_equal(out.size, 0);
        assert_int_equal(sign_packed(manifest, &err), SR_CORRUPT);
        assert_text(err, "impossible: ");
        sr_manifest_draft_close(&draft);
    }
}

static void a_newer_one_is_not_half_understood(void **state)
{
    (void)state;
    struct sr_manifest_draft draft;
    struct sr_err err = {0};
    uint8_t value[] = {1};
    ProtobufCMessageUnknownField unknown = {
        .tag = 99, .wire_type = PROTOBUF_C_WIRE_TYPE_VARINT, .len = 1, .data = value};
    world.info.header.revision = 40;
    fill(&draft, 4, NULL);
    draft.manifest.compatible = 1; /* may be passed over */
    good(sign_packed(&draft.manifest, &err), &err);
    draft.manifest.incompatible = 1;
    assert_int_equal(sign_packed(&draft.manifest, &err), SR_FORMAT);
    assert_text(err, "it is of format 1 with features 0x1, which this version does not know");
    draft.manifest.incompatible = 0;
    draft.manifest.format = 2;
    assert_int_equal(sign_packed(&draft.manifest, &err), SR_FORMAT);
    draft.manifest.format = 1;
    draft.manifest.base.n_unknown_fields = 1;
    draft.manifest.base.unknown_fields = &unknown;
    assert_int_equal(sign_packed(&draft.manifest, &err), SR_FORMAT);
    assert_text(err, "a field that this version does not know");
    draft.manifest.base.n_unknown_fields = 0;
    sr_manifest_draft_close(&draft);
}

/* ---- Against its archive ---- */

static void an_archive_must_be_its_own(void **state)
{
    (void)state;
    struct file file = full_of(7, NULL);
    struct sr_manifest *manifest = opened(&file);
    struct sr_archive_info info = world.info;
    struct sr_err err = {0};
    good(sr_manifest_check_info(manifest, &info, &err), &err);
    info.header.id[3] ^= 1;
    assert_int_equal(sr_manifest_check_header(manifest, &info.header, &err), SR_REFUSED);
    assert_text(err, "swapped: 1234abcd00000001/snapshots/0000000007-70.sra is not the archive of "
                     "its manifest: it has another id");
    info = world.info;
    info.header.cluster_id++;
    assert_int_equal(sr_manifest_check_header(manifest, &info.header, &err), SR_REFUSED);
    info = world.info;
    info.header.kind = SR_ARCHIVE_CHANGES;
    assert_int_equal(sr_manifest_check_header(manifest, &info.header, &err), SR_REFUSED);
    info = world.info;
    info.header.index++;
    assert_int_equal(sr_manifest_check_header(manifest, &info.header, &err), SR_REFUSED);
    info = world.info;
    info.content[0] ^= 1;
    assert_int_equal(sr_manifest_check_info(manifest, &info, &err), SR_REFUSED);
    assert_text(err, "it has another content");
    info = world.info;
    info.state_hash[31] ^= 1;
    assert_int_equal(sr_manifest_check_info(manifest, &info, &err), SR_REFUSED);
    assert_text(err, "it has another state hash");

    uint8_t sha256[32];
    uint64_t size = world.digests.bytes;
    memcpy(sha256, world.digests.sha256, 32);
    good(sr_manifest_check_object(manifest, size, sha256, &err), &err);
    assert_int_equal(sr_manifest_check_object(manifest, size - 1, sha256, &err), SR_CORRUPT);
    assert_text(err, "truncated: 1234abcd00000001/snapshots/0000000007-70.sra has 16777220 bytes, "
                     "its manifest says 16777221");
    assert_int_equal(sr_manifest_check_object(manifest, size + 1, sha256, &err), SR_CORRUPT);
    assert_text(err, "edited: ");
    sha256[9] ^= 1;
    assert_int_equal(sr_manifest_check_object(manifest, size, sha256, &err), SR_CORRUPT);
    assert_text(err, "edited: ");
    sr_manifest_free(manifest);
    sr_buf_close(&file.bytes);
}

/* ---- Names ---- */

static void names_are_exact(void **state)
{
    (void)state;
    struct sr_object_parts parts;
    char name[SR_OBJECT_NAME_BYTES_MAX];
    sr_object_name(CLUSTER, SR_ARCHIVE_CHANGES, 12, 345, SR_OBJECT_ARCHIVE, name);
    assert_string_equal(name, "1234abcd00000001/changes/0000000012-345.sra");
    assert_true(sr_object_parse(name, &parts));
    assert_true(parts.cluster_id == CLUSTER && parts.kind == SR_ARCHIVE_CHANGES &&
                parts.type == SR_OBJECT_ARCHIVE && parts.sequence == 12 && parts.revision == 345);
    sr_object_prefix(CLUSTER, SR_ARCHIVE_FULL, name);
    assert_string_equal(name, "1234abcd00000001/snapshots/");
    sr_proof_name(1, 7, name);
    assert_string_equal(name, "0000000000000001/proofs/0000000007.srp");
    const char *bad[] = {"",
                         "x",
                         "1234abcd00000001/changes/12-345.sra",
                         "1234abcd00000001/changes/0000000012-345.srx",
                         "1234abcd00000001/changes/0000000012-0345.sra",
                         "1234ABCD00000001/changes/0000000012-345.sra",
                         "1234abcd00000001/change/0000000012-345.sra",
                         "1234abcd00000001/changes/0000000000-345.sra",
                         "1234abcd00000001/changes/0000000012-0.sra",
                         "1234abcd00000001/changes/0000000012--5.sra",
                         "1234abcd00000001/changes/0000000012-345.sra.part",
                         "../1234abcd00000001/changes/0000000012-345.sra",
                         "1234abcd00000001/proofs/0000000012.srp"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_false(sr_object_parse(bad[i], &parts));
    }
}

/* ---- Chains ---- */

enum { LINKS = 6 };

struct shelf {
    struct file files[LINKS];
    struct sr_manifest *list[LINKS + 1];
    size_t count;
};

/* Without those whose bit is in @missing, in a shuffled order. */
static void shelf_open(struct shelf *shelf, unsigned missing)
{
    static const size_t order[LINKS] = {3, 0, 5, 1, 4, 2};
    shelf->count = 0;
    for (size_t i = 0; i < LINKS; i++) {
        if ((missing & 1u << order[i]) == 0) {
            shelf->list[shelf->count++] = opened(&shelf->files[order[i]]);
        }
    }
}

static void shelf_put_back(struct shelf *shelf)
{
    for (size_t i = 0; i < shelf->count; i++) {
        sr_manifest_free(shelf->list[i]);
    }
    shelf->count = 0;
}

static void shelf_close(struct shelf *shelf)
{
    shelf_put_back(shelf);
    for (size_t i = 0; i < LINKS; i++) {
        sr_buf_close(&shelf->files[i].bytes);
    }
}

/* Sequences 1, 2, 3 (taken over), 4, 5, 6: 4 follows 2. */
static void fill_changes(struct shelf *shelf, uint64_t oldest)
{
    memset(shelf, 0, sizeof(*shelf));
    for (uint64_t i = 0; i < LINKS; i++) {
        const struct file *previous = i == 0 ? NULL : &shelf->files[i == 3 ? 1 : i - 1];
        shelf->files[i] = changes_of(i + 1, previous, oldest > i + 1 ? 0 : oldest);
    }
}

static void check_chain(struct shelf *shelf, const char *sequences, size_t missing)
{
    struct sr_manifest_chain chain = {0};
    struct sr_err err = {0};
    char text[64] = "";
    good(sr_manifest_chain_check(shelf->list, shelf->count, &chain, &err), &err);
    for (size_t i = 0; i < chain.count; i++) {
        size_t used = strlen(text);
        (void)snprintf(text + used, sizeof(text) - used, "%s%d", i == 0 ? "" : " ",
                       (int)shelf->list[i]->said->sequence);
    }
    assert_string_equal(text, sequences);
    assert_int_equal(chain.missing, missing);
}

static void changes_are_a_chain(void **state)
{
    (void)state;
    struct shelf shelf;
    fill_changes(&shelf, 1);
    shelf_open(&shelf, 0);
    check_chain(&shelf, "1 2 4 5 6", 0);
    assert_int_equal(shelf.list[5]->said->sequence, 3); /* not on it, not lost */
    shelf_put_back(&shelf);
    shelf_open(&shelf, 1u << 2);
    check_chain(&shelf, "1 2 4 5 6", 0);
    shelf_put_back(&shelf);
    /* The oldest are pruned after the newest was made: said, but no reason to refuse. */
    shelf_open(&shelf, 1u << 0);
    check_chain(&shelf, "2 4 5 6", 1);
    shelf_put_back(&shelf);
    shelf_open(&shelf, 1u << 0 | 1u << 1 | 1u << 2 | 1u << 3);
    check_chain(&shelf, "5 6", 1);
    shelf_close(&shelf);
    /* It was pruned before: nothing is missing. */
    fill_changes(&shelf, 2);
    shelf_open(&shelf, 1u << 0);
    check_chain(&shelf, "2 4 5 6", 0);
    shelf_close(&shelf);
    /* Pruning took 4 and could not take the older ones: nobody needs them, it is no hole. */
    fill_changes(&shelf, 5);
    shelf_open(&shelf, 1u << 3);
    check_chain(&shelf, "5 6", 0);
    shelf_close(&shelf);
}

static void a_chain_with_a_hole_is_refused(void **state)
{
    (void)state;
    struct shelf shelf;
    struct sr_manifest_chain chain;
    static const unsigned holes[] = {1, 3, 4};
    fill_changes(&shelf, 1);
    for (size_t i = 0; i < 3; i++) {
        struct sr_err err = {0};
        char text[64];
        shelf_open(&shelf, 1u << holes[i]);
        assert_int_equal(sr_manifest_chain_check(shelf.list, shelf.count, &chain, &err),
                         SR_CORRUPT);
        (void)snprintf(text, sizeof(text), "truncated: changes %u are missing", holes[i] + 1);
        assert_text(err, text);
        shelf_put_back(&shelf);
    }
    shelf_close(&shelf);
}

static void a_chain_of_others_is_refused(void **state)
{
    (void)state;
    struct shelf shelf;
    struct sr_manifest_chain chain;
    struct sr_err err = {0};
    fill_changes(&shelf, 1);
    /* Sequence 5 signed once more, with another content: 6 follows the first one. */
    sr_buf_close(&shelf.files[4].bytes);
    world.info.versions++;
    shelf.files[4] = changes_of(5, &shelf.files[3], 1);
    shelf_open(&shelf, 0);
    assert_int_equal(sr_manifest_chain_check(shelf.list, shelf.count, &chain, &err), SR_CORRUPT);
    assert_text(err, "reordered: manifest 6 follows another manifest 5 than the one that is there");
    /* Two of one sequence. */
    struct file twice = changes_of(6, &shelf.files[4], 1);
    shelf.list[shelf.count++] = opened(&twice);
    assert_int_equal(sr_manifest_chain_check(shelf.list, shelf.count, &chain, &err), SR_REFUSED);
    assert_text(err, "swapped: there are two manifests of sequence 6");
    shelf_put_back(&shelf);
    sr_buf_close(&twice.bytes);
    /* A full one among them, and one of another key. */
    shelf_open(&shelf, 1u << 2);
    struct file full = full_of(3, NULL);
    shelf.list[shelf.count++] = opened(&full);
    assert_int_equal(sr_manifest_chain_check(shelf.list, shelf.count, &chain, &err), SR_REFUSED);
    assert_text(err, "foreign: ");
    shelf_put_back(&shelf);
    sr_buf_close(&full.bytes);
    struct sr_archive_secret *own = world.secret;
    world.secret = world.stranger;
    struct file strange = changes_of(7, &shelf.files[5], 1);
    world.secret = own;
    shelf_open(&shelf, 0);
    shelf.list[shelf.count++] = opened(&strange);
    assert_int_equal(sr_manifest_chain_check(shelf.list, shelf.count, &chain, &err), SR_REFUSED);
    assert_text(err, "are signed by different keys");
    sr_buf_close(&strange.bytes);
    assert_int_equal(sr_manifest_chain_check(NULL, 0, &chain, &err), SR_NOT_FOUND);
    shelf_close(&shelf);
}

static void a_chain_that_goes_back_is_refused(void **state)
{
    (void)state;
    struct sr_manifest_chain chain;
    struct sr_manifest_draft draft;
    struct sr_err err = {0};
    struct file later = full_of(5, NULL); /* at revision 50 */
    world.info.header.revision = 40;
    fill(&draft, 6, &later);
    struct file newest = signed_by(world.secret, &draft);
    struct sr_manifest *list[] = {opened(&newest), opened(&later)};
    assert_int_equal(sr_manifest_chain_check(list, 2, &chain, &err), SR_CORRUPT);
    assert_text(err, "reordered: manifest 6 ends at an earlier revision than manifest 5, which it");
    sr_manifest_free(list[0]);
    sr_manifest_free(list[1]);
    sr_buf_close(&later.bytes);
    sr_buf_close(&newest.bytes);
}

/* 1, 2, 3, 5 and 6; 4 was taken over; 6 says that 1, 3 and 5 are kept. */
static void fill_full(struct shelf *shelf)
{
    struct sr_manifest_draft draft;
    Strongroom__ManifestLink links[2];
    Strongroom__ManifestLink *kept[2] = {&links[0], &links[1]};
    memset(shelf, 0, sizeof(*shelf));
    for (uint64_t i = 0; i < LINKS - 1; i++) {
        shelf->files[i] = full_of(i + 1, i == 0 ? NULL : &shelf->files[i == 4 ? 2 : i - 1]);
    }
    world.info.header.revision = 60;
    fill(&draft, 6, &shelf->files[4]);
    for (size_t i = 0; i < 2; i++) {
        strongroom__manifest_link__init(&links[i]);
        links[i].sequence = 1 + 2 * i;
        links[i].sha256 = (ProtobufCBinaryData){32, shelf->files[2 * i].sha256};
    }
    draft.manifest.kept = kept;
    draft.manifest.n_kept = 2;
    shelf->files[5] = signed_by(world.secret, &draft);
}

static void full_archives_are_those_that_the_newest_names(void **state)
{
    (void)state;
    struct shelf shelf;
    fill_full(&shelf);
    shelf_open(&shelf, 1u << 1); /* 2 was pruned before */
    check_chain(&shelf, "1 3 5 6", 0);
    assert_int_equal(shelf.list[4]->said->sequence, 4);
    shelf_put_back(&shelf);
    shelf_open(&shelf, 1u << 1 | 1u << 2); /* 3 has gone since: said, nothing else depends on it */
    check_chain(&shelf, "1 5 6", 1);
    shelf_put_back(&shelf);
    /* 3 is there, but another one. */
    sr_buf_close(&shelf.files[2].bytes);
    world.info.versions++;
    shelf.files[2] = full_of(3, &shelf.files[1]);
    shelf_open(&shelf, 1u << 1);
    struct sr_manifest_chain chain;
    struct sr_err err = {0};
    assert_int_equal(sr_manifest_chain_check(shelf.list, shelf.count, &chain, &err), SR_CORRUPT);
    assert_text(err, "reordered: manifest 6 follows another manifest 3");
    shelf_close(&shelf);
}

/* ---- Proofs ---- */

static void a_proof_is_of_who_may_prove(void **state)
{
    (void)state;
    static char target[] = "elsewhere";
    static char prover[] = "drill-host";
    uint8_t keys[2][SR_SIGNING_BYTES];
    Strongroom__Proof proof = STRONGROOM__PROOF__INIT;
    Strongroom__Proof *read = NULL;
    struct sr_buf file = {0};
    struct sr_err err = {0};
    proof.format = SR_MANIFEST_FORMAT;
    proof.cluster_id = CLUSTER;
    proof.target = target;
    proof.prover = prover;
    proof.sequence = 7;
    proof.revision = 70;
    proof.archive_id = (ProtobufCBinaryData){16, world.info.header.id};
    proof.manifest_sha256 = (ProtobufCBinaryData){32, world.groups};
    proof.state_hash = (ProtobufCBinaryData){32, world.info.state_hash};
    assert_int_equal(sr_proof_sign(&proof, world.recovery->proof_seed, &file, &err), SR_INVALID);
    static char control[] = "a terminal obeys \xc2\x9b";
    proof.reason = control;
    assert_int_equal(sr_proof_sign(&proof, world.recovery->proof_seed, &file, &err), SR_INVALID);
    static char reason[] = "r\xc3\xa9sum\xc3\x9f \xe2\x80\x99 differs"; /* none in these */
    proof.reason = reason; /* it is not good: it says why */
    good(sr_proof_sign(&proof, world.recovery->proof_seed, &file, &err), &err);
    memcpy(keys[0], world.secret->public_key, 32);
    memcpy(keys[1], world.recovery->public_half.proof, 32);
    struct sr_bytes bytes = {file.data, file.size};
    good(sr_proof_open(bytes, CLUSTER, (const uint8_t(*)[SR_SIGNING_BYTES])keys, 2, &read, &err),
         &err);
    assert_string_equal(read->prover, "drill-host");
    assert_string_equal(read->reason, reason);
    assert_int_equal(read->sequence, 7);
    strongroom__proof__free_unpacked(read, NULL);
    assert_int_equal(
        sr_proof_open(bytes, CLUSTER, (const uint8_t(*)[SR_SIGNING_BYTES])keys, 1, &read, &err),
        SR_REFUSED);
    assert_text(err, "foreign: it is signed by SHA256:");
    assert_int_equal(
        sr_proof_open(bytes, CLUSTER + 1, (const uint8_t(*)[SR_SIGNING_BYTES])keys, 2, &read, &err),
        SR_REFUSED);
    assert_text(err, "foreign: it is of cluster");
    for (size_t bit = 0; bit < file.size * 8; bit++) {
        file.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(
            sr_proof_open(bytes, 0, (const uint8_t(*)[SR_SIGNING_BYTES])keys, 2, &read, &err),
            SR_CORRUPT);
        file.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    /* A manifest is no proof, and a proof is no manifest. */
    assert_int_equal(open_bytes(file.data, file.size, NULL, &err), SR_CORRUPT);
    sr_buf_close(&file);
    struct file manifest = full_of(4, NULL);
    assert_int_equal(sr_proof_open((struct sr_bytes){manifest.bytes.data, manifest.bytes.size}, 0,
                                   (const uint8_t(*)[SR_SIGNING_BYTES])keys, 2, &read, &err),
                     SR_CORRUPT);
    sr_buf_close(&manifest.bytes);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_signed_is_read_again),
        TEST(what_others_signed_is_read),
        TEST(two_thousand_flips_are_refused),
        TEST(every_cut_is_refused),
        TEST(an_edited_one_is_refused),
        TEST(a_foreign_one_is_refused),
        TEST(a_swapped_one_is_refused),
        TEST(a_stale_one_is_refused),
        TEST(an_impossible_one_is_refused),
        TEST(a_newer_one_is_not_half_understood),
        TEST(an_archive_must_be_its_own),
        cmocka_unit_test(names_are_exact),
        TEST(changes_are_a_chain),
        TEST(a_chain_with_a_hole_is_refused),
        TEST(a_chain_of_others_is_refused),
        TEST(a_chain_that_goes_back_is_refused),
        TEST(full_archives_are_those_that_the_newest_names),
        TEST(a_proof_is_of_who_may_prove),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
