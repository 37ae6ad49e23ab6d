/* SPDX-License-Identifier: Apache-2.0
 *
 * The one way to log: one line a fact, logfmt or JSON, to standard error. No secret, no value, no
 * key name ever goes in. Lines are written whole, so threads may log at will.
 */
#ifndef SR_BASE_LOG_H
#define SR_BASE_LOG_H

#include <stdbool.h>

enum sr_log_level { SR_LOG_DEBUG, SR_LOG_INFO, SR_LOG_WARN, SR_LOG_ERROR, SR_LOG_FATAL };
enum sr_log_format { SR_LOG_LOGFMT, SR_LOG_JSON };

/* Call once, before there are threads. @node (may be NULL) names this node in every line. */
void sr_log_init(enum sr_log_level level, enum sr_log_format format, const char *node);

bool sr_log_enabled(enum sr_log_level level);

/* sr_log(SR_LOG_WARN, "peer", "link lost", "member=%s reason=\"%s\"", name, reason);
 * @part is the module, @message a fixed phrase, @fields (may be "") a printf format of
 * space-separated key=value pairs; a value with blanks is put in double quotes by the caller. */
void sr_log(enum sr_log_level level, const char *part, const char *message, const char *fields, ...)
    __attribute__((format(printf, 4, 5)));

#endif
