/* SPDX-License-Identifier: Apache-2.0
 *
 * Messages of a made-up peer to one core, and short names for their parts.
 */
#ifndef SR_TESTS_SIMULATION_INJECT_H
#define SR_TESTS_SIMULATION_INJECT_H

#include "sim.h"

/* Hand @envelope to node @to as if node @from had sent it. */
void inject(struct sim *sim, size_t from, size_t to, Strongroom__Envelope *envelope,
            const void *payload, size_t payload_size);

struct inject_entry {
    uint64_t term;
    uint32_t type; /* RAFT_COMMAND: an empty batch; RAFT_CHANGE: the configuration of the sim */
};

struct inject_append {
    uint64_t term;
    uint64_t prev_index;
    uint64_t prev_term;
    uint64_t commit;
    const struct inject_entry *entries;
    size_t count;
};
void inject_append(struct sim *sim, size_t from, size_t to, const struct inject_append *append);

#endif
