/* SPDX-License-Identifier: Apache-2.0
 *
 * X.509 certificates (RFC 5280) with ECDSA P-256 keys: a CA, and what it signs.
 */
#ifndef SR_CLIENT_CERTIFICATE_H
#define SR_CLIENT_CERTIFICATE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

enum sr_certificate_kind {
    SR_CERTIFICATE_CA,
    SR_CERTIFICATE_NODE,   /* for its client, peer and admin ports, and for its links to peers */
    SR_CERTIFICATE_CLIENT, /* for whoever calls */
};

#define SR_SAN_MAX 32

struct sr_certificate_request {
    enum sr_certificate_kind kind;
    const char *common_name; /* 1 to 64 bytes */
    unsigned days;
    const char *dns_names[SR_SAN_MAX];
    size_t dns_count;
    const char *addresses[SR_SAN_MAX]; /* numeric IPv4 or IPv6 */
    size_t address_count;
    const char *ca_certificate; /* files; not for a CA */
    const char *ca_key;
};

/* Draw a key, make the certificate, and write both as PEM to new files (0644 and 0600).
 * SR_EXISTS: neither is written. SR_INVALID (an address), SR_NOT_FOUND, SR_KEY (the CA's files),
 * SR_CRYPTO, SR_IO. */
int sr_certificate_make(const struct sr_certificate_request *request, const char *certificate_path,
                        const char *key_path, struct sr_err *err);

#endif
