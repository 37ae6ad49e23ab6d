/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/check.h"
#include "node/offsite/s3.h"

/* ---- Get ---- */

struct download {
    struct sr_s3_request request;
    uint64_t next;                /* offset of the next byte */
    uint64_t end;                 /* 0: that of the object, which is not known yet */
    bool to_end;                  /* no size was asked for */
    char etag[SR_HTTP_VALUE_MAX]; /* "": no answer yet */
    sr_target_take_cb take;
    void *take_arg;
};

static void prepare_download(struct sr_s3_request *request)
{
    struct download *download = request->arg;
    char range[64];
    if (download->next == 0 && download->end == 0) {
        return;
    }
    if (download->end == 0) {
        snprintf(range, sizeof(range), "bytes=%llu-", (unsigned long long)download->next);
    } else {
        snprintf(range, sizeof(range), "bytes=%llu-%llu", (unsigned long long)download->next,
                 (unsigned long long)download->end - 1);
    }
    sr_s3_header(request, "range", range);
    if (download->etag[0] != 0) {
        sr_s3_header(request, "if-match", download->etag);
    }
}

/* The first piece of an answer: is it what was asked for? */
static int check_answer(struct download *download, const struct sr_http_answer *answer)
{
    struct sr_err *err = &download->request.err;
    bool ranged = answer->status == 206;
    if (download->next != 0 && (!ranged || answer->range_begin != download->next)) {
        return sr_err_set(err, SR_FORMAT, "the server does not know ranges");
    }
    if (download->etag[0] != 0 && strcmp(download->etag, answer->etag) != 0) {
        return sr_err_set(err, SR_CORRUPT, "it was replaced while it was read");
    }
    uint64_t total = ranged ? answer->range_total : answer->length;
    if (!ranged && !answer->has_length) {
        return sr_err_set(err, SR_FORMAT, "the server does not say how much comes");
    }
    if (!download->to_end && download->end > total) {
        return sr_err_set(err, SR_INVALID, "it has %llu bytes only", (unsigned long long)total);
    }
    if (download->to_end) {
        download->end = total;
    }
    snprintf(download->etag, sizeof(download->etag), "%s", answer->etag);
    return SR_OK;
}

static int on_download(void *arg, const struct sr_http_answer *answer, const void *data,
                       size_t size)
{
    struct download *download = arg;
    bool first = download->request.exchange.received_bytes == size;
    int status = first ? check_answer(download, answer) : SR_OK;
    if (status == SR_OK && size > download->end - download->next) {
        status = sr_err_set(&download->request.err, SR_FORMAT, "more comes than was asked for");
    }
    if (status == SR_OK) {
        download->next += size;
        download->request.attempt = 0; /* it moves: patience begins anew */
        status = download->take(download->take_arg, data, size, &download->request.err);
    }
    return status;
}

int sr_s3_get(struct sr_target *target, const char *name, uint64_t offset, uint64_t size,
              sr_target_take_cb take, void *arg, struct sr_err *err)
{
    struct sr_s3 *s3 = sr_s3_of(target);
    struct download *download = sr_zalloc(sizeof(*download));
    download->next = offset;
    download->end = size == 0 ? 0 : offset + size;
    download->to_end = size == 0;
    download->take = take;
    download->take_arg = arg;
    download->request.method = SR_HTTP_GET;
    download->request.address = sr_s3_address(s3, name, "");
    download->request.bytes_per_second = s3->bytes_per_second;
    download->request.prepare = prepare_download;
    download->request.take = on_download;
    download->request.arg = download;
    int status = sr_s3_request_run(s3, &download->request, err);
    if (status == SR_EXISTS) {
        status = sr_err_set(err, SR_CORRUPT, "it was replaced while it was read");
    } else if (status == SR_OK && download->next < download->end) {
        status = sr_err_set(err, SR_FORMAT, "less comes than was asked for");
    } else if (status == SR_INVALID && download->request.exchange.answer.status == 416) {
        status =
            sr_err_set(err, SR_INVALID, "its end is before byte %llu", (unsigned long long)offset);
    }
    sr_s3_request_close(&download->request);
    sr_free(download);
    return status;
}

/* ---- Head ---- */

/* @ret_version: SR_HTTP_VALUE_MAX bytes, "" where the bucket keeps no versions; may be NULL. */
static int head(struct sr_s3 *s3, const char *name, struct sr_target_object *ret, char *ret_version,
                struct sr_err *err)
{
    struct sr_s3_request request = {.method = SR_HTTP_HEAD, .address = sr_s3_address(s3, name, "")};
    int status = sr_s3_request_run(s3, &request, err);
    const struct sr_http_answer *answer = &request.exchange.answer;
    if (status == SR_OK && !answer->has_length) {
        status = sr_err_set(err, SR_FORMAT, "the server does not say how large it is");
    }
    if (status == SR_OK) {
        memset(ret, 0, sizeof(*ret));
        snprintf(ret->name, sizeof(ret->name), "%s", name);
        ret->size = answer->length;
        ret->modified_ms = answer->modified_ms;
        ret->retain_until_ms = answer->object_lock_held ? UINT64_MAX : answer->retain_until_ms;
        if (ret_version != NULL) {
            snprintf(ret_version, SR_HTTP_VALUE_MAX, "%s",
                     strcmp(answer->version, "null") == 0 ? "" : answer->version);
        }
    }
    sr_s3_request_close(&request);
    return status;
}

int sr_s3_head(struct sr_target *target, const char *name, struct sr_target_object *ret,
               struct sr_err *err)
{
    return head(sr_s3_of(target), name, ret, NULL, err);
}

/* ---- Remove ---- */

static int remove_plainly(struct sr_s3 *s3, const char *name, struct sr_err *err)
{
    struct sr_s3_request request = {.method = SR_HTTP_DELETE,
                                    .address = sr_s3_address(s3, name, "")};
    int status = sr_s3_request_run(s3, &request, err);
    sr_s3_request_close(&request);
    return status;
}

int sr_s3_remove(struct sr_target *target, const char *name, struct sr_err *err)
{
    struct sr_s3 *s3 = sr_s3_of(target);
    struct sr_target_object object;
    char version[SR_HTTP_VALUE_MAX];
    size_t count = 0;
    int status = head(s3, name, &object, version, err);
    if (status != SR_OK) {
        return status;
    }
    if (version[0] == 0) {
        return remove_plainly(s3, name, err);
    }
    status = sr_s3_remove_versions(s3, name, &count, err);
    if (status == SR_REFUSED && object.retain_until_ms != 0) {
        sr_err_prefix(err, "a lock holds it");
    }
    return status;
}
