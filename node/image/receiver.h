/* SPDX-License-Identifier: Apache-2.0
 *
 * The side that fetches an image when the leader says that its log no longer reaches back to us.
 * One thread, one image at a time:
 *
 *   (idle) ──wanted──► connect ──► stage chunk by chunk ──► read back, verify, sync ──► complete
 *              ▲           │ broken, refused, no space: what is durable stays, a pause
 *              └───────────┘
 *
 * What is staged goes on where it was after a broken connection and after a crash, as long as the
 * sender still has that image open; else it begins anew. Once everything is staged nobody is asked
 * any more: a crash then costs only the reading back. When it is complete the node has to start
 * anew: the image is adopted there and nowhere else (node/adopt.h).
 */
#ifndef SR_NODE_IMAGE_RECEIVER_H
#define SR_NODE_IMAGE_RECEIVER_H

#include <limits.h>
#include <stdbool.h>

#include "base/metrics.h"
#include "node/net/tls.h"
#include "storage/keyring.h"
#include "storage/store.h"

struct sr_image_receiver;

/* Where a member is. */
struct sr_image_source {
    char name[256];
    char address[272];
};

struct sr_image_receiver_options {
    uint64_t cluster_id;
    uint64_t member_id;
    const struct sr_keyring *keyring; /* that seals what is staged */
    struct sr_store *store;           /* the own state: what is not ahead of it is of no use */
    size_t map_bytes;                 /* these two as for the store */
    uint64_t disk_reserve_bytes;
    size_t staged_entries_max; /* see struct sr_image_writer_options; 0: its default */
    uint32_t feature_level;
    const struct sr_tls_files *tls; /* lives as long as the receiver */
    /* Where to stage, on the receiver's thread: see node/adopt.h. */
    int (*stage)(void *arg, char ret_path[PATH_MAX], struct sr_err *err); /* SR_EXISTS: complete */
    int (*complete)(void *arg, struct sr_err *err);
    int (*discard)(void *arg, struct sr_err *err);
    /* On the receiver's thread. False when @member is not known. */
    bool (*find)(void *arg, uint64_t member, struct sr_image_source *ret_source);
    /* Once, on the receiver's thread: a complete image waits; start the node anew. */
    void (*on_complete)(void *arg);
    /* Once: SR_REMOVED. */
    void (*on_failure)(void *arg, const struct sr_err *err);
    void *arg;
};

struct sr_image_receiver_metrics {
    struct sr_gauge receiving;   /* whether one is being fetched */
    struct sr_gauge image_bytes; /* of it, that are here */
    struct sr_gauge image_total; /* about; 0: none */
    struct sr_counter received_bytes;
    struct sr_counter images_received; /* whole and verified */
    struct sr_counter failures;        /* attempts that ended before that */
};

struct sr_image_receiver *sr_image_receiver_start(const struct sr_image_receiver_options *options);
/* End its thread, within a chunk's work, or after reading back an image that is whole: further
 * wishes are ignored. NULL is fine, as below. */
void sr_image_receiver_halt(struct sr_image_receiver *receiver);
void sr_image_receiver_free(struct sr_image_receiver *receiver); /* halts it first */

/* Any thread, also a loop: @member, who leads, says that we need an image. To be called again while
 * that lasts: after a few seconds without, no new attempt is made. */
void sr_image_receiver_want(struct sr_image_receiver *receiver, uint64_t member);

const struct sr_image_receiver_metrics *
sr_image_receiver_metrics(const struct sr_image_receiver *receiver);

#endif
