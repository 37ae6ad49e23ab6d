/* SPDX-License-Identifier: Apache-2.0
 *
 * A bucket of S3 as a target: what its parts share. Inside node/offsite only.
 *
 *   s3.c          opens, probes
 *   s3_request.c  one request, with its attempts
 *   s3_object.c   get, head, remove
 *   s3_list.c     lists of objects, versions and unfinished uploads
 *   s3_put.c      put, in one request or in parts
 *   s3_parts.c    the parts that are under way
 */
#ifndef SR_NODE_OFFSITE_S3_H
#define SR_NODE_OFFSITE_S3_H

#include "node/offsite/http.h"
#include "node/offsite/retry.h"
#include "node/offsite/s3_xml.h"
#include "node/offsite/target_impl.h"

#define SR_S3_HASH_HEX 65 /* SHA-256 as text, with the 0 */

struct sr_s3 {
    struct sr_target base;
    struct sr_http *http;
    char bucket[64];
    char prefix[SR_TARGET_NAME_MAX]; /* "" or ends with "/" */
    char origin[512];                /* "https://host:port", with the bucket if that is there */
    bool virtual_host;
    struct sr_credentials_source source;
    struct sr_credentials *credentials; /* secret; empty before the first request */
    unsigned credentials_count;         /* how many different ones there have been */
    uint64_t credentials_ns;            /* when they were last asked for */
    bool has_residency;                 /* the region is to be looked at */
    /* Copies of the configuration; NULL where it has none. */
    char *region, *ca_file, *proxy, *credentials_file, *credentials_command, *profile;
    char *storage_class, *sse_kms_key;
    enum sr_target_sse sse;
    enum sr_target_lock lock;
    bool checksum_sha256;
    unsigned attempts;
    unsigned parts_parallel;
    size_t part_bytes;
    uint64_t bytes_per_second;
};

static inline struct sr_s3 *sr_s3_of(struct sr_target *target)
{
    return (struct sr_s3 *)target;
}

/* ---- Addresses (s3_address.c) ---- */

/* Append @text with everything but unreserved characters, and "/" if @keep_slash, encoded. */
void sr_s3_encode(struct sr_buf *out, const char *text, bool keep_slash);
/* The address of object @name (NULL: of the bucket) with @query, which is encoded and sorted and
 * may be "", as a string in memory of sr_alloc. */
char *sr_s3_address(const struct sr_s3 *s3, const char *name, const char *query);

/* ---- Requests (s3_request.c) ---- */

enum sr_s3_state { SR_S3_IDLE, SR_S3_RUNNING, SR_S3_WAITING, SR_S3_ENDED };

struct sr_s3_request {
    /* ---- Set by the caller; zero-initialise the rest ---- */
    enum sr_http_method method;
    char *address; /* taken over */
    const void *body;
    size_t body_size;
    bool last_words;           /* one attempt, 3 s, although the target is cancelled */
    uint64_t bytes_per_second; /* of its body, or of the answer's */
    /* May add headers, with sr_s3_header; called before each attempt. NULL: none. */
    void (*prepare)(struct sr_s3_request *request);
    int (*take)(void *arg, const struct sr_http_answer *answer, const void *data, size_t size);
    void *arg; /* of both */

    /* ---- Filled in ---- */
    int status; /* once ENDED */
    struct sr_err err;
    struct sr_verdict verdict;

    /* ---- Own ---- */
    struct sr_s3 *s3;
    enum sr_s3_state state;
    unsigned attempt;           /* from 1; progress may set it back to 0 */
    unsigned credentials_count; /* of s3 when this attempt began */
    bool credentials_renewed;
    bool settled; /* body_hash and body_md5 are there */
    uint64_t again_ns;
    char body_hash[SR_S3_HASH_HEX];
    char body_md5[32];    /* base64 */
    char body_sha256[48]; /* base64 */
    struct curl_slist *headers;
    struct sr_http_exchange exchange;
};

/* Add header "@name: @value"; only in prepare. */
void sr_s3_header(struct sr_s3_request *request, const char *name, const char *value);
/* Begin. On failure it has ENDED. */
void sr_s3_request_start(struct sr_s3 *s3, struct sr_s3_request *request);
/* Look at a request that is under way: settle what has finished, begin what has waited. Returns
 * how many milliseconds it can be left alone. */
unsigned sr_s3_request_step(struct sr_s3_request *request);
/* Start it, and wait until it has ended: its status. */
int sr_s3_request_run(struct sr_s3 *s3, struct sr_s3_request *request, struct sr_err *err);
/* End it at once if it is under way; free what it holds; wipe. */
void sr_s3_request_close(struct sr_s3_request *request);
static inline struct sr_bytes sr_s3_answer(const struct sr_s3_request *request)
{
    return (struct sr_bytes){request->exchange.answer.body.data,
                             request->exchange.answer.body.size};
}

/* ---- The parts of the target ---- */

int sr_s3_get(struct sr_target *target, const char *name, uint64_t offset, uint64_t size,
              sr_target_take_cb take, void *arg, struct sr_err *err);
int sr_s3_head(struct sr_target *target, const char *name, struct sr_target_object *ret,
               struct sr_err *err);
int sr_s3_remove(struct sr_target *target, const char *name, struct sr_err *err);
int sr_s3_list(struct sr_target *target, const char *prefix, sr_target_each_cb each, void *arg,
               struct sr_err *err);
int sr_s3_clean(struct sr_target *target, const char *prefix, uint64_t before_ms,
                uint64_t *ret_count, struct sr_err *err);
int sr_s3_put_begin(struct sr_target *target, const char *name,
                    const struct sr_target_put_options *options, struct sr_target_put **ret,
                    struct sr_err *err);
int sr_s3_put_write(struct sr_target_put *base, const void *data, size_t size, struct sr_err *err);
int sr_s3_put_finish(struct sr_target_put *base, struct sr_target_object *ret, struct sr_err *err);
void sr_s3_put_abort(struct sr_target_put *base);

/* Remove all versions of @name, delete markers included. @ret_count: how many there were. */
int sr_s3_remove_versions(struct sr_s3 *s3, const char *name, size_t *ret_count,
                          struct sr_err *err);

#endif
