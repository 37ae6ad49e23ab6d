/* SPDX-License-Identifier: Apache-2.0
 *
 * What clients asked for and what they were told: all that the rules about clients know. Beside
 * it, each attempt as the log shows it, so that what was refused can be held against what was
 * applied.
 */
#ifndef SR_TESTS_SIMULATION_HISTORY_H
#define SR_TESTS_SIMULATION_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum op_kind {
    OP_PUT,     /* a register: a value that nobody else writes */
    OP_DELETE,  /* a register */
    OP_CAS,     /* a register: put if its revision is as expected, otherwise read it */
    OP_PAIR,    /* two keys in one transaction: never seen apart */
    OP_COUNT,   /* a put whose effects its key's version counts; always with a request id */
    OP_COMPACT, /* forget what is superseded */
    OP_CLUSTER, /* the operator's: nobody waits for it */
    OP_READ,    /* linearizable */
    OP_SERIAL   /* what one member has, at a revision */
};

enum op_state {
    OP_WAITS,
    OP_DONE,
    OP_UNKNOWN, /* it may have happened, or still */
    OP_NEVER    /* the cluster said that it will not */
};

/* Keys: registers, then counters, then the two of the pair. */
#define HISTORY_REGISTERS 6
#define HISTORY_COUNTERS  2
#define HISTORY_PAIR      (HISTORY_REGISTERS + HISTORY_COUNTERS)
#define HISTORY_KEYS      (HISTORY_PAIR + 2)

struct found {
    bool exists;
    uint64_t value; /* number of the operation that wrote it */
    int64_t mod_revision;
    int64_t version;
};

struct op {
    uint64_t number; /* from 1; its value says it */
    enum op_kind kind;
    enum op_state state;
    size_t key;
    size_t client;
    uint64_t invoked_ns;
    uint64_t returned_ns;
    int64_t revision;         /* of the answer's header; 0: the answer has none */
    bool wrote;               /* at that revision, which is its own */
    int64_t expected;         /* CAS: mod_revision */
    struct found found;       /* reads, and a CAS that failed */
    struct found other;       /* a read of the pair: its second key */
    int64_t applied_revision; /* as members found it in the log; 0: not, or it wrote nothing */
    bool applied;
};

/* A command on its way; its sequence is its place. */
struct attempt {
    uint64_t op;
    uint64_t origin;
    enum op_state state;
    uint64_t applied_at; /* index */
};

struct history {
    struct op *ops;
    size_t op_count;
    size_t op_capacity;
    struct attempt *attempts;
    size_t attempt_count;
    size_t attempt_capacity;
};

void history_close(struct history *history);
/* The pointer is good until the next one is added. Number 0 is nobody's. */
struct op *history_add(struct history *history, enum op_kind kind);
struct op *history_op(struct history *history, uint64_t number);
uint64_t history_attempt(struct history *history, uint64_t op, uint64_t origin);
/* The name of key @key, as etcd sees it. */
const char *history_key(size_t key);
bool op_writes(const struct op *op); /* if it takes effect */

#endif
