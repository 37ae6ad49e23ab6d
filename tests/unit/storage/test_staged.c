/* SPDX-License-Identifier: Apache-2.0
 *
 * A state made of archives is that of the cluster that made them: at the end, at any revision, at
 * any time, whatever was compacted meanwhile; and what does not follow is refused.
 */
#include "storage/requests.h"
#include "storage/staged_impl.h"
#include "tests/unit/storage/archive_fixture.h"

#define LINKS_MAX 32

/* Archives of one store, in order: the first is full. */
struct chain {
    struct sr_buf archives[LINKS_MAX];
    struct sr_archive_info infos[LINKS_MAX];
    size_t count;
};

static void chain_add_full(struct chain *chain, struct fixture *source)
{
    chain->archives[chain->count] = archive_full(source, &chain->infos[chain->count]);
    chain->count++;
}

static void chain_add_changes(struct chain *chain, struct fixture *source, int64_t since)
{
    chain->archives[chain->count] =
        archive_changes(source, since, 0, NULL, 0, chain->count, &chain->infos[chain->count]);
    chain->count++;
}

static void chain_close(struct chain *chain)
{
    for (size_t i = 0; i < chain->count; i++) {
        sr_buf_close(&chain->archives[i]);
    }
}

static void chain_stage(const struct chain *chain, struct sr_staged *staged)
{
    struct sr_err err = {0};

    for (size_t i = 0; i < chain->count && !sr_staged_is_complete(staged); i++) {
        fixture_ok(archive_stage(staged, &chain->archives[i], &err), &err);
    }
}

/* @target becomes what @chain has, as @options say. */
static struct sr_staged_result restore(const struct chain *chain, struct fixture *target,
                                       const struct sr_staged_options *options)
{
    struct sr_staged *staged = archive_staged(options);

    chain_stage(chain, staged);
    return archive_finish(staged, target);
}

static void check_hash(struct fixture *a, struct fixture *b)
{
    uint8_t in_a[32];
    uint8_t in_b[32];
    int64_t revision;
    uint64_t index;

    sr_store_state_hash(a->store, in_a, &revision, &index);
    sr_store_state_hash(b->store, in_b, &revision, &index);
    assert_memory_equal(in_a, in_b, sizeof(in_a));
}

/* ---- What is restored ---- */

static void a_full_archive_alone_is_the_state(void **state)
{
    struct fixture *source = *state;
    struct fixture target;
    struct chain chain = {0};
    struct sr_store_point point;
    archive_fill(source, 1, 300);
    chain_add_full(&chain, source);
    fixture_init(&target);
    struct sr_staged_options options = archive_staged_options(&target);
    struct sr_staged_result result = restore(&chain, &target, &options);
    assert_int_equal(result.revision, sr_store_revision(source->store));
    assert_int_equal(result.versions, chain.infos[0].versions);
    assert_int_equal(result.requests, chain.infos[0].requests);
    assert_true(result.state_hash_is_original);
    archive_check_same(source, &target, 1, result.revision);
    check_hash(source, &target);
    sr_store_point(target.store, &point);
    assert_int_equal(point.configuration_index, point.index);
    assert_memory_equal(point.configuration.data, "one alone", 9);
    sr_buf_close(&point.configuration);
    fixture_close(&target);
    chain_close(&chain);
}

/* Many links, compactions in between, and a full archive that the links do not know of. */
static void changes_bring_it_up_to_date(void **state)
{
    struct fixture *source = *state;
    struct fixture target;
    struct chain chain = {0};
    archive_fill(source, 2, 40);
    int64_t since = sr_store_revision(source->store);
    archive_fill(source, 3, 20);
    chain_add_full(&chain, source);
    for (uint64_t seed = 4; seed < 20; seed++) {
        archive_fill(source, seed, 25);
        sr_store_keep_after(source->store, since);
        if (seed % 3 == 0) {
            (void)apply(source, compact(sr_store_revision(source->store) - 5));
        }
        fixture_settle(source);
        chain_add_changes(&chain, source, since);
        since = chain.infos[chain.count - 1].header.revision;
        assert_int_equal(since, sr_store_revision(source->store));
    }
    fixture_init(&target);
    struct sr_staged_options options = archive_staged_options(&target);
    struct sr_staged_result result = restore(&chain, &target, &options);
    assert_int_equal(result.revision, since);
    assert_int_equal(result.index, sr_store_applied_index(source->store));
    assert_int_equal(result.compact_revision, sr_store_compact_revision(source->store));
    assert_true(result.compact_revision > 1);
    assert_true(result.state_hash_is_original);
    assert_int_equal(result.time_ms, chain.count - 1);
    check_hash(source, &target);
    archive_check_same(source, &target, 1, result.revision);
    /* What compaction had removed over there, it removes here, and nothing else. */
    sr_store_keep_after(source->store, INT64_MAX);
    for (int i = 0; i < 2; i++) {
        struct fixture *fixture = i == 0 ? source : &target;
        (void)apply(fixture, put_text("one", "more"));
        fixture_settle(fixture);
        while (sr_compaction_is_pending(&fixture->store->compaction)) {
            (void)apply(fixture, put_text("one", "more"));
            fixture_settle(fixture);
        }
    }
    archive_check_same(source, &target, 1, since + 1);
    fixture_close(&target);
    chain_close(&chain);
}

/* Whoever asks again after the restore is given the first answer. */
static void what_is_remembered_is_restored(void **state)
{
    struct fixture *source = *state;
    struct fixture target;
    struct chain chain = {0};
    for (uint64_t i = 1; i <= 10; i++) {
        (void)apply(source, with_id(put_text("counted", "once"), i));
    }
    fixture_flush(source);
    chain_add_full(&chain, source);
    for (uint64_t i = 11; i <= 20; i++) {
        (void)apply(source, with_id(put_text("counted", "once"), i));
    }
    fixture_flush(source);
    chain_add_changes(&chain, source, 3); /* has some that the full one has */
    fixture_init(&target);
    struct sr_staged_options options = archive_staged_options(&target);
    struct sr_staged_result result = restore(&chain, &target, &options);
    assert_int_equal(result.requests, 20);
    assert_int_equal(sr_requests_count(target.store), 20);
    for (uint64_t i = 1; i <= 20; i++) {
        assert_int_equal(applied(&target, with_id(put_text("counted", "once"), i)), i + 1);
    }
    assert_int_equal(sr_store_revision(target.store), result.revision);
    assert_string_equal(pair_of(&target, "counted"), "counted=once 2/21/20");
    assert_int_equal(applied(&target, with_id(put_text("counted", "once"), 21)), 22);
    fixture_close(&target);
    chain_close(&chain);
}

static void a_deletion_is_not_lost_to_compaction(void **state)
{
    struct fixture *source = *state;
    struct fixture target;
    struct chain chain = {0};
    struct sr_err err = {0};
    (void)apply(source, put_text("gone", "1"));
    (void)apply(source, put_text("kept", "1"));
    fixture_flush(source);
    chain_add_full(&chain, source);
    int64_t since = sr_store_revision(source->store);
    (void)apply(source, del(delete_request("gone", "")));
    (void)apply(source, put_text("kept", "2"));
    (void)apply(source, put_text("kept", "3"));
    /* Kept, though nobody can read it here any more. */
    sr_store_keep_after(source->store, since);
    (void)apply(source, compact(sr_store_revision(source->store)));
    fixture_settle(source);
    chain_add_changes(&chain, source, since);
    assert_int_equal(chain.infos[1].versions, 3);
    fixture_init(&target);
    struct sr_staged_options options = archive_staged_options(&target);
    (void)restore(&chain, &target, &options);
    assert_string_equal(pair_of(&target, "gone"), "none");
    assert_string_equal(pair_of(&target, "kept"), "kept=3 3/6/3");
    /* Not kept any longer: it is gone, and that is said. */
    sr_store_keep_after(source->store, INT64_MAX);
    (void)apply(source, put_text("one", "more"));
    fixture_settle(source);
    assert_int_equal(archive_changes_fail(source, since, &err), SR_REFUSED);
    assert_non_null(strstr(err.text, "a compaction to revision 6 has removed some of it"));
    assert_int_equal(sr_store_failure(source->store, &err), SR_OK);
    struct sr_archive_info info;
    struct sr_buf later = archive_changes(source, 6, 0, NULL, 0, 1, &info);
    assert_int_equal(info.versions, 1);
    sr_buf_close(&later);
    fixture_close(&target);
    chain_close(&chain);
}

static void what_is_kept_is_bounded(void **state)
{
    struct fixture *source = *state;
    archive_fill(source, 5, 150);
    assert_true(sr_store_revision(source->store) > 60);
    sr_store_keep_after(source->store, 10);
    (void)apply(source, compact(40));
    fixture_settle(source);
    assert_true(sr_compaction_is_pending(&source->store->compaction));
    assert_int_equal(source->store->compaction.cursor_rev, 11);
    source->store->keep_ns -= (SR_KEEP_MS_MAX + 1) * 1000000u; /* nobody says so any more */
    (void)apply(source, put_text("k", "v"));
    fixture_settle(source);
    assert_false(sr_compaction_is_pending(&source->store->compaction));
    sr_store_keep_after(source->store, 45);
    (void)apply(source, compact(50));
    fixture_settle(source);
    assert_int_equal(source->store->compaction.cursor_rev, 46);
    atomic_store(&source->store->has_space, false);
    assert_int_equal(sr_hold_limit(source->store, 50), 50);
    atomic_store(&source->store->has_space, true);
    assert_int_equal(sr_hold_limit(source->store, 50), 45);
    assert_int_equal(sr_hold_limit(source->store, 45 + SR_KEEP_REVISIONS_MAX + 1),
                     45 + SR_KEEP_REVISIONS_MAX + 1);
}

/* ---- Up to where ---- */

static void it_stops_at_any_revision(void **state)
{
    struct fixture *source = *state;
    struct chain chain = {0};
    archive_fill(source, 6, 30);
    chain_add_full(&chain, source);
    int64_t first = sr_store_revision(source->store);
    for (uint64_t seed = 7; seed < 10; seed++) {
        archive_fill(source, seed, 15);
        chain_add_changes(&chain, source, chain.infos[chain.count - 1].header.revision);
    }
    int64_t last = sr_store_revision(source->store);
    for (int64_t revision = first; revision <= last; revision++) {
        struct fixture target;
        fixture_init(&target);
        struct sr_staged_options options = archive_staged_options(&target);
        options.until_revision = revision;
        struct sr_staged_result result = restore(&chain, &target, &options);
        assert_int_equal(result.revision, revision);
        archive_check_same(source, &target, revision > 3 ? revision - 3 : 1, revision);
        assert_int_equal(applied(&target, put_text("it", "goes on")), revision + 1);
        commands_reset();
        fixture_close(&target);
    }
    chain_close(&chain);
}

/* Revisions up to that of a mark were there at its time. */
static void it_stops_at_any_time(void **state)
{
    struct fixture *source = *state;
    struct chain chain = {.count = 2};
    archive_fill(source, 11, 10);
    int64_t first = sr_store_revision(source->store);
    chain.archives[0] = archive_full(source, &chain.infos[0]);
    while (sr_store_revision(source->store) < first + 20) {
        (void)apply(source, put_text("k", "v"));
    }
    fixture_flush(source);
    struct sr_archive_mark marks[] = {{first - 3, 900},   {first + 4, 1000}, {first + 5, 2000},
                                      {first + 5, 2500},  {first + 9, 1500}, {first + 10, 4000},
                                      {first + 20, 4500}, {first + 30, 4600}};
    chain.archives[1] = archive_changes(source, first, 0, marks, 8, 5000, &chain.infos[1]);
    static const struct {
        uint64_t until_ms;
        int64_t more;
        uint64_t time_ms;
    } cases[] = {{999, 0, 0},      {1000, 4, 1000},  {1999, 4, 1000},  {2000, 5, 2000},
                 {3999, 5, 2000},  {4000, 10, 4000}, {4499, 10, 4000}, {4500, 20, 4500},
                 {9999, 20, 4500}, {0, 20, 4500}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct fixture target;
        fixture_init(&target);
        struct sr_staged_options options = archive_staged_options(&target);
        options.until_ms = cases[i].until_ms;
        struct sr_staged_result result = restore(&chain, &target, &options);
        assert_int_equal(result.revision, first + cases[i].more);
        assert_int_equal(result.time_ms, cases[i].time_ms);
        assert_int_equal(result.state_hash_is_original, cases[i].more == 20 || cases[i].more == 0);
        archive_check_same_at(source, &target, result.revision);
        fixture_close(&target);
    }
    chain_close(&chain);
}

static void changes_may_end_before_the_last_revision(void **state)
{
    struct fixture *source = *state;
    struct fixture target;
    struct chain chain = {.count = 3};
    archive_fill(source, 12, 10);
    int64_t first = sr_store_revision(source->store);
    chain.archives[0] = archive_full(source, &chain.infos[0]);
    archive_fill(source, 13, 40);
    int64_t last = sr_store_revision(source->store);
    chain.archives[1] = archive_changes(source, first, last - 7, NULL, 0, 1, &chain.infos[1]);
    assert_int_equal(chain.infos[1].header.revision, last - 7);
    chain.archives[2] = archive_changes(source, last - 9, last, NULL, 0, 2, &chain.infos[2]);
    fixture_init(&target);
    struct sr_staged_options options = archive_staged_options(&target);
    struct sr_staged_result result = restore(&chain, &target, &options);
    assert_int_equal(result.revision, last);
    assert_true(result.state_hash_is_original);
    archive_check_same(source, &target, 1, last);
    fixture_close(&target);
    chain_close(&chain);
}

static void clients_notice_a_bump(void **state)
{
    struct fixture *source = *state;
    struct fixture target;
    struct chain chain = {0};
    enum sr_api_error error;
    archive_fill(source, 14, 60);
    chain_add_full(&chain, source);
    archive_fill(source, 15, 60);
    chain_add_changes(&chain, source, chain.infos[0].header.revision);
    fixture_init(&target);
    struct sr_staged_options options = archive_staged_options(&target);
    options.revision_bump = 1000000;
    options.mark_compacted = true;
    struct sr_staged_result result = restore(&chain, &target, &options);
    int64_t last = sr_store_revision(source->store);
    assert_int_equal(result.revision, last);
    assert_int_equal(sr_store_revision(target.store), last + 1000000);
    assert_int_equal(sr_store_compact_revision(target.store), last + 1000000);
    struct sr_buf old = archive_dump(&target, last, &error);
    assert_int_equal(error, SR_API_COMPACTED);
    sr_buf_close(&old);
    assert_int_equal(applied(&target, put_text("new", "1")), last + 1000001);
    assert_non_null(strstr(pair_of(&target, "new"), "new=1 "));
    fixture_settle(&target); /* compacts what is superseded */
    fixture_reopen(&target);
    assert_int_equal(sr_store_revision(target.store), last + 1000001);
    /* Of the new state archives are made in turn. */
    struct fixture again;
    struct chain second = {0};
    chain_add_full(&second, &target);
    (void)apply(&target, put_text("new", "2"));
    fixture_flush(&target);
    chain_add_changes(&second, &target, last + 1000001);
    fixture_init(&again);
    struct sr_staged_options third = archive_staged_options(&again);
    third.from_cluster_id = ARCHIVE_NEW_CLUSTER;
    third.writer.cluster_id = ARCHIVE_NEW_CLUSTER;
    (void)restore(&second, &again, &third);
    archive_check_same_at(&target, &again, 0);
    fixture_close(&again);
    fixture_close(&target);
    chain_close(&second);
    chain_close(&chain);
}

/* ---- What is refused ---- */

static void refused(struct sr_staged *staged, const struct sr_buf *archive, const char *text)
{
    struct sr_err err = {0};

    assert_int_equal(archive_stage(staged, archive, &err), SR_REFUSED);
    assert_string_equal(err.text, text);
}

static void what_does_not_follow_is_refused(void **state)
{
    struct fixture *source = *state;
    struct fixture target;
    struct chain chain = {0};
    struct sr_err err = {0};
    struct sr_staged_result result;
    fixture_put(source, "k", "2");
    fixture_flush(source);
    chain_add_full(&chain, source);
    fixture_put(source, "k", "3");
    fixture_put(source, "k", "4");
    fixture_flush(source);
    chain_add_changes(&chain, source, 2);
    chain_add_changes(&chain, source, 3);
    chain_add_full(&chain, source);
    fixture_init(&target);
    struct sr_staged_options options = archive_staged_options(&target);
    struct sr_staged *staged = archive_staged(&options);
    assert_int_equal(sr_staged_finish(staged, &result, &err), SR_AGAIN);
    refused(staged, &chain.archives[1],
            "stage an archive: changes need a full archive before them");
    fixture_ok(archive_stage(staged, &chain.archives[0], &err), &err);
    refused(staged, &chain.archives[3], "stage an archive: there is a full archive already");
    refused(staged, &chain.archives[2],
            "stage an archive: it begins after revision 3, and only 2 is there: changes between "
            "are missing");
    fixture_ok(archive_stage(staged, &chain.archives[1], &err), &err);
    fixture_ok(archive_stage(staged, &chain.archives[2], &err), &err); /* nothing new */
    assert_int_equal(sr_staged_revision(staged), 4);
    result = archive_finish(staged, &target);
    assert_int_equal(result.revision, 4);
    assert_int_equal(result.versions, 3);
    fixture_close(&target);

    fixture_init(&target);
    options = archive_staged_options(&target);
    options.from_cluster_id++;
    staged = archive_staged(&options);
    refused(staged, &chain.archives[0],
            "stage an archive: it is of cluster 00000000000000c1, not of 00000000000000c2");
    sr_staged_close(staged);
    fixture_close(&target);

    fixture_init(&target);
    options = archive_staged_options(&target);
    options.until_revision = 3;
    staged = archive_staged(&options);
    refused(staged, &chain.archives[3],
            "stage an archive: it is of revision 4, and only 3 is wanted: take an earlier one");
    fixture_ok(archive_stage(staged, &chain.archives[0], &err), &err);
    assert_false(sr_staged_is_complete(staged));
    fixture_ok(archive_stage(staged, &chain.archives[1], &err), &err);
    assert_true(sr_staged_is_complete(staged));
    result = archive_finish(staged, &target);
    assert_string_equal(fixture_get(&target, "k", 3), "3");
    fixture_close(&target);
    chain_close(&chain);
}

static void what_is_not_there_is_said(void **state)
{
    struct fixture *source = *state;
    struct sr_err err = {0};

    assert_int_equal(archive_changes_fail(source, 1, &err), SR_NOT_FOUND);
    fixture_put(source, "k", "2");
    assert_int_equal(archive_changes_fail(source, 1, &err), SR_NOT_FOUND); /* not flushed */
    fixture_flush(source);
    assert_int_equal(archive_changes_fail(source, 2, &err), SR_NOT_FOUND);
    assert_string_equal(err.text,
                        "write an archive: read changes since revision 2: nothing changed since");
    assert_int_equal(archive_changes_fail(source, 3, &err), SR_INVALID);
    assert_int_equal(sr_store_failure(source->store, &err), SR_OK);
}

/* Chunks that come in another order, or harmed, or too few. */
static void a_chunk_is_the_next_one_or_refused(void **state)
{
    struct fixture *source = *state;
    struct chain chain = {0};
    struct sr_err err = {0};
    fixture_put(source, "k", "2");
    fixture_flush(source);
    chain_add_full(&chain, source);
    fixture_put(source, "k", "3");
    fixture_flush(source);
    chain_add_changes(&chain, source, 2);
    for (int harm = 0; harm < 4; harm++) {
        struct fixture target;
        struct archive_bytes from = {.bytes = archive_of(&chain.archives[1])};
        struct sr_archive_source bytes = {.get = archive_get, .arg = &from};
        struct sr_archive_reader *reader = NULL;
        struct sr_image_chunk chunk = {0};
        fixture_init(&target);
        struct sr_staged_options options = archive_staged_options(&target);
        struct sr_staged *staged = archive_staged(&options);
        fixture_ok(archive_stage(staged, &chain.archives[0], &err), &err);
        fixture_ok(sr_archive_reader_open(&bytes, &archive_keys, &reader, &err), &err);
        assert_int_equal(sr_staged_put(staged, &chunk, &err), SR_CLOSED);
        fixture_ok(sr_staged_begin(staged, sr_archive_reader_header(reader), &err), &err);
        fixture_ok(sr_archive_reader_next(reader, &chunk, &err), &err);
        if (harm == 0) {
            chunk.number++;
        }
        if (harm == 1) {
            chunk.content[5] ^= 1;
        }
        if (harm == 2) {
            chunk.data.size--;
        }
        if (harm < 3) {
            assert_int_equal(sr_staged_put(staged, &chunk, &err), SR_CORRUPT);
        } else {
            fixture_ok(sr_staged_put(staged, &chunk, &err), &err);
            assert_int_equal(sr_staged_end(staged, &err), SR_AGAIN);
        }
        struct sr_staged_result result;
        assert_int_equal(sr_staged_finish(staged, &result, &err), harm < 3 ? SR_CLOSED : SR_AGAIN);
        sr_archive_reader_close(reader);
        sr_staged_close(staged);
        fixture_close(&target);
    }
    chain_close(&chain);
}

static int put_made(struct sr_staged *staged, struct sr_image_chunk *chunk, struct sr_buf *data,
                    struct sr_err *err)
{
    chunk->data = archive_of(data);
    fixture_ok(sr_image_content_add(chunk->content, chunk->number, chunk->data, err), err);
    int rc = sr_staged_put(staged, chunk, err);
    chunk->number++;
    sr_buf_clear(data);
    return rc;
}

/* Begin changes of revision 3 alone, up to its mark. */
static void begin_made(struct sr_staged *staged, struct sr_image_chunk *chunk)
{
    struct sr_changes_header header = {
        .cluster_id = FIXTURE_CLUSTER,
        .info = {.since = 2, .until = 3, .index = 9, .term = 1, .compact_revision = -1}};
    struct sr_archive_header archive = {.kind = SR_ARCHIVE_CHANGES,
                                        .cluster_id = FIXTURE_CLUSTER,
                                        .since = 2,
                                        .revision = 3,
                                        .index = 9,
                                        .term = 1};
    struct sr_archive_mark mark = {.revision = 3, .time_ms = 1};
    struct sr_buf data = {0};
    struct sr_err err = {0};
    fixture_ok(sr_staged_begin(staged, &archive, &err), &err);
    sr_changes_header_pack(&header, &data);
    fixture_ok(put_made(staged, chunk, &data, &err), &err);
    sr_changes_mark_pack(&mark, &data);
    fixture_ok(put_made(staged, chunk, &data, &err), &err);
    sr_buf_close(&data);
}

static void add_made(struct sr_buf *data, const char *name, uint32_t sub)
{
    struct sr_image_version version = {.version = {.create_revision = 3,
                                                   .mod_revision = 3,
                                                   .version = 1,
                                                   .sub = sub,
                                                   .value_size = 1},
                                       .key = sr_bytes_of(name),
                                       .value = sr_bytes_of("v")};
    if (data->size == 0) {
        sr_buf_append_u8(data, SR_IMAGE_VERSIONS);
    }
    sr_image_version_pack(&version, data);
}

/* Sealed by somebody with the keys, and nothing that a store ever writes. */
static void what_no_store_writes_is_refused(void **state)
{
    struct fixture *source = *state;
    struct chain chain = {0};
    fixture_put(source, "k", "2");
    fixture_flush(source);
    chain_add_full(&chain, source);
    for (int what = 0; what < 3; what++) {
        struct fixture target;
        struct sr_image_chunk chunk = {0};
        struct sr_buf data = {0};
        struct sr_err err = {0};
        fixture_init(&target);
        struct sr_staged_options options = archive_staged_options(&target);
        struct sr_staged *staged = archive_staged(&options);
        fixture_ok(archive_stage(staged, &chain.archives[0], &err), &err);
        begin_made(staged, &chunk);
        add_made(&data, "a", 0);
        add_made(&data, what == 1 ? "a" : "b", 1);
        int rc = put_made(staged, &chunk, &data, &err);
        assert_int_equal(rc, what == 1 ? SR_CORRUPT : SR_OK);
        if (what == 1) {
            assert_string_equal(err.text, "stage an archive: revision 3 changes a name twice");
        }
        if (what == 2) { /* numbers that come to an end */
            struct sr_remembered item = {.number = UINT64_MAX, .revision = 3};
            sr_buf_append_u8(&data, SR_IMAGE_REQUESTS);
            sr_image_request_pack(&item, &data);
            assert_int_equal(put_made(staged, &chunk, &data, &err), SR_CORRUPT);
            assert_string_equal(err.text, "stage an archive: chunk 3: remembered request -1 has no "
                                          "place there");
        }
        sr_buf_close(&data);
        sr_staged_close(staged);
        fixture_close(&target);
    }
    chain_close(&chain);
}

static void revisions_do_not_run_out(void **state)
{
    struct fixture target;
    struct sr_archive_header header = {.kind = SR_ARCHIVE_FULL,
                                       .cluster_id = FIXTURE_CLUSTER,
                                       .revision = INT64_MAX - 1000,
                                       .index = 9};
    struct sr_err err = {0};
    (void)state;
    fixture_init(&target);
    struct sr_staged_options options = archive_staged_options(&target);
    options.revision_bump = 1000;
    struct sr_staged *staged = archive_staged(&options);
    assert_int_equal(sr_staged_begin(staged, &header, &err), SR_REFUSED);
    assert_string_equal(err.text, "stage an archive: after revision 9223372036854774807 there are "
                                  "not 1000 more");
    header.revision--;
    fixture_ok(sr_staged_begin(staged, &header, &err), &err);
    sr_staged_close(staged);
    fixture_close(&target);
}

/* ---- Trouble on this side ---- */

/* The disk is full for a while, at every chunk, also in the middle of one. */
static void a_disk_without_room_is_waited_for(void **state)
{
    struct fixture *source = *state;
    struct fixture target;
    struct chain chain = {0};
    struct sr_err err = {0};
    size_t waited = 0;
    archive_fill(source, 16, 60);
    chain_add_full(&chain, source);
    archive_fill(source, 17, 200);
    chain_add_changes(&chain, source, chain.infos[0].header.revision);
    fixture_init(&target);
    struct sr_staged_options options = archive_staged_options(&target);
    struct sr_staged *staged = archive_staged(&options);
    uint64_t *reserve = &staged->writer->store->options.disk_reserve_bytes;
    for (size_t i = 0; i < chain.count; i++) {
        struct archive_bytes from = {.bytes = archive_of(&chain.archives[i])};
        struct sr_archive_source bytes = {.get = archive_get, .arg = &from};
        struct sr_archive_reader *reader = NULL;
        struct sr_image_chunk chunk = {0};
        fixture_ok(sr_archive_reader_open(&bytes, &archive_keys, &reader, &err), &err);
        fixture_ok(sr_staged_begin(staged, sr_archive_reader_header(reader), &err), &err);
        while (!chunk.last) {
            fixture_ok(sr_archive_reader_next(reader, &chunk, &err), &err);
            *reserve = UINT64_MAX;
            int rc = sr_staged_put(staged, &chunk, &err);
            waited += rc == SR_NO_SPACE;
            *reserve = 0;
            if (rc == SR_NO_SPACE) {
                rc = sr_staged_put(staged, &chunk, &err);
            }
            fixture_ok(rc, &err);
        }
        fixture_ok(sr_staged_end(staged, &err), &err);
        sr_archive_reader_close(reader);
    }
    assert_true(waited > 1);
    *reserve = UINT64_MAX;
    struct sr_staged_result result;
    assert_int_equal(sr_staged_finish(staged, &result, &err), SR_NO_SPACE);
    *reserve = 0;
    result = archive_finish(staged, &target);
    assert_int_equal(result.revision, sr_store_revision(source->store));
    archive_check_same(source, &target, 1, result.revision);
    check_hash(source, &target);
    fixture_close(&target);
    chain_close(&chain);
}

/* What is on disk is compared with what was put, not with itself. */
static void what_is_staged_is_read_back(void **state)
{
    struct fixture *source = *state;
    struct fixture target;
    struct chain chain = {0};
    struct sr_err err = {0};
    struct sr_staged_result result;
    archive_fill(source, 18, 30);
    chain_add_full(&chain, source);
    archive_fill(source, 19, 30);
    chain_add_changes(&chain, source, chain.infos[0].header.revision);
    fixture_init(&target);
    struct sr_staged_options options = archive_staged_options(&target);
    struct sr_staged *staged = archive_staged(&options);
    chain_stage(&chain, staged);
    /* One byte more than what is there. */
    fixture_ok(sr_staged_sum(staged, "x", 1, &err), &err);
    assert_int_equal(sr_staged_finish(staged, &result, &err), SR_CORRUPT);
    assert_string_equal(err.text, "stage an archive: what was read back is not what was put");
    assert_int_equal(sr_staged_finish(staged, &result, &err), SR_CLOSED);
    sr_staged_close(staged);
    fixture_close(&target);
    chain_close(&chain);
}

static void reading_it_back_can_be_stopped(void **state)
{
    struct fixture *source = *state;
    struct fixture target;
    struct chain chain = {0};
    struct sr_err err = {0};
    struct sr_staged_result result;
    atomic_bool stopping = false;
    archive_fill(source, 20, 30);
    chain_add_full(&chain, source);
    fixture_init(&target);
    struct sr_staged_options options = archive_staged_options(&target);
    options.stopping = &stopping;
    struct sr_staged *staged = archive_staged(&options);
    chain_stage(&chain, staged);
    atomic_store(&stopping, true);
    assert_int_equal(sr_staged_finish(staged, &result, &err), SR_CLOSED);
    assert_string_equal(err.text, "stage an archive: it was stopped");
    sr_staged_close(staged);
    fixture_close(&target);
    chain_close(&chain);
}

static void a_directory_in_use_is_left_alone(void **state)
{
    struct fixture *source = *state;
    struct sr_staged *staged = NULL;
    struct sr_err err = {0};
    fixture_put(source, "k", "v");
    fixture_flush(source);
    sr_store_close(source->store);
    source->store = NULL;
    struct sr_staged_options options = archive_staged_options(source);
    options.writer.cluster_id = FIXTURE_CLUSTER;
    options.writer.member_id = FIXTURE_MEMBER;
    assert_int_equal(sr_staged_open(&options, &staged, &err), SR_EXISTS);
    options.configuration.size = 0;
    assert_int_equal(sr_staged_open(&options, &staged, &err), SR_INVALID);
    fixture_open(source);
    assert_string_equal(fixture_get(source, "k", 2), "v");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        commands_test(a_full_archive_alone_is_the_state),
        commands_test(changes_bring_it_up_to_date),
        commands_test(what_is_remembered_is_restored),
        commands_test(a_deletion_is_not_lost_to_compaction),
        commands_test(what_is_kept_is_bounded),
        commands_test(it_stops_at_any_revision),
        commands_test(it_stops_at_any_time),
        commands_test(changes_may_end_before_the_last_revision),
        commands_test(clients_notice_a_bump),
        commands_test(what_does_not_follow_is_refused),
        commands_test(what_is_not_there_is_said),
        commands_test(a_chunk_is_the_next_one_or_refused),
        commands_test(what_no_store_writes_is_refused),
        commands_test(revisions_do_not_run_out),
        commands_test(a_disk_without_room_is_waited_for),
        commands_test(what_is_staged_is_read_back),
        commands_test(reading_it_back_can_be_stopped),
        commands_test(a_directory_in_use_is_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
