/* SPDX-License-Identifier: Apache-2.0
 *
 * Remembered requests read for a stream, by their numbers. Inside storage/ only.
 */
#ifndef SR_STORAGE_IMAGE_REQUESTS_H
#define SR_STORAGE_IMAGE_REQUESTS_H

#include "storage/image_format.h"
#include "storage/store_internal.h"

/* Append those from *@number on, and before @end, to @chunk until it is full; *@number is moved
 * on. SR_CORRUPT when one is missing. */
int sr_image_requests_add(struct sr_store *store, struct sr_view *view, uint64_t *number,
                          uint64_t end, struct sr_buf *chunk, struct sr_err *err);
/* The numbers of those that were answered at a revision after @since and up to @until; equal when
 * there are none. */
int sr_image_requests_find(struct sr_store *store, struct sr_view *view, int64_t since,
                           int64_t until, uint64_t *ret_first, uint64_t *ret_end,
                           struct sr_err *err);

#endif
