/* SPDX-License-Identifier: Apache-2.0
 *
 * An archive as it is shipped, all parts together: made of a store with the cluster's own secret
 * and a recovery key, told by a manifest, and opened by whoever may.
 */
#include "tests/unit/storage/offsite_commands.h"

#include "storage/archive.h"
#include "storage/archive_digest.h"
#include "storage/manifest.h"

struct shipped {
    struct sr_archive_secret *secret;
    struct sr_recovery_private *recovery;
    struct sr_buf archive;
    struct sr_buf manifest;
    size_t read; /* of the archive */
};

static int put_bytes(void *arg, const void *data, size_t size, struct sr_err *err)
{
    (void)err;
    sr_buf_append(arg, data, size);
    return SR_OK;
}

static int get_bytes(void *arg, void *data, size_t size, size_t *ret_size, struct sr_err *err)
{
    struct shipped *shipped = arg;
    size_t left = shipped->archive.size - shipped->read;
    (void)err;
    *ret_size = left < size ? left : size;
    memcpy(data, shipped->archive.data + shipped->read, *ret_size);
    shipped->read += *ret_size;
    return SR_OK;
}

static void ship_full(struct fixture *fixture, struct shipped *shipped)
{
    static char target[] = "vault";
    struct sr_archive_sink memory = {.put = put_bytes, .arg = &shipped->archive};
    struct sr_archive_digest *digest = sr_archive_digest_new(&memory);
    struct sr_archive_digests digests;
    struct sr_archive_info info;
    struct sr_manifest_draft draft;
    uint8_t sha256[SR_MANIFEST_HASH_BYTES];
    struct sr_err err = {0};
    fixture_ok(sr_store_archive_secret(fixture->store, &shipped->secret, &err), &err);
    fixture_ok(sr_recovery_draw(&shipped->recovery, &err), &err);
    struct sr_archive_keyring ring = {.secret = shipped->secret,
                                      .recovery = &shipped->recovery->public_half,
                                      .recovery_count = 1};
    struct sr_archive_keys keys = sr_archive_keys_of(&ring);
    struct sr_archive_options options = {.keys = &keys};
    fixture_ok(sr_archive_write_full(fixture->store, &options, sr_archive_digest_sink(digest),
                                     &info, &err),
               &err);
    fixture_ok(sr_archive_digest_end(digest, &digests, &err), &err);
    sr_manifest_draft_init(&draft, 1, &info, &digests, &ring);
    draft.manifest.target = target;
    fixture_ok(sr_manifest_sign(&draft.manifest, shipped->secret->signing_seed, &shipped->manifest,
                                sha256, &err),
               &err);
    sr_manifest_draft_close(&draft);
    sr_archive_digest_free(digest);
}

static int setup(void **state)
{
    struct sr_err err = {0};
    commands_setup(state);
    struct fixture *fixture = *state;
    fixture_ok(sr_store_apply_configuration(fixture->store, 1, COMMANDS_TERM,
                                            (const uint8_t *)"who votes", 9, &err),
               &err);
    applied(fixture, init_voters(3));
    applied(fixture, init_offsite(0xa7));
    for (int i = 0; i < 300; i++) {
        applied(fixture, put_text(random_key(&(uint64_t){(uint64_t)i + 1}), "some value"));
    }
    fixture_flush(fixture);
    return 0;
}

static void shipped_close(struct shipped *shipped)
{
    sr_archive_secret_free(shipped->secret);
    sr_recovery_private_free(shipped->recovery);
    sr_buf_close(&shipped->archive);
    sr_buf_close(&shipped->manifest);
}

static int verify_with(struct shipped *shipped, const struct sr_archive_keyring *ring,
                       struct sr_archive_info *info, struct sr_err *err)
{
    struct sr_archive_keys keys = sr_archive_keys_of(ring);
    struct sr_archive_source source = {.get = get_bytes, .arg = shipped};
    shipped->read = 0;
    return sr_archive_verify(&source, &keys, info, err);
}

static void the_parts_fit_together(void **state)
{
    struct fixture *fixture = *state;
    struct shipped shipped = {0};
    struct sr_manifest_expect expect = {.cluster_id = FIXTURE_CLUSTER, .target = "vault"};
    struct sr_manifest *manifest = NULL;
    struct sr_archive_info info;
    struct sr_err err = {0};
    uint8_t hash[32];
    int64_t revision = 0;
    uint64_t index = 0;
    ship_full(fixture, &shipped);
    expect.public_key = shipped.secret->public_key;
    fixture_ok(sr_manifest_open((struct sr_bytes){shipped.manifest.data, shipped.manifest.size},
                                &expect, &manifest, &err),
               &err);
    /* By the cluster, and by people with nothing but their key. */
    struct sr_archive_keyring rings[] = {{.secret = shipped.secret},
                                         {.recovery_private = shipped.recovery}};
    for (size_t i = 0; i < 2; i++) {
        fixture_ok(verify_with(&shipped, &rings[i], &info, &err), &err);
        fixture_ok(sr_manifest_check_info(manifest, &info, &err), &err);
    }
    sr_store_state_hash(fixture->store, hash, &revision, &index);
    assert_int_equal(manifest->said->until_revision, revision);
    assert_int_equal(manifest->said->index, index);
    assert_int_equal(manifest->said->size, shipped.archive.size);
    assert_int_equal(manifest->said->state_hash.len, 32);
    assert_memory_equal(manifest->said->state_hash.data, hash, 32);
    /* Not by people with another one. */
    struct sr_recovery_private *other = NULL;
    fixture_ok(sr_recovery_draw(&other, &err), &err);
    struct sr_archive_keyring ring = {.recovery_private = other};
    assert_int_equal(verify_with(&shipped, &ring, &info, &err), SR_KEY);
    sr_recovery_private_free(other);
    sr_manifest_free(manifest);
    shipped_close(&shipped);
}

/* Of the same store at the same point: what is inside is equal, and yet each is its own. */
static void a_manifest_is_of_one_archive_only(void **state)
{
    struct shipped one = {0};
    struct shipped other = {0};
    struct sr_manifest_expect nothing = {0};
    struct sr_manifest *manifest = NULL;
    struct sr_archive_info info;
    struct sr_err err = {0};
    ship_full(*state, &one);
    ship_full(*state, &other);
    fixture_ok(sr_manifest_open((struct sr_bytes){one.manifest.data, one.manifest.size}, &nothing,
                                &manifest, &err),
               &err);
    struct sr_archive_keyring ring = {.recovery_private = other.recovery};
    fixture_ok(verify_with(&other, &ring, &info, &err), &err);
    assert_memory_equal(info.content, manifest->said->content_hash.data, SR_IMAGE_HASH_BYTES);
    assert_int_equal(sr_manifest_check_info(manifest, &info, &err), SR_REFUSED);
    assert_non_null(strstr(err.text, "swapped: "));
    sr_manifest_free(manifest);
    shipped_close(&one);
    shipped_close(&other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_parts_fit_together, setup, commands_teardown),
        cmocka_unit_test_setup_teardown(a_manifest_is_of_one_archive_only, setup,
                                        commands_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
