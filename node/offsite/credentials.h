/* SPDX-License-Identifier: Apache-2.0
 *
 * Where the credentials of an S3 target come from: a file, a command, or the environment. They are
 * kept in secret memory, and read again when they expire. Inside node/offsite only.
 */
#ifndef SR_NODE_OFFSITE_CREDENTIALS_H
#define SR_NODE_OFFSITE_CREDENTIALS_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define SR_CREDENTIALS_TEXT_MAX ((size_t)64 * 1024)

/* Lives in sr_secret_alloc memory only. */
struct sr_credentials {
    char access_key[160];
    char secret_key[320];
    char session_token[8192]; /* "": none */
    uint64_t expires_ms;      /* 0: they do not say */
};

/* Strings are borrowed. */
struct sr_credentials_source {
    const char *file;
    const char *profile; /* of the file; NULL: "default" */
    const char *command;
    const atomic_bool *cancelled;
};

/* Read them. SR_NOT_FOUND, SR_REFUSED (others may read the file; the command failed), SR_INVALID
 * (not understood), SR_TIMEOUT (the command took more than 30 s), SR_CLOSED. No text shows any
 * part of them. */
int sr_credentials_load(const struct sr_credentials_source *source, struct sr_credentials *ret,
                        struct sr_err *err);

/* Understand @text, @size bytes of it: lines of a credentials file, of which section @profile
 * counts (for lines without any section: those), or one flat JSON object with AccessKeyId,
 * SecretAccessKey, SessionToken and Expiration. SR_INVALID, SR_NOT_FOUND (no such section). */
int sr_credentials_parse(const char *text, size_t size, const char *profile,
                         struct sr_credentials *ret, struct sr_err *err);

/* What a command prints, at most SR_CREDENTIALS_TEXT_MAX bytes into @text. SR_REFUSED (it fails),
 * SR_TIMEOUT, SR_LIMIT, SR_CLOSED. Its standard error is thrown away: it may show secrets. */
int sr_credentials_run(const char *command, const atomic_bool *cancelled, char *text,
                       size_t *ret_size, struct sr_err *err);

#endif
