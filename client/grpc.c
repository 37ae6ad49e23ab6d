/* SPDX-License-Identifier: Apache-2.0
 *
 * What gRPC is on the wire: POST, a body of one frame (a flag byte, the length in 32 bits, the
 * message), and grpc-status and grpc-message in the trailers, or among the headers of an answer
 * that is nothing but an error. libcurl hands both to the header callback.
 */
#include "client/grpc.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/alloc.h"
#include "base/check.h"

#define PREFIX_BYTES 5
/* No answer of the calls that this program makes is anywhere near that. */
#define ANSWER_BYTES_MAX ((size_t)16 * 1024 * 1024)
#define URL_BYTES_MAX    1024

struct exchange {
    struct sr_buf received; /* the frame */
    bool has_status;
    unsigned long status;
    struct sr_grpc_answer *answer;
};

const char *sr_grpc_code_name(enum sr_grpc_code code)
{
    static const char *const names[] = {"OK",
                                        "CANCELLED",
                                        "UNKNOWN",
                                        "INVALID_ARGUMENT",
                                        "DEADLINE_EXCEEDED",
                                        "NOT_FOUND",
                                        "ALREADY_EXISTS",
                                        "PERMISSION_DENIED",
                                        "RESOURCE_EXHAUSTED",
                                        "FAILED_PRECONDITION",
                                        "ABORTED",
                                        "OUT_OF_RANGE",
                                        "UNIMPLEMENTED",
                                        "INTERNAL",
                                        "UNAVAILABLE",
                                        "DATA_LOSS",
                                        "UNAUTHENTICATED"};
    return (size_t)code < sizeof(names) / sizeof(names[0]) ? names[code] : "?";
}

/* ---- What comes back ---- */

static size_t on_body(char *data, size_t one, size_t size, void *arg)
{
    struct exchange *exchange = arg;
    (void)one;
    if (exchange->received.size + size > ANSWER_BYTES_MAX) {
        return 0; /* libcurl gives up */
    }
    sr_buf_append(&exchange->received, data, size);
    return size;
}

static int hex_value(char digit)
{
    const char *digits = "0123456789abcdef";
    const char *at = digit == 0 ? NULL : strchr(digits, digit | 0x20);
    return at == NULL ? -1 : (int)(at - digits);
}

/* grpc-message is percent-encoded; what is not printable has no business on a terminal. */
static void take_message(struct sr_grpc_answer *answer, const char *value, size_t size)
{
    size_t used = 0;
    for (size_t i = 0; i < size && used + 1 < sizeof(answer->message); i++) {
        unsigned char byte = (unsigned char)value[i];
        if (byte == '%' && i + 2 < size && hex_value(value[i + 1]) >= 0 &&
            hex_value(value[i + 2]) >= 0) {
            byte = (unsigned char)(hex_value(value[i + 1]) * 16 + hex_value(value[i + 2]));
            i += 2;
        }
        answer->message[used++] = (char)(byte < ' ' || byte == 0x7f ? ' ' : byte);
    }
    answer->message[used] = 0;
}

static size_t on_header(char *line, size_t one, size_t size, void *arg)
{
    static const char status_name[] = "grpc-status:";
    static const char message_name[] = "grpc-message:";
    struct exchange *exchange = arg;
    (void)one;
    size_t end = size;
    while (end > 0 && (line[end - 1] == '\r' || line[end - 1] == '\n')) {
        end--;
    }
    size_t start = sizeof(status_name) - 1;
    if (end >= start && strncasecmp(line, status_name, start) == 0) {
        char digits[8] = {0};
        start += start < end && line[start] == ' ';
        memcpy(digits, line + start,
               end - start < sizeof(digits) ? end - start : sizeof(digits) - 1);
        char *rest = NULL;
        exchange->status = strtoul(digits, &rest, 10);
        exchange->has_status = rest != digits && *rest == 0 && exchange->status <= 16;
    }
    start = sizeof(message_name) - 1;
    if (end >= start && strncasecmp(line, message_name, start) == 0) {
        start += start < end && line[start] == ' ';
        take_message(exchange->answer, line + start, end - start);
    }
    return size;
}

/* ---- The request ---- */

static void frame(struct sr_buf *out, struct sr_bytes request)
{
    sr_buf_append_u8(out, 0);
    sr_buf_append_u32(out, (uint32_t)request.size);
    sr_buf_append(out, request.data, request.size);
}

static struct curl_slist *make_headers(unsigned timeout_ms)
{
    char timeout[64];
    /* Our own patience is a little more, so that the server's answer is what we see. */
    snprintf(timeout, sizeof(timeout), "grpc-timeout: %um", timeout_ms);
    static const char agent[] = "user-agent: strongroom/" STRONGROOM_VERSION;
    const char *const lines[] = {
        "content-type: application/grpc", "te: trailers", timeout, agent, "expect:", "accept:"};
    struct curl_slist *list = NULL;
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        struct curl_slist *longer = curl_slist_append(list, lines[i]);
        sr_check(longer != NULL);
        list = longer;
    }
    return list;
}

static bool set(CURL *curl, const struct sr_grpc_target *target, const char *url,
                struct exchange *exchange, char *reason)
{
#define SET(option, value) (curl_easy_setopt(curl, option, value) == CURLE_OK)
    return SET(CURLOPT_URL, url) && SET(CURLOPT_PROTOCOLS_STR, "https") &&
           SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS) &&
           SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_3) &&
           SET(CURLOPT_CAINFO, target->ca) && SET(CURLOPT_CAPATH, NULL) &&
           SET(CURLOPT_SSLCERT, target->certificate) && SET(CURLOPT_SSLKEY, target->private_key) &&
           SET(CURLOPT_NOPROXY, "*") && SET(CURLOPT_NOSIGNAL, 1L) && SET(CURLOPT_POST, 1L) &&
           SET(CURLOPT_TIMEOUT_MS, (long)target->timeout_ms + 1000) &&
           SET(CURLOPT_CONNECTTIMEOUT_MS, (long)target->timeout_ms) &&
           SET(CURLOPT_WRITEFUNCTION, on_body) && SET(CURLOPT_WRITEDATA, exchange) &&
           SET(CURLOPT_HEADERFUNCTION, on_header) && SET(CURLOPT_HEADERDATA, exchange) &&
           SET(CURLOPT_ERRORBUFFER, reason);
#undef SET
}

/* ---- What it means ---- */

static void fail(struct sr_grpc_answer *answer, enum sr_grpc_outcome outcome, const char *reason)
{
    answer->outcome = outcome;
    answer->code = SR_GRPC_UNAVAILABLE;
    snprintf(answer->message, sizeof(answer->message), "%s", reason);
}

static bool is_unreached(CURLcode result)
{
    switch (result) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_CONNECT:
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_PEER_FAILED_VERIFICATION:
        return true;
    default:
        return false;
    }
}

/* The frame, checked, into the answer's body; false when it is none. */
static bool unframe(struct exchange *exchange)
{
    struct sr_reader reader = sr_reader_of(exchange->received.data, exchange->received.size);
    uint8_t flag = sr_read_u8(&reader);
    uint32_t size = sr_read_u32(&reader);
    struct sr_bytes message = sr_read_bytes(&reader, size);
    if (reader.failed || flag != 0 || sr_reader_left(&reader) != 0) {
        return false;
    }
    sr_buf_append(&exchange->answer->body, message.data, message.size);
    return true;
}

static void conclude(struct exchange *exchange, CURL *curl, CURLcode result, const char *reason)
{
    struct sr_grpc_answer *answer = exchange->answer;
    long http = 0;
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &http);
    if (result != CURLE_OK) {
        const char *text = reason[0] != 0 ? reason : curl_easy_strerror(result);
        fail(answer, is_unreached(result) ? SR_GRPC_UNREACHED : SR_GRPC_BROKEN, text);
    } else if (!exchange->has_status && http == 200 && unframe(exchange)) {
        /* libcurl 7.88 drops the trailers when a GOAWAY comes right behind them, as it does from a
         * node that drains. strongroomd sends a message with status OK only. */
        answer->outcome = SR_GRPC_ANSWERED;
        answer->code = SR_GRPC_OK;
    } else if (!exchange->has_status) {
        char text[128];
        snprintf(text, sizeof(text), "HTTP status %ld and no gRPC status: not a strongroomd?",
                 http);
        fail(answer, SR_GRPC_BROKEN, text);
    } else if (exchange->status == SR_GRPC_OK && !unframe(exchange)) {
        fail(answer, SR_GRPC_BROKEN, "a damaged gRPC answer");
    } else {
        answer->outcome = SR_GRPC_ANSWERED;
        answer->code = (enum sr_grpc_code)exchange->status;
    }
}

void sr_grpc_call(const struct sr_grpc_target *target, const char *path, struct sr_bytes request,
                  struct sr_grpc_answer *answer)
{
    static bool initialised;
    char url[URL_BYTES_MAX];
    char reason[CURL_ERROR_SIZE] = {0};
    struct exchange exchange = {.answer = answer};
    struct sr_buf body = {0};
    *answer = (struct sr_grpc_answer){0};
    if (snprintf(url, sizeof(url), "%s%s", target->endpoint, path) >= (int)sizeof(url)) {
        fail(answer, SR_GRPC_UNREACHED, "the endpoint is too long");
        return;
    }
    if (!initialised) {
        sr_check(curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK);
        initialised = true;
    }
    CURL *curl = curl_easy_init();
    sr_check(curl != NULL);
    struct curl_slist *headers = make_headers(target->timeout_ms);
    frame(&body, request);
    if (!set(curl, target, url, &exchange, reason) ||
        curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers) != CURLE_OK ||
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long)body.size) != CURLE_OK ||
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body.data) != CURLE_OK) {
        fail(answer, SR_GRPC_UNREACHED, "libcurl lacks HTTP/2 or TLS 1.3");
    } else {
        conclude(&exchange, curl, curl_easy_perform(curl), reason);
    }
    curl_easy_cleanup(curl);
    curl_slist_free_all(headers);
    sr_buf_close(&body);
    sr_buf_close(&exchange.received);
}
