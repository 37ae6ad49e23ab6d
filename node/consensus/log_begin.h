/* SPDX-License-Identifier: Apache-2.0
 *
 * A log that begins after a state: when a state was taken over from elsewhere.
 */
#ifndef SR_NODE_CONSENSUS_LOG_BEGIN_H
#define SR_NODE_CONSENSUS_LOG_BEGIN_H

#include <stdbool.h>

#include "storage/raftlog.h"
#include "storage/store.h"

/* Whether @log, as found at open, is ahead of @point: it was released beyond it, or has a manifest
 * at or after it. Then a state at @point is of no use to it. SR_CORRUPT, SR_IO. */
int sr_log_is_beyond(struct sr_raftlog *log, const struct sr_raftlog_state *state,
                     const struct sr_store_point *point, bool *ret, struct sr_err *err);

/* Make @log one that a start from @point can go on with. Its own entries stay if they agree with
 * the point; otherwise they were never committed, or are part of the state, and it begins anew
 * after the point, with a manifest. Term and vote are kept; the term is at least that of the point.
 * Synced when it returns; repeating it after a crash at any step comes to the same end. The log is
 * to be closed and opened again afterwards. SR_INVALID: @point has no term or configuration. */
int sr_log_begin_after(struct sr_raftlog *log, const struct sr_raftlog_state *state,
                       const struct sr_store_point *point, struct sr_err *err);

/* The configuration of a cluster whose only voter is @id, in libraft's packing, appended. */
void sr_log_configuration_of_one(uint64_t id, struct sr_buf *out);

#endif
