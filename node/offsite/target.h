/* SPDX-License-Identifier: Apache-2.0
 *
 * A place outside of the cluster where archives are kept: a bucket of S3, or a directory.
 *
 *   s3://BUCKET/PREFIX   libcurl, TLS, SigV4
 *   file:///DIR          mounted storage
 *
 * What is put appears under its name when it is complete, and not before. All calls block, for as
 * long as the patience of the configuration allows, and belong to a worker thread: one target is
 * for one thread at a time; only sr_target_cancel may come from another. The process must ignore
 * SIGPIPE: the other side may hang up while something is written to it.
 *
 * Errors are sentences that begin with the target and what was tried ("s3://b/p: put a/b.sra: ...")
 * and never show credentials. What they mean, and what a metric may call the reason:
 *
 *   SR_NETWORK    not reached, or the connection broke, more often than is retried
 *   SR_TIMEOUT    reached, but nothing moved
 *   SR_AGAIN      the server was overloaded or failed (5xx, 429), more often than is retried
 *   SR_REFUSED    credentials, permissions, a lock, a residency rule: a person has to act
 *   SR_NOT_FOUND  no such object, bucket, directory or file of credentials
 *   SR_EXISTS     there is an object of that name
 *   SR_NO_SPACE   the target is full, or a quota is
 *   SR_CORRUPT    what arrived is not what was sent
 *   SR_IO         the file system of a file:// target failed: says nothing about the node's disk
 *   SR_INVALID    a configuration or a name that cannot be
 *   SR_LIMIT      larger than the target takes
 *   SR_FORMAT     the server answers something that is not S3
 *   SR_CLOSED     sr_target_cancel
 */
#ifndef SR_NODE_OFFSITE_TARGET_H
#define SR_NODE_OFFSITE_TARGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* Of a name within a target, with the 0. */
#define SR_TARGET_NAME_MAX 256
/* Of a target's own name in messages, "s3://bucket/prefix", with the 0. */
#define SR_TARGET_TITLE_MAX 512
/* Parts of a multipart upload: the least S3 takes, and the most that memory allows for. */
#define SR_TARGET_PART_BYTES_MIN     ((uint64_t)5 * 1024 * 1024)
#define SR_TARGET_PART_BYTES_MAX     ((uint64_t)64 * 1024 * 1024)
#define SR_TARGET_PARTS_PARALLEL_MAX 8

/* ---- Configuration ---- */

enum sr_target_lock { SR_TARGET_LOCK_NONE, SR_TARGET_LOCK_GOVERNANCE, SR_TARGET_LOCK_COMPLIANCE };
enum sr_target_sse { SR_TARGET_SSE_NONE, SR_TARGET_SSE_AES256, SR_TARGET_SSE_KMS };

/* Everything is copied by sr_target_open; zero or NULL is the default of each field. Only url is
 * mandatory. Fields of S3 are refused for a file:// target when they are set, and where they make
 * no sense. */
struct sr_target_config {
    const char *url;
    /* Where the data lies. S3: also what requests are signed for; default us-east-1. file://: what
     * the operator says it is. */
    const char *region;
    /* Residency: when there are any, a target whose region is not among them is refused by open;
     * one that turns out to be elsewhere, by probe. */
    const char *const *regions_allowed;
    size_t regions_allowed_count;
    uint64_t bytes_per_second; /* of what is put, and of what is read; 0: no limit */

    /* S3 only, from here on. */
    const char *endpoint; /* https://HOST[:PORT]; default https://s3.REGION.amazonaws.com. Plain
                           * http:// is taken for a loopback address only. */
    bool virtual_host;    /* https://BUCKET.HOST/KEY instead of https://HOST/BUCKET/KEY */
    /* At most one of the two; neither: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and
     * AWS_SESSION_TOKEN of the environment. Both are read again when they expire. */
    const char *credentials_file;    /* as ~/.aws/credentials, nobody else's to read */
    const char *credentials_command; /* for /bin/sh; prints what AWS calls credential_process, or
                                      * what a credentials file holds */
    const char *profile;             /* section of credentials_file; default "default" */
    const char *storage_class;       /* STANDARD_IA ... */
    enum sr_target_sse sse;
    const char *sse_kms_key;     /* with SR_TARGET_SSE_KMS; NULL: the bucket's own */
    enum sr_target_lock lock;    /* mode of the lock that sr_target_put_options asks for */
    bool checksum_sha256;        /* also send x-amz-checksum-sha256, which the target then keeps */
    const char *proxy;           /* http://, https:// or socks5h://HOST:PORT */
    const char *ca_file;         /* PEM; default: the system's */
    unsigned parts_parallel;     /* default 3 */
    uint64_t part_bytes;         /* default 8 MiB; 10,000 of them are the largest object */
    unsigned connect_timeout_ms; /* default 10000 */
    unsigned stall_timeout_ms;   /* nothing moved for so long; default 30000 */
    unsigned attempts;           /* of each request; default 6, with a back-off from 200 ms to 20 s
                                  * or as long as Retry-After says (at most 60 s) */
};

/* ---- Targets ---- */

struct sr_target;

/* Check @config, residency included, and prepare; nothing is connected yet. SR_INVALID, SR_REFUSED
 * (residency), SR_NOT_FOUND (a directory that is not there). */
int sr_target_open(const struct sr_target_config *config, struct sr_target **ret,
                   struct sr_err *err);
/* No put may be open. NULL is fine. */
void sr_target_close(struct sr_target *target);
/* The url without a trailing slash: what messages begin with. Valid until close. */
const char *sr_target_title(const struct sr_target *target);
/* What the configuration says, "" if it does not. */
const char *sr_target_region(const struct sr_target *target);
/* From any thread: calls in progress and later ones fail with SR_CLOSED, soon. */
void sr_target_cancel(struct sr_target *target);

struct sr_target_stats {
    uint64_t requests;
    uint64_t retries;
    uint64_t sent_bytes; /* bodies, repeated ones included */
    uint64_t received_bytes;
};
/* Since open. */
void sr_target_stats(const struct sr_target *target, struct sr_target_stats *ret);
/* Bytes that went either way since open, counted as they go: who looks twice, from any thread, sees
 * whether a call gets on. */
unsigned long long sr_target_moved_bytes(const struct sr_target *target);

/* Ask whether the target is there, whether it lets us in, whether it is where it is said to be
 * (residency), and whether its bucket can lock when locks are configured. With @writing, also put,
 * read and remove an object "probe-..."; that it may not be removed is no failure. One that writes
 * should do this before its first put. */
int sr_target_probe(struct sr_target *target, bool writing, struct sr_err *err);

/* ---- Objects ----
 *
 * Names are relative to the target: parts of [A-Za-z0-9._=-] that do not begin with a dot, with
 * "/" between them. */

struct sr_target_object {
    char name[SR_TARGET_NAME_MAX];
    uint64_t size;
    uint64_t modified_ms;     /* by the target's clock; 0 when it does not say */
    uint64_t retain_until_ms; /* head only: locked until then; 0: not locked */
};

struct sr_target_put_options {
    /* Lock until then, in the mode of the configuration, which must not be LOCK_NONE. 0: no lock.*/
    uint64_t retain_until_ms;
    bool replace; /* otherwise SR_EXISTS when the name is taken */
};

struct sr_target_put;

/* Begin to put @name; the size need not be known. @options may be NULL. Every put that has begun
 * must be finished or aborted, before other calls on this target. */
int sr_target_put_begin(struct sr_target *target, const char *name,
                        const struct sr_target_put_options *options, struct sr_target_put **ret,
                        struct sr_err *err);
/* The next bytes. @arg is the struct sr_target_put: this fits struct sr_archive_sink. After a
 * failure only abort makes sense. */
int sr_target_put_write(void *arg, const void *data, size_t size, struct sr_err *err);
/* Make it appear, and ask the target whether all of it is there. Frees @put, also on failure, when
 * nothing of it is left behind, as far as the target can be reached: after SR_NETWORK, SR_TIMEOUT
 * and SR_AGAIN it may be there all the same (look with sr_target_head, or put again with replace).
 * @ret may be NULL. */
int sr_target_put_finish(struct sr_target_put *put, struct sr_target_object *ret,
                         struct sr_err *err);
/* Remove what was sent of it, as far as the target can be reached. NULL is fine. */
void sr_target_put_abort(struct sr_target_put *put);

/* Begin, write and finish in one. */
int sr_target_put_bytes(struct sr_target *target, const char *name, const void *data, size_t size,
                        const struct sr_target_put_options *options, struct sr_err *err);

/* Takes the next bytes of an object; what it returns, other than SR_OK, ends the call. */
typedef int (*sr_target_take_cb)(void *arg, const void *data, size_t size, struct sr_err *err);

/* Read @size bytes of @name from @offset on (0: all that follows) and give each of them to @take
 * once, in order: a connection that breaks is taken up where it broke. SR_INVALID: @offset or
 * @offset + @size is beyond its end. SR_CORRUPT: it was replaced meanwhile. */
int sr_target_get(struct sr_target *target, const char *name, uint64_t offset, uint64_t size,
                  sr_target_take_cb take, void *arg, struct sr_err *err);

/* The whole of a small object in memory of sr_alloc, with a 0 behind it. SR_LIMIT: larger than
 * @size_max. */
int sr_target_get_bytes(struct sr_target *target, const char *name, size_t size_max,
                        uint8_t **ret_data, size_t *ret_size, struct sr_err *err);

/* SR_NOT_FOUND. */
int sr_target_head(struct sr_target *target, const char *name, struct sr_target_object *ret,
                   struct sr_err *err);

/* Called with each object; what it returns, other than SR_OK, ends the call and is its result. It
 * must not call the target. */
typedef int (*sr_target_each_cb)(void *arg, const struct sr_target_object *object,
                                 struct sr_err *err);

/* All objects whose names begin with @prefix ("": all), in the order of strcmp. Those whose names
 * are not of the form above are somebody else's and passed over. */
int sr_target_list(struct sr_target *target, const char *prefix, sr_target_each_cb each, void *arg,
                   struct sr_err *err);

/* Remove @name, with all its versions where the bucket keeps versions. SR_REFUSED: a lock holds
 * it. SR_NOT_FOUND: it is not there. */
int sr_target_remove(struct sr_target *target, const char *name, struct sr_err *err);

/* What a killed process left behind: unfinished uploads of objects whose names begin with @prefix
 * and that began more than @age_ms ago are ended; others may share the target, and take their time.
 * Unfinished files of a directory say of nobody whose they are; those that nobody has written to
 * for so long go. @ret_count may be NULL. */
int sr_target_clean(struct sr_target *target, const char *prefix, uint64_t age_ms,
                    uint64_t *ret_count, struct sr_err *err);

#endif
