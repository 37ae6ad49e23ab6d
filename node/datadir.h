/* SPDX-License-Identifier: Apache-2.0
 *
 * The data directory of a node:
 *
 *   DIR/format    what this is: format number, flags, cluster and member (clear text)
 *   DIR/lock      held while a node runs on it
 *   DIR/keyring   data keys, wrapped by the KEK
 *   DIR/log/      the Raft log (storage/raftlog.h)
 *   DIR/state/    LMDB (storage/store.h)
 *   DIR/incoming/ an image that is to replace it (node/adopt.h)
 *   DIR/drill/    what is being restored to see that it can be (node/offsite/drill.h)
 *
 * A directory is born in this order: subdirectories, keyring, format. Once its log has been
 * started it is marked so: from then on a missing part is a loss, never a reason to begin anew,
 * because a node that forgets its votes can break a cluster.
 */
#ifndef SR_NODE_DATADIR_H
#define SR_NODE_DATADIR_H

#include <limits.h>
#include <stdbool.h>

#include "node/config/config.h"
#include "storage/keyring.h"

struct sr_datadir {
    char path[PATH_MAX];
    char log_path[PATH_MAX];
    char state_path[PATH_MAX];
    uint64_t cluster_id;
    uint64_t member_id;
    uint64_t compatible;  /* features of the format that may be unknown; kept */
    uint64_t incarnation; /* drawn at its birth; 0 in directories of version 0.1 */
    bool started;         /* its log has been started before */
    bool removed;         /* its member was removed from the cluster: it is of no use any more */
    int lock_fd;
    struct sr_keyring *keyring;
};

/* Create or open the directory of @config, take its lock, open its keyring with the KEK.
 * SR_REFUSED (in use; another cluster's or member's), SR_REMOVED, SR_FORMAT (newer, or not ours),
 * SR_KEY, SR_CORRUPT (a part is missing), SR_IO. */
int sr_datadir_open(const struct sr_config *config, struct sr_datadir *ret_dir, struct sr_err *err);
/* Whose directory @path is. Reads only. SR_NOT_FOUND, SR_FORMAT, SR_CORRUPT, SR_REMOVED, SR_IO. */
int sr_datadir_identity(const char *path, uint64_t *ret_cluster_id, uint64_t *ret_member_id,
                        struct sr_err *err);
/* Remember, synced, that the log has been started. */
int sr_datadir_mark_started(struct sr_datadir *dir, struct sr_err *err);
/* Remember, synced, that the cluster has removed this member: the directory is never opened again
 * (SR_REMOVED). */
int sr_datadir_mark_removed(struct sr_datadir *dir, struct sr_err *err);
void sr_datadir_close(struct sr_datadir *dir);

#endif
