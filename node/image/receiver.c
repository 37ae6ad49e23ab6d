/* SPDX-License-Identifier: Apache-2.0 */
#include "node/image/receiver.h"

#include <inttypes.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/background.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "node/peer/bulk.h"
#include "storage/image.h"
#include "storage/store.h"

/* The leader repeats itself each second. */
#define WANTED_MS    5000
#define PAUSE_MS     1000
#define PAUSE_MAX_MS 30000
#define LOG_EVERY_NS ((uint64_t)10 * 1000 * 1000 * 1000)

struct sr_image_receiver {
    struct sr_image_receiver_options options;
    struct sr_image_receiver_metrics metrics;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    pthread_t thread;
    uint64_t member; /* whom to ask; under the mutex, as the next */
    uint64_t wanted_until_ms;
    atomic_bool stop;
    bool is_halted;
};

static uint64_t now_ms(void)
{
    return sr_clock_monotonic_ns() / 1000000;
}

/* ---- One attempt ---- */

struct attempt {
    struct sr_image_receiver *receiver;
    uint64_t member;
    struct sr_image_writer *writer;
    struct sr_bulk *bulk;
    uint64_t index; /* that the image stands at; 0: not known yet */
    uint64_t bytes; /* of the image, that are here */
    uint64_t total;
    uint64_t logged_ns;
};

static int open_writer(struct attempt *attempt, struct sr_err *err)
{
    const struct sr_image_receiver_options *options = &attempt->receiver->options;
    char path[PATH_MAX];
    int status = options->stage(options->arg, path, err);
    if (status != SR_OK) {
        return status;
    }
    struct sr_image_writer_options writer = {
        .dir = path,
        .keyring = options->keyring,
        .cluster_id = options->cluster_id,
        .member_id = options->member_id,
        .map_bytes = options->map_bytes,
        .disk_reserve_bytes = options->disk_reserve_bytes,
        .staged_entries_max = options->staged_entries_max,
    };
    return sr_image_writer_open(&writer, &attempt->writer, err);
}

/* What is staged cannot be continued. */
static int start_over(struct attempt *attempt, struct sr_err *err)
{
    sr_image_writer_close(attempt->writer);
    attempt->writer = NULL;
    const struct sr_image_receiver_options *options = &attempt->receiver->options;
    int status = options->discard(options->arg, err);
    return status == SR_OK ? open_writer(attempt, err) : status;
}

static int stage(struct attempt *attempt, struct sr_err *err)
{
    int status = open_writer(attempt, err);
    if (status == SR_OK || status == SR_EXISTS || status == SR_NO_SPACE || status == SR_IO) {
        return status;
    }
    sr_log(SR_LOG_WARN, "image", "what was staged is thrown away", "reason=\"%s\"", err->text);
    return start_over(attempt, err);
}

static int connect_to(struct attempt *attempt, struct sr_err *err)
{
    const struct sr_image_receiver_options *options = &attempt->receiver->options;
    struct sr_image_source source;
    if (!options->find(options->arg, attempt->member, &source)) {
        return sr_err_set(err, SR_NOT_FOUND, "member %016" PRIx64 " is not known here",
                          attempt->member);
    }
    struct sr_bulk_options bulk = {
        .cluster_id = options->cluster_id,
        .self = options->member_id,
        .target = attempt->member,
        .target_name = source.name,
        .address = source.address,
        .purpose = STRONGROOM__HELLO__PURPOSE__IMAGE,
        .feature_level = options->feature_level,
        .tls = options->tls,
        .stop = &attempt->receiver->stop,
    };
    return sr_bulk_connect(&bulk, &attempt->bulk, err);
}

static int ask(struct attempt *attempt, const struct sr_image_position *position,
               struct sr_err *err)
{
    uint8_t packed[SR_IMAGE_POSITION_BYTES];
    Strongroom__ImageRequest request = STRONGROOM__IMAGE_REQUEST__INIT;
    request.after_index = sr_store_applied_index(attempt->receiver->options.store);
    if (position->chunk > 0) {
        sr_image_position_pack(position, packed);
        request.position = (ProtobufCBinaryData){sizeof(packed), packed};
    }
    Strongroom__Envelope envelope = STRONGROOM__ENVELOPE__INIT;
    envelope.message_case = STRONGROOM__ENVELOPE__MESSAGE_IMAGE_REQUEST;
    envelope.image_request = &request;
    return sr_bulk_send(attempt->bulk, &envelope, (struct sr_bytes){NULL, 0}, err);
}

/* The next frame, which must be of @kind. */
static int expect(struct attempt *attempt, Strongroom__Envelope__MessageCase kind,
                  struct sr_frame *ret_frame, struct sr_err *err)
{
    int status = sr_bulk_receive(attempt->bulk, ret_frame, err);
    if (status != SR_OK) {
        return status;
    }
    const Strongroom__Envelope *envelope = ret_frame->envelope;
    if (envelope->message_case == STRONGROOM__ENVELOPE__MESSAGE_IMAGE_REFUSED) {
        return sr_err_set(err, SR_REFUSED, "the member says: %.250s",
                          envelope->image_refused->reason);
    }
    return envelope->message_case == kind
               ? SR_OK
               : sr_err_set(err, SR_INVALID,
                            "a message of kind %d where one of kind %d is expected",
                            (int)envelope->message_case, (int)kind);
}

static void show(struct attempt *attempt)
{
    struct sr_image_receiver_metrics *metrics = &attempt->receiver->metrics;
    sr_gauge_set(&metrics->image_bytes, (int64_t)attempt->bytes);
    sr_gauge_set(&metrics->image_total, (int64_t)attempt->total);
    uint64_t now_ns = sr_clock_monotonic_ns();
    if (now_ns - attempt->logged_ns >= LOG_EVERY_NS) {
        attempt->logged_ns = now_ns;
        sr_log(SR_LOG_INFO, "image", "receiving",
               "member=%016" PRIx64 " received_bytes=%" PRIu64 " bytes=%" PRIu64, attempt->member,
               attempt->bytes, attempt->total);
    }
}

static int begin(struct attempt *attempt, struct sr_err *err)
{
    struct sr_image_position position;
    struct sr_frame frame;
    sr_image_writer_position(attempt->writer, &position);
    int status = ask(attempt, &position, err);
    if (status == SR_OK) {
        status = expect(attempt, STRONGROOM__ENVELOPE__MESSAGE_IMAGE_BEGIN, &frame, err);
    }
    if (status != SR_OK) {
        return status;
    }
    const Strongroom__ImageBegin *begin = frame.envelope->image_begin;
    attempt->index = begin->index;
    attempt->total = begin->bytes;
    attempt->bytes = begin->resumed ? position.bytes : 0;
    sr_log(SR_LOG_INFO, "image", begin->resumed ? "receiving on" : "receiving",
           "member=%016" PRIx64 " index=%" PRIu64 " term=%" PRIu64 " revision=%" PRId64
           " bytes=%" PRIu64 " at=%" PRIu64,
           attempt->member, begin->index, begin->term, begin->revision, begin->bytes,
           attempt->bytes);
    show(attempt);
    return begin->resumed || position.chunk == 0 ? SR_OK : start_over(attempt, err);
}

/* False when the node is stopping meanwhile. */
static bool pause_ms(struct sr_image_receiver *receiver, unsigned ms)
{
    uint64_t until = now_ms() + ms;
    const struct timespec slice = {.tv_nsec = 50L * 1000 * 1000};
    while (now_ms() < until && !atomic_load(&receiver->stop)) {
        nanosleep(&slice, NULL);
    }
    return !atomic_load(&receiver->stop);
}

static int take_chunk(struct attempt *attempt, bool *ret_last, struct sr_err *err)
{
    struct sr_frame frame;
    int status = expect(attempt, STRONGROOM__ENVELOPE__MESSAGE_IMAGE_CHUNK, &frame, err);
    if (status != SR_OK) {
        return status;
    }
    const Strongroom__ImageChunk *message = frame.envelope->image_chunk;
    struct sr_image_chunk chunk = {
        .number = message->number, .data = frame.payload, .last = message->last};
    if (message->content.len != sizeof(chunk.content) ||
        frame.payload.size > SR_IMAGE_CHUNK_BYTES_MAX) {
        return sr_err_set(err, SR_INVALID, "chunk %" PRIu64 " is malformed", message->number);
    }
    memcpy(chunk.content, message->content.data, sizeof(chunk.content));
    status = sr_image_writer_put(attempt->writer, &chunk, err);
    if (status == SR_OK) {
        attempt->bytes += frame.payload.size;
        sr_count(&attempt->receiver->metrics.received_bytes, frame.payload.size);
        show(attempt);
        *ret_last = chunk.last;
    }
    return status;
}

/* Another leader's log reached far enough after all: to adopt the image would be a step back. */
static bool is_overtaken(const struct attempt *attempt)
{
    return attempt->index != 0 &&
           attempt->index <= sr_store_applied_index(attempt->receiver->options.store);
}

static int give_up(struct attempt *attempt, struct sr_err *err)
{
    sr_log(SR_LOG_INFO, "image", "not needed any more", "index=%" PRIu64, attempt->index);
    return sr_err_set(err, SR_CLOSED, "the image is not needed any more");
}

static int finish(struct attempt *attempt, struct sr_err *err)
{
    struct sr_image_receiver *receiver = attempt->receiver;
    sr_log(SR_LOG_INFO, "image", "verifying", "bytes=%" PRIu64, attempt->bytes);
    sr_bulk_close(attempt->bulk); /* the sender need not wait for that */
    attempt->bulk = NULL;
    int status = sr_image_writer_finish(attempt->writer, err);
    while (status == SR_NO_SPACE && pause_ms(receiver, PAUSE_MS)) {
        status = sr_image_writer_finish(attempt->writer, err);
    }
    if (status != SR_OK) {
        return status;
    }
    if (is_overtaken(attempt)) {
        return give_up(attempt, err);
    }
    sr_image_writer_close(attempt->writer);
    attempt->writer = NULL;
    return receiver->options.complete(receiver->options.arg, err);
}

/* Whether an earlier life has received everything, and ended before it had read it back. What is
 * not ahead of us any more is thrown away. */
static int look_for_all(struct attempt *attempt, bool *ret_all, struct sr_err *err)
{
    uint64_t index = 0;
    struct sr_image_position position;
    *ret_all = sr_image_writer_has_all(attempt->writer, &index);
    attempt->index = index;
    if (*ret_all && index <= sr_store_applied_index(attempt->receiver->options.store)) {
        *ret_all = false;
        return start_over(attempt, err);
    }
    sr_image_writer_position(attempt->writer, &position);
    attempt->bytes = position.bytes;
    return SR_OK;
}

static int fetch(struct attempt *attempt, struct sr_err *err)
{
    int status = stage(attempt, err);
    if (status == SR_EXISTS) {
        return SR_OK; /* it only waits for the start */
    }
    bool last = false;
    bool all = false;
    if (status == SR_OK) {
        status = look_for_all(attempt, &all, err);
    }
    if (status == SR_OK && all) {
        return finish(attempt, err);
    }
    if (status == SR_OK) {
        status = connect_to(attempt, err);
    }
    if (status == SR_OK) {
        status = begin(attempt, err);
    }
    while (status == SR_OK && !last) {
        status = is_overtaken(attempt) ? give_up(attempt, err) : take_chunk(attempt, &last, err);
    }
    return status == SR_OK ? finish(attempt, err) : status;
}

/* What cannot be helped by going on from where we are. */
static bool is_spoiled(int status)
{
    return status == SR_CORRUPT || status == SR_FORMAT || status == SR_KEY;
}

static int attempt_fetch(struct sr_image_receiver *receiver, uint64_t member, struct sr_err *err)
{
    struct attempt attempt = {
        .receiver = receiver, .member = member, .logged_ns = sr_clock_monotonic_ns()};
    sr_gauge_set(&receiver->metrics.receiving, 1);
    int status = fetch(&attempt, err);
    sr_bulk_close(attempt.bulk);
    sr_image_writer_close(attempt.writer);
    if (is_spoiled(status) || (status == SR_CLOSED && is_overtaken(&attempt))) {
        (void)receiver->options.discard(receiver->options.arg, NULL);
    }
    sr_gauge_set(&receiver->metrics.receiving, 0);
    sr_gauge_set(&receiver->metrics.image_total, 0);
    sr_gauge_set(&receiver->metrics.image_bytes, 0);
    return status;
}

/* ---- The thread ---- */

/* Block until an image is wanted; 0: stop. */
static uint64_t await_wish(struct sr_image_receiver *receiver)
{
    uint64_t member = 0;
    pthread_mutex_lock(&receiver->mutex);
    while (!atomic_load(&receiver->stop) && now_ms() >= receiver->wanted_until_ms) {
        pthread_cond_wait(&receiver->changed, &receiver->mutex);
    }
    member = atomic_load(&receiver->stop) ? 0 : receiver->member;
    pthread_mutex_unlock(&receiver->mutex);
    return member;
}

static void *run(void *arg)
{
    struct sr_image_receiver *receiver = arg;
    const struct sr_image_receiver_options *options = &receiver->options;
    unsigned pause = PAUSE_MS;
    uint64_t member = 0;
    sr_background_thread();
    while ((member = await_wish(receiver)) != 0) {
        struct sr_err err = {0};
        uint64_t before = sr_counter_read(&receiver->metrics.received_bytes);
        int status = attempt_fetch(receiver, member, &err);
        if (status == SR_OK) {
            sr_count(&receiver->metrics.images_received, 1);
            sr_log(SR_LOG_INFO, "image", "complete, starting anew to adopt it", "");
            options->on_complete(options->arg);
            return NULL;
        }
        if (status == SR_REMOVED) {
            options->on_failure(options->arg, &err);
            return NULL;
        }
        if (status != SR_CLOSED) {
            sr_count(&receiver->metrics.failures, 1);
            sr_log(SR_LOG_WARN, "image", "not received, trying again",
                   "member=%016" PRIx64 " reason=\"%s\"", member, err.text);
        }
        bool has_moved = sr_counter_read(&receiver->metrics.received_bytes) != before;
        pause = has_moved ? PAUSE_MS : pause * 2 < PAUSE_MAX_MS ? pause * 2 : PAUSE_MAX_MS;
        (void)pause_ms(receiver, pause);
    }
    return NULL;
}

struct sr_image_receiver *sr_image_receiver_start(const struct sr_image_receiver_options *options)
{
    struct sr_image_receiver *receiver = sr_zalloc(sizeof(*receiver));
    receiver->options = *options;
    sr_check(pthread_mutex_init(&receiver->mutex, NULL) == 0);
    sr_check(pthread_cond_init(&receiver->changed, NULL) == 0);
    sr_check(pthread_create(&receiver->thread, NULL, run, receiver) == 0);
    return receiver;
}

void sr_image_receiver_halt(struct sr_image_receiver *receiver)
{
    if (receiver == NULL || receiver->is_halted) {
        return;
    }
    pthread_mutex_lock(&receiver->mutex);
    atomic_store(&receiver->stop, true);
    pthread_cond_signal(&receiver->changed);
    pthread_mutex_unlock(&receiver->mutex);
    pthread_join(receiver->thread, NULL);
    receiver->is_halted = true;
}

void sr_image_receiver_free(struct sr_image_receiver *receiver)
{
    if (receiver == NULL) {
        return;
    }
    sr_image_receiver_halt(receiver);
    pthread_mutex_destroy(&receiver->mutex);
    pthread_cond_destroy(&receiver->changed);
    sr_free(receiver);
}

void sr_image_receiver_want(struct sr_image_receiver *receiver, uint64_t member)
{
    pthread_mutex_lock(&receiver->mutex);
    receiver->member = member;
    receiver->wanted_until_ms = now_ms() + WANTED_MS;
    pthread_cond_signal(&receiver->changed);
    pthread_mutex_unlock(&receiver->mutex);
}

const struct sr_image_receiver_metrics *
sr_image_receiver_metrics(const struct sr_image_receiver *receiver)
{
    return &receiver->metrics;
}
