/* SPDX-License-Identifier: Apache-2.0
 *
 * raft_io: what libraft asks of disk, network and clock. None of these functions returns an error
 * to libraft, which frees twice when one does: a failure ends the node, and until it is gone
 * nothing is written, sent or acknowledged any more.
 *
 * libraft calls truncate before every append, also when there is nothing to cut off; only what
 * changes the log goes out as an op. Appends complete in the order of their submission, never
 * from inside append.
 */
#include "base/alloc.h"
#include "node/consensus/internal.h"

static struct sr_core *core_of(const struct raft_io *io)
{
    return io->impl;
}

static int io_init(struct raft_io *io, raft_id id, const char *address)
{
    (void)io;
    (void)id;
    (void)address;
    return 0;
}

static int io_load(struct raft_io *io, raft_term *term, raft_id *voted_for,
                   struct raft_snapshot **snapshot, raft_index *start_index,
                   struct raft_entry *entries[], size_t *n_entries)
{
    struct sr_core *core = core_of(io);
    *term = core->term;
    *voted_for = core->voted_for;
    *snapshot = core->boot.snapshot;
    *start_index = core->boot.start_index;
    *entries = core->boot.entries;
    *n_entries = core->boot.count;
    core->boot = (struct sr_core_boot){0};
    return 0;
}

static int io_start(struct raft_io *io, unsigned msecs, raft_io_tick_cb tick, raft_io_recv_cb recv)
{
    (void)msecs; /* we tick at our own, longer pace: see sr_core_start */
    core_of(io)->tick_cb = tick;
    core_of(io)->recv_cb = recv;
    return 0;
}

/* The log is born in boot.c, before there is a struct raft. */
static int io_bootstrap(struct raft_io *io, const struct raft_configuration *conf)
{
    (void)io;
    (void)conf;
    return RAFT_CANTBOOTSTRAP;
}

/* One record holds both, and libraft sets the vote right after the term, with no message in
 * between: the first call writes what both want. The loop waits for the disk here, the only place
 * where it does: libraft answers the vote as soon as this returns. */
int sr_core_write_vote(struct sr_core *core)
{
    uint64_t term = raft_current_term(&core->raft);
    uint64_t voted_for = raft_voted_for(&core->raft);
    if (core->failed || (term == core->term && voted_for == core->voted_for)) {
        return 0;
    }
    struct sr_err err;
    if (core->env.set_vote(core->env.arg, term, voted_for, &err) != SR_OK) {
        sr_err_prefix(&err, "record term %llu", (unsigned long long)term);
        sr_core_fail(core, &err);
        return 0;
    }
    core->term = term;
    core->voted_for = voted_for;
    return 0;
}

static int io_set_term(struct raft_io *io, raft_term term)
{
    (void)term;
    return sr_core_write_vote(core_of(io));
}

static int io_set_vote(struct raft_io *io, raft_id server_id)
{
    (void)server_id;
    return sr_core_write_vote(core_of(io));
}

static int io_send(struct raft_io *io, struct raft_io_send *request,
                   const struct raft_message *message, raft_io_send_cb cb)
{
    struct sr_core *core = core_of(io);
    struct sr_core_peer *peer = sr_core_peer(core, message->server_id);
    if (peer != NULL && !core->failed) {
        if (message->type == RAFT_INSTALL_SNAPSHOT) {
            sr_core_feed_wanted(core, peer); /* the log on disk usually has what is missing */
        } else {
            sr_core_encode(core, message);
        }
    }
    cb(request, 0); /* everything was copied; a lost message is libraft's to repeat */
    return 0;
}

static void submit(struct sr_core *core, struct sr_core_op *op)
{
    op->queued_ms = core->now_ms;
    if (core->ops_tail == NULL) {
        core->ops = op;
    } else {
        core->ops_tail->next = op;
    }
    core->ops_tail = op;
    if (!core->failed) {
        core->env.log_submit(core->env.arg, op);
    }
}

static int io_append(struct raft_io *io, struct raft_io_append *request,
                     const struct raft_entry entries[], unsigned n, raft_io_append_cb cb)
{
    struct sr_core *core = core_of(io);
    struct sr_core_op *op = sr_zalloc(sizeof(*op));
    op->kind = SR_CORE_APPEND;
    op->index = core->log_last + 1;
    op->last = core->log_last + n;
    op->entries = entries;
    op->count = n;
    op->request = request;
    request->cb = cb;
    core->log_last = op->last;
    for (unsigned i = 0; i < n; i++) {
        sr_marks_add(&core->marks, entries[i].buf.len);
        if (entries[i].type == RAFT_CHANGE) {
            sr_core_changes_add(core, op->index + i, entries[i].buf.base, entries[i].buf.len);
        }
    }
    submit(core, op);
    return 0;
}

static int io_truncate(struct raft_io *io, raft_index index)
{
    struct sr_core *core = core_of(io);
    if (index > core->log_last) {
        return 0;
    }
    /* What is void is not durable, whenever its write completes. */
    for (struct sr_core_op *op = core->ops; op != NULL; op = op->next) {
        op->last = op->last < index ? op->last : index - 1;
    }
    core->persisted = core->persisted < index ? core->persisted : index - 1;
    core->log_last = index - 1;
    sr_marks_truncate(&core->marks, index);
    sr_core_changes_truncate(core, index);
    struct sr_core_op *op = sr_zalloc(sizeof(*op));
    op->kind = SR_CORE_TRUNCATE;
    op->index = index;
    submit(core, op);
    return 0;
}

static struct sr_core_op *pop(struct sr_core *core)
{
    struct sr_core_op *op = core->ops;
    core->ops = op->next;
    if (core->ops == NULL) {
        core->ops_tail = NULL;
    }
    return op;
}

void sr_core_op_done(struct sr_core *core, struct sr_core_op *op)
{
    sr_check(op == core->ops);
    pop(core);
    if (op->kind == SR_CORE_APPEND) {
        core->persisted = core->persisted > op->last ? core->persisted : op->last;
        core->now_ms = core->env.now_ns(core->env.arg) / 1000000u;
        op->request->cb(op->request, core->failed ? RAFT_CANCELED : 0);
    }
    sr_free(op);
}

void sr_core_io_check_stall(struct sr_core *core)
{
    if (core->ops == NULL || core->log_full || core->failed ||
        core->now_ms - core->ops->queued_ms < SR_CORE_LOG_STALL_MS) {
        return;
    }
    struct sr_err err;
    sr_err_set(&err, SR_IO, "a write to the log has not finished for %u s",
               SR_CORE_LOG_STALL_MS / 1000);
    sr_core_fail(core, &err);
}

static int io_snapshot_put(struct raft_io *io, unsigned trailing,
                           struct raft_io_snapshot_put *request,
                           const struct raft_snapshot *snapshot, raft_io_snapshot_put_cb cb)
{
    (void)trailing; /* the log on disk is released by bytes, in snapshots.c */
    return sr_core_snapshots_put(core_of(io), snapshot, request, cb);
}

/* libraft wants to send a snapshot and asks for its content first. What it gets is empty: our
 * send never lets a snapshot out. */
static int io_snapshot_get(struct raft_io *io, struct raft_io_snapshot_get *request,
                           raft_io_snapshot_get_cb cb)
{
    struct sr_core *core = core_of(io);
    struct raft_snapshot *snapshot = sr_zalloc(sizeof(*snapshot));
    snapshot->index = core->raft.trail.snapshot.index;
    snapshot->term = core->raft.trail.snapshot.term;
    raft_configuration_init(&snapshot->configuration);
    snapshot->bufs = sr_zalloc(sizeof(*snapshot->bufs));
    snapshot->bufs[0].base = sr_zalloc(8);
    snapshot->bufs[0].len = 8;
    snapshot->n_bufs = 1;
    cb(request, snapshot, 0);
    return 0;
}

static raft_time io_time(struct raft_io *io)
{
    struct sr_core *core = core_of(io);
    return core->env.now_ns(core->env.arg) / 1000000u;
}

static int io_random(struct raft_io *io, int min, int max)
{
    struct sr_core *core = core_of(io);
    uint32_t range = (uint32_t)max - (uint32_t)min + 1;
    uint32_t random = core->env.random(core->env.arg);
    return (int)((uint32_t)min + (range == 0 ? random : random % range));
}

static void io_close(struct raft_io *io, raft_io_close_cb cb)
{
    struct sr_core *core = core_of(io);
    while (core->ops != NULL) {
        struct sr_core_op *op = pop(core);
        if (op->kind == SR_CORE_APPEND) {
            op->request->cb(op->request, RAFT_CANCELED);
        }
        sr_free(op);
    }
    sr_core_snapshots_close(core);
    cb(io);
}

void sr_core_io_init(struct sr_core *core)
{
    core->io = (struct raft_io){
        .version = 2,
        .capacity = 0, /* not used: the threshold is 0, admission control is ours */
        .impl = core,
        .init = io_init,
        .close = io_close,
        .load = io_load,
        .start = io_start,
        .bootstrap = io_bootstrap,
        .recover = io_bootstrap,
        .set_term = io_set_term,
        .set_vote = io_set_vote,
        .send = io_send,
        .append = io_append,
        .truncate = io_truncate,
        .snapshot_put = io_snapshot_put,
        .snapshot_get = io_snapshot_get,
        .time = io_time,
        .random = io_random,
    };
}
