/* SPDX-License-Identifier: Apache-2.0
 *
 * The log is held for a follower that takes an image.
 *
 *   fetch finds nothing ─► image needed, said each second ─► follower adopts one and starts again
 *     hold begins at what is durable here                      │
 *         │                                                     ▼
 *         ├── too many bytes, too long: given up, over again   fed from the image's point on
 *         └── what the follower has is in memory: done ◄────────┘
 *
 * The image is taken of this node and not before now, so its point is at or behind the hold. What
 * is kept costs disk: hence the bounds. A hold ends with the reign; the next leader finds out by
 * itself.
 */
#include <inttypes.h>

#include "base/log.h"
#include "node/consensus/internal.h"

#define SAY_EVERY_MS 1000

static uint64_t bytes_max(const struct sr_core *core)
{
    uint64_t keep = core->options.log_keep_bytes;
    if (core->options.hold_bytes != 0) {
        return core->options.hold_bytes;
    }
    if (keep < SR_IMAGE_HOLD_BYTES_MIN / SR_IMAGE_HOLD_FACTOR) {
        return SR_IMAGE_HOLD_BYTES_MIN;
    }
    return keep > UINT64_MAX / SR_IMAGE_HOLD_FACTOR ? UINT64_MAX : keep * SR_IMAGE_HOLD_FACTOR;
}

static void say(struct sr_core *core, struct sr_core_peer *peer)
{
    Strongroom__ImageNeeded message = STRONGROOM__IMAGE_NEEDED__INIT;
    message.term = raft_current_term(&core->raft);
    message.index = peer->hold.needs;
    Strongroom__Envelope envelope = STRONGROOM__ENVELOPE__INIT;
    envelope.message_case = STRONGROOM__ENVELOPE__MESSAGE_IMAGE_NEEDED;
    envelope.image_needed = &message;
    sr_core_send(core, peer, &envelope, NULL, 0);
    peer->hold.said_ms = core->now_ms;
}

void sr_core_hold_begin(struct sr_core *core, struct sr_core_peer *peer, uint64_t needs)
{
    struct sr_core_hold *hold = &peer->hold;
    if (hold->index == 0) {
        uint64_t durable = core->env.durable_index(core->env.arg);
        hold->index = durable == 0 ? 1 : durable;
        hold->since_ms = core->now_ms;
        sr_count(&core->metrics->followers_beyond_log, 1);
        sr_log(SR_LOG_WARN, "consensus", "a follower needs an image: the log is held for it",
               "member=%016" PRIx64 " needs_index=%" PRIu64 " held_from=%" PRIu64, peer->id, needs,
               hold->index);
    }
    hold->needs = needs;
    say(core, peer);
}

static void end(struct sr_core_peer *peer)
{
    peer->hold = (struct sr_core_hold){0};
}

static void give_up_if_too_much(struct sr_core *core, struct sr_core_peer *peer)
{
    uint64_t bytes = sr_marks_bytes_after(&core->marks, peer->hold.index);
    uint64_t ms = core->now_ms - peer->hold.since_ms;
    if (bytes <= bytes_max(core) && ms <= SR_IMAGE_HOLD_MS_MAX) {
        return;
    }
    sr_count(&core->metrics->image_holds_given_up, 1);
    sr_log(SR_LOG_ERROR, "consensus",
           "a follower has not caught up in time: the log is not held for it any longer",
           "member=%016" PRIx64 " held_bytes=%" PRIu64 " held_ms=%" PRIu64, peer->id, bytes, ms);
    end(peer);
    if (peer->feed.state == SR_FEED_IMAGE) {
        peer->feed.state = SR_FEED_WANTED; /* which finds nothing, and a new hold begins */
        peer->feed.next = peer->hint + 1;
    }
}

static void tend(struct sr_core *core, struct sr_core_peer *peer)
{
    raft_index match = 0;
    if (raft_match_index(&core->raft, peer->id, &match) == 0 &&
        match + 1 >= sr_core_first_in_memory(core)) {
        sr_log(SR_LOG_INFO, "consensus", "a follower with an image has caught up",
               "member=%016" PRIx64 " index=%" PRIu64, peer->id, (uint64_t)match);
        end(peer);
        return;
    }
    if (peer->feed.state == SR_FEED_IMAGE && core->now_ms - peer->hold.said_ms >= SAY_EVERY_MS) {
        say(core, peer);
    }
    give_up_if_too_much(core, peer);
}

void sr_core_hold_turn(struct sr_core *core)
{
    for (size_t i = 0; i < core->peer_count; i++) {
        if (core->peers[i].hold.index == 0) {
            continue;
        }
        if (sr_core_leads(core)) {
            tend(core, &core->peers[i]);
        } else {
            end(&core->peers[i]);
        }
    }
}

/* The entry before the first that is needed tells its term, so it is kept too. */
uint64_t sr_core_hold_limit(const struct sr_core *core, uint64_t index)
{
    for (size_t i = 0; i < core->peer_count; i++) {
        uint64_t held = core->peers[i].hold.index;
        if (held != 0 && held - 1 < index) {
            index = held - 1;
        }
    }
    return index;
}

/* ---- on the follower ---- */

void sr_core_image_needed(struct sr_core *core, const struct sr_core_peer *peer,
                          const Strongroom__ImageNeeded *message)
{
    if (message->term == raft_current_term(&core->raft) && core->leader == peer->id &&
        !sr_core_leads(core) && message->index > core->applies.seen) {
        core->env.image_needed(core->env.arg, peer->id);
    }
}
