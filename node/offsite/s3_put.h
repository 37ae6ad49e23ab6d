/* SPDX-License-Identifier: Apache-2.0
 *
 * A put to S3 that is open. Inside node/offsite/s3_put.c and s3_parts.c only.
 *
 *   bytes ──► the part that is being filled ──► parts under way ──► etags
 */
#ifndef SR_NODE_OFFSITE_S3_PUT_H
#define SR_NODE_OFFSITE_S3_PUT_H

#include "node/offsite/s3.h"

#define SR_S3_PARTS_MAX 10000 /* of one upload, says S3 */

struct sr_s3_part {
    bool used; /* filled or under way */
    unsigned number;
    uint8_t *data; /* s3->part_bytes, kept for the next one */
    size_t size;
    struct sr_s3_request request;
};

struct sr_s3_sent {
    char etag[72];   /* with its quotes */
    char sha256[48]; /* base64 */
};

struct sr_s3_put {
    struct sr_target_put base;
    struct sr_s3 *s3;
    char upload[SR_S3_TEXT_MAX]; /* "": everything fits into one part so far */
    struct sr_s3_part parts[SR_TARGET_PARTS_PARALLEL_MAX + 1];
    unsigned part_count; /* parts_parallel and the one that is being filled */
    struct sr_s3_part *filling;
    struct sr_s3_sent *sent; /* by number - 1 */
    unsigned sent_count, sent_capacity;
};

/* A part to fill, as soon as there is one; the failure of any that was under way. */
int sr_s3_parts_take(struct sr_s3_put *put, struct sr_s3_part **ret, struct sr_err *err);
/* Send it on its way, as the next number. */
int sr_s3_parts_send(struct sr_s3_put *put, struct sr_s3_part *part, struct sr_err *err);
/* Go on with what is under way, without waiting. */
int sr_s3_parts_pump(struct sr_s3_put *put, struct sr_err *err);
/* Wait until all have arrived. */
int sr_s3_parts_wait(struct sr_s3_put *put, struct sr_err *err);
/* End all at once, free all. */
void sr_s3_parts_close(struct sr_s3_put *put);

#endif
