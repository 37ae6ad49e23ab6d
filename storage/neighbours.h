/* SPDX-License-Identifier: Apache-2.0
 *
 * What is read is authenticated; this is about what is not found. LMDB finds a place by comparing
 * with names that it believes. Were one of them altered since the file was checked at its opening,
 * the search would turn the wrong way there and end beside it: its two neighbours tell. Both must
 * be authentic and on their sides of what was sought, and their pages whole.
 */
#ifndef SR_STORAGE_NEIGHBOURS_H
#define SR_STORAGE_NEIGHBOURS_H

#include "storage/record.h"
#include "storage/store_internal.h"

/* Send @cursor, on the index, to the first entry at or after @wanted. Returns 0 with *@wanted and
 * *@ret_box set to what is there, MDB_NOTFOUND, or another code of LMDB. @ret_status is SR_OK, or
 * SR_CORRUPT with the reason in view->err when the neighbours say that the place is wrong; it has
 * to be looked at first. */
int sr_neighbours_seek(struct sr_view *view, MDB_cursor *cursor, MDB_val *wanted, MDB_val *ret_box,
                       int *ret_status);

#endif
