/* SPDX-License-Identifier: Apache-2.0 */
#include "node/peer/bulk.h"

#include <inttypes.h>
#include <string.h>
#include <sys/random.h>

#include "base/alloc.h"
#include "base/check.h"
#include "proto/limits.h"

/* Looking up, connecting and TLS; then each silence of the other side. */
#define CONNECT_TIMEOUT_MS 10000
#define SILENCE_MAX_MS     20000
#define LENGTH_BYTES       ((size_t)4)

struct sr_bulk {
    struct sr_blocking *blocking;
    const atomic_bool *stop;
    struct sr_buf out;
    struct sr_buf in;
    struct sr_arena arena;
};

struct sr_bulk *sr_bulk_accept(struct sr_blocking *blocking, const atomic_bool *stop)
{
    struct sr_bulk *bulk = sr_zalloc(sizeof(*bulk));
    bulk->blocking = blocking;
    bulk->stop = stop;
    sr_arena_init(&bulk->arena, SR_UNPACK_BYTES_MAX);
    return bulk;
}

void sr_bulk_close(struct sr_bulk *bulk)
{
    if (bulk == NULL) {
        return;
    }
    sr_blocking_close(bulk->blocking);
    sr_buf_close(&bulk->out);
    sr_buf_close(&bulk->in);
    sr_arena_close(&bulk->arena);
    sr_free(bulk);
}

int sr_bulk_send(struct sr_bulk *bulk, const Strongroom__Envelope *envelope,
                 struct sr_bytes payload, struct sr_err *err)
{
    sr_buf_clear(&bulk->out);
    sr_frame_append(&bulk->out, envelope, &payload, 1);
    return sr_blocking_write(bulk->blocking, bulk->out.data, bulk->out.size, SILENCE_MAX_MS, err);
}

int sr_bulk_receive(struct sr_bulk *bulk, struct sr_frame *ret_frame, struct sr_err *err)
{
    sr_buf_clear(&bulk->in);
    int status = sr_blocking_read(bulk->blocking, sr_buf_extend(&bulk->in, LENGTH_BYTES),
                                  LENGTH_BYTES, SILENCE_MAX_MS, err);
    if (status != SR_OK) {
        return status;
    }
    size_t total = sr_get_u32(bulk->in.data);
    if (total == 0 || total > SR_PEER_FRAME_BYTES_MAX) {
        return sr_err_set(err, SR_LIMIT, "frame of %zu bytes, at most %d are allowed", total,
                          SR_PEER_FRAME_BYTES_MAX);
    }
    status = sr_blocking_read(bulk->blocking, sr_buf_extend(&bulk->in, total), total,
                              SILENCE_MAX_MS, err);
    if (status != SR_OK) {
        return status;
    }
    size_t used = 0;
    sr_arena_reset(&bulk->arena);
    status = sr_frame_take(bulk->in.data, bulk->in.size, &bulk->arena, ret_frame, &used, err);
    sr_check(status != SR_AGAIN && (status != SR_OK || used == bulk->in.size));
    return status;
}

bool sr_bulk_has_dns_name(const struct sr_bulk *bulk, const char *name)
{
    return sr_blocking_has_dns_name(bulk->blocking, name);
}

bool sr_bulk_peer_key(const struct sr_bulk *bulk, uint8_t ret_key[32])
{
    return sr_blocking_peer_key(bulk->blocking, ret_key);
}

const char *sr_bulk_address(const struct sr_bulk *bulk)
{
    return sr_blocking_address(bulk->blocking);
}

bool sr_bulk_is_stopped(const struct sr_bulk *bulk)
{
    return atomic_load(bulk->stop);
}

/* ---- Being greeted ---- */

static int status_of(Strongroom__Hello__Refusal code)
{
    return code == STRONGROOM__HELLO__REFUSAL__REMOVED ? SR_REMOVED
           : code == STRONGROOM__HELLO__REFUSAL__BUSY  ? SR_LIMIT
                                                       : SR_REFUSED;
}

static int check_answer(const struct sr_bulk_options *options, const Strongroom__Hello *asked,
                        const Strongroom__Envelope *envelope, struct sr_err *err)
{
    if (envelope->message_case != STRONGROOM__ENVELOPE__MESSAGE_HELLO) {
        return sr_err_set(err, SR_INVALID, "a message of kind %d where a hello is expected",
                          (int)envelope->message_case);
    }
    const Strongroom__Hello *hello = envelope->hello;
    bool is_join = options->purpose == STRONGROOM__HELLO__PURPOSE__JOIN;
    bool is_meant = hello->session == asked->session && hello->purpose == asked->purpose &&
                    (is_join || (hello->member_id == options->target &&
                                 hello->cluster_id == options->cluster_id));
    if (hello->refusal[0] != '\0') {
        return sr_err_set(err, is_meant ? status_of(hello->refusal_code) : SR_REFUSED,
                          "the member says: %.200s", hello->refusal);
    }
    if (!is_meant) {
        return sr_err_set(err, SR_REFUSED, "the answer is of another member or to another hello");
    }
    if (hello->format != SR_PEER_FORMAT || (hello->incompatible & ~SR_PEER_INCOMPATIBLE) != 0) {
        return sr_err_set(err, SR_REFUSED,
                          "peer format %" PRIu32 " with features 0x%" PRIx64 ", here it is %d",
                          hello->format, hello->incompatible, SR_PEER_FORMAT);
    }
    return SR_OK;
}

static int greet(struct sr_bulk *bulk, const struct sr_bulk_options *options, struct sr_err *err)
{
    Strongroom__Hello hello;
    strongroom__hello__init(&hello);
    hello.cluster_id = options->cluster_id;
    hello.member_id = options->self;
    hello.target_id = options->target;
    hello.format = SR_PEER_FORMAT;
    hello.feature_level = options->feature_level;
    hello.purpose = options->purpose;
    hello.compatible = SR_PEER_COMPATIBLE;
    hello.incompatible = SR_PEER_INCOMPATIBLE;
    sr_check(getrandom(&hello.session, sizeof(hello.session), 0) == sizeof(hello.session));
    Strongroom__Envelope envelope = STRONGROOM__ENVELOPE__INIT;
    envelope.message_case = STRONGROOM__ENVELOPE__MESSAGE_HELLO;
    envelope.hello = &hello;
    struct sr_frame answer;
    int status = sr_bulk_send(bulk, &envelope, (struct sr_bytes){NULL, 0}, err);
    if (status == SR_OK) {
        status = sr_bulk_receive(bulk, &answer, err);
    }
    return status == SR_OK ? check_answer(options, &hello, answer.envelope, err) : status;
}

int sr_bulk_connect(const struct sr_bulk_options *options, struct sr_bulk **ret, struct sr_err *err)
{
    struct sr_tls *tls = NULL;
    int status = sr_tls_client_new(options->tls, SR_PEER_ALPN, &tls, err);
    if (status != SR_OK) {
        return status;
    }
    struct sr_blocking *blocking = NULL;
    struct sr_blocking_target target = {options->address, options->target_name};
    status = sr_blocking_connect(&target, tls, options->stop, CONNECT_TIMEOUT_MS, &blocking, err);
    sr_tls_free(tls);
    if (status != SR_OK) {
        return status;
    }
    struct sr_bulk *bulk = sr_bulk_accept(blocking, options->stop);
    status = greet(bulk, options, err);
    if (status != SR_OK) {
        sr_bulk_close(bulk);
        return status;
    }
    *ret = bulk;
    return SR_OK;
}
