/* SPDX-License-Identifier: Apache-2.0
 *
 * Archives in memory, keys that wrap under a key of the tests, and states staged from archives.
 */
#ifndef SR_TESTS_STORAGE_ARCHIVE_FIXTURE_H
#define SR_TESTS_STORAGE_ARCHIVE_FIXTURE_H

#include "storage/archive_format.h"
#include "storage/changes.h"
#include "storage/staged.h"
#include "tests/unit/storage/random_commands.h"

#define ARCHIVE_NEW_CLUSTER (FIXTURE_CLUSTER + 1)
#define ARCHIVE_NEW_MEMBER  (FIXTURE_MEMBER + 1)

/* ---- Keys ---- */

static uint8_t archive_kek[SR_KEY_BYTES] = "the archive key of these tests 3";

static inline int archive_wrap(void *arg, const uint8_t dek[SR_KEY_BYTES], struct sr_bytes context,
                               struct sr_buf *wrapped, struct sr_err *err)
{
    struct sr_sealer *sealer = sr_sealer_new(arg);
    int rc = sr_seal(sealer, 99, 0, context.data, context.size, dek, SR_KEY_BYTES,
                     sr_buf_extend(wrapped, SR_KEY_BYTES + SR_SEAL_TAG_BYTES), err);

    assert_int_equal(context.size, SR_ARCHIVE_CONTEXT_BYTES);
    sr_sealer_free(sealer);
    return rc;
}

static inline int archive_unwrap(void *arg, struct sr_bytes wrapped, struct sr_bytes context,
                                 uint8_t ret_dek[SR_KEY_BYTES], struct sr_err *err)
{
    struct sr_sealer *sealer = sr_sealer_new(arg);
    int rc = SR_CORRUPT;

    if (wrapped.size == SR_KEY_BYTES + SR_SEAL_TAG_BYTES) {
        rc = sr_unseal(sealer, 99, 0, context.data, context.size, wrapped.data, SR_KEY_BYTES,
                       ret_dek, err);
    }
    sr_sealer_free(sealer);
    return rc == SR_OK ? SR_OK : sr_err_set(err, SR_KEY, "no key opens it");
}

static const struct sr_archive_keys archive_keys = {
    .wrap = archive_wrap, .unwrap = archive_unwrap, .arg = archive_kek};

/* ---- Bytes ---- */

static inline int archive_put(void *arg, const void *data, size_t size, struct sr_err *err)
{
    (void)err;
    sr_buf_append(arg, data, size);
    return SR_OK;
}

struct archive_bytes {
    struct sr_bytes bytes;
    size_t at;
    size_t most; /* at a time; 0: any */
};

static inline int archive_get(void *arg, void *data, size_t size, size_t *ret_size,
                              struct sr_err *err)
{
    struct archive_bytes *from = arg;
    size_t left = from->bytes.size - from->at;

    (void)err;
    size = size < left ? size : left;
    if (from->most > 0 && size > from->most) {
        size = from->most;
    }
    if (size > 0) {
        memcpy(data, from->bytes.data + from->at, size);
    }
    from->at += size;
    *ret_size = size;
    return SR_OK;
}

static inline int archive_verify(struct sr_bytes bytes, struct sr_archive_info *ret,
                                 struct sr_err *err)
{
    struct archive_bytes from = {.bytes = bytes};
    struct sr_archive_source source = {.get = archive_get, .arg = &from};

    return sr_archive_verify(&source, &archive_keys, ret, err);
}

static inline struct sr_bytes archive_of(const struct sr_buf *buf)
{
    return (struct sr_bytes){buf->data, buf->size};
}

/* ---- Writing ---- */

static inline struct sr_buf archive_full(struct fixture *fixture, struct sr_archive_info *ret)
{
    struct sr_archive_options options = {.keys = &archive_keys, .time_ms = 1};
    struct sr_buf buf = {0};
    struct sr_archive_sink sink = {.put = archive_put, .arg = &buf};
    struct sr_err err = {0};

    fixture_ok(sr_archive_write_full(fixture->store, &options, &sink, ret, &err), &err);
    assert_int_equal(ret->bytes, buf.size);
    return buf;
}

static inline struct sr_buf archive_changes(struct fixture *fixture, int64_t since, int64_t until,
                                            const struct sr_archive_mark *marks, size_t count,
                                            uint64_t time_ms, struct sr_archive_info *ret)
{
    struct sr_archive_options options = {
        .keys = &archive_keys, .marks = marks, .mark_count = count, .time_ms = time_ms};
    struct sr_buf buf = {0};
    struct sr_archive_sink sink = {.put = archive_put, .arg = &buf};
    struct sr_err err = {0};

    fixture_ok(sr_archive_write_changes(fixture->store, since, until, &options, &sink, ret, &err),
               &err);
    assert_int_equal(ret->bytes, buf.size);
    return buf;
}

static inline int archive_changes_fail(struct fixture *fixture, int64_t since, struct sr_err *err)
{
    struct sr_archive_options options = {.keys = &archive_keys};
    struct sr_buf buf = {0};
    struct sr_archive_sink sink = {.put = archive_put, .arg = &buf};
    struct sr_archive_info info;
    int rc = sr_archive_write_changes(fixture->store, since, 0, &options, &sink, &info, err);

    assert_int_equal(buf.size, 0);
    sr_buf_close(&buf);
    return rc;
}

/* ---- Staging: @target becomes a member of a new cluster ---- */

static inline struct sr_staged_options archive_staged_options(const struct fixture *target)
{
    return (struct sr_staged_options){
        .writer = {.dir = target->dir,
                   .keyring = target->keyring,
                   .cluster_id = ARCHIVE_NEW_CLUSTER,
                   .member_id = ARCHIVE_NEW_MEMBER,
                   .staged_entries_max = 20},
        .from_cluster_id = FIXTURE_CLUSTER,
        .configuration = sr_bytes_of("one alone"),
    };
}

static inline struct sr_staged *archive_staged(const struct sr_staged_options *options)
{
    struct sr_staged *staged = NULL;
    struct sr_err err = {0};

    fixture_ok(sr_staged_open(options, &staged, &err), &err);
    return staged;
}

static inline int archive_stage(struct sr_staged *staged, const struct sr_buf *archive,
                                struct sr_err *err)
{
    struct archive_bytes from = {.bytes = archive_of(archive), .most = 1000};
    struct sr_archive_source source = {.get = archive_get, .arg = &from};

    return sr_staged_put_archive(staged, &source, &archive_keys, NULL, err);
}

/* Finish, and open the store as the new node will. */
static inline struct sr_staged_result archive_finish(struct sr_staged *staged,
                                                     struct fixture *target)
{
    struct sr_staged_result result = {0};
    struct sr_err err = {0};

    fixture_ok(sr_staged_finish(staged, &result, &err), &err);
    sr_staged_close(staged);
    target->options.cluster_id = ARCHIVE_NEW_CLUSTER;
    target->options.member_id = ARCHIVE_NEW_MEMBER;
    fixture_open(target);
    assert_int_equal(sr_store_revision(target->store), result.final_revision);
    assert_int_equal(sr_store_applied_index(target->store), result.index);
    return result;
}

/* ---- Content ---- */

static inline Strongroom__Command *archive_large(uint64_t *seed, size_t size)
{
    char key[32];
    char *value = commands_alloc(size + 1);

    (void)snprintf(key, sizeof(key), "large-%llu", (unsigned long long)below(seed, 20));
    for (size_t i = 0; i < size; i++) {
        value[i] = (char)(1 + below(seed, 255)); /* nothing for zstd to find */
    }
    return put_text(key, value);
}

/* Random commands, some with ids, some large. */
static inline void archive_fill(struct fixture *fixture, uint64_t seed, int entries)
{
    struct sr_err err = {0};
    uint64_t index = sr_store_applied_index(fixture->store) + 1;

    fixture_ok(sr_store_apply_configuration(fixture->store, index, COMMANDS_TERM,
                                            (const uint8_t *)"who votes", 9, &err),
               &err);
    for (int i = 0; i < entries; i++) {
        Strongroom__Command *command = random_command(&seed, 1 + i);
        if (i % 3 == 0) {
            command = with_id(command, seed);
        }
        (void)apply(fixture, command);
        if (i % 10 == 0) {
            (void)apply(fixture, archive_large(&seed, i % 100 == 50 ? 600000 : 3000));
        }
        commands_reset();
    }
    fixture_flush(fixture);
}

/* What a reader at @revision is answered. */
static inline struct sr_buf archive_dump(struct fixture *fixture, int64_t revision,
                                         enum sr_api_error *ret_error)
{
    struct sr_buf body = {0};
    struct sr_view *view = NULL;
    struct sr_err err = {0};
    Etcdserverpb__RangeRequest *request = range_request("a", "");
    struct sr_range *range;
    int rc;

    request->range_end = no_end();
    request->revision = revision;
    range = sr_range_new(request);
    *ret_error = SR_API_NONE;
    fixture_ok(sr_view_open(fixture->store, &view, &err), &err);
    rc = sr_range_step(range, view, 1000000, ret_error, &err);
    if (rc == SR_OK) {
        sr_range_pack(range, &body);
    } else {
        assert_int_equal(rc, SR_INVALID);
    }
    sr_range_free(range);
    sr_view_close(view);
    return body;
}

/* Both answer alike at @revision. */
static inline void archive_check_same_at(struct fixture *a, struct fixture *b, int64_t revision)
{
    enum sr_api_error error_a;
    enum sr_api_error error_b;
    struct sr_buf in_a = archive_dump(a, revision, &error_a);
    struct sr_buf in_b = archive_dump(b, revision, &error_b);

    assert_int_equal(error_a, error_b);
    assert_int_equal(in_a.size, in_b.size);
    if (in_a.size > 0) {
        assert_memory_equal(in_a.data, in_b.data, in_a.size);
    }
    sr_buf_close(&in_a);
    sr_buf_close(&in_b);
    commands_reset();
}

/* At every revision from @first to @last. */
static inline void archive_check_same(struct fixture *a, struct fixture *b, int64_t first,
                                      int64_t last)
{
    for (int64_t revision = first; revision <= last; revision++) {
        archive_check_same_at(a, b, revision);
    }
}

#endif
