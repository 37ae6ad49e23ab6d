/* SPDX-License-Identifier: Apache-2.0
 *
 * Links between members: one for each direction of a pair, each in strict order as TLS is, each
 * with delays of its own, so that links overtake one another. A frame is never lost alone: either
 * its link breaks, with all that is on it, or it is late.
 */
#ifndef SR_TESTS_SIMULATION_NETWORK_H
#define SR_TESTS_SIMULATION_NETWORK_H

#include "node/peer/frame.h"

#define NETWORK_MEMBERS_MAX 5

struct world;
struct network_frame;

struct network_link {
    struct network_frame *head;
    struct network_frame *tail;
    size_t bytes;
    bool cut;              /* stays down */
    bool up;               /* frames are taken */
    bool told;             /* what the sender knows of that */
    bool broke;            /* it went down since the sender was told */
    uint64_t up_at_ns;     /* when it comes up again, if it is not cut */
    uint64_t stalled_till; /* nothing arrives before; 0: it is not stalled */
};

struct network {
    struct network_link links[NETWORK_MEMBERS_MAX][NETWORK_MEMBERS_MAX]; /* [from][to] */
    uint64_t delay_min_ns;
    uint64_t delay_max_ns;
    size_t bytes_max; /* waiting on one link; beyond: refused */
};

void network_init(struct world *world);
void network_close(struct world *world);
/* As sr_core_env.send; @arg is the struct member that sends. */
bool network_send(void *arg, uint64_t member, const Strongroom__Envelope *envelope,
                  const struct sr_bytes *payload, size_t payload_count);

/* As sr_core_env.is_up. */
bool network_is_up(void *arg, uint64_t member);

/* Break a link: what is on it is lost, and it comes up again in a while. */
void network_reset(struct world *world, size_t from, size_t to);
/* Down until network_heal. */
void network_cut(struct world *world, size_t from, size_t to);
/* Nothing arrives for @ns; then all of it does, late, or the link breaks. */
void network_stall(struct world *world, size_t from, size_t to, uint64_t ns);
/* All links of a member break. */
void network_leave(struct world *world, size_t member);
void network_heal(struct world *world);

uint64_t network_next(const struct world *world);
void network_step(struct world *world);

#endif
