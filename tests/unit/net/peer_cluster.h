/* SPDX-License-Identifier: Apache-2.0
 *
 * Three members on one loop, each on a loopback address of its own, and hand-made connections
 * that say whatever a test wants.
 */
#ifndef SR_TESTS_UNIT_NET_PEER_CLUSTER_H
#define SR_TESTS_UNIT_NET_PEER_CLUSTER_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include "node/net/listener.h"
#include "node/net/stream.h"
#include "node/peer/peers_internal.h"

#define MEMBERS    3
#define CLUSTER_ID 0xc1u
/* Ids of members: not their index, so that nobody mixes the two. */
#define ID_OF(index) (101 + (uint64_t)(index))

struct node {
    struct sr_peers *peers;
    unsigned frames[MEMBERS]; /* from which member */
    uint64_t last_term[MEMBERS];
    bool is_order_broken;
    struct sr_buf last_payload;
    unsigned ups[MEMBERS];
    unsigned downs[MEMBERS];
    uint64_t removed_by; /* who told us so */
    bool is_done;
};

struct cluster {
    uv_loop_t loop;
    char addresses[MEMBERS][32];
    struct sr_peer_member members[MEMBERS];
    uint32_t levels[MEMBERS]; /* feature levels, for cluster_open_node */
    struct node nodes[MEMBERS];
};

int cluster_make_pki(void **state);
int cluster_remove_pki(void **state);
void cluster_init(struct cluster *cluster);
/* Open member @index with the certificate @stem. */
void cluster_open_node(struct cluster *cluster, size_t index, const char *stem,
                       uint64_t cluster_id);
void cluster_open(struct cluster *cluster);
void cluster_close_node(struct cluster *cluster, size_t index);
void cluster_close(struct cluster *cluster);
void cluster_run(struct cluster *cluster, bool (*condition)(void *arg), void *arg);
bool all_up(void *cluster);
bool cluster_send(struct cluster *cluster, size_t from, size_t to, uint64_t term,
                  const char *payload);
struct sr_tls *cluster_tls(const char *stem, bool server);
const struct sr_peer_metrics *cluster_metrics(struct cluster *cluster, size_t of, size_t about);

/* An end of a connection that speaks frames by hand. */
struct puppet {
    struct cluster *cluster;
    struct sr_stream *stream;
    struct link_input input;
    bool is_open;
    bool is_closed;
    bool pauses_after_hello;
    bool answers_hello; /* as member puppet_index would */
    bool answers_pings;
    unsigned hellos;
    unsigned pongs;
    unsigned others;
    char refusal[256];
    Strongroom__Hello__Refusal refusal_code;
    uint64_t compatible; /* in its hello, as the next */
    uint64_t incarnation;
    uint64_t session;
    struct sr_err reason;
};

/* Connect to member @to with the certificate @stem, and wait until TLS is up. */
void puppet_connect(struct cluster *cluster, struct puppet *puppet, size_t to, const char *stem);
/* Take what member @index's listener would: @puppet gets the next connection. */
struct sr_listener *puppet_listen(struct cluster *cluster, struct puppet *puppet, size_t index);
void puppet_send(struct puppet *puppet, const Strongroom__Envelope *envelope);
void puppet_send_hello(struct puppet *puppet, size_t from, size_t to);
void puppet_send_term(struct puppet *puppet, uint64_t term);
void puppet_send_raw(struct puppet *puppet, const void *data, size_t size);
bool puppet_is_greeted(void *puppet);
bool puppet_is_closed(void *puppet);
void puppet_free(struct puppet *puppet);

#endif
