/* SPDX-License-Identifier: Apache-2.0
 *
 * Members that come and go, in a life that has them: an operator adds machines, promotes learners
 * and removes members through commands of the log, and the links follow the cluster record as
 * node/consensus/record.c has them do it. A machine that was removed does not come back.
 */
#ifndef SR_TESTS_SIMULATION_ROSTER_H
#define SR_TESTS_SIMULATION_ROSTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct world;
struct member;

/* A cluster record, as far as it matters here: sets of members, as bits. */
struct roster_record {
    uint64_t epoch;
    uint32_t members;
    uint32_t voters;
    uint32_t removed;
};

struct roster {
    bool changes; /* in this life */
    bool leaving; /* nothing new is asked for */
    size_t founders;
    uint64_t at_ns;
    uint64_t every_ns;
    uint64_t asked;              /* changes that the operator asked for */
    struct roster_record latest; /* that any member has applied */
};

void roster_init(struct world *world);
uint64_t roster_next(const struct world *world);
void roster_step(struct world *world);

/* Whether the machine is a member by the latest record, or by birth. */
bool roster_has(const struct world *world, size_t at);
/* Whom it speaks to at its start: the ids, ascending. */
size_t roster_known(const struct world *world, size_t at, uint64_t *ids);
/* The state has applied something: tell the core if the record is another. */
void roster_applied(struct member *member);
/* Whether both sides would have the link. */
bool roster_may_link(const struct world *world, size_t from, size_t to);
/* A link came up: each side learns of a newer record. */
void roster_met(struct world *world, size_t from, size_t to);
/* Whether the configuration of whoever leads is what the record wants. */
bool roster_is_done(struct world *world);

#endif
