/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/check.h"
#include "storage/archive_key.h"
#include "storage/signature.h"

#define PREFIX     "SHA256:"
#define HEX_DIGITS "0123456789abcdefABCDEF"

void sr_fingerprint(const uint8_t public_key[SR_SIGNING_BYTES],
                    char ret_text[SR_FINGERPRINT_CHARS + 1])
{
    uint8_t digest[SR_SHA256_BYTES];
    sr_check(sr_sha256((struct sr_bytes){public_key, SR_SIGNING_BYTES}, digest, NULL) == SR_OK);
    int used = snprintf(ret_text, SR_FINGERPRINT_CHARS + 1, PREFIX);
    for (size_t i = 0; i < sizeof(digest); i++) {
        used += snprintf(ret_text + used, 3, "%02x", digest[i]);
    }
}

static const char *digits_of(const char *text)
{
    size_t prefix = strlen(PREFIX);
    return strncasecmp(text, PREFIX, prefix) == 0 ? text + prefix : text;
}

bool sr_is_fingerprint(const char *text)
{
    const char *digits = digits_of(text);
    return strlen(digits) == (size_t)2 * SR_SHA256_BYTES &&
           strspn(digits, HEX_DIGITS) == strlen(digits);
}

bool sr_fingerprint_matches(const char *text, const uint8_t public_key[SR_SIGNING_BYTES])
{
    char own[SR_FINGERPRINT_CHARS + 1];
    sr_fingerprint(public_key, own);
    return sr_is_fingerprint(text) && strcasecmp(digits_of(text), digits_of(own)) == 0;
}
