/* SPDX-License-Identifier: Apache-2.0
 *
 * What node/consensus/writer.c does with two threads: one writes and syncs groups, the other does
 * what may take its time.
 */
#include "base/alloc.h"
#include "base/check.h"
#include "tests/simulation/world.h"

#define FULL_RETRY_NS (1000 * WORLD_MS)

static int log_read(void *arg, uint64_t index, struct sr_buf *scratch,
                    struct sr_log_entry *ret_entry, struct sr_err *err)
{
    const struct member *member = arg;
    return sr_raftlog_read(member->log, index, scratch, ret_entry, err);
}

static int log_append_now(void *arg, const struct sr_log_entry *entry, struct sr_err *err)
{
    struct member *member = arg;
    sr_raftlog_append(member->log, entry, 1);
    return sr_raftlog_sync(member->log, err);
}

static int get_manifest(void *arg, struct sr_buf *ret_data, struct sr_err *err)
{
    struct member *member = arg;
    return sr_raftlog_get_manifest(member->log, ret_data, err);
}

static int set_vote(void *arg, uint64_t term, uint64_t voted_for, struct sr_err *err)
{
    struct member *member = arg;
    int status = sr_raftlog_set_vote(member->log, term, voted_for, err);
    if (status == SR_OK) {
        world_trace(member->world, "member %zu votes for %llu in term %llu", member->at + 1,
                    (unsigned long long)voted_for, (unsigned long long)term);
        check_storage_voted(member, term, voted_for);
    }
    return status;
}

static void push(struct sr_mail ***end, struct sr_mail *mail)
{
    mail->next = NULL;
    **end = mail;
    *end = &mail->next;
}

static void begin_group(struct member *member)
{
    const struct member_pace *pace = &member->pace;
    member->group = member->ops;
    member->ops = NULL;
    member->ops_end = &member->ops;
    member->group_queued = false;
    member->write_at_ns = member->world->now_ns + pace->write_min_ns +
                          world_random(member->world, pace->write_max_ns);
}

static void log_submit(void *arg, struct sr_core_op *op)
{
    struct member *member = arg;
    push(&member->ops_end, &op->mail);
    if (member->group == NULL) {
        begin_group(member);
    }
}

static void wake_worker(struct member *member)
{
    if (member->work_at_ns == WORLD_NEVER) {
        member->work_at_ns = member->world->now_ns + 50000 +
                             world_random(member->world, 4 * member->pace.write_max_ns);
    }
}

static void task_submit(void *arg, struct sr_core_task *task)
{
    struct member *member = arg;
    push(&member->tasks_end, &task->mail);
    wake_worker(member);
}

void member_log_env(struct sr_core_env *env)
{
    env->log_read = log_read;
    env->log_append_now = log_append_now;
    env->get_manifest = get_manifest;
    env->set_vote = set_vote;
    env->log_submit = log_submit;
    env->task_submit = task_submit;
}

void member_log_reset(struct member *member)
{
    member->ops = NULL;
    member->ops_end = &member->ops;
    member->group = NULL;
    member->write_at_ns = WORLD_NEVER;
    member->full = false;
    member->tasks = NULL;
    member->tasks_end = &member->tasks;
    member->prepare = false;
    member->work_at_ns = WORLD_NEVER;
}

/* ---- the writer ---- */

static struct sr_core_op *op_of(struct sr_mail *mail)
{
    return sr_container(mail, struct sr_core_op, mail);
}

static void queue_op(struct member *member, const struct sr_core_op *op)
{
    if (op->kind == SR_CORE_TRUNCATE) {
        check_storage_truncates(member, op->index);
        sr_raftlog_truncate(member->log, op->index);
        return;
    }
    for (unsigned i = 0; i < op->count; i++) {
        const struct raft_entry *entry = &op->entries[i];
        struct sr_log_entry one = {.term = entry->term,
                                   .type = (uint32_t)entry->type,
                                   .data = {entry->buf.base, entry->buf.len}};
        sr_raftlog_append(member->log, &one, 1);
    }
}

static void set_full(struct member *member, bool full)
{
    if (member->full != full) {
        world_trace(member->world, "member %zu: disk full: %d", member->at + 1, full);
        member->full = full;
        sr_core_log_full(member->core, full);
    }
}

static void give_back(struct member *member)
{
    struct sr_mail *list = member->group;
    member->group = NULL;
    member->write_at_ns = WORLD_NEVER;
    while (list != NULL) {
        struct sr_core_op *op = op_of(list);
        list = list->next;
        uint64_t index = op->index;
        unsigned count = op->kind == SR_CORE_APPEND ? op->count : 0;
        check_storage_written(member, index, count);
        if (world_has_bug(member->world, WORLD_BUG_EARLY_ANSWER)) {
            clients_answer_early(member, op);
        }
        sr_core_op_done(member->core, op);
    }
    if (member->ops != NULL && member->group == NULL) {
        begin_group(member);
    }
}

void member_log_write(struct member *member, bool done)
{
    struct sr_err err;
    if (!member->group_queued) {
        member->group_queued = true;
        for (struct sr_mail *mail = member->group; mail != NULL; mail = mail->next) {
            queue_op(member, op_of(mail));
        }
    }
    int status = sr_raftlog_sync(member->log, &err);
    world_trace(member->world, "member %zu writes its log: %d", member->at + 1, status);
    if (status == SR_NO_SPACE) {
        member->write_at_ns = member->world->now_ns + FULL_RETRY_NS;
        set_full(member, true);
        return;
    }
    if (status != SR_OK) {
        member->write_at_ns = WORLD_NEVER;
        member_fail(member, &err);
        return;
    }
    if (sr_raftlog_wants_prepare(member->log)) {
        member->prepare = true;
        wake_worker(member);
    }
    if (done) {
        set_full(member, false);
        give_back(member);
    }
}

/* ---- the worker ---- */

static void prepare(struct member *member)
{
    struct sr_err err;
    member->prepare = false;
    int status = sr_raftlog_prepare(member->log, &err);
    if (status != SR_OK && status != SR_NO_SPACE) {
        member_fail(member, &err);
    }
}

void member_log_work(struct member *member)
{
    struct sr_mail *list = member->tasks;
    member->tasks = NULL;
    member->tasks_end = &member->tasks;
    member->work_at_ns = WORLD_NEVER;
    if (member->prepare) {
        prepare(member);
    }
    while (list != NULL) {
        struct sr_core_task *task = sr_container(list, struct sr_core_task, mail);
        list = list->next;
        if (member->failed) {
            sr_core_task_free(task);
            continue;
        }
        sr_core_task_run(task, member->log);
        world_trace(member->world, "member %zu does task %d at %llu: %d, %zu", member->at + 1,
                    (int)task->kind, (unsigned long long)task->index, task->status, task->count);
        sr_core_task_done(member->core, task);
    }
}

/* The ops are the core's, which frees them; tasks are whoever's has them. */
void member_log_crash(struct member *member)
{
    while (member->tasks != NULL) {
        struct sr_core_task *task = sr_container(member->tasks, struct sr_core_task, mail);
        member->tasks = member->tasks->next;
        sr_core_task_free(task);
    }
    member_log_reset(member);
}
