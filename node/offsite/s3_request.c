/* SPDX-License-Identifier: Apache-2.0
 *
 * One request and its attempts.
 *
 *   IDLE ──start──► RUNNING ──answer──► ENDED
 *                      ▲ └──worth another attempt──► WAITING
 *                      └───────────back-off──────────────┘
 *
 * The body is hashed once: the hash is signed, so that the server refuses what was altered on the
 * way, and Content-MD5 says the same to those who want it with locked objects.
 */
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/alloc.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/secret.h"
#include "node/offsite/s3.h"

#define MS_NS         ((uint64_t)1000000)
#define LAST_WORDS_MS 3000
/* Read credentials again when they expire within this time. */
#define EXPIRY_MARGIN_MS ((uint64_t)5 * 60 * 1000)
/* But not more often than that: who gives them gives none that live for longer. */
#define ASK_AGAIN_NS ((uint64_t)10 * 1000 * 1000 * 1000)
#define STEP_MS      1000 /* no longer without a look at what is cancelled */

/* ---- Headers ---- */

static void append(struct sr_s3_request *request, const char *line)
{
    struct curl_slist *longer = curl_slist_append(request->headers, line);
    sr_check(longer != NULL);
    request->headers = longer;
}

void sr_s3_header(struct sr_s3_request *request, const char *name, const char *value)
{
    char *line = sr_alloc(strlen(name) + strlen(value) + 3);
    sprintf(line, "%s: %s", name, value);
    append(request, line);
    sr_free(line);
}

static void add_token(struct sr_s3_request *request)
{
    static const char name[] = "x-amz-security-token: ";
    const char *token = request->s3->credentials->session_token;
    size_t size = sizeof(name) + strlen(token);
    char *line = sr_secret_alloc(size);
    snprintf(line, size, "%s%s", name, token);
    append(request, line);
    sr_secret_free(line, size);
}

/* libcurl's list is on the heap: the token in it must not stay there. */
static void drop_headers(struct sr_s3_request *request)
{
    for (struct curl_slist *at = request->headers; at != NULL; at = at->next) {
        sr_secret_wipe(at->data, strlen(at->data));
    }
    curl_slist_free_all(request->headers);
    request->headers = NULL;
}

static bool digest_body(struct sr_s3_request *request)
{
    static const char digits[] = "0123456789abcdef";
    uint8_t sha256[EVP_MAX_MD_SIZE], md5[EVP_MAX_MD_SIZE];
    unsigned sha256_size = 0, md5_size = 0;
    const void *body = request->body_size == 0 ? "" : request->body;
    if (EVP_Digest(body, request->body_size, sha256, &sha256_size, EVP_sha256(), NULL) != 1 ||
        EVP_Digest(body, request->body_size, md5, &md5_size, EVP_md5(), NULL) != 1) {
        return false;
    }
    for (unsigned i = 0; i < sha256_size; i++) {
        request->body_hash[2 * i] = digits[sha256[i] >> 4];
        request->body_hash[2 * i + 1] = digits[sha256[i] & 15];
    }
    request->body_hash[2 * sha256_size] = 0;
    EVP_EncodeBlock((unsigned char *)request->body_md5, md5, (int)md5_size);
    EVP_EncodeBlock((unsigned char *)request->body_sha256, sha256, (int)sha256_size);
    request->settled = true;
    return true;
}

static void make_headers(struct sr_s3_request *request)
{
    drop_headers(request);
    sr_s3_header(request, "x-amz-content-sha256", request->body_hash);
    if (request->s3->credentials->session_token[0] != 0) {
        add_token(request);
    }
    if (request->method == SR_HTTP_PUT || request->method == SR_HTTP_POST) {
        sr_s3_header(request, "content-type", "application/octet-stream");
        if (request->method == SR_HTTP_PUT || request->body_size > 0) {
            sr_s3_header(request, "content-md5", request->body_md5);
        }
    }
    if (request->prepare != NULL) {
        request->prepare(request);
    }
}

/* ---- Attempts ---- */

static void end(struct sr_s3_request *request, int status)
{
    request->status = status;
    request->state = SR_S3_ENDED;
}

/* Read them, and count when they are others than before. */
static int load_credentials(struct sr_s3 *s3, struct sr_err *err)
{
    struct sr_credentials *fresh = sr_secret_alloc(sizeof(*fresh));
    int status = sr_credentials_load(&s3->source, fresh, err);
    s3->credentials_ns = sr_clock_monotonic_ns();
    if (status == SR_OK) {
        const struct sr_credentials *now = s3->credentials;
        if (strcmp(fresh->access_key, now->access_key) != 0 ||
            strcmp(fresh->secret_key, now->secret_key) != 0 ||
            strcmp(fresh->session_token, now->session_token) != 0) {
            s3->credentials_count++;
        }
        memcpy(s3->credentials, fresh, sizeof(*fresh));
    }
    sr_secret_free(fresh, sizeof(*fresh));
    return status;
}

/* When there are no others to be had, those that are about to expire do as long as the server takes
 * them. */
static int need_credentials(struct sr_s3 *s3, struct sr_err *err)
{
    const struct sr_credentials *now = s3->credentials;
    if (now->access_key[0] == 0) {
        return load_credentials(s3, err);
    }
    if (now->expires_ms != 0 && now->expires_ms < sr_clock_wall_ms() + EXPIRY_MARGIN_MS &&
        sr_clock_monotonic_ns() - s3->credentials_ns >= ASK_AGAIN_NS) {
        (void)load_credentials(s3, NULL);
    }
    return SR_OK;
}

/* The server does not take the credentials of this attempt: whether there are others by now. */
static bool has_other_credentials(struct sr_s3_request *request)
{
    struct sr_s3 *s3 = request->s3;
    if (request->credentials_count == s3->credentials_count && !request->credentials_renewed) {
        request->credentials_renewed = true;
        load_credentials(s3, NULL);
    }
    return request->credentials_count != s3->credentials_count;
}

static void attempt(struct sr_s3_request *request)
{
    struct sr_s3 *s3 = request->s3;
    struct sr_http_exchange *exchange = &request->exchange;
    if (atomic_load(&s3->base.cancelled) && !request->last_words) {
        end(request, sr_err_set(&request->err, SR_CLOSED, "the node stops"));
        return;
    }
    int status = need_credentials(s3, &request->err);
    if (status == SR_OK && !request->settled && !digest_body(request)) {
        status = sr_err_set(&request->err, SR_CRYPTO, "no digest");
    }
    if (status != SR_OK) {
        end(request, status);
        return;
    }
    make_headers(request);
    exchange->method = request->method;
    exchange->url = request->address;
    exchange->headers = request->headers;
    exchange->credentials = s3->credentials;
    exchange->body = request->body;
    exchange->body_size = request->body_size;
    exchange->bytes_per_second = request->bytes_per_second;
    exchange->timeout_ms = request->last_words ? LAST_WORDS_MS : 0;
    exchange->despite_cancel = request->last_words;
    exchange->take = request->take;
    exchange->take_arg = request->arg;
    exchange->moved_bytes = &s3->base.moved_bytes;
    request->attempt++;
    request->credentials_count = s3->credentials_count;
    s3->base.stats.requests++;
    status = sr_http_start(s3->http, exchange, &request->err);
    if (status != SR_OK) {
        end(request, status);
        return;
    }
    request->state = SR_S3_RUNNING;
}

void sr_s3_request_start(struct sr_s3 *s3, struct sr_s3_request *request)
{
    sr_check(request->state == SR_S3_IDLE || request->state == SR_S3_ENDED);
    request->s3 = s3;
    request->attempt = 0;
    request->verdict = (struct sr_verdict){0};
    attempt(request);
}

/* ---- What came of it ---- */

static struct sr_verdict judge(struct sr_s3_request *request, struct sr_s3_error *error)
{
    const struct sr_http_exchange *exchange = &request->exchange;
    memset(error, 0, sizeof(*error));
    if (exchange->answer_too_large) {
        return (struct sr_verdict){.status = SR_FORMAT, .advice = "the answer is too large"};
    }
    if (exchange->result != CURLE_OK) {
        return sr_retry_transport(exchange->result);
    }
    sr_s3_xml_error(sr_s3_answer(request), error);
    struct sr_verdict verdict = sr_retry_answer(exchange->answer.status, error->code);
    /* A HEAD has no body that could say what is wrong with the credentials. */
    if (request->method == SR_HTTP_HEAD &&
        (exchange->answer.status == 400 || exchange->answer.status == 403)) {
        verdict = (struct sr_verdict){.status = SR_REFUSED, .retry = true, .credentials = true};
    }
    return verdict;
}

static void explain(struct sr_s3_request *request, const struct sr_s3_error *error)
{
    const struct sr_http_exchange *exchange = &request->exchange;
    const struct sr_verdict *verdict = &request->verdict;
    const char *region = error->region[0] != 0 ? error->region : exchange->answer.region;
    char tries[32] = "";
    if (request->attempt > 1) {
        snprintf(tries, sizeof(tries), ", %u attempts", request->attempt);
    }
    if (exchange->result != CURLE_OK) {
        sr_err_set(&request->err, verdict->status, "%s%s%s%s",
                   exchange->reason[0] != 0 ? exchange->reason
                                            : curl_easy_strerror(exchange->result),
                   tries, verdict->advice != NULL ? "; " : "",
                   verdict->advice != NULL ? verdict->advice : "");
        return;
    }
    sr_err_set(&request->err, verdict->status, "the server answers %ld%s%s%s%s%s%s%s",
               exchange->answer.status, error->code[0] != 0 ? " " : "", error->code, tries,
               verdict->advice != NULL ? "; " : "", verdict->advice != NULL ? verdict->advice : "",
               region[0] != 0 && verdict->status == SR_REFUSED ? "; its region is " : "",
               verdict->status == SR_REFUSED ? region : "");
}

/* Whether another attempt is to be made, and not at once but when it may help. */
static bool put_off(struct sr_s3_request *request)
{
    uint64_t random = 0;
    if (!request->verdict.retry || request->last_words) {
        return false;
    }
    /* With other credentials it is another request, also after the last attempt. */
    if (request->verdict.credentials ? !has_other_credentials(request)
                                     : request->attempt >= request->s3->attempts) {
        return false;
    }
    if (getrandom(&random, sizeof(random), 0) != sizeof(random)) {
        random = 0; /* then without a spread */
    }
    uint64_t wait_ms =
        sr_retry_wait_ms(request->attempt + 1, request->exchange.answer.retry_after_s, random);
    request->again_ns =
        sr_clock_monotonic_ns() + (request->verdict.credentials ? 0 : wait_ms * MS_NS);
    request->state = SR_S3_WAITING;
    request->s3->base.stats.retries++;
    return true;
}

static void settle(struct sr_s3_request *request)
{
    struct sr_http_exchange *exchange = &request->exchange;
    struct sr_s3_error error;
    request->s3->base.stats.sent_bytes += exchange->sent_bytes;
    request->s3->base.stats.received_bytes += exchange->received_bytes;
    if (exchange->take_status != SR_OK) { /* whoever took it has said why */
        end(request, exchange->take_status);
        return;
    }
    if (exchange->result == CURLE_ABORTED_BY_CALLBACK) {
        end(request, sr_err_set(&request->err, SR_CLOSED, "the node stops"));
        return;
    }
    request->verdict = judge(request, &error);
    if (request->verdict.status == SR_OK) {
        end(request, SR_OK);
    } else if (!put_off(request)) {
        explain(request, &error);
        end(request, request->verdict.status);
    }
}

unsigned sr_s3_request_step(struct sr_s3_request *request)
{
    if (request->state == SR_S3_RUNNING && request->exchange.done) {
        settle(request);
    }
    if (request->state == SR_S3_WAITING) {
        uint64_t now_ns = sr_clock_monotonic_ns();
        if (now_ns < request->again_ns && !atomic_load(&request->s3->base.cancelled)) {
            uint64_t left_ms = (request->again_ns - now_ns) / MS_NS + 1;
            return left_ms < STEP_MS ? (unsigned)left_ms : STEP_MS;
        }
        attempt(request);
    }
    return request->state == SR_S3_ENDED ? 0 : STEP_MS;
}

int sr_s3_request_run(struct sr_s3 *s3, struct sr_s3_request *request, struct sr_err *err)
{
    sr_s3_request_start(s3, request);
    for (unsigned wait_ms = STEP_MS; request->state != SR_S3_ENDED;) {
        sr_http_step(s3->http, wait_ms);
        wait_ms = sr_s3_request_step(request);
    }
    if (request->status != SR_OK && err != NULL) {
        *err = request->err;
    }
    return request->status;
}

void sr_s3_request_close(struct sr_s3_request *request)
{
    if (request->s3 != NULL) {
        sr_http_close(request->s3->http, &request->exchange);
    }
    drop_headers(request);
    sr_free(request->address);
    memset(request, 0, sizeof(*request));
}
