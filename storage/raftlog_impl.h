/* SPDX-License-Identifier: Apache-2.0
 *
 * Inside the Raft log. What is on disk, byte by byte (all integers big-endian):
 *
 *   preamble   magic 8, version 4, compatible flags 4, incompatible flags 4, data key id 4,
 *              cluster 8, member 8, key check 8, salt 32
 *   segment    sector 0: preamble, number 8, index of the next entry 8, file size 8, end of the
 *              predecessor 8, chain value of the predecessor 16; its tag in the last 16 bytes
 *   frame      magic 4, flags 4, body size 4, entry count 4, first index 8, truncate-from 8,
 *              counter 8, chain value before 16, tag of all these 16; sealed body and tag; zeros;
 *              end mark 4. Whole sectors, and none of them all zeros.
 *   body       for each entry: term 8, type 4, size 4, data
 *   vote       two slots of a sector: preamble, sequence 8, counter 8, sealed {term, voted for,
 *              newest segment, oldest segment} and tag, zeros
 *   manifest   preamble, size 8, sealed data and tag
 *
 * Locks, in the order in which they are taken: release, prepare, vote, index. The reader's and
 * the manifest's are taken alone. Append, truncate, sync and reset belong to one thread.
 */
#ifndef SR_STORAGE_RAFTLOG_IMPL_H
#define SR_STORAGE_RAFTLOG_IMPL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "storage/raftlog.h"
#include "storage/seal.h"

#define SR_LOG_SECTOR         512
#define SR_LOG_PREAMBLE_BYTES 80
#define SR_LOG_FRAME_HEADER   72
#define SR_LOG_FRAME_MAGIC    UINT32_C(0x53524652)
#define SR_LOG_ENTRY_HEADER   16
/* A group is cut into frames of this body size, unless one entry is larger. */
#define SR_LOG_BODY_BYTES_MAX ((size_t)4 * 1024 * 1024)
#define SR_LOG_NAME_BYTES     24

#define SR_LOG_MAGIC_SEGMENT  "SRLOGSEG"
#define SR_LOG_MAGIC_VOTE     "SRLOGVOT"
#define SR_LOG_MAGIC_MANIFEST "SRLOGMAN"

/* ---- Formats: storage/raftlog_format.c ---- */

struct sr_log_identity {
    const struct sr_keyring *keyring;
    uint64_t cluster_id;
    uint64_t member_id;
};

/* Draw a salt, put a preamble to @out, and return the sealer of the epoch that it opens. */
int sr_log_epoch_new(const struct sr_log_identity *identity, const char *magic,
                     uint8_t out[SR_LOG_PREAMBLE_BYTES], struct sr_sealer **ret,
                     struct sr_err *err);
/* The sealer of the epoch of a preamble that was read. SR_CORRUPT, SR_FORMAT, SR_KEY. */
int sr_log_epoch_open(const struct sr_log_identity *identity, const char *magic,
                      const uint8_t in[SR_LOG_PREAMBLE_BYTES], struct sr_sealer **ret,
                      struct sr_err *err);

struct sr_log_segment_header {
    uint8_t preamble[SR_LOG_PREAMBLE_BYTES];
    uint64_t number;
    uint64_t next_index;
    uint64_t size; /* of the file */
    uint64_t before_end;
    uint8_t before_tag[SR_SEAL_TAG_BYTES];
    uint8_t tag[SR_SEAL_TAG_BYTES]; /* filled by seal and open */
};

int sr_log_segment_header_seal(struct sr_log_segment_header *header, struct sr_sealer *sealer,
                               uint8_t out[SR_LOG_SECTOR], struct sr_err *err);
int sr_log_segment_header_open(const struct sr_log_identity *identity,
                               const uint8_t in[SR_LOG_SECTOR], struct sr_log_segment_header *ret,
                               struct sr_sealer **ret_sealer, struct sr_err *err);

struct sr_log_frame {
    uint32_t body;  /* bytes */
    uint32_t count; /* of entries */
    uint64_t first_index;
    uint64_t truncate_from; /* 0: nothing is void */
    uint64_t counter;
    uint8_t before[SR_SEAL_TAG_BYTES];
};

/* Where a frame is, which is authenticated with it. */
struct sr_log_place {
    uint64_t number;
    uint64_t offset;
};

size_t sr_log_frame_bytes(size_t body);
/* Seal @body to @out (sr_log_frame_bytes). Takes two counters. @ret_tag: the new chain value. */
int sr_log_frame_seal(struct sr_sealer *sealer, struct sr_log_place place,
                      struct sr_log_frame *frame, const uint8_t *body, uint8_t *out,
                      uint8_t ret_tag[SR_SEAL_TAG_BYTES], struct sr_err *err);
/* Check the header alone, in the first sector of a frame. */
int sr_log_frame_header_open(struct sr_sealer *sealer, struct sr_log_place place, const uint8_t *in,
                             struct sr_log_frame *ret, struct sr_err *err);
/* Check and decrypt the rest in place: afterwards the body starts at SR_LOG_FRAME_HEADER. */
int sr_log_frame_open(struct sr_sealer *sealer, struct sr_log_place place,
                      const struct sr_log_frame *frame, uint8_t *bytes,
                      uint8_t ret_tag[SR_SEAL_TAG_BYTES], struct sr_err *err);
/* Read the next entry of a body. Sets failed past its end. */
struct sr_log_entry sr_log_entry_read(struct sr_reader *reader);

bool sr_log_is_zero(const uint8_t *data, size_t size);
void sr_log_segment_name(uint64_t number, char out[SR_LOG_NAME_BYTES]);

/* ---- The index in memory: storage/raftlog_index.c ---- */

/* A frame with live entries. */
struct sr_log_ref {
    uint64_t first_index;
    uint64_t offset;
    uint32_t count; /* of live entries: what was truncated later is not */
};

struct sr_log_segment {
    uint64_t number;
    uint64_t size; /* of the file */
    uint8_t preamble[SR_LOG_PREAMBLE_BYTES];
    struct sr_log_ref *refs;
    size_t ref_count;
    size_t ref_capacity;
};

/* The segments, oldest first, and the live frames in them. */
struct sr_log_index {
    struct sr_log_segment *segments;
    size_t count;
    size_t capacity;
    uint64_t last_index;
};

void sr_log_index_close(struct sr_log_index *index);
struct sr_log_segment *sr_log_index_add_segment(struct sr_log_index *index, uint64_t number,
                                                uint64_t size, const uint8_t *preamble);
void sr_log_index_drop_segments(struct sr_log_index *index, size_t count);
/* Put a frame of the newest segment in: first the truncation, then the entries. */
void sr_log_index_add_frame(struct sr_log_index *index, const struct sr_log_frame *frame,
                            uint64_t offset);
uint64_t sr_log_index_first(const struct sr_log_index *index);
/* The frame that has @entry; NULL when none has. */
const struct sr_log_ref *sr_log_index_find(const struct sr_log_index *index, uint64_t entry,
                                           const struct sr_log_segment **ret_segment);
/* How many segments from the oldest on hold nothing above @entry; never the newest. */
size_t sr_log_index_releasable(const struct sr_log_index *index, uint64_t entry);

/* ---- The log ---- */

struct sr_log_vote {
    uint64_t sequence;
    uint64_t term;
    uint64_t voted_for;
    uint64_t newest; /* segment; 0: none was ever begun */
    uint64_t oldest;
};

/* The segment that is written to. */
struct sr_log_writer {
    uint64_t number;
    uint64_t size;
    uint64_t end; /* where the next frame goes */
    int fd;
    struct sr_sealer *sealer;
    uint8_t tag[SR_SEAL_TAG_BYTES]; /* chain value */
};

/* What waits for the next sync. */
struct sr_log_pending {
    struct sr_buf body;
    size_t *starts; /* of entries in body */
    size_t count;
    size_t capacity;
    uint64_t base; /* index before the first waiting entry */
    uint64_t term_max;
    uint64_t truncate_from; /* 0: none */
};

/* The frame that was read last, decrypted. */
struct sr_log_reader {
    pthread_mutex_t mutex;
    int fd;
    uint64_t number; /* of fd and sealer; 0: none */
    struct sr_sealer *sealer;
    uint64_t offset; /* of the frame in bytes; 0: none */
    struct sr_log_frame frame;
    struct sr_buf bytes;
    uint64_t at_index; /* the entry at_offset of the body starts */
    size_t at_offset;
};

/* Of the first failure, for whoever meets the closed log later. */
#define SR_LOG_REASON_BYTES 160

struct sr_raftlog {
    struct sr_log_identity identity;
    struct sr_log_disk disk;
    char *dir;
    int dir_fd;
    uint64_t segment_bytes;
    atomic_bool failing; /* somebody writes the reason */
    atomic_bool failed;  /* set after it */
    char reason[SR_LOG_REASON_BYTES];
    atomic_uint_fast64_t durable_term; /* as vote.term, for the thread that appends */
    atomic_uint_fast64_t disk_bytes;
    struct sr_raftlog_metrics metrics;

    struct sr_log_writer writer;
    struct sr_log_pending pending;
    struct sr_buf frame; /* being written */

    pthread_mutex_t index_mutex;
    struct sr_log_index index;

    pthread_mutex_t vote_mutex;
    int vote_fd;
    struct sr_log_vote vote;
    uint8_t vote_preamble[SR_LOG_PREAMBLE_BYTES];
    struct sr_sealer *vote_sealer;

    pthread_mutex_t prepare_mutex;
    atomic_uint_fast64_t prepared_number; /* 0: none */
    uint64_t prepared_size;
    int prepared_fd;

    pthread_mutex_t release_mutex;
    pthread_mutex_t manifest_mutex;
    struct sr_log_reader reader;
};

void sr_log_lock(pthread_mutex_t *mutex);
void sr_log_unlock(pthread_mutex_t *mutex);

/* ---- Disk: storage/raftlog_disk.c ---- */

/* Each of these counts, and makes any failure but the lack of space final. */
int sr_log_write(struct sr_raftlog *log, int fd, const void *data, size_t size, uint64_t offset,
                 const char *what, struct sr_err *err);
int sr_log_sync(struct sr_raftlog *log, int fd, const char *what, struct sr_err *err);
int sr_log_unlink(struct sr_raftlog *log, const char *name, struct sr_err *err);
/* Remember that the disk cannot be trusted. Returns SR_IO; @err stays what it is. */
int sr_log_fail(struct sr_raftlog *log, struct sr_err *err);
/* SR_IO when it has failed before. */
int sr_log_usable(const struct sr_raftlog *log, struct sr_err *err);

/* ---- Reading: storage/raftlog_read.c ---- */

void sr_log_reader_init(struct sr_log_reader *reader);
void sr_log_reader_close(struct sr_log_reader *reader);

/* ---- Segments: storage/raftlog_segment.c ---- */

/* Create segment @number of @size zeros, synced, its name too. */
int sr_log_segment_create(struct sr_raftlog *log, uint64_t number, uint64_t size, int *ret_fd,
                          struct sr_err *err);
/* Begin segment @number in the file @fd, which takes over: header, vote, index, writer.
 * @fresh: nothing before it counts any more. */
int sr_log_segment_begin(struct sr_raftlog *log, uint64_t number, uint64_t size, int fd, bool fresh,
                         struct sr_err *err);
/* Go on in the next segment, with room for a frame of @bytes. */
int sr_log_segment_roll(struct sr_raftlog *log, uint64_t bytes, bool fresh, struct sr_err *err);

/* ---- Vote: storage/raftlog_vote.c ---- */

/* Read the vote file; @ret_found tells whether there is one. Leaves log->vote as it is on disk. */
int sr_log_vote_load(struct sr_raftlog *log, bool *ret_found, struct sr_err *err);
int sr_log_vote_create(struct sr_raftlog *log, struct sr_err *err);
/* Open an epoch for what this process writes. */
int sr_log_vote_begin(struct sr_raftlog *log, struct sr_err *err);
/* Write log->vote to the next slot and sync it. The vote mutex is held. */
int sr_log_vote_store(struct sr_raftlog *log, struct sr_err *err);

/* ---- Recovery: storage/raftlog_scan.c, storage/raftlog_open.c ---- */

/* What reading one segment found. */
struct sr_log_scan {
    struct sr_log_segment_header header;
    uint64_t size;    /* of the file */
    uint64_t end;     /* after the last good frame */
    uint64_t dropped; /* bytes of an incomplete frame after it */
    uint8_t tag[SR_SEAL_TAG_BYTES];
    uint64_t term_max; /* of all entries */
};

/* Read segment @number, check everything up to @end (0: to the last complete frame, for the
 * newest segment), and put its frames into the index. */
int sr_log_scan_segment(struct sr_raftlog *log, uint64_t number, uint64_t end,
                        struct sr_log_scan *ret, struct sr_err *err);
/* Read the header of segment @number alone. */
int sr_log_scan_header(struct sr_raftlog *log, uint64_t number, struct sr_log_segment_header *ret,
                       struct sr_err *err);
/* Check that segment @number was prepared and never used. */
int sr_log_scan_unused(struct sr_raftlog *log, uint64_t number, struct sr_err *err);

#endif
