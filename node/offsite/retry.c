/* SPDX-License-Identifier: Apache-2.0 */
#include "node/offsite/retry.h"

#include <string.h>

#define FIRST_WAIT_MS   200u
#define WAIT_MS_MAX     20000u
#define RETRY_AFTER_MAX 60u

struct sr_verdict sr_retry_transport(CURLcode result)
{
    switch (result) {
    case CURLE_OK:
        return (struct sr_verdict){.status = SR_OK};
    case CURLE_OPERATION_TIMEDOUT:
        return (struct sr_verdict){.status = SR_TIMEOUT, .retry = true};
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_PINNEDPUBKEYNOTMATCH:
        return (struct sr_verdict){.status = SR_REFUSED,
                                   .advice = "is ca_file the CA of that server?"};
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_BAD_FUNCTION_ARGUMENT:
    case CURLE_UNKNOWN_OPTION:
        return (struct sr_verdict){.status = SR_INVALID};
    case CURLE_WEIRD_SERVER_REPLY:
        return (struct sr_verdict){.status = SR_FORMAT};
    default: /* sockets, names, handshakes, answers that end early */
        return (struct sr_verdict){.status = SR_NETWORK, .retry = true};
    }
}

struct known {
    const char *code;
    struct sr_verdict verdict;
};

static const struct known known[] = {
    {"ExpiredToken", {SR_REFUSED, true, true, "the session token has expired"}},
    {"ExpiredTokenException", {SR_REFUSED, true, true, "the session token has expired"}},
    {"TokenRefreshRequired", {SR_REFUSED, true, true, "the session token has expired"}},
    {"InvalidToken", {SR_REFUSED, true, true, "the session token is not valid"}},
    {"InvalidAccessKeyId", {SR_REFUSED, true, true, "the access key is not known there"}},
    {"SignatureDoesNotMatch", {SR_REFUSED, true, true, "the secret key does not fit"}},
    {"RequestTimeTooSkewed", {SR_REFUSED, false, false, "the clocks differ too much"}},
    {"QuotaExceeded", {SR_NO_SPACE, false, false, NULL}},
    {"InsufficientStorage", {SR_NO_SPACE, false, false, NULL}},
    {"XMinioStorageFull", {SR_NO_SPACE, false, false, NULL}},
    {"XMinioAdminBucketQuotaExceeded", {SR_NO_SPACE, false, false, NULL}},
    {"EntityTooLarge", {SR_LIMIT, false, false, NULL}},
    {"BadDigest", {SR_CORRUPT, true, false, NULL}},
    {"XAmzContentSHA256Mismatch", {SR_CORRUPT, true, false, NULL}},
    {"RequestTimeout", {SR_TIMEOUT, true, false, NULL}},
    {"SlowDown", {SR_AGAIN, true, false, NULL}},
    {"OperationAborted", {SR_AGAIN, true, false, NULL}},
    {"ConditionalRequestConflict", {SR_AGAIN, true, false, NULL}},
    {"InternalError", {SR_AGAIN, true, false, NULL}},
    {"PermanentRedirect", {SR_REFUSED, false, false, "the bucket is in another region"}},
    {"AuthorizationHeaderMalformed", {SR_REFUSED, false, false, "is it the bucket's region?"}},
};

static struct sr_verdict by_number(long http_status)
{
    switch (http_status) {
    case 408:
        return (struct sr_verdict){.status = SR_TIMEOUT, .retry = true};
    case 425:
    case 429:
    case 500:
    case 502:
    case 503:
    case 504:
        return (struct sr_verdict){.status = SR_AGAIN, .retry = true};
    case 507:
        return (struct sr_verdict){.status = SR_NO_SPACE};
    case 301:
    case 302:
    case 307:
    case 308:
        return (struct sr_verdict){.status = SR_REFUSED,
                                   .advice = "the bucket is in another region"};
    case 401:
    case 403:
        return (struct sr_verdict){.status = SR_REFUSED, .retry = true, .credentials = true};
    case 407:
    case 409:
        return (struct sr_verdict){.status = SR_REFUSED};
    case 404:
    case 410:
        return (struct sr_verdict){.status = SR_NOT_FOUND};
    case 411:
    case 413:
        return (struct sr_verdict){.status = SR_LIMIT};
    case 412:
        return (struct sr_verdict){.status = SR_EXISTS};
    case 416:
        return (struct sr_verdict){.status = SR_INVALID};
    default:
        return (struct sr_verdict){.status = SR_FORMAT};
    }
}

struct sr_verdict sr_retry_answer(long http_status, const char *code)
{
    if (http_status >= 200 && http_status < 300 && code[0] == 0) {
        return (struct sr_verdict){.status = SR_OK};
    }
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (strcmp(known[i].code, code) == 0) {
            return known[i].verdict;
        }
    }
    /* A good number with an error in the body: S3 began to answer before it knew. */
    return by_number(http_status >= 200 && http_status < 300 ? 500 : http_status);
}

uint64_t sr_retry_wait_ms(unsigned attempt, unsigned retry_after_s, uint64_t random)
{
    if (retry_after_s != 0) {
        uint64_t wait_ms =
            (uint64_t)(retry_after_s < RETRY_AFTER_MAX ? retry_after_s : RETRY_AFTER_MAX) * 1000;
        return wait_ms + random % FIRST_WAIT_MS; /* so that not all come back at once */
    }
    uint64_t wait_ms = FIRST_WAIT_MS;
    for (unsigned i = 2; i < attempt && wait_ms < WAIT_MS_MAX; i++) {
        wait_ms *= 2;
    }
    wait_ms = wait_ms < WAIT_MS_MAX ? wait_ms : WAIT_MS_MAX;
    return wait_ms / 2 + random % (wait_ms / 2 + 1);
}
