/* SPDX-License-Identifier: Apache-2.0
 *
 * What goes wrong, drawn as it goes. Each life has kinds of its own that are likely, rare or
 * absent, so that not everything always drowns in everything else.
 */
#ifndef SR_TESTS_SIMULATION_FAULTS_H
#define SR_TESTS_SIMULATION_FAULTS_H

#include <stdbool.h>
#include <stdint.h>

struct world;

enum fault {
    FAULT_KILL,       /* the process dies */
    FAULT_POWER,      /* so does the machine */
    FAULT_POWER_MID,  /* in the middle of an operation on its disk */
    FAULT_BLACKOUT,   /* all of them at once */
    FAULT_STOP,       /* in order, as an operator does */
    FAULT_PAUSE,      /* SIGSTOP, and SIGCONT after a while */
    FAULT_ISOLATE,    /* all links of one member, both ways */
    FAULT_ONE_WAY,    /* one link */
    FAULT_SPLIT,      /* two sides that cannot talk */
    FAULT_STALL,      /* a link that is silent */
    FAULT_RESET,      /* a link that breaks for a moment */
    FAULT_HEAL,       /* all links */
    FAULT_SLOW_DISK,  /* or a fast one again */
    FAULT_FULL_DISK,  /* or space again */
    FAULT_DISK_ERROR, /* the next sync fails: the node stops */
    FAULT_MOVE_LEADER,
    FAULT_COUNT
};

struct faults {
    bool on;
    unsigned weights[FAULT_COUNT];
    uint64_t every_ns; /* on average */
    uint64_t at_ns;
    uint64_t resume_at_ns[8]; /* by member; UINT64_MAX: it is not paused */
    uint64_t count;
};

void faults_init(struct world *world);
uint64_t faults_next(const struct world *world);
void faults_step(struct world *world);
/* No more of it: everything is whole again, and who is down starts. */
void faults_end(struct world *world);
/* The power of all members goes. */
void faults_blackout(struct world *world);

#endif
