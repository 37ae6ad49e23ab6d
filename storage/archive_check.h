/* SPDX-License-Identifier: Apache-2.0
 *
 * The rules of the stream inside an archive, asked of each chunk in turn: by the writer before it
 * seals, by the reader before it hands on, by the staged state before it stores. Inside storage/
 * only.
 */
#ifndef SR_STORAGE_ARCHIVE_CHECK_H
#define SR_STORAGE_ARCHIVE_CHECK_H

#include "storage/archive.h"

/* Plain data: a copy of it is a place to go back to. */
struct sr_archive_check {
    struct sr_archive_info info;       /* of what came so far */
    struct sr_image_position position; /* likewise; revision and sub: the next possible version */
    uint64_t request_count;            /* full: how many are to come */
    int64_t request_revision;          /* changes: of the last request */
    struct sr_archive_mark mark;       /* changes: the last one */
    bool ended;
};

/* Of an archive with @header. */
void sr_archive_check_begin(struct sr_archive_check *check, const struct sr_archive_header *header);
/* @data is to be the next chunk; check->info.content is the running hash with it. SR_CORRUPT, with
 * what is wrong with it; SR_FORMAT. */
int sr_archive_check_chunk(struct sr_archive_check *check, struct sr_bytes data,
                           struct sr_err *err);

#endif
