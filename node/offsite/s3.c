/* SPDX-License-Identifier: Apache-2.0 */
#include "node/offsite/s3.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/secret.h"

#define ATTEMPTS           6
#define ATTEMPTS_MAX       100
#define PARTS_PARALLEL     3
#define PART_BYTES         ((size_t)8 * 1024 * 1024)
#define CONNECT_TIMEOUT_MS 10000
#define STALL_TIMEOUT_MS   30000
#define LOWER_AND_DIGITS   "abcdefghijklmnopqrstuvwxyz0123456789"
#define UPPER              "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

/* ---- The configuration ---- */

/* Only characters of @good, and between @min and @max of them. */
static bool consists_of(const char *text, const char *good, size_t min, size_t max)
{
    size_t size = strlen(text);
    return size >= min && size <= max && strspn(text, good) == size;
}

/* "s3://BUCKET/PREFIX" into bucket and prefix. */
static int take_url(struct sr_s3 *s3, const char *url, struct sr_err *err)
{
    const char *bucket = url + strlen("s3://");
    size_t size = strcspn(bucket, "/");
    if (size >= sizeof(s3->bucket)) {
        return sr_err_set(err, SR_INVALID, "a bucket's name has at most 63 characters");
    }
    memcpy(s3->bucket, bucket, size);
    if (!consists_of(s3->bucket, LOWER_AND_DIGITS ".-", 3, 63)) {
        return sr_err_set(err, SR_INVALID, "that is no name of a bucket");
    }
    const char *prefix = bucket + size + strspn(bucket + size, "/");
    size = strlen(prefix);
    while (size > 0 && prefix[size - 1] == '/') {
        size--;
    }
    if (size == 0) {
        return SR_OK;
    }
    if (size + 1 >= sizeof(s3->prefix)) {
        return sr_err_set(err, SR_INVALID, "the prefix is too long");
    }
    memcpy(s3->prefix, prefix, size);
    if (!sr_target_name_is_valid(s3->prefix)) {
        return sr_err_set(err, SR_INVALID,
                          "a prefix is parts of [A-Za-z0-9._=-], not beginning with a dot, with "
                          "\"/\" between them");
    }
    s3->prefix[size] = '/';
    return SR_OK;
}

static bool is_loopback(const char *host)
{
    return strncmp(host, "127.", 4) == 0 || strncmp(host, "[::1]", 5) == 0 ||
           (strncmp(host, "localhost", 9) == 0 && (host[9] == 0 || host[9] == ':'));
}

static int take_endpoint(struct sr_s3 *s3, const char *endpoint, bool *ret_plain,
                         struct sr_err *err)
{
    char usual[128];
    if (endpoint == NULL) {
        snprintf(usual, sizeof(usual), "https://s3.%s.amazonaws.com", s3->region);
        endpoint = usual;
    }
    *ret_plain = strncmp(endpoint, "http://", 7) == 0;
    if (!*ret_plain && strncmp(endpoint, "https://", 8) != 0) {
        return sr_err_set(err, SR_INVALID, "endpoint is https://HOST or https://HOST:PORT");
    }
    const char *host = endpoint + (*ret_plain ? 7 : 8);
    size_t size = strlen(host);
    size -= size > 0 && host[size - 1] == '/';
    if (size == 0 || size > 255 || strcspn(host, "/?#@ ") < size) {
        return sr_err_set(err, SR_INVALID, "endpoint is https://HOST or https://HOST:PORT");
    }
    if (*ret_plain && !is_loopback(host)) {
        return sr_err_set(err, SR_REFUSED, "endpoint without TLS: only a loopback address");
    }
    if (s3->virtual_host && strchr(s3->bucket, '.') != NULL) {
        return sr_err_set(err, SR_INVALID,
                          "no certificate fits a bucket with a dot in its name: "
                          "not with virtual_host");
    }
    snprintf(s3->origin, sizeof(s3->origin), "%s%s%s%.*s", *ret_plain ? "http://" : "https://",
             s3->virtual_host ? s3->bucket : "", s3->virtual_host ? "." : "", (int)size, host);
    return SR_OK;
}

static int check_texts(const struct sr_target_config *config, struct sr_err *err)
{
    if (config->region != NULL && !consists_of(config->region, LOWER_AND_DIGITS "-", 1, 63)) {
        return sr_err_set(err, SR_INVALID, "region: that is no name of a region");
    }
    if (config->storage_class != NULL && !consists_of(config->storage_class, UPPER "_", 1, 63)) {
        return sr_err_set(err, SR_INVALID, "storage_class: that is no storage class");
    }
    if (config->sse_kms_key != NULL &&
        (config->sse != SR_TARGET_SSE_KMS ||
         !consists_of(config->sse_kms_key, LOWER_AND_DIGITS UPPER ":/_-", 1, 2048))) {
        return sr_err_set(err, SR_INVALID, "sse_kms_key: that is no key of KMS");
    }
    if (config->credentials_file != NULL && config->credentials_command != NULL) {
        return sr_err_set(err, SR_INVALID, "credentials come from a file or from a command");
    }
    if (config->proxy != NULL && strchr(config->proxy, '@') != NULL) {
        return sr_err_set(err, SR_INVALID, "proxy: no credentials in it");
    }
    return SR_OK;
}

static int check_numbers(const struct sr_target_config *config, struct sr_err *err)
{
    if (config->parts_parallel > SR_TARGET_PARTS_PARALLEL_MAX) {
        return sr_err_set(err, SR_INVALID, "parts_parallel: at most %d",
                          SR_TARGET_PARTS_PARALLEL_MAX);
    }
    if (config->part_bytes != 0 && (config->part_bytes < SR_TARGET_PART_BYTES_MIN ||
                                    config->part_bytes > SR_TARGET_PART_BYTES_MAX)) {
        return sr_err_set(err, SR_INVALID, "part_bytes: between 5 and 64 MiB");
    }
    if (config->attempts > ATTEMPTS_MAX) {
        return sr_err_set(err, SR_INVALID, "attempts: at most %d", ATTEMPTS_MAX);
    }
    return SR_OK;
}

static char *copy(const char *text)
{
    return text == NULL ? NULL : sr_strdup(text);
}

static void take_settings(struct sr_s3 *s3, const struct sr_target_config *config)
{
    s3->region = sr_strdup(config->region == NULL ? "us-east-1" : config->region);
    s3->ca_file = copy(config->ca_file);
    s3->proxy = copy(config->proxy);
    s3->credentials_file = copy(config->credentials_file);
    s3->credentials_command = copy(config->credentials_command);
    s3->profile = copy(config->profile);
    s3->storage_class = copy(config->storage_class);
    s3->sse_kms_key = copy(config->sse_kms_key);
    s3->sse = config->sse;
    s3->lock = config->lock;
    s3->checksum_sha256 = config->checksum_sha256;
    s3->virtual_host = config->virtual_host;
    s3->has_residency = config->regions_allowed_count > 0;
    s3->bytes_per_second = config->bytes_per_second;
    s3->attempts = config->attempts == 0 ? ATTEMPTS : config->attempts;
    s3->parts_parallel = config->parts_parallel == 0 ? PARTS_PARALLEL : config->parts_parallel;
    s3->part_bytes = config->part_bytes == 0 ? PART_BYTES : (size_t)config->part_bytes;
    s3->source = (struct sr_credentials_source){.file = s3->credentials_file,
                                                .profile = s3->profile,
                                                .command = s3->credentials_command,
                                                .cancelled = &s3->base.cancelled};
    snprintf(s3->base.region, sizeof(s3->base.region), "%s", s3->region);
}

/* ---- Probe ---- */

static int on_location(void *arg, const char *parent, const char *name, const char *text,
                       struct sr_err *err)
{
    (void)parent;
    (void)err;
    if (strcmp(name, "LocationConstraint") == 0 &&
        consists_of(text, UPPER LOWER_AND_DIGITS "-", 0, 63)) {
        snprintf(arg, 64, "%s", strcmp(text, "EU") == 0 ? "eu-west-1" : text);
    }
    return SR_OK;
}

static int on_lock(void *arg, const char *parent, const char *name, const char *text,
                   struct sr_err *err)
{
    (void)parent;
    (void)err;
    if (strcmp(name, "ObjectLockEnabled") == 0 && strcmp(text, "Enabled") == 0) {
        *(bool *)arg = true;
    }
    return SR_OK;
}

/* Ask the bucket about @query and read the answer. */
static int ask_bucket(struct sr_s3 *s3, const char *query, sr_s3_element_cb call, void *arg,
                      struct sr_err *err)
{
    struct sr_s3_request request = {.method = SR_HTTP_GET,
                                    .address = sr_s3_address(s3, NULL, query)};
    int status = sr_s3_request_run(s3, &request, err);
    if (status == SR_OK) {
        status = sr_s3_xml_read(sr_s3_answer(&request), call, arg, err);
    }
    sr_s3_request_close(&request);
    return status;
}

static int check_location(struct sr_s3 *s3, const char *header, struct sr_err *err)
{
    char region[64] = "";
    snprintf(region, sizeof(region), "%s", header);
    if (region[0] == 0) {
        int status = ask_bucket(s3, "location=", on_location, region, err);
        if (status != SR_OK) {
            sr_err_prefix(err, "residency: it does not say in which region the bucket is");
            return status;
        }
    }
    if (region[0] != 0 && strcmp(region, s3->region) != 0) {
        return sr_err_set(err, SR_REFUSED, "the bucket is in region %s, and not in %s", region,
                          s3->region);
    }
    return SR_OK;
}

static int s3_probe(struct sr_target *target, struct sr_err *err)
{
    struct sr_s3 *s3 = sr_s3_of(target);
    struct sr_s3_request request = {.method = SR_HTTP_HEAD, .address = sr_s3_address(s3, NULL, "")};
    char region[64];
    bool locks = false;
    int status = sr_s3_request_run(s3, &request, err);
    long answer_status = request.exchange.answer.status;
    snprintf(region, sizeof(region), "%s", request.exchange.answer.region);
    sr_s3_request_close(&request);
    if (answer_status == 404) {
        return sr_err_set(err, SR_NOT_FOUND, "there is no such bucket");
    }
    if (status == SR_OK && s3->has_residency) {
        status = check_location(s3, region, err);
    }
    if (status != SR_OK || s3->lock == SR_TARGET_LOCK_NONE) {
        return status;
    }
    status = ask_bucket(s3, "object-lock=", on_lock, &locks, err);
    if (status == SR_NOT_FOUND || (status == SR_OK && !locks)) {
        return sr_err_set(err, SR_REFUSED,
                          "a lock is configured, but the bucket was made without object lock");
    }
    return status == SR_REFUSED ? SR_OK : status; /* one may not be allowed to ask */
}

/* ---- Open ---- */

static void s3_close(struct sr_target *target)
{
    struct sr_s3 *s3 = sr_s3_of(target);
    sr_http_free(s3->http);
    sr_secret_free(s3->credentials, sizeof(*s3->credentials));
    char *const texts[] = {
        s3->region,  s3->ca_file,       s3->proxy,       s3->credentials_file,
        s3->profile, s3->storage_class, s3->sse_kms_key, s3->credentials_command};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        sr_free(texts[i]);
    }
    sr_free(s3);
}

static void s3_wake(struct sr_target *target)
{
    sr_http_wake(sr_s3_of(target)->http);
}

static const struct sr_target_kind s3_kind = {
    .close = s3_close,
    .wake = s3_wake,
    .probe = s3_probe,
    .put_begin = sr_s3_put_begin,
    .put_write = sr_s3_put_write,
    .put_finish = sr_s3_put_finish,
    .put_abort = sr_s3_put_abort,
    .get = sr_s3_get,
    .head = sr_s3_head,
    .list = sr_s3_list,
    .remove = sr_s3_remove,
    .clean = sr_s3_clean,
};

int sr_target_open_s3(const struct sr_target_config *config, struct sr_target **ret,
                      struct sr_err *err)
{
    bool plain = false;
    struct sr_s3 *s3 = sr_zalloc(sizeof(*s3));
    s3->base.kind = &s3_kind;
    int status = check_texts(config, err);
    if (status == SR_OK) {
        status = check_numbers(config, err);
    }
    if (status == SR_OK) {
        take_settings(s3, config);
        s3->credentials = sr_secret_alloc(sizeof(*s3->credentials));
        status = take_url(s3, config->url, err);
    }
    if (status == SR_OK) {
        status = take_endpoint(s3, config->endpoint, &plain, err);
    }
    if (status == SR_OK) {
        const struct sr_http_options options = {
            .region = s3->region,
            .ca_file = s3->ca_file,
            .proxy = s3->proxy,
            .plain = plain,
            .connect_timeout_ms =
                config->connect_timeout_ms == 0 ? CONNECT_TIMEOUT_MS : config->connect_timeout_ms,
            .stall_timeout_ms =
                config->stall_timeout_ms == 0 ? STALL_TIMEOUT_MS : config->stall_timeout_ms,
            .cancelled = &s3->base.cancelled};
        status = sr_http_new(&options, &s3->http, err);
    }
    if (status != SR_OK) {
        s3_close(&s3->base);
        return status;
    }
    *ret = &s3->base;
    return SR_OK;
}
