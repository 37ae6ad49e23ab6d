/* SPDX-License-Identifier: Apache-2.0
 *
 * An image, from the request on:
 *
 *   (none) ──open──► IN USE ──it failed──► closed
 *                     ▲   │ connection broken, or the last chunk sent
 *     asked for again │   ▼
 *                     IDLE ──a minute──► closed
 *
 * What was sent has not yet arrived, and what arrived is not yet durable there: hence the wait
 * after the last chunk too.
 *
 * Slots are taken and given back under the mutex; a slot in use belongs to its thread.
 */
#include "node/image/sender.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/background.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "node/image/rate.h"
#include "proto/limits.h"

#define KEEP_MS       60000
#define SWEEP_MS      1000
#define SLICE_NS      ((uint64_t)100 * 1000 * 1000)
#define LOG_EVERY_NS  ((uint64_t)10 * 1000 * 1000 * 1000)
#define AGAIN_MAX     600 /* tries of a reader that lacks something, a slice each */
#define REFUSAL_BYTES 256
#define RECLAIM_MS    5000

struct slot {
    struct sr_image_reader *reader; /* NULL: free */
    struct sr_image_info info;
    uint64_t member;
    bool is_used;
    bool is_claimed;     /* the member has come back before we saw its connection break */
    uint64_t expires_ms; /* when idle */
    uint64_t bytes;      /* before the next chunk, counted from the image's start */
};

struct sr_image_sender {
    struct sr_image_sender_options options;
    struct sr_image_sender_metrics metrics;
    struct sr_rate rate;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    pthread_t thread;
    bool is_stopping;
    struct slot slots[SR_PEER_BULK_MAX];
};

static uint64_t now_ms(void)
{
    return sr_clock_monotonic_ns() / 1000000;
}

/* ---- Slots ---- */

/* The image that @position is of. */
static struct slot *find_image(struct sr_image_sender *sender, uint64_t member,
                               const struct sr_image_position *position)
{
    for (size_t i = 0; i < SR_PEER_BULK_MAX; i++) {
        struct slot *slot = &sender->slots[i];
        if (slot->reader != NULL && slot->member == member &&
            memcmp(slot->info.id, position->id, SR_IMAGE_ID_BYTES) == 0) {
            return slot;
        }
    }
    return NULL;
}

/* A free one; else an idle one, for whoever is here comes first. */
static struct slot *find_free(struct sr_image_sender *sender)
{
    struct slot *found = NULL;
    for (size_t i = 0; i < SR_PEER_BULK_MAX; i++) {
        struct slot *slot = &sender->slots[i];
        if (slot->reader == NULL && !slot->is_used) {
            return slot;
        }
        if (!slot->is_used && (found == NULL || slot->expires_ms < found->expires_ms)) {
            found = slot;
        }
    }
    return found;
}

/* Idle images of a member that asks for another one are of no use any more. */
static void drop_idle_of(struct sr_image_sender *sender, uint64_t member)
{
    for (size_t i = 0; i < SR_PEER_BULK_MAX; i++) {
        struct slot *slot = &sender->slots[i];
        if (!slot->is_used && slot->member == member) {
            sr_image_reader_close(slot->reader);
            *slot = (struct slot){0};
        }
    }
}

/* As find_image, but idle: what is still being sent on an older connection is called back, which
 * takes a moment. */
static struct slot *reclaim(struct sr_image_sender *sender, uint64_t member,
                            const struct sr_image_position *position)
{
    uint64_t until_ms = now_ms() + RECLAIM_MS;
    struct slot *slot = find_image(sender, member, position);
    while (slot != NULL && slot->is_used && now_ms() < until_ms) {
        struct timespec at;
        slot->is_claimed = true;
        clock_gettime(CLOCK_MONOTONIC, &at);
        at.tv_sec += 1;
        pthread_cond_timedwait(&sender->changed, &sender->mutex, &at);
        slot = find_image(sender, member, position);
    }
    return slot == NULL || slot->is_used ? NULL : slot;
}

static struct slot *take_slot(struct sr_image_sender *sender, uint64_t member,
                              const struct sr_image_position *position)
{
    pthread_mutex_lock(&sender->mutex);
    struct slot *slot = position->chunk == 0 ? NULL : reclaim(sender, member, position);
    if (slot == NULL) {
        drop_idle_of(sender, member);
        slot = find_free(sender);
        if (slot != NULL) {
            sr_image_reader_close(slot->reader);
            *slot = (struct slot){.member = member};
        }
    }
    if (slot != NULL) {
        slot->is_used = true;
    }
    pthread_mutex_unlock(&sender->mutex);
    return slot;
}

static void give_back(struct sr_image_sender *sender, struct slot *slot, bool keep)
{
    struct sr_image_reader *over = NULL;
    pthread_mutex_lock(&sender->mutex);
    slot->is_used = false;
    slot->is_claimed = false;
    slot->expires_ms = now_ms() + sender->options.keep_ms;
    if (!keep) {
        over = slot->reader;
        *slot = (struct slot){0};
    }
    pthread_cond_broadcast(&sender->changed);
    pthread_mutex_unlock(&sender->mutex);
    sr_image_reader_close(over);
}

/* Others look at it, too, to see which slots are free. */
static struct sr_image_reader *take_reader(struct sr_image_sender *sender, struct slot *slot)
{
    pthread_mutex_lock(&sender->mutex);
    struct sr_image_reader *reader = slot->reader;
    slot->reader = NULL;
    pthread_mutex_unlock(&sender->mutex);
    return reader;
}

static void sweep(struct sr_image_sender *sender)
{
    for (size_t i = 0; i < SR_PEER_BULK_MAX; i++) {
        struct slot *slot = &sender->slots[i];
        if (slot->reader != NULL && !slot->is_used && now_ms() >= slot->expires_ms) {
            sr_log(SR_LOG_INFO, "image", "given up", "member=%016" PRIx64 " index=%" PRIu64,
                   slot->member, slot->info.index);
            sr_image_reader_close(slot->reader);
            *slot = (struct slot){0};
        }
    }
}

static void *keep_house(void *arg)
{
    struct sr_image_sender *sender = arg;
    pthread_mutex_lock(&sender->mutex);
    while (!sender->is_stopping) {
        struct timespec at;
        clock_gettime(CLOCK_MONOTONIC, &at);
        at.tv_sec += SWEEP_MS / 1000;
        pthread_cond_timedwait(&sender->changed, &sender->mutex, &at);
        sweep(sender);
    }
    pthread_mutex_unlock(&sender->mutex);
    return NULL;
}

/* ---- One transfer ---- */

struct transfer {
    struct sr_image_sender *sender;
    struct sr_bulk *bulk;
    struct slot *slot;
    uint64_t member;
    uint64_t logged_ns;
    bool is_lost; /* the connection: the receiver may come back for the rest */
};

static int refuse(struct transfer *transfer, int status, struct sr_err *err)
{
    char reason[REFUSAL_BYTES];
    snprintf(reason, sizeof(reason), "%.200s", err->text);
    Strongroom__ImageRefused refused = STRONGROOM__IMAGE_REFUSED__INIT;
    refused.reason = reason;
    Strongroom__Envelope envelope = STRONGROOM__ENVELOPE__INIT;
    envelope.message_case = STRONGROOM__ENVELOPE__MESSAGE_IMAGE_REFUSED;
    envelope.image_refused = &refused;
    (void)sr_bulk_send(transfer->bulk, &envelope, (struct sr_bytes){NULL, 0}, NULL);
    return status;
}

static int receive_request(struct transfer *transfer, struct sr_image_position *ret_position,
                           uint64_t *ret_after, struct sr_err *err)
{
    struct sr_frame frame;
    int status = sr_bulk_receive(transfer->bulk, &frame, err);
    if (status != SR_OK) {
        return status;
    }
    const Strongroom__ImageRequest *request = frame.envelope->image_request;
    if (frame.envelope->message_case != STRONGROOM__ENVELOPE__MESSAGE_IMAGE_REQUEST ||
        (request->position.len != 0 && request->position.len != SR_IMAGE_POSITION_BYTES)) {
        return sr_err_set(err, SR_INVALID, "not a request for an image");
    }
    memset(ret_position, 0, sizeof(*ret_position));
    if (request->position.len != 0) {
        sr_image_position_unpack(request->position.data, ret_position);
    }
    *ret_after = request->after_index;
    return SR_OK;
}

/* The image that goes on at @position, or a new one. */
static int open_image(struct transfer *transfer, const struct sr_image_position *position,
                      bool *ret_resumed, struct sr_err *err)
{
    struct slot *slot = transfer->slot;
    if (slot->reader != NULL && sr_image_reader_seek(slot->reader, position, NULL) == SR_OK) {
        *ret_resumed = true;
        slot->bytes = position->bytes;
        return SR_OK;
    }
    struct sr_image_reader *reader = take_reader(transfer->sender, slot);
    sr_image_reader_close(reader);
    reader = NULL;
    int status = sr_image_reader_open(transfer->sender->options.store, &reader, err);
    if (status != SR_OK) {
        return status;
    }
    pthread_mutex_lock(&transfer->sender->mutex);
    slot->reader = reader;
    slot->bytes = 0;
    sr_image_reader_info(reader, &slot->info);
    pthread_mutex_unlock(&transfer->sender->mutex);
    *ret_resumed = false;
    return SR_OK;
}

static void report(const struct transfer *transfer, uint64_t bytes, uint64_t total)
{
    const struct sr_image_sender_options *options = &transfer->sender->options;
    options->on_progress(options->arg, transfer->member, bytes, total);
}

static int send_begin(struct transfer *transfer, bool resumed, struct sr_err *err)
{
    struct sr_image_info *info = &transfer->slot->info;
    Strongroom__ImageBegin begin = STRONGROOM__IMAGE_BEGIN__INIT;
    begin.image_id = (ProtobufCBinaryData){sizeof(info->id), info->id};
    begin.index = info->index;
    begin.term = info->term;
    begin.revision = info->revision;
    begin.bytes = info->bytes;
    begin.resumed = resumed;
    Strongroom__Envelope envelope = STRONGROOM__ENVELOPE__INIT;
    envelope.message_case = STRONGROOM__ENVELOPE__MESSAGE_IMAGE_BEGIN;
    envelope.image_begin = &begin;
    sr_log(SR_LOG_INFO, "image", resumed ? "sending on" : "sending",
           "member=%016" PRIx64 " index=%" PRIu64 " revision=%" PRId64 " bytes=%" PRIu64
           " at=%" PRIu64,
           transfer->member, info->index, info->revision, info->bytes, transfer->slot->bytes);
    report(transfer, transfer->slot->bytes, info->bytes);
    return sr_bulk_send(transfer->bulk, &envelope, (struct sr_bytes){NULL, 0}, err);
}

/* Wait, in slices, until @bytes may be sent. False when the node wants its thread back. */
static bool wait_for_rate(struct transfer *transfer, size_t bytes)
{
    uint64_t now_ns = sr_clock_monotonic_ns();
    uint64_t until_ns = now_ns + sr_rate_take(&transfer->sender->rate, bytes, now_ns);
    while (now_ns < until_ns && !sr_bulk_is_stopped(transfer->bulk)) {
        uint64_t left_ns = until_ns - now_ns;
        struct timespec pause = {.tv_nsec = (long)(left_ns < SLICE_NS ? left_ns : SLICE_NS)};
        nanosleep(&pause, NULL);
        now_ns = sr_clock_monotonic_ns();
    }
    return !sr_bulk_is_stopped(transfer->bulk);
}

static int next_chunk(struct transfer *transfer, struct sr_image_chunk *ret, struct sr_err *err)
{
    const struct timespec slice = {.tv_nsec = (long)SLICE_NS};
    int status = sr_image_reader_next(transfer->slot->reader, ret, err);
    for (int i = 0; status == SR_LIMIT && i < AGAIN_MAX; i++) {
        if (sr_bulk_is_stopped(transfer->bulk)) {
            return sr_err_set(err, SR_CLOSED, "the node is stopping");
        }
        nanosleep(&slice, NULL);
        status = sr_image_reader_next(transfer->slot->reader, ret, err);
    }
    return status;
}

/* After a chunk. SR_NETWORK when the member is here on another connection. */
static int account(struct transfer *transfer, size_t bytes, struct sr_err *err)
{
    pthread_mutex_lock(&transfer->sender->mutex);
    transfer->slot->bytes += bytes;
    transfer->is_lost = transfer->slot->is_claimed;
    pthread_mutex_unlock(&transfer->sender->mutex);
    return transfer->is_lost
               ? sr_err_set(err, SR_NETWORK, "the member goes on on another connection")
               : SR_OK;
}

static int send_chunk(struct transfer *transfer, struct sr_image_chunk *chunk, struct sr_err *err)
{
    struct sr_image_sender *sender = transfer->sender;
    Strongroom__ImageChunk message = STRONGROOM__IMAGE_CHUNK__INIT;
    message.number = chunk->number;
    message.length = (uint32_t)chunk->data.size;
    message.content = (ProtobufCBinaryData){sizeof(chunk->content), chunk->content};
    message.last = chunk->last;
    Strongroom__Envelope envelope = STRONGROOM__ENVELOPE__INIT;
    envelope.message_case = STRONGROOM__ENVELOPE__MESSAGE_IMAGE_CHUNK;
    envelope.image_chunk = &message;
    if (!wait_for_rate(transfer, chunk->data.size)) {
        return sr_err_set(err, SR_CLOSED, "the node is stopping");
    }
    int status = sr_bulk_send(transfer->bulk, &envelope, chunk->data, err);
    transfer->is_lost = status != SR_OK && status != SR_CLOSED;
    if (status == SR_OK) {
        sr_count(&sender->metrics.sent_bytes, chunk->data.size);
        status = account(transfer, chunk->data.size, err);
    }
    return status;
}

static void log_progress(struct transfer *transfer)
{
    uint64_t now_ns = sr_clock_monotonic_ns();
    if (now_ns - transfer->logged_ns >= LOG_EVERY_NS) {
        transfer->logged_ns = now_ns;
        sr_log(SR_LOG_INFO, "image", "sending",
               "member=%016" PRIx64 " sent_bytes=%" PRIu64 " bytes=%" PRIu64, transfer->member,
               transfer->slot->bytes, transfer->slot->info.bytes);
    }
}

static int send_all(struct transfer *transfer, struct sr_err *err)
{
    struct sr_image_chunk chunk = {0};
    while (!chunk.last) {
        int status = next_chunk(transfer, &chunk, err);
        if (status == SR_NOT_FOUND) {
            sr_err_set(err, status, "nothing of this image is left to send");
        }
        if (status != SR_OK) {
            return status == SR_CLOSED ? status : refuse(transfer, status, err);
        }
        status = send_chunk(transfer, &chunk, err);
        if (status != SR_OK) {
            return status;
        }
        log_progress(transfer);
        report(transfer, transfer->slot->bytes, transfer->slot->info.bytes);
    }
    return SR_OK;
}

static int run(struct transfer *transfer, struct sr_err *err)
{
    struct sr_image_position position;
    uint64_t after = 0;
    bool resumed = false;
    int status = receive_request(transfer, &position, &after, err);
    if (status != SR_OK) {
        return status;
    }
    transfer->slot = take_slot(transfer->sender, transfer->member, &position);
    if (transfer->slot == NULL) {
        sr_err_set(err, SR_LIMIT, "as many images are being sent as may be, try later");
        return refuse(transfer, SR_LIMIT, err);
    }
    status = open_image(transfer, &position, &resumed, err);
    if (status == SR_OK && transfer->slot->info.index <= after) {
        status = sr_err_set(err, SR_NOT_FOUND,
                            "the state on disk is of index %" PRIu64 ", not yet beyond %" PRIu64,
                            transfer->slot->info.index, after);
    }
    if (status != SR_OK) {
        return refuse(transfer, status, err);
    }
    status = send_begin(transfer, resumed, err);
    transfer->is_lost = status != SR_OK && status != SR_CLOSED;
    return status == SR_OK ? send_all(transfer, err) : status;
}

void sr_image_sender_serve(struct sr_image_sender *sender, struct sr_bulk *bulk, uint64_t member)
{
    struct transfer transfer = {
        .sender = sender, .bulk = bulk, .member = member, .logged_ns = sr_clock_monotonic_ns()};
    struct sr_err err = {0};
    sr_background_thread();
    sr_gauge_add(&sender->metrics.sending, 1);
    int status = run(&transfer, &err);
    if (status == SR_OK) {
        sr_count(&sender->metrics.images_sent, 1);
        sr_log(SR_LOG_INFO, "image", "sent", "member=%016" PRIx64 " bytes=%" PRIu64, member,
               transfer.slot->bytes);
    } else {
        sr_count(&sender->metrics.failures, 1);
        sr_log(SR_LOG_WARN, "image", "not sent", "member=%016" PRIx64 " kept=%d reason=\"%s\"",
               member, transfer.is_lost, err.text);
    }
    if (transfer.slot != NULL) {
        give_back(sender, transfer.slot, transfer.is_lost || status == SR_OK);
    }
    report(&transfer, 0, 0);
    sr_gauge_add(&sender->metrics.sending, -1);
}

/* ---- All of it ---- */

struct sr_image_sender *sr_image_sender_start(const struct sr_image_sender_options *options)
{
    struct sr_image_sender *sender = sr_zalloc(sizeof(*sender));
    pthread_condattr_t attributes;
    sender->options = *options;
    if (sender->options.keep_ms == 0) {
        sender->options.keep_ms = KEEP_MS;
    }
    sr_rate_init(&sender->rate, options->bytes_per_second, sr_clock_monotonic_ns());
    sr_check(pthread_condattr_init(&attributes) == 0);
    sr_check(pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0);
    sr_check(pthread_cond_init(&sender->changed, &attributes) == 0);
    pthread_condattr_destroy(&attributes);
    sr_check(pthread_mutex_init(&sender->mutex, NULL) == 0);
    sr_check(pthread_create(&sender->thread, NULL, keep_house, sender) == 0);
    return sender;
}

void sr_image_sender_stop(struct sr_image_sender *sender)
{
    if (sender == NULL) {
        return;
    }
    pthread_mutex_lock(&sender->mutex);
    sender->is_stopping = true;
    pthread_cond_broadcast(&sender->changed);
    pthread_mutex_unlock(&sender->mutex);
    pthread_join(sender->thread, NULL);
    for (size_t i = 0; i < SR_PEER_BULK_MAX; i++) {
        sr_check(!sender->slots[i].is_used);
        sr_image_reader_close(sender->slots[i].reader);
    }
    pthread_mutex_destroy(&sender->mutex);
    pthread_cond_destroy(&sender->changed);
    sr_rate_close(&sender->rate);
    sr_free(sender);
}

const struct sr_image_sender_metrics *sr_image_sender_metrics(const struct sr_image_sender *sender)
{
    return &sender->metrics;
}
