/* SPDX-License-Identifier: Apache-2.0
 *
 * Putting consensus together: start and stop, and what other threads may call. world.c has what
 * the core sees of it.
 *
 * Order of the end: the loop, so that nothing reaches the core any more; the writer's threads;
 * the core, which answers whoever still waits; the storage threads, which apply what they have.
 */
#include "node/consensus/consensus.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/log.h"
#include "node/consensus/loop.h"
#include "proto/limits.h"

void sr_proposal_free(struct sr_proposal *proposal)
{
    if (proposal != NULL) {
        sr_buf_close(&proposal->command);
        sr_free(proposal);
    }
}

/* ---- events from other threads and from the links ---- */

static void on_full(void *arg, bool full)
{
    struct sr_consensus *consensus = arg;
    atomic_store(&consensus->log_full, full);
    sr_consensus_wake(consensus);
}

static void on_frame(void *arg, uint64_t member, const struct sr_frame *frame)
{
    struct sr_consensus *consensus = arg;
    if (frame->envelope->message_case == STRONGROOM__ENVELOPE__MESSAGE_MEMBERS) {
        sr_consensus_record_heard(consensus, frame->envelope->members->record);
    } else if (frame->envelope->message_case == STRONGROOM__ENVELOPE__MESSAGE_HASH_REPORT) {
        sr_consensus_hashes_received(consensus, member, frame->envelope->hash_report);
    } else {
        sr_core_receive(consensus->core, member, frame);
    }
}

static void on_link(void *arg, uint64_t member, bool up)
{
    struct sr_consensus *consensus = arg;
    sr_core_link(consensus->core, member, up);
    if (up) {
        sr_consensus_record_tell(consensus, member);
    }
}

static void on_bulk(void *arg, struct sr_bulk *bulk, Strongroom__Hello__Purpose purpose,
                    uint64_t member)
{
    struct sr_consensus *consensus = arg;
    consensus->options.on_bulk(consensus->options.arg, bulk, purpose, member);
}

static void on_removed(void *arg, uint64_t member)
{
    struct sr_err err;
    sr_err_set(&err, SR_REMOVED,
               "this member was removed from the cluster, says member %016" PRIx64, member);
    sr_consensus_fail(arg, &err);
}

/* ---- start and stop ---- */

static int start_core(struct sr_consensus *consensus, const struct sr_consensus_options *options,
                      struct sr_err *err)
{
    uint64_t ids[SR_MEMBERS_MAX];
    for (size_t i = 0; i < options->member_count; i++) {
        ids[i] = options->members[i].id;
    }
    struct sr_core_options core = {
        .self = options->self,
        .members = ids,
        .member_count = options->member_count,
        .joins = options->joins,
        .election_timeout_ms = options->election_timeout_ms,
        .log_state = options->log_state,
        .log_bytes = sr_raftlog_disk_bytes(options->log),
        .log_keep_bytes = options->log_keep_bytes,
        .log_keep_entries = options->log_keep_entries,
        .metrics = &consensus->metrics,
        .env = sr_consensus_world(consensus),
    };
    return sr_core_start(&core, &consensus->core, err);
}

static int open_peers(struct sr_consensus *consensus, const struct sr_consensus_options *options,
                      struct sr_err *err)
{
    struct sr_peer_member members[SR_MEMBERS_MAX];
    sr_consensus_record_init(consensus, options->members, options->member_count);
    for (size_t i = 0; i < options->member_count; i++) {
        members[i] = (struct sr_peer_member){.id = options->members[i].id,
                                             .name = options->members[i].name,
                                             .address = options->members[i].peer_address};
    }
    struct sr_peers_options peers = {
        .loop = &consensus->loop,
        .cluster_id = options->cluster_id,
        .self = options->self,
        .members = members,
        .member_count = options->member_count,
        .listen = options->peer_listen,
        .tls = options->peer_tls,
        .feature_level = options->feature_level,
        .incarnation = options->incarnation,
        .events = {.on_frame = on_frame,
                   .on_link = on_link,
                   .on_removed = on_removed,
                   .on_bulk = options->on_bulk == NULL ? NULL : on_bulk},
        .arg = consensus,
    };
    int status = sr_peers_open(&peers, &consensus->peers, err);
    if (status == SR_OK) {
        sr_consensus_record_sync(consensus); /* the record may know better */
    }
    return status;
}

static void init_sync(struct sr_consensus *consensus)
{
    pthread_condattr_t attributes;
    sr_check(pthread_condattr_init(&attributes) == 0);
    sr_check(pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0);
    consensus->info_mutex = sr_alloc(sizeof(*consensus->info_mutex));
    sr_check(pthread_mutex_init(consensus->info_mutex, NULL) == 0);
    sr_check(pthread_cond_init(&consensus->info_changed, &attributes) == 0);
    pthread_condattr_destroy(&attributes);
    /* The bounds are ours: what waits stays counted after the loop has taken it. */
    sr_mailbox_init(&consensus->proposals, SIZE_MAX, sr_consensus_wake, consensus);
    sr_mailbox_init(&consensus->reads, SIZE_MAX, sr_consensus_wake, consensus);
    sr_mailbox_init(&consensus->ops_done, SIZE_MAX, sr_consensus_wake, consensus);
    sr_mailbox_init(&consensus->tasks_done, SIZE_MAX, sr_consensus_wake, consensus);
}

static void start_threads(struct sr_consensus *consensus)
{
    struct sr_applier_options applier = {
        .store = consensus->options.store,
        .origins = consensus->options.origins,
        .on_applied = sr_consensus_wake,
        .on_durable = sr_consensus_wake,
        .on_failure = sr_consensus_fail,
        .arg = consensus,
    };
    consensus->applier = sr_applier_start(&applier);
    struct sr_writer_options writer = {
        .log = consensus->options.log,
        .ops_done = &consensus->ops_done,
        .tasks_done = &consensus->tasks_done,
        .on_full = on_full,
        .on_failure = sr_consensus_fail,
        .arg = consensus,
    };
    consensus->writer = sr_writer_start(&writer);
}

/* Whoever posted after the loop took its last mail. */
static void answer_late(struct sr_consensus *consensus)
{
    const struct sr_core_env world = sr_consensus_world(consensus);
    struct sr_mail *list = sr_mailbox_take(&consensus->proposals);
    while (list != NULL) {
        struct sr_proposal *proposal = sr_container(list, struct sr_proposal, mail);
        list = list->next;
        world.answer(consensus, proposal->origin, proposal->sequence, SR_API_STOPPED, 0);
        world.proposal_done(consensus, proposal);
    }
    list = sr_mailbox_take(&consensus->reads);
    while (list != NULL) {
        struct sr_read *read = sr_container(list, struct sr_read, mail);
        list = list->next;
        world.answer(consensus, read->origin, read->sequence, SR_API_STOPPED, 0);
        world.read_done(consensus, read);
    }
    list = sr_mailbox_take(&consensus->tasks_done);
    while (list != NULL) {
        struct sr_core_task *task = sr_container(list, struct sr_core_task, mail);
        list = list->next;
        sr_core_task_free(task);
    }
}

/* Once the loop's thread is gone, or if it never was there. */
static void tear_down(struct sr_consensus *consensus)
{
    atomic_store(&consensus->stopping, true);
    sr_writer_stop(consensus->writer);
    /* The core's: it frees them all, those too that were done after the loop's last turn. */
    (void)sr_mailbox_take(&consensus->ops_done);
    if (consensus->core != NULL) {
        sr_core_stop(consensus->core);
    }
    sr_applier_stop(consensus->applier);
    sr_consensus_loop_close(consensus);
    sr_consensus_record_close(consensus);
    answer_late(consensus);
    sr_mailbox_close(&consensus->proposals);
    sr_mailbox_close(&consensus->reads);
    sr_mailbox_close(&consensus->ops_done);
    sr_mailbox_close(&consensus->tasks_done);
    pthread_cond_destroy(&consensus->info_changed);
    pthread_mutex_destroy(consensus->info_mutex);
    sr_free(consensus->info_mutex);
    sr_free(consensus);
}

int sr_consensus_start(const struct sr_consensus_options *options, struct sr_consensus **ret,
                       struct sr_err *err)
{
    sr_check(options->member_count >= 1 && options->member_count <= SR_MEMBERS_MAX);
    struct sr_consensus *consensus = sr_zalloc(sizeof(*consensus));
    consensus->options = *options;
    consensus->options.members = NULL;
    consensus->options.peer_tls = NULL;
    if (sr_consensus_loop_open(consensus) != SR_OK) {
        sr_free(consensus);
        return sr_err_set(err, SR_LIMIT, "cannot make an event loop: too few file descriptors");
    }
    init_sync(consensus);
    start_threads(consensus);
    int status = start_core(consensus, options, err);
    if (status == SR_OK) {
        status = open_peers(consensus, options, err);
    }
    if (status != SR_OK) {
        tear_down(consensus);
        return status;
    }
    sr_consensus_loop_run(consensus);
    *ret = consensus;
    return SR_OK;
}

void sr_consensus_stop(struct sr_consensus *consensus)
{
    sr_consensus_loop_stop(consensus);
    tear_down(consensus);
}

/* ---- any thread ---- */

static struct timespec deadline_in(unsigned timeout_ms)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    at.tv_sec += timeout_ms / 1000;
    at.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
    if (at.tv_nsec >= 1000000000) {
        at.tv_sec++;
        at.tv_nsec -= 1000000000;
    }
    return at;
}

/* Wait until this node does not lead, and, if @another, somebody else does. */
static bool await_other_leader(struct sr_consensus *consensus, bool another, unsigned timeout_ms)
{
    struct timespec deadline = deadline_in(timeout_ms);
    const struct sr_consensus_info *info = &consensus->info;
    int waited = 0;
    pthread_mutex_lock(consensus->info_mutex);
    bool done = false;
    while (!(done = !info->is_leader && (!another || info->leader != 0)) && info->voters > 1 &&
           waited != ETIMEDOUT) {
        waited = pthread_cond_timedwait(&consensus->info_changed, consensus->info_mutex, &deadline);
    }
    pthread_mutex_unlock(consensus->info_mutex);
    return done;
}

bool sr_consensus_yield(struct sr_consensus *consensus, unsigned timeout_ms)
{
    atomic_store(&consensus->yielding, true);
    sr_consensus_wake(consensus);
    return await_other_leader(consensus, true, timeout_ms);
}

bool sr_consensus_step_down(struct sr_consensus *consensus, unsigned timeout_ms)
{
    atomic_store(&consensus->stepping_down, true);
    sr_consensus_wake(consensus);
    return await_other_leader(consensus, false, timeout_ms);
}

void sr_consensus_move_leader(struct sr_consensus *consensus, uint64_t member)
{
    atomic_store(&consensus->move_leader_to, member);
    sr_consensus_wake(consensus);
}

bool sr_consensus_propose(struct sr_consensus *consensus, struct sr_proposal *proposal)
{
    size_t bytes = proposal->command.size;
    size_t count = atomic_fetch_add(&consensus->proposals_waiting, 1);
    size_t total = atomic_fetch_add(&consensus->proposal_bytes_waiting, bytes);
    if (count >= SR_PROPOSALS_WAITING_MAX || total + bytes > SR_PROPOSAL_BYTES_WAITING_MAX ||
        atomic_load(&consensus->stopping)) {
        atomic_fetch_sub(&consensus->proposals_waiting, 1);
        atomic_fetch_sub(&consensus->proposal_bytes_waiting, bytes);
        return false;
    }
    sr_gauge_add(&consensus->metrics.proposals_waiting, 1);
    sr_mailbox_post_always(&consensus->proposals, &proposal->mail);
    return true;
}

bool sr_consensus_read(struct sr_consensus *consensus, struct sr_read *read)
{
    size_t count = atomic_fetch_add(&consensus->reads_waiting, 1);
    if (count >= SR_READS_WAITING_MAX || atomic_load(&consensus->stopping)) {
        atomic_fetch_sub(&consensus->reads_waiting, 1);
        return false;
    }
    sr_mailbox_post_always(&consensus->reads, &read->mail);
    return true;
}

size_t sr_consensus_progress(const struct sr_consensus *consensus,
                             struct sr_member_progress out[SR_MEMBERS_MAX], uint64_t *ret_age_ms)
{
    uint64_t now_ms = sr_clock_monotonic_ns() / 1000000u;
    pthread_mutex_lock(consensus->info_mutex);
    size_t count = consensus->progress_count;
    uint64_t at_ms = consensus->progress_at_ms;
    memcpy(out, consensus->progress, count * sizeof(*out));
    pthread_mutex_unlock(consensus->info_mutex);
    *ret_age_ms = at_ms == 0 ? UINT64_MAX : now_ms > at_ms ? now_ms - at_ms : 0;
    return count;
}

void sr_consensus_image_progress(struct sr_consensus *consensus, uint64_t member, uint64_t bytes,
                                 uint64_t total)
{
    size_t at = 0;
    pthread_mutex_lock(consensus->info_mutex);
    while (at < consensus->image_count && consensus->images[at].member != member) {
        at++;
    }
    if (at < SR_MEMBERS_MAX) {
        consensus->image_count += at == consensus->image_count;
        consensus->images[at] = (struct sr_consensus_image){member, bytes, total};
    }
    pthread_mutex_unlock(consensus->info_mutex);
}

void sr_consensus_info(const struct sr_consensus *consensus, struct sr_consensus_info *ret_info)
{
    pthread_mutex_lock(consensus->info_mutex);
    *ret_info = consensus->info;
    pthread_mutex_unlock(consensus->info_mutex);
}

const struct sr_consensus_metrics *sr_consensus_metrics(const struct sr_consensus *consensus)
{
    return &consensus->metrics;
}

const struct sr_peers *sr_consensus_peers(const struct sr_consensus *consensus)
{
    return consensus->peers;
}
