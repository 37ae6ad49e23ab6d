/* SPDX-License-Identifier: Apache-2.0
 *
 * The simulated log: entries are durable when their op is done, and gone in a crash before that.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/check.h"
#include "sim.h"

static struct sim_entry *entry_at(const struct sim_disk *disk, uint64_t index)
{
    if (index < disk->first || index >= disk->first + disk->count) {
        return NULL;
    }
    return &disk->entries[index - disk->first];
}

static void append(struct sim_disk *disk, const struct sr_log_entry *entry)
{
    if (disk->count == disk->capacity) {
        disk->capacity = disk->capacity == 0 ? 64 : 2 * disk->capacity;
        disk->entries = sr_realloc(disk->entries, disk->capacity * sizeof(*disk->entries));
    }
    sr_check(entry->term <= disk->term);
    disk->entries[disk->count++] = (struct sim_entry){
        .term = entry->term,
        .type = entry->type,
        .data = sr_memdup(entry->data.data, entry->data.size),
        .size = entry->data.size,
    };
}

static void truncate_from(struct sim_disk *disk, uint64_t index)
{
    while (disk->count > 0 && disk->first + disk->count > index) {
        sr_free(disk->entries[--disk->count].data);
    }
}

static void release_up_to(struct sim_disk *disk, uint64_t index)
{
    size_t gone = 0;
    while (gone < disk->count && disk->first + gone <= index) {
        sr_free(disk->entries[gone++].data);
    }
    memmove(disk->entries, disk->entries + gone, (disk->count - gone) * sizeof(*disk->entries));
    disk->count -= gone;
    disk->first += gone;
}

/* ---- env ---- */

static int log_read(void *arg, uint64_t index, struct sr_buf *scratch,
                    struct sr_log_entry *ret_entry, struct sr_err *err)
{
    const struct sim_node *node = arg;
    const struct sim_entry *entry = entry_at(&node->disk, index);
    if (entry == NULL) {
        return sr_err_set(err, SR_NOT_FOUND, "no entry %llu", (unsigned long long)index);
    }
    sr_buf_clear(scratch);
    sr_buf_append(scratch, entry->data, entry->size);
    *ret_entry = (struct sr_log_entry){
        .term = entry->term, .type = entry->type, .data = {scratch->data, entry->size}};
    return SR_OK;
}

static int log_append_now(void *arg, const struct sr_log_entry *entry, struct sr_err *err)
{
    struct sim_node *node = arg;
    (void)err;
    append(&node->disk, entry);
    return SR_OK;
}

static int get_manifest(void *arg, struct sr_buf *ret_data, struct sr_err *err)
{
    const struct sim_node *node = arg;
    if (node->disk.manifest.size == 0) {
        return sr_err_set(err, SR_NOT_FOUND, "no manifest");
    }
    sr_buf_append(ret_data, node->disk.manifest.data, node->disk.manifest.size);
    return SR_OK;
}

static int set_vote(void *arg, uint64_t term, uint64_t voted_for, struct sr_err *err)
{
    struct sim_node *node = arg;
    (void)err;
    if (term < node->disk.term || (term == node->disk.term && node->disk.voted_for != 0 &&
                                   voted_for != node->disk.voted_for)) {
        sim_violate(node->sim, "node %llu votes twice in term %llu", (unsigned long long)node->id,
                    (unsigned long long)term);
    }
    node->disk.term = term;
    node->disk.voted_for = voted_for;
    return SR_OK;
}

static void push(struct sr_mail ***end, struct sr_mail *mail)
{
    mail->next = NULL;
    **end = mail;
    *end = &mail->next;
}

static void log_submit(void *arg, struct sr_core_op *op)
{
    struct sim_node *node = arg;
    if (node->ops == NULL) {
        uint64_t delay =
            node->disk_delay_ns != 0 ? node->disk_delay_ns : 50000 + sim_random(node->sim, 3000000);
        node->disk_ready_ns = node->sim->now_ns + delay;
    }
    push(&node->ops_end, &op->mail);
}

static void task_submit(void *arg, struct sr_core_task *task)
{
    struct sim_node *node = arg;
    if (node->tasks == NULL) {
        node->task_at_ns = node->sim->now_ns + 100000 + sim_random(node->sim, 5000000);
    }
    push(&node->tasks_end, &task->mail);
}

void sim_disk_env(struct sr_core_env *env)
{
    env->log_read = log_read;
    env->log_append_now = log_append_now;
    env->get_manifest = get_manifest;
    env->set_vote = set_vote;
    env->log_submit = log_submit;
    env->task_submit = task_submit;
}

/* ---- what the writer and the worker would do ---- */

static void run_op(struct sim_disk *disk, const struct sr_core_op *op)
{
    if (op->kind == SR_CORE_TRUNCATE) {
        truncate_from(disk, op->index);
        return;
    }
    sr_check(op->index == disk->first + disk->count);
    for (unsigned i = 0; i < op->count; i++) {
        const struct raft_entry *entry = &op->entries[i];
        struct sr_log_entry one = {.term = entry->term,
                                   .type = (uint32_t)entry->type,
                                   .data = {entry->buf.base, entry->buf.len}};
        append(disk, &one);
    }
}

void sim_disk_run_ops(struct sim_node *node)
{
    struct sr_mail *list = node->ops;
    node->ops = NULL;
    node->ops_end = &node->ops;
    for (struct sr_mail *mail = list; mail != NULL; mail = mail->next) {
        run_op(&node->disk, sr_container(mail, struct sr_core_op, mail));
    }
    while (list != NULL) {
        struct sr_core_op *op = sr_container(list, struct sr_core_op, mail);
        list = list->next;
        sr_core_op_done(node->core, op);
    }
}

static int fetch(struct sim_node *node, struct sr_core_task *task)
{
    const struct sim_entry *before = entry_at(&node->disk, task->index - 1);
    if ((before == NULL && task->index > 1) || entry_at(&node->disk, task->index) == NULL) {
        return SR_NOT_FOUND;
    }
    task->prev_term = before == NULL ? 0 : before->term;
    task->entries = sr_calloc(1024, sizeof(*task->entries));
    const struct sim_entry *entry = entry_at(&node->disk, task->index);
    while (entry != NULL && task->count < 1024 && task->data.size < task->bytes_max) {
        task->entries[task->count++] = (struct sr_core_fetched){
            .term = entry->term, .type = entry->type, .size = (uint32_t)entry->size};
        sr_buf_append(&task->data, entry->data, entry->size);
        entry = entry_at(&node->disk, task->index + task->count);
    }
    return SR_OK;
}

static void run_task(struct sim_node *node, struct sr_core_task *task)
{
    if (task->kind == SR_CORE_FETCH) {
        task->status = fetch(node, task);
    } else if (task->kind == SR_CORE_RELEASE) {
        release_up_to(&node->disk, task->index);
    } else if (node->disk_full) {
        task->status = sr_err_set(&task->err, SR_NO_SPACE, "disk full");
    } else {
        sim_members_check_manifest(node, &task->data);
        sr_buf_clear(&node->disk.manifest);
        sr_buf_append(&node->disk.manifest, task->data.data, task->data.size);
    }
}

void sim_disk_run_tasks(struct sim_node *node)
{
    struct sr_mail *list = node->tasks;
    node->tasks = NULL;
    node->tasks_end = &node->tasks;
    while (list != NULL) {
        struct sr_core_task *task = sr_container(list, struct sr_core_task, mail);
        list = list->next;
        run_task(node, task);
        sr_core_task_done(node->core, task);
    }
}

/* Some of what was being written may have reached the disk all the same, in order. */
void sim_disk_crash(struct sim_node *node)
{
    for (struct sr_mail *mail = node->ops; mail != NULL && sim_random(node->sim, 2) == 0;
         mail = mail->next) {
        run_op(&node->disk, sr_container(mail, struct sr_core_op, mail));
    }
    node->ops = NULL;
    node->ops_end = &node->ops;
    while (node->tasks != NULL) {
        struct sr_core_task *task = sr_container(node->tasks, struct sr_core_task, mail);
        node->tasks = node->tasks->next;
        sr_core_task_free(task);
    }
    node->tasks_end = &node->tasks;
}

struct sr_raftlog_state sim_disk_state(const struct sim_disk *disk)
{
    return (struct sr_raftlog_state){
        .term = disk->term,
        .voted_for = disk->voted_for,
        .first_index = disk->first,
        .last_index = disk->first + disk->count - 1,
    };
}

/* An empty log that begins at @first. */
void sim_disk_clear(struct sim_disk *disk, uint64_t first)
{
    truncate_from(disk, 0);
    disk->first = first;
}

void sim_disk_close(struct sim_disk *disk)
{
    sim_state_close(&disk->state);
    truncate_from(disk, 0);
    sr_free(disk->entries);
    sr_buf_close(&disk->manifest);
}
