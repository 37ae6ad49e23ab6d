/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/check.h"
#include "node/offsite/s3_put.h"

static void add_checksum(struct sr_s3_request *request)
{
    sr_s3_header(request, "x-amz-checksum-sha256", request->body_sha256);
    sr_s3_header(request, "x-amz-sdk-checksum-algorithm", "SHA256");
}

/* An etag goes into a document as it came: no markup in it. */
static bool is_etag(const char *etag)
{
    size_t size = strcspn(etag, "<>&");
    return size > 0 && etag[size] == 0 && size < sizeof(((struct sr_s3_sent *)NULL)->etag);
}

/* Note that @part has arrived. */
static int keep(struct sr_s3_put *put, struct sr_s3_part *part, struct sr_err *err)
{
    struct sr_s3_sent *sent = &put->sent[part->number - 1];
    const char *etag = part->request.exchange.answer.etag;
    if (!is_etag(etag)) {
        return sr_err_set(err, SR_FORMAT, "part %u came without an etag", part->number);
    }
    snprintf(sent->etag, sizeof(sent->etag), "%s", etag);
    snprintf(sent->sha256, sizeof(sent->sha256), "%s", part->request.body_sha256);
    return SR_OK;
}

/* Look at all that are under way. @ret_wait_ms: how long they can be left alone. */
static int step(struct sr_s3_put *put, unsigned *ret_wait_ms, unsigned *ret_under_way,
                struct sr_err *err)
{
    *ret_wait_ms = 1000;
    *ret_under_way = 0;
    for (unsigned i = 0; i < put->part_count; i++) {
        struct sr_s3_part *part = &put->parts[i];
        if (!part->used || part == put->filling) {
            continue;
        }
        unsigned wait_ms = sr_s3_request_step(&part->request);
        if (part->request.state != SR_S3_ENDED) {
            (*ret_under_way)++;
            *ret_wait_ms = wait_ms < *ret_wait_ms ? wait_ms : *ret_wait_ms;
            continue;
        }
        int status = part->request.status;
        if (status != SR_OK) {
            sr_err_set(err, status, "part %u: %.400s", part->number, part->request.err.text);
        } else {
            status = keep(put, part, err);
        }
        sr_s3_request_close(&part->request);
        part->used = false;
        if (status != SR_OK) {
            return status;
        }
    }
    return SR_OK;
}

static struct sr_s3_part *find_free(struct sr_s3_put *put)
{
    for (unsigned i = 0; i < put->part_count; i++) {
        if (!put->parts[i].used) {
            return &put->parts[i];
        }
    }
    return NULL;
}

int sr_s3_parts_take(struct sr_s3_put *put, struct sr_s3_part **ret, struct sr_err *err)
{
    struct sr_s3_part *part = NULL;
    unsigned wait_ms = 0, under_way = 0;
    int status = step(put, &wait_ms, &under_way, err);
    while (status == SR_OK && (part = find_free(put)) == NULL) {
        sr_http_step(put->s3->http, wait_ms);
        status = step(put, &wait_ms, &under_way, err);
    }
    if (status != SR_OK) {
        return status;
    }
    if (part->data == NULL) {
        part->data = sr_try_alloc(put->s3->part_bytes);
        if (part->data == NULL) {
            return sr_err_set(err, SR_LIMIT, "no memory for a part");
        }
    }
    part->used = true;
    part->size = 0;
    *ret = part;
    return SR_OK;
}

static void grow_sent(struct sr_s3_put *put)
{
    if (put->sent_count == put->sent_capacity) {
        put->sent_capacity = put->sent_capacity == 0 ? 64 : put->sent_capacity * 2;
        put->sent = sr_realloc(put->sent, put->sent_capacity * sizeof(*put->sent));
    }
    memset(&put->sent[put->sent_count++], 0, sizeof(*put->sent));
}

/* 0: no limit. */
static uint64_t part_speed(const struct sr_s3 *s3)
{
    uint64_t speed = s3->bytes_per_second / s3->parts_parallel;
    return s3->bytes_per_second > 0 && speed == 0 ? 1 : speed;
}

int sr_s3_parts_send(struct sr_s3_put *put, struct sr_s3_part *part, struct sr_err *err)
{
    struct sr_s3 *s3 = put->s3;
    struct sr_buf query = {0};
    char number[32];
    if (put->sent_count == SR_S3_PARTS_MAX) {
        return sr_err_set(err, SR_LIMIT,
                          "%d parts of %zu bytes are the most that an object has: part_bytes must "
                          "be larger",
                          SR_S3_PARTS_MAX, s3->part_bytes);
    }
    grow_sent(put);
    part->number = put->sent_count;
    snprintf(number, sizeof(number), "partNumber=%u&uploadId=", part->number);
    sr_buf_append(&query, number, strlen(number));
    sr_s3_encode(&query, put->upload, false);
    sr_buf_append_u8(&query, 0);
    part->request = (struct sr_s3_request){
        .method = SR_HTTP_PUT,
        .address = sr_s3_address(s3, put->base.name, (const char *)query.data),
        .body = part->data,
        .body_size = part->size,
        .bytes_per_second = part_speed(s3),
        .prepare = s3->checksum_sha256 ? add_checksum : NULL};
    sr_buf_close(&query);
    sr_s3_request_start(s3, &part->request);
    return sr_s3_parts_pump(put, err);
}

int sr_s3_parts_pump(struct sr_s3_put *put, struct sr_err *err)
{
    unsigned wait_ms = 0, under_way = 0;
    sr_http_step(put->s3->http, 0);
    return step(put, &wait_ms, &under_way, err);
}

int sr_s3_parts_wait(struct sr_s3_put *put, struct sr_err *err)
{
    unsigned wait_ms = 0, under_way = 0;
    int status = step(put, &wait_ms, &under_way, err);
    while (status == SR_OK && under_way > 0) {
        sr_http_step(put->s3->http, wait_ms);
        status = step(put, &wait_ms, &under_way, err);
    }
    return status;
}

void sr_s3_parts_close(struct sr_s3_put *put)
{
    for (unsigned i = 0; i < put->part_count; i++) {
        sr_s3_request_close(&put->parts[i].request);
        sr_free(put->parts[i].data);
    }
    sr_free(put->sent);
    put->part_count = 0;
    put->sent = NULL;
}
