/* SPDX-License-Identifier: Apache-2.0 */
#include "node/recover/survivor.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/secret.h"
#include "node/datadir.h"
#include "node/recover/copy.h"
#include "proto/batch.h"
#include "proto/command.pb-c.h"

/* How far back a command with a date is looked for. */
#define DATED_ENTRIES_MAX 1000

static int join(char out[PATH_MAX], const char *dir, const char *name, struct sr_err *err)
{
    int size = snprintf(out, PATH_MAX, "%s/%s", dir, name);
    return size >= 0 && size < PATH_MAX ? SR_OK
                                        : sr_err_set(err, SR_INVALID, "%s: too long a path", dir);
}

/* The lock is taken without writing: the directory may be mounted read-only. */
static int take_lock(struct sr_survivor *survivor, struct sr_err *err)
{
    char path[PATH_MAX];
    int status = join(path, survivor->dir, "lock", err);
    if (status != SR_OK) {
        return status;
    }
    survivor->lock_fd = open(path, O_RDONLY | O_CLOEXEC);
    if (survivor->lock_fd < 0) {
        return errno == ENOENT ? SR_OK : sr_err_errno(err, SR_IO, errno, "open %s", path);
    }
    if (flock(survivor->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        return errno == EWOULDBLOCK ? sr_err_set(err, SR_REFUSED, "a strongroomd runs on it")
                                    : sr_err_errno(err, SR_IO, errno, "lock %s", path);
    }
    return SR_OK;
}

static int open_keyring(struct sr_survivor *survivor, struct sr_err *err)
{
    char path[PATH_MAX];
    uint8_t *kek = NULL;
    int status = join(path, survivor->copy, "keyring", err);
    if (status == SR_OK) {
        status = sr_kek_read(survivor->kek_file, &kek, err);
    }
    if (status == SR_OK) {
        status = sr_keyring_open(path, kek, survivor->cluster_id, survivor->member_id,
                                 &survivor->keyring, err);
    }
    sr_secret_free(kek, SR_KEY_BYTES);
    return status;
}

static int open_copy(struct sr_survivor *survivor, struct sr_err *err)
{
    char state[PATH_MAX];
    char log[PATH_MAX];
    int status = join(state, survivor->copy, "state", err);
    if (status == SR_OK) {
        status = join(log, survivor->copy, "log", err);
    }
    if (status != SR_OK) {
        return status;
    }
    struct sr_store_options store = {.dir = state,
                                     .keyring = survivor->keyring,
                                     .cluster_id = survivor->cluster_id,
                                     .member_id = survivor->member_id,
                                     .must_exist = true};
    struct sr_raftlog_options raftlog = {.dir = log,
                                         .keyring = survivor->keyring,
                                         .cluster_id = survivor->cluster_id,
                                         .member_id = survivor->member_id};
    status = sr_store_open(&store, &survivor->store, err);
    if (status != SR_OK) {
        return sr_err_prefix(err, "state");
    }
    status = sr_raftlog_open(&raftlog, &survivor->log, &survivor->log_state, err);
    return status == SR_OK ? SR_OK : sr_err_prefix(err, "log");
}

/* ---- What it holds ---- */

/* When the last command of a batch was asked for; 0: it does not say. */
static uint64_t date_of(const struct sr_log_entry *entry)
{
    struct sr_batch_reader batch;
    struct sr_bytes packed;
    uint64_t date = 0;
    if (entry->type != SR_ENTRY_COMMAND ||
        sr_batch_open(&batch, entry->data.data, entry->data.size, NULL) != SR_OK) {
        return 0;
    }
    while (sr_batch_next(&batch, &packed)) {
        Strongroom__Command *command = strongroom__command__unpack(NULL, packed.size, packed.data);
        if (command != NULL) {
            date = command->wall_ms > date ? command->wall_ms : date;
            strongroom__command__free_unpacked(command, NULL);
        }
    }
    return date;
}

static int look_at_log(struct sr_survivor *survivor, struct sr_err *err)
{
    const struct sr_raftlog_state *state = &survivor->log_state;
    struct sr_store_point point;
    struct sr_buf scratch = {0};
    struct sr_log_entry entry;
    int status = SR_OK;
    sr_store_point(survivor->store, &point);
    sr_buf_close(&point.configuration);
    survivor->stored_index = point.index;
    survivor->last_term = point.term;
    if (state->last_index < point.index) {
        return sr_err_set(err, SR_CORRUPT,
                          "its log ends at %" PRIu64 ", before its state at %" PRIu64,
                          state->last_index, point.index);
    }
    if (state->first_index > point.index + 1) {
        return sr_err_set(err, SR_CORRUPT,
                          "its log begins at %" PRIu64 ", after its state at %" PRIu64,
                          state->first_index, point.index);
    }
    for (uint64_t index = state->last_index;
         status == SR_OK && index >= state->first_index && survivor->written_ms == 0 &&
         state->last_index - index < DATED_ENTRIES_MAX;
         index--) {
        status = sr_raftlog_read(survivor->log, index, &scratch, &entry, err);
        if (status == SR_OK) {
            survivor->last_term = index == state->last_index ? entry.term : survivor->last_term;
            survivor->written_ms = date_of(&entry);
        }
    }
    sr_buf_close(&scratch);
    return status;
}

/* @copy NULL: in place. */
static int open_survivor(const char *dir, const char *kek_file, const char *copy,
                         struct sr_survivor *ret, struct sr_err *err)
{
    *ret = (struct sr_survivor){.dir = dir, .kek_file = kek_file, .lock_fd = -1};
    int size = snprintf(ret->copy, sizeof(ret->copy), "%s", copy == NULL ? dir : copy);
    int status =
        size < (int)sizeof(ret->copy) ? SR_OK : sr_err_set(err, SR_INVALID, "too long a path");
    if (status == SR_OK) {
        status = sr_datadir_identity(dir, &ret->cluster_id, &ret->member_id, err);
    }
    if (status == SR_OK) {
        status = take_lock(ret, err);
    }
    if (status == SR_OK && copy != NULL) {
        status = sr_copy_datadir(dir, copy, &ret->changed_ms, err);
    }
    if (status == SR_OK) {
        status = open_keyring(ret, err);
    }
    if (status == SR_OK) {
        status = open_copy(ret, err);
    }
    if (status == SR_OK) {
        status = look_at_log(ret, err);
    }
    return status == SR_OK ? SR_OK : sr_err_prefix(err, "%s", dir);
}

int sr_survivor_open(const char *dir, const char *kek_file, const char *copy,
                     struct sr_survivor *ret, struct sr_err *err)
{
    return open_survivor(dir, kek_file, copy, ret, err);
}

int sr_survivor_open_in_place(const char *dir, const char *kek_file, struct sr_survivor *ret,
                              struct sr_err *err)
{
    return open_survivor(dir, kek_file, NULL, ret, err);
}

void sr_survivor_close(struct sr_survivor *survivor)
{
    sr_raftlog_close(survivor->log);
    sr_store_close(survivor->store);
    sr_keyring_close(survivor->keyring);
    if (survivor->lock_fd >= 0) {
        close(survivor->lock_fd);
    }
    *survivor = (struct sr_survivor){.lock_fd = -1};
}

const struct sr_survivor *sr_survivor_best(const struct sr_survivor *survivors, size_t count)
{
    const struct sr_survivor *best = &survivors[0];
    for (size_t i = 1; i < count; i++) {
        const struct sr_survivor *other = &survivors[i];
        if (other->last_term > best->last_term ||
            (other->last_term == best->last_term &&
             other->log_state.last_index > best->log_state.last_index)) {
            best = other;
        }
    }
    return best;
}

/* ---- The rest of the log ---- */

static int apply_entry(struct sr_survivor *survivor, uint64_t index,
                       const struct sr_log_entry *entry, struct sr_err *err)
{
    struct sr_store *store = survivor->store;
    if (entry->type == SR_ENTRY_COMMAND) {
        return sr_store_apply(store, index, entry->data.data, entry->data.size, NULL, err);
    }
    if (entry->type == SR_ENTRY_CONFIGURATION) {
        return sr_store_apply_configuration(store, index, entry->term, entry->data.data,
                                            entry->data.size, err);
    }
    return sr_store_apply_empty(store, index, entry->term, err);
}

int sr_survivor_apply_rest(struct sr_survivor *survivor, struct sr_err *err)
{
    struct sr_store *store = survivor->store;
    struct sr_buf scratch = {0};
    struct sr_log_entry entry;
    int status = SR_OK;
    for (uint64_t index = survivor->stored_index + 1;
         status == SR_OK && index <= survivor->log_state.last_index; index++) {
        status = sr_raftlog_read(survivor->log, index, &scratch, &entry, err);
        if (status == SR_OK) {
            status = apply_entry(survivor, index, &entry, err);
        }
        if (status == SR_OK && sr_store_freeze(store, false)) {
            status = sr_store_flush(store, err);
        }
    }
    sr_buf_close(&scratch);
    while (status == SR_OK && sr_store_durable_index(store) < sr_store_applied_index(store)) {
        (void)sr_store_freeze(store, true);
        status = sr_store_flush(store, err);
    }
    return status == SR_OK ? SR_OK : sr_err_prefix(err, "%s: apply its log", survivor->dir);
}
