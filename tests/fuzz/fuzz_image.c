/* SPDX-License-Identifier: Apache-2.0
 *
 * A member that is fed an image by another one, which may say what it likes: the bulk connection,
 * the answers, the chunks, and what is staged of them. TLS and the sockets below
 * node/net/blocking.h are replaced by the few functions below. The first byte of the input:
 *
 *   bit 0  the hello that answers ours is the input's as well; otherwise it is a good one
 *   bit 1  what follows it are frames as they are; otherwise each u16 size and bytes become a
 *          chunk that has the right number and content hash, as no fuzzer would find them
 *   bit 2  the stream is broken in the middle: the next attempt goes on from what is durable
 *   bit 3  the other side begins anew when it is asked to go on
 *   bits 4 and 5  how many versions are staged at once
 *
 * An image that was taken over is one: made of what was staged, it has the same content.
 */
#include "node/image/receiver.c" /* one attempt of it, without its thread and its pauses */

#include "proto/limits.h"
#include "scratch.h"
#include "storage/image_format.h"
#include "storage/store_internal.h"

#define CHUNKS_MAX 64
#define SENDER     UINT64_C(0xb2)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ---- The other side ---- */

struct sr_blocking {
    struct sr_buf in; /* what it says */
    size_t at;
};

static struct {
    struct sr_blocking connection;
    struct sr_bytes input;
    bool is_bad_hello;
    bool is_raw;
    bool is_cut;
    bool begins_anew;
    uint64_t chunks; /* of the image, as the input has them */
    struct sr_bytes chunk[CHUNKS_MAX];
    uint8_t content[SR_IMAGE_HASH_BYTES]; /* of the last one */
} sender;

static bool is_complete;

static void say(const Strongroom__Envelope *envelope, struct sr_bytes payload)
{
    sr_frame_append(&sender.connection.in, envelope, &payload, 1);
}

static void answer_hello(Strongroom__Hello *hello)
{
    Strongroom__Envelope envelope = STRONGROOM__ENVELOPE__INIT;
    if (sender.is_bad_hello) {
        return;
    }
    hello->member_id = hello->target_id;
    hello->target_id = SCRATCH_MEMBER;
    envelope.message_case = STRONGROOM__ENVELOPE__MESSAGE_HELLO;
    envelope.hello = hello;
    say(&envelope, (struct sr_bytes){NULL, 0});
}

static void say_chunk(uint64_t number, bool is_said)
{
    struct sr_err err;
    Strongroom__ImageChunk chunk = STRONGROOM__IMAGE_CHUNK__INIT;
    Strongroom__Envelope envelope = STRONGROOM__ENVELOPE__INIT;
    if (number == 0) {
        memset(sender.content, 0, sizeof(sender.content));
    }
    sr_check(sr_image_content_add(sender.content, number, sender.chunk[number], &err) == SR_OK);
    chunk.number = number;
    chunk.length = (uint32_t)sender.chunk[number].size;
    chunk.content = (ProtobufCBinaryData){sizeof(sender.content), sender.content};
    chunk.last = number + 1 == sender.chunks;
    envelope.message_case = STRONGROOM__ENVELOPE__MESSAGE_IMAGE_CHUNK;
    envelope.image_chunk = &chunk;
    if (is_said) {
        say(&envelope, sender.chunk[number]);
    }
}

static void answer_request(const Strongroom__ImageRequest *request)
{
    Strongroom__ImageBegin begin = STRONGROOM__IMAGE_BEGIN__INIT;
    Strongroom__Envelope envelope = STRONGROOM__ENVELOPE__INIT;
    struct sr_image_position position = {0};
    if (request->position.len == SR_IMAGE_POSITION_BYTES) {
        sr_image_position_unpack(request->position.data, &position);
    }
    begin.resumed = position.chunk > 0 && !sender.begins_anew;
    begin.bytes = sender.input.size;
    envelope.message_case = STRONGROOM__ENVELOPE__MESSAGE_IMAGE_BEGIN;
    envelope.image_begin = &begin;
    say(&envelope, (struct sr_bytes){NULL, 0});
    uint64_t first = begin.resumed ? position.chunk : 0;
    uint64_t end = sender.is_cut ? sender.chunks / 2 : sender.chunks;
    for (uint64_t i = 0; i < end; i++) {
        say_chunk(i, i >= first);
    }
}

/* What it hears is what we say ourselves: whole frames, and good ones. */
int sr_blocking_write(struct sr_blocking *blocking, const void *data, size_t size,
                      unsigned timeout_ms, struct sr_err *err)
{
    struct sr_arena arena;
    struct sr_frame frame;
    size_t used = 0;
    (void)timeout_ms;
    sr_arena_init(&arena, SR_UNPACK_BYTES_MAX);
    sr_check(sr_frame_take(data, size, &arena, &frame, &used, err) == SR_OK && used == size);
    if (frame.envelope->message_case == STRONGROOM__ENVELOPE__MESSAGE_HELLO) {
        answer_hello(frame.envelope->hello);
        if (sender.is_bad_hello || sender.is_raw) {
            sr_buf_append(&blocking->in, sender.input.data, sender.input.size);
        }
    } else if (!sender.is_bad_hello && !sender.is_raw) {
        answer_request(frame.envelope->image_request);
    }
    sr_arena_close(&arena);
    return SR_OK;
}

int sr_blocking_read(struct sr_blocking *blocking, void *out, size_t size, unsigned timeout_ms,
                     struct sr_err *err)
{
    (void)timeout_ms;
    if (blocking->in.size - blocking->at < size) {
        return sr_err_set(err, SR_NETWORK, "the other side has closed the connection");
    }
    memcpy(out, blocking->in.data + blocking->at, size);
    blocking->at += size;
    return SR_OK;
}

int sr_blocking_connect(const struct sr_blocking_target *target, struct sr_tls *tls,
                        const atomic_bool *stop, unsigned timeout_ms, struct sr_blocking **ret,
                        struct sr_err *err)
{
    (void)target;
    (void)tls;
    (void)stop;
    (void)timeout_ms;
    (void)err;
    *ret = &sender.connection;
    return SR_OK;
}

void sr_blocking_close(struct sr_blocking *blocking)
{
    sr_buf_close(&blocking->in);
    blocking->at = 0;
}

bool sr_blocking_has_dns_name(const struct sr_blocking *blocking, const char *name)
{
    (void)blocking;
    return name[0] != 0;
}

bool sr_blocking_peer_key(const struct sr_blocking *blocking, uint8_t ret_key[32])
{
    (void)blocking;
    memset(ret_key, 1, 32);
    return true;
}

const char *sr_blocking_address(const struct sr_blocking *blocking)
{
    (void)blocking;
    return "b:1";
}

int sr_tls_client_new(const struct sr_tls_files *files, const char *alpn, struct sr_tls **ret,
                      struct sr_err *err)
{
    (void)files;
    (void)alpn;
    (void)ret;
    (void)err;
    return SR_OK;
}

void sr_tls_free(struct sr_tls *tls)
{
    (void)tls;
}

/* ---- This side ---- */

static int on_stage(void *arg, char ret_path[PATH_MAX], struct sr_err *err)
{
    (void)arg;
    (void)err;
    scratch_path("staged", ret_path);
    return SR_OK;
}

static int on_done(void *arg, struct sr_err *err)
{
    (void)arg;
    (void)err;
    is_complete = true;
    return SR_OK;
}

static int on_discard(void *arg, struct sr_err *err)
{
    (void)arg;
    (void)err;
    scratch_empty("staged");
    return SR_OK;
}

static bool on_find(void *arg, uint64_t member, struct sr_image_source *ret_source)
{
    (void)arg;
    *ret_source = (struct sr_image_source){.name = "b", .address = "b:1"};
    return member == SENDER;
}

static struct sr_store *open_in(const char *name)
{
    struct sr_err err;
    struct sr_store *store = NULL;
    char path[PATH_MAX];
    scratch_path(name, path);
    struct sr_store_options options = {.dir = path,
                                       .keyring = scratch_keyring(),
                                       .cluster_id = SCRATCH_CLUSTER,
                                       .member_id = SCRATCH_MEMBER,
                                       .map_bytes = (size_t)16 * 1024 * 1024};
    sr_check(sr_store_open(&options, &store, &err) == SR_OK);
    return store;
}

static void check_taken_over(void)
{
    struct sr_err err;
    struct sr_image_reader *reader = NULL;
    struct sr_image_chunk chunk;
    struct sr_store *store = open_in("staged");
    sr_check(sr_image_reader_open(store, &reader, &err) == SR_OK);
    int status;
    while ((status = sr_image_reader_next(reader, &chunk, &err)) == SR_OK) {
        sr_check(!chunk.last || sender.is_raw ||
                 memcmp(chunk.content, sender.content, sizeof(chunk.content)) == 0);
    }
    sr_check(status == SR_NOT_FOUND);
    sr_image_reader_close(reader);
    sr_store_close(store);
}

static struct sr_image_receiver receiver = {
    .options = {.cluster_id = SCRATCH_CLUSTER,
                .member_id = SCRATCH_MEMBER,
                .map_bytes = (size_t)16 * 1024 * 1024,
                .feature_level = 2,
                .stage = on_stage,
                .complete = on_done,
                .discard = on_discard,
                .find = on_find},
};

static void cut_chunks(void)
{
    struct sr_reader reader = sr_reader_of(sender.input.data, sender.input.size);
    sender.chunks = 0;
    while (sr_reader_left(&reader) > 0 && sender.chunks < CHUNKS_MAX) {
        size_t size = sr_read_u16(&reader);
        size_t left = sr_reader_left(&reader);
        sender.chunk[sender.chunks++] = sr_read_bytes(&reader, size < left ? size : left);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sr_err err;
    if (receiver.options.store == NULL) {
        sr_log_init(SR_LOG_FATAL, SR_LOG_LOGFMT, NULL);
        scratch_make_dir("own");
        scratch_make_dir("staged");
        receiver.options.keyring = scratch_keyring();
        receiver.options.store = open_in("own");
    }
    if (size == 0) {
        return 0;
    }
    static const size_t staged[] = {0, 1, 2, 5};
    receiver.options.staged_entries_max = staged[data[0] >> 4 & 3];
    sender.is_bad_hello = (data[0] & 1) != 0;
    sender.is_raw = (data[0] & 2) != 0;
    sender.is_cut = (data[0] & 4) != 0;
    sender.begins_anew = (data[0] & 8) != 0;
    sender.input = (struct sr_bytes){data + 1, size - 1};
    cut_chunks();
    is_complete = false;
    if (sender.is_cut) {
        (void)attempt_fetch(&receiver, SENDER, &err);
        sender.is_cut = false;
    }
    if (!is_complete) {
        (void)attempt_fetch(&receiver, SENDER, &err);
    }
    if (is_complete) {
        check_taken_over();
    }
    scratch_empty("staged");
    return 0;
}
