/* SPDX-License-Identifier: Apache-2.0
 *
 * The start: what the disk holds becomes what libraft starts from. Every error is found here,
 * before there is a struct raft that could be half built.
 *
 * An empty log is born with entry 1 of term 1, the configuration, the same on every member. The
 * term is recorded before the entry, so that a crash in between repeats the birth.
 */
#include <inttypes.h>
#include <stdio.h>

#include "base/alloc.h"
#include "base/check.h"
#include "node/consensus/internal.h"

static void configuration_of(const struct sr_core_options *options,
                             struct raft_configuration *ret_conf)
{
    raft_configuration_init(ret_conf);
    for (size_t i = 0; i < options->member_count; i++) {
        char address[24];
        sr_core_address(options->members[i], address);
        sr_check(raft_configuration_add(ret_conf, options->members[i], address, RAFT_VOTER) == 0);
    }
}

static int give_birth(struct sr_core *core, const struct sr_core_options *options,
                      struct sr_raftlog_state *state, struct sr_err *err)
{
    if (state->term > 1 || state->voted_for != 0) {
        return sr_err_set(err, SR_CORRUPT,
                          "this member has voted in term %" PRIu64 ", but its log is empty",
                          state->term);
    }
    struct raft_configuration conf;
    struct raft_buffer encoded;
    configuration_of(options, &conf);
    sr_check(raft_configuration_encode(&conf, &encoded) == 0);
    struct sr_log_entry entry = {
        .term = 1, .type = RAFT_CHANGE, .data = {.data = encoded.base, .size = encoded.len}};
    int status = core->env.set_vote(core->env.arg, 1, 0, err);
    if (status == SR_OK) {
        status = core->env.log_append_now(core->env.arg, &entry, err);
    }
    sr_free(encoded.base);
    raft_configuration_close(&conf);
    if (status == SR_OK) {
        *state = (struct sr_raftlog_state){.term = 1, .first_index = 1, .last_index = 1};
    }
    return status;
}

static int check_state(const struct sr_core *core, const struct sr_raftlog_state *state,
                       uint64_t manifest_index, struct sr_err *err)
{
    uint64_t durable = core->env.durable_index(core->env.arg);
    if (state->last_index < durable) {
        return sr_err_set(err, SR_CORRUPT,
                          "the log ends at %" PRIu64 ", but the state has entries up to %" PRIu64
                          ": acknowledged writes are missing",
                          state->last_index, durable);
    }
    if (manifest_index > durable) {
        return sr_err_set(err, SR_CORRUPT,
                          "the state ends at %" PRIu64 ", but the log was released up to %" PRIu64,
                          durable, manifest_index);
    }
    if (state->last_index < manifest_index || state->first_index > manifest_index + 1) {
        return sr_err_set(err, SR_CORRUPT,
                          "the log has entries %" PRIu64 " to %" PRIu64
                          ", which do not follow its manifest at %" PRIu64,
                          state->first_index, state->last_index, manifest_index);
    }
    return SR_OK;
}

static int check_entry(const struct sr_log_entry *entry, uint64_t term_before, uint64_t term_max,
                       struct sr_err *err)
{
    if (entry->term < term_before || entry->term == 0 || entry->term > term_max) {
        return sr_err_set(err, SR_CORRUPT,
                          "term %" PRIu64 " after %" PRIu64 ", at most %" PRIu64 " was voted in",
                          entry->term, term_before, term_max);
    }
    if (entry->type < RAFT_COMMAND || entry->type > RAFT_CHANGE) {
        return sr_err_set(err, SR_FORMAT, "type %" PRIu32 " is not known", entry->type);
    }
    return entry->type == RAFT_CHANGE ? sr_core_configuration_check(entry->data, err) : SR_OK;
}

/* The first entry to load: a stretch behind the manifest spares followers that lag a little. */
static int find_start(struct sr_core *core, const struct sr_raftlog_state *state,
                      uint64_t manifest_index, uint64_t *ret_start, struct sr_err *err)
{
    uint64_t start = manifest_index + 1;
    size_t bytes = 0;
    struct sr_buf scratch = {0};
    struct sr_log_entry entry;
    int status = SR_OK;
    while (start > state->first_index && bytes < core->options.trailing_bytes) {
        status = core->env.log_read(core->env.arg, start - 1, &scratch, &entry, err);
        if (status != SR_OK) {
            break;
        }
        bytes += entry.data.size;
        start--;
    }
    sr_buf_close(&scratch);
    *ret_start = start;
    return status;
}

static int read_entries(struct sr_core *core, const struct sr_raftlog_state *state,
                        struct sr_err *err)
{
    struct sr_core_boot *boot = &core->boot;
    size_t count = state->last_index + 1 - boot->start_index;
    struct sr_buf scratch = {0};
    uint64_t term_before = 0;
    int status = SR_OK;
    boot->entries = count == 0 ? NULL : sr_calloc(count, sizeof(*boot->entries));
    while (boot->count < count) {
        uint64_t index = boot->start_index + boot->count;
        struct sr_log_entry entry;
        status = core->env.log_read(core->env.arg, index, &scratch, &entry, err);
        if (status == SR_OK) {
            status = check_entry(&entry, term_before, state->term, err);
        }
        if (status != SR_OK) {
            sr_err_prefix(err, "log entry %" PRIu64, index);
            break;
        }
        /* Without a batch: libraft looks through its whole log each time that it lets go of an
         * entry of one. */
        boot->entries[boot->count++] = (struct raft_entry){
            .term = entry.term,
            .type = (enum raft_entry_type)entry.type,
            .buf = {.base = sr_memdup(entry.data.data, entry.data.size), .len = entry.data.size}};
        if (entry.type == RAFT_CHANGE && index > core->snapshots.index) {
            sr_core_changes_add(core, index, entry.data.data, entry.data.size);
        }
        term_before = entry.term;
    }
    sr_buf_close(&scratch);
    return status;
}

static int make_snapshot(struct sr_core *core, const struct sr_core_manifest *manifest,
                         struct sr_err *err)
{
    struct raft_snapshot *snapshot = sr_zalloc(sizeof(*snapshot));
    struct raft_buffer encoded = {
        .base = sr_memdup(manifest->configuration.data, manifest->configuration.size),
        .len = manifest->configuration.size};
    int failed = raft_configuration_decode(&encoded, &snapshot->configuration);
    sr_free(encoded.base);
    if (failed != 0) {
        sr_free(snapshot);
        return sr_err_set(err, SR_CORRUPT, "log manifest: configuration: %s",
                          raft_strerror(failed));
    }
    snapshot->index = manifest->index;
    snapshot->term = manifest->term;
    snapshot->configuration_index = manifest->configuration_index;
    snapshot->n_bufs = 1;
    snapshot->bufs = sr_zalloc(sizeof(*snapshot->bufs));
    snapshot->bufs[0].len = manifest->data.size;
    snapshot->bufs[0].base = sr_memdup(manifest->data.data, manifest->data.size);
    core->boot.snapshot = snapshot;
    core->changes.taken = manifest->configuration_index;
    core->snapshots.index = manifest->index;
    return SR_OK;
}

static int load_manifest(struct sr_core *core, struct sr_err *err)
{
    struct sr_buf packed = {0};
    struct sr_core_manifest manifest;
    int status = core->env.get_manifest(core->env.arg, &packed, err);
    if (status == SR_OK) {
        struct sr_bytes data = {.data = packed.data, .size = packed.size};
        status = sr_core_manifest_unpack(data, &manifest, err);
        if (status == SR_OK) {
            status = make_snapshot(core, &manifest, err);
        }
    } else if (status == SR_NOT_FOUND) {
        status = SR_OK;
    }
    sr_buf_close(&packed);
    return status;
}

/* The configuration that libraft will start with. */
static const struct raft_buffer *last_configuration(const struct sr_core *core)
{
    sr_check(core->boot.count == 0 || core->boot.entries != NULL);
    for (size_t i = core->boot.count; i > 0; i--) {
        if (core->boot.entries[i - 1].type == RAFT_CHANGE) {
            return &core->boot.entries[i - 1].buf;
        }
    }
    return NULL;
}

static bool elects_itself(const struct sr_core *core)
{
    const struct raft_buffer *encoded = last_configuration(core);
    struct raft_configuration decoded = {0};
    const struct raft_configuration *conf = &decoded;
    if (encoded != NULL) {
        sr_check(raft_configuration_decode(encoded, &decoded) == 0);
    } else if (core->boot.snapshot != NULL) {
        conf = &core->boot.snapshot->configuration;
    }
    bool self = false;
    for (unsigned i = 0; i < conf->n; i++) {
        self = self ||
               (conf->servers[i].id == core->options.self && conf->servers[i].role == RAFT_VOTER);
    }
    self = self && sr_core_voters(conf) == 1;
    raft_configuration_close(&decoded);
    return self;
}

/* See election.c: libraft makes a sole voter the leader at once. */
static int begin_term(struct sr_core *core, struct sr_raftlog_state *state, struct sr_err *err)
{
    if (!elects_itself(core)) {
        return SR_OK;
    }
    state->term++;
    state->voted_for = core->options.self;
    return core->env.set_vote(core->env.arg, state->term, state->voted_for, err);
}

int sr_core_boot_load(struct sr_core *core, const struct sr_core_options *options,
                      struct sr_err *err)
{
    struct sr_raftlog_state state = options->log_state;
    int status = load_manifest(core, err);
    uint64_t manifest_index = core->snapshots.index;
    if (status == SR_OK && !options->joins && state.last_index == 0 && manifest_index == 0 &&
        core->env.durable_index(core->env.arg) == 0) {
        status = give_birth(core, options, &state, err);
    }
    if (status == SR_OK) {
        status = check_state(core, &state, manifest_index, err);
    }
    if (status == SR_OK) {
        status = find_start(core, &state, manifest_index, &core->boot.start_index, err);
    }
    if (status == SR_OK) {
        status = read_entries(core, &state, err);
    }
    if (status == SR_OK && sr_core_guarded(core, SR_GUARD_SOLE_TERM)) {
        status = begin_term(core, &state, err);
    }
    if (status != SR_OK) {
        return status;
    }
    core->term = state.term;
    core->voted_for = state.voted_for;
    core->log_last = state.last_index;
    core->persisted = state.last_index;
    core->applies.applied = core->env.durable_index(core->env.arg);
    core->snapshots.released = state.first_index - 1;
    sr_marks_init(&core->marks, state.first_index - 1, state.last_index, options->log_bytes);
    return SR_OK;
}

void sr_core_boot_close(struct sr_core *core)
{
    struct sr_core_boot *boot = &core->boot;
    for (size_t i = 0; i < boot->count; i++) {
        sr_free(boot->entries[i].buf.base);
    }
    sr_free(boot->entries);
    if (boot->snapshot != NULL) {
        raft_configuration_close(&boot->snapshot->configuration);
        sr_free(boot->snapshot->bufs[0].base);
        sr_free(boot->snapshot->bufs);
        sr_free(boot->snapshot);
    }
    *boot = (struct sr_core_boot){0};
}
