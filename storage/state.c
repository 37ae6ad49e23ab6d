/* SPDX-License-Identifier: Apache-2.0
 *
 *   applied index u64, revision u64, compact revision u64, hash 32,
 *   compaction: target u64, cursor revision u64, cursor sub u32; indexed revision u64,
 *   term u64, configuration: index u64, size u16, bytes, zeros up to SR_CONFIGURATION_BYTES_MAX
 */
#include <string.h>

#include "storage/store_internal.h"

_Static_assert(SR_STATE_BYTES ==
                   8 + 8 + 8 + 32 + 8 + 8 + 4 + 8 + 8 + 8 + 2 + SR_CONFIGURATION_BYTES_MAX,
               "layout");

void sr_state_init(struct sr_state *state, struct sr_compaction *compaction)
{
    /* etcd begins at revision 1: the first change makes 2. */
    *state = (struct sr_state){.revision = 1, .compact_revision = -1};
    *compaction = (struct sr_compaction){.target = -1};
}

void sr_state_pack(uint8_t out[SR_STATE_BYTES], const struct sr_state *state,
                   const struct sr_compaction *compaction, int64_t indexed)
{
    sr_put_u64(out, state->applied_index);
    sr_put_u64(out + 8, (uint64_t)state->revision);
    sr_put_u64(out + 16, (uint64_t)state->compact_revision);
    memcpy(out + 24, state->hash, sizeof(state->hash));
    sr_put_u64(out + 56, (uint64_t)compaction->target);
    sr_put_u64(out + 64, (uint64_t)compaction->cursor_rev);
    sr_put_u32(out + 72, compaction->cursor_sub);
    sr_put_u64(out + 76, (uint64_t)indexed);
    sr_put_u64(out + 84, state->term);
    sr_put_u64(out + 92, state->configuration_index);
    sr_put_u16(out + 100, state->configuration_size);
    memset(out + 102, 0, SR_CONFIGURATION_BYTES_MAX);
    memcpy(out + 102, state->configuration, state->configuration_size);
}

int sr_state_unpack(const uint8_t in[SR_STATE_BYTES], struct sr_state *ret_state,
                    struct sr_compaction *ret_compaction, int64_t *ret_indexed, struct sr_err *err)
{
    struct sr_state state = {
        .applied_index = sr_get_u64(in),
        .revision = (int64_t)sr_get_u64(in + 8),
        .compact_revision = (int64_t)sr_get_u64(in + 16),
        .term = sr_get_u64(in + 84),
        .configuration_index = sr_get_u64(in + 92),
        .configuration_size = (uint16_t)(in[100] << 8 | in[101]),
    };
    struct sr_compaction compaction = {
        .target = (int64_t)sr_get_u64(in + 56),
        .cursor_rev = (int64_t)sr_get_u64(in + 64),
        .cursor_sub = sr_get_u32(in + 72),
    };
    int64_t indexed = (int64_t)sr_get_u64(in + 76);

    memcpy(state.hash, in + 24, sizeof(state.hash));
    if (state.revision < 1 || state.compact_revision < -1 ||
        state.compact_revision > state.revision || compaction.target < -1 ||
        compaction.target > state.compact_revision || compaction.cursor_rev < 0 || indexed < 1 ||
        indexed > state.revision || state.configuration_size > SR_CONFIGURATION_BYTES_MAX ||
        state.configuration_index > state.applied_index) {
        return sr_err_set(err, SR_CORRUPT, "meta: impossible state");
    }
    memcpy(state.configuration, in + 102, state.configuration_size);
    *ret_state = state;
    *ret_compaction = compaction;
    *ret_indexed = indexed;
    return SR_OK;
}
