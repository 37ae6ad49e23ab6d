/* SPDX-License-Identifier: Apache-2.0
 *
 * The links to the other members. Each pair of members has two connections, one opened by each
 * side; a member sends on the connection that it opened itself and receives on the one that was
 * opened to it, so that every direction is one strict order (libraft's PROBE state wedges on
 * reordered messages). A newer connection of the same peer supersedes the older before anything
 * of it is delivered.
 *
 * A member that comes with another data directory than before is refused, as long as anybody
 * remembers: it has forgotten its votes and what it acknowledged.
 *
 * A link is up once both certificates were verified, each carries the name of the member it
 * claims to be, and the hellos agree on cluster, ids and format. Otherwise it is refused with a
 * reason, logged once per change, and tried again with back-off and jitter.
 *
 * Runs on the consensus loop. Knows no raft: it moves envelopes by member id.
 */
#ifndef SR_NODE_PEER_PEERS_H
#define SR_NODE_PEER_PEERS_H

#include <uv.h>

#include "base/metrics.h"
#include "node/net/tls.h"
#include "node/peer/frame.h"
#include "proto/limits.h"

struct sr_peers;
struct sr_bulk;

struct sr_peer_member {
    uint64_t id;
    const char *name;    /* the DNS name in its certificate's SAN */
    const char *address; /* host:port */
};

/* The ids of those who were members once. */
struct sr_peer_removed {
    const uint64_t *ids;
    size_t count;
};

struct sr_peer_events {
    /* A frame from @member, whose identity its certificate proved. Valid during the call. */
    void (*on_frame)(void *arg, uint64_t member, const struct sr_frame *frame);
    /* We can send to @member, or no longer can: what was sent may be lost. */
    void (*on_link)(void *arg, uint64_t member, bool up);
    /* @member, whose identity its certificate proved, says that we were removed from the cluster.
     * May come more than once. */
    void (*on_removed)(void *arg, uint64_t member);
    /* May be NULL: then none are taken. A bulk connection, of @member or, to join, of somebody of
     * whom only the certificate is known (0). On a thread of its own, which it may block until
     * sr_bulk_is_stopped; @bulk is closed when it returns. */
    void (*on_bulk)(void *arg, struct sr_bulk *bulk, Strongroom__Hello__Purpose purpose,
                    uint64_t member);
};

struct sr_peers_options {
    uv_loop_t *loop;
    uint64_t cluster_id;
    uint64_t self;                        /* one of members */
    const struct sr_peer_member *members; /* copied */
    size_t member_count;
    struct sr_peer_removed removed; /* copied */
    const char *listen;             /* host:port */
    const struct sr_tls_files *tls;
    uint32_t feature_level;
    uint64_t incarnation; /* of the own data; 0: not known */
    struct sr_peer_events events;
    void *arg;
};

/* Listen and start to connect. SR_NETWORK when the address is taken, SR_INVALID, TLS errors. */
int sr_peers_open(const struct sr_peers_options *options, struct sr_peers **ret,
                  struct sr_err *err);
/* From now on the members are these (copied) and no others: links to new ones are opened, those to
 * members that are gone are closed once what was queued for them has left, and a member whose
 * address has changed is connected to anew. A member without a name or with an address that cannot
 * be read is not linked; our own entry may be missing. Those in @removed that are no members are
 * told so when they come. on_link may be called from inside, for a link that falls. */
void sr_peers_set_members(struct sr_peers *peers, const struct sr_peer_member *members,
                          size_t member_count, struct sr_peer_removed removed);
/* Close all links, then call @done from the loop and free everything. What is queued gets half a
 * second to leave. No event comes after this call but on_bulk, whose threads are waited for; it may
 * be made from within one. */
void sr_peers_close(struct sr_peers *peers, void (*done)(void *arg), void *arg);

/* Queue a frame for @member; it leaves with the next sr_peers_flush. False when the link is down
 * or SR_PEER_WRITE_BYTES_MAX wait: the message is dropped, as a network may; and when the member's
 * feature level is too low to know it. */
bool sr_peers_send(struct sr_peers *peers, uint64_t member, const Strongroom__Envelope *envelope,
                   const struct sr_bytes *payload, size_t payload_count);
/* Send what is queued on all links; once a loop turn. */
void sr_peers_flush(struct sr_peers *peers);
bool sr_peers_is_up(const struct sr_peers *peers, uint64_t member);

/* Longest name and address of a member, with the 0. */
#define SR_PEER_NAME_MAX    256
#define SR_PEER_ADDRESS_MAX 272
/* Any thread: where @member is. False when it is none, or not linked. */
bool sr_peers_locate(const struct sr_peers *peers, uint64_t member, char ret_name[SR_PEER_NAME_MAX],
                     char ret_address[SR_PEER_ADDRESS_MAX]);

/* Per member; readable on any thread. */
struct sr_peer_metrics {
    uint64_t member;
    const char *name;
    struct sr_gauge up;
    struct sr_gauge feature_level; /* as its last hello said; 0: not yet heard */
    struct sr_counter sent_bytes;
    struct sr_counter received_bytes;
    struct sr_counter dropped_messages;
    struct sr_counter refused_links;
    struct sr_histogram round_trip; /* pings, each second */
};
/* Any thread: one of each other member, in no order; returns how many. They are there until
 * sr_peers_metrics_done, which must follow soon: a change of members waits for it. */
size_t sr_peers_metrics(const struct sr_peers *peers,
                        const struct sr_peer_metrics *ret[SR_MEMBERS_MAX]);
void sr_peers_metrics_done(const struct sr_peers *peers);

#endif
