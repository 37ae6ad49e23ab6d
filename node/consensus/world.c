/* SPDX-License-Identifier: Apache-2.0
 *
 * The world as the core sees it, made of the real things: clock, log, links, the state, and whoever
 * asked.
 */
#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "base/alloc.h"
#include "base/check.h"
#include "node/consensus/loop.h"

void sr_consensus_fail(void *arg, const struct sr_err *err)
{
    struct sr_consensus *consensus = arg;
    if (!atomic_exchange(&consensus->failed, true)) {
        consensus->options.on_failure(consensus->options.arg, err);
    }
}

static uint64_t env_now_ns(void *arg)
{
    (void)arg;
    return sr_clock_monotonic_ns();
}

static uint32_t env_random(void *arg)
{
    (void)arg;
    uint32_t value = 0;
    sr_check(getrandom(&value, sizeof(value), 0) == (ssize_t)sizeof(value));
    return value;
}

static int env_log_read(void *arg, uint64_t index, struct sr_buf *scratch,
                        struct sr_log_entry *ret_entry, struct sr_err *err)
{
    struct sr_consensus *consensus = arg;
    return sr_raftlog_read(consensus->options.log, index, scratch, ret_entry, err);
}

static int env_log_append_now(void *arg, const struct sr_log_entry *entry, struct sr_err *err)
{
    struct sr_consensus *consensus = arg;
    sr_raftlog_append(consensus->options.log, entry, 1);
    return sr_raftlog_sync(consensus->options.log, err);
}

static int env_get_manifest(void *arg, struct sr_buf *ret_data, struct sr_err *err)
{
    struct sr_consensus *consensus = arg;
    return sr_raftlog_get_manifest(consensus->options.log, ret_data, err);
}

static int env_set_vote(void *arg, uint64_t term, uint64_t voted_for, struct sr_err *err)
{
    struct sr_consensus *consensus = arg;
    return sr_raftlog_set_vote(consensus->options.log, term, voted_for, err);
}

static void env_log_submit(void *arg, struct sr_core_op *op)
{
    struct sr_consensus *consensus = arg;
    sr_writer_op(consensus->writer, op);
}

static void env_task_submit(void *arg, struct sr_core_task *task)
{
    struct sr_consensus *consensus = arg;
    sr_writer_task(consensus->writer, task);
}

static bool env_send(void *arg, uint64_t member, const Strongroom__Envelope *envelope,
                     const struct sr_bytes *payload, size_t payload_count)
{
    struct sr_consensus *consensus = arg;
    return consensus->peers != NULL &&
           sr_peers_send(consensus->peers, member, envelope, payload, payload_count);
}

_Static_assert((int)SR_ENTRY_COMMAND == RAFT_COMMAND && (int)SR_ENTRY_BARRIER == RAFT_BARRIER &&
                   (int)SR_ENTRY_CONFIGURATION == RAFT_CHANGE,
               "types of entries");

static bool env_is_up(void *arg, uint64_t member)
{
    struct sr_consensus *consensus = arg;
    return consensus->peers != NULL && sr_peers_is_up(consensus->peers, member);
}

static void env_apply(void *arg, uint64_t index, uint64_t term, uint32_t type, const uint8_t *data,
                      size_t size)
{
    struct sr_consensus *consensus = arg;
    sr_applier_post(consensus->applier, index, term, (enum sr_entry_type)type, data, size);
}

static void env_apply_backlog(void *arg, size_t *ret_entries, size_t *ret_bytes)
{
    struct sr_consensus *consensus = arg;
    sr_applier_backlog(consensus->applier, ret_entries, ret_bytes);
}

static uint64_t env_durable_index(void *arg)
{
    struct sr_consensus *consensus = arg;
    return sr_store_durable_index(consensus->options.store);
}

static void env_answer(void *arg, uint64_t origin, uint64_t sequence, enum sr_api_error error,
                       uint64_t index)
{
    struct sr_consensus *consensus = arg;
    sr_origins_answer(consensus->options.origins, origin, sequence, error, index);
}

static void env_proposal_done(void *arg, struct sr_proposal *proposal)
{
    struct sr_consensus *consensus = arg;
    atomic_fetch_sub(&consensus->proposals_waiting, 1);
    atomic_fetch_sub(&consensus->proposal_bytes_waiting, proposal->command.size);
    sr_gauge_add(&consensus->metrics.proposals_waiting, -1);
    sr_proposal_free(proposal);
}

static void env_read_done(void *arg, struct sr_read *read)
{
    struct sr_consensus *consensus = arg;
    atomic_fetch_sub(&consensus->reads_waiting, 1);
    sr_free(read);
}

static void env_image_needed(void *arg, uint64_t member)
{
    struct sr_consensus *consensus = arg;
    if (consensus->options.on_image_needed != NULL) {
        consensus->options.on_image_needed(consensus->options.arg, member);
    }
}

struct sr_core_env sr_consensus_world(struct sr_consensus *consensus)
{
    return (struct sr_core_env){
        .now_ns = env_now_ns,
        .random = env_random,
        .log_read = env_log_read,
        .log_append_now = env_log_append_now,
        .get_manifest = env_get_manifest,
        .set_vote = env_set_vote,
        .log_submit = env_log_submit,
        .task_submit = env_task_submit,
        .send = env_send,
        .is_up = env_is_up,
        .apply = env_apply,
        .apply_backlog = env_apply_backlog,
        .durable_index = env_durable_index,
        .image_needed = env_image_needed,
        .answer = env_answer,
        .proposal_done = env_proposal_done,
        .read_done = env_read_done,
        .fail = sr_consensus_fail,
        .arg = consensus,
    };
}
