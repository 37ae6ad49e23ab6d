/* SPDX-License-Identifier: Apache-2.0
 *
 * The Raft log on disk: sealed, append-only segments; synchronous, without threads of its own.
 *
 *   DIR/vote            term, vote and the newest segment's number; rewritten and synced
 *   DIR/manifest        the last libraft snapshot: index, term, configuration, its own bytes
 *   DIR/<16 hex>.seg    segments, preallocated with zeros, numbered without gaps
 *
 * A segment is a header (salt of its epoch, number, first index, chain value of its predecessor)
 * and frames, each at a 512-byte boundary. A frame is one group write: entries, or the fact that
 * the suffix from an index on is void. It is authenticated with its place and with the tag of the
 * frame before, so that a changed, missing, repeated or swapped frame or segment is found.
 *
 * What a crash may leave is told from damage by one rule: the 512-byte sector is the unit that a
 * disk writes whole. Only the last frame may be incomplete, only if at least one of its sectors
 * is still all zeros, and only with nothing but zeros after it: then it was never synced, was
 * never acknowledged, and is dropped. Anything else is SR_CORRUPT, and the node must be rebuilt.
 *
 * One thread at a time, except where said otherwise. After any SR_IO the log refuses everything.
 */
#ifndef SR_STORAGE_RAFTLOG_H
#define SR_STORAGE_RAFTLOG_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/metrics.h"
#include "storage/keyring.h"

struct sr_raftlog;

/* As in raft.h; opaque to the log. */
enum sr_entry_type { SR_ENTRY_COMMAND = 1, SR_ENTRY_BARRIER = 2, SR_ENTRY_CONFIGURATION = 3 };

struct sr_log_entry {
    uint64_t term;
    uint32_t type; /* enum sr_entry_type */
    struct sr_bytes data;
};

/* The disk, as a table of functions: the real one, or a test's. Each returns 0 or -errno. */
struct sr_log_disk {
    int (*write)(void *arg, int fd, const void *data, size_t size, uint64_t offset);
    int (*sync)(void *arg, int fd); /* data, and the size if it changed; or a directory */
    void *arg;
    /* Of names in the directory @dir_fd; NULL: the real ones. */
    int (*rename)(void *arg, int dir_fd, const char *from, const char *to);
    int (*unlink)(void *arg, int dir_fd, const char *name);
};
extern const struct sr_log_disk sr_log_disk_real;

struct sr_raftlog_options {
    const char *dir; /* must exist */
    const struct sr_keyring *keyring;
    uint64_t cluster_id;
    uint64_t member_id;
    size_t segment_bytes;           /* 0: 16 MiB */
    const struct sr_log_disk *disk; /* NULL: the real one */
};

/* What was found at open. */
struct sr_raftlog_state {
    uint64_t term;
    uint64_t voted_for;
    uint64_t first_index; /* of the oldest entry kept on disk; last_index + 1 when there is none */
    uint64_t last_index;
    uint64_t dropped_bytes; /* of an unsynced tail */
};

/* Open or create. SR_CORRUPT, SR_FORMAT, SR_KEY (another member's files, or another data key),
 * SR_REFUSED (another process has it open), SR_IO, SR_NO_SPACE; the text names the segment, the
 * frame and the offset. Damage leaves everything on disk as it was. */
int sr_raftlog_open(const struct sr_raftlog_options *options, struct sr_raftlog **ret,
                    struct sr_raftlog_state *ret_state, struct sr_err *err);
void sr_raftlog_close(struct sr_raftlog *log); /* NULL is fine */

/* Add @count entries after the last one, in memory only, for the next sr_raftlog_sync. Copies. */
void sr_raftlog_append(struct sr_raftlog *log, const struct sr_log_entry *entries, size_t count);
/* Void all entries from @index on, in order with the appends around it; as above. */
void sr_raftlog_truncate(struct sr_raftlog *log, uint64_t index);
/* Write what was appended as one group and sync it. Durable when 0. SR_IO: fail-stop.
 * SR_NO_SPACE: what is not durable is still queued (all of it, unless the group was larger than
 * 4 MiB); try again later. The term of what is appended must have been set by sr_raftlog_set_vote
 * before. */
int sr_raftlog_sync(struct sr_raftlog *log, struct sr_err *err);

/* Make the next segment ahead of time, so that sr_raftlog_sync need not wait for it (tens of
 * milliseconds). Does nothing while one is ready, so it may be called after every so many syncs;
 * meant for another thread. SR_NO_SPACE is harmless, SR_IO is not. */
int sr_raftlog_prepare(struct sr_raftlog *log, struct sr_err *err);
/* Whether sr_raftlog_prepare has something to do and it is time: the segment is half full. For
 * the thread that syncs. */
int sr_raftlog_wants_prepare(struct sr_raftlog *log);

/* Record and sync term and vote. @term never goes back. May run on another thread beside append and
 * sync. */
int sr_raftlog_set_vote(struct sr_raftlog *log, uint64_t term, uint64_t voted_for,
                        struct sr_err *err);

/* Read entry @index (any that is kept and synced; also beside append and sync, from another
 * thread). @ret_entry->data points into @scratch. SR_NOT_FOUND outside first..last. */
int sr_raftlog_read(struct sr_raftlog *log, uint64_t index, struct sr_buf *scratch,
                    struct sr_log_entry *ret_entry, struct sr_err *err);

/* Replace the manifest, atomically and synced. @data is libraft's snapshot: its configuration and
 * buffer as node/consensus packs them. Sealed. May run on another thread. */
int sr_raftlog_put_manifest(struct sr_raftlog *log, const void *data, size_t size,
                            struct sr_err *err);
/* SR_NOT_FOUND when there is none yet. */
int sr_raftlog_get_manifest(struct sr_raftlog *log, struct sr_buf *ret_data, struct sr_err *err);

/* Delete whole segments whose entries are all at or below @index. Frees disk, changes nothing
 * else; crash-safe at any step. May run on another thread. */
int sr_raftlog_release(struct sr_raftlog *log, uint64_t index, struct sr_err *err);
/* Forget everything up to @index and start after it: when an installed image replaces the log. */
int sr_raftlog_reset(struct sr_raftlog *log, uint64_t index, struct sr_err *err);

/* Bytes on disk; any thread. */
uint64_t sr_raftlog_disk_bytes(const struct sr_raftlog *log);
/* Bytes written and syncs since open, and how long a group write and sync took; any thread. */
struct sr_raftlog_metrics {
    struct sr_counter bytes_written;
    struct sr_counter syncs;
    struct sr_histogram sync_duration;
};
const struct sr_raftlog_metrics *sr_raftlog_metrics(const struct sr_raftlog *log);

#endif
