/* SPDX-License-Identifier: Apache-2.0
 *
 * The side that gives images of its state to members that are too far behind. Each transfer runs
 * on the thread of its bulk connection (node/peer/bulk.h). When a connection breaks, the image
 * stays open for a minute, so that the member may go on where it was.
 */
#ifndef SR_NODE_IMAGE_SENDER_H
#define SR_NODE_IMAGE_SENDER_H

#include "base/metrics.h"
#include "node/peer/bulk.h"
#include "storage/image.h"

struct sr_image_sender;

struct sr_image_sender_options {
    struct sr_store *store;
    uint64_t bytes_per_second; /* over all transfers; 0: no limit */
    unsigned keep_ms;          /* of a broken transfer's image; 0: a minute */
    /* Any thread: what has gone to @member, of about @total bytes; both 0: nothing is sent. */
    void (*on_progress)(void *arg, uint64_t member, uint64_t bytes, uint64_t total);
    void *arg;
};

struct sr_image_sender_metrics {
    struct sr_gauge sending; /* transfers under way */
    struct sr_counter sent_bytes;
    struct sr_counter images_sent; /* whole */
    struct sr_counter failures;    /* transfers that ended before that */
};

/* Starts a thread, which closes images that nobody comes back for. */
struct sr_image_sender *sr_image_sender_start(const struct sr_image_sender_options *options);
/* All bulk connections have ended before. NULL is fine. */
void sr_image_sender_stop(struct sr_image_sender *sender);

/* On the thread of @bulk, whose other end is @member: answer its request. */
void sr_image_sender_serve(struct sr_image_sender *sender, struct sr_bulk *bulk, uint64_t member);

const struct sr_image_sender_metrics *sr_image_sender_metrics(const struct sr_image_sender *sender);

#endif
