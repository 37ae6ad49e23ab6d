/* SPDX-License-Identifier: Apache-2.0
 *
 * What may block, done on the log beside the writer: reading old entries, the manifest, release.
 */
#include "base/alloc.h"
#include "node/consensus/internal.h"

void sr_core_task_free(struct sr_core_task *task)
{
    if (task != NULL) {
        sr_buf_close(&task->data);
        sr_free(task->entries);
        sr_free(task);
    }
}

static int fetch_one(struct sr_core_task *task, struct sr_raftlog *log, uint64_t index,
                     struct sr_buf *scratch)
{
    struct sr_log_entry entry;
    int status = sr_raftlog_read(log, index, scratch, &entry, &task->err);
    if (status != SR_OK) {
        return status;
    }
    task->entries[task->count++] = (struct sr_core_fetched){
        .term = entry.term, .type = entry.type, .size = (uint32_t)entry.data.size};
    sr_buf_append(&task->data, entry.data.data, entry.data.size);
    return SR_OK;
}

/* From task->index on. The end of the log only ends the fetch; a first entry that is not there,
 * or no longer its predecessor, is for the caller to know. */
static int fetch(struct sr_core_task *task, struct sr_raftlog *log)
{
    struct sr_buf scratch = {0};
    struct sr_log_entry before;
    int status = SR_OK;
    task->entries = sr_calloc(SR_INFLIGHT_ENTRIES_MAX, sizeof(*task->entries));
    if (task->index > 1) {
        status = sr_raftlog_read(log, task->index - 1, &scratch, &before, &task->err);
        if (status == SR_OK) {
            task->prev_term = before.term;
        }
    }
    if (status == SR_OK) {
        status = fetch_one(task, log, task->index, &scratch);
    }
    while (status == SR_OK && task->count < SR_INFLIGHT_ENTRIES_MAX &&
           task->data.size < task->bytes_max) {
        status = fetch_one(task, log, task->index + task->count, &scratch);
    }
    sr_buf_close(&scratch);
    return status == SR_NOT_FOUND && task->count > 0 ? SR_OK : status;
}

void sr_core_task_run(struct sr_core_task *task, struct sr_raftlog *log)
{
    switch (task->kind) {
    case SR_CORE_FETCH:
        task->status = fetch(task, log);
        break;
    case SR_CORE_MANIFEST:
        task->status = sr_raftlog_put_manifest(log, task->data.data, task->data.size, &task->err);
        break;
    case SR_CORE_RELEASE:
        task->status = sr_raftlog_release(log, task->index, &task->err);
        break;
    }
}
