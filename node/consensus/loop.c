/* SPDX-License-Identifier: Apache-2.0
 *
 * The consensus loop. Each turn: frames, mail and the tick go into the core; then, before the
 * loop waits again (uv_prepare), the core draws its conclusions once and the links are flushed.
 */
#include "node/consensus/loop.h"
#include "base/alloc.h"
#include "base/check.h"

static void take_proposals(struct sr_consensus *consensus)
{
    struct sr_mail *list = sr_mailbox_take(&consensus->proposals);
    while (list != NULL) {
        struct sr_mail *mail = list;
        list = mail->next;
        sr_core_propose(consensus->core, sr_container(mail, struct sr_proposal, mail));
    }
}

static void take_reads(struct sr_consensus *consensus)
{
    struct sr_mail *list = sr_mailbox_take(&consensus->reads);
    while (list != NULL) {
        struct sr_mail *mail = list;
        list = mail->next;
        sr_core_read(consensus->core, sr_container(mail, struct sr_read, mail));
    }
}

static void take_done(struct sr_consensus *consensus)
{
    struct sr_mail *list = sr_mailbox_take(&consensus->ops_done);
    while (list != NULL) {
        struct sr_mail *mail = list;
        list = mail->next;
        sr_core_op_done(consensus->core, sr_container(mail, struct sr_core_op, mail));
    }
    list = sr_mailbox_take(&consensus->tasks_done);
    while (list != NULL) {
        struct sr_mail *mail = list;
        list = mail->next;
        sr_core_task_done(consensus->core, sr_container(mail, struct sr_core_task, mail));
    }
}

static void on_wake(uv_async_t *wake)
{
    struct sr_consensus *consensus = wake->data;
    if (atomic_load(&consensus->failed)) {
        return; /* what waits is answered when the node stops, in a moment */
    }
    take_done(consensus);
    uint64_t applied = sr_store_applied_index(consensus->options.store);
    sr_consensus_record_sync(consensus); /* at least as of there */
    sr_core_applied(consensus->core, applied);
    sr_core_log_full(consensus->core, atomic_load(&consensus->log_full));
    if (atomic_load(&consensus->stepping_down)) {
        sr_core_step_down(consensus->core);
    }
    if (atomic_load(&consensus->yielding)) {
        sr_core_yield(consensus->core);
    }
    sr_consensus_hashes_send(consensus);
    uint64_t member = atomic_exchange(&consensus->move_leader_to, 0);
    if (member != 0) {
        sr_core_move_leader(consensus->core, member);
    }
    take_proposals(consensus);
    take_reads(consensus);
}

static void take_image_progress(struct sr_consensus *consensus)
{
    pthread_mutex_lock(consensus->info_mutex);
    for (size_t i = 0; i < consensus->image_count; i++) {
        const struct sr_consensus_image *image = &consensus->images[i];
        sr_core_image_progress(consensus->core, image->member, image->bytes, image->total);
    }
    consensus->image_count = 0;
    pthread_mutex_unlock(consensus->info_mutex);
}

static void on_tick(uv_timer_t *tick)
{
    struct sr_consensus *consensus = tick->data;
    sr_core_state_full(consensus->core, sr_applier_lacks_space(consensus->applier));
    take_image_progress(consensus);
    sr_core_tick(consensus->core);
}

static void publish(struct sr_consensus *consensus)
{
    struct sr_consensus_info info;
    sr_core_info(consensus->core, &info);
    pthread_mutex_lock(consensus->info_mutex);
    bool changed =
        info.is_leader != consensus->info.is_leader || info.leader != consensus->info.leader;
    consensus->info = info;
    consensus->progress_count =
        sr_core_progress(consensus->core, consensus->progress, &consensus->progress_at_ms);
    if (changed) {
        pthread_cond_broadcast(&consensus->info_changed);
    }
    pthread_mutex_unlock(consensus->info_mutex);
}

static void close_handle(uv_handle_t *handle)
{
    if (!uv_is_closing(handle)) {
        uv_close(handle, NULL);
    }
}

static void stop_loop(void *arg)
{
    struct sr_consensus *consensus = arg;
    uv_stop(&consensus->loop);
}

/* All but the wake-up, which other threads use until they are gone. */
static void close_most(struct sr_consensus *consensus)
{
    struct sr_peers *peers = consensus->peers;
    close_handle((uv_handle_t *)&consensus->tick);
    close_handle((uv_handle_t *)&consensus->turn);
    consensus->peers = NULL;
    if (peers == NULL) {
        stop_loop(consensus);
    } else {
        sr_peers_close(peers, stop_loop, consensus);
    }
}

static void on_turn(uv_prepare_t *turn)
{
    struct sr_consensus *consensus = turn->data;
    if (atomic_load(&consensus->stopping)) {
        close_most(consensus);
        return;
    }
    if (atomic_load(&consensus->failed)) {
        return;
    }
    sr_core_turn_end(consensus->core);
    sr_peers_flush(consensus->peers);
    publish(consensus);
}

void sr_consensus_wake(void *arg)
{
    struct sr_consensus *consensus = arg;
    sr_check(uv_async_send(&consensus->wake) == 0);
}

int sr_consensus_loop_open(struct sr_consensus *consensus)
{
    if (uv_loop_init(&consensus->loop) != 0) {
        return SR_LIMIT; /* of file descriptors */
    }
    sr_check(uv_async_init(&consensus->loop, &consensus->wake, on_wake) == 0);
    sr_check(uv_timer_init(&consensus->loop, &consensus->tick) == 0);
    sr_check(uv_prepare_init(&consensus->loop, &consensus->turn) == 0);
    consensus->wake.data = consensus;
    consensus->tick.data = consensus;
    consensus->turn.data = consensus;
    return SR_OK;
}

static void run(void *arg)
{
    struct sr_consensus *consensus = arg;
    uv_run(&consensus->loop, UV_RUN_DEFAULT);
}

void sr_consensus_loop_run(struct sr_consensus *consensus)
{
    unsigned tick_ms = consensus->options.tick_ms;
    sr_check(uv_timer_start(&consensus->tick, on_tick, tick_ms, tick_ms) == 0);
    sr_check(uv_prepare_start(&consensus->turn, on_turn) == 0);
    sr_check(uv_thread_create(&consensus->thread, run, consensus) == 0);
}

void sr_consensus_loop_stop(struct sr_consensus *consensus)
{
    atomic_store(&consensus->stopping, true);
    sr_consensus_wake(consensus);
    sr_check(uv_thread_join(&consensus->thread) == 0);
}

void sr_consensus_loop_close(struct sr_consensus *consensus)
{
    if (!uv_is_closing((uv_handle_t *)&consensus->tick)) {
        close_most(consensus); /* it never ran */
        uv_run(&consensus->loop, UV_RUN_DEFAULT);
    }
    close_handle((uv_handle_t *)&consensus->wake);
    uv_run(&consensus->loop, UV_RUN_DEFAULT);
    sr_check(uv_loop_close(&consensus->loop) == 0);
}
