/* SPDX-License-Identifier: Apache-2.0
 *
 * Both threads sleep on a mailbox of their own. The storage thread's carries entries; the flush
 * thread's carries nothing and is only kicked: what there is to flush is the store's to know.
 *
 * Back-pressure: when both memtables are full the storage thread waits for the flush thread, the
 * backlog grows, and the consensus loop, which watches it, stops proposing.
 */
#include "node/state/applier.h"

#include <string.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "proto/limits.h"

/* How often the flush thread looks at the free space of the disk when it has nothing to do, and
 * tries again when there was none. */
#define FLUSH_IDLE_MS 1000

struct entry {
    struct sr_mail mail;
    uint64_t index;
    uint64_t term;
    enum sr_entry_type type;
    size_t size;
    uint8_t data[];
};

/* Answers of one log entry for one mailbox, posted with one wake-up. */
struct outbox {
    struct sr_mail *oldest;
    struct sr_mail *newest;
};

struct sr_applier {
    struct sr_applier_options options;
    pthread_t storage_thread;
    pthread_t flush_thread;
    struct sr_mailbox entries;
    struct sr_mailbox flush_kicks;
    struct sr_mailbox flushed; /* kicks the storage thread while it waits for room */
    struct outbox outboxes[SR_ORIGINS_MAX];
    atomic_size_t backlog_entries;
    atomic_size_t backlog_bytes;
    atomic_bool stop_storage;
    atomic_bool stop_flush;
    atomic_bool failed;
    atomic_bool no_space; /* at the last flush */
};

static void fail(struct sr_applier *applier, const struct sr_err *err)
{
    if (!atomic_exchange(&applier->failed, true)) {
        applier->options.on_failure(applier->options.arg, err);
    }
}

/* ---- Storage thread ---- */

static size_t origin_slot(const struct sr_origins *origins, uint64_t origin)
{
    size_t slot = 0;
    while (slot < origins->count && origins->entries[slot].origin != origin) {
        slot++;
    }
    return slot;
}

static bool wanted(void *arg, uint64_t origin)
{
    struct sr_applier *applier = arg;
    return origin_slot(applier->options.origins, origin) < applier->options.origins->count;
}

static void deliver(void *arg, struct sr_outcome *outcome)
{
    struct sr_applier *applier = arg;
    size_t slot = origin_slot(applier->options.origins, outcome->origin);
    if (slot == applier->options.origins->count) {
        return;
    }
    struct sr_answer *answer = sr_zalloc(sizeof(*answer));
    answer->sequence = outcome->sequence;
    answer->error = outcome->error;
    answer->revision = outcome->revision;
    answer->term = outcome->term;
    answer->body = outcome->body;
    outcome->body = (struct sr_buf){0};

    struct outbox *outbox = &applier->outboxes[slot];
    if (outbox->newest == NULL) {
        outbox->oldest = &answer->mail;
    } else {
        outbox->newest->next = &answer->mail;
    }
    outbox->newest = &answer->mail;
}

static void post_answers(struct sr_applier *applier)
{
    const struct sr_origins *origins = applier->options.origins;
    for (size_t i = 0; i < origins->count; i++) {
        struct sr_mail *oldest = applier->outboxes[i].oldest;
        applier->outboxes[i] = (struct outbox){0};
        sr_mailbox_post_list(origins->entries[i].mailbox, oldest);
    }
}

static void freeze(struct sr_applier *applier, bool force)
{
    if (sr_store_freeze(applier->options.store, force)) {
        sr_mailbox_kick(&applier->flush_kicks);
    }
}

static int apply_entry(struct sr_applier *applier, const struct entry *entry, struct sr_err *err)
{
    struct sr_store *store = applier->options.store;
    while (sr_store_is_full(store) && !atomic_load(&applier->failed)) {
        sr_mailbox_wait(&applier->flushed, FLUSH_IDLE_MS);
        freeze(applier, false);
    }
    switch (entry->type) {
    case SR_ENTRY_COMMAND:
        break;
    case SR_ENTRY_CONFIGURATION:
        return sr_store_apply_configuration(store, entry->index, entry->term, entry->data,
                                            entry->size, err);
    default:
        return sr_store_apply_empty(store, entry->index, entry->term, err);
    }
    struct sr_outcome_sink sink = {.wanted = wanted, .deliver = deliver, .arg = applier};
    return sr_store_apply(store, entry->index, entry->data, entry->size, &sink, err);
}

/* Apply @list in order. Once failed, entries are only freed: the node is on its way down. */
static void apply_list(struct sr_applier *applier, struct sr_mail *list)
{
    while (list != NULL) {
        struct entry *entry = sr_container(list, struct entry, mail);
        list = list->next;
        if (!atomic_load(&applier->failed)) {
            struct sr_err err;
            if (apply_entry(applier, entry, &err) != SR_OK) {
                sr_err_prefix(&err, "apply entry %llu", (unsigned long long)entry->index);
                fail(applier, &err);
            }
            post_answers(applier);
            freeze(applier, false);
        }
        atomic_fetch_sub(&applier->backlog_entries, 1);
        atomic_fetch_sub(&applier->backlog_bytes, entry->size);
        sr_free(entry);
    }
}

static void *storage_main(void *arg)
{
    struct sr_applier *applier = arg;
    uint64_t frozen_at_ns = sr_clock_monotonic_ns();
    for (;;) {
        /* Read before taking: what was posted before the stop is applied. */
        bool stopping = atomic_load(&applier->stop_storage);
        struct sr_mail *list = sr_mailbox_take(&applier->entries);
        if (list != NULL) {
            apply_list(applier, list);
            if (!atomic_load(&applier->failed)) {
                applier->options.on_applied(applier->options.arg);
            }
        } else if (stopping) {
            return NULL;
        } else {
            sr_mailbox_wait(&applier->entries, SR_FLUSH_INTERVAL_MS);
        }
        uint64_t now_ns = sr_clock_monotonic_ns();
        if (now_ns - frozen_at_ns >= (uint64_t)SR_FLUSH_INTERVAL_MS * 1000000u) {
            frozen_at_ns = now_ns;
            freeze(applier, true);
        }
    }
}

/* ---- Flush thread ---- */

/* One flush; false when it should be tried again later. */
static bool flush_once(struct sr_applier *applier)
{
    struct sr_err err;
    int status = sr_store_flush(applier->options.store, &err);
    if (status == SR_OK) {
        if (atomic_exchange(&applier->no_space, false)) {
            sr_log(SR_LOG_INFO, "applier", "the database has space again", "");
        }
        sr_mailbox_kick(&applier->flushed);
        applier->options.on_durable(applier->options.arg);
        return true;
    }
    if (status == SR_NO_SPACE) {
        if (!atomic_exchange(&applier->no_space, true)) {
            sr_log(SR_LOG_WARN, "applier", "disk full: writes wait until there is room",
                   "reason=\"%s\"", err.text);
        }
        return false;
    }
    sr_err_prefix(&err, "database");
    fail(applier, &err);
    return false;
}

static void *flush_main(void *arg)
{
    struct sr_applier *applier = arg;
    while (!atomic_load(&applier->stop_flush) && !atomic_load(&applier->failed)) {
        bool done = flush_once(applier);
        if (done && sr_store_compaction_pending(applier->options.store)) {
            continue;
        }
        sr_mailbox_wait(&applier->flush_kicks, FLUSH_IDLE_MS);
    }
    return NULL;
}

/* ---- From outside ---- */

struct sr_applier *sr_applier_start(const struct sr_applier_options *options)
{
    struct sr_applier *applier = sr_zalloc(sizeof(*applier));
    applier->options = *options;
    sr_mailbox_init(&applier->entries, SR_APPLY_ENTRIES_MAX, NULL, NULL);
    sr_mailbox_init(&applier->flush_kicks, 1, NULL, NULL);
    sr_mailbox_init(&applier->flushed, 1, NULL, NULL);
    sr_check(pthread_create(&applier->storage_thread, NULL, storage_main, applier) == 0);
    sr_check(pthread_create(&applier->flush_thread, NULL, flush_main, applier) == 0);
    pthread_setname_np(applier->storage_thread, "sr-storage");
    pthread_setname_np(applier->flush_thread, "sr-flush");
    return applier;
}

/* Both threads are gone: make the rest durable from here, so that a restart has little to
 * replay. Losing it would lose nothing: it is in the log. */
static void flush_rest(struct sr_applier *applier)
{
    struct sr_err err;
    for (int i = 0; i < 2 && !atomic_load(&applier->failed); i++) {
        if (sr_store_flush(applier->options.store, &err) != SR_OK) {
            sr_log(SR_LOG_WARN, "applier", "last flush failed, the log has what is missing",
                   "reason=\"%s\"", err.text);
            return;
        }
        sr_store_freeze(applier->options.store, true);
    }
}

void sr_applier_stop(struct sr_applier *applier)
{
    atomic_store(&applier->stop_storage, true);
    sr_mailbox_kick(&applier->entries);
    pthread_join(applier->storage_thread, NULL);
    atomic_store(&applier->stop_flush, true);
    sr_mailbox_kick(&applier->flush_kicks);
    pthread_join(applier->flush_thread, NULL);
    flush_rest(applier);
    sr_mailbox_close(&applier->entries);
    sr_mailbox_close(&applier->flush_kicks);
    sr_mailbox_close(&applier->flushed);
    sr_free(applier);
}

void sr_applier_post(struct sr_applier *applier, uint64_t index, uint64_t term,
                     enum sr_entry_type type, const uint8_t *data, size_t size)
{
    sr_check(data != NULL || size == 0);
    struct entry *entry = sr_alloc(sizeof(*entry) + size);
    entry->index = index;
    entry->term = term;
    entry->type = type;
    entry->size = size;
    if (size > 0) {
        memcpy(entry->data, data, size);
    }
    atomic_fetch_add(&applier->backlog_entries, 1);
    atomic_fetch_add(&applier->backlog_bytes, size);
    sr_mailbox_post_always(&applier->entries, &entry->mail);
}

void sr_applier_backlog(const struct sr_applier *applier, size_t *ret_entries, size_t *ret_bytes)
{
    *ret_entries = atomic_load(&applier->backlog_entries);
    *ret_bytes = atomic_load(&applier->backlog_bytes);
}

bool sr_applier_lacks_space(const struct sr_applier *applier)
{
    return atomic_load(&applier->no_space);
}
