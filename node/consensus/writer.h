/* SPDX-License-Identifier: Apache-2.0
 *
 * The two threads beside the consensus loop that may wait for the disk: the writer puts ops into
 * the log, everything that has queued as one write and one sync; the worker does the tasks of the
 * core (reads for followers, manifests, release) and prepares segments.
 */
#ifndef SR_NODE_CONSENSUS_WRITER_H
#define SR_NODE_CONSENSUS_WRITER_H

#include "node/consensus/core.h"

struct sr_writer;

struct sr_writer_options {
    struct sr_raftlog *log;
    /* Ops that are durable, oldest first; tasks that are done. */
    struct sr_mailbox *ops_done;
    struct sr_mailbox *tasks_done;
    /* On the writer's thread: the disk is full, or no longer. */
    void (*on_full)(void *arg, bool full);
    /* On one of the threads: nothing is written any more. */
    void (*on_failure)(void *arg, const struct sr_err *err);
    void *arg;
};

struct sr_writer *sr_writer_start(const struct sr_writer_options *options);
/* Finish what is being written, drop the rest (ops stay the core's), free. Tasks that were not
 * done are freed. */
void sr_writer_stop(struct sr_writer *writer);

/* From one thread, in order. Their number is bounded by what libraft has in flight. */
void sr_writer_op(struct sr_writer *writer, struct sr_core_op *op);
void sr_writer_task(struct sr_writer *writer, struct sr_core_task *task);

#endif
