/* SPDX-License-Identifier: Apache-2.0
 *
 * libcurl, as of Debian 12 (7.88). Two of its habits matter here:
 *
 *   - It signs with the value of x-amz-content-sha256 if there is such a header, and never makes
 *     one; S3 refuses requests without it.
 *   - It signs path and query as they are given: the query must be sorted, each parameter with "=",
 *     everything but unreserved characters encoded.
 */
#include "node/offsite/http.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/alloc.h"
#include "base/check.h"

/* It asks before it sends any body, and waits a second for the answer. One that is smaller than
 * this is sent at once: asking takes longer than sending it in vain, and some servers (Ceph 16) do
 * not always answer. */
#define EXPECT_BYTES    ((size_t)1024 * 1024)
#define EXPECT_SMALL_MS 1

struct sr_http {
    struct sr_http_options options;
    CURLM *multi;
    char signature[96]; /* "aws:amz:REGION:s3" */
    unsigned running;
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static CURLcode started = CURLE_FAILED_INIT;

static void start_library(void)
{
    started = curl_global_init(CURL_GLOBAL_DEFAULT);
}

int sr_http_new(const struct sr_http_options *options, struct sr_http **ret, struct sr_err *err)
{
    pthread_once(&once, start_library);
    if (started != CURLE_OK) {
        return sr_err_set(err, SR_NETWORK, "libcurl does not start: %s",
                          curl_easy_strerror(started));
    }
    struct sr_http *http = sr_zalloc(sizeof(*http));
    http->options = *options;
    snprintf(http->signature, sizeof(http->signature), "aws:amz:%s:s3", options->region);
    http->multi = curl_multi_init();
    if (http->multi == NULL) {
        sr_free(http);
        return sr_err_set(err, SR_NETWORK, "libcurl does not start");
    }
    *ret = http;
    return SR_OK;
}

void sr_http_free(struct sr_http *http)
{
    if (http != NULL) {
        sr_check(http->running == 0);
        curl_multi_cleanup(http->multi);
        sr_free(http);
    }
}

/* ---- What is sent ---- */

static size_t on_read(char *out, size_t one, size_t size, void *arg)
{
    struct sr_http_exchange *exchange = arg;
    size_t left = exchange->body_size - exchange->body_offset;
    size *= one;
    size = size < left ? size : left;
    if (size > 0) {
        memcpy(out, (const uint8_t *)exchange->body + exchange->body_offset, size);
    }
    exchange->body_offset += size;
    exchange->sent_bytes += size;
    atomic_fetch_add_explicit(exchange->moved_bytes, size, memory_order_relaxed);
    return size;
}

/* libcurl begins again when a connection that was kept turns out to be closed. */
static int on_seek(void *arg, curl_off_t offset, int origin)
{
    struct sr_http_exchange *exchange = arg;
    if (origin != SEEK_SET || offset < 0 || (uint64_t)offset > exchange->body_size) {
        return CURL_SEEKFUNC_FAIL;
    }
    exchange->body_offset = (size_t)offset;
    return CURL_SEEKFUNC_OK;
}

/* ---- What comes back ---- */

/* The value of @line if it is header @name, without blanks around it, cut to @size. */
static bool take_header(const char *line, size_t line_size, const char *name, char *out,
                        size_t size)
{
    size_t at = strlen(name);
    if (line_size <= at || strncasecmp(line, name, at) != 0 || line[at] != ':') {
        return false;
    }
    for (at++; at < line_size && (line[at] == ' ' || line[at] == '\t');) {
        at++;
    }
    while (line_size > at && strchr("\r\n \t", line[line_size - 1]) != NULL) {
        line_size--;
    }
    size_t used = line_size - at < size - 1 ? line_size - at : size - 1;
    memcpy(out, line + at, used);
    out[used] = 0;
    return true;
}

/* The number that *text begins with, and *text behind it; false: there is none. */
static bool take_number(const char **text, uint64_t *ret)
{
    char *end = NULL;
    if (**text < '0' || **text > '9') {
        return false;
    }
    errno = 0;
    *ret = strtoull(*text, &end, 10);
    *text = end;
    return errno == 0;
}

/* "bytes BEGIN-END/TOTAL" */
static bool take_range(const char *text, uint64_t *ret_begin, uint64_t *ret_total)
{
    uint64_t end = 0;
    if (strncmp(text, "bytes ", 6) != 0) {
        return false;
    }
    text += 6;
    return take_number(&text, ret_begin) && *text++ == '-' && take_number(&text, &end) &&
           *text++ == '/' && take_number(&text, ret_total);
}

static uint64_t time_of(const char *text)
{
    struct tm when = {0};
    if (strptime(text, "%a, %d %b %Y %H:%M:%S GMT", &when) == NULL) {
        memset(&when, 0, sizeof(when));
        if (strptime(text, "%Y-%m-%dT%H:%M:%S", &when) == NULL) {
            return 0;
        }
    }
    return (uint64_t)timegm(&when) * 1000;
}

/* The name of a region goes into logs: a server must not write what it likes there. */
static void clean_region(char *region)
{
    if (region[strspn(region, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-")] !=
        0) {
        region[0] = 0;
    }
}

static void take_value(struct sr_http_answer *answer, const char *line, size_t size)
{
    char value[SR_HTTP_VALUE_MAX];
    const char *text = value;
    uint64_t begin = 0, number = 0;
    if (take_header(line, size, "etag", answer->etag, sizeof(answer->etag)) ||
        take_header(line, size, "x-amz-version-id", answer->version, sizeof(answer->version))) {
        return;
    }
    if (take_header(line, size, "x-amz-bucket-region", answer->region, sizeof(answer->region))) {
        clean_region(answer->region);
        return;
    }
    if (take_header(line, size, "content-length", value, sizeof(value))) {
        answer->has_length = take_number(&text, &answer->length);
    } else if (take_header(line, size, "content-range", value, sizeof(value))) {
        if (take_range(value, &begin, &number)) {
            answer->range_begin = begin;
            answer->range_total = number;
        }
    } else if (take_header(line, size, "retry-after", value, sizeof(value))) {
        /* A date: our own patience will do. */
        bool is_number = take_number(&text, &number) && number <= UINT_MAX;
        answer->retry_after_s = is_number ? (unsigned)number : 0;
    } else if (take_header(line, size, "last-modified", value, sizeof(value))) {
        answer->modified_ms = time_of(value);
    } else if (take_header(line, size, "x-amz-object-lock-retain-until-date", value,
                           sizeof(value))) {
        answer->retain_until_ms = time_of(value);
    } else if (take_header(line, size, "x-amz-object-lock-legal-hold", value, sizeof(value))) {
        answer->object_lock_held = strcasecmp(value, "ON") == 0;
    }
}

/* A new status line means that what came before was of another answer: 100 Continue. */
static void clear_answer(struct sr_http_answer *answer)
{
    struct sr_buf body = answer->body;
    sr_buf_clear(&body);
    memset(answer, 0, sizeof(*answer));
    answer->body = body;
}

/* "HTTP/1.1 200 OK"; @line does not end with a 0. 0: that is none. */
static long status_of(const char *line, size_t size)
{
    const char *space = memchr(line, ' ', size);
    long status = 0;
    for (const char *at = space; at != NULL && ++at < line + size && at <= space + 3;) {
        if (*at < '0' || *at > '9') {
            return 0;
        }
        status = 10 * status + (*at - '0');
    }
    return status;
}

static size_t on_header(char *line, size_t one, size_t size, void *arg)
{
    struct sr_http_exchange *exchange = arg;
    size *= one;
    if (size >= 5 && strncmp(line, "HTTP/", 5) == 0) {
        clear_answer(&exchange->answer);
        exchange->answer.status = status_of(line, size);
        if (exchange->answer.status == 0) {
            return 0;
        }
    } else {
        take_value(&exchange->answer, line, size);
    }
    return size;
}

static size_t on_body(char *data, size_t one, size_t size, void *arg)
{
    struct sr_http_exchange *exchange = arg;
    struct sr_http_answer *answer = &exchange->answer;
    size *= one;
    exchange->received_bytes += size;
    atomic_fetch_add_explicit(exchange->moved_bytes, size, memory_order_relaxed);
    if (exchange->take != NULL && answer->status >= 200 && answer->status < 300) {
        exchange->take_status = exchange->take(exchange->take_arg, answer, data, size);
        return exchange->take_status == SR_OK ? size : 0;
    }
    if (size > SR_HTTP_ANSWER_BYTES_MAX - answer->body.size) {
        exchange->answer_too_large = true;
        return 0;
    }
    sr_buf_append(&answer->body, data, size);
    return size;
}

/* libcurl calls this about once a second, and whenever something moves. */
static int on_progress(void *arg, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    (void)a;
    (void)b;
    (void)c;
    (void)d;
    return atomic_load((const atomic_bool *)arg);
}

/* ---- Start ---- */

#define SET(option, value) (curl_easy_setopt(curl, option, value) == CURLE_OK)

static bool set_method(CURL *curl, struct sr_http_exchange *exchange)
{
    switch (exchange->method) {
    case SR_HTTP_GET:
        return SET(CURLOPT_HTTPGET, 1L) &&
               SET(CURLOPT_MAX_RECV_SPEED_LARGE, (curl_off_t)exchange->bytes_per_second);
    case SR_HTTP_HEAD:
        return SET(CURLOPT_NOBODY, 1L);
    case SR_HTTP_DELETE:
        return SET(CURLOPT_CUSTOMREQUEST, "DELETE");
    case SR_HTTP_POST:
        return SET(CURLOPT_POST, 1L) && SET(CURLOPT_POSTFIELDS, exchange->body) &&
               SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)exchange->body_size);
    case SR_HTTP_PUT:
        return SET(CURLOPT_UPLOAD, 1L) &&
               SET(CURLOPT_INFILESIZE_LARGE, (curl_off_t)exchange->body_size) &&
               (exchange->body_size >= EXPECT_BYTES ||
                SET(CURLOPT_EXPECT_100_TIMEOUT_MS, (long)EXPECT_SMALL_MS)) &&
               SET(CURLOPT_READFUNCTION, on_read) && SET(CURLOPT_READDATA, exchange) &&
               SET(CURLOPT_SEEKFUNCTION, on_seek) && SET(CURLOPT_SEEKDATA, exchange) &&
               SET(CURLOPT_UPLOAD_BUFFERSIZE, 256L * 1024) &&
               SET(CURLOPT_MAX_SEND_SPEED_LARGE, (curl_off_t)exchange->bytes_per_second);
    }
    return false;
}

static bool set_connection(CURL *curl, const struct sr_http_options *options)
{
    long stall_s = ((long)options->stall_timeout_ms + 999) / 1000;
    return SET(CURLOPT_PROTOCOLS_STR, options->plain ? "http,https" : "https") &&
           SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2) &&
           (options->ca_file == NULL ||
            (SET(CURLOPT_CAINFO, options->ca_file) && SET(CURLOPT_CAPATH, NULL))) &&
           (options->proxy == NULL ? SET(CURLOPT_PROXY, "") : SET(CURLOPT_PROXY, options->proxy)) &&
           SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1) && SET(CURLOPT_NOSIGNAL, 1L) &&
           SET(CURLOPT_NETRC, (long)CURL_NETRC_IGNORED) && SET(CURLOPT_TCP_KEEPALIVE, 1L) &&
           SET(CURLOPT_CONNECTTIMEOUT_MS, (long)options->connect_timeout_ms) &&
           SET(CURLOPT_LOW_SPEED_LIMIT, 1L) && SET(CURLOPT_LOW_SPEED_TIME, stall_s) &&
           SET(CURLOPT_BUFFERSIZE, 256L * 1024);
}

static bool set_callbacks(CURL *curl, struct sr_http_exchange *exchange,
                          const atomic_bool *cancelled)
{
    return SET(CURLOPT_HEADERFUNCTION, on_header) && SET(CURLOPT_HEADERDATA, exchange) &&
           SET(CURLOPT_WRITEFUNCTION, on_body) && SET(CURLOPT_WRITEDATA, exchange) &&
           SET(CURLOPT_ERRORBUFFER, exchange->reason) && SET(CURLOPT_PRIVATE, exchange) &&
           (cancelled == NULL || (SET(CURLOPT_XFERINFOFUNCTION, on_progress) &&
                                  SET(CURLOPT_XFERINFODATA, (void *)(uintptr_t)cancelled) &&
                                  SET(CURLOPT_NOPROGRESS, 0L)));
}

static bool set_signature(CURL *curl, struct sr_http *http, struct sr_http_exchange *exchange)
{
    return SET(CURLOPT_AWS_SIGV4, http->signature) &&
           SET(CURLOPT_USERNAME, exchange->credentials->access_key) &&
           SET(CURLOPT_PASSWORD, exchange->credentials->secret_key) &&
           SET(CURLOPT_HTTPHEADER, (struct curl_slist *)(uintptr_t)exchange->headers);
}

#undef SET

static void clear(struct sr_http_exchange *exchange)
{
    clear_answer(&exchange->answer);
    exchange->done = false;
    exchange->take_status = SR_OK;
    exchange->result = CURLE_OK;
    exchange->reason[0] = 0;
    exchange->sent_bytes = 0;
    exchange->received_bytes = 0;
    exchange->body_offset = 0;
    exchange->answer_too_large = false;
}

int sr_http_start(struct sr_http *http, struct sr_http_exchange *exchange, struct sr_err *err)
{
    sr_check(exchange->curl == NULL);
    clear(exchange);
    CURL *curl = curl_easy_init();
    sr_check(curl != NULL);
    if (!set_method(curl, exchange) || !set_connection(curl, &http->options) ||
        !set_callbacks(curl, exchange, exchange->despite_cancel ? NULL : http->options.cancelled) ||
        !set_signature(curl, http, exchange) ||
        curl_easy_setopt(curl, CURLOPT_URL, exchange->url) != CURLE_OK ||
        curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)exchange->timeout_ms) != CURLE_OK) {
        curl_easy_cleanup(curl);
        return sr_err_set(err, SR_INVALID, "libcurl does not take an address, CA file or proxy");
    }
    sr_check(curl_multi_add_handle(http->multi, curl) == CURLM_OK);
    exchange->curl = curl;
    http->running++;
    return SR_OK;
}

/* ---- Going on ---- */

static void detach(struct sr_http *http, struct sr_http_exchange *exchange)
{
    curl_multi_remove_handle(http->multi, exchange->curl);
    curl_easy_cleanup(exchange->curl);
    exchange->curl = NULL;
    http->running--;
}

/* How many have finished. */
static unsigned take_finished(struct sr_http *http)
{
    unsigned count = 0;
    int left = 0;
    for (CURLMsg *message = curl_multi_info_read(http->multi, &left); message != NULL;
         message = curl_multi_info_read(http->multi, &left)) {
        if (message->msg == CURLMSG_DONE) {
            struct sr_http_exchange *exchange = NULL;
            CURLcode result = message->data.result; /* gone with the handle */
            curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&exchange);
            detach(http, exchange);
            exchange->result = result;
            exchange->done = true;
            count++;
        }
    }
    return count;
}

void sr_http_step(struct sr_http *http, unsigned wait_ms)
{
    int running = 0;
    curl_multi_perform(http->multi, &running);
    if (take_finished(http) == 0 && wait_ms > 0) {
        curl_multi_poll(http->multi, NULL, 0, (int)wait_ms, NULL);
        curl_multi_perform(http->multi, &running);
        take_finished(http);
    }
}

void sr_http_close(struct sr_http *http, struct sr_http_exchange *exchange)
{
    if (exchange->curl != NULL) {
        detach(http, exchange);
    }
    sr_buf_close(&exchange->answer.body);
}

void sr_http_wake(struct sr_http *http)
{
    curl_multi_wakeup(http->multi);
}
