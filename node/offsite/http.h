/* SPDX-License-Identifier: Apache-2.0
 *
 * HTTPS exchanges by libcurl, signed with AWS Signature Version 4, several at a time on the thread
 * that asks. One attempt each: what is tried again, and when, is s3_request's. Inside node/offsite
 * only.
 */
#ifndef SR_NODE_OFFSITE_HTTP_H
#define SR_NODE_OFFSITE_HTTP_H

#include <curl/curl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "node/offsite/credentials.h"
#include "node/offsite/target.h"

/* An answer that is kept in memory: lists of 1,000 objects, errors. */
#define SR_HTTP_ANSWER_BYTES_MAX ((size_t)8 * 1024 * 1024)
#define SR_HTTP_VALUE_MAX        256

enum sr_http_method { SR_HTTP_GET, SR_HTTP_HEAD, SR_HTTP_PUT, SR_HTTP_POST, SR_HTTP_DELETE };

/* Strings are borrowed for as long as the object lives. */
struct sr_http_options {
    const char *region;
    const char *ca_file;
    const char *proxy;
    bool plain; /* http:// is fine */
    unsigned connect_timeout_ms;
    unsigned stall_timeout_ms;
    const atomic_bool *cancelled;
};

/* Of an answer, what somebody here wants to know; "" and 0 when it was not there. */
struct sr_http_answer {
    long status; /* 0: none came */
    bool has_length;
    uint64_t length; /* Content-Length */
    uint64_t range_begin, range_total;
    uint64_t modified_ms;
    uint64_t retain_until_ms;
    unsigned retry_after_s;
    bool object_lock_held; /* a legal hold */
    char etag[SR_HTTP_VALUE_MAX];
    char version[SR_HTTP_VALUE_MAX];
    char region[64];
    struct sr_buf body; /* of an error, or when there is nobody to take it */
};

struct sr_http_exchange {
    /* ---- Set by the caller, who keeps all of it until done ---- */
    enum sr_http_method method;
    const char *url;                  /* path and query as they are to be signed */
    const struct curl_slist *headers; /* x-amz-content-sha256 among them */
    const struct sr_credentials *credentials;
    const void *body;
    size_t body_size;
    uint64_t bytes_per_second; /* of a body, either way; 0: no limit */
    unsigned timeout_ms;       /* for all of it; 0: none */
    bool despite_cancel;       /* goes on when options.cancelled is set */
    /* Gets the body of a good answer piece by piece; NULL: into answer.body. What it returns,
     * other than SR_OK, ends the exchange with take_status. */
    int (*take)(void *arg, const struct sr_http_answer *answer, const void *data, size_t size);
    void *take_arg;
    atomic_ullong *moved_bytes; /* rises with what is sent and received */

    /* ---- Filled in ---- */
    bool done;
    int take_status;
    CURLcode result;
    char reason[CURL_ERROR_SIZE]; /* libcurl's sentence when result is not CURLE_OK */
    struct sr_http_answer answer;
    uint64_t sent_bytes;
    uint64_t received_bytes;

    /* ---- Own ---- */
    CURL *curl;
    size_t body_offset;
    bool answer_too_large;
};

struct sr_http;

/* SR_NETWORK when libcurl does not start, SR_INVALID when it cannot sign. */
int sr_http_new(const struct sr_http_options *options, struct sr_http **ret, struct sr_err *err);
void sr_http_free(struct sr_http *http); /* nothing may be running; NULL is fine */
/* Begin. What was filled in before is cleared; zero-initialise before the first time. SR_INVALID
 * when libcurl does not take an option (a CA file, a proxy). */
int sr_http_start(struct sr_http *http, struct sr_http_exchange *exchange, struct sr_err *err);
/* Go on with all that run, and wait for at most @wait_ms until something can go on. */
void sr_http_step(struct sr_http *http, unsigned wait_ms);
/* End it at once if it runs; free what it holds. */
void sr_http_close(struct sr_http *http, struct sr_http_exchange *exchange);
/* Any thread: let a waiting step return. */
void sr_http_wake(struct sr_http *http);

#endif
