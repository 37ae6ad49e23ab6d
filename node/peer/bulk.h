/* SPDX-License-Identifier: Apache-2.0
 *
 * A bulk connection: one that is greeted as links are, and then taken off the consensus loop, so
 * that what moves on it, however much, delays no heartbeat. Both ends belong to a thread that may
 * block. The one that connects speaks first; then whatever its purpose says (node/image,
 * node/cluster/join.h).
 */
#ifndef SR_NODE_PEER_BULK_H
#define SR_NODE_PEER_BULK_H

#include <stdatomic.h>

#include "node/net/blocking.h"
#include "node/peer/frame.h"

struct sr_bulk;

/* Whom to ask for what. */
struct sr_bulk_options {
    uint64_t cluster_id; /* this, and the next two: 0 to join */
    uint64_t self;
    uint64_t target;
    const char *target_name; /* NULL to join: the host of the address must be in the certificate */
    const char *address;     /* host:port */
    Strongroom__Hello__Purpose purpose;
    uint32_t feature_level;
    const struct sr_tls_files *tls; /* read anew: a renewed certificate is used at once */
    const atomic_bool *stop;        /* see node/net/blocking.h */
};

/* Connect and be greeted. As sr_blocking_connect; SR_REMOVED when the other side says that we were
 * removed, SR_LIMIT when it is busy, SR_REFUSED with its words otherwise. */
int sr_bulk_connect(const struct sr_bulk_options *options, struct sr_bulk **ret,
                    struct sr_err *err);
/* The other end: takes over @blocking, whose hello the loop has read. */
struct sr_bulk *sr_bulk_accept(struct sr_blocking *blocking, const atomic_bool *stop);
void sr_bulk_close(struct sr_bulk *bulk); /* says goodbye first; NULL is fine */

/* As sr_blocking_write. */
int sr_bulk_send(struct sr_bulk *bulk, const Strongroom__Envelope *envelope,
                 struct sr_bytes payload, struct sr_err *err);
/* The next frame, valid until the next call. As sr_blocking_read; SR_INVALID, SR_LIMIT for one
 * that is not to be trusted. */
int sr_bulk_receive(struct sr_bulk *bulk, struct sr_frame *ret_frame, struct sr_err *err);

bool sr_bulk_has_dns_name(const struct sr_bulk *bulk, const char *name);
const char *sr_bulk_address(const struct sr_bulk *bulk);
/* As sr_blocking_peer_key. */
bool sr_bulk_peer_key(const struct sr_bulk *bulk, uint8_t ret_key[32]);
/* Whether the node wants its thread back. */
bool sr_bulk_is_stopped(const struct sr_bulk *bulk);

#endif
