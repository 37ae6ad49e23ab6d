/* SPDX-License-Identifier: Apache-2.0
 *
 * Images: a state goes through a stream to another node and is the same there; the stream is the
 * same wherever it is made; whatever goes wrong on the way is refused, and a crash costs little.
 */
#include "storage/image.h"
#include "storage/image_rebirth.h"
#include "tests/unit/storage/random_commands.h"

#define CHUNKS_MAX 256

/* The chunks of an image, copied. */
struct stream {
    struct sr_image_chunk chunks[CHUNKS_MAX];
    size_t count;
};

static void stream_read(struct stream *stream, struct sr_image_reader *reader)
{
    struct sr_image_chunk chunk;
    struct sr_err err = {0};
    int rc;
    while ((rc = sr_image_reader_next(reader, &chunk, &err)) == SR_OK) {
        assert_true(stream->count < CHUNKS_MAX);
        assert_true(chunk.data.size <= SR_IMAGE_CHUNK_BYTES_MAX);
        chunk.data.data = sr_memdup(chunk.data.data, chunk.data.size);
        stream->chunks[stream->count++] = chunk;
    }
    assert_int_equal(rc, SR_NOT_FOUND);
    assert_true(stream->chunks[stream->count - 1].last);
}

static struct stream *stream_of(struct fixture *fixture)
{
    struct stream *stream = sr_zalloc(sizeof(*stream));
    struct sr_image_reader *reader = NULL;
    struct sr_err err = {0};
    fixture_ok(sr_image_reader_open(fixture->store, &reader, &err), &err);
    stream_read(stream, reader);
    sr_image_reader_close(reader);
    return stream;
}

static void stream_free(struct stream *stream)
{
    for (size_t i = 0; i < stream->count; i++) {
        sr_free((void *)(uintptr_t)stream->chunks[i].data.data);
    }
    sr_free(stream);
}

static void check_same_stream(const struct stream *a, const struct stream *b)
{
    assert_int_equal(a->count, b->count);
    for (size_t i = 0; i < a->count; i++) {
        assert_int_equal(a->chunks[i].data.size, b->chunks[i].data.size);
        assert_memory_equal(a->chunks[i].data.data, b->chunks[i].data.data, a->chunks[i].data.size);
        assert_memory_equal(a->chunks[i].content, b->chunks[i].content, SR_IMAGE_HASH_BYTES);
    }
}

static struct sr_image_writer *writer_open_staging(struct fixture *fixture, size_t staged)
{
    struct sr_image_writer_options options = {.dir = fixture->dir,
                                              .keyring = fixture->keyring,
                                              .cluster_id = FIXTURE_CLUSTER,
                                              .member_id = FIXTURE_MEMBER,
                                              .staged_entries_max = staged};
    struct sr_image_writer *writer = NULL;
    struct sr_err err = {0};
    fixture_ok(sr_image_writer_open(&options, &writer, &err), &err);
    return writer;
}

static struct sr_image_writer *writer_open(struct fixture *fixture)
{
    return writer_open_staging(fixture, 20);
}

static void put_from(struct sr_image_writer *writer, const struct stream *stream, size_t first)
{
    struct sr_err err = {0};
    for (size_t i = first; i < stream->count; i++) {
        fixture_ok(sr_image_writer_put(writer, &stream->chunks[i], &err), &err);
    }
}

static void finish(struct sr_image_writer *writer)
{
    struct sr_err err = {0};
    fixture_ok(sr_image_writer_finish(writer, &err), &err);
    sr_image_writer_close(writer);
}

static void put_all(struct fixture *fixture, const struct stream *stream, size_t staged)
{
    struct sr_image_writer *writer = writer_open_staging(fixture, staged);
    put_from(writer, stream, 0);
    finish(writer);
}

/* A node to stage on, with keys of its own. */
static void target_init(struct fixture *fixture)
{
    fixture_init(fixture);
}

static void check_same_point(struct fixture *a, struct fixture *b)
{
    struct sr_store_point in_a;
    struct sr_store_point in_b;
    sr_store_point(a->store, &in_a);
    sr_store_point(b->store, &in_b);
    assert_int_equal(in_a.index, in_b.index);
    assert_int_equal(in_a.term, in_b.term);
    assert_int_equal(in_a.revision, in_b.revision);
    assert_int_equal(in_a.compact_revision, in_b.compact_revision);
    assert_int_equal(in_a.configuration_index, in_b.configuration_index);
    assert_int_equal(in_a.configuration.size, in_b.configuration.size);
    assert_memory_equal(in_a.configuration.data, in_b.configuration.data, in_a.configuration.size);
    assert_memory_equal(in_a.state_hash, in_b.state_hash, sizeof(in_a.state_hash));
    assert_int_equal(sr_store_cluster_epoch(a->store), sr_store_cluster_epoch(b->store));
    sr_buf_close(&in_a.configuration);
    sr_buf_close(&in_b.configuration);
}

/* What a reader at @revision sees. */
static struct sr_buf dump(struct fixture *fixture, int64_t revision, enum sr_api_error *ret_error)
{
    struct sr_buf body = {0};
    struct sr_view *view = NULL;
    struct sr_err err = {0};
    Etcdserverpb__RangeRequest *request = range_request("a", "");
    request->range_end = no_end();
    request->revision = revision;
    struct sr_range *range = sr_range_new(request);
    fixture_ok(sr_view_open(fixture->store, &view, &err), &err);
    int rc = sr_range_step(range, view, 1000000, ret_error, &err);
    if (rc == SR_OK) {
        *ret_error = SR_API_NONE;
        sr_range_pack(range, &body);
    } else {
        assert_int_equal(rc, SR_INVALID);
    }
    sr_range_free(range);
    sr_view_close(view);
    return body;
}

static void check_same_content(struct fixture *a, struct fixture *b)
{
    assert_int_equal(sr_store_revision(a->store), sr_store_revision(b->store));
    for (int64_t revision = 1; revision <= sr_store_revision(a->store); revision += 7) {
        enum sr_api_error error_a = SR_API_NONE;
        enum sr_api_error error_b = SR_API_NONE;
        struct sr_buf in_a = dump(a, revision, &error_a);
        struct sr_buf in_b = dump(b, revision, &error_b);
        assert_int_equal(error_a, error_b);
        assert_int_equal(in_a.size, in_b.size);
        if (in_a.size > 0) {
            assert_memory_equal(in_a.data, in_b.data, in_a.size);
        }
        sr_buf_close(&in_a);
        sr_buf_close(&in_b);
    }
}

static Strongroom__Command *put_large(uint64_t number, size_t size)
{
    char key[32];
    (void)snprintf(key, sizeof(key), "large-%llu", (unsigned long long)number);
    char *value = commands_alloc(size + 1);
    memset(value, 'a' + (int)(number % 26), size);
    return put_text(key, value);
}

static void configure(struct fixture *fixture)
{
    struct sr_err err = {0};
    uint64_t index = sr_store_applied_index(fixture->store) + 1;
    fixture_ok(sr_store_apply_configuration(fixture->store, index, COMMANDS_TERM,
                                            (const uint8_t *)"who votes", 9, &err),
               &err);
}

/* Random commands, some with ids, some large, and compactions. */
static void fill(struct fixture *fixture, uint64_t seed, int entries)
{
    configure(fixture);
    for (int i = 0; i < entries; i++) {
        Strongroom__Command *command = random_command(&seed, 1 + i);
        if (i % 3 == 0) {
            command = with_id(command, (uint64_t)i + 1);
        }
        (void)apply(fixture, command);
        if (i % 4 == 0) {
            (void)apply(fixture, put_large((uint64_t)i, i % 100 == 0 ? 1400000 : 40000));
        }
        if (i % 150 == 149) {
            (void)apply(fixture, compact(sr_store_revision(fixture->store) - 40));
        }
        if (i % 40 == 0) {
            (void)sr_store_freeze(fixture->store, true);
            struct sr_err err = {0};
            fixture_ok(sr_store_flush(fixture->store, &err), &err);
        }
        commands_reset();
    }
}

static void a_state_is_the_same_on_the_other_side(void **state)
{
    struct fixture *source = *state;
    struct fixture target;
    fill(source, 1, 400);
    fixture_flush(source);
    struct stream *stream = stream_of(source);
    assert_true(stream->count > 5);
    target_init(&target);
    struct sr_image_writer *writer = writer_open(&target);
    put_from(writer, stream, 0);
    finish(writer);
    fixture_open(&target);
    check_same_point(source, &target);
    check_same_content(source, &target);
    /* Both go on alike: what is remembered is, too. */
    assert_int_equal(sr_requests_count(source->store), sr_requests_count(target.store));
    uint64_t seed = 1;
    Strongroom__Command *again = random_command(&seed, 1); /* the first one of fill */
    int64_t revision = sr_store_revision(source->store);
    const struct sr_outcome *first = apply(source, with_id(again, 1));
    enum sr_api_error error = first->error;
    const struct sr_outcome *second = apply(&target, with_id(again, 1));
    assert_int_equal(second->error, error);
    assert_int_equal(sr_store_revision(source->store), revision);
    assert_int_equal(sr_store_revision(target.store), revision);
    fill(source, 9, 60);
    fill(&target, 9, 60);
    check_same_point(source, &target);
    fixture_settle(&target);
    fixture_settle(source);
    check_same_content(source, &target);
    fixture_close(&target);
    stream_free(stream);
}

static void all_nodes_at_one_point_make_the_same_image(void **state)
{
    struct fixture *calm = *state;
    struct fixture busy;
    fixture_init(&busy);
    busy.options.memtable_entries_max = 16;
    busy.options.unindexed_entries_max = 24;
    fixture_open(&busy);
    for (uint64_t seed = 1; seed < 5; seed++) {
        fill(calm, seed, 160);
        fill(&busy, seed, 160);
        fixture_flush(calm);   /* whose compaction has its work before it */
        fixture_settle(&busy); /* whose is done */
        struct stream *a = stream_of(calm);
        struct stream *b = stream_of(&busy);
        check_same_stream(a, b);
        stream_free(a);
        stream_free(b);
    }
    fixture_close(&busy);
}

static void the_point_stays_while_the_store_goes_on(void **state)
{
    struct fixture *source = *state;
    struct sr_image_reader *reader = NULL;
    struct sr_image_chunk chunk;
    struct sr_err err = {0};
    fill(source, 3, 300);
    fixture_flush(source);
    struct stream *before = stream_of(source);
    struct stream *during = sr_zalloc(sizeof(*during));
    fixture_ok(sr_image_reader_open(source->store, &reader, &err), &err);
    fixture_ok(sr_image_reader_next(reader, &chunk, &err), &err);
    fill(source, 4, 300); /* deletes, compacts */
    (void)apply(source, compact(sr_store_revision(source->store)));
    fixture_flush(source);
    assert_false(sr_store_compaction_pending(source->store)); /* nobody need call flush for it */
    struct sr_image_position start = {0};
    fixture_ok(sr_image_reader_seek(reader, &start, &err), &err);
    stream_read(during, reader);
    check_same_stream(before, during);
    sr_image_reader_close(reader);
    /* Now compaction does what it could not. */
    int64_t keys = sr_gauge_read(&sr_store_metrics(source->store)->keys);
    (void)apply(source, put_text("k", "v"));
    fixture_settle(source);
    assert_true(sr_gauge_read(&sr_store_metrics(source->store)->keys) < keys);
    stream_free(before);
    stream_free(during);
}

static void a_reader_does_not_hold_for_ever(void **state)
{
    struct fixture *source = *state;
    struct sr_image_reader *reader = NULL;
    struct sr_image_chunk chunk;
    struct sr_err err = {0};
    fill(source, 5, 200);
    fixture_flush(source);
    fixture_ok(sr_image_reader_open(source->store, &reader, &err), &err);
    fixture_ok(sr_image_reader_next(reader, &chunk, &err), &err);
    source->store->holds->since_ns -= ((uint64_t)SR_IMAGE_HOLD_MS_MAX + 1) * 1000000u;
    (void)apply(source, compact(sr_store_revision(source->store)));
    fixture_settle(source);
    assert_int_equal(sr_image_reader_next(reader, &chunk, &err), SR_REFUSED);
    assert_int_equal(sr_image_reader_next(reader, &chunk, &err), SR_REFUSED);
    sr_image_reader_close(reader);
    assert_int_equal(sr_store_failure(source->store, &err), SR_OK);
    struct stream *stream = stream_of(source);
    stream_free(stream);
}

/* A position comes from another node: one that cannot be is refused, and harms nothing. */
static void a_position_that_is_nowhere_is_refused(void **state)
{
    struct fixture *source = *state;
    struct sr_image_reader *reader = NULL;
    struct sr_image_info info;
    struct sr_err err = {0};
    fill(source, 12, 200);
    fixture_flush(source);
    assert_true(sr_requests_count(source->store) > 2);
    fixture_ok(sr_image_reader_open(source->store, &reader, &err), &err);
    sr_image_reader_info(reader, &info);
    const uint64_t wrong[] = {1, sr_requests_count(source->store), UINT64_MAX - 1, UINT64_MAX};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct sr_image_position position = {.chunk = 1, .request = wrong[i]};
        memcpy(position.id, info.id, sizeof(position.id));
        assert_int_equal(sr_image_reader_seek(reader, &position, &err), SR_NOT_FOUND);
        position.request = 0;
        position.requests = wrong[i];
        assert_int_equal(sr_image_reader_seek(reader, &position, &err), SR_NOT_FOUND);
    }
    struct stream *stream = sr_zalloc(sizeof(*stream));
    stream_read(stream, reader);
    sr_image_reader_close(reader);
    struct stream *again = stream_of(source);
    check_same_stream(stream, again);
    stream_free(stream);
    stream_free(again);
    assert_int_equal(sr_store_failure(source->store, &err), SR_OK);
}

static void readers_are_few(void **state)
{
    struct fixture *source = *state;
    struct sr_image_reader *readers[SR_IMAGE_READERS_MAX];
    struct sr_image_reader *more = NULL;
    struct sr_err err = {0};
    assert_int_equal(sr_image_reader_open(source->store, &more, &err), SR_NOT_FOUND);
    fill(source, 6, 2);
    fixture_flush(source);
    for (int i = 0; i < SR_IMAGE_READERS_MAX; i++) {
        fixture_ok(sr_image_reader_open(source->store, &readers[i], &err), &err);
    }
    assert_int_equal(sr_image_reader_open(source->store, &more, &err), SR_LIMIT);
    for (int i = 0; i < SR_IMAGE_READERS_MAX; i++) {
        sr_image_reader_close(readers[i]);
    }
    fixture_ok(sr_image_reader_open(source->store, &more, &err), &err);
    sr_image_reader_close(more);
}

/* The last chunks come while the index takes in those before them. */
static void an_image_ends_while_its_index_follows(void **state)
{
    static char value[60001];
    struct fixture *source = *state;
    struct fixture target;
    memset(value, 'v', sizeof(value) - 1);
    for (int i = 0; i < 150; i++) {
        char key[16];
        snprintf(key, sizeof(key), "key-%d", i);
        (void)apply(source, put_text(key, value));
        commands_reset();
    }
    fixture_flush(source);
    struct stream *stream = stream_of(source);
    for (size_t staged = 2; staged < 40; staged += 18) {
        target_init(&target);
        put_all(&target, stream, staged);
        fixture_open(&target);
        check_same_point(source, &target);
        check_same_content(source, &target);
        fixture_close(&target);
    }
    stream_free(stream);
}

/* After any number of chunks the receiver is gone, and another one asks for the rest. */
static void a_crash_costs_little(void **state)
{
    struct fixture *source = *state;
    struct fixture target;
    struct sr_err err = {0};
    fill(source, 7, 600);
    fixture_flush(source);
    struct stream *stream = stream_of(source);
    target_init(&target);
    struct sr_image_position position;
    uint64_t seed = 11;
    uint64_t furthest = 0;
    size_t resumed = 0;
    for (;;) {
        struct sr_image_writer *writer = writer_open(&target);
        sr_image_writer_position(writer, &position);
        assert_true(position.chunk >= furthest);
        furthest = position.chunk;
        resumed += position.chunk > 0 && position.chunk < stream->count;
        struct sr_image_reader *reader = NULL;
        fixture_ok(sr_image_reader_open(source->store, &reader, &err), &err);
        fixture_ok(sr_image_reader_seek(reader, &position, &err), &err);
        struct sr_image_chunk chunk;
        uint64_t left = 1 + below(&seed, 6);
        int rc = SR_OK;
        while (rc == SR_OK && left-- > 0) {
            rc = sr_image_reader_next(reader, &chunk, &err);
            if (rc == SR_OK) {
                assert_memory_equal(chunk.content, stream->chunks[chunk.number].content,
                                    SR_IMAGE_HASH_BYTES);
                fixture_ok(sr_image_writer_put(writer, &chunk, &err), &err);
            }
        }
        sr_image_reader_close(reader);
        if (rc == SR_NOT_FOUND) {
            finish(writer);
            break;
        }
        assert_int_equal(sr_image_writer_finish(writer, &err), chunk.last ? SR_OK : SR_AGAIN);
        sr_image_writer_close(writer);
    }
    assert_true(resumed > 2);
    fixture_open(&target);
    check_same_point(source, &target);
    check_same_content(source, &target);
    fixture_close(&target);
    stream_free(stream);
}

static void refuses(struct fixture *target, const struct stream *stream, size_t after,
                    const struct sr_image_chunk *chunk)
{
    struct sr_image_writer *writer = writer_open(target);
    struct sr_image_position position;
    struct sr_err err = {0};
    sr_image_writer_position(writer, &position);
    for (size_t i = position.chunk; i < after; i++) {
        fixture_ok(sr_image_writer_put(writer, &stream->chunks[i], &err), &err);
    }
    assert_int_equal(sr_image_writer_put(writer, chunk, &err), SR_CORRUPT);
    /* It does not recover by itself, whatever comes next. */
    assert_int_equal(sr_image_writer_put(writer, &stream->chunks[after], &err), SR_CLOSED);
    assert_int_equal(sr_image_writer_finish(writer, &err), SR_CLOSED);
    sr_image_writer_close(writer);
}

static void what_is_not_the_next_chunk_unharmed_is_refused(void **state)
{
    struct fixture *source = *state;
    struct fixture target;
    uint64_t seed = 21;
    fill(source, 8, 200);
    fixture_flush(source);
    struct stream *stream = stream_of(source);
    fill(source, 9, 10);
    fixture_flush(source);
    struct stream *other = stream_of(source);
    target_init(&target);
    for (size_t i = 0; i < stream->count; i++) {
        struct sr_image_chunk chunk = stream->chunks[i];
        uint8_t *data = (uint8_t *)(uintptr_t)chunk.data.data;
        for (int round = 0; round < 3; round++) { /* a bit flips */
            size_t at = below(&seed, chunk.data.size);
            uint8_t bit = (uint8_t)(1u << below(&seed, 8));
            data[at] ^= bit;
            refuses(&target, stream, i, &chunk);
            data[at] ^= bit;
        }
        chunk.content[below(&seed, SR_IMAGE_HASH_BYTES)] ^= 1;
        refuses(&target, stream, i, &chunk);
        chunk = stream->chunks[i];
        chunk.data.size--; /* cut */
        refuses(&target, stream, i, &chunk);
        chunk.data.size = 0;
        refuses(&target, stream, i, &chunk);
        if (i > 0) { /* repeated, also under the next number; of another image */
            refuses(&target, stream, i, &stream->chunks[i - 1]);
            chunk = stream->chunks[i - 1];
            chunk.number = i;
            refuses(&target, stream, i, &chunk);
            refuses(&target, stream, i, &other->chunks[i]);
        }
        if (i + 1 < stream->count) { /* one is missing, also when the number hides it */
            refuses(&target, stream, i, &stream->chunks[i + 1]);
            chunk = stream->chunks[i + 1];
            chunk.number = i;
            refuses(&target, stream, i, &chunk);
        }
    }
    struct sr_image_writer *writer = writer_open(&target);
    struct sr_image_position position;
    sr_image_writer_position(writer, &position);
    put_from(writer, stream, position.chunk);
    finish(writer); /* nothing of that did harm */
    fixture_close(&target);
    stream_free(stream);
    stream_free(other);
}

/* As a sender with a defect would make them, its checksums included. */
static void what_a_store_would_abort_on_is_refused(void **state)
{
    struct fixture *source = *state;
    struct fixture target;
    struct sr_err err = {0};
    struct sr_image_version version = {
        .version = {.mod_revision = 2, .create_revision = 2, .version = 1, .value_size = 1},
        .key = sr_bytes_of("a"),
        .value = sr_bytes_of("1")};
    struct sr_buf data = {0};
    fill(source, 23, 20);
    fixture_flush(source);
    struct stream *stream = stream_of(source);
    struct sr_image_header header;
    fixture_ok(sr_image_header_unpack(stream->chunks[0].data, &header, &err), &err);
    header.request_count = 0;
    header.record = (struct sr_bytes){0};
    struct sr_image_chunk first = {.number = 0};
    sr_image_header_pack(&header, &data);
    first.data = (struct sr_bytes){data.data, data.size};
    fixture_ok(sr_image_content_add(first.content, 0, first.data, &err), &err);
    target_init(&target);
    struct sr_image_writer *writer = writer_open(&target);
    fixture_ok(sr_image_writer_put(writer, &first, &err), &err);
    sr_buf_clear(&data);
    sr_buf_append_u8(&data, SR_IMAGE_VERSIONS);
    sr_image_version_pack(&version, &data);
    version.version.sub = 1; /* one revision changes a name once */
    sr_image_version_pack(&version, &data);
    struct sr_image_chunk second = {.number = 1, .data = {data.data, data.size}};
    memcpy(second.content, first.content, sizeof(second.content));
    fixture_ok(sr_image_content_add(second.content, 1, second.data, &err), &err);
    assert_int_equal(sr_image_writer_put(writer, &second, &err), SR_CORRUPT);
    sr_image_writer_close(writer);
    sr_buf_close(&data);
    fixture_close(&target);
    stream_free(stream);
}

static void an_image_of_another_cluster_is_refused(void **state)
{
    struct fixture *source = *state;
    struct fixture target;
    struct sr_err err = {0};
    struct sr_image_writer *writer = NULL;
    fill(source, 10, 20);
    fixture_flush(source);
    struct stream *stream = stream_of(source);
    target_init(&target);
    struct sr_image_writer_options options = {.dir = target.dir,
                                              .keyring = target.keyring,
                                              .cluster_id = FIXTURE_CLUSTER + 1,
                                              .member_id = FIXTURE_MEMBER};
    fixture_ok(sr_image_writer_open(&options, &writer, &err), &err);
    assert_int_equal(sr_image_writer_put(writer, &stream->chunks[0], &err), SR_REFUSED);
    sr_image_writer_close(writer);
    fixture_close(&target);
    stream_free(stream);
}

static void a_state_of_its_own_is_not_overwritten(void **state)
{
    struct fixture *source = *state;
    struct sr_err err = {0};
    struct sr_image_writer *writer = NULL;
    fill(source, 10, 20);
    fixture_flush(source);
    sr_store_close(source->store);
    source->store = NULL;
    struct sr_image_writer_options options = {.dir = source->dir,
                                              .keyring = source->keyring,
                                              .cluster_id = FIXTURE_CLUSTER,
                                              .member_id = FIXTURE_MEMBER};
    assert_int_equal(sr_image_writer_open(&options, &writer, &err), SR_EXISTS);
}

/* Damage at rest, between the last put and the verification, is found. */
static void what_is_staged_is_read_back(void **state)
{
    struct fixture *source = *state;
    struct fixture target;
    struct sr_err err = {0};
    fill(source, 12, 60);
    fixture_flush(source);
    struct stream *stream = stream_of(source);
    target_init(&target);
    struct sr_image_writer *writer = writer_open(&target);
    put_from(writer, stream, 0);
    finish(writer);
    fixture_open(&target);
    const struct sr_image_chunk *last = &stream->chunks[stream->count - 1];
    fixture_ok(sr_image_verify(target.store, last->content, &err), &err);
    (void)apply(&target, put_text("k", "v"));
    fixture_flush(&target);
    assert_int_equal(sr_image_verify(target.store, last->content, &err), SR_CORRUPT);
    fixture_close(&target);
    stream_free(stream);
}

static void a_disk_without_room_is_waited_for(void **state)
{
    struct fixture *source = *state;
    struct fixture target;
    struct sr_err err = {0};
    struct sr_image_writer *writer = NULL;
    fill(source, 13, 400);
    fixture_flush(source);
    struct stream *stream = stream_of(source);
    target_init(&target);
    struct sr_image_writer_options options = {.dir = target.dir,
                                              .keyring = target.keyring,
                                              .cluster_id = FIXTURE_CLUSTER,
                                              .member_id = FIXTURE_MEMBER,
                                              .map_bytes = 600 * 1024,
                                              .staged_entries_max = 20};
    fixture_ok(sr_image_writer_open(&options, &writer, &err), &err);
    size_t i = 0;
    int rc = SR_OK;
    while (rc == SR_OK && i < stream->count) {
        rc = sr_image_writer_put(writer, &stream->chunks[i], &err);
        i += rc == SR_OK;
    }
    if (rc == SR_OK) {
        rc = sr_image_writer_finish(writer, &err);
    }
    assert_int_equal(rc, SR_NO_SPACE);
    sr_image_writer_close(writer);
    /* The next one has room and goes on. */
    writer = writer_open(&target);
    struct sr_image_position position;
    sr_image_writer_position(writer, &position);
    put_from(writer, stream, position.chunk);
    finish(writer);
    fixture_open(&target);
    check_same_point(source, &target);
    fixture_close(&target);
    stream_free(stream);
}

static void a_new_cluster_takes_over_an_old_state(void **state)
{
    struct fixture *source = *state;
    struct fixture target;
    struct sr_err err = {0};
    struct sr_image_writer *writer = NULL;
    fill(source, 14, 300);
    fixture_flush(source);
    struct stream *stream = stream_of(source);
    target_init(&target);
    struct sr_image_writer_options options = {.dir = target.dir,
                                              .keyring = target.keyring,
                                              .cluster_id = FIXTURE_CLUSTER + 1,
                                              .member_id = FIXTURE_MEMBER + 1};
    struct sr_image_rebirth rebirth = {.from_cluster_id = FIXTURE_CLUSTER,
                                       .configuration = sr_bytes_of("one alone")};
    fixture_ok(sr_image_writer_open_rebirth(&options, &rebirth, &writer, &err), &err);
    put_from(writer, stream, 0);
    finish(writer);
    target.options.cluster_id++;
    target.options.member_id++;
    fixture_open(&target);
    struct sr_store_point point;
    sr_store_point(target.store, &point);
    assert_int_equal(point.index, sr_store_applied_index(source->store));
    assert_int_equal(point.configuration_index, point.index);
    assert_memory_equal(point.configuration.data, "one alone", 9);
    sr_buf_close(&point.configuration);
    check_same_content(source, &target);
    fixture_close(&target);
    stream_free(stream);
}

/* ---- Beside a store that works ---- */

struct work {
    struct fixture *fixture;
    atomic_bool stop;
};

/* Applies, flushes and compacts, all that the two threads of a node do. */
static void *work_on(void *arg)
{
    struct work *work = arg;
    struct sr_err err = {0};
    uint64_t seed = 77;
    for (int i = 0; !atomic_load(&work->stop); i++) {
        (void)apply(work->fixture, random_command(&seed, 1 + i));
        if (i % 30 == 0) {
            (void)apply(work->fixture, compact(sr_store_revision(work->fixture->store) - 5));
        }
        if (i % 10 == 0) {
            (void)sr_store_freeze(work->fixture->store, true);
            fixture_ok(sr_store_flush(work->fixture->store, &err), &err);
        }
        commands_reset();
    }
    return NULL;
}

/* The revisions that it is about must be whole, whatever is removed and added meanwhile. */
static void images_are_whole_while_the_store_works(void **state)
{
    struct fixture *source = *state;
    struct work work = {.fixture = source};
    pthread_t thread;
    fill(source, 15, 200);
    fixture_flush(source);
    assert_int_equal(pthread_create(&thread, NULL, work_on, &work), 0);
    for (int round = 0; round < 8; round++) {
        struct fixture target;
        struct stream *stream = stream_of(source);
        target_init(&target);
        struct sr_image_writer *writer = writer_open(&target);
        put_from(writer, stream, 0);
        finish(writer);
        fixture_close(&target);
        stream_free(stream);
    }
    atomic_store(&work.stop, true);
    assert_int_equal(pthread_join(thread, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        commands_test(a_state_is_the_same_on_the_other_side),
        commands_test(all_nodes_at_one_point_make_the_same_image),
        commands_test(the_point_stays_while_the_store_goes_on),
        commands_test(a_reader_does_not_hold_for_ever),
        commands_test(a_position_that_is_nowhere_is_refused),
        commands_test(readers_are_few),
        commands_test(an_image_ends_while_its_index_follows),
        commands_test(a_crash_costs_little),
        commands_test(what_is_not_the_next_chunk_unharmed_is_refused),
        commands_test(what_a_store_would_abort_on_is_refused),
        commands_test(an_image_of_another_cluster_is_refused),
        commands_test(a_state_of_its_own_is_not_overwritten),
        commands_test(what_is_staged_is_read_back),
        commands_test(a_disk_without_room_is_waited_for),
        commands_test(a_new_cluster_takes_over_an_old_state),
        commands_test(images_are_whole_while_the_store_works),
    };
#ifdef __SANITIZE_THREAD__
    cmocka_set_test_filter("images_are_whole_while_the_store_works"); /* the one with threads */
#endif
    return cmocka_run_group_tests(tests, NULL, NULL);
}
