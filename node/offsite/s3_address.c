/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/alloc.h"
#include "node/offsite/s3.h"

static bool is_unreserved(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_' || c == '~';
}

void sr_s3_encode(struct sr_buf *out, const char *text, bool keep_slash)
{
    static const char digits[] = "0123456789ABCDEF";
    for (; *text != 0; text++) {
        unsigned char c = (unsigned char)*text;
        if (is_unreserved(*text) || (c == '/' && keep_slash)) {
            sr_buf_append_u8(out, c);
        } else {
            sr_buf_append_u8(out, '%');
            sr_buf_append_u8(out, (uint8_t)digits[c >> 4]);
            sr_buf_append_u8(out, (uint8_t)digits[c & 15]);
        }
    }
}

char *sr_s3_address(const struct sr_s3 *s3, const char *name, const char *query)
{
    struct sr_buf out = {0};
    sr_buf_append(&out, s3->origin, strlen(s3->origin));
    sr_buf_append_u8(&out, '/');
    if (!s3->virtual_host) {
        sr_s3_encode(&out, s3->bucket, true);
        if (name != NULL) {
            sr_buf_append_u8(&out, '/');
        }
    }
    if (name != NULL) {
        sr_s3_encode(&out, s3->prefix, true);
        sr_s3_encode(&out, name, true);
    }
    if (query[0] != 0) {
        sr_buf_append_u8(&out, '?');
        sr_buf_append(&out, query, strlen(query));
    }
    sr_buf_append_u8(&out, 0);
    return (char *)out.data;
}
