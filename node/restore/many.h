/* SPDX-License-Identifier: Apache-2.0
 *
 * Many small things from far away: what costs is waiting for each answer, so several are asked for
 * at once.
 *
 *   0, 1, 2 ... count - 1, in this order ──► the first thread that is free, with a target of its
 * own
 *
 * Invariants:
 *   1. no two threads have the same target at a time;
 *   2. when a call fails, all with a lower index were made, and have ended: so the failure that is
 *      told does not depend on who was faster.
 */
#ifndef SR_NODE_RESTORE_MANY_H
#define SR_NODE_RESTORE_MANY_H

#include <stdatomic.h>
#include <stddef.h>

#include "base/err.h"
#include "node/offsite/target.h"

/* Of one place; at least one. Borrowed: nobody else uses them meanwhile, but to cancel them. */
struct sr_targets {
    struct sr_target *const *list;
    size_t count;
};

/* One of many, on any thread, at the same time as others. */
typedef int (*sr_many_call_cb)(void *arg, struct sr_target *target, size_t index,
                               struct sr_err *err);

struct sr_many {
    struct sr_targets targets;   /* and so many threads: the caller's, and further ones */
    const atomic_bool *stopping; /* NULL: never. Set from any thread: nothing more is begun */
    sr_many_call_cb call;
    void *arg;
};

/* Call once for each index below @count. With one target that is a loop on the caller's thread. All
 * calls have ended when this returns. The first failure lets no further ones begin, and waits for
 * those that have begun. Returns SR_OK; the failure of the lowest index, which goes to
 * *ret_failed; or SR_CLOSED, with *ret_failed = @count, when it was stopped before all had begun
 * and none has failed. @ret_failed may be NULL. */
int sr_many_run(const struct sr_many *many, size_t count, size_t *ret_failed, struct sr_err *err);

#endif
