/* SPDX-License-Identifier: Apache-2.0
 *
 * The one way to report an error: a status code, and a bounded sentence that gains a prefix at
 * each layer it travels through ("open log: segment 12: frame 7: authentication failed").
 * Libraries return errors; only the layer that answers the request, or ends the node, logs them.
 * No secret, key name or value may be put into one.
 */
#ifndef SR_BASE_ERR_H
#define SR_BASE_ERR_H

#include "base/status.h"

#define SR_ERR_TEXT_MAX 512

struct sr_err {
    int status;
    char text[SR_ERR_TEXT_MAX];
};

/* Fill @err (may be NULL) and return @status, which must not be SR_OK. */
int sr_err_set(struct sr_err *err, int status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* As sr_err_set, with ": <strerror(errno_value)>" at the end. SR_IO becomes SR_NO_SPACE when
 * @errno_value is ENOSPC or EDQUOT. */
int sr_err_errno(struct sr_err *err, int status, int errno_value, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Put "<prefix>: " before the text of @err (may be NULL); returns its status, or SR_INTERNAL. */
int sr_err_prefix(struct sr_err *err, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The analyzer looks into one file at a time, and has to be told that these never return SR_OK. */
#ifdef __clang_analyzer__
static inline int sr_err_not_ok(int status)
{
    if (status == SR_OK) {
        __builtin_unreachable();
    }
    return status;
}
#define sr_err_set(...)    sr_err_not_ok(sr_err_set(__VA_ARGS__))
#define sr_err_errno(...)  sr_err_not_ok(sr_err_errno(__VA_ARGS__))
#define sr_err_prefix(...) sr_err_not_ok(sr_err_prefix(__VA_ARGS__))
#endif

#endif
