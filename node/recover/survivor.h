/* SPDX-License-Identifier: Apache-2.0
 *
 * What is left of a cluster that has lost its majority: the data directory of a member, read
 * through a copy, so that nothing of the original is ever changed, not even by opening it.
 */
#ifndef SR_NODE_RECOVER_SURVIVOR_H
#define SR_NODE_RECOVER_SURVIVOR_H

#include <limits.h>

#include "storage/raftlog.h"
#include "storage/store.h"

struct sr_survivor {
    const char *dir;      /* of the member; borrowed */
    const char *kek_file; /* its master key; borrowed */
    int lock_fd;          /* of the original, held; -1: there is none */
    char copy[PATH_MAX];
    struct sr_keyring *keyring;
    struct sr_store *store; /* of the copy, as the log */
    struct sr_raftlog *log;
    struct sr_raftlog_state log_state;

    uint64_t cluster_id;
    uint64_t member_id;
    uint64_t stored_index; /* what its database had durably */
    uint64_t last_term;    /* of the last entry of its log */
    uint64_t written_ms;   /* when the last write was asked for, in ms since 1970; 0: unknown */
    uint64_t changed_ms;   /* when a file of it was last changed */
};

/* Lock @dir against a node, copy it to @copy, which must not exist, and open the copy. SR_REFUSED:
 * a node runs on it; SR_REMOVED, SR_KEY, SR_CORRUPT, SR_IO, SR_NO_SPACE. @ret is to be closed in
 * any case. */
int sr_survivor_open(const char *dir, const char *kek_file, const char *copy,
                     struct sr_survivor *ret, struct sr_err *err);
/* The same in place: as a start of the node opens it, whose torn tail, if any, is cut off the log.
 */
int sr_survivor_open_in_place(const char *dir, const char *kek_file, struct sr_survivor *ret,
                              struct sr_err *err);
/* The copy stays on disk. */
void sr_survivor_close(struct sr_survivor *survivor);

/* Which one has the log that a leader would have been elected with: the last entry of the latest
 * term, then the longest. */
const struct sr_survivor *sr_survivor_best(const struct sr_survivor *survivors, size_t count);

/* Apply what the log has beyond the state, and make it durable in the copy. Entries of which
 * nobody knows any more whether they were committed are applied too: they may have been
 * acknowledged. */
int sr_survivor_apply_rest(struct sr_survivor *survivor, struct sr_err *err);

#endif
