/* SPDX-License-Identifier: Apache-2.0
 *
 * How the consensus loop and the storage thread answer a client loop. Each client loop draws a
 * random origin at its start; commands and reads carry (origin, sequence); whoever knows the
 * outcome posts a struct sr_answer to the mailbox of that origin. A call that was given up in the
 * meantime is not found by its sequence any more, and the answer is dropped.
 */
#ifndef SR_NODE_STATE_ANSWER_H
#define SR_NODE_STATE_ANSWER_H

#include "base/buf.h"
#include "base/mailbox.h"
#include "proto/api_error.h"

struct sr_answer {
    struct sr_mail mail;
    uint64_t sequence;
    enum sr_api_error error;
    int64_t revision; /* commands: for the header */
    uint64_t term;
    uint64_t index;     /* reads: what storage had applied at least */
    struct sr_buf body; /* commands: the packed response without its header */
};

void sr_answer_free(struct sr_answer *answer); /* NULL is fine */

#define SR_ORIGINS_MAX 16

/* Filled before threads start, read-only afterwards. */
struct sr_origins {
    size_t count;
    struct {
        uint64_t origin;
        struct sr_mailbox *mailbox;
    } entries[SR_ORIGINS_MAX];
};

/* Draw an origin for the loop behind @mailbox. */
uint64_t sr_origins_add(struct sr_origins *origins, struct sr_mailbox *mailbox);
/* NULL when the origin is of another node, or of an earlier run of this one. */
struct sr_mailbox *sr_origins_find(const struct sr_origins *origins, uint64_t origin);
/* Post an answer without a body to @origin, if it is ours. */
void sr_origins_answer(const struct sr_origins *origins, uint64_t origin, uint64_t sequence,
                       enum sr_api_error error, uint64_t index);

#endif
