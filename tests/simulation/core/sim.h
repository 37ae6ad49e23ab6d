/* SPDX-License-Identifier: Apache-2.0
 *
 * A cluster of cores in one thread: virtual time, a network of FIFO links with delay, loss of
 * whole links and partitions, a disk that loses what was not synced, a state that becomes durable
 * now and then. All of it follows from one seed.
 *
 * The state machine is a list of commands, each 16 bytes: origin (the node that took it) and
 * sequence. What is checked as it runs:
 *   - an index holds the same entry on every node;
 *   - a command is applied at most once, and never if it was refused as "did not happen";
 *   - a node applies only what its own log holds durably;
 *   - a read sees every write that was acknowledged before the read began.
 * And at the end: nothing acknowledged is missing, and all nodes agree.
 */
#ifndef SR_TESTS_SIMULATION_SIM_H
#define SR_TESTS_SIMULATION_SIM_H

#include "node/consensus/core.h"

#define SIM_NODES_MAX 9
#define SIM_TICK_MS   25

struct sim_entry {
    uint64_t term;
    uint32_t type;
    uint8_t *data;
    size_t size;
};

/* The cluster record: sets of nodes, a bit each. Epoch 0: none yet. */
struct sim_record {
    uint64_t epoch;
    unsigned voters;
    unsigned learners;
    unsigned removed;
};

/* What the state knows of its own point. */
struct sim_state {
    uint64_t term;
    uint64_t configuration_index;
    struct sr_buf configuration;
};

/* What survives a crash. */
struct sim_disk {
    struct sim_entry *entries; /* of index first .. first + count - 1 */
    uint64_t first;
    size_t count;
    size_t capacity;
    uint64_t term;
    uint64_t voted_for;
    struct sr_buf manifest;
    uint64_t state_index; /* of the durable state */
    struct sim_state state;
    struct sim_record record;
};

struct sim_frame {
    struct sim_frame *next;
    uint64_t at_ns;
    size_t size;
    uint8_t data[];
};

struct sim_link {
    struct sim_frame *head;
    struct sim_frame *tail;
    bool cut; /* by the test: down until healed */
    bool up;  /* as the sender was told */
    uint64_t up_at_ns;
};

enum sim_command_state { SIM_NONE, SIM_WAITS, SIM_ACKED, SIM_UNKNOWN, SIM_NEVER };
struct sim_command {
    enum sim_command_state state;
    enum sr_api_error error;
    uint64_t owner;      /* the node that took it */
    uint64_t applied_at; /* index, as any node saw it; 0: not yet */
    uint64_t proposed_ns;
    uint64_t answered_ns;
    struct sim_record record; /* it makes this the cluster record, if that is of the epoch before */
};

struct sim_read {
    bool waits;
    enum sr_api_error error;
    uint64_t must_see; /* the highest index acknowledged anywhere before it began */
};

struct sim_node {
    struct sim *sim;
    uint64_t id; /* 1.. */
    bool alive;
    bool gone;   /* it was told that it is removed, and stopped for good */
    bool paused; /* as by SIGSTOP */
    bool failed;
    struct sr_err failure;
    struct sr_core *core;
    struct sr_consensus_metrics metrics;
    struct sim_disk disk;
    uint64_t tick_at_ns;
    /* Writing: ops in order, durable at once when the disk is ready. */
    struct sr_mail *ops;
    struct sr_mail **ops_end;
    uint64_t disk_ready_ns;
    uint64_t disk_delay_ns; /* 0: random */
    bool disk_stuck;
    bool disk_full; /* for manifests */
    struct sr_mail *tasks;
    struct sr_mail **tasks_end;
    uint64_t task_at_ns;
    /* State. */
    uint64_t posted;          /* last index that the core handed over */
    uint64_t applied;         /* and that was applied */
    struct sim_record record; /* as applied */
    struct sim_state state;   /* likewise */
    uint64_t image_from;      /* whose image it will start from, and when; 0: nobody's */
    uint64_t image_at_ns;
    unsigned images_needed;
    unsigned images_adopted;
    struct sim_record heard; /* from another node; newer than its own, if not 0 */
    uint64_t told;           /* epoch of the record that the core knows */
    uint64_t apply_at_ns;
    uint64_t flush_at_ns;
    bool flush_never;
    size_t backlog_entries; /* what apply_backlog says, beside the truth */
    unsigned frames_out;
    unsigned appends_out; /* with entries */
    uint64_t entry_bytes_out;
};

struct sim {
    uint64_t seed;
    uint64_t random;
    uint64_t now_ns;
    size_t count;
    bool churn;     /* chaos changes the members too */
    size_t initial; /* the first of them are members from birth, the others join; 0: all */
    struct sim_node nodes[SIM_NODES_MAX];
    struct sim_link links[SIM_NODES_MAX][SIM_NODES_MAX];
    uint64_t delay_min_ns;
    uint64_t delay_max_ns;
    unsigned election_timeout_ms;
    uint32_t guards_off;
    size_t snapshot_bytes;
    size_t trailing_bytes;
    uint64_t log_keep_bytes;
    uint64_t log_keep_entries;
    uint64_t hold_bytes;
    size_t command_bytes; /* at least 16 */
    /* Let a frame pass? NULL: all pass. */
    bool (*filter)(struct sim *sim, size_t from, size_t to, const struct sr_frame *frame);
    size_t watched; /* a node that the test has its eye on */
    /* What was applied, by index: hash of the entry, 0 unknown. */
    uint64_t *history;
    size_t history_count;
    struct sim_command *commands;
    size_t command_count;
    size_t command_capacity;
    struct sim_read *reads;
    size_t read_count;
    size_t read_capacity;
    uint64_t *changes; /* indexes of the configurations that were applied, ascending */
    size_t change_count;
    uint8_t *leaders; /* by term: the node that led, from 1 */
    size_t leader_count;
    uint64_t acked_index;
    unsigned acked;
    unsigned reads_done;
    unsigned elections;
    /* The first rule that was broken; empty: none. */
    char violation[256];
};

void sim_init(struct sim *sim, uint64_t seed, size_t count);
void sim_start(struct sim *sim); /* all nodes */
void sim_close(struct sim *sim);

uint64_t sim_random(struct sim *sim, uint64_t below);
/* Run for @ms, or until @done (may be NULL) says so; whether it did. */
bool sim_run(struct sim *sim, unsigned ms, bool (*done)(struct sim *sim));
void sim_violate(struct sim *sim, const char *format, ...) __attribute__((format(printf, 2, 3)));

void sim_crash(struct sim *sim, size_t at);
int sim_restart(struct sim *sim, size_t at, struct sr_err *err);
void sim_cut(struct sim *sim, size_t from, size_t to, bool cut);
void sim_isolate(struct sim *sim, size_t node, bool isolated);
void sim_heal(struct sim *sim);
/* Break a link for a moment: what is on it is lost. */
void sim_reset_link(struct sim *sim, size_t from, size_t to);

/* Returns the command's number. */
size_t sim_propose(struct sim *sim, size_t at);
size_t sim_read(struct sim *sim, size_t at);
/* The node that leads with the highest term, or SIM_NODES_MAX. */
size_t sim_leader(struct sim *sim);
bool sim_has_leader(struct sim *sim);
bool sim_all_answered(struct sim *sim);
/* The members are what the record of the node that leads says, and it says the same everywhere. */
bool sim_members_settled(struct sim *sim);
/* All alive nodes have applied the same index, and it is the last one. */
bool sim_converged(struct sim *sim);
/* Heal, restart everything, write once more, and see that all agree. */
void sim_finish(struct sim *sim);

/* sim_members.c */
/* The newest record that any node has applied. */
struct sim_record sim_record(const struct sim *sim);
/* Propose at node @at what makes @record the cluster record; its epoch is filled in. */
size_t sim_propose_record(struct sim *sim, size_t at, struct sim_record record);
void sim_members_tell(struct sim_node *node);
bool sim_members_may_link(const struct sim *sim, size_t a, size_t b);
/* Stop nodes that hear of their removal. */
void sim_members_step(struct sim *sim);
/* Whether @node is not a member yet, or not any more. */
bool sim_members_out(const struct sim *sim, size_t node);
/* A node that was away while everybody whom it knows was removed finds nobody: only a person can
 * help it. */
void sim_members_help_stranded(struct sim *sim);
/* A member; or one that is not, any more, but has not heard of it: its vote may be needed. */
bool sim_members_may_start(const struct sim *sim, size_t node);
/* A random change of members, proposed at @at. */
void sim_members_churn(struct sim *sim, size_t at);
/* A configuration entry is applied somewhere. */
void sim_members_note_change(struct sim *sim, uint64_t index);
/* A manifest tells the configuration of its own index. */
void sim_members_check_manifest(struct sim_node *node, const struct sr_buf *data);
/* No term has two leaders. */
void sim_members_check_leader(struct sim_node *node);

/* sim_image.c */
void sim_image_needed(void *arg, uint64_t member);
void sim_image_step(struct sim *sim);

/* sim_disk.c */
void sim_disk_env(struct sr_core_env *env);
void sim_disk_run_ops(struct sim_node *node);
void sim_disk_run_tasks(struct sim_node *node);
void sim_disk_crash(struct sim_node *node);
struct sr_raftlog_state sim_disk_state(const struct sim_disk *disk);
void sim_disk_clear(struct sim_disk *disk, uint64_t first);
void sim_disk_close(struct sim_disk *disk);

/* sim_net.c */
bool sim_net_send(void *arg, uint64_t member, const Strongroom__Envelope *envelope,
                  const struct sr_bytes *payload, size_t payload_count);
bool sim_net_is_up(void *arg, uint64_t member);
/* When the next frame arrives, or a link comes up; UINT64_MAX: nothing on the way. */
uint64_t sim_net_next(const struct sim *sim);
void sim_net_step(struct sim *sim);
void sim_net_drop(struct sim *sim, size_t from, size_t to);

/* sim_state.c */
void sim_state_env(struct sr_core_env *env);
void sim_state_copy(struct sim_state *to, const struct sim_state *from);
void sim_state_close(struct sim_state *state);
void sim_state_apply(struct sim_node *node);
void sim_state_restart(struct sim_node *node);
void sim_state_flush(struct sim_node *node);

#endif
