/* SPDX-License-Identifier: Apache-2.0
 *
 * Writing JSON by hand. Inside node/admin only.
 */
#ifndef SR_NODE_ADMIN_JSON_H
#define SR_NODE_ADMIN_JSON_H

#include <stdbool.h>

#include "base/buf.h"

/* As printf; at most 511 bytes, and no text that came from elsewhere. */
void sr_json_put(struct sr_buf *page, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* @text in quotes, escaped. */
void sr_json_text(struct sr_buf *page, const char *text);
/* "name":"text" */
void sr_json_field(struct sr_buf *page, const char *name, const char *text);
const char *sr_json_truth(bool value);

#endif
