/* SPDX-License-Identifier: Apache-2.0
 *
 * Archives as bytes: what was written is read again, and whatever is done to one on its way is
 * found.
 */
#include <openssl/evp.h>

#include "storage/archive_digest.h"
#include "storage/image_format.h"
#include "tests/unit/storage/archive_fixture.h"
#include "tests/unit/storage/offsite_commands.h"

#define PIECE_BYTES (SR_ARCHIVE_PREFIX_BYTES + SR_ARCHIVE_PIECE_BYTES + SR_SEAL_TAG_BYTES)

/* Where the pieces begin. */
static size_t header_size(const struct sr_buf *archive)
{
    return SR_ARCHIVE_HEADER_BYTES + sr_get_u32(archive->data + SR_ARCHIVE_CONTEXT_BYTES);
}

static void is_refused(const struct sr_buf *archive)
{
    struct sr_archive_info info;
    struct sr_err err = {0};
    int rc = archive_verify(archive_of(archive), &info, &err);

    assert_true(rc == SR_CORRUPT || rc == SR_FORMAT || rc == SR_KEY);
    assert_true(strlen(err.text) > 0);
}

static void is_refused_as(const struct sr_buf *archive, const char *text)
{
    struct sr_archive_info info;
    struct sr_err err = {0};

    assert_int_equal(archive_verify(archive_of(archive), &info, &err), SR_CORRUPT);
    assert_string_equal(err.text, text);
}

static struct sr_buf copy_of(const struct sr_buf *archive)
{
    struct sr_buf copy = {0};

    sr_buf_append(&copy, archive->data, archive->size);
    return copy;
}

/* ---- Whole ones ---- */

static void a_full_archive_is_the_image(void **state)
{
    struct fixture *fixture = *state;
    struct sr_archive_info written;
    struct sr_archive_info read = {0};
    struct sr_image_reader *image = NULL;
    struct sr_archive_reader *reader = NULL;
    struct sr_image_chunk wanted = {0};
    struct sr_image_chunk chunk = {0};
    struct sr_err err = {0};
    archive_fill(fixture, 1, 300);
    struct sr_buf archive = archive_full(fixture, &written);
    struct archive_bytes from = {.bytes = archive_of(&archive), .most = 7};
    struct sr_archive_source source = {.get = archive_get, .arg = &from};
    fixture_ok(sr_image_reader_open_bare(fixture->store, &image, &err), &err);
    fixture_ok(sr_archive_reader_open(&source, &archive_keys, &reader, &err), &err);
    while (!wanted.last) {
        fixture_ok(sr_image_reader_next(image, &wanted, &err), &err);
        fixture_ok(sr_archive_reader_next(reader, &chunk, &err), &err);
        assert_int_equal(chunk.number, wanted.number);
        assert_int_equal(chunk.last, wanted.last);
        assert_true(sr_bytes_equal(chunk.data, wanted.data));
        assert_memory_equal(chunk.content, wanted.content, sizeof(chunk.content));
    }
    assert_int_equal(sr_archive_reader_next(reader, &chunk, &err), SR_NOT_FOUND);
    sr_archive_reader_info(reader, &read);
    assert_int_equal(read.chunks, written.chunks);
    assert_int_equal(read.versions, written.versions);
    assert_int_equal(read.requests, written.requests);
    assert_true(read.requests > 0);
    assert_int_equal(read.bytes, archive.size);
    assert_int_equal(read.plain_bytes, written.plain_bytes);
    assert_memory_equal(read.content, wanted.content, sizeof(read.content));
    int64_t revision;
    uint64_t index;
    uint8_t hash[32];
    sr_store_state_hash(fixture->store, hash, &revision, &index);
    assert_memory_equal(read.state_hash, hash, sizeof(hash));
    assert_int_equal(read.header.kind, SR_ARCHIVE_FULL);
    assert_int_equal(read.header.cluster_id, FIXTURE_CLUSTER);
    assert_int_equal(read.header.revision, revision);
    assert_int_equal(read.header.index, index);
    assert_int_equal(read.header.term, COMMANDS_TERM);
    sr_archive_reader_close(reader);
    sr_image_reader_close(image);
    sr_buf_close(&archive);
}

static bool has_secret(struct sr_bytes data)
{
    static const uint8_t secret[SR_ARCHIVE_SECRET_BYTES] = {[0 ... SR_ARCHIVE_SECRET_BYTES - 1] =
                                                                0x5a};
    return memmem(data.data, data.size, secret, sizeof(secret)) != NULL;
}

/* Whoever opens one archive of a cluster must not be able to sign in its name. */
static void the_archive_secret_stays_at_home(void **state)
{
    struct fixture *fixture = *state;
    struct sr_archive_info info;
    struct sr_archive_reader *reader = NULL;
    struct sr_image_reader *image = NULL;
    struct sr_image_chunk chunk = {0};
    struct sr_err err = {0};
    (void)applied(fixture, init_offsite(0x5a));
    (void)apply(fixture, put_text("k", "v"));
    fixture_flush(fixture);
    fixture_ok(sr_image_reader_open(fixture->store, &image, &err), &err);
    fixture_ok(sr_image_reader_next(image, &chunk, &err), &err);
    assert_true(has_secret(chunk.data)); /* between members */
    sr_image_reader_close(image);
    struct sr_buf archives[] = {archive_full(fixture, &info),
                                archive_changes(fixture, 1, 0, NULL, 0, 5, &info)};
    for (size_t i = 0; i < 2; i++) {
        struct archive_bytes from = {.bytes = archive_of(&archives[i])};
        struct sr_archive_source source = {.get = archive_get, .arg = &from};
        fixture_ok(sr_archive_reader_open(&source, &archive_keys, &reader, &err), &err);
        for (chunk.last = false; !chunk.last;) {
            fixture_ok(sr_archive_reader_next(reader, &chunk, &err), &err);
            assert_false(has_secret(chunk.data));
        }
        sr_archive_reader_close(reader);
        sr_buf_close(&archives[i]);
    }
}

static void a_header_is_seen_without_keys(void **state)
{
    struct fixture *fixture = *state;
    struct sr_archive_info info;
    struct sr_archive_header header = {0};
    struct sr_err err = {0};
    archive_fill(fixture, 2, 20);
    struct sr_buf archive = archive_changes(fixture, 3, 0, NULL, 0, 5, &info);
    fixture_ok(sr_archive_peek(archive.data, archive.size, &header, &err), &err);
    assert_int_equal(header.kind, SR_ARCHIVE_CHANGES);
    assert_int_equal(header.since, 3);
    assert_int_equal(header.revision, sr_store_revision(fixture->store));
    assert_memory_equal(header.id, info.header.id, sizeof(header.id));
    assert_int_equal(sr_archive_peek(archive.data, SR_ARCHIVE_HEADER_BYTES - 1, &header, &err),
                     SR_CORRUPT);
    archive.data[8 + 3] = 2; /* its format */
    assert_int_equal(sr_archive_peek(archive.data, archive.size, &header, &err), SR_FORMAT);
    archive.data[8 + 3] = 1;
    archive.data[8 + 4 + 4] = 1; /* an incompatible feature */
    assert_int_equal(sr_archive_peek(archive.data, archive.size, &header, &err), SR_FORMAT);
    assert_string_equal(err.text, "an archive of format 1, features 0x1000000");
    sr_buf_close(&archive);
}

/* Two of the same state have nothing in common but what is meant to be read. */
static void nothing_is_sealed_twice_alike(void **state)
{
    struct fixture *fixture = *state;
    struct sr_archive_info info;
    archive_fill(fixture, 3, 20);
    struct sr_buf a = archive_full(fixture, &info);
    struct sr_buf b = archive_full(fixture, &info);
    size_t same = 0;
    assert_int_equal(a.size, b.size);
    for (size_t i = header_size(&a); i < a.size; i++) {
        same += a.data[i] == b.data[i];
    }
    assert_true(same < (a.size - header_size(&a)) / 64 + 16);
    sr_buf_close(&a);
    sr_buf_close(&b);
}

static int fail_later(void *arg, const void *data, size_t size, struct sr_err *err)
{
    size_t *left = arg;

    (void)data;
    if (*left < size) {
        return sr_err_set(err, SR_NETWORK, "the target is gone");
    }
    *left -= size;
    return SR_OK;
}

static void a_sink_that_fails_ends_it(void **state)
{
    struct fixture *fixture = *state;
    struct sr_archive_options options = {.keys = &archive_keys};
    struct sr_archive_info info;
    struct sr_err err = {0};
    archive_fill(fixture, 4, 120);
    struct sr_buf archive = archive_full(fixture, &info);
    for (size_t left = 0; left < archive.size; left += 100 + archive.size / 40) {
        size_t room = left;
        struct sr_archive_sink sink = {.put = fail_later, .arg = &room};
        assert_int_equal(sr_archive_write_full(fixture->store, &options, &sink, &info, &err),
                         SR_NETWORK);
        assert_string_equal(err.text, "write an archive: the target is gone");
    }
    sr_buf_close(&archive); /* and nothing holds the store: */
    archive = archive_full(fixture, &info);
    sr_buf_close(&archive);
}

static void digests_are_of_all_and_of_groups(void **state)
{
    static uint8_t data[SR_ARCHIVE_GROUP_BYTES * 2 + 12345];
    struct sr_buf passed = {0};
    struct sr_archive_sink next = {.put = archive_put, .arg = &passed};
    struct sr_archive_digest *digest = sr_archive_digest_new(&next);
    const struct sr_archive_sink *sink = sr_archive_digest_sink(digest);
    struct sr_archive_digests digests = {0};
    struct sr_err err = {0};
    uint8_t expected[EVP_MAX_MD_SIZE];
    (void)state;
    for (size_t i = 0; i < sizeof(data); i++) {
        data[i] = (uint8_t)(i * 7 + (i >> 9));
    }
    for (size_t at = 0, size = 1; at < sizeof(data); at += size, size = size * 3 + 1) {
        size = size < sizeof(data) - at ? size : sizeof(data) - at;
        fixture_ok(sink->put(sink->arg, data + at, size, &err), &err);
    }
    fixture_ok(sr_archive_digest_end(digest, &digests, &err), &err);
    assert_int_equal(digests.bytes, sizeof(data));
    assert_int_equal(passed.size, sizeof(data));
    assert_memory_equal(passed.data, data, sizeof(data));
    assert_int_equal(EVP_Digest(data, sizeof(data), expected, NULL, EVP_sha256(), NULL), 1);
    assert_memory_equal(digests.sha256, expected, SR_ARCHIVE_DIGEST_BYTES);
    assert_int_equal(digests.group_count, 3);
    for (size_t i = 0; i < 3; i++) {
        size_t size = i < 2 ? SR_ARCHIVE_GROUP_BYTES : 12345;
        assert_int_equal(
            EVP_Digest(data + i * SR_ARCHIVE_GROUP_BYTES, size, expected, NULL, EVP_sha256(), NULL),
            1);
        assert_memory_equal(digests.groups + i * SR_ARCHIVE_DIGEST_BYTES, expected,
                            SR_ARCHIVE_DIGEST_BYTES);
    }
    sr_archive_digest_free(digest);
    sr_buf_close(&passed);
}

/* ---- Harmed ones ---- */

/* 2,000 of each: some bit flips, or it ends early. */
static void sweep(const struct sr_buf *archive, uint64_t seed)
{
    struct sr_buf harmed = copy_of(archive);

    for (unsigned i = 0; i < 1500; i++) { /* first each bit of the header, then anywhere */
        size_t bit = i < 8 * SR_ARCHIVE_HEADER_BYTES ? i : below(&seed, archive->size * 8);
        harmed.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        is_refused(&harmed);
        harmed.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    for (unsigned i = 0; i < 500; i++) { /* all of the last ends, then anywhere */
        harmed.size = i < 100 ? archive->size - 1 - i : below(&seed, archive->size);
        is_refused(&harmed);
    }
    sr_buf_close(&harmed);
}

static void every_flip_and_every_cut_is_refused(void **state)
{
    struct fixture *fixture = *state;
    struct sr_archive_info info;
    struct sr_err err = {0};
    archive_fill(fixture, 5, 45);
    struct sr_buf full = archive_full(fixture, &info);
    struct sr_buf changes = archive_changes(fixture, 4, 0, NULL, 0, 5, &info);
    sweep(&full, 1);
    sweep(&changes, 2);
    fixture_ok(archive_verify(archive_of(&full), &info, &err), &err);
    fixture_ok(archive_verify(archive_of(&changes), &info, &err), &err);
    sr_buf_close(&full);
    sr_buf_close(&changes);
}

/* An archive of at least four pieces. */
static struct sr_buf make_long(struct fixture *fixture, uint64_t seed)
{
    struct sr_archive_info info;

    for (int i = 0; i < 6; i++) {
        (void)apply(fixture, archive_large(&seed, 700000));
        commands_reset();
    }
    fixture_flush(fixture);
    struct sr_buf archive = archive_full(fixture, &info);
    assert_true(archive.size > header_size(&archive) + 3 * PIECE_BYTES);
    return archive;
}

static void harm_around_the_ends_of_pieces_is_refused(void **state)
{
    struct fixture *fixture = *state;
    struct sr_buf archive = make_long(fixture, 6);
    size_t start = header_size(&archive);

    for (size_t piece = 0; piece < 4; piece++) {
        size_t at = start + piece * PIECE_BYTES;
        for (size_t byte = at - 3; byte < at + 6; byte++) {
            archive.data[byte] ^= 0x80;
            is_refused(&archive);
            archive.data[byte] ^= 0x80;
        }
    }
    struct sr_buf cut = copy_of(&archive);
    for (size_t piece = 0; piece < 4; piece++) {
        cut.size = start + piece * PIECE_BYTES;
        is_refused(&cut);
    }
    cut.size = start + 2 * PIECE_BYTES;
    is_refused_as(&cut, "read an archive: piece 2: it is cut");
    sr_buf_close(&cut);
    sr_buf_close(&archive);
}

static void swap(uint8_t *a, uint8_t *b, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        uint8_t byte = a[i];
        a[i] = b[i];
        b[i] = byte;
    }
}

static void pieces_have_their_places(void **state)
{
    struct fixture *fixture = *state;
    struct sr_buf archive = make_long(fixture, 7);
    struct sr_buf other = make_long(fixture, 8);
    size_t start = header_size(&archive);
    uint8_t *pieces = archive.data + start;
    struct sr_archive_info info;
    struct sr_err err = {0};

    swap(pieces, pieces + PIECE_BYTES, PIECE_BYTES); /* reordered */
    is_refused_as(&archive, "read an archive: piece 0: authentication failed");
    swap(pieces, pieces + PIECE_BYTES, PIECE_BYTES);
    swap(pieces + PIECE_BYTES, other.data + start + PIECE_BYTES, PIECE_BYTES); /* of another one */
    is_refused_as(&archive, "read an archive: piece 1: authentication failed");
    is_refused_as(&other, "read an archive: piece 1: authentication failed");
    swap(pieces + PIECE_BYTES, other.data + start + PIECE_BYTES, PIECE_BYTES);
    swap(archive.data, other.data, start); /* all pieces of another one */
    is_refused_as(&archive, "read an archive: piece 0: authentication failed");
    swap(archive.data, other.data, start);
    pieces[PIECE_BYTES] |= 0x80; /* the last one, says who wants to cut it there */
    archive.size = start + 2 * PIECE_BYTES;
    is_refused_as(&archive, "read an archive: piece 1: authentication failed");
    pieces[PIECE_BYTES] &= 0x7f;

    struct sr_buf without = {0}; /* one is missing */
    sr_buf_append(&without, other.data, start + PIECE_BYTES);
    sr_buf_append(&without, other.data + start + 2 * PIECE_BYTES,
                  other.size - start - 2 * PIECE_BYTES);
    is_refused_as(&without, "read an archive: piece 1: authentication failed");
    sr_buf_clear(&without); /* one is there twice */
    sr_buf_append(&without, other.data, start + PIECE_BYTES);
    sr_buf_append(&without, other.data + start, other.size - start);
    is_refused_as(&without, "read an archive: piece 1: authentication failed");
    sr_buf_close(&without);
    fixture_ok(archive_verify(archive_of(&other), &info, &err), &err);
    sr_buf_close(&archive);
    sr_buf_close(&other);
}

static void what_is_joined_is_refused(void **state)
{
    struct fixture *fixture = *state;
    struct sr_archive_info info;
    archive_fill(fixture, 9, 30);
    struct sr_buf a = archive_full(fixture, &info);
    struct sr_buf b = archive_full(fixture, &info);
    struct sr_buf joined = copy_of(&a);
    sr_buf_append(&joined, b.data, b.size);
    is_refused_as(&joined, "read an archive: there is something behind its end");
    joined.size = a.size;
    sr_buf_append(&joined, b.data + header_size(&b), b.size - header_size(&b));
    is_refused_as(&joined, "read an archive: there is something behind its end");
    joined.size = a.size;
    sr_buf_append_u8(&joined, 0);
    is_refused_as(&joined, "read an archive: there is something behind its end");
    sr_buf_close(&joined);
    sr_buf_close(&a);
    sr_buf_close(&b);
}

static void a_foreign_key_does_not_open_it(void **state)
{
    struct fixture *fixture = *state;
    struct sr_archive_info info;
    struct sr_err err = {0};
    archive_fill(fixture, 10, 10);
    struct sr_buf archive = archive_full(fixture, &info);
    archive_kek[0] ^= 1;
    assert_int_equal(archive_verify(archive_of(&archive), &info, &err), SR_KEY);
    archive_kek[0] ^= 1;
    fixture_ok(archive_verify(archive_of(&archive), &info, &err), &err);
    sr_buf_close(&archive);
}

/* ---- Whoever has the keys can still make mistakes ---- */

/* An archive whose one piece is @frame, sealed as it should. */
static struct sr_buf seal_frame(const struct sr_archive_header *header, struct sr_bytes frame)
{
    static const uint8_t salt[SR_SALT_BYTES];
    static const uint8_t dek[SR_KEY_BYTES] = {9};
    struct sr_archive_seal seal = {0};
    struct sr_buf archive = {0};
    struct sr_buf wrapped = {0};
    struct sr_err err = {0};
    sr_archive_header_pack(header, salt, &archive);
    fixture_ok(archive_wrap(archive_kek, dek, archive_of(&archive), &wrapped, &err), &err);
    sr_buf_append_u32(&archive, (uint32_t)wrapped.size);
    sr_buf_append(&archive, wrapped.data, wrapped.size);
    sr_buf_close(&wrapped);
    fixture_ok(sr_archive_seal_open(&seal, dek, archive_of(&archive), &err), &err);
    uint8_t *piece =
        sr_buf_extend(&archive, SR_ARCHIVE_PREFIX_BYTES + frame.size + SR_SEAL_TAG_BYTES);
    memcpy(piece + SR_ARCHIVE_PREFIX_BYTES, frame.data, frame.size);
    fixture_ok(sr_archive_piece_seal(&seal, piece, frame.size, true, &err), &err);
    sr_archive_seal_close(&seal);
    return archive;
}

/* Archive the chunks in @chunks (size u32, bytes) with what ends them. */
static struct sr_buf seal_chunks(const struct sr_archive_header *header, struct sr_bytes chunks)
{
    /* A frame of zstd that is not compressed: magic, descriptor (window of 2 MiB), raw block. */
    const uint8_t start[] = {0x28,
                             0xb5,
                             0x2f,
                             0xfd,
                             0,
                             11 << 3,
                             (uint8_t)(chunks.size << 3 | 1),
                             (uint8_t)(chunks.size >> 5),
                             (uint8_t)(chunks.size >> 13)};
    struct sr_buf frame = {0};
    assert_true(chunks.size < 128 * 1024);
    sr_buf_append(&frame, start, sizeof(start));
    sr_buf_append(&frame, chunks.data, chunks.size);
    struct sr_buf archive = seal_frame(header, archive_of(&frame));
    sr_buf_close(&frame);
    return archive;
}

/* Decoders that the library has for what was there before the standard are out of reach. */
static void another_frame_than_one_of_zstd_is_refused(void **state)
{
    static const struct sr_archive_header header = {
        .kind = SR_ARCHIVE_FULL, .cluster_id = FIXTURE_CLUSTER, .revision = 2, .index = 1};
    static const uint8_t frames[][16] = {{0x27, 0xb5, 0x2f, 0xfd},    /* of zstd 0.7 */
                                         {0x25, 0xb5, 0x2f, 0xfd},    /* of zstd 0.5 */
                                         {0x50, 0x2a, 0x4d, 0x18, 8}, /* to be skipped */
                                         {0}};
    (void)state;
    for (size_t i = 0; i < sizeof(frames) / sizeof(frames[0]); i++) {
        struct sr_buf archive =
            seal_frame(&header, (struct sr_bytes){frames[i], sizeof(frames[i])});
        is_refused_as(&archive, "read an archive: piece 0: it does not begin a frame of zstd");
        sr_buf_close(&archive);
    }
    struct sr_buf archive = seal_frame(&header, (struct sr_bytes){frames[0], 3});
    is_refused_as(&archive, "read an archive: piece 0: it does not begin a frame of zstd");
    sr_buf_close(&archive);
}

#define LIST_MAX 16
struct list {
    struct sr_archive_header header;
    struct sr_buf chunks[LIST_MAX];
    size_t count;
};

static void list_read(struct list *list, const struct sr_buf *archive)
{
    struct archive_bytes from = {.bytes = archive_of(archive)};
    struct sr_archive_source source = {.get = archive_get, .arg = &from};
    struct sr_archive_reader *reader = NULL;
    struct sr_image_chunk chunk = {0};
    struct sr_err err = {0};
    fixture_ok(sr_archive_reader_open(&source, &archive_keys, &reader, &err), &err);
    list->header = *sr_archive_reader_header(reader);
    while (!chunk.last) {
        fixture_ok(sr_archive_reader_next(reader, &chunk, &err), &err);
        assert_true(list->count < LIST_MAX);
        sr_buf_append(&list->chunks[list->count++], chunk.data.data, chunk.data.size);
    }
    sr_archive_reader_close(reader);
}

/* Those chunks that @order names, up to -1. */
static struct sr_buf list_seal(const struct list *list, const int *order)
{
    struct sr_buf plain = {0};
    uint8_t content[SR_IMAGE_HASH_BYTES] = {0};
    struct sr_err err = {0};
    for (uint64_t number = 0; *order >= 0; order++, number++) {
        const struct sr_buf *chunk = &list->chunks[*order];
        sr_buf_append_u32(&plain, (uint32_t)chunk->size);
        sr_buf_append(&plain, chunk->data, chunk->size);
        fixture_ok(sr_image_content_add(content, number, archive_of(chunk), &err), &err);
    }
    sr_buf_append_u32(&plain, 0);
    sr_buf_append(&plain, content, sizeof(content));
    struct sr_buf archive = seal_chunks(&list->header, archive_of(&plain));
    sr_buf_close(&plain);
    return archive;
}

static void list_is_refused(const struct list *list, const int *order)
{
    struct sr_buf archive = list_seal(list, order);
    is_refused(&archive);
    sr_buf_close(&archive);
}

static void list_close(struct list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        sr_buf_close(&list->chunks[i]);
    }
}

/* header, requests, versions, trailer. */
static void a_full_stream_has_its_order(void **state)
{
    static const int whole[] = {0, 1, 2, 3, -1};
    static const int bad[][6] = {{1, 2, 3, -1},       {0, 2, 3, -1},
                                 {0, 1, 3, -1},       {0, 1, 2, -1},
                                 {0, 2, 1, 3, -1},    {0, 1, 1, 2, 3, -1},
                                 {0, 1, 2, 2, -1},    {0, 0, 1, 2, 3, -1},
                                 {0, 1, 2, 3, 3, -1}, {-1}};
    struct fixture *fixture = *state;
    struct sr_archive_info info;
    struct sr_err err = {0};
    struct list list = {0};
    for (int i = 0; i < 30; i++) {
        (void)apply(fixture, with_id(put_text("k", "v"), (uint64_t)i + 1));
    }
    fixture_flush(fixture);
    struct sr_buf archive = archive_full(fixture, &info);
    list_read(&list, &archive);
    assert_int_equal(list.count, 4);
    sr_buf_close(&archive);
    archive = list_seal(&list, whole);
    fixture_ok(archive_verify(archive_of(&archive), &info, &err), &err);
    sr_buf_close(&archive);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        list_is_refused(&list, bad[i]);
    }
    list.header.revision++; /* the header of the archive says something else than that inside */
    list_is_refused(&list, whole);
    list.header.revision--;
    list.header.cluster_id++;
    list_is_refused(&list, whole);
    list.header.cluster_id--;
    list.chunks[2].data[8] += 20; /* the first revision is later than the second */
    list_is_refused(&list, whole);
    list_close(&list);
}

/* header, mark, versions, mark, versions, requests, trailer. */
static void a_stream_of_changes_has_its_order(void **state)
{
    static const int whole[] = {0, 1, 2, 3, 4, 5, 6, -1};
    static const int bad[][9] = {
        {0, 2, 3, 4, 5, 6, -1},       {0, 1, 3, 4, 5, 6, -1},       {0, 1, 2, 4, 5, 6, -1},
        {0, 1, 2, 3, 5, 6, -1},       {0, 1, 2, 3, 4, 5, -1},       {0, 3, 4, 1, 2, 5, 6, -1},
        {0, 1, 2, 2, 3, 4, 5, 6, -1}, {0, 1, 1, 2, 3, 4, 5, 6, -1}, {0, 1, 2, 3, 5, 4, 6, -1},
        {0, 1, 2, 3, 4, 5, 5, 6, -1}, {1, 2, 3, 4, 5, 6, -1},       {0, 1, 2, 6, -1}};
    struct fixture *fixture = *state;
    struct sr_archive_info info;
    struct sr_archive_mark mark = {.revision = 15, .time_ms = 1000};
    struct sr_err err = {0};
    struct list list = {0};
    for (int i = 0; i < 30; i++) {
        (void)apply(fixture, with_id(put_text("k", "v"), (uint64_t)i + 1));
    }
    fixture_flush(fixture);
    struct sr_buf archive = archive_changes(fixture, 5, 0, &mark, 1, 2000, &info);
    list_read(&list, &archive);
    assert_int_equal(list.count, 7);
    sr_buf_close(&archive);
    archive = list_seal(&list, whole);
    fixture_ok(archive_verify(archive_of(&archive), &info, &err), &err);
    assert_int_equal(info.versions, 26);
    assert_int_equal(info.requests, 26);
    assert_int_equal(info.newest_time_ms, 2000);
    sr_buf_close(&archive);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        list_is_refused(&list, bad[i]);
    }
    list.header.since++;
    list_is_refused(&list, whole);
    list_close(&list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        commands_test(a_full_archive_is_the_image),
        commands_test(the_archive_secret_stays_at_home),
        commands_test(a_header_is_seen_without_keys),
        commands_test(nothing_is_sealed_twice_alike),
        commands_test(a_sink_that_fails_ends_it),
        cmocka_unit_test(digests_are_of_all_and_of_groups),
        commands_test(every_flip_and_every_cut_is_refused),
        commands_test(harm_around_the_ends_of_pieces_is_refused),
        commands_test(pieces_have_their_places),
        commands_test(what_is_joined_is_refused),
        commands_test(a_foreign_key_does_not_open_it),
        commands_test(another_frame_than_one_of_zstd_is_refused),
        commands_test(a_full_stream_has_its_order),
        commands_test(a_stream_of_changes_has_its_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
