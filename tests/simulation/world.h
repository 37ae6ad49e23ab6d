/* SPDX-License-Identifier: Apache-2.0
 *
 * A cluster in one thread and in virtual time. Real are libraft and node/consensus's core, with
 * its read rounds; the log on disk (storage/raftlog); the state (storage/store on LMDB).
 * Simulated are the clock, the network, the log's disk, the threads around all that, the clients,
 * and what befalls them. docs/simulation.md says what is simulated how, and what is not.
 *
 * All decisions follow from one seed. Nothing else may decide: no wall clock, no address, no
 * ciphertext (keys and salts are drawn anew each time, but sizes and order do not depend on them).
 * The trace has a line for each event; its hash is the same for the same seed and options.
 *
 *   world     time, random numbers, trace, verdict
 *   member    a node: core, log, store, and what its threads would do     member*.c
 *   disk      what survives, under each member's log                      disk.c
 *   network   links between members                                       network.c
 *   clients   operations and their history                                clients.c, history.c
 *   faults    what goes wrong, and when                                   faults.c
 *   roster    members that come and go                              roster.c
 *   checks    the rules                                                   check_*.c
 */
#ifndef SR_TESTS_SIMULATION_WORLD_H
#define SR_TESTS_SIMULATION_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/simulation/check.h"
#include "tests/simulation/clients.h"
#include "tests/simulation/faults.h"
#include "tests/simulation/history.h"
#include "tests/simulation/member.h"
#include "tests/simulation/network.h"
#include "tests/simulation/roster.h"

#define WORLD_MEMBERS_MAX 5
#define WORLD_MS          UINT64_C(1000000) /* in nanoseconds */
#define WORLD_NEVER       UINT64_MAX
#define WORLD_CLUSTER     UINT64_C(0xc1)

/* Bugs that can be planted in what the simulation itself supplies, to see that they are found.
 * Those of the core are in enum sr_core_guard. */
enum world_bug {
    WORLD_BUG_EARLY_ANSWER = 1 << 0,   /* answered when the taking node's own log has it */
    WORLD_BUG_NO_REQUEST_IDS = 1 << 1, /* a retried command takes effect again */
    WORLD_BUG_LYING_DISK = 1 << 2,     /* a sync that does nothing */
    WORLD_BUG_STALE_VIEW = 1 << 3,     /* a linearizable read is served before it is confirmed */
};

struct world_options {
    uint64_t seed;
    size_t members;      /* 3 or 5 */
    unsigned ms;         /* of virtual time with faults; then all is healed and checked */
    bool trace;          /* print it */
    uint32_t guards_off; /* enum sr_core_guard */
    uint32_t bugs;       /* enum world_bug */
    const char *dir;     /* an empty directory in memory; what is made there is removed */
};

struct world {
    struct world_options options;
    uint64_t random;
    uint64_t now_ns;
    size_t count;
    struct member members[WORLD_MEMBERS_MAX];
    struct network network;
    struct clients clients;
    struct history history;
    struct faults faults;
    struct roster roster;
    struct check check;
    bool images_wanted; /* in this life logs are short */
    uint64_t images;    /* adopted */
    /* The trace. */
    uint64_t trace_hash;
    uint64_t trace_lines;
    char violation[512]; /* the first rule that was broken; empty: none */
};

/* Virtual seconds, operations and so on, for who wants to know that something happened. */
struct world_summary {
    uint64_t trace_hash;
    uint64_t trace_lines;
    uint64_t virtual_ms;
    uint64_t acknowledged;
    uint64_t reads;
    uint64_t unknown;
    uint64_t entries; /* of the log, applied */
    uint64_t starts;  /* of members */
    uint64_t leaders; /* terms that had one */
    uint64_t faults;
    uint64_t images;  /* adopted */
    uint64_t changes; /* of members, asked for */
    char violation[512];
};

/* One whole life. Returns whether no rule was broken. */
bool world_run(const struct world_options *options, struct world_summary *ret);

/* ---- for the parts ---- */

/* 0 .. below - 1; 0 for 0. */
uint64_t world_random(struct world *world, uint64_t below);
/* True once in @times. */
bool world_chance(struct world *world, uint64_t times);
/* From @least to @most, most of them near @least. */
uint64_t world_skewed(struct world *world, uint64_t least, uint64_t most);
/* A line of the trace: no addresses, paths or texts of errors. */
void world_trace(struct world *world, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* A rule is broken: the first one counts, and ends the run. */
void world_violate(struct world *world, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static inline bool world_is_broken(const struct world *world)
{
    return world->violation[0] != 0;
}
static inline bool world_has_bug(const struct world *world, enum world_bug bug)
{
    return (world->options.bugs & (uint32_t)bug) != 0;
}
static inline void world_earlier(uint64_t *next, uint64_t at_ns)
{
    *next = at_ns < *next ? at_ns : *next;
}
/* Run until @done (may be NULL) says so, at most @ms; whether it did. */
bool world_run_until(struct world *world, unsigned ms, bool (*done)(struct world *world));
/* The member that leads with the highest term, or WORLD_MEMBERS_MAX. */
size_t world_leader(struct world *world);

#endif
