/* SPDX-License-Identifier: Apache-2.0
 *
 * What fits into one part is put by one request, at the end. What does not begins an upload, whose
 * parts go on their way as they are full; S3 makes an object of them when it is told to, and not
 * before.
 */
#include "node/offsite/s3_put.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/check.h"

#define DATE_MAX 32

/* ---- What the object is to be ---- */

static const char *lock_mode(const struct sr_s3_put *put)
{
    return put->s3->lock == SR_TARGET_LOCK_COMPLIANCE ? "COMPLIANCE" : "GOVERNANCE";
}

static void lock_date(const struct sr_s3_put *put, char out[DATE_MAX])
{
    struct tm when;
    time_t seconds = (time_t)(put->base.options.retain_until_ms / 1000);
    gmtime_r(&seconds, &when);
    strftime(out, DATE_MAX, "%Y-%m-%dT%H:%M:%SZ", &when);
}

static void add_lock(struct sr_s3_request *request, const struct sr_s3_put *put)
{
    char date[DATE_MAX];
    lock_date(put, date);
    sr_s3_header(request, "x-amz-object-lock-mode", lock_mode(put));
    sr_s3_header(request, "x-amz-object-lock-retain-until-date", date);
}

static void add_attributes(struct sr_s3_request *request)
{
    const struct sr_s3_put *put = request->arg;
    const struct sr_s3 *s3 = put->s3;
    if (s3->storage_class != NULL) {
        sr_s3_header(request, "x-amz-storage-class", s3->storage_class);
    }
    if (s3->sse != SR_TARGET_SSE_NONE) {
        sr_s3_header(request, "x-amz-server-side-encryption",
                     s3->sse == SR_TARGET_SSE_KMS ? "aws:kms" : "AES256");
    }
    if (s3->sse_kms_key != NULL) {
        sr_s3_header(request, "x-amz-server-side-encryption-aws-kms-key-id", s3->sse_kms_key);
    }
    if (put->base.options.retain_until_ms != 0) {
        add_lock(request, put);
    }
    if (s3->checksum_sha256) {
        if (request->method == SR_HTTP_POST) {
            sr_s3_header(request, "x-amz-checksum-algorithm", "SHA256");
        } else {
            sr_s3_header(request, "x-amz-checksum-sha256", request->body_sha256);
            sr_s3_header(request, "x-amz-sdk-checksum-algorithm", "SHA256");
        }
    }
}

/* ---- The upload ---- */

static char *upload_address(const struct sr_s3_put *put)
{
    static const char name[] = "uploadId=";
    struct sr_buf query = {0};
    sr_buf_append(&query, name, strlen(name));
    sr_s3_encode(&query, put->upload, false);
    sr_buf_append_u8(&query, 0);
    char *address = sr_s3_address(put->s3, put->base.name, (const char *)query.data);
    sr_buf_close(&query);
    return address;
}

static int on_initiated(void *arg, const char *parent, const char *name, const char *text,
                        struct sr_err *err)
{
    struct sr_s3_put *put = arg;
    (void)parent;
    (void)err;
    if (strcmp(name, "UploadId") == 0) {
        snprintf(put->upload, sizeof(put->upload), "%s", text);
    }
    return SR_OK;
}

static int begin_upload(struct sr_s3_put *put, struct sr_err *err)
{
    struct sr_s3_request request = {.method = SR_HTTP_POST,
                                    .address = sr_s3_address(put->s3, put->base.name, "uploads="),
                                    .body = "",
                                    .prepare = add_attributes,
                                    .arg = put};
    int status = sr_s3_request_run(put->s3, &request, err);
    if (status == SR_OK) {
        status = sr_s3_xml_read(sr_s3_answer(&request), on_initiated, put, err);
    }
    if (status == SR_OK && put->upload[0] == 0) {
        status = sr_err_set(err, SR_FORMAT, "an upload without an id");
    }
    sr_s3_request_close(&request);
    if (status != SR_OK) {
        sr_err_prefix(err, "begin an upload");
    }
    return status;
}

static void append_text(struct sr_buf *out, const char *text)
{
    sr_buf_append(out, text, strlen(text));
}

static struct sr_buf list_parts(const struct sr_s3_put *put)
{
    struct sr_buf out = {0};
    append_text(&out, "<CompleteMultipartUpload "
                      "xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
    for (unsigned i = 0; i < put->sent_count; i++) {
        char number[16];
        snprintf(number, sizeof(number), "%u", i + 1);
        append_text(&out, "<Part><PartNumber>");
        append_text(&out, number);
        append_text(&out, "</PartNumber><ETag>");
        append_text(&out, put->sent[i].etag);
        append_text(&out, "</ETag>");
        if (put->s3->checksum_sha256) {
            append_text(&out, "<ChecksumSHA256>");
            append_text(&out, put->sent[i].sha256);
            append_text(&out, "</ChecksumSHA256>");
        }
        append_text(&out, "</Part>");
    }
    append_text(&out, "</CompleteMultipartUpload>");
    return out;
}

/* When the answer to an attempt was lost, the next one hears that there is no such upload any more:
 * whether the object is there tells. With replace it may be the one before. */
static int complete_upload(struct sr_s3_put *put, struct sr_err *err)
{
    struct sr_buf parts = list_parts(put);
    struct sr_s3_request request = {.method = SR_HTTP_POST,
                                    .address = upload_address(put),
                                    .body = parts.data,
                                    .body_size = parts.size};
    int status = sr_s3_request_run(put->s3, &request, err);
    if (status == SR_NOT_FOUND && request.attempt > 1) {
        status = put->base.options.replace
                     ? sr_err_set(err, SR_NETWORK, "it is not known whether it was completed")
                     : SR_OK;
    }
    if (status == SR_OK) {
        put->upload[0] = 0;
    } else {
        sr_err_prefix(err, "complete an upload of %u parts", put->sent_count);
    }
    sr_s3_request_close(&request);
    sr_buf_close(&parts);
    return status;
}

static void end_upload(struct sr_s3_put *put, bool briefly)
{
    struct sr_s3_request request = {
        .method = SR_HTTP_DELETE, .address = upload_address(put), .last_words = briefly};
    sr_s3_request_run(put->s3, &request, NULL);
    sr_s3_request_close(&request);
}

/* @status: why it ends. Who cannot be reached is not waited for again. */
static void discard(struct sr_s3_put *put, int status)
{
    bool briefly = atomic_load(&put->s3->base.cancelled) || status == SR_NETWORK ||
                   status == SR_TIMEOUT || status == SR_CLOSED;
    sr_s3_parts_close(put);
    if (put->upload[0] != 0) {
        end_upload(put, briefly);
    }
    sr_free(put);
}

/* ---- Begin and write ---- */

int sr_s3_put_begin(struct sr_target *target, const char *name,
                    const struct sr_target_put_options *options, struct sr_target_put **ret,
                    struct sr_err *err)
{
    (void)name;
    (void)options;
    (void)err;
    struct sr_s3_put *put = sr_zalloc(sizeof(*put));
    put->s3 = sr_s3_of(target);
    put->part_count = put->s3->parts_parallel + 1;
    *ret = &put->base;
    return SR_OK;
}

static int send_filled(struct sr_s3_put *put, struct sr_err *err)
{
    struct sr_s3_part *part = put->filling;
    int status = put->upload[0] == 0 ? begin_upload(put, err) : SR_OK;
    if (status == SR_OK) {
        put->filling = NULL;
        status = sr_s3_parts_send(put, part, err);
    }
    return status;
}

int sr_s3_put_write(struct sr_target_put *base, const void *data, size_t size, struct sr_err *err)
{
    struct sr_s3_put *put = (struct sr_s3_put *)base;
    size_t whole = put->s3->part_bytes;
    const uint8_t *at = data;
    int status = SR_OK;
    while (size > 0 && status == SR_OK) {
        if (put->filling != NULL && put->filling->size == whole) {
            status = send_filled(put, err);
        }
        if (status == SR_OK && put->filling == NULL) {
            status = sr_s3_parts_take(put, &put->filling, err);
        }
        if (status == SR_OK) {
            struct sr_s3_part *part = put->filling;
            size_t piece = size < whole - part->size ? size : whole - part->size;
            memcpy(part->data + part->size, at, piece);
            part->size += piece;
            at += piece;
            size -= piece;
        }
    }
    if (status == SR_OK && atomic_load(&put->s3->base.cancelled)) {
        status = sr_err_set(err, SR_CLOSED, "the node stops");
    }
    return status == SR_OK && put->sent_count > 0 ? sr_s3_parts_pump(put, err) : status;
}

/* ---- Finish ---- */

static int put_whole(struct sr_s3_put *put, struct sr_err *err)
{
    const struct sr_s3_part *part = put->filling;
    struct sr_s3_request request = {.method = SR_HTTP_PUT,
                                    .address = sr_s3_address(put->s3, put->base.name, ""),
                                    .body = part == NULL ? (const uint8_t *)"" : part->data,
                                    .body_size = part == NULL ? 0 : part->size,
                                    .bytes_per_second = put->s3->bytes_per_second,
                                    .prepare = add_attributes,
                                    .arg = put};
    int status = sr_s3_request_run(put->s3, &request, err);
    sr_s3_request_close(&request);
    return status;
}

/* Some servers (Ceph 16) do not heed the lock that an upload asks for: then it is put on what
 * arrived. */
static int lock_afterwards(struct sr_s3_put *put, struct sr_err *err)
{
    char document[160], date[DATE_MAX];
    lock_date(put, date);
    int size = snprintf(document, sizeof(document),
                        "<Retention><Mode>%s</Mode><RetainUntilDate>%s</RetainUntilDate>"
                        "</Retention>",
                        lock_mode(put), date);
    struct sr_s3_request request = {.method = SR_HTTP_PUT,
                                    .address = sr_s3_address(put->s3, put->base.name, "retention="),
                                    .body = document,
                                    .body_size = (size_t)size};
    int status = sr_s3_request_run(put->s3, &request, err);
    sr_s3_request_close(&request);
    if (status != SR_OK) {
        sr_err_prefix(err, "it has arrived, but is not locked");
    }
    return status;
}

/* What the target says of it. */
static int look(struct sr_s3_put *put, struct sr_target_object *ret, struct sr_err *err)
{
    uint64_t until_ms = put->base.options.retain_until_ms / 1000 * 1000;
    int status = sr_s3_head(&put->s3->base, put->base.name, ret, err);
    if (status == SR_OK && ret->size != put->base.size) {
        status = sr_err_set(err, SR_CORRUPT, "%llu bytes have arrived of %llu",
                            (unsigned long long)ret->size, (unsigned long long)put->base.size);
    }
    if (status != SR_OK) {
        sr_err_prefix(err, "look at what arrived");
    } else if (ret->retain_until_ms < until_ms) {
        status = lock_afterwards(put, err);
        ret->retain_until_ms = until_ms;
    }
    return status;
}

/* It has arrived, but not as it should have: it must not stay. After the network's failures it may
 * be as it should, and with replace it may be the one before. */
static void take_back(struct sr_s3_put *put, int status)
{
    if (status != SR_NETWORK && status != SR_TIMEOUT && status != SR_AGAIN && status != SR_CLOSED &&
        !put->base.options.replace) {
        (void)sr_s3_remove(&put->s3->base, put->base.name, NULL);
    }
}

static int finish(struct sr_s3_put *put, struct sr_target_object *ret, struct sr_err *err)
{
    int status = SR_OK;
    if (put->upload[0] == 0) {
        status = put_whole(put, err);
    } else {
        status = send_filled(put, err);
        if (status == SR_OK) {
            status = sr_s3_parts_wait(put, err);
        }
        if (status == SR_OK) {
            status = complete_upload(put, err);
        }
    }
    if (status == SR_OK) {
        status = look(put, ret, err);
        if (status != SR_OK) {
            take_back(put, status);
        }
    }
    return status;
}

int sr_s3_put_finish(struct sr_target_put *base, struct sr_target_object *ret, struct sr_err *err)
{
    struct sr_s3_put *put = (struct sr_s3_put *)base;
    int status = finish(put, ret, err);
    discard(put, status);
    return status;
}

void sr_s3_put_abort(struct sr_target_put *base)
{
    discard((struct sr_s3_put *)base, base->failed ? SR_NETWORK : SR_OK);
}
