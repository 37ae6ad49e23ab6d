/* SPDX-License-Identifier: Apache-2.0
 *
 * The rules. Some are held as things happen, some over the whole history at the end.
 *
 *   check_durable.c   P1: what was acknowledged is there, on every member, after all that befell
 *   check_order.c     P2: there is one order of all operations, it is real time's, and every
 *                     answer follows from it
 *   check_once.c      P3: a command takes effect once, and never if it was refused
 *   check_state.c     P5: the same log gives the same state and the same answers
 *   check_storage.c   one leader a term, one vote a term, one log; nothing applied before it is in
 *                     the own log; what was made durable is found at a start, and fits together
 */
#ifndef SR_TESTS_SIMULATION_CHECK_H
#define SR_TESTS_SIMULATION_CHECK_H

#include "storage/raftlog.h"
#include "storage/store.h"

#define CHECK_MEMBERS_MAX 5

struct world;
struct member;

/* What is known of one index of the log; 0: nothing yet. */
struct check_index {
    uint64_t entry;    /* hash of its content, with its term */
    uint64_t state;    /* hash of the state when it was applied */
    uint64_t outcomes; /* hash of its answers */
    int64_t revision;
};

struct check_member {
    uint64_t term; /* promised: it survives */
    uint64_t voted_for;
    uint64_t written;  /* the log has been told to hold entries up to here */
    uint64_t outcomes; /* hash in the making */
};

struct check {
    struct check_index *indexes;
    size_t index_count;
    uint64_t *leaders; /* by term; 0: nobody yet */
    size_t leader_count;
    uint64_t last; /* the highest index that was applied anywhere */
    uint64_t reigns;
    struct check_member members[CHECK_MEMBERS_MAX];
};

struct check_entry {
    uint64_t index;
    uint64_t term;
    uint32_t type;
    struct sr_bytes data;
};

void check_close(struct check *check);
uint64_t check_hash(uint64_t hash, const void *data, size_t size); /* begin with 0 */
/* The place of @index, made if it is new. */
struct check_index *check_at(struct check *check, uint64_t index);

/* @member applies an entry: the one that everybody has there? */
void check_entry(struct member *member, const struct check_entry *entry);
/* It has applied it: the state that everybody has? */
void check_state(struct member *member);
/* What became of one command of the entry that is being applied. */
void check_outcome(struct member *member, const struct sr_outcome *outcome);

/* A command in the log, seen for the first time. */
void check_once_applied(struct world *world, uint64_t index, struct sr_bytes command);
void check_once_outcome(struct world *world, const struct sr_outcome *outcome);
/* Attempt @sequence was refused: it did not happen and will not. */
void check_refused(struct world *world, uint64_t sequence);

void check_storage_opened(struct member *member, const struct sr_raftlog_state *state);
/* An image takes the place of state and log. */
void check_storage_adopts(struct member *member);
void check_storage_voted(struct member *member, uint64_t term, uint64_t voted_for);
void check_storage_written(struct member *member, uint64_t index, unsigned count);
/* Entries from @index on are about to become void. */
void check_storage_truncates(struct member *member, uint64_t index);
void check_storage_handed_over(struct member *member, uint64_t index);
/* After each turn. */
void check_member(struct member *member);

/* At the end, when all members run and agree. */
void check_durable(struct world *world);
void check_order(struct world *world);
void check_once(struct world *world);

#endif
