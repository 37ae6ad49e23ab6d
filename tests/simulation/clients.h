/* SPDX-License-Identifier: Apache-2.0
 *
 * Clients: each has one operation under way, at one member, and goes elsewhere when it is not
 * served. What it may not know the fate of it tries again only under a request id.
 */
#ifndef SR_TESTS_SIMULATION_CLIENTS_H
#define SR_TESTS_SIMULATION_CLIENTS_H

#include "storage/store.h"
#include "tests/simulation/history.h"

struct world;
struct member;
struct sr_core_op;
struct sr_view;

#define CLIENTS_MAX 8

enum client_state {
    CLIENT_IDLE,   /* until at_ns, then the next operation begins */
    CLIENT_WAITS,  /* for an answer, until at_ns */
    CLIENT_QUEUES, /* at a member that is paused; until at_ns */
    CLIENT_ANSWER, /* is on its way and arrives at at_ns */
    CLIENT_SERVE,  /* a read may be served, and is at at_ns */
    CLIENT_AGAIN   /* tries once more at at_ns */
};

struct client {
    enum client_state state;
    uint64_t at_ns;
    size_t member;
    uint64_t op; /* its number */
    bool with_id;
    uint64_t sequence; /* of this attempt */
    int64_t expected;  /* CAS: as this client last saw the key, or nothing */
    int64_t seen[HISTORY_KEYS];
    int64_t revision_seen;
    int64_t at_revision; /* of a read; 0: the newest */
    struct sr_view *view;
    enum sr_api_error error;
    struct sr_outcome outcome;
};

struct clients {
    struct client list[CLIENTS_MAX];
    size_t count;
    uint64_t think_ns;
    size_t value_bytes;
    bool leaving; /* nothing new begins */
    uint64_t done;
    uint64_t reads;
    uint64_t unknown;
};

void clients_init(struct world *world);
void clients_close(struct world *world);
uint64_t clients_next(const struct world *world);
void clients_step(struct world *world);
/* All have an answer, and begin nothing new. */
bool clients_rest(const struct world *world);

/* ---- from members ---- */

/* The core's answer to attempt @sequence: a refusal, or a read may be served. */
void clients_answered(struct member *member, uint64_t sequence, enum sr_api_error error,
                      uint64_t index);
/* The state's; takes over the body. */
void clients_outcome(struct member *member, struct sr_outcome *outcome);
/* The planted bug: commands of @op are answered as if they had been applied. */
void clients_answer_early(struct member *member, const struct sr_core_op *op);
/* Connections break. */
void clients_member_gone(struct world *world, struct member *member);
/* What came while the member was paused is read by it first. */
void clients_member_resumed(struct world *world, struct member *member);

/* ---- clients_read.c ---- */

/* The read of @client, now; false: what it asks for is compacted. */
bool clients_serve(struct world *world, struct client *client);
/* Read @key of @member as of @view; @at_revision 0: the newest. False: compacted. */
bool clients_read_key(struct member *member, struct sr_view *view, size_t key, int64_t at_revision,
                      struct found *ret);

#endif
