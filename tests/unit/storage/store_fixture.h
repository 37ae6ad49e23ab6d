/* SPDX-License-Identifier: Apache-2.0
 *
 * A store in a directory of its own, changed without commands: straight through mvcc.h.
 */
#ifndef SR_TESTS_STORE_FIXTURE_H
#define SR_TESTS_STORE_FIXTURE_H

#include "tests/unit/cmocka.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/secret.h"
#include "storage/store_internal.h"

#define FIXTURE_CLUSTER UINT64_C(0xc1)
#define FIXTURE_MEMBER  UINT64_C(0xa1)

struct fixture {
    char dir[64];
    char keyring_path[96];
    struct sr_keyring *keyring;
    struct sr_store_options options;
    struct sr_store *store;
};

static const uint8_t fixture_kek[SR_KEY_BYTES] = "the master key of these tests 32";

/* Print what went wrong before failing. */
static inline void fixture_ok(int rc, const struct sr_err *err)
{
    if (rc != SR_OK) {
        print_error("%s: %s\n", sr_status_text(rc), err->text);
    }
    assert_int_equal(rc, SR_OK);
}

static inline void fixture_open(struct fixture *fixture)
{
    struct sr_err err = {0};
    fixture_ok(sr_store_open(&fixture->options, &fixture->store, &err), &err);
}

static inline void fixture_init(struct fixture *fixture)
{
    const char *base = getenv("TMPDIR");
    struct sr_err err = {0};

    memset(fixture, 0, sizeof(*fixture));
    (void)snprintf(fixture->dir, sizeof(fixture->dir), "%.32s/store-XXXXXX",
                   base != NULL ? base : "/tmp");
    assert_non_null(mkdtemp(fixture->dir));
    (void)snprintf(fixture->keyring_path, sizeof(fixture->keyring_path), "%s/keyring",
                   fixture->dir);
    fixture_ok(sr_keyring_create(fixture->keyring_path, fixture_kek, FIXTURE_CLUSTER,
                                 FIXTURE_MEMBER, &err),
               &err);
    fixture_ok(sr_keyring_open(fixture->keyring_path, fixture_kek, FIXTURE_CLUSTER, FIXTURE_MEMBER,
                               &fixture->keyring, &err),
               &err);
    fixture->options = (struct sr_store_options){
        .dir = fixture->dir,
        .keyring = fixture->keyring,
        .cluster_id = FIXTURE_CLUSTER,
        .member_id = FIXTURE_MEMBER,
    };
}

static inline void fixture_path(const struct fixture *fixture, const char *name, char out[128])
{
    (void)snprintf(out, 128, "%s/%s", fixture->dir, name);
}

static inline void fixture_close(struct fixture *fixture)
{
    static const char *const files[] = {"keyring", "keyring2", "data.mdb", "lock.mdb"};
    char path[128];

    sr_store_close(fixture->store);
    sr_keyring_close(fixture->keyring);
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        fixture_path(fixture, files[i], path);
        (void)unlink(path);
    }
    assert_int_equal(rmdir(fixture->dir), 0);
}

/* Without a flush, as after a crash. */
static inline void fixture_reopen(struct fixture *fixture)
{
    sr_store_close(fixture->store);
    fixture->store = NULL;
    fixture_open(fixture);
}

/* Flush everything. */
static inline void fixture_flush(struct fixture *fixture)
{
    struct sr_err err = {0};

    do {
        (void)sr_store_freeze(fixture->store, true);
        fixture_ok(sr_store_flush(fixture->store, &err), &err);
    } while (sr_store_durable_index(fixture->store) < sr_store_applied_index(fixture->store));
}

/* Flush until the index has everything, which takes unindexed_entries_max = 1. */
static inline void fixture_index(struct fixture *fixture)
{
    struct sr_store *store = fixture->store;
    struct sr_err err = {0};

    while (sr_unindexed_count(&store->unindexed) > 0) {
        fixture_ok(
            sr_store_apply_empty(store, sr_store_applied_index(store) + 1, store->apply.term, &err),
            &err);
        fixture_flush(fixture);
    }
}

/* Flush everything, and until there is nothing left to compact. */
static inline void fixture_settle(struct fixture *fixture)
{
    do {
        fixture_flush(fixture);
    } while (sr_store_compaction_pending(fixture->store));
}

/* Add one change of the revision in the making, as apply does; @value NULL deletes. */
static inline void fixture_change(struct fixture *fixture, uint32_t sub, struct sr_bytes key,
                                  const struct sr_bytes *value)
{
    struct sr_store *store = fixture->store;
    int64_t revision = store->apply.revision + 1;
    struct sr_version version = {.mod_revision = revision, .sub = sub, .tombstone = true};
    struct sr_version previous;
    struct sr_err err = {0};
    int rc = sr_view_get(sr_writer_view(store), key, INT64_MAX, &previous, &err);

    if (rc != SR_NOT_FOUND) {
        fixture_ok(rc, &err);
    }
    if (value != NULL) {
        version.tombstone = false;
        version.create_revision = rc == SR_OK ? previous.create_revision : revision;
        version.version = rc == SR_OK ? previous.version + 1 : 1;
        version.lease = revision * 3;
        version.value_size = (uint32_t)value->size;
    }
    sr_writer_add(store, key, value != NULL ? *value : (struct sr_bytes){0}, &version);
}

/* The revision in the making is whole. */
static inline void fixture_publish(struct fixture *fixture)
{
    fixture->store->apply.revision++;
    sr_store_publish(fixture->store, fixture->store->apply.applied_index + 1);
}

static inline void fixture_put(struct fixture *fixture, const char *key, const char *value)
{
    struct sr_bytes bytes = sr_bytes_of(value);

    fixture_change(fixture, 0, sr_bytes_of(key), &bytes);
    fixture_publish(fixture);
}

static inline void fixture_delete(struct fixture *fixture, const char *key)
{
    fixture_change(fixture, 0, sr_bytes_of(key), NULL);
    fixture_publish(fixture);
}

static inline void fixture_compact(struct fixture *fixture, int64_t revision)
{
    fixture->store->apply.compact_revision = revision;
    sr_store_publish(fixture->store, fixture->store->apply.applied_index + 1);
}

/* The value of @key at @revision, or NULL; valid until the next call. */
static inline const char *fixture_get(struct fixture *fixture, const char *key, int64_t revision)
{
    static char text[256];
    struct sr_version version;
    struct sr_buf value = {0};
    struct sr_view *view;
    struct sr_err err = {0};
    int rc;

    fixture_ok(sr_view_open(fixture->store, &view, &err), &err);
    rc = sr_view_get(view, sr_bytes_of(key), revision, &version, &err);
    if (rc == SR_OK) {
        fixture_ok(sr_view_value(view, sr_bytes_of(key), &version, &value, &err), &err);
        (void)snprintf(text, sizeof(text), "%.*s", (int)value.size, (const char *)value.data);
    } else {
        assert_int_equal(rc, SR_NOT_FOUND);
    }
    sr_view_close(view);
    sr_buf_close(&value);
    return rc == SR_OK ? text : NULL;
}

static inline uint64_t fixture_random(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

#endif
