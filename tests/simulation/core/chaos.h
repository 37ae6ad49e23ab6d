/* SPDX-License-Identifier: Apache-2.0
 *
 * A random life of a cluster: writes and reads on all nodes, crashes and restarts, partitions,
 * broken links, hand-overs, decided by the seed.
 */
#ifndef SR_TESTS_SIMULATION_CHAOS_H
#define SR_TESTS_SIMULATION_CHAOS_H

#include "sim.h"

/* Run @ms of it and finish (sim_finish). The simulation is initialised, not started. */
void chaos_run(struct sim *sim, unsigned ms);

#endif
