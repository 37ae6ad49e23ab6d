/* SPDX-License-Identifier: Apache-2.0
 *
 * A node of the cluster: what node/consensus, its writer and the applier do on threads of their
 * own happens here as events of one.
 *
 *   member.c        life: start, stop, crash; the core and its environment; time
 *   member_log.c    the writer and its worker: groups, full disks, tasks, segments ahead
 *   member_image.c  images for members beyond the log
 *   member_state.c  the applier: entries in order, answers, freezing, flushing
 */
#ifndef SR_TESTS_SIMULATION_MEMBER_H
#define SR_TESTS_SIMULATION_MEMBER_H

#include "node/adopt.h"
#include "node/consensus/core.h"
#include "storage/store.h"
#include "storage/view.h"
#include "tests/simulation/disk.h"
#include "tests/simulation/roster.h"

#define MEMBER_MAP_BYTES ((size_t)256 * 1024 * 1024) /* of LMDB */

struct world;
struct member_entry; /* committed, waiting to be applied */

/* Who must wait longer than a healthy machine would. */
struct member_pace {
    uint64_t write_min_ns;
    uint64_t write_max_ns;
    uint64_t apply_max_ns;
    uint64_t flush_max_ns;
};

struct member {
    struct world *world;
    size_t at;
    uint64_t id; /* at + 1 */
    char dir[64];
    struct sr_keyring *keyring; /* borrowed: made once a process */
    struct disk disk;
    /* A clock of its own: it began elsewhere and is a little fast or slow. */
    uint64_t clock_offset_ns;
    int64_t clock_drift_ppm;

    bool alive;
    bool paused;   /* as by SIGSTOP: nothing happens here */
    bool stopping; /* hands over leadership, then stops */
    uint64_t stop_at_ns;
    uint64_t start_at_ns; /* when it is started again */
    uint64_t runs;
    struct roster_record record; /* as told to the core */
    struct roster_record heard;  /* of another */
    bool failed;                 /* the core or storage said that the node must stop */
    struct sr_err failure;

    struct sr_core *core;
    struct sr_consensus_metrics metrics;
    struct sr_raftlog *log;
    struct sr_store *store;
    uint64_t origin; /* of commands taken in this run */
    bool curious;    /* builds every answer, not only its own clients' */
    uint64_t tick_at_ns;
    struct member_pace pace;
    struct {
        size_t segment_bytes;
        size_t snapshot_bytes;
        size_t trailing_bytes;
        size_t memtable_entries;
        size_t unindexed_entries;
        uint64_t keep_bytes; /* of log, behind the flushed state */
        uint64_t keep_entries;
    } sizes;

    /* The writer: what was submitted, and the group that it is at. */
    struct sr_mail *ops;
    struct sr_mail **ops_end;
    struct sr_mail *group;
    bool group_queued; /* in the log's memory */
    uint64_t write_at_ns;
    bool full;
    /* Its worker. */
    struct sr_mail *tasks;
    struct sr_mail **tasks_end;
    bool prepare;
    uint64_t work_at_ns;

    /* The applier. */
    struct member_entry *entries;
    struct member_entry **entries_end;
    size_t entry_count;
    size_t entry_bytes;
    uint64_t posted; /* last index handed over in this run */
    uint64_t apply_at_ns;
    uint64_t freeze_at_ns;
    uint64_t flush_at_ns;
    uint64_t entries_applied; /* in all runs */

    /* Images. */
    struct sr_datadir place;
    size_t image_from;
    uint64_t image_at_ns;
    bool image_due; /* staged: this node starts anew */
};

void member_init(struct member *member, struct world *world, size_t at);
void member_close(struct member *member); /* crashes it; removes its files */

/* Open log and store, start the core. False when it may not start now, or broke a rule. */
bool member_start(struct member *member);
/* The process dies. With @power, what was not synced may be lost. It is started again after a
 * while. */
void member_crash(struct member *member, bool power);
/* Hand over leadership, then stop in order. */
void member_stop(struct member *member);

/* Inputs of the core. */
void member_receive(struct member *member, uint64_t from, const struct sr_frame *frame);
void member_link(struct member *member, uint64_t to, bool up);
void member_propose(struct member *member, struct sr_proposal *proposal);
void member_read(struct member *member, struct sr_read *read);
void member_move_leader(struct member *member, uint64_t to);
bool member_info(const struct member *member, struct sr_consensus_info *ret); /* false: not alive */

uint64_t member_next(const struct member *member);
void member_step(struct member *member);
/* A failure of storage: the node must stop. */
void member_fail(void *arg, const struct sr_err *err);

/* member_log.c */
void member_log_env(struct sr_core_env *env);
void member_log_reset(struct member *member);
/* Write and sync the group, and give it back to the core if @done. */
void member_log_write(struct member *member, bool done);
void member_log_work(struct member *member);
void member_log_crash(struct member *member);

/* member_image.c */
void member_image_env(struct sr_core_env *env);
void member_image_init(struct member *member);
void member_image_close(struct member *member);
void member_image_fetch(struct member *member);
/* At a start: take what was staged, if it is complete. */
int member_image_adopt(struct member *member, const struct sr_store_options *store,
                       const struct sr_raftlog_options *log, struct sr_err *err);

/* member_state.c */
void member_state_env(struct sr_core_env *env);
void member_state_reset(struct member *member);
void member_state_apply(struct member *member);
void member_state_freeze(struct member *member);
void member_state_flush(struct member *member);
void member_state_flush_all(struct member *member);
void member_state_crash(struct member *member);

#endif
