/* SPDX-License-Identifier: Apache-2.0
 *
 * The log table read in order of revision: events, with their names and headers.
 */
#ifndef SR_STORAGE_EVENT_H
#define SR_STORAGE_EVENT_H

#include "storage/record.h"

struct sr_event {
    uint8_t ek[SR_EK_BYTES_MAX];
    size_t ek_size;
    struct sr_version version;
};

/* Set opener and cursor, which are borrowed; the rest is zero. */
struct sr_event_reader {
    struct sr_opener *opener;
    MDB_cursor *cursor;   /* on the log table */
    struct sr_buf record; /* of the last event */
    struct sr_buf plain;  /* its value and header */
};

/* Read the first event at or after (@revision, @sub), whole: its box is opened, and header and
 * place agree. SR_NOT_FOUND, without @err, when there is none; SR_CORRUPT, SR_KEY, SR_IO. */
int sr_event_read(struct sr_event_reader *reader, int64_t revision, uint32_t sub,
                  struct sr_event *ret, struct sr_err *err);
void sr_event_reader_close(struct sr_event_reader *reader); /* wipes */

#endif
