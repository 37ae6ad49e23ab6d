/* SPDX-License-Identifier: Apache-2.0
 *
 * Images of this node: given to members that are far behind (node/image/sender.h), and fetched when
 * this node is (node/image/receiver.h), with what both need of the node.
 */
#ifndef SR_NODE_IMAGES_H
#define SR_NODE_IMAGES_H

#include "node/consensus/consensus.h"
#include "node/datadir.h"
#include "node/image/receiver.h"
#include "node/image/sender.h"

struct sr_images;

struct sr_images_options {
    const struct sr_config *config;
    const struct sr_datadir *dir;
    struct sr_store *store;
    uint32_t feature_level;
    /* On a thread of its own: the node has to stop and start, which adopts what was fetched. */
    void (*on_complete)(void *arg);
    void (*on_failure)(void *arg, const struct sr_err *err);
    void *arg;
};

/* Before consensus starts. All pointers are borrowed. */
struct sr_images *sr_images_start(const struct sr_images_options *options);
/* Once consensus is there; until then nothing is fetched. */
void sr_images_set_consensus(struct sr_images *images, struct sr_consensus *consensus);
/* Before consensus stops: fetch no more. NULL is fine, as below. */
void sr_images_stop_fetching(struct sr_images *images);
/* After consensus has stopped, before the store is closed. */
void sr_images_free(struct sr_images *images);

/* On the thread of a bulk connection that asks for one. */
void sr_images_serve(struct sr_images *images, struct sr_bulk *bulk, uint64_t member);
/* On the consensus loop: see on_image_needed. */
void sr_images_want(struct sr_images *images, uint64_t member);

const struct sr_image_sender_metrics *sr_images_sender_metrics(const struct sr_images *images);
const struct sr_image_receiver_metrics *sr_images_receiver_metrics(const struct sr_images *images);

#endif
