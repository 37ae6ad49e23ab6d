/* SPDX-License-Identifier: Apache-2.0 */
#include "node/consensus/writer.h"

#include "base/alloc.h"
#include "base/check.h"
#include "base/log.h"

/* Full disks come right by themselves, or by hand. */
#define FULL_RETRY_MS 1000
#define UNBOUNDED     SIZE_MAX

struct sr_writer {
    struct sr_writer_options options;
    pthread_t writer_thread;
    pthread_t worker_thread;
    struct sr_mailbox ops;
    struct sr_mailbox tasks;
    struct sr_mailbox pause; /* of the writer on a full disk; only kicked */
    atomic_bool stop;
    atomic_bool failed;
    atomic_bool prepare; /* the worker shall prepare a segment */
};

static void fail(struct sr_writer *writer, const struct sr_err *err)
{
    if (!atomic_exchange(&writer->failed, true)) {
        writer->options.on_failure(writer->options.arg, err);
    }
}

static bool idle(struct sr_writer *writer)
{
    return atomic_load(&writer->failed) || atomic_load(&writer->stop);
}

/* ---- the writer ---- */

static void queue_op(struct sr_raftlog *log, const struct sr_core_op *op)
{
    if (op->kind == SR_CORE_TRUNCATE) {
        sr_raftlog_truncate(log, op->index);
        return;
    }
    for (unsigned i = 0; i < op->count; i++) {
        const struct raft_entry *entry = &op->entries[i];
        struct sr_log_entry one = {
            .term = entry->term,
            .type = (uint32_t)entry->type,
            .data = {.data = entry->buf.base, .size = entry->buf.len},
        };
        sr_raftlog_append(log, &one, 1);
    }
}

/* One group. A full disk is waited out: everything stays queued in the log. */
static void write_group(struct sr_writer *writer, struct sr_mail *list)
{
    struct sr_err err;
    bool full = false;
    for (struct sr_mail *mail = list; mail != NULL; mail = mail->next) {
        queue_op(writer->options.log, sr_container(mail, struct sr_core_op, mail));
    }
    int status = sr_raftlog_sync(writer->options.log, &err);
    while (status == SR_NO_SPACE && !idle(writer)) {
        if (!full) {
            full = true;
            sr_log(SR_LOG_ERROR, "consensus", "disk full: the log waits for space", "reason=\"%s\"",
                   err.text);
            writer->options.on_full(writer->options.arg, true);
        }
        sr_mailbox_wait(&writer->pause, FULL_RETRY_MS);
        status = sr_raftlog_sync(writer->options.log, &err);
    }
    if (full && status == SR_OK) {
        sr_log(SR_LOG_INFO, "consensus", "the log has space again", "");
        writer->options.on_full(writer->options.arg, false);
    }
    if (status == SR_OK) {
        sr_mailbox_post_list(writer->options.ops_done, list);
    } else if (!idle(writer)) {
        sr_err_prefix(&err, "write log");
        fail(writer, &err);
    }
}

static void *writer_main(void *arg)
{
    struct sr_writer *writer = arg;
    while (!atomic_load(&writer->stop)) {
        struct sr_mail *list = sr_mailbox_take(&writer->ops);
        if (list == NULL) {
            sr_mailbox_wait(&writer->ops, -1);
        } else if (!idle(writer)) {
            write_group(writer, list);
            if (sr_raftlog_wants_prepare(writer->options.log)) {
                atomic_store(&writer->prepare, true);
                sr_mailbox_kick(&writer->tasks);
            }
        }
    }
    return NULL;
}

/* ---- the worker ---- */

static void do_tasks(struct sr_writer *writer, struct sr_mail *list)
{
    while (list != NULL) {
        struct sr_core_task *task = sr_container(list, struct sr_core_task, mail);
        list = list->next;
        if (idle(writer)) {
            sr_core_task_free(task);
            continue;
        }
        sr_core_task_run(task, writer->options.log);
        sr_mailbox_post_always(writer->options.tasks_done, &task->mail);
    }
}

static void prepare(struct sr_writer *writer)
{
    struct sr_err err;
    int status = sr_raftlog_prepare(writer->options.log, &err);
    if (status != SR_OK && status != SR_NO_SPACE) { /* without space the writer will say so */
        sr_err_prefix(&err, "prepare log segment");
        fail(writer, &err);
    }
}

static void *worker_main(void *arg)
{
    struct sr_writer *writer = arg;
    while (!atomic_load(&writer->stop)) {
        struct sr_mail *list = sr_mailbox_take(&writer->tasks);
        bool preparing = atomic_exchange(&writer->prepare, false);
        if (preparing && !idle(writer)) {
            prepare(writer);
        }
        do_tasks(writer, list);
        if (list == NULL && !preparing) {
            sr_mailbox_wait(&writer->tasks, -1);
        }
    }
    return NULL;
}

/* ---- from outside ---- */

struct sr_writer *sr_writer_start(const struct sr_writer_options *options)
{
    struct sr_writer *writer = sr_zalloc(sizeof(*writer));
    writer->options = *options;
    sr_mailbox_init(&writer->ops, UNBOUNDED, NULL, NULL);
    sr_mailbox_init(&writer->tasks, UNBOUNDED, NULL, NULL);
    sr_mailbox_init(&writer->pause, 1, NULL, NULL);
    sr_check(pthread_create(&writer->writer_thread, NULL, writer_main, writer) == 0);
    sr_check(pthread_create(&writer->worker_thread, NULL, worker_main, writer) == 0);
    pthread_setname_np(writer->writer_thread, "sr-log-writer");
    pthread_setname_np(writer->worker_thread, "sr-log-worker");
    return writer;
}

void sr_writer_stop(struct sr_writer *writer)
{
    atomic_store(&writer->stop, true);
    sr_mailbox_kick(&writer->ops);
    sr_mailbox_kick(&writer->pause);
    sr_mailbox_kick(&writer->tasks);
    pthread_join(writer->writer_thread, NULL);
    pthread_join(writer->worker_thread, NULL);
    (void)sr_mailbox_take(&writer->ops); /* the core frees its ops itself */
    do_tasks(writer, sr_mailbox_take(&writer->tasks));
    sr_mailbox_close(&writer->ops);
    sr_mailbox_close(&writer->tasks);
    sr_mailbox_close(&writer->pause);
    sr_free(writer);
}

void sr_writer_op(struct sr_writer *writer, struct sr_core_op *op)
{
    sr_mailbox_post_always(&writer->ops, &op->mail);
}

void sr_writer_task(struct sr_writer *writer, struct sr_core_task *task)
{
    sr_mailbox_post_always(&writer->tasks, &task->mail);
}
