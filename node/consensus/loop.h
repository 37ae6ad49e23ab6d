/* SPDX-License-Identifier: Apache-2.0
 *
 * The inside of struct sr_consensus: what its two halves share, consensus.c (the outside, any
 * thread) and loop.c (the consensus loop).
 */
#ifndef SR_NODE_CONSENSUS_LOOP_H
#define SR_NODE_CONSENSUS_LOOP_H

#include <pthread.h>
#include <uv.h>

#include "node/consensus/core.h"
#include "node/consensus/writer.h"

/* Whom this node is linked to; see record.c. */
struct sr_consensus_link {
    uint64_t id;
    char *name;
    char *address;
    bool is_leaving; /* not in the record, perhaps still in libraft's configuration */
    bool is_heard;   /* not in our record, but in a newer one that another member has */
};
struct sr_consensus_record {
    uint64_t epoch; /* of the cluster record that this is of; 0: of the options */
    struct sr_consensus_link links[SR_MEMBERS_MAX];
    size_t link_count;
    size_t leaving_count;
    uint64_t *removed;
    size_t removed_count;
    bool is_self_removed;
    uint64_t heard_epoch; /* of the newest record of another member */
};

/* How far a member is with an image of this node, on its way to the loop. */
struct sr_consensus_image {
    uint64_t member;
    uint64_t bytes;
    uint64_t total;
};

/* Reports of replica checks; see hashes.c. Under the info mutex. */
struct sr_consensus_hashes {
    struct sr_replica_report reports[SR_MEMBERS_MAX];
    size_t count;
    struct sr_replica_report own; /* to be sent */
    bool own_waits;
};

struct sr_consensus {
    struct sr_consensus_options options; /* without members */
    struct sr_consensus_metrics metrics;
    struct sr_core *core;
    struct sr_peers *peers;
    struct sr_applier *applier;
    struct sr_writer *writer;
    struct sr_consensus_record record;

    uv_loop_t loop;
    uv_thread_t thread;
    uv_async_t wake;
    uv_timer_t tick;
    uv_prepare_t turn;

    /* Into the loop. */
    struct sr_mailbox proposals;
    struct sr_mailbox reads;
    struct sr_mailbox ops_done;
    struct sr_mailbox tasks_done;
    atomic_size_t proposals_waiting;
    atomic_size_t proposal_bytes_waiting;
    atomic_size_t reads_waiting;
    atomic_bool log_full;
    atomic_bool stepping_down;
    atomic_bool yielding;
    _Atomic uint64_t move_leader_to; /* 0: no wish */
    atomic_bool stopping;            /* nothing is let in any more */
    atomic_bool failed;

    /* Out of it. */
    pthread_mutex_t *info_mutex; /* apart, so that readers of a const struct can lock it */
    pthread_cond_t info_changed; /* who leads */
    struct sr_consensus_info info;
    /* Under info_mutex too. */
    struct sr_member_progress progress[SR_MEMBERS_MAX];
    size_t progress_count;
    uint64_t progress_at_ms;
    struct sr_consensus_image images[SR_MEMBERS_MAX];
    size_t image_count;
    struct sr_consensus_hashes hashes;
};

/* record.c, on the loop or before it runs: follow the record that the state has applied. */
void sr_consensus_record_init(struct sr_consensus *consensus,
                              const struct sr_consensus_member *members, size_t count);
void sr_consensus_record_sync(struct sr_consensus *consensus);
/* Tell @member the record as applied. */
void sr_consensus_record_tell(struct sr_consensus *consensus, uint64_t member);
/* Another member has @from. */
void sr_consensus_record_heard(struct sr_consensus *consensus,
                               const Strongroom__ClusterRecord *from);
void sr_consensus_record_close(struct sr_consensus *consensus);

/* hashes.c, on the loop */
void sr_consensus_hashes_received(struct sr_consensus *consensus, uint64_t member,
                                  const Strongroom__HashReport *message);
void sr_consensus_hashes_send(struct sr_consensus *consensus);

/* world.c */
struct sr_core_env sr_consensus_world(struct sr_consensus *consensus);
/* The node must stop; any thread, the first one counts. @arg: the consensus. */
void sr_consensus_fail(void *arg, const struct sr_err *err);

/* loop.c: the loop and its handles, on the calling thread; then its thread. */
int sr_consensus_loop_open(struct sr_consensus *consensus);
void sr_consensus_loop_run(struct sr_consensus *consensus);
/* Close links and tick, end the thread. sr_consensus_wake is still allowed after this. */
void sr_consensus_loop_stop(struct sr_consensus *consensus);
void sr_consensus_loop_close(struct sr_consensus *consensus);
/* What a mailbox of the loop wakes. */
void sr_consensus_wake(void *arg);

#endif
