/* SPDX-License-Identifier: Apache-2.0
 *
 * The archives of a plan, several at a time: one thread is busy with a snapshot while others take
 * the changes behind it.
 */
#ifndef SR_NODE_RESTORE_FETCH_ALL_H
#define SR_NODE_RESTORE_FETCH_ALL_H

#include "node/restore/fetch.h"
#include "node/restore/many.h"

struct sr_fetch_all {
    struct sr_targets targets;
    /* Where to, and until when; the counters are those of all. Its target and its progress are not
     * used here. */
    struct sr_fetch *fetch;
    /* Called now and then, on any of the threads, but never on two at a time: so many archives are
     * whole, and so many bytes of all of them are there. NULL: nobody asks. */
    void (*progress)(void *arg, size_t whole, uint64_t bytes);
    void *arg;
};

/* As sr_fetch_archive for each of @manifests, @count of them. A failure lets those that have begun
 * come to their end, which the next attempt keeps; the lowest that has failed goes to *ret_failed,
 * which is @count when none has. */
int sr_fetch_all(const struct sr_fetch_all *all, const struct sr_manifest *const *manifests,
                 size_t count, size_t *ret_failed, struct sr_err *err);

#endif
