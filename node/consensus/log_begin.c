/* SPDX-License-Identifier: Apache-2.0 */
#include "node/consensus/log_begin.h"

#include <inttypes.h>

#include "node/consensus/internal.h"

/* The index of the manifest; 0: there is none. */
static int manifest_index(struct sr_raftlog *log, uint64_t *ret_index, struct sr_err *err)
{
    struct sr_core_manifest manifest = {0};
    struct sr_buf packed = {0};
    int status = sr_raftlog_get_manifest(log, &packed, err);
    if (status == SR_OK) {
        status =
            sr_core_manifest_unpack((struct sr_bytes){packed.data, packed.size}, &manifest, err);
    } else if (status == SR_NOT_FOUND) {
        status = SR_OK;
    }
    *ret_index = manifest.index;
    sr_buf_close(&packed);
    return status;
}

int sr_log_is_beyond(struct sr_raftlog *log, const struct sr_raftlog_state *state,
                     const struct sr_store_point *point, bool *ret, struct sr_err *err)
{
    uint64_t index = 0;
    int status = manifest_index(log, &index, err);
    *ret = state->first_index > point->index + 1 || index >= point->index;
    return status;
}

/* Whether the log holds the very entry of the point, and so all that leads to it. */
static int agrees(struct sr_raftlog *log, const struct sr_raftlog_state *state,
                  const struct sr_store_point *point, bool *ret, struct sr_err *err)
{
    struct sr_buf scratch = {0};
    struct sr_log_entry entry;
    *ret = false;
    if (state->first_index > point->index || state->last_index < point->index) {
        /* It was made to begin after the point before a crash. */
        *ret = state->first_index == point->index + 1 && state->last_index >= point->index;
        return SR_OK;
    }
    int status = sr_raftlog_read(log, point->index, &scratch, &entry, err);
    if (status == SR_OK) {
        *ret = entry.term == point->term;
    }
    sr_buf_close(&scratch);
    return status;
}

static int put_manifest(struct sr_raftlog *log, const struct sr_store_point *point,
                        struct sr_err *err)
{
    uint8_t data[8]; /* as fsm_snapshot makes it */
    struct sr_buf packed = {0};
    struct sr_core_manifest manifest = {
        .index = point->index,
        .term = point->term,
        .configuration_index = point->configuration_index,
        .configuration = {point->configuration.data, point->configuration.size},
        .data = {data, sizeof(data)},
    };
    sr_put_u64(data, point->index);
    sr_core_manifest_pack(&manifest, &packed);
    int status =
        sr_core_manifest_unpack((struct sr_bytes){packed.data, packed.size}, &manifest, err);
    if (status == SR_OK) {
        status = sr_raftlog_put_manifest(log, packed.data, packed.size, err);
    }
    sr_buf_close(&packed);
    return status;
}

int sr_log_begin_after(struct sr_raftlog *log, const struct sr_raftlog_state *state,
                       const struct sr_store_point *point, struct sr_err *err)
{
    bool keep = false;
    uint64_t index = 0;
    int status = SR_OK;
    if (point->index == 0 || point->term == 0 || point->configuration.size == 0) {
        return sr_err_set(err, SR_INVALID, "the state at %" PRIu64 " has no term or configuration",
                          point->index);
    }
    if (state->term < point->term) {
        status = sr_raftlog_set_vote(log, point->term, 0, err);
    }
    if (status == SR_OK) {
        status = agrees(log, state, point, &keep, err);
    }
    if (status == SR_OK && !keep) {
        status = sr_raftlog_reset(log, point->index, err);
    }
    if (status == SR_OK) {
        status = manifest_index(log, &index, err);
    }
    if (status == SR_OK && index < point->index) {
        status = put_manifest(log, point, err);
    }
    return status;
}

void sr_log_configuration_of_one(uint64_t id, struct sr_buf *out)
{
    struct raft_configuration conf;
    struct raft_buffer encoded;
    char address[24];
    sr_core_address(id, address);
    raft_configuration_init(&conf);
    sr_check(raft_configuration_add(&conf, id, address, RAFT_VOTER) == 0);
    sr_check(raft_configuration_encode(&conf, &encoded) == 0);
    sr_buf_append(out, encoded.base, encoded.len);
    raft_free(encoded.base);
    raft_configuration_close(&conf);
}
