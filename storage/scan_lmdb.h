/* SPDX-License-Identifier: Apache-2.0
 *
 * The LMDB side of a scan: for each name, in order, its newest version at or below a revision.
 */
#ifndef SR_STORAGE_SCAN_LMDB_H
#define SR_STORAGE_SCAN_LMDB_H

#include "storage/record.h"
#include "storage/store_internal.h"

struct sr_lmdb_scan {
    struct sr_view *view;
    MDB_cursor *cursor;
    int64_t revision;
    struct sr_idx_key place; /* of the current version */
    uint8_t name[SR_KEY_BYTES_MAX];
    size_t name_size;
    struct sr_version version;
    bool valid; /* name and version are set; otherwise the scan is at its end */
};

/* Stand at the first name at or after @begin, or after it. Failures are in view->err. */
int sr_lmdb_scan_open(struct sr_lmdb_scan *scan, struct sr_view *view, struct sr_bytes begin,
                      bool above, int64_t revision);
/* Go on to the next name that has a version at or below the revision. */
int sr_lmdb_scan_next(struct sr_lmdb_scan *scan);
void sr_lmdb_scan_close(struct sr_lmdb_scan *scan);

#endif
