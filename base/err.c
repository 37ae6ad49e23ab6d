/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

#undef sr_err_set /* what the analyzer is told of them */
#undef sr_err_errno
#undef sr_err_prefix

const char *sr_status_text(int status)
{
    static const char *const texts[] = {
#define X(name, text) text,
        SR_STATUS(X)
#undef X
    };
    return status >= 0 && status < SR_STATUS_COUNT ? texts[status] : "unknown status";
}

void sr_check_failed(const char *condition, const char *file, int line)
{
    fprintf(stderr, "level=fatal part=check msg=\"broken invariant\" condition=\"%s\" at=%s:%d\n",
            condition, file, line);
    abort();
}

int sr_err_set(struct sr_err *err, int status, const char *format, ...)
{
    sr_check(status != SR_OK);
    if (err == NULL) {
        return status;
    }
    va_list args;
    va_start(args, format);
    err->status = status;
    vsnprintf(err->text, sizeof(err->text), format, args);
    va_end(args);
    return status;
}

int sr_err_errno(struct sr_err *err, int status, int errno_value, const char *format, ...)
{
    if (status == SR_IO && (errno_value == ENOSPC || errno_value == EDQUOT)) {
        status = SR_NO_SPACE;
    }
    if (err == NULL) {
        return status;
    }
    char text[SR_ERR_TEXT_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    char reason[128];
    return sr_err_set(err, status, "%s: %s", text, strerror_r(errno_value, reason, sizeof(reason)));
}

int sr_err_prefix(struct sr_err *err, const char *format, ...)
{
    if (err == NULL) {
        return SR_INTERNAL;
    }
    char whole[SR_ERR_TEXT_MAX];
    va_list args;
    va_start(args, format);
    int length = vsnprintf(whole, sizeof(whole), format, args);
    va_end(args);
    /* What does not fit falls off the end: the outer layers say more than the innermost. */
    size_t used = length < 0 ? 0 : (size_t)length;
    const char *const parts[] = {": ", err->text};
    for (size_t i = 0; i < 2 && used < sizeof(whole) - 1; i++) {
        size_t room = sizeof(whole) - 1 - used;
        size_t size = strnlen(parts[i], room);
        memcpy(whole + used, parts[i], size);
        used += size;
        whole[used] = '\0';
    }
    memcpy(err->text, whole, sizeof(whole));
    return err->status == SR_OK ? SR_INTERNAL : err->status;
}
