/* SPDX-License-Identifier: Apache-2.0
 *
 * A state that came as an image (storage/image.h) takes the place of the node's own, at a start.
 *
 *   DIR/incoming/state/     what a writer stages
 *   DIR/incoming/complete   the image is whole, verified and synced; written last
 *
 *   staged ─sr_incoming_complete─► complete ─start: sr_adopt─►
 *     state/ aside as replaced/ ─► the staged state in its place ─► log begun after its point
 *
 * Every step is a rename or can be repeated, so that a crash at any of them leaves the old state
 * or the new one, and the next start goes on.
 */
#ifndef SR_NODE_ADOPT_H
#define SR_NODE_ADOPT_H

#include <stdbool.h>

#include "node/datadir.h"
#include "storage/raftlog.h"
#include "storage/store.h"

/* Make DIR/incoming/state, unless it is there, and return its path: the directory for a writer.
 * SR_EXISTS when a complete image already waits to be adopted; SR_IO, SR_NO_SPACE. */
int sr_incoming_open(const struct sr_datadir *dir, char ret_path[PATH_MAX], struct sr_err *err);
/* The writer has finished and is closed: mark the image complete, synced. The next start adopts
 * it. */
int sr_incoming_complete(const struct sr_datadir *dir, struct sr_err *err);
bool sr_incoming_is_complete(const struct sr_datadir *dir);
/* Throw away whatever is in DIR/incoming; nothing there is fine. */
int sr_incoming_discard(const struct sr_datadir *dir, struct sr_err *err);

struct sr_adopt_options {
    struct sr_store_options store; /* dir is not looked at */
    struct sr_raftlog_options log;
    void (*step)(void *arg); /* tests: after each step; NULL: none */
    void *arg;
};

/* At a start, before state and log are opened: if DIR/incoming is complete, make its state this
 * node's. An image that cannot be read, or is behind the log, is thrown away; so is one that was
 * begun a day ago and never completed. May be repeated after a crash at any step. Fails as opening
 * the store and the log do. */
int sr_adopt(const struct sr_datadir *dir, const struct sr_adopt_options *options,
             struct sr_err *err);

#endif
