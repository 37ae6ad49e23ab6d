/* SPDX-License-Identifier: Apache-2.0
 *
 * Bulk connections that come in: each is taken off the loop after its hello and served on a thread
 * of its own, of which there are few. A thread that is done waits to be joined by the loop's tick.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/log.h"
#include "node/peer/peers_internal.h"

struct bulk_call {
    struct bulk_call *next; /* in peers->bulk_calls */
    struct sr_peers *peers;
    struct sr_bulk *bulk;
    uv_thread_t thread;
    Strongroom__Hello answer; /* to its hello */
    uint64_t member;
    atomic_bool is_done;
};

static void run(void *arg)
{
    struct bulk_call *call = arg;
    struct sr_err err = {0};
    Strongroom__Envelope envelope = STRONGROOM__ENVELOPE__INIT;
    envelope.message_case = STRONGROOM__ENVELOPE__MESSAGE_HELLO;
    envelope.hello = &call->answer;
    if (sr_bulk_send(call->bulk, &envelope, (struct sr_bytes){NULL, 0}, &err) == SR_OK) {
        const struct sr_peers *peers = call->peers;
        peers->events.on_bulk(peers->arg, call->bulk, call->answer.purpose, call->member);
    }
    sr_bulk_close(call->bulk);
    atomic_store(&call->is_done, true);
}

void bulk_reap(struct sr_peers *peers, bool all)
{
    struct bulk_call **at = &peers->bulk_calls;
    while (*at != NULL) {
        struct bulk_call *call = *at;
        if (!all && !atomic_load(&call->is_done)) {
            at = &call->next;
            continue;
        }
        sr_check(uv_thread_join(&call->thread) == 0);
        *at = call->next;
        peers->bulk_count--;
        sr_free(call);
    }
}

bool bulk_is_busy(struct sr_peers *peers)
{
    bulk_reap(peers, false);
    return peers->bulk_count >= SR_PEER_BULK_MAX;
}

bool bulk_serve(struct sr_peers *peers, struct sr_stream *stream, const Strongroom__Hello *hello)
{
    struct sr_blocking *blocking = sr_stream_detach(stream, &peers->is_bulk_stopped);
    if (blocking == NULL) {
        return false;
    }
    struct bulk_call *call = sr_zalloc(sizeof(*call));
    call->peers = peers;
    call->member = hello->member_id;
    call->bulk = sr_bulk_accept(blocking, &peers->is_bulk_stopped);
    link_fill_answer(peers, &call->answer, hello);
    if (uv_thread_create(&call->thread, run, call) != 0) {
        sr_log(SR_LOG_ERROR, "peer", "no thread for a bulk connection", "");
        sr_bulk_close(call->bulk);
        sr_free(call);
        return true; /* it is off the loop, and closed */
    }
    call->next = peers->bulk_calls;
    peers->bulk_calls = call;
    peers->bulk_count++;
    return true;
}
