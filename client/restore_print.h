/* SPDX-License-Identifier: Apache-2.0
 *
 * What reading an off-site target has to tell people: what is there, how far the work is.
 */
#ifndef SR_CLIENT_RESTORE_PRINT_H
#define SR_CLIENT_RESTORE_PRINT_H

#include "node/restore/plan.h"

/* What was found, on standard output; of a plan that failed, as far as it came. */
void restore_print_plan(const struct sr_plan *plan);

/* How far the work is, on standard error: on a terminal each second, otherwise each half a minute.
 */
struct restore_progress {
    const struct sr_plan *plan;
    const char *command;
    bool terminal;
    uint64_t said_ns; /* when it was last said; 0: not yet */
    size_t step;      /* that is restored */
    uint64_t before;  /* bytes of the steps before */
};
void restore_progress_begin(struct restore_progress *progress, const char *command,
                            const struct sr_plan *plan);
/* For sr_fetch_all.progress and sr_stage.progress; @arg is the progress. */
void restore_progress_fetch(void *arg, size_t whole, uint64_t bytes);
void restore_progress_stage(void *arg, size_t number, uint64_t bytes);
/* The line is done. */
void restore_progress_end(struct restore_progress *progress);

#endif
