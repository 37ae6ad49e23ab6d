/* SPDX-License-Identifier: Apache-2.0
 *
 * The inside of an image writer, for staged.c, which goes on with changes where the image ends.
 * Inside storage/ only.
 */
#ifndef SR_STORAGE_IMAGE_WRITER_IMPL_H
#define SR_STORAGE_IMAGE_WRITER_IMPL_H

#include "storage/image_format.h"
#include "storage/image_rebirth.h"
#include "storage/store_internal.h"

struct sr_image_writer {
    struct sr_image_writer_options options; /* dir is ours */
    char *dir;
    const struct sr_image_rebirth *rebirth; /* NULL: none */
    struct sr_store *store;
    struct sr_image_position position; /* what was put */
    struct sr_image_position durable;
    struct sr_buf header; /* its chunk; empty: not there yet */
    struct sr_image_header point;
    uint8_t expected[SR_IMAGE_HASH_BYTES]; /* content that the staged state must have */
    bool failed;
};

/* Open the store in its directory, after closing it. */
int sr_image_writer_reopen(struct sr_image_writer *writer, struct sr_err *err);
/* Make what was put durable, if that is due or @force. A flush for which there was no space is
 * finished first; nothing was put since. No revision may be cut in two. */
int sr_image_writer_flush(struct sr_image_writer *writer, bool force, struct sr_err *err);
/* Whether the revision of @version has changed its name already: a store takes that for a bug. All
 * of a revision is in one memtable. */
bool sr_image_writer_is_changed_twice(const struct sr_image_writer *writer,
                                      const struct sr_image_version *version);
/* Make @header the state's: the next flush stores it. What was put up to the compact revision of
 * the image that came has nothing superseded. Once. */
int sr_image_writer_enter(struct sr_image_writer *writer, const struct sr_image_header *header,
                          struct sr_err *err);
/* Whether the index has @versions entries. */
int sr_image_writer_check_count(const struct sr_image_writer *writer, uint64_t versions,
                                struct sr_err *err);

#endif
